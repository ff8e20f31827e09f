"""Model files whose description or arrays are wrong, though the zip is sound."""

import hashlib
import json
import zipfile

import pytest

import akida_jax as aj
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
