"""The models that come with the package, and what is refused of a damaged one."""

import hashlib
import importlib.resources
import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

import akida_jax as aj
from akida_jax import mapping, zoo
from akida_jax.zoo import pretrained_models
from akida_jax.zoo.pretrained_models import (
    LIMIT_BYTES,
    model_card,
    pretrained,
    pretrained_bytes,
    pretrained_names,
    read_card,
)

ROOT = Path(__file__).resolve().parents[2]
NAME = "akida_tiny_synthetic"
FOLDER = importlib.resources.files("akida_jax.zoo").joinpath("models")


@pytest.fixture
def stored():
    return json.loads((FOLDER / f"{NAME}.json").read_text())


def test_every_file_belongs_to_a_model():
    names = pretrained_names()
    assert NAME in names
    assert {path.name for path in FOLDER.iterdir()} == {
        f"{name}{end}" for name in names for end in (".akj", ".json")
    }


def test_all_models_together_stay_below_the_limit():
    assert sum(len(path.read_bytes()) for path in FOLDER.iterdir()) < LIMIT_BYTES == 5_000_000


@pytest.mark.compiled
@pytest.mark.slow
@pytest.mark.parametrize("name", pretrained_names())
def test_a_model_is_what_its_card_says(name):
    card, model = model_card(name), pretrained(name)
    assert card.name == name
    assert zoo.blank_model(card.architecture, **card.options).layers == model.layers
    assert model.output_shape[2] == len(card.class_names)
    content = pretrained_bytes(name)
    assert (len(content), hashlib.sha256(content).hexdigest()) == (card.size_bytes, card.sha256)
    assert not card.commit.endswith("-dirty")
    assert all(0 <= share <= 1 for share in card.sparsity.values())
    rng = np.random.default_rng(0)
    x = rng.integers(0, 2**model.input_bits, (2, *model.input_shape)).astype(np.uint8)
    x[rng.random(x.shape) < 0.5] = 0
    dense = model.forward(x, "dense")
    np.testing.assert_array_equal(model.forward(x, "event"), dense)
    assert (dense[0] != dense[1]).any()


@pytest.mark.parametrize("name", pretrained_names())
def test_the_modelled_cost_is_that_of_the_present_law(name):
    """If it is not: python -m experiments.publish_model --costs."""
    card, model = model_card(name), pretrained(name)
    assert [cost.device for cost in card.cost] == [d.name for d in mapping.DEVICES.values()]
    for stored, device in zip(card.cost, mapping.DEVICES.values(), strict=True):
        placement = mapping.place(model, device, stored.mode)
        cost = mapping.estimate(placement, card.sparsity)
        assert (placement.nps, placement.passes) == (stored.nps, stored.passes)
        # The same sums of float64 numbers, perhaps in another order.
        assert float(cost.latency_ms) == pytest.approx(stored.latency_ms, rel=1e-9)
        assert float(cost.dynamic_mj) == pytest.approx(stored.dynamic_mj, rel=1e-9)
        assert float(cost.total_mj) == pytest.approx(stored.total_mj, rel=1e-9)
        assert stored.expected_error == cost.law.trust()


def test_no_card_names_a_folder_of_the_machine():
    for name in pretrained_names():
        text = (FOLDER / f"{name}.json").read_text()
        assert "output" not in json.loads(text)["settings"]
        assert not any(start in text for start in ('"/', " /", "~"))


def test_an_unknown_name_lists_the_known():
    with pytest.raises(ValueError, match=rf"no pretrained model 'nope'; there are .*{NAME}"):
        pretrained("nope")
    with pytest.raises(ValueError, match=r"no pretrained model '../x'"):
        model_card("../x")


def test_a_card_in_words():
    lines = model_card(NAME).lines()
    assert {"data", "terms of the data", "recipe", "limits", "file"} <= {head for head, _ in lines}
    costs = [text for head, text in lines if head == "cost"]
    assert len(costs) == len(mapping.DEVICES)
    assert all(text.startswith("modelled on ") and "expected error" in text for text in costs)


