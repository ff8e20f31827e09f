"""Model files: round trips, damage, versions, and writing without accidents."""

import hashlib
import os
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

import akida_jax as aj
from akida_jax import zoo
from akida_jax.quant import Registers
from tests.samples import random_variables, small_model

GOLDEN = Path(__file__).parent / "golden"

MODELS = {
    "every layer": [
        aj.InputConvolutional(input_shape=(9, 8, 3), filters=4, kernel_size=3, stride=2,
                              padding_value=128, pool="max", pool_size=(1, 2)),
        aj.Convolutional(filters=5, kernel_size=3, pool="max", pool_size=2, pool_stride=(1, 1)),
        aj.SeparableConvolutional(filters=3, kernel_size=5, pool="global_average"),
        aj.FullyConnected(units=3, activation=False, name="größe \"x\"/\\"),
    ],
    "2-bit weights": [
        aj.InputConvolutional(input_shape=(5, 5, 1), filters=3, kernel_size=3, weight_bits=2),
        aj.SeparableConvolutional(filters=3, kernel_size=3, weight_bits=2, act_bits=1),
        aj.FullyConnected(units=3, weight_bits=2),
    ],
    "4-bit weights": [
        aj.InputConvolutional(input_shape=(5, 5, 1), filters=3, kernel_size=3, weight_bits=4),
    ],
    "1-bit weights": [
        aj.InputData(input_shape=(1, 1, 13), input_bits=1),
        aj.FullyConnected(units=3, weight_bits=1, act_bits=2),
    ],
    "neurons that share a class": [
        aj.InputData(input_shape=(1, 1, 13), input_bits=1),
        aj.FullyConnected(units=6, weight_bits=1, activation=False, neurons_per_class=2),
    ],
}  # fmt: skip


def assert_equal_models(a, b):
    assert a.layers == b.layers
    assert a.registers == b.registers
    assert list(a.variables) == list(b.variables)
    for name, layer in a.variables.items():
        assert list(layer) == list(b.variables[name])
        for key, array in layer.items():
            np.testing.assert_array_equal(array, b.variables[name][key], strict=True)


@pytest.fixture
def tiny(rng):
    model = aj.Model([
        aj.InputData(input_shape=(1, 1, 3)), aj.FullyConnected(units=2, activation=False),
    ])  # fmt: skip
    return model.with_variables(random_variables(rng, model))


@pytest.mark.parametrize("name", MODELS)
def test_round_trip(name, rng, tmp_path):
    model = aj.Model(MODELS[name])
    model = model.with_variables(random_variables(rng, model))
    aj.save(model, tmp_path / "m.akj")
    loaded = aj.load(tmp_path / "m.akj")
    assert_equal_models(model, loaded)
    if name in ("every layer", "1-bit weights"):
        x = rng.integers(0, 2**model.input_bits, (3, *model.input_shape), dtype=np.uint8)
        np.testing.assert_array_equal(model.forward(x), loaded.forward(x), strict=True)


def test_other_registers_are_kept(tmp_path):
    registers = Registers(threshold_bits=22, input_threshold_bits=25, step_integer_bits=12,
                          input_step_integer_bits=14, step_fraction_bits=6)  # fmt: skip
    model = aj.Model(MODELS["1-bit weights"], registers=registers)
    step = np.array([0.03125, 4095.984375, 1], np.float32)
    model = model.with_variables({"dense_0": {"step": step}})
    aj.save(model, tmp_path / "m.akj")
    assert_equal_models(model, aj.load(tmp_path / "m.akj"))


def test_the_same_model_gives_the_same_bytes(rng, tmp_path):
    model = small_model(rng)
    aj.save(model, tmp_path / "a.akj")
    aj.save(aj.load(tmp_path / "a.akj"), str(tmp_path / "b.akj"))
    assert (tmp_path / "a.akj").read_bytes() == (tmp_path / "b.akj").read_bytes()


def test_extreme_levels_survive_the_packing(tmp_path):
    for bits in (2, 4, 8):
        limit = 2 ** (bits - 1) - 1
        model = aj.Model([aj.InputConvolutional(input_shape=(5, 5, 1), filters=1, kernel_size=3,
                                                weight_bits=bits, name="a")])  # fmt: skip
        kernel = np.array([-limit, limit, 0, -1, 1, limit, -limit, 1, -1], np.int8)
        model = model.with_variables({"a": {"kernel": kernel.reshape(3, 3, 1, 1)}})
        aj.save(model, tmp_path / "m.akj")
        assert_equal_models(model, aj.load(tmp_path / "m.akj"))


def test_weights_take_their_bits(tmp_path):
    model = aj.Model([aj.InputData(input_shape=(1, 1, 4001)),
                      aj.FullyConnected(units=1, weight_bits=2)])  # fmt: skip
    aj.save(model, tmp_path / "m.akj")
    with zipfile.ZipFile(tmp_path / "m.akj") as archive:
        assert archive.getinfo("arrays/000").file_size == 1001


def test_a_file_of_version_1_loads_for_ever():
    model = aj.load(GOLDEN / "version_1.akj")
    assert_golden(model)
    assert sha256(GOLDEN / "version_1.akj") == "c3624391b2fdad7c"
    assert model.layers[-1].neurons_per_class == 1  # files of version 1 may leave it out


def test_a_file_of_version_2_loads_for_ever():
    assert_golden(aj.load(GOLDEN / "version_2.akj"))
    assert sha256(GOLDEN / "version_2.akj") == "097e675eee193f0a"


