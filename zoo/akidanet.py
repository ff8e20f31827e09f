"""AkidaNet and MobileNet v1 in the form that the first Akida generation runs.

Thirteen convolutions behind an input convolution, global average pooling and a
classifier; the width multiplier alpha scales every filter count. In MobileNet v1 all thirteen
are separable; AkidaNet differs in that the first three are full convolutions.

Source: Carlson et al. (BrainChip), "Deploying ML Applications at the Edge with AKIDA and
MetaTF"; layer table of the vendor's Apache-2.0 package akida-models (facts); Howard et al.,
"MobileNets", arXiv:1704.04861, table 1.
"""

import math
from typing import Any, Literal, get_args

from akida_jax.quant import Conv, Dense, InputConv, InputData, SeparableConv
from akida_jax.quant.architecture import Layer, Shape

Downsampling = Literal["stride", "max_pool"]

INPUT_FILTERS = 32
SPIKES = 2048
STAGES = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *((512, 1),) * 5,
          (1024, 2), (1024, 1))  # fmt: skip
"""Filters at alpha 1, and stride, of the layers behind the input convolution."""
N_HALVINGS = 5
"""The input convolution and the stages of stride 2."""
FULL_CONVOLUTIONS = {"akidanet": 3, "mobilenet": 0}
"""How many of them are full convolutions; the others are separable."""


def akidanet_layers(
    name: str,
    *,
    input_shape: Shape = (224, 224, 3),
    alpha: float = 1.0,
    classes: int = 1000,
    include_top: bool = True,
    halvings: int = N_HALVINGS,
    downsampling: Downsampling = "stride",
) -> list[InputData | Layer]:
    """Return the layers of "akidanet" or "mobilenet".

    Args:
      name: key of `FULL_CONVOLUTIONS`.
      input_shape: height, width, channels of the images.
      alpha: width multiplier, positive; filter counts are rounded down.
      classes: units of the classifier.
      include_top: False leaves out the global average pool and the classifier.
      halvings: how many of the five layers that halve the map do so, the first ones; fewer
        for small images, whose map would vanish.
      downsampling: "stride" halves by the stride of the convolution, "max_pool" by a max
        pool of 2x2 behind it.

    Raises:
      ValueError: if alpha leaves a layer without filters, or halvings or downsampling is
        not among the values above.
    """
    if not 0 <= halvings <= N_HALVINGS:
        raise ValueError(f"halvings must be 0 to {N_HALVINGS}, got {halvings}")
    if downsampling not in get_args(Downsampling):
        raise ValueError(f"downsampling must be one of {get_args(Downsampling)}, "
                         f"got {downsampling!r}")  # fmt: skip
    if not (math.isfinite(alpha) and alpha * INPUT_FILTERS >= 1):
        raise ValueError(f"alpha must be at least 1/{INPUT_FILTERS}, got {alpha}")
    left = halvings

    def halve() -> dict[str, Any]:
        nonlocal left
        left -= 1
        if left < 0:
            return {}
        return {"stride": 2} if downsampling == "stride" else {"pool": "max"}

    layers: list[InputData | Layer] = [
        InputConv(input_shape=input_shape, filters=int(INPUT_FILTERS * alpha), kernel_size=3,
                  name="conv_0", **halve())
    ]  # fmt: skip
    for index, (filters, stride) in enumerate(STAGES, start=1):
        full = index <= FULL_CONVOLUTIONS[name]
        kind, stem = (Conv, "conv") if full else (SeparableConv, "separable")
        form = halve() if stride == 2 else {}
        if include_top and index == len(STAGES):
            form["pool"] = "global_average"
        layers.append(kind(filters=int(filters * alpha), kernel_size=3,
                           name=f"{stem}_{index}", **form))  # fmt: skip
    if include_top:
        layers.append(Dense(units=classes, activation=False, name="classifier"))
    return layers


def edge_layers(
    *,
    input_shape: Shape = (224, 224, 3),
    alpha: float = 0.5,
    classes: int = 1000,
    spikes: int = SPIKES,
    **form: Any,
) -> list[InputData | Layer]:
    """Return AkidaNet with a head whose last layer can learn on the chip.

    A separable layer turns the map into ``spikes`` one-bit values; the classifier behind
    it, 2 bits while training, is what `learning` replaces on the chip.

    Args:
      input_shape: height, width, channels of the images.
      alpha: width multiplier.
      classes: units of the classifier.
      spikes: filters of the separable layer.
      **form: `halvings` and `downsampling`, as of `akidanet_layers`.
    """
    body = akidanet_layers(
        "akidanet", input_shape=input_shape, alpha=alpha, include_top=False, **form
    )
    return [
        *body,
        SeparableConv(filters=spikes, kernel_size=3, pool="global_average",
                      name="spike_generator"),
        Dense(units=classes, activation=False, name="classifier"),
    ]  # fmt: skip


def face_layers(
    *,
    base: str = "akidanet",
    input_shape: Shape = (112, 96, 3),
    alpha: float = 0.5,
    classes: int | None = 10575,
    embedding: int = 128,
    **form: Any,
) -> list[InputData | Layer]:
    """Return AkidaNet or MobileNet v1 with a face embedding.

    The paper's Table 2 compares the two. Which head its MobileNet v1 has is not published;
    here it is the same.

    Args:
      base: key of `FULL_CONVOLUTIONS`.
      input_shape: height, width, channels of the images.
      alpha: width multiplier.
      classes: people to identify; None ends with the embedding, for verification.
      embedding: units of the embedding.
      **form: `halvings` and `downsampling`, as of `akidanet_layers`.
    """
    *pooled, _ = akidanet_layers(base, input_shape=input_shape, alpha=alpha, **form)
    head: list[Layer] = [Dense(units=embedding, activation=classes is not None, name="embedding")]
    if classes is not None:
        head.append(Dense(units=classes, activation=False, name="classifier"))
    return [*pooled, *head]


def hidden_layers(
    *,
    input_shape: Shape = (224, 224, 3),
    alpha: float = 0.5,
    classes: int,
    hidden: int = 512,
    **form: Any,
) -> list[InputData | Layer]:
    """Return AkidaNet with a hidden layer in front of the classifier.

    It is published for PlantVillage; that the heartbeat network of the paper's Table 6 has
    the same form is inferred from its size.

    Args:
      input_shape: height, width, channels of the images.
      alpha: width multiplier.
      classes: units of the classifier.
      hidden: units of the hidden layer.
      **form: `halvings` and `downsampling`, as of `akidanet_layers`.
    """
    *pooled, _ = akidanet_layers("akidanet", input_shape=input_shape, alpha=alpha, **form)
    head = [Dense(units=hidden, name="fc_1"),
            Dense(units=classes, activation=False, name="predictions")]  # fmt: skip
    return [*pooled, *head]
