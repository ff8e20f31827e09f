#include "akida_learning.h"

#include <stddef.h>
#include <string.h>

#define WORD 32u
#define ONE 65536u
#define GOLDEN 0x9E3779B9u
#define DRAWN_BITS 12u

/* Which of the inputs of a set to prefer; a drawn number decides between equals. */
typedef enum { ANY, MOST_LEARNED, LEAST_LEARNED } preference;

static uint32_t count_word(uint32_t x)
{
    x -= (x >> 1) & 0x55555555u;
    x = (x & 0x33333333u) + ((x >> 2) & 0x33333333u);
    x = (x + (x >> 4)) & 0x0F0F0F0Fu;
    return (uint32_t)(x * 0x01010101u) >> 24;
}

static uint32_t count_common(const uint32_t *a, const uint32_t *b, uint32_t n_words)
{
    uint32_t n = 0, i;

    for (i = 0; i < n_words; i++)
        n += count_word(a[i] & b[i]);
    return n;
}

static uint32_t bit_length(uint32_t x)
{
    uint32_t n = 0;

    for (; x; x >>= 1)
        n++;
    return n;
}

/* MurmurHash3's finalizer (Appleby, public domain). */
static uint32_t mix(uint32_t x)
{
    x = (x ^ (x >> 16)) * 0x85EBCA6Bu;
    x = (x ^ (x >> 13)) * 0xC2B2AE35u;
    return x ^ (x >> 16);
}

/* Return a bit of every input's own number. */
static uint32_t number_word(uint32_t bit, uint32_t word)
{
    static const uint32_t within[5] = {0xAAAAAAAAu, 0xCCCCCCCCu, 0xF0F0F0F0u, 0xFF00FF00u,
                                       0xFFFF0000u};

    if (bit < 5)
        return within[bit];
    return (word >> (bit - 5)) & 1 ? 0xFFFFFFFFu : 0;
}

/* Return a bit of how many others of the neuron's class have learned a weight on each input. */
static uint32_t support_word(const akida_learner *learner, const akida_learning *learning,
                             uint32_t neuron, uint32_t bit, uint32_t word)
{
    const uint32_t first = neuron - neuron % learner->neurons_per_class;
    uint32_t sums[WORD] = {0};
    uint32_t i, b;

    for (i = first; i < first + learner->neurons_per_class; i++) {
        uint32_t carry = learning->weights[(size_t)i * learner->n_words + word];
        if (i == neuron || learning->neurons[i].threshold <= 0)
            continue;
        for (b = 0; b <= bit && carry; b++) {
            const uint32_t both = sums[b] & carry;
            sums[b] ^= carry;
            carry = both;
        }
    }
    return sums[bit];
}

/* Take one plane's ones if they are not too many, else drop the others. Return what is missing. */
static uint32_t decide(uint32_t n_words, const uint32_t *plane, uint32_t *candidates,
                       uint32_t *taken, uint32_t missing)
{
    const uint32_t ones = count_common(candidates, plane, n_words);
    uint32_t i;

    for (i = 0; i < n_words; i++)
        if (ones <= missing) {
            taken[i] |= candidates[i] & plane[i];
            candidates[i] &= ~plane[i];
        } else {
            candidates[i] &= plane[i];
        }
    return ones <= missing ? missing - ones : missing;
}

/* Choose so many of the candidates, bit by bit of the numbers that order them.
 *
 * scratch holds candidates, taken and one plane; the candidates are used up. */
static const uint32_t *choose(const akida_learner *learner, const akida_learning *learning,
                              uint32_t neuron, preference preferred, uint32_t missing)
{
    const uint32_t n = learner->n_words, count = learning->neurons[neuron].learned;
    const uint32_t start = mix(mix(mix(learner->seed) + neuron * GOLDEN) + count);
    const uint32_t n_support = preferred == ANY ? 0 : bit_length(learner->neurons_per_class - 1);
    uint32_t *candidates = learning->scratch, *taken = candidates + n, *plane = taken + n;
    uint32_t p, i;

    memset(taken, 0, n * sizeof *taken);
    for (p = n_support; p-- > 0;) {
        for (i = 0; i < n; i++) {
            plane[i] = support_word(learner, learning, neuron, p, i);
            if (preferred == LEAST_LEARNED)
                plane[i] = ~plane[i];
        }
        missing = decide(n, plane, candidates, taken, missing);
    }
    for (p = 0; p < DRAWN_BITS; p++) {
        for (i = 0; i < n; i++)
            plane[i] = mix(start + (p * n + i) * GOLDEN);
        missing = decide(n, plane, candidates, taken, missing);
    }
    for (p = bit_length(n * WORD - 1); p-- > 0;) {
        for (i = 0; i < n; i++)
            plane[i] = number_word(p, i);
        missing = decide(n, plane, candidates, taken, missing);
    }
    if (missing > 0)
        for (i = 0; i < n; i++)
            taken[i] |= candidates[i];
    return taken;
}

