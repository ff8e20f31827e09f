"""From the layers of a float Keras model to blocks, one handler per kind of layer."""

import math
from typing import Any

import numpy as np

from akida_jax.interop.blocks import Block, Norm, NotLegal, check_size
from akida_jax.interop.keras_files import KerasChain, KerasLayer
from akida_jax.interop.walks import IGNORED, FloatWalk, Handler, pair, relu_bound
from akida_jax.interop.windows import (
    NO_PADS,
    dilate,
    expand_depthwise,
    out_sizes,
    same_pads,
    ungroup,
)
from akida_jax.limits import MAX_CHANNELS


def walk_layers(chain: KerasChain, *, fuse: bool, integers: bool = False) -> FloatWalk:
    """Return the walk along all layers; arguments as `FloatWalk` takes them."""
    return FloatWalk(chain, _HANDLERS, fuse=fuse, integers=integers)


def _linear(walk: FloatWalk, layer: KerasLayer, kernel: np.ndarray, filters: int) -> dict[str, Any]:
    """Return the fields that every convolution has."""
    config = layer.config
    shape = walk.map_shape()
    rows, columns = pair(config["strides"])
    if rows != columns:
        raise NotLegal(f"strides {rows} and {columns} differ", "use the same along both axes")
    if str(config["padding"]).lower() not in ("same", "valid"):
        raise NotLegal(f"padding {config['padding']!r}", "use 'same'")
    pads, walk.padded = walk.padded, NO_PADS
    if config["padding"] == "same":
        if pads != NO_PADS:
            raise NotLegal("SAME padding behind a ZeroPadding2D", "drop one of the two")
        pads = same_pads(shape, (kernel.shape[0], kernel.shape[1]), (rows, columns))
    bias = layer.weights["bias"].astype(np.float64) if config["use_bias"] else np.zeros(filters)
    if bias.shape != (filters,):
        raise ValueError(f"bias of shape {bias.shape}, the layer has {filters} filters")
    return {"name": layer.name, "in_shape": shape, "stride": rows, "pads": pads, "bias": bias}


def _kernel(layer: KerasLayer, name: str) -> np.ndarray:
    kernel = layer.weights[name].astype(np.float64)
    if kernel.ndim != 4 or not kernel.size:
        raise ValueError(f"{name} of shape {kernel.shape}")
    rates = pair(layer.config.get("dilation_rate", 1))
    if rates != (1, 1):
        if max((n - 1) * r + 1 for n, r in zip(kernel.shape[:2], rates, strict=True)) > 64:
            raise NotLegal(f"kernel {kernel.shape[:2]} with gaps {rates}", "use no dilation")
        kernel = dilate(kernel, rates)
    return kernel


def _check_channels(kernel: np.ndarray, walk: FloatWalk) -> None:
    channels = walk.map_shape()[2]
    if kernel.shape[2] != channels:
        raise ValueError(f"kernel of {kernel.shape[2]} channels, the data has {channels}")


def _conv(walk: FloatWalk, layer: KerasLayer) -> None:
    kernel = _kernel(layer, "kernel")
    groups = int(layer.config.get("groups", 1))
    if groups < 1 or kernel.shape[3] % groups:
        raise NotLegal(
            f"{groups} groups of {kernel.shape[3]} filters", "let the one divide the other"
        )
    notes = []
    if groups > 1:
        check_size(*kernel.shape, groups)
        kernel = ungroup(kernel, groups)
        notes.append(f"{groups} groups become one full kernel with zeros")
    _check_channels(kernel, walk)
    fields = _linear(walk, layer, kernel, kernel.shape[3])
    walk.start(Block(kind="conv", kernel=kernel, notes=notes, **fields), layer)


