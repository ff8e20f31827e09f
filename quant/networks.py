"""Sequential networks of float or quantized layers, fed with the integers of the input."""

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int32, UInt8

from akida_jax.quant.activations import activate, activation_limit
from akida_jax.quant.architecture import InputConv, InputData, Layer, Shape, name_layers
from akida_jax.quant.exact import Scale, snap
from akida_jax.quant.faults import check_descriptions, check_inputs, check_network
from akida_jax.quant.layers import (
    MAX_ACTIVATION,
    FloatLayer,
    LayerIntegers,
    QuantizedLayer,
    step_value,
)


class Sequential(nnx.Module):
    """A network of one layer after another, float or quantized as a whole.

    ``network(x)`` takes the same unsigned integers in either form and returns float32
    logits, or, where the last layer has an activation, its activations.

    Attributes:
      layers: the computing layers, in order.
      input: the `InputData` or `InputConv` description the network begins with.
    """

    def __init__(
        self,
        layers: Sequence[InputData | Layer],
        *,
        rngs: nnx.Rngs,
        batch_norm: bool = True,
        input_scale: float | None = None,
        input_shift: int = 0,
        max_activations: Mapping[str, float] | None = None,
    ):
        """Build a float network; shapes follow from the first description.

        Args:
          layers: descriptions; the first is an `InputData` or an `InputConv`.
          rngs: draws the weights.
          batch_norm: normalize every layer that has an activation.
          input_scale: input levels per unit of the float network,
            ``x_int = input_scale * x_float + input_shift``; by default the levels span
            an interval of length 1.
          input_shift: input level of the float network's zero, in 0..255; with
            `InputConv` only.
          max_activations: upper bound of the ReLU by layer name; 6 for the others.

        Raises:
          ValueError: if names repeat; else with every fault at once: a layer in the
            wrong place, a number, word or flag that a layer cannot have, a kernel or
            pool beyond its input, an argument out of range.
        """
        check_descriptions(layers)
        named = name_layers(layers)
        bounds = dict(max_activations or {})
        check_network(
            named,
            batch_norm=batch_norm,
            input_scale=input_scale,
            input_shift=input_shift,
            max_activations=bounds,
        )
        first = named[0]
        assert isinstance(first, InputData | InputConv)
        self.input = first
        limit = activation_limit(first.input_bits)
        self.input_scale = float(limit if input_scale is None else input_scale)
        self.input_shift = input_shift
        shape: Shape = first.input_shape
        built = []
        for spec in named:
            if isinstance(spec, InputData):
                continue
            norm = batch_norm and spec.activation
            bound = bounds.get(str(spec.name), MAX_ACTIVATION)
            built.append(FloatLayer(spec, shape, batch_norm=norm, rngs=rngs, max_activation=bound))
            shape = spec.out_shape(shape)
        self.layers: nnx.List = nnx.List(built)

    @property
    def quantized(self) -> bool:
        """Whether the forward pass computes the chip's integers."""
        return isinstance(self.layers[0], QuantizedLayer)

    @property
    def input_step(self) -> Scale:
        """Real value of one input level, as the fixed-point path sees it."""
        return snap(jnp.float32(1.0 / self.input_scale))

    def __call__(
        self, x: UInt8[Array, "n h w c"] | Float[Array, "n h w c"], *, train: bool = False
    ) -> Float[Array, "n ..."]:
        """Return logits (or last activations) of shape (n, classes) for a dense head.

        Args:
          x: integers in ``[0, 2**input_bits - 1]``, as floats too. A quantized network
            refuses other values, unless they are traced.
          train: normalize by the batch and move the statistics; float networks only.

        Raises:
          ValueError: for a wrong shape or value.
        """
        return flatten_map(self.outputs(x, train=train)[-1][1])

    def outputs(self, x: Array, *, train: bool = False) -> list[tuple[str, Array]]:
        """Return every layer's name and output, in order."""
        check_inputs(x, self.input, levels=self.quantized)
        x = x.astype(jnp.float32)
        results = []
        step = self.input_step.value
        for index, layer in enumerate(self.layers):
            shift = self.input_shift if index == 0 else 0
            if isinstance(layer, QuantizedLayer):
                x = layer(x, input_step=step, shift=shift)
                step = step_value(layer.step[...])
            else:
                scale = self.input_scale if index == 0 else 1.0
                x = layer(x, scale=scale, shift=shift, train=train)
            results.append((layer.spec.name, x))
        return results

    def integers(self) -> list[LayerIntegers]:
        """Return the integers of every layer of a quantized network."""
        if not self.quantized:
            raise ValueError("a float network has no integers; apply quant.quantize first")
        step = self.input_step
        result = []
        for index, layer in enumerate(self.layers):
            result.append(layer.integers(step, shift=self.input_shift if index == 0 else 0))
            step = snap(jax.lax.stop_gradient(layer.step[...]))
        return result

    def forward(self, x: UInt8[Array, "n h w c"]) -> Int32[Array, "n ho wo f"]:
        """Return the last layer's integers: potentials, or levels if it has an activation.

        Bit for bit what `akida_jax.Model.forward` returns for the converted network.

        Raises:
          ValueError: for a wrong shape, a dtype that holds no integers, values outside
            ``[0, 2**input_bits - 1]`` (not seen if traced), or a float network.
        """
        check_inputs(x, self.input, integers=True)
        y = x.astype(jnp.float32)
        for layer, integers in zip(self.layers, self.integers(), strict=True):
            potentials = layer.potentials(y, integers)
            if not layer.spec.activation:
                return potentials
            bits, registers = layer.precision.act_bits, layer.precision.registers
            levels = activate(potentials, *integers.firing, bits=bits, registers=registers)
            y = levels.astype(jnp.float32)
        return levels


def flatten_map(y: Float[Array, "n h w c"]) -> Float[Array, "n ..."]:
    """Return a map of one place as (n, c), any other as it is."""
    return y[:, 0, 0] if y.shape[1:3] == (1, 1) else y
