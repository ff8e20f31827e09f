"""The command line as a whole: help, examples, errors and exit codes."""

import importlib.metadata
import inspect
import re
import signal
import subprocess
import sys

import numpy as np
import pytest

from akida_jax.command_line import COMMANDS
from akida_jax.events import EVENT_DTYPE, write_bin
from akida_jax.zoo.pretrained_models import pretrained, pretrained_bytes
from tests.interop.keras_writer import write_keras

EXPORTS = [name for name in COMMANDS if name.startswith("export-")]
START = [sys.executable, "-m", "akida_jax.command_line"]


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Enter a folder with the files that the examples name."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.akj").write_bytes(pretrained_bytes("akida_tiny_synthetic"))
    shape = pretrained("akida_tiny_synthetic").input_shape
    np.save("input.npy", np.ones((2, *shape), np.uint8))
    write_keras("keras.h5", small_keras(shape), shape)
    write_bin("recording.bin", np.zeros(2, EVENT_DTYPE))
    np.save("labels.npy", np.array([0, 1]))
    return tmp_path


def small_keras(shape):
    """Return a float Keras model of two layers."""
    draw = np.random.default_rng(0)
    head = {"kernel": draw.normal(size=(4, 3)), "bias": draw.normal(size=3)}
    return [
        (
            "Conv2D",
            {
                "filters": 4,
                "kernel_size": [3, 3],
                "strides": [2, 2],
                "padding": "same",
                "activation": "relu",
            },
            {"kernel": draw.normal(size=(3, 3, shape[2], 4)), "bias": draw.normal(size=4)},
        ),
        ("GlobalAveragePooling2D", {}, {}),
        ("Dense", {"units": 3}, head),
    ]


def broken(monkeypatch, error):
    """Let the command info raise an error."""

    def fail():
        raise error

    monkeypatch.setattr("akida_jax.commands.installation.info", fail)


def test_help_names_every_command_option_and_exit_code(command):
    result = command("--help")
    assert result.code == 0
    assert command("-h") == result
    assert result.out.startswith("usage: akida-jax COMMAND ...\n")
    for name, entry in COMMANDS.items():
        assert re.search(rf"^  {name} +{re.escape(entry.summary)}$", result.out, re.MULTILINE)
        assert inspect.getdoc(entry.load()).splitlines()[0] == entry.summary
    for text in ("--debug", "--version", "0 done, 1 a fault", "2 bad input", "130 interrupted"):
        assert text in result.out


def test_without_a_command_the_help_goes_to_stderr(command):
    result = command()
    assert (result.code, result.out) == (2, "")
    assert result.err == command("--help").out


def test_version(command):
    version = importlib.metadata.version("akida-jax")
    assert command("--version") == (0, f"akida-jax {version}\n", "")


def test_an_unknown_command_is_refused(command):
    result = command("nope")
    assert (result.code, result.out) == (2, "")
    listed = ", ".join(COMMANDS)
    assert result.err == f"error: no command 'nope'; there are {listed}\n"


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(n, marks=[pytest.mark.slow] if n in ("train", "sweep") else [])
        for n in COMMANDS
    ],
)
def test_the_example_of_each_help_works(name, command, files):
    result = command(*name.split(), "--help")
    assert result.code == 0
    assert f"usage: akida-jax {name} " in result.out
    (example,) = re.findall(r"^ *Example: akida-jax (.*?) *$", result.out, re.MULTILINE)
    before = {path.name for path in files.iterdir()}
    assert example.startswith(f"{name} ") or example == name
    result = command(*example.split())
    assert result.code == 0, result.err
    assert result.out
    written = {path.name for path in files.iterdir()} - before
    expected = {
        "convert": {"converted.akj"},
        "export-c": {"firmware"},
        "export-jax": {"model.jaxexport"},
        "export-onnx": {"model.onnx"},
        "show events": {"events.gif"},
        "show activity": {"activity.png"},
        "show confusion": {"confusion.png"},
        "show mesh": {"mesh.png"},
        "train": {"runs"},
        "sweep": {"runs"},
    }
    assert written == expected.get(name, set())


@pytest.mark.parametrize("name", COMMANDS)
def test_an_unknown_option_is_bad_usage(name, command):
    positional = {"summary": ("m",), "convert": ("m", "t"), **dict.fromkeys(EXPORTS, ("m", "t")),
                  "show events": ("r",), "show activity": ("m", "x"), "show mesh": ("m",),
                  "show confusion": ("m", "x", "y")}  # fmt: skip
    result = command(*name.split(), *positional.get(name, ()), "--nope")
    assert result.code == 2
    assert "nope" in result.out + result.err
    assert "Traceback" not in result.err


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (ValueError("too [wide]"), 2, "error: too [wide]"),
        (FileNotFoundError("no such file"), 2, "error: no such file"),
        (ModuleNotFoundError("needs onnx"), 2, "error: needs onnx"),
        (KeyError("x"), 1, "error: a fault of akida-jax: KeyError: 'x'"),
        (RuntimeError("odd"), 1, "error: a fault of akida-jax: RuntimeError: odd"),
    ],
)
def test_errors_are_one_line_and_tracebacks_are_for_debugging(
    error, code, message, command, monkeypatch
):
    broken(monkeypatch, error)
    hint = "; the same command with --debug shows where" if code == 1 else ""
    assert command("info") == (code, "", f"{message}{hint}\n")
    for arguments in (("--debug", "info"), ("info", "--debug")):
        result = command(*arguments)
        assert result.code == code
        first, rest = result.err.split("\n", 1)
        assert first == message
        assert rest.startswith("Traceback (most recent call last):")
        assert rest.rstrip().endswith(f"{type(error).__name__}: {error}")


def test_an_interrupted_command_ends_with_code_130(command, monkeypatch):
    broken(monkeypatch, KeyboardInterrupt())
    assert command("info") == (130, "", "stopped\n")


def test_the_process_ends_with_the_exit_code(tmp_path):
    result = subprocess.run(
        [*START, "summary", tmp_path / "none.akj"], capture_output=True, text=True, check=False
    )
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert "No such file" in result.stderr


@pytest.mark.skipif(not hasattr(signal, "SIGPIPE"), reason="pipes of POSIX")
def test_a_reader_that_is_gone_ends_a_command_quietly():
    with subprocess.Popen([*START, "zoo"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as run:
        run.stdout.close()
        assert run.stderr.read() == b""
    assert run.returncode == -signal.SIGPIPE
