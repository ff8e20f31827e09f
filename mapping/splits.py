"""How one layer is cut to fit the memory of neural processors.

A layer is cut along the width into strips and its filters into parts; every processor
computes one part of the filters on one strip. Source: docs/cost-model.md#placement.
"""

import dataclasses
import math

from akida_jax.layers import FullyConnected, InputConvolutional, SeparableConvolutional
from akida_jax.limits import Fault
from akida_jax.mapping.devices import Device
from akida_jax.programs import LayerProgram
from akida_jax.quant.architecture import Conv


@dataclasses.dataclass(frozen=True, kw_only=True)
class Split:
    """How a layer lies on its neural processors.

    Attributes:
      strips: parts along the width of the input.
      filter_parts: parts of the filters.
      columns: input columns that the widest strip reads, neighbours' columns included.
      filters: filters, or units, of the largest part.
      input_bytes: input memory of one processor in use.
      weight_bytes: weight memory of one processor in use; if external, the memory that
        the weights take outside.
      external: the weights stay in external memory and are streamed.
      nps: neural processors; none for the layer on the input unit.
    """

    strips: int
    filter_parts: int
    columns: int
    filters: int
    input_bytes: int
    weight_bytes: int
    external: bool
    nps: int


def split_layer(program: LayerProgram, device: Device, most_filters: int | None = None) -> Split:
    """Return the fewest strips, and then the fewest filter parts, that fit.

    Args:
      program: the layer.
      device: whose processors' memory counts.
      most_filters: upper bound of the filters in one part; None for what memory holds.

    Raises:
      Unsplittable: if not even one column, or one filter, fits.
    """
    spec = program.spec
    neurons = spec.neurons
    if isinstance(spec, InputConvolutional):
        return Split(strips=1, filter_parts=1, columns=program.in_shape[1], filters=neurons,
                     input_bytes=0, weight_bytes=0, external=False, nps=0)  # fmt: skip
    if isinstance(spec, FullyConnected):
        return _one_processor(program, device)
    strips, columns = _strips(program, device)
    parts = _filter_parts(program, device, most_filters)
    filters = -(-neurons // parts)
    return Split(strips=strips, filter_parts=parts, columns=columns, filters=filters,
                 input_bytes=_input_bytes(program, columns, device),
                 weight_bytes=weight_bytes(program, filters, device),
                 external=False, nps=strips * parts)  # fmt: skip


class Unsplittable(ValueError):
    """A layer that no split fits; carries the `Fault`."""

    def __init__(self, fault: Fault):
        self.fault = fault
        super().__init__(str(fault))


def _one_processor(program: LayerProgram, device: Device) -> Split:
    """Return how a fully connected layer lies: whole, with weights that may be outside."""
    columns, units = program.in_shape[1], program.spec.neurons
    inputs, weights = (_input_bytes(program, columns, device), weight_bytes(program, units, device))
    if inputs > device.input_bytes_per_np:
        raise Unsplittable(
            Fault(
                str(program.spec.name),
                f"its input takes {inputs} bytes, a neural processor has "
                f"{device.input_bytes_per_np}",
                "reduce its inputs",
            )
        )
    return Split(strips=1, filter_parts=1, columns=columns, filters=units, input_bytes=inputs,
                 weight_bytes=weights, external=weights > device.weight_bytes_per_np,
                 nps=1)  # fmt: skip


def weight_bytes(program: LayerProgram, filters: int, device: Device) -> int:
    """Return the memory that some filters of a layer take in one processor."""
    spec, channels = program.spec, program.in_shape[2]
    if isinstance(spec, SeparableConvolutional):
        total = spec.kernel_size * device.depthwise_row_bytes * channels
        total += _bytes(channels * filters, spec.weight_bits)
    else:
        (shape,) = spec.kernel_shapes(program.in_shape).values()
        total = _bytes(math.prod(shape[:-1]) * filters, spec.weight_bits)
    pooled = isinstance(spec, Conv) and spec.pool == "global_average"
    return total + pooled * device.pooled_sum_bytes * filters


def _strips(program: LayerProgram, device: Device) -> tuple[int, int]:
    """Return the number of strips and the columns that the widest one reads."""
    spec, width = program.spec, program.in_shape[1]
    assert isinstance(spec, Conv)
    border = spec.kernel_size - 1
    unit = spec.stride * (spec.pool_window[1][1] if spec.pool == "max" else 1)
    for strips in range(1, width + 1):
        own = min(-(-width // (strips * unit)) * unit, width)
        columns = _reads(own, strips, border, width)
        fits = _input_bytes(program, columns, device) <= device.input_bytes_per_np
        if fits and own + border <= device.columns_per_np:
            return strips, columns
        if own <= unit:
            break
    if unit + border > device.columns_per_np:
        what = f"its narrowest strip spans {unit + border} columns, border included"
        limit = f"a neural processor takes {device.columns_per_np}"
        remedy = "use a smaller kernel or stride"
    else:
        size = _input_bytes(program, _reads(unit, width, border, width), device)
        what = f"its narrowest strip, {unit} of {width} columns, takes {size} bytes of input memory"
        limit = f"a neural processor has {device.input_bytes_per_np}"
        remedy = "reduce the height or the channels of its input"
    raise Unsplittable(Fault(str(spec.name), f"{what}, {limit}", remedy))


def _reads(own: int, strips: int, border: int, width: int) -> int:
    """Return the columns that the widest strip reads: its own and its neighbours'."""
    if strips == 1:
        return width
    shared = border // 2 if strips == 2 else border
    return min(own + shared, width)


def _filter_parts(program: LayerProgram, device: Device, most_filters: int | None) -> int:
    neurons, limit = program.spec.neurons, device.weight_bytes_per_np
    one = weight_bytes(program, 1, device)
    if one > limit:
        raise Unsplittable(
            Fault(
                str(program.spec.name),
                f"the weights of one filter take {one} bytes, a neural processor has {limit}",
                "reduce its input channels or its kernel",
            )
        )
    parts = 1 if most_filters is None else -(-neurons // most_filters)
    while weight_bytes(program, -(-neurons // parts), device) > limit:
        parts += 1
    return parts


def _input_bytes(program: LayerProgram, columns: int, device: Device) -> int:
    height, _, channels = program.in_shape
    return _bytes(height * columns * channels, device.input_value_bits)


def _bytes(values: int, bits: int) -> int:
    return -(-values * bits // 8)
