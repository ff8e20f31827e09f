"""Changes of archives that keep their zip, checksums and digest right, so that readers go on."""

import hashlib
import io
import json
import re
import struct
import zipfile

from akida_jax.containers import digest_comment, pack_members
from tests.fuzz.mutations import any_of_bytes

VALUES = (
    None, True, False, 0, 1, 2, 3, 4, 5, 8, -1, 255, 2**31, 2**32, 2**63, 10**24, 10**26, 0.5, 1.0,
    2.0, 1e300, "", "x", "1", "kernel", "max", "same", "conv_0", "\ud800", "ö", "a" * 2000, [], {},
    [1], [1, 1], [1, 1, 1], [2, 2], [1.0, 1, 1], [True, 1, 1], [[1]], {"a": 1}, [0] * 100,
)  # fmt: skip
TEXTS = ("NaN", "Infinity", "-0", "-0.0", "1e999", "01", "1" * 5000, "[" * 2000, "'a'", "\x00")


def _unzip(content):
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def without_digest(content):
    """Return an archive as version 1 wrote it."""
    return content[:-73] + b"\0\0"


def _pack(rng, members):
    """Return an archive of members, by its version with a digest or without, seldom wrongly."""
    content = pack_members(members)
    first = next(iter(members.values()), b"")
    is_old = re.search(rb'"version": 1\b', first) is not None
    return without_digest(content) if is_old != (rng.random() < 0.05) else content


def _places(value):
    """Yield every (container, key) of a description."""
    for key in list(value) if isinstance(value, dict) else range(len(value)):
        yield value, key
        if isinstance(value[key], dict | list):
            yield from _places(value[key])


def _pick(rng, description):
    places = list(_places(description))
    return places[int(rng.integers(len(places)))]


def _set_value(rng, description):
    holder, key = _pick(rng, description)
    old = holder[key]
    if type(old) is int and rng.random() < 0.4:
        holder[key] = old + int(rng.integers(-2, 3))
    else:
        holder[key] = VALUES[int(rng.integers(len(VALUES)))]


def _same_number_of_another_type(rng, description):
    numbers = [(h, k) for h, k in _places(description) if type(h[k]) in (int, bool, float)]
    holder, key = numbers[int(rng.integers(len(numbers)))]
    old = holder[key]
    holder[key] = [float(old), int(old), bool(old)][int(rng.integers(3))]


def _drop_value(rng, description):
    holder, key = _pick(rng, description)
    del holder[key]


def _add_value(rng, description):
    holder, _ = _pick(rng, description)
    value = VALUES[int(rng.integers(len(VALUES)))]
    if isinstance(holder, list):
        holder.insert(int(rng.integers(len(holder) + 1)), value)
    else:
        holder[str(rng.choice(["extra", "version2", "name", "units", "pool"]))] = value


def _copy_value(rng, description):
    (holder, key), (source, place) = _pick(rng, description), _pick(rng, description)
    holder[key] = json.loads(json.dumps(source[place]))


def _repeat_value(rng, description):
    lists = [h[k] for h, k in _places(description) if isinstance(h[k], list) and h[k]]
    if lists:
        chosen = lists[int(rng.integers(len(lists)))]
        chosen.insert(int(rng.integers(len(chosen))), chosen[int(rng.integers(len(chosen)))])


DESCRIPTION_CHANGES = (
    _set_value, _same_number_of_another_type, _drop_value, _add_value, _copy_value, _repeat_value,
)  # fmt: skip


def edit_description(rng, content, other):
    """Change values of the JSON."""
    members = _unzip(content)
    name = next(iter(members))
    description = json.loads(members[name])
    for _ in range(int(rng.integers(1, 3))):
        if description:
            DESCRIPTION_CHANGES[int(rng.integers(len(DESCRIPTION_CHANGES)))](rng, description)
    members[name] = json.dumps(description, indent=1).encode()
    return _pack(rng, members)


def edit_text(rng, content, other):
    """Change the text of the JSON: what no JSON library would write."""
    members = _unzip(content)
    name = next(iter(members))
    text = members[name].decode()
    if rng.random() < 0.3:
        changed = any_of_bytes(rng, members[name], members[name])
    elif rng.random() < 0.5:
        values = list(re.finditer(r"(?<=: )[^\s,{}\[\]]+", text))
        found = values[int(rng.integers(len(values)))]
        changed = (
            text[: found.start()] + TEXTS[int(rng.integers(len(TEXTS)))] + text[found.end() :]
        ).encode()
    else:  # a key twice
        lines = text.split("\n")
        keyed = [line for line in lines if '": ' in line and line.endswith(",")]
        lines.insert(int(rng.integers(1, len(lines))), keyed[int(rng.integers(len(keyed)))])
        changed = "\n".join(lines).encode()
    return _pack(rng, members | {name: changed})


