"""From a quantized Keras chain to the integer model, for either of the vendor's packages.

The chain is first rewritten as one of plain Keras layers whose weights are the integer levels, so
that order, windows and shapes are settled by the rules for float models. Each package then tells
threshold and step of every filter (`cnn2snn`, `quantizeml`).
"""

import dataclasses
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from akida_jax.interop.blocks import Block, NotLegal
from akida_jax.interop.float_layers import walk_layers
from akida_jax.interop.float_networks import specify_block
from akida_jax.interop.keras_files import KerasChain, KerasLayer, KerasModelError
from akida_jax.interop.reports import Imported, LayerReport, Report
from akida_jax.interop.walks import MALFORMED, FloatWalk, malformed
from akida_jax.interop.windows import NO_PADS
from akida_jax.layers import InputConvolutional, InputData, Specification, specify
from akida_jax.limits import INPUT_CHANNELS, Fault, ModelError, find_faults
from akida_jax.model import Model
from akida_jax.quant.architecture import InputConv
from akida_jax.quant.exact import SATURATED
from akida_jax.quant.registers import Registers


@dataclasses.dataclass(frozen=True)
class ExactLayer:
    """A layer before its numbers are brought into registers.

    Attributes:
      spec: its specification.
      kernels: integer levels by name.
      threshold: real, (filters,); the register holds its floor.
      step: real, (filters,), in the chip's unit; the register holds it truncated.
    """

    spec: Specification
    kernels: dict[str, np.ndarray]
    threshold: np.ndarray
    step: np.ndarray


@dataclasses.dataclass(frozen=True)
class Firing:
    """Real threshold and step of each filter, and what comes out.

    Attributes:
      threshold, step: (filters,), as in `ExactLayer`.
      weight_bits, act_bits: widths.
      at_zero: (filters,), level or logit of the potential 0.
      changes: what the chip computes otherwise than Keras.
    """

    threshold: np.ndarray
    step: np.ndarray
    weight_bits: int
    act_bits: int
    at_zero: np.ndarray
    changes: tuple[str, ...] = ()


class Package(Protocol):
    """What a package of quantized layers has to tell."""

    def rewrite(self, layer: KerasLayer) -> KerasLayer:
        """Return the plain layer with integer weights."""

    def enter(self, gain: float, offset: float) -> tuple[float, float]:
        """Take the input's rescaling; return scale and shift of its levels."""

    def padding_level(self, name: str) -> int | None:
        """Return the level that the first layer's own padding inserts."""

    def fire(self, block: Block, pooled: int, kernel_sums: np.ndarray | None) -> Firing:
        """Return threshold and step of the next block."""


@dataclasses.dataclass(frozen=True)
class ExactModel:
    """All layers before rounding, and how integers enter."""

    first: InputData | None
    layers: tuple[ExactLayer, ...]
    walk: FloatWalk
    scale: float
    shift: float


def exact_layers(
    chain: KerasChain, package: Package, *, scaling: tuple[float, float] | None,
    input_bits: int | None,
) -> ExactModel:  # fmt: skip
    """Return the layers of a quantized chain with real thresholds and steps.

    Raises:
      KerasModelError: with every fault at once.
    """
    faults: list[Fault] = []
    plain = [p for layer in chain.layers if (p := _try(faults, layer.name, package.rewrite, layer))]
    where = f"in {chain.file}"
    if faults:
        raise KerasModelError(faults, where)
    walk = walk_layers(dataclasses.replace(chain, layers=tuple(plain)), fuse=False, integers=True)
    if walk.faults:
        raise KerasModelError(walk.faults, where)
    image = input_bits == 8 or (
        input_bits is None and walk.input_shape[-1] in INPUT_CHANNELS and len(walk.input_shape) == 3
    )
    scale, shift = _enter(walk, package, scaling, faults, image=image)
    layers, bits = [], input_bits or 4
    for index, block in enumerate(walk.blocks):
        entry = index == 0 and image
        layer = _try(faults, block.name, _exact_layer, block, walk, package, shift, entry, bits)
        if layer is not None:
            layers.append(layer)
            bits = layer.spec.act_bits
    first = None
    if not image:
        first = InputData(input_shape=walk.blocks[0].in_shape, input_bits=input_bits or 4,
                          name=walk.unused("input"))  # fmt: skip
    if not faults:
        faults = find_faults([*([first] if first else []), *(layer.spec for layer in layers)])
    if faults:
        raise KerasModelError(faults, where)
    return ExactModel(first, tuple(layers), walk, scale, shift)


