"""Every layer on every executor, against plain Python loops, with `==` and the dtype."""

import functools

import jax.numpy as jnp
import numpy as np
import pytest

import akida_jax as aj
from akida_jax.executors import dense_potentials, event, event_potentials, run_layers
from akida_jax.executors.half import half_potentials
from akida_jax.executors.native import NativeNetwork, available_paths, native_fault
from tests.battery import BATTERY, random_model
from tests.samples import (
    WEIGHTS,
    assert_same,
    execute,
    expect,
    random_inputs,
    random_variables,
    small_model,
)

pytestmark = pytest.mark.integers

whole_list = functools.partial(event_potentials, capacity=1.0)
tiny_list = functools.partial(event_potentials, capacity=0.02)


@pytest.mark.parametrize("layers", BATTERY)
def test_layer_equals_plain_python(layers, rng):
    model = aj.Model(layers)
    x = random_inputs(rng, model.input_shape, 2**model.input_bits - 1)
    for weights in WEIGHTS:
        model = model.with_variables(random_variables(rng, model, weights))
        expected = expect(model, x)
        assert_same(execute(model.programs, x, dense_potentials), expected)
        assert_same(execute(model.programs, x, whole_list), expected)
        if all(program.groups == 1 for program in model.programs):
            assert_same(execute(model.programs, x, half_potentials), expected)
        for path in () if native_fault() else available_paths():
            potentials = np.asarray(NativeNetwork(model.programs, path=path)(x))
            np.testing.assert_array_equal(potentials, expected[1], strict=True)
        if weights == "random":
            assert len(np.unique(expected[2])) > 1, "the test would not notice a constant"


def test_every_layer_type_runs_on_a_short_list(rng):
    # 2 % of the pixels: the dense samples overflow, and layers switch path one by one.
    model = small_model(rng)
    x = random_inputs(rng, model.input_shape, 255)
    assert_same(execute(model.programs, x, tiny_list), expect(model, x))


@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2, 3))]
)
def test_deep_random_models_equal_plain_python(seed):
    rng = np.random.default_rng(seed)
    model = random_model(rng)
    model = model.with_variables(random_variables(rng, model))
    x = random_inputs(rng, model.input_shape, 2**model.input_bits - 1)
    expected = expect(model, x)
    for executor in ("dense", "event", "native", "auto"):
        out = model.forward(x, executor=executor)
        assert out.dtype == (np.uint8 if model.layers[-1].activation else np.int32)
        np.testing.assert_array_equal(out, expected[2])


def _is_overflowing(monkeypatch, layers, n_active, capacity):
    """Whether the dense branch ran: its result is shifted to tell."""
    monkeypatch.setattr(
        event,
        "dense_potentials",
        lambda program, x: dense_potentials(program, x) + jnp.int32(10**6),
    )
    model = aj.Model(layers)
    x = np.zeros((2, *model.input_shape), np.uint8)
    x.reshape(-1, x.shape[-1])[:n_active, 0] = 1
    potentials = functools.partial(event_potentials, capacity=capacity)
    last = np.asarray(execute(model.programs, x, potentials)[1])
    assert set(np.unique(last)) in ({0}, {10**6})
    return bool(last.all())


@pytest.mark.parametrize("type_", [aj.Convolutional, aj.SeparableConvolutional])
def test_the_list_overflows_at_its_capacity(type_, monkeypatch):
    layers = [aj.InputData(input_shape=(4, 5, 2)), type_(filters=2, kernel_size=3)]
    # 2 samples of 20 pixels at 25 %: ten entries.
    assert not _is_overflowing(monkeypatch, layers, 10, 0.25)
    assert _is_overflowing(monkeypatch, layers, 11, 0.25)


def test_the_list_of_a_dense_layer_holds_single_inputs(monkeypatch):
    layers = [aj.InputData(input_shape=(1, 1, 40)), aj.FullyConnected(units=2)]
    # Channel 0 of both samples is set: 2 events among 80 inputs.
    assert not _is_overflowing(monkeypatch, layers, 2, 2 / 80)
    assert _is_overflowing(monkeypatch, layers, 2, 1 / 80)


@pytest.mark.parametrize("executor", [dense_potentials, event_potentials])
def test_no_inputs_give_no_potentials(executor, rng):
    """Also where the executor is called as it is, inside other jitted programs."""
    for pool in (None, "global_average"):
        layers = [
            aj.InputData(input_shape=(4, 5, 3), input_bits=4),
            aj.SeparableConvolutional(filters=6, kernel_size=3, pool=pool, name="map"),
            aj.FullyConnected(units=2, activation=False),
        ]
        programs = aj.Model(layers).programs
        potentials = run_layers(programs, jnp.zeros((0, 4, 5, 3), jnp.uint8), executor)[1]
        assert potentials.shape == (0, 1, 1, 2)
        assert potentials.dtype == jnp.int32
