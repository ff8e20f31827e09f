"""From blocks to a float network of `akida_jax.quant`."""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from akida_jax.interop.blocks import Block, Norm, NotLegal, identity_block
from akida_jax.interop.float_layers import walk_layers
from akida_jax.interop.keras_files import KerasChain, KerasModelError
from akida_jax.interop.reports import Imported, LayerReport, Report
from akida_jax.interop.walks import FloatWalk
from akida_jax.interop.windows import NO_PADS, SIZES, fit_same, out_sizes, same_pads
from akida_jax.layers import specify
from akida_jax.limits import INPUT_CHANNELS, Fault, find_faults
from akida_jax.quant.architecture import Conv, Dense, InputConv, InputData, Layer, SeparableConv
from akida_jax.quant.layers import FloatLayer
from akida_jax.quant.networks import Sequential

_EPSILON = 1e-3
"""Of the batch norm in `quant.FloatLayer`."""
_UNBOUNDED = float(np.finfo(np.float32).max)
_INPUT_SIZES = SIZES[1:]


@dataclasses.dataclass(frozen=True)
class _Entry:
    """How integers enter: ``levels = scale * x + shift``; ``levels`` replaces real padding."""

    scale: float
    shift: int
    input_bits: int


def import_float(
    chain: KerasChain, *, fuse: bool, scaling: tuple[float, float] | None, input_bits: int | None
) -> Imported:
    """Return the network of a float chain; arguments as in `from_keras`."""
    walk = walk_layers(chain, fuse=fuse)
    where = f"in {chain.file}"
    if walk.faults:
        raise KerasModelError(walk.faults, where)
    faults: list[Fault] = []
    entry = _enter(walk, scaling, input_bits, faults)
    specs: list[InputData | Layer] = []
    if entry.input_bits != 8:
        shape = walk.blocks[0].in_shape
        specs.append(InputData(input_shape=shape, input_bits=entry.input_bits,
                               name=walk.unused("input")))  # fmt: skip
    for index, block in enumerate(walk.blocks):
        try:
            first = index == 0 and entry.input_bits == 8
            specs.append(specify_block(block, last=index == len(walk.blocks) - 1, entry=first))
        except NotLegal as problem:
            faults.append(Fault(block.name, problem.what, problem.remedy))
    if not faults:
        specs[0] = _with_border(specs[0], walk, entry)
        faults = find_faults([_with_widths(spec) for spec in specs])
    if faults:
        raise KerasModelError(faults, where)
    network = _build(specs, walk, entry)
    report = Report(tuple(
        LayerReport(b.name, tuple(b.sources), tuple(b.notes), tuple(b.changes))
        for b in walk.blocks
    ))  # fmt: skip
    return Imported(network, None, report, entry.scale, entry.shift, walk.host, walk.shape)


def _enter(
    walk: FloatWalk,
    scaling: tuple[float, float] | None,
    input_bits: int | None,
    faults: list[Fault],
) -> _Entry:
    """Choose how integers enter, and fold what the input layer cannot hold."""
    block = walk.blocks[0]
    channels = walk.input_shape[-1]
    gain, offset = walk.input_affine or (np.ones(channels), np.zeros(channels))
    if scaling is not None and walk.input_affine is not None:
        raise ValueError("input_scaling is for models without a rescaling; this one has its own")
    if scaling is not None:
        gain, offset = gain / scaling[0], offset - scaling[1] / scaling[0]
    is_image = input_bits == 8 or (
        input_bits is None and channels in INPUT_CHANNELS and len(walk.input_shape) == 3
    )
    scale = float(1 / abs(gain[0]))  # the weights carry signs
    shift = 0
    if is_image:
        if block.kind == "dense":
            block = _image_identity(walk)
        elif block.kind == "separable":
            block.notes.append("one full kernel: the input layer is no separable one")
            block.join()
        wanted = float(np.mean(-offset / gain))
        shift = int(np.clip(round(wanted), 0, 255))
    _fold_input(block, walk, gain * scale, offset + gain * shift, faults)
    return _Entry(scale, shift, 8 if is_image else input_bits or 4)


