"""A quantized network and its converted model compute the same integers."""

import jax
import numpy as np
import pytest
from flax import nnx

import akida_jax as aj
from akida_jax import quant, zoo
from akida_jax.executors import event_potentials
from tests.oracles import firing_oracle
from tests.samples import assert_same, execute, expect, random_inputs

pytestmark = pytest.mark.compiled


def whole_list(program, x):
    return event_potentials(program, x, capacity=1.0)


def _image(size=(8, 9, 3), **fields):
    return quant.InputConv(input_shape=size, filters=4, kernel_size=3, **fields)


def _events(shape=(6, 7, 3), bits=4):
    return quant.InputData(input_shape=shape, input_bits=bits)


_HEAD = quant.Dense(units=3, activation=False)

# Name: layers, arguments of Sequential, arguments of quantize.
NETWORKS = {
    "image_shift_and_border": (
        [_image(padding_value=128), quant.Conv(filters=3, kernel_size=3, stride=2), _HEAD],
        {"input_shift": 128, "input_scale": 127.0}, {},
    ),
    "image_valid_pool": (
        [_image(padding="valid", pool="max", stride=2, padding_value=200),
         quant.Conv(filters=3, kernel_size=1, activation=False)],
        {}, {"bits": (4, 2, 2), "calibration": 1, "weight_quantizer": "max_per_tensor"},
    ),
    "image_alone_2_bits": (
        [_image((5, 5, 1), stride=3, padding_value=7)], {"input_shift": 5}, {"bits": (2, 4, 1)},
    ),
    "image_std": (
        [_image(pool="max", pool_size=(1, 2)), quant.SeparableConv(filters=5, kernel_size=3),
         quant.Conv(filters=4, kernel_size=1), _HEAD],
        {"input_shift": 17}, {"weight_quantizer": "std", "bits": (8, 4, 2)},
    ),
    "convolution_max_1": (
        [_events(bits=2), quant.Conv(filters=4, kernel_size=3, pool="max", pool_stride=1),
         quant.Conv(filters=3, kernel_size=1, activation=False)],
        {"input_scale": 1.0}, {"bits": (8, 2, 4)},
    ),
    "separable_max_2": (
        [_events(), quant.SeparableConv(filters=4, kernel_size=5, pool="max"),
         quant.SeparableConv(filters=5, kernel_size=3, stride=2, activation=False)],
        {}, {"bits": (8, 2, 1), "calibration": 1},
    ),
    "average_then_dense": (
        [_events(bits=1), quant.Conv(filters=4, kernel_size=3, pool="global_average"),
         quant.Dense(units=5), quant.Dense(units=3)],
        {}, {"calibration": 1},
    ),
    "average_separable_last": (
        [_events(), quant.SeparableConv(filters=4, kernel_size=3, pool="global_average",
                                        activation=False)],
        {"input_scale": 3.7}, {"calibration": 1},
    ),
    "average_last_conv_2_bits": (
        [_events((7, 5, 2)), quant.Conv(filters=4, kernel_size=3, pool="global_average")],
        {"batch_norm": False}, {"bits": (8, 4, 2)},
    ),
    "dense_from_a_map_with_rules": (
        [_events((3, 4, 5)), quant.Conv(filters=3, kernel_size=3),
         quant.Dense(units=6), quant.Dense(units=2, activation=False)],
        {"batch_norm": False},
        {"overrides": [quant.Rule(layers="conv_.*", weight_bits=2, act_bits=1,
                                  max_activation=0.8),
                       quant.Rule(layers="dense_1", weight_quantizer="std", act_bits=2,
                                  max_activation=2.5)]},
    ),
}  # fmt: skip


_FAST = {"image_alone_2_bits", "average_then_dense", "average_separable_last"}


