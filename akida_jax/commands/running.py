"""Run a model file on inputs of a file."""

from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import tyro

from akida_jax.commands.inputs import read_inputs
from akida_jax.files import load
from akida_jax.model import Model
from akida_jax.writing import check_target, replace_file

Form = Literal["classes", "logits", "integers"]


def run(
    model: Annotated[Path, tyro.conf.arg(aliases=["-m"], metavar="MODEL")],
    inputs: Annotated[Path, tyro.conf.arg(name="input", aliases=["-i"], metavar="FILE")],
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"], metavar="FILE")] = None,
    form: Form | None = None,
    executor: Literal["auto", "dense", "event", "native"] = "auto",
    activity: bool = False,
) -> None:
    """Run a model on inputs of a file; print classes or other outputs, one line per input.

    Example: akida-jax run -m model.akj -i input.npy --activity

    Args:
      model: a file written by akida_jax.save (.akj).
      inputs: levels, uint8, (n, h, w, c) or one of (h, w, c) in a .npy file; or an image (.png,
        .jpg, .bmp) of the model's height and width.
      output: write the outputs into this file (.npy) instead of printing them.
      form: classes (int64); logits (float32, the potential less its threshold, in steps); or
        integers (int32 potentials, uint8 levels where the last layer has an activation). By
        default classes, and integers where the output is a map.
      executor: how the integers are computed; each gives the same.
      activity: print what every layer did: events, sparsity, synaptic operations.
    """
    target = None if output is None else check_target(output)
    loaded = load(model)
    x = read_inputs(inputs, loaded.input_shape)
    is_map = loaded.output_shape[:2] != (1, 1)
    form = form or ("integers" if is_map else "classes")
    if is_map and target is None and not (activity and form == "integers"):
        shape = "x".join(map(str, loaded.output_shape))
        raise ValueError(f"the output is a map of {shape}, too much to print; add -o FILE.npy")
    if target is not None or not is_map:
        values = _outputs(loaded, x, form, executor)
        if target is None:
            _print_lines(values)
        else:
            with replace_file(target) as stream:
                np.save(stream, values, allow_pickle=False)
            print(f"{form} {values.dtype} {values.shape} written to {output}")
    if activity:
        print(loaded.activity(x, executor))


def _outputs(model: Model, x: np.ndarray, form: Form, executor: str) -> np.ndarray:
    if form == "classes":
        return model.predict_classes(x, executor)
    if form == "logits":
        return model.predict(x, executor)
    return model.forward(x, executor)


def _print_lines(values: np.ndarray) -> None:
    """Print one input per line."""
    for one in values:
        row = np.ravel(one)
        print(*(f"{value:.4f}" if row.dtype.kind == "f" else value for value in row))
