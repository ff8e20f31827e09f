"""Descriptions of the layers a network is made of, and their shapes.

A description says what a layer computes, not how its numbers are held: it is shared by
the float layer, its quantized twin and the chip's layer specification.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Literal, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Num

from akida_jax.quant.operations import convolve, convolve_depthwise, max_pool, output_size

Kernels = Mapping[str, Num[Array, "..."]]
"""``kernel`` (HWIO; depthwise ``kh kw 1 c``) and, if separable, ``pointwise`` (IO)."""
Shape = tuple[int, int, int]
"""Height, width, channels."""
Pool = Literal["max", "global_average"]


def pair(value: int | tuple[int, int]) -> tuple[int, int]:
    """Return (height, width) from one number or two."""
    return (value, value) if isinstance(value, int) else (value[0], value[1])


@dataclasses.dataclass(frozen=True, kw_only=True)
class InputData:
    """Input that already consists of events: unsigned integers of 1, 2 or 4 bits.

    Attributes:
      input_shape: height, width, channels.
      input_bits: values lie in ``[0, 2**input_bits - 1]``.
      name: unique within its network; numbered by default.
    """

    input_shape: Shape
    input_bits: int = 4
    name: str | None = None

    kind = "input_data"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layer:
    """What every computing layer has: neurons, pooling, activation.

    Order inside a layer: linear map, pooling, activation.

    Attributes:
      activation: False returns the potentials of a last layer.
      name: unique within its network; numbered by default.
    """

    activation: bool = True
    name: str | None = None

    kind = "layer"

    @property
    def neurons(self) -> int:
        """Number of output channels."""
        raise NotImplementedError

    def kernel_shapes(self, in_shape: Shape) -> dict[str, tuple[int, ...]]:
        """Return the shape of each kernel by name."""
        raise NotImplementedError

    def map_shape(self, in_shape: Shape) -> Shape:
        """Return the shape of the potentials before pooling."""
        raise NotImplementedError

    def linear(self, x: Num[Array, "n h w c"], kernels: Kernels) -> Num[Array, "n ho wo f"]:
        """Return the potentials before pooling."""
        raise NotImplementedError

    def max_pool(self, potentials: Num[Array, "n h w f"]) -> Num[Array, "n ho wo f"]:
        """Take the maximum over the windows of a max pool; without one, do nothing."""
        return potentials

    def out_shape(self, in_shape: Shape) -> Shape:
        """Return the shape after pooling."""
        return self.map_shape(in_shape)

    def pooled(self, in_shape: Shape) -> int:
        """Return how many potentials a global average pool sums, 1 without one."""
        del in_shape
        return 1

    def macs(self, in_shape: Shape) -> int:
        """Return the multiply-accumulates of one sample, zeros included."""
        rows, columns, _ = self.map_shape(in_shape)
        return rows * columns * self.n_weights(in_shape)

    def n_weights(self, in_shape: Shape) -> int:
        """Return the number of weights."""
        return sum(math.prod(shape) for shape in self.kernel_shapes(in_shape).values())


@dataclasses.dataclass(frozen=True, kw_only=True)
class Conv(Layer):
    """Convolution with a square kernel.

    Attributes:
      filters: output channels.
      kernel_size: taps along each axis.
      stride: of the convolution, along both axes.
      padding: "same" or "valid", for the convolution and for max pooling.
      pool: None, "max" or "global_average".
      pool_size: window of a max pool, one number or (height, width).
      pool_stride: step of a max pool; the window by default.
    """

    filters: int
    kernel_size: int
    stride: int = 1
    padding: str = "same"
    pool: Pool | None = None
    pool_size: int | tuple[int, int] = 2
    pool_stride: int | tuple[int, int] | None = None

    kind = "conv"

    @property
    def neurons(self) -> int:
        return self.filters

    @property
    def border(self) -> int:
        """Input level that SAME padding inserts."""
        return 0

    @property
    def pool_window(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Size and stride of the max pool, each (height, width)."""
        size = pair(self.pool_size)
        return size, size if self.pool_stride is None else pair(self.pool_stride)

    def kernel_shapes(self, in_shape: Shape) -> dict[str, tuple[int, ...]]:
        return {"kernel": (self.kernel_size, self.kernel_size, in_shape[2], self.filters)}

    def map_shape(self, in_shape: Shape) -> Shape:
        rows, columns = (
            output_size(size, self.kernel_size, self.stride, self.padding) for size in in_shape[:2]
        )
        return rows, columns, self.filters

    def linear(self, x: Num[Array, "n h w c"], kernels: Kernels) -> Num[Array, "n ho wo f"]:
        return convolve(
            x,
            kernels["kernel"],
            stride=self.stride,
            padding=self.padding,
            padding_value=self.border,
        )

    def max_pool(self, potentials: Num[Array, "n h w f"]) -> Num[Array, "n ho wo f"]:
        if self.pool != "max":
            return potentials
        return max_pool(potentials, *self.pool_window, padding=self.padding)

    def out_shape(self, in_shape: Shape) -> Shape:
        rows, columns, filters = self.map_shape(in_shape)
        if self.pool == "global_average":
            return 1, 1, filters
        if self.pool == "max":
            size, stride = self.pool_window
            rows = output_size(rows, size[0], stride[0], self.padding)
            columns = output_size(columns, size[1], stride[1], self.padding)
        return rows, columns, filters

    def pooled(self, in_shape: Shape) -> int:
        rows, columns, _ = self.map_shape(in_shape)
        return rows * columns if self.pool == "global_average" else 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class InputConv(Conv):
    """Convolution of 8-bit images: the first layer of a network.

    Attributes:
      input_shape: height, width, channels.
      padding_value: input level that SAME padding inserts; the level of the float
        network's zero (`Sequential.input_shift`) if both are to see the same border.
    """

    input_shape: Shape
    padding_value: int = 0

    kind = "input_conv"
    input_bits = 8

    @property
    def border(self) -> int:
        return self.padding_value


