"""Flax layers: float for the first training, quantized for the second.

Both read the same description. The float layer computes linear map, pooling, batch
norm, bounded ReLU on real numbers. Its quantized twin carries the chip's integers as
float32 values: activations in ``[0, 2**b - 1]``, potentials below 2**24.
"""

import dataclasses
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int32

from akida_jax.quant.activations import (
    Firing,
    activate,
    activation_limit,
    derive_firing,
    fake_activation,
    least_weight_range,
)
from akida_jax.quant.architecture import Layer, Shape
from akida_jax.quant.exact import Scale, snap
from akida_jax.quant.potentials import exact_potentials, n_channel_groups
from akida_jax.quant.registers import AKIDA_1, Registers
from akida_jax.quant.straight_through import straight_through
from akida_jax.quant.weights import (
    Levels,
    WeightQuantizer,
    fake_levels,
    quantize_weights,
    weight_limit,
)

MAX_ACTIVATION = 6.0
"""Upper bound of the float ReLU by default, and the range of its quantized twin.

Source: default of the vendor's Apache-2.0 layers, docs/hardware.md#activation.
"""

_MOMENTUM = 0.9
_EPSILON = 1e-3


class Step(nnx.Variable):
    """Real value of one activation level; constant unless an optimizer selects it."""


def kernels_of(layer: "FloatLayer | QuantizedLayer") -> dict[str, Array]:
    """Return a layer's real kernels by name."""
    names = layer.spec.kernel_shapes(layer.in_shape)
    return {name: getattr(layer, name)[...] for name in names}


def _batch_norm(features: int, rngs: nnx.Rngs) -> nnx.BatchNorm:
    return nnx.BatchNorm(
        features, momentum=_MOMENTUM, epsilon=_EPSILON, use_scale=False, use_bias=False, rngs=rngs
    )


class FloatLayer(nnx.Module):
    """A layer on real numbers: linear map, pooling, batch norm, bounded ReLU.

    In front of a max pool the batch-norm gain counts by its magnitude: a negative gain
    behind the pool could not be folded into the weights.
    """

    def __init__(
        self,
        spec: Layer,
        in_shape: Shape,
        *,
        batch_norm: bool,
        rngs: nnx.Rngs,
        max_activation: float = MAX_ACTIVATION,
    ):
        """Draw the weights (He normal, fan-in) of a layer fed with ``in_shape``."""
        self.spec = spec
        self.in_shape = in_shape
        self.max_activation = max_activation
        for name, shape in spec.kernel_shapes(in_shape).items():
            deviation = (2 / math.prod(shape[:-1])) ** 0.5
            weights = deviation * jax.random.truncated_normal(rngs.params(), -2, 2, shape)
            setattr(self, name, nnx.Param(weights))
        self.bias = nnx.Param(jnp.zeros(spec.neurons))
        self.gain = nnx.Param(jnp.ones(spec.neurons)) if batch_norm else None
        self.norm = _batch_norm(spec.neurons, rngs) if batch_norm else None

    def effective_gain(self) -> Float[Array, " filters"]:
        """Return the batch-norm gain as it acts; its magnitude where max pooling follows."""
        assert self.gain is not None
        gain = self.gain[...]
        return jnp.abs(gain) if getattr(self.spec, "pool", None) == "max" else gain

    def __call__(
        self, x: Float[Array, "n h w c"], *, scale: float = 1.0, shift: int = 0, train: bool = False
    ) -> Float[Array, "n ho wo f"]:
        """Apply the layer to input levels ``x = scale * x_float + shift``."""
        y = self.preactivation(x, scale=scale, shift=shift, train=train)
        return jnp.clip(y, 0, self.max_activation) if self.spec.activation else y

    def preactivation(
        self, x: Float[Array, "n h w c"], *, scale: float = 1.0, shift: int = 0, train: bool = False
    ) -> Float[Array, "n ho wo f"]:
        """Return what the activation is applied to."""
        kernels = kernels_of(self)
        y = self.spec.max_pool(self.spec.linear(x, kernels))
        if shift:
            y = y - shift * kernels["kernel"].sum((0, 1, 2))
        if self.spec.pooled(self.in_shape) > 1:
            y = y.mean((1, 2), keepdims=True)
        y = y / scale
        if self.norm is not None:
            y = self.norm(y, use_running_average=not train) * self.effective_gain()
        return y + self.bias[...]

    def folded(self) -> tuple[dict[str, Array], Float[Array, " filters"]]:
        """Return kernels and bias with batch norm folded into the last kernel."""
        kernels, bias = kernels_of(self), self.bias[...]
        if self.norm is None:
            return kernels, bias
        factor = self.effective_gain() * jax.lax.rsqrt(self.norm.var[...] + _EPSILON)
        last = list(kernels)[-1]
        kernels[last] = kernels[last] * factor
        return kernels, bias - self.norm.mean[...] * factor