uint32_t akida_pack(const akida_learner *learner, const uint8_t *levels, uint32_t *spikes)
{
    uint32_t n = 0, i;

    memset(spikes, 0, learner->n_words * sizeof *spikes);
    for (i = 0; i < learner->n_inputs; i++)
        if (levels[i] != 0) {
            spikes[i / WORD] |= (uint32_t)1 << i % WORD;
            n++;
        }
    return n;
}

void akida_add_neurons(const akida_learner *learner, akida_learning *learning, uint32_t n)
{
    const uint32_t n_words = learner->n_words, spare = n_words * WORD - learner->n_inputs;

    for (; n > 0; n--) {
        const uint32_t number = learning->n_neurons++;
        akida_neuron *neuron = &learning->neurons[number];
        neuron->plasticity = learner->initial_plasticity;
        neuron->learned = 0;
        neuron->threshold = 0;
        memset(learning->scratch, 0xFF, n_words * sizeof *learning->scratch);
        learning->scratch[n_words - 1] >>= spare;
        memcpy(learning->weights + (size_t)number * n_words,
               choose(learner, learning, number, ANY, learner->num_weights),
               n_words * sizeof *learning->weights);
    }
}

/* Return which neurons go first, whatever their potential; -1 may not learn at all. */
static int32_t precedence(const akida_learner *learner, const akida_neuron *neuron,
                          uint32_t class_number, int32_t potential, int32_t label)
{
    const uint32_t slack = ((uint32_t)neuron->threshold * learner->competition) >> 16;

    if (label != AKIDA_UNLABELLED && (uint32_t)label != class_number)
        return -1;
    if (neuron->threshold == 0)
        return ONE + 1;
    if (label == AKIDA_UNLABELLED && potential >= neuron->threshold)
        return ONE + 3;
    if (learner->competition > 0 && potential >= neuron->threshold - (int32_t)slack)
        return ONE + 2;
    return label == AKIDA_UNLABELLED ? 0 : (int32_t)neuron->plasticity;
}

static int32_t find_winner(const akida_learner *learner, const akida_learning *learning,
                           const uint32_t *spikes, int32_t label)
{
    int32_t winner = -1, first = -1, most = -1;
    uint32_t i;

    for (i = 0; i < learning->n_neurons; i++) {
        const uint32_t *row = learning->weights + (size_t)i * learner->n_words;
        const int32_t potential = (int32_t)count_common(row, spikes, learner->n_words);
        const int32_t order = precedence(learner, &learning->neurons[i],
                                         i / learner->neurons_per_class, potential, label);
        if (order >= 0 && (order > first || (order == first && potential > most))) {
            first = order;
            most = potential;
            winner = (int32_t)i;
        }
    }
    return winner;
}

/* Move weights of a neuron from silent inputs to active ones. */
static void move(const akida_learner *learner, akida_learning *learning, uint32_t number,
                 const uint32_t *spikes)
{
    const uint32_t n = learner->n_words;
    uint32_t *row = learning->weights + (size_t)number * n, *candidates = learning->scratch;
    uint32_t gains = 0, losses = 0, count, i;
    const uint32_t *chosen;

    for (i = 0; i < n; i++) {
        gains += count_word(spikes[i] & ~row[i]);
        losses += count_word(row[i] & ~spikes[i]);
    }
    count = gains < losses ? gains : losses;
    /* Rounded to nearest, half up. */
    count = (learning->neurons[number].plasticity * count + ONE / 2) >> 16;
    for (i = 0; i < n; i++)
        candidates[i] = spikes[i] & ~row[i];
    chosen = choose(learner, learning, number, MOST_LEARNED, count);
    for (i = 0; i < n; i++)
        row[i] |= chosen[i];
    for (i = 0; i < n; i++)
        candidates[i] = row[i] & ~spikes[i];
    chosen = choose(learner, learning, number, LEAST_LEARNED, count);
    for (i = 0; i < n; i++)
        row[i] &= ~chosen[i];
}

int32_t akida_learn(const akida_learner *learner, akida_learning *learning,
                    const uint32_t *spikes, int32_t label)
{
    const int32_t winner = find_winner(learner, learning, spikes, label);
    akida_neuron *neuron;
    uint32_t lower, reached;

    if (winner < 0 || learning->neurons[winner].plasticity == 0)
        return -1;
    neuron = &learning->neurons[winner];
    neuron->learned++;
    move(learner, learning, (uint32_t)winner, spikes);
    reached = count_common(learning->weights + (size_t)winner * learner->n_words, spikes,
                           learner->n_words);
    neuron->threshold = reached > 0 ? (int32_t)reached : 1;
    lower = neuron->plasticity > learner->decay ? neuron->plasticity - learner->decay : 0;
    neuron->plasticity = lower > learner->min_plasticity ? lower : learner->min_plasticity;
    return winner;
}

void akida_recall(const akida_learner *learner, const akida_learning *learning,
                  const uint32_t *spikes, int32_t *output)
{
    uint32_t i;

    for (i = 0; i < learning->n_neurons; i++) {
        const uint32_t *row = learning->weights + (size_t)i * learner->n_words;
        output[i] = learning->neurons[i].threshold > 0
                        ? (int32_t)count_common(row, spikes, learner->n_words)
                        : 0;
    }
}
