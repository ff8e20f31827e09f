"""Learning new classes from a few samples, as the chip's last layer does."""

import dataclasses
import functools
import math
import os
import warnings
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int32, Shaped, UInt8
from numpy.typing import ArrayLike

from akida_jax.layers import FullyConnected, InputData
from akida_jax.learning.files import read_learner, write_learner
from akida_jax.learning.planes import pack, unpack
from akida_jax.learning.rule import (
    ONE,
    UNLABELLED,
    LearningState,
    learn_stream,
    taught_potentials,
)
from akida_jax.learning.states import (
    LearningSettings,
    add_neurons,
    begin,
    check_seed,
    whole,
)
from akida_jax.model import Model
from akida_jax.quant.architecture import Shape

NAME = "learned"
"""Of the layer that `EdgeLearner.attach` adds."""
_NAMED = 5


@dataclasses.dataclass(frozen=True)
class LearningStatistics:
    """What each neuron has been through.

    Attributes:
      classes: of the neurons.
      learned: samples that each has learned.
      plasticity: share of its useless weights that the next sample will move.
      threshold: potential right after it last learned, 0 if it never has.
    """

    classes: Int32[np.ndarray, " neurons"]
    learned: Int32[np.ndarray, " neurons"]
    plasticity: Float[np.ndarray, " neurons"]
    threshold: Int32[np.ndarray, " neurons"]

    @property
    def used(self) -> Bool[np.ndarray, " neurons"]:
        """Which neurons have learned anything."""
        return self.learned > 0


