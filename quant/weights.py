"""Symmetric weight quantizers: float weights to signed integer levels.

A weight is stored as a level ``q`` in ``[-(2**(b-1) - 1), 2**(b-1) - 1]`` with
``q ~ w * d``. Levels and scales ``d`` are derived in fixed point (`exact`), so that the
same weights give the same integers however the program is compiled.
"""

import functools
import math
from typing import Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int32

from akida_jax.quant.exact import Scale, binary_exponent, to_fixed
from akida_jax.quant.straight_through import straight_through

WeightQuantizer = Literal["max_per_filter", "max_per_tensor", "std"]

STD_RANGE = 3
"""The ``std`` quantizer clips at this many standard deviations.

Source: default of the vendor's Apache-2.0 StdWeightQuantizer, docs/hardware.md#weights.
"""

WEIGHT_BITS = (2, 4, 8)

_FIXED_BITS = 15
_SCALE_BITS = 20
_STD_MAX_WEIGHTS = 2**25


class Levels(NamedTuple):
    """Integer weights and how they came about."""

    levels: Int32[Array, "*kernel"]
    """What the chip stores."""
    scale: Scale
    """Level per unit of weight, ``d``: one for the tensor or one per filter."""
    passes: Array
    """Boolean mask of the weights that rounding, not clipping, decided."""


def weight_limit(bits: int) -> int:
    """Return the largest weight level, ``2**(bits-1) - 1``."""
    return 2 ** (bits - 1) - 1


@functools.partial(jax.jit, static_argnames=("bits", "quantizer"))
def quantize_weights(
    w: Float[Array, "*kernel"],
    *,
    bits: int,
    quantizer: WeightQuantizer = "max_per_filter",
    least_range: Float[Array, " filters"] | None = None,
) -> Levels:
    """Derive integer levels and their scale from float weights.

    ``q = clip(round_half_up(w * d))`` with ``d = limit / range``, where ``range`` is the
    largest magnitude of the filter (the last axis), of the tensor, or three standard
    deviations of the tensor. ``d`` is truncated to ``bits + 5`` bits at most, which keeps
    the largest weight on the end level.

    A filter whose range is below 2**-10 of the largest one's shares that floor.

    Args:
      w: weights, filters on the last axis.
      bits: 2, 4 or 8.
      quantizer: "max_per_filter", "max_per_tensor" or "std".
      least_range: for "max_per_filter" the range that each filter must have for its
        registers to hold threshold and step (`least_weight_range`). A filter of smaller
        range is quantized with that range, or the largest of the tensor if that is
        smaller: a dead filter must not ask for an endless scale.

    Raises:
      ValueError: if ``bits`` is not 2, 4 or 8, the quantizer is unknown, or the tensor is
        too large for the integer sums of "std".

    Source: docs/hardware.md#weights.
    """
    if bits not in WEIGHT_BITS:
        raise ValueError(f"weight bits must be 2, 4 or 8, got {bits}")
    if quantizer not in get_args(WeightQuantizer):
        raise ValueError(f"weight quantizer must be one of {get_args(WeightQuantizer)}, "
                         f"got {quantizer!r}")  # fmt: skip
    if quantizer == "std" and w.size >= _STD_MAX_WEIGHTS:
        raise ValueError(f"the std quantizer takes less than {_STD_MAX_WEIGHTS} weights, got "
                         f"{w.size}; use max_per_filter or max_per_tensor")  # fmt: skip
    limit = weight_limit(bits)
    magnitude = jnp.abs(jax.lax.stop_gradient(w)).astype(jnp.float32)
    largest = jnp.maximum(jnp.max(magnitude), jnp.float32(2.0**-60))
    if quantizer == "max_per_filter":
        floor = largest * jnp.float32(2.0**-10)
        if least_range is not None:
            floor = jnp.clip(least_range, floor, largest)
        largest = jnp.maximum(jnp.max(magnitude, axis=tuple(range(w.ndim - 1))), floor)
    exponent = binary_exponent(largest)
    fixed = to_fixed(jax.lax.stop_gradient(w), exponent - _FIXED_BITS, 2**_FIXED_BITS)
    bound = to_fixed(largest, exponent - _FIXED_BITS, 2**_FIXED_BITS)
    if quantizer == "std":
        bound = jnp.clip(STD_RANGE * _standard_deviation(fixed), 2 * limit, bound)
    mantissa = (limit << _SCALE_BITS) // bound
    # |fixed| <= 2 * bound keeps the product below 2 * limit * 2**20 < 2**28.
    product = jnp.clip(fixed, -2 * bound, 2 * bound) * mantissa
    half = 1 << (_SCALE_BITS - 1)
    levels = jnp.clip((product + half) >> _SCALE_BITS, -limit, limit)
    passes = jnp.abs(product) <= (limit << _SCALE_BITS) + half
    return Levels(levels, Scale(mantissa, _FIXED_BITS - _SCALE_BITS - exponent), passes)


def fake_levels(w: Float[Array, "*kernel"], quantized: Levels) -> Float[Array, "*kernel"]:
    """Return the levels as float32, with the gradient of ``w * d`` where not clipped."""
    scaled = w * jax.lax.stop_gradient(quantized.scale.value)
    surrogate = jnp.where(quantized.passes, scaled, 0.0)
    return straight_through(quantized.levels.astype(jnp.float32), surrogate)


def _standard_deviation(fixed: Int32[Array, "*kernel"]) -> Int32[Array, ""]:
    """Standard deviation of 16-bit integers, in integers (to 1/2048 of full scale)."""
    coarse = (fixed + 128) >> 8
    n = math.prod(fixed.shape)
    mean_square = _mean(coarse * coarse, n, fraction_bits=8)
    mean = _mean(coarse, n, fraction_bits=4)
    return _square_root(jnp.maximum(mean_square - mean * mean, 0)) * 16


def _mean(x: Int32[Array, "*kernel"], n: int, *, fraction_bits: int) -> Int32[Array, ""]:
    """Return ``floor(sum(x) * 2**fraction_bits / n)`` for ``abs(x) <= 2**14``, n < 2**25."""
    # Divide as by hand, four bits at a time. Sums of the parts stay below 2**6 * n < 2**31,
    # a remainder with the next part below 16 * n + 15 * n < 2**31.
    parts = [jnp.sum((x >> shift) & 15) for shift in (4, 0)]
    parts += [jnp.int32(0)] * (fraction_bits // 4)
    quotient, remainder = jnp.divmod(jnp.sum(x >> 8), n)
    for part in parts:
        digit, remainder = jnp.divmod(remainder * 16 + part, n)
        quotient = quotient * 16 + digit
    return quotient


def _square_root(x: Int32[Array, ""]) -> Int32[Array, ""]:
    """Return the integer square root of ``x < 2**24``."""
    root = jnp.zeros_like(x)
    for bit in reversed(range(12)):
        candidate = root | (1 << bit)
        root = jnp.where(candidate * candidate <= x, candidate, root)
    return root