def build(name, rng):
    layers, arguments, choices = NETWORKS[name]
    network = quant.Sequential(layers, rngs=nnx.Rngs(int(rng.integers(1000))), **arguments)
    for layer in network.layers:  # as after a training: nothing is at its initial value
        shape = layer.bias[...].shape
        layer.bias[...] = rng.normal(0.4, 0.5, shape).astype(np.float32)
        if layer.norm is not None:
            layer.gain[...] = rng.normal(0.3, 1, shape).astype(np.float32)
            layer.norm.mean[...] = rng.normal(0, 0.5, shape).astype(np.float32)
            layer.norm.var[...] = rng.uniform(0.05, 0.5, shape).astype(np.float32)
    limit = 2**network.input.input_bits - 1
    if "calibration" in choices:
        x = rng.integers(0, limit + 1, (8, *network.input.input_shape), dtype=np.uint8)
        choices = {**choices, "calibration": x}
    return quant.quantize(network, **choices)


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[] if name in _FAST else [pytest.mark.slow]) for name in NETWORKS],
)
def test_training_and_chip_compute_the_same_integers(name, rng):
    network = build(name, rng)
    model = aj.convert(network)
    x = random_inputs(rng, model.input_shape, 2**model.input_bits - 1)
    expected = expect(model, x)
    graph, state = nnx.split(network)
    integers, logits = jax.jit(
        lambda state, x: (nnx.merge(graph, state).forward(x), nnx.merge(graph, state)(x))
    )(state, x)
    assert integers.dtype == np.int32
    np.testing.assert_array_equal(integers, expected[2])
    np.testing.assert_array_equal(model.forward(x), expected[2])
    assert_same(execute(model.programs, x, whole_list), expected)
    if network.layers[-1].spec.activation:
        np.testing.assert_array_equal(np.asarray(logits).ravel(), expected[2].ravel())
    else:
        predicted = model.predict(x)
        assert predicted.dtype == logits.dtype == np.float32
        np.testing.assert_array_equal(np.asarray(logits), predicted)
        assert len(np.unique(integers)) > 2
    for index, layer in enumerate(network.layers):
        stored = model.variables[layer.spec.name]
        threshold, s16 = firing_oracle(network, index)
        np.testing.assert_array_equal(stored["threshold"], threshold)
        np.testing.assert_array_equal(stored["step"].astype(np.float64) * 16, s16)


@pytest.mark.slow
def test_eager_network_equals_model(rng):
    network = build("average_separable_last", rng)
    model = aj.convert(network)
    x = random_inputs(rng, model.input_shape, 15)
    np.testing.assert_array_equal(network.forward(x), model.forward(x))
    np.testing.assert_array_equal(np.asarray(network(x)), model.predict(x))


@pytest.mark.slow
def test_parameters_as_constants_give_the_same_integers(rng):
    network = build("average_then_dense", rng)
    x = random_inputs(rng, (6, 7, 3), 1)
    out = jax.jit(network.forward)(x)
    np.testing.assert_array_equal(out, aj.convert(network).forward(x))


def _float_network(*layers, **arguments):
    return quant.Sequential(layers, rngs=nnx.Rngs(0), **arguments)


def test_the_specifications_of_the_model_carry_the_widths():
    network = _float_network(_events((1, 1, 8)), quant.Dense(units=3), _HEAD)
    rules = [quant.Rule(layers="dense_0", weight_bits=2, act_bits=1)]
    model = aj.convert(quant.quantize(network, overrides=rules, bits=(8, 4, 2)))
    widths = [(layer.name, layer.weight_bits, layer.act_bits) for layer in model.layers[1:]]
    assert widths == [("dense_0", 2, 1), ("dense_1", 4, 2)]
    assert [type(layer) for layer in model.layers] == [
        aj.InputData, aj.FullyConnected, aj.FullyConnected,
    ]  # fmt: skip


def test_a_float_network_is_refused():
    with pytest.raises(ValueError, match=r"float network; apply quant\.quantize first"):
        aj.convert(_float_network(_events(), _HEAD))


def test_something_else_is_refused():
    with pytest.raises(ValueError, match=r"takes an akida_jax\.quant\.Sequential, got Linear"):
        aj.convert(nnx.Linear(2, 3, rngs=nnx.Rngs(0)))


