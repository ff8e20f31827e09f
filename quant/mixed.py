"""Weight widths chosen by gradient: a layer that holds several, and computes with one.

In training every layer draws one of its widths (Gumbel noise on the logits of its choice)
and computes exactly the integers of that width; the gradient of the choice is that of the
mixture of all widths (straight-through Gumbel softmax). So the forward pass is always one
that a chip could run. Without noise the most probable width counts.

    search = quant.mix(twin)              # logits join the parameters
    ...                                   # train; lower `set_temperature` on the way
    twin = quant.fix_widths(search, quant.chosen_widths(search))

Source: Jang, Gu and Poole, arXiv:1611.01144 (straight-through Gumbel softmax).
"""

import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int32, PRNGKeyArray

from akida_jax.quant.exact import Scale, snap
from akida_jax.quant.layers import LayerIntegers, QuantizedLayer, kernels_of
from akida_jax.quant.networks import Sequential
from akida_jax.quant.straight_through import straight_through
from akida_jax.quant.weights import WEIGHT_BITS, Levels, fake_levels

WIDTHS = (2, 4)
"""What every layer but the input convolution may have on the chip."""
_HEAD_START = 1.0
"""Logit of the network's own width at first, the others have 0: about 3 in 4 draws of two."""


class Choice(nnx.Variable):
    """Logits of a layer's widths; constant unless an optimizer selects it."""


class Temperature(nnx.Variable):
    """How evenly widths are drawn: the logits are divided by it."""


class MixedLayer(QuantizedLayer):
    """A quantized layer with several weight widths, of which the largest logit's counts.

    Attributes:
      widths: weight bits to choose among, rising.
      choice: one logit for each.
      temperature: positive.
    """

    def __init__(self, layer: QuantizedLayer, widths: Sequence[int]):
        """Hold a layer's parameters; its own width gets a head start."""
        bits = layer.precision.weight_bits
        super().__init__(
            layer.spec,
            layer.in_shape,
            dataclasses.replace(layer.precision, weight_bits=max(widths)),
            kernels=kernels_of(layer),
            bias=layer.bias[...],
            step=layer.step[...],
        )
        self.widths = tuple(widths)
        own = [_HEAD_START * (width == bits) for width in widths]
        self.choice = Choice(jnp.array(own, jnp.float32))
        self.temperature = Temperature(jnp.float32(1))

    def probabilities(self) -> Float[Array, " widths"]:
        """Return how probable each width is."""
        return jax.nn.softmax(self.choice[...] / self.temperature[...])

    def chosen(self) -> Int32[Array, ""]:
        """Return the number of the width that counts; the first, if equal."""
        return jnp.argmax(self.choice[...])

    def integers(self, input_step: Scale, *, shift: int = 0) -> LayerIntegers:
        """Derive the integers of the chosen width."""
        chosen = self.chosen()
        every = [self._derive(bits, input_step, shift) for bits in self.widths]
        return jax.tree.map(lambda *options: jnp.stack(options)[chosen], *every)

    def preactivation(
        self,
        x: Float[Array, "n h w c"],
        weights: dict[str, Levels],
        *,
        input_step: Float[Array, ""],
        shift: int = 0,
    ) -> Float[Array, "n ho wo f"]:
        """Return what the float layer would compute with the chosen width's weights.

        Its gradient is that of the chosen width for the weights, and for the choice that of
        the mixture of all widths.
        """
        del weights  # of the chosen width alone
        drawn = jax.nn.one_hot(self.chosen(), len(self.widths))
        shares = straight_through(drawn, self.probabilities())
        step = snap(jax.lax.stop_gradient(input_step))
        # The same integers as in `integers`; a compiler derives them once.
        every = [self._derive(bits, step, shift).weights for bits in self.widths]
        kernels = {}
        for name, kernel in kernels_of(self).items():
            real = [fake_levels(kernel, each[name]) / each[name].scale.value for each in every]
            kernels[name] = jnp.tensordot(shares, jnp.stack(real), 1)
        return self._real(x, kernels, shift) * input_step + self.bias[...]