def test_accuracy_in_words(stored):
    stored["accuracy"] = {"quantized": [0.5], "integer": [0.5]}
    stored["seeds"] = [3]
    lines = read_card(json.dumps(stored), NAME).lines()
    assert ("accuracy", "integer 50.00% (one run, seed 3)") in lines
    assert not [text for head, text in lines if head == "accuracy" and "float" in text]
    stored["accuracy"] = {"quantized": [0.5, 0.6], "integer": [0.5, 0.7]}
    stored["seeds"] = [0, 1]
    lines = read_card(json.dumps(stored), NAME).lines()
    assert ("accuracy", "integer 60.00% (mean of seeds 0, 1: 50.00%, 70.00%)") in lines


def test_a_card_never_changes():
    card = model_card(NAME)
    with pytest.raises(AttributeError):
        card.name = "other"
    with pytest.raises(TypeError):
        card.settings["seed"] = 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda card: card.update(colour="red"), r"unknown fields \['colour'\], missing fields "),
        (lambda card: card.pop("limits"), r"unknown fields \[\], missing fields \['limits'\]"),
        (lambda card: card["cost"][0].pop("nps"), r", cost: unknown fields \[\], .*\['nps'\]"),
        (lambda card: card.update(n_test="many"), ", n_test: must be of type int, got 'many'"),
        (lambda card: card.update(n_test=True), ", n_test: must be of type int, got True"),
        (lambda card: card.update(seeds=0), ", seeds: must be a list, got 0"),
        (lambda card: card.update(sparsity=[]), r", sparsity: must be an object, got \[\]"),
        (lambda card: card["sparsity"].update(a="x"), ", sparsity: must be of type float"),
        (lambda card: card.update(cost=[1]), ", cost: must be an object, got 1"),
        (lambda card: card.update(name="x"), "says that its name is 'x'; rename the file"),
        (lambda card: card["accuracy"].pop("integer"), "accuracy must have quantized and int"),
        (lambda card: card["accuracy"]["integer"].append(1.0), "number for each of 1 seeds"),
        (lambda card: card["accuracy"].update(best=[1.0]), "accuracy must have quantized and"),
    ],
)
def test_a_card_with_odd_fields_is_refused(stored, change, message):
    change(stored)
    with pytest.raises(ValueError, match=message) as problem:
        read_card(json.dumps(stored), NAME)
    assert f"card {NAME!r}" in str(problem.value)


def test_a_card_that_is_no_json_is_refused():
    with pytest.raises(ValueError, match="card 'a' is no valid JSON"):
        read_card("{", "a")
    with pytest.raises(ValueError, match=r"card 'a': must be an object, got \[\]"):
        read_card("[]", "a")


@pytest.fixture
def copied(tmp_path, monkeypatch):
    for end in (".akj", ".json"):
        (tmp_path / f"{NAME}{end}").write_bytes((FOLDER / f"{NAME}{end}").read_bytes())
    monkeypatch.setattr(pretrained_models, "_folder", lambda: tmp_path)
    return tmp_path


def test_another_file_under_the_name_is_refused(copied):
    assert isinstance(pretrained(NAME), aj.Model)
    aj.save(zoo.blank_model("akida_tiny"), copied / f"{NAME}.akj")
    with pytest.raises(ValueError, match=r"does not match the sha256 of its card; .*install akida"):
        pretrained(NAME)
    (copied / f"{NAME}.akj").unlink()
    with pytest.raises(
        ValueError, match=r"the file akida_tiny_synthetic.akj is missing; .*install"
    ):
        pretrained_bytes(NAME)


def test_without_any_model(copied):
    for path in copied.iterdir():
        path.unlink()
    assert pretrained_names() == []
    with pytest.raises(ValueError, match="there are none"):
        pretrained(NAME)


def test_the_wheel_holds_the_models(tmp_path):
    pytest.importorskip("hatchling")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    (path,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        for name in pretrained_names():
            for end in (".akj", ".json"):
                member = f"akida_jax/zoo/models/{name}{end}"
                assert archive.read(member) == (FOLDER / f"{name}{end}").read_bytes()
    shutil.rmtree(tmp_path)
