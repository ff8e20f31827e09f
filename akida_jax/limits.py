"""What a layer of the first Akida generation may be, and every way in which it is not.

Source of every limit: docs/hardware.md#layers.
"""

import dataclasses
import math
from collections.abc import Iterator, Sequence

from akida_jax.layers import (
    AnySpecification,
    Convolution,
    Convolutional,
    FullyConnected,
    InputConvolutional,
    InputData,
    SeparableConvolutional,
    Specification,
)
from akida_jax.quant.architecture import Shape

ACT_BITS = (1, 2, 4)
INPUT_CHANNELS = (1, 3)
INPUT_WIDTH = (5, 256)
INPUT_MIN_HEIGHT = 5
INPUT_MAX_FILTERS = {1: {3: 512, 5: 192, 7: 96}, 3: {3: 192, 5: 64, 7: 32}}
MAX_SIDE = 4096
MAX_CHANNELS = 2048
MAX_FLAT_INPUTS = 57334
GLOBAL_POOL_MAX_WIDTH = 32
GLOBAL_POOL_MAX_AREA = 256

_INTEGER_FIELDS = ("filters", "units", "kernel_size", "stride", "padding_value",
                   "input_bits", "weight_bits", "act_bits", "neurons_per_class")  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Fault:
    """One violated limit.

    Attributes:
      layer: name of the layer.
      what: the limit and the value that violates it.
      remedy: what to change.
    """

    layer: str
    what: str
    remedy: str

    def __str__(self) -> str:
        return f"layer {self.layer!r}: {self.what}; {self.remedy}"


class ModelError(ValueError):
    """A model that the chip cannot hold; carries all `Fault`s found, in layer order."""

    def __init__(self, faults: Sequence[Fault], where: str = "in the model"):
        self.faults = tuple(faults)
        count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
        super().__init__("\n".join([f"{count} {where}:", *map(str, faults)]))


def find_faults(layers: Sequence[AnySpecification]) -> list[Fault]:
    """Return every violation of the layer table, all at once, in layer order.

    Layers behind one whose output shape cannot be computed are checked no further.
    """
    faults: list[Fault] = []
    shape: Shape | None = None
    for index, layer in enumerate(layers):
        following = layers[index + 1] if index + 1 < len(layers) else None
        found = list(_order(layer, index, len(layers)))
        malformed = list(_malformed(layer))
        found += malformed
        if malformed:
            shape = None
        elif isinstance(layer, InputData):
            found += _one_of("input_bits", layer.input_bits, ACT_BITS)
            shape = layer.input_shape
        else:
            if isinstance(layer, InputConvolutional):
                shape = layer.input_shape
            if shape is not None:
                found += _computing(layer, shape, layers[index - 1] if index else None, following)
                shape = _next_shape(layer, shape)
        name = str(layer.name)
        faults += [Fault(name, what, remedy) for what, remedy in found]
        if shape is None:
            break
    return faults


Finding = tuple[str, str]


def _order(layer: AnySpecification, index: int, count: int) -> Iterator[Finding]:
    entry = isinstance(layer, InputData | InputConvolutional)
    if index == 0 and not entry:
        yield "the first layer takes no input", "begin with InputData or InputConvolutional"
    if index > 0 and entry:
        yield "an input layer in the middle of the model", "use it only as the first layer"
    if not isinstance(layer, InputData) and not layer.activation and index < count - 1:
        yield "no activation, but it is not the last layer", "set activation=True"


