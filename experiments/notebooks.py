"""The notebooks of docs/notebooks, each run from top to bottom in a kernel of its own.

    python -m experiments.notebooks                        # all, as docs/notebooks.md shows them
    python -m experiments.notebooks smoke                  # all of them, in some minutes
    python -m experiments.notebooks smoke --names sweep    # some of them

Needs the extra `notebooks`; no network. ``--keep`` writes results/notebooks.json, the pictures
and the table of docs/notebooks.md.
"""

import dataclasses
import os
import shutil
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from rich.console import Console

from experiments.presets import check_settings, read_settings, run_command
from experiments.records.documents import fill, make_table
from experiments.records.files import write_json, write_text
from experiments.records.provenance import describe_machine

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = ROOT / "docs" / "notebooks"
DOCUMENT = ROOT / "docs" / "notebooks.md"
PICTURES = ROOT / "docs" / "pictures"
RESULTS = ROOT / "experiments" / "results" / "notebooks.json"

Size = Literal["full", "smoke"]

#: In the order of the document.
NAMES = ("quickstart", "dvs_gestures", "few_shot", "sweep", "keras_to_c")
#: What a notebook has drawn and the document shows, by its place in the notebook's folder.
SHOWN = {"quickstart": "training.png", "dvs_gestures": "frames.png", "few_shot": "methods.png"}
_PACKAGES = ("ipykernel", "keras", "nbclient")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Settings.

    Attributes:
      names: of the notebooks.
      size: "full", or "smoke", whose accuracies mean nothing.
      output: folder that receives one folder per notebook; an earlier one is replaced.
      keep: write result, pictures and table where they are committed.
    """

    names: tuple[str, ...] = NAMES
    size: Size = "full"
    output: str = "runs/notebooks"
    keep: bool = False

    def __post_init__(self):
        """Refuse names that no notebook has, and a result that is not all of them."""
        kept = self.names == NAMES and self.size == "full"
        others = ["--keep needs all notebooks at full size"] if self.keep and not kept else []
        check_settings(self, {}, {"names": NAMES}, others=others)


PRESETS = {
    "default": ("all notebooks at full size", Config()),
    "smoke": ("all notebooks, in some minutes", Config(size="smoke", output="runs/smoke")),
}


def read(name: str) -> Any:
    """Return a notebook as nbformat holds it.

    Raises:
      NotebookValidationError: if it is none.
    """
    import nbformat

    notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=nbformat.NO_CONVERT)
    nbformat.validate(notebook)
    return notebook


def execute(name: str, folder: Path, *, size: Size, then: Iterable[str] = ()) -> Any:
    """Run a notebook, and code behind its last cell; return it with its outputs.

    Args:
      name: of the notebook.
      folder: in which its kernel works.
      size: that its first cell reads.
      then: code of further cells.

    Raises:
      CellExecutionError: at the first cell that fails, with its traceback.
    """
    import nbformat
    from nbclient import NotebookClient

    notebook = read(name)
    notebook.cells += [nbformat.v4.new_code_cell(code) for code in then]
    folder.mkdir(parents=True, exist_ok=True)
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    environment = {
        **os.environ,
        "AKIDA_JAX_NOTEBOOK_SIZE": size,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
    }
    client = NotebookClient(
        notebook, timeout=None, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    )
    return client.execute(env=environment)


def drawn(name: str, folder: Path) -> Path:
    """Return where a notebook has left the picture that the document shows."""
    return folder / "runs" / "notebooks" / name / SHOWN[name]


def run(config: Config, console: Console) -> dict[str, Any]:
    """Run the notebooks one after the other; return how long each took, in seconds."""
    seconds = {}
    for name in config.names:
        folder = Path(config.output, name)
        if folder.exists():
            shutil.rmtree(folder)
        start = time.perf_counter()
        with console.status(f"Running {name} ..."):
            notebook = execute(name, folder, size=config.size)
        seconds[name] = round(time.perf_counter() - start, 1)
        write_text(folder / f"{name}.ipynb", _as_text(notebook))
        console.print(f"{name}: {seconds[name]:.0f} s, {folder}/{name}.ipynb", soft_wrap=True)
    return {
        "experiment": "notebooks",
        "size": config.size,
        **describe_machine(_PACKAGES),
        "seconds": seconds,
    }


def _as_text(notebook: Any) -> str:
    import nbformat

    return nbformat.writes(notebook) + "\n"


def times_table(result: dict[str, Any]) -> str:
    """Return how long each notebook took, as Markdown."""
    rows = [[f"{name}.ipynb", f"{s / 60:.1f}"] for name, s in result["seconds"].items()]
    return make_table(["notebook", "minutes"], rows, numbers=True)


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Run a preset, "default" if none is named, with its settings overridden."""
    config = read_settings(PRESETS, arguments)
    result = run(config, Console())
    if config.keep:
        write_json(RESULTS, result)
        for name in SHOWN:
            shutil.copy(drawn(name, Path(config.output, name)), PICTURES / f"notebook_{name}.png")
        write_text(DOCUMENT, fill(DOCUMENT.read_text(), {"times": times_table(result)}))
    return result


if __name__ == "__main__":
    run_command(main)
