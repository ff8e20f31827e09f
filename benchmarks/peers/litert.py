"""LiteRT (TensorFlow Lite, with its XNNPACK kernels): the network in 8 bits.

The model file is written field by field, so that no TensorFlow is needed to convert one.
"""

from collections.abc import Callable

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from benchmarks.peers.steps import LEVELS, Peer, Step, whole_bias

_Operator = schema.BuiltinOperator
_Options = schema.BuiltinOptions
#: Of each operator, the first that takes int8 and a scale for each filter.
_VERSIONS = {
    _Operator.RESHAPE: 1,
    _Operator.CONV_2D: 3,
    _Operator.DEPTHWISE_CONV_2D: 3,
    _Operator.FULLY_CONNECTED: 7,
    _Operator.MAX_POOL_2D: 2,
    _Operator.MEAN: 2,
}


def make_call(peer: Peer, x: np.ndarray, *, threads: int) -> Callable[[], np.ndarray]:
    """Return a call that runs the network on levels (n, h, w, c) and returns logits."""
    interpreter = Interpreter(model_content=make_file(peer, len(x)), num_threads=threads)
    interpreter.allocate_tensors()
    given = (x.astype(np.int16) - 128).astype(np.int8)
    source = interpreter.get_input_details()[0]["index"]
    output = interpreter.get_output_details()[0]
    scale, zero = output["quantization"]

    def call() -> np.ndarray:
        interpreter.set_tensor(source, given)
        interpreter.invoke()
        return (interpreter.get_tensor(output["index"]).astype(np.float32) - zero) * scale

    return call


def make_file(peer: Peer, batch: int) -> bytes:
    """Return the network as the content of a .tflite file, for so many inputs."""
    return _File(peer, batch).content()


