"""The state that learning begins with, and how it grows."""

import dataclasses
import math
import numbers
import operator
import warnings

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int32, UInt32

from akida_jax.learning.rule import FRACTION_BITS, ONE, LearningState, Rule, draw_weights

MAX_INPUTS = 2**16 - 1
"""A potential times a fixed-point number stays below 2**32. The chip's fully connected layers
have fewer (docs/hardware.md)."""
MOST_COMPETITION = 0.5
"""Source: the vendor's documentation, docs/hardware.md#learning."""
_COUNTS = ("num_weights", "num_classes", "neurons_per_class")
_SHARES = ("initial_plasticity", "learning_competition", "min_plasticity", "plasticity_decay")


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
      ValueError: naming every setting that is out of its range, or comes to 0 in fixed point
        without being 0.
    """

    num_weights: int
    num_classes: int
    neurons_per_class: int = 1
    initial_plasticity: float = 1.0
    learning_competition: float = 0.0
    min_plasticity: float = 0.1
    plasticity_decay: float = 0.25

    def __post_init__(self):
        """Refuse what is out of range, all at once; NumPy's numbers become Python's."""
        faults = []
        for name in _COUNTS:
            number = whole(value := getattr(self, name))
            if number is None or number < 1:
                faults.append(f"{name} must be a whole number of at least 1, got {value!r}")
            else:
                object.__setattr__(self, name, number)
        for name in _SHARES:
            value = getattr(self, name)
            if not _is_number(value) or not 0 <= value <= 1:
                faults.append(f"{name} must be 0 to 1, got {value!r}")
            else:
                object.__setattr__(self, name, float(value))
        if not faults:
            faults = self._faults_together()
        if faults:
            raise ValueError("; ".join(faults))

    def _faults_together(self) -> list[str]:
        faults = []
        if self.min_plasticity > self.initial_plasticity:
            faults.append(
                f"min_plasticity must be at most initial_plasticity {self.initial_plasticity:g}, "
                f"got {self.min_plasticity:g}"
            )
        shares = {name: getattr(self, name) for name in _SHARES}
        shares["plasticity_decay"] *= self.initial_plasticity
        faults += [
            f"{name} {getattr(self, name):g} comes to 0 in fixed point of {FRACTION_BITS} fraction "
            f"bits; give 0 or {'more' if name == 'plasticity_decay' else f'at least {0.5 / ONE:g}'}"
            for name, share in shares.items()
            if share > 0 and to_fixed_point(share) == 0
        ]
        return faults

    def check_inputs(self, n_inputs: int) -> None:
        """Refuse more weights than inputs.

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

    def concerns(self, n_inputs: int) -> list[str]:
        """Return what may be had, but is unlikely to be wanted.

        Args:
          n_inputs: of a sample.
        """
        found = []
        if 2 * self.num_weights > n_inputs:
            found.append(
                f"num_weights {self.num_weights} is more than half of the {n_inputs} inputs of a "
                "neuron: any two neurons have many weights in common, and tell little apart"
            )
        if self.learning_competition > MOST_COMPETITION:
            found.append(
                f"learning_competition {self.learning_competition:g} is above {MOST_COMPETITION}: "
                "neurons that have learned take samples that have little to do with theirs"
            )
        return found


def whole(value: object) -> int | None:
    """Return a whole number, also one of NumPy's, as an int; None for anything else."""
    if isinstance(value, bool | np.bool_):
        return None
    try:
        return operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        return None


def _is_number(value: object) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool | np.bool_)


def check_seed(seed: object) -> int:
    """Return a seed as an int.

    Raises:
      ValueError: if it is no whole number of 32 bits.
    """
    number = whole(seed)
    if number is None or not 0 <= number < 2**32:
        raise ValueError(f"seed must be 0 to {2**32 - 1}, got {seed!r}")
    return number


def to_fixed_point(share: float) -> int:
    """Return a share of 1 with 16 fraction bits, rounded to nearest, half up."""
    return math.floor(share * ONE + 0.5)


def first_state(
    settings: LearningSettings, n_inputs: int, seed: UInt32[Array, "..."] | int
) -> LearningState:
    """Return the state before the first sample.

    A warning says what settings are unlikely to be wanted.

    Args:
      settings: of the learner.
      n_inputs: of a sample.
      seed: of all that is drawn; an array of seeds gives as many learners in one state.

    Raises:
      ValueError: if a neuron would have more weights than inputs, or the seed is no whole
        number of 32 bits, or an array of another type than uint32.
    """
    state = begin(settings, n_inputs, seed)
    for concern in settings.concerns(n_inputs):
        warnings.warn(concern, stacklevel=2)
    return state


def begin(
    settings: LearningSettings, n_inputs: int, seed: UInt32[Array, "..."] | int
) -> LearningState:
    """Return what `first_state` does, without its warnings."""
    settings.check_inputs(n_inputs)
    if not isinstance(seed, jax.Array | np.ndarray):
        seed = jnp.uint32(check_seed(seed))
    elif seed.dtype != jnp.uint32:
        raise ValueError(f"an array of seeds must be uint32, got {seed.dtype}; cast it")
    classes = range(settings.num_classes)
    return _neurons(settings, n_inputs, jnp.asarray(seed), first_rule(settings), classes)


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


def neuron_classes(settings: LearningSettings, classes: range) -> Int32[Array, " neurons"]:
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
        n_inputs=state.n_inputs,
        rule=state.rule,
    )


_draw_weights = jax.jit(draw_weights, static_argnames="n_inputs")


def _neurons(
    settings: LearningSettings,
    n_inputs: int,
    seed: UInt32[Array, "..."],
    rule: Rule,
    classes: range,
) -> LearningState:
    each = settings.neurons_per_class
    # An array, not the range: other neurons are drawn by the same compiled program.
    places = jnp.arange(classes.start * each, classes.stop * each, dtype=jnp.uint32)
    of_class = neuron_classes(settings, classes)
    shape = (len(places), *seed.shape)
    plasticity = to_fixed_point(settings.initial_plasticity)
    return LearningState(
        weights=_draw_weights(seed, places, n_inputs, jnp.int32(settings.num_weights)),
        plasticity=jnp.full(shape, plasticity, jnp.uint32),
        threshold=jnp.zeros(shape, jnp.int32),
        classes=jnp.broadcast_to(of_class.reshape(-1, *[1] * seed.ndim), shape),
        learned=jnp.zeros(shape, jnp.uint32),
        seed=seed,
        n_inputs=jnp.uint32(n_inputs),
        rule=rule,
    )
