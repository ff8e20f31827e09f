"""Publishing a finished run: what the card says, what is refused."""

import json

import numpy as np
import pytest

from akida_jax.zoo import pretrained_models
from akida_jax.zoo.datasets import Examples
from akida_jax.zoo.pretrained_models import (
    model_card,
    pretrained,
    pretrained_bytes,
    pretrained_names,
)
from experiments import dvs_gesture, ecg, publish_model, train

NAME = "akida_tiny_synthetic"
N_TEST = 8


@pytest.fixture
def examples(monkeypatch):
    """Few inputs, labelled as the shipped model classifies them: it is always right."""
    model = pretrained(NAME)
    x = np.random.default_rng(5).integers(0, 2, (N_TEST, *model.input_shape), dtype=np.uint8)
    made = Examples(x, model.predict_classes(x).astype(np.int32))
    monkeypatch.setitem(
        publish_model._LOADERS, "dvs_gesture", lambda config: publish_model._test(made, "of seed 0")
    )
    return made


@pytest.fixture
def make_run(tmp_path):
    """Write a run's folder with the shipped model."""

    def write(seed=0, **changes):
        card = model_card(NAME)
        config = {**card.settings, "seed": seed, "output": "/somewhere", "restart": False,
                  "data_dir": None}  # fmt: skip
        result = {
            "experiment": "dvs_gesture", "title": card.title, "config": config,
            "date": "2026-08-01", "commit": "0123456789ab", "code": ["0123456789ab"],
            "versions": {"jax": "0.10.2"}, "data_fingerprint": f"of seed {seed}",
            "class_names": card.class_names,
            "accuracy": {"float": 0.5 + seed / 10, "quantized": 1.0, "integer": 1.0,
                         "integer_by_recording": 1.0},
            "n_train": 3, "n_test": N_TEST,
            "sparsity": {k: v for k, v in card.sparsity.items() if k != "input"},
            "potentials_equal": {"dense": True, "event": True}, **changes,
        }  # fmt: skip
        result = {key: value for key, value in result.items() if value is not ...}
        folder = tmp_path / f"run-{seed}"
        folder.mkdir(exist_ok=True)
        (folder / "result.json").write_text(json.dumps(result))
        (folder / "model.akj").write_bytes(pretrained_bytes(NAME))
        return folder

    return write


@pytest.fixture
def publish(tmp_path):
    folder = tmp_path / "models"
    folder.mkdir()

    def run(*runs, **changes):
        given = {"runs": runs, "name": "tiny", "task": "a task", "limits": "A limit.",
                 "folder": folder, **changes}  # fmt: skip
        return publish_model.publish(publish_model.Config(**given))

    return run


@pytest.mark.usefixtures("examples")
def test_two_runs_become_a_model_and_its_card(make_run, publish, tmp_path, monkeypatch):
    publish(make_run(0), make_run(1))
    expected = pretrained(NAME).layers
    monkeypatch.setattr(pretrained_models, "_folder", lambda: tmp_path / "models")
    assert {path.name for path in (tmp_path / "models").iterdir()} == {"tiny.akj", "tiny.json"}
    card = model_card("tiny")
    assert pretrained("tiny").layers == expected
    assert card.seeds == (0, 1)
    assert dict(card.accuracy) == {"float": (0.5, 0.6), "quantized": (1, 1), "integer": (1, 1)}
    assert card.options == {"input_shape": (32, 32, 10), "classes": 11, "bits": (8, 4, 4)}
    assert card.command == "python -m experiments.dvs_gesture default"
    assert card.terms == "none: the recordings are computed"
    assert (card.task, card.limits, card.commit) == ("a task", "A limit.", "0123456789ab")
    assert "16 float epochs, learning rate 1e-05 to 0.001" in card.recipe
    assert "/somewhere" not in (tmp_path / "models" / "tiny.json").read_text()


