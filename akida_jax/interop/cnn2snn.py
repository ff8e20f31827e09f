"""Layers quantized with the vendor's Apache-2.0 package cnn2snn.

Weights stay float in the file and are quantized at every call. A quantizer has one scale ``d`` per
tensor or per filter, ``level = clip(round_half_even(w * d), -k, k)`` with ``k = 2**(bits-1) - 1``:

- MaxQuantizer ``d = k / max|w|``, MaxPerAxisQuantizer the same for each filter;
- StdWeightQuantizer ``d = k / (threshold * std(w))``, StdPerAxisQuantizer for each filter;
- no scale exceeds 1,000.

The layer adds its bias to ``sum(x * level) / d``. An activation of step ``s`` returns
``s * clip(ceil((y - s/2) / s), 0, 2**bits - 1)``; QuantizedReLU has
``s = max_value / (2**bits - 1)``, max_value the number of levels by default;
ActivationDiscreteRelu the same with
``max_value = min(levels, 6)``.

With the input scale ``a`` (levels per unit; 1 / s of the layer before) the chip's potential is
``p = a * d * (y - b)`` plus, in the input layer, ``shift * sum(level)``; summed over the positions
of a global average pool instead of averaged. Hence (docs/hardware.md#from-float-to-registers)
``T = pooled * (a * d * (s/2 - b) + shift * sum(level))`` and
``S = pooled * a * d * s * 2**bits / 16``.
Batch norm behind the layer, ``y' = g * y + h``, replaces ``d`` by ``d / |g|``, the levels by
``sign(g) * level`` and the bias by ``g * b + h``.
"""

import dataclasses
from typing import Any

import numpy as np

from akida_jax.interop.blocks import Block, NotLegal
from akida_jax.interop.integer_models import Firing
from akida_jax.interop.keras_files import KerasLayer
from akida_jax.interop.walks import QUANTIZED_KINDS, host_activation

_SCALE_LIMIT = np.float32(1000)
_ACTIVATIONS = ("ActivationDiscreteRelu", "QuantizedReLU")


@dataclasses.dataclass(frozen=True)
class _Weights:
    scale: np.ndarray
    bias: np.ndarray
    bits: int


@dataclasses.dataclass(frozen=True)
class _Activation:
    step: float
    bits: int


class Cnn2Snn:
    """Reads the layers of cnn2snn, in their order."""

    def __init__(self) -> None:
        """Begin with an input of scale 1."""
        self._weights: dict[str, _Weights] = {}
        self._activations: dict[str, _Activation] = {}
        self._input_scale = 1.0
        self._shift = 0.0

    def rewrite(self, layer: KerasLayer) -> KerasLayer:
        """Return the plain layer with integer weights."""
        if layer.kind in QUANTIZED_KINDS:
            return self._linear(layer, host_activation(layer))
        if layer.kind in _ACTIVATIONS and layer.package == "cnn2snn":
            self._activations[layer.name] = _activation(layer)
            return dataclasses.replace(layer, kind="ReLU", package="keras", config={})
        if layer.kind == "ReLU":
            raise NotLegal("a float activation in a quantized model", "quantize all its layers")
        host_activation(layer)
        if layer.kind in ("Conv2D", "Dense", "DepthwiseConv2D", "SeparableConv2D"):
            raise NotLegal("a float layer in a quantized model", "quantize all its layers")
        return layer

    def _linear(self, layer: KerasLayer, activation: str) -> KerasLayer:
        config, weights = layer.config, dict(layer.weights)
        depthwise, separable = "Depthwise" in layer.kind, "Separable" in layer.kind
        pairs = [("quantizer", "depthwise_kernel" if depthwise else "kernel")]
        if separable:
            pairs = [("quantizer_dw", "depthwise_kernel"), ("quantizer", "pointwise_kernel")]
        bits, scale = 0, np.ones((), np.float32)
        for key, name in pairs:
            quantizer = config.get(key) or config["quantizer"]
            levels, d, width = quantize(quantizer, weights[name])
            if bits and width != bits:
                raise NotLegal(f"depthwise weights of {bits} bits, pointwise of {width}",
                               "use the same width for both")  # fmt: skip
            weights[name], scale, bits = levels, scale * d, width
        # cnn2snn's depthwise layer applies no bias, whatever its configuration says.
        bias = None if depthwise else weights.pop("bias", None)
        filters = weights[name].shape[2 if depthwise else -1]
        if bias is None:
            bias = np.zeros(filters)
        scale = np.broadcast_to(np.asarray(scale, np.float64), (filters,))
        self._weights[layer.name] = _Weights(scale, bias.astype(np.float64), bits)
        plain = {"dilation_rate": [1, 1], **config, "use_bias": False, "activation": activation}
        return dataclasses.replace(layer, kind=QUANTIZED_KINDS[layer.kind], package="keras",
                                   config=plain, weights=weights)  # fmt: skip

    def enter(self, gain: float, offset: float) -> tuple[float, float]:
        """Take ``x = gain * level + offset``; return scale and shift of the levels."""
        self._input_scale, self._shift = 1 / gain, -offset / gain
        return self._input_scale, self._shift

    def padding_level(self, name: str) -> int | None:
        """Return None: the padding is the level of zero."""
        del name
        return None

    def fire(self, block: Block, pooled: int, kernel_sums: np.ndarray | None) -> Firing:
        """Return threshold and step of the next block, by the formulas above."""
        weights = self._weights[block.name]
        scale, bias = weights.scale, weights.bias
        if block.norm is not None:
            scale, bias, kernel_sums = _fold(block, scale, bias, kernel_sums)
        per_unit = self._input_scale * scale
        activation, level, step = None, 0.0, 1.0
        if block.activation_source is not None:
            activation = self._activations[block.activation_source]
            level, step = activation.step / 2, activation.step * 2.0**activation.bits / 16
        threshold = per_unit * (level - bias)
        if kernel_sums is not None:
            threshold = threshold + self._shift * kernel_sums
        if activation is not None:
            self._input_scale = 1 / activation.step
        bits = activation.bits if activation else 4
        threshold, steps = pooled * threshold, pooled * per_unit * step
        at_zero = -threshold / steps
        if activation is not None:
            at_zero = np.clip(np.ceil(at_zero / 2.0 ** (4 - bits)), 0, 2**bits - 1)
        return Firing(threshold, steps, weights.bits, bits, at_zero)


