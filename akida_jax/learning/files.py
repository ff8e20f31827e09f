"""Learner files (``.akl``): what has been learned so far, to go on from there exactly.

The format is written down in docs/format.md.
"""

import dataclasses
import hashlib
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from akida_jax.archives import (
    ArchiveError,
    check_fields,
    check_members,
    check_unpacked,
    open_archive,
    pack,
    packed_bytes,
    read_description,
    read_member,
    unpack,
    unpacked_bytes,
    write_archive,
)
from akida_jax.containers import Container, DamageError
from akida_jax.learning import planes
from akida_jax.learning.rule import ONE, LearningState
from akida_jax.learning.states import (
    LearningSettings,
    first_rule,
    neuron_classes,
    to_fixed_point,
)
from akida_jax.quant.architecture import Shape
from akida_jax.writing import check_target

FORMAT = "akida-jax learner"
VERSION = 2
_DESCRIPTION = "learner.json"
_FIELDS = {"settings", "seed", "input_shape", "arrays"}
_SETTINGS = {field.name for field in dataclasses.fields(LearningSettings)}
_ENTRY = {"name", "shape", "sha256"}
_COUNTS = ("plasticity", "threshold", "learned")
_BITS = {"weights": 1, **dict.fromkeys(_COUNTS, 32)}
_MOST_AXES = 32


class LearnerFileError(ArchiveError):
    """A file that holds no readable learner; the message says what is wrong with it."""


def write_learner(
    path: str | os.PathLike[str],
    settings: LearningSettings,
    seed: int,
    input_shape: Shape | None,
    state: LearningState | None,
) -> None:
    """Write a learner; the file appears under its name only when it is complete.

    Raises:
      FileNotFoundError: if the folder does not exist.
      IsADirectoryError: if the name is that of a folder.
      LearnerFileError: if the learner is larger than files are read.
    """
    target = check_target(path)
    members, entries = {}, []
    arrays = _arrays(input_shape, state)
    for name, array in arrays.items():
        member = f"arrays/{name}"
        members[member] = pack(array, _BITS[name])
        digest = hashlib.sha256(members[member]).hexdigest()
        entries.append({"name": name, "shape": list(array.shape), "sha256": digest})
    description = {
        "format": FORMAT,
        "version": VERSION,
        "settings": dataclasses.asdict(settings),
        "seed": seed,
        "input_shape": None if input_shape is None else list(input_shape),
        "arrays": entries,
    }
    try:
        if input_shape is not None:
            _check_axes(input_shape)
        check_unpacked(_in_memory({name: array.shape for name, array in arrays.items()}))
        write_archive(target, _DESCRIPTION, description, members)
    except ArchiveError as error:
        raise LearnerFileError(f"{target.name} cannot be written: {error}") from error


def _arrays(input_shape: Shape | None, state: LearningState | None) -> dict[str, np.ndarray]:
    if state is None or input_shape is None:
        return {}
    weights = planes.unpack(jnp.moveaxis(state.weights, 1, 0), int(np.prod(input_shape)))
    counts = {name: np.asarray(getattr(state, name)) for name in _COUNTS}
    return {"weights": np.asarray(weights).T, **counts}


def read_learner(
    path: str | os.PathLike[str],
) -> tuple[LearningSettings, int, Shape | None, LearningState | None]:
    """Return settings, seed, shape of the samples and state of a learner.

    Raises:
      FileNotFoundError: if there is no such file.
      IsADirectoryError: if it is a folder.
      LearnerFileError: if the file is truncated, damaged, no learner, or of a newer version.
    """
    path = Path(path)
    try:
        with open_archive(path, kind="learner") as archive:
            description = read_description(
                archive, _DESCRIPTION, form=FORMAT, version=VERSION, fields=_FIELDS
            )
            return _build(archive, description)
    except ArchiveError as error:
        raise LearnerFileError(str(error)) from error


