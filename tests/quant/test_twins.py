"""From a float network to its quantized twin: widths, rules, ranges, refusals."""

import jax
import numpy as np
import pytest
from flax import nnx

from akida_jax import quant
from akida_jax.quant.twins import _best_step


def float_network(seed=0):
    return quant.Sequential(
        [
            quant.InputConv(input_shape=(6, 5, 3), filters=4, kernel_size=3),
            quant.SeparableConv(filters=5, kernel_size=3),
            quant.Dense(units=3, activation=False, name="head"),
        ],
        rngs=nnx.Rngs(seed),
    )


def widths(network):
    return [
        (p.input_bits, p.weight_bits, p.act_bits)
        for p in (layer.precision for layer in network.layers)
    ]


def test_default_widths_and_range():
    network = quant.quantize(float_network())
    assert network.quantized
    assert widths(network) == [(8, 8, 4), (4, 4, 4), (4, 4, 4)]
    np.testing.assert_array_equal([layer.step[...] for layer in network.layers],
                                  [np.float32(6 / 15)] * 3)  # fmt: skip


def test_widths_go_to_the_layers_they_name():
    network = quant.quantize(float_network(), bits=(4, 2, 1))
    assert widths(network) == [(8, 4, 1), (1, 2, 1), (1, 2, 1)]
    assert float(network.layers[0].step[...]) == 6


def test_rules_match_whole_names_and_the_later_one_wins():
    rules = [
        quant.Rule(layers=".*_.*", act_bits=2, max_activation=3.0),
        quant.Rule(layers="separable_1|head", weight_bits=2),
        quant.Rule(layers="conv_0", act_bits=1, weight_quantizer="std"),
    ]
    network = quant.quantize(float_network(), overrides=rules)
    assert widths(network) == [(8, 8, 1), (1, 2, 2), (2, 2, 4)]
    assert [layer.precision.weight_quantizer for layer in network.layers] == [
        "std", "max_per_filter", "max_per_filter",
    ]  # fmt: skip
    assert [float(layer.step[...]) for layer in network.layers] == [3, 1, np.float32(0.4)]


def test_a_rule_that_matches_nothing_lists_the_layers():
    message = r"rule 'conv' matches no layer; the layers are conv_0, separable_1, head"
    with pytest.raises(ValueError, match=message):
        quant.quantize(float_network(), overrides=[quant.Rule(layers="conv", act_bits=2)])


@pytest.mark.parametrize(
    ("bits", "message"),
    [
        ((3, 4, 4), "'conv_0': weight bits must be 2, 4 or 8, got 3"),
        ((8, 1, 4), "'separable_1': weight bits must be 2, 4 or 8, got 1"),
        ((8, 4, 3), "'conv_0': activation bits must be 1, 2 or 4, got 3"),
        ((8, 4, 8), "'conv_0': activation bits must be 1, 2 or 4, got 8"),
        ((8, 4), r"bits must be three ints .* such as \(8, 4, 4\), got \(8, 4\)"),
        ((8, 4, 4, 4), "bits must be three ints .* got"),
        (4, "bits must be three ints .* got 4"),
        ((8, 4.0, 4), r"bits must be three ints .* got \(8, 4\.0, 4\)"),
        ((8, 4, True), r"bits must be three ints .* got \(8, 4, True\)"),
    ],
)
def test_unsupported_widths_name_the_layer(bits, message):
    with pytest.raises(ValueError, match=message):
        quant.quantize(float_network(), bits=bits)


@pytest.mark.parametrize("top", [0.0, -1.0, np.inf, np.nan, 1e39, 1e-50, "6", True])
def test_a_range_must_be_positive_and_finite(top):
    rule = quant.Rule(layers="head", max_activation=top)
    with pytest.raises(ValueError, match="'head': max_activation must be positive and finite, got"):
        quant.quantize(float_network(), overrides=[rule])


@pytest.mark.parametrize(
    ("choice", "name"),
    [
        ({"weight_quantizer": "mean"}, "conv_0"),
        ({"overrides": [quant.Rule(layers="head", weight_quantizer="mean")]}, "head"),
    ],
)
def test_an_unknown_weight_quantizer_is_refused(choice, name):
    message = rf"'{name}': weight quantizer must be one of .*'std'.* got 'mean'"
    with pytest.raises(ValueError, match=message):
        quant.quantize(float_network(), **choice)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ([quant.Rule(layers="(")], r"rule '\(': layers must be a regular expression: missing \)"),
        ([quant.Rule(layers=5)], "rule: layers must be a regular expression, got 5"),
        (quant.Rule(layers="head"), r"overrides must be a list of quant\.Rule, got Rule\("),
        (["head"], r"overrides must be a list of quant\.Rule, got \['head'\]"),
        (None, r"overrides must be a list of quant\.Rule, got None"),
        ([quant.Rule(layers="head", act_bits=4.0)], "'head': activation bits must be .* got 4.0"),
        ([quant.Rule(layers="head", weight_bits="4")], "'head': weight bits must be .* got '4'"),
    ],
)
def test_rules_that_are_none(overrides, message):
    with pytest.raises(ValueError, match=message):
        quant.quantize(float_network(), overrides=overrides)


