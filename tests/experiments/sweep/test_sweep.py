import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from flax import nnx

import akida_jax as aj
from akida_jax import mapping, quant
from experiments import dvs_gesture, sweep, train, train_data
from experiments.presets import read_settings
from experiments.sweeping import claims, points, space
from tests.conftest import ROOT
from tests.experiments.test_train import make_set

SMALL = train.Config(model="gxnor", n_train=8, float_epochs=1, quantized_epochs=1, batch_size=8,
                     n_calibration=8)  # fmt: skip


@pytest.fixture
def halves(monkeypatch):
    """Data with two classes, and a network that compiles soon."""

    def build(name, *, classes, input_shape, seed):
        layers = [
            quant.InputConv(input_shape=input_shape, filters=2, kernel_size=3, stride=2,
                            name="conv_0"),
            quant.Conv(filters=3, kernel_size=3, stride=2, pool="global_average", name="conv_1"),
            quant.Dense(units=classes, activation=False, name="predictions"),
        ]  # fmt: skip
        return quant.Sequential(layers, rngs=nnx.Rngs(seed))

    monkeypatch.setattr(train_data, "load_images", lambda name, **given: make_set())
    monkeypatch.setattr(train.zoo, "build", build)


def make_config(folder, **changes):
    base = dataclasses.replace(SMALL, output=str(folder / "points"))
    given = {"base": base, "axes": ("device=akd1000,akd1500", "mode=minimal,hw_pr"),
             "name": "small", "output": str(folder), **changes}  # fmt: skip
    return sweep.Config(**given)


@pytest.mark.parametrize("name", sweep.PRESETS)
def test_presets(name):
    config = read_settings(sweep.PRESETS, [name])
    assert config == sweep.PRESETS[name][1]
    slots = config.slots()
    assert len(slots) == len({json.dumps(slot) for slot in slots})
    if name.startswith("fashion"):
        assert len(slots) >= 24
        assert config.base.data == "fashion-mnist"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--axes"], "--axes must name at least one axis"),
        (["--axes", "alpha"], "axis 'alpha' must be NAME=VALUE"),
        (["--axes", "seed=-1,0"], "axis 'seed', value -1: --seed must be 0 to .*, got -1"),
        (["--objectives", "speed"], "--objectives must be one of accuracy, .*, got speed"),
        (["--objectives"], "--objectives must name at least one value"),
        (["--objectives", "nps", "nps"], "--objectives must differ, got nps, nps"),
        (["--pruner", "median"], "--pruner median judges by accuracy, and Optuna prunes for one "
         "objective only: add --objectives accuracy, got accuracy, energy_mj"),
        (["--sampler", "tpe"], "--trials must be given for --sampler tpe"),
        (["--trials", "3"], "--trials must be 4, the points of the grid, or left out; got 3"),
        (["--axes", "weight_decay=0..1"], "--sampler grid: a grid needs values, not ranges"),
        (["--name", "a/b"], "--name must be the name of a folder, got 'a/b'"),
        (["--workers", "0"], "--workers must be at least 1, got 0"),
        (["--base.restart"], "--base.restart would forget runs in every trial"),
        (["--base.device", "akd1500", "--axes", "seed=0,1"],
         "--base.device akd1500: a sweep trains for the device that it prices; give --device"),
        (["--base.batch-size", "0"], "--batch-size must be at least 1, got 0"),
    ],
)  # fmt: skip
def test_settings_that_cannot_work_are_refused_at_once(monkeypatch, arguments, message):
    monkeypatch.setattr(sweep, "run", None)
    with pytest.raises(ValueError, match=message):
        sweep.main(["smoke", *arguments])


def test_the_front_names_the_layers_of_an_axis(capsys):
    row = {"trial": 0, "state": "complete", "param.weight_bits[fc_1]": 2, "accuracy": 0.5}
    result = {"title": "made up", "objectives": ["accuracy"], "rows": [row], "front": [0],
              "chosen": 0}  # fmt: skip
    sweep.report(result, Path("runs"), sweep.Console(width=120))
    assert "weight_bits[fc_1]" in capsys.readouterr().out


def test_processes_that_train_together_are_refused(monkeypatch):
    monkeypatch.setattr(sweep, "run", None)
    monkeypatch.setattr(sweep.jax.distributed, "is_initialized", lambda: True)
    with pytest.raises(ValueError, match="would share every training; start them without JAX_"):
        sweep.main(["smoke"])


