"""Fingerprints of data sets: equal if the data are, whatever folder they lie in."""

import hashlib
import os
import pathlib
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from akida_jax.events import synthetic_gestures
from akida_jax.zoo.datasets.event_sets import find_place
from akida_jax.zoo.datasets.places import find_folder

_PATTERNS = {
    "nmnist": ("Train/[0-9]/*.bin", "Test/[0-9]/*.bin"),
    "clips": ("labels.csv", "*.bin"),
    "dvs-gesture": ("trials_to_*.txt", "*_labels.csv", "*.aedat"),
}
_PIECE_BYTES = 1 << 20
_SAMPLE_MS = 100.0


def _digest(pieces: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()[:16]


def _read_pieces(folder: pathlib.Path, paths: Sequence[pathlib.Path]) -> Iterator[bytes]:
    for path in paths:
        yield f"{path.relative_to(folder).as_posix()} {path.stat().st_size}\n".encode()
        with path.open("rb") as file:
            while piece := file.read(_PIECE_BYTES):
                yield piece


def fingerprint_files(folder: str | os.PathLike[str], patterns: Sequence[str]) -> str:
    """Return 16 hexadecimal digits that change if a file's name, size or content do.

    Files are read in pieces of 1 MiB. Other files in the folder do not count, nor does where
    the folder lies.

    Args:
      folder: of the data set.
      patterns: of the files that count, relative to the folder, such as "s[0-9]*/*.pgm".

    Raises:
      FileNotFoundError: if there is no such file.
    """
    folder = pathlib.Path(folder)
    paths = [path for pattern in patterns for path in sorted(folder.glob(pattern))]
    if not paths:
        raise FileNotFoundError(f"{folder}: no file to fingerprint is {' or '.join(patterns)}")
    return _digest(_read_pieces(folder, paths))


def fingerprint_arrays(*arrays: np.ndarray) -> str:
    """Return 16 hexadecimal digits that change if shape, dtype or content of an array do."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:16]


def fingerprint(name: str, *, seed: int = 0, data_dir: str | os.PathLike[str] | None = None) -> str:
    """Return 16 hexadecimal digits that change if an event data set does.

    They are those of the files that :func:`akida_jax.zoo.datasets.load_recordings` reads. Of
    ``synthetic``, which has no files, a short sample is computed: the same generator gives the
    same sample for a seed. How many recordings are made of it is not part of the fingerprint.

    Args:
      name: one of ``EVENT_SETS``.
      seed: of ``synthetic``.
      data_dir: folder of the data set, instead of its place in ``$AKIDA_JAX_DATA``.

    Raises:
      ValueError: if the name is unknown.
      FileNotFoundError: if data are missing.
    """
    if name == "synthetic":
        events, _ = synthetic_gestures(seed, n_per_class=1, duration_ms=_SAMPLE_MS)
        return _digest(recording.tobytes() for recording in events)
    return fingerprint_files(find_folder(find_place(name), data_dir), _PATTERNS[name])
