"""Labelled images that fit into memory."""

import gzip
import os
import pathlib
import struct

import numpy as np
from jaxtyping import UInt8

from akida_jax.zoo.datasets.examples import Examples, LabelledSet
from akida_jax.zoo.datasets.places import Place, find_folder

_FASHION = Place(
    name="fashion-mnist",
    usual="fashion-mnist",
    needed="train-images-idx3-ubyte.gz",
    source="Fashion-MNIST by Xiao et al. (Zalando, 2017, arXiv:1708.07747), MIT licence; on Debian "
    "and Ubuntu: apt install dataset-fashion-mnist",
    system="/usr/share/datasets/fashion-mnist",
)
_CLOTHES = ("T-shirt", "trousers", "pullover", "dress", "coat", "sandal", "shirt", "sneaker",
            "bag", "ankle boot")  # fmt: skip


def _read_idx(path: pathlib.Path, shape: tuple[int, ...]) -> UInt8[np.ndarray, "..."]:
    header = struct.pack(f">HBB{len(shape)}I", 0, 8, len(shape), *shape)
    size = int(np.prod(shape))
    with gzip.open(path) as file:
        if file.read(len(header)) != header:
            raise ValueError(f"{path}: must be an IDX file of {shape} bytes")
        values = np.frombuffer(file.read(size), np.uint8)
    if values.size != size:
        raise ValueError(f"{path}: ends after {values.size} of {size} bytes")
    return values.reshape(shape)


def _centre(x: UInt8[np.ndarray, "n h w c"], size: int | None) -> UInt8[np.ndarray, "n s s c"]:
    if size is None:
        return x
    rows, columns = size - x.shape[1], size - x.shape[2]
    if rows < 0 or columns < 0:
        raise ValueError(f"size must be at least {max(x.shape[1:3])}, got {size}")
    margins = ((rows // 2, rows - rows // 2), (columns // 2, columns - columns // 2))
    return np.pad(x, ((0, 0), *margins, (0, 0)))


def load_images(
    name: str, *, data_dir: str | os.PathLike[str] | None = None, size: int | None = None
) -> LabelledSet:
    """Load a set of images, 28x28x1 or centred on a larger canvas of zeros.

    Args:
      name: "fashion-mnist".
      data_dir: folder of the files, instead of the usual one.
      size: rows and columns of the canvas.

    Raises:
      ValueError: if the name is unknown, a file is damaged or the canvas too small.
      FileNotFoundError: if data are missing, saying how to get them.
    """
    if name != "fashion-mnist":
        raise ValueError(f"image set must be fashion-mnist, got {name!r}")
    folder = find_folder(_FASHION, data_dir)
    sides = []
    for stem, n in (("train", 60_000), ("t10k", 10_000)):
        images = _read_idx(folder / f"{stem}-images-idx3-ubyte.gz", (n, 28, 28))
        labels = _read_idx(folder / f"{stem}-labels-idx1-ubyte.gz", (n,))
        sides.append(Examples(_centre(images[..., None], size), labels.astype(np.int32)))
    return LabelledSet(
        name=name, title="Fashion-MNIST", class_names=_CLOTHES, train=sides[0], test=sides[1],
        source=_FASHION.source, terms="MIT",
    )  # fmt: skip
