"""Model files: round trips, damage, versions, and writing without accidents."""

import hashlib
import json
import os
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

import akida_jax as aj
from akida_jax.quant import Registers
from tests.samples import random_variables, small_model

GOLDEN = Path(__file__).parent / "golden" / "version_1.akj"

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
    model = aj.load(GOLDEN)
    assert [type(layer).__name__ for layer in model.layers] == [
        "InputConvolutional", "Convolutional", "SeparableConvolutional", "Convolutional",
        "FullyConnected",
    ]  # fmt: skip
    x = (np.arange(2 * 9 * 8 * 3).reshape(2, 9, 8, 3) * 37 % 256).astype(np.uint8)
    assert model.forward(x).reshape(2, 3).tolist() == [[-9, -15, 15], [1, -2, 9]]
    assert hashlib.sha256(GOLDEN.read_bytes()).hexdigest()[:16] == "c3624391b2fdad7c"


def test_today_writes_what_version_1_wrote(tmp_path):
    aj.save(aj.load(GOLDEN), tmp_path / "m.akj")
    assert_equal_models(aj.load(tmp_path / "m.akj"), aj.load(GOLDEN))
    with zipfile.ZipFile(tmp_path / "m.akj") as new, zipfile.ZipFile(GOLDEN) as old:
        # The deflated bytes depend on the zlib, the contents do not.
        assert {n: new.read(n) for n in new.namelist()} == {n: old.read(n) for n in old.namelist()}


def test_a_truncated_file_is_an_error(tiny, tmp_path):
    path, cut = tmp_path / "m.akj", tmp_path / "cut.akj"
    aj.save(tiny, path)
    content = path.read_bytes()
    for length in {0, 1, 3, 4, len(content) - 1, *range(0, len(content), 29)}:
        cut.write_bytes(content[:length])
        with pytest.raises(aj.ModelFileError, match=r"^cut\.akj: "):
            aj.load(cut)


@pytest.mark.parametrize("mask", [0x01, 0x80, 0xFF])
def test_a_damaged_byte_gives_an_error_or_the_same_model(mask, tiny, tmp_path):
    path, damaged = tmp_path / "m.akj", tmp_path / "damaged.akj"
    aj.save(tiny, path)
    content = path.read_bytes()
    refused = 0
    for position in range(len(content)):
        flipped = bytearray(content)
        flipped[position] ^= mask
        damaged.write_bytes(flipped)
        try:
            loaded = aj.load(damaged)
        except aj.ModelFileError:
            refused += 1
        else:
            assert_equal_models(tiny, loaded)
    assert refused > len(content) / 2


def rewrite(source, target, change, *, members=None):
    """Copy a file with a changed description and changed members."""
    with zipfile.ZipFile(source) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    description = json.loads(contents["model.json"])
    description = change(description) or description
    contents["model.json"] = json.dumps(description).encode()
    contents |= members or {}
    with zipfile.ZipFile(target, "w") as archive:
        for name, content in contents.items():
            if content is not None:
                archive.writestr(name, content)


def put(*path_and_value):
    """Return a change that sets description[a][b]... to a value."""

    def change(description):
        *path, last, value = path_and_value
        for key in path:
            description = description[key]
        description[last] = value

    return change


def huge(description):
    description["layers"][1]["units"] = 10**9
    for array in description["arrays"]:
        array["shape"] = [1, 1, 3, 10**9] if array["variable"] == "kernel" else [10**9]


