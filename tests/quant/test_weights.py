"""Weight quantizers against numbers worked by hand, a Python oracle and laws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from akida_jax.quant import fake_levels, quantize_weights, weight_limit
from tests.oracles import power, weights_oracle

QUANTIZERS = ("max_per_filter", "max_per_tensor", "std")


def tensors(rng):
    """Return (3, 4, 5) tensors of many kinds."""
    normal = rng.normal(0, 1, (40, 3, 4, 5))
    normal *= 2.0 ** rng.integers(-40, 40, (40, 1, 1, 1))
    normal[::3] *= 2.0 ** rng.integers(-14, 3, (14, 1, 1, 5))  # filters of unequal range
    normal[1::7, ..., 2] = 0  # dead filter
    normal[5] = 0
    normal[6] = 1e-42  # denormal
    normal[7] = np.where(rng.random((3, 4, 5)) < 0.5, 1e38, -1e38)
    normal[8] = np.where(np.arange(60).reshape(3, 4, 5) == 17, 1.0, 1e-9)
    normal[9] = 2.0**-3  # on a power of two
    normal[10] = np.round(normal[10] * 4) / 4
    return normal.astype(np.float32)


def test_limits():
    assert [weight_limit(bits) for bits in (2, 4, 8)] == [1, 7, 127]


def test_per_filter_by_hand():
    # Filter 0: d = 7/1; filter 1: d = 7/3.5 = 2; filter 2: 7/7, with halves.
    w = jnp.array([[1.0, 3.5, 7.0], [-0.5, -3.5, 2.5], [0.1, 0.26, -2.5], [0.0, 0.24, -7.0]])
    result = quantize_weights(w, bits=4)
    # -0.5 * 7 = -3.5 rounds half up to -3; with d truncated it is -3 as well.
    assert result.levels.T.tolist() == [[7, -3, 1, 0], [7, -7, 1, 0], [7, 3, -2, -7]]
    np.testing.assert_allclose(result.scale.value, [7, 2, 1], rtol=2.0**-8)
    assert bool(result.passes.all())


def test_per_tensor_by_hand():
    w = jnp.array([[1.0, 3.5], [-0.5, -0.2], [0.3, 0.26]])
    result = quantize_weights(w, bits=4, quantizer="max_per_tensor")
    assert result.levels.T.tolist() == [[2, -1, 1], [7, 0, 1]]
    assert result.scale.mantissa.shape == ()


def test_std_by_hand():
    # Standard deviation 1, range 3: levels of 2 bits round at 1.5, the outlier is clipped.
    w = jnp.array([[1.0], [-1.0], [1.0], [-1.0]] * 50 + [[6.0], [1.8], [1.4], [-1.8]])
    result = quantize_weights(w, bits=2, quantizer="std")
    deviation = float(np.std(np.asarray(w)))
    assert result.levels[:4, 0].tolist() == [0, 0, 0, 0]
    assert result.levels[-4:, 0].tolist() == [1, 1, 0, -1]
    assert result.passes[-4:, 0].tolist() == [False, True, True, True]
    # The deviation is taken to 1/2048 of the full scale of 8: 0.004 of about 1.1.
    assert float(result.scale.value) == pytest.approx(1 / (3 * deviation), rel=0.01)


@pytest.mark.parametrize("quantizer", QUANTIZERS)
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_every_compilation_equals_the_oracle(bits, quantizer, rng):
    batch = tensors(rng)

    def run(w):
        return quantize_weights(w, bits=bits, quantizer=quantizer)

    mapped = jax.jit(jax.vmap(run))(batch)
    constants = jax.jit(lambda: [run(w) for w in batch[:10]])()
    for index, w in enumerate(batch):
        levels, scales = weights_oracle(w, bits, quantizer)
        compiled = [jax.tree.map(lambda leaf, i=index: leaf[i], mapped)]
        if index < 10:
            compiled += [run(jnp.asarray(w)), constants[index]]
        for result in compiled:
            np.testing.assert_array_equal(result.levels, levels)
            mantissas = np.broadcast_to(result.scale.mantissa, 5).tolist()
            exponents = np.broadcast_to(result.scale.exponent, 5).tolist()
            assert [m * power(e) for m, e in zip(mantissas, exponents, strict=True)] == scales


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_laws_of_the_max_quantizers(bits, rng):
    limit = weight_limit(bits)
    # Rounding at 2**-15 of the range's power of two moves w * d by at most
    # limit * 2**-15, the truncation of d by limit * 2**15 / (limit * 2**20) of the limit.
    slack = limit * (2.0**-15 + 2.0**-14)
    for w in rng.normal(0, 0.3, (30, 3, 3, 4, 5)).astype(np.float32):
        result = quantize_weights(jnp.asarray(w), bits=bits)
        levels = np.asarray(result.levels)
        assert levels.dtype == np.int32
        assert (np.abs(levels).max((0, 1, 2)) == limit).all(), "the largest weight ends short"
        largest = np.abs(w).max((0, 1, 2))
        exact = w.astype(np.float64) * limit / largest
        assert (np.abs(levels - exact) <= 0.5 + slack + np.abs(exact) / (32 * limit)).all()
        value = np.asarray(result.scale.value)
        assert (value <= limit / largest * (1 + 2.0**-14)).all()
        assert (value >= limit / largest * (1 - 2.0**-14 - 1 / (32 * limit))).all()


def test_negation_negates_the_levels(rng):
    # Half-way cases round up on both sides; random weights have none.
    w = jnp.asarray(rng.normal(0, 1, (50, 6)).astype(np.float32))
    for quantizer in QUANTIZERS[:2]:
        plus = quantize_weights(w, bits=4, quantizer=quantizer).levels
        minus = quantize_weights(-w, bits=4, quantizer=quantizer).levels
        np.testing.assert_array_equal(plus, -minus)


def test_levels_do_not_depend_on_a_power_of_two(rng):
    w = jnp.asarray(rng.normal(0, 1, (50, 6)).astype(np.float32))
    for quantizer in QUANTIZERS:
        base = quantize_weights(w, bits=4, quantizer=quantizer)
        scaled = quantize_weights(w * 2.0**9, bits=4, quantizer=quantizer)
        np.testing.assert_array_equal(base.levels, scaled.levels)
        np.testing.assert_array_equal(base.scale.exponent - 9, scaled.scale.exponent)


def test_a_dead_filter_shares_the_floor_of_the_others():
    w = np.ones((4, 3), np.float32)
    w[:, 1] = 0
    w[:, 2] = 2.0**-14
    result = quantize_weights(jnp.asarray(w), bits=4)
    assert result.levels[0].tolist() == [7, 0, 0]
    np.testing.assert_allclose(result.scale.value, [7, 7 * 1024, 7 * 1024], rtol=1 / 224)


def test_a_filter_below_its_least_range_takes_it_but_not_more_than_the_largest():
    w = np.full((4, 4), 0.5, np.float32)
    w[:, 1:3] = 0.001
    least = jnp.array([0.1, 0.1, 3.0, 0.75], jnp.float32)
    result = quantize_weights(jnp.asarray(w), bits=4, least_range=least)
    # 7 / 0.5, 7 / 0.1, then the largest range stands for the 3.0 and the 0.75 asked for.
    np.testing.assert_allclose(result.scale.value, [14, 70, 14, 14], rtol=1 / 224)
    assert result.levels[0].tolist() == [7, 0, 0, 7]


def test_the_deviation_of_more_weights_than_float32_counts(rng):
    """More than 2**23 weights: sums of whole bytes would leave int32."""
    shape = (57334, 160)
    w = rng.uniform(-1, 1, shape).astype(np.float32)
    measured = 7 / float(quantize_weights(jnp.asarray(w), bits=4, quantizer="std").scale.value) / 3
    # The deviation of a uniform law, 1/sqrt(3); clipped, since three of it exceed the largest.
    assert measured == pytest.approx(1 / 3, rel=1 / 224)
    w[rng.random(shape) < 0.99] = 0
    measured = 7 / float(quantize_weights(jnp.asarray(w), bits=4, quantizer="std").scale.value) / 3
    noise = 2.0**-11 + 2.0**-8 / 12**0.5
    assert abs(measured - w.std(dtype=np.float64)) < noise


def test_too_many_weights_for_the_deviation_are_refused():
    with pytest.raises(ValueError, match=f"less than {2**25} weights, got {2**25}; use max_per"):
        jax.eval_shape(
            lambda w: quantize_weights(w, bits=4, quantizer="std").levels,
            jax.ShapeDtypeStruct((2**15, 2**10), jnp.float32),
        )


def test_an_empty_tensor_stays_finite():
    for quantizer in QUANTIZERS:
        result = quantize_weights(jnp.zeros((3, 2)), bits=4, quantizer=quantizer)
        assert not result.levels.any()
        assert np.isfinite(result.scale.value).all()


def test_the_deviation_of_many_weights_equals_the_oracle(rng):
    w = rng.normal(0.02, 0.05, (3, 3, 256, 512)).astype(np.float32)
    result = quantize_weights(jnp.asarray(w), bits=4, quantizer="std")
    # 2**20 weights: the integer means stay exact. Float64 agrees to 1/2048 of full scale
    # in the deviation, plus the rounding noise of 8-bit values (see _standard_deviation).
    top = np.abs(w).max()
    full = 2.0 ** np.frexp(top)[1]
    noise = full * (2.0**-11 + 2.0**-8 / 12**0.5)
    measured = 7 / float(result.scale.value) / 3
    assert abs(measured - w.std(dtype=np.float64)) < noise


@pytest.mark.parametrize("quantizer", QUANTIZERS)
def test_gradient_is_the_scale_where_rounding_decides(quantizer, rng):
    w = jnp.asarray(rng.standard_t(2, (400, 4)).astype(np.float32))
    weights = jnp.asarray(rng.normal(0, 1, (400, 4)).astype(np.float32))

    def loss(w):
        return (fake_levels(w, quantize_weights(w, bits=4, quantizer=quantizer)) * weights).sum()

    result = quantize_weights(w, bits=4, quantizer=quantizer)
    scale = np.broadcast_to(np.asarray(result.scale.value), w.shape)
    scaled = np.asarray(w, np.float64) * scale
    # Within one unit of the 16-bit rounding of the clip's edge either answer is right.
    sure = np.abs(np.abs(scaled) - 7.5) > 1e-2
    expected = np.where(np.abs(scaled) <= 7.5, weights * scale, 0)
    gradient = np.asarray(jax.grad(loss)(w))
    np.testing.assert_array_equal(gradient[sure], expected[sure].astype(np.float32))
    ends = np.abs(np.asarray(result.levels)) == 7
    inner = ends & (np.abs(scaled) < 7.49)
    assert inner.any()
    np.testing.assert_array_equal(gradient[inner], (weights * scale)[inner])
    clipped = np.abs(scaled) > 7.51
    assert clipped.any() == (quantizer == "std")
    assert not gradient[clipped].any()


def test_fake_levels_are_the_levels(rng):
    w = jnp.asarray(rng.normal(0, 1, (9, 4)).astype(np.float32))
    result = quantize_weights(w, bits=2)
    fake = fake_levels(w, result)
    assert fake.dtype == jnp.float32
    np.testing.assert_array_equal(fake, result.levels)


def test_unsupported_widths_and_names_are_refused():
    with pytest.raises(ValueError, match="weight bits must be 2, 4 or 8, got 3"):
        quantize_weights(jnp.ones((2, 2)), bits=3)
    with pytest.raises(ValueError, match=r"one of \('max_per_filter', .*\), got 'mean'"):
        quantize_weights(jnp.ones((2, 2)), bits=4, quantizer="mean")
