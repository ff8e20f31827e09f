"""L1 and Hoyer square: by hand, in closed form, and their laws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from akida_jax import quant

TWO = [jnp.array([[1.0, 2, 0, 0], [3, 3, 3, 0]]), jnp.array([[4.0], [0.0]])]


def test_the_mean_level_by_hand():
    assert quant.mean_level(TWO) == (1 + 2 + 9 + 4) / 10


def test_every_activation_has_the_same_gradient_of_l1():
    for slope, levels in zip(jax.grad(quant.mean_level)(TWO), TWO, strict=True):
        np.testing.assert_array_equal(slope, np.full(levels.shape, np.float32(0.1)))


def test_the_hoyer_square_by_hand():
    first = (9 / (4 * 5) + 81 / (4 * 27)) / 2
    second = (16 / (1 * 16) + 0) / 2
    # A handful of float32 operations on numbers of order 1.
    np.testing.assert_allclose(quant.hoyer_square(TWO), (first + second) / 2, rtol=1e-6)


def test_the_hoyer_square_of_equal_levels_is_their_share():
    for n in range(1, 9):
        y = jnp.zeros((1, 2, 2, 2)).reshape(1, 8).at[0, :n].set(7.0).reshape(1, 2, 2, 2)
        assert quant.hoyer_square([y]) == n / 8


def test_the_hoyer_square_does_not_see_the_scale(rng):
    y = jnp.array(rng.integers(0, 16, (3, 2, 2, 5)).astype(np.float32))
    assert quant.hoyer_square([y]) == quant.hoyer_square([4 * y])


def test_the_gradient_of_the_hoyer_square_in_closed_form(rng):
    y = rng.integers(0, 16, (1, 12)).astype(np.float64)
    total, squares = y.sum(), (y**2).sum()
    expected = 2 * total / (12 * squares) - 2 * total**2 * y / (12 * squares**2)
    slope = jax.grad(lambda y: quant.hoyer_square([y]))(jnp.array(y, jnp.float32))
    # Terms of the size of the first, each rounded a few times to 2**-24.
    np.testing.assert_allclose(slope, expected, rtol=0, atol=1e-6 * total / squares)
    assert (slope[y == 0] > 0).all()  # lower levels are pushed to zero, high ones up
    assert slope[0, int(y.argmax())] < 0


def test_a_silent_sample_counts_nothing_and_has_a_gradient():
    y = jnp.zeros((2, 3))
    value, slope = jax.value_and_grad(lambda y: quant.hoyer_square([y]))(y)
    assert value == 0
    np.testing.assert_array_equal(slope, np.zeros((2, 3)))


@pytest.mark.parametrize("term", [quant.mean_level, quant.hoyer_square])
def test_no_layer_is_refused(term):
    with pytest.raises(ValueError, match="no layer has an activation"):
        term([])