def assert_golden(model):
    assert [type(layer).__name__ for layer in model.layers] == [
        "InputConvolutional", "Convolutional", "SeparableConvolutional", "Convolutional",
        "FullyConnected",
    ]  # fmt: skip
    x = (np.arange(2 * 9 * 8 * 3).reshape(2, 9, 8, 3) * 37 % 256).astype(np.uint8)
    assert model.forward(x).reshape(2, 3).tolist() == [[-9, -15, 15], [1, -2, 9]]


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def test_today_writes_what_version_2_wrote(tmp_path):
    aj.save(aj.load(GOLDEN / "version_1.akj"), tmp_path / "m.akj")
    assert_equal_models(aj.load(tmp_path / "m.akj"), aj.load(GOLDEN / "version_1.akj"))
    old = GOLDEN / "version_2.akj"
    with zipfile.ZipFile(tmp_path / "m.akj") as new, zipfile.ZipFile(old) as old:
        # The deflated bytes depend on the zlib, the contents do not.
        assert {n: new.read(n) for n in new.namelist()} == {n: old.read(n) for n in old.namelist()}


def test_other_programs_read_the_archive(tiny, tmp_path):
    aj.save(tiny, tmp_path / "m.akj")
    with zipfile.ZipFile(tmp_path / "m.akj") as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["model.json", "arrays/000", "arrays/001", "arrays/002"]
        digest = hashlib.sha256((tmp_path / "m.akj").read_bytes()[:-71]).hexdigest()
        assert archive.comment == b"sha256:" + digest.encode()


@pytest.mark.parametrize("name", zoo.list())
def test_every_network_of_the_zoo_survives(name, tmp_path):
    model = zoo.blank_model(name)
    aj.save(model, tmp_path / "m.akj")
    assert_equal_models(model, aj.load(tmp_path / "m.akj"))


def test_a_truncated_file_is_an_error(tiny, tmp_path):
    path, cut = tmp_path / "m.akj", tmp_path / "cut.akj"
    aj.save(tiny, path)
    content = path.read_bytes()
    for length in {0, 1, 3, 4, len(content) - 1, *range(0, len(content), 29)}:
        cut.write_bytes(content[:length])
        with pytest.raises(aj.ModelFileError, match=r"^cut\.akj: "):
            aj.load(cut)


@pytest.mark.parametrize("mask", [0x01, 0x80, 0xFF])
def test_a_damaged_byte_is_refused(mask, tiny, tmp_path):
    path, damaged = tmp_path / "m.akj", tmp_path / "damaged.akj"
    aj.save(tiny, path)
    content = path.read_bytes()
    for position in range(len(content)):
        flipped = bytearray(content)
        flipped[position] ^= mask
        damaged.write_bytes(flipped)
        with pytest.raises(aj.ModelFileError, match=r"^damaged\.akj: "):
            aj.load(damaged)


def test_a_damaged_byte_of_version_1_gives_an_error_or_the_same_model(tmp_path):
    """Not every bit of a deflated member says something; all others are covered."""
    content, damaged = (GOLDEN / "version_1.akj").read_bytes(), tmp_path / "damaged.akj"
    model = aj.load(GOLDEN / "version_1.akj")
    same = []
    for position in range(len(content)):
        flipped = bytearray(content)
        flipped[position] ^= 0x80
        damaged.write_bytes(flipped)
        try:
            loaded = aj.load(damaged)
        except aj.ModelFileError as error:
            assert str(error).startswith("damaged.akj: ")  # noqa: PT017
        else:
            same.append(position)
            assert_equal_models(model, loaded)
    assert len(same) <= 17  # one for each member at most


def test_something_else_is_refused(tmp_path):
    (tmp_path / "text.akj").write_text("no zip")
    with pytest.raises(aj.ModelFileError, match=r"text\.akj: not a model file, or truncated"):
        aj.load(tmp_path / "text.akj")
    with pytest.raises(FileNotFoundError):
        aj.load(tmp_path / "absent.akj")
    with pytest.raises(FileNotFoundError):
        aj.load(str(tmp_path / "absent" / "m.akj"))
    with pytest.raises(IsADirectoryError):
        aj.load(tmp_path)


@pytest.mark.parametrize("call", ["replace", "fsync"])
def test_a_failing_save_leaves_the_old_file(call, tiny, tmp_path, monkeypatch):
    path = tmp_path / "m.akj"
    aj.save(tiny, path)
    before = path.read_bytes()

    def fail(*args):
        raise OSError("no space left on device")

    monkeypatch.setattr(os, call, fail)
    other = tiny.with_variables({"dense_0": {"threshold": np.array([1, 2], np.int32)}})
    with pytest.raises(OSError, match="no space left"):
        aj.save(other, path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["m.akj"]


def test_a_save_into_no_folder_fails(tiny, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"folder .*absent does not exist; create it"):
        aj.save(tiny, tmp_path / "absent" / "m.akj")


def test_a_folder_is_no_file(tiny, tmp_path):
    with pytest.raises(IsADirectoryError, match="is a folder; give the name of a file"):
        aj.save(tiny, tmp_path)
    with pytest.raises(IsADirectoryError):
        aj.load(tmp_path)


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_a_saved_file_has_ordinary_permissions(tiny, tmp_path):
    aj.save(tiny, tmp_path / "m.akj")
    (tmp_path / "other").touch()
    assert (tmp_path / "m.akj").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_the_name_of_a_file_does_not_matter(tiny, tmp_path):
    aj.save(tiny, tmp_path / "m.akj")
    shutil.copy(tmp_path / "m.akj", tmp_path / "m")
    assert_equal_models(tiny, aj.load(tmp_path / "m"))
