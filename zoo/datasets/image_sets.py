"""Labelled images that fit into memory."""

import gzip
import math
import os
import pathlib
import struct
import zlib

import numpy as np
from jaxtyping import UInt8

from akida_jax.zoo.datasets.examples import Examples, LabelledSet
from akida_jax.zoo.datasets.places import Place, find_folder

#: Names that `load_images` knows.
IMAGE_SETS = ("digits", "fashion-mnist", "mnist")

_SIDES = {"train": 60_000, "t10k": 10_000}
_IMAGE = (28, 28)
_N_CLASSES = 10
_FASHION = Place(
    name="fashion-mnist",
    usual="fashion-mnist",
    needed="train-images-idx3-ubyte.gz",
    source="Fashion-MNIST by Xiao et al. (Zalando, 2017, arXiv:1708.07747), MIT licence; on Debian "
    "and Ubuntu: apt install dataset-fashion-mnist",
    system="/usr/share/datasets/fashion-mnist",
)
_MNIST = Place(
    name="mnist",
    usual="mnist",
    needed="train-images-idx3-ubyte.gz",
    source="MNIST by LeCun et al. (1998, doi:10.1109/5.726791), the four .gz files of "
    "yann.lecun.com/exdb/mnist, CC BY-SA 3.0 as the documentation of Keras states",
)
_PLACES = {place.name: place for place in (_FASHION, _MNIST)}
_FORMS = {
    "fashion-mnist": ("Fashion-MNIST", "MIT", (
        "T-shirt", "trousers", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag",
        "ankle boot")),
    "mnist": ("MNIST", "CC BY-SA 3.0", tuple("0123456789")),
}  # fmt: skip
# The sign for unsigned bytes in an IDX header. Source: yann.lecun.com/exdb/mnist.
_UNSIGNED_BYTE = 8
# Grey levels of scikit-learn's digits are 0 to 16. Source: scikit-learn, load_digits.
_DIGITS_WHITE = 16
_DIGITS_TEST_SHARE = 0.2


def read_idx(
    path: str | os.PathLike[str], *, shape: tuple[int, ...], limit: int = 255
) -> UInt8[np.ndarray, "..."]:
    """Return the unsigned bytes of a gzipped IDX file.

    The header is compared with the shape before the content is unpacked, so a file cannot ask
    for more memory than that shape.

    Args:
      path: of the file.
      shape: that it must have.
      limit: largest value allowed.

    Raises:
      ValueError: if the file is not gzipped, of another type or shape, truncated, too long, or
        a value is above the limit.
      FileNotFoundError: if there is no such file.

    Source: yann.lecun.com/exdb/mnist, the IDX file format.
    """
    path = pathlib.Path(path)
    try:
        with gzip.open(path) as file:
            _check_header(path, file.read(4 + 4 * len(shape)), shape)
            content = file.read(math.prod(shape) + 1)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(f"{path}: must be a whole gzip file: {error}") from error
    if len(content) != math.prod(shape):
        state = "more" if len(content) > math.prod(shape) else f"only {len(content)}"
        raise ValueError(f"{path}: must hold {math.prod(shape)} bytes, got {state}")
    values = np.frombuffer(content, np.uint8).reshape(shape)
    if values.size and values.max() > limit:
        raise ValueError(f"{path}: values must be 0 to {limit}, got {values.max()} at index "
                         f"{int(values.argmax())}")  # fmt: skip
    return values


def _check_header(path: pathlib.Path, header: bytes, shape: tuple[int, ...]) -> None:
    n_axes = len(shape)
    if header[:4] != bytes((0, 0, _UNSIGNED_BYTE, n_axes)):
        raise ValueError(f"{path}: must begin with 0 0 {_UNSIGNED_BYTE} {n_axes}, an IDX file of "
                         f"bytes with {n_axes} axes, got {list(header[:4])}")  # fmt: skip
    if len(header) < 4 + 4 * n_axes:
        raise ValueError(f"{path}: ends after {len(header)} bytes, in the header")
    got = struct.unpack(f">{n_axes}I", header[4:])
    if got != shape:
        raise ValueError(f"{path}: must have shape {shape}, got {got}")


