"""Archives whose zip is at fault, though their digest is right."""

import struct
import zlib

import pytest

from akida_jax.containers import (
    MOST_MEMBERS,
    DamageError,
    digest_comment,
    pack_members,
    unpack_members,
)

MEMBERS = {"model.json": b"{}" * 30, "arrays/000": b"abc", "arrays/001": bytes(500)}
GOOD = pack_members(MEMBERS)[:-71]
DIRECTORY = GOOD.index(b"PK\x01\x02")
SECOND = GOOD.index(b"PK\x03\x04", 4)
ENTRY = GOOD.index(b"PK\x01\x02", DIRECTORY + 4)


def put(form, *places_and_value):
    *places, value = places_and_value

    def change(archive):
        for place in places:
            struct.pack_into(form, archive, place, value)

    return change


def insert(place, content):
    """Insert bytes between members, with the directory at its new place."""

    def change(archive):
        archive[place:place] = content
        end = len(archive) - 6
        (offset,) = struct.unpack_from("<L", archive, end)
        struct.pack_into("<L", archive, end, offset + len(content))

    return change


def rename(old, new):
    def change(archive):
        archive[:] = archive.replace(old, new)

    return change


CHANGES = {
    "a name twice": (rename(b"arrays/001", b"arrays/000"), "two members are called arrays/000"),
    "encrypted": (put("<H", SECOND + 6, ENTRY + 8, 1), "arrays/000 is encrypted"),
    "streamed": (put("<H", SECOND + 6, ENTRY + 8, 8), "header of arrays/000 is at fault"),
    "another method": (put("<H", SECOND + 8, ENTRY + 10, 12), "has an unknown compression"),
    "zip64": (put("<L", SECOND + 22, ENTRY + 24, 2**32 - 1), "arrays/000 is in the zip64 form"),
    "zip64 packed": (put("<L", SECOND + 18, ENTRY + 20, 2**32 - 1), "is in the zip64 form"),
    "a bomb": (put("<L", SECOND + 22, ENTRY + 24, 2**27), "claims to unpack to 134217728 bytes"),
    "a system": (put("<B", ENTRY + 5, 10), "arrays/000 was written on an unknown system"),
    "a name": (rename(b"arrays/001", b"arrays\n001"), "a member is called b'arrays"),
    "overlap": (put("<L", ENTRY + 42, 0), "the zip directory is at fault at arrays/000"),
    "permissions": (put("<B", ENTRY + 40, 1), "the zip directory is at fault at arrays/000"),
    "a time": (put("<H", SECOND + 10, 1), "the zip header of arrays/000 is at fault"),
    "a gap": (insert(SECOND, b"\0"), "the zip header of arrays/000 is at fault"),
    "bytes in front": (insert(0, b"#!x"), "the zip header of model.json is at fault"),
    "bytes behind": (insert(DIRECTORY, b"x"), "it has bytes that belong to no member"),
    "too many": (put("<H", -14, -12, MOST_MEMBERS + 1), "it has 4098 members, at most 4097"),
    "more than there are": (put("<H", -14, -12, 4), "its zip directory is cut short"),
    "fewer than there are": (put("<H", -14, -12, 2), "it has bytes that belong to no member"),
    "another count": (put("<H", -14, 2), "the end of its zip directory is at fault"),
    "another disk": (put("<H", -18, 1), "the end of its zip directory is at fault"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_metadata_that_is_refused(name):
    change, message = CHANGES[name]
    archive = bytearray(GOOD)
    change(archive)
    with pytest.raises(DamageError, match=message):
        unpack_members(bytes(archive) + digest_comment(bytes(archive)))


def test_together_members_have_a_limit():
    """Each claims less than deflate could reach."""
    archive = bytearray(pack_members({str(i): bytes(2**21) for i in range(100)})[:-71])
    with pytest.raises(DamageError, match="its members claim 136314880 bytes, at most 134217728"):
        unpack_members(bytes(archive) + digest_comment(bytes(archive)))


@pytest.mark.parametrize(
    ("content", "size", "crc", "message"),
    [
        (b"abc", 3, 5, "does not match its CRC-32"),
        (b"abc", 2, None, "does not unpack to its 2 bytes"),
        (b"abc", 4, None, "does not unpack to its 4 bytes"),
    ],
)
def test_members_that_are_not_what_their_header_says(content, size, crc, message):
    archive = bytearray(pack_members({"a": content})[:-71])
    entry = archive.index(b"PK\x01\x02")
    for place in (14, entry + 16):
        struct.pack_into("<LLL", archive, place, zlib.crc32(content) if crc is None else crc,
                         entry - 31, size)  # fmt: skip
    found = unpack_members(bytes(archive) + digest_comment(bytes(archive)))
    with pytest.raises(DamageError, match=f"a {message}"):
        found.members["a"].read()


def test_bytes_behind_the_end_of_a_deflated_member_are_refused():
    member = unpack_members(pack_members({"a": b"abc"})).members["a"]
    longer = type(member)("a", 8, member.crc, 3, memoryview(bytes(member.packed) + b"x"))
    assert member.read() == b"abc"
    with pytest.raises(DamageError, match="does not unpack"):
        longer.read()
