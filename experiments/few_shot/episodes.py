"""Few-shot tasks over binary features, and learners that take thousands of them at once."""

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Int32, UInt8, UInt32

from akida_jax import learning

_PIECE = 250
"""Episodes that are learned at once: what a few hundred megabytes hold."""

Answers = Int[np.ndarray, "episodes ways queries"]


@dataclasses.dataclass(frozen=True)
class Pool:
    """Spikes of the new classes.

    Attributes:
      spikes: of a backbone, 0 or 1.
      labels: classes from 0.
      support: which samples may be learned.
      query: which may be asked for; one that an episode learned is not asked in it.
    """

    spikes: UInt8[np.ndarray, "n inputs"]
    labels: Int32[np.ndarray, " n"]
    support: Bool[np.ndarray, " n"]
    query: Bool[np.ndarray, " n"]

    @property
    def ways(self) -> int:
        """Classes."""
        return int(self.labels.max()) + 1

    @property
    def n_inputs(self) -> int:
        """Values of a sample."""
        return self.spikes.shape[1]

    @property
    def active(self) -> float:
        """Mean number of active inputs of the samples that may be learned."""
        return float(self.spikes[self.support].sum(1).mean())

    @functools.cached_property
    def words(self) -> UInt32[np.ndarray, "n words"]:
        """Spikes, 32 to a word."""
        return pack_rows(self.spikes)


def pack_rows(spikes: UInt8[np.ndarray, "n inputs"]) -> UInt32[np.ndarray, "n words"]:
    """Return samples with 32 inputs to a word."""
    return np.asarray(learning.pack(jnp.asarray(spikes.T))).T


class Episodes(NamedTuple):
    """Indices into a pool, class by class, and the seeds of the learners.

    An episode keeps its seed wherever it is taken along: its answers depend on nothing else.
    """

    support: Int[np.ndarray, "episodes ways shots"]
    query: Int[np.ndarray, "episodes ways queries"]
    seeds: UInt32[np.ndarray, " episodes"]

    @property
    def shots(self) -> int:
        """Samples of each class that are learned."""
        return self.support.shape[2]

    def first(self, n: int) -> "Episodes":
        """Return the first episodes."""
        return Episodes(*(part[:n] for part in self))

    def pieces(self, size: int) -> Iterator["Episodes"]:
        """Yield some episodes at a time, in order."""
        for start in range(0, len(self.support), size):
            yield Episodes(*(part[start : start + size] for part in self))

    def in_turns(self) -> tuple[Int[np.ndarray, "t episodes"], Int32[np.ndarray, "t episodes"]]:
        """Return what to learn in order: a first sample of every class, then a second, ...

        Returns:
          Indices into the pool, and labels.
        """
        ways = self.support.shape[1]
        order = self.support.transpose(2, 1, 0).reshape(-1, len(self.support))
        labels = np.tile(np.arange(ways, dtype=np.int32), self.shots)
        return order, np.broadcast_to(labels[:, None], order.shape)


def draw(pool: Pool, *, shots: int, queries: int, episodes: int, seed: int) -> Episodes:
    """Return episodes of all classes of a pool, drawn at random.

    Args:
      pool: samples.
      shots: samples of each class to learn.
      queries: samples of each class to ask for; none of them is learned.
      episodes: how many.
      seed: of the draw.

    Raises:
      ValueError: if a class has too few samples.
    """
    rng = np.random.default_rng([seed, shots])
    chosen = np.empty((episodes, pool.ways, shots + queries), np.int64)
    for label in range(pool.ways):
        mine = pool.labels == label
        learnable, askable = np.flatnonzero(mine & pool.support), np.flatnonzero(mine & pool.query)
        both = int((mine & pool.support & pool.query).sum())
        # In the worst case all that is learned could have been asked for.
        spare = len(askable) - min(shots, both)
        if len(learnable) < shots or spare < queries:
            raise ValueError(
                f"new class {label} has {len(learnable)} samples to learn and {spare} others, but "
                f"an episode needs {shots} and {queries}; choose fewer --shots or --queries"
            )
        for episode in range(episodes):
            support = rng.choice(learnable, shots, replace=False)
            rest = np.setdiff1d(askable, support)
            query = rng.choice(rest, queries, replace=False)
            chosen[episode, label] = np.concatenate([support, query])
    # A number of its own for each episode; by its first sample, others in another draw.
    place = np.arange(episodes, dtype=np.uint32) * np.uint32(65_537)
    seeds = place + chosen[:, 0, 0].astype(np.uint32)
    return Episodes(chosen[..., :shots], chosen[..., shots:], seeds)


