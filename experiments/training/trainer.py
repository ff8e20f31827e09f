"""Training in phases, checkpointed after every epoch, resumed exactly.

All randomness of an epoch follows from the seed and the epoch's number, so a run that was
killed and started again ends with the same bits as one that was not. Several devices share
each batch; see `devices`.
"""

import functools
import math
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array

import akida_jax as aj
from akida_jax import quant
from akida_jax.zoo.datasets import Examples
from experiments import hosts
from experiments.training import devices
from experiments.training.checkpoints import Checkpoints, leaf_name
from experiments.training.evaluation import accuracy
from experiments.training.pressure import NetworkPressure, PressureState
from experiments.training.recipes import Phase, Recipe
from experiments.training.streams import Data, Stream

#: Steps in one call on an accelerator. On a CPU it is one: XLA runs convolutions inside a
#: scan several times slower there (docs/journal.md).
STEPS_PER_CALL = 64
#: Temperature at the end of a search for widths; it begins with 1.
COLDEST = 0.1

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
    pressure: PressureState | None = None


class Trainer:
    """Trains one network in one phase.

    Args:
      network: float or quantized; its parameters are the starting point.
      phase: epochs and learning rates.
      data: training examples, kept on the device, or a stream.
      recipe: loss, batches, regularization.
      seed: of order and augmentation.
      reachable: refuse a budget that no training of this network can meet. Behind a search
        for widths, whose choice may have missed the budget, the result says so instead.

    Raises:
      ValueError: if the devices cannot share a batch evenly, or as `NetworkPressure`.
    """

    def __init__(
        self,
        network: quant.Sequential,
        phase: Phase,
        data: Data,
        *,
        recipe: Recipe,
        seed: int,
        reachable: bool = True,
    ):
        self.phase = phase
        n = len(jax.tree.leaves(data.x)[0]) if isinstance(data, Examples) else data.n_train
        self.batch_size = min(recipe.batch_size, n)
        devices.check_batch(self.batch_size)
        self.steps = n // self.batch_size
        self._trained = _trained(recipe, network)
        self.graph: Any
        self.graph, parameters, _ = nnx.split(network, self._trained, ...)  # type: ignore[misc]
        transform = recipe.transform(phase.rate(self.steps), parameters)
        self.pressure = None
        if recipe.pressure is not None and network.quantized:
            self.pressure = NetworkPressure(
                recipe.pressure, network, self.steps, reachable=reachable
            )
        self._first = functools.partial(_first_state, recipe, transform, self._trained)
        self.begin(network, seed)
        self._stream = None if isinstance(data, Examples) else data
        self._examples = _on_device(data) if isinstance(data, Examples) else None
        self._per_call = recipe.steps_per_call or (
            1 if jax.default_backend() == "cpu" else STEPS_PER_CALL
        )
        step = functools.partial(_step, self.graph, self._trained, transform, recipe, self.pressure)
        compile_step = functools.partial(jax.jit, donate_argnums=0, out_shardings=devices.copies())
        self._step = compile_step(step)
        self._chosen_step = compile_step(functools.partial(_chosen_step, step))
        self._chosen_steps = compile_step(functools.partial(_chosen_steps, step))

    def begin(self, network: quant.Sequential, seed: int) -> None:
        """Begin anew with another network of the same form, in the programs compiled before."""
        pressure = None if self.pressure is None else self.pressure.start()
        self.restore(self._first(network, pressure))
        self._seed = seed

    def cool(self, done: float) -> None:
        """Lower the temperature at which widths are drawn; ``done`` is a share of the phase."""
        temperature = COLDEST**done
        statistics = jax.tree.map_with_path(
            lambda path, leaf: (
                jnp.full_like(leaf, temperature)
                if "temperature" in leaf_name(path).split(".")
                else leaf
            ),
            self.state.statistics,
        )
        self.restore(self.state._replace(statistics=statistics))

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

    def check_registers(self) -> None:
        """Refuse learned steps that the chip's registers do not hold.

        Raises:
          ModelError: naming layers and filters.
        """
        if quant.Step in self._trained:
            network = self.network()
            aj.convert(quant.fix_widths(network, quant.chosen_widths(network)))

    def measure(self) -> dict:
        """Return the widths that layers have chosen and the cost of the sample, if any."""
        network, row = self.network(), dict[str, Any]()
        if any(quant.mixed_layers(network)):
            row["weight_bits"] = quant.chosen_widths(network)
        if self.pressure is not None and self.state.pressure is not None:
            row |= self.pressure.measure(network, self.state.pressure)
        return row