def _centre(x: UInt8[np.ndarray, "n h w c"], size: int | None) -> UInt8[np.ndarray, "n s s c"]:
    if size is None:
        return x
    rows, columns = size - x.shape[1], size - x.shape[2]
    if rows < 0 or columns < 0:
        raise ValueError(f"size must be at least {max(x.shape[1:3])}, got {size}")
    margins = ((rows // 2, rows - rows // 2), (columns // 2, columns - columns // 2))
    return np.pad(x, ((0, 0), *margins, (0, 0)))


def _load_idx(name: str, data_dir: str | os.PathLike[str] | None, size: int | None) -> LabelledSet:
    place = _PLACES[name]
    title, terms, class_names = _FORMS[name]
    sides = []
    for stem, n in _SIDES.items():
        files = [f"{stem}-images-idx3-ubyte.gz", f"{stem}-labels-idx1-ubyte.gz"]
        paths = [find_folder(place, data_dir, file) / file for file in files]
        labels = read_idx(paths[1], shape=(n,), limit=_N_CLASSES - 1)
        images = read_idx(paths[0], shape=(n, *_IMAGE))
        sides.append(Examples(_centre(images[..., None], size), labels.astype(np.int32)))
    return LabelledSet(
        name=name, title=title, class_names=class_names, train=sides[0], test=sides[1],
        source=place.source, terms=terms,
    )  # fmt: skip


def _load_digits(size: int | None) -> LabelledSet:
    from sklearn.datasets import load_digits

    images, digits = load_digits(return_X_y=True)
    # Halves do not occur: 255 / 16 times a whole number never ends in .5.
    levels = np.rint(images * (255 / _DIGITS_WHITE)).astype(np.uint8).reshape(-1, 8, 8, 1)
    labels = digits.astype(np.int32)
    test = np.zeros(len(labels), bool)
    for digit in range(_N_CLASSES):
        members = np.flatnonzero(labels == digit)
        test[members[len(members) - round(_DIGITS_TEST_SHARE * len(members)) :]] = True
    x = _centre(levels, size)
    return LabelledSet(
        name="digits",
        title="Digits 8x8",
        class_names=tuple("0123456789"),
        train=Examples(x[~test], labels[~test]),
        test=Examples(x[test], labels[test]),
        source="Optical Recognition of Handwritten Digits by Alpaydin & Kaynak (UCI, 1998, "
        "doi:10.24432/C50P49), its 1,797 test images as scikit-learn ships them",
        terms="CC BY 4.0",
    )


def load_images(
    name: str, *, data_dir: str | os.PathLike[str] | None = None, size: int | None = None
) -> LabelledSet:
    """Load a set of grey images, as they are or centred on a larger canvas of zeros.

    ``fashion-mnist`` and ``mnist`` are 28x28 in four gzipped IDX files, 60,000 images for
    training and 10,000 for test. ``digits`` are the 8x8 images of scikit-learn, their levels 0
    to 16 scaled to 0 to 255 and rounded; in the order in which scikit-learn gives them, the
    last fifth of each class (rounded) is the test side.

    Args:
      name: one of ``IMAGE_SETS``.
      data_dir: folder of the files, instead of ``fashion-mnist`` or ``mnist`` in
        ``$AKIDA_JAX_DATA`` and the system's package; ``digits`` need none.
      size: rows and columns of the canvas; an odd margin is larger at the bottom and right.

    Raises:
      ValueError: if the name is unknown, a file is damaged or the canvas too small.
      FileNotFoundError: if data are missing, saying how to get them.
    """
    if name == "digits":
        return _load_digits(size)
    if name not in _PLACES:
        raise ValueError(f"image set must be one of {', '.join(IMAGE_SETS)}, got {name!r}")
    return _load_idx(name, data_dir, size)
