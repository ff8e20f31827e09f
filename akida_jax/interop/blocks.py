"""Blocks: what becomes one layer of the chip, on real numbers in float64.

A block is a linear map, then pooling, then a bounded ReLU; everything per channel in between is
held as an affine map that can be folded into the weights.
"""

import dataclasses
import math
from typing import Literal

import numpy as np

from akida_jax.interop.windows import NO_PADS, Pads, join_separable, out_sizes
from akida_jax.quant.architecture import Shape

MAX_WEIGHTS = 2**27
"""Of one block; no chip holds as many."""


class NotLegal(ValueError):
    """Something that no layer of the chip can do; carries what and the remedy."""

    def __init__(self, what: str, remedy: str):
        super().__init__(what)
        self.what, self.remedy = what, remedy


def check_size(*sizes: int) -> None:
    """Refuse arrays that no chip could hold, before they are allocated."""
    if math.prod(sizes) > MAX_WEIGHTS:
        raise NotLegal(f"{math.prod(sizes)} weights exceed {MAX_WEIGHTS}", "use a smaller layer")


@dataclasses.dataclass
class Norm:
    """Batch norm as Keras holds it, each (channels,)."""

    mean: np.ndarray
    variance: np.ndarray
    gamma: np.ndarray
    beta: np.ndarray
    epsilon: float

    @property
    def factor(self) -> np.ndarray:
        """What it multiplies each channel with."""
        return self.gamma / np.sqrt(self.variance + self.epsilon)

    @property
    def offset(self) -> np.ndarray:
        """What it then adds."""
        return self.beta - self.mean * self.factor