def _trained(recipe: Recipe, network: quant.Sequential) -> Any:
    """Return the kinds of variables that an optimizer changes."""
    kinds: tuple[type, ...] = (nnx.Param, quant.Choice)
    return (*kinds, quant.Step) if recipe.step_rate and network.quantized else kinds


def _first_state(
    recipe: Recipe,
    transform: optax.GradientTransformation,
    trained: Any,
    network: quant.Sequential,
    pressure: PressureState | None,
) -> TrainingState:
    parts: Any = nnx.split(network, trained, ...)
    # Steps give up their input's memory; the caller's network keeps its own.
    parameters, statistics = jax.tree.map(jnp.copy, parts[1:])
    average = None
    if recipe.average is not None:
        first = jax.tree.map(jnp.copy, (parameters, statistics))
        average = Average(first[0], first[1], jnp.int32(0))
    return TrainingState(parameters, statistics, transform.init(parameters), average, pressure)


def _on_device(data: Examples) -> Examples:
    return devices.place(jax.tree.map(jnp.asarray, data), devices.copies())


def _step(
    graph: Any,
    trained: Any,
    transform: optax.GradientTransformation,
    recipe: Recipe,
    pressure: NetworkPressure | None,
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
        probabilities = quant.width_probabilities(network)
        quant.draw_widths(network, jax.random.fold_in(key, 1))
        outputs = network.outputs(x, train=True)
        value, after = recipe.loss(quant.flatten_map(outputs[-1][1]), targets), state.pressure
        if pressure is not None and after is not None:
            term, after = pressure.term(after, network, probabilities, x, outputs)
            value = value + term
        return value, (nnx.state(network, nnx.Not(trained)), after)

    (value, (statistics, pressed)), gradient = jax.value_and_grad(loss, has_aux=True)(
        state.parameters
    )
    updates, optimizer = transform.update(gradient, state.optimizer, state.parameters)
    parameters = optax.apply_updates(state.parameters, updates)
    average = state.average
    if average is not None and recipe.average is not None:
        average = _update(average, (parameters, statistics), recipe.average)
    return TrainingState(parameters, statistics, optimizer, average, pressed), value


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
    phases: Sequence[Phase],
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

    In a phase of the name "search" layers choose among 2 and 4 weight bits; behind it they
    keep what they have chosen.

    Args:
      network: float network with its first weights.
      phases: float, search or not, and quantized; any but the search may have 0 epochs.
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
        if index and not network.quantized:
            network = quantize(network)
        network = _choose_widths(network, phase, history)
        searched = phase.name != "search" and any("weight_bits" in row for row in history)
        trainer = Trainer(network, phase, data, recipe=recipe, seed=seed, reachable=not searched)
        last = first + phase.epochs
        if first < done <= last:
            trainer.restore(checkpoints.load(done, trainer.state))
        for epoch in range(max(first, done) + 1, last + 1):
            if phase.name == "search":
                trainer.cool((epoch - first - 1) / max(phase.epochs - 1, 1))
            row = _epoch(trainer, epoch, test, measure)
            history.append(row)
            checkpoints.save(epoch, trainer.state, history)
            on_epoch(row)
        network = trainer.network()
        if not index and done <= last:
            on_float(network)
        first = last
    return network, history


def _choose_widths(
    network: quant.Sequential, phase: Phase, history: list[dict]
) -> quant.Sequential:
    """Let layers choose in a search; behind it fix what its last epoch has chosen."""
    if phase.name == "search":
        return quant.mix(network)
    if not any(quant.mixed_layers(network)):
        return network
    # From the history, which a checkpoint holds too: a run that goes on has not the logits.
    return quant.fix_widths(network, history[-1 - _behind(history)]["weight_bits"])


def _behind(history: list[dict]) -> int:
    """Return the number of rows behind the last row of a search."""
    return next(n for n, row in enumerate(reversed(history)) if "weight_bits" in row)


def _epoch(trainer: Trainer, epoch: int, test: Any, measure: Measure) -> dict:
    start = time.perf_counter()
    loss = trainer.run_epoch(epoch)
    if not math.isfinite(loss):
        raise ValueError(
            f"the loss of epoch {epoch} is not finite; lower the learning rates and restart"
        )
    seconds = time.perf_counter() - start
    trainer.check_registers()
    return {
        "epoch": epoch,
        "phase": trainer.phase.name,
        "loss": loss,
        **measure(trainer.network(), test),
        **trainer.measure(),
        "seconds": round(seconds, 3),
    }
