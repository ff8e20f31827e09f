"""ONNX Runtime: the network in float32, and in 8 bits as quantize-dequantize pairs."""

from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from benchmarks.peers.steps import LEVELS, Peer, Step


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
        self._scale, value = 1.0, "input"
        if quantized:
            zero = self._constant(np.uint8(peer.zero))
            value = self._add("DequantizeLinear", value, self._constant(np.float32(1)), zero)
        for i, step in enumerate(peer.steps):
            value = self._step(step, value, last=i + 1 == len(peer.steps))
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

    def _step(self, step: Step, value: str, *, last: bool) -> str:
        if step.kind == "dense":
            value = self._add("Flatten", value, axis=1)
            weight = self._weight(step.kernel.T, step)
            value = self._add("Gemm", value, weight, self._bias(step), transB=1)
            return self._hold(value, step.low, step.high) if last else value
        order = (3, 2, 0, 1)  # (f, c, kh, kw); depthwise (c, 1, kh, kw)
        weight = self._weight(step.kernel.transpose(order), step)
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
        zero = self._constant(np.uint8(round(-low / scale)))
        step = self._constant(np.float32(scale))
        return self._add(
            "DequantizeLinear", self._add("QuantizeLinear", value, step, zero), step, zero
        )

    def _weight(self, kernel: np.ndarray, step: Step) -> str:
        """Return weights with outputs first."""
        if not self._quantized:
            scale = step.scale.reshape(-1, *[1] * (kernel.ndim - 1))
            return self._constant((kernel * scale).astype(np.float32))
        zero = self._constant(np.zeros(len(kernel), np.int8))
        return self._add("DequantizeLinear", self._constant(np.ascontiguousarray(kernel)),
                         self._constant(step.scale), zero, axis=0)  # fmt: skip

    def _bias(self, step: Step) -> str:
        return self._constant(step.bias)

    def _constant(self, value: np.ndarray | np.generic) -> str:
        name = f"constant_{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def _add(self, kind: str, *inputs: str, **attributes: object) -> str:
        name = f"value_{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name
