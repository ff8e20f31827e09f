"""The integer model: variables, inputs, predictions, summary."""

import dataclasses

import numpy as np
import pytest

import akida_jax as aj
from akida_jax import quant
from akida_jax.executors import NAMES
from tests.samples import expect, random_inputs, random_variables, small_model


@pytest.fixture(scope="module")
def model():
    return small_model(np.random.default_rng(3))


@pytest.fixture(scope="module")
def tiny():
    model = aj.Model([
        aj.InputData(input_shape=(2, 3, 2), input_bits=2, name="events"),
        aj.FullyConnected(units=3, activation=False, name="head"),
    ])  # fmt: skip
    return model.with_variables(random_variables(np.random.default_rng(5), model))


def test_blank_variables_and_their_types(model):
    blank = aj.Model(model.layers).variables
    assert list(blank) == ["conv_0", "conv_1", "separable_2", "conv_3", "dense_4"]
    assert {k: (v.shape, v.dtype.name) for k, v in blank["separable_2"].items()} == {
        "kernel": ((3, 3, 1, 6), "int8"), "pointwise": ((6, 5), "int8"),
        "threshold": ((5,), "int32"), "step": ((5,), "float32"),
    }  # fmt: skip
    assert blank["dense_4"]["kernel"].shape == (1, 1, 7, 3)
    assert blank["conv_0"]["kernel"].shape == (3, 3, 3, 4)
    for layer in blank.values():
        assert not any(layer[key].any() for key in layer if key != "step")
        assert (layer["step"] == 1).all()


def test_variables_are_read_only_copies(tiny):
    given = {"head": {"threshold": np.array([1, 2, 3], np.int32)}}
    model = tiny.with_variables(given)
    given["head"]["threshold"][:] = 9
    assert model.variables["head"]["threshold"].tolist() == [1, 2, 3]
    for array in model.variables["head"].values():
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0
    model.variables["head"]["kernel"] = None
    model.variables.clear()
    assert model.variables["head"]["kernel"] is not None


def test_with_variables_returns_a_new_model_and_keeps_the_rest(tiny):
    before = {key: array.copy() for key, array in tiny.variables["head"].items()}
    model = tiny.with_variables({"head": {"threshold": np.array([7, 7, 7], np.int32)}})
    assert model is not tiny
    for key, array in before.items():
        np.testing.assert_array_equal(tiny.variables["head"][key], array)
        if key != "threshold":
            np.testing.assert_array_equal(model.variables["head"][key], array)
    assert model.variables["head"]["threshold"].tolist() == [7, 7, 7]


def test_up_to_a_layer(model, rng):
    x = random_inputs(rng, model.input_shape, 255)[:2]
    between, _, _ = expect(model, x)
    shorter = model.up_to("separable_2")
    assert shorter.layers == model.layers[:3]
    np.testing.assert_array_equal(shorter.forward(x), between[2])
    assert model.up_to(model.layers[-1].name).layers == model.layers
    with pytest.raises(ValueError, match="no layer 'head'; the layers are conv_0, "):
        model.up_to("head")


def test_steps_are_truncated_to_sixteenths(tiny):
    step = np.array([1.99, 0.0625, 1000.03], np.float32)
    model = tiny.with_variables({"head": {"step": step}})
    assert model.variables["head"]["step"].tolist() == [1.9375, 0.0625, 1000.0]


def _head(key, value):
    return {"head": {key: value}}


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"tail": {}}, "layer 'tail': no such layer; the layers are head"),
        (_head("bias", np.zeros(3)), "'head': unknown variable 'bias'; it has kernel, threshold, "
                                     "step"),
        (_head("kernel", np.zeros((1, 1, 12, 3), np.int32)), "'head': kernel has dtype int32; "
                                                             "give int8"),
        (_head("kernel", np.zeros((12, 3), np.int8)), "'head': kernel has shape (12, 3); give "
                                                      "(1, 1, 12, 3)"),
        (_head("kernel", np.full((1, 1, 12, 3), -8, np.int8)),
         "'head': kernel holds values from -8 to -8, 4-bit weights span -7..7; quantize to that "
         "range"),
        (_head("threshold", np.array([0, 2**19, -(2**19) - 1], np.int32)),
         "'head': threshold of filters 1, 2 does not fit 20 signed bits (filter 1: 524288)"),
        (_head("step", np.array([1, 65536, 7e4], np.float32)),
         "'head': step of filters 1, 2 does not fit below 65536 (filter 1: 65536)"),
        (_head("step", np.array([1, 0.06, 0.01], np.float32)),
         "'head': step of filters 1, 2 is 0 in its fixed point of 1/16"),
        (_head("step", np.array([1, np.nan, np.inf], np.float32)),
         "'head': step of filters 1, 2 is not a positive number (filter 1: nan)"),
        (_head("step", np.array([1, 1, -4], np.float32)),
         "'head': step of filter 2 is not a positive number (filter 2: -4)"),
        (_head("step", np.ones(3)), "'head': step has dtype float64; give float32"),
    ],
)  # fmt: skip
def test_variables_that_are_refused(tiny, variables, message):
    with pytest.raises(aj.ModelError) as error:
        tiny.with_variables(variables)
    assert message in str(error.value)
    assert len(error.value.faults) == 1