def _image_identity(walk: FloatWalk) -> Block:
    """Put an input convolution in front of a dense first layer."""
    height, width, channels = walk.input_shape
    note = "inserted: 8-bit inputs enter by a convolution"
    block = identity_block(
        walk.unused("input_identity"), (height, width, channels), math.inf, note=note
    )
    walk.blocks[0].in_shape = block.in_shape
    walk.blocks.insert(0, block)
    return block


def _fold_input(
    block: Block, walk: FloatWalk, factor: np.ndarray, rest: np.ndarray, faults: list[Fault]
) -> None:
    """Let the first block take ``factor * x + rest``: zeros are what its border holds."""
    if (factor == 1).all() and not rest.any():
        return
    # Where the border is padded, it holds the input level `shift`, which is `rest` from zero.
    pads = block.pads
    if rest.any() and pads != NO_PADS and not walk.padded_levels:
        reach = float(np.abs(np.einsum("ijcf,c->f", np.abs(_full(block)), np.abs(rest))).max())
        block.changes.append(
            "its padding, 0 in Keras, lies between two input levels or differs by channel; at "
            f"the border its sums differ by up to {reach:.3g}"
        )
    block.pads = NO_PADS
    try:
        block.scale_inputs(factor, rest)
    except NotLegal as problem:
        faults.append(Fault(block.name, problem.what, problem.remedy))
    block.pads = pads


def _full(block: Block) -> np.ndarray:
    if block.pointwise is None:
        return block.kernel
    return block.kernel[:, :, 0, :, None] * block.pointwise


def specify_block(block: Block, *, last: bool, entry: bool) -> Layer:
    """Return the description of a block, its kernels brought into legal windows."""
    activation = block.bound is not None
    if not activation and not last:
        raise NotLegal("it has no activation and is not the last layer", "put a ReLU behind it")
    if block.kind == "dense":
        return Dense(units=block.filters, activation=activation, name=block.name)
    map_shape = block.map_shape
    if not activation and block.pool == "max":
        raise NotLegal("a max pool without activation ends the model", "put a ReLU behind it")
    padding = _fit(block, entry=entry)
    fields: dict[str, Any] = {
        "filters": block.filters, "kernel_size": block.kernel.shape[0], "stride": block.stride,
        "pool": block.pool, "activation": activation, "name": block.name, "padding": padding,
    }  # fmt: skip
    if block.pool == "max":
        _check_pool(block, map_shape, padding)
        fields |= {"pool_size": block.pool_size, "pool_stride": block.pool_stride}
    if entry:
        return InputConv(input_shape=block.in_shape, **fields)
    return (SeparableConv if block.kind == "separable" else Conv)(**fields)


def _fit(block: Block, *, entry: bool) -> str:
    """Bring the kernel into a legal window and return its padding."""
    window = block.kernel.shape[0], block.kernel.shape[1]
    if min(block.map_shape[:2]) < 1:
        raise NotLegal(f"kernel {window} exceeds the map {block.in_shape}", "use same padding")
    if block.kind == "separable":
        fitted = _fit_window(block, SIZES[1:])
        if fitted is not None:
            return "same"
        block.join()
        block.notes.append("one full kernel: the chip has no separable layer of this window")
    if entry and block.pads == NO_PADS and window[0] == window[1] and window[0] in _INPUT_SIZES:
        return "valid"
    if _fit_window(block, _INPUT_SIZES if entry else SIZES, entry=entry) is not None:
        return "same"
    raise NotLegal(
        f"kernel {window[0]}x{window[1]}, stride {block.stride}, padding {block.pads} on a map "
        f"{block.in_shape[0]}x{block.in_shape[1]} has no form on the chip",
        "use padding 'same', kernels up to 7 (up to 3 with stride 2)",
    )


def _fit_window(block: Block, sizes: tuple[int, ...], *, entry: bool = False) -> np.ndarray | None:
    if not entry and block.stride > 1:
        sizes = (3,)
    fitted = fit_same(block.kernel, block.in_shape, block.stride, block.pads, sizes)
    if fitted is not None:
        if fitted.shape != block.kernel.shape:
            block.notes.append(
                f"kernel {block.kernel.shape[0]}x{block.kernel.shape[1]} stands in one of "
                f"{len(fitted)}x{len(fitted)} with zeros around"
            )
        block.kernel = fitted
        block.pads = same_pads(block.in_shape, (len(fitted),) * 2, (block.stride,) * 2)
    return fitted


