"""What Keras computes, layer by layer in float64, by plain loops over windows.

Follows the Keras documentation of each layer; shares nothing with the library.
"""

import numpy as np


def run(layers, x):
    """Return the output of layers as `keras_writer.complete` has them."""
    x = np.asarray(x, np.float64)
    for kind, config, weights in layers:
        weights = {k: np.asarray(v, np.float32).astype(np.float64) for k, v in weights.items()}
        x = LAYERS[kind](config, weights, x)
        activation = config.get("activation")
        if activation is not None and kind != "Activation":
            x = activate(activation, x)
    return x


def activate(name, x):
    if name == "relu":
        return np.maximum(x, 0)
    if name == "relu6":
        return np.clip(x, 0, 6)
    if name == "softmax":
        e = np.exp(x - x.max(-1, keepdims=True))
        return e / e.sum(-1, keepdims=True)
    if name == "sigmoid":
        return 1 / (1 + np.exp(-x))
    assert name == "linear"
    return x


def pad_same(x, window, stride, value):
    pads = []
    for axis in range(2):
        size = x.shape[1 + axis]
        out = -(-size // stride[axis])
        total = max((out - 1) * stride[axis] + window[axis] - size, 0)
        pads.append((total // 2, total - total // 2))
    return np.pad(x, ((0, 0), *pads, (0, 0)), constant_values=value)


def windows(x, window, stride, padding, value=0.0):
    """Yield (row, column, patch) of every window."""
    if padding == "same":
        x = pad_same(x, window, stride, value)
    for i, top in enumerate(range(0, x.shape[1] - window[0] + 1, stride[0])):
        for j, left in enumerate(range(0, x.shape[2] - window[1] + 1, stride[1])):
            yield i, j, x[:, top : top + window[0], left : left + window[1]]


def gather(found):
    rows, columns = 1 + max(i for i, _ in found), 1 + max(j for _, j in found)
    return np.stack([np.stack([found[i, j] for j in range(columns)], 1) for i in range(rows)], 1)


def conv(config, weights, x):
    kernel = with_gaps(weights["kernel"], config["dilation_rate"])
    groups, inputs, each = config["groups"], kernel.shape[2], kernel.shape[3] // config["groups"]
    found = {}
    for i, j, patch in windows(x, kernel.shape[:2], config["strides"], config["padding"]):
        parts = [
            np.einsum("nijc,ijcf->nf", patch[..., g * inputs : (g + 1) * inputs],
                      kernel[..., g * each : (g + 1) * each])
            for g in range(groups)
        ]  # fmt: skip
        found[i, j] = np.concatenate(parts, -1)
    return gather(found) + weights.get("bias", 0)


def depthwise(config, weights, x):
    kernel = with_gaps(weights["depthwise_kernel"], config["dilation_rate"])
    found = {}
    for i, j, patch in windows(x, kernel.shape[:2], config["strides"], config["padding"]):
        found[i, j] = np.einsum("nijc,ijcm->ncm", patch, kernel).reshape(len(x), -1)
    return gather(found) + weights.get("bias", 0)


def separable(config, weights, x):
    y = depthwise(config, {"depthwise_kernel": weights["depthwise_kernel"]}, x)
    return y @ weights["pointwise_kernel"][0, 0] + weights.get("bias", 0)


def with_gaps(kernel, rates):
    full = np.zeros([(n - 1) * r + 1 for n, r in zip(kernel.shape[:2], rates, strict=True)]
                    + list(kernel.shape[2:]))  # fmt: skip
    for i in range(kernel.shape[0]):
        for j in range(kernel.shape[1]):
            full[i * rates[0], j * rates[1]] = kernel[i, j]
    return full


def max_pool(config, weights, x):
    del weights
    stride = config["strides"] or config["pool_size"]
    pieces = windows(x, config["pool_size"], stride, config["padding"], -np.inf)
    return gather({(i, j): patch.max((1, 2)) for i, j, patch in pieces})


def batch_norm(config, weights, x):
    y = (x - weights["moving_mean"]) / np.sqrt(weights["moving_variance"] + config["epsilon"])
    return y * weights.get("gamma", 1) + weights.get("beta", 0)


def relu(config, weights, x):
    del weights
    return np.clip(x, 0, np.inf if config["max_value"] is None else config["max_value"])


def zero_padding(config, weights, x):
    del weights
    return np.pad(x, ((0, 0), *config["padding"], (0, 0)))


LAYERS = {
    "Activation": lambda c, w, x: activate(c["activation"], x),
    "BatchNormalization": batch_norm,
    "Conv2D": conv,
    "Dense": lambda c, w, x: x @ w["kernel"] + w.get("bias", 0),
    "DepthwiseConv2D": depthwise,
    "Dropout": lambda c, w, x: x,
    "Flatten": lambda c, w, x: x.reshape(len(x), -1),
    "GlobalAveragePooling2D": lambda c, w, x: x.mean((1, 2), keepdims=c["keepdims"]),
    "MaxPooling2D": max_pool,
    "Normalization": lambda c, w, x: (x - w["mean"]) / np.sqrt(w["variance"]),
    "ReLU": relu,
    "Rescaling": lambda c, w, x: x * c["scale"] + c["offset"],
    "Reshape": lambda c, w, x: x.reshape(len(x), *c["target_shape"]),
    "SeparableConv2D": separable,
    "Softmax": lambda c, w, x: activate("softmax", x),
    "ZeroPadding2D": zero_padding,
}
