"""Unsigned activation quantizer: potentials to events, with threshold and step.

``out = clip(ceil((p - T) / (S * 2**(4 - b))), 0, 2**b - 1)`` for an int32 potential
``p``, threshold ``T`` and fixed-point step ``S`` (docs/hardware.md#activation).
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int32

from akida_jax.quant.exact import (
    MANTISSA_BITS,
    SATURATED,
    Scale,
    floor_ratio,
    power_of_two,
    snap,
    to_fixed,
)
from akida_jax.quant.registers import AKIDA_1, Registers
from akida_jax.quant.straight_through import straight_through

ACTIVATION_BITS = (1, 2, 4)

_ROOM = 30
_MANTISSA_PER_LEVEL = 64
"""The mantissa of a weight scale is at most this times the largest weight level."""

_BIAS_LIMIT = 2**24
"""In halves of a step's last bit: at least 2**11 steps, all that float32 holds exactly."""


class Firing(NamedTuple):
    """Integers that turn a filter's potential into its activation."""

    threshold: Int32[Array, " filters"]
    raw_step: Int32[Array, " filters"]
    """Step in units of ``2**-step_fraction_bits``."""


def activation_limit(bits: int) -> int:
    """Return the largest activation level, ``2**bits - 1``."""
    return 2**bits - 1


@functools.partial(jax.jit, static_argnames=("bits", "pooled", "activation", "registers"))
def derive_firing(
    *,
    weight_scales: tuple[Scale, ...],
    bias: Float[Array, " filters"],
    input_step: Scale,
    output_step: Scale,
    bits: int,
    pooled: int = 1,
    activation: bool = True,
    registers: Registers = AKIDA_1,
) -> Firing:
    """Derive threshold and step of every filter from a layer's real scales.

    With input scale ``a = 1 / input_step``, weight scale ``d`` (the product of
    ``weight_scales``), activation step ``s`` and ``t = s / 2``:
    ``T = floor(a * d * (t - b) * pooled)`` and ``S = a * d * s * 2**bits / 16 * pooled``,
    truncated to its fixed point. Without activation ``t = 0``, ``S = a * d * pooled``.

    Every quotient is exact (`floor_ratio`) for the bias rounded to ``s / 2**12`` or finer.

    Args:
      weight_scales: one per kernel; scalars or one value per filter.
      bias: folded bias, in the unit of the float network's activations.
      input_step: real value of one input level.
      output_step: real value of one output level; ignored without activation.
      bits: output bits.
      pooled: H * W of a global average pool, 1 otherwise.
      activation: whether the layer has one.
      registers: gives the fractional bits of the step.

    Returns:
      int32 threshold and raw step; a value beyond 2**30 comes back saturated, and so
      does the threshold of a bias beyond 2**11 activation steps.

    Source: docs/hardware.md#from-float-to-registers.
    """
    mantissas = tuple(scale.mantissa for scale in weight_scales)
    exponent = -input_step.exponent
    for scale in weight_scales:
        exponent = exponent + scale.exponent
    if activation:
        step_mantissa, step_exponent, shift = output_step.mantissa, output_step.exponent, bits - 4
        half_step = output_step.mantissa  # in units of 2**(step_exponent - 1)
    else:
        one = jnp.int32(2 ** (MANTISSA_BITS - 1))
        step_mantissa, step_exponent, shift = one, jnp.int32(1 - MANTISSA_BITS), 0
        half_step = jnp.int32(0)
    unit = step_exponent - 1
    fixed_bias = to_fixed(bias, unit, _BIAS_LIMIT)
    level = half_step - fixed_bias
    numerators = jnp.stack([level, jnp.broadcast_to(step_mantissa, level.shape)])
    powers = jnp.stack([unit, step_exponent + shift + registers.step_fraction_bits])[:, None]
    threshold, raw_step = floor_ratio(
        numerators, (*mantissas, pooled), input_step.mantissa, exponent + powers
    )
    # A bias that the fixed point cut off must not pass for a threshold that fits.
    cut = jnp.abs(fixed_bias) == _BIAS_LIMIT
    threshold = jnp.where(cut, -jnp.sign(fixed_bias) * SATURATED, threshold)
    return Firing(threshold, raw_step)


