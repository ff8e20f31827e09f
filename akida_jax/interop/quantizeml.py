"""Layers quantized with the vendor's Apache-2.0 package quantizeml, in the form for Akida 1.

A tensor is ``value * scale * 2**-frac``: integer values, a real scale per tensor or channel, and
``frac`` fractional bits. Weights of b bits have ``scale = max|w| / (2**(b-1) - 1)`` (1e-6 at least)
per filter, one for a depthwise kernel inside a separable layer, and
``level = round_half_even(w / scale)``. With inputs of ``f`` fractional bits and scale ``c`` (the
rescaling's; 1 behind an activation) the potential ``p = sum(x * level)`` has scale ``c * scale``
and ``f`` fractional bits. A bias of 8 bits is brought to them:
``g = min(7 - ceil(log2(|b| / scale)), 7, f)``, ``B = round(b / scale * 2**g) * 2**(f - g)``.

A global average pool sums values and divides the scale by their number n. The output quantizer
multiplies by ``q * 2**-h``, the scale times its rescaling rate in 8 bits
(``h = 8 - ceil(log2(scale))``), and shifts to ``o`` fractional bits,
``o = min(b - ceil(log2(range_max)), b)``: ``out = clip(floor(P * q * 2**r + 1/2), 0, 2**b - 1)``
with ``P = p + n * B`` and ``r = o - f - h``.

So ``out >= m`` from ``P >= (m - 1/2) * s`` on, ``s = 2**-r / q``. The chip asks for
``p > T + (m - 1) * s``, ``s`` truncated to its fixed point: ``T = ceil(s / 2) - 1 - n * B`` is
exact for m = 1, and ``S = s * 2**b / 16``. Without activation the logits are ``P * scale * 2**-f``:
``T = -n * B``, ``S = 2**f / scale``.
"""

import dataclasses
import math
from typing import Any

import numpy as np

from akida_jax.interop.blocks import Block, NotLegal
from akida_jax.interop.integer_models import Firing
from akida_jax.interop.keras_files import KerasLayer
from akida_jax.interop.walks import QUANTIZED_KINDS, host_activation

_PLAIN = {"QuantizedDropout": "Dropout", "QuantizedFlatten": "Flatten",
          "QuantizedGlobalAveragePooling2D": "GlobalAveragePooling2D",
          "QuantizedMaxPool2D": "MaxPooling2D", "QuantizedReshape": "Reshape",
          "QuantizedRescaling": "Rescaling", "Dequantizer": "Dropout"}  # fmt: skip
_LEAST_SCALE = np.float32(1e-6)


@dataclasses.dataclass(frozen=True)
class _Linear:
    scale: np.ndarray
    """Of the weights, float32, (filters,)."""
    bias: np.ndarray | None
    bias_bits: int
    bits: int
    padding: tuple[float, ...] | None
    padding_bits: int


@dataclasses.dataclass(frozen=True)
class _Activation:
    bits: int
    scale_bits: int
    frac_bits: int
    rate: np.float32
    max_value: float | None
    max_value_bits: int


