"""Every layer on every executor, against plain Python loops, with `==` and the dtype."""

import functools
import itertools

import jax.numpy as jnp
import numpy as np
import pytest

import akida_jax as aj
from akida_jax.executors import dense_potentials, event, event_potentials, run_layers
from akida_jax.executors.half import half_potentials
from akida_jax.executors.native import NativeNetwork, available_paths, native_fault
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

# Kernel, stride, padding, input shape, padding value, weight bits, activation bits (0 for
# no activation), pool.
_INPUT_CONVOLUTIONS = [
    (3, 1, "same", (6, 7, 1), 0, 8, 4, None),
    (3, 2, "same", (7, 8, 3), 128, 8, 4, None),
    (3, 2, "same", (6, 6, 3), 255, 8, 4, (2, 2)),
    (3, 2, "same", (9, 9, 1), 255, 8, 0, (2, 2)),
    (3, 3, "same", (8, 7, 3), 255, 4, 2, None),
    (5, 1, "same", (5, 6, 3), 128, 2, 1, (1, 2)),
    (5, 2, "same", (8, 9, 1), 255, 8, 4, (2, 1)),
    (5, 3, "same", (9, 8, 3), 0, 8, 2, (2, 2)),
    (7, 1, "same", (6, 5, 3), 255, 8, 4, (2, 2)),
    (7, 2, "same", (7, 8, 1), 128, 8, 0, None),
    (7, 3, "same", (10, 9, 3), 128, 8, 1, None),
    (3, 1, "valid", (5, 6, 3), 128, 8, 4, (2, 2)),
    (3, 2, "valid", (8, 9, 3), 255, 8, 4, None),
    (3, 3, "valid", (9, 10, 1), 0, 4, 2, (1, 2)),
    (5, 1, "valid", (7, 8, 1), 0, 8, 4, (2, 1)),
    (5, 2, "valid", (9, 10, 3), 128, 2, 4, None),
    (5, 3, "valid", (11, 9, 3), 0, 8, 0, None),
    (7, 1, "valid", (9, 8, 1), 255, 8, 1, None),
    (7, 2, "valid", (10, 11, 3), 0, 8, 4, (2, 2)),
    (7, 3, "valid", (10, 10, 3), 0, 8, 2, None),
]
_INPUT_FAST = [(3, 2, "same"), (5, 2, "same"), (7, 1, "same"), (3, 1, "valid")]
_TAIL = (aj.Convolutional(filters=2, kernel_size=1, activation=False),)
_POOLS = {
    "plain": ({}, ()),
    "max1": ({"pool": "max", "pool_stride": 1}, _TAIL),
    "max2": ({"pool": "max", "pool_size": 2, "pool_stride": (2, 2)}, _TAIL),
    "average": ({"pool": "global_average"}, ()),
}
_WINDOWS = {"conv": [(1, 1), (3, 1), (3, 2), (5, 1), (7, 1)],
            "separable": [(3, 1), (3, 2), (5, 1), (7, 1)]}  # fmt: skip
_EVENT_FAST = ["conv-k1-s1-average", "conv-k3-s1-plain", "conv-k3-s1-max1", "conv-k3-s2-max2",
               "conv-k5-s1-plain", "separable-k3-s1-plain", "separable-k3-s1-max2",
               "separable-k3-s2-plain", "separable-k3-s2-average",
               "separable-k7-s1-average"]  # fmt: skip
_WIDTHS = [(4, 4, 4), (4, 4, 1), (4, 2, 2), (2, 4, 4), (1, 2, 2), (4, 4, 2), (1, 4, 1)]
_SHAPES = [(5, 7, 3), (6, 4, 2), (7, 5, 1), (4, 4, 3), (3, 6, 2)]
_DENSE = [
    ((1, 1, 40), 4, 4, 4),
    ((1, 1, 33), 1, 1, 1),
    ((3, 5, 7), 4, 2, 2),
    ((4, 3, 6), 2, 4, 0),
    ((1, 1, 64), 1, 1, 0),
]