def import_integers(
    chain: KerasChain, package: Package, *, scaling: tuple[float, float] | None,
    input_bits: int | None, registers: Registers,
) -> Imported:  # fmt: skip
    """Return the integer model of a quantized chain; arguments as in `from_keras`."""
    exact = exact_layers(chain, package, scaling=scaling, input_bits=input_bits)
    variables = {str(layer.spec.name): to_registers(layer, registers) for layer in exact.layers}
    specs = [*([exact.first] if exact.first else []), *(layer.spec for layer in exact.layers)]
    try:
        model = Model(specs, variables, registers=registers)
    except ModelError as error:
        raise KerasModelError(error.faults, f"in {chain.file}") from None
    report = Report(tuple(
        LayerReport(b.name, tuple(b.sources), tuple(b.notes), tuple(b.changes))
        for b in exact.walk.blocks
    ))  # fmt: skip
    walk = exact.walk
    return Imported(None, model, report, exact.scale, exact.shift, walk.host, walk.shape)


def to_registers(layer: ExactLayer, registers: Registers) -> dict[str, np.ndarray]:
    """Return a layer's variables: threshold rounded down, step truncated to its fixed point."""
    fraction = 2.0**registers.step_fraction_bits
    kernels = {name: kernel.astype(np.int8) for name, kernel in layer.kernels.items()}
    threshold = np.clip(np.floor(layer.threshold), -SATURATED, SATURATED).astype(np.int32)
    # Truncated here, in float64: float32 could round a step up to the next multiple.
    step = np.floor(np.clip(layer.step, 0, 2.0**30) * fraction) / fraction
    if layer.spec.activation and layer.spec.act_bits == 1:
        step = np.maximum(step, 1 / fraction)  # one level: whether p > T, whatever the step
    return {**kernels, "threshold": threshold, "step": step.astype(np.float32)}