def mix(network: Sequential, *, widths: Sequence[int] = WIDTHS, layers: str = ".*") -> Sequential:
    """Return a quantized network whose layers choose their weight width.

    An input convolution keeps its own. The network given stays as it is.

    Args:
      network: quantized, with weight widths among ``widths`` in the layers that choose.
      widths: weight bits to choose among.
      layers: regular expression that a name must match as a whole for its layer to choose.

    Raises:
      ValueError: if the network is a float network or chooses already, the widths are not at
        least two of 2, 4 and 8, no layer matches, or a layer's own width is not among them.
    """
    _check_mixable(network, widths)
    rising = sorted(widths)
    mixed = nnx.clone(network)
    found, odd = [], []
    built: list[QuantizedLayer] = []
    for layer in mixed.layers:
        name = str(layer.spec.name)
        if layer.spec.kind == "input_conv" or not re.fullmatch(layers, name):
            built.append(layer)
            continue
        found.append(name)
        odd += [name] if layer.precision.weight_bits not in rising else []
        built.append(MixedLayer(layer, rising))
    if not found or odd:
        raise ValueError(
            f"layers {', '.join(odd)}: weight bits are not among {rising}, quantize with those"
            if odd
            else f"no layer that could choose matches {layers!r}"
        )
    mixed.layers = nnx.List(built)
    return mixed


def _check_mixable(network: Sequential, widths: Sequence[int]) -> None:
    if not network.quantized:
        raise ValueError("a float network has no widths; apply quant.quantize first")
    if any(isinstance(layer, MixedLayer) for layer in network.layers):
        raise ValueError("the network's layers choose their widths already")
    if len(set(widths)) != len(widths) or len(widths) < 2 or not set(widths) <= set(WEIGHT_BITS):
        raise ValueError(f"widths must be two or more of {WEIGHT_BITS}, got {tuple(widths)}")


def mixed_layers(network: Sequential) -> Iterator[MixedLayer]:
    """Yield the layers that choose their width, in order."""
    for layer in network.layers:
        if isinstance(layer, MixedLayer):
            yield layer


def draw_widths(network: Sequential, key: PRNGKeyArray) -> None:
    """Draw a width for every layer that chooses, in place: Gumbel noise joins the logits.

    A width is drawn with its probability. Gradients pass to the logits.
    """
    for index, layer in enumerate(mixed_layers(network)):
        noise = jax.random.gumbel(jax.random.fold_in(key, index), layer.choice[...].shape)
        layer.choice[...] = layer.choice[...] + layer.temperature[...] * noise


def set_temperature(network: Sequential, temperature: float | Float[Array, ""]) -> None:
    """Set how evenly widths are drawn, in place; towards 0 the largest logit always wins."""
    for layer in mixed_layers(network):
        layer.temperature[...] = jnp.float32(temperature)


def width_probabilities(network: Sequential) -> dict[str, Float[Array, " widths"]]:
    """Return how probable each width is, by the name of the layers that choose."""
    return {str(layer.spec.name): layer.probabilities() for layer in mixed_layers(network)}


def chosen_widths(network: Sequential) -> dict[str, int]:
    """Return the most probable width, by the name of the layers that choose."""
    return {
        str(layer.spec.name): layer.widths[int(layer.chosen())] for layer in mixed_layers(network)
    }


def fix_widths(network: Sequential, widths: Mapping[str, int]) -> Sequential:
    """Return the network with the given widths, as `quantize` with rules would build it.

    Its forward pass, given `chosen_widths`, is that of the network it comes from.

    Args:
      network: with layers that choose.
      widths: weight bits by the name of each of them.

    Raises:
      ValueError: if a layer that chooses is left out, another is named, or a width is not
        among the layer's own.
    """
    choosing = {str(layer.spec.name): layer.widths for layer in mixed_layers(network)}
    odd = sorted(set(choosing) ^ set(widths))
    odd += [n for n, bits in widths.items() if n in choosing and bits not in choosing[n]]
    if odd:
        raise ValueError(
            f"widths must name one of its own for each layer that chooses, {choosing}; at fault: "
            f"{', '.join(odd)}"
        )
    fixed = nnx.clone(network)
    fixed.layers = nnx.List([_fix(layer, widths) for layer in fixed.layers])
    return fixed


def _fix(layer: QuantizedLayer, widths: Mapping[str, int]) -> QuantizedLayer:
    if not isinstance(layer, MixedLayer):
        return layer
    bits: Any = widths[str(layer.spec.name)]
    return QuantizedLayer(
        layer.spec,
        layer.in_shape,
        dataclasses.replace(layer.precision, weight_bits=bits),
        kernels=kernels_of(layer),
        bias=layer.bias[...],
        step=layer.step[...],
    )
