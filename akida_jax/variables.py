"""The integers of each layer as users see them, and everything they must satisfy."""

from collections.abc import Iterator, Mapping

import numpy as np

from akida_jax.layers import InputConvolutional, Specification
from akida_jax.limits import Fault
from akida_jax.programs import LayerProgram
from akida_jax.quant.activations import activation_limit
from akida_jax.quant.architecture import Shape
from akida_jax.quant.exact import SATURATED
from akida_jax.quant.potentials import n_channel_groups
from akida_jax.quant.registers import Registers
from akida_jax.quant.weights import weight_limit

LayerVariables = dict[str, np.ndarray]
"""``kernel`` [, ``pointwise``] int8, ``threshold`` int32, ``step`` float32."""

POTENTIAL_LIMIT = 2**31 - 2**24
"""Potentials stay below this, so that threshold and int32 sum never overflow."""


def variable_shapes(spec: Specification, in_shape: Shape) -> dict[str, tuple[tuple, type]]:
    """Return shape and dtype of every variable of a layer."""
    filters = (spec.neurons,)
    kernels = spec.kernel_shapes(in_shape).items()
    return {
        **{name: (shape, np.int8) for name, shape in kernels},
        "threshold": (filters, np.int32),
        "step": (filters, np.float32),
    }


def blank_variables(spec: Specification, in_shape: Shape) -> LayerVariables:
    """Return a layer's variables before training: weights and thresholds 0, steps 1."""
    shapes = variable_shapes(spec, in_shape)
    values = {name: np.zeros(shape, dtype) for name, (shape, dtype) in shapes.items()}
    values["step"] += np.float32(1)
    return values


def weight_range(spec: Specification) -> tuple[int, int]:
    """Return the lowest and highest weight; binary weights are 0 and 1."""
    if spec.weight_bits == 1:
        return 0, 1
    limit = weight_limit(spec.weight_bits)
    return -limit, limit


def find_variable_faults(
    spec: Specification,
    in_shape: Shape,
    input_bits: int,
    variables: Mapping[str, np.ndarray],
    registers: Registers,
) -> list[Fault]:
    """Return everything that is wrong with a layer's variables."""
    name = str(spec.name)
    expected = variable_shapes(spec, in_shape)
    faults = [
        Fault(name, f"unknown variable {key!r}", f"it has {', '.join(expected)}")
        for key in variables
        if key not in expected
    ]
    for key, (shape, dtype) in expected.items():
        array = np.asarray(variables[key])
        if array.dtype != dtype:
            faults.append(Fault(name, f"{key} has dtype {array.dtype}",
                                f"give {np.dtype(dtype).name}"))  # fmt: skip
        elif array.shape != shape:
            faults.append(Fault(name, f"{key} has shape {array.shape}", f"give {shape}"))
    if faults:
        return faults
    found = [*_weights(spec, in_shape, input_bits, variables)]
    step = variables["step"]
    wrong = ~(np.isfinite(step) & (step > 0))
    if wrong.any():
        first = int(wrong.argmax())
        what = f"step of {_which(wrong)} is not a positive number (filter {first}: {step[first]:g})"
        found.append((what, "give what one level is worth"))
        step = np.where(wrong, np.float32(1), step)
    is_input = isinstance(spec, InputConvolutional)
    found += find_register_faults(
        variables["threshold"], raw_steps(step, registers), registers, is_input=is_input
    )
    return [Fault(name, what, remedy) for what, remedy in found]


