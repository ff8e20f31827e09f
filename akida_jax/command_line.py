"""The command ``akida-jax``: look at models and at the installation."""

import importlib.metadata
import platform
import sys
from pathlib import Path
from typing import Literal

import jax
import tyro
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from akida_jax import mapping
from akida_jax.executors import EXECUTORS
from akida_jax.files import load
from akida_jax.summary import Summary


def info() -> None:
    """Show versions, devices and executors, for a report or a bug."""
    for name in ("akida-jax", "jax", "jaxlib", "flax", "optax", "numpy"):
        print(f"{name:<12}{importlib.metadata.version(name)}")
    print(f"{'python':<12}{platform.python_version()}")
    print(f"{'devices':<12}{', '.join(map(str, jax.devices()))}")
    print(f"{'executors':<12}{', '.join(EXECUTORS)}")


def devices() -> None:
    """Show the known chips: every number, its unit and where it comes from."""
    for device in mapping.DEVICES.values():
        table = Table("fact", "value", "unit", "source", title=device.name)
        for fact in device.facts():
            value = f"{fact.value:g}" if isinstance(fact.value, float) else str(fact.value)
            table.add_row(fact.name, value, fact.unit, fact.source)
        _show(table)


def summary(
    model: tyro.conf.Positional[Path],
    device: Literal["akd1000", "akd1500"] | None = None,
    mode: mapping.Mode = "minimal",
    sparsity: float | None = None,
    batch: int = 1,
) -> None:
    """Show the layers of a model file, and what they take on a device.

    Args:
      model: a file written by akida_jax.save (.akj).
      device: place the model on this chip.
      mode: how the model is placed.
      sparsity: share of zeros in every layer's input, in [0, 1]; with it time and energy
        are modelled.
      batch: samples that enter together.
    """
    loaded = load(model)
    if device is None:
        if sparsity is not None or batch != 1 or mode != "minimal":
            raise ValueError(
                "--mode, --sparsity and --batch need a device: add --device akd1000 or akd1500"
            )
        _show(loaded.summary())
        return
    placement = mapping.place(loaded, mapping.DEVICES[device], mode)
    if sparsity is None:
        if batch != 1:
            raise ValueError("--batch needs events: add --sparsity, the share of zeros")
        _show(loaded.summary(placement))
        return
    shares = {str(layer.name): sparsity for layer in loaded.layers}
    _show(loaded.summary(placement, mapping.estimate(placement, shares, batch=batch)))


def _show(table: Summary | Table) -> None:
    """Print a rich table in a terminal, plain text into a pipe."""
    console = Console()
    if isinstance(table, Summary) and not console.is_terminal:
        print(table)
    else:
        # A pipe has no width of its own; lines must not be cut there.
        (console if console.is_terminal else Console(width=200)).print(table)


def main() -> None:
    """Run the command line; a file that cannot be read ends it with exit code 2."""
    try:
        tyro.extras.subcommand_cli_from_dict({"info": info, "summary": summary, "devices": devices})
    except BrokenPipeError:
        sys.stderr.close()
    except (OSError, ValueError) as problem:
        Console(stderr=True).print(f"[red]error:[/red] {escape(str(problem))}", soft_wrap=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
