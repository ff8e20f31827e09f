"""The sweep that docs/sweeps.md shows.

    python -m experiments.sweep_report --publish runs/sweep/fashion   # of a finished sweep
    python -m experiments.sweep_report                                # rewrite the tables only

Writes results/sweep_NAME.json, docs/pictures/sweep_NAME.png and the tables of docs/sweeps.md.
"""

import collections
import dataclasses
import json
from pathlib import Path
from typing import Any

import tyro
from rich.console import Console

from akida_jax.pictures import save_figure
from experiments.presets import run_command
from experiments.records.documents import fill, make_table
from experiments.records.files import write_json, write_text
from experiments.records.provenance import uncommitted
from experiments.sweeping.outputs import MEASURED, front_table, measured_cells, publish
from experiments.sweeping.pictures import draw_front

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "experiments" / "results"
PICTURES = ROOT / "docs" / "pictures"
DOCUMENT = ROOT / "docs" / "sweeps.md"
SHOWN = "fashion"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of the report.

    Attributes:
      publish: folder of a finished sweep whose result is to be committed.
    """

    publish: Path | None = None


def result_path(name: str) -> Path:
    """Return the file of a sweep's committed result."""
    return RESULTS / f"sweep_{name}.json"


def keep(folder: Path) -> None:
    """Write the result and the picture of a finished sweep where they are committed.

    Raises:
      FileNotFoundError: if the folder has no trials.json.
      ValueError: if trials are left, or no commit holds the code.
    """
    result = json.loads((folder / "trials.json").read_text())
    left = [row["trial"] for row in result["rows"] if row["state"] in ("waiting", "running")]
    if left:
        raise ValueError(f"{folder}: {len(left)} trials are left; the sweep's command goes on")
    codes = {code for row in result["rows"] for code in row["code"] or ()}
    if odd := uncommitted(sorted(codes)):
        raise ValueError(f"{folder}: made by code that no commit holds, {', '.join(odd)}")
    kept = publish(result)
    write_json(result_path(result["name"]), kept)
    save_figure(draw_front(kept), PICTURES / f"sweep_{result['name']}.png")


def trials_table(result: dict[str, Any]) -> str:
    """Return every trial as Markdown."""
    axes = [name for name in result["rows"][0] if name.startswith("param.")]
    heads = ["trial", *(name.removeprefix("param.") for name in axes), "state", *MEASURED]
    cells = []
    for row in result["rows"]:
        measured = [""] * len(MEASURED)
        if row["state"] == "complete":
            measured = measured_cells(row)
        state = row["state"]
        if row["repeated_by"] is not None:
            state += f", repeated by {row['repeated_by']}"
        cells.append([str(row["trial"]), *(str(row[name]) for name in axes), state, *measured])
    return make_table(heads, cells, numbers=True)


def counts_line(result: dict[str, Any]) -> str:
    """Return what became of the trials, in a sentence."""
    states = collections.Counter(row["state"] for row in result["rows"])
    slots = collections.Counter(row["slot"] for row in result["rows"] if row["state"] == "complete")
    trained = [row for row in result["rows"] if row["reused"] is False]
    parts = ", ".join(f"{n} {state}" for state, n in states.items())
    return (
        f"{len(result['rows'])} trials in {len({row['slot'] for row in result['rows']})} slots: "
        f"{parts}; {sum(n > 1 for n in slots.values())} slots done twice. {len(trained)} trainings "
        f"of {trained[0]['n_train']:,} images, {trained[0]['n_test']:,} tested, code "
        f"{', '.join(dict.fromkeys(code for row in trained for code in row['code']))}."
    )


def tables() -> dict[str, str]:
    """Return every generated table by its marker."""
    result = json.loads(result_path(SHOWN).read_text())
    return {
        "sweep-front": front_table(result),
        "sweep-trials": trials_table(result),
        "sweep-counts": counts_line(result),
    }


def main(config: Config) -> None:
    """Keep a result if one is given, and rewrite the tables."""
    if config.publish is not None:
        keep(config.publish)
    made = tables()
    write_text(DOCUMENT, fill(DOCUMENT.read_text(), made))
    Console().print(made["sweep-counts"], soft_wrap=True, highlight=False)


if __name__ == "__main__":
    run_command(lambda: main(tyro.cli(Config)))
