"""New classes learned beside old ones: what the old ones lose, and the bits that prove it."""

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int, Int32, UInt8

import akida_jax as aj
from akida_jax import learning
from experiments.few_shot.episodes import Episodes, Pool, ask, learn, pack_rows, summarize

_PIECE = 50
"""Episodes at once: there are more neurons in each."""
_PER_NEURON = ("weights", "plasticity", "threshold", "classes", "learned")
"""Fields of a learning state that have a row for each neuron."""

Labelled = tuple[UInt8[np.ndarray, "n inputs"], Int32[np.ndarray, " n"]]


def learn_old(settings: learning.LearningSettings, train: Labelled, *, seed: int) -> aj.EdgeLearner:
    """Return a learner that has learned every sample of the old classes once, but silent ones.

    Args:
      settings: for the old classes.
      train: spikes and labels of the old classes.
      seed: of the learner, and of the order of the samples.
    """
    spikes, labels = train
    learner = aj.EdgeLearner(**dataclasses.asdict(settings), seed=seed)
    order = np.random.default_rng(seed).permutation(len(spikes))
    fit_active(learner, spikes[order], labels[order])
    return learner


def fit_active(
    learner: aj.EdgeLearner, spikes: UInt8[np.ndarray, "n inputs"], labels: Int32[np.ndarray, " n"]
) -> None:
    """Learn samples, leaving out those without a spike, which a learner refuses."""
    active = spikes.any(1)
    learner.fit(spikes[active], labels[active])


def measure(learner: aj.EdgeLearner, test: Labelled, pool: Pool, episodes: Episodes) -> dict:
    """Add the new classes, learn them in every episode, and ask for old and new samples.

    Args:
      learner: that knows the old classes; it stays as it is.
      test: spikes and labels of other samples of the old classes.
      pool: samples of the new classes.
      episodes: what is learned and asked of them.

    Returns:
      As `_summarize`, and how many old neurons were compared, bit by bit.

    Raises:
      AssertionError: if any bit of an old neuron changed.
    """
    assert learner.state is not None
    spikes, labels = test
    words = pack_rows(spikes)
    after, new = [], []
    for piece in episodes.pieces(_PIECE):
        learned = learn(_add_new(learner, pool, piece), pool, piece, learner.num_classes).state
        _check_bits(learner.state, learned)
        everything = np.tile(np.arange(len(spikes)), (len(piece.support), 1))
        after.append(ask(learned, words, everything) == labels)
        answers = ask(learned, pool.words, piece.query)
        new.append(answers == pool.labels[piece.query] + learner.num_classes)
    before = learner.predict_classes(spikes) == labels
    return {
        "neurons_per_class": learner.settings.neurons_per_class,
        **_summarize(before, np.concatenate(after), np.concatenate(new)),
        "old_neurons_compared": len(learner.state.classes) * len(episodes.support),
        "old_bits_equal": True,
    }


def measure_prototypes(train: Labelled, test: Labelled, pool: Pool, episodes: Episodes) -> dict:
    """Return the same of cosine prototypes: means of all old samples, and of the new ones.

    Args:
      train: spikes and labels of the old classes.
      test: other samples of them.
      pool: samples of the new classes.
      episodes: what is learned and asked of them.
    """
    spikes, labels = test
    n_old = int(train[1].max()) + 1
    old = np.stack([train[0][train[1] == label].mean(0) for label in range(n_old)])
    asked, known = spikes.astype(np.float32), pool.spikes.astype(np.float32)
    truth = np.arange(pool.ways)[:, None] + n_old
    after, new = [], []
    for support, query in zip(episodes.support, episodes.query, strict=True):
        means = np.concatenate([old, known[support].mean(1)])
        after.append(_nearest_angle(means, asked) == labels)
        answers = _nearest_angle(means, known[query.reshape(-1)])
        new.append(answers.reshape(query.shape) == truth)
    before = _nearest_angle(old, asked) == labels
    return _summarize(before, np.stack(after), np.stack(new))


def _nearest_angle(
    means: Float[np.ndarray, "classes inputs"], spikes: Float[np.ndarray, "n inputs"]
) -> Int[np.ndarray, " n"]:
    lengths = np.maximum(np.linalg.norm(means, axis=1), np.finfo(np.float32).tiny)
    return (spikes @ means.T / lengths).argmax(1)


def _summarize(
    before: Bool[np.ndarray, " n"],
    after: Bool[np.ndarray, "episodes n"],
    new: Bool[np.ndarray, "episodes ways queries"],
) -> dict:
    """Return accuracy of old classes before and after, their difference, and of new ones."""
    old_after = after.mean(1)
    return {
        "old_before": round(100 * float(before.mean()), 2),
        "old_after": summarize(old_after),
        "old_difference": summarize(old_after - before.mean()),
        "new": summarize(new.mean((1, 2))),
    }


def _add_new(learner: aj.EdgeLearner, pool: Pool, episodes: Episodes) -> learning.LearningState:
    """Return as many copies of the learner as episodes, each with new neurons of its own."""
    assert learner.state is not None
    n = len(episodes.support)
    state = learner.state
    repeated: dict[str, Any] = {name: _repeat(getattr(state, name), n) for name in _PER_NEURON}
    copies = state._replace(seed=jnp.asarray(episodes.seeds), **repeated)
    new = range(learner.num_classes, learner.num_classes + pool.ways)
    return learning.add_neurons(copies, learner.settings, pool.n_inputs, new)


def _repeat(values: jnp.ndarray, n: int) -> jnp.ndarray:
    return jnp.broadcast_to(values[..., None], (*values.shape, n))


def _check_bits(old: learning.LearningState, learned: learning.LearningState) -> None:
    for name in _PER_NEURON:
        expected = np.asarray(getattr(old, name))
        found = np.asarray(getattr(learned, name))[: len(expected)]
        if not (found == expected[..., None]).all():
            raise AssertionError(f"{name} of old neurons changed while new ones learned")
