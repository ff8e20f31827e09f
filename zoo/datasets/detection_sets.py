"""Photographs with boxes, decoded while a detector trains.

`downloaded` gets the data sets; here their annotations become targets:

- WIDER FACE: one class, "face". Faces marked invalid are left out, and those whose box is
  smaller than `MIN_PIXELS` on a side once the image is scaled: no detector with cells of 32
  pixels can place them.
- PASCAL VOC 2007: "person" and "car", the two classes of the vendor's published detector (facts
  of its Apache-2.0 package akida-models). Other objects, and those marked difficult, are left
  out; images that hold none of the two stay, as background. VOC's own rule does not count a
  difficult object that is found as an error.

The whole image is scaled to 224x224, whatever its ratio, as the published detectors see it;
boxes are shares of width and height, so they need no change.
"""

import dataclasses
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from jaxtyping import Float32, Int32, UInt8

from akida_jax.zoo.datasets.downloaded import open_source
from akida_jax.zoo.datasets.examples import Examples
from akida_jax.zoo.datasets.image_streams import Source, decode_image, middle_box, scale
from akida_jax.zoo.detection.boxes import pad_boxes

SIZE = 224
MIN_PIXELS = 8
"""Smallest side of a box in the scaled image. Assumed: a quarter of a cell of 32 pixels."""
MAX_OBJECTS = 32
"""Boxes of an image; of more, the largest are kept. Assumed: WIDER FACE shows up to 2,000."""

