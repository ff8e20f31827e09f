"""Writes a model as C99, and what it has to satisfy before that."""

import dataclasses
import math
import os
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from akida_jax.export.c_code import texts
from akida_jax.export.c_code.folder import check_folder, write_folder
from akida_jax.export.c_code.layers import LayerTables, make_tables
from akida_jax.export.c_code.learning import LearnerTables, make_learner
from akida_jax.export.c_code.memory import Buffer, plan
from akida_jax.export.c_code.names import check_name
from akida_jax.export.c_code.report import CExport, LayerRow
from akida_jax.layers import FullyConnected
from akida_jax.learning import EdgeLearner
from akida_jax.limits import Fault, ModelError
from akida_jax.model import Model
from akida_jax.quant.activations import activation_limit
from akida_jax.variables import raw_steps

LEARNED = "learned"
"""Row of the report, and buffer, of a layer that learns."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Parts:
    """Everything that is written down."""

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
        return self.learner.neurons if self.learner else math.prod(self.model.output_shape)

    @property
    def neurons_per_class(self) -> int:
        if self.learner:
            return self.learner.neurons_per_class
        last = self.model.layers[-1]
        return last.neurons_per_class if isinstance(last, FullyConnected) else 1


def to_c(
    model: Model,
    folder: str | os.PathLike,
    *,
    name: str = "model",
    skip_zeros: bool = False,
    packed: bool = True,
    learner: EdgeLearner | None = None,
    extra_classes: int = 0,
    sample: ArrayLike | None = None,
    ram_limit: int | None = None,
    flash_limit: int | None = None,
) -> CExport:
    """Write a model as C99: integers only, no heap, no library, the integers of `Model.forward`.

    The folder appears whole or not at all. An earlier export is replaced.

    Args:
      model: what to write.
      folder: new, empty or an earlier export; the folder around it exists.
      name: prefix of all names in C, so that several models fit into one program.
      skip_zeros: whether inputs of 0 are left out by default; the Makefile can change it.
      packed: whether weights of 1, 2 and 4 bits share bytes. Else each takes one.
      learner: learns behind the model, from its present state on.
      extra_classes: for which the learner shall have room besides its own.
      sample: uint8 input that ``main.c`` runs, of the model's input shape; drawn if left out.
      ram_limit: bytes that the static memory may take.
      flash_limit: bytes that weights, thresholds and steps may take.

    Raises:
      ValueError: for a name that C does not allow or that is taken, a sample or a learner that
        does not go with the model.
      ModelError: if a limit is exceeded; all of them at once, each with the layer that needs
        most.
      ExportError: if the folder holds anything but an earlier export.
      FileNotFoundError, NotADirectoryError: if there can be no such folder.
    """
    check_name(name)
    target = check_folder(folder)
    parts = _make_parts(model, name, packed, skip_zeros, learner, extra_classes)
    report = _report(parts, target)
    _check_limits(parts, report, ram_limit, flash_limit)
    files = _render(parts, report, *_sample(parts, learner, sample))
    return dataclasses.replace(report, files=write_folder(target, files))


def _make_parts(
    model: Model,
    name: str,
    packed: bool,
    skip_zeros: bool,
    learner: EdgeLearner | None,
    extra_classes: int,
) -> _Parts:
    if type(extra_classes) is not int or extra_classes < 0:
        raise ValueError(f"extra_classes must be a whole number from 0, got {extra_classes!r}")
    if learner is None and extra_classes:
        raise ValueError(f"extra_classes {extra_classes} without a learner; give one")
    layers = make_tables(model.programs, packed=packed)
    made = None if learner is None else make_learner(learner, model, extra_classes)
    constants = {
        f"{name}_{key}_{index}": values
        for index, layer in enumerate(layers)
        for key, values in layer.constants.items()
    }
    last = model.layers[-1]
    single = model.output_shape[:2] == (1, 1)
    predicts = made is None and single and not model.programs[-1].spec.activation
    if predicts:
        variables = model.variables[str(last.name)]
        steps = raw_steps(variables["step"], model.registers).astype(np.uint32)
        constants |= {f"{name}_thresholds_out": variables["threshold"], f"{name}_steps_out": steps}
    if made is not None:
        constants |= {f"{name}_{key}": values for key, values in made.constants.items()}
    return _Parts(
        model=model,
        name=name,
        layers=layers,
        buffers=plan(layers, keeps_last=made is not None),
        learner=made,
        constants=constants,
        predicts=predicts,
        skip_zeros=bool(skip_zeros),
    )


def _report(parts: _Parts, target: Path) -> CExport:
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
        buffers[LEARNED] = parts.learner.ram_bytes
        learned = sum(values.nbytes for values in parts.learner.constants.values())
    return CExport(folder=target, name=parts.name, files=(), layers=tuple(rows),
                   learning_flash_bytes=learned, buffers=buffers)  # fmt: skip


def _check_limits(
    parts: _Parts, report: CExport, ram_limit: int | None, flash_limit: int | None
) -> None:
    faults = []
    if ram_limit is not None and report.ram_bytes > ram_limit:
        needs = {buffer.name: buffer.layer for buffer in parts.buffers} | {LEARNED: LEARNED}
        name = max(report.buffers, key=report.buffers.__getitem__)
        faults.append(
            Fault(needs[name],
                  f"the static memory takes {report.ram_bytes:,} bytes, the limit is "
                  f"{ram_limit:,}; most of it is {name}, {report.buffers[name]:,}",
                  "use a smaller input, fewer filters or an earlier pool")
        )  # fmt: skip
    if flash_limit is not None and report.flash_bytes > flash_limit:
        sizes = {row.name: row.weight_bytes + row.other_bytes for row in report.layers}
        sizes[LEARNED] = report.learning_flash_bytes
        name = max(sizes, key=sizes.__getitem__)
        faults.append(
            Fault(name,
                  f"the constants take {report.flash_bytes:,} bytes, the limit is "
                  f"{flash_limit:,}; most of it are this layer's, {sizes[name]:,}",
                  "use fewer filters or weight bits, or packed=True")
        )  # fmt: skip
    if faults:
        raise ModelError(faults, "for this target")


def _sample(
    parts: _Parts, learner: EdgeLearner | None, sample: ArrayLike | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return an input, and what comes of it."""
    model = parts.model
    if sample is None:
        limit = activation_limit(model.input_bits)
        drawn = np.random.default_rng(0).integers(0, limit + 1, model.input_shape)
        x = drawn.astype(np.uint8)
    else:
        x = np.asarray(sample)
        x = x[0] if x.ndim == 4 and len(x) == 1 else x
    out = model.forward(x[None])
    if learner is None:
        return x, out.reshape(-1).astype(np.int32)
    potentials = np.zeros(parts.n_outputs, np.int32)
    if learner.state is not None:
        assert learner.input_shape is not None
        found = learner.predict(out.reshape(1, *learner.input_shape))[0]
        potentials[: len(found)] = found
    return x, potentials