def test_only_networks_and_registers_are_taken():
    with pytest.raises(ValueError, match=r"takes an akida_jax\.quant\.Sequential, got Linear"):
        quant.quantize(nnx.Linear(2, 3, rngs=nnx.Rngs(0)))
    with pytest.raises(ValueError, match=r"registers must be quant\.Registers, got 20"):
        quant.quantize(float_network(), registers=20)


def test_a_sum_that_cannot_be_exact_names_the_layer():
    # One channel of the input layer: 23*23 * 127 * 255 = 17 131 665 >= 2**24.
    network = quant.Sequential(
        [quant.InputConv(input_shape=(24, 24, 1), filters=1, kernel_size=23, name="wide")],
        rngs=nnx.Rngs(0),
    )
    message = (
        "layer 'wide': the sum over one channel can reach 17131665, beyond the 16777215 that "
        "float32 holds exactly; use a smaller kernel or fewer weight bits"
    )
    with pytest.raises(ValueError, match=message):
        quant.quantize(network)
    assert quant.quantize(network, bits=(4, 4, 4)).layers[0].groups() == 1


@pytest.mark.parametrize(
    ("calibration", "message"),
    [
        (np.zeros((2, 6, 5, 3), np.float32),
         "calibration: layer 'conv_0' takes integers in 0..255, got dtype float32; give the "
         "input levels as uint8, not scaled images"),
        (np.zeros((0, 6, 5, 3), np.uint8),
         r"calibration holds no inputs; give at least one, or None for \[0, 6\]"),
        (np.zeros((2, 5, 6, 3), np.uint8), r"calibration: .* shape \(n, 6, 5, 3\), got"),
        (np.full((2, 6, 5, 3), -4), "calibration: .* integers in 0..255, got -4; clip or"),
        (np.full((2, 6, 5, 3), 256), "calibration: .* integers in 0..255, got 256; clip or"),
        ([[1]], "calibration: .* takes an array, got list; convert it with numpy.asarray"),
    ],
)  # fmt: skip
def test_calibration_inputs_that_are_refused(calibration, message):
    with pytest.raises(ValueError, match=message):
        quant.quantize(float_network(), calibration=calibration)


@pytest.mark.parametrize("dtype", [np.uint8, np.int64])
def test_calibration_takes_integers_of_any_width(dtype, rng):
    x = rng.integers(0, 256, (4, 6, 5, 3), dtype=np.uint8)
    steps = [
        [float(layer.step[...]) for layer in quant.quantize(float_network(), calibration=y).layers]
        for y in (x, x.astype(dtype))
    ]
    assert steps[0] == steps[1]


def test_a_quantized_network_is_refused():
    with pytest.raises(ValueError, match="the network is quantized already"):
        quant.quantize(quant.quantize(float_network()))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_parameters_that_are_not_finite_are_refused(value):
    network = float_network()
    network.layers[1].bias[...] = network.layers[1].bias[...].at[2].set(value)
    with pytest.raises(ValueError, match=r"'separable_1': bias .* not finite; the float training"):
        quant.quantize(network)


def test_the_float_network_stays_as_it_is(rng):
    network = float_network()
    before = jax.tree.map(np.asarray, nnx.to_pure_dict(nnx.state(network)))
    x = rng.integers(0, 256, (4, 6, 5, 3), dtype=np.uint8)
    twin = quant.quantize(network, calibration=x)
    layer = twin.layers[0]
    layer.kernel[...] = layer.kernel[...] + 1
    assert not network.quantized
    after = nnx.to_pure_dict(nnx.state(network))
    jax.tree.map(np.testing.assert_array_equal, before, after)


def square_error(values, step, limit):
    levels = np.clip(np.ceil(values / step - 0.5), 0, limit)
    return float(np.mean((levels * step - values) ** 2))


@pytest.mark.parametrize("limit", [1, 3, 15])
def test_the_calibrated_step_has_the_least_square_error(limit, rng):
    values = np.maximum(rng.normal(0, 1, 5000), 0).astype(np.float32)
    step = _best_step(values, limit, 6.0)
    best = square_error(values, step, limit)
    grid = values.max() / limit * np.linspace(0.1, 1.1, 60)
    # The candidates lie 1/60 of the range apart; nothing between them is much better.
    assert best <= min(square_error(values, s, limit) for s in grid) * 1.05
    assert best < square_error(values, values.max() / limit, limit)


def test_values_on_the_grid_are_found_exactly():
    values = np.repeat(np.arange(16, dtype=np.float32) * 0.125, 50)
    assert _best_step(values, 15, 6.0) == pytest.approx(0.125)


def test_calibration_follows_the_activations(rng):
    network = float_network()
    x = rng.integers(0, 256, (32, 6, 5, 3), dtype=np.uint8)
    twin = quant.quantize(network, calibration=x)
    for (_, values), layer in zip(network.outputs(x), twin.layers, strict=True):
        assert float(layer.step[...]) == np.float32(_best_step(np.asarray(values).ravel(), 15, 6.0))
    dead = float_network()
    dead.layers[0].bias[...] = dead.layers[0].bias[...] - 1e3
    step = quant.quantize(dead, calibration=x).layers[0].step[...]
    assert float(step) == np.float32(0.4)
