"""Changes of bytes that know nothing of what the bytes mean."""

import numpy as np

NUMBERS = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1)


def _span(rng, content, most=64):
    """Return where a block begins and ends."""
    start = int(rng.integers(0, len(content) + 1))
    return start, min(start + int(rng.integers(1, most + 1)), len(content))


def flip_bits(rng, content, other):
    changed = bytearray(content)
    for _ in range(int(rng.integers(1, 5)) if changed else 0):
        changed[int(rng.integers(len(changed)))] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def set_bytes(rng, content, other):
    changed = bytearray(content)
    for _ in range(int(rng.integers(1, 5)) if changed else 0):
        changed[int(rng.integers(len(changed)))] = int(rng.choice([0, 1, 0x7F, 0x80, 0xFF, 0x50]))
    return bytes(changed)


def set_number(rng, content, other):
    start, n_bytes = int(rng.integers(len(content) + 1)), int(rng.choice([1, 2, 4, 8]))
    number = int(rng.choice(NUMBERS)) & (256**n_bytes - 1)
    order = "little" if rng.random() < 0.7 else "big"
    return (content[:start] + number.to_bytes(n_bytes, order) + content[start + n_bytes :])[
        : max(len(content), start)
    ]


def truncate(rng, content, other):
    return content[: int(rng.integers(len(content) + 1))]


def cut_front(rng, content, other):
    return content[int(rng.integers(len(content) + 1)) :]


def insert_block(rng, content, other):
    start, stop = _span(rng, content)
    return content[:start] + rng.bytes(max(stop - start, 1)) + content[start:]


def append_block(rng, content, other):
    return content + rng.bytes(int(rng.integers(1, 100)))


def remove_block(rng, content, other):
    start, stop = _span(rng, content)
    return content[:start] + content[stop:]


def repeat_block(rng, content, other):
    start, stop = _span(rng, content)
    return content[:stop] + content[start:stop] * int(rng.integers(1, 4)) + content[stop:]


def fill_block(rng, content, other):
    start, stop = _span(rng, content)
    return content[:start] + bytes([int(rng.choice([0, 0xFF]))]) * (stop - start) + content[stop:]


def move_block(rng, content, other):
    start, stop = _span(rng, content)
    rest = content[:start] + content[stop:]
    place = int(rng.integers(len(rest) + 1))
    return rest[:place] + content[start:stop] + rest[place:]


def splice(rng, content, other):
    first = int(rng.integers(len(content) + 1))
    second = first if rng.random() < 0.5 else int(rng.integers(len(other) + 1))
    return content[:first] + other[second:]


def join(rng, content, other):
    return content + other


BYTES = {
    change.__name__: change
    for change in (
        flip_bits, set_bytes, set_number, truncate, cut_front, insert_block, append_block,
        remove_block, repeat_block, fill_block, move_block, splice, join,
    )
}  # fmt: skip
"""By name: from a generator, a content and another one to a changed content."""


def any_of_bytes(rng: np.random.Generator, content: bytes, other: bytes) -> bytes:
    """Return a content with one of the changes."""
    return BYTES[str(rng.choice(list(BYTES)))](rng, content, other)
