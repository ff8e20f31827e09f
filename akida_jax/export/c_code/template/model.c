/* Written by akida-jax @version@: @title@. */
#include "@name@.h"

#include <stddef.h>
#include <string.h>

#include "@name@_data.h"
#include "akida_runtime.h"
@includes@
static const akida_layer layers[] = {
@layers@
};

static const akida_network network = {
    .n_layers = sizeof layers / sizeof layers[0],
    .layers = layers,
    .n_inputs = @NAME@_INPUT_SIZE,
    .input_limit = @NAME@_INPUT_MAX,
};

static struct {
@fields@
} memory;

/* Fails to compile if the memory is not as large as the header says. */
typedef char memory_as_planned[sizeof memory == @NAME@_WORK_BYTES ? 1 : -1];

static const akida_memory places = {
@places@
};
@functions@