class QuantizeMl:
    """Reads the layers of quantizeml, in their order."""

    def __init__(self) -> None:
        """Begin with 8-bit inputs: no scale, no fractional bits."""
        self._linears: dict[str, _Linear] = {}
        self._activations: dict[str, _Activation] = {}
        self._scale = np.float32(1)
        self._frac_bits = 0

    def rewrite(self, layer: KerasLayer) -> KerasLayer:
        """Return the plain layer with integer weights."""
        plain = dataclasses.replace(layer, package="keras")
        if layer.kind in QUANTIZED_KINDS and layer.package == "quantizeml":
            return self._linear(plain, host_activation(layer))
        if layer.kind == "QuantizedReLU":
            self._activations[layer.name] = _activation(layer)
            return dataclasses.replace(plain, kind="ReLU", config={})
        if layer.kind in _PLAIN:
            if _quantizer(layer.config, "output_quantizer"):
                raise NotLegal("an output quantizer on a layer that has no activation",
                               "leave the rounding to the activation")  # fmt: skip
            return dataclasses.replace(plain, kind=_PLAIN[layer.kind])
        if layer.kind in ("BatchNormalization", "Conv2D", "Dense", "ReLU", "SeparableConv2D"):
            raise NotLegal("a float layer in a quantized model", "quantize all its layers")
        host_activation(layer)
        return layer

    def _linear(self, layer: KerasLayer, activation: str) -> KerasLayer:
        config, weights = layer.config, dict(layer.weights)
        if _quantizer(config, "output_quantizer"):
            raise NotLegal("an output quantizer on a layer that has no activation",
                           "leave the rounding to the activation")  # fmt: skip
        separable = layer.kind == "QuantizedSeparableConv2D"
        depthwise = layer.kind == "QuantizedDepthwiseConv2D"
        if separable:
            dw, dw_scale, bits = quantize(config, "dw_weight_quantizer",
                                          weights["depthwise_kernel"], None)  # fmt: skip
            pw, pw_scale, pw_bits = quantize(config, "pw_weight_quantizer",
                                             weights["pointwise_kernel"], -1)  # fmt: skip
            if bits != pw_bits:
                raise NotLegal(f"depthwise weights of {bits} bits, pointwise of {pw_bits}",
                               "use the same width for both")  # fmt: skip
            weights |= {"depthwise_kernel": dw, "pointwise_kernel": pw}
            scale, filters = dw_scale * pw_scale, pw.shape[-1]
        else:
            name, axis = ("depthwise_kernel", -2) if depthwise else ("kernel", -1)
            axis = (config["quant_config"].get("weight_quantizer") or {}).get("axis", axis)
            levels, scale, bits = quantize(config, "weight_quantizer", weights[name], axis)
            weights[name], filters = levels, levels.shape[2 if depthwise else -1]
        padding = config.get("padding_value")
        self._linears[layer.name] = _Linear(
            np.broadcast_to(scale.astype(np.float32), (filters,)),
            weights.pop("bias") if config["use_bias"] else None,
            int((_quantizer(config, "bias_quantizer") or {}).get("bitwidth", 8)), bits,
            None if padding is None else tuple(np.atleast_1d(padding).astype(float)), bits,
        )  # fmt: skip
        plain = {"dilation_rate": [1, 1], **config, "use_bias": False, "activation": activation}
        if padding is not None:
            plain["padding"] = "same"
        return dataclasses.replace(
            layer, kind=QUANTIZED_KINDS[layer.kind], config=plain, weights=weights
        )

    def enter(self, gain: float, offset: float) -> tuple[float, float]:
        """Take the rescaling of the input, which has no offset."""
        if offset:
            raise NotLegal(f"an offset of {offset:g} on the input of a quantizeml model",
                           "rescale without one; its first layer's bias can hold it")  # fmt: skip
        self._scale = np.float32(gain)
        return 1 / gain, 0.0

    def padding_level(self, name: str) -> int | None:
        """Return the level that the first layer's own padding inserts."""
        linear = self._linears[name]
        if linear.padding is None:
            return None
        if len(set(linear.padding)) > 1:
            raise NotLegal(f"a padding value for each channel {linear.padding}", "use one for all")
        value = np.full(1, linear.padding[0], np.float32)
        level = int(align(value, np.full(1, self._scale), 0, linear.padding_bits - 1)[0])
        if not 0 <= level <= 255:
            raise NotLegal(f"its padding is level {level}", "use a level in 0..255")
        return level

    def fire(self, block: Block, pooled: int, kernel_sums: np.ndarray | None) -> Firing:
        """Return threshold and step of the next block, by the formulas above."""
        del kernel_sums
        if block.norm is not None:
            raise NotLegal("a rescaling behind a quantized layer", "fold it before quantizing")
        linear = self._linears[block.name]
        scale = self._scale * linear.scale
        bias = np.zeros(block.filters)
        if linear.bias is not None:
            bias = align(linear.bias, scale, self._frac_bits, linear.bias_bits - 1)
        if block.activation_source is None:
            step = 2.0**self._frac_bits / (scale / np.float32(pooled)).astype(np.float64)
            # The chip's potential is the sum, not the average: scale / pooled is per unit of it.
            return Firing(-pooled * bias, step, linear.bits, 4, pooled * bias / step)
        activation = self._activations[block.activation_source]
        scale = (scale / np.float32(pooled)).astype(np.float32)
        step = _full_step(scale, self._frac_bits, activation)
        changes = _bound(scale, self._frac_bits, step, pooled, activation)
        self._scale, self._frac_bits = np.float32(1), activation.frac_bits
        at_zero = np.clip(np.floor(pooled * bias / step + 0.5), 0, 2**activation.bits - 1)
        return Firing(
            np.ceil(step / 2) - 1 - pooled * bias, step * 2.0**activation.bits / 16,
            linear.bits, activation.bits, at_zero, changes,
        )  # fmt: skip


