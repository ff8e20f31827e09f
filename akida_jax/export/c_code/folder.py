"""Puts an export in place: its folder appears whole, and nothing that is no export is lost."""

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

MANIFEST = "export.json"
FORMAT = "akida-jax C export"


class ExportError(ValueError):
    """A folder that an export must not replace; the message says why."""


def check_folder(folder: str | os.PathLike) -> Path:
    """Return the path of a folder that is to be written.

    Raises:
      FileNotFoundError: if the folder around it does not exist.
      NotADirectoryError: if the name is that of a file.
      ExportError: if the folder holds anything but an earlier export.
    """
    target = Path(folder)
    if not target.absolute().parent.is_dir():
        raise FileNotFoundError(f"the folder {target.parent} does not exist; create it first")
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise NotADirectoryError(f"{target} is no folder; give the name of a new one")
    if target.is_dir():
        _check_replaceable(target)
    return target


def _check_replaceable(target: Path) -> None:
    found = sorted(path.name for path in target.iterdir())
    if not found:
        return
    foreign = sorted(set(found) - _listed(target))
    if foreign:
        more = ", ..." if len(foreign) > 3 else ""
        raise ExportError(
            f"{target} holds what is no export: {', '.join(foreign[:3])}{more}; give a new folder, "
            "or move these files"
        )


def _listed(target: Path) -> set[str]:
    """Return the files that an earlier export wrote here; none if there is no such export."""
    try:
        manifest = json.loads((target / MANIFEST).read_text(encoding="utf-8"))
        if manifest["format"] != FORMAT:
            return set()
        return {MANIFEST, *map(str, manifest["files"])}
    except (OSError, ValueError, KeyError, TypeError):
        return set()


def write_folder(target: Path, files: Mapping[str, str]) -> tuple[str, ...]:
    """Write all files into a folder beside the target, then give it the target's name.

    An earlier export is moved aside first, and put back if anything fails.

    Args:
      target: as `check_folder` returns it.
      files: texts by name; ``export.json``, which lists them, is added.

    Returns:
      The names of all files.
    """
    target = target.absolute()
    manifest = {"format": FORMAT, "files": sorted(files)}
    contents = {**files, MANIFEST: json.dumps(manifest, indent=1) + "\n"}
    beside = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
    new, old = beside / "new", beside / "old"
    try:
        new.mkdir()
        for name, text in contents.items():
            (new / name).write_text(text, encoding="utf-8", newline="\n")
        if target.exists():
            os.rename(target, old)
        try:
            os.rename(new, target)
        except BaseException:
            if old.exists():
                os.rename(old, target)
            raise
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return tuple(sorted(contents))
