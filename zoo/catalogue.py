"""The models of the zoo by name."""

import builtins
import functools
from collections.abc import Callable, Sequence
from typing import Any

from flax import nnx

from akida_jax.quant import InputData, Sequential, quantize
from akida_jax.quant.architecture import Layer
from akida_jax.zoo.dvs import FILTERS, dvs_layers

ARCHITECTURES: dict[str, Callable[..., Sequence[InputData | Layer]]] = {
    name: functools.partial(dvs_layers, name) for name in FILTERS
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
    if name not in ARCHITECTURES:
        raise ValueError(f"no model {name!r} in the zoo; it has {', '.join(list())}")
    network = Sequential(ARCHITECTURES[name](**architecture), rngs=nnx.Rngs(seed))
    return network if bits is None else quantize(network, bits=bits)
