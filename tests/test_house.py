"""The house itself: wheel, names, floors, sizes."""

import ast
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("quant", "mapping", "zoo")


def run(*command, cwd=ROOT):
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def python(code, cwd=ROOT):
    return run(sys.executable, "-c", code, cwd=cwd)


def sources():
    if shutil.which("git") and (ROOT / ".git").exists():
        listed = run("git", "ls-files", "-co", "--exclude-standard", "*.py").stdout.split()
        return [path for path in map(ROOT.joinpath, listed) if path.is_file()]
    rooms = (*ROOMS, "akida_jax", "experiments", "tests", "benchmarks")
    return [p for room in rooms for p in (ROOT / room).rglob("*.py")]


def test_no_module_is_longer_than_500_lines():
    paths = sources()
    assert len(paths) > 30
    lengths = {path: len(path.read_text().splitlines()) for path in paths}
    too_long = {str(path): n for path, n in lengths.items() if n > 500}
    assert not too_long


def count_lines(function, lines):
    """Lines of a function without docstring, comments and blank lines."""
    (first, *_), told = function.body, ast.get_docstring(function, clean=False)
    docstring = range(first.lineno, first.end_lineno + 1) if told is not None else ()
    numbers = set(range(function.lineno, function.end_lineno + 1)) - set(docstring)
    texts = [lines[number - 1].strip() for number in numbers]
    return sum(bool(text) and not text.startswith("#") for text in texts)


def test_no_function_is_longer_than_40_lines():
    lengths = {}
    for path in sources():
        text = path.read_text()
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef) and not path.is_relative_to(ROOT / "tests"):
                lengths[f"{path}:{node.lineno}"] = count_lines(node, text.splitlines())
    assert len(lengths) > 1000
    assert max(lengths.values()) > 30
    assert {name: n for name, n in lengths.items() if n > 40} == {}


@pytest.mark.parametrize("room", ROOMS)
def test_a_bare_name_cannot_be_imported(room):
    result = python(f"import {room}")
    assert result.returncode == 1
    assert f"ImportError: {room} is a part of akida_jax: import it as akida_jax.{room}" in (
        result.stderr
    )


@pytest.mark.parametrize("room", ROOMS)
def test_the_rooms_are_relative_links(room):
    link = ROOT / "akida_jax" / room
    assert link.is_symlink()
    assert link.readlink() == Path("..") / room


def test_the_runtime_loads_neither_zoo_nor_mapping():
    result = python(
        "import sys, akida_jax; print([m for m in sys.modules if m.split('.')[:2] in "
        "(['akida_jax', 'zoo'], ['akida_jax', 'mapping'])])"
    )
    assert result.stdout == "[]\n", result.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("wheel")
    result = run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder))
    assert result.returncode == 0, result.stderr
    (path,) = folder.glob("*.whl")
    return path


def test_the_wheel_holds_every_room_under_its_name(wheel):
    assert wheel.name.startswith("akida_jax-")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    expected = {
        *(
            f"akida_jax/{p.relative_to(ROOT)}"
            for room in ROOMS
            for p in (ROOT / room).rglob("*.py")
        ),
        *(str(p.relative_to(ROOT)) for p in (ROOT / "akida_jax").rglob("*.py")),
    }
    modules = {name for name in names if name.endswith(".py")}
    assert modules == {name for name in expected if "__pycache__" not in name}
    assert {name.split("/")[0].split("-")[0] for name in names} == {"akida_jax"}
    assert any(name.endswith("licenses/LICENSE") for name in names)
    native = "akida_jax/executors/native/source"
    sources = {f"{native}/{path.name}" for path in (ROOT / native).iterdir()}
    assert len(sources) > 5
    assert sources <= set(names)
    for room in ROOMS:
        assert f"akida_jax/{room}/__init__.py" in names


def test_the_unpacked_wheel_runs(wheel, tmp_path):
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    code = (
        "import sys; sys.path.insert(0, '.'); import akida_jax, os; "
        "from akida_jax import quant, mapping, zoo; "
        "print(*(os.path.relpath(m.__file__) for m in (akida_jax, quant, mapping, zoo)))"
    )
    result = python(code, cwd=tmp_path)
    names = ["", "quant/", "mapping/", "zoo/"]
    assert result.stdout.split() == [f"akida_jax/{name}__init__.py" for name in names], (
        result.stderr
    )


def lint_imports(folder):
    pytest.importorskip("importlinter")
    code = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    return run(sys.executable, "-c", code, "--no-cache", cwd=folder)


def test_every_module_stands_on_a_floor():
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    listed = {name for floor in contract["contracts"][0]["layers"] for name in floor.split()}
    modules = {
        f"akida_jax.{path.stem}"
        for path in (ROOT / "akida_jax").iterdir()
        if (path.suffix == ".py" or (path / "__init__.py").is_file()) and path.stem != "__init__"
    }
    assert modules - listed == set(), "add it to the contract in pyproject.toml"


def test_the_floors_are_kept():
    result = lint_imports(ROOT)
    assert result.returncode == 0, result.stdout
    assert "0 broken" in result.stdout


@pytest.mark.parametrize(
    ("room", "forbidden"),
    [
        ("quant/exact.py", "akida_jax.model"),
        ("quant/exact.py", "akida_jax.convert"),
        ("quant/weights.py", "akida_jax.layers"),
        ("akida_jax/layers.py", "akida_jax.zoo"),
        ("akida_jax/model.py", "akida_jax.mapping"),
        ("mapping/__init__.py", "akida_jax.zoo"),
        ("zoo/__init__.py", "akida_jax.mapping"),
        ("zoo/__init__.py", "experiments"),
    ],
)
def test_the_linter_sees_an_import_that_points_up(room, forbidden, tmp_path):
    for name in (*ROOMS, "akida_jax", "experiments"):
        ignored = shutil.ignore_patterns("__pycache__", "results")
        shutil.copytree(ROOT / name, tmp_path / name, symlinks=True, ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    path = tmp_path / room
    path.write_text(path.read_text() + f"\n\ndef _up():\n    import {forbidden}\n")
    result = lint_imports(tmp_path)
    assert result.returncode == 1
    assert "1 broken" in result.stdout
    assert f"is not allowed to import {forbidden}" in result.stdout