def _malformed(layer: AnySpecification) -> Iterator[Finding]:
    """Yield the fields that are no numbers at all: no other rule can be applied."""
    for field in dataclasses.fields(layer):
        value = getattr(layer, field.name)
        if field.name == "input_shape":
            if not (_are_integers(value, 3) and min(value) >= 1):
                yield (
                    f"input_shape {value!r} is not a tuple of three positive integers",
                    "give (height, width, channels)",
                )
        elif field.name in ("pool_size", "pool_stride"):
            absent = value is None and field.name == "pool_stride"
            if not (absent or _are_integers((value,), 1) or _are_integers(value, 2)):
                yield f"{field.name} {value!r} is not one integer or two", "give (height, width)"
        elif field.name in _INTEGER_FIELDS and not _are_integers((value,), 1):
            yield f"{field.name} {value!r} is not an integer", "give a Python int"
        elif field.name == "activation" and not isinstance(value, bool):
            yield f"activation {value!r} is neither True nor False", "give a bool"
        elif field.name == "name" and not (value is None or isinstance(value, str)):
            yield f"name {value!r} is not a string", "give a str"


def _are_integers(value: object, count: int) -> bool:
    return (
        isinstance(value, tuple)
        and len(value) == count
        and all(isinstance(v, int) and not isinstance(v, bool) for v in value)
    )


def _computing(
    layer: Specification,
    shape: Shape,
    previous: AnySpecification | None,
    following: AnySpecification | None,
) -> Iterator[Finding]:
    if layer.neurons < 1:
        yield f"{layer.neurons} filters or units", "use at least one"
    yield from _one_of("act_bits", layer.act_bits, ACT_BITS)
    if isinstance(layer, FullyConnected):
        yield from _fully_connected(layer, shape, previous)
        return
    if isinstance(layer, InputConvolutional):
        yield from _input_convolution(layer)
    else:
        yield from _event_convolution(layer, shape, following)
    yield from _empty_output(layer, shape)


def _empty_output(layer: Convolution, shape: Shape) -> Iterator[Finding]:
    if not _computable(layer):
        return
    size = f"{shape[0]}x{shape[1]}"
    if min(layer.map_shape(shape)[:2]) < 1:
        yield f"kernel {layer.kernel_size} exceeds the input {size}", "use same padding"
    elif min(layer.out_shape(shape)[:2]) < 1:
        yield f"pooling of an input {size} leaves nothing", "drop the pool or use same padding"


def _computable(layer: Convolution) -> bool:
    """Whether strides and windows are such that shapes can be computed."""
    numbers = [layer.stride, layer.kernel_size]
    if layer.pool == "max":
        numbers += [*layer.pool_window[0], *layer.pool_window[1]]
    return min(numbers) >= 1 and layer.padding in ("same", "valid")


def _fully_connected(
    layer: FullyConnected, shape: Shape, previous: AnySpecification | None
) -> Iterator[Finding]:
    yield from _one_of("weight_bits", layer.weight_bits, (1, 2, 4))
    if layer.neurons_per_class < 1 or layer.units % layer.neurons_per_class:
        yield (
            f"neurons_per_class {layer.neurons_per_class} does not divide its {layer.units} units",
            "use a divisor of the units, 1 for a unit for each class",
        )
    if math.prod(shape) > MAX_FLAT_INPUTS:
        yield (
            f"{math.prod(shape)} inputs exceed the limit of {MAX_FLAT_INPUTS}",
            "pool or reduce channels before it",
        )
    if isinstance(previous, Convolution) and previous.pool == "max":
        yield (
            f"follows the max pool of layer {previous.name!r}",
            "put a convolution in between or pool by global average",
        )


