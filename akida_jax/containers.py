"""Zip archives of one strict form, in which every byte is checked; other programs open them too.

Members follow each other without gaps from the first byte on, and all metadata must be what
`pack_members` writes. The comment is a digest of everything in front of it; archives of older
files have none.
"""

import dataclasses
import hashlib
import re
import struct
import zlib
from collections.abc import Mapping

MOST_BYTES = 2**27
"""Of a file, and of all its members together."""
MOST_MEMBERS = 4097
MOST_RATIO = 1032
"""Deflate reaches no more; what claims to is refused before it is unpacked."""

_LOCAL = struct.Struct("<4s5H3L2H")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_END = struct.Struct("<4s4H2LH")
_NAME = re.compile(rb"[!-~]{1,200}")
_STORED, _DEFLATED = 0, 8
_VERSION, _MIDNIGHT, _FIRST_OF_1980 = 20, 0, 33
_UNIX, _DOS = 3, 0
_PERMISSIONS = 0o644 << 16
_COMMENT = b"sha256:"
_COMMENT_BYTES = len(_COMMENT) + 64


class DamageError(ValueError):
    """Bytes that are no archive, or no longer the one that was written."""


@dataclasses.dataclass(frozen=True)
class Member:
    """One member of an archive.

    Attributes:
      name: printable ASCII.
      method: of compression.
      crc: CRC-32 of the content.
      size: of the content, in bytes.
      packed: what the archive holds.
    """

    name: str
    method: int
    crc: int
    size: int
    packed: memoryview

    def read(self) -> bytes:
        """Return the content.

        Raises:
          DamageError: if it is not of the size and checksum that the metadata give.
        """
        content, whole = bytes(self.packed[: self.size + 1]), True
        if self.method == _DEFLATED:
            stream = zlib.decompressobj(-zlib.MAX_WBITS)
            try:
                content = stream.decompress(self.packed, self.size + 1)
            except zlib.error as error:
                raise DamageError(f"{self.name}: {error}") from error
            whole = stream.eof and not stream.unused_data
        if not whole or len(content) != self.size:
            raise DamageError(f"{self.name} does not unpack to its {self.size} bytes")
        if zlib.crc32(content) != self.crc:
            raise DamageError(f"{self.name} does not match its CRC-32")
        return content

    def local_header(self) -> bytes:
        """Return what stands in front of the packed content."""
        return self._header(_LOCAL, (b"PK\3\4", _VERSION), (0,))

    def central_header(self, offset: int, system: int) -> bytes:
        """Return the entry of the directory.

        Args:
          offset: byte at which the local header begins.
          system: on which it was written.
        """
        start, end = (b"PK\1\2", system << 8 | _VERSION, _VERSION), (0, 0, 0, 0)
        return self._header(_CENTRAL, start, (*end, _PERMISSIONS, offset))

    def _header(self, form: struct.Struct, start: tuple, end: tuple) -> bytes:
        name = self.name.encode()
        sizes = (self.crc, len(self.packed), self.size, len(name))
        when = (_MIDNIGHT, _FIRST_OF_1980)
        return form.pack(*start, 0, self.method, *when, *sizes, *end) + name


@dataclasses.dataclass(frozen=True)
class Container:
    """Members by name, in their order, and whether a digest covers the file."""

    members: dict[str, Member]
    has_digest: bool


def pack_members(members: Mapping[str, bytes]) -> bytes:
    """Return an archive with its digest."""
    parts, directory, offset = [], [], 0
    for name, content in members.items():
        deflate = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        packed = deflate.compress(content) + deflate.flush()
        crc = zlib.crc32(content)
        member = Member(name, _DEFLATED, crc, len(content), memoryview(packed))
        parts += [member.local_header(), packed]
        directory.append(member.central_header(offset, _UNIX))
        offset += len(parts[-2]) + len(packed)
    n_bytes = sum(map(len, directory))
    end = _end(len(directory), n_bytes, offset, _COMMENT_BYTES)
    archive = b"".join([*parts, *directory, end])
    return archive + digest_comment(archive)


