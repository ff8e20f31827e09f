"""Settings from the command line: a preset by name, then options that override it."""

import contextvars
import dataclasses
import math
import sys
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

import tyro
from rich.console import Console
from rich.markup import escape

from experiments import hosts

Settings = TypeVar("Settings")

#: Lowest and highest value of a number; the highest may be infinite, the number itself never.
Ranges = Mapping[str, tuple[float, float]]
ANY = (0, math.inf)
COUNT = (1, math.inf)
#: A microsecond, the clock of the events, is the shortest time.
TIME_MS = (0.001, math.inf)

# tyro would print a refusal of its own, in a box over several lines.
_reading = contextvars.ContextVar("reading", default=False)


def check_settings(
    settings: Any,
    ranges: Ranges,
    choices: Mapping[str, Collection] | None = None,
    *,
    others: Collection[str] = (),
) -> None:
    """Refuse settings that cannot work, all of them at once.

    Args:
      settings: a dataclass; a field may hold a number, a tuple of numbers, or None.
      ranges: lowest and highest value by field.
      choices: the possible values by field.
      others: faults of several fields together, in words.

    Raises:
      ValueError: naming each option, its limit and its value.
    """
    if _reading.get():
        return
    choices = choices or {}
    faults = [
        f"{_option(name)} must name at least one value"
        for name in (*ranges, *choices)
        if getattr(settings, name) == ()
    ]
    for name, (low, high) in ranges.items():
        limit = f"{low:g} to {high:g}" if math.isfinite(high) else f"at least {low:g}"
        faults += [
            f"{_option(name)} must be {limit}, got {value}"
            for value in _values(settings, name)
            if not (low <= value <= high and math.isfinite(value))
        ]
    for name, allowed in choices.items():
        limit = ", ".join(map(str, allowed))
        faults += [
            f"{_option(name)} must be one of {limit}, got {value}"
            for value in _values(settings, name)
            if value not in allowed
        ]
    if faults or others:
        raise ValueError("; ".join([*faults, *others]))


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


def _values(settings: Any, name: str) -> tuple:
    value = getattr(settings, name)
    if value is None:
        return ()
    return value if isinstance(value, tuple) else (value,)


def read_settings(
    presets: dict[str, tuple[str, Settings]],
    arguments: list[str] | None = None,
    program: str | None = None,
) -> Settings:
    """Return a preset with its settings overridden; "default" if none is named.

    Args:
      presets: description and settings by name.
      arguments: of the command line; those of the process if None.
      program: name that help and errors show; that of the process if None.

    Raises:
      ValueError: as :func:`check_settings`.
    """
    given: list[Any] = list(sys.argv[1:] if arguments is None else arguments)
    if not given or (given[0].startswith("--") and given[0] != "--help"):
        given.insert(0, "default")
    token = _reading.set(True)
    try:
        settings = tyro.extras.overridable_config_cli(presets, prog=program, args=given)
    finally:
        _reading.reset(token)
    return _build_again(settings)


def _build_again(settings: Any) -> Any:
    """Return a copy whose checks have run, those of settings inside it first."""
    values = {field.name: getattr(settings, field.name) for field in dataclasses.fields(settings)}
    inner = {
        name: _build_again(value)
        for name, value in values.items()
        if dataclasses.is_dataclass(value)
    }
    return dataclasses.replace(settings, **inner)


def run_command(main: Callable[[], object]) -> None:
    """Run a command; end with one line and code 2 if settings, data or files are at fault.

    Joins other processes first, see `hosts`.
    """
    try:
        hosts.join()
        main()
    except (OSError, ValueError) as problem:
        Console(stderr=True).print(f"[red]error:[/red] {escape(str(problem))}", soft_wrap=True)
        sys.exit(2)
    except KeyboardInterrupt:
        Console(stderr=True).print("Stopped; the same command goes on from the last epoch.")
        sys.exit(130)
