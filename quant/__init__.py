"""Number grids, straight-through gradients and quantized Flax layers.

Knows arithmetic, not chips: a float network (`Sequential` of layer descriptions) is
trained, turned into its quantized twin (`quantize`) and trained again. The twin's forward
pass carries integers, derived by rules that no compiler can change (`exact`).
"""

if __name__ != "akida_jax.quant":
    raise ImportError("quant is a part of akida_jax: import it as akida_jax.quant")

from akida_jax.quant.activations import (
    activate,
    activation_limit,
    derive_firing,
    fake_activation,
    least_weight_range,
)
from akida_jax.quant.architecture import Conv, Dense, InputConv, InputData, SeparableConv
from akida_jax.quant.bias_correction import correct_biases
from akida_jax.quant.exact import Scale, floor_ratio, snap
from akida_jax.quant.layers import FloatLayer, Precision, QuantizedLayer, Step
from akida_jax.quant.mixed import (
    Choice,
    MixedLayer,
    Temperature,
    chosen_widths,
    draw_widths,
    fix_widths,
    mix,
    mixed_layers,
    set_temperature,
    width_probabilities,
)
from akida_jax.quant.networks import Sequential, flatten_map
from akida_jax.quant.registers import AKIDA_1, Registers
from akida_jax.quant.regularizers import hoyer_square, mean_level
from akida_jax.quant.straight_through import straight_through
from akida_jax.quant.twins import Rule, choose_precisions, quantize
from akida_jax.quant.weights import WeightQuantizer, fake_levels, quantize_weights, weight_limit

__all__ = [
    "AKIDA_1",
    "Choice",
    "Conv",
    "Dense",
    "FloatLayer",
    "InputConv",
    "InputData",
    "MixedLayer",
    "Precision",
    "QuantizedLayer",
    "Registers",
    "Rule",
    "Scale",
    "SeparableConv",
    "Sequential",
    "Step",
    "Temperature",
    "WeightQuantizer",
    "activate",
    "activation_limit",
    "choose_precisions",
    "chosen_widths",
    "correct_biases",
    "derive_firing",
    "draw_widths",
    "fake_activation",
    "fake_levels",
    "fix_widths",
    "flatten_map",
    "floor_ratio",
    "hoyer_square",
    "least_weight_range",
    "mean_level",
    "mix",
    "mixed_layers",
    "quantize",
    "quantize_weights",
    "set_temperature",
    "snap",
    "straight_through",
    "weight_limit",
    "width_probabilities",
]