@dataclasses.dataclass
class Block:
    """A linear map, pooling, activation.

    Attributes:
      name: of its linear layer in Keras.
      kind: "conv", "separable" or "dense".
      in_shape: of its input.
      kernel: ``kh kw cin f``; ``kh kw 1 c`` if separable; ``1 1 inputs units`` if dense.
      pointwise: ``c f`` if separable.
      bias: (f,).
      stride: along both axes.
      pads: of the convolution.
      norm: batch norm behind the linear map, not folded.
      pool: None, "max" or "global_average".
      pool_size, pool_stride, pool_pads: of a max pool.
      bound: upper end of its ReLU, infinite allowed; None without activation.
      depthwise_only: whether ``pointwise`` is an identity that no layer asked for.
      identity: whether it was inserted and passes its input on.
      activation_source: Keras layer of its activation.
      sources: Keras layers that it stands for.
      notes: what was rewritten without a change of the function.
      changes: what it does otherwise than Keras.
    """

    name: str
    kind: Literal["conv", "separable", "dense"]
    in_shape: Shape
    kernel: np.ndarray
    bias: np.ndarray
    pointwise: np.ndarray | None = None
    stride: int = 1
    pads: Pads = NO_PADS
    norm: Norm | None = None
    pool: Literal["max", "global_average"] | None = None
    pool_size: tuple[int, int] = (2, 2)
    pool_stride: tuple[int, int] = (2, 2)
    pool_pads: Pads = NO_PADS
    bound: float | None = None
    depthwise_only: bool = False
    identity: bool = False
    activation_source: str | None = None
    sources: list[str] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)
    changes: list[str] = dataclasses.field(default_factory=list)

    @property
    def filters(self) -> int:
        """Output channels."""
        return len(self.bias)

    @property
    def map_shape(self) -> Shape:
        """Shape in front of pooling."""
        if self.kind == "dense":
            return 1, 1, self.filters
        window = self.kernel.shape[0], self.kernel.shape[1]
        return (*out_sizes(self.in_shape, window, (self.stride,) * 2, self.pads), self.filters)

    @property
    def out_shape(self) -> Shape:
        """Shape behind pooling."""
        if self.pool == "global_average":
            return 1, 1, self.filters
        shape = self.map_shape
        if self.pool == "max":
            return (*out_sizes(shape, self.pool_size, self.pool_stride, self.pool_pads), shape[2])
        return shape

    def fold(self) -> None:
        """Fold batch norm into the last kernel and the bias."""
        if self.norm is None:
            return
        factor, offset = self.norm.factor, self.norm.offset
        self.scale_outputs(factor)
        self.bias = self.bias * factor + offset
        self.norm = None

    def scale_outputs(self, factor: np.ndarray) -> None:
        """Multiply what the last kernel gives, per channel; the bias stays."""
        if self.pointwise is None:
            self.kernel = self.kernel * factor
        else:
            self.pointwise = self.pointwise * factor
            self.depthwise_only = False

    def normalize(self, norm: Norm, source: str) -> None:
        """Put batch norm behind the linear map and the pool that are there."""
        negative = np.flatnonzero(norm.factor < 0)
        if self.pool == "max" and len(negative):
            listed = ", ".join(map(str, negative[:5])) + (", ..." if len(negative) > 5 else "")
            raise NotLegal(
                f"a negative gain behind the max pool, in channels {listed}",
                "put the batch norm in front of the pool, or keep its gamma positive in training",
            )
        if self.norm is not None:
            self.notes.append("an earlier batch norm is folded into the weights")
            self.fold()
        self.norm = norm
        self.sources.append(source)

    def append_linear(self, weights: np.ndarray, bias: np.ndarray) -> None:
        """Apply a 1x1 map (c f) to the output, which has no activation.

        Nothing is rounded in between: the two maps are one.
        """
        plain = self.depthwise_only
        if plain and self.norm is not None:
            # (k * factor) and weights: the depthwise kernel takes the gain, the bias the rest.
            self.kernel = self.kernel * self.norm.factor
            self.bias = self.bias * self.norm.factor + self.norm.offset
            self.norm = None
        self.fold()
        if self.pointwise is None:
            check_size(*self.kernel.shape[:3], weights.shape[1])
            self.kernel = self.kernel @ weights
        else:
            self.pointwise = weights if plain else self.pointwise @ weights
        self.depthwise_only = False
        self.bias = self.bias @ weights + bias

    def scale_inputs(self, factor: np.ndarray, offset: np.ndarray) -> None:
        """Take inputs ``factor * x + offset`` per channel instead of ``x``.

        Raises:
          NotLegal: where padding would have to carry the offset.
        """
        if self.kind == "dense":
            repeats = self.kernel.shape[2] // len(factor)
            factor, offset = np.tile(factor, repeats), np.tile(offset, repeats)
        elif self.pads != NO_PADS and offset.any():
            raise NotLegal(
                "a batch norm or rescaling with an offset in front of a padded convolution, which "
                "pads the normalized zero",
                "normalize between convolution and activation instead",
            )
        if self.pointwise is None:
            self.bias = self.bias + np.einsum("ijcf,c->f", self.kernel, offset)
            self.kernel = self.kernel * factor[:, None]
        else:
            self.bias = self.bias + (self.kernel.sum((0, 1, 2)) * offset) @ self.pointwise
            self.kernel = self.kernel * factor

    def flatten(self) -> None:
        """Turn a convolution whose kernel covers the whole map into a dense layer."""
        window = self.kernel.shape[0], self.kernel.shape[1]
        if self.kind == "dense" or self.pads != NO_PADS or window != self.in_shape[:2]:
            return
        if window == (1, 1):
            return
        if self.pointwise is not None:
            self.join()
        self.kernel = self.kernel.reshape(1, 1, -1, self.filters)
        self.kind, self.stride = "dense", 1
        self.notes.append("a kernel over the whole map is a dense layer")

    def join(self) -> None:
        """Turn a separable block into one full convolution."""
        assert self.pointwise is not None
        check_size(*self.kernel.shape[:2], *self.pointwise.shape)
        self.kernel = join_separable(self.kernel, self.pointwise)
        self.kind, self.pointwise, self.depthwise_only = "conv", None, False


def identity_block(name: str, shape: Shape, bound: float | None, *, note: str) -> Block:
    """Return a 1x1 convolution that passes its input on."""
    check_size(shape[2], shape[2])
    return Block(
        name=name, kind="conv", in_shape=shape, kernel=np.eye(shape[2])[None, None],
        bias=np.zeros(shape[2]), bound=bound, identity=True, notes=[note],
    )  # fmt: skip
