import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_array_equal

from akida_jax.quant import operations

pytestmark = pytest.mark.compiled


def _integers(rng, shape, limit):
    return jnp.asarray(rng.integers(-limit, limit + 1, shape), jnp.float32)


@pytest.mark.parametrize("size", [1, 3, 5, 7])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("padding", ["same", "valid"])
def test_product_per_tap_equals_the_convolution(rng, monkeypatch, size, stride, padding):
    x, kernel = _integers(rng, (2, 11, 9, 3), 15), _integers(rng, (size, size, 3, 4), 7)
    options = {"stride": stride, "padding": padding, "padding_value": 2}
    convolved = operations.convolve(x, kernel, **options)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    by_taps = operations.convolve(x, kernel, **options)
    assert convolved.dtype == by_taps.dtype == jnp.float32
    assert_array_equal(convolved, by_taps)


def _library(x, kernel):
    return jax.lax.conv_general_dilated(
        x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision=jax.lax.Precision.HIGHEST,
    )  # fmt: skip


@pytest.mark.parametrize("size", [3, 5, 7])
@pytest.mark.parametrize("shape", [(1, 1), (2, 2), (1, 4), (4, 5), (17, 16)])
def test_gradients_equal_those_of_the_library(rng, size, shape):
    # Sums stay below 17 * 16 * 2 * 15 * 7 < 2**24: exact in any order.
    x = _integers(rng, (2, *shape, 3), 15)
    kernel, g = _integers(rng, (size, size, 3, 4), 7), _integers(rng, (2, *shape, 4), 7)
    y, pull = jax.vjp(lambda *given: operations.convolve(*given), x, kernel)
    expected, pull_expected = jax.vjp(_library, x, kernel)
    assert_array_equal(y, expected)
    for found, of_library in zip(pull(g), pull_expected(g), strict=True):
        assert found.dtype == of_library.dtype
        assert_array_equal(found, of_library)


def test_there_is_no_forward_mode_but_second_derivatives_by_reverse(rng):
    x, kernel = _integers(rng, (2, 4, 5, 3), 7), _integers(rng, (3, 3, 3, 2), 3)
    v = _integers(rng, kernel.shape, 3)

    def loss(kernel, convolve=operations.convolve):
        return 0.5 * (convolve(x, kernel) ** 2).sum()

    for forward in (jax.hessian(loss), jax.jacfwd(loss)):
        with pytest.raises(TypeError, match="forward-mode"):
            forward(kernel)
    for forward in (jax.jvp, lambda f, at, along: jax.linearize(f, *at)[1](*along)):
        with pytest.raises(TypeError, match="forward-mode"):
            forward(loss, (kernel,), (v,))
    # Integers below 2**24: exact in any order.
    expected = jax.hessian(lambda k: loss(k, _library))(kernel)
    assert_array_equal(jax.jacrev(jax.grad(loss))(kernel), expected)
    product = jax.grad(lambda k: jnp.vdot(jax.grad(loss)(k), v))(kernel)
    assert_array_equal(product, jnp.tensordot(expected, v, 4))


@pytest.mark.parametrize("shape", [(2, 2), (4, 5)])
def test_mixed_dtypes_are_refused_on_maps_of_any_size(shape):
    x, kernel = jnp.ones((1, *shape, 3), jnp.bfloat16), jnp.ones((3, 3, 3, 2))
    with pytest.raises(TypeError, match="same dtypes"):
        operations.convolve(x, kernel)
    assert operations.convolve(x, kernel.astype(jnp.bfloat16)).dtype == jnp.bfloat16
    grad = jax.grad(lambda x: operations.convolve(x, kernel.astype(x.dtype)).sum())(x)
    assert grad.dtype == jnp.bfloat16


def test_the_gradient_of_a_kernel_sees_the_padding_value(rng):
    x, kernel = _integers(rng, (1, 4, 4, 2), 15), _integers(rng, (3, 3, 2, 3), 7)
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=9)
    found = jax.grad(lambda k: operations.convolve(x, k, padding_value=9).sum())(kernel)
    expected = jax.grad(lambda k: _library(padded, k)[:, 1:-1, 1:-1].sum())(kernel)
    assert_array_equal(found, expected)


@pytest.mark.parametrize("stride", [1, 2])
def test_depthwise_equals_a_grouped_convolution(rng, stride):
    x, kernel = _integers(rng, (2, 8, 7, 6), 15), _integers(rng, (3, 3, 1, 6), 7)
    grouped = jax.lax.conv_general_dilated(
        x, kernel, (stride, stride), "SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"), feature_group_count=6,
    )  # fmt: skip
    assert_array_equal(operations.convolve_depthwise(x, kernel, stride=stride), grouped)


@pytest.mark.parametrize(
    ("size", "window", "stride", "expected"),
    [(5, 3, 1, (1, 1)), (5, 3, 2, (1, 1)), (6, 3, 2, (0, 1)), (4, 2, 1, (0, 1)), (7, 5, 3, (2, 2))],
)
def test_same_padding_puts_the_odd_pixel_last(size, window, stride, expected):
    assert operations.same_padding(size, window, stride) == expected


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_padding_never_wins_a_max_pool(dtype):
    x = jnp.full((1, 3, 3, 1), -5, dtype)
    pooled = operations.max_pool(x, (2, 2), (2, 2))
    assert pooled.shape == (1, 2, 2, 1)
    assert_array_equal(pooled, jnp.full_like(pooled, -5))


def test_max_pool_by_hand():
    x = jnp.arange(9, dtype=jnp.float32).reshape(1, 3, 3, 1)
    assert_array_equal(operations.max_pool(x, (2, 2), (1, 1))[0, :, :, 0],
                       [[4, 5, 5], [7, 8, 8], [7, 8, 8]])  # fmt: skip
    valid = operations.max_pool(x, (2, 2), (2, 2), padding="valid")
    assert_array_equal(valid[0, :, :, 0], [[4]])
