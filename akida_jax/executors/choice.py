"""Which executor a name stands for on this machine."""

import functools
import warnings

import jax

from akida_jax.executors.native import available_paths, native_fault
from akida_jax.executors.native.library import is_switched_off

NAMES = ("auto", "dense", "event", "native")
"""What `Model.forward` and the like take; all give the same integers."""


def check_name(name: str) -> None:
    """Raise a ValueError if there is no executor of that name."""
    if name not in NAMES:
        raise ValueError(f"unknown executor {name!r}; choose from {', '.join(NAMES)}")


def choose_executor(name: str) -> str:
    """Return "dense", "event" or "native".

    "auto" is the native executor on a CPU for which it has vector instructions, the dense one
    everywhere else. Where there is no native executor, a warning says so once and the dense one
    stands in.

    Raises:
      ValueError: if there is no executor of that name.
    """
    check_name(name)
    if name == "auto" and (is_switched_off() or jax.default_backend() != "cpu"):
        return "dense"
    if name in ("dense", "event"):
        return name
    if native_fault() is not None:
        _warn_once()
        return "dense"
    if name == "auto" and available_paths()[0] == "portable":
        return "dense"
    return "native"


@functools.cache
def _warn_once() -> None:
    warnings.warn(
        f"no native executor here: {native_fault()}. The dense executor stands in: the same "
        "integers, several times slower",
        RuntimeWarning,
        stacklevel=4,
    )