def _render(
    parts: _Parts, report: CExport, sample: np.ndarray, expected: np.ndarray
) -> dict[str, str]:
    """Return the text of every file by its name."""
    name, learns = parts.name, parts.learner is not None
    sources = [f"{name}.c", f"{name}_data.c", "akida_runtime.c"] + ["akida_learning.c"] * learns
    values = {
        **_sections(parts),
        "report": "\n".join(str(report).splitlines()[:-1]),
        "sources": " ".join(sources),
        "objects": " ".join(source.replace(".c", ".o") for source in sources),
        "learning": ", `akida_learning.c`" * learns,
        "skip": str(int(parts.skip_zeros)),
        "title": f"{len(parts.layers)} layers{' and one that learns' * learns}",
        "version": texts.version(),
        "NAME": name.upper(),
        "name": name,
    }
    data = [texts.array(key, array) for key, array in parts.constants.items()]
    declared = [texts.declaration(key, array) for key, array in parts.constants.items()]
    shown = [
        texts.array(key, array).replace("const", "static const", 1)
        for key, array in ((f"{name}_sample", sample), (f"{name}_sample_output", expected))
    ]
    files = {
        f"{name}.h": texts.fill("model.h", values),
        f"{name}.c": texts.fill("model.c", values),
        f"{name}_data.h": texts.guarded(
            f"{name.upper()}_DATA_H", ["#include <stdint.h>", "", *declared]
        ),
        f"{name}_data.c": "\n".join([f'#include "{name}_data.h"\n', *data]),
        f"{name}_sample.h": texts.guarded(
            f"{name.upper()}_SAMPLE_H", ["#include <stdint.h>", "", *shown]
        ),
        "akida_config.h": texts.config(
            name, parts.layers, skip_zeros=parts.skip_zeros, largest=parts.predicts
        ),
        **{copied: texts.template(copied) for copied in ("akida_runtime.h", "akida_runtime.c")},
        **{file: texts.fill(file, values)
           for file in ("main.c", "Makefile", "CMakeLists.txt", "README.md")},
    }  # fmt: skip
    if learns:
        files |= {file: texts.template(file) for file in ("akida_learning.h", "akida_learning.c")}
    return files