CHANGES = {
    "future version": (put("version", 2), "version 2, this akida-jax reads up to 1; upgrade"),
    "version is no number": (put("version", "1"), "format version '1' is not a positive number"),
    "version zero": (put("version", 0), "format version 0 is not a positive number"),
    "version true": (put("version", True), "format version True is not a positive number"),
    "other format": (put("format", "else"), "this is no model file"),
    "no object": (lambda d: [d], "this is no model file"),
    "unknown field": (put("extra", 1), r"unknown fields \['extra'\] in model\.json"),
    "no layers": (lambda d: d.pop("layers") and None, "description is not valid: 'layers'"),
    "empty layers": (put("layers", []), "unknown or repeated array"),
    "only an input": (lambda d: put("arrays", [])(put("layers", 1, d["layers"][0])(d) or d),
                      "not valid"),
    "layers are text": (put("layers", "x"), "not valid"),
    "arrays are a number": (put("arrays", 3), "not valid"),
    "unknown layer": (put("layers", 1, "type", "Recurrent"), "unknown layer type 'Recurrent'"),
    "unknown layer field": (put("layers", 1, "bias", 0), r"unknown or missing fields \['bias'\]"),
    "missing layer field": (lambda d: d["layers"][1].pop("units") and None,
                            r"unknown or missing fields \['units'\]"),
    "float field": (put("layers", 1, "units", 2.0), "units is 2.0"),
    "nested field": (put("layers", 1, "units", [[2]]), "units is"),
    "text field": (put("layers", 1, "units", "2"), "not valid"),
    "true field": (put("layers", 1, "units", True), "not valid"),
    "activation is a number": (put("layers", 1, "activation", 0), "activation is 0"),
    "name is a number": (put("layers", 1, "name", 5), "name is 5"),
    "no name": (put("layers", 1, "name", None), "name is None"),
    "illegal layer": (put("layers", 1, "weight_bits", 8), "weight_bits 8 is not one of 1, 2, 4"),
    "array missing": (lambda d: d["arrays"].pop() and None, "layer 'dense_0' lacks raw_step"),
    "array twice": (lambda d: d["arrays"].append(d["arrays"][0]), "unknown or repeated array"),
    "array of no layer": (put("arrays", 0, "layer", "x"), "unknown or repeated array 'kernel'"),
    "unknown array": (put("arrays", 0, "variable", "bias"), "unknown or repeated array 'bias'"),
    "other shape": (put("arrays", 0, "shape", [1, 1, 2, 3]), "declared as"),
    "other bits": (put("arrays", 0, "bits", 2), "declared as"),
    "no shape": (put("arrays", 0, "shape", None), "not valid"),
    "other member": (put("arrays", 0, "member", "arrays/009"), "arrays/009 is missing"),
    "member is a list": (put("arrays", 0, "member", []), "not valid"),
    "wrong checksum": (put("arrays", 1, "sha256", "0" * 64), "does not match its checksum"),
    "checksum missing": (lambda d: d["arrays"][1].pop("sha256") and None, "not valid"),
    "oversize": (huge, "bytes, expected 1500000000"),
    "register missing": (lambda d: d["registers"].pop("threshold_bits") and None, "not valid"),
    "register unknown": (put("registers", "x", 3), "not valid"),
    "register text": (put("registers", "threshold_bits", "20"), "not valid"),
    "register float": (put("registers", "step_fraction_bits", 4.5), "not valid"),
    "register negative": (put("registers", "step_fraction_bits", -1), "not valid"),
    "register endless": (put("registers", "threshold_bits", 10**14), "not valid"),
    "fraction endless": (put("registers", "step_fraction_bits", 10**14), "not valid"),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_descriptions_that_are_refused(name, tiny, tmp_path):
    change, message = CHANGES[name]
    aj.save(tiny, tmp_path / "m.akj")
    rewrite(tmp_path / "m.akj", tmp_path / "changed.akj", change)
    with pytest.raises(aj.ModelFileError, match=rf"(?s)^changed\.akj: .*{message}"):
        aj.load(tmp_path / "changed.akj")


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"model.json": None}, r"model\.json is missing; the file is incomplete"),
        ({"model.json": b"{"}, r"model\.json is no valid JSON"),
        ({"model.json": b"\xff\xfe\xfa"}, r"model\.json is no valid JSON"),
        ({"model.json": b"[" * 100_000}, r"model\.json is no valid JSON"),
        ({"model.json": b" " * (2**22 + 1)}, r"has 4194305 bytes, expected at most 4194304"),
        ({"arrays/000": None}, "arrays/000 is missing"),
        ({"arrays/000": b""}, "arrays/000 has 0 bytes, expected 3"),
        ({"arrays/000": b"1234"}, "arrays/000 has 4 bytes, expected 3"),
        ({"arrays/000": b"123"}, "kernel of layer 'dense_0' does not match its checksum"),
    ],
)
def test_members_that_are_refused(members, message, tiny, tmp_path):
    aj.save(tiny, tmp_path / "m.akj")
    rewrite(tmp_path / "m.akj", tmp_path / "changed.akj", lambda d: d, members=members)
    with pytest.raises(aj.ModelFileError, match=message):
        aj.load(tmp_path / "changed.akj")


def test_a_value_out_of_range_is_refused_with_its_checksum_right(tiny, tmp_path):
    content = b"\x88\x88\x88"  # levels of -8
    aj.save(tiny, tmp_path / "m.akj")
    change = put("arrays", 0, "sha256", hashlib.sha256(content).hexdigest())
    rewrite(tmp_path / "m.akj", tmp_path / "c.akj", change, members={"arrays/000": content})
    with pytest.raises(aj.ModelFileError, match=r"-8 to -8, 4-bit weights span -7\.\.7"):
        aj.load(tmp_path / "c.akj")


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
    with pytest.raises(FileNotFoundError):
        aj.save(tiny, tmp_path / "absent" / "m.akj")


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_a_saved_file_has_ordinary_permissions(tiny, tmp_path):
    aj.save(tiny, tmp_path / "m.akj")
    (tmp_path / "other").touch()
    assert (tmp_path / "m.akj").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_the_name_of_a_file_does_not_matter(tiny, tmp_path):
    aj.save(tiny, tmp_path / "m.akj")
    shutil.copy(tmp_path / "m.akj", tmp_path / "m")
    assert_equal_models(tiny, aj.load(tmp_path / "m"))