def _marked(layers, name, *, slow):
    return pytest.param(layers, id=name, marks=[pytest.mark.slow] if slow else [])


def _input_convolutions():
    for k, stride, padding, shape, value, weight_bits, act_bits, pool in _INPUT_CONVOLUTIONS:
        layer = aj.InputConvolutional(
            input_shape=shape, filters=3, kernel_size=k, stride=stride, padding=padding,
            padding_value=value, weight_bits=weight_bits, act_bits=act_bits or 4,
            activation=act_bits > 0, pool="max" if pool else None, pool_size=pool or 2,
        )  # fmt: skip
        name = f"input-k{k}-s{stride}-{padding}-{'x'.join(map(str, shape))}"
        yield _marked([layer], name, slow=(k, stride, padding) not in _INPUT_FAST)


def _event_convolutions():
    # The lengths of the lists are coprime, so that widths, shapes and pools mix.
    turn = itertools.count(1)
    for kind, windows in _WINDOWS.items():
        type_ = {"conv": aj.Convolutional, "separable": aj.SeparableConvolutional}[kind]
        for (k, stride), (pool, (options, tail)) in itertools.product(windows, _POOLS.items()):
            i = next(turn)
            input_bits, weight_bits, act_bits = _WIDTHS[i % len(_WIDTHS)]
            layer = type_(
                filters=3, kernel_size=k, stride=stride, weight_bits=weight_bits,
                act_bits=act_bits, activation=bool(tail) or i % 3 > 0, **options,
            )  # fmt: skip
            first = aj.InputData(input_shape=_SHAPES[i % len(_SHAPES)], input_bits=input_bits)
            name = f"{kind}-k{k}-s{stride}-{pool}"
            yield _marked([first, layer, *tail], name, slow=name not in _EVENT_FAST)


def _dense_layers():
    for shape, input_bits, weight_bits, act_bits in _DENSE:
        first = aj.InputData(input_shape=shape, input_bits=input_bits)
        layer = aj.FullyConnected(
            units=4, weight_bits=weight_bits, act_bits=act_bits or 4, activation=act_bits > 0
        )
        name = f"dense-{'x'.join(map(str, shape))}-w{weight_bits}"
        yield _marked([first, layer], name, slow=False)


@pytest.mark.parametrize(
    "layers", [*_input_convolutions(), *_event_convolutions(), *_dense_layers()]
)
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
    model = _random_model(rng)
    model = model.with_variables(random_variables(rng, model))
    x = random_inputs(rng, model.input_shape, 2**model.input_bits - 1)
    expected = expect(model, x)
    for executor in ("dense", "event", "native", "auto"):
        out = model.forward(x, executor=executor)
        assert out.dtype == (np.uint8 if model.layers[-1].activation else np.int32)
        np.testing.assert_array_equal(out, expected[2])


def _random_model(rng):
    def pick(*choices):
        return choices[rng.integers(len(choices))]

    size = (int(rng.integers(7, 11)), int(rng.integers(7, 11)))
    layers = [
        pick(
            aj.InputData(input_shape=(*size, 3), input_bits=pick(1, 2, 4)),
            aj.InputConvolutional(input_shape=(*size, 3), filters=4, kernel_size=3,
                                  stride=pick(1, 2), padding_value=pick(0, 99)),
        )
    ]  # fmt: skip
    for _ in range(3):
        widths = {"weight_bits": pick(2, 4), "act_bits": pick(1, 2, 4)}
        type_ = pick(aj.Convolutional, aj.SeparableConvolutional)
        layers.append(type_(filters=int(rng.integers(2, 7)), kernel_size=3, **widths,
                            stride=pick(1, 2), pool=pick(None, "max"),
                            pool_stride=pick(1, 2)))  # fmt: skip
    layers.append(aj.Convolutional(filters=5, kernel_size=pick(1, 3)))
    return aj.Model([*layers, aj.FullyConnected(units=6, activation=pick(True, False))])


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
