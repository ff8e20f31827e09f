"""What commands read besides models: inputs from an array or an image, labels, recordings."""

import zipfile
from pathlib import Path

import numpy as np
from jaxtyping import Shaped, UInt8
from PIL import Image

from akida_jax.events import as_events, read_aedat31, read_bin
from akida_jax.events.recordings import find_outside
from akida_jax.quant.architecture import Shape

IMAGES = (".png", ".jpg", ".jpeg", ".bmp")
_MODES = {1: "L", 3: "RGB"}


def read_inputs(path: Path, shape: Shape) -> UInt8[np.ndarray, "n h w c"]:
    """Return the inputs in a file; an array of one input becomes a batch of one.

    An array is mapped, not read, and nothing is unpickled. What it holds is checked by the
    model.

    Args:
      path: of a .npy file or an image.
      shape: height, width and channels of the model's input.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if it is neither, is damaged, or an image is of another size.
    """
    if path.suffix.lower() in IMAGES:
        return _read_image(path, shape)
    x = _read_array(path)
    return x[None] if x.ndim == 3 else x


def read_labels(path: Path) -> Shaped[np.ndarray, "*labels"]:
    """Return the array in a .npy file; what it holds is checked by the model.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if it is another or is damaged.
    """
    return _read_array(path)


def read_events(
    path: Path, sensor: tuple[int, int] | None = None, *, sort: bool = False
) -> Shaped[np.ndarray, " events"]:
    """Return the events of a recording, of ``EVENT_DTYPE``.

    Args:
      path: of AEDAT 3.1 (.aedat), 5-byte events (.bin), or a structured array (.npy).
      sensor: width and height in pixels; events outside are refused.
      sort: put events into order of time instead of refusing time that runs backward.

    Raises:
      FileNotFoundError: if there is no such file.
      EventFileError: if it is damaged.
      ValueError: if its suffix is another, or it holds no events' fields.
    """
    suffix = path.suffix.lower()
    if suffix == ".aedat":
        return read_aedat31(path, sensor, sort=sort)
    if suffix == ".bin":
        return read_bin(path, sensor, sort=sort)
    if suffix != ".npy":
        raise ValueError(f"{path}: recordings end in .aedat (AEDAT 3.1), .bin (N-MNIST) or .npy")
    array = _read_array(path)
    try:
        events = as_events(array, sort=sort)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    outside = find_outside(events, sensor)
    if outside is not None and sensor is not None:
        x, y, _, _ = events[outside].item()
        raise ValueError(
            f"{path}: event {outside} lies at ({x}, {y}), outside {sensor[0]} x {sensor[1]}"
        )
    return events


def _read_array(path: Path) -> np.ndarray:
    """Map the one array of a .npy file."""
    try:
        x = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path}: no .npy file of plain numbers, or damaged ({error})") from error
    if not isinstance(x, np.ndarray):
        raise ValueError(f"{path}: an archive of arrays; give one array, as np.save writes it")
    return x


def _read_image(path: Path, shape: Shape) -> UInt8[np.ndarray, "1 h w c"]:
    height, width, channels = shape
    if channels not in _MODES:
        raise ValueError(f"{path}: an image has 1 or 3 channels, the model takes {channels}; "
                         "give a .npy file")  # fmt: skip
    with _open_image(path) as image:
        if image.size != (width, height):
            raise ValueError(
                f"{path}: the image is {image.size[0]} wide and {image.size[1]} high, the model "
                f"takes {width} and {height}; resize it"
            )
        if "A" in image.getbands():
            raise ValueError(f"{path}: the image has an alpha channel; put it on a background")
        return np.asarray(image.convert(_MODES[channels])).reshape(1, height, width, channels)


def _open_image(path: Path) -> Image.Image:
    try:
        return Image.open(path)
    except Image.DecompressionBombError as error:
        raise ValueError(f"{path}: {error}") from error
