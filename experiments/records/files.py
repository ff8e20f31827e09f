"""Text and JSON files that appear whole or not at all."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from akida_jax.writing import replace_file


def write_text(path: Path, text: str) -> None:
    """Write a file under a temporary name and rename it; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replace_file(path) as stream:
        stream.write(text.encode())


def write_json(path: Path, contents: Mapping[str, Any]) -> None:
    """Write contents as JSON, in the form of every committed result."""
    write_text(path, json.dumps(contents, indent=1) + "\n")
