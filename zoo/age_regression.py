"""A VGG-like network that estimates the age of a face.

Source: the vendor's public model zoo names it, with 458K parameters and 6 neural
processors; the widths are inferred from these and the form of VGG.
"""

from akida_jax.quant import Conv, Dense, InputConv, InputData
from akida_jax.quant.architecture import Layer, Shape

INPUT_SHAPE: Shape = (32, 32, 3)
HIDDEN = 64


def vgg_like_layers(*, input_shape: Shape = INPUT_SHAPE) -> list[InputData | Layer]:
    """Return the layers; the single output is the age.

    Args:
      input_shape: height, width, channels of the images.
    """
    return [
        InputConv(input_shape=input_shape, filters=32, kernel_size=3, name="conv_0"),
        Conv(filters=32, kernel_size=3, pool="max", name="conv_1"),
        Conv(filters=64, kernel_size=3, name="conv_2"),
        Conv(filters=64, kernel_size=3, pool="max", name="conv_3"),
        Conv(filters=84, kernel_size=3, name="conv_4"),
        Dense(units=HIDDEN, name="dense_5"),
        Dense(units=1, activation=False, name="dense_6"),
    ]
