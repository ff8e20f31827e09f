"""Training in phases, checkpointed after every epoch, resumed exactly.

All randomness of an epoch follows from the seed and the epoch's number, so a run that was
killed and started again ends with the same bits as one that was not. Several devices share
each batch; see `devices`.
"""

import functools
import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array

from akida_jax import quant
from akida_jax.zoo.datasets import Examples
from experiments import hosts
from experiments.training import devices
from experiments.training.checkpoints import Checkpoints
from experiments.training.evaluation import accuracy
from experiments.training.recipes import Phase, Recipe
from experiments.training.streams import Data, Stream

#: Steps in one call on an accelerator. On a CPU it is one: XLA runs convolutions inside a
#: scan several times slower there (docs/journal.md).
STEPS_PER_CALL = 64

Measure = Callable[[quant.Sequential, Any], dict[str, float]]


class Average(NamedTuple):
    """Moving average of the parameters, and of the batch norms' statistics with them."""

    parameters: Any
    statistics: Any
    updates: Array


class TrainingState(NamedTuple):
    """What a training step reads and rewrites; a pytree of arrays."""

    parameters: Any
    statistics: Any
    optimizer: Any
    average: Average | None = None


class Trainer:
    """Trains one network in one phase.

    Args:
      network: float or quantized; its parameters are the starting point.
      phase: epochs and learning rates.
      data: training examples, kept on the device, or a stream.
      recipe: loss, batches, regularization.
      seed: of order and augmentation.

    Raises:
      ValueError: if the devices cannot share a batch evenly.
    """

    def __init__(
        self, network: quant.Sequential, phase: Phase, data: Data, *, recipe: Recipe, seed: int
    ):
        self.phase = phase
        n = len(jax.tree.leaves(data.x)[0]) if isinstance(data, Examples) else data.n_train
        self.batch_size = min(recipe.batch_size, n)
        devices.check_batch(self.batch_size)
        self.steps = n // self.batch_size
        self.graph: Any
        self.graph, parameters, statistics = nnx.split(network, nnx.Param, ...)  # type: ignore[misc]
        transform = recipe.transform(phase.rate(self.steps))
        # Steps give up their input's memory; the caller's network keeps its own.
        parameters, statistics = jax.tree.map(jnp.copy, (parameters, statistics))
        average = None
        if recipe.average is not None:
            first = jax.tree.map(jnp.copy, (parameters, statistics))
            average = Average(first[0], first[1], jnp.int32(0))
        self.state = TrainingState(parameters, statistics, transform.init(parameters), average)
        self.restore(self.state)
        self._seed = seed
        self._stream = None if isinstance(data, Examples) else data
        self._examples = _on_device(data) if isinstance(data, Examples) else None
        self._per_call = recipe.steps_per_call or (
            1 if jax.default_backend() == "cpu" else STEPS_PER_CALL
        )
        step = functools.partial(_step, self.graph, transform, recipe)
        compile_step = functools.partial(jax.jit, donate_argnums=0, out_shardings=devices.copies())
        self._step = compile_step(step)
        self._chosen_step = compile_step(functools.partial(_chosen_step, step))
        self._chosen_steps = compile_step(functools.partial(_chosen_steps, step))

    def restore(self, state: TrainingState) -> None:
        """Go on from a state."""
        self.state = devices.place(state, devices.copies())

    def run_epoch(self, number: int) -> float:
        """Train one epoch and return its mean loss; ``number`` seeds order and augmentation."""
        key = jax.random.fold_in(jax.random.key(self._seed), number)
        order_key, augment_key = jax.random.split(key)
        if self._stream is not None:
            losses = self._run_stream(self._stream, number, augment_key)
        else:
            assert self._examples is not None
            losses = self._run_examples(self._examples, order_key, augment_key)
        return float(np.mean(np.concatenate([np.atleast_1d(loss) for loss in losses])))

    def _run_examples(self, data: Examples, order_key: Array, augment_key: Array) -> list[Array]:
        order = jax.random.permutation(order_key, len(jax.tree.leaves(data.x)[0]))
        losses = []
        for first in range(0, self.steps, self._per_call):
            numbers = range(first, min(first + self._per_call, self.steps))
            index = order[first * self.batch_size : (numbers[-1] + 1) * self.batch_size]
            if len(numbers) == 1:
                step_key = jax.random.fold_in(augment_key, first)
                self.state, loss = self._chosen_step(self.state, data, index, step_key)
            else:
                keys = jax.vmap(lambda i: jax.random.fold_in(augment_key, i))(jnp.array(numbers))
                index = index.reshape(len(numbers), self.batch_size)
                self.state, loss = self._chosen_steps(self.state, data, index, keys)
            losses.append(loss)
        return losses

    def _run_stream(self, stream: Stream, number: int, augment_key: Array) -> list[Array]:
        losses = []
        for i, batch in enumerate(stream.train_batches(self._seed, number, self.batch_size)):
            placed = devices.place(Examples(*batch), devices.split())
            step_key = jax.random.fold_in(augment_key, i)
            self.state, loss = self._step(self.state, placed, step_key)
            losses.append(loss)
        if len(losses) != self.steps:
            raise ValueError(
                f"epoch {number}: the stream gave {len(losses)} batches of {self.batch_size}, "
                f"{self.steps} were announced"
            )
        return losses

    def network(self) -> quant.Sequential:
        """Return the network with its present parameters, or with their average."""
        chosen = self.state.average or self.state
        held = devices.fetch((chosen.parameters, chosen.statistics))
        return nnx.merge(self.graph, *held, copy=True)


