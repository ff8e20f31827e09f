"""Generated scenes: small real images at random places on textured backgrounds.

They stand in for photographs with boxes where none can be had, and are named so wherever a
result on them is shown: "generated scenes of digits". The digits or clothes are real, and
training scenes never show an image of the test side; places, sizes, colours and backgrounds are
drawn at random. Scene i of a seed is the same in every batch and run.
"""

import os
from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image

from akida_jax.zoo.datasets.examples import Examples, LabelledSet
from akida_jax.zoo.datasets.image_sets import load_images
from akida_jax.zoo.detection.boxes import Boxes, pad_boxes

SIZE = 128
OBJECT_SIDES = (20, 56)
MAX_OBJECTS = 4
MAX_OVERLAP = 0.15
"""Of two boxes, the part of the smaller one that the other may cover."""
# All that follows is a choice of this project.
_N_TRIALS = 40
_EDGE = 0.2
_FINE = 8
_NOISE_CELLS = (4, 8, 16, 32)
_LEAST_CONTRAST = (60, 140)
_STREAMS = {"train": 0, "test": 1}


class Scenes:
    """Scenes that are made when they are asked for; those of each epoch are new.

    It is a stream of `Examples` whose ``y`` are `Boxes`.

    Args:
      source: grey images, bright objects on black.
      n_train: training scenes of an epoch.
      n_test: test scenes.
      size: rows and columns of a scene.
      sides: shortest and longest height or width, whichever is larger, of an object in pixels.
      max_objects: objects in a scene, 1 to this number.
      seed: of all scenes.

    Attributes:
      n_train: training scenes of an epoch.
      n_test: test scenes.
      input_shape: height, width, channels.

    Raises:
      ValueError: if a number is out of its range.
    """

    def __init__(
        self,
        source: LabelledSet,
        *,
        n_train: int = 2000,
        n_test: int = 500,
        size: int = SIZE,
        sides: tuple[int, int] = OBJECT_SIDES,
        max_objects: int = MAX_OBJECTS,
        seed: int = 0,
    ):
        if not 4 <= sides[0] <= sides[1] <= size:
            raise ValueError(f"sides must rise from 4 or more to the size {size}, got {sides}")
        if min(n_train, n_test, max_objects) < 1:
            raise ValueError(f"n_train, n_test and max_objects must be at least 1, got {n_train}, "
                             f"{n_test} and {max_objects}")  # fmt: skip
        self.source, self.seed = source, seed
        self.n_train, self.n_test = n_train, n_test
        self.input_shape = (size, size, 3)
        self._sides, self._max_objects = sides, max_objects
        self._images = {"train": source.train, "test": source.test}

    def scene(
        self, side: str, index: int
    ) -> tuple[UInt8[np.ndarray, "h w 3"], Float32[np.ndarray, "objects 4"], list[int]]:
        """Return one scene, the corners of its objects as shares, and their classes.

        Args:
          side: "train" or "test".
          index: from 0, without end.
        """
        images = self._images[side]
        size = self.input_shape[0]
        rng = np.random.default_rng((self.seed, _STREAMS[side], index))
        canvas = background(rng, size)
        corners: list[tuple[int, int, int, int]] = []
        classes: list[int] = []
        for _ in range(int(rng.integers(1, self._max_objects + 1))):
            chosen = int(rng.integers(len(images.x)))
            mask = enlarge(images.x[chosen, ..., 0], int(rng.integers(*self._sides, endpoint=True)))
            box = _find_place(rng, mask.shape, size, corners)
            if box is None:
                continue
            _paint(rng, canvas, mask, box)
            corners.append(box)
            classes.append(int(images.y[chosen]))
        canvas += rng.standard_normal(canvas.shape, np.float32) * np.float32(rng.uniform(0, 6))
        pixels = np.clip(np.rint(canvas), 0, 255).astype(np.uint8)
        return pixels, np.array(corners, np.float32) / np.float32(size), classes

    def make(self, side: str, indices: range) -> Examples:
        """Return scenes ``x`` uint8 (n, size, size, 3) and their `Boxes` ``y``."""
        x = np.empty((len(indices), *self.input_shape), np.uint8)
        corners, classes = [], []
        for place, index in enumerate(indices):
            x[place], boxes, labels = self.scene(side, index)
            corners.append(boxes)
            classes.append(np.array(labels, np.int32))
        return Examples(x, pad_boxes(corners, classes, self._max_objects))  # type: ignore[arg-type]

    def train_batches(self, seed: int, epoch: int, batch_size: int) -> Iterator[Examples]:
        """Return the full batches of an epoch; no two epochs share a scene.

        Args:
          seed: not used: the scenes' own seed says what they show.
          epoch: its number, not negative.
          batch_size: 1 to ``n_train``.

        Raises:
          ValueError: if the batch size is out of range.
        """
        if not 1 <= batch_size <= self.n_train:
            raise ValueError(f"batch_size must be 1 to {self.n_train}, got {batch_size}")
        start = epoch * self.n_train
        for first in range(start, start + self.n_train - batch_size + 1, batch_size):
            yield self.make("train", range(first, first + batch_size))

    def test_batches(self, batch_size: int) -> Iterator[Examples]:
        """Return the test scenes in their order; the last batch may be smaller.

        Raises:
          ValueError: if the batch size is below 1.
        """
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        for first in range(0, self.n_test, batch_size):
            yield self.make("test", range(first, min(first + batch_size, self.n_test)))

    def test_boxes(self) -> Boxes:
        """Return the true boxes of all test scenes."""
        return self.make("test", range(self.n_test)).y  # type: ignore[return-value]