class EdgeLearner:
    """A fully connected layer of binary weights that learns class by class, sample by sample.

    Example:
      >>> learner = EdgeLearner(num_weights=suggest_num_weights(backbone, x), num_classes=5)
      >>> learner.fit(backbone.forward(x), labels)
      >>> learner.predict_classes(backbone.forward(x_test))

    Args:
      num_weights: ones of each neuron.
      num_classes: kinds that are told apart; `add_classes` adds more.
      neurons_per_class: neurons that share a class.
      initial_plasticity: as of `LearningSettings`, like the next three.
      learning_competition: how far a neuron that has learned keeps others from learning.
      min_plasticity: floor of the plasticity.
      plasticity_decay: what each sample takes from it.
      seed: of the first weights, and of which of them are moved.

    Raises:
      ValueError: naming every setting that is out of its range.
    """

    def __init__(
        self,
        *,
        num_weights: int,
        num_classes: int,
        neurons_per_class: int = 1,
        initial_plasticity: float = 1.0,
        learning_competition: float = 0.0,
        min_plasticity: float = 0.1,
        plasticity_decay: float = 0.25,
        seed: int = 0,
    ):
        self.settings = LearningSettings(
            num_weights=num_weights,
            num_classes=num_classes,
            neurons_per_class=neurons_per_class,
            initial_plasticity=initial_plasticity,
            learning_competition=learning_competition,
            min_plasticity=min_plasticity,
            plasticity_decay=plasticity_decay,
        )
        self.seed = check_seed(seed)
        self.input_shape: Shape | None = None
        self.state: LearningState | None = None

    @property
    def num_classes(self) -> int:
        """Kinds that are told apart."""
        return self.settings.num_classes

    @property
    def n_inputs(self) -> int | None:
        """Inputs of a neuron; None before the first sample."""
        return None if self.input_shape is None else int(np.prod(self.input_shape))

    @property
    def weights(self) -> UInt8[np.ndarray, "neurons inputs"]:
        """Weights, 0 or 1.

        Raises:
          ValueError: before the first sample.
        """
        state = self._state("has no weights")
        assert self.n_inputs is not None
        return np.asarray(unpack(jnp.moveaxis(state.weights, 1, 0), self.n_inputs)).T

    def fit(self, x: ArrayLike, labels: ArrayLike | None = None) -> Int32[np.ndarray, " n"]:
        """Learn samples in their order, each once; may be called again with more.

        The first call warns of settings that are unlikely to be wanted for such samples.

        Args:
          x: uint8 of 0 and 1, any shape (n, ...): outputs of a layer with 1-bit activations.
          labels: class of each, or one for all; None if they are not known: then all neurons
            compete, those first that hold the sample already, with a potential of at least their
            threshold.

        Returns:
          The neuron that learned each sample, -1 where its plasticity is 0.

        Raises:
          ValueError: if the samples or labels cannot be learned from; nothing is learned.
        """
        spikes, shape = self._check_samples(x)
        silent = np.flatnonzero(~spikes.any(1))
        if silent.size:
            raise ValueError(
                f"{silent.size} of {len(spikes)} samples have no active input: {_list(silent)}; "
                "leave them out, or train the backbone with more active spikes"
            )
        known = self._check_labels(labels, len(spikes))
        if self.state is None:
            state = begin(self.settings, spikes.shape[1], self.seed)
            for concern in self.settings.concerns(spikes.shape[1]):
                warnings.warn(concern, stacklevel=2)
            self.state, self.input_shape = state, shape
        self.state, winners = _learn(self.state, _packed(_fill(spikes)), _fill(known))
        return np.asarray(winners)[: len(spikes)]

    def predict(self, x: ArrayLike) -> Int32[np.ndarray, "n neurons"]:
        """Return each neuron's potential: active inputs that meet a weight of 1.

        That of a neuron that never learned is 0: its weights were only drawn.

        Args:
          x: as of `fit`.

        Raises:
          ValueError: if the samples are of another shape than those learned, or not binary.
        """
        state = self._state("predicts nothing")
        spikes, _ = self._check_samples(x)
        return np.asarray(_potentials(state, _packed(_fill(spikes))))[: len(spikes)]

    def predict_classes(self, x: ArrayLike) -> Int32[np.ndarray, " n"]:
        """Return the class of the most active neuron; of equals the first.

        A sample that meets no weight of any neuron that learned has none: -1.

        Args:
          x: as of `fit`.

        Raises:
          ValueError: as `predict`.
        """
        found = self.predict(x)
        classes = np.asarray(self._state("has no classes").classes)
        return np.where(found.max(1) > 0, classes[found.argmax(1)], np.int32(-1))

    def add_classes(self, n: int) -> range:
        """Add neurons for new classes; the bits of the old ones stay as they are.

        Args:
          n: how many classes.

        Returns:
          The labels of the new classes.

        Raises:
          ValueError: if n is not a whole number of at least 1.
        """
        count = whole(n)
        if count is None or count < 1:
            raise ValueError(f"add_classes needs a whole number of at least 1, got {n!r}")
        new = range(self.num_classes, self.num_classes + count)
        if self.state is not None:
            assert self.n_inputs is not None
            self.state = add_neurons(self.state, self.settings, self.n_inputs, new)
        self.settings = dataclasses.replace(self.settings, num_classes=new.stop)
        return new

    def statistics(self) -> LearningStatistics:
        """Return what each neuron has been through.

        Raises:
          ValueError: before the first sample.
        """
        state = self._state("has no statistics")
        return LearningStatistics(
            classes=np.asarray(state.classes),
            learned=np.asarray(state.learned).astype(np.int32),
            plasticity=np.asarray(state.plasticity) / ONE,
            threshold=np.asarray(state.threshold),
        )

    def attach(self, model: Model, *, name: str = NAME) -> Model:
        """Return a model with the learned layer as its last: 1-bit weights, no activation.

        Its potentials are those of `predict`: neurons that never learned have no weights.
        Neuron i is of class ``i // neurons_per_class``, and so `Model.predict_classes` answers.
        A sample that meets no weight is of no class to a learner (-1), of class 0 to a model.

        Args:
          model: whose output is what was learned from, as it is or flat.
          name: of the new layer.

        Raises:
          ValueError: if the model's output is no map of 1-bit activations, or of another
            shape than the samples.
          ModelError: if the chip has no such layer.
        """
        state = self._state("cannot be attached")
        self.check_backbone(model)
        taught = np.asarray(state.threshold) > 0
        kernel = np.where(taught, self.weights.T, np.uint8(0)).astype(np.int8)[None, None]
        layer = FullyConnected(
            units=kernel.shape[-1],
            activation=False,
            weight_bits=1,
            neurons_per_class=self.settings.neurons_per_class,
            name=name,
        )
        variables = {**model.variables, name: {"kernel": kernel}}
        return Model([*model.layers, layer], variables, registers=model.registers)

    def check_backbone(self, model: Model) -> None:
        """Refuse a model whose outputs cannot be what is learned from.

        Raises:
          ValueError: if its output is no map of 1-bit activations, or of another shape than
            the samples learned so far.
        """
        last = model.layers[-1]
        assert not isinstance(last, InputData)
        if not last.activation or last.act_bits != 1:
            found = f"{last.act_bits}-bit activations" if last.activation else "potentials"
            raise ValueError(
                f"layer {last.name!r}: the learned layer needs 1-bit activations in front of it, "
                f"got {found}; see zoo.build('akidanet_edge')"
            )
        flat = (math.prod(model.output_shape),)
        if self.input_shape not in (None, tuple(model.output_shape), flat):
            raise ValueError(
                f"layer {last.name!r}: its output {model.output_shape} differs from the samples "
                f"learned, {self.input_shape}; learn from outputs of that shape, or flat ones"
            )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write what has been learned so far (``.akl``); learning goes on from it exactly.

        Raises:
          FileNotFoundError: if the folder does not exist.
          IsADirectoryError: if the name is that of a folder.
        """
        write_learner(path, self.settings, self.seed, self.input_shape, self.state)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "EdgeLearner":
        """Return a learner as it was saved.

        Raises:
          FileNotFoundError: if there is no such file.
          IsADirectoryError: if it is a folder.
          LearnerFileError: if the file is truncated, damaged, no learner, or of a newer
            version.
        """
        settings, seed, shape, state = read_learner(path)
        learner = cls(**dataclasses.asdict(settings), seed=seed)
        learner.input_shape, learner.state = shape, state
        return learner

    def _state(self, what: str) -> LearningState:
        if self.state is None:
            raise ValueError(f"the learner {what} before its first sample; call fit")
        return self.state

    def _check_samples(self, x: ArrayLike) -> tuple[UInt8[np.ndarray, "n inputs"], Shape]:
        array = _as_array(x, "samples")
        if array.ndim < 2 or array.dtype != np.uint8:
            raise ValueError(f"samples must be uint8 of shape (n, ...), got {array.dtype} of shape "
                             f"{array.shape}")  # fmt: skip
        if array.size and array.max() > 1:
            raise ValueError(f"samples must be 0 or 1, the largest is {array.max()}; learn from a "
                             "layer with 1-bit activations")  # fmt: skip
        shape: Any = array.shape[1:]
        if self.input_shape is not None and shape != self.input_shape:
            raise ValueError(f"samples must have the shape {self.input_shape} of those learned "
                             f"before, got {shape}")  # fmt: skip
        return array.reshape(len(array), math.prod(shape)), shape

    def _check_labels(self, labels: ArrayLike | None, n: int) -> Int32[np.ndarray, " n"]:
        if labels is None:
            return np.full(n, UNLABELLED, np.int32)
        array = _as_array(labels, "labels")
        if array.size == n == 0:
            return np.zeros(0, np.int32)
        if array.shape not in ((n,), ()) or not np.issubdtype(array.dtype, np.integer):
            raise ValueError(f"labels must be {n} whole numbers, or one for all, got {array.dtype} "
                             f"of shape {array.shape}")  # fmt: skip
        array = np.broadcast_to(array, n)
        outside = np.flatnonzero((array < 0) | (array >= self.num_classes))
        if outside.size:
            raise ValueError(
                f"labels must be 0 to {self.num_classes - 1}, got {array[outside[0]]} at "
                f"{_list(outside)}; add_classes adds classes"
            )
        return array.astype(np.int32)


def _as_array(values: ArrayLike, what: str) -> np.ndarray:
    try:
        return np.asarray(values)
    except ValueError as error:
        raise ValueError(f"{what} must be an array, got rows of different lengths") from error


def _fill(rows: Shaped[np.ndarray, "n ..."]) -> Shaped[np.ndarray, "filled ..."]:
    """Return rows with zeros behind them, up to a power of two: few programs to compile.

    Samples of zeros teach nothing, whatever their labels.
    """
    filled = np.zeros((1 << max(len(rows) - 1, 0).bit_length(), *rows.shape[1:]), rows.dtype)
    filled[: len(rows)] = rows
    return filled


_learn = jax.jit(learn_stream)


@jax.jit
def _potentials(state: LearningState, spikes: jax.Array) -> jax.Array:
    return jax.lax.map(functools.partial(taught_potentials, state), spikes)


@jax.jit
def _packed(spikes: jax.Array) -> jax.Array:
    return pack(spikes.T).T


def _list(indices: Sequence[int] | np.ndarray) -> str:
    listed = ", ".join(str(index) for index in indices[:_NAMED])
    return f"index {listed}{', ...' * (len(indices) > _NAMED)}"
