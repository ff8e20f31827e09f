"""Exact integer potentials, computed with float32 operations.

Float32 carries integers exactly below 2**24. Where a layer's worst case lies beyond
that, its input channels are summed in groups that stay below, and the groups in int32.
"""

import math

import jax.numpy as jnp
from jaxtyping import Array, Float, Int32, Num

from akida_jax.quant.architecture import Kernels, Layer, Shape
from akida_jax.quant.operations import EXACT_FLOAT32
from akida_jax.quant.weights import weight_limit


def largest_potential(layer: Layer, in_shape: Shape, weight_bits: int, input_limit: int) -> int:
    """Return the largest magnitude that a potential can have before pooling."""
    fan_in = layer.kernel_shapes(in_shape)["kernel"]
    limit = weight_limit(weight_bits)
    if layer.kind == "separable":
        return math.prod(fan_in[:2]) * limit * input_limit * fan_in[3] * limit
    return math.prod(fan_in[:3]) * limit * input_limit


def n_channel_groups(layer: Layer, in_shape: Shape, weight_bits: int, input_limit: int) -> int:
    """Return into how many groups of channels float32 must split the sum.

    Raises:
      ValueError: if float32 cannot hold the sum of even one channel.
    """
    channels = layer.kernel_shapes(in_shape)["kernel"][3 if layer.kind == "separable" else 2]
    per_channel = largest_potential(layer, in_shape, weight_bits, input_limit) // channels
    if per_channel >= EXACT_FLOAT32:
        raise ValueError(
            f"layer {layer.name!r}: the sum over one channel can reach {per_channel}, beyond the "
            f"{EXACT_FLOAT32 - 1} that float32 holds exactly; use a smaller kernel or fewer "
            "weight bits"
        )
    return -(-channels // ((EXACT_FLOAT32 - 1) // per_channel))


def exact_potentials(
    layer: Layer, x: Float[Array, "n h w c"], kernels: Kernels, *, groups: int
) -> Int32[Array, "n ho wo f"]:
    """Return pooled int32 potentials of integers carried by float32.

    Max pooling takes the largest potential; global average pooling sums, never divides.
    """
    if groups == 1:
        total = layer.linear(x, kernels)
    else:
        if layer.kind == "dense":
            x = x.reshape(x.shape[0], 1, 1, math.prod(x.shape[1:]))
        axes = {"kernel": 3 if layer.kind == "separable" else 2, "pointwise": 0}
        parts = {name: jnp.array_split(k, groups, axes[name]) for name, k in kernels.items()}
        sums = [
            layer.linear(part, {name: split[i] for name, split in parts.items()})
            for i, part in enumerate(jnp.array_split(x, groups, 3))
        ]
        total = jnp.stack(sums).astype(jnp.int32).sum(0)
    return pool_potentials(layer, total)


def pool_potentials(layer: Layer, total: Num[Array, "n h w f"]) -> Int32[Array, "n ho wo f"]:
    """Return pooled int32 potentials from exact ones, held as float32 or int32."""
    pooled = layer.max_pool(total).astype(jnp.int32)
    if getattr(layer, "pool", None) == "global_average":
        pooled = pooled.sum((1, 2), keepdims=True)
    return pooled
