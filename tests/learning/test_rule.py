"""The learning rule: against plain Python, its laws, many learners at once."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from akida_jax.learning import (
    UNLABELLED,
    LearningSettings,
    add_neurons,
    count_swaps,
    first_state,
    learn,
    learn_stream,
    pack,
    potentials,
    unpack,
)
from akida_jax.learning.planes import draw_order, every_input
from akida_jax.learning.rule import ONE
from tests.learning.plain_learning import PlainLearner, first_weights, keys

pytestmark = pytest.mark.integers

N_INPUTS = 50
LEARN = jax.jit(learn)
STREAM = jax.jit(learn_stream)


def settings(**changes):
    given = {"num_weights": 12, "num_classes": 4, "neurons_per_class": 3, **changes}
    return LearningSettings(**given)


def begin(seed=3, **changes):
    return first_state(settings(**changes), N_INPUTS, jnp.uint32(seed))


def samples(rng, n=40, density=0.3):
    return (rng.random((n, N_INPUTS)) < density).astype(np.uint8)


def packed(x):
    return pack(jnp.asarray(x).T).T


def bits(state):
    return np.asarray(unpack(jnp.moveaxis(state.weights, 1, 0), N_INPUTS)).T


def assert_equal(a, b):
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_array_equal(x, y, strict=True)


def test_packing_and_back(rng):
    for n in (1, 31, 32, 33, 100):
        x = rng.integers(0, 2, (n, 3)).astype(np.uint8)
        words = pack(jnp.asarray(x))
        assert words.shape == (-(-n // 32), 3)
        assert words.dtype == np.uint32
        np.testing.assert_array_equal(unpack(words, n), x, strict=True)
    assert pack(jnp.array([1, 0, 1], jnp.uint8)).tolist() == [5]


def test_what_is_no_bit_is_not_packed():
    with pytest.raises(ValueError, match="bits must be 0 or 1, got 0 to 2"):
        pack(jnp.array([1, 0, 2], jnp.uint8))
    # Inside of jit values cannot be looked at.
    assert jax.jit(pack)(jnp.array([1, 0, 2], jnp.uint8)).tolist() == [0b101]


@pytest.mark.parametrize("n_inputs", [1, 31, 32, 33, 64])
def test_every_input_has_a_bit(n_inputs):
    expected = pack(jnp.ones(n_inputs, jnp.uint8))
    found = every_input(jnp.uint32(n_inputs), len(expected))
    np.testing.assert_array_equal(found, expected, strict=True)


def test_what_lies_beyond_the_inputs_is_ignored(rng):
    """50 inputs leave 14 bits of the second word."""
    x = samples(rng)
    labels = jnp.asarray(rng.integers(-1, 4, len(x)), jnp.int32)
    beyond = packed(x) | (jnp.uint32([0, 0xFFFC0000]))
    assert_equal(STREAM(begin(), beyond, labels), STREAM(begin(), packed(x), labels))
    after, winner = LEARN(begin(), jnp.uint32([0, 0xFFFC0000]), jnp.int32(0))
    assert winner == -1
    assert_equal(after, begin())


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        (jnp.zeros(3, jnp.uint32), "must have 2 words of uint32, got 3 of uint32; pack makes"),
        (jnp.zeros(1, jnp.uint32), "must have 2 words of uint32, got 1 of uint32"),
        (jnp.zeros(2, jnp.int32), "must have 2 words of uint32, got 2 of int32"),
    ],
)
def test_other_words_are_refused(sample, message):
    with pytest.raises(ValueError, match=message):
        LEARN(begin(), sample, jnp.int32(0))
    with pytest.raises(ValueError, match=message):
        STREAM(begin(), sample[None], jnp.zeros(1, jnp.int32))


def test_a_seed_is_a_whole_number_of_32_bits():
    for seed in (7, np.int64(7), np.uint8(7), jnp.uint32(7), np.full((), 7, np.uint32)):
        assert_equal(first_state(settings(), N_INPUTS, seed), begin(7))
    for seed in (-1, 2**32, 1.0, True, np.bool_(True), "1"):
        with pytest.raises(ValueError, match="seed must be 0 to 4294967295, got"):
            first_state(settings(), N_INPUTS, seed)
    for seed in (jnp.arange(3), np.arange(3), jnp.float32(1)):
        with pytest.raises(ValueError, match=r"seeds must be uint32, got (int|float)\d+; cast it"):
            first_state(settings(), N_INPUTS, seed)


def test_the_first_weights_are_those_of_plain_python():
    state = begin()
    expected = [first_weights(3, neuron, N_INPUTS, 12) for neuron in range(12)]
    np.testing.assert_array_equal(bits(state), expected)
    assert (bits(state).sum(1) == 12).all()


def test_the_order_is_that_of_the_keys():
    expected = sorted(range(N_INPUTS), key=keys(3, 7, 2, N_INPUTS).__getitem__, reverse=True)
    place = draw_order(jnp.uint32(3), jnp.uint32(7), jnp.uint32(2), N_INPUTS)
    assert np.argsort(place).tolist() == expected


def test_the_first_weights_are_spread_evenly():
    """Each input has a weight in a share p of the neurons, within five standard deviations."""
    state = first_state(LearningSettings(num_weights=12, num_classes=2000), N_INPUTS, jnp.uint32(1))
    p = 12 / N_INPUTS
    deviation = (p * (1 - p) / 2000) ** 0.5
    assert np.abs(bits(state).mean(0) - p).max() < 5 * deviation


@pytest.mark.parametrize("competition", [0.0, 0.1, 0.5])
@pytest.mark.parametrize(
    "plasticities",
    [{}, {"initial_plasticity": 0.5, "min_plasticity": 0.3, "plasticity_decay": 0.1}],
)
def test_a_stream_equals_plain_python(rng, competition, plasticities):
    state = begin(learning_competition=competition, **plasticities)
    x = samples(rng)
    labels = rng.integers(-1, 5, len(x)).astype(np.int32)  # no neuron is of class 4
    x[7] = 0
    plain = PlainLearner(state, bits(state))
    winners = [plain.learn(spikes, label) for spikes, label in zip(x, labels, strict=True)]
    after, found = STREAM(state, packed(x), jnp.asarray(labels))
    assert found.tolist() == winners
    assert -1 in winners
    assert bits(after).tolist() == plain.weights
    for name in ("plasticity", "threshold", "learned"):
        assert getattr(after, name).tolist() == getattr(plain, name)


@pytest.mark.parametrize("off", ["turns", "mates"])
def test_a_part_that_is_switched_off_is_off_in_plain_python_too(rng, off):
    state = begin(neurons_per_class=2)
    state = state._replace(rule=state.rule._replace(**{off: jnp.bool_(False)}))
    x, labels = samples(rng), rng.integers(0, 4, 40).astype(np.int32)
    plain = PlainLearner(state, bits(state))
    winners = [plain.learn(spikes, label) for spikes, label in zip(x, labels, strict=True)]
    after, found = STREAM(state, packed(x), jnp.asarray(labels))
    assert found.tolist() == winners
    assert bits(after).tolist() == plain.weights
    whole, _ = STREAM(begin(neurons_per_class=2), packed(x), jnp.asarray(labels))
    assert (bits(whole) != bits(after)).any()


def test_many_learners_at_once_learn_as_each_alone(rng):
    seeds = jnp.arange(5, dtype=jnp.uint32)
    together = first_state(settings(), N_INPUTS, seeds)
    x = np.stack([samples(rng, 20) for _ in seeds], -1)
    spikes = jnp.moveaxis(pack(jnp.moveaxis(jnp.asarray(x), 1, 0)), 0, 1)
    labels = jnp.asarray(rng.integers(0, 4, (20, 5)), jnp.int32)
    after, winners = STREAM(together, spikes, labels)
    each = [STREAM(begin(seed), spikes[..., i], labels[:, i]) for i, seed in enumerate(range(5))]
    for i, (alone, found) in enumerate(each):
        picked = jax.tree.map(lambda v, i=i: v[..., i] if v.ndim else v, after)
        assert_equal(picked, alone)
        np.testing.assert_array_equal(winners[:, i], found)
    stacked = jax.tree.map(lambda *v: jnp.stack(v), *(begin(seed) for seed in range(5)))
    mapped, _ = jax.jit(jax.vmap(learn_stream))(
        stacked, jnp.moveaxis(spikes, -1, 0), jnp.moveaxis(labels, -1, 0)
    )
    assert_equal(mapped, jax.tree.map(lambda *v: jnp.stack(v), *(alone for alone, _ in each)))


@pytest.mark.gpu
def test_an_accelerator_gives_the_bits_of_the_cpu(rng):
    if jax.default_backend() == "cpu":
        pytest.skip("no accelerator here")
    x = np.stack([samples(rng, 30) for _ in range(8)], -1)
    labels = rng.integers(-1, 4, (30, 8)).astype(np.int32)
    found = []
    for device in (jax.devices()[0], jax.devices("cpu")[0]):
        with jax.default_device(device):
            state = first_state(settings(learning_competition=0.2), N_INPUTS,
                                jnp.arange(8, dtype=jnp.uint32))  # fmt: skip
            spikes = jnp.moveaxis(pack(jnp.moveaxis(jnp.asarray(x), 1, 0)), 0, 1)
            found.append(jax.device_get(STREAM(state, spikes, jnp.asarray(labels))))
    assert_equal(*found)
    assert not np.array_equal(found[0][0].weights, state.weights)


def test_laws_of_one_sample(rng):
    """Weights keep their number; one neuron changes; plasticity falls to its floor, no lower."""
    state = begin(learning_competition=0.2)
    floor = int(state.rule.min_plasticity)
    for spikes, label in zip(packed(samples(rng, 60)), rng.integers(-1, 4, 60), strict=True):
        after, winner = LEARN(state, spikes, jnp.int32(label))
        assert (bits(after).sum(1) == 12).all()
        changed = np.flatnonzero(np.asarray(after.learned) != np.asarray(state.learned))
        assert changed.tolist() == [int(winner)]
        others = np.arange(12) != int(winner)
        for name in ("weights", "plasticity", "threshold"):
            before, now = (np.asarray(getattr(s, name)) for s in (state, after))
            np.testing.assert_array_equal(now[others], before[others])
        assert (after.plasticity <= state.plasticity).all()
        assert (after.plasticity >= floor).all()
        reached = potentials(after.weights, spikes)[winner]
        assert after.threshold[winner] == max(1, int(reached))
        assert reached >= potentials(state.weights, spikes)[winner]
        if label != UNLABELLED:
            assert after.classes[winner] == label
        state = after
    assert int(state.plasticity.min()) == floor


def test_learning_the_same_again_does_not_lower_the_potential(rng):
    state = begin(neurons_per_class=2)
    spikes = packed(samples(rng, 1))[0]
    highest = 0
    for _ in range(8):
        state, _ = LEARN(state, spikes, jnp.int32(1))
        reached = int(potentials(state.weights, spikes)[2:4].max())
        assert reached >= highest
        highest = reached
    assert highest == 12  # there are more active inputs than weights


@pytest.mark.parametrize(
    ("sample", "label"), [(np.zeros(N_INPUTS), 1), (np.ones(N_INPUTS), 4), (np.ones(N_INPUTS), 99)]
)
def test_what_teaches_nothing_changes_nothing(sample, label):
    state = begin()
    after, winner = LEARN(state, packed(sample[None].astype(np.uint8))[0], jnp.int32(label))
    assert winner == -1
    assert_equal(after, state)


def test_without_plasticity_nothing_changes(rng):
    state = begin(initial_plasticity=0.0, min_plasticity=0.0)
    after, winners = STREAM(state, packed(samples(rng)), jnp.zeros(40, jnp.int32))
    assert (np.asarray(winners) == -1).all()
    assert_equal(after, state)


def test_at_full_plasticity_the_first_sample_is_learned_whole(rng):
    """All weights lie on active inputs, or on all of them."""
    for density in (0.1, 0.5):
        x = samples(rng, 1, density)[0]
        after, winner = LEARN(begin(), packed(x[None])[0], jnp.int32(2))
        assert int(after.threshold[winner]) == min(12, int(x.sum()))


def sample_of(*inputs):
    x = np.zeros(N_INPUTS, np.uint8)
    x[list(inputs)] = 1
    return packed(x[None])[0]


def test_what_class_mates_have_learned_is_taken_first():
    state = begin(num_weights=6, num_classes=2, neurons_per_class=3)
    common, other = range(6), range(10, 16)
    for _ in range(2):
        state, _ = LEARN(state, sample_of(*common), jnp.int32(0))
    state, _ = LEARN(state, sample_of(*other), jnp.int32(1))
    # More active inputs than weights; those that it has weights on already would keep them.
    (fresh,) = np.flatnonzero(np.asarray(state.learned[:3]) == 0)
    free = np.flatnonzero(bits(state)[fresh] == 0)
    state, winner = LEARN(state, sample_of(*common, *free), jnp.int32(0))
    assert winner == fresh
    assert np.flatnonzero(bits(state)[fresh]).tolist() == list(common)


def test_what_no_class_mate_has_learned_is_given_up_first():
    state = begin(num_weights=6, num_classes=2, neurons_per_class=2)
    state, _ = LEARN(state, sample_of(0, 1, 2, 3, 4, 5), jnp.int32(0))
    state, _ = LEARN(state, sample_of(0, 1, 2, 3, 4, 30), jnp.int32(0))
    state, _ = LEARN(state, sample_of(4, 6, 7, 8, 9, 10), jnp.int32(1))
    # Both have a potential of 4 and gain input 40.
    state, winner = LEARN(state, sample_of(0, 1, 2, 3, 40), jnp.int32(0))
    assert winner == 0
    assert np.flatnonzero(bits(state)[0]).tolist() == [0, 1, 2, 3, 4, 40]


def test_neurons_that_never_learned_go_first(rng):
    state = begin()
    _, winners = STREAM(state, packed(samples(rng, 3)), jnp.full(3, 2, jnp.int32))
    assert sorted(winners.tolist()) == [6, 7, 8]


def test_neurons_of_a_class_learn_in_turns_while_they_are_plastic(rng):
    """Plasticities 1, 0.75, 0.5, 0.25, 0.1: three neurons share four rounds of samples."""
    _, winners = STREAM(begin(), packed(samples(rng, 12)), jnp.full(12, 2, jnp.int32))
    assert [sorted(winners[i : i + 3].tolist()) for i in range(0, 12, 3)] == [[6, 7, 8]] * 4
    # At the floor, and without a label, the potential alone decides.
    x = samples(rng, 3)
    state, winners = STREAM(begin(), packed(np.repeat(x, 6, 0)), jnp.full(18, 2, jnp.int32))
    last = winners[15:].tolist()
    assert len(set(last)) == 1
    unlabelled = begin(num_classes=1)
    state, first = STREAM(unlabelled, packed(x), jnp.full(3, UNLABELLED, jnp.int32))
    assert sorted(first.tolist()) == [0, 1, 2]
    again = jnp.repeat(packed(x)[:1], 2, 0)
    _, winners = STREAM(state, again, jnp.full(2, UNLABELLED, jnp.int32))
    assert winners.tolist() == [int(first[0])] * 2


def test_a_sample_without_label_goes_to_the_neuron_that_holds_it(rng):
    """Fresh neurons, of whatever class, take only what no neuron holds; with labels, all."""
    first, other = sample_of(*range(14)), sample_of(*range(20, 34))
    state, taught = LEARN(begin(), first, jnp.int32(1))
    for label, expected in ((UNLABELLED, int(taught)), (1, 4)):
        _, winner = LEARN(state, first, jnp.int32(label))
        assert (winner == taught) == (label == UNLABELLED)
        assert winner // 3 == expected // 3
    _, winner = LEARN(state, other, jnp.int32(UNLABELLED))
    assert state.threshold[winner] == 0
    # One that holds the sample goes before one that comes near it with a higher potential.
    near = begin(learning_competition=0.5, num_classes=1, neurons_per_class=2, num_weights=12)
    near, wide = LEARN(near, sample_of(*range(12)), jnp.int32(0))
    near, small = LEARN(near, sample_of(20, 21, 22), jnp.int32(0))
    assert near.threshold.tolist()[int(small)] == 3
    asked = sample_of(*range(8), 20, 21, 22)
    assert potentials(near.weights, asked)[wide] > potentials(near.weights, asked)[small]
    _, winner = LEARN(near, asked, jnp.int32(UNLABELLED))
    assert winner == small
    _, winner = LEARN(near, asked, jnp.int32(0))
    assert winner == wide


def test_competition_keeps_others_from_learning_what_is_known(rng):
    x = np.repeat(samples(rng, 1), 3, 0)
    for competition, n_neurons in ((0.0, 3), (0.1, 1)):
        state = begin(learning_competition=competition)
        _, winners = STREAM(state, packed(x), jnp.full(3, 2, jnp.int32))
        assert len(set(winners.tolist())) == n_neurons


def test_weights_are_moved_as_the_plasticity_says():
    """Plasticity 1/4 of 12 useless weights moves 3."""
    state = begin(initial_plasticity=0.25, num_classes=1, neurons_per_class=1)
    silent = 1 - bits(state)[0]
    after, _ = LEARN(state, packed(silent[None])[0], jnp.int32(0))
    assert potentials(after.weights, packed(silent[None])[0]).tolist() == [3]
    assert after.plasticity[0] == max(ONE // 4 - ONE // 16, int(state.rule.min_plasticity))


def test_swaps_are_counted(rng):
    seeds = jnp.arange(3, dtype=jnp.uint32)
    first = first_state(settings(), N_INPUTS, seeds)
    state, _ = LEARN(
        first, jnp.tile(packed(samples(rng, 1))[0][:, None], 3), jnp.zeros(3, jnp.int32)
    )
    before, after = (np.asarray(unpack(jnp.moveaxis(s.weights, 1, 0), N_INPUTS))
                     for s in (first, state))  # fmt: skip
    moved = ((after == 1) & (before == 0)).sum((0, 1))
    assert (moved > 0).all()
    np.testing.assert_array_equal(count_swaps(first, state), moved)
    np.testing.assert_array_equal(count_swaps(first, first), 0)


def test_new_neurons_leave_the_old_ones_alone(rng):
    state, _ = STREAM(begin(), packed(samples(rng)), jnp.zeros(40, jnp.int32))
    grown = add_neurons(state, settings(), N_INPUTS, range(4, 6))
    for name in ("weights", "plasticity", "threshold", "classes", "learned"):
        np.testing.assert_array_equal(getattr(grown, name)[:12], getattr(state, name))
    assert grown.classes.tolist() == [c for c in range(6) for _ in range(3)]
    # They are those that a larger learner has from the start.
    larger = begin(num_classes=6)
    np.testing.assert_array_equal(grown.weights[12:], larger.weights[12:])
