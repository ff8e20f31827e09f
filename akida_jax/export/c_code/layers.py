"""What the C runtime reads of each layer: numbers, and constants packed for flash."""

import dataclasses
import math

import numpy as np
from jaxtyping import Int8, Int64, UInt8

from akida_jax.programs import LayerProgram, Programs
from akida_jax.quant.activations import activation_limit
from akida_jax.quant.architecture import Conv, Shape
from akida_jax.quant.operations import same_padding

_POOLS = {None: "AKIDA_POOL_NONE", "max": "AKIDA_POOL_MAX", "global_average": "AKIDA_POOL_SUM"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class LayerTables:
    """One layer in C.

    Attributes:
      name: of the layer.
      kind: its type, in words.
      out_shape: of its output.
      code_bits: bits in which a weight is stored.
      fields: of ``akida_layer`` that are numbers, or names of the runtime.
      constants: of ``akida_layer``, arrays by field.
      patch_bytes: levels that its kernel covers, 0 if they need no copy.
      depthwise_bytes: sums between its two kernels.
      sums_bytes: potentials of a position.
      totals_bytes: potentials over all positions.
      largest_sum: bound of the magnitude of everything that is added up.
    """

    name: str
    kind: str
    out_shape: Shape
    code_bits: int
    fields: dict[str, int | str]
    constants: dict[str, np.ndarray]
    patch_bytes: int
    depthwise_bytes: int
    sums_bytes: int
    totals_bytes: int
    largest_sum: int


def make_tables(programs: Programs, *, packed: bool) -> list[LayerTables]:
    """Return the tables of every layer.

    Args:
      programs: of the model.
      packed: whether weights of 1, 2 and 4 bits share bytes; else each takes one.
    """
    return [_tables(program, packed=packed) for program in programs]


def _tables(program: LayerProgram, *, packed: bool) -> LayerTables:
    spec = program.spec
    code_bits = spec.weight_bits if packed else 8
    offset = 0 if spec.weight_bits == 1 else 2 ** (spec.weight_bits - 1)
    kernels = {name: np.asarray(kernel) for name, kernel in program.kernels.items()}
    constants = {}
    if "pointwise" in kernels:
        constants["depthwise"] = pack_rows(_matrix(kernels["kernel"]) + offset, code_bits)
    mixing = kernels.get("pointwise", kernels["kernel"])
    constants["weights"] = pack_rows(_matrix(mixing) + offset, code_bits)
    if spec.activation:
        constants["thresholds"] = np.asarray(program.threshold, np.int32)
        # limit * divisor < 2**28: raw steps are below 2**24.
        raw_steps = np.asarray(program.raw_step, np.uint32)
        constants["divisors"] = raw_steps << np.uint32(4 - spec.act_bits)
    channels, filters = program.in_shape[2], spec.neurons
    taps = getattr(spec, "kernel_size", 1) ** 2
    padded = -(-filters * code_bits // 8) * 8 // code_bits
    return LayerTables(
        name=str(spec.name),
        kind=type(spec).__name__,
        out_shape=spec.out_shape(program.in_shape),
        code_bits=code_bits,
        fields={**_geometry(program), "weight_bits": code_bits, "offset": offset},
        constants=constants,
        patch_bytes=taps * channels if taps > 1 else 0,
        depthwise_bytes=2 * channels if "pointwise" in kernels else 0,
        sums_bytes=4 * padded,
        totals_bytes=4 * filters if getattr(spec, "pool", None) == "global_average" else 0,
        largest_sum=largest_sum(program, offset),
    )


def _geometry(program: LayerProgram) -> dict[str, int | str]:
    spec = program.spec
    rows, columns, channels = program.in_shape
    limit = activation_limit(spec.act_bits) if spec.activation else 0
    fields: dict[str, int | str] = {
        "filters": spec.neurons, "limit": limit, "fraction": program.registers.step_fraction_bits,
    }  # fmt: skip
    if not isinstance(spec, Conv):
        one = dict.fromkeys(("rows", "columns", "map_rows", "map_columns", "out_rows",
                             "out_columns", "kernel", "stride"), 1)  # fmt: skip
        return {**one, "channels": math.prod(program.in_shape), **fields}
    map_rows, map_columns, _ = spec.map_shape(program.in_shape)
    out_rows, out_columns, _ = spec.out_shape(program.in_shape)
    top, left = (
        same_padding(size, spec.kernel_size, spec.stride)[0] if spec.padding == "same" else 0
        for size in (rows, columns)
    )
    fields |= {
        "rows": rows, "columns": columns, "channels": channels,
        "map_rows": map_rows, "map_columns": map_columns,
        "out_rows": out_rows, "out_columns": out_columns,
        "kernel": spec.kernel_size, "stride": spec.stride, "top": top, "left": left,
        "border": spec.border, "pool": _POOLS[spec.pool],
    }  # fmt: skip
    if spec.pool == "max":
        # Windows of at most 2 begin at the first row and column, with SAME padding too.
        size, stride = spec.pool_window
        assert max(size) <= 2
        fields |= {"pool_rows": size[0], "pool_columns": size[1],
                   "pool_row_stride": stride[0], "pool_column_stride": stride[1]}  # fmt: skip
    return fields


def _matrix(kernel: Int8[np.ndarray, "..."]) -> Int64[np.ndarray, "inputs filters"]:
    return kernel.reshape(-1, kernel.shape[-1]).astype(np.int64)


def pack_rows(codes: Int64[np.ndarray, "rows codes"], bits: int) -> UInt8[np.ndarray, " bytes"]:
    """Return rows of codes, each in whole bytes.

    A row of n bytes holds code f in byte ``f % n``, from bit ``f // n * bits`` on: neighbours lie
    in neighbouring bytes, so that a compiler can use vectors.
    """
    per_byte = 8 // bits
    padded = np.pad(codes, ((0, 0), (0, -codes.shape[1] % per_byte)))
    planes = padded.reshape(len(codes), per_byte, -1) << (bits * np.arange(per_byte)[:, None])
    return planes.sum(1).astype(np.uint8).reshape(-1)


def largest_sum(program: LayerProgram, offset: int) -> int:
    """Return a bound of every sum of a layer before pooling.

    Sums are of inputs times codes, ``weight + offset``; then ``offset`` times the sum of the
    inputs is taken away. No layer of the chip comes near 2**31: 158 million is the most, of a
    separable one with 2,048 channels and a 7x7 kernel (49 * 15 * 7 * 2048 * 15).
    """
    kernels = {name: np.asarray(kernel) for name, kernel in program.kernels.items()}
    level = max(activation_limit(program.input_bits), getattr(program.spec, "border", 0))
    first = _matrix(kernels["kernel"])
    inputs = np.full(len(first), level)
    if "pointwise" in kernels:
        inputs, first = np.abs(first).sum(0) * level, _matrix(kernels["pointwise"])
    return int(max((inputs @ (first + offset)).max(), offset * inputs.sum()))
