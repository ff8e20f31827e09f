"""Writes the programs of a network as the C++ kernel reads them: a plan and constants.

The plan has the fields of ``Layer`` in ``source/plan.h``, in that order; the constants are
kernels in blocks of 16 filters, thresholds and divisors, each aligned to 64 bytes.
"""

import math
import sys
from typing import NamedTuple

import numpy as np
from jaxtyping import Int8, Int16, UInt8

from akida_jax.programs import LayerProgram, Programs
from akida_jax.quant.activations import activation_limit
from akida_jax.quant.architecture import Conv
from akida_jax.quant.operations import same_padding
from akida_jax.quant.weights import weight_limit

LANES = 16
DEPTHWISE_LANES = 32
ALIGNMENT = 64
LARGEST_NEAR_DIVISOR = 2**16
"""Up to here the kernel fires in float32. Of a potential ``d`` above its threshold, with
``u = 2**fraction``, ``ceil(u * d / divisor)`` is ``floor((u * d - 1/2) / divisor + 1)``, whose
argument lies at least ``1 / (2 * divisor)``, 2**-17, from every whole number. As far as it
matters, up to 17, float32 is off by less: 2**-20 by the rounded factor, 2**-21 by the product,
2**-20 by the sum and 2**-25 by the rounded constant, together below 2**-18.6."""
EVENT_PERCENT = 12
"""Where at most this share of the words (four channels of a pixel) that a few rows of a convolution
read is not zero, those rows go through their events one by one; of `EVENT_FILTERS` filters or more,
of fewer in proportion, since what an event costs beside its products is shared by them. `python -m
benchmarks.density` measures where the two ways meet, which differs between processors: the share is
the lower of those found. Where the processor's tiles multiply, events never win and rows go by them
only if all may (100)."""
EVENT_FILTERS = 128
_POOLS = {None: 0, "max": 1, "global_average": 2}


class Plan(NamedTuple):
    """A network for the kernel.

    Attributes:
      layers: int64 fields of all layers, one after another.
      constants: bytes of all kernels, thresholds and divisors.
    """

    layers: tuple[int, ...]
    constants: UInt8[np.ndarray, " bytes"]


def make_plan(programs: Programs, *, event_percent: int | None = None) -> Plan:
    """Return the plan of a network whose last layer gives its potentials.

    Args:
      programs: of all layers.
      event_percent: up to which share rows go by events, 0 to 100; None for the share that
        was measured for each layer's filters (`EVENT_PERCENT`).

    Raises:
      OSError: on a machine whose highest byte comes first.
    """
    if sys.byteorder != "little":
        raise OSError("the native executor needs a machine whose lowest byte comes first")
    constants = _Constants()
    fields: list[int] = []
    for program in programs:
        fires = program is not programs[-1]
        fields += _geometry(program, event_percent, fires=fires)
        fields += _constants(program, constants)
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


def measured_percent(filters: int) -> int:
    """Return up to which share of words rows go by events."""
    return EVENT_PERCENT * min(filters, EVENT_FILTERS) // EVENT_FILTERS


def _geometry(program: LayerProgram, event_percent: int | None, *, fires: bool) -> list[int]:
    spec = program.spec
    rows, columns, channels = program.in_shape
    map_rows, map_columns, filters = spec.map_shape(program.in_shape)
    percent = measured_percent(filters) if event_percent is None else event_percent
    out_rows, out_columns, _ = spec.out_shape(program.in_shape)
    if isinstance(spec, Conv):
        size, stride, same = (spec.kernel_size,) * 2, spec.stride, spec.padding == "same"
        border, pool = spec.border, _POOLS[spec.pool]
        # Windows of at most 2 begin at the first row and column, with SAME padding too.
        window, steps = spec.pool_window if spec.pool == "max" else ((1, 1), (1, 1))
        assert max(window) <= 2
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
    level = max(border, activation_limit(program.input_bits))
    small = 2 * level * weight_limit(max(spec.weight_bits, 2)) < 2**15
    return [
        int(spec.kind == "separable"), rows, columns, channels, *size, stride,
        low[0], low[1], high[0], high[1],
        border, percent, int(small), map_rows, map_columns, filters,
        pool, *window, *steps, out_rows, out_columns,
        activation_limit(spec.act_bits) if fires else 0,
    ]  # fmt: skip


def _constants(program: LayerProgram, constants: _Constants) -> list[int]:
    kernels = {name: np.asarray(kernel) for name, kernel in program.kernels.items()}
    behind = [0, 0, 0]
    if program.spec.kind == "separable":
        offset = offsets(kernels["kernel"], activation_limit(program.input_bits))
        first = -(offset.astype(np.int32) @ kernels["pointwise"].astype(np.int32))
        kernel = constants.add(_depthwise(kernels["kernel"]))
        behind = [
            constants.add(_convolution(kernels["pointwise"][None, None])),
            constants.add(np.pad(offset, (0, -len(offset) % DEPTHWISE_LANES))),
            constants.add(_per_filter(first, 0)),
        ]
    else:
        shape = (*kernels["kernel"].shape[:2], program.in_shape[2])
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
        constants.add(_per_filter(np.asarray(program.threshold, np.int32), 0)),
        constants.add(_per_filter(divisor, 1)),
        constants.add(_per_filter((2.0**fraction / divisor).astype(np.float32), 0)),
        constants.add(_per_filter((1 - 0.5 / divisor).astype(np.float32), 0)),
        *behind,
    ]


def offsets(kernel: Int8[np.ndarray, "kh kw 1 c"], limit: int) -> Int16[np.ndarray, " c"]:
    """Return what raises the depthwise sums of each channel so that most lie in 0..255.

    The lowest sum becomes 0 if all fit; else the sum of a third of the highest level lies in the
    middle, and a sum of 0 inside. Any offset gives exact results; with this one between 0 and
    0.4 % of the sums of AkidaNet lie outside.
    """
    weights = kernel.reshape(-1, kernel.shape[3]).astype(np.int64) * limit
    low, high = np.minimum(weights, 0).sum(0), np.maximum(weights, 0).sum(0)
    middle = np.clip(128 - (low + high) // 3, 0, 255)
    return np.where(high - low <= 255, -low, middle).astype(np.int16)


def _per_filter(values: np.ndarray, fill: int) -> np.ndarray:
    return np.pad(values, (0, -len(values) % LANES), constant_values=fill)


def _convolution(kernel: Int8[np.ndarray, "kh kw c f"]) -> np.ndarray:
    """Return (blocks, kh, kw, c/4, 16, 4): four channels of a filter side by side."""
    kh, kw, c, f = kernel.shape
    padded = np.pad(kernel, ((0, 0), (0, 0), (0, -c % 4), (0, -f % LANES)))
    split = padded.reshape(kh, kw, -1, 4, padded.shape[3] // LANES, LANES)
    return split.transpose(4, 0, 1, 2, 5, 3)


def _depthwise(kernel: Int8[np.ndarray, "kh kw 1 c"]) -> np.ndarray:
    """Return (kh * kw, c) in 16 bits, channels filled up to a multiple of 32."""
    taps = kernel.reshape(math.prod(kernel.shape[:2]), -1).astype(np.int16)
    return np.pad(taps, ((0, 0), (0, -taps.shape[1] % DEPTHWISE_LANES)))
