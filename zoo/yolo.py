"""YOLOv2 detectors on AkidaNet or MobileNet v1.

Source: layer table of the vendor's Apache-2.0 package akida-models (facts); Redmon and
Farhadi, "YOLO9000", arXiv:1612.08242.
"""

from typing import Any

from akida_jax.quant import InputData, SeparableConv
from akida_jax.quant.architecture import Layer, Shape
from akida_jax.zoo.akidanet import akidanet_layers

HEAD_FILTERS = 1024
N_HEAD_LAYERS = 3
BOX_NUMBERS = 5
"""Two of position, two of size, one of confidence."""


def yolo_layers(
    *,
    input_shape: Shape = (224, 224, 3),
    alpha: float = 0.5,
    classes: int = 2,
    anchors: int = 5,
    base: str = "akidanet",
    head_filters: int = HEAD_FILTERS,
    **form: Any,
) -> list[InputData | Layer]:
    """Return the detector; each cell of its map holds ``anchors * (5 + classes)`` numbers.

    Args:
      input_shape: height, width, channels of the images.
      alpha: width multiplier of the base.
      classes: kinds of objects.
      anchors: boxes per cell.
      base: "akidanet" or "mobilenet".
      head_filters: of each of the three layers behind the base.
      **form: `halvings` and `downsampling`, as of `akidanet_layers`.
    """
    body = akidanet_layers(base, input_shape=input_shape, alpha=alpha, include_top=False, **form)
    head = [SeparableConv(filters=head_filters, kernel_size=3, name=f"head_{index}")
            for index in range(1, N_HEAD_LAYERS + 1)]  # fmt: skip
    last = SeparableConv(filters=anchors * (BOX_NUMBERS + classes), kernel_size=3,
                         activation=False, name="boxes")  # fmt: skip
    return [*body, *head, last]
