import hashlib
import subprocess
import sys

import pytest

import akida_jax as aj
from akida_jax import mapping, zoo
from akida_jax.zoo.pretrained_models import model_card, pretrained, pretrained_names


def _run(*arguments):
    command = [sys.executable, "-m", "akida_jax.command_line", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def model():
    return aj.Model(
        [
            aj.InputData(input_shape=(1, 1, 8), input_bits=1),
            aj.FullyConnected(units=3, activation=False, name="head"),
        ]
    )


def test_summary_of_a_file(model, tmp_path):
    aj.save(model, tmp_path / "m.akj")
    result = _run("summary", tmp_path / "m.akj")
    assert result.returncode == 0, result.stderr
    assert result.stdout == model.summary() + "\n"


def test_missing_and_damaged_files_end_with_code_2(model, tmp_path):
    result = _run("summary", tmp_path / "none.akj")
    assert result.returncode == 2
    assert "No such file" in result.stderr
    (tmp_path / "bad.akj").write_bytes(b"PK\x03\x04 nonsense")
    result = _run("summary", tmp_path / "bad.akj")
    assert result.returncode == 2
    assert "bad.akj: not a model file, or truncated or damaged" in result.stderr
    assert "Traceback" not in result.stderr


def test_info_names_versions_and_executors():
    result = _run("info")
    assert result.returncode == 0, result.stderr
    assert "akida-jax" in result.stdout
    assert "dense, event" in result.stdout


def test_summary_on_a_device(model, tmp_path):
    aj.save(model, tmp_path / "m.akj")
    placement = mapping.place(model, mapping.AKD1000, "all_nps")
    result = _run("summary", tmp_path / "m.akj", "--device", "akd1000", "--mode", "all_nps")
    assert result.returncode == 0, result.stderr
    assert result.stdout == model.summary(placement) + "\n"
    cost = mapping.estimate(placement, {"input": 0.25}, batch=2)
    options = ("--device", "akd1000", "--mode", "all_nps", "--sparsity", "0.25", "--batch", "2")
    result = _run("summary", tmp_path / "m.akj", *options)
    assert result.stdout == model.summary(placement, cost) + "\n"
    assert "modelled on AKD1000, batch 2" in result.stdout


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
def test_impossible_options_end_with_code_2(model, tmp_path, options, message):
    aj.save(model, tmp_path / "m.akj")
    result = _run("summary", tmp_path / "m.akj", *options)
    assert result.returncode == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_devices_name_every_fact_and_its_source():
    result = _run("devices")
    assert result.returncode == 0, result.stderr
    for device in mapping.DEVICES.values():
        assert device.name in result.stdout
        for fact in device.facts():
            assert fact.name in result.stdout
            assert fact.source in result.stdout


def test_the_zoo_lists_architectures_and_pretrained_models():
    result = _run("zoo")
    assert result.returncode == 0, result.stderr
    for name in zoo.list():
        assert name in result.stdout
    assert "4,445,000" in result.stdout
    for name in pretrained_names():
        card = model_card(name)
        assert name in result.stdout
        assert f"{card.size_bytes:,}" in result.stdout
        mean = sum(card.accuracy["integer"]) / len(card.accuracy["integer"])
        assert f"{mean:.1%}" in result.stdout
    assert "modelled" in result.stdout


def test_the_zoo_shows_a_card_and_copies_a_model(tmp_path):
    name = pretrained_names()[0]
    card = model_card(name)
    result = _run("zoo", name)
    assert result.returncode == 0, result.stderr
    words = " ".join(result.stdout.replace("│", " ").split())
    assert card.sha256 in words
    assert " ".join(card.limits.split()) in words
    result = _run("zoo", name, "--save", tmp_path / "copy.akj")
    assert result.returncode == 0, result.stderr
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
def test_impossible_wishes_of_the_zoo_end_with_code_2(options, message):
    name = pretrained_names()[0]
    result = _run("zoo", *(name if option == "NAME" else option for option in options))
    assert result.returncode == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_help_of_the_zoo_has_an_example():
    result = _run("zoo", "--help")
    assert result.returncode == 0, result.stderr
    assert "akida-jax zoo akida_tiny_synthetic --save tiny.akj" in " ".join(result.stdout.split())