def test_limits_of_the_registers_are_legal(tiny):
    threshold = np.array([2**19 - 1, -(2**19), 0], np.int32)
    step = np.array([65535.9375, 0.0625, 1], np.float32)
    model = tiny.with_variables({"head": {"threshold": threshold, "step": step}})
    np.testing.assert_array_equal(model.variables["head"]["step"], step)


def test_binary_weights_are_zero_and_one():
    model = aj.Model([
        aj.InputData(input_shape=(1, 1, 4), input_bits=1),
        aj.FullyConnected(units=2, weight_bits=1, name="head"),
    ])  # fmt: skip
    model.with_variables(_head("kernel", np.ones((1, 1, 4, 2), np.int8)))
    with pytest.raises(aj.ModelError, match=r"from -1 to -1, 1-bit weights span 0\.\.1"):
        model.with_variables(_head("kernel", -np.ones((1, 1, 4, 2), np.int8)))


def test_all_faults_of_the_variables_at_once(model):
    with pytest.raises(aj.ModelError) as error:
        model.with_variables({
            "conv_0": {"kernel": np.full((3, 3, 3, 4), -128, np.int8),
                       "step": np.zeros(4, np.float32)},
            "separable_2": {"pointwise": np.full((6, 5), 2, np.int8)},
            "dense_4": {"threshold": np.zeros(4, np.int32)},
            "dense_5": {},
        })  # fmt: skip
    names = [fault.layer for fault in error.value.faults]
    assert names == ["dense_5", "conv_0", "conv_0", "separable_2", "dense_4"]


@pytest.mark.parametrize("method", ["forward", "predict", "predict_classes", "activity"])
@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros((2, 3, 2), np.uint8), r"'events' takes inputs of shape \(n, 2, 3, 2\), got "
                                        r"\(2, 3, 2\)"),
        (np.zeros((1, 3, 2, 2), np.uint8), r"got \(1, 3, 2, 2\)"),
        (np.zeros((1, 2, 3, 2), np.int32), "'events' takes uint8 inputs, got int32; cast them"),
        (np.zeros((1, 2, 3, 2), np.float32), "takes uint8 inputs, got float32"),
        (np.full((1, 2, 3, 2), 4, np.uint8), r"'events' takes 2-bit inputs in 0\.\.3, got 4; clip"),
    ],
)  # fmt: skip
def test_inputs_that_are_refused(tiny, method, x, message):
    with pytest.raises(ValueError, match=message):
        getattr(tiny, method)(x)


def test_unknown_executors_are_refused(tiny):
    x = np.zeros((1, 2, 3, 2), np.uint8)
    with pytest.raises(ValueError, match="unknown executor 'fast'; choose from auto, dense, event"):
        tiny.forward(x, executor="fast")
    with pytest.raises(ValueError, match="unknown executor"):
        tiny.activity(x, executor="")
    with pytest.raises(ValueError, match=r"unknown executor \['dense'\]; choose from auto"):
        tiny.forward(x, executor=["dense"])


@pytest.mark.compiled
def test_logits_are_potential_minus_threshold_over_step(tiny, rng):
    x = rng.integers(0, 4, (5, 2, 3, 2), dtype=np.uint8)
    potentials = tiny.forward(x)
    assert potentials.dtype == np.int32
    assert potentials.shape == (5, 1, 1, 3)
    logits = tiny.predict(x)
    head = tiny.variables["head"]
    expected = (potentials[:, 0, 0] - head["threshold"]) / head["step"].astype(np.float64)
    np.testing.assert_array_equal(logits, expected.astype(np.float32), strict=True)
    np.testing.assert_array_equal(tiny.predict_classes(x), expected.argmax(1))
    labels = expected.argmax(1)
    labels[:2] = (labels[:2] + 1) % 3
    assert tiny.evaluate(x, labels) == 3 / 5