def test_from_the_command_line():
    config = read_settings(sweep.PRESETS, ["gestures", "--base.bins", "3", "--axes", "bins=3,5",
                                           "--storage", "journal:x", "--trials", "2"])  # fmt: skip
    assert isinstance(config.base, dvs_gesture.Config)
    assert config.base.bins == 3
    assert config.slots() == [{"bins": "3"}, {"bins": "5"}]
    assert config.storage_url == "journal:x"
    assert sweep.PRESETS["default"][1].storage_url == "sqlite:///runs/sweep/digits.db"


@pytest.mark.slow
def test_one_training_for_all_placements(halves, tmp_path, monkeypatch, capsys):
    trained = []
    real = train.train_visibly

    def noted(run, *arguments, **settings):
        trained.append(run.folder)
        return real(run, *arguments, **settings)

    monkeypatch.setattr(train, "train_visibly", noted)
    config = make_config(tmp_path)
    result = sweep.run(config, sweep.Console(quiet=True))
    assert len(trained) == 1
    rows = {(row["param.device"], row["param.mode"]): row for row in result["rows"]}
    assert {key: row["state"] for key, row in rows.items()} == {
        ("akd1000", "minimal"): "complete", ("akd1500", "minimal"): "complete",
        ("akd1000", "hw_pr"): "impossible", ("akd1500", "hw_pr"): "complete",
    }  # fmt: skip
    assert rows["akd1000", "hw_pr"]["reason"] == (
        "AKD1000 cannot reload weights between passes; use all_nps"
    )
    # What was measured and modelled, computed again from the model and the test set itself.
    folder = trained[0]
    model = aj.load(folder / "model.akj")
    test = make_set().test
    row = rows["akd1500", "hw_pr"]
    placement = mapping.place(model, mapping.AKD1500, "hw_pr", hw_only=True)
    cost = mapping.estimate(placement, model.activity(test.x))
    assert row["accuracy"] == model.evaluate(test.x, test.y)
    assert row["nps"] == placement.nps
    # Sparsity is kept as float64 shares: counts come back to within a few roundings.
    modelled = [row[name] for name in ("energy_mj", "latency_ms", "dynamic_mj")]
    expected = [cost.total_mj, cost.latency_ms, cost.dynamic_mj]
    np.testing.assert_allclose(modelled, expected, rtol=1e-12)
    # All weights have 2 bits: 18 of the first layer fill 5 bytes, 54 fill 14, 6 fill 2.
    assert (row["weights"], row["size_kb"]) == (18 + 54 + 6, (5 + 14 + 2) / 1000)
    assert [layer["name"] for layer in row["layers"]] == [p.name for p in placement.layers]
    # From shares of zeros the input unit's events are all pixels; it skips none.
    cost = mapping.estimate(placement, model.activity(test.x).sparsity)
    assert row["summary"] == str(model.summary(placement, cost))
    assert (tmp_path / "small" / "report.html").exists()

    # The same command again: nothing is done twice; other placements take the trained model.
    monkeypatch.setattr(train, "train_visibly", None)
    again = sweep.run(config, sweep.Console(quiet=True))
    assert [row["finished"] for row in again["rows"]] == [row["finished"] for row in result["rows"]]
    other = make_config(tmp_path, axes=("mode=all_nps",), name="other", choose=0)
    (row,) = sweep.run(other, sweep.Console(quiet=True))["rows"]
    assert (row["reused"], row["folder"], row["mode"]) == (True, folder.name, "all_nps")
    sweep.report(again, config.folder, sweep.Console())
    told = capsys.readouterr().out
    assert "3 complete, 1 impossible; energy and latency are modelled" in " ".join(told.split())


@pytest.mark.slow
def test_bits_by_layer_reach_the_chip(halves, tmp_path):
    config = make_config(tmp_path, axes=("weight_bits[conv_1]=4", "act_bits[conv_.]=2"))
    (row,) = sweep.run(config, sweep.Console(quiet=True))["rows"]
    widths = {layer["name"]: (layer["weight_bits"], layer["act_bits"]) for layer in row["layers"]}
    assert widths == {"conv_0": (2, 2), "conv_1": (4, 2), "predictions": (2, 1)}


def test_what_the_chip_cannot_hold_is_never_trained(halves, tmp_path, monkeypatch):
    small = mapping.mesh(1, like=mapping.AKD1000)
    monkeypatch.setattr(points.mapping, "DEVICES", {**mapping.DEVICES, "akd1000": small})
    monkeypatch.setattr(train, "train_visibly", None)
    config = make_config(tmp_path, axes=("mode=minimal,all_nps",))
    result = sweep.run(config, sweep.Console(quiet=True))
    for row in result["rows"]:
        assert row["state"] == "impossible"
        assert "in the placement on mesh of 1" in row["reason"]
        assert "needs" in row["reason"]
    assert (result["front"], result["chosen"]) == ([], None)
    assert not list((tmp_path / "points").glob("*/checkpoints"))


