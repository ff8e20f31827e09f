"""What a network of layer descriptions and its inputs must satisfy to be computed at all.

What a chip can hold is another question: `akida_jax.limits` answers it.
"""

from collections.abc import Iterator, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from akida_jax.quant.activations import ACTIVATION_BITS, activation_limit
from akida_jax.quant.architecture import (
    Conv,
    InputConv,
    InputData,
    Layer,
    SeparableConv,
    Shape,
)

PADDINGS = ("same", "valid")
POOLS = (None, "max", "global_average")

_POSITIVE_FIELDS = ("filters", "units", "kernel_size", "stride")


def is_integer(value: object) -> bool:
    """Whether a value is an int; True and False are none."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_positive(value: object) -> bool:
    """Whether a value is a number that float32 holds as positive and finite."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    numbers = np.finfo(np.float32)
    return float(numbers.tiny) <= value <= float(numbers.max)


def check_descriptions(layers: Sequence[InputData | Layer]) -> None:
    """Refuse what is no sequence of layer descriptions.

    Raises:
      ValueError: naming the entries that are something else.
    """
    if not isinstance(layers, Sequence):
        raise ValueError(f"layers must be a list of layer descriptions, got {layers!r}")
    odd = [
        f"layers[{index}] must be a layer description such as quant.Conv(...), got {layer!r}"
        for index, layer in enumerate(layers)
        if not isinstance(layer, InputData | Layer)
    ]
    if odd:
        raise ValueError("\n".join(odd))


def check_network(
    layers: Sequence[InputData | Layer],
    *,
    batch_norm: bool,
    input_scale: float | None,
    input_shift: int,
    max_activations: Mapping[str, float],
) -> None:
    """Refuse a network that cannot be computed as it is described.

    Raises:
      ValueError: with every fault of named layers and of the arguments of `Sequential`.
    """
    faults = [*_find_order_faults(layers)]
    shape: Shape | None = None
    for layer in layers:
        found = [*_find_field_faults(layer)]
        if isinstance(layer, InputData | InputConv):
            shape = layer.input_shape
        if found:
            shape = None  # of the layers behind nothing is known
        elif shape is not None and isinstance(layer, Layer):
            found = [*_find_empty_maps(layer, shape)]
            shape = None if found else layer.out_shape(shape)
        faults += [f"layer {layer.name!r}: {what}" for what in found]
    faults += _find_argument_faults(
        layers, batch_norm=batch_norm, input_scale=input_scale, input_shift=input_shift
    )
    faults += _find_bound_faults(layers, max_activations)
    if faults:
        count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
        raise ValueError("\n".join([f"{count} in the network:", *faults]))


def _find_order_faults(layers: Sequence[InputData | Layer]) -> Iterator[str]:
    if not layers or not isinstance(layers[0], InputData | InputConv):
        yield "a network must begin with InputData or an input convolution"
    for layer in layers[1:]:
        if isinstance(layer, InputData | InputConv):
            yield f"layer {layer.name!r}: an input layer must come first"
    if layers and all(isinstance(layer, InputData) for layer in layers):
        yield "a network needs at least one layer behind its input"
    for layer in layers[:-1]:
        if isinstance(layer, Layer) and layer.activation is False:
            yield f"layer {layer.name!r}: only the last layer may lack an activation"


def _find_argument_faults(
    layers: Sequence[InputData | Layer],
    *,
    batch_norm: bool,
    input_scale: float | None,
    input_shift: int,
) -> Iterator[str]:
    if not isinstance(batch_norm, bool):
        yield f"batch_norm must be True or False, got {batch_norm!r}"
    if input_scale is not None and not is_positive(input_scale):
        yield f"input_scale must be None or a positive finite number, got {input_scale!r}"
    if not is_integer(input_shift) or not 0 <= input_shift <= 255:
        yield f"input_shift must be an int in 0..255, got {input_shift!r}"
    elif input_shift and layers and isinstance(layers[0], InputData):
        name = layers[0].name
        yield f"layer {name!r} is InputData: input_shift must be 0, got {input_shift}"


def _find_bound_faults(
    layers: Sequence[InputData | Layer], max_activations: Mapping[str, float]
) -> Iterator[str]:
    active = [layer.name for layer in layers if isinstance(layer, Layer) and layer.activation]
    for name, bound in max_activations.items():
        if name not in active:
            yield (
                f"max_activations names {name!r}, which is no layer with an activation; those "
                f"are {', '.join(map(str, active))}"
            )
        if not is_positive(bound):
            yield f"max_activations of {name!r} must be positive and finite, got {bound!r}"


