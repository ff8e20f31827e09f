import dataclasses
import json
import math
import os
import re
import subprocess
import sys

import jax
import matplotlib.pyplot as plt
import numpy as np
import pytest
import rich.console
from flax import nnx

import akida_jax as aj
from akida_jax import quant
from akida_jax.zoo import datasets
from experiments import dvs_gesture, presets
from experiments.records import pictures, provenance
from experiments.training import checkpoints, origin, runs, trainer
from tests.conftest import ROOT
from tests.experiments import made_up

CLASSES = 11
LAYERS = ["conv_0", "conv_1", "conv_2", "conv_3", "conv_4", "separable_5", "dense_6"]
#: Arguments of the shortest run; `small_zoo` makes it one of seconds.
SHORT = ["smoke", "--n-train-per-class", "1", "--duration-ms", "200", "--float-epochs", "1"]


class Stop(Exception):
    """Stands for the moment at which a run ends without warning."""


def quiet():
    return rich.console.Console(quiet=True)


@pytest.fixture
def small_zoo(monkeypatch):
    """Replace the networks of the zoo by one that compiles soon; count how many are built."""
    built = []

    def build(name, *, classes, input_shape, seed):
        built.append(name)
        layers = [
            quant.InputData(input_shape=input_shape, input_bits=4),
            quant.Conv(filters=4, kernel_size=3, stride=2, pool="global_average"),
            quant.Dense(units=classes, activation=False),
        ]
        return quant.Sequential(layers, rngs=nnx.Rngs(seed))

    monkeypatch.setattr(dvs_gesture.zoo, "build", build)
    return built


@pytest.mark.parametrize("name", dvs_gesture.PRESETS)
def test_presets_are_valid(name):
    title, config = dvs_gesture.PRESETS[name]
    assert title
    assert config.data in datasets.EVENT_SETS
    assert config.data in dvs_gesture.DATA_TITLES
    assert config.model in dvs_gesture.zoo.list()
    assert config.model in pictures.LABELS
    assert config.model in pictures.COLOURS
    assert config.float_epochs > 0
    assert config.quantized_epochs > 0
    for low, high in (config.float_rates, config.quantized_rates):
        assert 0 < low < high
    assert not config.restart
    assert config.data_dir is None
    assert config.output.startswith("runs/")
    assert json.loads(json.dumps(dataclasses.asdict(config)))


def test_presets_follow_the_paper():
    _, config = dvs_gesture.PRESETS["paper"]
    assert (config.model, config.data) == ("akida_small", "dvs-gesture")
    assert (config.window_ms, config.bins) == (100.0, 5)
    assert (config.float_epochs, config.quantized_epochs) == (16, 8)
    assert (config.weight_bits, config.act_bits) == (4, 4)


def test_settings_decide_the_folder():
    config = dvs_gesture.Config(activity="l1", activity_weight=1e-5, device="akd1500")
    other = {
        "activity": "hoyer", "budget": "1mJ", "device": "akd1000", "learn_steps": True,
        "mapping_mode": "all_nps",
        "data": "nmnist", "data_dir": "elsewhere", "model": "akida_small", "window_ms": 99.0,
        "train_stride_ms": 1.0, "test_stride_ms": 1.0, "float_rates": (0.1, 0.2),
        "quantized_rates": (0.1, 0.2), "rotation": 0.5, "translation": 0.5,
        "weight_quantizer": "std", "duration_ms": 1.0, "weight_bits": 2, "act_bits": 2,
        "n_validation_per_class": 9,
    }  # fmt: skip
    folders = {config.folder}
    for field in dataclasses.fields(config):
        if field.name not in ("output", "restart"):
            value = other.get(field.name, 99)
            folders.add(dataclasses.replace(config, **{field.name: value}).folder)
    assert len(folders) == 1 + len(dataclasses.fields(config)) - 2
    assert dataclasses.replace(config, restart=True).folder == config.folder
    moved = dataclasses.replace(config, output="elsewhere").folder
    assert moved.name == config.folder.name
    assert str(moved.parent) == "elsewhere"
    assert re.fullmatch(r"synthetic-akida_tiny-seed0-[0-9a-f]{8}", config.folder.name)


