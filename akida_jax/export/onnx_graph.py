"""Integer models as graphs of standard ONNX operators.

Sums are float32, which holds them exactly: all operands are integers, and no partial sum, in
whatever order, reaches 2**24 (`LayerProgram.groups`). Where a layer could go beyond, its channels
are summed in groups, and the groups in int32. ONNX's own ConvInteger is several times slower in
ONNX Runtime, and its products of unsigned and signed bytes saturate on CPUs without VNNI. What
follows the sums is int32 throughout, division included.
"""

import itertools
import os
from types import ModuleType
from typing import Any

import numpy as np

from akida_jax.archives import check_target, replace_file
from akida_jax.export.sizes import check_size
from akida_jax.model import Model
from akida_jax.programs import LayerProgram
from akida_jax.quant.activations import activation_limit
from akida_jax.quant.architecture import Conv, Shape
from akida_jax.quant.operations import same_padding

OPSET = 17
"""Version of ONNX's operators; 2022, read by every newer program."""
_IR_VERSION = 8


def to_onnx(model: Model, path: str | os.PathLike, *, channels_first: bool = False) -> None:
    """Write a model as an ONNX graph with the input "input" and the output "output".

    It takes uint8 levels (n, h, w, c) for any n and returns what `Model.forward` does: int32
    potentials, or uint8 levels where the last layer has an activation. It does not check that
    levels lie below ``2**input_bits``. The same model gives the same bytes.

    The integers are exact in a program that multiplies and adds float32 as it is told, such as
    ONNX Runtime on a CPU. One that holds float32 in fewer bits (TF32), or convolves through a
    Winograd or Fourier transform, may round.

    Args:
      model: to be written.
      path: of the file (.onnx); it appears when it is complete.
      channels_first: input and output are (n, c, h, w).

    Raises:
      ModuleNotFoundError: if the package onnx, extra "onnx", is not installed.
      ValueError: for weights beyond 2 GiB.
      FileNotFoundError: if the folder does not exist.
      IsADirectoryError: if the name is that of a folder.
    """
    target = check_target(path)
    check_size(model.programs)
    onnx = _import_onnx()
    content = _build(onnx, model, channels_first=channels_first)
    onnx.checker.check_model(content, full_check=True)
    with replace_file(target) as stream:
        stream.write(content.SerializeToString(deterministic=True))


def _import_onnx() -> ModuleType:
    try:
        import onnx
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "to_onnx needs the package onnx: pip install 'akida-jax[onnx]'"
        ) from error
    return onnx


def _build(onnx: ModuleType, model: Model, *, channels_first: bool) -> Any:
    """Return the ONNX model."""
    graph = _Graph(onnx)
    value = "input" if channels_first else graph.add("Transpose", "input", perm=[0, 3, 1, 2])
    for program in model.programs:
        graph.layer = str(program.spec.name)
        value = _add_layer(graph, graph.cast(value, "FLOAT"), program)
    graph.layer = "output"
    activation = model.programs[-1].spec.activation
    kind = "UINT8" if activation else "INT32"
    if activation:
        value = graph.cast(value, kind)
    order = [0, 1, 2, 3] if channels_first else [0, 2, 3, 1]
    graph.add("Transpose", value, perm=order, output="output")
    ends = [
        onnx.helper.make_tensor_value_info(
            name, onnx.TensorProto.DataType.Value(type_), _sizes(shape, channels_first)
        )
        for name, type_, shape in (
            ("input", "UINT8", model.input_shape),
            ("output", kind, model.output_shape),
        )
    ]
    made = onnx.helper.make_graph(
        graph.nodes, "model", ends[:1], ends[1:], initializer=graph.constants
    )
    opset = onnx.helper.make_opsetid("", OPSET)
    return onnx.helper.make_model(
        made, opset_imports=[opset], ir_version=_IR_VERSION, producer_name="akida-jax"
    )