def test_logits_of_a_layer_with_activation_and_of_a_map():
    model = aj.Model([
        aj.InputData(input_shape=(2, 2, 1)),
        aj.Convolutional(filters=2, kernel_size=1, name="conv"),
    ])  # fmt: skip
    model = model.with_variables({"conv": {
        "kernel": np.array([3, -7], np.int8).reshape(1, 1, 1, 2),
        "threshold": np.array([6, -60], np.int32), "step": np.array([1.5, 2], np.float32),
    }})  # fmt: skip
    x = np.array([0, 1, 5, 15], np.uint8).reshape(1, 2, 2, 1)
    assert model.forward(x).dtype == np.uint8
    # Potentials 0 3 15 45 less 6 by 1.5; 0 -7 -35 -105 plus 60 by 2.
    assert model.forward(x).reshape(4, 2).T.tolist() == [[0, 0, 6, 15], [15, 15, 13, 0]]
    assert model.predict(x).shape == (1, 2, 2, 2)
    assert model.predict(x).reshape(4, 2).T.tolist() == [[-4, -2, 6, 26], [30, 26.5, 12.5, -22.5]]


def test_equal_logits_give_the_first_class():
    model = aj.Model([
        aj.InputData(input_shape=(1, 1, 2)), aj.FullyConnected(units=4, activation=False),
    ])  # fmt: skip
    assert model.predict_classes(np.ones((2, 1, 1, 2), np.uint8)).tolist() == [0, 0]


@pytest.mark.parametrize("executor", NAMES)
def test_neurons_of_a_class_answer_for_it(executor):
    """Six outputs, two of each class; equals give the first."""
    model = aj.Model([
        aj.InputData(input_shape=(1, 1, 6), input_bits=1),
        aj.FullyConnected(units=6, activation=False, neurons_per_class=2, name="head"),
    ])  # fmt: skip
    kernel = np.eye(6, dtype=np.int8)[None, None]
    model = model.with_variables({"head": {"kernel": kernel}})
    x = np.concatenate([np.eye(6, dtype=np.uint8), np.ones((1, 6), np.uint8)])[:, None, None]
    assert model.predict_classes(x, executor).tolist() == [0, 0, 1, 1, 2, 2, 0]
    assert model.evaluate(x, [0, 0, 1, 1, 2, 0, 0], executor) == 6 / 7
    with pytest.raises(ValueError, match=r"labels must lie in 0\.\.2, got 0 to 3"):
        model.evaluate(x, [0, 0, 1, 1, 2, 3, 0], executor)
    single = aj.Model([model.layers[0], dataclasses.replace(model.layers[1], neurons_per_class=1)],
                      model.variables)  # fmt: skip
    assert single.predict_classes(x, executor).tolist() == [0, 1, 2, 3, 4, 5, 0]
    assert str(single.summary()) == str(model.summary())


def test_evaluate_needs_one_label_for_each_input(tiny):
    x = np.zeros((2, 2, 3, 2), np.uint8)
    with pytest.raises(ValueError, match=r"one label for each of 2 inputs, got \(3,\)"):
        tiny.evaluate(x, [0, 1, 2])
    with pytest.raises(ValueError, match=r"one label for each of 2 inputs, got \(2, 1\)"):
        tiny.evaluate(x, [[0], [1]])
    with pytest.raises(ValueError, match=r"each of 0 inputs, got \(0,\)"):
        tiny.evaluate(x[:0], [])


@pytest.mark.compiled
@pytest.mark.parametrize("executor", ["dense", "event"])
@pytest.mark.parametrize("n", [0, 1, 63, 64, 65, 130])
def test_any_number_of_inputs(tiny, n, executor):
    x = np.random.default_rng(n).integers(0, 4, (n, 2, 3, 2), dtype=np.uint8)
    kernel = tiny.variables["head"]["kernel"].reshape(12, 3).astype(np.int64)
    expected = (x.reshape(n, 12).astype(np.int64) @ kernel).reshape(n, 1, 1, 3)
    out = tiny.forward(x, executor=executor)
    np.testing.assert_array_equal(out, expected.astype(np.int32), strict=True)
    assert tiny.predict(x, executor).shape == (n, 3)
    assert tiny.predict_classes(x, executor).shape == (n,)
    assert tiny.activity(x, executor)["head"].events_in == np.count_nonzero(x)


