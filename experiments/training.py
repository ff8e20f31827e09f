"""Training in phases, checkpointed after every epoch, resumed exactly.

All randomness of an epoch follows from the seed and the epoch's number, so a run that was
killed and started again ends with the same bits as one that was not.
"""

import dataclasses
import functools
import json
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Int32, UInt8
from orbax.checkpoint import v1 as ocp

from akida_jax import quant


@dataclasses.dataclass(frozen=True, kw_only=True)
class Phase:
    """A stretch of epochs under one cyclic learning rate.

    Attributes:
      name: "float" or "quantized".
      epochs: passes over the training set.
      low: smallest learning rate, at both ends of a cycle.
      high: largest learning rate, in its middle.
      cycle_epochs: length of a cycle.
    """

    name: str
    epochs: int
    low: float
    high: float
    cycle_epochs: int = 4


class Examples(NamedTuple):
    """Inputs and labels of one side of a data set."""

    x: UInt8[np.ndarray, "n h w c"]
    y: Int32[np.ndarray, " n"]


class TrainingState(NamedTuple):
    """What a training step reads and rewrites; a pytree of arrays."""

    parameters: Any
    statistics: Any
    optimizer: Any


Augment = Callable[[Array, Array], Array]


def cyclic_rate(phase: Phase, steps_per_epoch: int) -> optax.Schedule:
    """Return a triangular schedule between the phase's two rates."""
    cycle = max(2, round(min(phase.cycle_epochs, phase.epochs) * steps_per_epoch))

    def rate(step: Array) -> Array:
        position = (step % cycle) / cycle
        height = 1 - jnp.abs(2 * position - 1)
        return phase.low + (phase.high - phase.low) * height

    return rate


class Trainer:
    """Trains one network in one phase.

    Args:
      network: float or quantized; its parameters are the starting point.
      phase: epochs and learning rates.
      data: training examples, kept on the device.
      batch_size: examples per step; a last, smaller batch is left out.
      seed: of order and augmentation.
      augment: function of (key, uint8 batch), or None.
    """

    def __init__(
        self,
        network: quant.Sequential,
        phase: Phase,
        data: Examples,
        *,
        batch_size: int,
        seed: int,
        augment: Augment | None,
    ):
        self.phase = phase
        self.batch_size = min(batch_size, len(data.x))
        self.steps = len(data.x) // self.batch_size
        self.graph: Any
        self.graph, parameters, statistics = nnx.split(network, nnx.Param, ...)  # type: ignore[misc]
        self.transform = optax.adam(cyclic_rate(phase, self.steps))
        # Steps give up their input's memory; the caller's network keeps its own.
        parameters, statistics = jax.tree.map(jnp.copy, (parameters, statistics))
        self.state = TrainingState(parameters, statistics, self.transform.init(parameters))
        self._key = jax.random.key(seed)
        self._x, self._y = jnp.asarray(data.x), jnp.asarray(data.y)
        step = functools.partial(_step, self.graph, self.transform, augment)
        self._step = jax.jit(step, donate_argnums=0)

    def run_epoch(self, number: int) -> float:
        """Train one epoch and return its mean loss; ``number`` seeds order and augmentation."""
        key = jax.random.fold_in(self._key, number)
        order_key, augment_key = jax.random.split(key)
        order = jax.random.permutation(order_key, len(self._x))
        losses = []
        # One call per step: XLA runs convolutions inside a scan several times slower on a
        # CPU (docs/journal.md).
        for i in range(self.steps):
            index = order[i * self.batch_size : (i + 1) * self.batch_size]
            step_key = jax.random.fold_in(augment_key, i)
            self.state, loss = self._step(self.state, self._x, self._y, index, step_key)
            losses.append(loss)
        return float(np.mean(np.asarray(losses)))

    def network(self) -> quant.Sequential:
        """Return the network with its present parameters."""
        state = self.state
        return nnx.merge(self.graph, state.parameters, state.statistics, copy=True)


def _step(
    graph: Any,
    transform: optax.GradientTransformation,
    augment: Augment | None,
    state: TrainingState,
    x: Array,
    y: Array,
    index: Array,
    key: Array,
) -> tuple[TrainingState, Array]:
    batch, labels = x[index], y[index]
    if augment is not None:
        batch = augment(key, batch)

    def loss(parameters: Any) -> tuple[Array, Any]:
        network = nnx.merge(graph, parameters, state.statistics, copy=True)
        logits = network(batch, train=True)
        value = optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()
        return value, nnx.state(network, nnx.Not(nnx.Param))

    (value, statistics), gradient = jax.value_and_grad(loss, has_aux=True)(state.parameters)
    updates, optimizer = transform.update(gradient, state.optimizer, state.parameters)
    parameters = optax.apply_updates(state.parameters, updates)
    return TrainingState(parameters, statistics, optimizer), value


@functools.partial(jax.jit, static_argnums=0)
def _logits(graph: Any, state: Any, x: Array) -> Array:
    return nnx.merge(graph, state)(x)


def classify(network: quant.Sequential, x: UInt8[np.ndarray, "n h w c"]) -> np.ndarray:
    """Return the class of the largest logit of each input."""
    graph, state = nnx.split(network)
    return _in_batches(lambda piece: _logits(graph, state, piece), x).argmax(-1)