def _check_pool(block: Block, shape: tuple[int, ...], padding: str) -> None:
    """Refuse a max pool whose windows differ from those with the convolution's padding."""
    size, stride = block.pool_size, block.pool_stride
    pads = same_pads(shape, size, stride) if padding == "same" else NO_PADS
    if out_sizes(shape, size, stride, pads) != out_sizes(shape, size, stride, block.pool_pads) or (
        pads != block.pool_pads
    ):
        raise NotLegal(
            f"max pool with other padding than its convolution on a map {shape[0]}x{shape[1]}",
            f"pool with padding {padding!r}, or make the map a multiple of the stride",
        )


def _with_border(spec: InputData | Layer, walk: FloatWalk, entry: _Entry) -> InputData | Layer:
    if not isinstance(spec, InputConv):
        return spec
    level = 0 if walk.padded_levels else entry.shift
    return dataclasses.replace(spec, padding_value=level)


def _with_widths(spec: InputData | Layer) -> Any:
    if isinstance(spec, InputData):
        return spec
    return specify(spec, weight_bits=8 if isinstance(spec, InputConv) else 4, act_bits=4)


def _build(specs: list[InputData | Layer], walk: FloatWalk, entry: _Entry) -> Sequential:
    bounds = {b.name: min(b.bound, _UNBOUNDED) for b in walk.blocks if b.bound is not None}
    for block in walk.blocks:
        if block.bound == math.inf:
            block.notes.append("ReLU without a bound: give quantize a calibration")
        if block.bound is None:
            block.fold()

    def blank() -> Sequential:
        rngs = nnx.Rngs(0)
        network = Sequential(
            specs, rngs=rngs, batch_norm=False, input_scale=entry.scale,
            input_shift=entry.shift, max_activations=bounds,
        )  # fmt: skip
        pairs = zip(network.layers, walk.blocks, strict=True)
        network.layers = nnx.List(
            FloatLayer(
                layer.spec, layer.in_shape, batch_norm=block.norm is not None, rngs=rngs,
                max_activation=layer.max_activation,
            )
            for layer, block in pairs
        )  # fmt: skip
        return network

    network = nnx.eval_shape(blank)  # draws no weights
    for layer, block in zip(network.layers, walk.blocks, strict=True):
        _fill(layer, block)
    return network


def _fill(layer: FloatLayer, block: Block) -> None:
    """Give a layer the numbers of its block."""
    bias = block.bias
    if block.norm is not None:
        _fill_norm(layer, block, block.norm)
        bias = block.norm.beta
    layer.bias = nnx.Param(_float32(bias))
    setattr(layer, "kernel", nnx.Param(_float32(block.kernel)))  # noqa: B010, not in its class
    if block.pointwise is not None:
        setattr(layer, "pointwise", nnx.Param(_float32(block.pointwise)))  # noqa: B010


def _fill_norm(layer: FloatLayer, block: Block, norm: Norm) -> None:
    gamma, mean = norm.gamma, norm.mean - block.bias
    if block.pool == "max":
        # A float layer takes the gain's magnitude here: the weights carry its sign.
        sign = np.where(gamma < 0, -1.0, 1.0)
        gamma, mean = gamma * sign, mean * sign
        block.scale_outputs(sign)
    # The layer's own epsilon is fixed: the gain makes up for the difference.
    gain = gamma * np.sqrt((norm.variance + _EPSILON) / (norm.variance + norm.epsilon))
    assert layer.norm is not None
    layer.norm.mean = nnx.BatchStat(_float32(mean))
    layer.norm.var = nnx.BatchStat(_float32(norm.variance))
    layer.gain = nnx.Param(_float32(gain))


def _float32(values: np.ndarray) -> jax.Array:
    return jnp.asarray(values, jnp.float32)