@pytest.mark.usefixtures("examples")
def test_the_share_of_zeros_of_the_input_is_counted(make_run, publish, examples):
    card = publish(make_run())
    assert card["sparsity"]["input"] == (examples.x == 0).mean()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"commit": "0123-dirty"}, r"code that no commit holds \(0123-dirty"),
        ({"code": ["0123-dirty", "45"]}, "code that no commit holds .*0123-dirty, 45"),
        ({"commit": None}, r"code that no commit holds \(None"),
        ({"data_fingerprint": ..., "sparsity": ...}, "lacks data_fingerprint, sparsity; run it"),
        ({"potentials_equal": {"dense": True, "event": False}}, "potentials were not all equal"),
        ({"potentials_equal": {}}, "potentials were not all equal"),
        ({"n_test": 9}, "the model classifies 100.0000% of 8 .* recorded 100.0000% of 9; the mo"),
        ({"accuracy": {"quantized": 0.9, "integer": 0.9}}, "the run recorded 90.0000% of 8"),
        ({"data_fingerprint": "1"}, "made from other data, fingerprint 1, now of seed 0"),
        ({"experiment": "other"}, "no loader for the test examples of 'other'; add one"),
        ({"class_names": ["a"]}, "the zoo's akida_tiny with .* has other layers than the model"),
    ],
)
@pytest.mark.usefixtures("examples")
def test_a_run_that_proves_nothing_is_refused(make_run, publish, tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        publish(make_run(**changes))
    assert list((tmp_path / "models").iterdir()) == []


@pytest.mark.usefixtures("examples")
def test_a_run_to_choose_settings_by_is_refused(make_run, publish):
    settings = {**model_card(NAME).settings, "n_validation_per_class": 3}
    config = {**settings, "seed": 0, "output": "/somewhere", "restart": False, "data_dir": None}
    with pytest.raises(ValueError, match=r"tested on held-out .* \(n_validation_per_class 3\)"):
        publish(make_run(config=config))


def test_runs_must_differ_in_the_seed_alone(make_run, publish):
    first = make_run(0)
    with pytest.raises(ValueError, match=r"the seeds \[0, 0\]; each must have its own, or"):
        publish(first, first)
    other = make_run(1)
    result = json.loads((other / "result.json").read_text())
    result["config"]["batch_size"] = 64
    result["class_names"] = ["a", *result["class_names"][1:]]
    (other / "result.json").write_text(json.dumps(result))
    with pytest.raises(ValueError, match="differs from the first run in batch_size, class_names"):
        publish(first, other)


def test_runs_of_files_must_have_read_the_same():
    first = {"config": {"data": "nmnist", "seed": 0}, "experiment": "a", "title": "b",
             "class_names": [], "data_fingerprint": "1"}  # fmt: skip
    (fault,) = publish_model._differences(first, {**first, "data_fingerprint": "2"})
    assert fault == "differs from the first run in data_fingerprint"


def test_an_unfinished_run_is_refused(make_run, publish, tmp_path):
    folder = make_run()
    (folder / "model.akj").unlink()
    with pytest.raises(FileNotFoundError, match=r"run-0 has no model.akj: it holds no finished"):
        publish(folder)
    with pytest.raises(FileNotFoundError, match=r"elsewhere does not exist; create it first"):
        publish(make_run(), folder=tmp_path / "elsewhere")


@pytest.mark.usefixtures("examples")
def test_the_package_stays_small(make_run, publish, tmp_path):
    (tmp_path / "models" / "big.akj").write_bytes(bytes(4_950_000))
    with pytest.raises(ValueError, match=r"would take 5,0\d\d,\d\d\d bytes, the limit is 5,000"):
        publish(make_run())
    (tmp_path / "models" / "big.akj").rename(tmp_path / "models" / "tiny.akj")
    assert publish(make_run())["name"] == "tiny"  # it takes the place of the old one


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "A b"}, "--name must be lower-case letters, .* got 'A b'"),
        ({"name": ""}, "give at least one folder of a run, --name"),
        ({"limits": " "}, "give at least one folder of a run, --name, --task and --limits"),
        ({"costs": True}, "--costs takes no runs"),
    ],
)
def test_odd_options_are_refused(make_run, publish, changes, message):
    with pytest.raises(ValueError, match=message):
        publish(make_run(), **changes)


