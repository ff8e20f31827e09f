"""AkidaNet and MobileNet v1 in the form that the first Akida generation runs.

Thirteen convolutions behind an input convolution, global average pooling and a
classifier; the width multiplier alpha scales every filter count. MobileNet v1 has
separable layers where AkidaNet begins with full convolutions.

Source: Carlson et al. (BrainChip), "Deploying ML Applications at the Edge with AKIDA and
MetaTF"; layer table of the vendor's Apache-2.0 package akida-models (facts); Howard et al.,
"MobileNets", arXiv:1704.04861, table 1.
"""

import math

from akida_jax.quant import Conv, Dense, InputConv, InputData, SeparableConv
from akida_jax.quant.architecture import Layer, Pool, Shape

INPUT_FILTERS = 32
SPIKES = 2048
STAGES = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *((512, 1),) * 5,
          (1024, 2), (1024, 1))  # fmt: skip
"""Filters at alpha 1, and stride, of the layers behind the input convolution."""
FULL_CONVOLUTIONS = {"akidanet": 3, "mobilenet": 0}
"""How many of them are full convolutions; the others are separable."""


def akidanet_layers(
    name: str,
    *,
    input_shape: Shape = (224, 224, 3),
    alpha: float = 1.0,
    classes: int = 1000,
    include_top: bool = True,
) -> list[InputData | Layer]:
    """Return the layers of "akidanet" or "mobilenet".

    Args:
      name: key of `FULL_CONVOLUTIONS`.
      input_shape: height, width, channels of the images.
      alpha: width multiplier, positive; filter counts are rounded down.
      classes: units of the classifier.
      include_top: False leaves out the global average pool and the classifier.

    Raises:
      ValueError: if alpha leaves a layer without filters.
    """
    if not (math.isfinite(alpha) and alpha * INPUT_FILTERS >= 1):
        raise ValueError(f"alpha must be at least 1/{INPUT_FILTERS}, got {alpha}")
    layers: list[InputData | Layer] = [
        InputConv(input_shape=input_shape, filters=int(INPUT_FILTERS * alpha), kernel_size=3,
                  stride=2, name="conv_0")
    ]  # fmt: skip
    for index, (filters, stride) in enumerate(STAGES, start=1):
        full = index <= FULL_CONVOLUTIONS[name]
        last: Pool | None = "global_average" if include_top and index == len(STAGES) else None
        kind, stem = (Conv, "conv") if full else (SeparableConv, "separable")
        layers.append(kind(filters=int(filters * alpha), kernel_size=3, stride=stride,
                           pool=last, name=f"{stem}_{index}"))  # fmt: skip
    if include_top:
        layers.append(Dense(units=classes, activation=False, name="classifier"))
    return layers


def edge_layers(
    *,
    input_shape: Shape = (224, 224, 3),
    alpha: float = 0.5,
    classes: int = 1000,
    spikes: int = SPIKES,
) -> list[InputData | Layer]:
    """Return AkidaNet with a head whose last layer can learn on the chip.

    A separable layer turns the map into ``spikes`` one-bit values; the classifier behind
    it, 2 bits while training, is what `learning` replaces on the chip.

    Args:
      input_shape: height, width, channels of the images.
      alpha: width multiplier.
      classes: units of the classifier.
      spikes: filters of the separable layer.
    """
    body = akidanet_layers("akidanet", input_shape=input_shape, alpha=alpha, include_top=False)
    return [
        *body,
        SeparableConv(filters=spikes, kernel_size=3, pool="global_average",
                      name="spike_generator"),
        Dense(units=classes, activation=False, name="classifier"),
    ]  # fmt: skip


def face_layers(
    *,
    input_shape: Shape = (112, 96, 3),
    alpha: float = 0.5,
    classes: int | None = 10575,
    embedding: int = 128,
) -> list[InputData | Layer]:
    """Return AkidaNet with a face embedding.

    Args:
      input_shape: height, width, channels of the images.
      alpha: width multiplier.
      classes: people to identify; None ends with the embedding, for verification.
      embedding: units of the embedding.
    """
    *pooled, _ = akidanet_layers("akidanet", input_shape=input_shape, alpha=alpha)
    head: list[Layer] = [Dense(units=embedding, activation=classes is not None, name="embedding")]
    if classes is not None:
        head.append(Dense(units=classes, activation=False, name="classifier"))
    return [*pooled, *head]


def plant_village_layers(
    *, input_shape: Shape = (224, 224, 3), alpha: float = 0.5, classes: int = 38, hidden: int = 512
) -> list[InputData | Layer]:
    """Return AkidaNet with a hidden layer in front of the classifier.

    Args:
      input_shape: height, width, channels of the images.
      alpha: width multiplier.
      classes: units of the classifier.
      hidden: units of the hidden layer.
    """
    *pooled, _ = akidanet_layers("akidanet", input_shape=input_shape, alpha=alpha)
    head = [Dense(units=hidden, name="fc_1"),
            Dense(units=classes, activation=False, name="predictions")]  # fmt: skip
    return [*pooled, *head]
