"""Layers onto neural processors, pass by pass.

Source of the rules: docs/cost-model.md#placement.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Literal

from akida_jax.layers import InputConvolutional
from akida_jax.limits import Fault
from akida_jax.mapping.checks import MappingError, check
from akida_jax.mapping.devices import Device
from akida_jax.mapping.splits import Split, split_layer
from akida_jax.model import Model
from akida_jax.programs import LayerProgram
from akida_jax.summary import Column

Mode = Literal["minimal", "all_nps", "hw_pr"]
MODES: tuple[Mode, ...] = ("minimal", "all_nps", "hw_pr")

Splits = tuple[Split, ...]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class LayerPlacement:
    """Where one layer runs.

    Attributes:
      program: the layer.
      split: how it is cut; None in software.
      pass_index: pass in which it runs, counted from 0; None in software.
      processors: numbers of its neural processors on the mesh.
    """

    program: LayerProgram = dataclasses.field(repr=False)
    split: Split | None
    pass_index: int | None
    processors: tuple[int, ...]

    @property
    def name(self) -> str:
        """Name of the layer."""
        return str(self.program.spec.name)

    @property
    def unit(self) -> str:
        """What runs it: "input unit", "neural processors" or "software"."""
        if self.split is None:
            return "software"
        is_input = isinstance(self.program.spec, InputConvolutional)
        return "input unit" if is_input else "neural processors"

    @property
    def nps(self) -> int:
        """Neural processors it takes; 0 on the input unit and in software."""
        return 0 if self.split is None else self.split.nps


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Placement:
    """A model on a device.

    Attributes:
      device: the chip.
      mode: "minimal", "all_nps" or "hw_pr".
      input_name: name of the model's first layer.
      layers: one for each computing layer, in order.
    """

    device: Device
    mode: Mode
    input_name: str
    layers: tuple[LayerPlacement, ...]

    @property
    def nps(self) -> int:
        """Neural processors, summed over the passes."""
        return sum(layer.nps for layer in self.layers)

    @property
    def passes(self) -> int:
        """How often the mesh is programmed for one batch."""
        return 1 + max(layer.pass_index for layer in self.layers if layer.pass_index is not None)

    @property
    def sequences(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """("hardware" or "software", layer names) for each run of layers."""
        runs: list[tuple[str, list[str]]] = []
        for layer in self.layers:
            kind = "hardware" if layer.split else "software"
            if not runs or runs[-1][0] != kind:
                runs.append((kind, []))
            runs[-1][1].append(layer.name)
        return tuple((kind, tuple(names)) for kind, names in runs)

    def __getitem__(self, name: str) -> LayerPlacement:
        """Return the layer of that name."""
        for layer in self.layers:
            if layer.name == name:
                return layer
        raise KeyError(name)

    def layer_names(self) -> list[str]:
        """Return the names of all layers, in order."""
        return [layer.name for layer in self.layers]

    def columns(self) -> list[Column]:
        """Return what `Model.summary` shows of a placement."""
        device = self.device
        inside = {layer.name: layer for layer in self.layers if layer.split}
        on_mesh = {n: layer.split for n, layer in inside.items() if layer.split and layer.nps}
        nps = {layer.name: str(layer.nps or layer.unit) for layer in self.layers}
        splits = {n: f"{s.strips}x{s.filter_parts}" for n, s in on_mesh.items()}
        inputs = {n: _of(s.input_bytes, device.input_bytes_per_np) for n, s in on_mesh.items()}
        weights = {
            n: "external" if s.external else _of(s.weight_bytes, device.weight_bytes_per_np)
            for n, s in on_mesh.items()
        }
        passes = {name: str(1 + (layer.pass_index or 0)) for name, layer in inside.items()}
        return [
            Column(title="NPs", cells=nps, total=str(self.nps)),
            Column(title="strips x parts", cells=splits),
            Column(title="input KiB", cells=inputs),
            Column(title="weight KiB", cells=weights),
            *([Column(title="pass", cells=passes)] if self.passes > 1 else []),
        ]

    def notes(self) -> list[str]:
        """Return what stands below the table."""
        available = "no limit" if self.device.nps is None else str(self.device.nps)
        passes = "1 pass" if self.passes == 1 else f"{self.passes} passes"
        return [
            f"{self.device.name}, mode {self.mode}: {self.nps} neural processors in {passes} "
            f"(device: {available}); memory of the fullest processor of each layer"
        ]


def _of(used: int, available: int) -> str:
    return f"{used / 1024:.1f} of {available / 1024:g}"


def place(
    model: Model, device: Device, mode: Mode = "minimal", *, hw_only: bool = False
) -> Placement:
    """Place every layer on neural processors.

    What does not fit runs in software: without partial reconfiguration the layers behind
    the last that fits, with it only a layer that exceeds the whole device.

    Args:
      model: the model.
      device: the chip, or a mesh.
      mode: "minimal", the fewest processors; "all_nps", as many as there are in the fewest
        passes; "hw_pr", many passes, each as full as possible.
      hw_only: refuse a model of which a part would run in software.

    Raises:
      MappingError: every violation of the device's limits at once; without any, every layer
        that would run in software, if ``hw_only`` or if no layer fits.
      ValueError: for a mode that there is not, or not on this device.
      TypeError: for something else than a model and a device.
    """
    if not isinstance(model, Model):
        raise TypeError(f"place takes a Model, got {model!r}; build one with akida_jax.Model")
    if not isinstance(device, Device):
        raise TypeError(
            f"place takes a Device, got {device!r}; see mapping.DEVICES and mapping.mesh"
        )
    _check_mode(device, mode)
    programs = model.programs
    faults = check(model, device)
    outside: list[Fault | None] = []
    if not faults:
        outside = _software(programs, _split_all(programs, device), device)
        left_over = [fault for fault in outside if fault is not None]
        if hw_only or len(left_over) == len(programs):
            faults = left_over
    if faults:
        raise MappingError(faults, f"in the placement on {device.name}")
    inside = tuple(p for p, fault in zip(programs, outside, strict=True) if fault is None)
    splits = iter(_SPLITTERS[mode](inside, device))
    chosen = [None if fault else next(splits) for fault in outside]
    return Placement(
        device=device,
        mode=mode,
        input_name=str(model.layers[0].name),
        layers=tuple(_layers(programs, chosen, device)),
    )


def _check_mode(device: Device, mode: str) -> None:
    if mode not in MODES:
        raise ValueError(f"mode {mode!r} is not one of {', '.join(MODES)}")
    if mode == "hw_pr" and not device.partial_reconfiguration:
        raise ValueError(f"{device.name} cannot reload weights between passes; use all_nps")
    if mode != "minimal" and device.nps is None:
        raise ValueError(f"mode {mode!r} fills a device, {device.name} has no end; use minimal")


def _software(
    programs: Sequence[LayerProgram], splits: Splits, device: Device
) -> list[Fault | None]:
    """Return for each layer why it cannot run in hardware, or None."""
    if device.nps is None:
        return [None] * len(programs)
    result: list[Fault | None] = []
    left = device.nps
    for program, split in zip(programs, splits, strict=True):
        available = device.nps if device.partial_reconfiguration else left
        behind = next((f.layer for f in result if f), None)
        if not device.partial_reconfiguration and behind:
            what = f"comes behind layer {behind!r}, which does not fit"
        elif split.nps > available:
            what = f"needs {split.nps} neural processors, {available} of {device.nps} left"
        else:
            left -= split.nps
            result.append(None)
            continue
        remedy = "use fewer filters, a smaller input or a larger device"
        result.append(Fault(str(program.spec.name), what, remedy))
    return result


def _split_all(
    programs: Sequence[LayerProgram], device: Device, most_filters: int | None = None
) -> Splits:
    return tuple(split_layer(program, device, most_filters) for program in programs)


def _finer(programs: Sequence[LayerProgram], device: Device) -> Iterator[Splits]:
    """Yield ever finer splits: each time the largest parts of filters are cut further."""
    splits = _split_all(programs, device)
    while True:
        yield splits
        largest = max((s.filters for s, p in zip(splits, programs, strict=True)
                       if p.spec.kind in ("conv", "separable")), default=1)  # fmt: skip
        if largest == 1:
            return
        splits = _split_all(programs, device, largest - 1)


def _minimal(programs: Sequence[LayerProgram], device: Device) -> Splits:
    return _split_all(programs, device)


def _all_nps(programs: Sequence[LayerProgram], device: Device) -> Splits:
    """Return the finest splits that take no more passes than the coarsest."""
    chosen = least = _split_all(programs, device)
    passes = _assign(least, device)[-1]
    for splits in _finer(programs, device):
        if not _fit(splits, device) or _assign(splits, device)[-1] > passes:
            break
        chosen = splits
    return chosen


def _hw_pr(programs: Sequence[LayerProgram], device: Device) -> Splits:
    """Return the first splits that fill the device often enough, or the finest allowed."""
    assert device.nps is not None
    chosen = least = _split_all(programs, device)
    for splits in _finer(programs, device):
        parts = zip(splits, least, strict=True)
        if not _fit(splits, device) or any(
            s.filter_parts > max(device.most_filter_splits, f.filter_parts) for s, f in parts
        ):
            break
        chosen = splits
        if sum(s.nps for s in splits) > device.reload_fill * device.nps:
            break
    return chosen


_SPLITTERS = {"minimal": _minimal, "all_nps": _all_nps, "hw_pr": _hw_pr}


def _fit(splits: Splits, device: Device) -> bool:
    return device.nps is None or all(split.nps <= device.nps for split in splits)


def _assign(splits: Sequence[Split], device: Device) -> list[int]:
    """Return the pass of each layer: a layer that finds too few left opens the next."""
    result, index, used = [], 0, 0
    for split in splits:
        if device.nps is not None and used + split.nps > device.nps:
            index, used = index + 1, 0
        used += split.nps
        result.append(index)
    return result


def _layers(
    programs: Sequence[LayerProgram], splits: Sequence[Split | None], device: Device
) -> Iterator[LayerPlacement]:
    passes = iter(_assign([split for split in splits if split], device))
    index, used = -1, 0
    for program, split in zip(programs, splits, strict=True):
        if split is None:
            yield LayerPlacement(program=program, split=None, pass_index=None, processors=())
            continue
        previous, index = index, next(passes)
        used = used if index == previous else 0
        processors = tuple(range(used, used + split.nps))
        used += split.nps
        yield LayerPlacement(program=program, split=split, pass_index=index, processors=processors)