@pytest.mark.usefixtures("examples")
def test_costs_are_modelled_again(make_run, publish, tmp_path, monkeypatch):
    card = publish(make_run())
    path = tmp_path / "models" / "tiny.json"
    stale = json.loads(path.read_text())
    stale["cost"][0]["total_mj"] = 99.0
    path.write_text(json.dumps(stale))
    assert publish_model.model_costs_again(path.parent) == ["tiny"]
    assert json.loads(path.read_text()) == card


def test_commands_begin_with_the_nearest_preset():
    changed = dvs_gesture.PRESETS["nmnist"][1]
    chosen = {k: list(v) if isinstance(v, tuple) else v for k, v in vars(changed).items()}
    chosen |= {"seed": 2, "float_rates": [0.1, 0.2]}
    for key in ("output", "restart", "data_dir"):
        chosen.pop(key)
    assert publish_model.command("dvs_gesture", chosen) == (
        "python -m experiments.dvs_gesture nmnist --seed 2 --float-rates 0.1 0.2"
    )
    chosen = {**vars(train.PRESETS["fashion-gxnor"][1]), "flip": False}
    chosen = json.loads(json.dumps(chosen))
    command = publish_model.command("train", chosen)
    assert command == "python -m experiments.train fashion-gxnor --no-flip"


def test_a_recipe_in_words():
    chosen = {**vars(train.PRESETS["fashion-akidanet"][1]), "label_smoothing": 0.1}
    text = publish_model.recipe(chosen)
    assert "cosine schedule after 1 epochs of warm-up; Adam, batches of 128; weight decay" in text
    assert text.endswith("label smoothing 0.1; random shift up to 2 pixels; random mirroring")


def test_folds_of_a_cross_validation_have_seeds_of_their_own():
    of_fold = {"experiment": "ecg", "title": "a", "class_names": [], "data_fingerprint": "1"}
    first, second = ({**of_fold, "config": {"seed": 0, "fold": fold}} for fold in (0, 1))
    assert list(publish_model._differences(first, second)) == []
    assert [publish_model.first_seed(run) for run in (first, second)] == [0, 1]
    text = publish_model.recipe(vars(ecg.PRESETS["default"][1]))
    assert "cosine schedule after 1 epochs of warm-up; Adam, batches of 64; weight decay" in text


def test_facts_of_the_data():
    event = {"title": "Akida Small on N-MNIST, 300 ms windows", "config": {"data": "nmnist"}}
    facts = publish_model.data_facts(event)
    assert facts["data"] == "N-MNIST, 300 ms windows"
    assert facts["terms"] == "CC BY-SA 4.0"
    assert facts["terms"] in facts["source"]
    named = {"title": "GXNOR on Fashion-MNIST", "source": "somebody", "terms": "MIT"}
    expected = {"data": "Fashion-MNIST", "source": "somebody", "terms": "MIT"}
    assert publish_model.data_facts(named) == expected


@pytest.mark.slow
def test_the_synthetic_model_reaches_its_accuracy():
    card = model_card(NAME)
    test = publish_model.load_test(card.experiment, card.settings)
    reached = test.score(pretrained(NAME))
    assert test.n == card.n_test
    # On another machine single events of computed recordings differ, where a threshold is just
    # met (akida_jax.events.synthetic); six of the 660 windows may change sides by them.
    assert round(abs(reached - card.accuracy["integer"][0]) * card.n_test) <= 6


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in pretrained_names() if name != NAME])
def test_the_other_models_reach_theirs(name):
    card = model_card(name)
    try:
        test = publish_model.load_test(card.experiment, card.settings)
    except (FileNotFoundError, ModuleNotFoundError) as missing:
        pytest.skip(f"the data are not here: {missing}")
    assert test.score(pretrained(name)) == card.accuracy["integer"][0]
