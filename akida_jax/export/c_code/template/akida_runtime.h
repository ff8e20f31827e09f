/* Runs a network of 1, 2, 4 and 8-bit integers: C99, no float, no heap, no recursion.
 *
 * A level is an activation, 0 to 2**bits - 1, one in a byte. Maps lie row by row, channels last.
 * A potential is the sum of levels times weights of one filter, int32.
 */
#ifndef AKIDA_RUNTIME_H
#define AKIDA_RUNTIME_H

#include <stdint.h>

#include "akida_config.h"

enum { AKIDA_OK = 0, AKIDA_NO_ARRAY = 1, AKIDA_LEVEL_TOO_HIGH = 2 };

enum { AKIDA_POOL_NONE, AKIDA_POOL_MAX, AKIDA_POOL_SUM };

/* One layer. A fully connected one is a 1x1 convolution of a single pixel.
 *
 * Weights are stored as unsigned codes, weight + offset. The codes of one input for all filters
 * are a row; filter f lies in byte f % row_bytes, its bits begin at f / row_bytes * weight_bits.
 */
typedef struct {
    uint32_t rows, columns, channels;       /* of the input */
    uint32_t filters;
    uint32_t map_rows, map_columns;         /* of the potentials before pooling */
    uint32_t out_rows, out_columns;
    uint8_t kernel, stride, top, left;      /* padding above and left of the input */
    uint8_t border;                         /* level of the padding */
    uint8_t pool, pool_rows, pool_columns, pool_row_stride, pool_column_stride;
    uint8_t weight_bits, offset;            /* bits of a code; code of the weight 0 */
    uint8_t limit;                          /* highest level; 0: the potentials are the output */
    uint8_t fraction;                       /* fraction bits of the divisor */
    const uint8_t *depthwise;               /* codes by tap and channel, or NULL */
    const uint8_t *weights;                 /* codes by tap, channel and filter */
    const int32_t *thresholds;              /* of the filters, or NULL */
    const uint32_t *divisors;               /* potential of one level, or NULL */
} akida_layer;

typedef struct {
    uint32_t n_layers;
    const akida_layer *layers;
    uint32_t n_inputs;
    uint8_t input_limit;                    /* highest level of the input */
} akida_network;

/* Where to work; a part that no layer needs may be NULL. */
typedef struct {
    uint8_t *levels[2];                     /* of layers 0, 2, 4, ... and 1, 3, 5, ... */
    uint8_t *patch;                         /* what a kernel covers */
    int16_t *depthwise_sums;                /* a value per channel */
    int32_t *sums;                          /* a potential per filter, filled up to whole bytes */
    int32_t *totals;                        /* a potential per filter, over all positions */
} akida_memory;

/* Run all layers.
 *
 * The last layer's values go to the output or, if that is NULL, stay in the memory. Return
 * AKIDA_OK, or why nothing was run. *last, if last is not NULL, becomes the last layer's levels.
 */
int akida_run(const akida_network *network, const akida_memory *memory, const uint8_t *input,
              int32_t *output, const uint8_t **last);

/* Return the index of the largest (potential - threshold) / step; of equals the first.
 *
 * Each quotient is rounded as IEEE single precision rounds it, half to even.
 */
uint32_t akida_largest(const int32_t *potentials, const int32_t *thresholds,
                       const uint32_t *steps, uint32_t n);

#endif
