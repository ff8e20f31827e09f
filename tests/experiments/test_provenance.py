import datetime
import importlib.metadata
import json
import os
import platform
import re
import subprocess
from pathlib import Path

import pytest

from experiments.records import provenance
from tests.conftest import ROOT


def git(folder, *command):
    identity = ["-c", "user.name=tester", "-c", "user.email=tester@localhost"]
    done = subprocess.run(
        ["git", "-C", str(folder), *identity, *command], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture
def moved(tmp_path, monkeypatch):
    """Let the module believe that it lies in an empty folder outside a checkout."""
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.setattr(
        provenance, "__file__", str(tmp_path / "experiments" / "records" / "provenance.py")
    )
    return tmp_path


def test_fields():
    result = provenance.describe_machine()
    assert set(result) == {"date", "commit", "versions", "device"}
    age = datetime.datetime.now(datetime.UTC).date() - datetime.date.fromisoformat(result["date"])
    assert age.days in (0, 1)
    assert result["versions"]["python"] == platform.python_version()
    for name in ("akida-jax", "jax", "jaxlib", "flax", "optax", "numpy"):
        assert result["versions"][name] == importlib.metadata.version(name)
    assert set(result["device"]) == {"platform", "kind", "cores"}
    assert result["device"]["kind"]
    assert result["device"]["cores"] == os.cpu_count()
    assert json.loads(json.dumps(result)) == result


def test_no_path_and_no_name_of_the_machine():
    text = json.dumps(provenance.describe_machine())
    for private in (str(ROOT), str(Path.home()), os.getcwd(), platform.node()):
        if len(private) > 3:
            assert private not in text


def test_no_commit_outside_a_checkout(moved):
    assert provenance.describe_machine()["commit"] is None
    version = importlib.metadata.version("akida-jax")
    assert provenance.describe_code() == f"akida-jax {version}"


def test_no_commit_without_git(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert provenance.describe_machine()["commit"] is None


def test_commit_and_its_mark(moved):
    git(moved, "init", "--quiet")
    file = moved / "file"
    file.write_text("one")
    (moved / "docs").mkdir()
    page = moved / "docs" / "page.md"
    page.write_text("a table")
    git(moved, "add", "file", "docs")
    git(moved, "commit", "--quiet", "-m", "One")
    commit = git(moved, "rev-parse", "HEAD")
    assert provenance.describe_machine()["commit"] == commit[:12]
    page.write_text("a table that an experiment wrote")
    assert provenance.describe_code() == commit[:12]
    module = moved / "module.py"
    module.write_text("")
    assert provenance.describe_code() == f"{commit[:12]}-dirty"
    module.unlink()
    notebook = moved / "docs" / "notebook.ipynb"
    notebook.write_text("{}")
    assert provenance.describe_code() == f"{commit[:12]}-dirty"
    notebook.unlink()
    file.write_text("two")
    assert provenance.describe_machine()["commit"] == f"{commit[:12]}-dirty"
    assert provenance.describe_code() == f"{commit[:12]}-dirty"


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not in a checkout")
def test_commit_of_this_checkout():
    assert re.search(r"[0-9a-f]{12}(-dirty)?$", provenance.describe_machine()["commit"])
