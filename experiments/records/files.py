"""Files that appear whole or not at all."""

import os
import uuid
from pathlib import Path


def temporary_name(path: Path) -> Path:
    """Return a name beside a file that no other process chooses, on this machine or another."""
    return path.with_name(f".{path.name}.{uuid.uuid4().hex}")


def write_text(path: Path, text: str) -> None:
    """Write a file under a temporary name and rename it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_name(path)
    temporary.write_text(text)
    os.replace(temporary, path)
