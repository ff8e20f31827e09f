"""New classes beside old ones, and the settings of a learner."""

import dataclasses

import numpy as np
import pytest

from akida_jax.learning import LearningSettings
from experiments.few_shot import episodes, measurements, old_classes, sweeps
from experiments.few_shot.episodes import Pool

N_OLD, N_NEW, EACH, INPUTS = 3, 2, 6, 80


@pytest.fixture
def samples(rng):
    """Spikes and labels of five classes that share no input, with a little noise."""
    labels = np.repeat(np.arange(N_OLD + N_NEW, dtype=np.int32), EACH)
    mine = np.arange(INPUTS) // 16 == labels[:, None]
    return (mine & (rng.random((len(labels), INPUTS)) < 0.8)).astype(np.uint8), labels


@pytest.fixture
def old(samples):
    spikes, labels = samples
    return spikes[labels < N_OLD], labels[labels < N_OLD]


@pytest.fixture
def pool(samples):
    spikes, labels = samples
    new = labels >= N_OLD
    everything = np.ones(new.sum(), bool)
    return Pool(spikes[new], labels[new] - N_OLD, everything, everything)


@pytest.fixture
def drawn(pool):
    return episodes.draw(pool, shots=2, queries=3, episodes=4, seed=0)


def settings(n_classes=N_OLD, **changes):
    given = {"num_weights": 10, "num_classes": n_classes, "neurons_per_class": 2, **changes}
    return LearningSettings(**given)


def test_classes_that_share_nothing_lose_nothing(old, pool, drawn):
    learner = old_classes.learn_old(settings(), old, seed=0)
    before = learner.weights
    found = old_classes.measure(learner, old, pool, drawn)
    assert (found["old_before"], found["old_after"]["mean"], found["new"]["mean"]) == (100,) * 3
    assert found["old_difference"] == {"mean": 0.0, "interval": 0.0}
    assert found["old_neurons_compared"] == N_OLD * 2 * 4
    np.testing.assert_array_equal(learner.weights, before)
    same = old_classes.measure_prototypes(old, old, pool, drawn)
    assert (same["old_before"], same["old_after"]["mean"], same["new"]["mean"]) == (100,) * 3


def test_what_old_classes_lose_is_counted(old, pool, drawn):
    """New samples that are copies of an old class take it over, or half of it."""
    copies = dataclasses.replace(pool, spikes=np.tile(old[0][:EACH], (N_NEW, 1)))
    learner = old_classes.learn_old(settings(neurons_per_class=1), old, seed=0)
    found = old_classes.measure(learner, old, copies, drawn)
    assert found["old_before"] == 100
    assert found["old_after"]["mean"] < 100
    assert found["old_difference"]["mean"] == pytest.approx(
        found["old_after"]["mean"] - 100,
        abs=0.011,  # two numbers rounded to 0.01
    )


@pytest.mark.parametrize("name", ["weights", "threshold", "learned", "plasticity"])
def test_a_changed_bit_of_an_old_neuron_is_found(old, pool, drawn, monkeypatch, name):
    learner = old_classes.learn_old(settings(), old, seed=0)
    honest = old_classes.learn

    def change(*arguments):
        learned = honest(*arguments)
        values = getattr(learned.state, name)
        return learned._replace(state=learned.state._replace(**{name: values.at[1, ..., 0].add(1)}))

    monkeypatch.setattr(old_classes, "learn", change)
    with pytest.raises(AssertionError, match=f"{name} of old neurons changed"):
        old_classes.measure(learner, old, pool, drawn)


def test_silent_samples_are_left_out(old):
    spikes, labels = np.concatenate([old[0], 0 * old[0]]), np.tile(old[1], 2)
    learner = old_classes.learn_old(settings(), (spikes, labels), seed=0)
    assert learner.statistics().learned.sum() == len(old[0])


def test_weights_follow_the_active_inputs(pool):
    active = pool.spikes.sum(1).mean()
    assert sweeps.weights_for(pool, 1.2) == round(1.2 * active)
    assert sweeps.weights_for(pool, 10) == INPUTS // 2
    assert sweeps.weights_for(pool, 0.001) == 1


def test_curves_have_each_number_once(pool, drawn):
    rows = sweeps.curves(pool, drawn, settings(N_NEW), neurons=(1, 2), surpluses=(0.5, 5, 9))
    half = sweeps.weights_for(pool, 0.5)
    found = [(row["neurons_per_class"], row["num_weights"], row["surplus"]) for row in rows]
    assert found == [(n, *w) for n in (1, 2) for w in ((half, 0.5), (INPUTS // 2, 5))]
    assert all(row["mean"] == 100 for row in rows)
    assert sweeps.of_weights(rows, half) == [rows[0], rows[2]]


def test_the_knee_is_the_fewest_neurons_that_reach_the_best():
    rows = [{"neurons_per_class": n, "mean": mean, "interval": 0.5}
            for n, mean in ((1, 80.0), (2, 89.4), (5, 89.5), (10, 90.0), (20, 89.9))]  # fmt: skip
    assert sweeps.find_knee(rows) == 5


def test_one_setting_changes_at_a_time(pool, drawn, monkeypatch):
    seen = []
    monkeypatch.setattr(sweeps, "measure", lambda pool, episodes, s: seen.append(s) or {"mean": 1})
    ablated = {"initial_plasticity": (0.05, 1.0), "plasticity_decay": (0.5,)}
    rows = sweeps.ablate(pool, drawn, settings(N_NEW), (1, 3), ablated)
    assert [(r["setting"], r["value"], r["neurons_per_class"]) for r in rows] == [
        (name, value, n) for n in (1, 3) for name, values in ablated.items() for value in values
    ]
    base = dataclasses.replace(settings(N_NEW), neurons_per_class=3)
    assert seen[3:] == [
        dataclasses.replace(base, initial_plasticity=0.05, min_plasticity=0.05),
        base,
        dataclasses.replace(base, plasticity_decay=0.5),
    ]


def test_parts_of_the_rule_are_switched_off_one_at_a_time(pool, drawn, monkeypatch):
    seen = []
    honest = sweeps.learn_episodes

    def learn(*arguments, without=()):
        seen.append((arguments[2].neurons_per_class, tuple(without)))
        answers, swaps = honest(*arguments, without=without)
        if "mates" in without:
            answers[:2] = -1  # in half of the episodes all answers are wrong
        return answers, swaps

    monkeypatch.setattr(sweeps, "learn_episodes", learn)
    (row,) = sweeps.switch_off(pool, drawn, settings(N_NEW), [2])
    assert seen == [(2, ()), (2, ("turns",)), (2, ("mates",))]
    assert (row["shots"], row["episodes"], row["neurons_per_class"]) == (2, 4, 2)
    assert row["whole"]["mean"] == 100
    assert row["gain"]["turns"]["mean"] == 0
    assert row["gain"]["mates"]["mean"] == 50


def test_the_difference_is_to_the_best_other():
    ours = np.array([0.5, 0.6, 0.7])
    others = {"a": ours + 0.1, "b": np.array([0.0, 1.0, 0.3])}
    found = measurements.compare(ours, others)
    assert found == {"best": "a", "difference": {"mean": -10.0, "interval": 0.0}}
