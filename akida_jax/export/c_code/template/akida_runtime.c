#include "akida_runtime.h"

#include <stddef.h>
#include <string.h>

#define AT_ONCE 4

/* Inputs whose rows of weights wait to be added to the sums together. */
typedef struct {
    const uint8_t *rows[AT_ONCE];
    int32_t values[AT_ONCE];
    uint32_t n;
    int32_t total;
} waiting_inputs;

static uint32_t row_bytes(uint32_t n_codes, uint32_t bits)
{
    return (n_codes * bits + 7) / 8;
}

/* Add AT_ONCE inputs times their codes. Called with constant bits, so that no shift is variable. */
static inline void add_codes(int32_t *restrict sums, const waiting_inputs *in, uint32_t n_bytes,
                             uint32_t bits)
{
    const uint8_t *restrict a = in->rows[0], *restrict b = in->rows[1];
    const uint8_t *restrict c = in->rows[2], *restrict d = in->rows[3];
    const int32_t p = in->values[0], q = in->values[1], r = in->values[2], s = in->values[3];
    const int32_t mask = (1 << bits) - 1;
    uint32_t shift, i;

    for (shift = 0; shift < 8; shift += bits) {
        for (i = 0; i < n_bytes; i++)
            sums[i] += p * ((a[i] >> shift) & mask) + q * ((b[i] >> shift) & mask)
                     + r * ((c[i] >> shift) & mask) + s * ((d[i] >> shift) & mask);
        sums += n_bytes;
    }
}

static void flush(const akida_layer *layer, waiting_inputs *in, int32_t *sums)
{
    const uint32_t n_bytes = row_bytes(layer->filters, layer->weight_bits);

    for (; in->n < AT_ONCE; in->n++) {
        in->rows[in->n] = layer->weights;
        in->values[in->n] = 0;
    }
    in->n = 0;
    switch (layer->weight_bits) {
#if AKIDA_HAS_1_BIT
    case 1: add_codes(sums, in, n_bytes, 1); break;
#endif
#if AKIDA_HAS_2_BITS
    case 2: add_codes(sums, in, n_bytes, 2); break;
#endif
#if AKIDA_HAS_4_BITS
    case 4: add_codes(sums, in, n_bytes, 4); break;
#endif
#if AKIDA_HAS_8_BITS
    case 8: add_codes(sums, in, n_bytes, 8); break;
#endif
    default: break;
    }
}

static inline void add_input(const akida_layer *layer, waiting_inputs *in, uint32_t index,
                             int32_t value, uint32_t n_bytes, int32_t *sums)
{
#if AKIDA_SKIP_ZEROS
    if (value == 0)
        return;
#endif
    in->rows[in->n] = layer->weights + (size_t)index * n_bytes;
    in->values[in->n] = value;
    in->total += value;
    if (++in->n == AT_ONCE)
        flush(layer, in, sums);
}

/* Write the potentials of n levels or, if there are depthwise sums, of these instead. */
static void mix(const akida_layer *layer, const uint8_t *levels, const int16_t *depthwise_sums,
                uint32_t n, int32_t *sums)
{
    const uint32_t n_bytes = row_bytes(layer->filters, layer->weight_bits);
    waiting_inputs in = {{NULL}, {0}, 0, 0};
    uint32_t i;

    memset(sums, 0, (size_t)n_bytes * (8u / layer->weight_bits) * sizeof *sums);
    if (depthwise_sums != NULL)
        for (i = 0; i < n; i++)
            add_input(layer, &in, i, depthwise_sums[i], n_bytes, sums);
    else
        for (i = 0; i < n; i++)
            add_input(layer, &in, i, levels[i], n_bytes, sums);
    if (in.n > 0)
        flush(layer, &in, sums);
    for (i = 0; i < layer->filters; i++)
        sums[i] -= layer->offset * in.total;
}

#if AKIDA_HAS_SEPARABLE
static void sum_depthwise(const akida_layer *layer, const uint8_t *patch, int16_t *sums)
{
    const uint32_t bits = layer->weight_bits, taps = (uint32_t)layer->kernel * layer->kernel;
    const uint32_t n_bytes = row_bytes(layer->channels, bits);
    const int32_t mask = (1 << bits) - 1;
    const uint8_t *codes = layer->depthwise;
    uint32_t tap, channel, shift, i;

    memset(sums, 0, layer->channels * sizeof *sums);
    for (tap = 0; tap < taps; tap++, patch += layer->channels, codes += n_bytes) {
        channel = 0;
        for (shift = 0; shift < 8; shift += bits)
            for (i = 0; i < n_bytes && channel < layer->channels; i++, channel++) {
                const int32_t weight = ((codes[i] >> shift) & mask) - layer->offset;
                sums[channel] = (int16_t)(sums[channel] + patch[channel] * weight);
            }
    }
}
#endif

