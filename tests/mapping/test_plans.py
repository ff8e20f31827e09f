"""What a network in training would cost: as `estimate` says, and as all choices say together."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import akida_jax as aj
from akida_jax import mapping, quant

LAYERS = [
    quant.InputData(input_shape=(4, 4, 128), input_bits=4, name="eye"),
    quant.Conv(filters=128, kernel_size=3, name="conv"),
    quant.SeparableConv(filters=16, kernel_size=3, name="sep"),
    quant.Dense(units=400, activation=False, name="head"),
]
"""At 4 bits the convolution takes two processors and the head lies outside; not so at 2."""
SHARES = {"eye": 0.5, "conv": 0.75, "sep": 0.625}
NAMES = ("conv", "sep", "head")


def make_twin(layers=LAYERS):
    return quant.quantize(quant.Sequential(layers, rngs=nnx.Rngs(0)))


@pytest.fixture(scope="module")
def mixed():
    return quant.mix(make_twin())


@pytest.fixture(scope="module")
def plan(mixed):
    return mapping.plan(mixed, mapping.AKD1000)


def test_a_plan_without_choice_is_an_estimate():
    twin = make_twin()
    model = aj.convert(twin)
    placement = mapping.place(model, mapping.AKD1000)
    cost = mapping.estimate(placement, SHARES)
    figures = mapping.plan(twin, mapping.AKD1000).figures(SHARES)
    # The same doubles, added in another order.
    assert figures["energy"] == pytest.approx(cost.total_mj, rel=1e-14)
    assert figures["dynamic"] == pytest.approx(cost.dynamic_mj, rel=1e-14)
    assert figures["latency"] == pytest.approx(cost.latency_ms, rel=1e-14)
    assert figures["events"] == 2048 * 0.5 + 2048 * 0.25 + 256 * 0.375
    assert figures["nps"] == placement.nps == 4
    weights = [9 * 128 * 128, 9 * 128 + 128 * 16, 256 * 400]
    assert figures["size"] == sum(weights) / 2
    assert mapping.model_figures(placement, cost) == pytest.approx(figures, rel=1e-14)


def test_the_pixels_of_an_image_are_no_events():
    layers = [
        quant.InputConv(input_shape=(8, 8, 1), filters=4, kernel_size=3, name="first"),
        quant.Dense(units=3, activation=False, name="head"),
    ]
    figures = mapping.plan(make_twin(layers), mapping.AKD1000).figures({"first": 0.75})
    assert figures["events"] == 64


def test_the_expectation_is_that_of_all_networks(mixed, plan, rng):
    """Every combination of widths as a network of its own, weighted by its probability."""
    chances = {name: rng.dirichlet([1, 1]) for name in NAMES}
    expected = dict.fromkeys(mapping.QUANTITIES, 0.0)
    for bits in itertools.product((0, 1), repeat=3):
        widths = {name: (2, 4)[i] for name, i in zip(NAMES, bits, strict=True)}
        fixed = mapping.plan(quant.fix_widths(mixed, widths), mapping.AKD1000).figures(SHARES)
        chance = math.prod(chances[name][i] for name, i in zip(NAMES, bits, strict=True))
        for quantity, value in fixed.items():
            expected[quantity] += chance * value
    # Sums of some dozens of doubles.
    assert plan.figures(SHARES, chances) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("quantity", ["latency", "energy", "nps", "size"])
def test_the_gradient_of_the_choice_is_the_difference_of_the_widths(plan, quantity):
    def figure(p):
        chances = dict.fromkeys(NAMES, jnp.array([0.5, 0.5])) | {"conv": p}
        return plan.figures(SHARES, chances)[quantity]

    slope = jax.grad(figure)(jnp.array([0.5, 0.5]))
    narrow, wide = (figure(jnp.eye(2)[i]) for i in (0, 1))
    # Linear in the probabilities; sums of some dozens of float32.
    error = 64 * 2.0**-24 * max(abs(float(narrow)), abs(float(wide)))
    assert abs((slope[1] - slope[0]) - (wide - narrow)) <= error
    if quantity in ("nps", "size"):
        assert slope[1] > slope[0]


def test_narrow_weights_bring_the_head_inside(plan):
    head = [p.layers[2].split for p in plan.placements]
    assert [split.external for split in head] == [False, True]
    figures = [
        plan.figures(SHARES, {key: [0.5, 0.5] for key in NAMES} | {"head": p})
        for p in ([1, 0], [0, 1])
    ]
    assert figures[0]["latency"] < figures[1]["latency"]


def test_the_least_is_a_silent_network_with_narrow_weights(plan):
    silent = dict.fromkeys(SHARES, 1.0) | {"eye": 0.5}
    narrow = plan.figures(silent, {key: [1, 0] for key in NAMES})
    least = plan.least(0.5)
    for quantity in mapping.QUANTITIES:
        assert least[quantity] <= narrow[quantity] * (1 + 1e-12)
    assert least["nps"] == 3
    assert least["events"] == 1024


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1000 events", r"1000 events cannot be met on AKD1000: without a single event .* 1024"),
        ("2 NPs", "2 NPs cannot be met on AKD1000: with the narrowest weights .* costs 3 NPs"),
        ("1nJ", "1e-06 mJ cannot be met .*; use a smaller network, fewer weight bits"),
    ],
)
def test_a_budget_out_of_reach_is_refused(plan, text, message):
    with pytest.raises(ValueError, match=message):
        plan.check_budget(mapping.parse_budget(text), 0.5)


@pytest.mark.parametrize("text", ["1025 events", "3 NPs", "1 J"])
def test_a_budget_in_reach_passes(plan, text):
    plan.check_budget(mapping.parse_budget(text), 0.5)
    assert plan.least(0.5)[mapping.parse_budget(text).quantity] <= mapping.parse_budget(text).limit


def test_refusals(plan):
    with pytest.raises(ValueError, match=r"layers that choose, .*'head': 2.*, got \{\}"):
        plan.figures(SHARES)
    with pytest.raises(ValueError, match="sparsity must be given for every layer's input"):
        plan.figures({"eye": 0.5}, {key: [1, 0] for key in NAMES})
    with pytest.raises(ValueError, match="a float network has no place"):
        mapping.plan(quant.Sequential(LAYERS, rngs=nnx.Rngs(0)), mapping.AKD1000)
    with pytest.raises(mapping.MappingError, match="conv"):
        mapping.plan(make_twin(), mapping.mesh(1))


def test_shares_of_zeros_are_those_of_output_sparsity(rng):
    twin = make_twin()
    x = rng.integers(0, 16, (2, 4, 4, 128)).astype(np.uint8)
    shares = mapping.shares_of_zeros(twin, x, twin.outputs(x))
    expected = mapping.output_sparsity(twin, x)
    assert {k: float(v) for k, v in shares.items()} == {k: float(v) for k, v in expected.items()}