@pytest.mark.slow
def test_what_no_chip_holds_is_never_trained(tmp_path, monkeypatch):
    monkeypatch.setattr(train_data, "load_images", lambda name, **given: make_set())
    monkeypatch.setattr(train, "train_visibly", None)
    base = dataclasses.replace(SMALL, alpha=0.25, output=str(tmp_path / "points"))
    config = make_config(tmp_path, base=base, axes=("model=akidanet",))
    (row,) = sweep.run(config, sweep.Console(quiet=True))["rows"]
    assert row["state"] == "impossible"
    assert "separable_13" in row["reason"]
    assert not list((tmp_path / "points").glob("*/checkpoints"))


def test_the_share_of_zeros_in_events(monkeypatch, tmp_path):
    base = dataclasses.replace(dvs_gesture.PRESETS["smoke"][1], output=str(tmp_path))
    _, frames = dvs_gesture.load(base)
    model = aj.Model([aj.InputData(input_shape=(32, 32, 10), input_bits=4, name="events"),
                      aj.Convolutional(filters=2, kernel_size=3, stride=2, pool="global_average",
                                       name="c"),
                      aj.FullyConnected(units=2, activation=False, name="d")])  # fmt: skip
    shares = points._shares(model, {"sparsity": {"c": 0.5, "d": 0.0}}, base)
    assert shares == {"c": 0.5, "d": 0.0, "events": float((frames.test_x == 0).mean())}
    assert 0.5 < shares["events"] < 1


def test_missing_data_end_it_with_one_error_before_any_trial(tmp_path):
    command = [sys.executable, "-m", "experiments.sweep", "fashion", "--workers", "2"]
    command += ["--base.data-dir", "nowhere", "--output", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.count("error:") == 1
    assert "fashion-mnist" in done.stderr
    assert "nowhere" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "fashion.db").exists()


def test_data_that_vanish_hand_the_trial_back(halves, tmp_path, monkeypatch):
    config = make_config(tmp_path)

    def vanish(settings):
        raise FileNotFoundError("data set 'digits' is gone")

    monkeypatch.setattr(train, "load", vanish)
    with pytest.raises(ValueError, match="data set 'digits' is gone; 4 trials are left, the same"):
        sweep.run(config, sweep.Console(quiet=True))
    study = sweep.open_study(config)
    assert [t.user_attrs.get("kind") for t in study.trials()] == ["interrupted"] + [None] * 4
    assert study.count() == {"waiting": 4, "running": 0}
    assert study.trials()[0].user_attrs["repeated_by"] == 4


def test_an_epoch_of_a_lost_trial_ends_its_training(halves, tmp_path, monkeypatch):
    config = make_config(tmp_path, axes=("seed=0",))
    study = sweep.open_study(config)
    seen = []

    def on_epoch(row):
        seen.append(row["epoch"])
        raise claims.LostTrialError("taken")

    point = space.make_point(config.base, (), {}, "akd1000", "minimal")
    with pytest.raises(claims.LostTrialError):
        points.measure(point, batch=1, on_epoch=on_epoch)
    # The repeat goes on behind the first epoch.
    later = []
    points.measure(point, batch=1, on_epoch=lambda row: later.append(row["epoch"]))
    assert (seen, later) == ([1], [1, 2])
    metrics = (point.settings.folder / "metrics.jsonl").read_text().splitlines()
    assert len(metrics) == 2
    assert study.count()["waiting"] == 1


@pytest.mark.slow
def test_two_workers_and_the_smoke_preset(tmp_path):
    command = [sys.executable, "-m", "experiments.sweep", "smoke", "--workers", "2"]
    command += ["--output", str(tmp_path), "--base.output", str(tmp_path / "points")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "3 complete, 1 impossible" in done.stdout
    result = json.loads((tmp_path / "smoke" / "trials.json").read_text())
    workers = {row["worker"] for row in result["rows"]}
    assert len(workers) == 2
    # Workers that met on one training: one of them trained, the other waited and took it.
    assert [row["reused"] for row in result["rows"] if row["state"] == "complete"].count(False) == 1
    for name in ("front.png", "report.html", "trials.csv", "trials.parquet"):
        assert (tmp_path / "smoke" / name).stat().st_size > 0
