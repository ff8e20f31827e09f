"""A thousand learners at once against one after another, in JAX and in NumPy.

    python -m benchmarks.learning

Five classes, 1 or 5 samples of each, a neuron per class. "together" is one state with an axis
of episodes, "mapped" is `jax.vmap`, "in turn" the same function, compiled for one learner, called
episode by episode, "numpy" a loop over samples in NumPy. The last two run 50 and 5 of the
episodes; their times are scaled to all. All four must give the same bits. Writes
results/learning.json.
"""

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.table import Table

from akida_jax import learning
from akida_jax.learning.planes import draw_order
from akida_jax.learning.rule import ONE
from benchmarks.timing import measure_in_turns, write_result

EPISODES = 1000
IN_TURN = 50
IN_NUMPY = 5
WAYS = 5
SIZES = ((1, 256), (5, 256), (1, 1024), (5, 1024))
"""Samples of each class, inputs."""
DENSITY = 0.15

_together = jax.jit(learning.learn_stream)
_mapped = jax.jit(jax.vmap(learning.learn_stream))


@dataclasses.dataclass(frozen=True)
class Episodes:
    """States, samples and labels of all episodes, the episode last."""

    state: learning.LearningState
    bits: np.ndarray
    spikes: jax.Array
    labels: jax.Array

    def one(self, episode: int) -> tuple:
        """Return state, samples and labels of one episode."""
        state = jax.tree.map(lambda v: v[..., episode] if v.ndim else v, self.state)
        return state, self.spikes[..., episode], self.labels[..., episode]

    def stacked(self) -> tuple:
        """Return all, the episode first, as `jax.vmap` takes them."""
        state = jax.tree.map(
            lambda v: jnp.moveaxis(v, -1, 0) if v.ndim else jnp.full(EPISODES, v), self.state
        )
        return state, jnp.moveaxis(self.spikes, -1, 0), self.labels.T


def make(shots: int, n_inputs: int) -> Episodes:
    """Return episodes of random samples."""
    rng = np.random.default_rng(0)
    settings = learning.LearningSettings(
        num_weights=round(1.2 * DENSITY * n_inputs), num_classes=WAYS
    )
    state = learning.first_state(settings, n_inputs, jnp.arange(EPISODES, dtype=jnp.uint32))
    bits = (rng.random((n_inputs, shots * WAYS, EPISODES)) < DENSITY).astype(np.uint8)
    labels = np.tile(np.arange(WAYS, dtype=np.int32), shots)[:, None]
    return Episodes(
        state=state,
        bits=bits,
        spikes=jnp.moveaxis(learning.pack(jnp.asarray(bits)), 0, 1),
        labels=jnp.asarray(np.broadcast_to(labels, (shots * WAYS, EPISODES))),
    )


