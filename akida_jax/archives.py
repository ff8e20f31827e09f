"""Zip archives of one JSON description and packed integer arrays: what files are made of.

Nothing is unpickled; the size of each member is compared with what is expected before it is
read; a file appears under its name only when it is complete.
"""

import contextlib
import json
import math
import os
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

# What zipfile raises for a damaged archive; RuntimeError for flags it does not support.
_DAMAGE = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, OverflowError,
           RuntimeError, ValueError)  # fmt: skip
_COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_DESCRIPTION_MAX_BYTES = 2**22
_TIMESTAMP = (1980, 1, 1, 0, 0, 0)
_READERS = {"model.json": "akida_jax.load", "learner.json": "EdgeLearner.load"}
"""What reads archives with that description."""


class ArchiveError(ValueError):
    """A file that does not hold what it should; the message says what is wrong with it."""


def check_target(path: str | os.PathLike) -> Path:
    """Return the path of a file that is to be written.

    Raises:
      FileNotFoundError: if its folder does not exist.
      IsADirectoryError: if the name is that of a folder.
    """
    target = Path(path)
    if target.is_dir():
        raise IsADirectoryError(f"{target} is a folder; give the name of a file")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"the folder {target.parent} does not exist; create it first")
    return target


def write_archive(target: Path, members: Mapping[str, bytes]) -> None:
    """Write members under a temporary name and rename; the same members give the same bytes."""
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


@contextlib.contextmanager
def open_archive(path: Path, *, kind: str) -> Iterator[zipfile.ZipFile]:
    """Open an archive; whatever shows that it is damaged becomes an error with its name.

    Args:
      path: of the file.
      kind: what it should be, for the message.

    Raises:
      ArchiveError: if the file is truncated or damaged, or what is read from it is at fault.
      OSError: if there is no such file, or it cannot be read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except ArchiveError as error:
        raise ArchiveError(f"{path.name}: {error}") from error
    except _DAMAGE as error:
        if isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError):
            raise
        raise ArchiveError(
            f"{path.name}: not a {kind} file, or truncated or damaged ({error}); "
            "copy or save it again"
        ) from error


def read_description(
    archive: zipfile.ZipFile, member: str, *, form: str, version: int, fields: set[str]
) -> dict[str, Any]:
    """Return the JSON object that describes the archive.

    Args:
      archive: open.
      member: its name.
      form: what its field "format" must say.
      version: newest version that is read.
      fields: that it may have besides "format" and "version".

    Raises:
      ArchiveError: if it is none, of another kind or newer.
    """
    other = [reader for name, reader in _READERS.items() if name in archive.namelist()]
    if other and member not in archive.namelist():
        raise ArchiveError(f"this is no {form.split()[-1]} file; {other[0]} reads it")
    text = read_member(archive, member, None)
    try:
        description = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ArchiveError(f"{member} is no valid JSON ({error})") from error
    if not isinstance(description, dict) or description.get("format") != form:
        kind = form.split()[-1]
        raise ArchiveError(f"{member} does not say {form!r}; this is no {kind} file")
    found = description.get("version")
    if type(found) is not int or found < 1:
        raise ArchiveError(f"format version {found!r} is not a positive number")
    if found > version:
        raise ArchiveError(
            f"written in format version {found}, this akida-jax reads up to {version}; "
            "upgrade akida-jax"
        )
    unknown = set(description) - {"format", "version", *fields}
    if unknown:
        raise ArchiveError(f"unknown fields {sorted(unknown)} in {member}")
    return description


def read_member(archive: zipfile.ZipFile, name: str, n_bytes: int | None) -> bytes:
    """Return a member of known size, or of at most the limit of a description.

    Raises:
      ArchiveError: if it is missing, damaged, or of another size.
    """
    try:
        info = archive.getinfo(name)
    except KeyError as error:
        raise ArchiveError(f"{name} is missing; the file is incomplete") from error
    if info.compress_type not in _COMPRESSIONS:
        raise ArchiveError(f"{name} has an unknown compression; the file is damaged")
    limit = _DESCRIPTION_MAX_BYTES if n_bytes is None else n_bytes
    if info.file_size > limit or (n_bytes is not None and info.file_size != n_bytes):
        wanted = f"at most {limit}" if n_bytes is None else str(n_bytes)
        raise ArchiveError(f"{name} has {info.file_size} bytes, expected {wanted}")
    with archive.open(info) as stream:
        content = stream.read(limit + 1)
    if len(content) != info.file_size:
        raise ArchiveError(f"{name} has {len(content)} bytes, its header says {info.file_size}")
    return content


def packed_bytes(shape: tuple[int, ...], bits: int) -> int:
    """Return the size of a packed array."""
    return -(-math.prod(shape) * bits // 8)


def pack(array: np.ndarray, bits: int) -> bytes:
    """Pack two's complement integers little-endian, the first value in the low bits."""
    if bits >= 8:
        return array.astype(f"<i{bits // 8}").tobytes()
    per_byte = 8 // bits
    flat = np.zeros(-(-array.size // per_byte) * per_byte, np.uint8)
    flat[: array.size] = array.ravel().astype(np.uint8) & (2**bits - 1)
    shifts = np.arange(per_byte, dtype=np.uint8) * bits
    return (flat.reshape(-1, per_byte) << shifts).sum(1).astype(np.uint8).tobytes()


def unpack(content: bytes, shape: tuple[int, ...], bits: int) -> np.ndarray:
    """Return a packed array, the inverse of `pack`."""
    if bits >= 8:
        return np.frombuffer(content, f"<i{bits // 8}").reshape(shape).astype(f"i{bits // 8}")
    packed = np.frombuffer(content, np.uint8)
    shifts = np.arange(8 // bits, dtype=np.uint8) * bits
    flat = ((packed[:, None] >> shifts) & (2**bits - 1)).ravel()[: math.prod(shape)]
    values = flat.astype(np.int8)
    if bits > 1:  # single-bit weights are 0 and 1
        values = np.where(values >= 2 ** (bits - 1), values - 2**bits, values)
    return values.astype(np.int8).reshape(shape)
