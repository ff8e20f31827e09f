"""Options of every training command: pressure on activity, a budget, learned steps, mixed bits."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np
from jaxtyping import UInt8
from rich.console import Console

import akida_jax as aj
from akida_jax import mapping, quant
from experiments.presets import ANY, COUNT
from experiments.training.pressure import Activity, NetworkPressure, Pressure
from experiments.training.recipes import Phase

RANGES = {"activity_weight": ANY, "search_epochs": COUNT}
CHOICES: dict[str, Any] = {"device": tuple(mapping.DEVICES), "mapping_mode": mapping.MODES}
#: Settings that hold training examples out, to test on; an experiment has one of them, or none.
HELD_OUT = ("n_validation", "n_validation_per_class")
#: Learned steps move at so many times the weights' rate.
STEP_RATE = 3.0
_SAMPLE = 1024

Sample = Callable[[int], Any]
DeviceName = Literal["akd1000", "akd1500"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class PressureOptions:
    """What may press on a quantized network beside its loss.

    Attributes:
      activity: regularizer of the quantized epochs: l1 is the mean activation level, hoyer the
        Hoyer square; the others are modelled per sample, in mJ, ms, events, processors, bytes.
      activity_weight: loss per unit of it.
      budget: most that a sample may cost, such as 1.2mJ, "30uJ dynamic", 40us or
        "20000 events", or the network: "12 NPs", 48KiB. Quantized training aims below it.
      device: on which cost is modelled.
      mapping_mode: how the network is placed there.
      learn_steps: train the activation steps of the quantized network too.
      search_epochs: let layers choose between 2 and 4 weight bits for so many epochs, before
        the quantized ones; not by default.
    """

    activity: Activity | None = None
    activity_weight: float = 0.0
    budget: str | None = None
    device: DeviceName = "akd1000"
    mapping_mode: mapping.Mode = "minimal"
    learn_steps: bool = False
    search_epochs: int | None = None

    def faults(self) -> list[str]:
        """Return what is wrong with the options, in words."""
        found = []
        if (self.activity is None) != (self.activity_weight == 0):
            found.append("--activity and --activity-weight, above 0, go together")
        if self.mapping_mode == "hw_pr" and self.device == "akd1000":
            found.append("--mapping-mode hw_pr needs a --device that reloads weights, akd1500")
        if self.budget is not None:
            try:
                mapping.parse_budget(self.budget)
            except ValueError as error:
                found.append(f"--{error}")
        return found

    @property
    def costed(self) -> bool:
        """Whether anything depends on the modelled cost."""
        return self.activity is not None or self.budget is not None

    def recipe_options(self, sample: Sample) -> dict[str, Any]:
        """Return the fields of a `Recipe` that these options set.

        Args:
          sample: returns so many random training inputs, on which cost is measured.
        """
        step_rate = STEP_RATE if self.learn_steps else None
        return {"pressure": self._press(sample), "step_rate": step_rate}

    def _press(self, sample: Sample) -> Pressure | None:
        if not self.costed:
            return None
        return Pressure(
            activities=() if self.activity is None else (self.activity,),
            weights=() if self.activity is None else (self.activity_weight,),
            budget=None if self.budget is None else mapping.parse_budget(self.budget),
            device=mapping.DEVICES[self.device],
            mode=self.mapping_mode,
            sample=sample(_SAMPLE),
        )

    def check_reachable(self, twin: quant.Sequential, sample: Sample) -> None:
        """Refuse before any training what no training of a network can meet.

        Args:
          twin: the network, quantized; its weights and steps do not matter.
          sample: as of `recipe_options`.

        Raises:
          UnreachableError: naming the least that the network costs, and what to change.
        """
        if (pressure := self._press(sample)) is not None:
            chooses = self.search_epochs is not None
            NetworkPressure(pressure, quant.mix(twin) if chooses else twin, steps=1)

    def insert_search(self, phases: tuple[Phase, Phase]) -> tuple[Phase, ...]:
        """Return the phases with a search between them, if layers are to choose their bits."""
        if self.search_epochs is None:
            return phases
        first, last = phases
        search = dataclasses.replace(last, name="search", epochs=self.search_epochs)
        return first, search, last

    def judge(
        self,
        model: aj.Model,
        sparsity: Mapping[str, float],
        x: UInt8[np.ndarray, "n h w c"] | None,
        history: list[dict],
    ) -> dict[str, Any]:
        """Return the modelled cost of the integer model, and whether it meets the budget.

        Args:
          model: converted.
          sparsity: of its layers' outputs on the test examples.
          x: test inputs; not needed in front of an input convolution.
          history: rows of the epochs.

        Returns:
          ``modelled_cost``, empty without pressure; with a budget ``met``, on the test
          examples, and ``met_in_training``, on the sample of the training examples.
        """
        if not self.costed:
            return {}
        device = mapping.DEVICES[self.device]
        placement = mapping.place(model, device, self.mapping_mode, hw_only=True)
        shares = dict(sparsity)
        if x is not None and isinstance(model.layers[0], aj.InputData):
            shares[placement.input_name] = float((x == 0).mean())
        figures = mapping.model_figures(placement, mapping.estimate(placement, shares))
        cost: dict[Any, Any] = {"device": device.name, "mode": self.mapping_mode, **figures}
        if self.budget is not None:
            budget = mapping.parse_budget(self.budget)
            last = [row["figures"][budget.quantity] for row in history if "figures" in row][-1:]
            cost |= {
                "budget": str(budget),
                "met": figures[budget.quantity] <= budget.limit,
                "met_in_training": bool(last and last[0] <= budget.limit),
            }
        return {"modelled_cost": cost}


def report_cost(result: dict, console: Console) -> None:
    """Print the modelled cost of a result, and whether it meets its budget."""
    cost = result.get("modelled_cost")
    if not cost:
        return
    parts = [f"{cost[name]:.5g} {mapping.UNITS[name]}{' dynamic' * (name == 'dynamic')}"
             for name in mapping.QUANTITIES]  # fmt: skip
    console.print(f"Modelled on {cost['device']}, examples tested on: {', '.join(parts)}.")
    if "budget" not in cost:
        return
    verdicts = {
        (True, True): "is met",
        (True, False): "is met on the examples tested on, not on those of training",
        (False, True): "is met on the training examples, not on those tested on; aim lower",
        (False, False): "is not met; train longer, use a smaller network or allow more",
    }
    verdict = verdicts[cost["met"], cost["met_in_training"]]
    console.print(f"The budget of {cost['budget']} {verdict}.")
