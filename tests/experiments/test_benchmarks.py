import itertools
import json
import platform
import re
import sys

import numpy as np
import pytest
from flax import nnx

import akida_jax as aj
from akida_jax import quant
from akida_jax.executors import batches as cuts
from akida_jax.executors import choose_executor
from akida_jax.zoo.datasets import Examples
from benchmarks import (
    batches,
    density,
    executor,
    faults,
    learning,
    memory,
    operations,
    report,
    sparsity,
    timing,
    training,
)
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


def test_a_row_of_the_executors(case, compiled_anew):
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
    path = density.choose_path(None)
    assert path != "amx"
    ways = density.measure(density.make_layer((6, 6, 3), 4, "max", x), x, path)
    native = ["native", "native, chosen", *density.WAYS]
    assert ways == [*native * (choose_executor("native") == "native"), "dense", "event"]


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_every_layer_has_the_share_of_zeros(share):
    layers = [
        quant.InputData(input_shape=(8, 8, 3), input_bits=4),
        quant.Conv(filters=6, kernel_size=3, pool="max"),
        quant.Conv(filters=5, kernel_size=3),
        quant.Dense(units=3, activation=False),
    ]
    plain = aj.convert(quant.quantize(quant.Sequential(layers, rngs=nnx.Rngs(0))))
    x = sparsity.generate(plain, 32, share)
    # Five standard deviations of a share of so many places.
    assert abs((x == 0).mean() - share) < 5 * (share * (1 - share) / x.size) ** 0.5
    model = sparsity.with_sparsity(plain, x, share)
    found = list(model.activity(x).sparsity.values())[:-1]
    # Of 32 x 16 potentials of a filter the share is that of a whole number, more where some equal
    # the threshold: none of these hundreds of values takes more than a tenth of the places.
    assert len(found) == 2
    assert all(share <= zeros < share + 0.1 for zeros in found)
    levels = model.up_to(model.layers[2].name).forward(x, "dense")
    assert levels.max() == 15  # steps spread what is left over all levels
    row = {"network": "small", "sparsity": share, "batch": 2, "found": {"input": 0.0, "one": 0.5,
           "two": 0.25, "last": 0.0}}  # fmt: skip
    row["variants"] = sparsity.measure(model, x[:2], rounds=1, peers=False)
    assert set(row["variants"]) - {"native"} == {"dense", "event"}
    assert f"| small | {share:.0%} | 25% to 50% | 2 |" in report.sparsity_table([row])


@pytest.mark.parametrize(
    ("constant", "side", "convolutions"),
    [("FEW_POSITIONS", 2, [2, 0]), ("FEW_POSITIONS", 8, [2, 0]), ("MANY_POSITIONS", 4, [1, 0])],
)
def test_each_way_is_held_to(constant, side, convolutions):
    calls = operations.make_calls(constant, side, (2, 3))
    # The forward pass of a kernel's gradient is not needed and left out.
    found = [calls[way].func.as_text().count(" convolution(") for way in operations.WAYS]
    found = [count + calls[way].func.as_text().count("__onednn$conv")
             for way, count in zip(operations.WAYS, found, strict=True)]  # fmt: skip
    assert found == convolutions
    row = operations.measure(constant, side, (2, 3), rounds=1)
    assert row["positions"] == side**2
    assert f"{constant} | 2 to 3 | {side**2}: " in report.operations_table([row])


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="sets the heap of glibc")
def test_page_faults_of_a_step():
    # Arrays of a smaller network lie below the size from which memory is given back.
    options = faults.Options(network="akida_small", steps=3)
    # The best of three: what else the machine does can only add faults, and does.
    taken = {
        way: min((faults.run(way, options) for _ in range(3)), key=lambda found: found["faults"])
        for way in faults.WAYS
    }
    assert 2 * taken["kept"]["faults"] < taken["given back"]["faults"]
    rows = [{"network": "akida_small", "memory": way, **found} for way, found in taken.items()]
    assert report.faults_table(rows).count("akida_small") == 2


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


@pytest.mark.parametrize(
    "name", ["executor", "memory", "density", "training", "operations", "sparsity"]
)
def test_a_commit_holds_the_code_of_the_results(name):
    commit = json.loads((report.RESULTS / f"{name}.json").read_text())["commit"]
    assert re.fullmatch(r"[0-9a-f]{12}", commit)


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
