"""First weights of a detector: it begins by finding nothing, instead of everything.

With random weights every box of the map has a confidence of one half. Hundreds of boxes that
stand for nothing then drown the few that stand for an object, and Adam remembers their
gradients for a thousand steps.

Source: Lin et al., "Focal Loss for Dense Object Detection", arXiv:1708.02002, section 3.3.
"""

import math

import jax.numpy as jnp

from akida_jax.quant import Sequential
from akida_jax.zoo.detection.decoding import BOX_NUMBERS

CONFIDENCE = 0.02
"""About the share of the boxes of a map that stand for an object."""
SHRINK = 0.1
"""Factor of the last weights, so that the first outputs lie near the prior. Assumed."""


def set_prior(network: Sequential, n_anchors: int, *, confidence: float = CONFIDENCE) -> None:
    """Change the last layer of a float detector so that all its confidences are low.

    Args:
      network: float detector with its first weights; it is changed in place.
      n_anchors: boxes of a cell.
      confidence: of all boxes, between 0 and 1.

    Raises:
      ValueError: if the confidence is out of its range, the network is quantized, or its last
        layer holds no such boxes.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be between 0 and 1, got {confidence}")
    if network.quantized:
        raise ValueError("the prior is for a float network; set it before quant.quantize")
    last = network.layers[-1]
    bias = last.bias[...]
    each, rest = divmod(bias.size, n_anchors)
    if rest or each <= BOX_NUMBERS:
        raise ValueError(f"the last layer must hold {n_anchors} * ({BOX_NUMBERS} + classes) "
                         f"numbers, got {bias.size}")  # fmt: skip
    by_box = bias.reshape(n_anchors, each)
    logit = math.log(confidence / (1 - confidence))
    last.bias[...] = by_box.at[:, BOX_NUMBERS - 1].set(jnp.float32(logit)).ravel()
    final = list(last.spec.kernel_shapes(last.in_shape))[-1]
    kernel = getattr(last, final)
    kernel[...] = kernel[...] * SHRINK