class NumpyLearner:
    """The rule with NumPy, one sample at a time, for a neuron per class."""

    def __init__(self, episodes: Episodes, episode: int):
        state, _, _ = episodes.one(episode)
        n_inputs = len(episodes.bits)
        weights = learning.unpack(jnp.moveaxis(state.weights, 1, 0), n_inputs)
        self.weights = np.asarray(weights).T.astype(bool)
        self.plasticity = np.asarray(state.plasticity).astype(np.int64)
        self.learned = np.zeros(WAYS, np.int64)
        self.rule = state.rule
        self.samples = episodes.bits[:, :, episode].T.astype(bool)
        self.labels = np.asarray(episodes.labels[:, episode])
        # The same draws, made ahead: what is timed is learning.
        order = jax.vmap(lambda neuron, count: draw_order(state.seed, neuron, count, n_inputs))
        grid = np.indices((WAYS, len(self.labels) // WAYS)).reshape(2, -1).astype(np.uint32)
        self.order = np.asarray(order(grid[0], grid[1] + 1)).reshape(WAYS, -1, n_inputs)

    def learn(self) -> np.ndarray:
        """Learn all samples; return the weights."""
        weights, plasticity = self.weights.copy(), self.plasticity.copy()
        learned = self.learned.copy()
        floor, decay = int(self.rule.min_plasticity), int(self.rule.decay)
        for active, label in zip(self.samples, self.labels, strict=True):
            row = weights[label]
            place = self.order[label, learned[label]]
            gains, losses = np.flatnonzero(active & ~row), np.flatnonzero(row & ~active)
            movable = min(len(gains), len(losses))
            count = (plasticity[label] * movable + ONE // 2) // ONE
            row[gains[np.argsort(place[gains])[:count]]] = True
            row[losses[np.argsort(place[losses])[:count]]] = False
            learned[label] += 1
            plasticity[label] = max(plasticity[label] - decay, floor)
        return weights


def measure(shots: int, n_inputs: int) -> dict:
    """Return seconds for all episodes, each way."""
    episodes = make(shots, n_inputs)
    stacked = episodes.stacked()
    alone = [episodes.one(i) for i in range(IN_TURN)]
    loops = [NumpyLearner(episodes, i) for i in range(IN_NUMPY)]
    ways: dict[str, Callable[[], object]] = {
        "together": lambda: _together(episodes.state, episodes.spikes, episodes.labels),
        "mapped": lambda: _mapped(*stacked),
        "in turn": lambda: [jax.block_until_ready(_together(*one)) for one in alone],
        "numpy": lambda: [loop.learn() for loop in loops],
    }
    compile_s = {
        "together": seconds_to_compile(_together, episodes.state, episodes.spikes, episodes.labels),
        "mapped": seconds_to_compile(_mapped, *stacked),
        "in turn": seconds_to_compile(_together, *alone[0]),
        "numpy": 0.0,
    }
    check(episodes, stacked, alone, loops)
    variants = measure_in_turns(ways, compile_s=compile_s)
    for name, n_run in (("in turn", IN_TURN), ("numpy", IN_NUMPY)):
        variants[name]["episodes_run"] = n_run
        for key in ("median_s", "min_s", "max_s"):
            variants[name][key] *= EPISODES / n_run
    base = variants["together"]["median_s"]
    return {
        "shots": shots, "inputs": n_inputs, "ways": WAYS, "episodes": EPISODES,
        "variants": variants,
        "ratios": {name: round(v["median_s"] / base, 1) for name, v in variants.items()},
    }  # fmt: skip


def seconds_to_compile(function: Any, *arguments: Any) -> float:
    """Compile a jitted function ahead and return how long that takes; what is called is not it."""
    lowered = function.lower(*arguments)
    start = time.perf_counter()
    lowered.compile()
    return time.perf_counter() - start


def check(episodes: Episodes, stacked: tuple, alone: list, loops: list[NumpyLearner]) -> None:
    """Compare the weights that every way leads to.

    Raises:
      AssertionError: if any differ.
    """
    together = np.asarray(_together(episodes.state, episodes.spikes, episodes.labels)[0].weights)
    mapped = np.asarray(_mapped(*stacked)[0].weights)
    np.testing.assert_array_equal(np.moveaxis(mapped, 0, -1), together)
    for i, one in enumerate(alone):
        np.testing.assert_array_equal(_together(*one)[0].weights, together[..., i])
    n_inputs = len(episodes.bits)
    for i, loop in enumerate(loops):
        bits = learning.unpack(jnp.moveaxis(jnp.asarray(together[..., i]), 1, 0), n_inputs)
        np.testing.assert_array_equal(loop.learn(), np.asarray(bits).T)


def main() -> None:
    """Measure, print and write."""
    table = Table(title=f"{EPISODES:,} episodes of {WAYS} classes: seconds, and times together's")
    names = ("together", "mapped", "in turn", "numpy")
    for column in ("samples per class", "inputs", *names):
        table.add_column(column, justify="right")
    rows = []
    for shots, n_inputs in SIZES:
        row = measure(shots, n_inputs)
        rows.append(row)
        cells = (f"{row['variants'][name]['median_s']:.4f} ({row['ratios'][name]:g} x)"
                 for name in names)  # fmt: skip
        table.add_row(str(shots), str(n_inputs), *cells)
    Console().print(table)
    print(write_result("learning", rows))


if __name__ == "__main__":
    main()
