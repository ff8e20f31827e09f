"""Boxes: how they are written, and how much two of them overlap.

A box is four numbers, left, top, right and bottom, as shares of the image's width and height.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float32, Int32


class Boxes(NamedTuple):
    """True boxes of several images, filled up to the same number in each.

    Attributes:
      corners: left, top, right, bottom from 0 to 1; zeros where filled up.
      classes: of the objects, counted from 0; zeros where filled up.
      mask: which are real.
    """

    corners: Float32[np.ndarray, "n objects 4"]
    classes: Int32[np.ndarray, "n objects"]
    mask: Bool[np.ndarray, "n objects"]


def pad_boxes(
    corners: Sequence[np.ndarray], classes: Sequence[np.ndarray], n_objects: int
) -> Boxes:
    """Return the boxes of several images filled up to one number.

    Args:
      corners: of each image's boxes, (objects, 4).
      classes: of each image's boxes, (objects,).
      n_objects: boxes that each image gets.

    Raises:
      ValueError: if an image has more boxes, or corners and classes differ in number.
    """
    result = Boxes(
        np.zeros((len(corners), n_objects, 4), np.float32),
        np.zeros((len(corners), n_objects), np.int32),
        np.zeros((len(corners), n_objects), bool),
    )
    for image, (boxes, labels) in enumerate(zip(corners, classes, strict=True)):
        n = len(boxes)
        if n > n_objects or n != len(labels):
            raise ValueError(f"image {image} may have {n_objects} boxes, one class each, "
                             f"got {n} boxes and {len(labels)} classes")  # fmt: skip
        result.corners[image, :n] = np.reshape(boxes, (n, 4))
        result.classes[image, :n] = labels
        result.mask[image, :n] = True
    return result


def to_centres(corners: Float[Array, "*n 4"]) -> Float[Array, "*n 4"]:
    """Return centre x, centre y, width and height of boxes."""
    first, last = corners[..., :2], corners[..., 2:]
    return jnp.concatenate([(first + last) / 2, last - first], -1)


def to_corners(centres: Float[Array, "*n 4"]) -> Float[Array, "*n 4"]:
    """Return left, top, right and bottom of boxes given by centre and size."""
    middle, half = centres[..., :2], centres[..., 2:] / 2
    return jnp.concatenate([middle - half, middle + half], -1)


def overlap(a: Float[Array, "*a 4"], b: Float[Array, "*b 4"]) -> Float[Array, "*ab"]:
    """Return intersection over union of boxes by their corners, 0 where both are empty.

    The leading axes broadcast; ``overlap(a[:, None], b)`` compares all with all. A side that
    ends before it begins counts as empty.
    """
    sides = jnp.minimum(a[..., 2:], b[..., 2:]) - jnp.maximum(a[..., :2], b[..., :2])
    shared = jnp.prod(jnp.maximum(sides, 0), -1)
    union = area(a) + area(b) - shared
    return jnp.where(union > 0, shared / jnp.where(union > 0, union, 1), 0)


def area(corners: Float[Array, "*n 4"]) -> Float[Array, "*n"]:
    """Return width times height, 0 where a side ends before it begins."""
    return jnp.prod(jnp.maximum(corners[..., 2:] - corners[..., :2], 0), -1)
