"""DS-CNN: keywords in one second of speech.

Source: layer table of the vendor's Apache-2.0 package akida-models (facts); Zhang et al.,
"Hello Edge", arXiv:1711.07128.
"""

from akida_jax.quant import Dense, InputConv, InputData, SeparableConv
from akida_jax.quant.architecture import Layer, Shape

FILTERS = 64
N_SEPARABLE = 4
WORDS = 33

INPUT_SHAPE: Shape = (49, 10, 1)
"""Windows of one second and cepstral coefficients of each."""


def ds_cnn_layers(
    *, input_shape: Shape = INPUT_SHAPE, classes: int = WORDS
) -> list[InputData | Layer]:
    """Return the layers of DS-CNN.

    Args:
      input_shape: windows, coefficients, 1.
      classes: words to tell apart.
    """
    separable = [
        SeparableConv(filters=FILTERS, kernel_size=3, name=f"separable_{index}",
                      pool="global_average" if index == N_SEPARABLE else None)
        for index in range(1, N_SEPARABLE + 1)
    ]  # fmt: skip
    return [
        InputConv(input_shape=input_shape, filters=FILTERS, kernel_size=5, stride=2,
                  name="conv_0"),
        *separable,
        Dense(units=classes, activation=False, name="dense_5"),
    ]  # fmt: skip
