import dataclasses
import json
import re
import subprocess
import sys

import matplotlib.pyplot as plt
import pytest
import rich.console
from flax import nnx

from akida_jax import quant
from experiments import dvs_gesture, dvs_windows
from tests.conftest import ROOT
from tests.experiments import made_up


@pytest.mark.parametrize("name", dvs_windows.PRESETS)
def test_every_model_window_and_seed_is_a_point(name):
    config = dataclasses.replace(dvs_windows.PRESETS[name][1], seeds=(0, 5))
    points = list(dvs_windows.sweep(config))
    found = {(point.model, point.window_ms, point.seed) for point in points}
    expected = {
        (model, window, seed)
        for model in config.models for window in config.windows_ms for seed in config.seeds
    }  # fmt: skip
    assert found == expected
    assert len(points) == len(expected) == len({point.folder for point in points})
    assert {point.data for point in points} == {config.base.data}
    assert {point.bins for point in points} == {5}


def test_presets_are_the_papers_figure():
    for name in ("default", "nmnist"):
        config = dvs_windows.PRESETS[name][1]
        assert config.models == ("akida_tiny", "akida_small")
        assert min(config.windows_ms) < 100 < max(config.windows_ms)
        assert config.results == dvs_windows.RESULTS
    assert dvs_windows.PRESETS["nmnist"][1].base.data == "nmnist"


@pytest.mark.parametrize("name", ["default", "nmnist"])
def test_points_see_the_same_number_of_windows_to_half_an_epoch(name):
    config = dvs_windows.PRESETS[name][1]
    base = config.base
    # N-MNIST: 100 recordings of 300 ms per digit.
    recordings, duration = (1000, 300) if name == "nmnist" else (11 * base.n_train_per_class, 600)
    for point in dvs_windows.sweep(config):
        starts = range(0, duration - int(point.window_ms) + 1, int(point.train_stride_ms))
        windows = recordings * len(starts)
        assert abs(point.float_epochs * windows - config.train_windows) <= windows / 2
        assert point.quantized_epochs == max(1, point.float_epochs // 4)
        assert point.cycle_epochs == point.float_epochs


@pytest.mark.parametrize("window", [50.0, 300.0])
def test_the_count_of_windows_is_that_of_the_frames(window):
    base = dvs_gesture.Config(n_train_per_class=2, n_test_per_class=1, duration_ms=300.0)
    config = dvs_windows.Config(base=base, windows_ms=(window,), train_windows=5_000)
    point = next(dvs_windows.sweep(config))
    _, frames = dvs_gesture.load(point)
    assert point.float_epochs == round(5_000 / len(frames.train_x))


def test_nmnist_count_is_that_of_the_frames(data_dir):
    if not (data_dir / "nmnist_small").is_dir():
        pytest.skip("no nmnist_small in AKIDA_JAX_DATA")
    base = dvs_gesture.Config(data="nmnist", data_dir=str(data_dir / "nmnist_small"))
    config = dvs_windows.Config(base=base, windows_ms=(200.0,))
    point = next(dvs_windows.sweep(config))
    _, frames = dvs_gesture.load(point)
    assert point.float_epochs == round(config.train_windows / len(frames.train_x))


@pytest.mark.parametrize("window", [301.0, 350.0, 1000.0])
def test_a_window_longer_than_the_recordings_is_refused(window, tmp_path):
    base = dvs_gesture.Config(
        n_train_per_class=1, n_test_per_class=1, duration_ms=300.0, output=str(tmp_path)
    )
    config = dvs_windows.Config(base=base, windows_ms=(window,))
    with pytest.raises(ValueError, match=f"no window of {window:g} ms fits"):
        dvs_windows.collect(config, rich.console.Console(quiet=True))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--base.weight-bits", "8"], "--weight-bits must be one of 2, 4, got 8"),
        (["--windows-ms", "20", "0"], "--windows-ms must be at least 0.001, got 0"),
        (
            ["--models", "akida_huge"],
            "--models must be one of akida_tiny, akida_small, got akida_h",
        ),
        (["--train-windows", "0"], "--train-windows must be at least 1, got 0"),
        (["--seeds"], "--seeds must name at least one value"),
    ],
)
def test_settings_that_cannot_work_are_refused(monkeypatch, arguments, message):
    monkeypatch.setattr(dvs_windows, "collect", None)
    with pytest.raises(ValueError, match=message):
        dvs_windows.main(["smoke", *arguments])


