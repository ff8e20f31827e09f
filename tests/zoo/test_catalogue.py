import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import akida_jax as aj
from akida_jax import quant, zoo

SMALL_INPUT = {"input_shape": (16, 16, 2), "classes": 3}


def parameters(network):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(nnx.state(network))]


def test_list():
    assert zoo.list() == [
        "akida_small", "akida_small_edge", "akida_tiny", "akida_tiny_edge", "akidanet",
        "akidanet_ecg", "akidanet_edge", "akidanet_faces", "akidanet_plant_village", "ds_cnn",
        "ecg", "gxnor", "mobilenet", "mobilenet_faces", "pointnet", "vgg_like", "yolo",
    ]  # fmt: skip


def test_unknown_name_lists_the_known():
    message = "no model 'akida_huge' in the zoo; it has akida_small, akida_small_edge, ak"
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
    with pytest.raises(ValueError, match=r"bits must be three ints .*, got \(8, 4\)"):
        zoo.blank_model("akida_tiny", bits=(8, 4))


def test_published_widths_are_those_of_the_blank_model():
    """Edge: 1-bit spikes, a 2-bit classifier; GXNOR 2/2/1; age regression 8/2/2."""
    edge = {layer.name: layer for layer in zoo.blank_model("akidanet_edge").layers}
    assert (edge["spike_generator"].act_bits, edge["spike_generator"].weight_bits) == (1, 4)
    assert (edge["classifier"].weight_bits, edge["conv_0"].weight_bits) == (2, 8)
    gxnor = zoo.blank_model("gxnor")
    assert {layer.weight_bits for layer in gxnor.layers} == {2}
    assert {layer.act_bits for layer in gxnor.layers} == {1}
    assert [layer.weight_bits for layer in zoo.blank_model("vgg_like").layers] == [8] + [2] * 6
    assert zoo.published_widths("akidanet") == {"bits": (8, 4, 4), "overrides": ()}


# Small inputs; every option that changes a shape is there once.
SMALL = {
    "akida_small": {"input_shape": (16, 16, 2)},
    "akida_small_edge": {"input_shape": (16, 16, 2), "classes": 3, "spikes": 20},
    "akida_tiny": {"input_shape": (16, 16, 2)},
    "akida_tiny_edge": {"input_shape": (16, 16, 2), "classes": 3, "spikes": 20},
    "akidanet": {"alpha": 0.25, "input_shape": (64, 64, 3), "classes": 3},
    "akidanet_ecg": {"alpha": 0.25, "input_shape": (64, 64, 1), "hidden": 9},
    "akidanet_edge": {"alpha": 0.25, "input_shape": (64, 64, 3), "classes": 3, "spikes": 20},
    "akidanet_faces": {"alpha": 0.25, "input_shape": (64, 64, 3), "classes": None},
    "akidanet_plant_village": {"alpha": 0.25, "input_shape": (64, 64, 3), "hidden": 9},
    "ds_cnn": {"classes": 4},
    "ecg": {},
    "gxnor": {},
    "mobilenet": {"alpha": 0.25, "input_shape": (64, 64, 3), "classes": 3},
    "mobilenet_faces": {"alpha": 0.25, "input_shape": (64, 64, 3), "classes": 3, "embedding": 9},
    "pointnet": {"input_shape": (8, 16, 3), "classes": 3},
    "vgg_like": {},
    "yolo": {"alpha": 0.25, "input_shape": (64, 64, 3), "anchors": 2},
}


def test_every_architecture_has_its_small_form():
    assert sorted(SMALL) == zoo.list()


@pytest.mark.compiled
@pytest.mark.slow
@pytest.mark.parametrize("name", zoo.list())
def test_every_architecture_computes_the_same_integers(name, rng):
    """Quantized Flax, dense and event executor, random weights, published widths."""
    network = zoo.build(name, **SMALL[name])
    limit = 2**network.input.input_bits - 1
    x = rng.integers(0, limit + 1, (3, *network.input.input_shape)).astype(np.uint8)
    x[rng.random(x.shape) < 0.5] = 0
    widths = zoo.published_widths(name)
    # Random weights would not reach a fixed range: calibration chooses every one.
    rules = [dataclasses.replace(rule, max_activation=None) for rule in widths["overrides"]]
    twin = quant.quantize(network, calibration=x, bits=widths["bits"], overrides=rules)
    model = aj.convert(twin)
    assert model.layers == zoo.blank_model(name, **SMALL[name]).layers
    expected = nnx.jit(lambda twin, x: twin.forward(x))(twin, x)
    assert np.abs(expected).max() > 0
    for executor in ("dense", "event"):
        np.testing.assert_array_equal(model.forward(x, executor=executor), expected)


def test_the_seed_decides_the_weights():
    first, again, other = (
        parameters(zoo.build("akida_tiny", seed=seed, **SMALL_INPUT)) for seed in (0, 0, 1)
    )
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b, strict=True)
    assert any((a != b).any() for a, b in zip(first, other, strict=True))
