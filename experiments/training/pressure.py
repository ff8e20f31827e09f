"""What presses on a quantized network beside its loss: activity, modelled cost, a budget."""

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, UInt8

from akida_jax import mapping, quant

Activity = Literal["l1", "hoyer", "energy", "dynamic", "latency", "events", "nps", "size"]
ACTIVITIES: tuple[Activity, ...] = get_args(Activity)
#: Regularizers that do not look at what an event costs, functions of the levels that fired.
BASELINES: Mapping[str, Any] = {"l1": quant.mean_level, "hoyer": quant.hoyer_square}
#: Quantities that no weight moves, only the choice of its width.
_OF_WIDTHS = ("nps", "size")
_PIECE = 256


class PressureState(NamedTuple):
    """What a step reads and rewrites; a pytree of arrays.

    Attributes:
      weights: one for each activity; a tuple, since checkpoints take no empty array.
      multiplier: of the budget; None without one.
    """

    weights: tuple[Float[Array, ""], ...]
    multiplier: mapping.Multiplier | None


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Pressure:
    """Terms that join the loss of a quantized network.

    Attributes:
      activities: "l1", the mean level; "hoyer", the Hoyer square; or a modelled quantity per
        sample, in its physical unit (`mapping.UNITS`).
      weights: loss per unit of each activity.
      budget: that a Lagrangian is to meet; None for none.
      device: on which cost is modelled.
      mode: of the placement.
      sample: training inputs, on which cost is measured after every epoch.
      margin: by which the Lagrangian aims below the budget, since batches differ.
      ascent: rise of the multiplier in an epoch that costs twice the budget.
      stiffness: of the augmented term.
      most: upper bound of the multiplier.

    Raises:
      ValueError: if there is not one weight that is not negative for each activity.
    """

    activities: tuple[Activity, ...] = ()
    weights: tuple[float, ...] = ()
    budget: mapping.Budget | None = None
    device: mapping.Device = mapping.AKD1000
    mode: mapping.Mode = "minimal"
    sample: UInt8[np.ndarray, "n h w c"]
    margin: float = 0.02
    ascent: float = 2.0
    stiffness: float = 1.0
    most: float = 50.0

    def __post_init__(self):
        """Refuse weights that do not belong to activities."""
        if len(self.weights) != len(self.activities) or not all(w >= 0 for w in self.weights):
            raise ValueError(f"activities {self.activities} need one weight of at least 0 each, "
                             f"got {self.weights}")  # fmt: skip


class UnreachableError(ValueError):
    """What no training of a network can meet; the text says why, and what to change."""


class NetworkPressure:
    """Pressure on one network: where it lies on the device, and what it costs there.

    Args:
      pressure: settings.
      network: quantized.
      steps: in an epoch.
      reachable: refuse what no training of this network can change.

    Raises:
      UnreachableError: if the device cannot hold the network; or, if ``reachable``, if no
        training can meet the budget or an activity follows nothing that is trained.
    """

    def __init__(
        self, pressure: Pressure, network: quant.Sequential, steps: int, *, reachable: bool = True
    ):
        self.settings = pressure
        self._rate = pressure.ascent / steps
        try:
            self.plan = mapping.plan(network, pressure.device, pressure.mode)
            if reachable:
                self._check()
        except ValueError as error:
            raise UnreachableError(str(error)) from error

    def _check(self) -> None:
        fixed = [name for name in self.settings.activities if name in _OF_WIDTHS]
        if fixed and not self.plan.choosing:
            raise ValueError(f"activity {', '.join(fixed)} follows from the widths of the weights, "
                             "which are fixed; let layers choose them")  # fmt: skip
        if self.settings.budget is not None:
            zeros = float((self.settings.sample == 0).mean())
            self.plan.check_budget(self.settings.budget, zeros)

    def start(self) -> PressureState:
        """Return the state that training begins with."""
        budget, settings = self.settings.budget, self.settings
        multiplier = None
        if budget is not None:
            multiplier = mapping.start_multiplier((1 - settings.margin) * budget.limit)
        return PressureState(tuple(jnp.float32(w) for w in settings.weights), multiplier)

    def term(
        self,
        state: PressureState,
        network: quant.Sequential,
        probabilities: Mapping[str, Any],
        x: Array,
        outputs: Sequence[tuple[str, Array]],
    ) -> tuple[Float[Array, ""], PressureState]:
        """Return what joins the loss of a batch, and the state after it.

        Args:
          state: before.
          network: quantized.
          probabilities: of the widths, in layers that choose.
          x: inputs.
          outputs: of every layer.
        """
        shares = mapping.shares_of_zeros(network, x, outputs)
        figures: dict[Any, Any] = self.plan.figures(shares, probabilities)
        fired = [y for (_, y), layer in zip(outputs, network.layers, strict=True)
                 if layer.spec.activation]  # fmt: skip
        total, settings = jnp.float32(0), self.settings
        for weight, activity in zip(state.weights, settings.activities, strict=True):
            term = BASELINES[activity](fired) if activity in BASELINES else figures[activity]
            total = total + weight * term
        multiplier = state.multiplier
        if multiplier is not None and settings.budget is not None:
            cost = figures[settings.budget.quantity]
            total = total + multiplier.term(cost, stiffness=settings.stiffness)
            multiplier = multiplier.ascend(cost, rate=self._rate, most=settings.most)
        return total, PressureState(state.weights, multiplier)

    def measure(self, network: quant.Sequential, state: PressureState) -> dict:
        """Return the sample's modelled figures, and the multiplier, for the metrics.

        Layers that choose count with the width that they compute with.
        """
        widths = quant.chosen_widths(network)
        drawn = {
            str(layer.spec.name): [float(bits == widths[str(layer.spec.name)])
                                   for bits in layer.widths]
            for layer in quant.mixed_layers(network)
        }  # fmt: skip
        shares = sample_shares(network, self.settings.sample)
        row: dict[str, Any] = {"figures": self.plan.figures(shares, drawn)}
        if state.multiplier is not None:
            row["multiplier"] = float(state.multiplier.value)
        return row


def sample_shares(network: quant.Sequential, x: UInt8[np.ndarray, "n h w c"]) -> dict[str, float]:
    """Return the shares of zeros of a sample, counted exactly; see `mapping.output_sparsity`."""
    graph, state = nnx.split(network)
    pieces = (x[start : start + _PIECE] for start in range(0, len(x), _PIECE))
    counts = [np.array(_count_events(graph, state, piece), np.int64) for piece in pieces]
    names = [network.input.name, *(layer.spec.name for layer in network.layers)]
    shapes = [x.shape[1:], *(layer.spec.out_shape(layer.in_shape) for layer in network.layers)]
    values = [len(x) * math.prod(shape) for shape in shapes]
    # Behind an input convolution the layer has the input's name, and the last word.
    return {
        str(name): 1 - int(fired) / n
        for name, fired, n in zip(names, np.sum(counts, 0), values, strict=True)
    }


@functools.partial(jax.jit, static_argnums=0)
def _count_events(graph: Any, state: Any, x: Array) -> list[Array]:
    network = nnx.merge(graph, state)
    every = [jnp.asarray(x), *(y for _, y in network.outputs(x))]
    return [(y != 0).astype(jnp.int32).sum() for y in every]