def _on_device(data: Examples) -> Examples:
    return devices.place(jax.tree.map(jnp.asarray, data), devices.copies())


def _step(
    graph: Any,
    transform: optax.GradientTransformation,
    recipe: Recipe,
    state: TrainingState,
    batch: Examples,
    key: Array,
) -> tuple[TrainingState, Array]:
    placed: tuple[Any, Any] = devices.constrain(batch, devices.split())
    x, targets = placed
    if recipe.augment is not None:
        x = recipe.augment(key, x)

    def loss(parameters: Any) -> tuple[Array, Any]:
        network = nnx.merge(graph, parameters, state.statistics, copy=True)
        value = recipe.loss(network(x, train=True), targets)
        return value, nnx.state(network, nnx.Not(nnx.Param))

    (value, statistics), gradient = jax.value_and_grad(loss, has_aux=True)(state.parameters)
    updates, optimizer = transform.update(gradient, state.optimizer, state.parameters)
    parameters = optax.apply_updates(state.parameters, updates)
    average = state.average
    if average is not None and recipe.average is not None:
        average = _update(average, (parameters, statistics), recipe.average)
    return TrainingState(parameters, statistics, optimizer, average), value


def _update(average: Average, now: tuple[Any, Any], decay: float) -> Average:
    """Return the average with another value in it.

    The decay rises from 1/10, so that the first weights, which are random, are soon forgotten:
    min(decay, (1 + n) / (10 + n)) after n values, as TensorFlow's ExponentialMovingAverage.
    """
    n = average.updates.astype(jnp.float32)
    share = 1 - jnp.minimum(decay, (1 + n) / (10 + n))
    before = (average.parameters, average.statistics)
    parameters, statistics = optax.incremental_update(now, before, share)
    return Average(parameters, statistics, average.updates + 1)


Step = Callable[[TrainingState, Examples, Array], tuple[TrainingState, Array]]


def _chosen_step(
    step: Step, state: TrainingState, data: Examples, index: Array, key: Array
) -> tuple[TrainingState, Array]:
    return step(state, jax.tree.map(lambda values: values[index], data), key)


def _chosen_steps(
    step: Step, state: TrainingState, data: Examples, index: Array, keys: Array
) -> tuple[TrainingState, Array]:
    def body(state: TrainingState, chosen: tuple[Array, Array]) -> tuple[TrainingState, Array]:
        return _chosen_step(step, state, data, *chosen)

    return jax.lax.scan(body, state, (index, keys))


def train(
    network: quant.Sequential,
    phases: tuple[Phase, Phase],
    data: Data,
    test: Any,
    *,
    quantize: Callable[[quant.Sequential], quant.Sequential],
    checkpoints: Checkpoints,
    recipe: Recipe,
    seed: int,
    measure: Measure = accuracy,
    on_epoch: Callable[[dict], None] = lambda row: None,
    on_float: Callable[[quant.Sequential], None] = lambda network: None,
) -> tuple[quant.Sequential, list[dict]]:
    """Train float, quantize, train again; resume where the checkpoints end.

    Args:
      network: float network with its first weights.
      phases: float and quantized; either may have 0 epochs.
      data: training examples.
      test: what is measured after every epoch; nothing is chosen by it.
      quantize: turns the trained float network into its quantized twin.
      checkpoints: where the run keeps its state.
      recipe: loss, batches, regularization.
      seed: of order and augmentation.
      measure: function of (network, test); its numbers by name go into the metrics.
      on_epoch: called with each epoch's row of metrics, also for epochs done before.
      on_float: called with the trained float network, before it is quantized.

    Returns:
      The quantized network and one row of metrics per epoch.
    """
    done, history = checkpoints.latest()
    hosts.check_agreement("finished epochs", done)
    for row in history:
        on_epoch(row)
    first = 0
    for index, phase in enumerate(phases):
        if index:
            network = quantize(network)
        trainer = Trainer(network, phase, data, recipe=recipe, seed=seed)
        last = first + phase.epochs
        if first < done <= last:
            trainer.restore(checkpoints.load(done, trainer.state))
        for epoch in range(max(first, done) + 1, last + 1):
            row = _epoch(trainer, epoch, test, measure)
            history.append(row)
            checkpoints.save(epoch, trainer.state, history)
            on_epoch(row)
        network = trainer.network()
        if not index and done <= last:
            on_float(network)
        first = last
    return network, history


def _epoch(trainer: Trainer, epoch: int, test: Any, measure: Measure) -> dict:
    start = time.perf_counter()
    loss = trainer.run_epoch(epoch)
    if not math.isfinite(loss):
        raise ValueError(
            f"the loss of epoch {epoch} is not finite; lower the learning rates and restart"
        )
    seconds = time.perf_counter() - start
    return {
        "epoch": epoch,
        "phase": trainer.phase.name,
        "loss": loss,
        **measure(trainer.network(), test),
        "seconds": round(seconds, 3),
    }
