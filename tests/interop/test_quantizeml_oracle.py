"""quantizeml itself, where it is installed (extra ``quantizeml``), beside what is imported."""

import numpy as np
import pytest

import akida_jax as aj
from tests.interop.exact import half_up, read_exact, run_layers
from tests.interop.test_exports import MODELS, random_variables

quantizeml = pytest.importorskip("quantizeml", reason="extra quantizeml is not installed")


def inputs(model):
    limit = 2**model.input_bits
    x = np.random.default_rng(1).integers(0, limit, (4, *model.input_shape))
    return x.astype(np.uint8 if limit > 16 else np.int8)


def assert_same_outputs(path, keras, x):
    """Its logits, computed in float32, equal those of the exact integers.

    They are one product of an integer below 2**24 and a scale: a few roundings.
    """
    *_, (layer, _, logits) = run_layers(read_exact(path), x, half_up)
    assert not layer.spec.activation
    y = np.asarray(keras(x)).reshape(len(x), -1)
    expected = logits.reshape(len(x), -1)
    assert np.abs(expected).max() > 0
    np.testing.assert_allclose(y, expected, rtol=8 * 2.0**-24, atol=1e-7 * np.abs(expected).max())


@pytest.mark.parametrize("name", MODELS)
def test_it_runs_what_is_exported(tmp_path, name):
    model = random_variables(aj.Model(MODELS[name]))
    aj.interop.to_keras(model, tmp_path / "m.h5")
    keras = quantizeml.load_model(str(tmp_path / "m.h5"))
    assert_same_outputs(tmp_path / "m.h5", keras, inputs(model))


def build(shape, first):
    """Return a float Keras model with every layer type of the first generation."""
    from tf_keras import layers as k
    from tf_keras import models

    return models.Sequential([
        k.Input(shape, dtype="uint8"), *first,
        k.BatchNormalization(), k.ReLU(6.0),
        k.Conv2D(8, 3, padding="same"), k.MaxPool2D(2, padding="same"), k.ReLU(6.0),
        k.SeparableConv2D(8, 3, padding="same", use_bias=False), k.BatchNormalization(),
        k.ReLU(4.0),
        k.SeparableConv2D(12, 3, strides=2, padding="same"), k.GlobalAveragePooling2D(),
        k.ReLU(6.0),
        k.Dense(10), k.ReLU(6.0), k.Dense(4),
    ])  # fmt: skip


@pytest.mark.parametrize("offset", [0.0, -1.0])
@pytest.mark.parametrize("bits", [2, 4])
def test_what_it_quantizes_is_imported(tmp_path, offset, bits):
    import tf_keras
    from quantizeml.models import QuantizationParams, quantize
    from tf_keras import layers as k

    tf_keras.utils.set_random_seed(3)
    first = [k.Rescaling(1 / 128, offset), k.Conv2D(6, 3, strides=2, padding="same")]
    model = build((16, 16, 3), first)
    rng = np.random.default_rng(4)
    for w in model.weights:  # biases too, and no dead channels
        w.assign_add(np.abs(rng.normal(scale=0.1, size=w.shape)).astype(np.float32))
    x = np.random.default_rng(5).integers(0, 256, (8, 16, 16, 3)).astype(np.uint8)
    params = QuantizationParams(
        input_weight_bits=8, weight_bits=bits, activation_bits=4, per_tensor_activations=True
    )
    keras = quantize(model, qparams=params, samples=x, num_samples=8, batch_size=8)
    keras.save(tmp_path / "m.h5")
    assert_same_outputs(tmp_path / "m.h5", keras, x)
    imported = aj.interop.from_keras(tmp_path / "m.h5")
    assert len(imported.model.layers) == 6
    classes = np.asarray(keras(x)).argmax(-1)
    assert (imported.predict(x).argmax(-1) == classes).mean() >= 0.75
