/* Written by akida-jax @version@: @title@.
 *
 * @NAME@_RAM_BYTES of static memory, @NAME@_FLASH_BYTES of constants; code comes on top.
 * One thread at a time: the memory is shared by all calls.
 */
#ifndef @NAME@_H
#define @NAME@_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

@sizes@

/* What functions return if they did nothing. */
#define @NAME@_NO_ARRAY 1
#define @NAME@_LEVEL_TOO_HIGH 2

/* Run one input: rows, columns, channels, each level 0 to @NAME@_INPUT_MAX.
 *
 * The output becomes @output@. Return 0, or
 * @NAME@_NO_ARRAY or @NAME@_LEVEL_TOO_HIGH: then the output is as it was. */
int @name@_run(const uint8_t *input, int32_t *output);
@predict@@learn@
#ifdef __cplusplus
}
#endif

#endif
