"""EdgeLearner: fitting, predicting, growing, files, attachment to a model."""

import dataclasses
import hashlib
import json
import warnings
import zipfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import akida_jax as aj
from akida_jax import learning, mapping
from akida_jax.executors import NAMES
from akida_jax.learning import learner as learner_module
from akida_jax.learning import states

N_INPUTS = 60


@pytest.fixture
def prototypes(rng):
    """Three random patterns, one per class."""
    return (rng.random((4, N_INPUTS)) < 0.3).astype(np.uint8)


@pytest.fixture
def noisy(rng, prototypes):
    """Draw patterns of which a tenth of the inputs is flipped."""

    def draw(n, classes=3):
        labels = rng.integers(0, classes, n)
        flipped = rng.random((n, N_INPUTS)) < 0.1
        return prototypes[labels] ^ flipped.astype(np.uint8), labels

    return draw


def make(**changes):
    given = {"num_weights": 20, "num_classes": 3, "neurons_per_class": 2, "seed": 5, **changes}
    return aj.EdgeLearner(**given)


def assert_same_state(a, b):
    assert a.settings == b.settings
    for x, y in zip(a.state[:-1], b.state[:-1], strict=True):
        np.testing.assert_array_equal(x, y, strict=True)
    assert [int(v) for v in a.state.rule] == [int(v) for v in b.state.rule]


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


def test_any_number_of_calls_is_one_stream(noisy):
    x, labels = noisy(20)
    whole, parts = make(), make()
    whole.fit(x, labels)
    for start, stop in ((0, 1), (1, 7), (7, 20)):
        parts.fit(x[start:stop], labels[start:stop])
    assert_same_state(whole, parts)


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


def test_what_is_saved_goes_on_as_if_nothing_had_happened(noisy, tmp_path):
    x, labels = noisy(20)
    whole, first = make(), make()
    whole.fit(x, labels)
    first.fit(x[:9], labels[:9])
    first.save(tmp_path / "a.akl")
    second = aj.EdgeLearner.load(tmp_path / "a.akl")
    assert_same_state(first, second)
    second.fit(x[9:], labels[9:])
    assert_same_state(whole, second)
    second.save(tmp_path / "b.akl")
    whole.save(tmp_path / "c.akl")
    assert (tmp_path / "b.akl").read_bytes() == (tmp_path / "c.akl").read_bytes()


def test_a_learner_that_has_seen_nothing_is_saved_too(noisy, tmp_path):
    make().save(tmp_path / "a.akl")
    loaded = aj.EdgeLearner.load(tmp_path / "a.akl")
    assert loaded.state is None
    x, labels = noisy(9)
    fresh = make()
    fresh.fit(x, labels)
    loaded.fit(x, labels)
    assert_same_state(fresh, loaded)


@pytest.fixture
def saved(noisy, tmp_path):
    learner = make()
    learner.fit(*noisy(15))
    learner.save(tmp_path / "a.akl")
    return tmp_path / "a.akl"


def test_a_cut_file_is_refused_at_any_length(saved):
    content = saved.read_bytes()
    for length in range(0, len(content) - 1, 97):
        saved.write_bytes(content[:length])
        with pytest.raises(learning.LearnerFileError, match=r"^a\.akl: "):
            aj.EdgeLearner.load(saved)


ALL_SETTINGS = dataclasses.asdict(learning.LearningSettings(num_weights=20, num_classes=3))