@pytest.mark.parametrize(
    ("arguments", "messages"),
    [
        (["foo"], ["foo", "default, smoke, nmnist, clips, paper"]),
        (["smoke", "--epochs", "3"], ["--epochs"]),
        (["--model", "akida_huge"], ["akida_huge", "akida_tiny", "akida_small"]),
        (["--float-epochs", "many"], ["many", "float-epochs"]),
    ],
)
def test_wrong_arguments_are_named(capsys, arguments, messages):
    with pytest.raises(SystemExit) as ending:
        dvs_gesture.main(arguments)
    assert ending.value.code == 2
    printed = re.sub(r"[│\s]+", " ", "".join(capsys.readouterr()))
    for message in messages:
        assert message in printed


def test_help_lists_the_presets(capsys):
    with pytest.raises(SystemExit) as ending:
        dvs_gesture.main(["--help"])
    assert ending.value.code == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in dvs_gesture.PRESETS)


@pytest.mark.parametrize("arguments", [[], ["--seed", "3"]])
def test_without_a_name_the_preset_is_the_default(monkeypatch, arguments):
    chosen = []

    def refuse(config, console):
        chosen.append(config)
        raise Stop

    monkeypatch.setattr(dvs_gesture, "run", refuse)
    with pytest.raises(Stop):
        dvs_gesture.main(arguments)
    seed = 3 if arguments else 0
    assert chosen == [dataclasses.replace(dvs_gesture.PRESETS["default"][1], seed=seed)]


def test_missing_data_end_the_command(tmp_path):
    command = [sys.executable, "-m", "experiments.dvs_gesture", "default", "--data", "nmnist"]
    command += ["--data-dir", "nowhere[old]", "--output", str(tmp_path)]
    environment = {name: value for name, value in os.environ.items() if name != "AKIDA_JAX_DATA"}
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 2
    assert (
        "error: data set 'nmnist': no nowhere[old]/Train; pass its folder as data_dir"
        in done.stderr
    )
    assert "N-MNIST by Orchard et al." in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_window_longer_than_the_recordings_is_refused(tmp_path):
    arguments = [*SHORT, "--window-ms", "201", "--output", str(tmp_path)]
    message = "no window of 201 ms fits into the recordings of 'synthetic'; choose a shorter one"
    with pytest.raises(ValueError, match=message):
        dvs_gesture.main(arguments)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--weight-bits", "3"], "--weight-bits must be one of 2, 4, got 3"),
        (["--weight-bits", "8"], "--weight-bits must be one of 2, 4, got 8"),
        (["--act-bits", "3"], "--act-bits must be one of 1, 2, 4, got 3"),
        (["--batch-size", "0"], "--batch-size must be at least 1, got 0"),
        (["--batch-size", "-1"], "--batch-size must be at least 1, got -1"),
        (["--float-epochs", "-1"], "--float-epochs must be at least 0, got -1"),
        (["--quantized-epochs", "-1"], "--quantized-epochs must be at least 0, got -1"),
        (["--cycle-epochs", "0"], "--cycle-epochs must be at least 1, got 0"),
        (["--seed", "-1"], "--seed must be 0 to 2.14748e+09, got -1"),
        (["--window-ms", "nan"], "--window-ms must be at least 0.001, got nan"),
        (["--train-stride-ms", "0"], "--train-stride-ms must be at least 0.001, got 0"),
        (["--float-rates", "0", "inf"], "--float-rates must be at least 0, got inf"),
        (
            ["--n-validation-per-class", "5", "--n-train-per-class", "5"],
            "--n-validation-per-class must be less than the 5 of --n-train-per-class, got 5",
        ),
        (
            ["--data", "clips", "--n-validation-per-class", "1"],
            "--n-validation-per-class must be 0 for clips, one recording of each class",
        ),
        (["--rotation", "1.5"], "--rotation must be 0 to 1, got 1.5"),
        (["--bins", "0", "--batch-size", "0"], "--bins must be .*got 0; --batch-size must be "),
    ],
)
def test_settings_that_cannot_work_are_refused(monkeypatch, arguments, message):
    monkeypatch.setattr(dvs_gesture, "run", None)
    with pytest.raises(ValueError, match=message.replace("+", "[+]")):
        dvs_gesture.main(["smoke", *arguments])


