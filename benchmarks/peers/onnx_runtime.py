"""ONNX Runtime: the network in float32, and in 8 bits as quantize-dequantize pairs."""

import collections
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from benchmarks.peers.steps import LEVELS, Peer, Step, whole_bias


def make_call(
    peer: Peer, x: np.ndarray, *, quantized: bool, threads: int
) -> Callable[[], np.ndarray]:
    """Return a call that runs the network on levels (n, h, w, c) and returns logits."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(
        make_file(peer, quantized=quantized), options, providers=["CPUExecutionProvider"]
    )
    given = np.ascontiguousarray(x.transpose(0, 3, 1, 2))
    if not quantized:
        given = given.astype(np.float32) - np.float32(peer.zero)
    return lambda: session.run(None, {"input": given})[0]


def make_file(peer: Peer, *, quantized: bool) -> bytes:
    """Return the network as the content of an .onnx file."""
    return _Graph(peer, quantized=quantized).model().SerializeToString()


def optimized_operators(content: bytes) -> collections.Counter[str]:
    """Return how many of each operator ONNX Runtime runs once it has optimized a network."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # it warns that such a file runs on this processor alone
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "optimized.onnx"
        options.optimized_model_filepath = str(path)
        onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        graph = onnx.load(path).graph
    return collections.Counter(node.op_type for node in graph.node)


class _Graph:
    """Builds the ONNX graph step by step, NCHW."""

    def __init__(self, peer: Peer, *, quantized: bool):
        self._peer = peer
        self._quantized = quantized
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []
        height, width, channels = peer.input_shape
        kind = TensorProto.UINT8 if quantized else TensorProto.FLOAT
        self._input = helper.make_tensor_value_info("input", kind, ["n", channels, height, width])
        self._scale, self._zero, value = np.float32(1), np.uint8(peer.zero), "input"
        if quantized:
            value = self._add("DequantizeLinear", value, *self._grid())
        for step in peer.steps:
            value = self._step(step, value)
        self._output = value

    def model(self) -> onnx.ModelProto:
        output = helper.make_tensor_value_info(self._output, TensorProto.FLOAT, ["n", "units"])
        graph = helper.make_graph(
            self._nodes, "network", [self._input], [output], initializer=self._constants
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
        model.ir_version = 8
        onnx.checker.check_model(model)
        return model

    def _step(self, step: Step, value: str) -> str:
        weight = self._weight(step)
        if step.kind == "dense":
            value = self._add("Flatten", value, axis=1)
            if self._quantized:  # only between two pairs a product is one of integers
                value = self._pair(value)
            value = self._add("Gemm", value, weight, self._bias(step), transB=1)
            return self._hold(value, step.low, step.high)
        groups = step.kernel.shape[3] if step.kind == "depthwise" else 1
        value = self._add("Conv", value, weight, self._bias(step), group=groups,
                          strides=[step.stride] * 2, pads=list(step.pads))  # fmt: skip
        if step.pool == "mean":
            value = self._hold(value, -step.inner, step.inner)
            value = self._add("GlobalAveragePool", value)
        value = self._hold(value, step.low, step.high)
        if isinstance(step.pool, tuple):
            window, stride, pads = step.pool
            value = self._add("MaxPool", value, kernel_shape=list(window), strides=list(stride),
                              pads=list(pads))  # fmt: skip
            if self._quantized:
                value = self._hold(value, step.low, step.high)
        return value

    def _hold(self, value: str, low: float, high: float) -> str:
        """Clip to a range, and hold it in 8 bits if quantized."""
        if not self._quantized:
            if low < 0:  # a range taken from data: nothing is clipped
                return value
            return self._add("Clip", value, self._constant(np.float32(low)),
                             self._constant(np.float32(high)))  # fmt: skip
        scale = (high - low) / LEVELS
        self._scale, self._zero = np.float32(scale), np.uint8(round(-low / scale))
        return self._pair(value)

    def _pair(self, value: str) -> str:
        """Hold in 8 bits on the grid of the latest range."""
        grid = self._grid()
        return self._add("DequantizeLinear", self._add("QuantizeLinear", value, *grid), *grid)

    def _grid(self) -> tuple[str, str]:
        return self._constant(self._scale), self._constant(self._zero)

    def _weight(self, step: Step) -> str:
        """Return weights with outputs first, then channels."""
        kernel = step.kernel.transpose(3, 2, 0, 1)
        if step.kind == "dense":
            kernel = kernel.reshape(len(kernel), -1)
        if not self._quantized:
            scale = step.scale.reshape(-1, *[1] * (kernel.ndim - 1))
            return self._constant((kernel * scale).astype(np.float32))
        zero = self._constant(np.zeros(len(kernel), np.int8))
        return self._add("DequantizeLinear", self._constant(np.ascontiguousarray(kernel)),
                         self._constant(step.scale), zero, axis=0)  # fmt: skip

    def _bias(self, step: Step) -> str:
        if not self._quantized:
            return self._constant(step.bias)
        sums = self._scale * step.scale
        return self._add("DequantizeLinear", self._constant(whole_bias(step, sums)),
                         self._constant(sums), axis=0)  # fmt: skip

    def _constant(self, value: np.ndarray | np.generic) -> str:
        name = f"constant_{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def _add(self, kind: str, *inputs: str, **attributes: Any) -> str:
        name = f"value_{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name
