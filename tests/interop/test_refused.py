"""What would change the function without a word is refused, by the name of its layer."""

import json
import os

import h5py
import numpy as np
import pytest

import akida_jax as aj
from tests.interop.keras_writer import write_keras
from tests.interop.test_exports import random_variables
from tests.interop.test_float_models import FLAT, GAP, HEAD, RELU, RELU6, STEM, Draw, layer

D = Draw(11)
PAD = layer("ZeroPadding2D", padding=[[1, 1], [1, 1]])
SOFTMAX = layer("Activation", activation="softmax")


def faults(tmp_path, layers, shape=(8, 8, 3), **options):
    """Return kind of layer and text of every fault of an import."""
    names = [settings["name"] for _, settings, _ in write_keras(tmp_path / "m.h5", layers, shape)]
    with pytest.raises(aj.interop.KerasModelError) as caught:
        aj.interop.from_keras(tmp_path / "m.h5", **options)
    return [(names.index(fault.layer), fault.what) for fault in caught.value.faults]


def test_padding_between_two_linear_maps(tmp_path):
    layers = [*STEM, D.conv(4, 4), PAD, D.conv(4, 4, 1, padding="valid"), RELU, *HEAD]
    ((place, what),) = faults(tmp_path, layers)
    assert place == 6
    assert "nothing stands between it and layer 'conv2d_4'" in what


def test_padding_in_front_of_a_pointwise_layer_that_would_be_fused(tmp_path):
    layers = [*STEM, D.depthwise(4), RELU6, PAD, D.conv(4, 4, 1, padding="valid"), RELU6, *HEAD]
    ((place, what),) = faults(tmp_path, layers, fuse=True)
    assert place == 7
    assert "kernel 1x1, stride 1, padding ((1, 1), (1, 1))" in what


@pytest.mark.parametrize("behind", [[], [layer("Dropout")]])
def test_padding_that_ends_the_model(tmp_path, behind):
    assert faults(tmp_path, [*STEM, PAD, *behind]) == [(4, "a ZeroPadding2D ends the model")]


def average(**config):
    return layer("AveragePooling2D", pool_size=[8, 8], **config)


def test_an_average_with_several_windows(tmp_path):
    pool = average(strides=[4, 4], padding="same")
    ((place, what),) = faults(tmp_path, [*STEM, pool, D.conv(4, 4, 1), RELU, *HEAD])
    assert place == 4
    assert what == "an average over 8x8, stride 4x4, padding 'same' of a map 8x8"


@pytest.mark.parametrize(
    "config", [{"strides": None, "padding": "same"}, {"strides": [4, 4], "padding": "valid"}]
)
def test_an_average_over_the_whole_map(tmp_path, config):
    dense = D.dense(4, 3)
    x = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3)).astype(np.uint8)
    found = []
    for pool in ([average(**config), FLAT], [GAP]):
        write_keras(tmp_path / "m.h5", [*STEM, *pool, dense], (8, 8, 3))
        found.append(aj.interop.from_keras(tmp_path / "m.h5").predict(x))
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize("shape", [FLAT, layer("Reshape", target_shape=[8, 32])])
def test_a_softmax_whose_axis_is_changed(tmp_path, shape):
    ((place, what),) = faults(tmp_path, [*STEM, D.conv(4, 4), SOFTMAX, shape])
    assert place == 6
    assert "from the 4 channels of a softmax" in what


@pytest.mark.parametrize("axis", [1, 2, -2, [1, 2]])
def test_a_softmax_over_another_axis(tmp_path, axis):
    layers = [*STEM, D.conv(4, 4), layer("Softmax", axis=axis)]
    assert faults(tmp_path, layers) == [(5, f"a softmax over axis {axis}")]


