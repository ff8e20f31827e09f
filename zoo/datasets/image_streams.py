"""Labelled images that do not fit into memory, decoded while a network trains.

Examples are found by index and decoded by Pillow in a few threads. Every random choice follows
from (seed, epoch, place in the epoch), so batches do not depend on the number of threads. A pool
of threads was chosen over grain because it does the same here in twenty lines and adds no
package: Pillow gives up the interpreter's lock while it decodes and scales.
"""

import collections
import concurrent.futures
import contextlib
import dataclasses
import functools
import io
import math
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from akida_jax.zoo.datasets.examples import Examples

Source = Sequence[Mapping[str, Any]]
Box = tuple[float, float, float, float]
Made = TypeVar("Made")

#: Batches that are decoded ahead of the one in use.
AHEAD = 2
#: Ratio of width to height of a random piece. Source: Szegedy et al., arXiv:1409.4842, section 6.
RATIOS = (3 / 4, 4 / 3)
# Pieces that are tried before the test's cut is taken.
_N_TRIALS = 10
# An image of more pixels is refused before it is decoded.
_MAX_PIXELS = 1 << 26
_FORMATS = ("JPEG", "PNG")


@dataclasses.dataclass(frozen=True, kw_only=True)
class View:
    """What a network sees of an image.

    Attributes:
      size: rows and columns.
      channels: 3, or 1 for grey.
      crop: share of the shorter side that the middle square keeps; None scales the whole image.
      min_area: smallest share of the image that a random training piece covers; 1 trains on
        the same cut as the test.
      flip: mirror every other training image.
    """

    size: int = 224
    channels: int = 3
    crop: float | None = None
    min_area: float = 1.0
    flip: bool = False


class LabelledStream:
    """Labelled images of a data set that does not fit into memory.

    At most ``AHEAD`` batches are decoded ahead; no other image is held.

    Args:
      name: of the data set.
      train: training examples by index, with "image" (the bytes of a file) and "label".
      test: test examples.
      class_names: by label.
      view: how the images are cut and scaled.
      workers: threads that decode.

    Attributes:
      n_train: training examples.
      n_test: test examples.
      input_shape: height, width, channels.

    Raises:
      ValueError: if the size of the view or the number of threads is below 1.
    """

    def __init__(
        self, name: str, train: Source, test: Source, *, class_names: tuple[str, ...],
        view: View, workers: int,
    ):  # fmt: skip
        if view.size < 1 or workers < 1:
            raise ValueError(f"size and workers must be at least 1, got {view.size} and {workers}")
        self.name, self.class_names = name, class_names
        self.n_train, self.n_test = len(train), len(test)
        self.input_shape = (view.size, view.size, view.channels)
        self._train, self._test, self._view, self._workers = train, test, view, workers

    def train_batches(self, seed: int, epoch: int, batch_size: int) -> Iterator[Examples]:
        """Return the full batches of an epoch, in random order and with random pieces.

        Args:
          seed: of the run, not negative.
          epoch: its number, not negative.
          batch_size: 1 to the number of training examples; the rest of the epoch is left out.

        Raises:
          ValueError: if the batch size is out of range, or an image is damaged.
        """
        if not 1 <= batch_size <= self.n_train:
            raise ValueError(f"batch_size must be 1 to {self.n_train}, got {batch_size}")
        order = np.random.default_rng((seed, epoch)).permutation(self.n_train)
        chosen = order[: self.n_train // batch_size * batch_size]

        def make(place: int) -> tuple[np.ndarray, int]:
            rng = np.random.default_rng((seed, epoch, place))
            return self._read(self._train, int(chosen[place]), "training", rng)

        return self._batches(make, len(chosen), batch_size)

    def sample(self, n: int, *, seed: int) -> UInt8[np.ndarray, "n h w c"]:
        """Return random training images, cut as test images are.

        Args:
          n: 1 to the number of training examples.
          seed: of the choice.

        Raises:
          ValueError: if the number is out of range, or an image is damaged.
        """
        if not 1 <= n <= self.n_train:
            raise ValueError(f"n must be 1 to {self.n_train}, got {n}")
        chosen = np.random.default_rng(seed).permutation(self.n_train)[:n]

        def make(place: int) -> tuple[np.ndarray, int]:
            return self._read(self._train, int(chosen[place]), "training")

        (batch,) = self._batches(make, n, n)
        return batch.x

    def test_batches(self, batch_size: int) -> Iterator[Examples]:
        """Return all test examples in their order; the last batch may be smaller.

        Raises:
          ValueError: if the batch size is below 1, or an image is damaged.
        """
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        make = functools.partial(self._read, self._test, side="test")
        return self._batches(make, self.n_test, batch_size)

    def _read(
        self, source: Source, index: int, side: str, rng: np.random.Generator | None = None
    ) -> tuple[np.ndarray, int]:
        example, view = source[index], self._view
        where = f"data set {self.name!r}, {side} example {index}"
        image = decode_image(example["image"], where=where, channels=view.channels)
        label = int(example["label"])
        if not 0 <= label < len(self.class_names):
            raise ValueError(f"{where}: label must be 0 to {len(self.class_names) - 1}, "
                             f"got {label}")  # fmt: skip
        box, flip = middle_box(image.size, view.crop), False
        if rng is not None:
            box = random_box(rng, image.size, view.min_area) or box
            flip = view.flip and rng.random() < 0.5
        pixels = scale(image, self.input_shape[0], box)
        return (pixels[:, ::-1] if flip else pixels), label

    def _batches(
        self, make: Callable[[int], tuple[np.ndarray, int]], n: int, batch_size: int
    ) -> Iterator[Examples]:
        rest = _in_order(make, n, workers=self._workers, ahead=AHEAD * batch_size)
        with contextlib.closing(rest) as made:
            for first in range(0, n, batch_size):
                size = min(batch_size, n - first)
                x = np.empty((size, *self.input_shape), np.uint8)
                y = np.empty(size, np.int32)
                for place in range(size):
                    x[place], y[place] = next(made)
                yield Examples(x, y)


def _in_order(
    make: Callable[[int], Made], n: int, *, workers: int, ahead: int
) -> Generator[Made, None, None]:
    """Yield make(0) to make(n - 1), made in threads; at most ``ahead`` are begun and not used."""
    waiting: collections.deque[concurrent.futures.Future[Made]] = collections.deque()
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        try:
            for place in range(n):
                waiting.append(pool.submit(make, place))
                if len(waiting) == ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def decode_image(data: bytes, *, where: str, channels: int = 3) -> Image.Image:
    """Return a JPEG or PNG image in colour or grey.

    Args:
      data: content of the file.
      where: named in errors.
      channels: 3 for colour, 1 for grey.

    Raises:
      ValueError: if it is no such image, is damaged or has more than 67 million pixels.
    """
    try:
        image = Image.open(io.BytesIO(data), formats=_FORMATS)
        if image.width * image.height <= _MAX_PIXELS:
            return image.convert("RGB" if channels == 3 else "L")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"{where}: must be a whole image, {' or '.join(_FORMATS)}; get the data "
                         f"set again: {error}") from error  # fmt: skip
    raise ValueError(f"{where}: {image.width} x {image.height} pixels are more than {_MAX_PIXELS}")


