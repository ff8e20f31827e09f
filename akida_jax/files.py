"""Model files (``.akj``): a zip of one JSON description and packed integer arrays.

The format is written down in docs/format.md. Nothing is unpickled, and no array is
allocated before its size has been compared with what its layer needs.
"""

import dataclasses
import hashlib
import json
import math
import os
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from akida_jax import layers as layer_types
from akida_jax.limits import ModelError, find_faults
from akida_jax.model import Model
from akida_jax.quant.architecture import Shape
from akida_jax.quant.registers import Registers
from akida_jax.variables import LayerVariables, raw_steps

FORMAT = "akida-jax model"
VERSION = 1

# What zipfile raises for a damaged archive; RuntimeError for flags it does not support.
_DAMAGE = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, OverflowError,
           RuntimeError, ValueError)  # fmt: skip
_COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_DESCRIPTION = "model.json"
_DESCRIPTION_MAX_BYTES = 2**22
_TIMESTAMP = (1980, 1, 1, 0, 0, 0)
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


class ModelFileError(ValueError):
    """A file that holds no readable model; the message says what is wrong with it."""


def save(model: Model, path: str | os.PathLike) -> None:
    """Write a model; the file appears under its name only when it is complete.

    The same model gives the same bytes.

    Raises:
      FileNotFoundError: if the folder does not exist.
      IsADirectoryError: if the name is that of a folder.
    """
    target = _check_target(path)
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
            members[member] = _pack(array, bits)
            arrays.append({
                "layer": name, "variable": key, "member": member, "bits": bits,
                "shape": list(array.shape), "sha256": hashlib.sha256(members[member]).hexdigest(),
            })  # fmt: skip
    description = {
        "format": FORMAT,
        "version": VERSION,
        "registers": dataclasses.asdict(model.registers),
        "layers": [
            {"type": type(layer).__name__, **dataclasses.asdict(layer)} for layer in model.layers
        ],
        "arrays": arrays,
    }
    text = json.dumps(description, indent=1).encode()
    _write_zip(target, {_DESCRIPTION: text, **members})


def _check_target(path: str | os.PathLike) -> Path:
    target = Path(path)
    if target.is_dir():
        raise IsADirectoryError(f"{target} is a folder; give the name of a file")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"the folder {target.parent} does not exist; create it first")
    return target


def load(path: str | os.PathLike) -> Model:
    """Read a model.

    Raises:
      FileNotFoundError: if there is no such file.
      IsADirectoryError: if it is a folder.
      ModelFileError: if the file is truncated, damaged, no model, or of a newer version.
    """
    path = Path(path)
    try:
        with zipfile.ZipFile(path) as archive:
            description = _read_description(archive)
            return _build(archive, description)
    except ModelFileError as error:
        raise ModelFileError(f"{path.name}: {error}") from error
    except _DAMAGE as error:
        if isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError):
            raise
        raise ModelFileError(
            f"{path.name}: not a model file, or truncated or damaged ({error}); "
            "copy or save it again"
        ) from error


def _write_zip(target: Path, members: dict[str, bytes]) -> None:
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
                for name, content in members.items():
                    archive.writestr(_member(name), content)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _member(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, _TIMESTAMP)
    info.compress_type = zipfile.ZIP_DEFLATED
    info.external_attr = 0o644 << 16
    return info


def _read_description(archive: zipfile.ZipFile) -> dict[str, Any]:
    text = _read_member(archive, _DESCRIPTION, None)
    try:
        description = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"{_DESCRIPTION} is no valid JSON ({error})") from error
    if not isinstance(description, dict) or description.get("format") != FORMAT:
        raise ModelFileError(f"{_DESCRIPTION} does not say {FORMAT!r}; this is no model file")
    version = description.get("version")
    if type(version) is not int or version < 1:
        raise ModelFileError(f"format version {version!r} is not a positive number")
    if version > VERSION:
        raise ModelFileError(
            f"written in format version {version}, this akida-jax reads up to {VERSION}; "
            "upgrade akida-jax"
        )
    unknown = set(description) - {"format", "version", "registers", "layers", "arrays"}
    if unknown:
        raise ModelFileError(f"unknown fields {sorted(unknown)} in {_DESCRIPTION}")
    return description


