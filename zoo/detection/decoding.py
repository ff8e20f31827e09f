"""From the numbers of a detector's map to boxes, and to one box for each object.

Source: Redmon and Farhadi, "YOLO9000", arXiv:1612.08242, section 2, "Direct location
prediction".
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Float32, Int32

from akida_jax.zoo.detection.boxes import overlap, to_corners

BOX_NUMBERS = 5
"""x, y, width, height and confidence, in this order, in front of the classes."""
MAX_STRETCH = 4.0
"""Largest exponent of a box's stretch over its anchor: a net without training gives no inf."""
MAX_DETECTIONS = 50
OVERLAP = 0.45
"""Boxes of one class that overlap more are one object. Source: darknet, test of YOLOv2."""
THRESHOLD = 0.01
"""Detections with a lower score are left out; low, so that the curve of precision over recall
is whole."""


class Detections(NamedTuple):
    """Boxes that a detector finds in several images.

    Attributes:
      corners: left, top, right, bottom, as shares of the image; may lie beyond it.
      scores: confidence times probability of the class; 0 where there is none.
      classes: of the objects.
    """

    corners: Float32[Array, "n boxes 4"]
    scores: Float32[Array, "n boxes"]
    classes: Int32[Array, "n boxes"]


class Raw(NamedTuple):
    """The numbers of a map by their meaning, for each row, column and anchor.

    Attributes:
      place: logits of the centre within its cell, x and y.
      stretch: logarithm of width and height over those of the anchor.
      confidence: logit.
      classes: logits.
    """

    place: Float[Array, "n rows columns anchors 2"]
    stretch: Float[Array, "n rows columns anchors 2"]
    confidence: Float[Array, "n rows columns anchors"]
    classes: Float[Array, "n rows columns anchors classes"]


def split_outputs(outputs: Float[Array, "n rows columns numbers"], n_anchors: int) -> Raw:
    """Return the numbers of a map by their meaning.

    Args:
      outputs: of the network; each cell holds anchor after anchor.
      n_anchors: boxes of a cell.

    Raises:
      ValueError: if the cells do not hold so many boxes with at least one class.
    """
    n, rows, columns, numbers = outputs.shape
    each, rest = divmod(numbers, n_anchors)
    if rest or each <= BOX_NUMBERS:
        raise ValueError(f"a cell of {n_anchors} boxes must hold {n_anchors} * ({BOX_NUMBERS} + "
                         f"classes) numbers, got {numbers}")  # fmt: skip
    by_box = outputs.reshape(n, rows, columns, n_anchors, each)
    return Raw(by_box[..., :2], by_box[..., 2:4], by_box[..., 4], by_box[..., BOX_NUMBERS:])


def locate(
    raw: Raw, anchors: Float[Array, "anchors 2"]
) -> Float[Array, "n rows columns anchors 4"]:
    """Return centre and size of all boxes, as shares of the image."""
    rows, columns = raw.place.shape[1:3]
    cells = jnp.array([columns, rows], raw.place.dtype)
    corner = jnp.stack(jnp.meshgrid(jnp.arange(columns), jnp.arange(rows)), -1)[:, :, None]
    middle = (jax.nn.sigmoid(raw.place) + corner) / cells
    stretch = jnp.clip(raw.stretch, -MAX_STRETCH, MAX_STRETCH)
    return jnp.concatenate([middle, anchors * jnp.exp(stretch)], -1)


def decode(
    outputs: Float[Array, "n rows columns numbers"], anchors: Float[Array, "anchors 2"]
) -> Detections:
    """Return every box of the map with its likeliest class.

    Args:
      outputs: of the network.
      anchors: widths and heights, as shares of the image.

    Raises:
      ValueError: as `split_outputs`.
    """
    anchors = jnp.asarray(anchors, jnp.float32)
    raw = split_outputs(outputs, len(anchors))
    n = len(outputs)
    probability = jax.nn.softmax(raw.classes)
    score = jax.nn.sigmoid(raw.confidence) * probability.max(-1)
    return Detections(
        to_corners(locate(raw, anchors)).reshape(n, -1, 4),
        score.reshape(n, -1),
        probability.argmax(-1).astype(jnp.int32).reshape(n, -1),
    )


def suppress(
    found: Detections,
    *,
    max_detections: int = MAX_DETECTIONS,
    max_overlap: float = OVERLAP,
    threshold: float = THRESHOLD,
) -> Detections:
    """Keep the best box of each object: non-maximum suppression within each class.

    Box by box in the order of falling scores (the first, if equal), a box is dropped if it
    overlaps a better one of its class that was kept.

    Args:
      found: all boxes.
      max_detections: boxes that are returned for each image, best first; those beyond the
        found ones have score 0.
      max_overlap: intersection over union above which two boxes are one object.
      threshold: smallest score.
    """
    one = functools.partial(_suppress, max_detections=max_detections, max_overlap=max_overlap)
    scores = jnp.where(found.scores >= threshold, found.scores, 0)
    return jax.vmap(one)(found._replace(scores=scores))


def _suppress(found: Detections, *, max_detections: int, max_overlap: float) -> Detections:
    def keep(scores: Array, _: None) -> tuple[Array, tuple[Array, Array]]:
        best = scores.argmax()
        same = found.classes == found.classes[best]
        covered = overlap(found.corners, found.corners[best]) > max_overlap
        left = jnp.where(same & covered, 0, scores).at[best].set(0)
        return left, (best, scores[best])

    _, (kept, scores) = jax.lax.scan(keep, found.scores, length=max_detections)
    return Detections(found.corners[kept], scores, found.classes[kept])


def detect(
    outputs: Float[Array, "n rows columns numbers"],
    anchors: Float[Array, "anchors 2"],
    *,
    max_detections: int = MAX_DETECTIONS,
    max_overlap: float = OVERLAP,
    threshold: float = THRESHOLD,
) -> Detections:
    """Return one box for each object, cut at the image's edge, best first.

    Args:
      outputs: of the network.
      anchors: widths and heights, as shares of the image.
      max_detections: as of `suppress`, like the next two.
      max_overlap: of two boxes of one class.
      threshold: smallest score.
    """
    found = suppress(
        decode(outputs, anchors),
        max_detections=max_detections,
        max_overlap=max_overlap,
        threshold=threshold,
    )
    return found._replace(corners=jnp.clip(found.corners, 0, 1))
