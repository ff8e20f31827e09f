"""Chips as data: every number with its unit and its source."""

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

from akida_jax.quant.registers import AKIDA_1, Registers


def _quantity(unit: str) -> Any:
    return dataclasses.field(metadata={"unit": unit})


@dataclasses.dataclass(frozen=True)
class Fact:
    """One number of a device.

    Attributes:
      name: field of `Device`.
      value: number, or None for no limit.
      unit: of the value.
      source: where it comes from, and how sure it is.
    """

    name: str
    value: float | int | bool | None
    unit: str
    source: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Device:
    """A chip, or a mesh that somebody thinks of building.

    Attributes:
      name: as printed.
      nps: neural processors, the input unit not counted; None for no limit.
      nps_per_node: how many share a node of the mesh.
      clock_hz: of the mesh.
      input_unit: whether images can enter by an input convolution on a unit of its own.
      partial_reconfiguration: whether weights are reloaded between passes, so that a
        model may use more neural processors than there are.
      columns_per_np: widest strip of an input map in one processor, the borders that
        padding adds (kernel - 1 in all) included.
      input_bytes_per_np: memory for a layer's input strip.
      input_value_bits: what an input value takes there, whatever its width.
      weight_bytes_per_np: memory for weights and pooled sums.
      depthwise_row_bytes: what one row of one channel's depthwise kernel takes.
      pooled_sum_bytes: what the sum of one filter's global average pool takes.
      most_filter_splits: into how many parts ``hw_pr`` cuts a layer's filters, where
        memory does not demand more.
      reload_fill: ``hw_pr`` stops splitting once a model fills the device more often.
      idle_mw: power while nothing is computed.
      law: name of the cost law that `estimate` takes (calibration/laws.json).
      registers: widths of threshold and step.
      sources: by field name, where the number comes from.
    """

    name: str
    nps: int | None = _quantity("neural processors")
    nps_per_node: int = _quantity("neural processors")
    clock_hz: float = _quantity("Hz")
    input_unit: bool = _quantity("")
    partial_reconfiguration: bool = _quantity("")
    columns_per_np: int = _quantity("columns")
    input_bytes_per_np: int = _quantity("bytes")
    input_value_bits: int = _quantity("bits")
    weight_bytes_per_np: int = _quantity("bytes")
    depthwise_row_bytes: int = _quantity("bytes")
    pooled_sum_bytes: int = _quantity("bytes")
    most_filter_splits: int = _quantity("parts")
    reload_fill: int = _quantity("devices")
    idle_mw: float = _quantity("mW")
    law: str
    registers: Registers = AKIDA_1
    sources: Mapping[str, str] = dataclasses.field(repr=False, hash=False, compare=False)

    def __post_init__(self):
        """Refuse numbers that describe no device, and a number without a source."""
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if "unit" not in field.metadata:
                continue
            if field.name not in self.sources:
                raise ValueError(f"device {self.name!r}: {field.name} has no source; give one")
            kind = getattr(field.type, "__name__", "int")
            unlimited = field.name == "nps" and value is None
            if not unlimited and not _FITS[kind](value):
                unit = field.metadata["unit"]
                wanted = {"bool": "a bool", "float": f"a positive number of {unit}",
                          "int": f"a positive whole number of {unit}"}  # fmt: skip
                raise ValueError(
                    f"device {self.name!r}: {field.name} must be {wanted[kind]}, got {value!r}"
                )

    def facts(self) -> Iterator[Fact]:
        """Yield every number with its unit and source."""
        for field in dataclasses.fields(self):
            if "unit" in field.metadata:
                value, source = getattr(self, field.name), self.sources[field.name]
                yield Fact(field.name, value, field.metadata["unit"], source)
        for field in dataclasses.fields(self.registers):
            value = getattr(self.registers, field.name)
            yield Fact(field.name, value, "bits", "docs/hardware.md#registers")


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _is_positive(value: object) -> bool:
    return _is_whole(value) or (isinstance(value, float) and 0 < value < math.inf)


_FITS: Mapping[str, Callable[[object], bool]] = {
    "bool": lambda value: isinstance(value, bool),
    "int": _is_whole,
    "float": _is_positive,
}
"""By declared type, what a field accepts; a union counts as an int."""


_INFERRED = "inferred from published counts, docs/cost-model.md#placement"

_SOURCES = {
    "nps_per_node": "vendor's public documentation, overview of the AKD1000",
    "input_unit": "vendor's public documentation, hardware constraints of InputConvolutional",
    "columns_per_np": _INFERRED,
    "input_bytes_per_np": _INFERRED,
    "input_value_bits": _INFERRED,
    "weight_bytes_per_np": _INFERRED,
    "depthwise_row_bytes": _INFERRED,
    "pooled_sum_bytes": _INFERRED,
    "most_filter_splits": _INFERRED,
    "reload_fill": _INFERRED,
}

AKD1000 = Device(
    name="AKD1000",
    nps=80,
    nps_per_node=4,
    clock_hz=300e6,
    input_unit=True,
    partial_reconfiguration=False,
    columns_per_np=34,
    input_bytes_per_np=45 * 1024,
    input_value_bits=4,
    weight_bytes_per_np=44 * 1024,
    depthwise_row_bytes=4,
    pooled_sum_bytes=4,
    most_filter_splits=16,
    reload_fill=4,
    idle_mw=909.5,
    law="AKD1000",
    sources=MappingProxyType(
        {
            **_SOURCES,
            "nps": "vendor's public documentation, overview of the AKD1000",
            "clock_hz": "vendor's public documentation, overview of the AKD1000",
            "partial_reconfiguration": "vendor's public measurements use it on an AKD1500 only",
            "idle_mw": "vendor's public measurements: the board idles at 905 to 914 mW",
        }
    ),
)
"""First chip: a mesh of 20 nodes, and an input unit. Idle power is that of its board."""

AKD1500 = dataclasses.replace(
    AKD1000,
    name="AKD1500",
    nps=32,
    clock_hz=400e6,
    partial_reconfiguration=True,
    idle_mw=113.5,
    law="AKD1500",
    sources=MappingProxyType(
        {
            **_SOURCES,
            "nps": "vendor's public measurements",
            "clock_hz": "vendor's public measurements",
            "partial_reconfiguration": "vendor's public measurements (mode HwPr)",
            "idle_mw": "vendor's public measurements: core rail, 111 to 116 mW",
        }
    ),
)
"""Co-processor that reloads weights between passes. Idle power is that of its core rail."""

DEVICES: Mapping[str, Device] = MappingProxyType({d.name.lower(): d for d in (AKD1000, AKD1500)})
"""Devices by lower-case name."""


def mesh(nps: int | None, *, like: Device = AKD1000, **changes: Any) -> Device:
    """Return a device of one's own.

    Args:
      nps: neural processors; None for a mesh without limit, on which one counts how
        many a model would take.
      like: device from which all other numbers come.
      **changes: other fields of `Device`, such as ``clock_hz=200e6``.

    Raises:
      ValueError: for a number that describes no device.
      TypeError: for a field that `Device` does not have.
    """
    own = {name: "given by the user" for name in ("nps", *changes) if name in like.sources}
    name = "mesh without limit" if nps is None else f"mesh of {nps}"
    sources = MappingProxyType({**like.sources, **own})
    return dataclasses.replace(like, **{"name": name, "nps": nps, "sources": sources, **changes})