def integers(network: quant.Sequential, x: UInt8[np.ndarray, "n h w c"]) -> np.ndarray:
    """Return the potentials of a quantized network's last layer."""
    # Called once per run: compiling it as a whole would take longer than it saves.
    return _in_batches(lambda piece: network.forward(jnp.asarray(piece)), x)


def _in_batches(
    function: Callable[[np.ndarray], Array], x: np.ndarray, size: int = 256
) -> np.ndarray:
    results = []
    for start in range(0, len(x), size):
        piece = x[start : start + size]
        filled = np.zeros((min(size, len(x)), *x.shape[1:]), x.dtype)
        filled[: len(piece)] = piece
        results.append(np.asarray(function(filled))[: len(piece)])
    return np.concatenate(results)


class Checkpoints:
    """Checkpoints of one run: the state after each epoch, and the history so far.

    The state is stored as NumPy arrays by path, free of Flax objects and devices; Orbax lets
    a checkpoint appear only when it is complete.
    """

    def __init__(self, directory: Path, metrics: Path):
        self._metrics = metrics
        policy = ocp.training.preservation_policies.LatestN(2)
        self._checkpointer = ocp.training.Checkpointer(
            directory.absolute(), preservation_policy=policy, cleanup_tmp_directories=True
        )

    def save(self, epoch: int, state: TrainingState, history: list[dict]) -> None:
        """Store the state after ``epoch`` epochs, then the metrics."""
        arrays = {_path(path): np.asarray(leaf) for path, leaf in jax.tree.leaves_with_path(state)}
        self._checkpointer.save(epoch, arrays, custom_metadata={"history": history})
        self._write_metrics(history)

    def latest(self) -> tuple[int, list[dict]]:
        """Return the last complete epoch (0 if none) and the history up to it."""
        latest = self._checkpointer.latest
        if latest is None:
            return 0, []
        metadata = self._checkpointer.metadata(latest.step).custom_metadata
        history = list(metadata["history"])
        # The last run may have ended between its last checkpoint and the metrics.
        self._write_metrics(history)
        return latest.step, history

    def load(self, epoch: int, like: TrainingState) -> TrainingState:
        """Return the stored state in the structure of ``like``.

        Raises:
          ValueError: if the checkpoint belongs to another architecture.
        """
        arrays = self._checkpointer.load(epoch)
        leaves = jax.tree.leaves_with_path(like)
        expected = {_path(path): leaf.shape for path, leaf in leaves}
        found = {path: array.shape for path, array in arrays.items()}
        if found != expected:
            odd = sorted(set(found.items()) ^ set(expected.items()))
            raise ValueError(f"the checkpoint is of another network, for example in {odd[0]}")
        values = [jnp.asarray(arrays[_path(path)]) for path, _ in leaves]
        return jax.tree.unflatten(jax.tree.structure(like), values)

    def close(self) -> None:
        """Wait for the last checkpoint."""
        self._checkpointer.close()

    def _write_metrics(self, history: list[dict]) -> None:
        write_text(self._metrics, "".join(json.dumps(row) + "\n" for row in history))


def _path(path: Any) -> str:
    return jax.tree_util.keystr(path, simple=True, separator=".")


def train(
    network: quant.Sequential,
    phases: tuple[Phase, Phase],
    data: Examples,
    test: Examples,
    *,
    quantize: Callable[[quant.Sequential], quant.Sequential],
    checkpoints: Checkpoints,
    batch_size: int,
    seed: int,
    augment: Augment | None = None,
    on_epoch: Callable[[dict], None] = lambda row: None,
) -> tuple[quant.Sequential, list[dict]]:
    """Train float, quantize, train again; resume where the checkpoints end.

    Args:
      network: float network with its first weights.
      phases: float and quantized; either may have 0 epochs.
      data: training examples.
      test: examples whose accuracy is recorded after every epoch; nothing is chosen by it.
      quantize: turns the trained float network into its quantized twin.
      checkpoints: where the run keeps its state.
      batch_size: examples per step.
      seed: of order and augmentation.
      augment: function of (key, uint8 batch), or None.
      on_epoch: called with each epoch's row of metrics, also for epochs done before.

    Returns:
      The quantized network and one row of metrics per epoch.
    """
    done, history = checkpoints.latest()
    for row in history:
        on_epoch(row)
    first = 0
    for index, phase in enumerate(phases):
        if index:
            network = quantize(network)
        trainer = Trainer(network, phase, data, batch_size=batch_size, seed=seed, augment=augment)
        last = first + phase.epochs
        if first < done <= last:
            trainer.state = checkpoints.load(done, trainer.state)
        for epoch in range(max(first, done) + 1, last + 1):
            row = _epoch(trainer, epoch, test)
            history.append(row)
            checkpoints.save(epoch, trainer.state, history)
            on_epoch(row)
        network = trainer.network()
        first = last
    return network, history


def _epoch(trainer: Trainer, epoch: int, test: Examples) -> dict:
    start = time.perf_counter()
    loss = trainer.run_epoch(epoch)
    if not math.isfinite(loss):
        raise ValueError(
            f"the loss of epoch {epoch} is not finite; lower the learning rates and restart"
        )
    seconds = time.perf_counter() - start
    accuracy = float((classify(trainer.network(), test.x) == test.y).mean())
    return {
        "epoch": epoch,
        "phase": trainer.phase.name,
        "loss": loss,
        "test_accuracy": accuracy,
        "seconds": round(seconds, 3),
    }


def write_text(path: Path, text: str) -> None:
    """Write a file under a temporary name and rename it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text)
    os.replace(temporary, path)
