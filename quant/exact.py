"""Fixed-point arithmetic whose result no compiler can change.

The floor of a float32 expression may differ between two compilations of the same
program: fused multiply-add, a reciprocal in place of a division, another order of
operations. Everything here is either an int32 operation without overflow, a float32
product with a power of two, or one rounding of such a product. Each of these has one
correct result, so eager, jitted, vmapped and GPU runs agree bit for bit.

A real scale is held as ``mantissa * 2**exponent`` with a short integer mantissa.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int32

MANTISSA_BITS = 12
"""Length of a snapped scale: a relative error below 2**-11, far under one 4-bit step."""

SATURATED = 2**30 - 1
"""What `floor_ratio` returns in place of any larger magnitude; no register holds it."""

_LIMB_BITS = 12
_LIMB_MASK = 2**_LIMB_BITS - 1
_LIMBS = 9
_SHIFT_STEP = 18


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=["mantissa", "exponent"], meta_fields=[]
)
@dataclasses.dataclass(frozen=True)
class Scale:
    """A positive real ``mantissa * 2**exponent``."""

    mantissa: Int32[Array, "*channels"]
    exponent: Int32[Array, "*channels"]

    @property
    def value(self) -> Float[Array, "*channels"]:
        """The scale as float32; exact, since the mantissa is shorter than 24 bits."""
        return self.mantissa.astype(jnp.float32) * power_of_two(self.exponent)


def power_of_two(exponent: Int32[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Return ``2.0**exponent`` by writing the exponent field; clipped to [-126, 127]."""
    field = jnp.clip(exponent, -126, 127) + 127
    return jax.lax.bitcast_convert_type(field.astype(jnp.int32) << 23, jnp.float32)


def binary_exponent(x: Float[Array, "*shape"]) -> Int32[Array, "*shape"]:
    """Return ``e`` with ``2**(e-1) <= x < 2**e`` for positive normal ``x``."""
    return (jax.lax.bitcast_convert_type(x.astype(jnp.float32), jnp.int32) >> 23) - 126


def snap(x: Float[Array, "*shape"]) -> Scale:
    """Truncate positive reals to a 12-bit mantissa.

    Values below 2**-100 (zero included) are taken as 2**-100.
    """
    x = jnp.maximum(jnp.asarray(x, jnp.float32), jnp.float32(2.0**-100))
    bits = jax.lax.bitcast_convert_type(x, jnp.int32)
    mantissa = ((bits & 0x7FFFFF) | 0x800000) >> (24 - MANTISSA_BITS)
    return Scale(mantissa, binary_exponent(x) - MANTISSA_BITS)


def to_fixed(
    x: Float[Array, "*shape"], exponent: Int32[Array, "..."], limit: int
) -> Int32[Array, "*shape"]:
    """Round ``x / 2**exponent`` to the nearest integer (ties to even) in +-limit.

    ``limit`` must be at most 2**24, so that float32 holds the result exactly.
    """
    scaled = x.astype(jnp.float32) * power_of_two(-exponent)
    return jnp.clip(jnp.round(scaled), -limit, limit).astype(jnp.int32)


def floor_ratio(
    x: Int32[Array, "*shape"],
    factors: tuple[Int32[Array, "..."] | int, ...],
    divisor: Int32[Array, "..."],
    exponent: Int32[Array, "..."],
) -> Int32[Array, "*shape"]:
    """Return ``floor(x * prod(factors) * 2**exponent / divisor)`` exactly.

    Multiplies and divides as by hand, in nine digits of 12 bits (two's complement).

    Args:
      x: integers with ``abs(x) < 2**30``.
      factors: each in ``[0, 2**18)``, and ``abs(x * prod(factors)) < 2**60``.
      divisor: in ``[1, 2**12]``.
      exponent: power of two, clipped to [-36, 36].

    Returns:
      The floor; `SATURATED` with its sign where the magnitude does not fit 30 bits.
    """
    up = jnp.clip(exponent, 0, 2 * _SHIFT_STEP)
    down = jnp.clip(-exponent, 0, 2 * _SHIFT_STEP)
    shape = jnp.broadcast_shapes(
        x.shape, *(jnp.shape(f) for f in factors), divisor.shape, exponent.shape
    )
    limbs = _split(jnp.broadcast_to(x, shape))
    for factor in factors:
        if isinstance(factor, int) and factor == 1:
            continue
        limbs = _multiply(limbs, jnp.asarray(factor, jnp.int32))
    for shift in (jnp.minimum(up, _SHIFT_STEP), jnp.maximum(up - _SHIFT_STEP, 0)):
        limbs = _multiply(limbs, jnp.int32(1) << shift)
    limbs = _divide(limbs, divisor)
    for shift in (jnp.minimum(down, _SHIFT_STEP), jnp.maximum(down - _SHIFT_STEP, 0)):
        limbs = _divide(limbs, jnp.int32(1) << shift)
    return _join(limbs)


def _split(x: Array) -> Array:
    """Return digits, lowest first, along a new leading axis."""
    shifts = np.minimum(np.arange(_LIMBS) * _LIMB_BITS, 31).reshape(-1, *[1] * x.ndim)
    return (x >> shifts.astype(np.int32)) & _LIMB_MASK


def _multiply(limbs: Array, factor: Array) -> Array:
    # limb * factor + carry < 2**12 * 2**18 + 2**19 < 2**31.
    def digit(carry: Array, limb: Array) -> tuple[Array, Array]:
        total = limb * factor + carry
        return total >> _LIMB_BITS, total & _LIMB_MASK

    return jax.lax.scan(digit, jnp.zeros_like(limbs[0]), limbs)[1]


def _divide(limbs: Array, divisor: Array) -> Array:
    # Long division from the top; the top digit is only ever the sign (0 or all ones),
    # and floor(-1 / divisor) is -1 with remainder divisor - 1.
    divisor = jnp.broadcast_to(divisor, limbs.shape[1:])

    def digit(remainder: Array, limb: Array) -> tuple[Array, Array]:
        partial = (remainder << _LIMB_BITS) | limb
        quotient = jax.lax.div(partial, divisor)
        return partial - quotient * divisor, quotient

    remainder = jnp.where(limbs[-1] != 0, divisor - 1, 0)
    quotient = jax.lax.scan(digit, remainder, limbs[:-1], reverse=True)[1]
    return jnp.concatenate([quotient, limbs[-1:]])


def _join(limbs: Array) -> Array:
    low = limbs[0] | (limbs[1] << _LIMB_BITS) | ((limbs[2] & 0x3F) << 2 * _LIMB_BITS)
    negative = limbs[-1] != 0
    sign = jnp.where(negative, _LIMB_MASK, 0)
    fits = ((limbs[2] >> 6) == (sign >> 6)) & (limbs[3:] == sign).all(0)
    value = jnp.where(negative, jnp.maximum(low - 2**30, -SATURATED), low)
    return jnp.where(fits, value, jnp.where(negative, -SATURATED, SATURATED))
