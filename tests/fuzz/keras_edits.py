"""Changes of Keras files that leave HDF5 itself whole: configurations, arrays, groups, links."""

import io
import json

import h5py
import numpy as np

from tests.fuzz.archive_edits import DESCRIPTION_CHANGES
from tests.fuzz.mutations import any_of_bytes

_VALUES = (0.0, -0.0, 1.0, -1.0, 1e-30, 1e30, 3e38, np.nan, np.inf, -np.inf)
_DTYPES = ("<f8", ">f4", "<f2", "<i4", "u1", "?", "<c8", "S4")


def _edited(content, change):
    """Return a file after ``change(file)``."""
    stream = io.BytesIO(content)
    with h5py.File(stream, "r+") as file:
        change(file)
    return stream.getvalue()


def _objects(file, kind):
    """Return the paths of all groups or all datasets below the weights."""
    found = []
    file["model_weights"].visititems(
        lambda name, item: found.append(name) if isinstance(item, kind) else None
    )
    return found


def _pick(rng, names):
    return names[int(rng.integers(len(names)))]


def edit_config(rng, content, other):
    """Change values of the configuration."""

    def change(file):
        config = json.loads(file.attrs["model_config"])
        for _ in range(int(rng.integers(1, 3))):
            if config:
                _pick(rng, DESCRIPTION_CHANGES)(rng, config)
        file.attrs["model_config"] = json.dumps(config)

    return _edited(content, change)


def edit_config_text(rng, content, other):
    """Change the text of an attribute, or leave it out."""

    def change(file):
        name = _pick(rng, sorted(file.attrs))
        text = file.attrs[name].encode()
        if rng.random() < 0.1:
            del file.attrs[name]
        else:
            changed = any_of_bytes(rng, text, text)
            file.attrs[name] = np.bytes_(changed) if changed else h5py.Empty("S1")

    return _edited(content, change)


def edit_values(rng, content, other):
    """Change numbers of an array."""

    def change(file):
        array = file["model_weights"][_pick(rng, _objects(file, h5py.Dataset))]
        values = array[...]
        for _ in range(int(rng.integers(1, 4))):
            place = tuple(int(rng.integers(n)) for n in values.shape)
            values[place] = np.array(_pick(rng, _VALUES)).astype(values.dtype)
        array[...] = values

    with np.errstate(invalid="ignore"):
        return _edited(content, change)


def edit_arrays(rng, content, other):
    """Give an array another type, shape or storage, or claim one that is not there."""

    def change(file):
        weights = file["model_weights"]
        name = _pick(rng, _objects(file, h5py.Dataset))
        values = weights[name][...]
        del weights[name]
        choice = int(rng.integers(6))
        if choice == 0:
            values = np.abs(values).astype(_pick(rng, _DTYPES))
        elif choice == 1:
            values = values[..., None] if rng.random() < 0.5 else values.reshape(-1)
        elif choice == 2 and values.ndim:
            values = values[..., : int(rng.integers(values.shape[-1] + 1))]
        elif choice == 3:
            weights.create_dataset(name, (2**20, 2**12), "<f4", chunks=(64, 64))
            return
        elif choice == 4:
            values = values.T
        packed = _pick(rng, (None, "gzip", "lzf")) if values.ndim and values.size else None
        weights.create_dataset(name, data=values, compression=packed)

    return _edited(content, change)


def edit_groups(rng, content, other):
    """Drop, rename, repeat or link what holds weights, or change the list of their names."""

    def change(file):
        weights = file["model_weights"]
        name = _pick(rng, _objects(file, h5py.Dataset))
        group = weights[name.split("/")[0]]
        choice = int(rng.integers(6))
        if choice == 0:
            del weights[name]
        elif choice == 1:
            weights.move(name, f"{name}_moved")
        elif choice == 2:
            del weights[name]
            weights[name] = h5py.SoftLink("/model_weights")
        elif choice == 3:
            weights["linked"] = h5py.ExternalLink("other.h5", "/x")
        elif choice == 4:
            weights.copy(name, f"{name}_again")
        else:
            names = list(group.attrs["weight_names"])
            rng.shuffle(names)
            kept = names[: int(rng.integers(len(names) + 1))]
            group.attrs["weight_names"] = kept or h5py.Empty("S1")

    return _edited(content, change)


KERAS = {
    change.__name__: change
    for change in (edit_config, edit_config_text, edit_values, edit_arrays, edit_groups)
}
