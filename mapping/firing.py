"""How much of a quantized network fires, with a gradient.

Feed the result to `estimate`, and `jax.grad` or `nnx.grad` trains a network to a budget of
energy or time.
"""

from collections.abc import Sequence

import jax.numpy as jnp
from jaxtyping import Array, Float, Num, UInt8

from akida_jax.quant.networks import Sequential
from akida_jax.quant.straight_through import straight_through


def output_sparsity(network: Sequential, x: UInt8[Array, "n h w c"]) -> dict[str, Float[Array, ""]]:
    """Return the share of zeros in the input and in every layer's output.

    Forward the exact share. Backward a surrogate: whether a neuron fires changes by half
    an event per step of its activation, for levels 0 and 1, and not at all above; that is
    the central difference over one step either way. Below level 0 the activation's own
    straight-through mask ends the gradient one step under the threshold.

    Args:
      network: quantized.
      x: a batch of inputs.

    Raises:
      ValueError: if the network is a float network, whose events the chip never sees.
    """
    if not network.quantized:
        raise ValueError("a float network has no events; apply quant.quantize first")
    return shares_of_zeros(network, x, network.outputs(x))


def shares_of_zeros(
    network: Sequential, x: Num[Array, "n h w c"], outputs: Sequence[tuple[str, Array]]
) -> dict[str, Float[Array, ""]]:
    """Return what `output_sparsity` does, of outputs that are there already.

    Args:
      network: quantized.
      x: a batch of inputs.
      outputs: of `Sequential.outputs`.
    """
    shares = {str(network.input.name): _sparsity(jnp.asarray(x, jnp.float32))}
    return shares | {name: _sparsity(levels) for name, levels in outputs}


def count_events(levels: Float[Array, "*shape"]) -> Float[Array, ""]:
    """Return the number of values that are not zero, with the surrogate's gradient."""
    fires = (levels != 0).astype(jnp.float32)
    return straight_through(fires, jnp.where(levels <= 1, 0.5 * levels, 0.0)).sum()


def _sparsity(levels: Float[Array, "*shape"]) -> Float[Array, ""]:
    return 1.0 - count_events(levels) / levels.size
