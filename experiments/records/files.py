"""Text files that appear whole or not at all."""

from pathlib import Path

from akida_jax.writing import replace_file


def write_text(path: Path, text: str) -> None:
    """Write a file under a temporary name and rename it; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replace_file(path) as stream:
        stream.write(text.encode())