def middle_box(size: tuple[int, int], crop: float | None) -> Box:
    """Return the middle square whose side is a share of the shorter side; all if None.

    Args:
      size: width and height of the image.
      crop: the share.

    Returns:
      Left, top, right and bottom, in pixels.
    """
    width, height = size
    if crop is None:
        return 0.0, 0.0, float(width), float(height)
    side = crop * min(size)
    left, top = (width - side) / 2, (height - side) / 2
    return left, top, left + side, top + side


def random_box(rng: np.random.Generator, size: tuple[int, int], min_area: float) -> Box | None:
    """Return a random piece of an image, of a ratio within `RATIOS`.

    Args:
      rng: where the choice comes from.
      size: width and height of the image.
      min_area: smallest share of the image; 1 asks for no piece.

    Returns:
      Left, top, right and bottom; None if no piece is asked for, or ten do not fit.

    Source: Szegedy et al., "Going Deeper with Convolutions", arXiv:1409.4842, section 6.
    """
    if min_area >= 1:
        return None
    width, height = size
    for _ in range(_N_TRIALS):
        area = rng.uniform(min_area, 1) * width * height
        ratio = math.exp(rng.uniform(*np.log(RATIOS)))
        columns, rows = math.sqrt(area * ratio), math.sqrt(area / ratio)
        if columns <= width and rows <= height:
            left, top = rng.uniform(0, width - columns), rng.uniform(0, height - rows)
            return left, top, left + columns, top + rows
    return None


def scale(image: Image.Image, size: int, box: Box) -> UInt8[np.ndarray, "size size channels"]:
    """Return a piece of an image at another size, bilinear, antialiased.

    Args:
      image: in colour or grey.
      size: rows and columns.
      box: left, top, right and bottom of the piece.
    """
    pixels = np.asarray(image.resize((size, size), Image.Resampling.BILINEAR, box=box))
    return pixels.reshape(size, size, -1)
