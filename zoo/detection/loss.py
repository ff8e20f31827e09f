"""The loss that YOLOv2 detectors learn by.

Source: Redmon and Farhadi, "YOLO9000", arXiv:1612.08242, section 2, and, for the weights and
the threshold, which the paper does not print, the authors' configuration yolov2-voc.cfg of
darknet (facts: object_scale 5, noobject_scale 1, class_scale 1, coord_scale 1, thresh 0.6,
rescore 1). Sums run over the image, the mean over the batch.

Squared errors are not halved here, and darknet's gradient is that of half of them: with equal
weights the cross entropy of the classes counts half as much as there. Nor are the first 12,800
images pulled to the anchors.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Float32, Int

from akida_jax.zoo.detection.boxes import Boxes, overlap, to_centres, to_corners
from akida_jax.zoo.detection.decoding import Raw, locate, split_outputs

_NEAR_EDGE = 1e-4


@dataclasses.dataclass(frozen=True, kw_only=True)
class LossWeights:
    """How much each part of the loss counts, and what is no background.

    Attributes:
      objects: confidence of the boxes that stand for an object.
      background: confidence of those that stand for none.
      classes: cross entropy of the class.
      places: centre and size; a small box counts up to twice.
      near: a box that overlaps an object more than this is no background, though another box
        stands for the object.
      cross_entropy: of the confidence instead of its squared error, whose gradient vanishes
        where a confidence is wrong but sure; a network that starts from nothing needs it.
    """

    objects: float = 5.0
    background: float = 1.0
    classes: float = 1.0
    places: float = 1.0
    near: float = 0.6
    cross_entropy: bool = False


DARKNET = LossWeights()


class Assignment(NamedTuple):
    """Which box of the map stands for each object.

    Attributes:
      row: of the cell that the object's centre lies in.
      column: of the cell.
      anchor: whose shape is most like the object's.
      mask: False where filled up, and for an object whose box stands for an earlier one.
    """

    row: Int[Array, "n objects"]
    column: Int[Array, "n objects"]
    anchor: Int[Array, "n objects"]
    mask: Bool[Array, "n objects"]


def assign(boxes: Boxes, anchors: Float[Array, "anchors 2"], shape: tuple[int, int]) -> Assignment:
    """Return which box of the map stands for each object.

    Args:
      boxes: the true ones.
      anchors: widths and heights, as shares of the image.
      shape: rows and columns of the map.
    """
    centres = to_centres(jnp.asarray(boxes.corners))
    row = _cell(centres[..., 1], shape[0])
    column = _cell(centres[..., 0], shape[1])
    sizes = centres[..., None, 2:]
    around = jnp.concatenate([-sizes, sizes], -1), jnp.concatenate([-anchors, anchors], -1)
    anchor = overlap(*around).argmax(-1)
    slot = (row * shape[1] + column) * len(anchors) + anchor
    same = (slot[:, :, None] == slot[:, None]) & jnp.asarray(boxes.mask)[:, None]
    taken = jnp.tril(same, -1).any(-1)
    return Assignment(row, column, anchor, jnp.asarray(boxes.mask) & ~taken)


def _cell(place: Float[Array, "*n"], cells: int) -> Int[Array, "*n"]:
    return jnp.clip(jnp.floor(place * cells).astype(jnp.int32), 0, cells - 1)


def detection_loss(
    outputs: Float[Array, "n rows columns numbers"],
    boxes: Boxes,
    anchors: Float[Array, "anchors 2"],
    weights: LossWeights = DARKNET,
) -> Float32[Array, ""]:
    """Return the loss of a batch: the sum of `loss_parts`, weighted.

    Args:
      outputs: of the network, ``anchors * (5 + classes)`` numbers in each cell.
      boxes: the true ones.
      anchors: widths and heights, as shares of the image.
      weights: of the parts.

    Raises:
      ValueError: if the cells do not hold so many boxes with at least one class.
    """
    parts = loss_parts(outputs, boxes, anchors, weights)
    weighted = [getattr(weights, name) * part for name, part in parts.items()]
    return jnp.sum(jnp.stack(weighted))


def loss_parts(
    outputs: Float[Array, "n rows columns numbers"],
    boxes: Boxes,
    anchors: Float[Array, "anchors 2"],
    weights: LossWeights = DARKNET,
) -> dict[str, Float32[Array, ""]]:
    """Return the parts of the loss of a batch by name, without their weights.

    "places": centre within the cell and logarithm of the size, squared errors; "objects" and
    "background": confidence against the overlap of the box with its object, or against 0;
    "classes": cross entropy.

    Args:
      outputs: as of `detection_loss`, like the others.
      boxes: the true ones.
      anchors: widths and heights.
      weights: of which `near` and `cross_entropy` matter.
    """
    anchors = jnp.asarray(anchors, jnp.float32)
    raw = split_outputs(outputs.astype(jnp.float32), len(anchors))
    rows, columns = outputs.shape[1:3]
    chosen = assign(boxes, anchors, (rows, columns))
    overlaps = jax.lax.stop_gradient(_overlaps(raw, boxes, anchors))
    image = jnp.arange(len(outputs))[:, None]
    slot = (image, chosen.row, chosen.column, chosen.anchor)
    own = jnp.take_along_axis(overlaps[slot], jnp.arange(overlaps.shape[-1])[None, :, None], -1)
    stands = jnp.zeros(raw.confidence.shape, jnp.int32).at[slot].max(chosen.mask.astype(jnp.int32))
    background = (overlaps.max(-1) < weights.near) & (stands == 0)
    error = optax.sigmoid_binary_cross_entropy if weights.cross_entropy else _squared_error
    objects = {
        "places": _place_errors(raw, boxes, anchors, chosen, slot),
        "objects": error(raw.confidence[slot], own[..., 0]),
        "classes": optax.softmax_cross_entropy_with_integer_labels(
            raw.classes[slot], jnp.asarray(boxes.classes)
        ),
    }
    sums = {name: jnp.sum(part, where=chosen.mask) for name, part in objects.items()}
    empty = error(raw.confidence, jnp.zeros_like(raw.confidence))
    sums["background"] = jnp.sum(empty, where=background)
    return {name: total / len(outputs) for name, total in sums.items()}


def _squared_error(logits: Float[Array, "*n"], labels: Float[Array, "*n"]) -> Float[Array, "*n"]:
    return (jax.nn.sigmoid(logits) - labels) ** 2


def _overlaps(
    raw: Raw, boxes: Boxes, anchors: Float[Array, "anchors 2"]
) -> Float[Array, "n rows columns anchors objects"]:
    """Return the overlap of each box of the map with each object, 0 with those filled up."""
    found = to_corners(locate(raw, anchors))[..., None, :]
    return overlap(found, jnp.asarray(boxes.corners)[:, None, None, None])


def _place_errors(
    raw: Raw,
    boxes: Boxes,
    anchors: Float[Array, "anchors 2"],
    chosen: Assignment,
    slot: tuple[Array, ...],
) -> Float[Array, "n objects"]:
    rows, columns = raw.place.shape[1:3]
    centres = to_centres(jnp.asarray(boxes.corners))
    corner = jnp.stack([chosen.column, chosen.row], -1)
    within = centres[..., :2] * jnp.array([columns, rows], jnp.float32) - corner
    size = jnp.maximum(centres[..., 2:], _NEAR_EDGE)
    errors = jnp.concatenate(
        [jax.nn.sigmoid(raw.place[slot]) - within,
         raw.stretch[slot] - jnp.log(size / anchors[chosen.anchor])], -1
    )  # fmt: skip
    small = 2 - size[..., 0] * size[..., 1]
    return small * jnp.sum(errors**2, -1)
