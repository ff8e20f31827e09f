import itertools

import numpy as np
import pytest
from flax import nnx

import akida_jax as aj
from akida_jax import quant
from akida_jax.executors import batches as cuts
from akida_jax.executors import choose_executor
from benchmarks import batches, executor, learning, timing
from benchmarks.networks import Case


@pytest.mark.parametrize(("ahead", "compile_s"), [(None, 1.0), ({"only": 7.0}, 7.0)])
def test_compile_time_is_that_of_the_first_call_or_given(monkeypatch, ahead, compile_s):
    # Call i takes 1 / (i + 1) seconds by a clock that is read before and after it.
    times = itertools.chain.from_iterable((10.0 * i, 10.0 * i + 1 / (i + 1)) for i in range(99))
    monkeypatch.setattr(timing.time, "perf_counter", lambda: next(times))
    result = timing.measure_in_turns({"only": lambda: 0}, compile_s=ahead, rounds=3)["only"]
    assert result["compile_s"] == compile_s
    assert result["rounds"] == 3
    expected = [1 / 6, 1 / 5, 1 / 4]  # after the first call and two that warm up
    found = [result[name] for name in ("min_s", "median_s", "max_s")]
    np.testing.assert_allclose(found, expected, rtol=1e-9)  # differences of the clock's floats


@pytest.fixture
def case(rng):
    """A small network on inputs of 4 bits."""
    layers = [
        quant.InputData(input_shape=(6, 6, 2), input_bits=4),
        quant.Conv(filters=2, kernel_size=3),
        quant.Dense(units=3, activation=False),
    ]
    network = quant.quantize(quant.Sequential(layers, rngs=nnx.Rngs(0)))
    x = rng.integers(0, 2, (4, 6, 6, 2), dtype=np.uint8)
    return Case("small", aj.convert(network), x, False)


def test_a_row_of_the_executors(case):
    row = executor.measure(case, 2, executor.Options(rounds=2, peers=False))
    names = ["dense", "dense, one core", "event"]
    expected = ["native", *names] if choose_executor("native") == "native" else names
    assert list(row["variants"]) == row["equal"] == expected
    for name in names:
        variant = row["variants"][name]
        assert variant["compile_s"] > 0.01  # more than any call of so small a network
        assert variant["compile_s"] > variant["median_s"]
        assert variant["images_per_s"] == pytest.approx(2 / variant["median_s"], rel=1e-3)


def test_executors_that_differ_are_no_row(monkeypatch, case):
    calls = {"wrong": lambda: np.ones((4, 1, 1, 3), np.int32)}
    monkeypatch.setattr(executor, "own_calls", lambda case, x: calls)
    with pytest.raises(AssertionError, match="wrong gives other integers"):
        executor.measure(case, 4, executor.Options(rounds=1, peers=False))


def test_a_row_of_the_batches(monkeypatch, rng):
    monkeypatch.setattr(timing, "ROUNDS", 2)
    monkeypatch.setattr(cuts, "LARGEST_PIECE", 4)
    layers = [
        quant.InputData(input_shape=(6, 6, 2), input_bits=4),
        quant.Conv(filters=2, kernel_size=3),
        quant.Dense(units=3, activation=False),
    ]
    model = aj.convert(quant.quantize(quant.Sequential(layers, rngs=nnx.Rngs(0))))
    x = rng.integers(0, 2, (8, 6, 6, 2), dtype=np.uint8)
    row = batches._row(model, x)
    names = ["whole", "pieces", "whole, split", "pieces, split", "chosen"]
    assert (row["piece"], list(row["variants"])) == (4, names)
    monkeypatch.setattr(model.__class__, "forward", lambda self, x, executor: np.ones((8, 1, 1, 3)))
    with pytest.raises(AssertionError, match="whole gives other integers"):
        batches._row(model, x)


def test_every_way_of_learning_gives_the_same_bits(monkeypatch):
    monkeypatch.setattr(learning, "EPISODES", 6)
    episodes = learning.make(2, 50)
    alone = [episodes.one(i) for i in range(6)]
    loops = [learning.NumpyLearner(episodes, i) for i in range(6)]
    learning.check(episodes, episodes.stacked(), alone, loops)
    loops[3].plasticity[:] = 0
    with pytest.raises(AssertionError):
        learning.check(episodes, episodes.stacked(), alone, loops)
