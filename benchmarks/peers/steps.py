"""An integer model in the terms that other programs share.

They have no thresholds and no 4-bit levels: an activation is ``clip(sum * scale + bias, 0,
limit)``, held in 8 bits where this project holds 1, 2 or 4, so that they compute the same network
a little more finely, with the same zeros. A separable layer is two convolutions, and what lies
between is rounded to 8 bits, which the chip does not do.
"""

import dataclasses
from typing import Literal

import jax.numpy as jnp
import numpy as np

import akida_jax as aj
from akida_jax.executors import dense_potentials, run_layers
from akida_jax.quant.activations import activation_limit
from akida_jax.quant.architecture import Conv
from akida_jax.quant.operations import convolve_depthwise, same_padding

LEVELS = 255
"""Highest 8-bit level of an activation."""

Pads = tuple[int, int, int, int]
"""Top, left, bottom, right."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Step:
    """One operation and what is fused into it.

    Attributes:
      kind: what is computed of the input.
      kernel: int8, HWIO; (kh, kw, 1, c) if depthwise, (h, w, c, units) if dense.
      scale: float32 of each output, multiplies the integer sum.
      bias: float32 of each output, added behind.
      stride: of the convolution.
      pads: of the convolution.
      low: lowest value that is kept.
      high: highest one; the output is held in 8 bits from ``low`` to it.
      pool: window, stride and pads of a max pool, or "mean".
      inner: largest magnitude of what the mean is taken of.
    """

    kind: Literal["conv", "depthwise", "dense"]
    kernel: np.ndarray
    scale: np.ndarray
    bias: np.ndarray
    stride: int = 1
    pads: Pads = (0, 0, 0, 0)
    low: float = 0.0
    high: float = 15.0
    pool: tuple[tuple[int, int], tuple[int, int], Pads] | Literal["mean"] | None = None
    inner: float = 0.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Peer:
    """A network for other programs.

    Attributes:
      steps: in order.
      input_shape: height, width, channels.
      zero: input value that stands for zero: the first layer's padding value.
    """

    steps: tuple[Step, ...]
    input_shape: tuple[int, int, int]
    zero: int


def make_peer(model: aj.Model, x: np.ndarray) -> Peer:
    """Return a model in the terms of other programs.

    Args:
      model: ends in potentials.
      x: inputs, from which the ranges of values without activation are taken.
    """
    inputs, last = run_layers(model.programs, jnp.asarray(x), dense_potentials)
    steps: list[Step] = []
    for program, levels in zip(model.programs, inputs, strict=True):
        steps += _steps(program, np.asarray(levels), np.asarray(last))
    zero = getattr(model.layers[0], "padding_value", 0)
    first = steps[0]
    shifted = first.kernel.astype(np.int64).sum((0, 1, 2)) * zero
    steps[0] = dataclasses.replace(
        first, bias=(first.bias + shifted * first.scale).astype(np.float32)
    )
    return Peer(steps=tuple(steps), input_shape=model.input_shape, zero=zero)


def whole_bias(step: Step, scale: np.ndarray) -> np.ndarray:
    """Return the bias of a step as int32 in units of ``scale``, that of its 8-bit sums."""
    limit = 2**31 - 1
    return np.clip(np.rint(step.bias / scale.astype(np.float64)), -limit, limit).astype(np.int32)


def _steps(program: aj.model.LayerProgram, levels: np.ndarray, last: np.ndarray) -> list[Step]:
    spec = program.spec
    kernels = {name: np.asarray(kernel) for name, kernel in program.kernels.items()}
    divisor = np.asarray(program.raw_step, np.float64) / 2.0**program.registers.step_fraction_bits
    if spec.activation:
        divisor = divisor * 2.0 ** (4 - spec.act_bits)
        low, high = 0.0, float(activation_limit(spec.act_bits))
    else:
        low, high = _reach((last - np.asarray(program.threshold)) / divisor)
    scale = (1 / divisor).astype(np.float32)
    bias = (-np.asarray(program.threshold) / divisor).astype(np.float32)
    if not isinstance(spec, Conv):
        kernel = kernels["kernel"].reshape(*program.in_shape, spec.neurons)
        return [Step(kind="dense", kernel=kernel, scale=scale, bias=bias, low=low, high=high)]
    pads = _pads(program.in_shape, (spec.kernel_size,) * 2, (spec.stride,) * 2, spec.padding)
    common: dict = {"low": low, "high": high, "bias": bias}
    if spec.pool == "max":
        window, stride = spec.pool_window
        common["pool"] = window, stride, _pads(spec.map_shape(program.in_shape), window, stride,
                                               spec.padding)  # fmt: skip
    elif spec.pool == "global_average":
        scale = scale * spec.pooled(program.in_shape)
        sums = np.asarray(spec.linear(jnp.asarray(levels), program.float_kernels()))
        common |= {"pool": "mean", "inner": _reach(np.abs(sums * scale + bias))[1]}
    if spec.kind != "separable":
        return [Step(kind="conv", kernel=kernels["kernel"], scale=scale, stride=spec.stride,
                     pads=pads, **common)]  # fmt: skip
    between = convolve_depthwise(jnp.asarray(levels), program.float_kernels()["kernel"],
                                 stride=spec.stride)  # fmt: skip
    reach = _reach(np.abs(between))[1]
    ones = np.ones(kernels["kernel"].shape[3], np.float32)
    return [
        Step(kind="depthwise", kernel=kernels["kernel"], scale=ones, bias=0 * ones,
             stride=spec.stride, pads=pads, low=-reach, high=reach),
        Step(kind="conv", kernel=kernels["pointwise"][None, None], scale=scale, **common),
    ]  # fmt: skip


def _reach(values: np.ndarray) -> tuple[float, float]:
    """Return a range that holds values and 0, is not empty and begins below 0: no clipping."""
    low, high = min(float(values.min()), 0.0), max(float(values.max()), 0.0)
    if low == high:
        high = 1.0
    return min(low, -(high - low) / LEVELS), high


def _pads(
    shape: tuple[int, ...], window: tuple[int, int], stride: tuple[int, int], padding: str
) -> Pads:
    if padding != "same":
        return 0, 0, 0, 0
    rows, columns = (same_padding(shape[i], window[i], stride[i]) for i in range(2))
    return rows[0], columns[0], rows[1], columns[1]