def rewrite(path, description=None, **changed):
    """Write a file again with another description or other arrays, checksums included."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members |= {f"arrays/{name}": content for name, content in changed.items()}
    text = json.loads(members["learner.json"])
    for entry in text["arrays"] if changed else []:
        content = members[f"arrays/{entry['name']}"]
        entry["sha256"] = hashlib.sha256(content).hexdigest()
    members["learner.json"] = json.dumps(text | (description or {})).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "akida-jax model"}, "this is no learner file"),
        ({"version": 2}, "format version 2, this akida-jax reads up to 1"),
        ({"settings": ALL_SETTINGS | {"num_weights": 0}}, "num_weights must be a whole number"),
        ({"seed": "5"}, "seed '5' is no whole number of 32 bits"),
        ({"seed": True}, "seed True is no whole number of 32 bits"),
        ({"input_shape": [60.0]}, r"input_shape \[60.0\] is no list of whole numbers from 1"),
        ({"input_shape": []}, r"input_shape \[\] is no list of whole numbers from 1"),
        ({"input_shape": [60, 0]}, r"input_shape \[60, 0\] is no list of whole numbers from 1"),
        ({"input_shape": None}, "it has arrays, but no input_shape"),
        (
            {"settings": {"num_weights": 20, "num_classes": 3}},
            r"settings has unknown or missing fields \['initial_plasticity', 'learning_comp",
        ),
        ({"input_shape": [2**20, 2**20]}, "at most 65,535 inputs, got 1,099,511,627,776"),
        ({"arrays": []}, r"the arrays are \[\], a learner has"),
        ({"other": 1}, "unknown fields"),
    ],
)
def test_a_changed_description_is_refused(saved, change, message):
    rewrite(saved, change)
    with pytest.raises(learning.LearnerFileError, match=message):
        aj.EdgeLearner.load(saved)


def test_arrays_that_no_learning_leads_to_are_refused(saved):
    content = saved.read_bytes()
    for changed, message in (
        ({"weights": bytes(6 * N_INPUTS // 8)}, "a neuron has 0 weights, every neuron has 20"),
        ({"plasticity": b"\xff" * 24}, "plasticity must be 0 to 65536, got -1"),
        ({"threshold": np.full(6, 21, np.int32).tobytes()}, "threshold must be 0 to 20, got 21"),
        ({"learned": bytes(20)}, "arrays/learned has 20 bytes, expected 24"),
        ({"learned": bytes(24)}, "neuron 0: its threshold does not go with 0 samples learned"),
        (
            {"plasticity": np.full(6, 2**16, np.int32).tobytes()},
            r"neuron 0: its plasticity does not go with \d samples learned",
        ),
    ):
        saved.write_bytes(content)
        rewrite(saved, **changed)
        with pytest.raises(learning.LearnerFileError, match=message):
            aj.EdgeLearner.load(saved)
    saved.write_bytes(content)
    description = json.loads(zipfile.ZipFile(saved).read("learner.json"))
    description["arrays"][0]["sha256"] = "0" * 64
    rewrite(saved, {"arrays": description["arrays"]})
    with pytest.raises(learning.LearnerFileError, match="weights does not match its checksum"):
        aj.EdgeLearner.load(saved)
    description["arrays"][0]["bits"] = 1
    rewrite(saved, {"arrays": description["arrays"]})
    with pytest.raises(learning.LearnerFileError, match=r"an entry of arrays .* fields \['bits'\]"):
        aj.EdgeLearner.load(saved)
    description.pop("seed")
    with zipfile.ZipFile(saved, "w") as archive:
        archive.writestr("learner.json", json.dumps(description))
    with pytest.raises(learning.LearnerFileError, match=r"learner.json has .* fields \['seed'\]"):
        aj.EdgeLearner.load(saved)


def test_a_neuron_learns_no_more_than_its_plasticity_allows(noisy, tmp_path):
    """From 1 down to 0 in four steps: a fifth sample teaches it nothing."""
    learner = make(min_plasticity=0, num_classes=1, neurons_per_class=1)
    learner.fit(noisy(6, classes=1)[0], 0)
    assert learner.statistics().learned.tolist() == [4]
    learner.save(tmp_path / "a.akl")
    assert aj.EdgeLearner.load(tmp_path / "a.akl").statistics().learned.tolist() == [4]
    rewrite(tmp_path / "a.akl", learned=np.array([5], np.int32).tobytes())
    with pytest.raises(learning.LearnerFileError, match="neuron 0: its plasticity before the last"):
        aj.EdgeLearner.load(tmp_path / "a.akl")


def test_a_file_of_the_other_kind_says_what_reads_it(saved, tmp_path):
    with pytest.raises(ValueError, match=r"a\.akl: this is no model file; EdgeLearner.load reads"):
        aj.load(saved)
    aj.save(backbone(), tmp_path / "m.akj")
    with pytest.raises(
        learning.LearnerFileError, match=r"no learner file; akida_jax.load reads it"
    ):
        aj.EdgeLearner.load(tmp_path / "m.akj")


def backbone(act_bits=1, activation=True):
    """A small model whose last layer gives spikes of 3x4x5 inputs."""
    model = aj.Model(
        [
            aj.InputData(input_shape=(3, 4, 2), input_bits=4),
            aj.Convolutional(filters=5, kernel_size=3, act_bits=act_bits, activation=activation,
                             name="spikes"),
        ]
    )  # fmt: skip
    rng = np.random.default_rng(1)
    kernel = rng.integers(-7, 8, (3, 3, 2, 5)).astype(np.int8)
    return model.with_variables({"spikes": {"kernel": kernel}})


def images(rng, n=30):
    return rng.integers(0, 16, (n, 3, 4, 2)).astype(np.uint8)


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


SAMPLE = np.ones((1, N_INPUTS), np.uint8)


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


@pytest.mark.parametrize(
    ("active", "n_inputs", "expected"),
    [(10, 100, 12), (0.2, 100, 1), (1, 1, 1), (60, 100, 50), (1.25, 100, 2), (41.7, 101, 50)],
)
def test_weights_are_a_few_more_than_active_inputs(active, n_inputs, expected):
    """At least one, at most half of the inputs; 1.2 * 1.25 is 1.5, rounded to even."""
    assert learning.num_weights_for(active, n_inputs) == expected
    assert learning.num_weights_for(active, n_inputs, surplus=0.001) == 1


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
