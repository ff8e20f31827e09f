"""Sums beyond 2**24, where float32 alone would lose the last bit; and laws."""

import functools

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis.extra import numpy as hnp

import akida_jax as aj
from akida_jax.executors import dense_potentials, event_potentials
from akida_jax.quant.potentials import exact_potentials
from tests import reference
from tests.samples import assert_same, execute, expect, random_variables

pytestmark = pytest.mark.integers

whole_list = functools.partial(event_potentials, capacity=1.0)


def _near_the_limit(rng, model):
    """Weights of the two highest levels, so that sums are large and often odd."""
    variables = random_variables(rng, model)
    for layer in variables.values():
        for key in {"kernel", "pointwise"} & set(layer):
            layer[key] = rng.integers(6, 8, layer[key].shape).astype(np.int8)
    return model.with_variables(variables)


@pytest.mark.parametrize("pool", [None, "global_average"])
def test_separable_sums_beyond_float32_are_exact(pool, rng):
    # Worst case 7*7 * 15 * 7 * 600 * 7 = 21 609 000 > 2**24.
    model = aj.Model([
        aj.InputData(input_shape=(7, 7, 600)),
        aj.SeparableConvolutional(filters=2, kernel_size=7, pool=pool, activation=False),
    ])  # fmt: skip
    model = _near_the_limit(rng, model)
    assert model.programs[0].groups == 2
    x = rng.integers(13, 16, (2, 7, 7, 600), dtype=np.uint8)
    x[1] = 15
    expected = expect(model, x)
    beyond = expected[1][np.abs(expected[1]) > 2**24]
    assert (beyond % 2 == 1).any(), "float32 holds every sum: the test shows nothing"
    assert_same(execute(model.programs, x, dense_potentials), expected)
    assert_same(execute(model.programs, x, whole_list), expected)


def test_one_group_would_round_where_two_are_exact():
    model = aj.Model([
        aj.InputData(input_shape=(7, 7, 600)),
        aj.SeparableConvolutional(filters=1, kernel_size=7, activation=False),
    ])  # fmt: skip
    kernel = np.full((7, 7, 1, 600), 7, np.int8)
    kernel[0, 0, 0, 0] = 6  # the centre: 15 * 7 * (7*7*7*600 - 1) = 21 608 895, odd
    model = model.with_variables({
        "separable_0": {"kernel": kernel, "pointwise": np.full((600, 1), 7, np.int8)}
    })  # fmt: skip
    x = np.full((1, 7, 7, 600), 15, np.uint8)
    program = model.programs[0]
    single = exact_potentials(program.spec, x.astype(np.float32), program.float_kernels(), groups=1)
    assert model.forward(x)[0, 3, 3, 0] == 21_608_895
    assert single[0, 3, 3, 0] != 21_608_895


def test_max_pool_of_sums_beyond_float32_is_exact(rng):
    model = aj.Model([
        aj.InputData(input_shape=(7, 8, 600)),
        aj.SeparableConvolutional(filters=8, kernel_size=7, pool="max", pool_stride=2),
        aj.Convolutional(filters=1, kernel_size=1, activation=False),
    ])  # fmt: skip
    model = _near_the_limit(rng, model)
    x = rng.integers(14, 16, (1, 7, 8, 600), dtype=np.uint8)
    layer, variables = model.layers[1], model.variables["separable_0"]
    nested = {key: array.tolist() for key, array in variables.items()}
    expected = np.array(reference.layer_potentials(layer, nested, x[0].tolist()), np.int32)
    assert (expected[expected > 2**24] % 2 == 1).any()
    potentials = np.asarray(dense_potentials(model.programs[0], x.astype(np.float32)))
    np.testing.assert_array_equal(potentials[0], expected, strict=True)


@pytest.mark.parametrize("activation", [True, False])
def test_global_sums_beyond_float32_are_exact(activation, rng):
    # Worst case 3*3*130 * 15*7 * 16*16 = 31 449 600; one position stays below 2**24.
    model = aj.Model([
        aj.InputData(input_shape=(16, 16, 130)),
        aj.Convolutional(filters=3, kernel_size=3, pool="global_average",
                         activation=activation),
    ])  # fmt: skip
    model = _near_the_limit(rng, model)
    kernel = model.variables["conv_0"]["kernel"].copy()
    kernel[..., 1] *= -1
    kernel[..., 2] = rng.integers(-7, 8, kernel.shape[:3])
    model = model.with_variables({"conv_0": {"kernel": kernel}})
    assert model.programs[0].groups == 1
    x = rng.integers(13, 16, (2, 16, 16, 130), dtype=np.uint8)
    expected = expect(model, x)
    if activation:  # thresholds beside the third filter's sums: levels in the middle
        third = int(expected[1][0, 0, 0, 2])
        assert abs(third) < 2**19
        threshold = np.array([0, 0, third - 40], np.int32)
        step = np.array([1, 1, 8], np.float32)
        model = model.with_variables({"conv_0": {"threshold": threshold, "step": step}})
        expected = expect(model, x)
        assert list(expected[2][0, 0, 0]) == [15, 0, 5]
    assert np.abs(expected[1]).max() > 2**24
    assert (expected[1][np.abs(expected[1]) > 2**24] % 2 == 1).any()
    assert_same(execute(model.programs, x, dense_potentials), expected)
    assert_same(execute(model.programs, x, whole_list), expected)


_LAWS = aj.Model([
    aj.InputData(input_shape=(5, 4, 2)),
    aj.Convolutional(filters=3, kernel_size=3, act_bits=2),
    aj.SeparableConvolutional(filters=2, kernel_size=3, stride=2, weight_bits=2),
    aj.FullyConnected(units=3, activation=False),
])  # fmt: skip


@hypothesis.settings(max_examples=40, deadline=None, derandomize=True)
@hypothesis.given(
    x=hnp.arrays(np.uint8, (2, 5, 4, 2), elements=st.integers(0, 15), fill=st.just(0)),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_input_gives_the_same_integers_everywhere(x, seed):
    model = _LAWS.with_variables(random_variables(np.random.default_rng(seed), _LAWS))
    expected = expect(model, x)
    assert_same(execute(model.programs, x, dense_potentials), expected)
    assert_same(execute(model.programs, x, whole_list), expected)


@hypothesis.settings(max_examples=40, deadline=None, derandomize=True)
@hypothesis.given(x=hnp.arrays(np.uint8, (1, 6, 5, 2), elements=st.integers(0, 15)))
def test_stride_one_convolution_commutes_with_shifts(x):
    model = aj.Model([
        aj.InputData(input_shape=(12, 11, 2)), aj.Convolutional(filters=2, kernel_size=3),
    ])  # fmt: skip
    model = model.with_variables(random_variables(np.random.default_rng(5), model))
    variables = {"conv_0": {"threshold": np.array([0, 3], np.int32)}}  # nothing fires on 0
    model = model.with_variables(variables)
    frame = np.zeros((2, 12, 11, 2), np.uint8)
    frame[0, 2:8, 2:7] = x[0]
    frame[1, 4:10, 3:8] = x[0]
    out = model.forward(frame, executor="event")
    np.testing.assert_array_equal(out[0, 1:9, 1:8], out[1, 3:11, 2:9])


def test_no_events_in_no_events_out():
    model = _LAWS
    x = np.zeros((3, 5, 4, 2), np.uint8)
    for executor in ("dense", "event"):
        assert not model.forward(x, executor=executor).any()
    assert all(layer.synaptic_operations == 0 for layer in model.activity(x).values())
