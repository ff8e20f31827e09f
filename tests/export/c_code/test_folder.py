"""The folder of an export: whole or not there, and nothing else is lost."""

import json
import os
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

import akida_jax as aj
from akida_jax.export.c_code import ExportError, folder
from tests.samples import small_model
from tests.test_house import ROOT, run


@pytest.fixture
def model(rng):
    return small_model(rng)


def contents(path):
    return {p.name: p.read_bytes() for p in path.iterdir()}


def test_the_same_model_gives_the_same_bytes(model, tmp_path):
    report = aj.export.to_c(model, tmp_path / "a")
    aj.export.to_c(model, tmp_path / "b")
    written = contents(tmp_path / "a")
    assert written == contents(tmp_path / "b")
    assert report.files == tuple(sorted(written))
    listed = json.loads(written["export.json"])["files"]
    assert {*listed, "export.json"} == set(written)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b"]
    assert os.stat(tmp_path / "a").st_mode & 0o777 == 0o777 & ~_umask()


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_an_earlier_export_and_an_empty_folder_are_replaced(model, tmp_path):
    (tmp_path / "a").mkdir()
    aj.export.to_c(model, tmp_path / "a", name="first")
    aj.export.to_c(model, tmp_path / "a", name="second")
    names = set(contents(tmp_path / "a"))
    assert "second.c" in names
    assert "first.c" not in names


def test_anything_else_is_kept(model, tmp_path):
    target = tmp_path / "a"
    aj.export.to_c(model, target)
    (target / "notes.txt").write_text("mine")
    before = contents(target)
    with pytest.raises(ExportError, match=r"a holds what is no export: notes\.txt; give a new"):
        aj.export.to_c(model, target)
    assert contents(target) == before
    other = tmp_path / "b"
    other.mkdir()
    for name in "dcba":
        (other / name).write_text(name)
    with pytest.raises(ExportError, match=r"no export: a, b, c, \.\.\.; give"):
        aj.export.to_c(model, other)
    for manifest in ("{", "[]", '{"format": "other", "files": ["a", "b", "c", "d"]}'):
        (other / "export.json").write_text(manifest)
        with pytest.raises(ExportError, match="holds what is no export: a, b, c"):
            aj.export.to_c(model, other)


def test_places_where_no_folder_can_be(model, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError, match="file is no folder; give the name of a new one"):
        aj.export.to_c(model, tmp_path / "file")
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to("there")
    with pytest.raises(NotADirectoryError, match="link is no folder"):
        aj.export.to_c(model, tmp_path / "link")
    with pytest.raises(FileNotFoundError, match="none does not exist; create it first"):
        aj.export.to_c(model, tmp_path / "none" / "a")


@pytest.mark.parametrize("fails", ["write", "rename"])
def test_a_failure_leaves_the_earlier_export(fails, model, tmp_path, monkeypatch):
    target = tmp_path / "a"
    aj.export.to_c(model, target, name="first")
    before = contents(target)
    honest = {"write": Path.write_text, "rename": os.rename}[fails]

    def broken(path, *rest, **options):
        if Path(path).name in ("README.md", "new"):
            raise OSError("no space left")
        return honest(path, *rest, **options)

    if fails == "write":
        monkeypatch.setattr(Path, "write_text", broken)
    else:
        monkeypatch.setattr(folder.os, "rename", broken)
    with pytest.raises(OSError, match="no space left"):
        aj.export.to_c(model, target, name="second")
    assert contents(target) == before
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "'' is no C identifier"),
        ("2d", "'2d' is no C identifier; use letters, digits and _, a letter first"),
        ("_x", "'_x' is no C identifier"),
        ("a-b", "'a-b' is no C identifier"),
        ("größe", "is no C identifier"),
        (3, "name 3 is no C identifier"),
        ("x\n", "is no C identifier"),
        ("x" * 64, "has 64 characters; use at most 63"),
        ("while", "'while' is a keyword of C or C\\+\\+"),
        ("class", "'class' is a keyword of C or C\\+\\+"),
        ("main", "'main' is that of a header, a file of the export"),
        ("String", "'String' is that of a header"),
        ("akida_runtime", "is that of a header"),
    ],
)
def test_a_bad_name_is_refused(name, message, model, tmp_path):
    with pytest.raises(ValueError, match=message):
        aj.export.to_c(model, tmp_path / "a", name=name)
    assert not list(tmp_path.iterdir())


def test_a_sample_must_be_an_input(model, tmp_path):
    with pytest.raises(ValueError, match=r"'conv_0' takes inputs of shape \(n, 9, 8, 3\)"):
        aj.export.to_c(model, tmp_path / "a", sample=np.zeros((9, 8, 1), np.uint8))
    assert not list(tmp_path.iterdir())


def test_the_wheel_holds_the_templates(tmp_path):
    pytest.importorskip("hatchling")
    built = run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path))
    assert built.returncode == 0, built.stderr
    (path,) = tmp_path.glob("*.whl")
    inside = "akida_jax/export/c_code/template"
    templates = {f"{inside}/{p.name}" for p in (ROOT / inside).iterdir()}
    assert len(templates) > 10
    with zipfile.ZipFile(path) as archive:
        assert templates <= set(archive.namelist())
