// Runs all layers of a network on one or several threads.
#ifndef AKIDA_JAX_NETWORK_H_
#define AKIDA_JAX_NETWORK_H_

#include <cstdint>

#include "plan.h"
#include "team.h"

namespace akida_jax {

// Computes the last layer's potentials, [batch][rows][columns][filters], of levels
// [batch][rows][columns][channels].
void run_network(const Network& network, const uint8_t* input, int32_t* output, Team& team);

// Whether one input is work enough for several threads.
bool gains_by_sharing(const Network& network);

}  // namespace akida_jax

#endif  // AKIDA_JAX_NETWORK_H_
