import itertools
import sys

import numpy as np
import pytest
from flax import nnx

import akida_jax as aj
from akida_jax import quant
from akida_jax.executors import batches as cuts
from akida_jax.executors import choose_executor
from akida_jax.zoo.datasets import Examples
from benchmarks import batches, density, executor, learning, memory, report, timing, training
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


def test_events_are_quicker_up_to_where_both_take_as_long():
    def rows(*gains):
        return [{"words": 0.1 * i, "variants": {"rows": {"median_s": np.exp(gain)},
                                                "events": {"median_s": 1.0}}}
                for i, gain in enumerate(gains, 1)]  # fmt: skip

    ways = ("rows", "events")
    # The logarithm of the ratio falls from 0.6 at 0.2 to -0.2 at 0.3.
    assert density.break_even(rows(1.0, 0.6, -0.2, -1.0), ways, "words") == 0.275
    assert density.break_even(rows(-0.1, 0.5), ways, "words") is None
    assert density.break_even(rows(0.2, 0.1), ways, "words") == 1.0


@pytest.mark.parametrize("pixels", [False, True])
def test_a_generated_input_has_its_density(pixels):
    x = density.generate((28, 28, 8), 0.2, pixels=pixels)
    active = x.any(-1) if pixels else x != 0
    # Five standard deviations of a share of so many places.
    assert abs(active.mean() - 0.2) < 5 * (0.2 * 0.8 / active.size) ** 0.5
    assert density.word_share(np.array([[[[0, 0, 0, 0, 1, 0]]]])) == 0.5


def test_every_way_through_a_layer_is_timed(monkeypatch):
    monkeypatch.setattr(density, "measure_in_turns", lambda calls, **given: list(calls))
    x = density.generate((6, 6, 3), 0.3, pixels=True)
    ways = density.measure(density.make_layer((6, 6, 3), 4, "max", x), x)
    native = ["native", *density.WAYS] if choose_executor("native") == "native" else []
    assert ways == [*native, "dense", "event"]


def test_goals_are_told_by_batch():
    def row(batch, **seconds):
        variants = {name: {"median_s": value} for name, value in seconds.items()}
        return {"case": "akida_tiny", "batch": batch, "variants": variants}

    rows = [row(1, native=1.0, **{"ONNX Runtime int8": 4.0}), row(8, native=2.0)]
    results = {"executor": rows, "density": [], "training": [], "memory": []}
    made = report.goals(results)
    assert made[2] == ["Akida Tiny, native", "ONNX Runtime int8", "3.0", "1: 4.00", "yes"]
    assert made[0][-1] == "not measured"
    rows.append(row(32, native=2.0, **{"ONNX Runtime int8": 5.0}))
    assert report.goals(results)[2][3:] == ["1: 4.00, 32: 2.50", "not at 32"]


def test_the_document_shows_the_committed_results():
    text, made = report.DOCUMENT.read_text(), report.tables(report.load_results())
    assert report.fill(text, made) == text
    assert all(f"<!-- table: {name} -->" in text for name in made)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_of_an_executor_alone(case, tmp_path):
    files = memory.prepare(case.model, case.x, tmp_path, peers=False)
    assert list(files) == ["native", "dense"]
    taken = memory._run(*files["dense"])
    assert 50 < taken["before"] <= taken["peak"] == pytest.approx(taken["before"] + taken["added"])


def test_a_step_of_training_gives_its_loss(rng):
    network = quant.Sequential(
        [quant.InputData(input_shape=(6, 6, 2), input_bits=4),
         quant.Dense(units=3, activation=False)],
        rngs=nnx.Rngs(0),
    )  # fmt: skip
    x = rng.integers(0, 2, (8, 6, 6, 2), dtype=np.uint8)
    step = training.make_step(network, Examples(x, (np.arange(8) % 3).astype(np.int32)))
    losses = [step() for _ in range(20)]
    assert losses[-1] < losses[0]
