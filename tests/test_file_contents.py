"""Model files whose description or arrays are wrong, though the zip is sound."""

import hashlib
import json
import zipfile

import pytest

import akida_jax as aj
from akida_jax import archives
from akida_jax.containers import MOST_BYTES, pack_members
from tests.samples import random_variables


@pytest.fixture
def tiny(rng):
    model = aj.Model([
        aj.InputData(input_shape=(1, 1, 3)), aj.FullyConnected(units=2, activation=False),
    ])  # fmt: skip
    return model.with_variables(random_variables(rng, model))


def rewrite(source, target, change, *, members=None):
    """Copy a file with a changed description and changed members."""
    with zipfile.ZipFile(source) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    description = json.loads(contents["model.json"])
    description = change(description) or description
    contents["model.json"] = json.dumps(description).encode()
    contents |= members or {}
    kept = {name: content for name, content in contents.items() if content is not None}
    target.write_bytes(pack_members(kept))


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
    "future version": (put("version", 3), "version 3, this akida-jax reads up to 2; upgrade"),
    "version is no number": (put("version", "1"), "format version '1' is not a positive number"),
    "older version": (put("version", 1), "this one of version 1 has a digest; copy or save"),
    "version zero": (put("version", 0), "format version 0 is not a positive number"),
    "version true": (put("version", True), "format version True is not a positive number"),
    "other format": (put("format", "else"), "this is no model file"),
    "no object": (lambda d: [d], "this is no model file"),
    "unknown field": (put("extra", 1), r"fields \['extra'\]; a newer akida-jax may .* upgrade"),
    "no layers": (lambda d: d.pop("layers") and None,
                  r"model.json has .* missing fields \['layers'\]"),
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
    "array missing": (lambda d: d["arrays"].pop() and None,
                      "arrays/002 is not where its description expects it"),
    "array twice": (lambda d: d["arrays"].append(d["arrays"][0]), "arrays/003 is missing"),
    "array of no layer": (put("arrays", 0, "layer", "x"), "unknown or repeated array 'kernel'"),
    "unknown array": (put("arrays", 0, "variable", "bias"), "unknown or repeated array 'bias'"),
    "other shape": (put("arrays", 0, "shape", [1, 1, 2, 3]), "declared as"),
    "other bits": (put("arrays", 0, "bits", 2), "declared as"),
    "no shape": (put("arrays", 0, "shape", None), "not valid"),
    "other member": (put("arrays", 0, "member", "arrays/009"), "must be in arrays/000"),
    "member is a list": (put("arrays", 0, "member", []), "must be in arrays/000"),
    "wrong checksum": (put("arrays", 1, "sha256", "0" * 64), "does not match its checksum"),
    "checksum missing": (lambda d: d["arrays"][1].pop("sha256") and None,
                         r"missing fields \['sha256'\]"),
    "oversize": (huge, f"take 11000000000 bytes in memory, .* at most {2**26}"),
    "bits are a float": (put("arrays", 0, "bits", 4.0), "declared as"),
    "a true in a shape": (put("arrays", 0, "shape", [True, 1, 3, 2]), "declared as"),
    "a float in a shape": (put("arrays", 0, "shape", [1, 1, 3, 2.0]), "declared as"),
    "one array for two": (put("arrays", 1, "variable", "kernel"), "unknown or repeated array"),
    "a field of arrays": (put("arrays", 0, "extra", 1), r"an entry of arrays .*\['extra'\]"),
    "a list of numbers": (put("layers", 0, "input_shape", [1] * 4), "input_shape is"),
    "name is a list": (put("layers", 1, "name", ["a", "b"]), "name is"),
    "name is long": (put("layers", 1, "name", "a" * 1001), "has 1001 letters, at most 1000"),
    "name is no text": (put("layers", 1, "name", "\ud800"), "is no Unicode"),
    "too many layers": (lambda d: d["layers"].extend([d["layers"][1]] * 1023),
                        "1025 layers, a file holds at most 1024"),
    "too many values": (put("layers", list(range(200_002))), "has more than 200000 commas"),
    "too deep": (put("layers", [[[[[[[]]]]]]]), "nested deeper than 6 times"),
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
        ({"model.json": b"{"}, "description is no valid JSON"),
        ({"model.json": b"\xff\xfe\xfa"}, "description is no valid JSON"),
        (
            {"model.json": b"".join(b"[%d," % i**2 for i in range(5000))},
            "description is no valid JSON",
        ),
        ({"model.json": b" " * (2**22 + 1)}, r"has 4194305 bytes, expected at most 4194304"),
        ({"model.json": b" " * 2**22}, r"bytes to 4194304, at most 250 times as many"),
        ({"model.json": b'{"format": 1, "format": 1}'}, "the key 'format' stands twice"),
        ({"model.json": b'{"version": NaN}'}, "NaN is no number of this format"),
        ({"model.json": b'{"version": -Infinity}'}, "-Infinity is no number of this format"),
        ({"model.json": b'{"version": -0}'}, "no number of this format: -0"),
        ({"model.json": b'{"version": -0.0}'}, "no number of this format: -0.0"),
        ({"model.json": b'{"version": 1e999}'}, "no number of this format: 1e999"),
        ({"model.json": b'{"version": 1' + b"0" * 5000 + b"}"}, "no number of this format: 1000"),
        ({"model.json": '{"format": "akida-jax model"}'.encode("utf-16")}, "no valid JSON"),
        ({"arrays/000": None}, "arrays/000 is missing"),
        ({"arrays/003": b""}, "arrays/003 is not where its description expects it"),
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


