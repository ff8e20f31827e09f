"""Model files (``.akj``): a zip of one JSON description and packed integer arrays.

The format is written down in docs/format.md. Nothing is unpickled, and no array is
allocated before its size has been compared with what its layer needs.
"""

import dataclasses
import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from akida_jax import layers as layer_types
from akida_jax.archives import (
    UPGRADE,
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
from akida_jax.layers import AnySpecification
from akida_jax.limits import ModelError, find_faults
from akida_jax.model import Model
from akida_jax.quant.architecture import Shape
from akida_jax.quant.registers import Registers
from akida_jax.variables import LayerVariables, raw_steps
from akida_jax.writing import check_target

FORMAT = "akida-jax model"
VERSION = 2
MOST_LAYERS = 1024

_DESCRIPTION = "model.json"
_FIELDS = {"registers", "layers", "arrays"}
_ENTRY = {"layer", "variable", "member", "bits", "shape", "sha256"}
_TYPES = {
    layer.__name__: layer
    for layer in (
        layer_types.InputData,
        layer_types.InputConvolutional,
        layer_types.Convolutional,
        layer_types.SeparableConvolutional,
        layer_types.FullyConnected,
    )
}

_PAIRS = {"input_shape", "pool_size", "pool_stride"}
_LEFT_OUT = {"neurons_per_class": 1}
"""Values of fields that a file of version 1 does not state."""

_Needed = dict[str, dict[str, tuple[tuple[int, ...], int]]]
"""Shape and bits of every array that the layers need."""


class ModelFileError(ArchiveError):
    """A file that holds no readable model; the message says what is wrong with it."""


def save(model: Model, path: str | os.PathLike) -> None:
    """Write a model; the file appears under its name only when it is complete.

    The same model gives the same bytes.

    Raises:
      FileNotFoundError: if the folder does not exist.
      IsADirectoryError: if the name is that of a folder.
      ModelFileError: if the model is larger than files are read.
    """
    target = check_target(path)
    members: dict[str, bytes] = {}
    arrays = []
    try:
        _check_count(model.layers)
        _check_size(_shapes(model.layers))
        for program in model.programs:
            name = str(program.spec.name)
            variables = model.variables[name]
            for key, array, bits in [
                *((k, variables[k], program.spec.weight_bits) for k in program.kernels),
                ("threshold", variables["threshold"], 32),
                ("raw_step", raw_steps(variables["step"], model.registers), 32),
            ]:
                member = _member(len(members))
                members[member] = pack(array, bits)
                arrays.append({
                    "layer": name, "variable": key, "member": member, "bits": bits,
                    "shape": list(array.shape),
                    "sha256": hashlib.sha256(members[member]).hexdigest(),
                })  # fmt: skip
        description = {
            "format": FORMAT,
            "version": VERSION,
            "registers": dataclasses.asdict(model.registers),
            "layers": [
                {"type": type(layer).__name__, **dataclasses.asdict(layer)}
                for layer in model.layers
            ],
            "arrays": arrays,
        }
        write_archive(target, _DESCRIPTION, description, members)
    except ArchiveError as error:
        raise ModelFileError(f"{target.name} cannot be written: {error}") from error


def _member(index: int) -> str:
    return f"arrays/{index:03d}"


def load(path: str | os.PathLike) -> Model:
    """Read a model.

    Raises:
      FileNotFoundError: if there is no such file.
      IsADirectoryError: if it is a folder.
      ModelFileError: if the file is truncated, damaged, no model, or of a newer version.
    """
    path = Path(path)
    try:
        with open_archive(path, kind="model") as archive:
            description = read_description(
                archive, _DESCRIPTION, form=FORMAT, version=VERSION, fields=_FIELDS
            )
            return _build(archive, description)
    except ArchiveError as error:
        raise ModelFileError(str(error)) from error


def _build(archive: Container, description: dict[str, Any]) -> Model:
    try:
        registers = Registers(**description["registers"])
        _check_count(description["layers"])
        optional = _LEFT_OUT if description["version"] == 1 else {}
        layers = [_read_layer(fields, optional) for fields in description["layers"]]
        faults = find_faults(layers)
        if faults:
            raise ModelError(faults)
        needed = _shapes(layers)
        _check_size(needed)
        variables = _read_arrays(archive, description["arrays"], needed, registers)
        return Model(layers, variables, registers=registers)
    except (ArchiveError, DamageError):
        raise
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ModelFileError(f"the description is not valid: {error}") from error


def _read_layer(fields: dict[str, Any], optional: Mapping[str, int]) -> AnySpecification:
    kind = fields["type"]
    if kind not in _TYPES:
        raise ModelFileError(f"unknown layer type {kind!r}; {UPGRADE}")
    known = {field.name for field in dataclasses.fields(_TYPES[kind])}
    given = {key: value for key, value in optional.items() if key in known} | fields
    del given["type"]
    check_fields(f"layer {given.get('name')!r}", set(given), known)
    for key, value in given.items():
        wanted = {"name": str, "activation": bool}.get(key, int | str | None)
        values = value if isinstance(value, list) and key in _PAIRS else [value]
        if len(values) > 3 or not all(isinstance(v, wanted) for v in values):
            raise ModelFileError(f"layer {given['name']!r}: {key} is {value!r}")
        given[key] = tuple(value) if isinstance(value, list) else value
    return _TYPES[kind](**given)


def _check_count(layers: Sequence) -> None:
    if len(layers) > MOST_LAYERS:
        raise ModelFileError(f"{len(layers)} layers, a file holds at most {MOST_LAYERS}")


def _check_size(needed: _Needed) -> None:
    check_unpacked(sum(unpacked_bytes(*a) for arrays in needed.values() for a in arrays.values()))


def _shapes(layers: Sequence[AnySpecification]) -> _Needed:
    """Return shape and bits of every array that the layers need."""
    result: _Needed = {}
    shape: Shape = (0, 0, 0)
    for layer in layers:
        if isinstance(layer, layer_types.InputData | layer_types.InputConvolutional):
            shape = layer.input_shape
        if isinstance(layer, layer_types.InputData):
            continue
        arrays = {k: (s, layer.weight_bits) for k, s in layer.kernel_shapes(shape).items()}
        for key in ("threshold", "raw_step"):
            arrays[key] = ((layer.neurons,), 32)
        result[str(layer.name)] = arrays
        shape = layer.out_shape(shape)
    return result


def _read_arrays(
    archive: Container, entries: list[dict[str, Any]], needed: _Needed, registers: Registers
) -> dict[str, LayerVariables]:
    members = [_member(i) for i in range(len(entries))]
    for entry in entries:
        check_fields("an entry of arrays", set(entry), _ENTRY)
    check_members(archive, [_DESCRIPTION, *members])
    variables: dict[str, LayerVariables] = {name: {} for name in needed}
    for member, entry in zip(members, entries, strict=True):
        layer, key = entry["layer"], entry["variable"]
        if key not in needed.get(layer, {}) or key in variables[layer]:
            raise ModelFileError(f"unknown or repeated array {key!r} of layer {layer!r}")
        if entry["member"] != member:
            raise ModelFileError(f"{key} of layer {layer!r} must be in {member}")
        variables[layer][key] = _read_array(archive, entry, *needed[layer][key])
    for layer, arrays in needed.items():
        missing = sorted(set(arrays) - set(variables[layer]))
        if missing:
            raise ModelFileError(f"layer {layer!r} lacks {', '.join(missing)}")
        raw = variables[layer].pop("raw_step")
        step = raw / 2**registers.step_fraction_bits
        variables[layer]["step"] = step.astype(np.float32)
    return variables


def _read_array(
    archive: Container, entry: Mapping[str, Any], shape: tuple[int, ...], bits: int
) -> np.ndarray:
    what = f"{entry['variable']} of layer {entry['layer']!r}"
    numbers = [*entry["shape"], entry["bits"]]
    if numbers != [*shape, bits] or not all(type(number) is int for number in numbers):
        raise ModelFileError(
            f"{what} is declared as {entry['shape']} of {entry['bits']} bits, the layer needs "
            f"{list(shape)} of {bits}"
        )
    content = read_member(archive, entry["member"], packed_bytes(shape, bits))
    if hashlib.sha256(content).hexdigest() != entry["sha256"]:
        raise ModelFileError(f"{what} does not match its checksum")
    return unpack(content, shape, bits)