Annotation = tuple[Float32[np.ndarray, "objects 4"], Int32[np.ndarray, " objects"]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class DetectionSet:
    """A data set of `downloaded` as a detector reads it.

    Attributes:
      splits: training and test side.
      class_names: by label.
      annotate: returns corners and classes of a record's objects.
    """

    splits: tuple[str, str]
    class_names: tuple[str, ...]
    annotate: Callable[[Mapping[str, Any]], Annotation]


def annotate_faces(record: Mapping[str, Any]) -> Annotation:
    """Return corners and classes of the faces of a WIDER FACE record, without invalid ones."""
    faces = record["faces"]
    valid = ~np.asarray(faces["invalid"], bool)
    return _select(faces, np.zeros(len(valid), np.int32), valid)


# Places of the two classes in VOC's alphabetical list of twenty. Source: Everingham et al., "The
# PASCAL VOC Challenge" (2010), table 1; tensorflow-datasets 4.9.10, voc.
_VOC_CLASSES = {14: 0, 6: 1}


def annotate_voc(record: Mapping[str, Any]) -> Annotation:
    """Return corners and classes of the people and cars of a VOC record, not difficult."""
    objects = record["objects"]
    classes = np.array([_VOC_CLASSES.get(int(label), -1) for label in objects["label"]], np.int32)
    easy = ~np.asarray(objects["is_difficult"], bool)
    return _select(objects, classes, easy & (classes >= 0))


def _select(objects: Mapping[str, Any], classes: np.ndarray, mask: np.ndarray) -> Annotation:
    """Return some of the objects; their boxes are stored as top, left, bottom and right."""
    stored = np.asarray(objects["bbox"], np.float32).reshape(-1, 4)
    chosen = np.flatnonzero(mask)
    return stored[chosen][:, [1, 0, 3, 2]], classes[chosen]


DETECTION_SETS: dict[str, DetectionSet] = {
    "wider_face": DetectionSet(
        splits=("train", "validation"), class_names=("face",), annotate=annotate_faces
    ),
    "voc": DetectionSet(
        splits=("train+validation", "test"), class_names=("person", "car"), annotate=annotate_voc
    ),
}


class DetectionStream:
    """Images with boxes of a data set that does not fit into memory.

    It is a stream of `Examples` whose ``y`` are `Boxes`; one batch is held at a time.

    Args:
      name: of the data set, for errors.
      train: training records, with "image" as the bytes of a file.
      test: test records.
      kind: how they are read.
      size: rows and columns of the images.
      max_objects: boxes of an image; of more, the largest are kept.
      min_pixels: smallest side of a box in the scaled image.

    Attributes:
      n_train: training images.
      n_test: test images.
      class_names: by label.
      input_shape: height, width, channels.

    Raises:
      ValueError: if a number is out of its range.
    """

    def __init__(
        self, name: str, train: Source, test: Source, *, kind: DetectionSet, size: int = SIZE,
        max_objects: int = MAX_OBJECTS, min_pixels: float = MIN_PIXELS,
    ):  # fmt: skip
        if size < 1 or max_objects < 1 or min_pixels < 0:
            raise ValueError(f"size and max_objects must be at least 1 and min_pixels 0, got "
                             f"{size}, {max_objects} and {min_pixels}")  # fmt: skip
        self.name, self.class_names = name, kind.class_names
        self.n_train, self.n_test = len(train), len(test)
        self.input_shape = (size, size, 3)
        self._train, self._test, self._kind = train, test, kind
        self._max_objects, self._min_pixels = max_objects, min_pixels

    def train_batches(self, seed: int, epoch: int, batch_size: int) -> Iterator[Examples]:
        """Return the full batches of an epoch in random order, every other image mirrored.

        Args:
          seed: of the run, not negative.
          epoch: its number, not negative.
          batch_size: 1 to the number of training images; the rest of the epoch is left out.

        Raises:
          ValueError: if the batch size is out of range, or an image is damaged.
        """
        if not 1 <= batch_size <= self.n_train:
            raise ValueError(f"batch_size must be 1 to {self.n_train}, got {batch_size}")
        rng = np.random.default_rng((seed, epoch))
        order = rng.permutation(self.n_train)
        mirrored = rng.random(self.n_train) < 0.5
        for first in range(0, self.n_train - batch_size + 1, batch_size):
            yield self._batch(self._train, "training", order[first : first + batch_size], mirrored)

    def test_batches(self, batch_size: int) -> Iterator[Examples]:
        """Return all test images in their order; the last batch may be smaller.

        Raises:
          ValueError: if the batch size is below 1, or an image is damaged.
        """
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        for first in range(0, self.n_test, batch_size):
            indices = np.arange(first, min(first + batch_size, self.n_test))
            yield self._batch(self._test, "test", indices, np.zeros(self.n_test, bool))

    def _batch(
        self, source: Source, side: str, indices: np.ndarray, mirrored: np.ndarray
    ) -> Examples:
        x = np.empty((len(indices), *self.input_shape), np.uint8)
        corners, classes = [], []
        for place, index in enumerate(indices.tolist()):
            x[place], boxes, labels = self._read(source[index], f"{side} example {index}")
            if mirrored[index]:
                x[place] = x[place, :, ::-1]
                boxes = np.stack([1 - boxes[:, 2], boxes[:, 1], 1 - boxes[:, 0], boxes[:, 3]], 1)
            corners.append(boxes)
            classes.append(labels)
        return Examples(x, pad_boxes(corners, classes, self._max_objects))  # type: ignore[arg-type]

    def _read(
        self, record: Mapping[str, Any], which: str
    ) -> tuple[UInt8[np.ndarray, "size size 3"], np.ndarray, np.ndarray]:
        image = decode_image(record["image"], where=f"data set {self.name!r}, {which}")
        pixels = scale(image, self.input_shape[0], middle_box(image.size, None))
        corners, classes = self._kind.annotate(record)
        sides = corners[:, 2:] - corners[:, :2]
        large = np.flatnonzero(sides.min(1) * self.input_shape[0] >= self._min_pixels)
        order = large[np.argsort(-sides[large].prod(1), kind="stable")][: self._max_objects]
        return pixels, corners[order], classes[order]


def open_detection(
    name: str, *, size: int = SIZE, data_dir: str | os.PathLike[str] | None = None
) -> DetectionStream:
    """Open a data set of photographs with boxes that `downloaded` has prepared.

    Args:
      name: key of `DETECTION_SETS`.
      size: rows and columns of the images.
      data_dir: folder that tensorflow-datasets writes to, instead of its usual one.

    Raises:
      ValueError: if the name is unknown or the size below 1.
      FileNotFoundError: if the data set is not prepared, with the command that gets it.
    """
    if name not in DETECTION_SETS:
        known = ", ".join(DETECTION_SETS)
        raise ValueError(f"detection set must be one of {known}, got {name!r}")
    kind = DETECTION_SETS[name]
    train, test = (open_source(name, split, data_dir) for split in kind.splits)
    return DetectionStream(name, train, test, kind=kind, size=size)
