"""Writes the programs of a network as the C++ kernel reads them: a plan and constants.

The plan has the fields of ``Layer`` in ``source/plan.h``, in that order; the constants are
kernels in blocks of 16 filters, thresholds and divisors, each aligned to 64 bytes.
"""

import math
import sys
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int8, Int32, UInt8

from akida_jax.programs import LayerProgram, Programs
from akida_jax.quant.activations import activation_limit
from akida_jax.quant.architecture import Conv
from akida_jax.quant.operations import same_padding

LANES = 16
DEPTHWISE_LANES = 32
ALIGNMENT = 64
LARGEST_NEAR_DIVISOR = 2**15
"""Up to here the kernel fires with a float32 reciprocal. The quotient ``r``, of a potential above
its threshold by the divisor, matters up to 16 and lies at least ``1 / divisor`` from every whole
number it is not. The computed one lies below ``r`` by 2**-22 to 2**-19.9 of it, so at most by
2**-15.9 and never above: its ceiling is that of ``r``."""
_POOLS = {None: 0, "max": 1, "global_average": 2}


class Plan(NamedTuple):
    """A network for the kernel.

    Attributes:
      layers: int64 fields of all layers, one after another.
      constants: bytes of all kernels, thresholds and divisors.
    """

    layers: tuple[int, ...]
    constants: UInt8[np.ndarray, " bytes"]


def make_plan(programs: Programs) -> Plan:
    """Return the plan of a network whose last layer gives its potentials."""
    if sys.byteorder != "little":
        raise OSError("the native executor needs a machine whose lowest byte comes first")
    constants = _Constants()
    fields: list[int] = []
    for program in programs:
        fires = program is not programs[-1]
        fields += _geometry(program, fires=fires) + _constants(program, constants)
    return Plan(tuple(fields), constants.joined())


class _Constants:
    """Arrays one behind another, each aligned."""

    def __init__(self) -> None:
        self._parts: list[np.ndarray] = []
        self._size = 0

    def add(self, array: np.ndarray) -> int:
        """Append an array and return where it begins."""
        start = self._size
        raw = np.ascontiguousarray(array).view(np.uint8).reshape(-1)
        padded = np.zeros(-(-raw.size // ALIGNMENT) * ALIGNMENT, np.uint8)
        padded[: raw.size] = raw
        self._parts.append(padded)
        self._size += padded.size
        return start

    def joined(self) -> np.ndarray:
        return np.concatenate(self._parts)


def _geometry(program: LayerProgram, *, fires: bool) -> list[int]:
    spec = program.spec
    rows, columns, channels = program.in_shape
    map_rows, map_columns, filters = spec.map_shape(program.in_shape)
    out_rows, out_columns, _ = spec.out_shape(program.in_shape)
    if isinstance(spec, Conv):
        size, stride, same = (spec.kernel_size,) * 2, spec.stride, spec.padding == "same"
        border, pool = spec.border, _POOLS[spec.pool]
        window, steps = spec.pool_window if spec.pool == "max" else ((1, 1), (1, 1))
    else:  # a kernel over the whole input
        size, stride, same, border, pool = (rows, columns), 1, False, 0, 0
        window, steps = (1, 1), (1, 1)
    low = [
        same_padding(extent, size[i], stride)[0] if same else 0
        for i, extent in enumerate((rows, columns))
    ]
    high = [
        max((n - 1) * stride + size[i] - extent - low[i], 0)
        for i, (n, extent) in enumerate(((map_rows, rows), (map_columns, columns)))
    ]
    pool_low = [
        same_padding(extent, window[i], steps[i])[0] if same and pool == 1 else 0
        for i, extent in enumerate((map_rows, map_columns))
    ]
    return [
        int(spec.kind == "separable"), rows, columns, channels, *size, stride,
        low[0], low[1], high[0], high[1],
        border, max(border, activation_limit(program.input_bits)), map_rows, map_columns, filters,
        pool, *window, *steps, *pool_low, out_rows, out_columns,
        activation_limit(spec.act_bits) if fires else 0,
    ]  # fmt: skip


def _constants(program: LayerProgram, constants: _Constants) -> list[int]:
    kernels = {name: np.asarray(kernel) for name, kernel in program.kernels.items()}
    pointwise = 0
    if program.spec.kind == "separable":
        kernel = constants.add(_depthwise(kernels["kernel"]))
        pointwise = constants.add(_pointwise(kernels["pointwise"]))
    else:
        channels = program.in_shape[2]
        shape = (*kernels["kernel"].shape[:2], channels)
        if program.spec.kind == "dense":
            shape = program.in_shape
        kernel = constants.add(_convolution(kernels["kernel"].reshape(*shape, -1)))
    raw_step = np.maximum(np.asarray(program.raw_step, np.int32), 1)
    divisor = raw_step << np.int32(4 - program.spec.act_bits)
    fraction = program.registers.step_fraction_bits
    return [
        int(divisor.max() > LARGEST_NEAR_DIVISOR),
        fraction,
        kernel,
        pointwise,
        constants.add(_per_filter(np.asarray(program.threshold, np.int32), 0)),
        constants.add(_per_filter(divisor, 1)),
        constants.add(_per_filter(reciprocals(divisor, fraction), 0)),
    ]


def reciprocals(divisor: Int32[np.ndarray, " f"], fraction: int) -> Float32[np.ndarray, " f"]:
    """Return ``2**fraction / divisor``, too small by 2**-21 of it, rounded down or up by 2**-24."""
    exact = 2.0**fraction / divisor.astype(np.float64)
    return (exact * (1 - 2.0**-21)).astype(np.float32)


def _per_filter(values: np.ndarray, fill: int) -> np.ndarray:
    return np.pad(values, (0, -len(values) % LANES), constant_values=fill)


def _convolution(kernel: Int8[np.ndarray, "kh kw c f"]) -> np.ndarray:
    """Return (blocks, kh, kw, c/4, 16, 4): four channels of a filter side by side."""
    kh, kw, c, f = kernel.shape
    padded = np.pad(kernel, ((0, 0), (0, 0), (0, -c % 4), (0, -f % LANES)))
    split = padded.reshape(kh, kw, -1, 4, padded.shape[3] // LANES, LANES)
    return split.transpose(4, 0, 1, 2, 5, 3)


def _pointwise(kernel: Int8[np.ndarray, "c f"]) -> np.ndarray:
    """Return (blocks, c/2, 16, 2) in 16 bits, channels filled up to a multiple of four."""
    c, f = kernel.shape
    padded = np.pad(kernel, ((0, -c % 4), (0, -f % LANES))).astype(np.int16)
    split = padded.reshape(-1, 2, padded.shape[1] // LANES, LANES)
    return split.transpose(2, 0, 3, 1)


def _depthwise(kernel: Int8[np.ndarray, "kh kw 1 c"]) -> np.ndarray:
    """Return (kh * kw, c) in 16 bits, channels filled up to a multiple of 32."""
    taps = kernel.reshape(math.prod(kernel.shape[:2]), -1).astype(np.int16)
    return np.pad(taps, ((0, 0), (0, -taps.shape[1] % DEPTHWISE_LANES)))
