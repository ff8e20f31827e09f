"""Mean average precision by COCO, and over the 11 recalls of VOC 2007, by pycocotools.

Needs the extra "detection" of the package.
"""

import contextlib
import importlib.util
import io
from typing import Any

import numpy as np
from jaxtyping import Bool

from akida_jax.zoo.detection.boxes import Boxes
from akida_jax.zoo.detection.decoding import Detections

COCO_OVERLAPS = np.arange(50, 100, 5) / 100
"""IoU from which a detection counts as right. Source: cocodataset.org, detection evaluation."""
COCO_RECALLS = np.arange(101) / 100
VOC_OVERLAP = 0.5
VOC_RECALLS = np.arange(11) / 10
"""Source: Everingham et al., "The PASCAL VOC Challenge" (2010), section 4.2. Quotients like
these equal recalls such as 3 of 10 to the last bit; numpy.linspace does not."""


def mean_average_precision(
    found: Detections,
    true: Boxes,
    *,
    n_classes: int,
    ignored: Bool[np.ndarray, "n objects"] | None = None,
    size: tuple[int, int] = (1, 1),
) -> dict[str, float]:
    """Return how well detections match the true boxes, averaged over classes that occur.

    A detection is right if it overlaps a true box of its class that no better scored one has
    taken. All detections of an image count, not only the 100 best.

    Args:
      found: detections of each image; those with score 0 are none.
      true: boxes of the same images.
      n_classes: kinds of objects.
      ignored: true boxes that are neither to be found nor an error if found, such as VOC's
        difficult ones.
      size: height and width of all images, which the overlap of boxes does not depend on if
        they are the same for all.

    Returns:
      "map", by COCO: the mean over ten overlaps from 0.5 to 0.95 and 101 recalls; "map_50",
      the same for overlap 0.5; "map_voc": overlap 0.5, 11 recalls, as VOC 2007, but with COCO's
      matching: a detection takes the best true box that is still free, where VOC's program
      takes the best of all and counts an error if it is taken; a box that is ignored excuses
      one detection, there all of them. Nor does it add one pixel to each side.

    Raises:
      ValueError: if numbers of images differ, a class is unknown, or nothing is to be found.
      ModuleNotFoundError: if pycocotools is not installed.
    """
    corners, scores, classes = (np.asarray(values) for values in found)
    dropped = np.zeros_like(true.mask) if ignored is None else np.asarray(ignored)
    _check(scores, classes, true, dropped, n_classes)
    truth = _annotations(true.corners, true.classes, true.mask, size)
    for annotation, is_dropped in zip(truth, dropped[true.mask], strict=True):
        # An area below all ranges is how COCOeval is told to ignore a box.
        annotation["area"] = -1.0 if is_dropped else annotation["area"]
    real = scores > 0
    given = _annotations(corners, classes, real, size)
    for annotation, score in zip(given, scores[real], strict=True):
        annotation["score"] = float(score)
    tables = [_table(annotations, len(scores), n_classes) for annotations in (truth, given)]
    coco = _precision(tables, COCO_OVERLAPS, COCO_RECALLS, scores.shape[1])
    voc = _precision(tables, np.array([VOC_OVERLAP]), VOC_RECALLS, scores.shape[1])
    return {"map": _mean(coco), "map_50": _mean(coco[:1]), "map_voc": _mean(voc)}


def _check(
    scores: np.ndarray, classes: np.ndarray, true: Boxes, ignored: np.ndarray, n_classes: int
) -> None:
    if not len(scores) == len(true.mask) == len(ignored):
        raise ValueError(f"detections of {len(scores)} images need the true boxes of as many, got "
                         f"{len(true.mask)} and {len(ignored)} to ignore")  # fmt: skip
    if not (true.mask & ~ignored).any():
        raise ValueError("there is no true box that could be found")
    for each in (true.classes[true.mask], classes[scores > 0]):
        if each.size and not 0 <= each.min() <= each.max() < n_classes:
            raise ValueError(f"classes must be 0 to {n_classes - 1}, got {each.min()} to "
                             f"{each.max()}")  # fmt: skip


def _annotations(
    corners: np.ndarray, classes: np.ndarray, mask: np.ndarray, size: tuple[int, int]
) -> list[dict[str, Any]]:
    """Return a record for each real box; numbers of images, classes and boxes begin with 1."""
    images = np.nonzero(mask)[0]
    pixels = corners[mask].astype(np.float64) * (size[1], size[0], size[1], size[0])
    sides = np.maximum(pixels[:, 2:] - pixels[:, :2], 0)
    return [
        {
            "id": number,
            "image_id": int(image) + 1,
            "category_id": int(label) + 1,
            "bbox": [*map(float, (*box[:2], *side))],
            "area": float(side.prod()),
            "iscrowd": 0,
        }
        for number, (image, label, box, side) in enumerate(
            zip(images, classes[mask], pixels, sides, strict=True), start=1
        )
    ]


def require_coco() -> None:
    """Refuse to go on without the package that evaluates.

    Raises:
      ValueError: saying how to install it.
    """
    if importlib.util.find_spec("pycocotools") is None:
        raise ValueError("mean average precision needs pycocotools: "
                         "pip install 'akida-jax[detection]'")  # fmt: skip


def _table(annotations: list[dict[str, Any]], n_images: int, n_classes: int) -> Any:
    """Return a pycocotools.coco.COCO; unlike its own reader it may hold no boxes at all."""
    from pycocotools.coco import COCO

    table = COCO()
    table.dataset = {
        "images": [{"id": number} for number in range(1, n_images + 1)],
        "categories": [{"id": number} for number in range(1, n_classes + 1)],
        "annotations": annotations,
    }
    with contextlib.redirect_stdout(io.StringIO()):
        table.createIndex()
    return table


def _precision(
    tables: list[Any], overlaps: np.ndarray, recalls: np.ndarray, most: int
) -> np.ndarray:
    """Return precision by overlap, recall and class; -1 where a class does not occur."""
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(*tables, "bbox")
        parameters = evaluation.params
        parameters.iouThrs, parameters.recThrs = overlaps, recalls
        parameters.maxDets = [most]
        parameters.areaRng, parameters.areaRngLbl = [[0, 1e10]], ["all"]
        evaluation.evaluate()
        evaluation.accumulate()
    return evaluation.eval["precision"][..., 0, 0]


def _mean(precision: np.ndarray) -> float:
    return float(precision[precision > -1].mean())
