"""Layer specifications of an integer model: what each layer of the chip computes.

Shapes and the linear maps are those of the descriptions in `akida_jax.quant`; here the
widths of the integers are added. Which values the chip accepts is checked by `limits`.
"""

import dataclasses

from akida_jax.quant.architecture import (
    Conv,
    Dense,
    InputConv,
    InputData,
    Layer,
    SeparableConv,
)

__all__ = [
    "Convolutional",
    "FullyConnected",
    "InputConvolutional",
    "InputData",
    "SeparableConvolutional",
    "Specification",
    "specify",
]


@dataclasses.dataclass(frozen=True, kw_only=True)
class InputConvolutional(InputConv):
    """Convolution of 8-bit images with 1 or 3 channels, on its own unit of the chip.

    Attributes:
      weight_bits: 8; 2 and 4 on older chips.
      act_bits: 1, 2 or 4.
    """

    weight_bits: int = 8
    act_bits: int = 4


@dataclasses.dataclass(frozen=True, kw_only=True)
class Convolutional(Conv):
    """Convolution of events.

    Attributes:
      weight_bits: 2 or 4.
      act_bits: 1, 2 or 4.
    """

    weight_bits: int = 4
    act_bits: int = 4


@dataclasses.dataclass(frozen=True, kw_only=True)
class SeparableConvolutional(SeparableConv):
    """Depthwise and pointwise convolution of events, fused without rounding in between.

    Attributes:
      weight_bits: 2 or 4, of both kernels.
      act_bits: 1, 2 or 4.
    """

    weight_bits: int = 4
    act_bits: int = 4


@dataclasses.dataclass(frozen=True, kw_only=True)
class FullyConnected(Dense):
    """Fully connected layer over all inputs.

    Attributes:
      weight_bits: 2 or 4; 1 (weights 0 and 1) for a layer that has learned on the chip.
      act_bits: 1, 2 or 4.
      neurons_per_class: outputs that answer for one class; they stand side by side.
    """

    weight_bits: int = 4
    act_bits: int = 4
    neurons_per_class: int = 1


Convolution = InputConvolutional | Convolutional | SeparableConvolutional
Specification = Convolution | FullyConnected
"""A layer that computes, as opposed to `InputData`."""
AnySpecification = InputData | Specification


_SPECIFICATIONS: dict[str, type] = {
    "input_conv": InputConvolutional,
    "conv": Convolutional,
    "separable": SeparableConvolutional,
    "dense": FullyConnected,
}


def specify(layer: Layer, *, weight_bits: int, act_bits: int) -> Specification:
    """Return the specification of a described layer with the given widths.

    A description that is a specification already takes the given widths too.
    """
    fields = {f.name: getattr(layer, f.name) for f in dataclasses.fields(layer)}
    fields |= {"weight_bits": weight_bits, "act_bits": act_bits}
    return _SPECIFICATIONS[layer.kind](**fields)