@pytest.mark.parametrize("problem", [ValueError("one [line]"), OSError(20, "Not a directory")])
def test_a_users_error_is_one_line(capsys, problem):
    def fail():
        raise problem

    with pytest.raises(SystemExit) as ending:
        presets.run_command(fail)
    assert ending.value.code == 2
    assert capsys.readouterr().err == f"error: {problem}\n"


@pytest.mark.parametrize("inside", [(), ("new", "deeper")])
def test_an_output_that_is_a_file_is_refused(monkeypatch, tmp_path, inside):
    file = tmp_path / "afile"
    file.touch()
    monkeypatch.setattr(dvs_gesture, "load", None)
    with pytest.raises(ValueError, match=f"--output must be a folder, but {file} is a file"):
        dvs_gesture.main(["smoke", "--output", str(file.joinpath(*inside))])


@pytest.mark.parametrize("restart", [False, True])
def test_a_network_that_the_chip_lacks_is_refused_before_training(monkeypatch, tmp_path, restart):
    def build(name, *, classes, input_shape, seed):
        layers = [
            quant.InputData(input_shape=input_shape, input_bits=4),
            quant.Conv(filters=2, kernel_size=3, pool="global_average"),
            quant.SeparableConv(filters=2, kernel_size=9),
            quant.Dense(units=classes, activation=False),
        ]
        return quant.Sequential(layers, rngs=nnx.Rngs(seed))

    monkeypatch.setattr(dvs_gesture.zoo, "build", build)
    monkeypatch.setattr(trainer, "train", None)
    more = ["--restart"] if restart else []
    with pytest.raises(ValueError, match=r"layer 'separable_1'.*kernel_size"):
        dvs_gesture.main([*SHORT, "--output", str(tmp_path), *more])
    assert not list(tmp_path.iterdir())


def test_seconds_are_those_of_every_process():
    # The second epoch was trained by another process than the first.
    history = [{"seconds": 10.0}, {"seconds": 2.504}]
    assert runs.timings(1.006, history) == {"data": 1.01, "training": 12.5}


@pytest.mark.parametrize("float_epochs", [0, 3])
def test_report(float_epochs, tmp_path):
    console = rich.console.Console(width=100)
    with console.capture() as capture:
        dvs_gesture.report(made_up.gesture_result(float_epochs=float_epochs), tmp_path, console)
    text = capture.get()
    assert ("80.00%" in text) == bool(float_epochs)
    assert text.count("75.00%") == 2
    assert re.search(r"conv_0 +│ +90\.0% │ +12,346 │ +12\.3%", text)
    assert "12 windows tested on; 36 potentials" in text
    assert f"{tmp_path}/" in text


