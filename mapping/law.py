"""The constants of the cost model, and what each of them multiplies.

Source of every formula: docs/cost-model.md.
"""

import dataclasses
import functools
import importlib.resources
import json
from collections.abc import Mapping
from importlib.resources.abc import Traversable
from typing import Any, NamedTuple

from akida_jax.layers import FullyConnected, InputConvolutional
from akida_jax.mapping.devices import Device
from akida_jax.mapping.placement import LayerPlacement
from akida_jax.mapping.splits import weight_bytes

Number = Any
"""A Python number or a JAX scalar."""


class Work(NamedTuple):
    """What one layer does for one sample; the law says how many cycles each unit takes.

    Attributes:
      input_unit_outputs: potentials that the input unit computes, before pooling.
      taps: events of the busiest strip, times its processor's filters, times kernel taps.
      scanned: input values of the busiest strip, zeros included.
      dense_operations: events times units of a fully connected layer.
      layers: 1.
      loaded_bytes: weights that arrive while the model runs.
      loads: 1 if any weights arrive.
    """

    input_unit_outputs: Number = 0
    taps: Number = 0
    scanned: Number = 0
    dense_operations: Number = 0
    layers: Number = 1
    loaded_bytes: Number = 0
    loads: Number = 0


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Law:
    """Cycles per unit of `Work`, and energy per operation.

    Attributes:
      cycles: per unit, by the field of `Work`.
      picojoules: dynamic energy per event, filter and kernel tap, by kernel size.
      errors: by what was compared, such as "cycles", absolute relative errors on the rows
        that the law was fitted to: "rows", "median", "worst"; and, where they are known,
        "median_left_out" and "worst_left_out", each row's network left out of the fit.
      remark: what was not compared.
    """

    cycles: Work
    picojoules: Mapping[int, float]
    errors: Mapping[str, Mapping[str, float]] = dataclasses.field(default_factory=dict)
    remark: str = ""

    def count(self, work: Work) -> Number:
        """Return the cycles of some work."""
        return sum(c * w for c, w in zip(self.cycles, work, strict=True))

    def tap_energy(self, kernel_size: int) -> float:
        """Return pJ per event, filter and kernel tap.

        Calibrated for 3x3 and 5x5 kernels; others take the value of the nearer one.
        """
        nearest = min(self.picojoules, key=lambda size: abs(size - kernel_size))
        return self.picojoules[nearest]

    def trust(self) -> str:
        """Return the errors in a sentence."""
        parts = []
        for what, error in self.errors.items():
            part = (
                f"{what} median {error['median']:.1%}, worst {error['worst']:.1%} over the "
                f"{error['rows']} published rows fitted to"
            )
            if "median_left_out" in error:
                part += (
                    f" (own network left out of the fit: median {error['median_left_out']:.1%}, "
                    f"worst {error['worst_left_out']:.0%})"
                )
            parts.append(part)
        known = "; ".join(parts) or "unknown, constants of one's own"
        return f"expected error: {known}{self.remark and '; ' + self.remark}"


def laws_path() -> Traversable:
    """Return the file that holds the calibrated laws."""
    return importlib.resources.files(__package__).joinpath("calibration/laws.json")


@functools.cache
def published_law(name: str) -> Law:
    """Return a law that is committed with this package.

    Raises:
      ValueError: if there is none of that name.
    """
    stored = json.loads(laws_path().read_text())
    if name not in stored:
        raise ValueError(f"no cost law {name!r}; there are {', '.join(stored)}")
    law = stored[name]
    return Law(
        cycles=Work(**law["cycles"]),
        picojoules={int(size): value for size, value in law["picojoules"].items()},
        errors=law["errors"],
        remark=law["remark"],
    )


def compute_work(layer: LayerPlacement, events: Number, device: Device) -> Work:
    """Return what a layer does for one sample.

    Weights of a fully connected layer in external memory arrive with every sample; they
    hide its arithmetic.

    Args:
      layer: a layer in hardware.
      events: non-zero input values of one sample, spread evenly over the columns.
      device: of the placement.
    """
    spec, (height, width, channels) = layer.program.spec, layer.program.in_shape
    split = layer.split
    assert split is not None
    if isinstance(spec, InputConvolutional):
        rows, columns, filters = spec.map_shape(spec.input_shape)
        return Work(input_unit_outputs=rows * columns * filters)
    if isinstance(spec, FullyConnected):
        if split.external:
            return Work(loaded_bytes=split.weight_bytes, loads=1)
        return Work(dense_operations=events * spec.units)
    share = split.columns / width
    return Work(
        taps=events * share * split.filters * spec.kernel_size**2,
        scanned=height * split.columns * channels,
    )


def load_work(layer: LayerPlacement, device: Device) -> Work:
    """Return what reloading the weights takes of a layer behind the first pass."""
    split = layer.split
    assert split is not None
    if not layer.pass_index or split.external:
        return Work(layers=0)
    loaded = weight_bytes(layer.program, split.filters, device) * split.nps
    return Work(layers=0, loaded_bytes=loaded, loads=1)


def operations(layer: LayerPlacement, events: Number) -> Number:
    """Return events times filters times kernel taps, over all neural processors."""
    spec = layer.program.spec
    if isinstance(spec, InputConvolutional):
        return 0
    taps = 1 if isinstance(spec, FullyConnected) else spec.kernel_size**2
    return events * spec.neurons * taps
