"""Commands that show models: summary and zoo; and devices and info."""

import hashlib

import pytest

import akida_jax as aj
from akida_jax import mapping, zoo
from akida_jax.zoo.pretrained_models import model_card, pretrained, pretrained_names


@pytest.fixture
def model():
    return aj.Model(
        [
            aj.InputData(input_shape=(1, 1, 8), input_bits=1),
            aj.FullyConnected(units=3, activation=False, name="head"),
        ]
    )


def test_summary_of_a_file(command, model, tmp_path):
    aj.save(model, tmp_path / "m.akj")
    result = command("summary", tmp_path / "m.akj")
    assert result.code == 0, result.err
    assert result.out == model.summary() + "\n"


def test_missing_and_damaged_files_end_with_code_2(command, model, tmp_path):
    result = command("summary", tmp_path / "none.akj")
    assert result.code == 2
    assert "No such file" in result.err
    (tmp_path / "bad.akj").write_bytes(b"PK\x03\x04 nonsense")
    result = command("summary", tmp_path / "bad.akj")
    assert result.code == 2
    assert "bad.akj: not a model file, or truncated or damaged" in result.err
    assert "Traceback" not in result.err


def test_info_names_versions_and_executors(command):
    result = command("info")
    assert result.code == 0, result.err
    assert "akida-jax" in result.out
    assert "dense, event" in result.out


def test_summary_on_a_device(command, model, tmp_path):
    aj.save(model, tmp_path / "m.akj")
    placement = mapping.place(model, mapping.AKD1000, "all_nps")
    result = command("summary", tmp_path / "m.akj", "--device", "akd1000", "--mode", "all_nps")
    assert result.code == 0, result.err
    assert result.out == model.summary(placement) + "\n"
    cost = mapping.estimate(placement, {"input": 0.25}, batch=2)
    options = ("--device", "akd1000", "--mode", "all_nps", "--sparsity", "0.25", "--batch", "2")
    result = command("summary", tmp_path / "m.akj", *options)
    assert result.out == model.summary(placement, cost) + "\n"
    assert "modelled on AKD1000, batch 2" in result.out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--sparsity", "0.5"), "--mode, --sparsity and --batch need a device: add --device"),
        (("--mode", "all_nps"), "--mode, --sparsity and --batch need a device: add --device"),
        (("--device", "akd1000", "--batch", "2"), "--batch needs events: add --sparsity"),
        (("--device", "akd1000", "--sparsity", "1.5"), "sparsity must be one number in [0, 1]"),
        (("--device", "akd1000", "--mode", "hw_pr"), "AKD1000 cannot reload weights"),
    ],
)
def test_impossible_options_end_with_code_2(command, model, tmp_path, options, message):
    aj.save(model, tmp_path / "m.akj")
    result = command("summary", tmp_path / "m.akj", *options)
    assert result.code == 2
    assert message in result.err
    assert "Traceback" not in result.err


def test_devices_name_every_fact_and_its_source(command):
    result = command("devices")
    assert result.code == 0, result.err
    for device in mapping.DEVICES.values():
        assert device.name in result.out
        for fact in device.facts():
            assert fact.name in result.out
            assert fact.source in result.out


def test_the_zoo_lists_architectures_and_pretrained_models(command):
    result = command("zoo")
    assert result.code == 0, result.err
    for name in zoo.list():
        assert name in result.out
    assert "4,445,000" in result.out
    for name in pretrained_names():
        card = model_card(name)
        assert name in result.out
        assert f"{card.size_bytes:,}" in result.out
        mean = sum(card.accuracy["integer"]) / len(card.accuracy["integer"])
        assert f"{mean:.1%}" in result.out
    assert "modelled" in result.out


def test_the_zoo_shows_a_card_and_copies_a_model(command, tmp_path):
    name = pretrained_names()[0]
    card = model_card(name)
    result = command("zoo", name)
    assert result.code == 0, result.err
    words = " ".join(result.out.replace("│", " ").split())
    assert card.sha256 in words
    assert " ".join(card.limits.split()) in words
    result = command("zoo", name, "--save", tmp_path / "copy.akj")
    assert result.code == 0, result.err
    copied = (tmp_path / "copy.akj").read_bytes()
    assert hashlib.sha256(copied).hexdigest() == card.sha256
    assert aj.load(tmp_path / "copy.akj").layers == pretrained(name).layers
    assert list(tmp_path.iterdir()) == [tmp_path / "copy.akj"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("nope",), "no pretrained model 'nope'; there are "),
        (("--save", "m.akj"), "--save needs the name of a pretrained model"),
        (("NAME", "--save", "none/m.akj"), "the folder none does not exist; create it first"),
        (("NAME", "--save", "."), ". is a folder; give the name of a file"),
    ],
)
def test_impossible_wishes_of_the_zoo_end_with_code_2(command, options, message):
    name = pretrained_names()[0]
    result = command("zoo", *(name if option == "NAME" else option for option in options))
    assert result.code == 2
    assert message in result.err
    assert "Traceback" not in result.err
