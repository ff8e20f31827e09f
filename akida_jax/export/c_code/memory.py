"""The static memory that a model works in: planned here, laid out in C, never allocated."""

import dataclasses
import math
from collections.abc import Sequence

from akida_jax.export.c_code.layers import LayerTables

WORD = 4


@dataclasses.dataclass(frozen=True)
class Buffer:
    """A part of the memory.

    Attributes:
      name: field of the memory in C.
      type: of its elements in C.
      element_bytes: of one of them.
      n: elements.
      layer: the layer that needs most of it.
      what: it holds, in words.
    """

    name: str
    type: str
    element_bytes: int
    n: int
    layer: str
    what: str

    @property
    def bytes(self) -> int:
        """Bytes that it takes."""
        return self.n * self.element_bytes


def plan(layers: Sequence[LayerTables], *, keeps_last: bool) -> list[Buffer]:
    """Return the buffers that are needed, the widest elements first.

    Levels of the layers go to one of two buffers in turns: none overwrites what it reads.

    Args:
      layers: in order.
      keeps_last: whether the last layer's levels stay in the memory instead of the output.
    """
    inner = layers if keeps_last else layers[:-1]
    wanted = [
        ("sums", "int32_t", 4, "potentials of a position",
         [(layer.sums_bytes, layer.name) for layer in layers]),
        ("totals", "int32_t", 4, "potentials over all positions",
         [(layer.totals_bytes, layer.name) for layer in layers]),
        ("depthwise_sums", "int16_t", 2, "sums between two kernels",
         [(layer.depthwise_bytes, layer.name) for layer in layers]),
        ("patch", "uint8_t", 1, "levels that a kernel covers",
         [(layer.patch_bytes, layer.name) for layer in layers]),
        *((f"levels_{turn}", "uint8_t", 1, "levels that leave a layer",
           [(math.prod(layer.out_shape), layer.name) for layer in inner[turn::2]])
          for turn in (0, 1)),
    ]  # fmt: skip
    buffers = []
    for name, kind, element, what, needs in wanted:
        most, layer = max(needs, default=(0, ""))
        if most:
            # Whole words: the next buffer is aligned whatever it holds.
            filled = -(-most // WORD) * WORD
            buffers.append(Buffer(name, kind, element, filled // element, layer, what))
    return buffers