def _build(
    archive: Container, description: dict[str, Any]
) -> tuple[LearningSettings, int, Shape | None, LearningState | None]:
    try:
        check_fields("settings", set(description["settings"]), _SETTINGS)
        settings = LearningSettings(**description["settings"])
        for name, value in dataclasses.asdict(settings).items():
            if type(description["settings"][name]) is not type(value):
                raise ArchiveError(f"{name} is {description['settings'][name]!r}, not {value!r}")
        seed, shape = description["seed"], description["input_shape"]
        if not _is_number(seed, 0):
            raise ArchiveError(f"seed {seed!r} is no whole number of 32 bits")
        if shape is None:
            if description["arrays"] != []:
                raise ArchiveError("it has arrays, but no input_shape")
            check_members(archive, [_DESCRIPTION])
            return settings, seed, None, None
        if not isinstance(shape, list) or not shape or not all(_is_number(v, 1) for v in shape):
            raise ArchiveError(f"input_shape {shape!r} is no list of whole numbers from 1")
        _check_axes(shape)
        n_inputs = math.prod(shape)
        settings.check_inputs(n_inputs)
        arrays = _read_arrays(archive, description["arrays"], settings, n_inputs)
    except (ArchiveError, DamageError):
        raise
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ArchiveError(f"the description is not valid: {error}") from error
    _check(arrays, settings)
    state = LearningState(
        weights=planes.pack(jnp.asarray(arrays["weights"].T.astype(np.uint8))).T,
        plasticity=jnp.asarray(arrays["plasticity"].astype(np.uint32)),
        threshold=jnp.asarray(arrays["threshold"]),
        classes=neuron_classes(settings, range(settings.num_classes)),
        learned=jnp.asarray(arrays["learned"].astype(np.uint32)),
        seed=jnp.uint32(seed),
        n_inputs=jnp.uint32(n_inputs),
        rule=first_rule(settings),
    )
    return settings, seed, tuple(shape), state


def _check_axes(shape: Sequence[int]) -> None:
    if len(shape) > _MOST_AXES:
        raise ArchiveError(f"input_shape has {len(shape)} axes, a file holds at most {_MOST_AXES}")


def _is_number(value: object, lowest: int) -> bool:
    return type(value) is int and lowest <= value < 2**32


def _in_memory(shapes: Mapping[str, tuple[int, ...]]) -> int:
    return sum(unpacked_bytes(shapes[name], _BITS[name]) for name in shapes)


def _read_arrays(
    archive: Container,
    entries: list[dict[str, Any]],
    settings: LearningSettings,
    n_inputs: int,
) -> dict[str, np.ndarray]:
    neurons = settings.num_classes * settings.neurons_per_class
    needed = {"weights": (neurons, n_inputs), **dict.fromkeys(_COUNTS, (neurons,))}
    for entry in entries:
        check_fields("an entry of arrays", set(entry), _ENTRY)
    names = [entry["name"] for entry in entries]
    if names != list(needed):
        raise ArchiveError(f"the arrays are {names}, a learner has {list(needed)}")
    check_members(archive, [_DESCRIPTION, *(f"arrays/{name}" for name in names)])
    check_unpacked(_in_memory(needed))
    arrays = {}
    for entry in entries:
        name, bits = entry["name"], _BITS[entry["name"]]
        shape = needed[name]
        declared = entry["shape"]
        if declared != list(shape) or not all(type(n) is int for n in declared):
            raise ArchiveError(f"{name} has shape {entry['shape']}, the learner needs {shape}")
        content = read_member(archive, f"arrays/{name}", packed_bytes(shape, bits))
        if hashlib.sha256(content).hexdigest() != entry["sha256"]:
            raise ArchiveError(f"{name} does not match its checksum")
        arrays[name] = unpack(content, shape, bits)
    return arrays


def _check(arrays: dict[str, np.ndarray], settings: LearningSettings) -> None:
    """Refuse what no learning leads to."""
    ones = arrays["weights"].sum(1, dtype=np.int64)
    if (ones != settings.num_weights).any():
        raise ArchiveError(f"a neuron has {ones[ones != settings.num_weights][0]} weights, every "
                           f"neuron has {settings.num_weights}")  # fmt: skip
    highest = {"plasticity": ONE, "threshold": settings.num_weights, "learned": 2**31 - 1}
    for name, limit in highest.items():
        outside = (arrays[name] < 0) | (arrays[name] > limit)
        if outside.any():
            raise ArchiveError(f"{name} must be 0 to {limit}, got {arrays[name][outside][0]}")
    _check_together(arrays, settings)


def _check_together(arrays: dict[str, np.ndarray], settings: LearningSettings) -> None:
    """Compare threshold and plasticity of each neuron with the samples that it has learned."""
    rule = first_rule(settings)
    first, floor = to_fixed_point(settings.initial_plasticity), int(rule.min_plasticity)
    learned = arrays["learned"].astype(np.int64)

    def plasticity(samples: np.ndarray) -> np.ndarray:
        return np.maximum(first - np.maximum(samples, 0) * int(rule.decay), floor)

    faults = {
        "threshold": (arrays["threshold"] > 0) != (learned > 0),
        "plasticity": arrays["plasticity"] != plasticity(learned),
        # One that had none left would not have learned the last sample.
        "plasticity before the last": (learned > 0) & (plasticity(learned - 1) == 0),
    }
    for what, odd in faults.items():
        if odd.any():
            i = int(odd.argmax())
            raise ArchiveError(f"neuron {i}: its {what} does not go with {learned[i]} samples "
                               "learned")  # fmt: skip
