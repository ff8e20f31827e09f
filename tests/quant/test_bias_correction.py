import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from akida_jax import quant


def make_network(n_classes=3):
    layers = [
        quant.InputConv(input_shape=(9, 8, 3), filters=4, kernel_size=3, pool="max"),
        quant.SeparableConv(filters=6, kernel_size=3),
        quant.Conv(filters=5, kernel_size=3, pool="global_average"),
        quant.Dense(units=n_classes, activation=False),
    ]
    return quant.Sequential(layers, rngs=nnx.Rngs(1), input_shift=20)


@pytest.fixture
def samples(rng):
    return rng.integers(0, 256, (20, 9, 8, 3), dtype=np.uint8)


def mean_outputs(network, x):
    return np.asarray(network(jnp.asarray(x))).mean(0)


@pytest.mark.slow
@pytest.mark.parametrize("bits", [(8, 4, 4), (8, 2, 2)])
def test_the_last_layer_has_the_float_networks_mean(samples, bits):
    network = make_network()
    twin = quant.quantize(network, bits=bits, calibration=samples)
    corrected = quant.correct_biases(twin, network, samples)
    wanted = mean_outputs(network, samples)
    before = np.abs(mean_outputs(twin, samples) - wanted).max()
    after = np.abs(mean_outputs(corrected, samples) - wanted).max()
    # What is left: the threshold is rounded down to a whole potential, and the step of the
    # logits is cut to four fractional bits, a share of 2**-4 of logits below 10.
    last = corrected.integers()[-1]
    steps = np.asarray(last.firing.raw_step) / 16
    assert after <= (1 / steps + 10 * 2**-4 / steps).max()
    assert after < before


def test_the_twin_and_the_weights_stay_as_they_are(samples):
    network = make_network()
    twin = quant.quantize(network, calibration=samples)
    biases = [np.asarray(layer.bias[...]) for layer in twin.layers]
    corrected = quant.correct_biases(twin, network, samples)
    for layer, bias, new in zip(twin.layers, biases, corrected.layers, strict=True):
        np.testing.assert_array_equal(layer.bias[...], bias, strict=True)
        np.testing.assert_array_equal(layer.kernel[...], new.kernel[...], strict=True)
        assert (np.asarray(new.bias[...]) != bias).any()


def test_refusals(samples):
    network = make_network()
    twin = quant.quantize(network)
    with pytest.raises(ValueError, match="takes a quantized twin and its float network"):
        quant.correct_biases(network, twin, samples)
    with pytest.raises(ValueError, match="the twin has other layers than the float network"):
        quant.correct_biases(twin, make_network(n_classes=4), samples)
    with pytest.raises(ValueError, match="calibration holds no inputs"):
        quant.correct_biases(twin, network, samples[:0])
    with pytest.raises(ValueError, match=r"calibration: .*shape"):
        quant.correct_biases(twin, network, samples[:, 1:])
