"""Everything that an export writes down, and whether it fits."""

import dataclasses
import math
from pathlib import Path

import numpy as np

from akida_jax.export.c_code.layers import LayerTables, make_tables
from akida_jax.export.c_code.learning import LearnerTables, make_learner
from akida_jax.export.c_code.memory import Buffer, plan
from akida_jax.export.c_code.report import CExport, LayerRow
from akida_jax.layers import FullyConnected
from akida_jax.learning import EdgeLearner
from akida_jax.limits import Fault, ModelError
from akida_jax.model import Model
from akida_jax.variables import raw_steps

LEARNER = "learner"
"""Name of the memory of a learner, and what stands for its layer in messages."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Parts:
    """Everything that is written down.

    Attributes:
      model: in front of the learner, if there is one.
      name: prefix in C.
      layers: in order.
      buffers: of the static memory.
      learner: None without one.
      constants: of layers, output and learner, by their names in C.
      predicts: whether thresholds and steps of the output are among them.
      skip_zeros: by default.
    """

    model: Model
    name: str
    layers: list[LayerTables]
    buffers: list[Buffer]
    learner: LearnerTables | None
    constants: dict[str, np.ndarray]
    predicts: bool
    skip_zeros: bool

    @property
    def n_outputs(self) -> int:
        """Values of an output."""
        return self.learner.neurons if self.learner else math.prod(self.model.output_shape)

    @property
    def neurons_per_class(self) -> int:
        """Values of an output that answer for one class."""
        if self.learner:
            return self.learner.neurons_per_class
        last = self.model.layers[-1]
        return last.neurons_per_class if isinstance(last, FullyConnected) else 1

    @property
    def n_classes(self) -> int:
        """Classes that can be predicted, 0 if none can."""
        return self.n_outputs // self.neurons_per_class if self.predicts or self.learner else 0

    @property
    def work_bytes(self) -> int:
        """Bytes of the static memory but what learning changes."""
        return sum(buffer.bytes for buffer in self.buffers)


def make_parts(model: Model, name: str, *, packed: bool, skip_zeros: bool) -> Parts:
    """Return the parts of a model without a learner."""
    layers = make_tables(model.programs, packed=packed)
    constants = _of_layers(layers, name)
    last = model.programs[-1].spec
    predicts = model.output_shape[:2] == (1, 1) and not last.activation
    if predicts:
        variables = model.variables[str(last.name)]
        steps = raw_steps(variables["step"], model.registers).astype(np.uint32)
        constants |= {f"{name}_thresholds_out": variables["threshold"], f"{name}_steps_out": steps}
    return Parts(
        model=model, name=name, layers=layers, buffers=plan(layers, keeps_last=False),
        learner=None, constants=constants, predicts=predicts, skip_zeros=skip_zeros,
    )  # fmt: skip


def with_learner(parts: Parts, learner: EdgeLearner, extra_classes: int) -> Parts:
    """Return the parts of a model with a learner behind it.

    Raises:
      ValueError: as `make_learner`.
    """
    made = make_learner(learner, parts.model, extra_classes)
    learned = {f"{parts.name}_{key}": values for key, values in made.constants.items()}
    return dataclasses.replace(
        parts,
        buffers=plan(parts.layers, keeps_last=True),
        learner=made,
        constants=_of_layers(parts.layers, parts.name) | learned,
        predicts=False,
    )


def _of_layers(layers: list[LayerTables], name: str) -> dict[str, np.ndarray]:
    return {
        f"{name}_{key}_{index}": values
        for index, layer in enumerate(layers)
        for key, values in layer.constants.items()
    }


def make_report(parts: Parts, target: Path) -> CExport:
    """Return what an export will take; its files are not written yet."""
    rows = []
    for layer in parts.layers:
        weights = sum(layer.constants[key].nbytes for key in ("depthwise", "weights")
                      if key in layer.constants)  # fmt: skip
        other = sum(values.nbytes for values in layer.constants.values()) - weights
        if parts.predicts and layer is parts.layers[-1]:
            other += sum(parts.constants[f"{parts.name}_{key}_out"].nbytes
                         for key in ("thresholds", "steps"))  # fmt: skip
        rows.append(
            LayerRow(name=layer.name, kind=layer.kind, out_shape=layer.out_shape,
                     code_bits=layer.code_bits, weight_bytes=weights, other_bytes=other,
                     largest_sum=layer.largest_sum)
        )  # fmt: skip
    buffers = {buffer.name: buffer.bytes for buffer in parts.buffers}
    learned = 0
    if parts.learner:
        buffers[LEARNER] = parts.learner.ram_bytes
        learned = sum(values.nbytes for values in parts.learner.constants.values())
    return CExport(folder=target, name=parts.name, files=(), layers=tuple(rows),
                   learning_flash_bytes=learned, buffers=buffers)  # fmt: skip


def check_limits(
    parts: Parts, report: CExport, ram_limit: int | None, flash_limit: int | None
) -> None:
    """Refuse what takes more than the limits, in bytes.

    Raises:
      ModelError: with the layer that needs most of the memory, or of the constants, or both.
      ValueError: if a limit is no positive whole number.
    """
    for name, limit in (("ram_limit", ram_limit), ("flash_limit", flash_limit)):
        if limit is not None and (type(limit) is not int or limit < 1):
            raise ValueError(f"{name} must be a whole number of bytes from 1, got {limit!r}")
    faults = []
    if ram_limit is not None and report.ram_bytes > ram_limit:
        layers = {buffer.name: buffer.layer for buffer in parts.buffers}
        name = max(report.buffers, key=report.buffers.__getitem__)
        faults.append(
            Fault(layers.get(name, LEARNER),
                  f"the static memory takes {report.ram_bytes:,} bytes, the limit is "
                  f"{ram_limit:,}; most of it is {name}, {report.buffers[name]:,}",
                  "use a smaller input, fewer filters, classes or neurons, or an earlier pool")
        )  # fmt: skip
    if flash_limit is not None and report.flash_bytes > flash_limit:
        sizes = [(row.weight_bytes + row.other_bytes, row.name) for row in report.layers]
        most, name = max([*sizes, (report.learning_flash_bytes, LEARNER)])
        faults.append(
            Fault(name,
                  f"the constants take {report.flash_bytes:,} bytes, the limit is "
                  f"{flash_limit:,}; most of it are this layer's, {most:,}",
                  "use fewer filters or weight bits, or packed=True")
        )  # fmt: skip
    if faults:
        raise ModelError(faults, "for this target")