def _try(faults: list[Fault], name: str, call: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return call(*arguments)
    except NotLegal as problem:
        faults.append(Fault(name, problem.what, problem.remedy))
    except MALFORMED as problem:
        faults.append(malformed(name, problem))
    return None


def _enter(
    walk: FloatWalk, package: Package, scaling: tuple[float, float] | None,
    faults: list[Fault], *, image: bool,
) -> tuple[float, float]:  # fmt: skip
    if scaling is not None and walk.input_affine is not None:
        raise ValueError("input_scaling is for models without a rescaling; this one has its own")
    gain, offset = 1.0, 0.0
    block = walk.blocks[0]
    source = walk.input_source or block.name
    if scaling is not None:
        gain, offset = 1 / scaling[0], -scaling[1] / scaling[0]
    if walk.input_affine is not None:
        gains, offsets = walk.input_affine
        gain, offset = float(gains[0]), float(offsets[0])
        if (gains != gain).any() or (offsets != offset).any() or gain <= 0:
            faults.append(Fault(source, "a rescaling that differs by channel or is negative",
                                "use one positive scale and one offset"))  # fmt: skip
            return 1.0, 0.0
    if offset and not image:
        faults.append(Fault(source, f"an offset of {offset:g} on an input of events",
                            "rescale without an offset"))  # fmt: skip
    if image and block.kind == "separable":
        faults.append(Fault(block.name, "a separable layer takes the image",
                            "begin with a convolution"))  # fmt: skip
    if image and block.kind == "dense":
        faults.append(Fault(block.name, "a dense layer takes the image",
                            "begin with a convolution, or give input_bits=4"))  # fmt: skip
    try:
        return package.enter(gain, offset)
    except NotLegal as problem:
        if scaling is not None:
            raise ValueError(f"input_scaling {scaling}: {problem.what}") from None
        faults.append(Fault(source, problem.what, problem.remedy))
        return 1.0, 0.0


def _exact_layer(
    block: Block, walk: FloatWalk, package: Package, shift: float, entry: bool, bits: int
) -> ExactLayer:
    last = block is walk.blocks[-1]
    pooled = block.map_shape[0] * block.map_shape[1] if block.pool == "global_average" else 1
    padded = block.pads != NO_PADS
    sums = block.kernel.sum((0, 1, 2)) if entry else None
    level = package.padding_level(block.name) if entry else None
    if block.identity:
        step = np.full(block.filters, 2.0 ** (bits - 4))  # one potential is one level
        zeros = np.zeros(block.filters)
        firing = Firing(zeros, step, 2, bits, zeros)
    else:
        firing = package.fire(block, pooled, sums)
    threshold, steps = _settle(block, firing)
    spec = specify_block(block, last=last, entry=entry)
    if entry:
        if level is None:
            level = 0 if walk.padded_levels else int(np.clip(int(shift), 0, 255))
            if padded and not walk.padded_levels and level != shift:
                block.changes.append(
                    f"its padding, 0 in Keras, is level {shift:g}; {level} is taken"
                )
        assert isinstance(spec, InputConv)
        spec = dataclasses.replace(spec, padding_value=level)
    block.changes += firing.changes
    kernels = {"kernel": block.kernel}
    if block.pointwise is not None:
        kernels["pointwise"] = block.pointwise
    full = specify(spec, weight_bits=firing.weight_bits, act_bits=firing.act_bits)
    assert isinstance(full, InputConvolutional) == entry
    return ExactLayer(full, kernels, threshold, steps)


def without_weights(kernel: np.ndarray, pointwise: np.ndarray | None = None) -> np.ndarray:
    """Return which filters have no weight but 0; their potential is always 0."""
    used = np.asarray(kernel.any((0, 1, 2)))
    return np.logical_not(used if pointwise is None else pointwise[used].any(0))


def constant_registers(
    values: np.ndarray, *, act_bits: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return threshold and step that make the potential 0 the given levels, or logits.

    Any step gives a level: 1 is taken. A logit is ``-T / S``: the largest power of two up to 4096
    that keeps T below 2**18.

    Args:
      values: levels (integers), or logits.
      act_bits: width of the levels; None for logits.
    """
    if act_bits is not None:
        return -values * 2.0 ** (4 - act_bits), np.ones(len(values))
    room = np.floor(18 - np.log2(np.maximum(np.abs(values), 1)))
    step = 2.0 ** np.clip(room, 0, 12)
    return -np.round(values * step), step


def _settle(block: Block, firing: Firing) -> tuple[np.ndarray, np.ndarray]:
    """Return threshold and step, chosen anew for filters without weights.

    A quantizer has no scale for them, and takes one that makes both too large for registers.
    """
    idle = without_weights(block.kernel, block.pointwise)
    if not idle.any():
        return firing.threshold, firing.step
    bits = None if block.activation_source is None else firing.act_bits
    threshold, step = constant_registers(firing.at_zero, act_bits=bits)
    places = np.flatnonzero(idle)
    listed = ", ".join(map(str, places[:5])) + (", ..." if len(places) > 5 else "")
    block.notes.append(f"no weights in filters {listed}: what they return is constant")
    return np.where(idle, threshold, firing.threshold), np.where(idle, step, firing.step)
