import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from akida_jax import zoo

# Table 7 of the paper gives parameters in millions to two places, and whole millions of
# operations, cut off.
VARIANTS = {
    "akida_tiny": {"weights": 137_248, "macs": 2_985_856, "millions": 0.14, "mops": 2},
    "akida_small": {"weights": 316_096, "macs": 11_833_216, "millions": 0.32, "mops": 11},
}
SHAPES = {
    "akida_tiny": [(16, 16, 16), (8, 8, 16), (4, 4, 32), (2, 2, 64), (1, 1, 128)],
    "akida_small": [(16, 16, 32), (8, 8, 64), (4, 4, 64), (2, 2, 128), (1, 1, 128)],
}


@pytest.fixture(scope="module", params=sorted(VARIANTS))
def variant(request):
    return request.param, zoo.build(request.param)


def kernels(network):
    """Return the size of every weight array by its path."""
    flat = nnx.to_flat_state(nnx.state(network, nnx.Param))
    return {path: value.size for path, value in flat if value.ndim > 1}


def test_weights_and_operations_are_the_papers(variant):
    name, network = variant
    expected = VARIANTS[name]
    weights = sum(layer.spec.n_weights(layer.in_shape) for layer in network.layers)
    macs = sum(layer.spec.macs(layer.in_shape) for layer in network.layers)
    assert (weights, macs) == (expected["weights"], expected["macs"])
    assert round(weights / 1e6, 2) == expected["millions"]
    assert macs // 10**6 == expected["mops"]


def test_weights_are_those_of_the_arrays(variant):
    name, network = variant
    assert sum(kernels(network).values()) == VARIANTS[name]["weights"]


def test_tiny_operations_by_hand():
    convolutions = (
        32 * 32 * 10 * 16 + 16 * 16 * 16 * 16 + 8 * 8 * 16 * 32 + 4 * 4 * 32 * 64 + 2 * 2 * 64 * 128
    )
    head = 9 * 128 + 128 * 256 + 256 * 11
    assert 9 * convolutions + head == VARIANTS["akida_tiny"]["macs"]


def test_shapes_from_layer_to_layer(variant):
    name, network = variant
    assert network.input.input_shape == (32, 32, 10)
    assert network.input.input_bits == 4
    outputs = [layer.spec.out_shape(layer.in_shape) for layer in network.layers]
    assert outputs == [*SHAPES[name], (1, 1, 256), (1, 1, 11)]
    names = [layer.spec.name for layer in network.layers]
    assert names == ["conv_0", "conv_1", "conv_2", "conv_3", "conv_4", "separable_5", "dense_6"]
    assert [layer.spec.activation for layer in network.layers] == [True] * 6 + [False]


def test_logits(variant):
    _, network = variant
    logits = jax.eval_shape(network, jax.ShapeDtypeStruct((3, 32, 32, 10), jnp.uint8))
    assert (logits.shape, logits.dtype) == ((3, 11), np.float32)


def test_other_classes_and_input_shape():
    network = zoo.build("akida_tiny", classes=4, input_shape=(16, 24, 6))
    assert network.layers[0].spec.kernel_shapes(network.layers[0].in_shape) == {
        "kernel": (3, 3, 6, 16)
    }
    logits = jax.eval_shape(network, jax.ShapeDtypeStruct((2, 16, 24, 6), jnp.uint8))
    assert logits.shape == (2, 4)