def draw_all(pool: Pool, *, queries: int, episodes: int, seed: int) -> Episodes:
    """Return episodes that learn as many samples of each class as all of them have."""
    counts = [
        (int((mine & pool.support).sum()), int((mine & pool.support & pool.query).sum()))
        for mine in (pool.labels == label for label in range(pool.ways))
    ]
    # What is asked for is not learned.
    shots = min(learnable - min(queries, both) for learnable, both in counts)
    return draw(pool, shots=shots, queries=queries, episodes=episodes, seed=seed)


def accuracies(pool: Pool, episodes: Episodes, answers: Answers) -> Float[np.ndarray, " episodes"]:
    """Return the share of right answers in each episode."""
    return (answers == pool.labels[episodes.query]).mean((1, 2))


def summarize(values: Float[np.ndarray, " episodes"]) -> dict[str, float]:
    """Return mean and half the width of its 95 % interval, in percent.

    The interval is 1.96 standard errors of the mean over the episodes, which share samples of
    one pool: it says how well these episodes are known, not how other samples would do.
    """
    error = values.std(ddof=1) / len(values) ** 0.5 if len(values) > 1 else 0.0
    return {"mean": round(100 * float(values.mean()), 2), "interval": round(196 * float(error), 2)}


class Learned(NamedTuple):
    """Many learners after their samples, and how many weights each sample moved."""

    state: learning.LearningState
    swaps: Int32[Array, "t episodes"]


@jax.jit
def _learn(state: learning.LearningState, spikes: Array, labels: Array) -> Learned:
    def step(before: Any, sample: tuple[Array, Array]) -> tuple[Any, Array]:
        after, _ = learning.learn(before, *sample)
        return after, learning.count_swaps(before, after)

    return Learned(*jax.lax.scan(step, state, (spikes, labels)))


def learn(
    state: learning.LearningState, pool: Pool, episodes: Episodes, first_label: int = 0
) -> Learned:
    """Learn each episode's samples, each once.

    Args:
      state: of as many learners as episodes, the episode last.
      pool: samples.
      episodes: at most a piece of them.
      first_label: label of the pool's first class.
    """
    order, labels = episodes.in_turns()
    spikes = jnp.asarray(pool.words[order].transpose(0, 2, 1))
    return _learn(state, spikes, jnp.asarray(labels + np.int32(first_label)))


@jax.jit
def _ask(state: learning.LearningState, spikes: Array) -> Array:
    def one(query: Array) -> Array:
        found = learning.taught_potentials(state, query)
        classes = jnp.take_along_axis(state.classes, found.argmax(0)[None], 0)[0]
        return jnp.where(found.max(0) > 0, classes, jnp.int32(-1))

    return jax.lax.map(one, spikes)


def ask(
    state: learning.LearningState,
    words: UInt32[np.ndarray, "n words"],
    indices: Int[np.ndarray, "episodes ..."],
) -> Int[np.ndarray, "episodes ..."]:
    """Return the class of the most active neuron, for some samples of each learner.

    A sample that meets no weight of any neuron that learned has none: -1.

    Args:
      state: of learners, the episode last.
      words: packed samples.
      indices: of those that each learner is asked for.
    """
    chosen = words[indices.reshape(len(indices), -1)]
    found = _ask(state, jnp.asarray(chosen.transpose(1, 2, 0)))
    return np.asarray(found).T.reshape(indices.shape)


def learn_episodes(
    pool: Pool,
    episodes: Episodes,
    settings: learning.LearningSettings,
    *,
    without: Sequence[str] = (),
    piece_size: int = _PIECE,
) -> tuple[Answers, float]:
    """Learn every episode by the chip's rule, and ask it.

    Args:
      pool: samples.
      episodes: tasks.
      settings: of every learner.
      without: parts of the rule that are switched off: "turns" or "mates" of `Rule`.
      piece_size: episodes that are learned at once; any number gives the same answers.

    Returns:
      The answers to the queries, and the mean number of weights that a sample moved.
    """
    answers, swaps = [], []
    for piece in episodes.pieces(piece_size):
        state = learning.first_state(settings, pool.n_inputs, jnp.asarray(piece.seeds))
        off = dict.fromkeys(without, jnp.bool_(False))
        state = state._replace(rule=state.rule._replace(**off))
        learned = learn(state, pool, piece)
        swaps.append(np.asarray(learned.swaps).sum())
        answers.append(ask(learned.state, pool.words, piece.query))
    return np.concatenate(answers), float(sum(swaps)) / episodes.support.size
