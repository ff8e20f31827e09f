"""The models of the zoo by name."""

import builtins
import functools
from collections.abc import Callable, Sequence
from typing import Any

from flax import nnx

from akida_jax.layers import specify
from akida_jax.model import Model
from akida_jax.quant import InputConv, InputData, Sequential, quantize
from akida_jax.quant.architecture import Layer
from akida_jax.zoo.akidanet import FULL_CONVOLUTIONS, akidanet_layers
from akida_jax.zoo.dvs import FILTERS, dvs_layers

ARCHITECTURES: dict[str, Callable[..., Sequence[InputData | Layer]]] = {
    **{name: functools.partial(dvs_layers, name) for name in FILTERS},
    **{name: functools.partial(akidanet_layers, name) for name in FULL_CONVOLUTIONS},
}


def list() -> builtins.list[str]:
    """Return the names that `build` knows."""
    return sorted(ARCHITECTURES)


def build(
    name: str,
    *,
    bits: tuple[int, int, int] | None = None,
    seed: int = 0,
    **architecture: Any,
) -> Sequential:
    """Return a network with random weights.

    Args:
      name: one of `list()`.
      bits: None for a float network; input weights, weights and activations for its
        quantized twin.
      seed: of the weights.
      **architecture: options of the family, such as ``classes`` or ``input_shape``.

    Raises:
      ValueError: if there is no such model.
    """
    network = Sequential(_layers(name, architecture), rngs=nnx.Rngs(seed))
    return network if bits is None else quantize(network, bits=bits)


def blank_model(name: str, *, bits: tuple[int, int, int] = (8, 4, 4), **architecture: Any) -> Model:
    """Return the integer model without weights, to look at or to place on a device.

    Args:
      name: one of `list()`.
      bits: input weights, weights and activations.
      **architecture: as of `build`.

    Raises:
      ValueError: if there is no such model, or the chip cannot hold it.
    """
    if len(bits) != 3:
        raise ValueError(f"bits must be three numbers, such as (8, 4, 4), got {bits!r}")
    specs = [
        layer
        if isinstance(layer, InputData)
        else specify(
            layer, weight_bits=bits[0 if isinstance(layer, InputConv) else 1], act_bits=bits[2]
        )
        for layer in _layers(name, architecture)
    ]
    return Model(specs)


def _layers(name: str, architecture: dict[str, Any]) -> Sequence[InputData | Layer]:
    if name not in ARCHITECTURES:
        raise ValueError(f"no model {name!r} in the zoo; it has {', '.join(list())}")
    return ARCHITECTURES[name](**architecture)
