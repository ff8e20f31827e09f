"""From data to result: classes, backbone, JSON, pictures."""

import importlib
import json

import numpy as np
import pytest
from PIL import Image

import akida_jax as aj
from akida_jax.zoo.datasets import Examples
from experiments.few_shot import data, pictures
from experiments.few_shot.episodes import summarize
from experiments.presets import read_settings
from experiments.training import runs

few_shot = importlib.import_module("experiments.few_shot.__main__")


def config(preset="smoke", **changes):
    options = [f"--{name.replace('_', '-')}={value}" for name, value in changes.items()]
    return read_settings(few_shot.PRESETS, [preset, *options])


@pytest.fixture(scope="module")
def orl(tmp_path_factory):
    """A folder like that of the ORL faces, of grey squares."""
    folder = tmp_path_factory.mktemp("orl")
    for person in range(1, 41):
        (folder / f"s{person}").mkdir()
        for image in range(1, 11):
            pixels = np.full((112, 92), 4 * person + image, np.uint8)
            Image.fromarray(pixels).save(folder / f"s{person}" / f"{image}.pgm")
    return folder


def test_synthetic_gestures_are_split_by_class_and_recording():
    classes = data.load(config())
    assert (len(classes.old_names), len(classes.new_names)) == (6, 5)
    # Recordings of 300 ms are three windows of 100 ms; 3 of each class train and 2 test.
    assert (len(classes.train.x), len(classes.test.x)) == (6 * 3 * 3, 6 * 2 * 3)
    assert set(classes.train.y.tolist()) == set(range(6))
    new = classes.new
    assert (new.support.sum(), new.query.sum()) == (5 * 3 * 3, 5 * 2 * 3)
    assert not (new.support & new.query).any()
    assert set(new.y.tolist()) == set(range(5))
    assert classes.fingerprint == data.load(config()).fingerprint
    assert classes.fingerprint != data.load(config(seed=1)).fingerprint


def test_faces_of_new_people_may_be_learned_or_asked_for(orl):
    classes = data.load(config("faces", data_dir=orl))
    assert (len(classes.train.x), len(classes.test.x)) == (30 * 8, 30 * 2)
    assert classes.new.x.shape == (100, 112, 96, 1)
    assert classes.new.support.all()
    assert classes.new.query.all()
    assert classes.old_names[-1] == "s30"
    assert classes.new_names == tuple(f"s{person}" for person in range(31, 41))
    with pytest.raises(ValueError, match="--n-old must leave 2 of 40 classes to learn, got 39"):
        data.load(config("faces", data_dir=orl, n_old=39))


def test_real_digits_and_clips(data_dir):
    digits = data.load(config("digits"))
    assert digits.new_names == tuple("56789")
    # A recording of N-MNIST is one window: each may be learned or asked for.
    assert digits.new.support.all()
    assert digits.new.query.all()
    clips = data.load(config("clips", n_train_per_class=2, n_test_per_class=1))
    assert (len(clips.old_names), len(clips.new_names)) == (11, 10)
    assert not (clips.new.support & clips.new.query).any()
    assert {int(y) for y in clips.new.y[clips.new.support]} == set(range(10))
    with pytest.raises(ValueError, match=r"--n-old must be 11 for clips, .* gestures, got 6"):
        data.load(config("clips", n_old=6, n_train_per_class=2, n_test_per_class=1))


def test_turned_copies_are_classes_of_their_own(rng):
    x = rng.integers(0, 9, (4, 6, 6, 2), dtype=np.uint8)
    sides = Examples(x, np.array([0, 1, 1, 0], np.int32))
    turned = data.add_turns(sides, 2, 4)
    assert turned.y.tolist() == [0, 1, 1, 0, 2, 3, 3, 2, 4, 5, 5, 4, 6, 7, 7, 6]
    np.testing.assert_array_equal(turned.x[:4], x)
    np.testing.assert_array_equal(turned.x[4:8], x.transpose(0, 2, 1, 3)[:, ::-1])
    np.testing.assert_array_equal(turned.x[8:12], x[:, ::-1, ::-1])
    half = data.add_turns(sides, 2, 2)
    np.testing.assert_array_equal(half.x[4:], x[:, ::-1, ::-1])
    assert data.add_turns(sides, 2, 1).y.tolist() == sides.y.tolist()
    with pytest.raises(ValueError, match="--turns must be 1 or 2 for inputs of 4x6, got 4"):
        data.add_turns(Examples(x[:, :4], sides.y), 2, 4)


