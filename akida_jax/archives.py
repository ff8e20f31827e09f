"""Archives of one JSON description and packed integer arrays: what files are made of.

Nothing is unpickled; every size is compared with what is expected, and with a limit, before
anything of that size is allocated; a file appears under its name only when it is complete.
"""

import contextlib
import json
import math
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from akida_jax.containers import (
    MOST_BYTES,
    Container,
    DamageError,
    pack_members,
    unpack_members,
)
from akida_jax.writing import replace_file

MOST_UNPACKED_BYTES = 2**26
"""Of all arrays in memory: a byte for a weight, four for a threshold, a step or a count. As many
one-bit weights fill an AKD1000."""
DIGEST_SINCE = 2
"""Version of either kind of file from which on a digest covers the whole file."""
_MOST_DESCRIPTION_BYTES = 2**22
_MOST_DESCRIPTION_RATIO = 250
_MOST_VALUES = 200_000
_MOST_DEPTH = 6
_MOST_DIGITS = 25
_MOST_LETTERS = 1000
_MOST_MESSAGE_LETTERS = 4000
_READERS = {"model.json": "akida_jax.load", "learner.json": "EdgeLearner.load"}
"""What reads archives with that description."""
UPGRADE = "a newer akida-jax may have written it: upgrade akida-jax, or save it again from there"


class ArchiveError(ValueError):
    """A file that does not hold what it should; the message says what is wrong with it."""


def write_archive(
    target: Path, member: str, description: Mapping[str, Any], arrays: Mapping[str, bytes]
) -> None:
    """Write an archive under a temporary name and rename; the same content gives the same bytes.

    Args:
      target: the file.
      member: name of the description.
      description: of what the archive holds.
      arrays: packed, by the names of their members.

    Raises:
      ArchiveError: if no reader would take the description.
    """
    text = json.dumps(description, indent=1).encode()
    _parse(text)
    content = pack_members({member: text, **arrays})
    with replace_file(target) as stream:
        stream.write(content)


@contextlib.contextmanager
def open_archive(path: Path, *, kind: str) -> Iterator[Container]:
    """Read an archive; whatever is wrong with it becomes an error with its name.

    Args:
      path: of the file.
      kind: what it should be, for the message.

    Raises:
      ArchiveError: if the file is truncated or damaged, or what is read from it is at fault.
      OSError: if there is no such file, or it cannot be read.
    """
    try:
        yield unpack_members(_read_file(path))
    except ArchiveError as error:
        raise ArchiveError(f"{path.name}: {_shorten(str(error))}") from error
    except DamageError as error:
        raise ArchiveError(
            f"{path.name}: not a {kind} file, or truncated or damaged ({error}); "
            "copy or save it again"
        ) from error


def _read_file(path: Path) -> bytes:
    status = path.stat()
    if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
        raise ArchiveError("this is no ordinary file; copy its content into one")
    if status.st_size > MOST_BYTES:
        raise ArchiveError(f"it has {status.st_size} bytes, at most {MOST_BYTES} are read")
    with path.open("rb") as stream:
        return stream.read(status.st_size + 1)  # as much as asked for is allocated


def _shorten(message: str) -> str:
    if len(message) <= _MOST_MESSAGE_LETTERS:
        return message
    return f"{message[:_MOST_MESSAGE_LETTERS]} ... ({len(message)} letters)"


def read_description(
    archive: Container, member: str, *, form: str, version: int, fields: set[str]
) -> dict[str, Any]:
    """Return the JSON object that describes the archive.

    Args:
      archive: open.
      member: its name.
      form: what its field "format" must say.
      version: newest version that is read.
      fields: that it must have besides "format" and "version".

    Raises:
      ArchiveError: if it is none, of another kind or newer, or a field is missing or unknown.
    """
    other = [reader for name, reader in _READERS.items() if name in archive.members]
    if other and member not in archive.members:
        raise ArchiveError(f"this is no {form.split()[-1]} file; {other[0]} reads it")
    description = _parse(_read_text(archive, member))
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
    if archive.has_digest != (found >= DIGEST_SINCE):
        had = "has a digest" if archive.has_digest else "has none"
        raise ArchiveError(
            f"files of version {DIGEST_SINCE} on have a digest, older ones do not; this one of "
            f"version {found} {had}; copy or save it again"
        )
    check_fields(member, set(description), {"format", "version", *fields})
    return description


def check_fields(what: str, found: set[str], needed: set[str]) -> None:
    """Refuse missing and unknown fields.

    Raises:
      ArchiveError: naming them.
    """
    if found != needed:
        raise ArchiveError(
            f"{what} has unknown or missing fields {sorted(found ^ needed)}; {UPGRADE}"
        )


def _read_text(archive: Container, member: str) -> bytes:
    if member in archive.members:
        packed, size = len(archive.members[member].packed), archive.members[member].size
        if size > _MOST_DESCRIPTION_BYTES:
            raise ArchiveError(
                f"{member} has {size} bytes, expected at most {_MOST_DESCRIPTION_BYTES}"
            )
        if size > _MOST_DESCRIPTION_RATIO * packed:
            raise ArchiveError(
                f"{member} unpacks {packed} bytes to {size}, at most {_MOST_DESCRIPTION_RATIO} "
                "times as many are read"
            )
    return read_member(archive, member)


