"""What would change the function without a word is refused, by the name of its layer."""

import numpy as np
import pytest

import akida_jax as aj
from tests.interop.keras_writer import write_keras
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
