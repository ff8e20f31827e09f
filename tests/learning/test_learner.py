"""EdgeLearner: fitting, predicting, growing, refusing."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import akida_jax as aj
from akida_jax import learning
from akida_jax.learning import learner as learner_module
from akida_jax.learning import states
from tests.learning.samples import N_INPUTS, SAMPLE, assert_same_state, backbone, make


@pytest.mark.compiled
def test_classes_are_learned_from_five_samples_each(noisy):
    learner = make()
    x, labels = noisy(15)
    winners = learner.fit(x, labels)
    np.testing.assert_array_equal(winners // 2, labels)
    test, expected = noisy(300)
    # Patterns share 9 % of the inputs by chance and 24 % with their own kind: errors are rare.
    assert (learner.predict_classes(test) == expected).mean() > 0.95
    np.testing.assert_array_equal(learner.predict(test), test.astype(int) @ learner.weights.T)


def test_neurons_that_never_learned_answer_nothing(prototypes):
    """Samples that lie on their drawn weights are of the class that was taught, or of none."""
    learner = make()
    learner.fit(prototypes[:1], [1])
    on_drawn = learner.weights * (1 - learner.weights[2:4].max(0))
    used = learner.statistics().used
    assert used.sum() == 1
    found = learner.predict(on_drawn)
    assert not found[:, ~used].any()
    np.testing.assert_array_equal(found[:, used], on_drawn.astype(int) @ learner.weights[used].T)
    assert learner.predict_classes(on_drawn[[0, 1, 4, 5]]).tolist() == [-1] * 4
    assert set(learner.predict_classes(learner.weights).tolist()) <= {-1, 1}
    untaught = make()
    untaught.fit(prototypes[:0])
    assert untaught.predict_classes(prototypes).tolist() == [-1] * 4


@pytest.mark.compiled
def test_any_number_of_calls_is_one_stream(noisy):
    x, labels = noisy(20)
    whole, parts = make(), make()
    whole.fit(x, labels)
    for start, stop in ((0, 1), (1, 7), (7, 20)):
        parts.fit(x[start:stop], labels[start:stop])
    assert_same_state(whole, parts)


@pytest.mark.compiled
@pytest.mark.parametrize("n", [0, 1, 5, 8])
def test_filling_up_changes_nothing(noisy, n):
    """What `fit` learns is what the rule learns from the samples alone."""
    x, labels = noisy(n + 3)
    learner = make()
    learner.fit(x[n:], labels[n:])
    words = learning.pack(jnp.asarray(x[:n].T)).T
    alone, winners = jax.jit(learning.learn_stream)(
        learner.state, words, jnp.asarray(labels[:n], jnp.int32)
    )
    np.testing.assert_array_equal(learner.fit(x[:n], labels[:n]), winners)
    for found, expected in zip(jax.tree.leaves(learner.state), jax.tree.leaves(alone), strict=True):
        np.testing.assert_array_equal(found, expected, strict=True)


def test_few_programs_are_compiled_for_many_calls(noisy):
    learner = make()
    learner.fit(*noisy(8))
    learner.add_classes(1)
    learner.fit(*noisy(8))
    learner.predict(noisy(8)[0])
    functions = (learner_module._learn, learner_module._potentials, states._draw_weights)
    before = [function._cache_size() for function in functions]
    for n in (5, 6, 7, 8):
        learner.fit(*noisy(n))
        learner.predict(noisy(n)[0])
    learner.add_classes(1)
    make(num_classes=1, num_weights=3).fit(SAMPLE, [0])
    found = [function._cache_size() for function in functions]
    # A learner of other neurons learns by a program of its own.
    assert found == [before[0] + 1, *before[1:]]


def test_samples_may_have_any_shape(noisy):
    x, labels = noisy(10)
    flat, shaped = make(), make()
    flat.fit(x, labels)
    shaped.fit(x.reshape(10, 3, 4, 5), labels)
    assert_same_state(flat, shaped)
    np.testing.assert_array_equal(flat.predict(x), shaped.predict(x.reshape(10, 3, 4, 5)))


def test_without_labels_all_neurons_compete(prototypes):
    """Three patterns, shown again and again, each get a neuron of their own."""
    learner = make(num_classes=1, neurons_per_class=3, learning_competition=0.3)
    shown = np.tile(prototypes[:3], (4, 1))
    winners = learner.fit(shown).reshape(4, 3)
    assert len(set(winners[0].tolist())) == 3
    assert (winners == winners[0]).all()
    np.testing.assert_array_equal(learner.predict(prototypes[:3]).argmax(1), winners[0])


def test_labelled_samples_shown_again_without_labels_stay_with_their_class(prototypes):
    """At default settings, with fresh neurons of every class beside those that learned."""
    learner = make(neurons_per_class=4, num_weights=10)
    taught = learner.fit(prototypes[:3], [0, 1, 2])
    np.testing.assert_array_equal(learner.fit(np.tile(prototypes[:3], (3, 1))), np.tile(taught, 3))
    assert learner.statistics().used.sum() == 3
    np.testing.assert_array_equal(learner.predict_classes(prototypes[:3]), [0, 1, 2])
    # What no neuron holds goes to a fresh one; the labels that follow find theirs untouched.
    (fresh,) = learner.fit(prototypes[3:])
    assert fresh not in taught
    np.testing.assert_array_equal(learner.predict_classes(prototypes[:3]), [0, 1, 2])
    assert (learner.fit(prototypes[:3], [0, 1, 2]) // 4).tolist() == [0, 1, 2]


@pytest.mark.compiled
def test_new_classes_leave_the_old_bits(noisy):
    learner = make()
    learner.fit(*noisy(15))
    before = learner.weights
    assert learner.add_classes(1) == range(3, 4)
    np.testing.assert_array_equal(learner.weights[:6], before)
    x, labels = noisy(40, classes=4)
    new = labels == 3
    learner.fit(x[new], labels[new])
    np.testing.assert_array_equal(learner.weights[:6], before)
    assert learner.num_classes == 4
    assert (learner.predict_classes(x[new]) == 3).mean() > 0.9
    later = make()
    later.add_classes(1)
    assert later.fit(x, labels).max() < 8


def test_statistics_say_what_each_neuron_learned(noisy):
    learner = make(plasticity_decay=0.5)
    x, labels = noisy(12)
    winners = learner.fit(x, labels)
    found = learner.statistics()
    np.testing.assert_array_equal(found.learned, np.bincount(winners, minlength=6))
    np.testing.assert_array_equal(found.classes, [0, 0, 1, 1, 2, 2])
    np.testing.assert_array_equal(found.used, found.learned > 0)
    # Fixed point with 16 fraction bits: 0.1 is rounded by at most half of the last one.
    expected = np.maximum(1 - 0.5 * found.learned, 0.1)
    np.testing.assert_allclose(found.plasticity, expected, atol=2.0**-17, rtol=0)
    assert ((found.threshold > 0) == found.used).all()


def test_no_samples_teach_nothing(rng):
    learner, empty = make(), np.zeros((0, 3, 4, 5), np.uint8)
    assert learner.fit(empty, np.zeros(0, int)).shape == (0,)
    assert learner.fit(empty, []).shape == (0,)
    first = learner.weights
    assert not learner.statistics().used.any()
    assert learner.predict_classes(empty).shape == (0,)
    x = rng.integers(0, 2, (4, 3, 4, 5)).astype(np.uint8)
    again = make()
    again.fit(x, np.zeros(4, int))
    learner.fit(x, np.zeros(4, int))
    np.testing.assert_array_equal(learner.weights, again.weights)
    assert (learner.weights != first).any()


@pytest.mark.parametrize(
    ("x", "labels", "message"),
    [
        (SAMPLE * 2, [0], "samples must be 0 or 1, the largest is 2; learn from a layer with 1-b"),
        (SAMPLE.astype(float), [0], r"samples must be uint8 of shape \(n, ...\), got float64"),
        (SAMPLE[0], [0], r"samples must be uint8 of shape \(n, ...\), got uint8 of shape \(60,\)"),
        (SAMPLE * 0, [0], "1 of 1 samples have no active input: index 0; leave them out"),
        (SAMPLE, [3], "labels must be 0 to 2, got 3 at index 0; add_classes adds classes"),
        (SAMPLE, [-1], "labels must be 0 to 2, got -1"),
        (SAMPLE, [0, 1], r"labels must be 1 whole numbers, .* got int64 of shape \(2,\)"),
        (SAMPLE, [0.5], "labels must be 1 whole numbers, or one for all, got float64"),
        (SAMPLE, 0.5, r"labels must be 1 whole numbers, .* got float64 of shape \(\)"),
        (SAMPLE, 3, "labels must be 0 to 2, got 3 at index 0"),
        (SAMPLE, [True], "labels must be 1 whole numbers, or one for all, got bool"),
        (SAMPLE, [[0], [0, 1]], "labels must be an array, got rows of different lengths"),
        ([[0, 1], [1]], [0], "samples must be an array, got rows of different lengths"),
        (SAMPLE[:, :19], [0], "num_weights 20 exceeds the 19 inputs of a neuron; suggest_num_w"),
        (np.ones((1, 2**16), np.uint8), [0], "at most 65,535 inputs, got 65,536"),
    ],
)
def test_samples_that_cannot_be_learned_are_refused(x, labels, message):
    learner = make()
    with pytest.raises(ValueError, match=message):
        learner.fit(x, labels)
    assert learner.state is None


def test_too_many_weights_are_reported():
    learner = make(num_weights=31)
    with pytest.warns(UserWarning, match="num_weights 31 is more than half of the 60 in") as caught:
        learner.fit(SAMPLE, [0])
    assert [warning.filename for warning in caught] == [__file__]
    assert learner.weights.sum(1).tolist() == [31] * 6
    message = "num_weights 31 is more than half of the 60 inputs"
    with pytest.warns(UserWarning, match=message) as caught:
        learning.first_state(learner.settings, N_INPUTS, 0)
    assert [warning.filename for warning in caught] == [__file__]


def test_what_was_reported_is_not_reported_again(tmp_path):
    learner = make(num_weights=31, learning_competition=0.6)
    with pytest.warns(UserWarning, match=r"weights 31 is|competition 0\.6 is above") as caught:
        learner.fit(SAMPLE, [0])
    assert len(caught) == 2
    learner.save(tmp_path / "a.akl")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        learner.fit(SAMPLE, [0])
        loaded = aj.EdgeLearner.load(tmp_path / "a.akl")
        loaded.fit(SAMPLE, [1])


def test_one_label_may_stand_for_all_samples(noisy):
    x, _ = noisy(5)
    each, all_at_once = make(), make()
    each.fit(x, [2] * 5)
    for label in (2, np.int8(2), jnp.int32(2)):
        all_at_once = make()
        all_at_once.fit(x, label)
        assert_same_state(each, all_at_once)


def test_numbers_of_numpy_are_numbers(noisy, tmp_path):
    given = {"num_weights": np.int64(20), "neurons_per_class": np.uint8(2), "seed": np.int32(5),
             "learning_competition": np.float32(0.25), "min_plasticity": np.float64(0.1),
             "initial_plasticity": 1}  # fmt: skip
    plain, numpy = make(learning_competition=0.25), make(**given)
    x, labels = noisy(9)
    for learner in (plain, numpy):
        learner.add_classes(np.int16(1))
        learner.fit(x, labels)
    assert_same_state(plain, numpy)
    assert type(numpy.seed) is type(numpy.settings.num_weights) is int
    for name, learner in (("a.akl", plain), ("b.akl", numpy)):
        learner.save(tmp_path / name)
    assert (tmp_path / "a.akl").read_bytes() == (tmp_path / "b.akl").read_bytes()


def test_a_refused_call_changes_nothing(noisy):
    learner = make()
    learner.fit(*noisy(9))
    before = learner.state
    with pytest.raises(ValueError, match=r"the shape \(60,\) of those learned before, got \(61,\)"):
        learner.fit(np.ones((1, 61), np.uint8), [0])
    x, labels = noisy(9)
    x[[3, 5]] = 0
    with pytest.raises(ValueError, match=r"2 of 9 samples have no active input: index 3, 5"):
        learner.fit(x, labels)
    assert learner.state is before


def test_a_silent_sample_has_no_class(noisy):
    learner = make()
    learner.fit(*noisy(9))
    assert learner.predict_classes(np.zeros((2, N_INPUTS), np.uint8)).tolist() == [-1, -1]


@pytest.mark.parametrize(
    "call", [lambda a: a.predict(SAMPLE), lambda a: a.weights, lambda a: a.statistics(),
             lambda a: a.attach(backbone())]
)  # fmt: skip
def test_before_the_first_sample_there_is_nothing(call):
    with pytest.raises(ValueError, match=r"the learner .* before its first sample; call fit"):
        call(make())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_weights": 0}, "num_weights must be a whole number of at least 1, got 0"),
        ({"neurons_per_class": 1.5}, "neurons_per_class must be a whole number .*, got 1.5"),
        ({"plasticity_decay": -0.1}, "plasticity_decay must be 0 to 1, got -0.1"),
        ({"learning_competition": float("nan")}, "learning_competition must be 0 to 1, got nan"),
        ({"initial_plasticity": 0.05}, "min_plasticity must be at most initial_plasticity 0.05"),
        ({"num_classes": True, "num_weights": 0}, "num_weights .*; num_classes must be"),
        ({"seed": -1}, "seed must be 0 to 4294967295, got -1"),
        ({"seed": True}, "seed must be 0 to 4294967295, got True"),
        ({"min_plasticity": True}, "min_plasticity must be 0 to 1, got True"),
        ({"min_plasticity": "0.1"}, "min_plasticity must be 0 to 1, got '0.1'"),
        (
            {"min_plasticity": 1e-6},
            "min_plasticity 1e-06 comes to 0 in fixed point of 16 fraction "
            "bits; give 0 or at least 7.62939e-06",
        ),
        ({"learning_competition": 7e-6}, "learning_competition 7e-06 comes to 0"),
        (
            {"plasticity_decay": 1e-5, "initial_plasticity": 0.1},
            "plasticity_decay 1e-05 comes to 0 in .*; give 0 or more",
        ),
    ],
)
def test_settings_out_of_range_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        make(**changes)


@pytest.mark.parametrize("n", [0, 1.0, -2, True, "1", None])
def test_no_fraction_of_a_class_is_added(n):
    with pytest.raises(ValueError, match="add_classes needs a whole number of at least 1"):
        make().add_classes(n)


def test_the_seed_decides_the_weights(noisy):
    x, labels = noisy(9)
    weights = []
    for seed in (0, 0, 1):
        learner = make(seed=seed)
        learner.fit(x, labels)
        weights.append(learner.weights)
    np.testing.assert_array_equal(weights[0], weights[1])
    assert (weights[0] != weights[2]).any()
    assert learner.state.weights.dtype == jnp.uint32
