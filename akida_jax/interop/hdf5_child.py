"""Program that reads one HDF5 file of Keras and writes what it holds to its output.

libhdf5 crashes, loops or takes all memory on some damaged files; a short-lived process of its
own keeps that from its parent (`akida_jax.interop.hdf5`), which runs this file as a script. It
imports nothing of akida_jax, so that it starts quickly.

Output: eight bytes with the length of a JSON header, the header, then the arrays one after
another, little-endian in C order.
"""

import json
import math
import sys

import h5py
import numpy as np

_MAX_DEPTH = 32
_MAX_OBJECTS = 20_000
_KINDS = "fiub"


class Refused(ValueError):
    """Something in the file that is not read."""


def main(path: str, max_bytes: int, max_memory: int, max_seconds: int) -> None:
    """Read the file at ``path`` and write its content to the standard output."""
    _limit(max_memory, max_seconds)
    arrays: list[np.ndarray] = []
    try:
        with h5py.File(path, "r") as file:
            header = _read(file, arrays, max_bytes)
    except Refused as problem:
        header, arrays = {"refused": str(problem)}, []
    except Exception as problem:  # damage shows as any of a dozen exceptions of h5py
        header, arrays = {"damaged": f"{type(problem).__name__}: {problem}"[:500]}, []
    text = json.dumps(header).encode()
    out = sys.stdout.buffer
    out.write(len(text).to_bytes(8, "little") + text)
    for array in arrays:
        out.write(array.tobytes())
    out.flush()


def _limit(max_memory: int, max_seconds: int) -> None:
    try:
        import resource
    except ImportError:  # not on this system; the parent's time limit remains
        return
    for name, value in (("RLIMIT_AS", max_memory), ("RLIMIT_CPU", max_seconds), ("RLIMIT_CORE", 0)):
        kind = getattr(resource, name)
        _, hard = resource.getrlimit(kind)
        most = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (most, hard))


def _read(file: h5py.File, arrays: list[np.ndarray], max_bytes: int) -> dict:
    header: dict = {"attributes": {}, "groups": {}, "arrays": []}
    for name in ("model_config", "keras_version", "backend"):
        if name in file.attrs:
            header["attributes"][name] = _text(file.attrs[name])
    root = "model_weights" if _is_hard(file, "model_weights") else None
    if root is None:
        return header
    left = max_bytes
    seen = 0
    pending = [("", file[root], 0)]
    while pending:
        prefix, group, depth = pending.pop()
        names = _weight_names(group)
        if names:
            header["groups"][prefix] = names
        for name in group:
            seen += 1
            if depth >= _MAX_DEPTH or seen > _MAX_OBJECTS:
                raise Refused(f"groups nest deeper than {_MAX_DEPTH} or are too many")
            inside = f"{prefix}/{name}" if prefix else name
            if not _is_hard(group, name):
                raise Refused(f"{inside} is a link to another place; links are not followed")
            item = group[name]
            if isinstance(item, h5py.Group):
                pending.append((inside, item, depth + 1))
            elif isinstance(item, h5py.Dataset):
                array = _array(inside, item, left)
                left -= array.nbytes
                arrays.append(array)
                header["arrays"].append([inside, array.dtype.str, list(array.shape)])
    return header


def _is_hard(group: h5py.Group, name: str) -> bool:
    return isinstance(group.get(name, getlink=True), h5py.HardLink)


def _weight_names(group: h5py.Group) -> list[str]:
    """Return the names in their order; Keras splits a list too long for one attribute."""
    parts = ["weight_names", *(f"weight_names{i}" for i in range(100))]
    return [_text(n) for part in parts if part in group.attrs for n in group.attrs[part]]


def _text(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8")
    if isinstance(value, str):
        return value
    raise Refused(f"an attribute holds {type(value).__name__} instead of text")


def _array(name: str, dataset: h5py.Dataset, left: int) -> np.ndarray:
    """Return a dataset whose size has been checked before anything is allocated."""
    if dataset.is_virtual or dataset.external:
        raise Refused(f"{name} keeps its values in another file")
    if dataset.dtype.kind not in _KINDS or dataset.shape is None:
        raise Refused(f"{name} holds {dataset.dtype}, not numbers")
    n_bytes = math.prod(dataset.shape) * dataset.dtype.itemsize
    if n_bytes > left:
        raise Refused(f"{name} with its {n_bytes} bytes exceeds what a model may have")
    stored = dataset.id.get_storage_size()
    if n_bytes and (stored == 0 or (dataset.chunks is None and stored < n_bytes)):
        raise Refused(f"{name} declares {n_bytes} bytes, the file holds {stored}")
    array = np.asarray(dataset[()])
    return np.ascontiguousarray(array.astype(array.dtype.newbyteorder("<"))).reshape(array.shape)


if __name__ == "__main__":
    main(sys.argv[1], *(int(number) for number in sys.argv[2:5]))
