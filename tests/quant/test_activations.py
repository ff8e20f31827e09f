"""The activation against Python ints, exhaustively and at the limits of its registers."""

import dataclasses
import functools
import re
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from akida_jax.quant import (
    AKIDA_1,
    Registers,
    activate,
    activation_limit,
    derive_firing,
    fake_activation,
    least_weight_range,
    quantize_weights,
    snap,
    straight_through,
)
from tests.reference import fire


def expected_levels(potentials, thresholds, raw_steps, bits):
    return [
        fire(p, t, Fraction(s, 16), bits)
        for p, t, s in zip(potentials, thresholds, raw_steps, strict=True)
    ]


def run_all(p, t, s, bits):
    p, t, s = (np.asarray(v, np.int32) for v in (p, t, s))

    def run(p, t, s):
        return activate(p, t, s, bits=bits)

    yield run(jnp.asarray(p), jnp.asarray(t), jnp.asarray(s))
    yield jax.jit(run)(p, t, s)
    yield jax.vmap(run)(p, t, s)
    yield jax.jit(lambda p: run(p, jnp.asarray(t), jnp.asarray(s)))(p)


@pytest.mark.integers
@pytest.mark.parametrize("bits", [1, 2, 4])
def test_small_ranges_exhaustively(bits):
    potentials, thresholds, steps = np.meshgrid(
        np.arange(-40, 260, 3), [-7, 0, 1, 12], [1, 2, 3, 7, 15, 16, 17, 24, 31, 48, 100, 256]
    )
    args = [a.ravel().tolist() for a in (potentials, thresholds, steps)]
    expected = expected_levels(*args, bits)
    assert set(expected) == set(range(2**bits))
    for result in run_all(*args, bits):
        assert result.dtype == jnp.int32
        np.testing.assert_array_equal(result, expected)


@pytest.mark.integers
@pytest.mark.parametrize("bits", [1, 2, 4])
def test_large_values_up_to_the_registers(bits, rng):
    n = 4000
    s = rng.integers(1, 2**24, n) >> rng.integers(0, 24, n)
    s = np.maximum(s, 1)
    s[:50] = 2**24 - 1
    t = rng.integers(-(2**23), 2**23, n)
    # On, just above and just below each edge between two levels.
    k = rng.integers(-1, 2**bits + 1, n)
    p = t + (k * (s << (4 - bits))) // 16 + rng.integers(-1, 3, n)
    p[-500:] = rng.integers(-(2**30), 2**30, 500)
    p[-20:] = [2**30 - 1, -(2**30)] * 10
    args = [np.clip(p, -(2**30), 2**30 - 1).tolist(), t.tolist(), s.tolist()]
    expected = expected_levels(*args, bits)
    assert set(expected) == set(range(2**bits))
    for result in run_all(*args, bits):
        np.testing.assert_array_equal(result, expected)


@pytest.mark.integers
def test_extreme_potentials_do_not_overflow():
    # Potentials end below 2**31 - 2**24 (checked at conversion), thresholds at 2**23.
    p = [2**31 - 2**24 - 1, -(2**31) + 2**24 + 1] * 2
    t = [-(2**23), 2**23 - 1, 2**23 - 1, -(2**23)]
    for bits in (1, 2, 4):
        for result in run_all(p, t, [2**24 - 1] * 4, bits):
            assert result.tolist() == [activation_limit(bits), 0] * 2


@pytest.mark.integers
def test_by_hand():
    # Step 2.5 = 40/16, threshold 10: levels begin just above 10, 12.5, 15, ...
    potentials = jnp.array([9, 10, 11, 12, 13, 15, 16, 44, 45, 47, 48, 99], jnp.int32)
    n = len(potentials)
    levels = activate(potentials, jnp.full(n, 10, jnp.int32), jnp.full(n, 40, jnp.int32), bits=4)
    assert levels.tolist() == [0, 0, 1, 1, 2, 2, 3, 14, 14, 15, 15, 15]
    levels = activate(potentials, jnp.full(n, 10, jnp.int32), jnp.full(n, 16, jnp.int32), bits=1)
    # One bit: a step counts eight times, any positive excess fires.
    assert levels.tolist() == [0, 0, *[1] * 10]