def _depthwise(walk: FloatWalk, layer: KerasLayer) -> None:
    # Keras 3 calls it plainly the kernel.
    kernel = _kernel(layer, "kernel" if "kernel" in layer.weights else "depthwise_kernel")
    _check_channels(kernel, walk)
    channels, multiplier = kernel.shape[2:]
    fields = _linear(walk, layer, kernel, channels * multiplier)
    if multiplier > 1:
        check_size(*kernel.shape, channels)
        note = "depth_multiplier is not 1: it becomes a full kernel with zeros"
        full = expand_depthwise(kernel)
        walk.start(Block(kind="conv", kernel=full, notes=[note], **fields), layer)
        return
    if channels > MAX_CHANNELS:
        raise NotLegal(f"{channels} channels exceed {MAX_CHANNELS}", "reduce them")
    block = Block(
        kind="separable", kernel=kernel.transpose(0, 1, 3, 2), pointwise=np.eye(channels),
        depthwise_only=True, **fields,
    )  # fmt: skip
    walk.start(block, layer)


def _separable(walk: FloatWalk, layer: KerasLayer) -> None:
    kernel = _kernel(layer, "depthwise_kernel")
    _check_channels(kernel, walk)
    channels, multiplier = kernel.shape[2:]
    pointwise = layer.weights["pointwise_kernel"].astype(np.float64)
    if pointwise.ndim != 4 or pointwise.shape[:3] != (1, 1, channels * multiplier):
        raise ValueError(f"pointwise_kernel of shape {pointwise.shape}")
    pointwise = pointwise[0, 0]
    fields = _linear(walk, layer, kernel, pointwise.shape[1])
    if multiplier > 1:
        check_size(*kernel.shape, channels)
        check_size(*kernel.shape[:3], pointwise.shape[1])
        note = "depth_multiplier is not 1: both kernels become one full kernel"
        full = expand_depthwise(kernel) @ pointwise
        walk.start(Block(kind="conv", kernel=full, notes=[note], **fields), layer)
        return
    block = Block(
        kind="separable", kernel=kernel.transpose(0, 1, 3, 2), pointwise=pointwise, **fields
    )
    walk.start(block, layer)


def _dense(walk: FloatWalk, layer: KerasLayer) -> None:
    kernel = layer.weights["kernel"].astype(np.float64)
    units = kernel.shape[1]
    bias = np.zeros(units)
    if layer.config["use_bias"]:
        bias = layer.weights["bias"].astype(np.float64)
    if kernel.ndim != 2 or bias.shape != (units,) or walk.shape[-1] != kernel.shape[0]:
        raise ValueError(f"kernel {kernel.shape} on data {walk.shape}")
    block = Block(
        name=layer.name, kind="dense", in_shape=(1, 1, kernel.shape[0]),
        kernel=kernel[None, None], bias=bias,
    )  # fmt: skip
    if math.prod(walk.shape[:-1]) > 1:  # Keras applies it at every position
        block.in_shape, block.kind = walk.map_shape(), "conv"
        block.notes.append("a dense layer on a map is a 1x1 convolution")
    else:
        block.in_shape = walk.block.out_shape if walk.block else (1, 1, kernel.shape[0])
    before = walk.shape
    walk.start(block, layer)
    if block.kind == "dense":
        walk.shape = (*before[:-1], units)


def _batch_norm(walk: FloatWalk, layer: KerasLayer) -> None:
    config = layer.config
    axes = config.get("axis", -1)
    axis = axes[0] if isinstance(axes, list) and len(axes) == 1 else axes
    if axis not in (-1, len(walk.shape)):
        raise NotLegal(f"normalizes along axis {axis}", "normalize the channels, the last axis")
    channels = walk.shape[-1]
    values = {}
    for name, default in (("moving_mean", None), ("moving_variance", None),
                          ("gamma", 1.0), ("beta", 0.0)):  # fmt: skip
        given = layer.weights.get(name)
        if given is None and default is None:
            raise ValueError(f"lacks {name}")
        values[name] = np.full(channels, default) if given is None else given.astype(np.float64)
        if values[name].shape != (channels,):
            raise ValueError(f"{name} of shape {values[name].shape}, the data has {channels}")
    epsilon = float(config["epsilon"])
    if (values["moving_variance"] + epsilon <= 0).any():
        raise ValueError("a variance is negative")
    norm = Norm(values["moving_mean"], values["moving_variance"], values["gamma"],
                values["beta"], epsilon)  # fmt: skip
    _per_channel(walk, norm, layer.name)


