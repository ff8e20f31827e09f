"""Models of cnn2snn written by hand, against plain loops over the quantized floats."""

import numpy as np
import pytest

import akida_jax as aj
from tests.interop import keras_reference
from tests.interop.exact import by_thresholds, read_exact, run_layers
from tests.interop.keras_writer import write_keras


def quantizer(kind, bits, **config):
    return {"class_name": kind, "config": {"bitwidth": bits, **config}}


def discretize(settings, w):
    """Quantized floats: levels over the scale, as the package documents them."""
    w = np.asarray(w, np.float32)
    k = 2 ** (settings["config"]["bitwidth"] - 1) - 1
    per_axis = "PerAxis" in settings["class_name"]
    columns = w.reshape(-1, w.shape[-1] if per_axis else 1)
    scales = []
    for column in columns.T:
        extent = np.abs(column).max() if "Max" in settings["class_name"] else 3 * column.std()
        scales.append(min(np.float32(k) / max(np.float32(extent), np.float32(1e-10)), 1000))
    d = np.array(scales, np.float32)
    return np.clip(np.round(w * d), -k, k).astype(np.float64) / d


def relu(config, weights, x):
    del weights
    top = 2 ** config["bitwidth"] - 1
    s = (top if config["max_value"] is None else config["max_value"]) / top
    return s * np.clip(np.ceil((x - s / 2) / s), 0, top)


def conv(config, weights, x):
    kernel = discretize(config["quantizer"], weights["kernel"])
    return keras_reference.conv(config, weights | {"kernel": kernel}, x)


def separable(config, weights, x):
    quantized = {
        "depthwise_kernel": discretize(config["quantizer_dw"], weights["depthwise_kernel"]),
        "pointwise_kernel": discretize(config["quantizer"], weights["pointwise_kernel"]),
    }
    return keras_reference.separable(config, weights | quantized, x)


def dense(config, weights, x):
    return x @ discretize(config["quantizer"], weights["kernel"]) + weights.get("bias", 0)


@pytest.fixture
def reference(monkeypatch):
    for kind, function in (("QuantizedConv2D", conv), ("QuantizedSeparableConv2D", separable),
                           ("QuantizedDense", dense), ("QuantizedReLU", relu)):  # fmt: skip
        monkeypatch.setitem(keras_reference.LAYERS, kind, function)
    return keras_reference


RNG = np.random.default_rng(8)
WINDOW = {"padding": "same", "strides": [1, 1], "dilation_rate": [1, 1], "groups": 1}


def qconv(c, f, k, how, *, bias=True, **config):
    weights = {"kernel": RNG.normal(size=(k, k, c, f))}
    if bias:
        weights["bias"] = RNG.normal(size=f)
    return "QuantizedConv2D", {**WINDOW, "use_bias": bias, "quantizer": how, **config}, weights


def qseparable(c, f, dw, pw, **config):
    weights = {
        "depthwise_kernel": RNG.normal(size=(3, 3, c, 1)),
        "pointwise_kernel": RNG.normal(size=(1, 1, c, f)),
        "bias": RNG.normal(size=f),
    }
    return "QuantizedSeparableConv2D", {**WINDOW, "use_bias": True, "quantizer": pw,
                                        "quantizer_dw": dw, **config}, weights  # fmt: skip


def qdense(n, units, how):
    weights = {"kernel": RNG.normal(size=(n, units)), "bias": RNG.normal(size=units)}
    return "QuantizedDense", {"use_bias": True, "quantizer": how}, weights


def qrelu(bits=4, top=6.0):
    return "QuantizedReLU", {"bitwidth": bits, "max_value": top}, {}


def norm(c):
    return "BatchNormalization", {"axis": [-1], "epsilon": 1e-3}, {
        "gamma": RNG.normal(size=c) + 0.1, "beta": RNG.normal(size=c),
        "moving_mean": RNG.normal(size=c), "moving_variance": RNG.uniform(0.5, 2, size=c),
    }  # fmt: skip