@pytest.mark.integers
def test_levels_never_fall_with_the_potential(rng):
    potentials = jnp.arange(-3000, 3000, dtype=jnp.int32)[:, None]
    t = jnp.asarray(rng.integers(-500, 500, 20, dtype=np.int32))
    s = jnp.asarray(rng.integers(1, 5000, 20, dtype=np.int32))
    for bits in (1, 2, 4):
        levels = np.asarray(activate(potentials, t, s, bits=bits))
        assert (np.diff(levels, axis=0) >= 0).all()
        assert levels.min() == 0
        assert levels.max() == activation_limit(bits)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_gradient_mask_and_closed_form(bits):
    step, limit = 0.4, activation_limit(bits)
    edges = np.array([-0.5, -0.499, 0, 0.5, 0.51, limit - 0.5, limit, limit + 0.5, limit + 0.501])
    y = jnp.asarray((edges * step).astype(np.float32))
    levels = jnp.clip(jnp.ceil(y / step - 0.5), 0, limit).astype(jnp.int32)

    def run(y, step):
        return fake_activation(levels, y, step=step, bits=bits)

    np.testing.assert_array_equal(run(y, jnp.float32(step)), levels)
    _, back = jax.vjp(run, y, jnp.float32(step))
    by_y, by_step = back(jnp.ones(len(edges), jnp.float32))
    # On the two very edges float32 may fall on either side.
    inside = np.array([False, *[True] * 7, False])
    sure = np.array([False, *[True] * 6, False, True])
    np.testing.assert_allclose(by_y[sure], (inside / step)[sure], rtol=1e-6)
    per_element = -np.asarray(y) / step**2  # of (y - s/2) / s by s
    counted = np.where(inside, per_element, 0)[sure].sum()
    edge = np.abs(per_element[~sure]).sum()
    assert abs(float(by_step) - counted) <= edge * (1 + 1e-5)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_both_end_levels_pass_the_full_gradient(bits):
    limit, step = activation_limit(bits), 0.25
    y = jnp.array([0.3, limit - 0.3, limit + 0.3], jnp.float32) * step
    levels = jnp.array([0, limit, limit], jnp.int32)
    gradient = jax.grad(lambda y: fake_activation(levels, y, step=step, bits=bits).sum())(y)
    assert gradient.tolist() == [4.0, 4.0, 4.0]


def test_gradient_is_that_of_the_surrogate_by_finite_differences():
    y, step, h = np.linspace(-0.1, 6.1, 23), 0.4, 1e-3
    levels = jnp.zeros(23, jnp.int32)

    def surrogate(y, s):  # in float64, where it is smooth
        u = y / s - 0.5
        return np.where((u > -1) & (u <= 15), u, 0)

    _, back = jax.vjp(
        lambda y, s: fake_activation(levels, y, step=s, bits=4),
        jnp.asarray(y, jnp.float32), jnp.float32(step),
    )  # fmt: skip
    by_y, by_step = back(jnp.ones(23, jnp.float32))
    np.testing.assert_allclose(
        by_y, (surrogate(y + h, step) - surrogate(y - h, step)) / (2 * h), rtol=1e-5
    )
    # The central difference errs by h**2 / 6 * u''' = y * h**2 / s**4 < 3e-4 per element.
    numeric = ((surrogate(y, step + h) - surrogate(y, step - h)) / (2 * h)).sum()
    assert abs(float(by_step) - numeric) < 23 * 3e-4


def test_straight_through_sends_everything_to_the_surrogate():
    exact, surrogate = jnp.array([1.0, 2.0]), jnp.array([0.3, 1e30])
    value, back = jax.vjp(straight_through, exact, surrogate)
    np.testing.assert_array_equal(value, exact)
    by_exact, by_surrogate = back(jnp.array([5.0, 7.0]))
    assert by_exact.tolist() == [0, 0]
    assert by_surrogate.tolist() == [5, 7]


@pytest.mark.integers
@pytest.mark.parametrize(("bits", "s16"), [(1, 21), (2, 42), (4, 168)])
def test_firing_by_hand(bits, s16):
    # a = 4, d = 7, s = 3/8, b = -1/2: a*d = 28.
    firing = derive_firing(
        weight_scales=(snap(jnp.float32(7.0)),),
        bias=jnp.array([-0.5, 0.25, 3.0], jnp.float32),
        input_step=snap(jnp.float32(0.25)),
        output_step=snap(jnp.float32(0.375)),
        bits=bits,
    )
    # T = floor(28 * (3/16 - b)): 19.25, -1.75, -78.75; S = 28 * 3/8 * 2**bits / 16.
    assert firing.threshold.tolist() == [19, -2, -79]
    assert firing.raw_step.tolist() == [s16] * 3
    assert firing.threshold.dtype == firing.raw_step.dtype == jnp.int32


