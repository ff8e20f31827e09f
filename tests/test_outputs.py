"""What every layer puts out, and which class is taken for which."""

import numpy as np
import pytest

import akida_jax as aj
from tests.samples import expect, random_inputs, small_model, worked_out


def test_outputs_by_hand():
    model, x = worked_out()
    outputs = model.outputs(x[:1])
    assert list(outputs) == ["first", "last"]
    assert outputs["first"].tolist() == [[[[1, 0], [0, 0], [3, 1]], [[0, 0], [0, 0], [0, 1]]]]
    assert outputs["last"].tolist() == [[[[1], [0], [4]], [[0], [0], [1]]]]
    assert [o.dtype for o in outputs.values()] == [np.uint8, np.int32]


@pytest.mark.parametrize("executor", ["auto", "dense", "event", "native"])
def test_outputs_equal_plain_python(rng, executor):
    model = small_model(rng)
    x = random_inputs(rng, model.input_shape, 255)
    between, _, out = expect(model, x)
    outputs = model.outputs(x, executor)
    assert list(outputs) == [layer.name for layer in model.layers]
    for found, expected in zip(outputs.values(), [*between, out], strict=True):
        kind = np.int32 if expected is out else np.uint8
        np.testing.assert_array_equal(found, expected.astype(kind), strict=True)


def test_outputs_of_no_input_and_of_a_layer_with_activation(rng):
    model = small_model(rng).up_to("separable_2")
    outputs = model.outputs(np.zeros((0, 9, 8, 3), np.uint8))
    assert [o.shape[0] for o in outputs.values()] == [0, 0, 0]
    assert {o.dtype for o in outputs.values()} == {np.dtype(np.uint8)}
    x = random_inputs(rng, model.input_shape, 255)
    last = model.outputs(x)["separable_2"]
    np.testing.assert_array_equal(last, model.forward(x), strict=True)


@pytest.fixture(scope="module")
def model():
    """A model of three classes whose input says the class, with two neurons for each."""
    made = aj.Model([
        aj.InputData(input_shape=(1, 1, 6), input_bits=1),
        aj.FullyConnected(units=6, activation=False, neurons_per_class=2, name="head"),
    ])  # fmt: skip
    return made.with_variables({"head": {"kernel": np.eye(6, dtype=np.int8)[None, None]}})


def inputs(*neurons):
    return np.eye(6, dtype=np.uint8)[list(neurons)][:, None, None]


def test_confusion_by_hand(model):
    # Neurons 0 and 1 answer for class 0, 2 and 3 for class 1, 4 and 5 for class 2.
    confusion = model.confusion(inputs(0, 1, 2, 5, 4), [0, 0, 0, 1, 2])
    assert confusion.tolist() == [[2, 1, 0], [0, 0, 1], [0, 0, 1]]
    assert confusion.dtype == np.int64


def test_its_diagonal_is_the_accuracy(model, rng):
    x, labels = inputs(*rng.integers(0, 6, 50)), rng.integers(0, 3, 50)
    confusion = model.confusion(x, labels, "event")
    assert confusion.sum() == 50
    assert confusion.sum(1).tolist() == np.bincount(labels, minlength=3).tolist()
    assert np.trace(confusion) / 50 == model.evaluate(x, labels)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0], r"one label for each of 2 inputs, got \(1,\)"),
        ([0, 3], r"labels must lie in 0\.\.2, got 0 to 3"),
        ([0.0, 1.0], r"labels must be integers in 0\.\.2, got float64"),
    ],
)
def test_labels_that_are_no_classes_are_refused(model, labels, message):
    with pytest.raises(ValueError, match=message):
        model.confusion(inputs(0, 1), labels)
