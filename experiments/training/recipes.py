"""How a network is trained: schedule of the learning rate, loss, batches, regularization."""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array

from experiments.training.checkpoints import leaf_name
from experiments.training.pressure import Pressure

Augment = Callable[[Array, Array], Array]
Loss = Callable[[Array, Any], Array]

#: Adam's rate for the logits of widths: a choice can turn within some hundred steps.
CHOICE_RATE = 0.03

_DECAYED = ("kernel", "pointwise")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Phase:
    """A stretch of epochs under one learning-rate schedule.

    Attributes:
      name: "float", "search", in which layers choose their weight width, or "quantized".
      epochs: passes over the training set.
      low: smallest learning rate.
      high: largest learning rate.
      schedule: "cyclic" is triangular, low at both ends of a cycle; "cosine" rises from low
        during the warm-up, then falls to low along a half cosine.
      cycle_epochs: about the length of a cycle, of which a whole number fills the phase;
        cyclic only.
      warmup_epochs: length of the warm-up, at most half of the phase; cosine only.

    Raises:
      ValueError: if the rates fall.
    """

    name: str
    epochs: int
    low: float
    high: float
    schedule: Literal["cyclic", "cosine"] = "cyclic"
    cycle_epochs: int = 4
    warmup_epochs: float = 1.0

    def __post_init__(self):
        """Refuse rates the wrong way round."""
        if not self.low <= self.high:
            raise ValueError(f"phase {self.name}: the learning rates must rise or be equal, got "
                             f"{self.low:g} to {self.high:g}")  # fmt: skip

    def rate(self, steps_per_epoch: int) -> optax.Schedule:
        """Return the learning rate as a function of the step."""
        if self.schedule == "cyclic":
            return cyclic_rate(self, steps_per_epoch)
        total = max(2, self.epochs * steps_per_epoch)
        warmup = min(round(self.warmup_epochs * steps_per_epoch), total // 2)
        return optax.warmup_cosine_decay_schedule(
            self.low, self.high, warmup, total, end_value=self.low
        )


def two_phases(settings: Any, **schedule: Any) -> tuple[Phase, Phase]:
    """Return the float phase and the quantized one.

    Args:
      settings: of an experiment, with ``float_epochs``, ``quantized_epochs``, ``float_rates``
        and ``quantized_rates``, lowest and highest learning rate.
      **schedule: other fields of `Phase`, the same for both.
    """
    return (
        Phase(name="float", epochs=settings.float_epochs, low=settings.float_rates[0],
              high=settings.float_rates[1], **schedule),
        Phase(name="quantized", epochs=settings.quantized_epochs,
              low=settings.quantized_rates[0], high=settings.quantized_rates[1], **schedule),
    )  # fmt: skip


def cyclic_rate(phase: Phase, steps_per_epoch: int) -> optax.Schedule:
    """Return a triangular schedule between the phase's two rates."""
    cycles = max(1, round(phase.epochs / phase.cycle_epochs))
    cycle = max(2, round(phase.epochs / cycles * steps_per_epoch))

    def rate(step: Array) -> Array:
        position = (step % cycle) / cycle
        height = 1 - jnp.abs(2 * position - 1)
        return phase.low + (phase.high - phase.low) * height

    return rate


def cross_entropy(outputs: Array, labels: Array, *, smoothing: float = 0.0) -> Array:
    """Return the mean cross entropy of logits (n, classes) and labels (n,).

    Args:
      outputs: logits.
      labels: classes.
      smoothing: share of the probability spread evenly over all classes.
    """
    if not smoothing:
        return optax.softmax_cross_entropy_with_integer_labels(outputs, labels).mean()
    one_hot = jax.nn.one_hot(labels, outputs.shape[-1])
    return optax.softmax_cross_entropy(outputs, optax.smooth_labels(one_hot, smoothing)).mean()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """What the steps of all phases have in common.

    Attributes:
      batch_size: examples per step; a last, smaller batch is left out.
      loss: function of (outputs, targets), a scalar.
      augment: function of (key, uint8 batch), or None.
      weight_decay: of kernels, decoupled from the gradient (AdamW).
      average: decay of an exponential moving average of the parameters and of the batch norms'
        statistics, which is what the phase ends with; None for none. It is less at first, see
        `Trainer`.
      steps_per_call: steps in one call of the compiled program; by default one on a CPU.
      pressure: cost and activity beside the loss, in the phases of a quantized network.
      step_rate: with it the steps of a quantized network's activations are learned, at so many
        times the weights' rate, relative to the step.
    """

    batch_size: int = 32
    loss: Loss = cross_entropy
    augment: Augment | None = None
    weight_decay: float = 0.0
    average: float | None = None
    steps_per_call: int | None = None
    pressure: Pressure | None = None
    step_rate: float | None = None

    def transform(
        self, rate: optax.Schedule, parameters: Any = None
    ) -> optax.GradientTransformation:
        """Return Adam, with weight decay if there is any.

        Args:
          rate: of the weights.
          parameters: to tell by whether steps and choices are among them; they get rates of
            their own.
        """
        weights = (
            optax.adamw(rate, weight_decay=self.weight_decay, mask=_decay_mask)
            if self.weight_decay
            else optax.adam(rate)
        )
        kinds = jax.tree.map_with_path(lambda path, _: _kind(path), parameters)
        if set(jax.tree.leaves(kinds)) <= {"weights"}:
            return weights
        factor = self.step_rate or 0.0
        rates = {
            "weights": weights,
            "steps": optax.chain(optax.adam(lambda step: factor * rate(step)), _relative()),
            "choices": optax.adam(CHOICE_RATE),
        }
        return optax.partition(rates, kinds)


def _kind(path: Any) -> str:
    parts = leaf_name(path).split(".")
    return "steps" if "step" in parts else "choices" if "choice" in parts else "weights"


def _relative() -> optax.GradientTransformation:
    """Return updates as shares of the parameter, at most half: what is positive remains so."""

    def update(updates: Any, state: Any, parameters: Any) -> tuple[Any, Any]:
        bounded = jax.tree.map(lambda u, p: jnp.clip(u, -0.5, 0.5) * p, updates, parameters)
        return bounded, state

    return optax.GradientTransformation(lambda _: optax.EmptyState(), update)


def _decay_mask(parameters: Any) -> Any:
    return jax.tree.map_with_path(
        lambda path, _: any(part in _DECAYED for part in leaf_name(path).split(".")), parameters
    )
