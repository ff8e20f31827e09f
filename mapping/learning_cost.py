"""Modelled cost of learning one sample on the chip.

Source of the formulas: docs/cost-model.md#learning. Nothing is published to compare with.
"""

import dataclasses
from collections.abc import Mapping

import jax
import numpy as np

from akida_jax.activity import Activity
from akida_jax.layers import FullyConnected
from akida_jax.mapping.cost import Cost, estimate
from akida_jax.mapping.law import Law, Number, published_law
from akida_jax.mapping.placement import LayerPlacement, Placement

_WRITES = 2
"""Of a weight that moves: one place gains it, another gives it up."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class LearningCost:
    """Modelled cost of learning one sample. Numbers, or JAX scalars.

    Attributes:
      inference: of the sample's way through the network, potentials of the learned layer
        included.
      events: active inputs of the learned layer.
      swaps: weights that move.
      support_operations: weights of class-mates that are looked at to choose them.
      update_cycles: of the update alone.
      update_ms: the same in time.
      update_mj: dynamic energy of the update.
      latency_ms: from the entry of the sample to the new weights.
      total_mj: energy, idling for as long as that included.
    """

    inference: Cost
    events: Number
    swaps: Number
    support_operations: Number
    update_cycles: Number
    update_ms: Number
    update_mj: Number
    latency_ms: Number
    total_mj: Number

    def __str__(self) -> str:
        """Return the totals, and what they rest on."""
        return (
            f"modelled on {self.inference.device}: {float(self.events):,.0f} events and "
            f"{float(self.swaps):,.1f} swaps a sample; {float(self.inference.latency_ms):.3f} ms "
            f"through the network + {float(self.update_ms):.4f} ms for the update, "
            f"{float(self.total_mj):.4f} mJ with idling\n"
            "the update's rates are assumed, nothing is published to compare with"
        )


def estimate_learning(
    placement: Placement,
    activity: Activity | Mapping[str, Number],
    *,
    swaps: Number,
    neurons_per_class: int | None = None,
    law: Law | None = None,
) -> LearningCost:
    """Model what it takes to learn one sample: its way through the network, then the update.

    Args:
      placement: of a model whose last layer is learned, see `EdgeLearner.attach`.
      activity: of that model, as of `estimate`.
      swaps: weights that a sample moves, on average.
      neurons_per_class: that share a class, those of the layer by default; all but one are
        taken to have learned.
      law: other constants than the calibrated ones.

    Raises:
      ValueError: if the last layer is not fully connected with 1-bit weights, runs in
        software, cannot have as many neurons per class, or has fewer weights than move.
    """
    layer = placement.layers[-1]
    num_weights, mates = _check(layer, swaps, neurons_per_class)
    law = law or published_law(placement.device.law)
    inference = estimate(placement, activity, law=law)
    events = inference[layer.name].events
    # The places that may gain a weight are active, those that may lose one have one.
    support = mates * (events + num_weights)
    return LearningCost(
        inference=inference,
        events=events,
        swaps=swaps,
        support_operations=support,
        **_update(placement, law, inference, support + _WRITES * swaps),
    )


def _update(
    placement: Placement, law: Law, inference: Cost, operations: Number
) -> dict[str, Number]:
    """Return what the update costs, and what it makes of the whole."""
    cycles = law.cycles.dense_operations * operations
    update_ms = cycles / placement.device.clock_hz * 1e3
    update_mj = operations * law.tap_energy(1) * 1e-9
    return {
        "update_cycles": cycles,
        "update_ms": update_ms,
        "update_mj": update_mj,
        "latency_ms": inference.latency_ms + update_ms,
        "total_mj": inference.total_mj + update_mj + placement.device.idle_mw * update_ms * 1e-3,
    }


def _check(
    layer: LayerPlacement, swaps: Number, neurons_per_class: int | None
) -> tuple[float, int]:
    """Return the weights of a neuron, and how many others share its class."""
    spec = layer.program.spec
    if not isinstance(spec, FullyConnected) or spec.weight_bits != 1:
        raise ValueError(
            f"layer {layer.name!r}: only a fully connected layer of 1-bit weights learns; "
            "EdgeLearner.attach gives a model one"
        )
    if neurons_per_class is None:
        neurons_per_class = spec.neurons_per_class
    if layer.split is None:
        raise ValueError(f"layer {layer.name!r}: it runs in software, which is not modelled")
    whole = isinstance(neurons_per_class, int) and neurons_per_class >= 1
    if not whole or spec.units % neurons_per_class:
        raise ValueError(f"layer {layer.name!r}: neurons_per_class must divide its {spec.units} "
                         f"neurons, got {neurons_per_class!r}")  # fmt: skip
    # Neurons that never learned have none.
    num_weights = np.asarray(layer.program.kernels["kernel"]).sum((0, 1, 2)).max()
    if not isinstance(swaps, jax.core.Tracer) and not 0 <= swaps <= num_weights:
        raise ValueError(f"layer {layer.name!r}: swaps must be 0 to its {num_weights:g} weights a "
                         f"neuron, got {swaps}")  # fmt: skip
    return float(num_weights), neurons_per_class - 1