class LayerIntegers(NamedTuple):
    """Everything a layer is programmed with, derived from its float parameters."""

    weights: dict[str, Levels]
    firing: Firing


@dataclasses.dataclass(frozen=True, kw_only=True)
class Precision:
    """How a quantized layer holds its numbers."""

    weight_bits: int
    act_bits: int
    input_bits: int
    weight_quantizer: WeightQuantizer = "max_per_filter"
    registers: Registers = AKIDA_1


class QuantizedLayer(nnx.Module):
    """A layer whose forward pass computes exactly the chip's integers.

    The parameters stay real: kernels, folded bias, and the step of the activation. The
    forward pass derives levels, threshold and raw step from them (`integers`), computes
    int32 potentials and quantizes them; the gradient is straight-through. A depthwise
    kernel always has one scale for the whole tensor.
    """

    def __init__(
        self,
        spec: Layer,
        in_shape: Shape,
        precision: Precision,
        *,
        kernels: dict[str, Array],
        bias: Float[Array, " filters"],
        step: float | Float[Array, ""],
    ):
        """Hold folded parameters; ``step`` is the real value of one activation level."""
        self.spec = spec
        self.in_shape = in_shape
        self.precision = precision
        for name, kernel in kernels.items():
            setattr(self, name, nnx.Param(kernel))
        self.bias = nnx.Param(bias)
        self.step = Step(jnp.asarray(step, jnp.float32))

    def integers(self, input_step: Scale, *, shift: int = 0) -> LayerIntegers:
        """Derive the integers of this layer, the same under every compiler.

        Args:
          input_step: real value of one input level.
          shift: input level of the float network's zero; input layer only.

        Source: docs/hardware.md#from-float-to-registers.
        """
        return self._derive(self.precision.weight_bits, input_step, shift)

    def _derive(self, weight_bits: int, input_step: Scale, shift: int) -> LayerIntegers:
        """Derive the integers for some weight width."""
        precision = self.precision
        given: dict[str, Any] = {
            "bias": jax.lax.stop_gradient(self.bias[...]),
            "input_step": input_step,
            "output_step": snap(jax.lax.stop_gradient(self.step[...])),
            "bits": precision.act_bits,
            "pooled": self.spec.pooled(self.in_shape),
            "activation": self.spec.activation,
            "registers": precision.registers,
        }
        weights = self._levels(weight_bits, given)
        scales = tuple(levels.scale for levels in weights.values())
        firing = derive_firing(weight_scales=scales, **given)
        if shift:
            offset = shift * weights["kernel"].levels.sum((0, 1, 2))
            firing = firing._replace(threshold=firing.threshold + offset)
        return LayerIntegers(weights, firing)

    def _levels(self, weight_bits: int, given: dict[str, Any]) -> dict[str, Levels]:
        weights = dict[str, Levels]()
        for name, kernel in kernels_of(self).items():
            quantizer, least_range = self.precision.weight_quantizer, None
            if quantizer == "max_per_filter":
                if name == "kernel" and self.spec.kind == "separable":
                    quantizer = "max_per_tensor"
                else:
                    least_range = least_weight_range(
                        limit=weight_limit(weight_bits),
                        other_scales=tuple(levels.scale for levels in weights.values()),
                        is_input=self.spec.kind == "input_conv",
                        **given,
                    )
            weights[name] = quantize_weights(
                kernel,
                bits=weight_bits,
                quantizer=quantizer,
                least_range=least_range,
            )
        return weights

    def groups(self) -> int:
        """Return into how many channel groups float32 must split the sum."""
        precision = self.precision
        input_limit = activation_limit(precision.input_bits)
        return n_channel_groups(self.spec, self.in_shape, precision.weight_bits, input_limit)

    def potentials(
        self, x: Float[Array, "n h w c"], integers: LayerIntegers
    ) -> Int32[Array, "..."]:
        """Return pooled int32 potentials of integer-valued activations."""
        kernels = {name: w.levels.astype(jnp.float32) for name, w in integers.weights.items()}
        return exact_potentials(self.spec, x, kernels, groups=self.groups())

    def __call__(
        self, x: Float[Array, "n h w c"], *, input_step: Float[Array, ""], shift: int = 0
    ) -> Float[Array, "n ho wo f"]:
        """Return activation levels as float32; without activation, the logits.

        Logits are ``(p - T) / S``, the potentials in the unit of the float network.

        Args:
          x: integer levels.
          input_step: real value of one input level; its gradient is passed on.
          shift: input level of the float network's zero; input layer only.
        """
        integers = self.integers(snap(jax.lax.stop_gradient(input_step)), shift=shift)
        exact = self.potentials(x, integers)
        real = self.preactivation(x, integers.weights, input_step=input_step, shift=shift)
        if not self.spec.activation:
            return straight_through(logits(exact, integers.firing, self.precision.registers), real)
        levels = activate(
            exact,
            *integers.firing,
            bits=self.precision.act_bits,
            registers=self.precision.registers,
        )
        return fake_activation(
            levels, real, step=step_value(self.step[...]), bits=self.precision.act_bits
        )

    def preactivation(
        self,
        x: Float[Array, "n h w c"],
        weights: dict[str, Levels],
        *,
        input_step: Float[Array, ""],
        shift: int = 0,
    ) -> Float[Array, "n ho wo f"]:
        """Return what the float layer would compute with the quantized weights.

        It is the surrogate that gradients pass through; the levels do not come from it.
        """
        kernels = {name: fake_levels(k, weights[name]) for name, k in kernels_of(self).items()}
        y = self._real(x, kernels, shift)
        for levels in weights.values():
            y = y / levels.scale.value
        return y * input_step + self.bias[...]

    def _real(
        self, x: Float[Array, "n h w c"], kernels: dict[str, Array], shift: int
    ) -> Float[Array, "n ho wo f"]:
        """Apply kernels and pooling, in the unit of input levels times kernel."""
        y = self.spec.max_pool(self.spec.linear(x, kernels))
        if shift:
            y = y - shift * kernels["kernel"].sum((0, 1, 2))
        if self.spec.pooled(self.in_shape) > 1:
            y = y.mean((1, 2), keepdims=True)
        return y


def step_value(step: Float[Array, ""]) -> Float[Array, ""]:
    """Return a step as the fixed-point path sees it, with a straight-through gradient."""
    return straight_through(snap(jax.lax.stop_gradient(step)).value, step)


def logits(
    potentials: Int32[Array, "*batch filters"], firing: Firing, registers: Registers = AKIDA_1
) -> Float[Array, "*batch filters"]:
    """Return ``(p - T) / S`` in float32, the same quotient as NumPy's on a CPU."""
    step = jnp.maximum(firing.raw_step, 1).astype(jnp.float32) / 2**registers.step_fraction_bits
    # Without the barrier XLA multiplies by the reciprocal of a broadcast divisor.
    step = jax.lax.optimization_barrier(jnp.broadcast_to(step, potentials.shape))
    return (potentials - firing.threshold).astype(jnp.float32) / step
