"""The command ``akida-jax``: look at models and at the installation."""

import importlib.metadata
import platform
import sys
from pathlib import Path

import jax
import tyro
from rich.console import Console
from rich.markup import escape

from akida_jax.executors import EXECUTORS
from akida_jax.files import load


def info() -> None:
    """Show versions, devices and executors, for a report or a bug."""
    for name in ("akida-jax", "jax", "jaxlib", "flax", "optax", "numpy"):
        print(f"{name:<12}{importlib.metadata.version(name)}")
    print(f"{'python':<12}{platform.python_version()}")
    print(f"{'devices':<12}{', '.join(map(str, jax.devices()))}")
    print(f"{'executors':<12}{', '.join(EXECUTORS)}")


def summary(model: tyro.conf.Positional[Path]) -> None:
    """Show the layers of a model file.

    Args:
      model: a file written by akida_jax.save (.akj).
    """
    print(load(model).summary())


def main() -> None:
    """Run the command line; a file that cannot be read ends it with exit code 2."""
    try:
        tyro.extras.subcommand_cli_from_dict({"info": info, "summary": summary})
    except BrokenPipeError:
        sys.stderr.close()
    except (OSError, ValueError) as problem:
        Console(stderr=True).print(f"[red]error:[/red] {escape(str(problem))}", soft_wrap=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