/* Return what the kernel covers at a position of the map, tap by tap, padding included. */
static const uint8_t *gather(const akida_layer *layer, const uint8_t *input, uint32_t row,
                             uint32_t column, uint8_t *patch)
{
    const uint32_t k = layer->kernel, channels = layer->channels;
    const int32_t y = (int32_t)(row * layer->stride) - layer->top;
    const int32_t x = (int32_t)(column * layer->stride) - layer->left;
    /* Taps before `first` and from `end` on lie left and right of the input. */
    const uint32_t first = x < 0 ? (uint32_t)-x : 0;
    const uint32_t room = (uint32_t)((int32_t)layer->columns - x);
    const uint32_t end = room < k ? room : k;
    uint8_t *to = patch;
    uint32_t i;

    if (k == 1)
        return input + ((size_t)row * layer->columns + column) * channels;
    for (i = 0; i < k; i++, to += (size_t)k * channels) {
        const int32_t from_row = y + (int32_t)i;
        if (from_row < 0 || from_row >= (int32_t)layer->rows) {
            memset(to, layer->border, (size_t)k * channels);
            continue;
        }
        memset(to, layer->border, (size_t)first * channels);
        memcpy(to + (size_t)first * channels,
               input + ((size_t)from_row * layer->columns + (size_t)(x + (int32_t)first)) * channels,
               (size_t)(end - first) * channels);
        memset(to + (size_t)end * channels, layer->border, (size_t)(k - end) * channels);
    }
    return patch;
}

/* Return clip(ceil((potential - threshold) * 2**fraction / divisor), 0, limit).
 *
 * limit * divisor is below 2**28, see where the divisor is made: nothing overflows. */
static uint8_t fire(const akida_layer *layer, uint32_t filter, int32_t potential)
{
    const int32_t above = potential - layer->thresholds[filter];
    const uint32_t divisor = layer->divisors[filter];

    if (above <= 0)
        return 0;
    if ((uint32_t)above > (layer->limit * divisor) >> layer->fraction)
        return layer->limit;
    return (uint8_t)((((uint32_t)above << layer->fraction) + divisor - 1) / divisor);
}

/* Put the values of all filters at a position of the output, where they are larger.
 *
 * Firing never falls with the potential, so the largest level of a pool is that of its largest
 * potential. */
static void put(const akida_layer *layer, const int32_t *sums, uint32_t row, uint32_t column,
                uint8_t *levels, int32_t *output)
{
    const size_t start = ((size_t)row * layer->out_columns + column) * layer->filters;
    uint32_t f;

    for (f = 0; f < layer->filters; f++) {
        const int32_t value = layer->limit ? fire(layer, f, sums[f]) : sums[f];
        if (levels != NULL) {
            if (value > levels[start + f])
                levels[start + f] = (uint8_t)value;
        } else if (value > output[start + f]) {
            output[start + f] = value;
        }
    }
}

static void clear(const akida_layer *layer, uint8_t *levels, int32_t *output)
{
    const size_t n = (size_t)layer->out_rows * layer->out_columns * layer->filters;
    size_t i;

    if (levels != NULL)
        memset(levels, 0, n);
    else
        for (i = 0; i < n; i++)
            output[i] = layer->limit ? 0 : INT32_MIN;
}

/* Return the first window of a max pool that covers a place; further ones follow it. */
static uint32_t first_window(uint32_t place, uint32_t size, uint32_t stride)
{
    return place < size ? 0 : (place - size) / stride + 1;
}

static void put_in_windows(const akida_layer *layer, const int32_t *sums, uint32_t row,
                           uint32_t column, uint8_t *levels, int32_t *output)
{
    const uint32_t rows = layer->pool_row_stride, columns = layer->pool_column_stride;
    uint32_t r, c;

    for (r = first_window(row, layer->pool_rows, rows);
         r < layer->out_rows && r * rows <= row; r++)
        for (c = first_window(column, layer->pool_columns, columns);
             c < layer->out_columns && c * columns <= column; c++)
            put(layer, sums, r, c, levels, output);
}