@pytest.mark.compiled
def test_forward_equals_plain_python_without_a_last_activation(model, rng):
    x = random_inputs(rng, model.input_shape, 255)
    expected = expect(model, x)[2]
    for executor in ("dense", "event", "auto"):
        out = model.forward(x, executor=executor)
        np.testing.assert_array_equal(out, expected, strict=True)


def test_shapes_and_names_of_a_model(model):
    assert model.input_shape == (9, 8, 3)
    assert model.input_bits == 8
    assert model.output_shape == (1, 1, 3)
    assert [layer.name for layer in model.layers] == list(model.variables)
    assert repr(model) == "Model(5 layers, input (9, 8, 3))"


def test_summary(model, golden):
    golden("summary_image.txt", model.summary())


def test_summary_of_events(golden):
    model = aj.Model([
        aj.InputData(input_shape=(32, 24, 2), input_bits=1),
        aj.Convolutional(filters=128, kernel_size=3, pool="max", weight_bits=2, act_bits=1),
        aj.SeparableConvolutional(filters=1000, kernel_size=5, pool="global_average", act_bits=2),
        aj.FullyConnected(units=10, weight_bits=1, name="classifier"),
    ])  # fmt: skip
    golden("summary_events.txt", model.summary())


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([aj.InputData(input_shape=(1, 1, 2)), object()], "layer 'number 1': <object object"),
        ([None], "layer 'number 0': None is no layer specification; use InputData"),
        ("abc", "layer 'number 0': 'abc' is no layer specification"),
        ([aj.FullyConnected], "is no layer specification"),
        ([quant.Dense(units=3)], "is no layer specification; use InputData"),
        ([], "no layers; begin with an input layer"),
        (
            [aj.InputData(input_shape=(1, 1, 2)), aj.FullyConnected(units=2, name=5)],
            "layer '5': name 5 is not a string; give a str",
        ),
        (
            [aj.InputData(input_shape=(1, 1, 2)), aj.FullyConnected(units=2, activation="no")],
            "activation 'no' is neither True nor False; give a bool",
        ),
        (
            [aj.InputData(input_shape=(1, 1, 2), name="a"), aj.FullyConnected(units=2, name="a")],
            "layer names must be unique, repeated: a; name each layer",
        ),
    ],
)
def test_what_is_no_model_is_refused(layers, message):
    with pytest.raises(aj.ModelError) as error:
        aj.Model(layers)
    assert message in str(error.value)


@pytest.mark.parametrize("variables", [None, 5, {"head": None}, {"head": [1]}])
def test_variables_that_are_no_dict_are_refused(tiny, variables):
    with pytest.raises(TypeError, match="must be a dict of arrays by name, got"):
        tiny.with_variables(variables)


def test_registers_of_another_kind_are_refused(tiny):
    with pytest.raises(TypeError, match=r"registers must be a Registers, got \{\}"):
        aj.Model(tiny.layers, registers={})


def test_a_model_cannot_be_changed(tiny):
    for name in ("layers", "registers", "_variables"):
        with pytest.raises(AttributeError, match=f"a Model is immutable, {name} cannot be set"):
            setattr(tiny, name, ())


@pytest.fixture
def map_model():
    return aj.Model(
        [
            aj.InputData(input_shape=(2, 2, 3), input_bits=1),
            aj.Convolutional(filters=2, kernel_size=3, activation=False, name="map"),
        ]
    )


def test_a_map_has_no_classes(map_model):
    x = np.zeros((2, 2, 2, 3), np.uint8)
    message = "layer 'map' returns a map of 2x2x2, no classes; use predict, or end with"
    with pytest.raises(ValueError, match=message):
        map_model.predict_classes(x)
    with pytest.raises(ValueError, match=message):
        map_model.evaluate(x, [0, 1])
    assert map_model.predict(x).shape == (2, 2, 2, 2)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 3], r"labels must lie in 0\.\.2, got 0 to 3"),
        ([-1, 0], r"labels must lie in 0\.\.2, got -1 to 0"),
        ([0.0, 1.0], r"labels must be integers in 0\.\.2, got float64"),
        (["a", "b"], r"labels must be integers in 0\.\.2, got <U1"),
    ],
)
def test_labels_that_are_no_classes_are_refused(tiny, labels, message):
    x = np.zeros((2, *tiny.input_shape), np.uint8)
    with pytest.raises(ValueError, match=message):
        tiny.evaluate(x, labels)
