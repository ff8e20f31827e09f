"""Model files (``.akj``): a zip of one JSON description and packed integer arrays.

The format is written down in docs/format.md. Nothing is unpickled, and no array is
allocated before its size has been compared with what its layer needs.
"""

import dataclasses
import hashlib
import json
import os
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from akida_jax import layers as layer_types
from akida_jax.archives import (
    ArchiveError,
    check_target,
    open_archive,
    pack,
    packed_bytes,
    read_description,
    read_member,
    unpack,
    write_archive,
)
from akida_jax.limits import ModelError, find_faults
from akida_jax.model import Model
from akida_jax.quant.architecture import Shape
from akida_jax.quant.registers import Registers
from akida_jax.variables import LayerVariables, raw_steps

FORMAT = "akida-jax model"
VERSION = 1

_DESCRIPTION = "model.json"
_FIELDS = {"registers", "layers", "arrays"}
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

_LEFT_OUT = {"neurons_per_class": 1}
"""Values of fields that a file does not state: it is as older files are."""


class ModelFileError(ArchiveError):
    """A file that holds no readable model; the message says what is wrong with it."""


def save(model: Model, path: str | os.PathLike) -> None:
    """Write a model; the file appears under its name only when it is complete.

    The same model gives the same bytes.

    Raises:
      FileNotFoundError: if the folder does not exist.
      IsADirectoryError: if the name is that of a folder.
    """
    target = check_target(path)
    members: dict[str, bytes] = {}
    arrays = []
    for program in model.programs:
        name = str(program.spec.name)
        variables = model.variables[name]
        raw = raw_steps(variables["step"], model.registers)
        for key, array, bits in [
            *((k, variables[k], program.spec.weight_bits) for k in program.kernels),
            ("threshold", variables["threshold"], 32),
            ("raw_step", raw, 32),
        ]:
            member = f"arrays/{len(members):03d}"
            members[member] = pack(array, bits)
            arrays.append({
                "layer": name, "variable": key, "member": member, "bits": bits,
                "shape": list(array.shape), "sha256": hashlib.sha256(members[member]).hexdigest(),
            })  # fmt: skip
    description = {
        "format": FORMAT,
        "version": VERSION,
        "registers": dataclasses.asdict(model.registers),
        "layers": [_describe_layer(layer) for layer in model.layers],
        "arrays": arrays,
    }
    text = json.dumps(description, indent=1).encode()
    write_archive(target, {_DESCRIPTION: text, **members})


def _describe_layer(layer: layer_types.AnySpecification) -> dict[str, Any]:
    fields = {"type": type(layer).__name__, **dataclasses.asdict(layer)}
    for key, value in _LEFT_OUT.items():
        if fields.get(key) == value:
            del fields[key]
    return fields


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


def _build(archive: zipfile.ZipFile, description: dict[str, Any]) -> Model:
    try:
        registers = Registers(**description["registers"])
        layers = [_read_layer(fields) for fields in description["layers"]]
        faults = find_faults(layers)
        if faults:
            raise ModelError(faults)
        blank = _shapes(layers)
        variables = _read_arrays(archive, description["arrays"], blank, registers)
        return Model(layers, variables, registers=registers)
    except ArchiveError:
        raise
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ModelFileError(f"the description is not valid: {error}") from error


def _read_layer(fields: dict[str, Any]) -> layer_types.AnySpecification:
    fields = dict(fields)
    kind = fields.pop("type")
    if kind not in _TYPES:
        raise ModelFileError(f"unknown layer type {kind!r}; a newer akida-jax may know it")
    known = {field.name for field in dataclasses.fields(_TYPES[kind])}
    fields = {key: value for key, value in _LEFT_OUT.items() if key in known} | fields
    if set(fields) != known:
        odd = sorted(set(fields) ^ known)
        raise ModelFileError(f"layer {fields.get('name')!r} has unknown or missing fields {odd}")
    for key, value in fields.items():
        wanted = {"name": str, "activation": bool}.get(key)
        if wanted and not isinstance(value, wanted):
            raise ModelFileError(f"layer {fields.get('name')!r}: {key} is {value!r}")
        if isinstance(value, list):
            fields[key] = tuple(value)
        numbers = fields[key] if isinstance(fields[key], tuple) else (fields[key],)
        if not all(isinstance(v, int | str | bool | None) for v in numbers):
            raise ModelFileError(f"layer {fields.get('name')!r}: {key} is {value!r}")
    return _TYPES[kind](**fields)


def _shapes(
    layers: Sequence[layer_types.AnySpecification],
) -> dict[str, dict[str, tuple[tuple[int, ...], int]]]:
    """Return shape and bits of every array that the layers need."""
    result = {}
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
    archive: zipfile.ZipFile,
    entries: list[dict[str, Any]],
    needed: dict[str, dict[str, tuple[tuple[int, ...], int]]],
    registers: Registers,
) -> dict[str, LayerVariables]:
    variables: dict[str, LayerVariables] = {name: {} for name in needed}
    for entry in entries:
        layer, key = entry["layer"], entry["variable"]
        if key not in needed.get(layer, {}) or key in variables[layer]:
            raise ModelFileError(f"unknown or repeated array {key!r} of layer {layer!r}")
        shape, bits = needed[layer][key]
        if tuple(entry["shape"]) != shape or entry["bits"] != bits:
            raise ModelFileError(
                f"{key} of layer {layer!r} is declared as {entry['shape']} of {entry['bits']} "
                f"bits, the layer needs {list(shape)} of {bits}"
            )
        content = read_member(archive, entry["member"], packed_bytes(shape, bits))
        if hashlib.sha256(content).hexdigest() != entry["sha256"]:
            raise ModelFileError(f"{key} of layer {layer!r} does not match its checksum")
        variables[layer][key] = unpack(content, shape, bits)
    for layer, arrays in needed.items():
        missing = sorted(set(arrays) - set(variables[layer]))
        if missing:
            raise ModelFileError(f"layer {layer!r} lacks {', '.join(missing)}")
        raw = variables[layer].pop("raw_step")
        step = raw / 2**registers.step_fraction_bits
        variables[layer]["step"] = step.astype(np.float32)
    return variables