static void run_layer(const akida_layer *layer, const akida_memory *memory, const uint8_t *input,
                      uint8_t *levels, int32_t *output)
{
    const uint32_t covered = (uint32_t)layer->kernel * layer->kernel * layer->channels;
    const int16_t *depthwise_sums = NULL;
    uint32_t n = covered, row, column, f;

    clear(layer, levels, output);
    if (layer->pool == AKIDA_POOL_SUM)
        memset(memory->totals, 0, layer->filters * sizeof *memory->totals);
    for (row = 0; row < layer->map_rows; row++)
        for (column = 0; column < layer->map_columns; column++) {
            const uint8_t *patch = gather(layer, input, row, column, memory->patch);
#if AKIDA_HAS_SEPARABLE
            if (layer->depthwise != NULL) {
                sum_depthwise(layer, patch, memory->depthwise_sums);
                depthwise_sums = memory->depthwise_sums;
                n = layer->channels;
            }
#endif
            mix(layer, patch, depthwise_sums, n, memory->sums);
            if (layer->pool == AKIDA_POOL_SUM)
                for (f = 0; f < layer->filters; f++)
                    memory->totals[f] += memory->sums[f];
            else if (layer->pool == AKIDA_POOL_MAX)
                put_in_windows(layer, memory->sums, row, column, levels, output);
            else
                put(layer, memory->sums, row, column, levels, output);
        }
    if (layer->pool == AKIDA_POOL_SUM)
        put(layer, memory->totals, 0, 0, levels, output);
}

int akida_run(const akida_network *network, const akida_memory *memory, const uint8_t *input,
              int32_t *output, const uint8_t **last)
{
    uint32_t i;

    if (input == NULL || (output == NULL && last == NULL))
        return AKIDA_NO_ARRAY;
    for (i = 0; i < network->n_inputs; i++)
        if (input[i] > network->input_limit)
            return AKIDA_LEVEL_TOO_HIGH;
    for (i = 0; i < network->n_layers; i++) {
        uint8_t *levels = memory->levels[i % 2];
        if (output != NULL && i == network->n_layers - 1)
            levels = NULL;
        run_layer(&network->layers[i], memory, input, levels, output);
        input = levels;
    }
    if (last != NULL)
        *last = input;
    return AKIDA_OK;
}

#if AKIDA_HAS_LARGEST
/* Round to 24 bits, half to even; *shift becomes how many bits are left out. */
static uint32_t round_to_24_bits(uint64_t value, int *shift)
{
    uint64_t half, rest;

    *shift = 0;
    while (value >> *shift >> 24)
        (*shift)++;
    if (*shift == 0)
        return (uint32_t)value;
    half = (uint64_t)1 << (*shift - 1);
    rest = value & (2 * half - 1);
    value >>= *shift;
    if (rest > half || (rest == half && (value & 1)))
        value++;
    return (uint32_t)value;
}

/* Return an integer that is ordered, and equal, as the single-precision quotients are. */
static int32_t quotient(int32_t numerator, uint32_t step)
{
    const uint32_t magnitude = numerator < 0 ? 0u - (uint32_t)numerator : (uint32_t)numerator;
    int exponent, shift;
    uint64_t value = round_to_24_bits(magnitude, &exponent);
    uint32_t rounded;

    if (numerator == 0)
        return 0;
    while (!(value >> 62)) {
        value <<= 1;
        exponent--;
    }
    /* At least 39 bits of quotient: whether there is a remainder fits into the lowest. */
    value = (value / step) | (value % step != 0);
    rounded = round_to_24_bits(value, &shift);
    /* 100 keeps the field above 0; rounding up to 2**24 carries into it. */
    rounded += (uint32_t)(exponent + shift + 100) << 23;
    return numerator < 0 ? -(int32_t)rounded : (int32_t)rounded;
}

uint32_t akida_largest(const int32_t *potentials, const int32_t *thresholds,
                       const uint32_t *steps, uint32_t n)
{
    uint32_t best = 0, i;
    int32_t most = INT32_MIN;

    for (i = 0; i < n; i++) {
        const int32_t found = quotient(potentials[i] - thresholds[i], steps[i]);
        if (i == 0 || found > most) {
            most = found;
            best = i;
        }
    }
    return best;
}
#endif
