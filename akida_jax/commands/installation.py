"""What is installed, and which chips are known."""

import importlib.metadata
import platform

import jax
from rich.table import Table

from akida_jax import mapping
from akida_jax.commands.tables import show
from akida_jax.executors import NAMES, choose_executor
from akida_jax.executors.native import available_paths, native_fault


def info() -> None:
    """Show versions, devices and executors, for a report or a bug.

    Example: akida-jax info
    """
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
    """Show the known chips: every number, its unit and where it comes from.

    Example: akida-jax devices
    """
    for device in mapping.DEVICES.values():
        table = Table("fact", "value", "unit", "source", title=device.name)
        for fact in device.facts():
            value = f"{fact.value:g}" if isinstance(fact.value, float) else str(fact.value)
            table.add_row(fact.name, value, fact.unit, fact.source)
        show(table)
