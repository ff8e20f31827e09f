"""The multiplier of a budget: gradients, bounds, and a toy that it solves."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from akida_jax.mapping import start_multiplier


@pytest.mark.parametrize("value", [0.0, 0.5, 3.0])
@pytest.mark.parametrize("cost", [0.2, 1.9, 2.0, 2.1, 8.0])
def test_the_gradient_is_the_price(value, cost):
    multiplier = start_multiplier(2.0)._replace(value=jnp.float32(value))

    def term(cost):
        return multiplier.term(cost, stiffness=1.5)

    slope = jax.grad(term)(jnp.float32(cost))
    price = max(0.0, value + 1.5 * (cost / 2 - 1))
    # A few float32 operations on numbers below 8, the excess being a difference near 1.
    np.testing.assert_allclose(slope, price / 2, rtol=0, atol=1e-6)
    # The term is quadratic where the price is not zero: central differences are exact there,
    # and near its kink off by at most a quarter of the second derivative times the step.
    h = 0.25
    difference = (term(jnp.float32(cost + h)) - term(jnp.float32(cost - h))) / (2 * h)
    allowed = 1e-5 + (0.25 * 1.5 / 4 * h if price < 1.5 * h / 2 else 0)
    np.testing.assert_allclose(slope, difference, rtol=0, atol=allowed)


def test_within_the_budget_nothing_is_added_at_first():
    multiplier = start_multiplier(2.0)
    assert multiplier.term(jnp.float32(1.5), stiffness=1.0) == 0
    assert jax.grad(lambda c: multiplier.term(c, stiffness=1.0))(jnp.float32(1.5)) == 0


def test_the_multiplier_stays_between_zero_and_its_bound(rng):
    multiplier = start_multiplier(1.0)
    seen = []
    for cost in rng.uniform(0, 10, 300) * rng.integers(0, 2, 300):
        before = float(multiplier.value)
        multiplier = multiplier.ascend(jnp.float32(cost), rate=0.3, most=2.0)
        seen.append(float(multiplier.value))
        assert (seen[-1] >= before) if cost >= 1 else (seen[-1] <= before)
    assert min(seen) == 0
    assert max(seen) == 2


def test_the_cost_gets_no_gradient_by_the_ascent():
    def price(cost):
        return start_multiplier(1.0).ascend(cost, rate=1.0, most=9.0).value

    assert price(jnp.float32(3.0)) == 2
    assert jax.grad(price)(jnp.float32(3.0)) == 0


@pytest.mark.parametrize("limit", [0.5, 2.0, 8.0])
def test_a_toy_meets_its_budget(limit):
    """Least (w - 3)**2 with w**2 within the limit: w is the root of the limit, or 3."""

    @jax.jit
    def step(w, multiplier):
        def loss(w):
            return (w - 3) ** 2 + multiplier.term(w**2, stiffness=1.0)

        return w - 0.02 * jax.grad(loss)(w), multiplier.ascend(w**2, rate=0.05, most=100.0)

    w, multiplier = jnp.float32(0.5), start_multiplier(limit)
    for _ in range(4000):
        w, multiplier = step(w, multiplier)
    # The iteration is a contraction; what is left after 4000 steps is rounding.
    np.testing.assert_allclose(w, limit**0.5, rtol=1e-4)
    # Where the gradients balance: 2 * (3 - w) = price * 2 * w / limit.
    np.testing.assert_allclose(multiplier.value, (3 - limit**0.5) * limit**0.5, rtol=1e-3)


def test_a_budget_that_does_not_bind_costs_nothing():
    w, multiplier = jnp.float32(0.5), start_multiplier(16.0)
    for _ in range(300):
        slope = jax.grad(lambda w: (w - 3) ** 2 + multiplier.term(w**2, stiffness=1.0))(w)  # noqa: B023
        w, multiplier = w - 0.05 * slope, multiplier.ascend(w**2, rate=0.05, most=9.0)
    np.testing.assert_allclose(w, 3, rtol=1e-5)
    assert multiplier.value == 0
