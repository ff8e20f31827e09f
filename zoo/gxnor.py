"""GXNOR: digits with 2-bit weights and 1-bit activations.

The network of Deng et al., "GXNOR-Net", arXiv:1705.09283 (32 and 64 filters of 5x5, 512
units), in a form that the chip holds: a fully connected layer cannot follow a max pool, so
the second convolution has 3x3 kernels and stride 2 in its place. Checked by the published
1.6 million parameters and 3 neural processors.
"""

from akida_jax.quant import Conv, Dense, InputConv, InputData
from akida_jax.quant.architecture import Layer, Shape

INPUT_SHAPE: Shape = (28, 28, 1)
HIDDEN = 512


def gxnor_layers(*, input_shape: Shape = INPUT_SHAPE, classes: int = 10) -> list[InputData | Layer]:
    """Return the layers of GXNOR.

    Args:
      input_shape: height, width, channels of the images.
      classes: units of the classifier.
    """
    return [
        InputConv(input_shape=input_shape, filters=32, kernel_size=5, pool="max", name="conv_0"),
        Conv(filters=64, kernel_size=3, stride=2, name="conv_1"),
        Dense(units=HIDDEN, name="fc_1"),
        Dense(units=classes, activation=False, name="predictions"),
    ]