@pytest.mark.parametrize("axis", [-1, 3, [-1]])
def test_a_softmax_over_the_channels_of_a_map(tmp_path, axis):
    layers = [*STEM, D.conv(4, 4), layer("Softmax", axis=axis),
              layer("Reshape", target_shape=[64, 4])]  # fmt: skip
    write_keras(tmp_path / "m.h5", layers, (8, 8, 3))
    y = aj.interop.from_keras(tmp_path / "m.h5").predict(np.ones((1, 8, 8, 3), np.uint8))
    assert y.shape == (1, 64, 4)
    np.testing.assert_allclose(y.sum(-1), 1, rtol=8 * 2.0**-24)  # four terms and a quotient


def test_a_gain_of_zero_on_the_input(tmp_path):
    kind, config, weights = D.norm(3)
    weights["gamma"][1] = 0
    layers = [layer("Rescaling", scale=1 / 255), (kind, config, weights), *STEM[1:], *HEAD]
    assert faults(tmp_path, layers) == [(1, "a gain of 0 on the input")]


@pytest.mark.parametrize(
    ("odd", "what"),
    [
        (layer("ReLU", max_value=0), "a ReLU with max_value 0"),
        (layer("Rescaling", scale=0), "a rescaling by 0"),
        (("Conv2D", {"groups": 2}, {"kernel": np.ones((3, 3, 2, 5))}),
         "2 groups of 5 filters"),
    ],
)  # fmt: skip
def test_values_that_keras_takes(tmp_path, odd, what):
    assert faults(tmp_path, [*STEM, D.conv(4, 4), RELU, odd, *HEAD]) == [(6, what)]


def test_names_that_inserted_layers_would_have(tmp_path):
    pool = layer("MaxPooling2D")
    layers = [*STEM, D.conv(4, 4), RELU, pool, layer("MaxPooling2D", name="max"), FLAT,
              D.dense(16, 4), RELU, D.dense(4, 3, name="max_identity")]  # fmt: skip
    write_keras(tmp_path / "m.h5", layers, (8, 8, 3))
    network = aj.interop.from_keras(tmp_path / "m.h5").network
    names = [one.spec.name for one in network.layers]
    assert {"max_identity", "max_identity_2"} <= set(names)
    assert len(set(names)) == len(names)


def test_a_rescaling_that_quantizeml_cannot_hold(tmp_path):
    layers = [aj.InputConvolutional(input_shape=(8, 8, 1), filters=2, kernel_size=3, name="conv"),
              aj.FullyConnected(units=2, activation=False, name="dense")]  # fmt: skip
    aj.interop.to_keras(random_variables(aj.Model(layers)), tmp_path / "m.h5")
    with h5py.File(tmp_path / "m.h5", "a") as file:
        config = json.loads(file.attrs["model_config"])
        config["config"]["layers"][1]["config"]["offset"] = -1
        file.attrs["model_config"] = json.dumps(config)
    with pytest.raises(aj.interop.KerasModelError) as caught:
        aj.interop.from_keras(tmp_path / "m.h5")
    (fault,) = caught.value.faults
    assert fault.layer == "rescaling"
    assert fault.what == "an offset of -1 on the input of a quantizeml model"


def test_a_shift_given_for_quantizeml(tmp_path):
    layers = [aj.InputData(input_shape=(1, 1, 4), name="input"),
              aj.FullyConnected(units=2, activation=False, name="dense")]  # fmt: skip
    aj.interop.to_keras(random_variables(aj.Model(layers)), tmp_path / "m.h5")
    with pytest.raises(ValueError, match=r"input_scaling .*: an offset of -1 on the input"):
        aj.interop.from_keras(tmp_path / "m.h5", input_scaling=(1, 1), input_bits=8)


def test_a_pipe(tmp_path):
    """Opened, it would wait without end."""
    os.mkfifo(tmp_path / "m.h5")
    with pytest.raises(aj.interop.KerasFileError, match=r"m\.h5: no regular file"):
        aj.interop.from_keras(tmp_path / "m.h5")
