"""The command ``akida-jax``: look at models and at the installation."""

import importlib.metadata
import os
import platform
import sys
from pathlib import Path
from typing import Literal

import jax
import tyro
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from akida_jax import mapping, zoo
from akida_jax.executors import NAMES, choose_executor
from akida_jax.executors.native import available_paths, native_fault
from akida_jax.files import load
from akida_jax.summary import Summary
from akida_jax.zoo.parameters import count_parameters
from akida_jax.zoo.pretrained_models import model_card, pretrained_bytes, pretrained_names


def info() -> None:
    """Show versions, devices and executors, for a report or a bug."""
    for name in ("akida-jax", "jax", "jaxlib", "flax", "optax", "numpy"):
        print(f"{name:<12}{importlib.metadata.version(name)}")
    print(f"{'python':<12}{platform.python_version()}")
    print(f"{'devices':<12}{', '.join(map(str, jax.devices()))}")
    fault = native_fault()
    print(f"{'executors':<12}{', '.join(NAMES)}")
    print(f"{'native':<12}{', '.join(available_paths()) if fault is None else f'no: {fault}'}")
    if fault is None:
        print(f"{'auto':<12}{choose_executor('auto')}")


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


def show_zoo(
    name: tyro.conf.Positional[str | None] = None,
    save: Path | None = None,
) -> None:
    """Show the architectures and the pretrained models, or the card of one of the latter.

    Example: akida-jax zoo akida_tiny_synthetic --save tiny.akj

    Args:
      name: a pretrained model.
      save: write that model into this file (.akj).
    """
    if name is None:
        if save is not None:
            raise ValueError("--save needs the name of a pretrained model: akida-jax zoo NAME")
        _show(_architectures())
        _show(_pretrained_models())
        return
    card = model_card(name)
    if save is not None:
        _write(save, pretrained_bytes(name))
        print(f"{name}: {card.size_bytes:,} bytes written to {save}")
        return
    table = Table("", "", show_header=False, title=f"pretrained model {name}")
    for heading, text in card.lines():
        table.add_row(heading, escape(text))
    _show(table)


def _architectures() -> Table:
    table = Table("architecture", "parameters", "default input", title="zoo.build(NAME)")
    for name in zoo.list():
        model = zoo.blank_model(name)
        shape = "x".join(map(str, model.input_shape))
        table.add_row(name, f"{count_parameters(model):,}", shape)
    return table


def _pretrained_models() -> Table:
    table = Table("pretrained model", "data", "integer accuracy", "bytes",
                  "modelled mJ per inference", title="zoo.pretrained(NAME)")  # fmt: skip
    for name in pretrained_names():
        card = model_card(name)
        energy = ", ".join(f"{cost.total_mj:.3f} ({cost.device})" for cost in card.cost)
        accuracy = card.accuracy["integer"]
        runs = f" (mean of {len(accuracy)} runs)" if len(accuracy) > 1 else ""
        mean = sum(accuracy) / len(accuracy)
        table.add_row(name, card.data, f"{mean:.1%}{runs}", f"{card.size_bytes:,}", energy)
    return table


def _write(path: Path, content: bytes) -> None:
    """Write a file under a temporary name and rename it."""
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; give the name of a file")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"the folder {path.parent} does not exist; create it first")
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


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
        tyro.extras.subcommand_cli_from_dict(
            {"info": info, "summary": summary, "devices": devices, "zoo": show_zoo}
        )
    except BrokenPipeError:
        sys.stderr.close()
    except (OSError, ValueError) as problem:
        Console(stderr=True).print(f"[red]error:[/red] {escape(str(problem))}", soft_wrap=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