@pytest.mark.slow
def test_run_resume_and_restart(tmp_path, monkeypatch, small_zoo, capsys):
    arguments = [*SHORT, "--output", str(tmp_path / "whole")]
    first = dvs_gesture.main(arguments)
    assert len(small_zoo) == 1
    folder = next((tmp_path / "whole").iterdir())
    model = (folder / "model.akj").read_bytes()

    # A second call returns the stored result and draws lost pictures again.
    (folder / "training.png").unlink()
    capsys.readouterr()
    again = dvs_gesture.main(arguments)
    assert len(small_zoo) == 1
    assert json.dumps(again) == json.dumps(first)
    assert (folder / "training.png").exists()
    assert "finished already" in capsys.readouterr().out

    # Other code is told of; other data are refused, unless they are to replace the run.
    with monkeypatch.context() as patch:
        patch.setattr(origin, "describe_code", lambda: "0123456789ab")
        dvs_gesture.main(arguments)
        printed = " ".join(capsys.readouterr().out.split())
        assert f"stems from commit {first['code'][0]}; the code is now at 0123456789ab" in printed
        patch.setattr(datasets, "fingerprint", lambda name, **_: "other")
        message = f"was made from other data: fingerprint {first['data_fingerprint']}, now other"
        with pytest.raises(ValueError, match=message):
            dvs_gesture.main(arguments)

    # An interrupted run goes on and ends with the same bits.
    save = checkpoints.Checkpoints.save

    def break_off(checkpoints, epoch, state, history):
        save(checkpoints, epoch, state, history)
        raise Stop

    interrupted = [*SHORT, "--output", str(tmp_path / "interrupted")]
    with monkeypatch.context() as patch:
        patch.setattr(checkpoints.Checkpoints, "save", break_off)
        with pytest.raises(Stop):
            dvs_gesture.main(interrupted)
    with monkeypatch.context() as patch:
        patch.setattr(datasets, "fingerprint", lambda name, **_: "other")
        with pytest.raises(ValueError, match="was made from other data"):
            dvs_gesture.main(interrupted)
    resumed = dvs_gesture.main(interrupted)
    other = next((tmp_path / "interrupted").iterdir())
    assert other.name == folder.name
    assert (other / "model.akj").read_bytes() == model
    same = ("accuracy", "confusion", "sparsity", "synaptic_operations_per_window", "n_test")
    for key in same:
        assert resumed[key] == first[key], key

    # --restart trains again, to the same result.
    restarted = dvs_gesture.main([*arguments, "--restart"])
    assert len(small_zoo) == 4
    assert restarted["config"]["restart"] is True
    for key in same:
        assert restarted[key] == first[key], key
    assert (folder / "model.akj").read_bytes() == model


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    """Folder and result of the smoke preset."""
    output = tmp_path_factory.mktemp("smoke")
    result = dvs_gesture.main(["smoke", "--output", str(output)])
    (folder,) = output.iterdir()
    return folder, result


@pytest.mark.slow
def test_smoke_writes_every_field(smoke):
    folder, returned = smoke
    result = json.loads((folder / "result.json").read_text())
    assert result == json.loads(json.dumps(returned))
    assert result["experiment"] == "dvs_gesture"
    assert result["title"] == "Akida Tiny on synthetic gestures, 100 ms windows"
    assert result["config"]["seed"] == 0
    assert set(result["config"]) == {f.name for f in dataclasses.fields(dvs_gesture.Config)}
    assert {"python", "jax", "flax", "numpy", "akida-jax"} <= set(result["versions"])
    assert {"platform", "kind"} <= set(result["device"])
    assert {"date", "commit", "data_fingerprint"} <= set(result)
    assert result["code"] == [provenance.describe_code()]
    assert (result["n_train"], result["n_test"]) == (3 * CLASSES, 3 * CLASSES)
    assert len(result["class_names"]) == CLASSES
    assert result["weights"] == 137_248
    assert sum(result["macs_per_window"].values()) == 2_985_856
    assert set(result["timings_s"]) == {"data", "training"}
    assert all(value >= 0 for value in result["timings_s"].values())
    assert [row["epoch"] for row in result["history"]] == [1, 2, 3]
    assert all(math.isfinite(row["loss"]) for row in result["history"])


