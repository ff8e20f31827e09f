"""Detection of objects by YOLOv2: anchors, loss, decoding, evaluation."""

from akida_jax.zoo.detection.anchors import find_anchors
from akida_jax.zoo.detection.boxes import Boxes, overlap, pad_boxes, to_centres, to_corners
from akida_jax.zoo.detection.decoding import Detections, decode, detect, suppress
from akida_jax.zoo.detection.evaluation import mean_average_precision, require_coco
from akida_jax.zoo.detection.loss import LossWeights, assign, detection_loss, loss_parts
from akida_jax.zoo.detection.prior import set_prior

__all__ = [
    "Boxes",
    "Detections",
    "LossWeights",
    "assign",
    "decode",
    "detect",
    "detection_loss",
    "find_anchors",
    "loss_parts",
    "mean_average_precision",
    "overlap",
    "pad_boxes",
    "require_coco",
    "set_prior",
    "suppress",
    "to_centres",
    "to_corners",
]
