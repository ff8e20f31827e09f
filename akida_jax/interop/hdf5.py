"""Read HDF5 files that Keras wrote, in a process of its own.

Nothing is unpickled, no link is followed, and no array is allocated before its size is known to
be within bounds. The reading is left to a child process (`hdf5_child`), since libhdf5 itself
crashes on some damaged files and runs without end on others.
"""

import dataclasses
import json
import math
import os
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np

from akida_jax.archives import ArchiveError

MAX_FILE_BYTES = 2**30
"""Files beyond this are refused; a model that fills a chip has a few megabytes."""
MAX_ARRAY_BYTES = 2**29

_CHILD = Path(__file__).with_name("hdf5_child.py")
_MAX_MEMORY = 4 * 2**30
_MAX_SECONDS = 60
_MAX_HEADER_BYTES = 2**26
_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_USER_BLOCKS = (0, 512, 1024, 2048, 4096)
_ENVIRONMENT = {
    "HDF5_USE_FILE_LOCKING": "FALSE",  # else a read-only folder is refused
    "HDF5_PLUGIN_PRELOAD": "::",  # no filter is loaded from outside
    "OPENBLAS_NUM_THREADS": "1",  # each thread reserves memory
}
_SAVE_AGAIN = "save it again with model.save('NAME.h5')"


class KerasFileError(ArchiveError):
    """A file that holds no readable Keras model; the message says what is wrong with it."""


@dataclasses.dataclass(frozen=True)
class Hdf5Content:
    """What an HDF5 file of Keras holds.

    Attributes:
      name: of the file, for messages.
      attributes: ``model_config``, ``keras_version`` and ``backend``, where present.
      weight_names: by group of ``model_weights``, in order.
      arrays: by path below ``model_weights``.
    """

    name: str
    attributes: dict[str, str]
    weight_names: dict[str, list[str]]
    arrays: dict[str, np.ndarray]


def read_hdf5(path: str | os.PathLike) -> Hdf5Content:
    """Read a file.

    Raises:
      FileNotFoundError: if there is no such file.
      IsADirectoryError: if it is a folder.
      KerasFileError: if it is no HDF5 file, truncated or damaged, or refers to other files.
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; give the name of a file")
    _check_signature(path)
    output = _run_child(path)
    length = int.from_bytes(output[:8], "little")
    if len(output) < 8 + length or length > _MAX_HEADER_BYTES:
        raise KerasFileError(f"{path.name}: damaged, its content cannot be read; {_SAVE_AGAIN}")
    header = json.loads(output[8 : 8 + length])
    if "refused" in header:
        raise KerasFileError(f"{path.name}: {header['refused']}; {_SAVE_AGAIN}")
    if "damaged" in header:
        raise KerasFileError(
            f"{path.name}: truncated or damaged ({header['damaged']}); {_SAVE_AGAIN}"
        )
    arrays = _split(header["arrays"], memoryview(output)[8 + length :])
    return Hdf5Content(path.name, header["attributes"], header["groups"], arrays)


def _check_signature(path: Path) -> None:
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise KerasFileError(f"{path.name}: no regular file, but a pipe, socket or device")
    size = status.st_size
    if size > MAX_FILE_BYTES:
        raise KerasFileError(f"{path.name}: {size} bytes exceed the limit of {MAX_FILE_BYTES}")
    with path.open("rb") as stream:
        head = stream.read(_USER_BLOCKS[-1] + len(_SIGNATURE))
    if head.startswith(b"PK\x03\x04"):
        raise KerasFileError(f"{path.name}: a zip archive such as .keras, not HDF5; load it in "
                             f"Keras and {_SAVE_AGAIN}")  # fmt: skip
    if not any(head[start : start + 8] == _SIGNATURE for start in _USER_BLOCKS):
        raise KerasFileError(f"{path.name}: not an HDF5 file; {_SAVE_AGAIN}")


def _run_child(path: Path) -> bytes:
    limits = map(str, (MAX_ARRAY_BYTES, _MAX_MEMORY, _MAX_SECONDS))
    environment = os.environ | _ENVIRONMENT
    try:
        child = subprocess.run(
            [sys.executable, "-P", str(_CHILD), str(path.resolve()), *limits],
            stdin=subprocess.DEVNULL, capture_output=True, env=environment,
            timeout=2 * _MAX_SECONDS, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise KerasFileError(
            f"{path.name}: damaged, reading it takes too long; {_SAVE_AGAIN}"
        ) from error
    if child.returncode:
        reason = (child.stderr.decode(errors="replace").strip().splitlines() or ["no message"])[-1]
        raise KerasFileError(f"{path.name}: damaged, the HDF5 library fails on it "
                             f"({child.returncode}: {reason}); {_SAVE_AGAIN}")  # fmt: skip
    return child.stdout


def _split(entries: list, content: memoryview) -> dict[str, np.ndarray]:
    arrays = {}
    start = 0
    for name, dtype, shape in entries:
        kind = np.dtype(dtype)
        end = start + math.prod(shape) * kind.itemsize
        arrays[name] = np.frombuffer(content[start:end], kind).reshape(shape)
        start = end
    return arrays
