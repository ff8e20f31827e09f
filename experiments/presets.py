"""Settings from the command line: a preset by name, then options that override it."""

import sys
from typing import Any, TypeVar

import tyro

Settings = TypeVar("Settings")


def read_settings(
    presets: dict[str, tuple[str, Settings]], arguments: list[str] | None = None
) -> Settings:
    """Return a preset with its settings overridden; "default" if none is named.

    Args:
      presets: description and settings by name.
      arguments: of the command line; those of the process if None.
    """
    given: list[Any] = list(sys.argv[1:] if arguments is None else arguments)
    if not given or (given[0].startswith("--") and given[0] != "--help"):
        given.insert(0, "default")
    return tyro.extras.overridable_config_cli(presets, args=given)
