"""Modelled latency, power and energy of a placement.

Source of the formulas and their errors: docs/cost-model.md.
"""

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from akida_jax.activity import Activity
from akida_jax.layers import InputConvolutional
from akida_jax.mapping.law import Law, Number, compute_work, load_work, operations, published_law
from akida_jax.mapping.placement import LayerPlacement, Placement
from akida_jax.summary import Column

_PER_LAYER = ("events", "compute_cycles", "load_cycles", "latency_ms", "dynamic_mj")
_TOTALS = ("cycles", "latency_ms", "pipelined_fps", "dynamic_mj", "idle_mj")


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=_PER_LAYER, meta_fields=["name", "nps"]
)
@dataclasses.dataclass(frozen=True, kw_only=True)
class LayerCost:
    """Modelled cost of one layer in hardware. Numbers, or JAX scalars.

    Attributes:
      name: of the layer.
      nps: neural processors it runs on.
      events: non-zero inputs per sample.
      compute_cycles: per sample, streaming of external weights included.
      load_cycles: per batch, for reloading the weights between passes.
      latency_ms: of one sample on its own, loading included.
      dynamic_mj: energy per sample.
    """

    name: str
    nps: int
    events: Number
    compute_cycles: Number
    load_cycles: Number
    latency_ms: Number
    dynamic_mj: Number


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["layers", *_TOTALS],
    meta_fields=["device", "batch", "law", "software"],
)
@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Cost:
    """Modelled cost of a placement; layers in software are not counted.

    Attributes:
      layers: one for each layer in hardware.
      cycles: of the batch.
      latency_ms: from the entry of the batch to its last result.
      pipelined_fps: samples per second of an endless batch, weights loaded once per pass.
      dynamic_mj: energy of the events, per sample.
      idle_mj: energy of idling for as long as a sample takes, per sample.
      device: name of the device.
      batch: samples that pass through together.
      law: the constants used.
      software: names of the layers that run in software.
    """

    layers: tuple[LayerCost, ...]
    cycles: Number
    latency_ms: Number
    pipelined_fps: Number
    dynamic_mj: Number
    idle_mj: Number
    device: str
    batch: int
    law: Law = dataclasses.field(repr=False)
    software: tuple[str, ...]

    @property
    def fps(self) -> Number:
        """Samples per second at this batch."""
        return 1e3 * self.batch / self.latency_ms

    @property
    def total_mj(self) -> Number:
        """Energy per sample."""
        return self.dynamic_mj + self.idle_mj

    @property
    def power_mw(self) -> Number:
        """Mean power while the batch runs."""
        return self.total_mj * self.fps

    @property
    def dynamic_mw(self) -> Number:
        """Mean power above idle."""
        return self.dynamic_mj * self.fps

    def __getitem__(self, name: str) -> LayerCost:
        """Return the layer of that name."""
        for layer in self.layers:
            if layer.name == name:
                return layer
        raise KeyError(name)

    def __str__(self) -> str:
        """Return the totals, and how far to trust them."""
        return "\n".join(self.notes())

    def layer_names(self) -> list[str]:
        """Return the names of all layers, in order, those in software last."""
        return [*(layer.name for layer in self.layers), *self.software]

    def columns(self) -> list[Column]:
        """Return what `Model.summary` shows of a cost: one sample on its own."""
        events = {layer.name: f"{float(layer.events):,.0f}" for layer in self.layers}
        times = {layer.name: f"{float(layer.latency_ms):.3f}" for layer in self.layers}
        energy = {layer.name: f"{float(layer.dynamic_mj):.4f}" for layer in self.layers}
        total_ms = sum(float(layer.latency_ms) for layer in self.layers)
        return [
            Column(title="events in", cells=events),
            Column(title="modelled ms", cells=times, total=f"{total_ms:.3f}"),
            Column(title="modelled mJ", cells=energy, total=f"{float(self.dynamic_mj):.4f}"),
        ]

    def notes(self) -> list[str]:
        """Return totals, power and the expected error."""
        lines = [
            f"modelled on {self.device}, batch {self.batch}: {float(self.latency_ms):.3f} ms, "
            f"{float(self.fps):.1f} frames/s ({float(self.pipelined_fps):.1f} in an endless "
            f"batch)",
            f"modelled energy per frame: {float(self.dynamic_mj):.4f} mJ dynamic + "
            f"{float(self.idle_mj):.4f} mJ idle = {float(self.total_mj):.4f} mJ; mean power "
            f"{float(self.power_mw):.1f} mW",
            self.law.trust(),
        ]
        if self.software:
            lines.append(f"in software, not counted: {', '.join(self.software)}")
        return lines


