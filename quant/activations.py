"""Unsigned activation quantizer: potentials to events, with threshold and step.

``out = clip(ceil((p - T) / (S * 2**(4 - b))), 0, 2**b - 1)`` for an int32 potential
``p``, threshold ``T`` and fixed-point step ``S`` (docs/hardware.md#activation).
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int32

from akida_jax.quant.exact import MANTISSA_BITS, SATURATED, Scale, floor_ratio, to_fixed
from akida_jax.quant.registers import AKIDA_1, Registers
from akida_jax.quant.straight_through import straight_through

ACTIVATION_BITS = (1, 2, 4)

_BIAS_LIMIT = 2**22


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
      does the threshold of a bias beyond 2**10 activation steps.

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