@dataclasses.dataclass(frozen=True, kw_only=True)
class SeparableConv(Conv):
    """Depthwise then pointwise convolution, fused: nothing is rounded in between.

    It has only same padding; a `Sequential` with another one is refused.
    """

    kind = "separable"

    def kernel_shapes(self, in_shape: Shape) -> dict[str, tuple[int, ...]]:
        size, channels = self.kernel_size, in_shape[2]
        return {"kernel": (size, size, 1, channels), "pointwise": (channels, self.filters)}

    def linear(self, x: Num[Array, "n h w c"], kernels: Kernels) -> Num[Array, "n ho wo f"]:
        depthwise = convolve_depthwise(x, kernels["kernel"], stride=self.stride)
        return jnp.matmul(depthwise, kernels["pointwise"], precision=jax.lax.Precision.HIGHEST)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Dense(Layer):
    """Fully connected layer; a larger input is flattened row by row, channels last.

    Attributes:
      units: output neurons.
    """

    units: int

    kind = "dense"

    @property
    def neurons(self) -> int:
        return self.units

    def kernel_shapes(self, in_shape: Shape) -> dict[str, tuple[int, ...]]:
        return {"kernel": (1, 1, math.prod(in_shape), self.units)}

    def map_shape(self, in_shape: Shape) -> Shape:
        del in_shape
        return 1, 1, self.units

    def linear(self, x: Num[Array, "n h w c"], kernels: Kernels) -> Num[Array, "n 1 1 f"]:
        return convolve(x.reshape(x.shape[0], 1, 1, math.prod(x.shape[1:])), kernels["kernel"])


AnyLayer = TypeVar("AnyLayer", bound=InputData | Layer)


def name_layers(layers: Sequence[AnyLayer]) -> tuple[AnyLayer, ...]:
    """Number the layers that have no name: ``conv_0``, ``separable_4``, ``dense_7``.

    Raises:
      ValueError: if two layers share a name.
    """
    stems = {"input_data": "input", "input_conv": "conv"}
    start = 1 if layers and layers[0].kind == "input_data" else 0
    named = tuple(
        layer if layer.name else dataclasses.replace(
            layer,
            name=stems.get(layer.kind, layer.kind)
            + ("" if layer.kind == "input_data" else f"_{index - start}"),
        )
        for index, layer in enumerate(layers)
    )  # fmt: skip
    names = [layer.name for layer in named]
    repeated = sorted({str(name) for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(f"layer names must be unique, repeated: {', '.join(repeated)}")
    return named
