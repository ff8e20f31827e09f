"""The walk along the layers of a Keras model: what is known in front of each of them."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from akida_jax.interop.blocks import Block, NotLegal, identity_block
from akida_jax.interop.keras_files import KerasChain, KerasLayer
from akida_jax.interop.windows import NO_PADS, Pads
from akida_jax.limits import Fault
from akida_jax.quant.architecture import Shape

IGNORED = {"ActivityRegularization", "AlphaDropout", "Dropout", "GaussianDropout",
           "GaussianNoise", "InputLayer", "QuantizedDropout", "SpatialDropout2D"}  # fmt: skip
QUANTIZED_KINDS = {
    "QuantizedConv2D": "Conv2D",
    "QuantizedDense": "Dense",
    "QuantizedDepthwiseConv2D": "DepthwiseConv2D",
    "QuantizedSeparableConv2D": "SeparableConv2D",
}
"""Linear layers of both packages, and the plain ones that they quantize."""
HOST_ACTIVATIONS = {"softmax", "sigmoid"}
RELU = "retrain with ReLU"
_CONVOLUTIONS = ("Conv2D", "DepthwiseConv2D", "SeparableConv2D")
_ELEMENTWISE = {"ELU", "LayerNormalization", "LeakyReLU", "PReLU", "ThresholdedReLU"}

MALFORMED = (AttributeError, IndexError, KeyError, OverflowError, TypeError, ValueError)
"""What reading a configuration or weights raises that are not as Keras writes them."""


def malformed(name: str, problem: Exception) -> Fault:
    """Return the fault of a layer that cannot be read."""
    what = f"its configuration or weights cannot be read ({problem})"
    return Fault(name, what, "save the model again")


def pair(value: Any) -> tuple[int, int]:
    """Return two positive integers from one or two."""
    values = tuple(value) if isinstance(value, list | tuple) else (value, value)
    if len(values) != 2 or not all(type(v) is int and 0 < v < 2**20 for v in values):
        raise ValueError(f"{value!r} is not one positive integer or two")
    return values


def activation_name(value: Any) -> tuple[str, float]:
    """Return the name of an activation and, for ReLU, its bound.

    Raises:
      NotLegal: for a ReLU with a slope or threshold.
    """
    if isinstance(value, dict):
        inner = value.get("config")
        if isinstance(inner, dict) and value.get("class_name") == "ReLU":
            return "relu", relu_bound(inner)
        value = inner if isinstance(inner, str) else value.get("class_name")
    if value is None:
        return "linear", math.inf
    return str(value), 6.0 if value == "relu6" else math.inf


def host_activation(layer: KerasLayer) -> str:
    """Return what activation a quantized layer, or one among them, leaves to the host.

    Raises:
      NotLegal: for one that is neither linear nor the host's.
    """
    name, _ = activation_name(layer.config.get("activation"))
    if name not in ("linear", *HOST_ACTIVATIONS):
        raise NotLegal(f"a float activation in a quantized model ({name})",
                       "quantize all its layers")  # fmt: skip
    return name


def relu_bound(config: dict[str, Any]) -> float:
    """Return the upper end of a ReLU layer, infinite without one."""
    slope, threshold = config.get("negative_slope") or 0, config.get("threshold") or 0
    if slope or threshold:
        raise NotLegal(f"a ReLU with slope {slope} and threshold {threshold}", RELU)
    bound = config.get("max_value")
    if bound is None:
        return math.inf
    if not 0 < float(bound) < math.inf:
        raise NotLegal(f"a ReLU with max_value {bound!r}", "give it a positive one, or none")
    return float(bound)


class FloatWalk:
    """Reads one layer after another and builds blocks.

    Attributes:
      blocks: built so far.
      shape: of the data as Keras sees it, without the batch axis.
      affine: gain and offset per channel that the next block has to take in, or None.
      input_affine: gain and offset of the input (Rescaling, Normalization).
      input_source: the last layer that gave them, or None.
      border: level that padding inserted in front of the first rescaling, or None.
      host: activation that is left to the host.
      faults: everything that cannot be imported.
    """

    def __init__(
        self,
        chain: KerasChain,
        handlers: "Mapping[str, Handler]",
        *,
        fuse: bool,
        integers: bool = False,
    ):
        """Walk a chain.

        Args:
          chain: layers of float Keras kinds.
          handlers: what takes a layer, by kind.
          fuse: give up equality for fewer layers.
          integers: the weights are integers: nothing may be folded or rounded again.
        """
        self.integers = integers
        self._handlers = handlers
        self.blocks: list[Block] = []
        self.shape = chain.input_shape
        self.input_shape = chain.input_shape
        self.fuse = fuse
        self.affine: tuple[np.ndarray, np.ndarray] | None = None
        self.input_affine: tuple[np.ndarray, np.ndarray] | None = None
        self.input_source: str | None = None
        self._names = {layer.name for layer in chain.layers}
        self.padded: Pads = NO_PADS
        self.padded_levels = False
        self.host: str | None = None
        self.faults: list[Fault] = []
        self.pending_sources: list[str] = []
        self._lost = False
        for layer in chain.layers:
            self._take(layer)
        if not self.faults:
            self._finish(chain)

    def _take(self, layer: KerasLayer) -> None:
        handler = self._handlers.get(layer.kind) if layer.package == "keras" else None
        try:
            if handler is None:
                # Behind a layer that may change the shape, only its like can be told for sure.
                self._lost = self._lost or layer.kind not in _ELEMENTWISE
                raise NotLegal(f"a layer of kind {layer.kind}", "the chip has none; replace it")
            if not self._lost:
                self._check_place(layer)
                handler(self, layer)
        except NotLegal as problem:
            self.faults.append(Fault(layer.name, problem.what, problem.remedy))
            if self.block is not None and self.block.bound is None:
                self.block.bound = math.inf  # as if there were an activation, to go on
        except MALFORMED as problem:
            if not self.faults:  # it may be a consequence of an earlier one
                self.faults.append(malformed(layer.name, problem))
            self._lost = True

    def _check_place(self, layer: KerasLayer) -> None:
        if self.host and layer.kind not in ("Reshape", "Flatten", *IGNORED):
            raise NotLegal(f"stands behind a {self.host}", f"end the model with {self.host}")
        if layer.config.get("data_format") == "channels_first":
            raise NotLegal("data_format channels_first", "save it with channels_last")
        may_follow = (*_CONVOLUTIONS, *IGNORED, "ZeroPadding2D")
        if not self.blocks:
            may_follow += ("Normalization", "Rescaling")
        if self.padded != NO_PADS and layer.kind not in may_follow:
            raise NotLegal("stands behind a ZeroPadding2D", "pad in front of convolutions only")

    @property
    def block(self) -> Block | None:
        """The block that the next layer may still belong to."""
        return self.blocks[-1] if self.blocks else None

    def map_shape(self) -> Shape:
        """Return height, width, channels of the data.

        Raises:
          NotLegal: for data of another rank, or a map that was reshaped.
        """
        shape = self.shape
        if len(shape) == 1:
            shape = (1, 1, *shape)
        if len(shape) != 3:
            raise NotLegal(f"takes data of shape {shape}", "the chip has maps of three axes")
        if self.block and self.block.out_shape != shape:
            raise NotLegal(
                f"takes a map {shape} reshaped from {self.block.out_shape}",
                "drop the Reshape; only a fully connected layer may follow one",
            )
        return shape[0], shape[1], shape[2]

    # Linear layers.

    def start(self, block: Block, layer: KerasLayer) -> None:
        """Begin a block, or join it to one that has no activation yet."""
        last = self.block
        block.sources.append(layer.name)
        if last is not None:
            block.flatten()
        one_by_one = (
            block.kind == "conv"
            and block.kernel.shape[:2] == (1, 1)
            and (block.stride, block.pads) == (1, NO_PADS)
        )
        flat = block.kind == "dense" and last is not None and last.out_shape[:2] == (1, 1)
        if last is not None and self._may_join(last, one_by_one=one_by_one or flat):
            self._join(last, block)
        elif last is not None and last.bound is None:
            raise NotLegal(
                f"nothing stands between it and layer {last.name!r}, which has no activation",
                "put a ReLU in between, or make one layer of the two",
            )
        else:
            if last is not None and last.pool == "max" and block.kind == "dense":
                note = "inserted: the chip puts no fully connected layer behind a max pool"
                self.insert(f"{block.name}_identity", note)
            if self.affine is not None:
                block.scale_inputs(*self.affine)
                block.notes.append("takes in the batch norm or rescaling in front of it")
                self.affine = None
            block.sources[:0] = self.pending_sources
            self.pending_sources = []
            self.blocks.append(block)
        self.shape = self.blocks[-1].out_shape
        self.activate(layer, layer.config.get("activation"))

    def _may_join(self, last: Block, *, one_by_one: bool) -> bool:
        if not one_by_one or last.pool == "max" or self.affine is not None or self.integers:
            return False
        dropped = self.fuse and last.depthwise_only and last.pool is None
        return last.bound is None or dropped

    def _join(self, last: Block, block: Block) -> None:
        if last.bound is not None:
            last.changes.append(
                f"the activation between {last.name!r} and {block.name!r} is dropped"
            )
            last.bound = None
        kind = "the pointwise half of" if last.depthwise_only else "folded into"
        last.append_linear(block.kernel[0, 0], block.bias)
        last.notes.append(f"{block.name!r} is {kind} {last.name!r}")
        last.sources += block.sources
        last.name = block.name

    def insert(self, name: str, note: str) -> Block:
        """Append a 1x1 convolution that passes its input on.

        Raises:
          NotLegal: if what it passes on may be negative.
        """
        last = self.block
        if last is None or last.bound is None:
            raise NotLegal("there is no activation in front of it", "put a ReLU in front of it")
        if self.integers and (self.affine is not None or last.pool != "max"):
            raise NotLegal("the chip would need another layer in between, which rounds again",
                           "quantize a model in the chip's order of layers")  # fmt: skip
        block = identity_block(self.unused(name), last.out_shape, last.bound, note=note)
        if self.affine is not None:
            block.scale_inputs(*self.affine)
            self.affine, block.bound = None, None
        self.blocks.append(block)
        return block

    def unused(self, name: str) -> str:
        """Return the name, with a number behind it where a layer has it already."""
        count, found = 1, name
        while found in self._names:
            count += 1
            found = f"{name}_{count}"
        self._names.add(found)
        return found

    # Layers without weights.

    def activate(self, layer: KerasLayer, value: Any) -> None:
        """Apply an activation, given as in a configuration."""
        name, bound = activation_name(value)
        if name == "linear":
            return
        if name in HOST_ACTIVATIONS:
            self.host = name
        elif name in ("relu", "relu6"):
            self.rectify(layer, bound)
        else:
            raise NotLegal(f"activation {name!r}", RELU)

    def rectify(self, layer: KerasLayer, bound: float) -> None:
        """Apply a ReLU."""
        last = self.block
        if last is None:
            raise NotLegal("a ReLU in front of the first layer", "drop it: inputs are unsigned")
        if self.affine is not None:
            last = self.insert(f"{layer.name}_affine", "inserted: a batch norm behind an activation"
                               " and in front of another")  # fmt: skip
        if self.integers and last.bound is not None:
            raise NotLegal("two activations in a row", "drop one of the two")
        last.bound = bound if last.bound is None else min(last.bound, bound)
        last.activation_source = layer.name
        if layer.name not in last.sources:
            last.sources.append(layer.name)

    def apply_affine(self, factor: np.ndarray, offset: np.ndarray, source: str) -> None:
        """Multiply and add per channel, behind an activation or on the input."""
        before = self.affine if self.blocks else self.input_affine
        if before is not None:
            factor, offset = before[0] * factor, before[1] * factor + offset
        if self.blocks:
            self.affine = factor, offset
        elif not factor.all():
            raise NotLegal("a gain of 0 on the input", "keep its scale or gamma from 0")
        else:
            self.input_affine, self.input_source = (factor, offset), source
        self.pending_sources.append(source)

    def _finish(self, chain: KerasChain) -> None:
        last = self.block
        try:
            if last is None:
                raise NotLegal("there is no convolution or dense layer", "nothing to import")
            if self.padded != NO_PADS:
                self.faults.append(Fault(self.pending_sources[-1], "a ZeroPadding2D ends the model",
                                         "pad in front of convolutions only"))  # fmt: skip
            if self.affine is not None:
                self.insert(f"{last.name}_affine", "inserted: a batch norm ends the model")
            elif last.pool == "max" and last.bound is not None:
                self.insert(f"{last.name}_identity", "inserted: the chip ends with no max pool")
        except NotLegal as problem:
            self.faults.append(Fault(chain.layers[-1].name, problem.what, problem.remedy))


Handler = Callable[[FloatWalk, KerasLayer], None]
"""Takes one layer into a walk."""