def test_a_long_message_is_cut(tiny, tmp_path):
    aj.save(tiny, tmp_path / "m.akj")
    change = put("layers", [{"type": "Recurrent"}] * 1025)
    rewrite(tmp_path / "m.akj", tmp_path / "c.akj", put("layers", 1, "units", list(range(9999))))
    with pytest.raises(aj.ModelFileError, match=r"units is \[0, 1, .* \.\.\. \(58\d{3} letters\)$"):
        aj.load(tmp_path / "c.akj")
    rewrite(tmp_path / "m.akj", tmp_path / "c.akj", change)
    with pytest.raises(aj.ModelFileError, match="1025 layers"):
        aj.load(tmp_path / "c.akj")


def test_bits_behind_the_last_value_are_refused(tmp_path):
    model = aj.Model([aj.InputData(input_shape=(1, 1, 3)), aj.FullyConnected(units=1)])
    aj.save(model, tmp_path / "m.akj")
    content = b"\0\x10"  # three levels of 0, and a fourth of 1
    change = put("arrays", 0, "sha256", hashlib.sha256(content).hexdigest())
    rewrite(tmp_path / "m.akj", tmp_path / "c.akj", change, members={"arrays/000": content})
    with pytest.raises(aj.ModelFileError, match=r"bits behind the last value .* must be 0"):
        aj.load(tmp_path / "c.akj")


def test_what_would_not_be_read_is_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MOST_UNPACKED_BYTES", 2**15)
    inputs = aj.InputData(input_shape=(1, 1, 2**10))
    for layers, message in (
        ([inputs, aj.FullyConnected(units=2**5)], "arrays take 33024 bytes in memory"),
        ([inputs, aj.FullyConnected(units=1, name="a" * 1001)], "has 1001 letters"),
        ([inputs, aj.FullyConnected(units=1, name="\udfff")], "is no Unicode"),
        ([inputs, *[aj.Convolutional(filters=1, kernel_size=1)] * 1024], "1025 layers"),
    ):
        with pytest.raises(aj.ModelFileError, match=rf"^m\.akj cannot be written: .*{message}"):
            aj.save(aj.Model(layers), tmp_path / "m.akj")
    assert list(tmp_path.iterdir()) == []


def test_the_most_layers_are_written_and_read(tmp_path):
    layers = [aj.Convolutional(filters=1, kernel_size=1)] * 1023
    model = aj.Model([aj.InputData(input_shape=(1, 1, 1)), *layers])
    aj.save(model, tmp_path / "m.akj")
    assert aj.load(tmp_path / "m.akj").layers == model.layers


def test_a_file_larger_than_any_model_is_not_read(tmp_path):
    with (tmp_path / "m.akj").open("wb") as stream:
        stream.truncate(MOST_BYTES + 1)
    with pytest.raises(aj.ModelFileError, match=rf"m\.akj: it has {MOST_BYTES + 1} bytes, at most"):
        aj.load(tmp_path / "m.akj")
