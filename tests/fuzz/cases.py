"""One changed file: made from three numbers, read, and judged."""

import dataclasses
import functools
import tracemalloc
import warnings
import zlib
from pathlib import Path

import numpy as np

from tests.fuzz.mutations import BYTES
from tests.fuzz.readers import READERS, Wrong

MEMORY_BYTES = 2**25
"""What a reader may take, beside `MEMORY_SHARE` times the file."""
MEMORY_SHARE = 64


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What came of one file.

    Attributes:
      change: its name.
      result: "refused", "same" (as a source), "other" (sound, but another one), or "wrong".
      error: type of the error of a refused file.
      fault: what is wrong.
    """

    change: str
    result: str
    error: str | None = None
    fault: str | None = None


@functools.cache
def _sources(reader: str) -> list[bytes]:
    return READERS[reader].sources()


def make(reader: str, seed: int, index: int) -> tuple[str, bytes]:
    """Return the name of a change and the changed file; the same numbers give the same file."""
    rng = np.random.default_rng([seed, zlib.crc32(reader.encode()), index])
    sources, changes = _sources(reader), READERS[reader].changes
    edits = list(READERS[reader].edits)
    while True:
        content, other = (sources[int(i)] for i in rng.integers(len(sources), size=2))
        names = edits if rng.random() < 0.5 else list(changes)
        name = names[int(rng.integers(len(names)))]
        changed = changes[name](rng, content, other)
        if changed not in sources:
            return name, changed


def judge(reader: str, change: str, path: Path) -> Outcome:
    """Read a file, and say what came of it."""
    entry, content = READERS[reader], path.read_bytes()
    found, error = None, None
    tracemalloc.start()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = entry.read(path)
    except Exception as raised:
        error = raised
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    if error is not None:
        wrong = f"raises {type(error).__name__}: {error}"[:500]
        if not isinstance(error, entry.refusals) or isinstance(error, UnicodeError):
            return Outcome(change, "wrong", fault=wrong)
        if path.name not in str(error) or len(str(error)) > 5000:
            return Outcome(change, "wrong", fault=f"{wrong} without the name, or at length")
    if peak > MEMORY_BYTES + MEMORY_SHARE * len(content):
        return Outcome(change, "wrong", fault=f"takes {peak} bytes for a file of {len(content)}")
    try:
        result = entry.check(content, found, _sources(reader), change in BYTES)
    except Wrong as wrong:
        return Outcome(change, "wrong", fault=str(wrong))
    return Outcome(change, result, error=type(error).__name__ if error else None)