@pytest.mark.integers
def test_firing_of_a_global_average_by_hand():
    firing = derive_firing(
        weight_scales=(snap(jnp.float32(7.0)), snap(jnp.float32(0.5))),
        bias=jnp.array([-0.5], jnp.float32),
        input_step=snap(jnp.float32(0.25)),
        output_step=snap(jnp.float32(0.375)),
        bits=4,
        pooled=49,
        activation=False,
    )
    # Without activation t = 0: T = floor(14 * 0.5 * 49) and S = 14 * 49.
    assert firing.threshold.tolist() == [343]
    assert firing.raw_step.tolist() == [14 * 49 * 16]


@pytest.mark.integers
@pytest.mark.parametrize("steps", [700, 1000, 2000])
def test_a_bias_of_many_steps_keeps_its_threshold(steps):
    """a*d = 4 * 1/32 = 1/8: T = floor((s/2 + steps * s) / 8), far inside its register."""
    firing = derive_firing(
        weight_scales=(snap(jnp.float32(1 / 32)),),
        bias=jnp.array([-0.046875 * steps], jnp.float32),
        input_step=snap(jnp.float32(0.25)),
        output_step=snap(jnp.float32(0.046875)),
        bits=4,
    )
    exact = (Fraction(3, 128) + Fraction(3, 64) * steps) / 8
    assert firing.threshold.tolist() == [exact.numerator // exact.denominator]


def _needed(case, bias):
    """Return the least range as a fraction: threshold and step exactly at their limits."""
    a = 1 / Fraction(float(case["input_step"].value)) * case["pooled"]
    for scale in case["other_scales"]:
        a *= Fraction(float(scale.value))
    s = Fraction(float(case["output_step"].value)) if case["activation"] else 1
    half, shrink = (s / 2, Fraction(2 ** case["bits"], 16)) if case["activation"] else (0, 1)
    by_step = a * s * shrink / 2**16
    by_threshold = a * (abs(Fraction(float(bias))) + half) / 2**19
    return case["limit"] * max(by_step, by_threshold)


@pytest.mark.integers
@pytest.mark.parametrize("weight_bits", [2, 4, 8])
@pytest.mark.parametrize("separable", [False, True])
@pytest.mark.parametrize("activation", [False, True])
def test_the_least_range_is_just_enough(weight_bits, separable, activation, rng):
    limit = 2 ** (weight_bits - 1) - 1
    for _ in range(20):
        scale = quantize_weights(
            jnp.asarray(rng.normal(0, 10.0 ** rng.uniform(-3, 1), (9, 4)).astype(np.float32)),
            bits=weight_bits, quantizer="max_per_tensor",
        ).scale  # fmt: skip
        case = {
            "limit": limit,
            "other_scales": (scale,) if separable else (),
            "input_step": snap(jnp.float32(10.0 ** rng.uniform(-3, 1))),
            "output_step": snap(jnp.float32(10.0 ** rng.uniform(-3, 1))),
            "bits": int(rng.choice([1, 2, 4])),
            "pooled": int(rng.choice([1, 49, 256])),
            "activation": activation,
        }
        bias = jnp.asarray(rng.normal(0, 1, 5).astype(np.float32))
        run = functools.partial(least_weight_range, **case)
        found = run(bias=bias)
        np.testing.assert_array_equal(found, jax.jit(lambda b, run=run: run(bias=b))(bias))
        np.testing.assert_array_equal(found, jax.vmap(lambda b, run=run: run(bias=b))(bias))
        for value, b in zip(np.asarray(found), np.asarray(bias), strict=True):
            needed = _needed(case, b)
            # Two roundings up, each by less than 1 / 1024.
            assert needed <= Fraction(float(value)) <= needed * (1 + Fraction(1, 500))


def test_registers_of_the_first_generation():
    assert AKIDA_1.threshold_limit(is_input=False) == 2**19
    assert AKIDA_1.threshold_limit(is_input=True) == 2**23
    assert AKIDA_1.step_limit(is_input=False) == 65536 * 16
    assert AKIDA_1.step_limit(is_input=True) == 2**20 * 16


@pytest.mark.parametrize(
    ("name", "value", "limits"),
    [
        ("threshold_bits", 26, "2..25"),
        ("input_threshold_bits", 1, "2..25"),
        ("step_fraction_bits", 5, "0..4"),
        ("step_integer_bits", 0, "1..24"),
        ("input_step_integer_bits", 20.0, "1..24"),
    ],
)
def test_registers_too_wide_for_int32_are_refused(name, value, limits):
    with pytest.raises(ValueError, match=f"registers: {name} must be in {re.escape(limits)}, got"):
        dataclasses.replace(AKIDA_1, **{name: value})
    assert isinstance(AKIDA_1, Registers)