def _per_channel(walk: FloatWalk, norm: Norm, source: str) -> None:
    block = walk.block
    if block is not None and block.bound is None and walk.affine is None:
        if len(norm.gamma) != block.filters:
            raise NotLegal("normalizes a flattened map", "normalize in front of Flatten")
        block.normalize(norm, source)
    else:
        walk.apply_affine(norm.factor, norm.offset, source)


def _constants(value: Any, channels: int) -> np.ndarray:
    return np.broadcast_to(np.asarray(value, np.float64).reshape(-1), (channels,)).copy()


def _rescaling(walk: FloatWalk, layer: KerasLayer) -> None:
    channels = walk.shape[-1]
    scale = _constants(layer.config["scale"], channels)
    offset = _constants(layer.config.get("offset", 0.0), channels)
    if not (np.isfinite(scale).all() and np.isfinite(offset).all()):
        raise ValueError("scale or offset is not finite")
    if not scale.all():
        raise NotLegal("a rescaling by 0", "give it a scale that is not 0")
    one = np.ones(channels)
    _per_channel(walk, Norm(0 * one, one, scale, offset, 0.0), layer.name)


def _normalization(walk: FloatWalk, layer: KerasLayer) -> None:
    channels = walk.shape[-1]
    mean = layer.weights.get("mean", layer.config.get("mean"))
    variance = layer.weights.get("variance", layer.config.get("variance"))
    if mean is None or variance is None:
        raise ValueError("lacks mean and variance")
    # Keras divides by the larger of the deviation and 1e-7.
    deviation = np.maximum(np.sqrt(_constants(variance, channels)), 1e-7)
    if layer.config.get("invert"):
        raise NotLegal("an inverted normalization", "use a Rescaling")
    one = np.ones(channels)
    _per_channel(
        walk, Norm(_constants(mean, channels), deviation**2, one, 0 * one, 0.0), layer.name
    )


def _relu(walk: FloatWalk, layer: KerasLayer) -> None:
    walk.rectify(layer, relu_bound(layer.config))


def _max_pool(walk: FloatWalk, layer: KerasLayer) -> None:
    config, block = layer.config, walk.block
    shape = walk.map_shape()
    size = pair(config["pool_size"])
    stride = pair(config["strides"] if config.get("strides") is not None else size)
    if block is None:
        raise NotLegal("a max pool on the input", "pool the events when the frames are built")
    if walk.affine is not None and (walk.affine[0] < 0).any():
        raise NotLegal("a max pool behind a negative gain", "pool in front of the batch norm")
    if block.pool is not None:
        block = walk.insert(
            f"{layer.name}_identity", "inserted: a layer of the chip pools only once"
        )
    pads = NO_PADS
    if config["padding"] == "same":
        pads = same_pads(shape, size, stride)
    if min(out_sizes(shape, size, stride, pads)) < 1:
        raise NotLegal(f"pool {size} exceeds the map {shape[0]}x{shape[1]}", "use a smaller one")
    block.pool, block.pool_size, block.pool_stride, block.pool_pads = "max", size, stride, pads
    block.sources.append(layer.name)
    walk.shape = block.out_shape


def _global_pool(walk: FloatWalk, layer: KerasLayer) -> None:
    block = walk.block
    shape = walk.map_shape()
    if block is None:
        raise NotLegal("a global average pool on the input", "begin with a convolution")
    if block.bound is not None and walk.fuse and block.pool is None and walk.affine is None:
        block.changes.append("the average is taken in front of the activation, not behind it")
    elif block.bound is not None or block.pool is not None:
        affine, walk.affine = walk.affine, None  # an average and an affine map may change places
        block = walk.insert(
            f"{layer.name}_identity", "inserted: the chip averages in front of the activation"
        )
        walk.affine = affine
    if shape[:2] != (1, 1):
        block.pool = "global_average"
    block.sources.append(layer.name)
    keep = layer.config.get("keepdims") or layer.kind == "AveragePooling2D"
    walk.shape = block.out_shape if keep else (shape[2],)


