"""The models of the zoo by name."""

import builtins
import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from flax import nnx

from akida_jax.layers import specify
from akida_jax.model import Model
from akida_jax.quant import InputData, Rule, Sequential, choose_precisions, quantize
from akida_jax.quant.architecture import Layer, name_layers
from akida_jax.zoo.age_regression import vgg_like_layers
from akida_jax.zoo.akidanet import (
    FULL_CONVOLUTIONS,
    akidanet_layers,
    edge_layers,
    face_layers,
    hidden_layers,
)
from akida_jax.zoo.dvs import FILTERS, dvs_edge_layers, dvs_layers
from akida_jax.zoo.ecg import ecg_layers
from akida_jax.zoo.gxnor import gxnor_layers
from akida_jax.zoo.keyword_spotting import ds_cnn_layers
from akida_jax.zoo.pointnet import pointnet_layers
from akida_jax.zoo.yolo import yolo_layers

Bits = tuple[int, int, int]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Architecture:
    """A network and the widths it is published with.

    Attributes:
      layers: returns the layer descriptions; its options are those of `build`.
      bits: input weights, weights and activations.
      overrides: exceptions by layer name.
      max_activations: upper bound of the float network's ReLU where it is not 6.
    """

    layers: Callable[..., Sequence[InputData | Layer]]
    bits: Bits = (8, 4, 4)
    overrides: tuple[Rule, ...] = ()
    max_activations: Mapping[str, float] = dataclasses.field(default_factory=dict)


EDGE: dict[str, Any] = {
    "overrides": (Rule(layers="spike_generator", act_bits=1, max_activation=1.0),
                  Rule(layers="classifier", weight_bits=2)),
    "max_activations": {"spike_generator": 1.0},
}  # fmt: skip
"""Widths of a head whose last layer can learn on the chip."""

ARCHITECTURES: dict[str, Architecture] = {
    **{name: Architecture(layers=functools.partial(dvs_layers, name)) for name in FILTERS},
    **{name: Architecture(layers=functools.partial(akidanet_layers, name))
       for name in FULL_CONVOLUTIONS},
    **{f"{name}_edge": Architecture(layers=functools.partial(dvs_edge_layers, name), **EDGE)
       for name in FILTERS},
    "akidanet_ecg": Architecture(layers=functools.partial(hidden_layers, classes=4)),
    "akidanet_edge": Architecture(layers=edge_layers, **EDGE),
    "akidanet_faces": Architecture(layers=face_layers),
    "akidanet_plant_village": Architecture(layers=functools.partial(hidden_layers, classes=38)),
    "ds_cnn": Architecture(layers=ds_cnn_layers),
    "ecg": Architecture(layers=ecg_layers),
    "gxnor": Architecture(layers=gxnor_layers, bits=(2, 2, 1)),
    "mobilenet_faces": Architecture(layers=functools.partial(face_layers, base="mobilenet")),
    "pointnet": Architecture(layers=pointnet_layers),
    "vgg_like": Architecture(layers=vgg_like_layers, bits=(8, 2, 2)),
    "yolo": Architecture(layers=yolo_layers),
}  # fmt: skip


def list() -> builtins.list[str]:
    """Return the names that `build` knows."""
    return sorted(ARCHITECTURES)


def published_widths(name: str) -> dict[str, Any]:
    """Return the widths that a network is published with, as arguments of `quant.quantize`.

    Raises:
      ValueError: if there is no such model.
    """
    architecture = _find(name)
    return {"bits": architecture.bits, "overrides": architecture.overrides}


def build(name: str, *, bits: Bits | None = None, seed: int = 0, **options: Any) -> Sequential:
    """Return a network with random weights.

    Args:
      name: one of `list()`.
      bits: None for a float network; input weights, weights and activations for its
        quantized twin. Layers that are published with widths of their own keep them.
      seed: of the weights.
      **options: of the family, such as ``classes`` or ``input_shape``.

    Raises:
      ValueError: if there is no such model.
    """
    architecture = _find(name)
    network = Sequential(
        architecture.layers(**options),
        rngs=nnx.Rngs(seed),
        max_activations=architecture.max_activations,
    )
    if bits is None:
        return network
    return quantize(network, bits=bits, overrides=architecture.overrides)


def blank_model(name: str, *, bits: Bits | None = None, **options: Any) -> Model:
    """Return the integer model without weights, to look at or to place on a device.

    Args:
      name: one of `list()`.
      bits: input weights, weights and activations; None for those published.
      **options: as of `build`.

    Raises:
      ValueError: if there is no such model, or the chip cannot hold it.
    """
    architecture = _find(name)
    described = name_layers(architecture.layers(**options))
    inputs = [layer for layer in described if isinstance(layer, InputData)]
    layers = [layer for layer in described if not isinstance(layer, InputData)]
    choices = choose_precisions(
        layers, bits=bits or architecture.bits, overrides=architecture.overrides
    )
    specs = [
        specify(layer, weight_bits=chosen["weight_bits"], act_bits=chosen["act_bits"])
        for layer, chosen in zip(layers, choices, strict=True)
    ]
    return Model([*inputs, *specs])


def _find(name: str) -> Architecture:
    if name not in ARCHITECTURES:
        raise ValueError(f"no model {name!r} in the zoo; it has {', '.join(list())}")
    return ARCHITECTURES[name]
