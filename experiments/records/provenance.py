"""What a result needs to be cited: versions, commit, machine."""

import datetime
import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Iterable
from pathlib import Path

import jax

#: Behind the commit of code that differs from it.
_MARK = "-dirty"
_PACKAGES = ("akida-jax", "jax", "jaxlib", "flax", "optax", "numpy")


def describe_machine(also: Iterable[str] = ()) -> dict:
    """Return date, versions, commit and device for a result's JSON.

    Args:
      also: further packages whose versions matter.
    """
    device = jax.devices()[0]
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "commit": _commit(),
        "versions": {
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in (*_PACKAGES, *also)},
        },
        "device": {
            "platform": device.platform,
            "kind": _processor() if device.platform == "cpu" else device.device_kind,
            "cores": os.cpu_count(),
        },
    }


def describe_code() -> str:
    """Return the commit of the checkout, or outside one the version of akida-jax."""
    return _commit() or f"akida-jax {importlib.metadata.version('akida-jax')}"


def uncommitted(code: Iterable[str]) -> list[str]:
    """Return those of several descriptions of code that no commit holds."""
    return [version for version in code if version.endswith(_MARK)]


def _commit() -> str | None:
    """Return the commit of the checkout, with a mark if code differs; None outside one.

    Results and documents, which experiments write themselves, may differ.
    """
    results = ("experiments/results", "benchmarks/results", "docs/pictures", "docs/*.md",
               "README.md")  # fmt: skip
    written = [f":(exclude){path}" for path in results]
    commit = _git("rev-parse", "--short=12", "HEAD")
    changes = _git("status", "--porcelain", "--untracked-files=no", "--", ".", *written)
    modules = _git("ls-files", "--others", "--exclude-standard", "--", "*.py", "*.ipynb")
    if commit is None or changes is None or modules is None:
        return None
    return commit + _MARK * bool(changes or modules)


def _git(*arguments: str) -> str | None:
    """Return what git says of the checkout; None outside one."""
    root = Path(__file__).resolve().parents[2]
    command = ["git", "-C", str(root), *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
