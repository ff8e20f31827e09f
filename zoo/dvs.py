"""Akida Tiny and Akida Small: gesture networks for event cameras.

Source: Carlson et al. (BrainChip), "Deploying ML Applications at the Edge with AKIDA and
MetaTF", use case DVS Gesture and Table 7. "MP2 C16 MP2 C16 ... GAP SC256 Classifier": the
first max pool acts on the event frame when it is built, the others belong to the layer
before them.
"""

from akida_jax.quant import Conv, Dense, InputData, SeparableConv
from akida_jax.quant.architecture import Layer, Shape

FILTERS = {
    "akida_tiny": (16, 16, 32, 64, 128),
    "akida_small": (32, 64, 64, 128, 128),
}
HEAD_FILTERS = 256
EDGE_HALVINGS = 3
SPIKES = 256
"""One-bit values of the edge head at each place of its map, which is 4x4 for inputs of 32x32. A
choice of this project: of a map pooled to one place, new classes are told apart less well."""
EVENT_BITS = 4

INPUT_SHAPE: Shape = (32, 32, 10)
"""DVS128 halved to 64x64 and pooled 2x2; five bins, On and Off."""
CLASSES = 11


def dvs_layers(
    name: str, *, input_shape: Shape = INPUT_SHAPE, classes: int = CLASSES
) -> list[InputData | Layer]:
    """Return the layers of "akida_tiny" or "akida_small".

    Args:
      name: key of `FILTERS`.
      input_shape: of the pooled event frame.
      classes: units of the classifier.
    """
    *pooled, last = FILTERS[name]
    return [
        InputData(input_shape=input_shape, input_bits=EVENT_BITS),
        *(Conv(filters=filters, kernel_size=3, pool="max") for filters in pooled),
        Conv(filters=last, kernel_size=3, pool="global_average"),
        SeparableConv(filters=HEAD_FILTERS, kernel_size=3),
        Dense(units=classes, activation=False),
    ]


def dvs_edge_layers(
    name: str,
    *,
    input_shape: Shape = INPUT_SHAPE,
    classes: int = CLASSES,
    spikes: int = SPIKES,
) -> list[InputData | Layer]:
    """Return the network with a head whose last layer can learn on the chip.

    Three pooled convolutions, the last convolution without its pooling, and a separable layer
    that gives ``spikes`` one-bit values at each place of the map; the classifier behind it,
    2 bits while training, is what learning replaces on the chip. Such a head is published for
    AkidaNet only; this one follows it.

    Args:
      name: key of `FILTERS`.
      input_shape: of the pooled event frame.
      classes: units of the classifier.
      spikes: filters of the separable layer.
    """
    filters = FILTERS[name]
    return [
        InputData(input_shape=input_shape, input_bits=EVENT_BITS),
        *(Conv(filters=n, kernel_size=3, pool="max") for n in filters[:EDGE_HALVINGS]),
        Conv(filters=filters[-1], kernel_size=3),
        SeparableConv(filters=spikes, kernel_size=3, name="spike_generator"),
        Dense(units=classes, activation=False, name="classifier"),
    ]
