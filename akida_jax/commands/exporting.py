"""Write a model file in the form of another program."""

from pathlib import Path
from typing import Annotated, Literal

import tyro

from akida_jax import export
from akida_jax.files import load


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
    export.to_onnx(load(model), target, channels_first=channels_first)
    _report(target)


def _report(target: Path) -> None:
    print(f"{target.stat().st_size:,} bytes written to {target}")
