"""From a trained float network to its quantized twin."""

import dataclasses
import re
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, UInt8

from akida_jax.quant.activations import ACTIVATION_BITS, activation_limit
from akida_jax.quant.architecture import InputConv
from akida_jax.quant.layers import MAX_ACTIVATION, FloatLayer, Precision, QuantizedLayer
from akida_jax.quant.networks import Sequential
from akida_jax.quant.registers import AKIDA_1, Registers
from akida_jax.quant.weights import WEIGHT_BITS, WeightQuantizer

Inputs = UInt8[Array, "n h w c"] | UInt8[np.ndarray, "n h w c"]

_STEP_CANDIDATES = np.linspace(0.15, 1.0, 52)
_CALIBRATION_VALUES = 200_000


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rule:
    """An exception for the layers whose name matches.

    Attributes:
      layers: regular expression that must match the whole name.
      weight_bits, act_bits, weight_quantizer: replace the general choice where given.
      max_activation: real value of the highest activation level, instead of the
        calibrated one.
    """

    layers: str
    weight_bits: int | None = None
    act_bits: int | None = None
    weight_quantizer: WeightQuantizer | None = None
    max_activation: float | None = None


def quantize(
    network: Sequential,
    *,
    bits: tuple[int, int, int] = (8, 4, 4),
    calibration: Inputs | None = None,
    overrides: Sequence[Rule] = (),
    weight_quantizer: WeightQuantizer = "max_per_filter",
    registers: Registers = AKIDA_1,
) -> Sequential:
    """Return the quantized twin of a float network, ready to train or to convert.

    Batch norm is folded; the float network stays as it is.

    Args:
      network: float network, trained or not.
      bits: weight bits of an input convolution, of all other layers, activation bits.
      calibration: inputs from which each activation's range is chosen (least square
        error); without them the range is [0, 6].
      overrides: exceptions by layer name; later rules win.
      weight_quantizer: "max_per_filter", "max_per_tensor" or "std".
      registers: register widths of the target.

    Raises:
      ValueError: if the network is quantized already, a width is not supported, a rule
        matches no layer, or a parameter is not finite.
    """
    if network.quantized:
        raise ValueError("the network is quantized already")
    ranges = _calibrate(network, calibration)
    names = [layer.spec.name for layer in network.layers]
    for rule in overrides:
        if not any(re.fullmatch(rule.layers, name) for name in names):
            raise ValueError(
                f"rule {rule.layers!r} matches no layer; the layers are {', '.join(names)}"
            )
    twin = nnx.clone(network)
    input_bits = network.input.input_bits
    layers = []
    for layer, name in zip(network.layers, names, strict=True):
        first = isinstance(layer.spec, InputConv)
        chosen: dict[str, Any] = {
            "weight_bits": bits[0] if first else bits[1],
            "act_bits": bits[2],
            "weight_quantizer": weight_quantizer,
            "max_activation": ranges.get(name),
        }
        for rule in overrides:
            if re.fullmatch(rule.layers, name):
                given = dataclasses.asdict(rule)
                del given["layers"]
                chosen |= {key: value for key, value in given.items() if value is not None}
        layers.append(_quantize_layer(layer, input_bits, registers, **chosen))
        input_bits = layers[-1].precision.act_bits
    twin.layers = nnx.List(layers)
    return twin


def _quantize_layer(
    layer: FloatLayer,
    input_bits: int,
    registers: Registers,
    *,
    max_activation: float | np.ndarray | None,
    **widths: Any,
) -> QuantizedLayer:
    name = layer.spec.name
    if widths["weight_bits"] not in WEIGHT_BITS:
        raise ValueError(f"layer {name!r}: weight bits must be 2, 4 or 8, "
                         f"got {widths['weight_bits']}")  # fmt: skip
    if widths["act_bits"] not in ACTIVATION_BITS:
        raise ValueError(f"layer {name!r}: activation bits must be 1, 2 or 4, "
                         f"got {widths['act_bits']}")  # fmt: skip
    kernels, bias = layer.folded()
    for key, value in (*kernels.items(), ("bias", bias)):
        if not np.isfinite(value).all():
            raise ValueError(f"layer {name!r}: {key} has values that are not finite; "
                             "the float training has diverged")  # fmt: skip
    limit = activation_limit(widths["act_bits"])
    if max_activation is None:
        step = MAX_ACTIVATION / limit
    elif isinstance(max_activation, np.ndarray):
        step = _best_step(max_activation, limit)
    elif max_activation > 0:
        step = max_activation / limit
    else:
        raise ValueError(f"layer {name!r}: max_activation must be positive, got {max_activation}")
    precision = Precision(input_bits=input_bits, registers=registers, **widths)
    return QuantizedLayer(layer.spec, layer.in_shape, precision,
                          kernels=kernels, bias=bias, step=step)  # fmt: skip


def _calibrate(network: Sequential, batch: Inputs | None) -> dict[str, np.ndarray]:
    """Return a sample of each layer's float activations."""
    if batch is None:
        return {}
    samples = {}
    for name, y in network.outputs(jnp.asarray(batch)):
        values = np.asarray(y).ravel()
        samples[name] = values[:: -(-values.size // _CALIBRATION_VALUES)]
    return samples


def _best_step(values: Float[np.ndarray, " n"], limit: int) -> float:
    """Return the step that quantizes activations with the least square error."""
    largest = float(values.max())
    if largest <= 0:
        return MAX_ACTIVATION / limit
    steps = largest / limit * _STEP_CANDIDATES
    errors = [
        np.mean((np.clip(np.ceil(values / s - 0.5), 0, limit) * s - values) ** 2) for s in steps
    ]
    return float(steps[int(np.argmin(errors))])