@pytest.mark.slow
def test_smoke_numbers_agree(smoke):
    _, result = smoke
    accuracy = result["accuracy"]
    assert set(accuracy) == {"float", "quantized", "integer", "integer_by_recording"}
    assert accuracy["quantized"] == accuracy["integer"]
    assert accuracy["float"] == result["history"][1]["test_accuracy"]
    assert accuracy["quantized"] == result["history"][2]["test_accuracy"]
    assert result["potentials_equal"] == {"dense": True, "event": True}
    assert result["potentials_compared"] == result["n_test"] * CLASSES
    confusion = np.array(result["confusion"])
    assert confusion.shape == (CLASSES, CLASSES)
    assert confusion.sum() == result["n_test"]
    assert confusion.sum(1).tolist() == [3] * CLASSES
    assert np.trace(confusion) / result["n_test"] == accuracy["integer"]
    for key in ("sparsity", "synaptic_operations_per_window", "macs_per_window"):
        assert list(result[key]) == LAYERS
    assert all(0 <= value <= 1 for value in result["sparsity"].values())
    for name, macs in result["macs_per_window"].items():
        assert 0 <= result["synaptic_operations_per_window"][name] <= macs


@pytest.mark.slow
def test_smoke_leaves_pictures_model_and_metrics(smoke):
    folder, result = smoke
    names = {"checkpoints", "confusion.png", "float.npz", "frames.png", "metrics.jsonl",
             "model.akj", "origin.json", "result.json", "training.png"}  # fmt: skip
    assert {path.name for path in folder.iterdir()} == names
    for name in ("frames.png", "training.png", "confusion.png"):
        image = plt.imread(folder / name)[..., :3].mean(-1)
        assert min(image.shape) > 200, name
        assert max(image.shape) < 4000, name
        assert image.var() > 1e-3, name
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert rows == result["history"]
    model = aj.load(folder / "model.akj")
    given = {k: tuple(v) if isinstance(v, list) else v for k, v in result["config"].items()}
    _, frames = dvs_gesture.load(dvs_gesture.Config(**given))
    assert model.evaluate(frames.test_x, frames.test_y) == result["accuracy"]["integer"]


@pytest.mark.slow
def test_smoke_finished_is_returned_at_once(smoke, monkeypatch):
    folder, result = smoke
    monkeypatch.setattr(dvs_gesture, "load", None)
    again = dvs_gesture.main(["smoke", "--output", str(folder.parent)])
    assert json.dumps(again) == json.dumps(result)


@pytest.mark.compiled
@pytest.mark.slow
@pytest.mark.parametrize(
    ("data", "folder", "settings"),
    [
        ("clips", "dvs_gesture_clips", {"test_stride_ms": 50.0}),
        ("nmnist", "nmnist_small", {"window_ms": 300.0}),
    ],
)
def test_real_recordings_give_the_same_integers(
    data_dir, tmp_path, monkeypatch, data, folder, settings
):
    if not (data_dir / folder).is_dir():
        pytest.skip(f"no {folder} in AKIDA_JAX_DATA")
    kept = {}
    evaluate = dvs_gesture.evaluate

    def keep(network, model, frames, history):
        kept.update(network=network, model=model, frames=frames)
        return evaluate(network, model, frames, history)

    monkeypatch.setattr(dvs_gesture, "evaluate", keep)
    config = dvs_gesture.Config(
        data=data, data_dir=str(data_dir / folder), float_epochs=1, quantized_epochs=1,
        cycle_epochs=2, output=str(tmp_path), **settings,
    )  # fmt: skip
    result = dvs_gesture.run(config, quiet())
    network, model, x = kept["network"], kept["model"], kept["frames"].test_x
    assert len(x) == result["n_test"] >= 80
    graph, state = nnx.split(network)
    forward = jax.jit(lambda state, x: nnx.merge(graph, state).forward(x))
    expected = np.concatenate([np.asarray(forward(state, piece)) for piece in np.split(x, [64])])
    assert len(np.unique(expected)) > 20
    for executor in ("dense", "event"):
        np.testing.assert_array_equal(model.forward(x, executor), expected, strict=True)
    stored = aj.load(config.folder / "model.akj")
    np.testing.assert_array_equal(stored.forward(x), expected, strict=True)
    assert result["accuracy"]["quantized"] == result["accuracy"]["integer"]