def find_register_faults(
    threshold: np.ndarray, raw_step: np.ndarray, registers: Registers, *, is_input: bool
) -> Iterator[tuple[str, str]]:
    """Yield (what, remedy) for every threshold and step that its register cannot hold."""
    fraction = 2**registers.step_fraction_bits
    limit = registers.threshold_limit(is_input=is_input)
    outside = (threshold < -limit) | (threshold >= limit)
    if outside.any():
        bits, value = limit.bit_length(), int(threshold[outside.argmax()])
        shown = "30 bits or more" if abs(value) >= SATURATED else str(value)
        yield (
            f"threshold of {_which(outside)} does not fit {bits} signed bits "
            f"(filter {outside.argmax()}: {shown})",
            "use fewer weight bits, a smaller bias or the max_per_tensor quantizer",
        )
    limit = registers.step_limit(is_input=is_input)
    outside = raw_step >= limit
    if outside.any():
        yield (
            f"step of {_which(outside)} does not fit below {limit // fraction} "
            f"(filter {outside.argmax()}: {raw_step[outside.argmax()] / fraction:g})",
            "use fewer weight bits, a smaller activation range or the max_per_tensor quantizer",
        )
    outside = raw_step <= 0
    if outside.any():
        yield (
            f"step of {_which(outside)} is 0 in its fixed point of 1/{fraction}",
            "use more weight bits or a larger activation range",
        )


def raw_steps(step: np.ndarray, registers: Registers) -> np.ndarray:
    """Return steps in units of their last bit, truncated; out of range becomes extreme."""
    scaled = np.nan_to_num(step.astype(np.float64) * 2**registers.step_fraction_bits, nan=0.0)
    return np.floor(np.clip(scaled, 0, 2**30)).astype(np.int32)


def make_program(
    spec: Specification,
    in_shape: Shape,
    input_bits: int,
    variables: LayerVariables,
    registers: Registers,
) -> LayerProgram:
    """Return the program of a layer whose variables are sound."""
    return LayerProgram(
        kernels={name: variables[name] for name in spec.kernel_shapes(in_shape)},
        threshold=variables["threshold"],
        raw_step=raw_steps(variables["step"], registers),
        spec=spec,
        in_shape=in_shape,
        input_bits=input_bits,
        groups=n_channel_groups(
            spec, in_shape, max(spec.weight_bits, 2), activation_limit(input_bits)
        ),
        registers=registers,
    )


def _weights(
    spec: Specification, in_shape: Shape, input_bits: int, variables: Mapping[str, np.ndarray]
) -> Iterator[tuple[str, str]]:
    low, high = weight_range(spec)
    for key in spec.kernel_shapes(in_shape):
        array = variables[key]
        if array.size and (array.min() < low or array.max() > high):
            yield (
                f"{key} holds values from {array.min()} to {array.max()}, "
                f"{spec.weight_bits}-bit weights span {low}..{high}",
                "quantize to that range",
            )
    magnitude = np.abs(variables["kernel"].astype(np.int64))
    if spec.kind == "separable":
        taps = magnitude.sum((0, 1, 2))
        total = taps @ np.abs(variables["pointwise"].astype(np.int64))
    else:
        total = magnitude.sum((0, 1, 2))
    border = max(activation_limit(input_bits), getattr(spec, "border", 0))
    total = total * border * spec.pooled(in_shape)
    if total.size and total.max() >= POTENTIAL_LIMIT:
        yield (
            f"potentials of filter {total.argmax()} can reach {total.max()}, beyond "
            f"{POTENTIAL_LIMIT}",
            "use fewer channels, a smaller kernel or fewer bits",
        )


def _which(mask: np.ndarray) -> str:
    indices = np.flatnonzero(mask)
    listed = ", ".join(map(str, indices[:5])) + (", ..." if len(indices) > 5 else "")
    return f"filter {listed}" if len(indices) == 1 else f"filters {listed}"


def freeze(variables: Mapping[str, np.ndarray], registers: Registers) -> LayerVariables:
    """Return read-only copies; steps are truncated to what their register holds."""
    copies = {name: np.array(value) for name, value in variables.items()}
    fraction = 2**registers.step_fraction_bits
    copies["step"] = (raw_steps(copies["step"], registers) / fraction).astype(np.float32)
    for array in copies.values():
        array.setflags(write=False)
    return copies