@functools.partial(
    jax.jit, static_argnames=("limit", "bits", "pooled", "activation", "is_input", "registers")
)
def least_weight_range(
    *,
    limit: int,
    other_scales: tuple[Scale, ...],
    bias: Float[Array, " filters"],
    input_step: Scale,
    output_step: Scale,
    bits: int,
    pooled: int = 1,
    activation: bool = True,
    is_input: bool = False,
    registers: Registers = AKIDA_1,
) -> Float[Array, " filters"]:
    """Return the range below which a filter's step or threshold overflows its register.

    With weight scale ``limit / range``, the step is below ``2**step_integer_bits`` and the
    threshold within its width if ``range`` is at least this. Rounded up by less than one
    part in 1,000, in the same way under every compiler.

    Args:
      limit: largest weight level.
      other_scales: of the layer's other kernels (the depthwise one).
      bias: folded bias, as `derive_firing` takes it; so are the following.
      input_step: real value of one input level.
      output_step: real value of one output level.
      bits: output bits.
      pooled: H * W of a global average pool, 1 otherwise.
      activation: whether the layer has one.
      is_input: whether the wider registers of the input layer apply.
      registers: widths.
    """
    fraction = 2**registers.step_fraction_bits
    step_limit = jnp.float32(registers.step_limit(is_input=is_input) / fraction)
    threshold_limit = jnp.float32(registers.threshold_limit(is_input=is_input))
    # Powers of two throughout: products and quotients are exact, the sum rounds once.
    step = output_step.value if activation else jnp.float32(1)
    half = 0.5 * step if activation else jnp.float32(0)
    per_step = step * jnp.float32(2.0 ** (bits - 4 if activation else 0)) / step_limit
    needed = snap(jnp.maximum((jnp.abs(bias) + half) / threshold_limit, per_step))
    x, top = needed.mantissa + 1, 2**MANTISSA_BITS + 1
    exponent = needed.exponent - input_step.exponent
    factors: list[tuple[Array | int, int]] = [(limit, limit), (pooled, pooled)]
    for scale in other_scales:
        exponent = exponent + scale.exponent
        factors.append((scale.mantissa, limit * _MANTISSA_PER_LEVEL))
    for factor, most in factors:
        # Drop, rounding up, what the product with the largest factor has no room for.
        surplus = max((top * most).bit_length() - _ROOM, 0)
        x = ((x >> surplus) + int(surplus > 0)) * factor
        top, exponent = ((top >> surplus) + 1) * most, exponent + surplus
    spare = max(_ROOM - top.bit_length(), 0)
    x = jax.lax.div(x << spare, jnp.broadcast_to(input_step.mantissa, x.shape)) + 1
    return x.astype(jnp.float32) * power_of_two(exponent - spare)


@functools.partial(jax.jit, static_argnames=("bits", "registers"))
def activate(
    potential: Int32[Array, "*batch filters"],
    threshold: Int32[Array, " filters"],
    raw_step: Int32[Array, " filters"],
    *,
    bits: int,
    registers: Registers = AKIDA_1,
) -> Int32[Array, "*batch filters"]:
    """Quantize potentials to ``[0, 2**bits - 1]`` in integers.

    A float32 quotient only guesses the level; two integer comparisons then settle it,
    so the result does not depend on how a device divides. A raw step of 0 counts as 1.

    Potentials and thresholds must lie within +-2**30, raw steps below 2**24.
    """
    limit = activation_limit(bits)
    fraction = registers.step_fraction_bits
    divisor = jnp.maximum(raw_step, 1) << (4 - bits)  # < 2**24 * 8 / limit: see below
    # limit * divisor < 2**28: the clip keeps 2**fraction * v below 2**28 + 2**5.
    ceiling = ((limit * divisor) >> fraction) + 1
    v = jnp.clip(potential - threshold, 0, ceiling) << fraction
    guess = jnp.ceil(v.astype(jnp.float32) / divisor.astype(jnp.float32))
    # Relative error of the float32 quotient < 2**-20: at most one level off.
    level = jnp.clip(guess.astype(jnp.int32), 0, limit)
    below = (level - 1) * divisor
    level = level + (v > below + divisor).astype(jnp.int32) - (v <= below).astype(jnp.int32)
    return jnp.clip(level, 0, limit)


def fake_activation(
    levels: Int32[Array, "*batch filters"],
    activation: Float[Array, "*batch filters"],
    *,
    step: Float[Array, ""],
    bits: int,
) -> Float[Array, "*batch filters"]:
    """Return activation levels as float32, with a straight-through gradient.

    Forward the integer ``levels``; backward the derivative of ``(y - s/2) / s`` for the
    real activation ``y``, wherever rounding and not clipping decides the level, that is
    for ``-s/2 < y <= (2**bits - 1/2) * s``. The end levels pass the full gradient.
    """
    u = activation / step - 0.5
    inside = (u > -1) & (u <= activation_limit(bits))
    return straight_through(levels.astype(jnp.float32), jnp.where(inside, u, 0.0))
