"""The command ``akida-jax``: which commands there are, and how they end.

Exit codes: 0 done, 1 a fault of this package, 2 bad input or usage, 130 interrupted.
"""

import importlib
import importlib.metadata
import signal
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import tyro
from rich.console import Console
from rich.markup import escape


class Command(NamedTuple):
    """Where a command is found; its module is imported when it is called.

    Attributes:
      module: of `akida_jax.commands`.
      function: in it; its docstring is the help.
      summary: the docstring's first line.
      parsed: whether arguments are read by the function's signature, or handed on as they are.
    """

    module: str
    function: str
    summary: str
    parsed: bool = True

    def load(self) -> Callable:
        """Return the function."""
        return getattr(importlib.import_module(f"akida_jax.commands.{self.module}"), self.function)


COMMANDS = {
    "zoo": Command(
        "models",
        "show_zoo",
        "Show the architectures and the pretrained models, or the card of one of the latter.",
    ),
    "info": Command(
        "installation", "info", "Show versions, devices and executors, for a report or a bug."
    ),
    "devices": Command(
        "installation",
        "devices",
        "Show the known chips: every number, its unit and where it comes from.",
    ),
    "summary": Command(
        "models",
        "summary",
        "Show the layers of a model file, and what they take on a device.",
    ),
    "run": Command(
        "running",
        "run",
        "Run a model on inputs of a file; print classes or other outputs, one line per input.",
    ),
    "show events": Command(
        "showing",
        "show_events",
        "Draw the events of a recording, window by window: an animation, or a sheet of pictures.",
    ),
    "show activity": Command(
        "showing",
        "show_activity",
        "Draw where every layer of a model puts out events, as heat maps.",
    ),
    "show confusion": Command(
        "showing", "show_confusion", "Draw which class a model takes for which."
    ),
    "show mesh": Command(
        "showing",
        "show_mesh",
        "Draw which layer of a model every neural processor of a chip works for.",
    ),
    "convert": Command(
        "converting",
        "convert",
        "Convert a Keras model (.h5), float or quantized, into a model file.",
    ),
    "export-c": Command(
        "exporting",
        "export_c",
        "Write a model as C99 for microcontrollers: integers only, no heap, no library.",
    ),
    "export-jax": Command(
        "exporting",
        "export_jax",
        "Write a model as an artefact of jax.export, which runs without this package.",
    ),
    "export-onnx": Command(
        "exporting", "export_onnx", "Write a model as a graph of standard ONNX operators."
    ),
    "train": Command(
        "training",
        "train",
        "Train a network of the zoo on labelled data: float, quantized, then the chip's integers.",
        parsed=False,
    ),
    "sweep": Command(
        "training",
        "sweep",
        "Train, place and measure many settings with many workers: accuracy against power.",
        parsed=False,
    ),
}

_INTERRUPTED = 130


def help_text() -> str:
    """Return what ``akida-jax --help`` prints."""
    return "\n".join([
        "usage: akida-jax COMMAND ...",
        "",
        "Train, convert and run event-based 4-bit networks, bit for bit.",
        "",
        "commands:",
        _list_commands(COMMANDS),
        "",
        "options:",
        "  COMMAND --help  what a command takes, with an example",
        "  --debug         with any command: show where an error was raised",
        "  --version       show the version",
        "",
        "exit codes: 0 done, 1 a fault of akida-jax itself, 2 bad input or usage,",
        f"            {_INTERRUPTED} interrupted",
    ])  # fmt: skip


def _list_commands(commands: Mapping[str, Command]) -> str:
    width = max(map(len, commands)) + 2
    return "\n".join(f"  {name:<{width}}{entry.summary}" for name, entry in commands.items())


def main() -> None:
    """Run the command line and end the process with its exit code."""
    if hasattr(signal, "SIGPIPE"):  # end quietly when the reader of the output is gone
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    sys.exit(call(sys.argv[1:]))


def call(arguments: Sequence[str]) -> int:
    """Run a command; print any error as one line, with a traceback after ``--debug``.

    Returns:
      The exit code.
    """
    debug = "--debug" in arguments
    try:
        return _run([argument for argument in arguments if argument != "--debug"])
    except (Exception, KeyboardInterrupt) as problem:
        code = _report(problem, debug=debug)
        if debug:
            traceback.print_exception(problem)
        return code


def _report(problem: BaseException, *, debug: bool) -> int:
    """Print one line and return the exit code."""
    if isinstance(problem, KeyboardInterrupt):
        print("; ".join(["stopped", *map(str, problem.args)]), file=sys.stderr)
        return _INTERRUPTED
    if isinstance(problem, OSError | ValueError | ModuleNotFoundError):
        text, code = str(problem), 2
    else:
        hint = "" if debug else "; the same command with --debug shows where"
        text, code = f"a fault of akida-jax: {type(problem).__name__}: {problem}{hint}", 1
    Console(stderr=True).print(f"[red]error:[/red] {escape(text)}", soft_wrap=True)
    return code


def _run(given: list[str]) -> int:
    """Return the exit code; arguments that cannot be read end the process, as help does."""
    if not given:
        print(help_text(), file=sys.stderr)
        return 2
    # The names of some commands have two words.
    words = 2 if " ".join(given[:2]) in COMMANDS else 1
    name, rest = " ".join(given[:words]), given[words:]
    if name in ("-h", "--help"):
        print(help_text())
    elif name == "--version":
        print(f"akida-jax {importlib.metadata.version('akida-jax')}")
    elif name not in COMMANDS:
        return _run_group(name, rest)
    elif COMMANDS[name].parsed:
        tyro.cli(COMMANDS[name].load(), prog=f"akida-jax {name}", args=rest)
    else:
        COMMANDS[name].load()(rest)
    return 0


def _run_group(name: str, rest: list[str]) -> int:
    """Show the commands whose first word this is, or refuse it."""
    group = {full: entry for full, entry in COMMANDS.items() if full.startswith(f"{name} ")}
    if group and (not rest or rest[0] in ("-h", "--help")):
        print(f"usage: akida-jax {name} COMMAND ...\n\n{_list_commands(group)}",
              file=None if rest else sys.stderr)  # fmt: skip
        return 0 if rest else 2
    known = group or COMMANDS
    given = " ".join([name, *rest[:1]]) if group else name
    raise ValueError(f"no command {given!r}; there are {', '.join(known)}")


if __name__ == "__main__":
    main()
