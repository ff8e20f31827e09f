"""Published measurements of an AKD1500, as rows that a law can be compared with.

Source: the vendor's public measurements (published/*.csv, each with its source line).
"""

import csv
import dataclasses
import importlib.resources
import json
from collections.abc import Iterator, Mapping

from akida_jax.mapping.cost import layer_events
from akida_jax.mapping.devices import AKD1500
from akida_jax.mapping.law import Law, Work, compute_work, load_work, operations
from akida_jax.mapping.placement import Placement, place
from akida_jax.model import Model

STAND_INS = {
    "akidanet_0.5_160_imagenet": "akidanet_0.5_224_plant_village",
    "akidanet_0.5_224_imagenet": "akidanet_0.5_224_plant_village",
    "akidanet_1.0_160_imagenet": "akidanet_1.0_224_imagenet",
}
"""Models whose sparsity is published as one mean only: the layer profile of another model
is scaled to that mean."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measurement:
    """One published figure, and what the placement says it consists of.

    Attributes:
      model: name of the network.
      what: layer name, or mapping mode of the whole model.
      cycles: measured, of one sample.
      dynamic_mj: measured energy above idle, of one sample; None if not published.
      total_mj: the same with idling.
      total_mw: measured mean power.
      work: what the law counts.
      operations: events times filters times kernel taps, by kernel size.
    """

    model: str
    what: str
    cycles: float
    dynamic_mj: float | None
    total_mj: float | None = None
    total_mw: float | None = None
    work: Work
    operations: dict[int, float]

    def cycle_error(self, law: Law) -> float:
        """Return (modelled - measured) / measured cycles."""
        return float(law.count(self.work) / self.cycles - 1)

    def energy_error(self, law: Law) -> float:
        """Return (modelled - measured) / measured dynamic energy."""
        assert self.dynamic_mj is not None
        return self.modelled_mj(law) / self.dynamic_mj - 1

    def total_error(self, law: Law) -> float:
        """Return (modelled - measured) / measured energy, idling included."""
        assert self.total_mj is not None
        idle_mj = AKD1500.idle_mw * float(law.count(self.work)) / AKD1500.clock_hz
        return (self.modelled_mj(law) + idle_mj) / self.total_mj - 1

    def power_error(self, law: Law) -> float:
        """Return (modelled - measured) / measured mean power."""
        assert self.total_mj is not None
        assert self.total_mw is not None
        seconds = float(law.count(self.work)) / AKD1500.clock_hz
        return (1 + self.total_error(law)) * self.total_mj / seconds / self.total_mw - 1

    def modelled_mj(self, law: Law) -> float:
        """Return the modelled dynamic energy."""
        return sum(n * law.tap_energy(size) for size, n in self.operations.items()) * 1e-9


def read_table(name: str) -> list[dict[str, str]]:
    """Return the rows of one of the published tables."""
    text = importlib.resources.files(__package__).joinpath(f"published/{name}.csv").read_text()
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return list(csv.DictReader(lines))


def read_paper() -> dict:
    """Return the tables of the system paper."""
    folder = importlib.resources.files(__package__)
    return json.loads(folder.joinpath("published/paper_tables.json").read_text())


def layer_profile(model: str) -> list[float]:
    """Return the measured output sparsity of each layer of a network."""
    rows = read_table("akd1500_layers")
    return [float(row["output_sparsity"]) for row in rows if row["model"] == model]


def read_measurements(models: Mapping[str, Model]) -> list[Measurement]:
    """Return all published cycles and energies.

    Args:
      models: the measured networks by name, layers in the order of the tables; weights
        do not matter.
    """
    published: dict[str, list[dict[str, str]]] = {}
    for row in read_table("akd1500_layers"):
        published.setdefault(row["model"], []).append(row)
    profiles = {
        name: [float(row["output_sparsity"]) for row in rows] for name, rows in published.items()
    }
    result: list[Measurement] = []
    for name, rows in published.items():
        placement = place(models[name], AKD1500, "minimal")
        result += _layer_rows(name, placement, rows, profiles[name])
    for row in read_table("akd1500_modes"):
        result.append(_mode_row(row, models, profiles))
    return result


def _layer_rows(
    model: str, placement: Placement, rows: list[dict[str, str]], profile: list[float]
) -> Iterator[Measurement]:
    parts = _parts(placement, profile)
    for row, (work, operated) in zip(rows, parts, strict=True):
        cycles = float(row["latency_ms"]) * 1e-3 * AKD1500.clock_hz
        yield Measurement(model=model, what=row["layer"], cycles=cycles, dynamic_mj=None,
                          work=work, operations=operated)  # fmt: skip


def _mode_row(
    row: dict[str, str], models: Mapping[str, Model], profiles: Mapping[str, list[float]]
) -> Measurement:
    name = model_name(row)
    placement = place(models[name], AKD1500, row["mode"])  # type: ignore[arg-type]
    profile = profiles[STAND_INS.get(name, name)][: len(placement.layers) - 1]
    published = float(row["sparsity"])
    if name in STAND_INS:
        # The mean counts the last layer, whose potentials are hardly ever zero.
        mean = sum(profile) / len(placement.layers)
        events = 1 - sum(profile) / len(profile)
        wanted = 1 - published * len(placement.layers) / len(profile)
        assert 0 < mean < 1
        profile = [1 - (1 - share) * wanted / events for share in profile]
    parts = _parts(placement, [*profile, 0.0])
    total = Work(*(sum(column) for column in zip(*(work for work, _ in parts), strict=True)))
    operated: dict[int, float] = {}
    for _, part in parts:
        for size, count in part.items():
            operated[size] = operated.get(size, 0.0) + count
    return Measurement(model=name, what=row["mode"], cycles=float(row["cycles"]),
                       dynamic_mj=float(row["dynamic_mj"]), total_mj=float(row["total_mj"]),
                       total_mw=float(row["total_mw"]), work=total,
                       operations=operated)  # fmt: skip


def model_name(row: dict[str, str]) -> str:
    """Return the network's name of a row of akd1500_modes."""
    if row["model"] == "akidanet_plant_village":
        return "akidanet_0.5_224_plant_village"
    if row["model"] == "akidanet_imagenet":
        return f"akidanet_{row['alpha']}_{row['resolution']}_imagenet"
    return row["model"]


def _parts(placement: Placement, profile: list[float]) -> list[tuple[Work, dict[int, float]]]:
    """Return each layer's work and operations, given the output sparsity of each."""
    names = [layer.name for layer in placement.layers]
    events = layer_events(placement, dict(zip(names, profile, strict=True)))
    result = []
    for layer in placement.layers:
        compute = compute_work(layer, events[layer.name], placement.device)
        load = load_work(layer, placement.device)
        work = Work(*(a + b for a, b in zip(compute, load, strict=True)))
        size = getattr(layer.program.spec, "kernel_size", 1)
        result.append((work, {size: operations(layer, events[layer.name])}))
    return result