@pytest.mark.slow
def test_a_run_from_gestures_to_result(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(few_shot, "RESULTS", tmp_path / "few_shot.json")
    given = ["smoke", "--output", str(tmp_path / "runs")]
    result = few_shot.main(given)
    assert result["title"] == "synthetic gestures: 5 classes learned beside 6"
    assert result["backbone"]["potentials_equal"] == {"dense": True, "event": True}
    row = result["few_shot"]["1"]
    assert set(row["accuracy"]) == {few_shot.RULE, *few_shot.METHODS}
    assert row["best"] in few_shot.METHODS
    assert row["guide"]["num_weights"] >= result["spikes"]["num_weights"]
    assert {"dense", "event", "auto"} <= set(result["learned_model"]["executors"])
    assert [part["neurons_per_class"] for part in result["sweeps"]["own_parts"]] == [2, 2]
    best = row["accuracy"][row["best"]]["mean"]
    # Three numbers rounded to 0.01.
    expected = row["accuracy"][few_shot.RULE]["mean"] - best
    assert row["difference"]["mean"] == pytest.approx(expected, abs=0.016)
    old = result["old_classes"][few_shot.RULE]
    # 6 classes of 2 neurons, in each of 2 episodes.
    assert [entry["old_neurons_compared"] for entry in old] == [24]
    settings = {row["setting"] for row in result["sweeps"]["ablation"]}
    assert settings == {"initial_plasticity", "min_plasticity", "plasticity_decay",
                        "learning_competition"}  # fmt: skip
    folder = few_shot.read_settings(few_shot.PRESETS, given).folder
    model, learner = aj.load(folder / "learned.akj"), aj.EdgeLearner.load(folder / "learned.akl")
    assert model.output_shape == (1, 1, 11 * 2)
    assert learner.num_classes == 11
    assert result["learning_cost"]["swaps"] == round(row["swaps_per_sample"], 1)
    for name in ("methods", "curves", "ablation"):
        with Image.open(folder / f"{name}.png") as image:
            assert image.width > 400
    printed = capsys.readouterr().out
    assert "modelled on AKD1000" in printed
    assert "bits of 24 old neurons" in printed
    # The same command shows the finished run.
    assert few_shot.main(given) == result
    assert "finished already" in capsys.readouterr().out
    with pytest.raises(ValueError, match="--keep is for the settings of a preset"):
        runs.keep_result(result, tmp_path / "a.json", by="data", presets=few_shot.PRESETS)


def test_what_cannot_be_learned_is_refused_before_training(tmp_path, monkeypatch):
    monkeypatch.setattr(few_shot.backbones, "train", lambda *_: pytest.fail("it trains"))
    options = ["smoke", "--output", str(tmp_path), "--queries", "7"]
    with pytest.raises(ValueError, match="class 0 has 9 samples to learn and 6 others, but an "
                                         "episode needs 1 and 7"):  # fmt: skip
        few_shot.main(options)
    with pytest.raises(ValueError, match="--n-old must leave 2 of 11 classes to learn, got 10"):
        few_shot.main(["smoke", "--n-old", "10"])
    with pytest.raises(ValueError, match=r"--episodes must be 2 to .* got 1; --surplus must be "):
        read_settings(few_shot.PRESETS, ["smoke", "--episodes", "1", "--surplus", "0"])


def made_up(shots=(1, 5)):
    value = {"mean": 70.0, "interval": 1.0}
    rows = [
        {"neurons_per_class": n, "num_weights": w, "surplus": w / 10, **value}
        for n in (1, 10)
        for w in (4, 8)
    ]
    return {
        "title": "made-up data",
        "new_names": ["a", "b"],
        "few_shot": {
            str(s): {"accuracy": dict.fromkeys((few_shot.RULE, *few_shot.METHODS), value),
                     "episodes": 10}
            for s in shots
        },
        "spikes": {"num_weights": 8},
        "sweeps": {
            "shots": 5, "episodes": 3, "curves": rows, "knee": 10,
            "ablation": [{"setting": name, "value": v, "neurons_per_class": n, **value}
                         for name in ("x", "y") for v in (0, 1) for n in (1, 10)],
            "many": {"shots": 20, "episodes": 2, "curve": rows[::2]},
        },
    }  # fmt: skip


def test_pictures_say_what_they_show(tmp_path):
    result = made_up()
    methods = pictures.draw_methods(result).axes[0]
    assert [text.get_text() for text in methods.get_xticklabels()] == ["1-shot", "5-shot"]
    assert len(methods.containers) >= 4
    curves = pictures.draw_curves(result).axes
    assert [axis.get_xlabel() for axis in curves] == [
        "neurons per class", "num_weights", "neurons per class",
    ]  # fmt: skip
    assert "knee 10" in [text.get_text().strip() for text in curves[0].texts]
    ablation = pictures.draw_ablation(result).axes
    assert [axis.get_xlabel() for axis in ablation] == ["x", "y"]
    source = tmp_path / "result.json"
    source.write_text(json.dumps(result))
    pictures.main(source, tmp_path / "pictures")
    assert len(list((tmp_path / "pictures").glob("*.png"))) == 3


def test_summaries_are_percent():
    assert summarize(np.array([1.0, 1.0])) == {"mean": 100.0, "interval": 0.0}