@pytest.mark.parametrize("parameter", ["kernel", "bias", "step"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_parameters_that_are_not_finite_are_refused(parameter, value):
    network = quant.quantize(_float_network(_events(), _HEAD))
    variable = getattr(network.layers[0], parameter)
    variable[...] = variable[...].at[(0,) * variable[...].ndim].set(value)
    with pytest.raises(ValueError, match=rf"layer 'dense_0': {parameter} has .* not finite"):
        aj.convert(network)


def _dense_pair(scale, bias=0.0):
    """Two layers; filter 1 of the first has weights of the given size."""
    network = _float_network(
        _events((1, 1, 8)), quant.Dense(units=3), _HEAD, batch_norm=False
    )  # fmt: skip
    kernel = np.ones((1, 1, 8, 3), np.float32)
    kernel[..., 1] = scale
    layer = network.layers[0]
    layer.kernel[...] = kernel
    layer.bias[...] = np.array([0, bias, 0], np.float32)
    return quant.quantize(network)


def test_a_bias_beyond_the_fixed_point_is_no_silent_cut():
    # 2**24 units of 2**-12 end at 4096.
    network = quant.quantize(_float_network(_events((1, 1, 8)), _HEAD, batch_norm=False))
    layer = network.layers[0]
    layer.kernel[...] = layer.kernel[...] * 0 + 100
    layer.bias[...] = np.array([4095.0, -4095.0, 0], np.float32)
    threshold = aj.convert(network).variables["dense_0"]["threshold"]
    assert threshold[0] < -4000
    layer.bias[...] = np.array([4097.0, -4097.0, 0], np.float32)
    message = r"threshold of filters 0, 1 does not fit 20 signed bits \(filter 0: 30 bits or more"
    with pytest.raises(aj.ModelError, match=message):
        aj.convert(network)


def test_a_step_of_zero_names_layer_and_filter():
    # S = a * d * s * 2**4 / 16 with a = 15, d = 7 / 1000, s = 0.4: 0.042 < 1/16.
    with pytest.raises(aj.ModelError) as error:
        aj.convert(_dense_pair(1000.0))
    (fault,) = error.value.faults
    assert fault.layer == "dense_0"
    assert fault.what == "step of filter 1 is 0 in its fixed point of 1/16"
    assert "use more weight bits or a larger activation range" in str(error.value)


def test_a_step_that_is_too_large_names_layer_and_filter():
    # S = a * d * s with a = 1e6 and d = 7: 2.8e6 even for the filter of the largest range.
    network = _dense_pair(0.5)
    network.input_scale = 1e6
    with pytest.raises(aj.ModelError) as error:
        aj.convert(network)
    fault = error.value.faults[-1]
    assert (fault.layer, fault.what[:60]) == (
        "dense_0", "step of filters 0, 1, 2 does not fit below 65536 (filter 0: ",
    )  # fmt: skip


def test_a_threshold_that_is_too_large_names_layer_and_filter():
    # T = 1500 * 7 * (0.2 - 60) = -628 000 at the largest range; 20 bits end at -524 288.
    network = _dense_pair(0.01, bias=60.0)
    network.input_scale = 1500.0
    with pytest.raises(aj.ModelError) as error:
        aj.convert(network)
    (fault,) = error.value.faults
    assert fault.layer == "dense_0"
    assert fault.what.startswith("threshold of filter 1 does not fit 20 signed bits (filter 1: -6")


@pytest.mark.parametrize("bias", [0.0, 60.0])
def test_a_small_filter_gets_the_finest_grid_that_its_registers_hold(bias):
    """At its own range 0.001 filter 1 would need S = 15 * 7000 * 0.4 * 2 or T = -6.3e6."""
    network = _dense_pair(0.001, bias=bias)
    network.input_scale = 30.0
    small = aj.convert(network).variables["dense_0"]
    usual = 30 * 7 * 0.4
    assert small["step"][0] == pytest.approx(usual, rel=1e-2)
    if bias:
        assert 2**19 / 1.01 < -small["threshold"][1] <= 2**19
    else:
        assert 65536 / 1.01 < small["step"][1] < 65536
    kernel = small["kernel"][0, 0, :, 1]
    assert kernel.tolist() == [round(0.001 * 7 * float(small["step"][1]) / usual)] * 8


@pytest.mark.parametrize("index", range(7))
def test_a_dead_filter_does_not_keep_a_network_from_the_chip(index, rng):
    network = zoo.build("akida_tiny")
    layer = network.layers[index]
    name = "gain" if layer.gain is not None else "kernel"
    parameter = getattr(layer, name)
    parameter[...] = parameter[...].at[..., 0].set(0.0)
    x = np.minimum(rng.poisson(0.3, (8, 32, 32, 10)), 15).astype(np.uint8)
    model = aj.convert(quant.quantize(network, calibration=x))
    variables = model.variables[str(model.layers[1 + index].name)]
    key = "pointwise" if "pointwise" in variables else "kernel"
    assert not variables[key][..., 0].any()
    assert variables[key][..., 1].any()


def test_the_input_layer_has_wider_registers():
    # T = 255 * 127 / 0.5 * (0.2 - bias): 24 bits end at 8 388 608, a bias near 129.7.
    network = quant.quantize(
        _float_network(_image((5, 5, 1), name="eye"), _HEAD, batch_norm=False)
    )  # fmt: skip
    layer = network.layers[0]
    layer.kernel[...] = layer.kernel[...] * 0 + 0.5
    layer.bias[...] = layer.bias[...] - 129
    threshold = aj.convert(network).variables["eye"]["threshold"]
    assert threshold.min() > 2**20
    layer.bias[...] = layer.bias[...].at[2].set(131)
    with pytest.raises(aj.ModelError, match="'eye': threshold of filter 2 does not fit 24 signed"):
        aj.convert(network)


def test_every_fault_is_reported_at_once():
    network = _float_network(
        _events((40, 8, 3)),
        quant.Conv(filters=3, kernel_size=9, name="wide"),
        quant.Conv(filters=3, kernel_size=3, name="wild"),
        quant.Dense(units=2, activation=False, name="head"),
        batch_norm=False,
    )
    network.layers[1].bias[...] = np.array([0, 0, -9000], np.float32)
    kernel = network.layers[2].kernel[...]
    network.layers[2].kernel[...] = kernel.at[..., 1].set(1e5).at[..., 0].set(1e5)
    with pytest.raises(aj.ModelError) as error:
        aj.convert(quant.quantize(network))
    assert [fault.layer for fault in error.value.faults] == ["wide", "wild", "head"]
    assert str(error.value).startswith("3 faults in the model:\n")
    assert "filters 0, 1 is 0" in str(error.value)
