"""From a trained float network to its quantized twin."""

import dataclasses
import re
from collections.abc import Sequence
from typing import Any, get_args

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, UInt8

from akida_jax.quant.activations import ACTIVATION_BITS, activation_limit
from akida_jax.quant.architecture import InputConv, Layer
from akida_jax.quant.faults import check_inputs, is_integer, is_positive
from akida_jax.quant.layers import FloatLayer, Precision, QuantizedLayer
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
        error); without them the range is that of the float ReLU, [0, 6] by default.
      overrides: exceptions by layer name; later rules win.
      weight_quantizer: "max_per_filter", "max_per_tensor" or "std".
      registers: register widths of the target.

    Raises:
      ValueError: if the network is quantized already, a width or quantizer is not
        supported, a rule matches no layer, a range is not positive, the calibration
        inputs are empty or no integers of the network's input, a parameter is not
        finite, or a layer's sum is too large to be exact.
    """
    if not isinstance(network, Sequential):
        raise ValueError(
            f"quantize takes an akida_jax.quant.Sequential, got {type(network).__name__}"
        )
    if network.quantized:
        raise ValueError("the network is quantized already")
    choices = choose_precisions(
        [layer.spec for layer in network.layers],
        bits=bits, overrides=overrides, weight_quantizer=weight_quantizer,
    )  # fmt: skip
    if not isinstance(registers, Registers):
        raise ValueError(f"registers must be quant.Registers, got {registers!r}")
    samples = _calibrate(network, calibration)
    twin = nnx.clone(network)
    input_bits = network.input.input_bits
    layers = []
    for layer, chosen in zip(network.layers, choices, strict=True):
        sample = samples.get(layer.spec.name)
        layers.append(_quantize_layer(layer, input_bits, registers, sample, **chosen))
        input_bits = layers[-1].precision.act_bits
    twin.layers = nnx.List(layers)
    return twin


def choose_precisions(
    specs: Sequence[Layer],
    *,
    bits: tuple[int, int, int],
    overrides: Sequence[Rule] = (),
    weight_quantizer: WeightQuantizer = "max_per_filter",
) -> list[dict[str, Any]]:
    """Return what `quantize` chooses for each layer, by the fields of `Rule`.

    Raises:
      ValueError: for bits that are not three ints, or a rule that matches no layer.
    """
    _check_bits(bits)
    _check_rules(overrides, [str(spec.name) for spec in specs])
    choices = []
    for spec in specs:
        chosen: dict[str, Any] = {
            "weight_bits": bits[0] if isinstance(spec, InputConv) else bits[1],
            "act_bits": bits[2],
            "weight_quantizer": weight_quantizer,
            "max_activation": None,
        }
        choices.append(chosen | _find_exceptions(overrides, str(spec.name)))
    return choices


def _check_bits(bits: tuple[int, int, int]) -> None:
    if not isinstance(bits, Sequence) or len(bits) != 3 or not all(map(is_integer, bits)):
        raise ValueError(
            "bits must be three ints (weights of an input convolution, other weights, "
            f"activations) such as (8, 4, 4), got {bits!r}"
        )


def _check_rules(overrides: Sequence[Rule], names: Sequence[str]) -> None:
    listed = isinstance(overrides, Sequence) and all(isinstance(r, Rule) for r in overrides)
    if not listed:
        raise ValueError(f"overrides must be a list of quant.Rule, got {overrides!r}")
    for rule in overrides:
        if not isinstance(rule.layers, str):
            raise ValueError(f"rule: layers must be a regular expression, got {rule.layers!r}")
        try:
            pattern = re.compile(rule.layers)
        except re.error as error:
            raise ValueError(
                f"rule {rule.layers!r}: layers must be a regular expression: {error}"
            ) from error
        if not any(map(pattern.fullmatch, names)):
            raise ValueError(
                f"rule {rule.layers!r} matches no layer; the layers are {', '.join(names)}"
            )


def _find_exceptions(overrides: Sequence[Rule], name: str) -> dict[str, Any]:
    chosen: dict[str, Any] = {}
    for rule in overrides:
        if re.fullmatch(rule.layers, name):
            given = dataclasses.asdict(rule)
            del given["layers"]
            chosen |= {key: value for key, value in given.items() if value is not None}
    return chosen


def _check_choice(
    name: str | None,
    *,
    weight_bits: int,
    act_bits: int,
    weight_quantizer: WeightQuantizer,
    max_activation: float | None,
) -> None:
    """Refuse widths, quantizers and ranges that a layer cannot have."""
    if not is_integer(weight_bits) or weight_bits not in WEIGHT_BITS:
        raise ValueError(f"layer {name!r}: weight bits must be 2, 4 or 8, got {weight_bits!r}")
    if not is_integer(act_bits) or act_bits not in ACTIVATION_BITS:
        raise ValueError(f"layer {name!r}: activation bits must be 1, 2 or 4, got {act_bits!r}")
    if weight_quantizer not in get_args(WeightQuantizer):
        raise ValueError(
            f"layer {name!r}: weight quantizer must be one of {get_args(WeightQuantizer)}, "
            f"got {weight_quantizer!r}"
        )
    if max_activation is not None and not is_positive(max_activation):
        raise ValueError(
            f"layer {name!r}: max_activation must be positive and finite, got {max_activation!r}"
        )


def _quantize_layer(
    layer: FloatLayer,
    input_bits: int,
    registers: Registers,
    sample: np.ndarray | None,
    *,
    max_activation: float | None,
    **widths: Any,
) -> QuantizedLayer:
    """Return a layer's twin; its range is chosen, calibrated on the sample, or the ReLU's."""
    name = layer.spec.name
    _check_choice(name, max_activation=max_activation, **widths)
    kernels, bias = layer.folded()
    for key, value in (*kernels.items(), ("bias", bias)):
        if not np.isfinite(value).all():
            raise ValueError(f"layer {name!r}: {key} has values that are not finite; "
                             "the float training has diverged")  # fmt: skip
    limit = activation_limit(widths["act_bits"])
    if max_activation is not None:
        step = max_activation / limit
    elif sample is not None:
        step = _best_step(sample, limit, layer.max_activation)
    else:
        step = layer.max_activation / limit
    precision = Precision(input_bits=input_bits, registers=registers, **widths)
    twin = QuantizedLayer(layer.spec, layer.in_shape, precision,
                          kernels=kernels, bias=bias, step=step)  # fmt: skip
    twin.groups()  # refuses sums that float32 cannot split
    return twin


def _calibrate(network: Sequential, batch: Inputs | None) -> dict[str, np.ndarray]:
    """Return a sample of each layer's float activations."""
    if batch is None:
        return {}
    try:
        check_inputs(batch, network.input, integers=True)
    except ValueError as error:
        raise ValueError(f"calibration: {error}") from None
    if not len(batch):
        raise ValueError("calibration holds no inputs; give at least one, or None for [0, 6]")
    samples = {}
    for name, y in network.outputs(jnp.asarray(batch)):
        values = np.asarray(y).ravel()
        samples[name] = values[:: -(-values.size // _CALIBRATION_VALUES)]
    return samples


def _best_step(values: Float[np.ndarray, " n"], limit: int, bound: float) -> float:
    """Return the step that quantizes activations with the least square error."""
    largest = float(values.max())
    if largest <= 0:
        return bound / limit
    steps = largest / limit * _STEP_CANDIDATES
    errors = [
        np.mean((np.clip(np.ceil(values / s - 0.5), 0, limit) * s - values) ** 2) for s in steps
    ]
    return float(steps[int(np.argmin(errors))])