def _sections(parts: _Parts) -> dict[str, str]:
    """Return what of a template depends on the kind of model; values may hold further keys."""
    learner = parts.learner
    sections = {
        "sizes": _macros(parts),
        "output": "the neurons' potentials" if learner else _describe_output(parts),
        "includes": "",
        "layers": texts.layer_entries(parts.layers, parts.name),
        "fields": texts.memory_fields(parts.buffers),
        "places": texts.memory_places(parts.buffers),
        "predict": texts.template("predict.h") if parts.predicts else "",
        "learn": "",
        "use": "@name@_predict(output)" if parts.predicts or learner else "output",
        "functions": texts.template("run.c") + (texts.template("predict.c") * parts.predicts),
    }
    if learner:
        sections |= {
            "includes": '\n#include <string.h>\n\n#include "akida_learning.h"\n',
            "learn": texts.template("learner.h"),
            "functions": texts.template("learner.c"),
            "learner": texts.learner_fields(learner),
            "first": texts.first_state(parts.name, learner),
        }
    return sections


def _describe_output(parts: _Parts) -> str:
    spec = parts.model.programs[-1].spec
    if not spec.activation:
        return "the last layer's potentials"
    return f"the last layer's levels, 0 to {activation_limit(spec.act_bits)}"


def _macros(parts: _Parts) -> str:
    model, learner = parts.model, parts.learner
    rows, columns, channels = model.input_shape
    work = sum(buffer.bytes for buffer in parts.buffers)
    flash = sum(values.nbytes for values in parts.constants.values())
    classes = 0
    if learner:
        classes = learner.most_classes
    elif parts.predicts:
        classes = parts.n_outputs // parts.neurons_per_class
    groups: list[dict[str, int]] = [
        {"INPUT_ROWS": rows, "INPUT_COLUMNS": columns, "INPUT_CHANNELS": channels,
         "INPUT_SIZE": math.prod(model.input_shape),
         "INPUT_MAX": activation_limit(model.input_bits)},
        {"OUTPUT_SIZE": parts.n_outputs, "CLASSES": classes,
         "NEURONS_PER_CLASS": parts.neurons_per_class},
        {"FLASH_BYTES": flash, "RAM_BYTES": work + (learner.ram_bytes if learner else 0),
         "WORK_BYTES": work,
         **{f"{buffer.name.upper()}_BYTES": buffer.bytes for buffer in parts.buffers}},
    ]  # fmt: skip
    if learner:
        groups.append({"LEARNING_BYTES": learner.ram_bytes, "MOST_CLASSES": learner.most_classes,
                       "WORDS": learner.words})  # fmt: skip
    return "\n\n".join(
        "\n".join(f"#define @NAME@_{key} {value}" for key, value in group.items())
        for group in groups
    )
