"""Correction of the mean error that quantized weights leave behind, without training."""

import jax.numpy as jnp
from flax import nnx

from akida_jax.quant.exact import snap
from akida_jax.quant.faults import check_inputs
from akida_jax.quant.layers import FloatLayer, QuantizedLayer, step_value
from akida_jax.quant.networks import Sequential
from akida_jax.quant.twins import Inputs


def correct_biases(twin: Sequential, network: Sequential, calibration: Inputs) -> Sequential:
    """Return a quantized twin whose layers have the mean output of the float layers.

    Layer by layer, the bias takes up the difference of the means, over samples and places,
    between the float network and the twin corrected so far.

    Args:
      twin: quantized, of ``network``.
      network: float.
      calibration: inputs over which the means are taken.

    Raises:
      ValueError: if the twin is not quantized, the network is, their layers differ, or the
        calibration inputs are empty or no integers of the network's input.

    Source: empirical bias correction of Nagel et al., "Data-Free Quantization Through Weight
    Equalization and Bias Correction", arXiv:1906.04721, section 4.2 and appendix D.
    """
    _check(twin, network, calibration)
    twin = nnx.clone(twin)
    x = levels = jnp.asarray(calibration).astype(jnp.float32)
    step, shift, scale = twin.input_step.value, twin.input_shift, network.input_scale
    for exact, layer in zip(network.layers, twin.layers, strict=True):
        assert isinstance(exact, FloatLayer)
        assert isinstance(layer, QuantizedLayer)
        wanted = exact.preactivation(x, scale=scale, shift=shift)
        weights = layer.integers(snap(step), shift=shift).weights
        found = layer.preactivation(levels, weights, input_step=step, shift=shift)
        layer.bias[...] += (wanted - found).mean((0, 1, 2))
        x = exact(x, scale=scale, shift=shift)
        levels = layer(levels, input_step=step, shift=shift)
        step, shift, scale = step_value(layer.step[...]), 0, 1.0
    return twin


def _check(twin: Sequential, network: Sequential, calibration: Inputs) -> None:
    if network.quantized or not twin.quantized:
        raise ValueError("correct_biases takes a quantized twin and its float network")
    names = [[layer.spec for layer in form.layers] for form in (twin, network)]
    if names[0] != names[1]:
        raise ValueError("correct_biases: the twin has other layers than the float network")
    try:
        check_inputs(calibration, network.input, integers=True)
    except ValueError as error:
        raise ValueError(f"calibration: {error}") from None
    if not len(calibration):
        raise ValueError("calibration holds no inputs; give at least one")
