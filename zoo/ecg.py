"""A small network for electrocardiograms, shaped as images of 36 x 32 samples.

Source: layers of the vendor's public Apache-2.0 measurements of an AKD1500.
"""

from akida_jax.quant import Dense, InputConv, InputData, SeparableConv
from akida_jax.quant.architecture import Layer, Shape

STEM_FILTERS = 16
FILTERS = (32, 64, 128)
HIDDEN = 64
KERNEL_SIZE = 5

INPUT_SHAPE: Shape = (36, 32, 1)


def ecg_layers(*, input_shape: Shape = INPUT_SHAPE, classes: int = 3) -> list[InputData | Layer]:
    """Return 5x5 separable layers behind a stem, two of them with a max pool.

    Args:
      input_shape: rows, samples in a row, 1.
      classes: rhythms to tell apart.
    """
    *pooled, last = FILTERS
    blocks = [
        SeparableConv(filters=filters, kernel_size=KERNEL_SIZE, pool="max",
                      name=f"block{index}_sepconv")
        for index, filters in enumerate(pooled, start=1)
    ]  # fmt: skip
    return [
        InputConv(input_shape=input_shape, filters=STEM_FILTERS, kernel_size=KERNEL_SIZE,
                  name="stem_conv"),
        *blocks,
        SeparableConv(filters=last, kernel_size=KERNEL_SIZE, pool="global_average",
                      name=f"block{len(FILTERS)}_sepconv"),
        Dense(units=HIDDEN, name="dense"),
        Dense(units=classes, activation=False, name="predictions"),
    ]  # fmt: skip
