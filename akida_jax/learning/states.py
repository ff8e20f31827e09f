"""The state that learning begins with, and how it grows."""

import dataclasses
import math
import warnings

import jax
import jax.numpy as jnp
from jaxtyping import Int32, UInt32

from akida_jax.learning.rule import ONE, LearningState, Rule, draw_weights

MAX_INPUTS = 2**16 - 1
"""A potential times a fixed-point number stays below 2**32. The chip's fully connected layers
have fewer (docs/hardware.md)."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class LearningSettings:
    """What a learner is; names and defaults are those of the vendor's public documentation.

    Attributes:
      num_weights: ones of each neuron; about 1.2 times the active inputs of a sample, see
        `suggest_num_weights`.
      num_classes: kinds that are told apart.
      neurons_per_class: neurons that share a class.
      initial_plasticity: share of a neuron's useless weights that its first sample moves.
      learning_competition: 0: a neuron that has learned never keeps others of its class
        from learning a sample with a label; above, it does for samples that come so near to
        what it learned: at a potential of (1 - learning_competition) times its threshold.
        Keep it <= 0.5.
      min_plasticity: below which plasticity does not fall.
      plasticity_decay: what each sample takes from the plasticity of the neuron that learns
        it, as a share of the initial one.

    Raises:
      ValueError: naming every setting that is out of its range.
    """

    num_weights: int
    num_classes: int
    neurons_per_class: int = 1
    initial_plasticity: float = 1.0
    learning_competition: float = 0.0
    min_plasticity: float = 0.1
    plasticity_decay: float = 0.25

    def __post_init__(self):
        """Refuse what is out of range, all at once."""
        faults = [
            f"{name} must be a whole number of at least 1, got {value!r}"
            for name in ("num_weights", "num_classes", "neurons_per_class")
            if not _is_whole(value := getattr(self, name)) or value < 1
        ]
        shares = ("initial_plasticity", "learning_competition", "min_plasticity",
                  "plasticity_decay")  # fmt: skip
        faults += [
            f"{name} must be 0 to 1, got {value!r}"
            for name in shares
            if not isinstance(value := getattr(self, name), int | float) or not 0 <= value <= 1
        ]
        if not faults and self.min_plasticity > self.initial_plasticity:
            faults.append(
                f"min_plasticity must be at most initial_plasticity {self.initial_plasticity:g}, "
                f"got {self.min_plasticity:g}"
            )
        if faults:
            raise ValueError("; ".join(faults))

    def check_inputs(self, n_inputs: int) -> None:
        """Refuse more weights than inputs; warn of more than half as many.

        Raises:
          ValueError: if a neuron would have more weights than inputs, or there are more
            inputs than a learner can hold.
        """
        if n_inputs > MAX_INPUTS:
            raise ValueError(f"a sample may have at most {MAX_INPUTS:,} inputs, got {n_inputs:,}")
        if self.num_weights > n_inputs:
            raise ValueError(
                f"num_weights {self.num_weights} exceeds the {n_inputs} inputs of a neuron; "
                "suggest_num_weights proposes a number"
            )
        if 2 * self.num_weights > n_inputs:
            warnings.warn(
                f"num_weights {self.num_weights} is more than half of the {n_inputs} inputs of a "
                "neuron: any two neurons have many weights in common, and tell little apart",
                stacklevel=4,
            )


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def to_fixed_point(share: float) -> int:
    """Return a share of 1 with 16 fraction bits, rounded to nearest, half up."""
    return math.floor(share * ONE + 0.5)


def first_state(
    settings: LearningSettings, n_inputs: int, seed: UInt32[jnp.ndarray, "..."]
) -> LearningState:
    """Return the state before the first sample.

    Args:
      settings: of the learner.
      n_inputs: of a sample.
      seed: of all that is drawn; an array of seeds gives as many learners in one state.

    Raises:
      ValueError: if a neuron would have more weights than inputs.
    """
    settings.check_inputs(n_inputs)
    classes = range(settings.num_classes)
    return _neurons(settings, n_inputs, seed, first_rule(settings), classes)


def first_rule(settings: LearningSettings) -> Rule:
    """Return the parameters of the rule in fixed point."""
    decay = settings.plasticity_decay * settings.initial_plasticity
    return Rule(
        min_plasticity=jnp.uint32(to_fixed_point(settings.min_plasticity)),
        decay=jnp.uint32(to_fixed_point(decay)),
        competition=jnp.uint32(to_fixed_point(settings.learning_competition)),
        turns=jnp.bool_(True),
        mates=jnp.bool_(True),
    )


def neuron_classes(settings: LearningSettings, classes: range) -> Int32[jnp.ndarray, " neurons"]:
    """Return the class of each neuron, evenly split."""
    numbers = jnp.arange(classes.start, classes.stop, dtype=jnp.int32)
    return jnp.repeat(numbers, settings.neurons_per_class)


def add_neurons(
    state: LearningState, settings: LearningSettings, n_inputs: int, classes: range
) -> LearningState:
    """Return the state with neurons for new classes; those that are there stay as they are.

    Args:
      state: before.
      settings: of the learner.
      n_inputs: of a sample.
      classes: the new ones, counted on from the old.
    """
    new = _neurons(settings, n_inputs, state.seed, state.rule, classes)
    return LearningState(
        weights=jnp.concatenate([state.weights, new.weights]),
        plasticity=jnp.concatenate([state.plasticity, new.plasticity]),
        threshold=jnp.concatenate([state.threshold, new.threshold]),
        classes=jnp.concatenate([state.classes, new.classes]),
        learned=jnp.concatenate([state.learned, new.learned]),
        seed=state.seed,
        rule=state.rule,
    )


_draw_weights = jax.jit(draw_weights, static_argnums=(1, 2))


def _neurons(
    settings: LearningSettings,
    n_inputs: int,
    seed: UInt32[jnp.ndarray, "..."],
    rule: Rule,
    classes: range,
) -> LearningState:
    each = settings.neurons_per_class
    numbers = range(classes.start * each, classes.stop * each)
    of_class = neuron_classes(settings, classes)
    shape = (len(numbers), *seed.shape)
    plasticity = to_fixed_point(settings.initial_plasticity)
    return LearningState(
        weights=_draw_weights(seed, numbers, n_inputs, settings.num_weights),
        plasticity=jnp.full(shape, plasticity, jnp.uint32),
        threshold=jnp.zeros(shape, jnp.int32),
        classes=jnp.broadcast_to(of_class.reshape(-1, *[1] * seed.ndim), shape),
        learned=jnp.zeros(shape, jnp.uint32),
        seed=seed,
        rule=rule,
    )