def _read_member(archive: zipfile.ZipFile, name: str, n_bytes: int | None) -> bytes:
    """Read a member of known size, or at most the limit of a description."""
    try:
        info = archive.getinfo(name)
    except KeyError as error:
        raise ModelFileError(f"{name} is missing; the file is incomplete") from error
    if info.compress_type not in _COMPRESSIONS:
        raise ModelFileError(f"{name} has an unknown compression; the file is damaged")
    limit = _DESCRIPTION_MAX_BYTES if n_bytes is None else n_bytes
    if info.file_size > limit or (n_bytes is not None and info.file_size != n_bytes):
        wanted = f"at most {limit}" if n_bytes is None else str(n_bytes)
        raise ModelFileError(f"{name} has {info.file_size} bytes, expected {wanted}")
    with archive.open(info) as stream:
        content = stream.read(limit + 1)
    if len(content) != info.file_size:
        raise ModelFileError(f"{name} has {len(content)} bytes, its header says {info.file_size}")
    return content


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
    except ModelFileError:
        raise
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ModelFileError(f"the description is not valid: {error}") from error


def _read_layer(fields: dict[str, Any]) -> layer_types.AnySpecification:
    fields = dict(fields)
    kind = fields.pop("type")
    if kind not in _TYPES:
        raise ModelFileError(f"unknown layer type {kind!r}; a newer akida-jax may know it")
    known = {field.name for field in dataclasses.fields(_TYPES[kind])}
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
        content = _read_member(archive, entry["member"], _packed_bytes(shape, bits))
        if hashlib.sha256(content).hexdigest() != entry["sha256"]:
            raise ModelFileError(f"{key} of layer {layer!r} does not match its checksum")
        variables[layer][key] = _unpack(content, shape, bits)
    for layer, arrays in needed.items():
        missing = sorted(set(arrays) - set(variables[layer]))
        if missing:
            raise ModelFileError(f"layer {layer!r} lacks {', '.join(missing)}")
        raw = variables[layer].pop("raw_step")
        step = raw / 2**registers.step_fraction_bits
        variables[layer]["step"] = step.astype(np.float32)
    return variables


def _packed_bytes(shape: tuple[int, ...], bits: int) -> int:
    return -(-math.prod(shape) * bits // 8)


def _pack(array: np.ndarray, bits: int) -> bytes:
    """Pack two's complement integers little-endian, the first value in the low bits."""
    if bits >= 8:
        return array.astype(f"<i{bits // 8}").tobytes()
    per_byte = 8 // bits
    flat = np.zeros(-(-array.size // per_byte) * per_byte, np.uint8)
    flat[: array.size] = array.ravel().astype(np.uint8) & (2**bits - 1)
    shifts = np.arange(per_byte, dtype=np.uint8) * bits
    return (flat.reshape(-1, per_byte) << shifts).sum(1).astype(np.uint8).tobytes()


def _unpack(content: bytes, shape: tuple[int, ...], bits: int) -> np.ndarray:
    if bits >= 8:
        return np.frombuffer(content, f"<i{bits // 8}").reshape(shape).astype(f"i{bits // 8}")
    packed = np.frombuffer(content, np.uint8)
    shifts = np.arange(8 // bits, dtype=np.uint8) * bits
    flat = ((packed[:, None] >> shifts) & (2**bits - 1)).ravel()[: math.prod(shape)]
    values = flat.astype(np.int8)
    if bits > 1:  # single-bit weights are 0 and 1
        values = np.where(values >= 2 ** (bits - 1), values - 2**bits, values)
    return values.astype(np.int8).reshape(shape)