def _average_pool(walk: FloatWalk, layer: KerasLayer) -> None:
    shape = walk.map_shape()
    config = layer.config
    size = pair(config["pool_size"])
    stride = pair(config["strides"] if config.get("strides") is not None else size)
    pads = same_pads(shape, size, stride) if config["padding"] == "same" else NO_PADS
    if size != shape[:2] or out_sizes(shape, size, stride, pads) != (1, 1):
        raise NotLegal(
            f"an average over {size[0]}x{size[1]}, stride {stride[0]}x{stride[1]}, padding "
            f"{config['padding']!r} of a map {shape[0]}x{shape[1]}",
            "use a max pool, a stride, or GlobalAveragePooling2D",
        )
    _global_pool(walk, layer)


def _zero_padding(walk: FloatWalk, layer: KerasLayer) -> None:
    if any(map(any, walk.padded)):
        raise NotLegal("two ZeroPadding2D in a row", "make one of the two")
    padding = layer.config["padding"]
    if isinstance(padding, int):
        padding = ((padding, padding), (padding, padding))
    rows, columns = ((p, p) if isinstance(p, int) else tuple(p) for p in padding)
    if not all(type(v) is int and 0 <= v < 2**10 for v in (*rows, *columns)):
        raise ValueError(f"padding {padding!r}")
    if walk.affine is not None and walk.affine[1].any():
        raise NotLegal("padding behind a batch norm that follows an activation",
                       "normalize between convolution and activation")  # fmt: skip
    walk.map_shape()
    walk.padded_levels = not walk.blocks and walk.input_affine is None
    walk.padded = ((rows[0], rows[1]), (columns[0], columns[1]))
    walk.pending_sources.append(layer.name)


def _check_softmax(walk: FloatWalk, channels: int) -> None:
    """Refuse what would change the axis of a softmax in front, which is applied at the end."""
    if walk.host == "softmax" and channels != walk.shape[-1]:
        raise NotLegal(
            f"makes an axis of {channels} from the {walk.shape[-1]} channels of a softmax",
            "reshape in front of the softmax, or pool the map to 1x1",
        )


def _flatten(walk: FloatWalk, layer: KerasLayer) -> None:
    del layer
    _check_softmax(walk, math.prod(walk.shape))
    if walk.affine is not None:
        check_size(*walk.shape)
        repeats = math.prod(walk.shape[:-1])
        walk.affine = np.tile(walk.affine[0], repeats), np.tile(walk.affine[1], repeats)
    walk.shape = (math.prod(walk.shape),)


def _reshape(walk: FloatWalk, layer: KerasLayer) -> None:
    target = [int(n) for n in layer.config["target_shape"]]
    count = math.prod(walk.shape)
    if -1 in target:
        rest = -math.prod(target)
        target[target.index(-1)] = count // rest if rest > 0 else 0
    if math.prod(target) != count or min(target, default=0) < 1:
        raise ValueError(f"a reshape of {walk.shape} to {target}")
    _check_softmax(walk, target[-1])
    walk.shape = tuple(target)
    if not walk.blocks:
        walk.input_shape = walk.shape


def _activation(walk: FloatWalk, layer: KerasLayer) -> None:
    walk.activate(layer, layer.config.get("activation"))


def _softmax(walk: FloatWalk, layer: KerasLayer) -> None:
    axis = layer.config.get("axis", -1)
    if axis not in (-1, len(walk.shape), [-1], [len(walk.shape)]):
        raise NotLegal(f"a softmax over axis {axis}", "use the last axis, -1")
    walk.host = "softmax"


def _ignore(walk: FloatWalk, layer: KerasLayer) -> None:
    del walk, layer


_HANDLERS: dict[str, Handler] = {
    **dict.fromkeys(IGNORED, _ignore),
    "Activation": _activation,
    "AveragePooling2D": _average_pool,
    "BatchNormalization": _batch_norm,
    "Conv2D": _conv,
    "Dense": _dense,
    "DepthwiseConv2D": _depthwise,
    "Flatten": _flatten,
    "GlobalAveragePooling2D": _global_pool,
    "MaxPooling2D": _max_pool,
    "Normalization": _normalization,
    "ReLU": _relu,
    "Rescaling": _rescaling,
    "Reshape": _reshape,
    "SeparableConv2D": _separable,
    "Softmax": _softmax,
    "ZeroPadding2D": _zero_padding,
}
