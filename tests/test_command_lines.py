"""Command lines of the documents: each is read by the parser of its command, and not run."""

import argparse
import contextlib
import functools
import importlib.util
import inspect
import re
import runpy
import shlex
import sys
from pathlib import Path

import pytest
import tyro

from akida_jax import command_line
from experiments import presets, sweep, train

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
_COMMAND = re.compile(r"(\S*/)?(akida-jax |python -m (experiments|benchmarks|akida_jax|tests)\.)")
_INLINE = re.compile(r"`([^`]+)`")
_PYTHON = re.compile(r"^```python\n.*?^```", re.DOTALL | re.MULTILINE)
_ASSIGNMENTS = re.compile(r"\s*(\w+=\S*\s+)*")
#: What stands for a name, and one that there is.
PLACEHOLDERS = {"NAME": "imagenette"}


def command_lines(text: str) -> list[str]:
    """Return every command of this project in a document, without what stands around it."""
    text = _PYTHON.sub("", text).replace("\\\n", " ")
    lines = [part for line in text.splitlines() for part in line.split("&&")]
    lines += [" ".join(inline.split()) for inline in _INLINE.findall(text)]
    bare = [line[_ASSIGNMENTS.match(line).end() :] for line in lines]
    words = [shlex.split(line, comments=True) for line in bare if _COMMAND.match(line)]
    return [shlex.join(PLACEHOLDERS.get(w, w) for w in line if w != "&") for line in words]


class Parsed(BaseException):
    """Raised in place of what a command does behind its arguments."""


def without_body(function):
    """Return a function with the same parameters that does nothing."""
    return functools.wraps(function)(lambda *arguments, **options: None)


@pytest.fixture
def parse_alone(monkeypatch):
    """Let every parser end the command that it reads arguments for."""
    read_settings, cli = presets.read_settings, tyro.cli
    parse_args, load = argparse.ArgumentParser.parse_args, command_line.Command.load
    reading = []

    def read_settings_alone(*arguments):
        reading.append(True)
        read_settings(*arguments)  # its own tyro.cli, and then the checks of the settings
        raise Parsed

    def cli_alone(target, **options):
        made = cli(without_body(target) if inspect.isfunction(target) else target, **options)
        if reading:
            return made
        raise Parsed

    def parse_args_alone(self, *arguments):
        parse_args(self, *arguments)
        raise Parsed

    for module in (presets, train, sweep):  # the other modules are executed anew
        monkeypatch.setattr(module, "read_settings", read_settings_alone)
    monkeypatch.setattr(tyro, "cli", cli_alone)
    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_args_alone)
    monkeypatch.setattr(
        command_line.Command,
        "load",
        lambda self: without_body(load(self)) if self.parsed else load(self),
    )
    return monkeypatch


def parse(line: str, monkeypatch) -> int:
    """Read a command's arguments; return an exit code if it ends without a parser's word.

    Raises:
      Parsed: if they are understood.
      SystemExit: if they are not; as ValueError, for settings that cannot work.
    """
    words = shlex.split(line)
    if words[0].endswith("akida-jax"):
        mentioned = " ".join(words[1:]) in command_line.COMMANDS
        return 0 if mentioned else command_line.call(words[1:])
    name, arguments = words[2], words[3:]
    found = importlib.util.find_spec(name)
    if found is None:
        raise ValueError(f"no module {name}")
    if found.submodule_search_locations:
        found = importlib.util.find_spec(f"{name}.__main__")
    source = Path(found.origin).read_text()
    if re.search(r"\b(read_settings|tyro\.cli|parse_args)\(", source):
        monkeypatch.setattr(sys, "argv", [name, *arguments])
        runpy.run_module(name, run_name="__main__", alter_sys=True)
    elif arguments or '__name__ == "__main__"' not in source:
        raise ValueError(f"{name} takes no arguments, got {arguments}")
    return 0


LINES = sorted({line for path in DOCUMENTS for line in command_lines(path.read_text())
                if path.name != "CHANGELOG.md"})  # fmt: skip


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # modules are there when they are run anew
@pytest.mark.parametrize("line", LINES)
def test_a_command_of_the_documents_is_understood(line, parse_alone):
    with contextlib.suppress(Parsed):
        assert parse(line, parse_alone) == 0


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(
    "line",
    [
        "akida-jax run -m model.akj -i x.npy --activty",
        "akida-jax summary --sparsity 0.6",
        "akida-jax shw mesh model.akj",
        "akida-jax train smoke --budgett 3mJ",
        "akida-jax train smok",
        "python -m experiments.train smoke --budgett 3mJ",
        "python -m experiments.train fashion-akidnet",
        "python -m experiments.train --float-epochs many",
        "python -m experiments.sweep fashion --axes modle=akida_tiny,akida_small",
        "python -m experiments.backbone_report --tables",
        "python -m experiments.few_shots",
        "python -m experiments.train_report --table",
        "python -m akida_jax.zoo.datasets.downloaded imagenot",
    ],
)
def test_a_command_that_is_misspelt_is_refused(line, parse_alone, capsys):
    with pytest.raises((SystemExit, ValueError)):
        sys.exit(parse(line, parse_alone))


def test_commands_are_found_wherever_they_stand():
    text = """
Words `akida-jax info`, `python -m
experiments.looking`, `akida-jax[onnx]`.

    A=1 .venv/bin/python -m experiments.train smoke &   # words
    cd x && .venv/bin/akida-jax run -m m.akj \\
        -i "x y.npy"
    python -m pytest

```python
python -m experiments.no_such
```
"""
    assert sorted(command_lines(text)) == [
        ".venv/bin/akida-jax run -m m.akj -i 'x y.npy'",
        ".venv/bin/python -m experiments.train smoke",
        "akida-jax info",
        "python -m experiments.looking",
    ]
    assert len(LINES) > 50