def ceil_log2(x: np.ndarray) -> np.ndarray:
    """Return ceil(log2(x)) as float64, minus infinity for 0."""
    mantissa, exponent = np.frexp(np.asarray(x, np.float64))
    result = exponent - (mantissa == 0.5)
    return np.where(np.asarray(x) > 0, result, -np.inf)


def quantize(
    config: dict[str, Any], key: str, w: np.ndarray, axis: int | None
) -> tuple[np.ndarray, np.ndarray, int]:
    """Return integer levels (as float32), scale and bits of a weight quantizer."""
    settings = config["quant_config"][key]
    bits = int(settings["bitwidth"])
    if not 2 <= bits <= 8:
        raise NotLegal(f"weights of {bits} bits", "use 2, 4 or 8")
    if settings.get("fp_quantizer"):
        raise NotLegal("weights in fixed point without a scale", "quantize without fp_quantizer")
    kept = None if axis is None else axis % w.ndim
    axes = tuple(i for i in range(w.ndim) if i != kept)
    limit = np.float32(2 ** (bits - 1) - 1)
    scale = np.maximum(np.abs(w).max(axes) / limit, _LEAST_SCALE).astype(np.float32)
    spread = scale if kept is None else scale.reshape([-1 if i == kept else 1
                                                       for i in range(w.ndim)])  # fmt: skip
    return np.clip(np.round(w / spread), -limit - 1, limit), scale, bits


def align(values: np.ndarray, scale: np.ndarray, frac_bits: int, value_bits: int) -> np.ndarray:
    """Return values as integers of ``value_bits`` and a sign, brought to ``frac_bits``."""
    relative = (values / scale).astype(np.float32)
    largest = np.abs(relative) if value_bits > 3 else np.abs(relative).max()
    own = np.minimum(np.minimum(value_bits - ceil_log2(largest), value_bits), frac_bits)
    levels = np.round(relative * 2.0**own)
    return np.clip(levels, -(2.0**value_bits), 2.0**value_bits - 1) * 2.0 ** (frac_bits - own)


def _quantizer(config: dict[str, Any], key: str) -> dict[str, Any] | None:
    return (config.get("quant_config") or {}).get(key) or None


def _activation(layer: KerasLayer) -> _Activation:
    settings = _quantizer(layer.config, "output_quantizer")
    if settings is None:
        raise NotLegal("a ReLU without an output quantizer", "quantize the activations")
    if settings.get("axis", "per-tensor") != "per-tensor":
        raise NotLegal("activations with a scale for each channel",
                       "quantize with per_tensor_activations=True")  # fmt: skip
    bits = int(settings["bitwidth"])
    if bits not in (1, 2, 4) or settings.get("signed"):
        raise NotLegal(f"activations of {bits} bits, signed {bool(settings.get('signed'))}",
                       "use 1, 2 or 4 unsigned bits")  # fmt: skip
    range_max = float(layer.weights["range_max"])
    rate = np.float32(layer.weights.get("rescaling_rate", 1.0))
    if not (0 < range_max < math.inf and rate > 0):
        raise ValueError(f"range_max {range_max}, rescaling_rate {rate}")
    frac_bits = min(bits - int(ceil_log2(np.asarray(range_max))), bits)
    maximum = layer.config.get("max_value")
    max_bits = int((_quantizer(layer.config, "max_value_quantizer") or {}).get("bitwidth", 8))
    return _Activation(bits, int(settings.get("scale_bits", 8)), frac_bits, rate,
                       None if maximum is None else float(maximum), max_bits)  # fmt: skip


def _full_step(scale: np.ndarray, frac_bits: int, activation: _Activation) -> np.ndarray:
    """Return ``s = 2**-r / q``: potentials per output level."""
    scale = (scale * activation.rate).astype(np.float32)
    h = activation.scale_bits - ceil_log2(scale)
    q = np.clip(np.round(scale * 2.0**h), 1, 2.0**activation.scale_bits - 1)
    return 2.0 ** (frac_bits + h - activation.frac_bits) / q


def _bound(
    scale: np.ndarray, frac_bits: int, step: np.ndarray, pooled: int, activation: _Activation
) -> tuple[str, ...]:
    """Say where the ReLU's own bound ends below the top level, which the chip reaches."""
    if activation.max_value is None:
        return ()
    del pooled
    value = np.full(len(scale), activation.max_value, np.float32)
    largest = align(value, scale, frac_bits, activation.max_value_bits)
    top = 2**activation.bits - 1
    reached = np.minimum(np.floor(largest / step + 0.5), top)
    if (reached >= top).all():
        return ()
    low = int(reached.min())
    return (f"Keras ends at level {low} (max_value {activation.max_value:g}), the chip at {top}",)