def test_mean_accuracy_by_hand():
    points = [
        {"model": model, "window_ms": window, "accuracy": {"integer": value}}
        for model, window, value in (
            ("a", 100.0, 0.5), ("a", 20.0, 0.25), ("b", 20.0, 0.9), ("a", 100.0, 1.0),
        )
    ]  # fmt: skip
    curve = dvs_windows.mean_accuracy({"points": points}, "a", "integer")
    assert list(curve.items()) == [(20.0, 0.25), (100.0, 0.75)]
    assert dvs_windows.mean_accuracy({"points": points}, "b", "integer") == {20.0: 0.9}


def test_report():
    console = rich.console.Console(width=120)
    with console.capture() as capture:
        dvs_windows.report(made_up.window_result(), console)
    text = re.sub(r"[│┃]", " ", capture.get())
    # Float: 0.5 + 20 / 250 and the mean of 0 and 1/50 over the seeds; integer: 0.4 + 20 / 250.
    assert re.search(r"20 +59\.0% +48\.0% +59\.0% +48\.0%", text)
    assert re.search(r"100 +91\.0% +80\.0% +91\.0% +80\.0%", text)


@pytest.mark.parametrize("windows", [(20.0, 100.0), (50.0,)])
def test_drawn_from_the_result_alone_and_always_the_same(tmp_path, windows):
    result = json.loads(json.dumps(made_up.window_result(windows)))
    for name in ("one.png", "two.png"):
        dvs_windows.draw(result, tmp_path / name)
    image = plt.imread(tmp_path / "one.png")[..., :3].mean(-1)
    assert min(image.shape) > 300
    assert max(image.shape) < 2000
    assert image.var() > 1e-3
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()


def test_missing_data_end_the_command(tmp_path):
    command = [sys.executable, "-m", "experiments.dvs_windows", "nmnist"]
    command += ["--base.data-dir", "nowhere", "--results", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "error: data set 'nmnist': no nowhere/Train" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_smoke(tmp_path, monkeypatch):
    """The preset with a network that compiles soon; the command itself runs the real one."""

    def build(name, *, classes, input_shape, seed):
        layers = [
            quant.InputData(input_shape=input_shape, input_bits=4),
            quant.Conv(filters=4, kernel_size=3, stride=2, pool="global_average"),
            quant.Dense(units=classes, activation=False),
        ]
        return quant.Sequential(layers, rngs=nnx.Rngs(seed))

    monkeypatch.setattr(dvs_gesture.zoo, "build", build)
    arguments = ["smoke", "--base.output", str(tmp_path / "runs"), "--results", str(tmp_path),
                 "--pictures", str(tmp_path)]  # fmt: skip
    result = dvs_windows.main(arguments)
    assert [point["window_ms"] for point in result["points"]] == [50.0, 300.0]
    assert {point["model"] for point in result["points"]} == {"akida_tiny"}
    for point in result["points"]:
        accuracy = point["accuracy"]
        assert 0 <= accuracy["integer"] == accuracy["quantized"] <= 1
        assert 0 <= accuracy["float"] <= 1
    stored = json.loads((tmp_path / "dvs_windows_synthetic.json").read_text())
    assert stored == json.loads(json.dumps(result))
    assert {"commit", "versions", "device", "date", "config", "title"} <= set(stored)
    assert plt.imread(tmp_path / "dvs_windows_synthetic.png").var() > 1e-3

    # Finished points are not trained again.
    monkeypatch.setattr(dvs_gesture, "load", None)
    assert dvs_windows.main(arguments)["points"] == result["points"]
