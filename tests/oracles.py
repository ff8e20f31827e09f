"""Threshold and step from the real scales of a layer, in exact fractions."""

import math
from fractions import Fraction

import numpy as np


def snapped(x):
    """Truncate a float to 12 significant bits; return (value, exponent of the last bit)."""
    mantissa, exponent = math.frexp(float(np.float32(x)))
    return Fraction(math.floor(mantissa * 2**12)) * Fraction(2) ** (exponent - 12), exponent - 12


def power(exponent):
    return Fraction(2) ** int(exponent)


def weights_oracle(w, bits, quantizer):
    """Return levels, and per filter ``d`` as fraction: the rule of `quantize_weights`.

    Magnitudes are rounded to 15 bits of the range's power of two, ``d`` is truncated.
    """
    limit = 2 ** (bits - 1) - 1
    n = w.shape[-1]
    columns = w.astype(np.float32).reshape(-1, n).T.tolist()
    tops = [max(abs(v) for v in column) for column in columns]
    top = max(*tops, 2.0**-60)
    tops = [max(t, top * 2.0**-10) if quantizer == "max_per_filter" else top for t in tops]
    exponents = [math.frexp(t)[1] for t in tops]
    units = [Fraction(2) ** (e - 15) for e in exponents]
    fixed = [[_nearest(v, u) for v in c] for c, u in zip(columns, units, strict=True)]
    bounds = [_nearest(t, u) for t, u in zip(tops, units, strict=True)]
    if quantizer == "std":
        values = [v for column in fixed for v in column]
        bounds = [min(max(3 * integer_deviation(values), 2 * limit), bounds[0])] * n
    mantissas = [(limit << 20) // bound for bound in bounds]
    levels = [
        [min(max((v * m + 2**19) >> 20, -limit), limit) for v in column]
        for column, m in zip(fixed, mantissas, strict=True)
    ]
    scales = [Fraction(m, 2**20) / u for m, u in zip(mantissas, units, strict=True)]
    return np.array(levels).T.reshape(w.shape), scales


def _nearest(value, unit):
    return round(Fraction(value) / unit)  # ties to even


def integer_deviation(values):
    """Return the standard deviation of 16-bit integers as `quantize_weights` takes it."""
    coarse = [(v + 128) // 256 for v in values]
    mean_square = sum(c * c for c in coarse) * 2**8 // len(coarse)
    mean = sum(coarse) * 2**4 // len(coarse)
    return math.isqrt(max(mean_square - mean * mean, 0)) * 16


def firing_oracle(network, index):
    """Return thresholds and steps in sixteenths of a quantized network's layer.

    ``T = floor(a*d*(t - b) * HW) + shift * sum(w)``, ``S = a*d*s * 2**b / 16 * HW``
    truncated to 1/16; without activation ``t = 0`` and ``S = a*d * HW``.
    """
    layer = network.layers[index]
    bits = layer.precision.act_bits
    if index == 0:
        a = 1 / snapped(np.float32(1.0 / network.input_scale))[0]
    else:
        a = 1 / snapped(network.layers[index - 1].step[...])[0]
    s, last_bit = snapped(layer.step[...])
    if layer.spec.activation:
        t, unit, factor = s / 2, power(last_bit - 1), s * Fraction(2**bits, 16)
    else:
        t, unit, factor = Fraction(0), power(-12), Fraction(1)
    area = 1
    if getattr(layer.spec, "pool", None) == "global_average":
        stride = layer.spec.stride
        area = -(-layer.in_shape[0] // stride) * -(-layer.in_shape[1] // stride)
    shift = network.input_shift if index == 0 else 0
    n = layer.spec.neurons
    per_kernel, first_sums = [], 0
    for name in layer.spec.kernel_shapes(layer.in_shape):
        quantizer = layer.precision.weight_quantizer
        if layer.spec.kind == "separable" and name == "kernel" and quantizer == "max_per_filter":
            quantizer = "max_per_tensor"
        w = np.asarray(getattr(layer, name)[...])
        levels, scales = weights_oracle(w, layer.precision.weight_bits, quantizer)
        # A depthwise kernel has one scale for all channels.
        per_kernel.append([scales[0]] * n if w.shape[-1] != n or len(set(scales)) == 1 else scales)
        if name == "kernel":
            first_sums = levels.sum((0, 1, 2))
    thresholds, steps = [], []
    for f in range(n):
        d = math.prod(values[f] for values in per_kernel)
        b = round(Fraction(float(layer.bias[...][f])) / unit) * unit  # ties to even
        threshold = math.floor(a * d * (t - b) * area)
        thresholds.append(threshold + (shift * int(first_sums[f]) if shift else 0))
        steps.append(math.floor(a * d * factor * area * 16))
    return np.array(thresholds), np.array(steps)