def estimate(
    placement: Placement,
    activity: Activity | Mapping[str, Number],
    *,
    batch: int = 1,
    law: Law | None = None,
) -> Cost:
    """Model latency, power and energy of a placement.

    Every argument but the placement may hold JAX scalars; then so does the result, and
    `jax.grad` follows it.

    Args:
      placement: of the model.
      activity: counts of `Model.activity`; or per layer the share of zeros in its output,
        in [0, 1], with the name of the `InputData` for the share of zeros in the input.
      batch: samples that enter together: a pass is a pipeline of its layers, and weights
        are reloaded once per pass and batch.
      law: other constants than the calibrated ones.

    Raises:
      ValueError: if a layer's events are not given or impossible, a name is unknown, or
        the batch is not positive.
    """
    batch = _check_batch(batch)
    device = placement.device
    law = law or published_law(device.law)
    events = layer_events(placement, activity)
    inside = [layer for layer in placement.layers if layer.split]
    layers = tuple(_layer_cost(layer, events[layer.name], placement, law) for layer in inside)
    slowest = [
        _largest([cost.compute_cycles for cost, layer in zip(layers, inside, strict=True)
                  if layer.pass_index == index])
        for index in range(placement.passes)
    ]  # fmt: skip
    once = sum(cost.compute_cycles + cost.load_cycles for cost in layers)
    cycles = once + (batch - 1) * sum(slowest)
    latency_ms = cycles / device.clock_hz * 1e3
    return Cost(
        layers=layers,
        cycles=cycles,
        latency_ms=latency_ms,
        pipelined_fps=device.clock_hz / sum(slowest),
        dynamic_mj=sum(cost.dynamic_mj for cost in layers),
        idle_mj=device.idle_mw * latency_ms / batch * 1e-3,
        device=device.name,
        batch=batch,
        law=law,
        software=tuple(layer.name for layer in placement.layers if not layer.split),
    )


def _check_batch(batch: int) -> int:
    whole = isinstance(batch, int | np.integer) and not isinstance(batch, bool)
    if not whole or not 1 <= batch < 2**24:
        raise ValueError(f"batch must be a positive integer below 2**24, got {batch!r}")
    return int(batch)


def _layer_cost(layer: LayerPlacement, events: Number, placement: Placement, law: Law) -> LayerCost:
    device, spec = placement.device, layer.program.spec
    compute = law.count(compute_work(layer, events, device))
    load = law.count(load_work(layer, device))
    energy = operations(layer, events) * law.tap_energy(getattr(spec, "kernel_size", 1))
    return LayerCost(
        name=layer.name,
        nps=layer.nps,
        events=events,
        compute_cycles=compute,
        load_cycles=load,
        latency_ms=(compute + load) / device.clock_hz * 1e3,
        dynamic_mj=energy * 1e-9,
    )


def _largest(values: Sequence[Number]) -> Number:
    if any(isinstance(value, jax.Array) for value in values):
        return jnp.max(jnp.stack([jnp.asarray(value, jnp.float32) for value in values]))
    return max(values)


def layer_events(
    placement: Placement, activity: Activity | Mapping[str, Number]
) -> dict[str, Number]:
    """Return the non-zero input values per sample of each layer; see `estimate`."""
    if isinstance(activity, Activity):
        return _counted_events(placement, activity)
    if not isinstance(activity, Mapping):
        raise TypeError(
            "estimate takes the Activity of a model, or a dict of output sparsity by layer "
            f"name, got {activity!r}"
        )
    names = placement.layer_names()
    sources = [placement.input_name, *names[:-1]]
    known = list(dict.fromkeys([*sources, names[-1]]))
    unknown = [name for name in activity if name not in known]
    missing = [
        source
        for source, layer in zip(sources, placement.layers, strict=True)
        if not isinstance(layer.program.spec, InputConvolutional) and source not in activity
    ]
    if unknown or missing:
        raise ValueError(
            f"sparsity must be given for every layer's input: missing {missing}, unknown "
            f"{unknown}; the layers are {', '.join(known)} (an Activity holds all of them)"
        )
    shares = {name: _check_share(name, share) for name, share in activity.items()}
    result: dict[str, Number] = {}
    for source, layer in zip(sources, placement.layers, strict=True):
        values = math.prod(layer.program.in_shape)
        is_input = isinstance(layer.program.spec, InputConvolutional)
        result[layer.name] = float(values) if is_input else values * (1 - shares[source])
    return result


def _counted_events(placement: Placement, activity: Activity) -> dict[str, Number]:
    names = placement.layer_names()
    if list(activity) != names:
        different = ", ".join(sorted(set(activity) ^ set(names))) or "order"
        raise ValueError(f"activity and placement differ in layers: {different}")
    result: dict[str, Number] = {}
    for layer in placement.layers:
        counted = activity[layer.name]
        if not counted.samples:
            raise ValueError("the activity is of no samples; count at least one input")
        values = math.prod(layer.program.in_shape)
        if counted.events_in > values * counted.samples:
            raise ValueError(
                f"layer {layer.name!r}: {counted.events_in} events of {counted.samples} samples "
                f"into {values} values; the activity is of another model"
            )
        result[layer.name] = counted.events_in / counted.samples
    return result


def _check_share(name: str, share: Number) -> Number:
    """Return the share as float, or as JAX scalar of float32."""
    if isinstance(share, jax.core.Tracer) and share.ndim == 0:
        return share.astype(jnp.float32)
    number = isinstance(share, int | float | np.number | np.ndarray | jax.Array)
    if number and np.ndim(share) == 0 and not np.iscomplexobj(share) and 0 <= float(share) <= 1:
        return share.astype(jnp.float32) if isinstance(share, jax.Array) else float(share)
    raise ValueError(f"layer {name!r}: sparsity must be one number in [0, 1], got {share!r}")