def _sizes(shape: Shape, channels_first: bool) -> list[str | int]:
    height, width, channels = shape
    return ["n", channels, height, width] if channels_first else ["n", height, width, channels]


class _Graph:
    """Nodes and constants of a graph under construction.

    Attributes:
      layer: first part of the names of what is added.
    """

    def __init__(self, onnx: ModuleType):
        self._onnx = onnx
        self._count = itertools.count()
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.layer = "input"

    def add(self, kind: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        """Add a node and return its output."""
        name = output or self._name(kind)
        node = self._onnx.helper.make_node(kind, list(inputs), [name], name=name, **attributes)
        self.nodes.append(node)
        return name

    def constant(self, value: np.ndarray | np.generic, what: str) -> str:
        """Add a constant and return its name."""
        name = self._name(what)
        self.constants.append(self._onnx.numpy_helper.from_array(np.asarray(value), name))
        return name

    def cast(self, value: str, kind: str) -> str:
        """Convert to a type of ONNX."""
        return self.add("Cast", value, to=self._onnx.TensorProto.DataType.Value(kind))

    def weights(self, kernel: np.ndarray, what: str) -> str:
        """Return weights as float32, stored as int8."""
        return self.cast(self.constant(np.ascontiguousarray(kernel), what), "FLOAT")

    def _name(self, what: str) -> str:
        return f"{self.layer}/{what}_{next(self._count)}"


def _add_layer(graph: _Graph, x: str, program: LayerProgram) -> str:
    """Add a layer of float32 levels (n, c, h, w); return int32 or float32 ones, or potentials.

    The maximum of potentials is taken in float32, since ONNX Runtime has none of int32. Where
    float32 does not hold them, levels are taken instead: an activation never falls, so the level
    of the largest potential is the largest level.
    """
    spec = program.spec
    pooled = isinstance(spec, Conv) and spec.pool == "max"
    if program.groups == 1:
        sums = _add_sums(graph, x, program)
        if pooled:
            sums = _add_max_pool(graph, sums, program)
        potentials = graph.cast(sums, "INT32")
    else:
        potentials = _add_grouped_sums(graph, x, program)
    if isinstance(spec, Conv) and spec.pool == "global_average":
        axes = graph.constant(np.array([2, 3], np.int64), "axes")
        potentials = graph.add("ReduceSum", potentials, axes, keepdims=1)
    if not spec.activation:
        assert program.groups == 1 or not pooled, "a layer follows a max pool"
        return potentials
    levels = _add_activation(graph, potentials, program)
    if program.groups > 1 and pooled:
        return _add_max_pool(graph, graph.cast(levels, "FLOAT"), program)
    return levels


def _add_sums(graph: _Graph, x: str, program: LayerProgram) -> str:
    """Return float32 potentials before pooling, (n, f, h, w)."""
    spec, kernel = program.spec, np.asarray(program.kernels["kernel"])
    if not isinstance(spec, Conv):
        height, width, channels = program.in_shape
        # Rows of the kernel follow (h, w, c), the flattened input (c, h, w).
        matrix = kernel.reshape(height, width, channels, spec.neurons).transpose(2, 0, 1, 3)
        weights = graph.weights(matrix.reshape(-1, spec.neurons), "kernel")
        sums = graph.add("MatMul", graph.add("Flatten", x, axis=1), weights)
        axes = graph.constant(np.array([2, 3], np.int64), "axes")
        return graph.add("Unsqueeze", sums, axes)
    if spec.kind == "separable":
        pointwise = np.asarray(program.kernels["pointwise"]).T[:, :, None, None]
        mixing = graph.weights(pointwise, "pointwise")
        return graph.add("Conv", _add_depthwise(graph, x, program), mixing)
    weights = graph.weights(kernel.transpose(3, 2, 0, 1), "kernel")
    pads = _pads(program.in_shape, (spec.kernel_size,) * 2, (spec.stride,) * 2, spec.padding)
    if spec.border and any(pads):
        around = np.array([0, 0, *pads[:2], 0, 0, *pads[2:]], np.int64)
        border = graph.constant(np.float32(spec.border), "border")
        x, pads = graph.add("Pad", x, graph.constant(around, "pads"), border), [0] * 4
    return graph.add("Conv", x, weights, strides=[spec.stride] * 2, pads=pads)


def _add_depthwise(graph: _Graph, x: str, program: LayerProgram) -> str:
    """Return the sums of each channel, below 49 * 15 * 7."""
    spec, kernel = program.spec, np.asarray(program.kernels["kernel"])
    assert isinstance(spec, Conv)
    pads = _pads(program.in_shape, (spec.kernel_size,) * 2, (spec.stride,) * 2, "same")
    weights = graph.weights(kernel.transpose(3, 2, 0, 1), "kernel")
    return graph.add("Conv", x, weights, group=program.in_shape[2], pads=pads,
                     strides=[spec.stride] * 2)  # fmt: skip


def _add_grouped_sums(graph: _Graph, x: str, program: LayerProgram) -> str:
    """Return int32 potentials of a separable layer, its channels summed in groups."""
    assert program.spec.kind == "separable", "no other layer of the chip reaches 2**24"
    depthwise = _add_depthwise(graph, x, program)
    pointwise = np.asarray(program.kernels["pointwise"]).T[:, :, None, None]
    parts = np.array_split(np.arange(pointwise.shape[1]), program.groups)
    total = ""
    for part in parts:
        start, stop, axis = (
            graph.constant(np.array([number], np.int64), "slice")
            for number in (part[0], part[-1] + 1, 1)
        )
        channels = graph.add("Slice", depthwise, start, stop, axis)
        weights = graph.weights(pointwise[:, part], "pointwise")
        sums = graph.cast(graph.add("Conv", channels, weights), "INT32")
        total = graph.add("Add", total, sums) if total else sums
    return total


def _add_max_pool(graph: _Graph, value: str, program: LayerProgram) -> str:
    spec = program.spec
    assert isinstance(spec, Conv)
    size, stride = spec.pool_window
    pads = _pads(spec.map_shape(program.in_shape), size, stride, spec.padding)
    return graph.add("MaxPool", value, kernel_shape=list(size), strides=list(stride), pads=pads)


def _add_activation(graph: _Graph, potentials: str, program: LayerProgram) -> str:
    """Return levels ``clip(ceil((p - T) * 2**fraction / divisor), 0, limit)``, int32.

    ``p - T`` is clipped where the level no longer changes, so that nothing beyond 2**29 occurs,
    and is not negative, so that every division rounds down.
    """
    fraction = program.registers.step_fraction_bits
    limit = activation_limit(program.spec.act_bits)
    divisor = np.asarray(program.raw_step).astype(np.int64) << (4 - program.spec.act_bits)
    ceiling = (limit * divisor >> fraction) + 1

    def each(values: np.ndarray, what: str) -> str:
        return graph.constant(values.astype(np.int32)[:, None, None], what)

    def one(value: int, what: str) -> str:
        return graph.constant(np.int32(value), what)

    above = graph.add("Sub", potentials, each(np.asarray(program.threshold), "threshold"))
    above = graph.add("Max", above, one(0, "zero"))
    above = graph.add("Min", above, each(ceiling, "ceiling"))
    scaled = graph.add("Mul", above, one(2**fraction, "one"))
    scaled = graph.add("Add", scaled, each(divisor - 1, "rounding"))
    levels = graph.add("Div", scaled, each(divisor, "divisor"))
    return graph.add("Min", levels, one(limit, "limit"))


def _pads(
    in_shape: Shape, window: tuple[int, int], stride: tuple[int, int], padding: str
) -> list[int]:
    """Return top, left, bottom, right."""
    if padding == "valid":
        return [0] * 4
    rows, columns = (same_padding(in_shape[i], window[i], stride[i]) for i in range(2))
    return [rows[0], columns[0], rows[1], columns[1]]
