/* Learns classes in binary weights, sample by sample, with integers alone.
 *
 * Inputs and weights are bits, 32 to a word, the first in the lowest place. docs/learning.md of
 * akida-jax states the rule; the state after any stream of samples is that of its EdgeLearner.
 */
#ifndef AKIDA_LEARNING_H
#define AKIDA_LEARNING_H

#include <stdint.h>

#include "akida_config.h"

enum { AKIDA_UNLABELLED = -1 };

/* Shares of 1 have 16 fraction bits. */
typedef struct {
    uint32_t n_inputs, n_words;
    uint32_t num_weights;                   /* ones of a neuron */
    uint32_t neurons_per_class;
    uint32_t seed;
    uint32_t initial_plasticity, min_plasticity;
    uint32_t decay;                         /* of the plasticity, each sample */
    uint32_t competition;
} akida_learner;

typedef struct {
    uint32_t plasticity;
    uint32_t learned;                       /* samples */
    int32_t threshold;                      /* 0: it has never learned */
} akida_neuron;

/* Everything that learning changes; neurons of a class stand side by side. */
typedef struct {
    uint32_t n_neurons;
    akida_neuron *neurons;
    uint32_t *weights;                      /* n_words for each neuron */
    uint32_t *scratch;                      /* 3 * n_words */
} akida_learning;

/* Set the bits of inputs that are not 0. Return how many. */
uint32_t akida_pack(const akida_learner *learner, const uint8_t *levels, uint32_t *spikes);

/* Add neurons that have learned nothing; their weights follow from seed and number. */
void akida_add_neurons(const akida_learner *learner, akida_learning *learning, uint32_t n);

/* Learn a sample with at least one spike. Return the neuron that learned, -1 for none. */
int32_t akida_learn(const akida_learner *learner, akida_learning *learning,
                    const uint32_t *spikes, int32_t label);

/* Write a potential per neuron, 0 where it has never learned. */
void akida_recall(const akida_learner *learner, const akida_learning *learning,
                  const uint32_t *spikes, int32_t *output);

#endif
