"""Write a model file in the form of another program."""

from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import tyro

from akida_jax import export
from akida_jax.commands.inputs import read_inputs
from akida_jax.files import load
from akida_jax.learning import EdgeLearner


def export_c(
    model: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="MODEL")]],
    folder: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="FOLDER")]],
    name: str = "model",
    skip_zeros: bool = False,
    packed: bool = True,
    learner: Path | None = None,
    extra_classes: int = 0,
    sample: Path | None = None,
    ram_limit: int | None = None,
    flash_limit: int | None = None,
) -> None:
    """Write a model as C99 for microcontrollers: integers only, no heap, no library.

    Example: akida-jax export-c model.akj firmware --skip-zeros

    Args:
      model: a file written by akida_jax.save (.akj).
      folder: new, empty or an earlier export, which is replaced.
      name: prefix of all names in C.
      skip_zeros: leave out inputs of 0; the Makefile can change it.
      packed: weights of 1, 2 and 4 bits share bytes; else each takes one.
      learner: a file written by EdgeLearner.save (.akl), which learns behind the model.
      extra_classes: for which the learner shall have room besides its own.
      sample: input that main.c runs (.npy or an image); drawn at random if left out.
      ram_limit: bytes that the static memory may take.
      flash_limit: bytes that weights, thresholds and steps may take.
    """
    loaded = load(model)
    report = export.to_c(
        loaded,
        folder,
        name=name,
        skip_zeros=skip_zeros,
        packed=packed,
        learner=None if learner is None else EdgeLearner.load(learner),
        extra_classes=extra_classes,
        sample=None if sample is None else _one_input(sample, loaded.input_shape),
        ram_limit=ram_limit,
        flash_limit=flash_limit,
    )
    print(report)


def _one_input(path: Path, shape: tuple[int, int, int]) -> np.ndarray:
    x = read_inputs(path, shape)
    if len(x) != 1:
        raise ValueError(f"{path}: {len(x)} inputs; the sample is one")
    return x[0]


def export_jax(
    model: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="MODEL")]],
    target: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="TARGET")]],
    platforms: tuple[Literal["cpu", "cuda", "rocm", "tpu"], ...] = ("cpu", "cuda"),
) -> None:
    """Write a model as an artefact of jax.export, which runs without this package.

    Example: akida-jax export-jax model.akj model.jaxexport --platforms cpu cuda

    Args:
      model: a file written by akida_jax.save (.akj).
      target: the file to write.
      platforms: where it is to run.
    """
    _check_apart(model, target)
    export.to_jax(load(model), target, platforms=platforms)
    _report(target)


def export_onnx(
    model: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="MODEL")]],
    target: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="TARGET")]],
    channels_first: bool = False,
) -> None:
    """Write a model as a graph of standard ONNX operators.

    Example: akida-jax export-onnx model.akj model.onnx

    Args:
      model: a file written by akida_jax.save (.akj).
      target: the file to write (.onnx).
      channels_first: input and output are (n, c, h, w) instead of (n, h, w, c).
    """
    _check_apart(model, target)
    export.to_onnx(load(model), target, channels_first=channels_first)
    _report(target)


def _check_apart(model: Path, target: Path) -> None:
    if model.resolve() == target.resolve():
        raise ValueError(f"{target} is the model itself; give another file to write")


def _report(target: Path) -> None:
    print(f"{target.stat().st_size:,} bytes written to {target}")
