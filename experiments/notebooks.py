"""The notebooks of docs/notebooks, each run from top to bottom in a kernel of its own.

    python -m experiments.notebooks                        # all of them at full size
    python -m experiments.notebooks smoke                  # all of them, in some minutes
    python -m experiments.notebooks smoke --names sweep    # some of them

Needs the extra `notebooks`; no network. ``--keep`` writes what was run into
results/notebooks.json, docs/pictures and the table of docs/notebooks.md.
"""

import dataclasses
import json
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
SHOWN = {"quickstart": "training.png", "dvs_gestures": "frames.png", "few_shot": "methods.png",
         "sweep": "points/front.png"}  # fmt: skip
_PACKAGES = ("ipykernel", "keras", "nbclient")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Settings.

    Attributes:
      names: of the notebooks.
      size: "full", or "smoke", whose accuracies mean nothing.
      output: folder that receives one folder per notebook; an earlier one is replaced.
      keep: write results, pictures and table where they are committed.
    """

    names: tuple[str, ...] = NAMES
    size: Size = "full"
    output: str = "runs/notebooks"
    keep: bool = False

    def __post_init__(self):
        """Refuse names that no notebook has, and results of another size than is shown."""
        small = self.keep and self.size != "full"
        others = [f"--keep needs --size full, got {self.size}"] if small else []
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


def run(config: Config, console: Console) -> dict[str, dict[str, Any]]:
    """Run the notebooks one after the other; return for each machine and seconds taken."""
    runs = {}
    for name in config.names:
        folder = Path(config.output, name)
        if folder.exists():
            shutil.rmtree(folder)
        start, before = time.perf_counter(), _processor_s()
        with console.status(f"Running {name} ..."):
            notebook = execute(name, folder, size=config.size)
        runs[name] = {
            **describe_machine(_PACKAGES),
            "seconds": round(time.perf_counter() - start, 1),
            "processor_s": round(_processor_s() - before, 1),
        }
        write_text(folder / f"{name}.ipynb", _as_text(notebook))
        took = f"{runs[name]['seconds']:.0f} s, {runs[name]['processor_s']:.0f} s of processor time"
        console.print(f"{name}: {took}; {folder}/{name}.ipynb", soft_wrap=True, highlight=False)
    return runs


def _processor_s() -> float:
    """Return processor time of all processes that were started and have ended; not on Windows."""
    import resource  # which Windows lacks

    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _as_text(notebook: Any) -> str:
    import nbformat

    return nbformat.writes(notebook) + "\n"


def times_table(result: dict[str, Any]) -> str:
    """Return how long each notebook took, as Markdown."""
    rows = [
        [f"{name}.ipynb", *(f"{run[key] / 60:.1f}" for key in ("seconds", "processor_s"))]
        for name, run in result["runs"].items()
    ]
    return make_table(["notebook", "minutes", "minutes of processor time"], rows, numbers=True)


def keep(runs: dict[str, dict[str, Any]], output: Path) -> None:
    """Write results, pictures and table where they are committed; other notebooks' stay."""
    known = json.loads(RESULTS.read_text())["runs"] if RESULTS.exists() else {}
    known |= runs
    result = {
        "experiment": "notebooks",
        "size": "full",
        "runs": {name: known[name] for name in NAMES if name in known},
    }
    write_json(RESULTS, result)
    for name in SHOWN.keys() & runs.keys():
        shutil.copy(drawn(name, output / name), PICTURES / f"notebook_{name}.png")
    write_text(DOCUMENT, fill(DOCUMENT.read_text(), {"times": times_table(result)}))


def main(arguments: list[str] | None = None) -> dict[str, dict[str, Any]]:
    """Run a preset, "default" if none is named, with its settings overridden."""
    config = read_settings(PRESETS, arguments)
    runs = run(config, Console())
    if config.keep:
        keep(runs, Path(config.output))
    return runs


if __name__ == "__main__":
    run_command(main)
