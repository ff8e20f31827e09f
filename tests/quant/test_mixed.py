"""Layers that choose their weight width: always integers of one width, gradient of all."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import akida_jax as aj
from akida_jax import quant
from akida_jax.quant.exact import snap
from akida_jax.quant.mixed import MixedLayer
from akida_jax.quant.weights import fake_levels

LAYERS = [
    quant.InputConv(input_shape=(8, 8, 1), filters=3, kernel_size=3, name="first"),
    quant.Conv(filters=4, kernel_size=3, pool="max", name="conv"),
    quant.SeparableConv(filters=5, kernel_size=3, pool="global_average", name="sep"),
    quant.Dense(units=3, activation=False, name="head"),
]
NAMES = ("conv", "sep", "head")


def make_twin(bits=(8, 4, 4)):
    return quant.quantize(quant.Sequential(LAYERS, rngs=nnx.Rngs(0)), bits=bits)


def choose(network, widths):
    """Set the logits so that each layer has its width."""
    for layer in quant.mixed_layers(network):
        wanted = [float(bits == widths[layer.spec.name]) for bits in layer.widths]
        layer.choice[...] = jnp.array(wanted)
    return network


@pytest.fixture
def images(rng):
    return rng.integers(0, 256, (5, 8, 8, 1)).astype(np.uint8)


def test_its_own_width_counts_at_first(images):
    twin = make_twin()
    mixed = quant.mix(twin)
    assert quant.chosen_widths(mixed) == dict.fromkeys(NAMES, 4)
    np.testing.assert_array_equal(mixed.forward(images), twin.forward(images))
    two = quant.mix(make_twin((8, 2, 4)))
    assert quant.chosen_widths(two) == dict.fromkeys(NAMES, 2)
    share = np.exp(1) / (1 + np.exp(1))
    # A softmax in float32.
    np.testing.assert_allclose(quant.width_probabilities(two)["sep"], [share, 1 - share], rtol=1e-6)


@pytest.mark.compiled
@pytest.mark.parametrize("bits", [(2, 4, 4), (4, 2, 2)])
def test_the_searched_the_fixed_and_the_converted_network_are_one(images, bits):
    widths = dict(zip(NAMES, bits, strict=True))
    mixed = choose(quant.mix(make_twin()), widths)
    assert quant.chosen_widths(mixed) == widths
    fixed = quant.fix_widths(mixed, widths)
    model = aj.convert(fixed)
    np.testing.assert_array_equal(mixed.forward(images), model.forward(images, "dense"))
    np.testing.assert_array_equal(mixed(images), fixed(images))
    np.testing.assert_array_equal(jax.jit(lambda x: mixed(x))(images), model.predict(images))
    assert {p.spec.name: p.spec.weight_bits for p in model.programs} == {"first": 8, **widths}
    rules = [quant.Rule(layers=name, weight_bits=n) for name, n in widths.items()]
    float_network = quant.Sequential(LAYERS, rngs=nnx.Rngs(0))
    same = aj.convert(quant.quantize(float_network, overrides=rules))
    np.testing.assert_array_equal(same.forward(images), model.forward(images))


def test_the_gradient_of_the_choice_in_closed_form(rng):
    """A layer without activation is linear in the shares of its widths."""
    layers = [
        quant.InputData(input_shape=(1, 1, 6), input_bits=4),
        quant.Dense(units=3, activation=False, name="head"),
    ]
    twin = quant.quantize(quant.Sequential(layers, rngs=nnx.Rngs(1), batch_norm=False))
    mixed = quant.mix(twin)
    x = jnp.array(rng.integers(0, 16, (4, 1, 1, 6)).astype(np.float32))
    weights = jnp.array(rng.normal(size=(4, 3)), jnp.float32)
    graph, choice, rest = nnx.split(mixed, quant.Choice, ...)

    def loss(choice):
        return (nnx.merge(graph, choice, rest)(x) * weights).sum()

    (slope,) = jax.tree.leaves(jax.grad(loss)(choice))
    layer = mixed.layers[0]
    step = mixed.input_step
    terms = []
    for bits in layer.widths:
        levels = layer._derive(bits, snap(step.value), 0).weights["kernel"]
        real = fake_levels(layer.kernel[...], levels) / levels.scale.value
        terms.append(float((x[:, 0, 0] @ real[0, 0] * step.value * weights).sum()))
    p = np.asarray(layer.probabilities(), float)
    expected = p * (np.array(terms) - p @ np.array(terms))
    # Sums of 72 products in float32: relative to the largest term.
    np.testing.assert_allclose(slope, expected, rtol=0, atol=1e-5 * np.abs(terms).max())
    assert np.abs(slope).max() > 0


def test_widths_are_drawn_with_their_probability():
    mixed = choose(quant.mix(make_twin()), dict.fromkeys(NAMES, 4))
    quant.set_temperature(mixed, 0.5)
    graph, state = nnx.split(mixed)

    @jax.jit
    def draw(key):
        network = nnx.merge(graph, state, copy=True)
        quant.draw_widths(network, key)
        return jnp.stack([layer.chosen() for layer in quant.mixed_layers(network)])

    drawn = np.asarray(jax.vmap(draw)(jax.random.split(jax.random.key(0), 2000)))
    share = 1 / (1 + np.exp(-1 / 0.5))
    # Five standard deviations of a share of 2000 draws.
    allowed = 5 * (share * (1 - share) / 2000) ** 0.5
    np.testing.assert_allclose(drawn.mean(0), share, rtol=0, atol=allowed)
    assert np.abs(np.corrcoef(drawn.T)[0, 1]) < 5 / 2000**0.5  # layers draw on their own


def test_a_cold_draw_is_the_largest_logit():
    mixed = choose(quant.mix(make_twin()), {"conv": 2, "sep": 4, "head": 2})
    quant.set_temperature(mixed, 1e-3)
    for seed in range(5):
        drawn = nnx.clone(mixed)
        quant.draw_widths(drawn, jax.random.key(seed))
        assert quant.chosen_widths(drawn) == {"conv": 2, "sep": 4, "head": 2}


def test_a_part_of_the_layers_may_choose(images):
    mixed = quant.mix(make_twin(), layers="sep|head")
    assert [type(layer) is MixedLayer for layer in mixed.layers] == [False, False, True, True]
    fixed = quant.fix_widths(mixed, {"sep": 2, "head": 4})
    assert [layer.precision.weight_bits for layer in fixed.layers] == [8, 4, 2, 4]
    assert aj.convert(fixed).forward(images).dtype == np.int32


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: quant.mix(quant.Sequential(LAYERS, rngs=nnx.Rngs(0))), "apply quant.quantize"),
        (lambda: quant.mix(quant.mix(make_twin())), "choose their widths already"),
        (lambda: quant.mix(make_twin(), widths=(4,)), r"two or more of \(2, 4, 8\), got \(4,\)"),
        (lambda: quant.mix(make_twin(), widths=(3, 4)), r"two or more of .*, got \(3, 4\)"),
        (lambda: quant.mix(make_twin(), widths=(4, 4)), r"two or more of .*, got \(4, 4\)"),
        (lambda: quant.mix(make_twin(), layers="dense"), "no layer .* matches 'dense'"),
        (lambda: quant.mix(make_twin(), layers="first"), "no layer .* matches 'first'"),
        (lambda: quant.mix(make_twin(), widths=(2, 8)), r"conv, sep, head: .* not among \[2, 8\]"),
        (lambda: quant.fix_widths(quant.mix(make_twin()), {"conv": 2}), "fault: head, sep"),
        (
            lambda: quant.fix_widths(quant.mix(make_twin()), dict.fromkeys(NAMES, 8)),
            "fault: conv, sep, head",
        ),
        (
            lambda: aj.convert(quant.mix(make_twin())),
            r"conv, sep, head still choose .* quant\.fix_widths",
        ),
    ],
)
def test_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call()
