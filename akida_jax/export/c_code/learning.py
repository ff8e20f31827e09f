"""A layer that learns, in C: its parameters, and what it knows already."""

import dataclasses
import math

import numpy as np

from akida_jax.learning import EdgeLearner
from akida_jax.learning.planes import WORD
from akida_jax.learning.states import first_rule, to_fixed_point
from akida_jax.model import Model

_NEURON_BYTES = 12


@dataclasses.dataclass(frozen=True)
class LearnerTables:
    """A learner in C.

    Attributes:
      fields: of ``akida_learner``.
      neurons_per_class: neurons that share a class.
      classes: that it tells apart.
      most_classes: for which there is room.
      constants: what it has learned, arrays by name; none if it has seen no sample.
    """

    fields: dict[str, int]
    neurons_per_class: int
    classes: int
    most_classes: int
    constants: dict[str, np.ndarray]

    @property
    def neurons(self) -> int:
        """Neurons for which there is room."""
        return self.most_classes * self.neurons_per_class

    @property
    def words(self) -> int:
        """Words of a set of inputs."""
        return self.fields["n_words"]

    @property
    def ram_bytes(self) -> int:
        """Two numbers, neurons, their weights, four sets of inputs to work in."""
        return 8 + self.neurons * (_NEURON_BYTES + 4 * self.words) + 4 * 4 * self.words


def make_learner(learner: EdgeLearner, model: Model, extra_classes: int) -> LearnerTables:
    """Return the tables of a learner behind a model.

    Args:
      learner: as it is now; the C code begins there.
      model: whose output it learns from.
      extra_classes: for which there shall be room besides its own.

    Raises:
      ValueError: if the model's output is no map of 1-bit activations, or of another shape
        than the samples that were learned, or has fewer values than a neuron has weights.
    """
    learner.check_backbone(model)
    n_inputs = math.prod(model.output_shape)
    settings = learner.settings
    settings.check_inputs(n_inputs)
    rule = first_rule(settings)
    fields = {
        "n_inputs": n_inputs,
        "n_words": -(-n_inputs // WORD),
        "num_weights": settings.num_weights,
        "neurons_per_class": settings.neurons_per_class,
        "seed": learner.seed,
        "initial_plasticity": to_fixed_point(settings.initial_plasticity),
        "min_plasticity": int(rule.min_plasticity),
        "decay": int(rule.decay),
        "competition": int(rule.competition),
    }
    constants = {}
    if learner.state is not None:
        state = learner.state
        counts = (state.plasticity, state.learned, state.threshold)
        constants = {
            "first_neurons": np.stack([np.asarray(count) for count in counts], 1).astype(np.uint32),
            "first_weights": np.asarray(state.weights),
        }
    return LearnerTables(
        fields=fields,
        neurons_per_class=settings.neurons_per_class,
        classes=settings.num_classes,
        most_classes=settings.num_classes + extra_classes,
        constants=constants,
    )