def _find_field_faults(layer: InputData | Layer) -> Iterator[str]:
    """Yield what is wrong with a layer by itself."""
    if not isinstance(layer.name, str):
        yield f"name must be a str, got {layer.name!r}"
    if isinstance(layer, InputData | InputConv):
        sides = layer.input_shape
        if not (_is_tuple(sides, 3) and min(sides) >= 1):
            yield (
                "input_shape must be a tuple of three positive ints "
                f"(height, width, channels), got {sides!r}"
            )
    if isinstance(layer, InputData):
        bits = layer.input_bits
        if not is_integer(bits) or bits not in ACTIVATION_BITS:
            yield f"input_bits must be 1, 2 or 4, got {bits!r}"
        return
    if not isinstance(layer.activation, bool):
        yield f"activation must be True or False, got {layer.activation!r}"
    for field in _POSITIVE_FIELDS:
        value = getattr(layer, field, 1)
        if not is_integer(value) or value < 1:
            yield f"{field} must be a positive int, got {value!r}"
    if isinstance(layer, Conv):
        yield from _find_window_faults(layer)
    if isinstance(layer, InputConv):
        level = layer.padding_value
        if not is_integer(level) or not 0 <= level <= 255:
            yield f"padding_value must be an int in 0..255, got {level!r}"


def _find_window_faults(layer: Conv) -> Iterator[str]:
    if isinstance(layer, SeparableConv):
        if not _is_word(layer.padding, ("same",)):
            yield (
                f"padding must be 'same', got {layer.padding!r}: "
                "a separable layer has only same padding"
            )
    elif not _is_word(layer.padding, PADDINGS):
        yield f"padding must be 'same' or 'valid', got {layer.padding!r}"
    if not _is_word(layer.pool, POOLS):
        yield f"pool must be None, 'max' or 'global_average', got {layer.pool!r}"
    if not _is_window(layer.pool_size):
        yield f"pool_size must be a positive int or a tuple of two, got {layer.pool_size!r}"
    if layer.pool_stride is not None and not _is_window(layer.pool_stride):
        yield (
            f"pool_stride must be None, a positive int or a tuple of two, got {layer.pool_stride!r}"
        )


def _find_empty_maps(layer: Layer, shape: Shape) -> Iterator[str]:
    if not isinstance(layer, Conv):
        return
    rows, columns, _ = layer.map_shape(shape)
    if min(rows, columns) < 1:
        yield (
            f"kernel_size {layer.kernel_size} exceeds the input of {shape[0]}x{shape[1]}; "
            "use same padding or a smaller kernel"
        )
    elif min(layer.out_shape(shape)) < 1:
        yield (
            f"pool_size {layer.pool_size} exceeds the potentials of {rows}x{columns}; "
            "use same padding or a smaller pool"
        )


def _is_word(value: object, allowed: tuple) -> bool:
    return (value is None or isinstance(value, str)) and value in allowed


def _is_tuple(value: object, count: int) -> bool:
    return isinstance(value, tuple) and len(value) == count and all(map(is_integer, value))


def _is_window(value: object) -> bool:
    sides = value if isinstance(value, tuple) else (value, value)
    return _is_tuple(sides, 2) and min(sides) >= 1


def check_inputs(
    x: Array | np.ndarray,
    first: InputData | InputConv,
    *,
    levels: bool = False,
    integers: bool = False,
) -> None:
    """Refuse inputs that a network beginning with ``first`` does not take.

    Args:
      x: the inputs; of traced ones, the values are not looked at.
      first: description of the input.
      levels: refuse values that are no integers in ``[0, 2**input_bits - 1]``.
      integers: refuse also every dtype but integers.

    Raises:
      ValueError: for a wrong type, shape, dtype or value.
    """
    name, limit = first.name, activation_limit(first.input_bits)
    if not isinstance(x, np.ndarray | jax.Array):
        raise ValueError(
            f"layer {name!r} takes an array, got {type(x).__name__}; convert it with numpy.asarray"
        )
    if x.ndim != 4 or x.shape[1:] != tuple(first.input_shape):
        shape = ", ".join(map(str, first.input_shape))
        raise ValueError(f"layer {name!r} takes inputs of shape (n, {shape}), got {x.shape}")
    if integers and not jnp.issubdtype(x.dtype, jnp.integer):
        raise ValueError(
            f"layer {name!r} takes integers in 0..{limit}, got dtype {x.dtype}; give the input "
            "levels as uint8, not scaled images"
        )
    if (levels or integers) and not isinstance(x, jax.core.Tracer):
        _check_levels(np.asarray(x), name, limit)


def _check_levels(x: np.ndarray, name: str | None, limit: int) -> None:
    unsigned = jnp.issubdtype(x.dtype, jnp.unsignedinteger)
    if not x.size or (unsigned and jnp.iinfo(x.dtype).max <= limit):
        return
    for value in (x.min(), x.max()):
        if not 0 <= value <= limit:
            raise ValueError(
                f"layer {name!r} takes integers in 0..{limit}, got {value}; clip or rescale them"
            )
    if jnp.issubdtype(x.dtype, jnp.floating):
        fractions = x != np.floor(x)
        if fractions.any():
            raise ValueError(
                f"layer {name!r} takes integers in 0..{limit}, got {x[fractions][0]}; "
                "give the input levels, not scaled images"
            )
