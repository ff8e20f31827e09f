"""Fixed-point arithmetic against Python fractions, and under every compilation."""

import math
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from akida_jax.quant import Scale, exact, floor_ratio, snap

pytestmark = pytest.mark.integers

SATURATED = 2**30 - 1


def ratio_oracle(x, factors, divisor, exponent):
    product = Fraction(x) * math.prod(factors) / divisor
    value = math.floor(product * Fraction(2) ** min(max(exponent, -36), 36))
    return min(max(value, -SATURATED), SATURATED)


def ratio_cases(rng, n):
    """Return columns x, f, g, divisor, exponent whose products stay below 2**60."""
    top = 2**30 - 1
    x = rng.integers(-top, top + 1, n) >> rng.integers(0, 31, n)
    f = rng.integers(0, 2**18, n) >> rng.integers(0, 18, n)
    g = rng.integers(0, 2**12, n)
    divisor = rng.integers(1, 2**12 + 1, n)
    exponent = rng.integers(-42, 43, n)
    extremes = [
        (0, 0, 0, 1, 0), (top, 1, 1, 1, 0), (-top, 1, 1, 1, 0),
        (top, 2, 1, 1, -1), (2**29, 2, 1, 1, 0), (-(2**29), 2, 1, 1, 0), (-1, 1, 1, 4096, -36),
        (1, 1, 1, 4096, 36), (-1, 1, 1, 1, 36), (1, 1, 1, 1, 29), (1, 1, 1, 1, 30),
        (-1, 1, 1, 1, 30), (top, 2**18 - 1, 2**12 - 1, 4095, -36),
        (-top, 2**18 - 1, 2**12 - 1, 1, 36), (-top, 2**18 - 1, 2**12 - 1, 4096, -29),
        (-7, 1, 1, 2, 0), (7, 1, 1, 2, 0),
        (-8, 1, 1, 2, -2), (2**24, 1, 1, 1, -24), (-(2**24) - 1, 1, 1, 1, -24),
    ]  # fmt: skip
    columns = np.array([x, f, g, divisor, exponent]).T.tolist() + [list(e) for e in extremes]
    return [np.array(c, np.int32) for c in zip(*columns, strict=True)]


def test_floor_ratio_equals_fractions_under_every_compilation(rng):
    x, f, g, divisor, exponent = ratio_cases(rng, 600)
    expected = [
        ratio_oracle(int(a), (int(b), int(c)), int(d), int(e))
        for a, b, c, d, e in zip(x, f, g, divisor, exponent, strict=True)
    ]

    def ratio(x, f, g, divisor, exponent):
        return floor_ratio(x, (f, g), divisor, exponent)

    args = [jnp.asarray(a) for a in (x, f, g, divisor, exponent)]
    results = {
        "eager": ratio(*args),
        "jit": jax.jit(ratio)(*args),
        "vmap": jax.jit(jax.vmap(ratio))(*args),
        "constants": jax.jit(lambda y: ratio(*args) + y)(jnp.int32(0)),
    }
    for how, result in results.items():
        assert result.dtype == jnp.int32, how
        np.testing.assert_array_equal(result, expected, err_msg=how)


def test_floor_ratio_broadcasts_scalars_and_takes_python_factors():
    x = jnp.array([-7, 7, 100], jnp.int32)
    result = floor_ratio(x, (1, jnp.int32(3)), jnp.int32(2), jnp.array([0, 0, -3], jnp.int32))
    assert result.tolist() == [-11, 10, 18]  # -10.5, 10.5, 18.75 round down


def test_floor_ratio_by_hand():
    # 5 * 2**12 * 3 / 4095 = 15.0037: exact where a float32 quotient times 2**20 is not.
    assert int(floor_ratio(jnp.int32(5 << 12), (3,), jnp.int32(4095), jnp.int32(0))) == 15
    assert int(floor_ratio(jnp.int32(-5 << 12), (3,), jnp.int32(4095), jnp.int32(0))) == -16


def floats(rng, n=500):
    x = rng.uniform(1, 2, n) * 2.0 ** rng.integers(-90, 90, n)
    return np.concatenate([x, 2.0 ** np.arange(-99, 127), 2.0 ** np.arange(-99, 127) * (1 - 2**-24)]
                          ).astype(np.float32)  # fmt: skip


def test_snap_truncates_to_twelve_bits_under_every_compilation(rng):
    x = floats(rng)
    expected = [(math.floor(m * 2**12), e - 12) for m, e in map(math.frexp, x.tolist())]
    results = {
        "eager": snap(x),
        "jit": jax.jit(snap)(x),
        "vmap": jax.vmap(snap)(x),
        "constants": jax.jit(lambda: snap(x))(),
    }
    for how, scale in results.items():
        pairs = list(zip(np.asarray(scale.mantissa), np.asarray(scale.exponent), strict=True))
        assert pairs == expected, how
    value = np.asarray(snap(x).value)
    assert ((value <= x) & (value > x * (1 - 2.0**-11))).all()
    np.testing.assert_array_equal(snap(value).value, value)


@pytest.mark.parametrize("x", [0.0, 1e-45, 1e-38, 2.0**-100, -3.0])
def test_snap_ends_at_its_floor(x):
    assert float(snap(jnp.float32(x)).value) == 2.0**-100


def test_a_scale_is_a_pytree_of_its_mantissa_and_exponent():
    scale = Scale(jnp.int32(3), jnp.int32(-1))
    assert float(scale.value) == 1.5
    assert jax.tree.leaves(scale) == [3, -1]


def test_to_fixed_rounds_to_nearest_even_and_clips(rng):
    x = np.concatenate([
        rng.normal(0, 1, 300) * 2.0 ** rng.integers(-30, 30, 300),
        np.arange(-9, 10) / 2, [0.0, -0.0, 1e38, -1e38, 1e-40],
    ]).astype(np.float32)  # fmt: skip
    for exponent in (-20, -3, 0, 2, 19):
        for limit in (7, 2**15, 2**24):
            expected = [
                min(max(round(Fraction(v) / Fraction(2) ** exponent), -limit), limit)
                for v in x.tolist()
            ]
            args = jnp.asarray(x), jnp.int32(exponent)
            eager = exact.to_fixed(*args, limit)
            assert eager.dtype == jnp.int32
            np.testing.assert_array_equal(eager, expected)
            np.testing.assert_array_equal(jax.jit(exact.to_fixed, static_argnums=2)(*args, limit),
                                          expected)  # fmt: skip
    batched = jax.vmap(exact.to_fixed, (0, None, None))(args[0], args[1], limit)
    np.testing.assert_array_equal(batched, expected)


def test_power_of_two_is_exact_and_clipped():
    exponents = np.arange(-140, 141, dtype=np.int32)
    expected = 2.0 ** np.clip(exponents, -126, 127).astype(np.float64)
    for run in (exact.power_of_two, jax.jit(exact.power_of_two), jax.vmap(exact.power_of_two)):
        np.testing.assert_array_equal(run(exponents), expected.astype(np.float32), strict=True)


def test_binary_exponent_equals_frexp(rng):
    x = floats(rng)
    expected = [math.frexp(v)[1] for v in x.tolist()]
    for run in (exact.binary_exponent, jax.jit(exact.binary_exponent)):
        np.testing.assert_array_equal(run(x), expected)