class _File:
    """Builds the flat buffer of a model, NHWC, int8."""

    def __init__(self, peer: Peer, batch: int):
        self._buffers = [schema.BufferT()]
        self._tensors: list = []
        self._operators: list = []
        self._codes: list[int] = []
        shape = (batch, *peer.input_shape)
        value = self._tensor(shape, scale=1.0, zero=peer.zero - 128)
        self._input = value
        for step in peer.steps:
            value, shape = self._step(step, value, shape)
        self._output = value

    def content(self) -> bytes:
        graph = schema.SubGraphT()
        graph.tensors, graph.operators = self._tensors, self._operators
        graph.inputs, graph.outputs = [self._input], [self._output]
        model = schema.ModelT()
        model.version, model.subgraphs, model.buffers = 3, [graph], self._buffers
        model.operatorCodes = []
        for code in self._codes:
            entry = schema.OperatorCodeT()
            entry.builtinCode, entry.deprecatedBuiltinCode = code, code
            entry.version = _VERSIONS[code]
            model.operatorCodes.append(entry)
        builder = flatbuffers.Builder(1 << 20)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    def _step(self, step: Step, value: int, shape: tuple) -> tuple[int, tuple]:
        if step.kind == "dense":
            options = schema.FullyConnectedOptionsT()
            flat = self._reshape(value, (shape[0], int(np.prod(shape[1:]))))
            kernel = step.kernel.transpose(3, 0, 1, 2).reshape(step.kernel.shape[3], -1)
            return self._linear(step, flat, (shape[0], len(kernel)), kernel,
                                _Operator.FULLY_CONNECTED, _Options.FullyConnectedOptions,
                                options)  # fmt: skip
        # SAME of these programs is the same rule.
        padding = schema.Padding.SAME if any(step.pads) else schema.Padding.VALID
        rows, columns = (
            -(-shape[1 + i] // step.stride) if padding == schema.Padding.SAME
            else (shape[1 + i] - step.kernel.shape[i]) // step.stride + 1
            for i in range(2)
        )  # fmt: skip
        shape = (shape[0], rows, columns, step.kernel.shape[3])
        if step.kind == "depthwise":
            options = schema.DepthwiseConv2DOptionsT()
            options.depthMultiplier = 1
            kernel = step.kernel.transpose(2, 0, 1, 3)
            names = _Operator.DEPTHWISE_CONV_2D, _Options.DepthwiseConv2DOptions
        else:
            options = schema.Conv2DOptionsT()
            kernel = step.kernel.transpose(3, 0, 1, 2)
            names = _Operator.CONV_2D, _Options.Conv2DOptions
        options.padding = padding
        options.strideH = options.strideW = step.stride
        value, shape = self._linear(step, value, shape, kernel, *names, options)
        if step.pool is None:
            return value, shape
        if step.pool == "mean":
            return self._mean(step, value, shape)
        window, stride, _ = step.pool
        pool = schema.Pool2DOptionsT()
        pool.padding = schema.Padding.SAME
        (pool.filterHeight, pool.filterWidth), (pool.strideH, pool.strideW) = window, stride
        shape = (shape[0], *(-(-shape[1 + i] // stride[i]) for i in range(2)), shape[3])
        out = self._range(shape, step.low, step.high)
        self._operator(_Operator.MAX_POOL_2D, [value], out, _Options.Pool2DOptions, pool)
        return out, shape

    def _linear(
        self, step: Step, value: int, shape: tuple, kernel: np.ndarray, code: int, kind: int,
        options: object,
    ) -> tuple[int, tuple]:  # fmt: skip
        in_scale = self._tensors[value].quantization.scale[0]
        channels_last = code == _Operator.DEPTHWISE_CONV_2D
        weight = self._tensor(
            kernel.shape, data=np.ascontiguousarray(kernel), scale=step.scale, zero=0,
            axis=kernel.ndim - 1 if channels_last else 0,
        )  # fmt: skip
        sums = step.scale.astype(np.float64) * in_scale
        bias = whole_bias(step, sums)
        biases = self._tensor(
            bias.shape, data=bias, kind=schema.TensorType.INT32, scale=sums, zero=0
        )
        low, high = (-step.inner, step.inner) if step.pool == "mean" else (step.low, step.high)
        out = self._range(shape, low, high)
        self._operator(code, [value, weight, biases], out, kind, options)
        return out, shape

    def _mean(self, step: Step, value: int, shape: tuple) -> tuple[int, tuple]:
        axes = self._tensor((2,), data=np.array([1, 2], np.int32), kind=schema.TensorType.INT32)
        options = schema.ReducerOptionsT()
        options.keepDims = True
        shape = (shape[0], 1, 1, shape[3])
        out = self._range(shape, step.low, step.high)
        self._operator(_Operator.MEAN, [value, axes], out, _Options.ReducerOptions, options)
        return out, shape

    def _reshape(self, value: int, shape: tuple) -> int:
        source = self._tensors[value].quantization
        sizes = self._tensor((len(shape),), data=np.array(shape, np.int32),
                             kind=schema.TensorType.INT32)  # fmt: skip
        out = self._tensor(shape, scale=source.scale, zero=source.zeroPoint[0])
        options = schema.ReshapeOptionsT()
        options.newShape = list(shape)
        self._operator(_Operator.RESHAPE, [value, sizes], out, _Options.ReshapeOptions, options)
        return out

    def _range(self, shape: tuple, low: float, high: float) -> int:
        scale = (high - low) / LEVELS
        return self._tensor(shape, scale=scale, zero=round(-128 - low / scale))

    def _tensor(
        self,
        shape: tuple,
        *,
        data: np.ndarray | None = None,
        kind: int = schema.TensorType.INT8,
        scale: object = None,
        zero: int = 0,
        axis: int = 0,
    ) -> int:
        tensor = schema.TensorT()
        tensor.shape, tensor.type = list(map(int, shape)), kind
        tensor.name = f"tensor_{len(self._tensors)}"
        tensor.buffer = 0
        if data is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(data.tobytes(), np.uint8)
            self._buffers.append(buffer)
            tensor.buffer = len(self._buffers) - 1
        if scale is not None:
            scales = np.atleast_1d(np.asarray(scale, np.float32))
            tensor.quantization = schema.QuantizationParametersT()
            tensor.quantization.scale = scales
            tensor.quantization.zeroPoint = np.full(len(scales), zero, np.int64)
            tensor.quantization.quantizedDimension = axis
        self._tensors.append(tensor)
        return len(self._tensors) - 1

    def _operator(
        self, code: int, inputs: list[int], output: int, kind: int, options: object
    ) -> None:
        if code not in self._codes:
            self._codes.append(code)
        operator = schema.OperatorT()
        operator.opcodeIndex = self._codes.index(code)
        operator.inputs, operator.outputs = inputs, [output]
        operator.builtinOptionsType, operator.builtinOptions = kind, options
        self._operators.append(operator)
