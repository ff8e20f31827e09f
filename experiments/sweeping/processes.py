"""Which process works on a trial, and whether it is still there."""

import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_PROC = Path("/proc")


def describe_process() -> dict[str, Any]:
    """Return what tells this process from every other one, on any machine."""
    return {
        "machine": _machine(),
        "host": platform.node(),
        "pid": os.getpid(),
        "started": _started(os.getpid()),
    }


def _machine() -> str | None:
    """Return a name of this start of this machine, and of what its process numbers mean."""
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}-{(_PROC / 'self/ns/pid').stat().st_ino}"
    except OSError:
        return None


def _started(pid: int) -> int | None:
    """Return when a process began, in ticks since the machine did; None if it has ended."""
    try:
        text = (_PROC / str(pid) / "stat").read_text()
    except OSError:
        return None
    # The second field is the command in brackets, which may hold anything.
    state, *fields = text.rpartition(")")[2].split()
    return None if state in ("Z", "X") else int(fields[18])


def has_ended(process: Mapping[str, Any]) -> bool | None:
    """Return whether a described process has ended; None if that cannot be seen from here."""
    if process["machine"] is None or process["machine"] != _machine():
        return None
    return _started(process["pid"]) != process["started"]