def quantize(quantizer: dict[str, Any], w: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """Return integer levels (as float32), scale and bits of a weight quantizer.

    The arithmetic is that of float32, as Keras does it. A standard deviation is rounded from
    float64: Keras' own sum may end one unit in the last place away.
    """
    kind, config = quantizer["class_name"], quantizer["config"]
    bits = int(config["bitwidth"])
    if not 2 <= bits <= 8:
        raise NotLegal(f"weights of {bits} bits", "use 2, 4 or 8")
    limit = np.float32(2 ** (bits - 1) - 1)
    axes = tuple(range(w.ndim - 1)) if "PerAxis" in kind else None
    if kind in ("MaxQuantizer", "MaxPerAxisQuantizer"):
        extent = np.abs(w).max(axes)
        if axes is not None:
            extent = np.maximum(extent, np.float32(1e-10))
    elif kind in ("StdWeightQuantizer", "StdPerAxisQuantizer"):
        deviation = w.astype(np.float64).std(axes).astype(np.float32)
        extent = deviation * np.float32(config["threshold"])
    else:
        raise NotLegal(f"weight quantizer {kind!r}", "use one of cnn2snn's own")
    with np.errstate(divide="ignore"):
        scale = np.minimum(limit / extent, _SCALE_LIMIT).astype(np.float32)
    return np.clip(np.round(w * scale), -limit, limit), scale, bits


def _activation(layer: KerasLayer) -> _Activation:
    bits = int(layer.config["bitwidth"])
    if bits not in (1, 2, 4):
        raise NotLegal(f"activations of {bits} bits", "use 1, 2 or 4")
    levels = 2**bits - 1
    largest = layer.config.get("max_value") if layer.kind == "QuantizedReLU" else min(levels, 6)
    largest = levels if largest is None else float(largest)
    step = float(np.float32(np.float32(largest) / np.float32(levels)))
    if not 0 < step < np.inf:
        raise ValueError(f"max_value {largest!r}")
    return _Activation(step, bits)


def _fold(
    block: Block, scale: np.ndarray, bias: np.ndarray, sums: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    assert block.norm is not None
    factor, offset = block.norm.factor, block.norm.offset
    if not factor.all():
        raise NotLegal("a batch norm with a gain of 0", "fold it before quantizing")
    sign = np.sign(factor)
    block.scale_outputs(sign)
    block.norm = None
    block.notes.append("batch norm folded into scales, signs and bias")
    return scale / np.abs(factor), bias * factor + offset, None if sums is None else sums * sign