def load_scenes(
    name: str = "digits", *, data_dir: str | os.PathLike[str] | None = None, **settings: Any
) -> Scenes:
    """Return generated scenes of digits or clothes.

    Args:
      name: an image set, see `load_images`: "digits" needs no files.
      data_dir: folder of its files.
      **settings: as of `Scenes`.

    Raises:
      ValueError: if the name is unknown or a number out of its range.
      FileNotFoundError: if data are missing, saying how to get them.
    """
    return Scenes(load_images(name, data_dir=data_dir), **settings)


def background(rng: np.random.Generator, size: int) -> Float32[np.ndarray, "size size 3"]:
    """Return a random texture, values about 0 to 255: a gradient, noise and stripes."""
    places = np.arange(size, dtype=np.float32) / np.float32(size)
    angle, share = rng.uniform(0, 2 * np.pi), rng.uniform(0, 1)
    low, high = rng.uniform(20, 235, (2, 3)).astype(np.float32)
    ramp = 0.5 + _slope(places - 0.5, angle)
    canvas = low + ramp[..., None] * ((high - low) * np.float32(share))
    for cells in _NOISE_CELLS:
        strength = np.float32(rng.uniform(0, 60 / cells**0.5))
        grid = Image.fromarray(rng.standard_normal((cells, cells), np.float32) * strength)
        noise = np.asarray(grid.resize((size, size), Image.Resampling.BICUBIC))
        canvas += noise[..., None] * rng.uniform(0.5, 1, 3).astype(np.float32)
    if rng.random() < 0.5:
        angle, waves, start = rng.uniform(0, np.pi), rng.uniform(2, 12), rng.random()
        stripes = np.sin(np.float32(2 * np.pi) * (waves * _slope(places, angle) + start))
        canvas += stripes[..., None] * rng.uniform(-25, 25, 3).astype(np.float32)
    return canvas


def _slope(places: Float32[np.ndarray, " n"], angle: float) -> Float32[np.ndarray, "n n"]:
    """Return how far each pixel lies in a direction."""
    return places * np.float32(np.cos(angle)) + places[:, None] * np.float32(np.sin(angle))


def enlarge(image: UInt8[np.ndarray, "h w"], side: int) -> Float32[np.ndarray, "h w"]:
    """Return how far an object covers each pixel, 0 to 1, scaled smoothly (bicubic).

    It ends where its blurred edge falls below a fifth of white; its larger side is ``side``.

    Raises:
      ValueError: if the image is dark everywhere.
    """
    framed = np.pad(image, 1)
    size = (_FINE * framed.shape[1], _FINE * framed.shape[0])
    fine = np.asarray(Image.fromarray(framed).resize(size, Image.Resampling.BICUBIC))
    inside = fine >= _EDGE * 255
    if not inside.any():
        raise ValueError("an object needs pixels of at least a fifth of white, the image has none")
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    cut = fine[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    height, width = (max(1, round(length * side / max(cut.shape))) for length in cut.shape)
    scaled = Image.fromarray(cut).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(scaled, np.float32) / 255


def _find_place(
    rng: np.random.Generator,
    shape: tuple[int, ...],
    size: int,
    others: list[tuple[int, int, int, int]],
) -> tuple[int, int, int, int] | None:
    """Return corners in pixels that cover little of the others, None if none is found."""
    height, width = shape
    for _ in range(_N_TRIALS):
        left = int(rng.integers(size - width + 1))
        top = int(rng.integers(size - height + 1))
        box = (left, top, left + width, top + height)
        if all(_covered(box, other) <= MAX_OVERLAP for other in others):
            return box
    return None


def _covered(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> float:
    """Return the part of the smaller box that the other covers."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    smaller = min((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b))
    return max(0, width) * max(0, height) / smaller


def _paint(
    rng: np.random.Generator,
    canvas: Float32[np.ndarray, "size size 3"],
    mask: Float32[np.ndarray, "h w"],
    box: tuple[int, int, int, int],
) -> None:
    """Blend an object into the canvas, in a colour that differs from what is there."""
    left, top, right, bottom = box
    piece = canvas[top:bottom, left:right]
    behind = piece.mean((0, 1))
    least = rng.uniform(*_LEAST_CONTRAST)
    for _ in range(_N_TRIALS):
        colour = rng.uniform(0, 255, 3).astype(np.float32)
        if np.abs(colour - behind).max() >= least:
            break
    piece += mask[..., None] * (colour - piece)
