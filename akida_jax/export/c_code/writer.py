"""Writes a model as C99."""

import dataclasses
import os

import numpy as np
from numpy.typing import ArrayLike

from akida_jax.export.c_code.folder import check_folder, write_folder
from akida_jax.export.c_code.names import check_name
from akida_jax.export.c_code.parts import (
    Parts,
    check_limits,
    make_parts,
    make_report,
    with_learner,
)
from akida_jax.export.c_code.rendering import render
from akida_jax.export.c_code.report import CExport
from akida_jax.learning import EdgeLearner
from akida_jax.model import Model
from akida_jax.quant.activations import activation_limit


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
    parts = make_parts(model, name, packed=packed, skip_zeros=skip_zeros)
    _check_extra_classes(extra_classes, learner)
    if learner is not None:
        parts = with_learner(parts, learner, extra_classes)
    report = make_report(parts, target)
    check_limits(parts, report, ram_limit, flash_limit)
    files = render(parts, report, *_sample(parts, learner, sample))
    return dataclasses.replace(report, files=write_folder(target, files))


def _check_extra_classes(extra_classes: object, learner: EdgeLearner | None) -> None:
    if type(extra_classes) is not int or extra_classes < 0:
        raise ValueError(f"extra_classes must be a whole number from 0, got {extra_classes!r}")
    if learner is None and extra_classes:
        raise ValueError(f"extra_classes {extra_classes} without a learner; give one")


def _sample(
    parts: Parts, learner: EdgeLearner | None, sample: ArrayLike | None
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
