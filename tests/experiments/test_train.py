import dataclasses
import json

import numpy as np
import pytest
from rich.console import Console

import akida_jax as aj
from akida_jax.zoo.datasets import Examples, LabelledSet
from experiments import train, train_data
from experiments.presets import read_settings
from experiments.train_data import TrainingData
from experiments.training.runs import FLOAT_WEIGHTS

N_TRAIN, N_TEST = 24, 7


def make_examples(n, seed):
    """Images whose left or right half is bright, by class."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n).astype(np.int32)
    x = rng.integers(0, 60, (n, 28, 28, 1), dtype=np.uint8)
    x[np.arange(n) % n, :, 14:] += (120 * y[:, None, None, None]).astype(np.uint8)
    x[np.arange(n) % n, :, :14] += (120 * (1 - y)[:, None, None, None]).astype(np.uint8)
    return Examples(x, y)


def make_set():
    return LabelledSet(
        name="halves", title="bright halves", class_names=("left", "right"),
        train=make_examples(N_TRAIN, 1), test=make_examples(N_TEST, 2),
        source="computed", terms="none",
    )  # fmt: skip


class Halves:
    """The same examples as a stream."""

    n_train = N_TRAIN
    input_shape = (28, 28, 1)

    def train_batches(self, seed, epoch, batch_size):
        order = np.random.default_rng((seed, epoch)).permutation(N_TRAIN)
        data = make_examples(N_TRAIN, 1)
        for start in range(0, N_TRAIN - batch_size + 1, batch_size):
            chosen = order[start : start + batch_size]
            yield Examples(data.x[chosen], data.y[chosen])

    def sample(self, n, seed):
        return make_examples(N_TRAIN, 1).x[np.random.default_rng(seed).permutation(N_TRAIN)[:n]]

    def test_batches(self, batch_size):
        data = make_examples(N_TEST, 2)
        for start in range(0, N_TEST, 3):
            yield Examples(data.x[start : start + 3], data.y[start : start + 3])


def make_stream():
    return TrainingData(
        title="bright halves", class_names=("left", "right"), train=Halves(), test=Halves(),
        fingerprint="0123", source="computed", terms="none",
    )  # fmt: skip


SHORT = ("smoke", "--float-epochs", "1", "--n-calibration", "8", "--batch-size", "8")


@pytest.fixture
def halves(monkeypatch):
    monkeypatch.setattr(train_data, "load_images", lambda name, **given: make_set())


@pytest.mark.slow
def test_a_run_from_data_to_result(halves, tmp_path, capsys):
    result = train.main([*SHORT, "--output", str(tmp_path), "--flip"])
    folder = tmp_path / next(path.name for path in tmp_path.iterdir())
    assert result == json.loads((folder / "result.json").read_text())
    assert result["title"] == "GXNOR on bright halves"
    assert (result["n_train"], result["n_test"]) == (N_TRAIN, N_TEST)
    assert result["potentials_compared"] == 2 * N_TEST
    assert result["potentials_equal"] == {"dense": True, "event": True}
    assert result["accuracy"]["integer"] == result["accuracy"]["quantized"]
    assert [row["phase"] for row in result["history"]] == ["float", "quantized"]
    assert np.sum(result["confusion"]) == N_TEST
    model = aj.load(folder / "model.akj")
    right = np.trace(result["confusion"]) / N_TEST
    assert model.evaluate(make_set().test.x, make_set().test.y) == right
    # GXNOR keeps its published widths: 2-bit weights, 1-bit activations.
    assert {(layer.weight_bits, layer.act_bits) for layer in model.layers} == {(2, 1)}
    assert (folder / FLOAT_WEIGHTS).exists()
    assert "14 potentials of the quantized network" in " ".join(capsys.readouterr().out.split())
    # The same command shows the finished run; another seed is another run.
    assert train.main([*SHORT, "--output", str(tmp_path), "--flip"]) == result
    assert "This run is finished already" in capsys.readouterr().out


@pytest.mark.slow
def test_a_stream_is_evaluated_piece_by_piece(monkeypatch, tmp_path):
    monkeypatch.setattr(train, "load", lambda config: make_stream())
    result = train.main([*SHORT, "--output", str(tmp_path), "--bits", "4", "4", "2"])
    assert (result["n_train"], result["n_test"]) == (N_TRAIN, N_TEST)
    assert result["potentials_compared"] == 2 * N_TEST
    assert np.sum(result["confusion"]) == N_TEST


def test_fewer_training_examples(halves):
    config = dataclasses.replace(train.PRESETS["smoke"][1], n_train=5, data="digits")
    chosen, again = (train_data.load(config) for _ in range(2))
    assert chosen.n_train == 5
    np.testing.assert_array_equal(chosen.train.x, again.train.x)
    everything = train_data.load(dataclasses.replace(config, n_train=None))
    assert everything.n_train == N_TRAIN
    # The data are the same, whatever part of them is used.
    assert everything.fingerprint == chosen.fingerprint


def test_training_examples_are_held_out_instead_of_the_test_set(halves):
    config = dataclasses.replace(train.PRESETS["smoke"][1], n_train=None, n_validation=6)
    every = make_set().train
    held = [train_data.load(dataclasses.replace(config, seed=seed)) for seed in (0, 1)]
    for data in held:
        assert data.title == "bright halves, tested on 6 held-out training examples"
        assert (data.n_train, len(data.test.x)) == (N_TRAIN - 6, 6)
        # Each training example is on one side.
        images = np.concatenate([data.train.x, data.test.x])
        labels = np.concatenate([data.train.y, data.test.y])
        pairs = {(image.tobytes(), int(y)) for image, y in zip(images, labels, strict=True)}
        assert pairs == {(image.tobytes(), int(y)) for image, y in zip(*every, strict=True)}
        assert len(pairs) == N_TRAIN
    np.testing.assert_array_equal(held[0].test.x, held[1].test.x)
    few = train_data.load(dataclasses.replace(config, n_train=5))
    assert {image.tobytes() for image in few.train.x} <= {i.tobytes() for i in held[0].train.x}
    assert train_data.load(dataclasses.replace(config, n_validation=0)).n_train == N_TRAIN
    with pytest.raises(ValueError, match=r"--n-validation must be less than the 24 .* got 24"):
        train_data.load(dataclasses.replace(config, n_validation=N_TRAIN))


def test_calibration_samples_come_from_the_training_set(halves):
    data = train_data.load(train.PRESETS["smoke"][1])
    sample = data.sample(6, seed=3)
    everything = make_set().train.x
    assert all((everything == image).all((1, 2, 3)).any() for image in sample)
    assert data.sample(0, seed=3) is None
    assert make_stream().sample(100, seed=3).shape == (N_TRAIN, 28, 28, 1)


def test_a_network_that_the_chip_lacks_is_refused_before_training(halves, tmp_path):
    config = train.Config(model="akidanet", alpha=0.25, output=str(tmp_path))
    with pytest.raises(ValueError, match=r"separable_13.*1x1"):
        train.run(config, Console())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model": "gxnor", "alpha": 0.5}, "the network gxnor has not all of --alpha 0.5: "),
        ({"model": "yolo", "alpha": 0.25}, r"the network yolo gives a map \(2, 2, 35\), not clas"),
    ],
)
def test_a_network_that_cannot_classify_these_is_refused(settings, message):
    data = make_stream()
    if settings["model"] == "yolo":
        image = np.zeros((2, 64, 64, 3), np.uint8)
        data = dataclasses.replace(data, train=Examples(image, np.zeros(2, np.int32)))
    with pytest.raises(ValueError, match=message):
        train.build(train.Config(**settings), data)


def test_settings_out_of_range_are_named_at_once():
    with pytest.raises(ValueError, match=r"--alpha must be .* got 0.0; .*--model must be one of"):
        read_settings(train.PRESETS, ["default", "--alpha", "0", "--model", "akidanets"])


@pytest.mark.parametrize("name", ["default", "smoke", "fashion-akidanet", "plant-village"])
def test_presets_have_a_network_that_can_be_converted(name):
    config = train.PRESETS[name][1]
    size = config.size or 28
    channels = 1 if config.data in ("digits", "fashion-mnist", "mnist") else 3
    x = np.zeros((1, size, size, channels), np.uint8)
    blank = Examples(x, np.zeros(1, np.int32))
    data = dataclasses.replace(make_stream(), train=blank, test=blank)
    assert train.build(config, data).input.input_shape == (size, size, channels)


def test_a_downloaded_set_is_streamed(monkeypatch):
    opened = []
    stream = Halves()
    stream.class_names = ("left", "right")
    monkeypatch.setattr(
        train_data, "open_stream", lambda name, **given: opened.append((name, given)) or stream
    )
    monkeypatch.setattr(train_data, "find_prepared", lambda name, data_dir: "folder")
    monkeypatch.setattr(train_data, "fingerprint_prepared", lambda folder: f"of {folder}")
    config = dataclasses.replace(train.PRESETS["imagenette"][1], data_dir="here")
    data = train_data.load(config)
    assert opened == [("imagenette", {"size": 224, "data_dir": "here"})]
    assert (data.train, data.test, data.n_train) == (stream, stream, N_TRAIN)
    assert (data.fingerprint, data.title) == ("of folder", "Imagenette")
    for changes in ({"n_train": 5}, {"n_validation": 5}):
        with pytest.raises(ValueError, match="None and --n-validation 0 for imagenette, which is"):
            train_data.load(dataclasses.replace(config, **changes))


def test_missing_downloads_name_the_command(tmp_path):
    config = dataclasses.replace(train.PRESETS["imagenette"][1], data_dir=str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"python -m akida_jax\.zoo\.datasets\.downloaded"):
        train_data.load(config)


def test_presets_train_what_their_names_say():
    models = {name: config.model for name, (_, config) in train.PRESETS.items()}
    assert {name: model for name, model in models.items() if name != "plant-village"} == {
        "default": "gxnor", "smoke": "gxnor", "fashion-akidanet": "akidanet",
        "fashion-gxnor": "gxnor", "imagenet": "akidanet", "imagenette": "akidanet",
        "cats-vs-dogs": "akidanet", "pointnet": "pointnet", "keywords": "ds_cnn",
    }  # fmt: skip
    assert models["plant-village"] == "akidanet_plant_village"
