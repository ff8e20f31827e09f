"""What a network in training would cost on a device, with a gradient.

A `Plan` is made once, from shapes and weight widths alone. Its figures follow the events,
through the shares of zeros that `output_sparsity` gives, and the probabilities of layers that
choose their weight width (`akida_jax.quant.mix`): the expectation over all choices. Neural
processors and bytes have no other gradient than that of the choice.
"""

import dataclasses
from collections.abc import Mapping, Sequence

from akida_jax.layers import InputConvolutional, InputData, specify
from akida_jax.mapping.budgets import QUANTITIES, UNITS, Budget, Quantity
from akida_jax.mapping.cost import Cost, LayerCost, estimate
from akida_jax.mapping.devices import Device
from akida_jax.mapping.law import Number
from akida_jax.mapping.placement import LayerPlacement, Mode, Placement, place
from akida_jax.model import Model
from akida_jax.quant.layers import QuantizedLayer
from akida_jax.quant.mixed import MixedLayer
from akida_jax.quant.networks import Sequential

_FOLLOWS_EVENTS: tuple[Quantity, ...] = ("energy", "dynamic", "latency", "events")


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Plan:
    """Placements of a network, one for each weight width that layers may choose.

    Attributes:
      placements: all of one network; in the one of number i, each layer that chooses has its
        width of number i. One alone if none chooses.
      choosing: number of widths, by the name of the layers that choose.
    """

    placements: tuple[Placement, ...]
    choosing: Mapping[str, int]

    @property
    def source_names(self) -> tuple[str, ...]:
        """Names by which `figures` asks for shares of zeros: the input, then the layers."""
        first = self.placements[0]
        return (first.input_name, *first.layer_names())

    def figures(
        self,
        shares: Mapping[str, Number],
        probabilities: Mapping[str, Sequence[Number]] | None = None,
    ) -> dict[Quantity, Number]:
        """Return every quantity for one sample at a time, in the units of `UNITS`.

        Without a choice they are those of `estimate`, added up. With one, they are the
        expectation over the choices, layers chosen independently: exact but for the cycles of
        loading on a device with several passes, where a layer is taken to lie in the pass
        in which it lies if all layers make the same choice.

        Args:
          shares: of zeros, as of `output_sparsity`; may hold JAX scalars.
          probabilities: of the widths, for each layer that chooses.

        Raises:
          ValueError: as `estimate`; or if the probabilities are not those of the layers that
            choose.
        """
        given = dict(probabilities or {})
        found = {name: len(values) for name, values in given.items()}
        if found != dict(self.choosing):
            raise ValueError(
                f"probabilities must be given for the layers that choose, {dict(self.choosing)} by "
                f"number of widths, got {found}"
            )
        known = {name: shares[name] for name in self.source_names if name in shares}
        costs = [estimate(placement, known) for placement in self.placements]
        total: dict[Quantity, Number] = dict.fromkeys(QUANTITIES, 0.0)
        for index, layer in enumerate(self.placements[0].layers):
            weights = given.get(layer.name, [1.0])
            options = zip(weights, self.placements, costs, strict=False)
            for weight, placement, cost in options:
                part = _layer_figures(placement.layers[index], cost[layer.name])
                for quantity, value in part.items():
                    total[quantity] = total[quantity] + weight * value
        # Milliwatts for milliseconds are microjoules.
        idle = self.placements[0].device.idle_mw * total["latency"] * 1e-3
        return total | {"energy": total["dynamic"] + idle}

    def least(self, input_share: Number) -> dict[Quantity, float]:
        """Return a lower bound of each quantity: no layer fires, the cheapest widths.

        Args:
          input_share: of zeros in the input, which training cannot change.
        """
        silent = dict.fromkeys(self.source_names, 1.0)
        if not isinstance(self.placements[0].layers[0].program.spec, InputConvolutional):
            silent[self.placements[0].input_name] = input_share
        options = [
            Plan(placements=(placement,), choosing={}).figures(silent)
            for placement in self.placements
        ]
        return {quantity: min(float(o[quantity]) for o in options) for quantity in QUANTITIES}

    def check_budget(self, budget: Budget, input_share: Number) -> None:
        """Refuse a budget that no training can meet.

        Args:
          budget: for one sample, or for the network.
          input_share: of zeros in the input.

        Raises:
          ValueError: naming the least that the network costs, and what to change.
        """
        least = self.least(input_share)[budget.quantity]
        if least <= budget.limit:
            return
        device = self.placements[0].device.name
        what = (
            "without a single event behind the input"
            if budget.quantity in _FOLLOWS_EVENTS
            else "with the narrowest weights it may choose"
        )
        raise ValueError(
            f"a budget of {budget} cannot be met on {device}: {what} the network costs "
            f"{least:.4g} {UNITS[budget.quantity]}; use a smaller network, fewer weight bits, "
            "another device or a larger budget"
        )


def plan(network: Sequential, device: Device, mode: Mode = "minimal") -> Plan:
    """Place a quantized network, whose weights may still change, on a device.

    Args:
      network: quantized; layers may choose their weight width (`akida_jax.quant.mix`).
      device: the chip.
      mode: as of `place`.

    Raises:
      MappingError: if not all of the network runs in hardware, whatever the layers choose.
      ModelError: if the chip does not have such layers.
      ValueError: for a float network.
    """
    if not network.quantized:
        raise ValueError("a float network has no place on a chip; apply quant.quantize first")
    choosing = {str(layer.spec.name): len(layer.widths) for layer in network.layers
                if isinstance(layer, MixedLayer)}  # fmt: skip
    n = max(choosing.values(), default=1)
    placements = tuple(
        place(_blank_model(network, number), device, mode, hw_only=True) for number in range(n)
    )
    return Plan(placements=placements, choosing=choosing)


def _blank_model(network: Sequential, number: int) -> Model:
    """Return the model without weights, in which layers choose the width of that number."""
    first = [network.input] if isinstance(network.input, InputData) else []
    specs = [
        specify(layer.spec, weight_bits=_width(layer, number), act_bits=layer.precision.act_bits)
        for layer in network.layers
    ]
    return Model([*first, *specs], registers=network.layers[0].precision.registers)


def _width(layer: QuantizedLayer, number: int) -> int:
    if isinstance(layer, MixedLayer):
        return layer.widths[number]
    return layer.precision.weight_bits


def model_figures(placement: Placement, cost: Cost) -> dict[Quantity, float]:
    """Return every quantity of a placed model, in the units of `UNITS`.

    Args:
      placement: all of it in hardware.
      cost: of it, one sample at a time.
    """
    parts = [_layer_figures(layer, cost[layer.name]) for layer in placement.layers]
    total = {quantity: sum(float(part[quantity]) for part in parts) for quantity in QUANTITIES}
    return total | {"energy": float(cost.total_mj)}


def _layer_figures(layer: LayerPlacement, cost: LayerCost) -> dict[Quantity, Number]:
    program = layer.program
    pixels = isinstance(program.spec, InputConvolutional)
    return {
        "energy": 0.0,  # idling counts for all layers together
        "dynamic": cost.dynamic_mj,
        "latency": cost.latency_ms,
        "events": 0.0 if pixels else cost.events,
        "nps": layer.nps,
        "size": program.packed_bytes,
    }