def _parse(text: bytes) -> Any:
    """Return what a description says, if that is bounded and plain."""
    for sign, what in ((b",", "commas"), (b"[", "lists"), (b"{", "objects")):
        if text.count(sign) > _MOST_VALUES:
            raise ArchiveError(f"a description has more than {_MOST_VALUES} {what}")
    try:
        value = json.loads(
            text.decode(), object_pairs_hook=_no_repeats, parse_int=_whole, parse_float=_real,
            parse_constant=_no_constant,
        )  # fmt: skip
    except (ValueError, RecursionError) as error:
        raise ArchiveError(f"the description is no valid JSON ({error})") from error
    _check_values(value, _MOST_DEPTH)
    return value


def _no_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for i, name in enumerate(names) if name in names[:i])
        raise ValueError(f"the key {twice!r} stands twice in one object")
    return result


def _whole(text: str) -> int:
    if len(text) > _MOST_DIGITS or text == "-0":
        raise ValueError(f"no number of this format: {text[:_MOST_DIGITS]}")
    return int(text)


def _real(text: str) -> float:
    value = float(text)
    if len(text) > _MOST_DIGITS or not math.isfinite(value) or text.startswith("-"):
        raise ValueError(f"no number of this format: {text[:_MOST_DIGITS]}")
    return value


def _no_constant(text: str) -> None:
    raise ValueError(f"{text} is no number of this format")


def _check_values(value: Any, depth: int) -> None:
    if isinstance(value, str):
        if len(value) > _MOST_LETTERS:
            raise ArchiveError(
                f"the text {value[:20]!r}... has {len(value)} letters, at most {_MOST_LETTERS} "
                "are read; shorten it"
            )
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise ArchiveError(f"the text {value!r} is no Unicode ({error})") from error
    elif isinstance(value, dict | list):
        if not depth:
            raise ArchiveError(f"the description is nested deeper than {_MOST_DEPTH} times")
        for part in [*value, *value.values()] if isinstance(value, dict) else value:
            _check_values(part, depth - 1)


def check_members(archive: Container, expected: Sequence[str]) -> None:
    """Refuse members that no array is in, and arrays in no member.

    Args:
      archive: open.
      expected: names of all members in order.

    Raises:
      ArchiveError: naming the first one that differs.
    """
    found = list(archive.members)
    for i in range(max(len(found), len(expected))):
        here = found[i] if i < len(found) else None
        wanted = expected[i] if i < len(expected) else None
        if here != wanted and wanted not in archive.members and wanted is not None:
            raise ArchiveError(f"{wanted} is missing; the file is incomplete")
        if here != wanted:
            raise ArchiveError(f"{here} is not where its description expects it; {UPGRADE}")


def check_unpacked(n_bytes: int) -> None:
    """Refuse arrays that would take too much memory.

    Args:
      n_bytes: what all arrays of a file take in memory.

    Raises:
      ArchiveError: if that is more than `MOST_UNPACKED_BYTES`.
    """
    if n_bytes > MOST_UNPACKED_BYTES:
        raise ArchiveError(
            f"its arrays take {n_bytes} bytes in memory, a file holds at most "
            f"{MOST_UNPACKED_BYTES}; no chip holds as much"
        )


def read_member(archive: Container, name: str, n_bytes: int | None = None) -> bytes:
    """Return a member, if given of that size.

    Raises:
      ArchiveError: if it is missing or of another size.
      DamageError: if it is damaged.
    """
    if name not in archive.members:
        raise ArchiveError(f"{name} is missing; the file is incomplete")
    member = archive.members[name]
    if n_bytes is not None and member.size != n_bytes:
        raise ArchiveError(f"{name} has {member.size} bytes, expected {n_bytes}")
    return member.read()


def unpacked_bytes(shape: tuple[int, ...], bits: int) -> int:
    """Return what an array takes in memory."""
    return math.prod(shape) * max(bits // 8, 1)


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
    """Return a packed array, the inverse of `pack`.

    Raises:
      ArchiveError: if the bits behind the last value are not 0.
    """
    if bits >= 8:
        return np.frombuffer(content, f"<i{bits // 8}").reshape(shape).astype(f"i{bits // 8}")
    packed = np.frombuffer(content, np.uint8)
    shifts = np.arange(8 // bits, dtype=np.uint8) * bits
    flat = ((packed[:, None] >> shifts) & (2**bits - 1)).ravel()
    if flat[math.prod(shape) :].any():
        raise ArchiveError("the bits behind the last value of an array must be 0")
    values = flat[: math.prod(shape)].astype(np.int8)
    if bits > 1:  # single-bit weights are 0 and 1
        values = np.where(values >= 2 ** (bits - 1), values - 2**bits, values)
    return values.astype(np.int8).reshape(shape)
