// Runs all layers of a network on one or several threads.
#ifndef AKIDA_JAX_NETWORK_H_
#define AKIDA_JAX_NETWORK_H_

#include <cstdint>

#include "plan.h"
#include "team.h"

namespace akida_jax {

// How many inputs, the first ones, are best run by one thread each, so that a network's maps stay
// in one core's caches. The threads share the rows of those left over, one input after another, if
// otherwise half of them or more would have nothing to do, and if one is work enough for several.
int64_t inputs_apart(const Network& network, int64_t threads);

// Computes the last layer's potentials, [batch][rows][columns][filters], of levels
// [batch][rows][columns][channels]. `apart` inputs run on one thread each, the others on all.
void run_network(const Network& network, const uint8_t* input, int32_t* output, int64_t apart,
                 Team& team);

}  // namespace akida_jax

#endif  // AKIDA_JAX_NETWORK_H_
