"""Integer models as graphs of standard ONNX operators.

Sums are float32, which holds them exactly: all operands are integers, and no partial sum, in
whatever order, exceeds 2**24 (`LayerProgram.groups`). Where a layer could go beyond, its channels
are summed in groups, and the groups in int32. ONNX's own ConvInteger takes bytes, which do not
hold what lies inside a separable layer; ONNX Runtime's may saturate between products of unsigned
and signed bytes on CPUs without VNNI. Every division is one of int32.
"""

import itertools
import os
from types import ModuleType
from typing import Any

import numpy as np
from jaxtyping import Int64

from akida_jax.export.sizes import check_size
from akida_jax.model import Model
from akida_jax.programs import LayerProgram
from akida_jax.quant.activations import activation_limit
from akida_jax.quant.architecture import Conv, Shape
from akida_jax.quant.operations import EXACT_FLOAT32, same_padding
from akida_jax.writing import check_target, replace_file

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

    def each(self, values: np.ndarray, what: str) -> str:
        """Add an int32 constant with a number for each filter."""
        return self.constant(values.astype(np.int32)[:, None, None], what)

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
    if can_fold(program):
        dividend = graph.add("Relu", _add_sums(graph, x, program, folded=True))
        if pooled:
            dividend = _add_max_pool(graph, dividend, program)
        return _add_division(graph, graph.cast(dividend, "INT32"), program)
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


def can_fold(program: LayerProgram) -> bool:
    """Return whether a convolution can sum the dividend of its activation in float32.

    The level of a potential ``p`` is ``(p - T) * one + D - 1`` divided by ``D`` and rounded down,
    where ``one = 2**fraction`` is 1 in the units of the step. With weights times ``one`` and the
    rest as bias, no partial sum exceeds ``(largest p + abs(T)) * one + D``.
    """
    spec = program.spec
    if not isinstance(spec, Conv) or not spec.activation or spec.pool == "global_average":
        return False
    kernel = np.abs(np.asarray(program.kernels["kernel"]).astype(np.int64))
    if spec.kind == "separable":
        pointwise = np.abs(np.asarray(program.kernels["pointwise"]).astype(np.int64))
        weights = kernel.sum((0, 1, 2)) @ pointwise
    else:
        weights = kernel.sum((0, 1, 2))
    largest = weights * max(activation_limit(program.input_bits), spec.border)
    threshold = np.abs(np.asarray(program.threshold).astype(np.int64))
    dividend = (largest + threshold) * _one(program) + _divisor(program)
    return bool(dividend.max() <= EXACT_FLOAT32)


def _one(program: LayerProgram) -> int:
    return 2**program.registers.step_fraction_bits


def _divisor(program: LayerProgram) -> Int64[np.ndarray, " f"]:
    return np.asarray(program.raw_step).astype(np.int64) << (4 - program.spec.act_bits)


def _add_sums(graph: _Graph, x: str, program: LayerProgram, *, folded: bool = False) -> str:
    """Return float32 potentials before pooling (n, f, h, w), or dividends (`can_fold`)."""
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
        x = _add_depthwise(graph, x, program)
        mixing = np.asarray(program.kernels["pointwise"]).T[:, :, None, None]
        operands = [x, graph.weights(mixing, "pointwise")]
        attributes: dict[str, Any] = {}
    else:
        x, attributes = _add_padding(graph, x, program)
        operands = [x, graph.weights(kernel.transpose(3, 2, 0, 1), "kernel")]
    if folded:
        one, threshold = _one(program), np.asarray(program.threshold).astype(np.int64)
        operands[1] = graph.add("Mul", operands[1], graph.constant(np.float32(one), "one"))
        bias = (_divisor(program) - 1 - threshold * one).astype(np.float32)
        operands.append(graph.constant(bias, "bias"))
    return graph.add("Conv", *operands, **attributes)


def _add_padding(graph: _Graph, x: str, program: LayerProgram) -> tuple[str, dict[str, Any]]:
    """Return the input of a convolution, and attributes that pad with 0 or not at all."""
    spec = program.spec
    assert isinstance(spec, Conv)
    pads = _pads(program.in_shape, (spec.kernel_size,) * 2, (spec.stride,) * 2, spec.padding)
    if spec.border and any(pads):
        around = np.array([0, 0, *pads[:2], 0, 0, *pads[2:]], np.int64)
        border = graph.constant(np.float32(spec.border), "border")
        x, pads = graph.add("Pad", x, graph.constant(around, "pads"), border), [0] * 4
    return x, {"strides": [spec.stride] * 2, "pads": pads}


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
    """Return levels ``clip(ceil((p - T) * one / D), 0, limit)``, int32.

    ``p - T`` is clipped where the level no longer changes, so that nothing beyond 2**29 occurs.
    """
    limit, divisor = activation_limit(program.spec.act_bits), _divisor(program)
    above = graph.add("Sub", potentials, graph.each(np.asarray(program.threshold), "threshold"))
    above = graph.add("Max", above, graph.constant(np.int32(0), "zero"))
    above = graph.add("Min", above, graph.each(limit * divisor // _one(program) + 1, "ceiling"))
    scaled = graph.add("Mul", above, graph.constant(np.int32(_one(program)), "one"))
    dividend = graph.add("Add", scaled, graph.each(divisor - 1, "rounding"))
    return _add_division(graph, dividend, program)


def _add_division(graph: _Graph, dividend: str, program: LayerProgram) -> str:
    """Divide int32, none negative, rounding down; quotients stop at the highest level."""
    divisor = _divisor(program)
    highest = activation_limit(program.spec.act_bits) * divisor
    dividend = graph.add("Min", dividend, graph.each(highest, "highest"))
    return graph.add("Div", dividend, graph.each(divisor, "divisor"))


def _pads(
    in_shape: Shape, window: tuple[int, int], stride: tuple[int, int], padding: str
) -> list[int]:
    """Return top, left, bottom, right."""
    if padding == "valid":
        return [0] * 4
    rows, columns = (same_padding(in_shape[i], window[i], stride[i]) for i in range(2))
    return [rows[0], columns[0], rows[1], columns[1]]
