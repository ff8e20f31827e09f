"""What the DVS experiment makes of its test windows, by hand."""

import types

import numpy as np
import pytest

from akida_jax.zoo import datasets
from experiments import dvs_gesture
from experiments.training import evaluation


class FakeModel:
    """Answers with given logits; its executors agree with the network or not."""

    programs = ()

    def __init__(self, logits, event_error=0):
        self.logits = np.asarray(logits, np.float32)
        self.event_error = event_error

    def forward(self, x, executor):
        potentials = np.zeros((len(x), 1, 1, 3), np.int32)
        if executor == "event":
            potentials[-1, 0, 0, 2] += self.event_error
        return potentials

    def predict(self, x, executor):
        return self.logits

    def evaluate(self, x, labels):
        return float((self.logits.argmax(1) == labels).mean())

    def activity(self, x):
        class Nothing(dict):
            sparsity = types.MappingProxyType({})

        return Nothing()


@pytest.fixture
def four_windows(monkeypatch):
    """Four windows of two recordings, of the classes 0 and 2."""
    monkeypatch.setattr(
        evaluation, "integers", lambda network, x: np.zeros((len(x), 1, 1, 3), np.int32)
    )
    monkeypatch.setattr(evaluation, "classify", lambda network, x: np.array([0, 0, 0, 2]))
    x = np.zeros((4, 2, 2, 2), np.uint8)
    y = np.array([0, 0, 2, 2], np.int32)
    return datasets.EventFrames(x, y, x, y, np.array([4, 4, 9, 9], np.int32))


def test_evaluation_by_hand(four_windows):
    # Windows are seen as 0, 1, 2, 1. Summed, the first recording is a 1, the second a 2.
    logits = [[4, 3, 0], [0, 3, 2], [0, 0, 9], [0, 1, 0]]
    history = [
        {"phase": "float", "test_accuracy": 0.6},
        {"phase": "float", "test_accuracy": 0.5},
        {"phase": "quantized", "test_accuracy": 0.75},
    ]
    result = dvs_gesture.evaluate(None, FakeModel(logits), four_windows, history)
    assert result["accuracy"] == {
        "float": 0.5, "quantized": 0.75, "integer": 0.5, "integer_by_recording": 0.5,
    }  # fmt: skip
    assert result["confusion"] == [[1, 1, 0], [0, 0, 0], [0, 1, 1]]
    assert result["potentials_compared"] == 12
    assert result["potentials_equal"] == {"dense": True, "event": True}
    assert (
        dvs_gesture.evaluate(None, FakeModel(logits), four_windows, [])["accuracy"]["float"] is None
    )


def test_a_single_different_potential_is_an_error(four_windows):
    model = FakeModel(np.zeros((4, 3)), event_error=1)
    message = "executors disagree with the trained network: .*'dense': True, 'event': False"
    with pytest.raises(AssertionError, match=message):
        dvs_gesture.evaluate(None, model, four_windows, [])
