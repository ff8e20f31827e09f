"""What a sweep leaves in its folder: tables, the front as picture, the report.

- ``trials.csv``, ``trials.parquet``: one row for each trial, written after every trial;
- ``trials.json``: the same with layers and summaries, settings, versions and the front;
- ``front.png``: the picture, ``report.html``: the page, both drawn from the JSON alone.
"""

import importlib.metadata
import json
from collections.abc import Mapping, Sequence
from typing import Any

from akida_jax.pictures import save_figure
from experiments.records.documents import make_table
from experiments.records.files import write_json, write_text
from experiments.records.provenance import describe_machine
from experiments.sweeping.claims import SharedStudy
from experiments.sweeping.fronts import choose_knee, pareto_front
from experiments.sweeping.page import make_page
from experiments.sweeping.pictures import draw_front
from experiments.sweeping.space import Axis
from experiments.sweeping.tables import make_rows, write_tables
from experiments.training.runs import without_places

#: Headings of what a complete trial reached.
MEASURED = ("accuracy %", "modelled mJ", "modelled ms", "NPs", "weights, kB")


def write_rows(config: Any, study: SharedStudy, axes: Sequence[Axis]) -> None:
    """Write the tables of how the study stands now; under its lock, so the newest stays."""
    with study.lock():
        write_tables(make_rows(study.trials(), axes), config.folder)


def write_all(config: Any, study: SharedStudy, axes: Sequence[Axis]) -> dict[str, Any]:
    """Write every output and return the contents of the JSON."""
    with study.lock():
        rows = make_rows(study.trials(), axes)
        write_tables(rows, config.folder)
        result = collect(config, rows)
        write_json(config.folder / "trials.json", result)
        if result["front"]:
            save_figure(draw_front(result), config.folder / "front.png")
        write_text(config.folder / "report.html", make_page(result))
    return result


def collect(config: Any, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return what picture and page are made from.

    Args:
      config: of the sweep.
      rows: of its trials.

    Raises:
      ValueError: if the chosen trial has no result.
    """
    complete = [row for row in rows if row["state"] == "complete"]
    front = pareto_front(complete, config.objectives)
    chosen = choose_knee(front, config.objectives)["trial"] if front else None
    if config.choose is not None:
        chosen = config.choose
        if chosen not in [row["trial"] for row in complete]:
            raise ValueError(f"--choose must be a trial with a result, got {chosen}")
    machine = describe_machine()
    machine["versions"]["optuna"] = importlib.metadata.version("optuna")
    settings = json.loads(json.dumps(config.shared(complete[0]["data_fingerprint"]
                                                   if complete else "")))  # fmt: skip
    titles = list(dict.fromkeys(row["title"] for row in complete))
    return {
        "experiment": "sweep",
        "name": config.name,
        "title": titles[0] if len(titles) == 1 else f"Sweep {config.name}",
        **machine,
        "settings": settings,
        "objectives": list(config.objectives),
        "front": [row["trial"] for row in front],
        "chosen": chosen,
        "rows": list(rows),
    }


def publish(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return a result as it may be committed: without machines, and layers of the front only."""
    rows = []
    for row in result["rows"]:
        kept = {key: value for key, value in row.items() if key not in ("worker", "started",
                                                                        "finished")}  # fmt: skip
        if row["trial"] != result["chosen"]:
            kept["layers"] = kept["summary"] = None
        rows.append(kept)
    settings = dict(result["settings"])
    settings["base"] = without_places(settings["base"])
    return {**result, "settings": settings, "rows": rows}


def measured_cells(row: Mapping[str, Any]) -> list[str]:
    """Return the cells below `MEASURED` of a complete trial."""
    return [f"{100 * row['accuracy']:.2f}", f"{row['energy_mj']:.4f}", f"{row['latency_ms']:.3f}",
            str(row["nps"]), f"{row['size_kb']:.1f}"]  # fmt: skip


def front_table(result: Mapping[str, Any]) -> str:
    """Return the Pareto front as Markdown."""
    axes = [name for name in result["rows"][0] if name.startswith("param.")]
    rows = {row["trial"]: row for row in result["rows"]}
    heads = ["trial", *(name.removeprefix("param.") for name in axes), *MEASURED]
    cells = []
    for number in result["front"]:
        row = rows[number]
        mark = " (knee)" if number == result["chosen"] else ""
        parameters = (str(row[name]) for name in axes)
        cells.append([f"{number}{mark}", *parameters, *measured_cells(row)])
    return make_table(heads, cells, numbers=True)
