import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from akida_jax import zoo

SMALL_INPUT = {"input_shape": (16, 16, 2), "classes": 3}


def parameters(network):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(nnx.state(network))]


def test_list():
    assert zoo.list() == ["akida_small", "akida_tiny", "akidanet", "mobilenet"]


def test_unknown_name_lists_the_known():
    message = "no model 'akida_huge' in the zoo; it has akida_small, akida_tiny, akidanet"
    for function in (zoo.build, zoo.blank_model):
        with pytest.raises(ValueError, match=message):
            function("akida_huge")


def test_unknown_option_is_named():
    with pytest.raises(TypeError, match="widths"):
        zoo.build("akida_tiny", widths=3)


def test_without_bits_the_network_is_float():
    assert not zoo.build("akida_tiny", **SMALL_INPUT).quantized


@pytest.mark.parametrize(("bits", "act_bits"), [((8, 4, 4), 4), ((8, 2, 1), 1)])
def test_bits_give_the_quantized_twin(bits, act_bits):
    network = zoo.build("akida_tiny", bits=bits, **SMALL_INPUT)
    assert network.quantized
    precisions = [layer.precision for layer in network.layers]
    # The first layer is no input convolution, so the 8 bits concern none.
    assert {p.weight_bits for p in precisions} == {bits[1]}
    assert {p.act_bits for p in precisions} == {act_bits}
    assert [p.input_bits for p in precisions] == [4] + [act_bits] * 6
    logits = jax.eval_shape(network, jax.ShapeDtypeStruct((2, 16, 16, 2), jnp.uint8))
    assert logits.shape == (2, 3)


def test_bits_that_the_chip_lacks_are_refused():
    with pytest.raises(ValueError, match="layer 'conv_0': weight bits must be 2, 4 or 8, got 3"):
        zoo.build("akida_tiny", bits=(8, 3, 4), **SMALL_INPUT)


def test_the_seed_decides_the_weights():
    first, again, other = (
        parameters(zoo.build("akida_tiny", seed=seed, **SMALL_INPUT)) for seed in (0, 0, 1)
    )
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b, strict=True)
    assert any((a != b).any() for a, b in zip(first, other, strict=True))
