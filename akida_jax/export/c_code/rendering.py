"""The text of every file of an export."""

import math

import numpy as np

from akida_jax.export.c_code import texts
from akida_jax.export.c_code.parts import Parts
from akida_jax.export.c_code.report import CExport
from akida_jax.quant.activations import activation_limit

_COPIED = ("akida_runtime.h", "akida_runtime.c")
_COPIED_TO_LEARN = ("akida_learning.h", "akida_learning.c")
_FILLED = ("main.c", "Makefile", "CMakeLists.txt", "README.md")


def render(
    parts: Parts, report: CExport, sample: np.ndarray, expected: np.ndarray
) -> dict[str, str]:
    """Return the text of every file by its name.

    Args:
      parts: what is written down.
      report: what it takes.
      sample: an input.
      expected: its output.
    """
    name = parts.name
    names = {"name": name, "NAME": name.upper()}
    values = {**names, **_common(parts, report), **_sections(parts, names)}
    copied = _COPIED + _COPIED_TO_LEARN * (parts.learner is not None)
    config = texts.config(name, parts.layers, skip_zeros=parts.skip_zeros, largest=parts.predicts)
    return {
        f"{name}.h": texts.fill("model.h", values),
        f"{name}.c": texts.fill("model.c", values),
        **_data(parts),
        f"{name}_sample.h": _sample(name, sample, expected),
        "akida_config.h": config,
        **{file: texts.template(file) for file in copied},
        **{file: texts.fill(file, values) for file in _FILLED},
    }


def _data(parts: Parts) -> dict[str, str]:
    name, arrays = parts.name, parts.constants.items()
    declared = [texts.declaration(key, array) for key, array in arrays]
    defined = [texts.array(key, array) for key, array in arrays]
    header = texts.guarded(f"{name.upper()}_DATA_H", ["#include <stdint.h>", "", *declared])
    return {
        f"{name}_data.h": header,
        f"{name}_data.c": "\n".join([f'#include "{name}_data.h"\n', *defined]),
    }


def _sample(name: str, sample: np.ndarray, expected: np.ndarray) -> str:
    arrays = {f"{name}_sample": sample, f"{name}_sample_output": expected}
    shown = [f"static {texts.array(key, array)}" for key, array in arrays.items()]
    return texts.guarded(f"{name.upper()}_SAMPLE_H", ["#include <stdint.h>", "", *shown])


def _common(parts: Parts, report: CExport) -> dict[str, str]:
    name, learns = parts.name, parts.learner is not None
    sources = [f"{name}.c", f"{name}_data.c", "akida_runtime.c"] + ["akida_learning.c"] * learns
    n = len(parts.layers)
    return {
        "report": "\n".join(str(report).splitlines()[:-1]),
        "sources": " ".join(sources),
        "objects": " ".join(source.replace(".c", ".o") for source in sources),
        "skip": str(int(parts.skip_zeros)),
        "title": f"{n} layer{'s' * (n > 1)}{' and one that learns' * learns}",
        "version": texts.version(),
        "sizes": _macros(parts),
        "layers": texts.layer_entries(parts.layers, name),
        "fields": texts.memory_fields(parts.buffers),
        "places": texts.memory_places(parts.buffers),
        "use": f"{name}_predict(output)" if parts.n_classes else "output",
    }


def _sections(parts: Parts, names: dict[str, str]) -> dict[str, str]:
    """Return what of a template depends on the kind of model."""
    if parts.learner is None:
        predicts = parts.predicts
        return {
            "output": _describe_output(parts),
            "learning": "",
            "includes": "",
            "predict": texts.fill("predict.h", names) if predicts else "",
            "learn": "",
            "functions": texts.fill("run.c", names)
            + (texts.fill("predict.c", names) if predicts else ""),
        }
    values = {
        **names,
        "learner": texts.learner_fields(parts.learner),
        "first": texts.first_state(parts.name, parts.learner),
    }
    return {
        "output": "the neurons' potentials",
        "learning": ", `akida_learning.c`",
        "includes": '#include "akida_learning.h"\n',
        "predict": "",
        "learn": texts.fill("learner.h", values),
        "functions": texts.fill("learner.c", values),
    }


def _describe_output(parts: Parts) -> str:
    spec = parts.model.programs[-1].spec
    if not spec.activation:
        return "the last layer's potentials"
    return f"the last layer's levels, 0 to {activation_limit(spec.act_bits)}"


def _macros(parts: Parts) -> str:
    """Return the sizes that a program may ask for."""
    model, learner = parts.model, parts.learner
    rows, columns, channels = model.input_shape
    flash = sum(values.nbytes for values in parts.constants.values())
    learning = learner.ram_bytes if learner else 0
    groups: list[dict[str, int]] = [
        {"INPUT_ROWS": rows, "INPUT_COLUMNS": columns, "INPUT_CHANNELS": channels,
         "INPUT_SIZE": math.prod(model.input_shape),
         "INPUT_MAX": activation_limit(model.input_bits)},
        {"OUTPUT_SIZE": parts.n_outputs, "CLASSES": parts.n_classes,
         "NEURONS_PER_CLASS": parts.neurons_per_class},
        {"FLASH_BYTES": flash, "RAM_BYTES": parts.work_bytes + learning,
         "WORK_BYTES": parts.work_bytes,
         **{f"{buffer.name.upper()}_BYTES": buffer.bytes for buffer in parts.buffers}},
    ]  # fmt: skip
    if learner:
        groups.append({"LEARNING_BYTES": learning, "MOST_CLASSES": learner.most_classes,
                       "WORDS": learner.words})  # fmt: skip
    prefix = f"#define {parts.name.upper()}_"
    return "\n\n".join(
        "\n".join(f"{prefix}{key} {value}" for key, value in group.items()) for group in groups
    )