def edit_arrays(rng, content, other):
    """Change arrays, with their checksums right."""
    members = _unzip(content)
    name, *arrays = members
    if arrays:
        chosen = arrays[int(rng.integers(len(arrays)))]
        old = hashlib.sha256(members[chosen]).hexdigest()
        members[chosen] = any_of_bytes(rng, members[chosen], members[arrays[0]])
        new = hashlib.sha256(members[chosen]).hexdigest()
        if rng.random() < 0.9:
            members[name] = members[name].replace(old.encode(), new.encode())
    return _pack(rng, members)


def edit_members(rng, content, other):
    """Drop, add, rename, exchange or reorder members."""
    members = _unzip(content)
    items = list(members.items())
    i, j = int(rng.integers(len(items))), int(rng.integers(len(items)))
    choice = int(rng.integers(6))
    if choice == 0:
        del items[i]
    elif choice == 1:
        items.insert(i, (f"arrays/{int(rng.integers(30)):03d}", rng.bytes(4)))
    elif choice == 2:
        names = [
            "model.json",
            "learner.json",
            "../x",
            "a b",
            "é",
            "arrays/",
            items[j][0],
            "x" * 300,
        ]
        items[i] = (names[int(rng.integers(len(names)))], items[i][1])
    elif choice == 3:
        items[i], items[j] = (items[i][0], items[j][1]), (items[j][0], items[i][1])
    elif choice == 4:
        items[i], items[j] = items[j], items[i]
    else:
        items += list(_unzip(other).items())
    return _pack(rng, dict(items))


def edit_metadata(rng, content, other):
    """Change bytes outside the packed members, and make the digest right again."""
    first = content.index(b"PK\1\2")
    if content[-71:-64] != b"sha256:":
        return content[:first] + any_of_bytes(rng, content[first:], content)
    archive = content[:-71]
    if rng.random() < 0.3:
        archive = any_of_bytes(rng, archive[:first], archive) + archive[first:]
    else:
        archive = archive[:first] + any_of_bytes(rng, archive[first:], archive)
    return archive + digest_comment(archive)


def rezip(rng, content, other):
    """Write an archive by another program: stored, other times, a member twice, zip64 fields."""
    stream = io.BytesIO()
    method = zipfile.ZIP_STORED if rng.random() < 0.5 else zipfile.ZIP_DEFLATED
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, member in _unzip(content).items():
            info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, int(rng.integers(2)) * 2))
            info.compress_type, info.external_attr = method, 0o644 << 16
            with archive.open(info, "w", force_zip64=rng.random() < 0.05) as target:
                target.write(member)
        if content[-71:-64] == b"sha256:":
            archive.comment = b"." * 71
    packed = stream.getvalue()
    return packed[:-71] + digest_comment(packed[:-71]) if archive.comment else packed


def bomb(rng, content, other):
    """Let a member unpack to far more than the file, or claim so."""
    members = _unzip(content)
    names = list(members)
    chosen = names[int(rng.integers(len(names)))]
    if rng.random() < 0.5:
        return _pack(rng, members | {chosen: bytes([int(rng.choice([0, 32, 91]))]) * 2**21})
    packed = bytearray(_pack(rng, members))
    place = [found.start() for found in re.finditer(re.escape(b"PK\1\2"), bytes(packed))]
    start = place[int(rng.integers(len(place)))]
    size = int(rng.choice([2**20, 2**31, 2**32 - 1]))
    struct.pack_into("<L", packed, start + 24, size)
    (offset,) = struct.unpack_from("<L", packed, start + 42)
    struct.pack_into("<L", packed, offset + 22, size)
    if packed[-71:-64] == b"sha256:":
        packed[-71:] = digest_comment(bytes(packed[:-71]))
    return bytes(packed)


ARCHIVES = {
    change.__name__: change
    for change in (
        edit_description, edit_text, edit_arrays, edit_members, edit_metadata, rezip, bomb,
    )
}  # fmt: skip