def _end(count: int, size: int, offset: int, comment_bytes: int) -> bytes:
    return _END.pack(b"PK\5\6", 0, 0, count, count, size, offset, comment_bytes)


def digest_comment(archive: bytes | memoryview) -> bytes:
    """Return the comment that belongs behind everything else of an archive."""
    return _COMMENT + hashlib.sha256(archive).hexdigest().encode()


def unpack_members(content: bytes) -> Container:
    """Return the members of an archive, not yet unpacked.

    Raises:
      DamageError: if any byte outside the members is not as `pack_members` writes it, or the
        digest is another one.
    """
    view = memoryview(content)
    for comment_bytes in (_COMMENT_BYTES, 0):
        archive = view[: len(view) - comment_bytes]
        end = len(archive) - _END.size
        if comment_bytes > len(view) or end < 0 or archive[end : end + 4] != b"PK\5\6":
            continue
        if comment_bytes and view[len(archive) :] != digest_comment(archive):
            raise DamageError("it does not match its digest")
        return Container(_read_directory(archive, end, comment_bytes), comment_bytes > 0)
    raise DamageError("no zip archive, or its end is missing")


def _read_directory(archive: memoryview, end: int, comment_bytes: int) -> dict[str, Member]:
    count, size, first = struct.unpack_from("<HLL", archive, end + 10)
    if first + size != end or archive[end:] != _end(count, size, first, comment_bytes):
        raise DamageError("the end of its zip directory is at fault")
    if count > MOST_MEMBERS:
        raise DamageError(f"it has {count} members, at most {MOST_MEMBERS} are read")
    members: dict[str, Member] = {}
    place, entry, total = 0, first, 0
    for _ in range(count):
        if entry + _CENTRAL.size > end:
            raise DamageError("its zip directory is cut short")
        member, system = _read_entry(archive, entry, place)
        header = member.central_header(place, system)
        place += len(member.local_header()) + len(member.packed)
        if archive[entry : entry + len(header)] != header or place > first:
            raise DamageError(f"the zip directory is at fault at {member.name}")
        if member.name in members:
            raise DamageError(f"two members are called {member.name}")
        entry, total = entry + len(header), total + member.size
        if total > MOST_BYTES:
            raise DamageError(f"its members claim {total} bytes, at most {MOST_BYTES} are read")
        members[member.name] = member
    if place != first or entry != end:
        raise DamageError("it has bytes that belong to no member")
    return members


def _read_entry(archive: memoryview, entry: int, place: int) -> tuple[Member, int]:
    """Return a member and the system that wrote it.

    Args:
      archive: whole.
      entry: where its entry in the directory begins.
      place: where its local header must begin.
    """
    fields = _CENTRAL.unpack_from(archive, entry)
    made_by, flags, method, crc, n_packed, size, n_name = (
        fields[i] for i in (1, 3, 4, 7, 8, 9, 10)
    )
    raw = bytes(archive[entry + _CENTRAL.size :][:n_name])
    if not _NAME.fullmatch(raw):
        raise DamageError(f"a member is called {raw[:40]!r}")
    name = raw.decode()
    for fault, found in (
        (f"{name} is encrypted", flags & 1),
        (f"{name} has an unknown compression", method not in (_STORED, _DEFLATED)),
        (f"{name} is in the zip64 form", 2**32 - 1 in (n_packed, size)),
        (f"{name} claims to unpack to {size} bytes", size > MOST_RATIO * n_packed),
        (f"{name} was written on an unknown system", made_by >> 8 not in (_UNIX, _DOS)),
    ):
        if found:
            raise DamageError(fault)
    start = place + _LOCAL.size + n_name
    packed = archive[start : start + n_packed]
    member = Member(name, method, crc, size, packed)
    if archive[place:start] != member.local_header() or len(packed) != n_packed:
        raise DamageError(f"the zip header of {name} is at fault")
    return member, made_by >> 8