def _input_convolution(layer: InputConvolutional) -> Iterator[Finding]:
    height, width, channels = layer.input_shape
    if channels not in INPUT_CHANNELS:
        yield f"input has {channels} channels, the limit is 1 or 3", "use InputData for events"
    if height < INPUT_MIN_HEIGHT:
        yield f"input height {height} is below {INPUT_MIN_HEIGHT}", "enlarge or pad the input"
    if not INPUT_WIDTH[0] <= width <= INPUT_WIDTH[1]:
        low, high = INPUT_WIDTH
        yield f"input width {width} is outside {low}..{high}", "resize the input"
    yield from _one_of("kernel_size", layer.kernel_size, (3, 5, 7))
    yield from _one_of("stride", layer.stride, (1, 2, 3))
    yield from _one_of("padding", layer.padding, ("same", "valid"))
    yield from _one_of("weight_bits", layer.weight_bits, (2, 4, 8))
    if not 0 <= layer.padding_value <= 255:
        yield f"padding_value {layer.padding_value} is outside 0..255", "use an 8-bit value"
    most = INPUT_MAX_FILTERS.get(channels, {}).get(layer.kernel_size)
    if most is not None and layer.filters > most:
        yield (
            f"{layer.filters} filters exceed the limit of {most} for {channels} channels and "
            f"kernel {layer.kernel_size}",
            "use fewer filters or a smaller kernel",
        )
    yield from _one_of("pool", layer.pool, (None, "max"))
    if layer.pool == "max":
        size, stride = layer.pool_window
        yield from _one_of("pool_size", size, ((1, 2), (2, 1), (2, 2)))
        if stride != size:
            yield f"pool_stride {stride} differs from pool_size {size}", "make them equal"


def _event_convolution(
    layer: Convolutional | SeparableConvolutional,
    shape: Shape,
    following: AnySpecification | None,
) -> Iterator[Finding]:
    separable = isinstance(layer, SeparableConvolutional)
    for name, value, most in zip(
        ("height", "width", "channels"), shape, (MAX_SIDE, MAX_SIDE, MAX_CHANNELS), strict=True
    ):
        if value > most:
            yield f"input {name} {value} exceeds the limit of {most}", "reduce the input"
    yield from _one_of("kernel_size", layer.kernel_size, (3, 5, 7) if separable else (1, 3, 5, 7))
    yield from _one_of("stride", layer.stride, (1, 2))
    if layer.stride == 2 and layer.kernel_size != 3:
        yield f"stride 2 with kernel {layer.kernel_size}", "stride 2 needs kernel 3"
    yield from _one_of("padding", layer.padding, ("same",))
    yield from _one_of("weight_bits", layer.weight_bits, (2, 4))
    yield from _one_of("pool", layer.pool, (None, "max", "global_average"))
    if layer.pool == "max":
        yield from _max_pool(layer, following)
    if layer.pool == "global_average" and _computable(layer):
        yield from _global_pool(layer, shape)


def _max_pool(layer: Convolution, following: AnySpecification | None) -> Iterator[Finding]:
    size, stride = layer.pool_window
    yield from _one_of("pool_size", size, ((2, 2),))
    yield from _one_of("pool_stride", stride, ((1, 1), (2, 2)))
    if following is None or isinstance(following, FullyConnected | InputData | InputConvolutional):
        yield (
            "a max pool must be followed by a convolution",
            "add one, or pool by global average",
        )


def _global_pool(layer: Convolution, shape: Shape) -> Iterator[Finding]:
    if shape[1] > GLOBAL_POOL_MAX_WIDTH:
        yield (
            f"global average pool on an input {shape[1]} wide, the limit is "
            f"{GLOBAL_POOL_MAX_WIDTH}",
            "reduce the map before it",
        )
    if layer.pooled(shape) > GLOBAL_POOL_MAX_AREA:
        yield (
            f"global average pool over {layer.pooled(shape)} positions, the limit is "
            f"{GLOBAL_POOL_MAX_AREA}",
            "reduce the map before it",
        )
    if isinstance(layer, SeparableConvolutional) and shape[:2] == (1, 1):
        yield "global average pool of a separable layer on a 1x1 input", "drop the pool"


def _next_shape(layer: Specification, shape: Shape) -> Shape | None:
    """Return the output shape, or None where the layer's numbers allow none."""
    if isinstance(layer, FullyConnected):
        return layer.out_shape(shape)
    if not _computable(layer):
        return None
    result = layer.out_shape(shape)
    return result if min(result) >= 1 else None


def _one_of(name: str, value: object, allowed: tuple) -> Iterator[Finding]:
    if value not in allowed:
        choices = ", ".join(map(str, allowed))
        yield f"{name} {value} is not one of {choices}", f"choose {name} from {choices}"