AXIS, TENSOR = quantizer("MaxPerAxisQuantizer", 4), quantizer("MaxQuantizer", 4)
STD, STD_AXIS = quantizer("StdWeightQuantizer", 4, threshold=3), quantizer(
    "StdPerAxisQuantizer", 4, threshold=3)  # fmt: skip
EIGHT, TWO = quantizer("MaxPerAxisQuantizer", 8), quantizer("MaxPerAxisQuantizer", 2)
GAP, POOL = ("GlobalAveragePooling2D", {"keepdims": False}, {}), ("MaxPooling2D", {}, {})
MODELS = {
    "shifted image": ((8, 8, 3), [("Rescaling", {"scale": 1 / 128, "offset": -1.0}, {}),
        qconv(3, 4, 3, EIGHT, strides=[2, 2]), qrelu(), qseparable(4, 4, TENSOR, AXIS), GAP,
        qrelu(), qdense(4, 3, AXIS)]),
    "one bit, two bits": ((8, 8, 1), [("Rescaling", {"scale": 1 / 255, "offset": 0.0}, {}),
        qconv(1, 4, 3, quantizer("MaxPerAxisQuantizer", 2), bias=False), POOL, qrelu(1, 1.0),
        qconv(4, 4, 3, TWO), GAP, qrelu(2, None), qdense(4, 3, TWO)]),
    "standard deviations": ((6, 6, 5), [qconv(5, 4, 3, STD), qrelu(),
        qconv(4, 4, 1, STD_AXIS), GAP, qrelu(4, 2.5), qdense(4, 3, STD)]),
    "norm not folded": ((8, 8, 1), [("Rescaling", {"scale": 1 / 255, "offset": 0.0}, {}),
        qconv(1, 4, 3, EIGHT), norm(4), qrelu(), qseparable(4, 4, TENSOR, AXIS), norm(4), GAP,
        qrelu(), qdense(4, 3, AXIS)]),
    "pool behind the activation, then dense": ((8, 8, 1), [
        ("Rescaling", {"scale": 1 / 255, "offset": 0.0}, {}), qconv(1, 4, 3, EIGHT), qrelu(),
        qconv(4, 4, 3, AXIS), qrelu(), POOL, ("Flatten", {}, {}), qdense(64, 3, AXIS)]),
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_real_thresholds_compute_what_keras_does(tmp_path, reference, name):
    shape, layers = MODELS[name]
    written = write_keras(tmp_path / "m.h5", layers, shape)
    x = np.random.default_rng(2).integers(0, 16 if shape[2] == 5 else 256, (3, *shape))
    expected = reference.run(written, x)
    *_, (_, _, logits) = run_layers(read_exact(tmp_path / "m.h5"), x, by_thresholds)
    # Both in float64, from scales in float32: 2**-24 each, a few of them in a row.
    np.testing.assert_allclose(logits.reshape(3, -1), expected.reshape(3, -1), rtol=1e-6, atol=1e-6)
    model = aj.interop.from_keras(tmp_path / "m.h5").model
    assert model.forward(x.astype(np.uint8)).shape == (3, 1, 1, 3)


@pytest.mark.parametrize("bias", [-0.7, 1.3, 300.0])
@pytest.mark.parametrize("name", MODELS)
def test_filters_without_weights(tmp_path, reference, name, bias):
    """Pruned filters return the level or logit of their bias, whose scale fits no register."""
    shape, layers = MODELS[name]
    layers = [(kind, config, dict(weights)) for kind, config, weights in layers]
    for _, config, weights in layers:
        for key in ("kernel", "pointwise_kernel"):
            if key in weights:
                weights[key] = weights[key].copy()
                weights[key][..., 1] = 0
        if config.get("use_bias"):
            weights["bias"] = weights["bias"].copy()
            weights["bias"][1] = bias
    written = write_keras(tmp_path / "m.h5", layers, shape)
    x = np.random.default_rng(2).integers(0, 16 if shape[2] == 5 else 256, (3, *shape))
    expected = reference.run(written, x).reshape(3, -1)
    *_, (_, _, logits) = run_layers(read_exact(tmp_path / "m.h5"), x, by_thresholds)
    logits = logits.reshape(3, -1)
    used = np.arange(logits.shape[1]) != 1
    np.testing.assert_allclose(logits[:, used], expected[:, used], rtol=1e-6, atol=1e-6)
    # The step of a logit up to 2**18 / 2**9 is 2**9 at least: half of one potential.
    np.testing.assert_allclose(logits[:, 1], expected[:, 1], atol=2.0**-10)
    imported = aj.interop.from_keras(tmp_path / "m.h5")
    assert "no weights in filters 1" in str(imported.report)


@pytest.mark.parametrize("activation", ["relu", "relu6", "tanh"])
def test_a_float_activation_inside_a_quantized_layer(tmp_path, activation):
    kind, config, weights = qconv(1, 4, 3, EIGHT)
    config["activation"] = activation
    layers = [(kind, config, weights), qrelu(), ("Flatten", {}, {}), qdense(256, 3, AXIS)]
    write_keras(tmp_path / "m.h5", layers, (8, 8, 1))
    with pytest.raises(aj.interop.KerasModelError, match=rf"quantizedconv2d_0.*\({activation}\)"):
        aj.interop.from_keras(tmp_path / "m.h5")


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_the_last_layers_own_activation(tmp_path, reference, activation):
    kind, config, weights = qdense(12, 3, AXIS)
    layers = [(kind, config | {"activation": activation}, weights)]
    written = write_keras(tmp_path / "m.h5", layers, (12,))
    x = np.random.default_rng(2).integers(0, 16, (3, 12))
    imported = aj.interop.from_keras(tmp_path / "m.h5")
    assert imported.final_activation == activation
    *_, (_, _, logits) = run_layers(
        read_exact(tmp_path / "m.h5"), x.reshape(3, 1, 1, 12), by_thresholds
    )
    exact = keras_reference.activate(activation, logits.reshape(3, 3))
    # Scales in float32, 2**-24 each; logits below 100.
    np.testing.assert_allclose(exact, reference.run(written, x), atol=1e-4)
    levels = x.reshape(3, 1, 1, 12).astype(np.uint8)
    held = np.asarray(imported.model.predict(levels)).reshape(3, 3)
    np.testing.assert_array_equal(
        imported.predict(levels), keras_reference.activate(activation, held)
    )


def test_a_softmax_between_quantized_layers(tmp_path):
    kind, config, weights = qdense(12, 3, AXIS)
    layers = [(kind, config | {"activation": "softmax"}, weights), qdense(3, 3, AXIS)]
    write_keras(tmp_path / "m.h5", layers, (12,))
    with pytest.raises(aj.interop.KerasModelError, match="stands behind a softmax"):
        aj.interop.from_keras(tmp_path / "m.h5")


def test_a_float_layer_among_quantized_ones(tmp_path):
    layers = [qconv(1, 4, 3, EIGHT), ("ReLU", {}, {}), qdense(256, 3, AXIS)]
    write_keras(tmp_path / "m.h5", layers, (8, 8, 1))
    with pytest.raises(aj.interop.KerasModelError, match="a float activation in a quantized model"):
        aj.interop.from_keras(tmp_path / "m.h5")


def test_an_average_behind_the_activation(tmp_path):
    layers = [qconv(1, 4, 3, EIGHT), qrelu(), GAP, qdense(4, 3, AXIS)]
    write_keras(tmp_path / "m.h5", layers, (8, 8, 1))
    with pytest.raises(aj.interop.KerasModelError, match="another layer in between, which rounds"):
        aj.interop.from_keras(tmp_path / "m.h5")
