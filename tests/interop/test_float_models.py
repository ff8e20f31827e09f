"""Float Keras models become networks that compute the same function."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import akida_jax as aj
from akida_jax import quant
from tests.interop import keras_reference
from tests.interop.keras_writer import write_keras

FLOAT_MODELS = ("akidanet_025_64", "mobilenet_025_64", "gxnor", "ds_cnn", "convtiny_dvs")
U = 2.0**-24
"""Unit roundoff of float32."""


CONFIDENCE = 7.0
"""Of the probabilistic bound: it fails with probability below 2 exp(-24) per value."""


def local_errors(network, x):
    """Yield layer by layer a bound of the rounding that it adds to its potentials.

    Roundings are taken as independent, of mean zero (Higham and Mary 2019, theorem 2.4): a sum of
    n products evaluated in any order lies within ``CONFIDENCE * sqrt(n) U * sum |w| |x|`` of its
    exact value. The affine map of the batch norm, whether folded or not, adds fewer than 16
    roundings of terms of that size (weights folded into one, a square root, a quotient, two
    products, two sums), an average over H * W positions as many more.
    """
    x = jnp.asarray(x, jnp.float32)
    for index, layer in enumerate(network.layers):
        scale, shift = (network.input_scale, network.input_shift) if index == 0 else (1.0, 0)
        kernels, bias = layer.folded()
        n = sum(int(np.prod(kernel.shape[:-1])) for kernel in kernels.values()) + 16
        n += layer.spec.pooled(layer.in_shape)
        sizes = {key: jnp.abs(kernel) for key, kernel in kernels.items()}
        magnitude = layer.spec.linear(jnp.abs(x) + shift, sizes) / scale
        mean = jnp.abs(bias - layer.bias[...])
        size = magnitude + jnp.abs(bias) + jnp.abs(layer.bias[...]) + 2 * mean
        yield CONFIDENCE * n**0.5 * U * size
        x = layer(x, scale=scale, shift=shift)


def rounding_bound(network, x):
    """Bound how far two float32 evaluations of a network, in any order, may lie apart.

    To first order the outputs differ by the sum over all potentials of rounding (`local_errors`)
    times derivative; independent terms add as their squares do. Twice, for two evaluations; and
    twice again for what is of second order: a potential within rounding of a kink of the ReLU has
    another derivative on either side.
    """

    def outputs(rounding, x):
        for index, (layer, e) in enumerate(zip(network.layers, rounding, strict=True)):
            scale, shift = (network.input_scale, network.input_shift) if index == 0 else (1.0, 0)
            kernels, bias = layer.folded()
            x = layer.spec.linear(x, kernels)
            if shift:
                x = x - shift * kernels["kernel"].sum((0, 1, 2))
            x = layer.spec.max_pool(x / scale + e)
            if layer.spec.pooled(layer.in_shape) > 1:
                x = x.mean((1, 2), keepdims=True)
            x = x + bias
            if layer.spec.activation:
                x = jnp.clip(x, 0, layer.max_activation)
        return x[0].reshape(-1)

    bounds = []
    for sample in x:
        one = jnp.asarray(sample[None], jnp.float32)
        errors = list(local_errors(network, one))
        derivatives = jax.jacrev(outputs)([0 * e for e in errors], one)
        parts = [
            ((d * e[None]) ** 2).reshape(len(d), -1).sum(1)
            for d, e in zip(derivatives, errors, strict=True)
        ]
        bounds.append(4 * np.sqrt(np.sum(parts, 0)))
    return np.stack(bounds)


@pytest.mark.slow
@pytest.mark.parametrize("name", FLOAT_MODELS)
def test_outputs_equal_keras_own(data_dir, name):
    imported = aj.interop.from_keras(data_dir / "keras" / f"float_{name}.h5")
    given = np.load(data_dir / "keras" / f"float_{name}.npz")
    y = imported.predict(given["x"])
    some = slice(0, 1)
    bound = rounding_bound(imported.network, given["x"][some])
    if imported.final_activation == "softmax":
        # |softmax(a) - softmax(b)| <= 2 max|a - b| softmax, and a few roundings.
        bound = given["y"][some] * (2 * bound.max(-1, keepdims=True) + 40 * U)
    assert bound.max() < 1e-2 * np.abs(given["y"]).max()
    assert (np.abs(y - given["y"])[some] <= bound).all()
    assert (np.abs(y - given["y"]) <= 10 * bound.max()).all()  # the others, which are alike
    assert (y.argmax(-1) == given["y"].argmax(-1)).all()
    assert imported.report.changes == ()


class Draw:
    """Random weights of Keras layers."""

    def __init__(self, seed=0):
        self.rng = np.random.default_rng(seed)

    def normal(self, *shape):
        scale = (2 / max(np.prod(shape[:-1]), 1)) ** 0.5
        return self.rng.normal(scale=scale, size=shape)

    def conv(self, c, f, k=3, *, bias=True, **config):
        sizes = (k, k) if isinstance(k, int) else k
        weights = {"kernel": self.normal(*sizes, c // config.get("groups", 1), f)}
        if bias:
            weights["bias"] = self.rng.normal(size=f)
        return "Conv2D", {"padding": "same", "use_bias": bias} | config, weights

    def depthwise(self, c, k=3, *, bias=True, multiplier=1, **config):
        weights = {"depthwise_kernel": self.normal(k, k, c, multiplier) * c**0.5}
        if bias:
            weights["bias"] = self.rng.normal(size=c * multiplier)
        config = {"padding": "same", "use_bias": bias, "depth_multiplier": multiplier} | config
        return "DepthwiseConv2D", config, weights

    def separable(self, c, f, k=3, *, bias=True, multiplier=1, **config):
        weights = {
            "depthwise_kernel": self.normal(k, k, c, multiplier) * c**0.5,
            "pointwise_kernel": self.normal(1, 1, c * multiplier, f),
        }
        if bias:
            weights["bias"] = self.rng.normal(size=f)
        config = {"padding": "same", "use_bias": bias, "depth_multiplier": multiplier} | config
        return "SeparableConv2D", config, weights

    def norm(self, c, *, positive=False, **config):
        gamma = self.rng.normal(size=c)
        values = {
            "gamma": np.abs(gamma) + 0.1 if positive else gamma,
            "beta": self.rng.normal(size=c),
            "moving_mean": self.rng.normal(size=c),
            "moving_variance": self.rng.uniform(0.2, 2, size=c),
        }
        return "BatchNormalization", config, values

    def dense(self, n, units, *, bias=True, **config):
        weights = {"kernel": self.normal(n, units)}
        if bias:
            weights["bias"] = self.rng.normal(size=units)
        return "Dense", {"use_bias": bias} | config, weights


def layer(kind, **config):
    return kind, config, {}


RELU, RELU6, POOL, GAP, FLAT = (
    layer("ReLU"), layer("ReLU", max_value=6.0), layer("MaxPooling2D"),
    layer("GlobalAveragePooling2D"), layer("Flatten"),
)  # fmt: skip
UNIT = layer("Rescaling", scale=1 / 255)
D = Draw()
STEM = [UNIT, D.conv(3, 4), D.norm(4), RELU6]
HEAD = [GAP, D.dense(4, 5)]
MIXED = Draw(1).norm(3)
MIXED[2]["gamma"] = np.array([-0.7, 1.1, -0.4])
EQUAL = {
    "norm, relu": ((8, 8, 3), [*STEM, D.conv(4, 4), D.norm(4), RELU, *HEAD]),
    "valid first layer, activation argument": (
        (9, 8, 1),
        [UNIT, D.conv(1, 4, padding="valid", activation="relu6"), *HEAD],
    ),
    "no rescaling": ((8, 8, 1), [D.conv(1, 4, bias=False), RELU6, *HEAD]),
    "shifted input": (
        (8, 8, 3),
        [layer("Rescaling", scale=1 / 128, offset=-1.0), D.conv(3, 4, strides=[2, 2]), RELU, *HEAD],
    ),
    "shift between two levels, no padding": (
        (9, 9, 1),
        [layer("Rescaling", scale=1 / 127.5, offset=-1.0), D.conv(1, 4, padding="valid"), RELU,
         *HEAD],
    ),
    "average in front of the norm": (
        (8, 8, 3), [*STEM, D.separable(4, 4), GAP, D.norm(4), RELU, D.dense(4, 3)]),
    "pool, norm, relu": (
        (8, 8, 3), [*STEM, D.conv(4, 4), POOL, D.norm(4, positive=True), RELU, D.conv(4, 2), RELU,
                    GAP, D.dense(2, 3)]),
    "norm of either sign, relu, pool": (
        (8, 8, 3), [*STEM, D.conv(4, 4), D.norm(4, epsilon=1e-5), RELU, POOL, D.conv(4, 4), RELU,
                    *HEAD]),
    "max pool, flatten, dense": (
        (8, 8, 1), [UNIT, D.conv(1, 4), RELU, POOL, FLAT, D.dense(64, 6), RELU, D.dense(6, 3)]),
    "depthwise, norm, pointwise": (
        (8, 8, 3), [*STEM, D.depthwise(4), D.norm(4), D.conv(4, 4, 1), D.norm(4), RELU6, *HEAD]),
    "depthwise, norm, relu, pointwise": (
        (8, 8, 3), [*STEM, D.depthwise(4, strides=[2, 2]), D.norm(4), RELU6, D.conv(4, 4, 1),
                    D.norm(4), RELU6, *HEAD]),
    "zero padding as mobilenet has it": (
        (8, 8, 3),
        [UNIT, layer("ZeroPadding2D", padding=[[0, 1], [0, 1]]),
         D.conv(3, 4, strides=[2, 2], padding="valid", bias=False), D.norm(4), RELU6,
         layer("ZeroPadding2D", padding=[[0, 1], [0, 1]]),
         D.depthwise(4, strides=[2, 2], padding="valid"), RELU6, D.conv(4, 4, 1), RELU6, *HEAD]),
    "zero padding of levels": (
        (8, 8, 1),
        [layer("ZeroPadding2D", padding=[[1, 1], [1, 1]]),
         layer("Rescaling", scale=1 / 128, offset=-1.0), D.conv(1, 4, padding="valid"), RELU,
         *HEAD]),
    "norm behind the activation": (
        (8, 8, 3), [*STEM, D.conv(4, 4), RELU, D.norm(4), GAP, D.dense(4, 3)]),
    "norm, relu in front of a convolution": (
        (8, 8, 3), [*STEM, D.norm(4), RELU6, D.conv(4, 4), RELU, *HEAD]),
    "two pointwise layers without activation": (
        (8, 8, 3), [*STEM, D.conv(4, 6), D.norm(6), D.conv(6, 4, 1), RELU, *HEAD]),
    "even and oblong kernels": (
        (8, 6, 3), [*STEM, D.conv(4, 4, 2), RELU, D.conv(4, 4, (1, 3)), RELU, D.conv(4, 4, (5, 2)),
                    RELU, *HEAD]),
    "stride 2 of a 1x1 kernel": (
        (8, 9, 3), [*STEM, D.conv(4, 4, 1, strides=[2, 2]), RELU, *HEAD]),
    "gaps, groups, multipliers": (
        (8, 8, 3), [*STEM, D.conv(4, 4, dilation_rate=[2, 2]), RELU, D.conv(4, 6, groups=2), RELU,
                    D.separable(6, 4, multiplier=2), RELU, D.depthwise(4, multiplier=2), RELU,
                    GAP, D.dense(8, 3)]),
    "kernel over the whole map": (
        (8, 8, 3), [*STEM, POOL, D.conv(4, 4), RELU, POOL, D.conv(4, 5, 2, padding="valid"), RELU,
                    layer("Reshape", target_shape=[1, 1, 5]), D.dense(5, 3)]),
    "dense on a map": ((8, 8, 3), [*STEM, D.dense(4, 6), RELU, GAP, D.dense(6, 2)]),
    "separable first layer": ((8, 8, 3), [UNIT, D.separable(3, 4, 5), RELU, *HEAD]),
    "events": ((8, 8, 5), [D.conv(5, 4), RELU, POOL, D.separable(4, 4), RELU, *HEAD]),
    "vector": ((12,), [D.dense(12, 8), D.norm(8), RELU, D.dense(8, 3), layer("Softmax")]),
    "image into dense": ((6, 6, 1), [UNIT, FLAT, D.dense(36, 8), RELU, D.dense(8, 3)]),
    "softmax, reshape": (
        (8, 8, 3), [*STEM, GAP, layer("Reshape", target_shape=[1, 1, 4]), layer("Dropout"),
                    D.conv(4, 3, 1), layer("Activation", activation="softmax"),
                    layer("Reshape", target_shape=[3])]),
    "normalization of channels": (
        (9, 9, 3),
        [("Normalization", {}, {"mean": [120.0, 100, 90], "variance": [900.0, 800, 9]}),
                    D.conv(3, 4, padding="valid"), RELU, *HEAD]),
    "relu at the end": ((8, 8, 3), [*STEM, GAP, D.dense(4, 3, activation="relu")]),
    "input norm of either sign": (
        (9, 9, 3),
        [layer("Rescaling", scale=1 / 64), MIXED, D.conv(3, 4, padding="valid"), RELU, *HEAD]),
    "normalization, relu": (
        (8, 8, 3), [*STEM, D.conv(4, 4),
                    ("Normalization", {}, {"mean": [0.2, -1, 0.5, 0], "variance": [2.0, 1, 3, 4]}),
                    RELU, *HEAD]),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", EQUAL)
def test_every_order_computes_the_same(tmp_path, name):
    """Against plain loops in float64, in the forms of Keras 2 and 3."""
    shape, layers = EQUAL[name]
    variant = list(EQUAL).index(name)
    written = write_keras(
        tmp_path / "m.h5", layers, shape, version=2 + variant % 2, functional=variant % 4 > 1
    )
    imported = aj.interop.from_keras(tmp_path / "m.h5")
    assert imported.report.changes == ()
    bits = 4 if shape[-1] not in (1, 3) else 8
    x = np.random.default_rng(3).integers(0, 2**bits, (2, *shape))
    expected = keras_reference.run(written, x)
    levels = x.reshape(2, *imported.network.input.input_shape).astype(np.uint8)
    y = imported.predict(levels)
    assert y.shape == expected.shape
    bound = rounding_bound(imported.network, levels).max(-1)
    assert bound.max() < 1e-3 * np.abs(expected).max()
    difference = np.abs(y - expected).reshape(2, -1).max(-1)
    assert (difference <= bound).all()


def test_fusing_says_what_changes(tmp_path):
    shape, layers = EQUAL["depthwise, norm, relu, pointwise"]
    write_keras(tmp_path / "m.h5", layers, shape)
    exact = aj.interop.from_keras(tmp_path / "m.h5")
    fused = aj.interop.from_keras(tmp_path / "m.h5", fuse=True)
    assert [layer.spec.kind for layer in exact.network.layers] == [
        "input_conv", "separable", "conv", "conv", "dense",
    ]  # fmt: skip
    assert [layer.spec.kind for layer in fused.network.layers] == [
        "input_conv", "separable", "dense",
    ]  # fmt: skip
    dropped, averaged = fused.report.changes
    assert "the activation between 'depthwiseconv2d_4' and 'conv2d_7' is dropped" in dropped
    assert "the average is taken in front of the activation" in averaged


def test_padding_between_two_levels_is_reported(tmp_path):
    layers = [layer("Rescaling", scale=1 / 127.5, offset=-1.0), D.conv(1, 4), RELU6, *HEAD]
    written = write_keras(tmp_path / "m.h5", layers, (8, 8, 1))
    imported = aj.interop.from_keras(tmp_path / "m.h5")
    assert imported.input_shift == 128
    assert len(imported.report.changes) == 1
    reach = float(imported.report.changes[0].split()[-1])
    x = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 1)).astype(np.uint8)
    # The first layer's sums differ by up to half a level times its weights, at the border alone.
    first = np.asarray(imported.network.outputs(jnp.asarray(x))[0][1])
    expected = keras_reference.run(written[:3], x)
    difference = np.abs(first - expected)
    assert difference[:, 1:-1, 1:-1].max() < 1e-5
    assert 1e-5 < difference.max() <= reach * 1.001


def test_an_imported_network_is_quantized_trained_and_converted(tmp_path):
    shape, layers = EQUAL["pool, norm, relu"]
    write_keras(tmp_path / "m.h5", layers, shape)
    network = aj.interop.from_keras(tmp_path / "m.h5").network
    x = np.random.default_rng(0).integers(0, 256, (8, *shape)).astype(np.uint8)
    before = network.layers[1].norm.mean[...]
    network(jnp.asarray(x), train=True)  # moves the statistics of its batch norm
    assert (network.layers[1].norm.mean[...] != before).any()
    twin = quant.quantize(network, calibration=x)
    model = aj.convert(twin)
    np.testing.assert_array_equal(model.forward(x), np.asarray(twin.forward(jnp.asarray(x))))


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"input_bits": 3}, "input_bits must be 1, 2, 4 or 8, got 3"),
        ({"input_scaling": (0, 1)}, "input_scaling must be a positive finite scale"),
        ({"input_scaling": 3}, r"input_scaling must be \(scale, shift\)"),
        ({"input_scaling": (2, 1)}, "input_scaling is for models without a rescaling"),
    ],
)
def test_arguments_out_of_range(tmp_path, options, match):
    shape, layers = EQUAL["relu at the end"]
    write_keras(tmp_path / "m.h5", layers, shape)
    with pytest.raises(ValueError, match=match):
        aj.interop.from_keras(tmp_path / "m.h5", **options)
