"""A learner behind a model: attachment, and the weights that a model's spikes suggest."""

import numpy as np
import pytest

import akida_jax as aj
from akida_jax import learning, mapping
from akida_jax.events import EVENT_DTYPE, as_events, build_frames
from akida_jax.executors import NAMES
from tests.learning.samples import assert_same_state, backbone, images, make

pytestmark = pytest.mark.compiled


def test_the_attached_model_computes_the_potentials(rng):
    model = backbone()
    x, labels = images(rng), rng.integers(0, 3, 30)
    spikes = model.forward(x)
    assert set(np.unique(spikes)) == {0, 1}
    learner = make(neurons_per_class=20)
    learner.fit(np.asarray(spikes).astype(np.uint8), labels)
    assert not learner.statistics().used.all()
    whole = learner.attach(model)
    expected = learner.predict(np.asarray(spikes).astype(np.uint8))
    for executor in NAMES:
        np.testing.assert_array_equal(whole.forward(x, executor=executor)[:, 0, 0], expected)
    assert whole.layers[-1].weight_bits == 1
    assert mapping.place(whole, mapping.AKD1000).nps == 2


def test_an_attached_model_is_saved_and_loaded(rng, tmp_path):
    model = backbone()
    x = images(rng)
    learner = make()
    learner.fit(np.asarray(model.forward(x)).astype(np.uint8), rng.integers(0, 3, 30))
    whole = learner.attach(model, name="gestures")
    aj.save(whole, tmp_path / "a.akj")
    loaded = aj.load(tmp_path / "a.akj")
    assert loaded.layers[-1].name == "gestures"
    np.testing.assert_array_equal(loaded.forward(x), whole.forward(x))


@pytest.mark.parametrize("executor", NAMES)
@pytest.mark.parametrize("neurons_per_class", [1, 4])
def test_an_attached_model_answers_with_classes(rng, tmp_path, executor, neurons_per_class):
    model = backbone()
    x, labels = images(rng), rng.integers(0, 3, 30)
    learner = make(neurons_per_class=neurons_per_class)
    spikes = np.asarray(model.forward(x)).astype(np.uint8)
    learner.fit(spikes, labels)
    learner.add_classes(1)
    expected = learner.predict_classes(spikes)
    assert set(expected.tolist()) == {0, 1, 2}
    whole = learner.attach(model)
    aj.save(whole, tmp_path / "a.akj")
    share = (expected == labels).mean()
    for attached in (whole, aj.load(tmp_path / "a.akj")):
        np.testing.assert_array_equal(attached.predict_classes(x, executor), expected)
        assert attached.evaluate(x, labels, executor) == share
    with pytest.raises(ValueError, match=r"labels must lie in 0\.\.3, got 0 to 4"):
        whole.evaluate(x, np.where(np.arange(30) == 5, 4, 0))


def test_the_order_of_events_within_a_sample_does_not_matter(rng):
    """From event lists through frames and spikes to the bits of the neurons."""
    n, n_events = 12, 200
    recordings, exchanged, relisted = [], [], []
    for _ in range(n):
        events = np.empty(n_events, EVENT_DTYPE)
        events["x"], events["y"] = rng.integers(0, 4, n_events), rng.integers(0, 3, n_events)
        events["t"], events["p"] = np.sort(rng.integers(0, 9, n_events)), rng.random(n_events) < 0.4
        # Another order in the list, of which sorting leaves that of equal times.
        other = events[rng.permutation(n_events)]
        relisted.append(as_events(other, sort=True))
        # Another order in time, within the window.
        other["t"] = events["t"]
        exchanged.append(other)
        recordings.append(events)
    model, learners = backbone(), []
    for listed in (recordings, relisted, exchanged):
        frames, _ = build_frames(listed, sensor=(4, 3), window_ms=1, bins=1, duration_ms=1)
        learner = make()
        learner.fit(model.forward(frames).astype(np.uint8), np.arange(n) % 3)
        learners.append(learner)
        assert listed is recordings or (listed[0] != recordings[0]).any()
    for learner in learners[1:]:
        assert_same_state(learners[0], learner)


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ({"act_bits": 4}, "layer 'spikes': the learned layer needs 1-bit .* got 4-bit activations"),
        ({"activation": False}, "needs 1-bit activations in front of it, got potentials"),
    ],
)
def test_a_model_without_spikes_is_refused(noisy, form, message):
    learner = make()
    learner.fit(*noisy(9))
    with pytest.raises(ValueError, match=message):
        learner.attach(backbone(**form))


def test_a_model_of_another_shape_is_refused(rng):
    learner = make()
    learner.fit(np.ones((3, 61), np.uint8), np.arange(3))
    with pytest.raises(ValueError, match=r"its output \(3, 4, 5\) differs from .* \(61,\)"):
        learner.attach(backbone())


def test_a_shape_is_that_of_the_output_or_flat(rng):
    """As many inputs in another order would be other inputs."""
    x = rng.integers(0, 2, (9, 60)).astype(np.uint8)
    kernels = []
    for shape in ((3, 4, 5), (60,)):
        learner = make()
        learner.fit(x.reshape(9, *shape), np.arange(9) % 3)
        kernels.append(learner.attach(backbone()).variables["learned"]["kernel"])
    np.testing.assert_array_equal(*kernels)
    for shape in ((5, 4, 3), (12, 5), (1, 60)):
        learner = make()
        learner.fit(x.reshape(9, *shape), np.arange(9) % 3)
        message = r"\(3, 4, 5\) differs from the samples learned, .*; learn from outputs of that"
        with pytest.raises(ValueError, match=message):
            learner.attach(backbone())


def test_the_suggested_number_of_weights(rng):
    model, x = backbone(), images(rng, 50)
    active = float(np.asarray(model.forward(x)).reshape(50, -1).sum(1).mean())
    few = model.with_variables({"spikes": {"threshold": np.full(5, 60, np.int32)}})
    mean = float(np.asarray(few.forward(x)).reshape(50, -1).sum(1).mean())
    assert 1.2 * mean < 29
    assert learning.suggest_num_weights(few, x) == round(1.2 * mean)
    assert round(1.2 * active) > 30
    message = (f"layer 'spikes': 1.2 times its {active:.1f} active outputs is more than half of "
               "the 60; suggested is that half, 30")  # fmt: skip
    with pytest.warns(UserWarning, match=message) as caught:
        assert learning.suggest_num_weights(model, x) == 30
    assert caught[0].filename == __file__
    silent = model.with_variables({"spikes": {"threshold": np.full(5, 10_000, np.int32)}})
    with pytest.raises(ValueError, match="layer 'spikes': no output is active for any input"):
        learning.suggest_num_weights(silent, x)
    with pytest.raises(ValueError, match="layer 'spikes': its outputs are not 0 and 1"):
        learning.suggest_num_weights(backbone(act_bits=4), x)
    with pytest.raises(ValueError, match="needs at least one input, got none"):
        learning.suggest_num_weights(model, x[:0])


@pytest.mark.parametrize(
    ("active", "n_inputs", "expected"),
    [(10, 100, 12), (0.2, 100, 1), (1, 1, 1), (60, 100, 50), (1.25, 100, 2), (41.7, 101, 50)],
)
def test_weights_are_a_few_more_than_active_inputs(active, n_inputs, expected):
    """At least one, at most half of the inputs; 1.2 * 1.25 is 1.5, rounded to even."""
    assert learning.num_weights_for(active, n_inputs) == expected
    assert learning.num_weights_for(active, n_inputs, surplus=0.001) == 1
