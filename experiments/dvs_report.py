"""The accuracies that README and docs quote: three seeds on every data set at hand.

    python -m experiments.dvs_report            # about 25 minutes on 2 cores
    python -m experiments.dvs_report --tables   # rewrite the tables from the JSON only

Runs the presets of experiments.dvs_gesture (finished runs are taken as they are), writes
results/dvs_gesture.json and the tables of docs/dvs-gesture.md and README.md.
"""

import dataclasses
import json
import shutil
import statistics
from pathlib import Path

import tyro
from rich.console import Console

from experiments import dvs_gesture, dvs_windows
from experiments.presets import run_command
from experiments.records import pictures
from experiments.records.documents import fill, make_table
from experiments.records.files import write_json, write_text

ROOT = Path(__file__).resolve().parent.parent
RESULT = ROOT / "experiments" / "results" / "dvs_gesture.json"
GALLERY = ROOT / "docs" / "pictures" / "synthetic_frames.png"
PRESETS = ("default", "nmnist", "clips")
SEEDS = (0, 1, 2)

_KEPT = ("title", "config", "date", "commit", "versions", "device", "n_train", "n_test",
         "accuracy", "potentials_compared", "potentials_equal", "sparsity", "weights",
         "timings_s", "code", "data_fingerprint")  # fmt: skip


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of the report.

    Attributes:
      output: folder of the runs.
      tables: only rewrite the tables from the committed JSON.
    """

    output: str = "runs/dvs_report"
    tables: bool = False


def collect(config: Config, console: Console) -> dict:
    """Run every preset with every seed and keep what a table needs."""
    runs = []
    for preset in PRESETS:
        for seed in SEEDS:
            settings = dvs_gesture.PRESETS[preset][1]
            settings = dataclasses.replace(settings, seed=seed, output=config.output)
            result = dvs_gesture.run(settings, console)
            runs.append({"preset": preset, **{key: result[key] for key in _KEPT}})
    return {"experiment": "dvs_report", "runs": runs}


def accuracy_table(result: dict) -> str:
    """Return the accuracies of every data set as Markdown."""
    rows = []
    for preset in PRESETS:
        runs = [run for run in result["runs"] if run["preset"] == preset]
        floats = [100 * run["accuracy"]["float"] for run in runs]
        integers = [100 * run["accuracy"]["integer"] for run in runs]
        network = pictures.LABELS[runs[0]["config"]["model"]]
        data = dvs_gesture.DATA_TITLES[runs[0]["config"]["data"]]
        each = ", ".join(f"{value:.1f}" for value in integers)
        rows.append([
            f"{data}, {network}, {runs[0]['config']['window_ms']:g} ms", f"{runs[0]['n_test']}",
            f"{statistics.mean(floats):.1f} %", f"{statistics.mean(integers):.1f} %", each,
        ])  # fmt: skip
    heads = ["data, network", "test windows", "float", "4-bit integer, mean of 3 seeds",
             "each seed"]  # fmt: skip
    return make_table(heads, rows)


def sparsity_table(result: dict) -> str:
    """Return each layer's output sparsity, mean over the seeds, as Markdown."""
    columns = []
    for preset in PRESETS:
        runs = [run for run in result["runs"] if run["preset"] == preset]
        title = dvs_gesture.DATA_TITLES[runs[0]["config"]["data"]]
        columns.append((title, [run["sparsity"] for run in runs]))
    rows = []
    for layer in columns[0][1][0]:
        means = [statistics.mean(s[layer] for s in sparsities) for _, sparsities in columns]
        rows.append([layer, *(f"{mean:.1%}" for mean in means)])
    return make_table(["layer", *(title for title, _ in columns)], rows)


def _windows_seen(result: dict, window_ms: float) -> list[int]:
    """Return training windows times epochs in either phase, the same for every network."""
    seen = {
        tuple(point["n_train"] * epochs for epochs in point["epochs"])
        for point in result["points"]
        if point["window_ms"] == window_ms
    }
    assert len(seen) == 1, f"networks differ in the training windows of {window_ms} ms: {seen}"
    return list(seen.pop())


def window_table(result: dict) -> str:
    """Return Figure 4 as Markdown, and how much training each of its points saw."""
    models = list(dict.fromkeys(point["model"] for point in result["points"]))
    curves = [dvs_windows.mean_accuracy(result, model, "integer") for model in models]
    windows = list(curves[0])
    rows = [
        [pictures.LABELS[model], *(f"{curve[window]:.1%}" for window in windows)]
        for model, curve in zip(models, curves, strict=True)
    ]
    for phase, name in enumerate(("float", "quantized")):
        seen = [f"{_windows_seen(result, window)[phase]:,}" for window in windows]
        rows.append([f"training windows, {name} epochs", *seen])
    return make_table(["integer accuracy", *(f"{window:g} ms" for window in windows)], rows)


def tables() -> dict[str, str]:
    """Return every generated table by its marker."""
    result = json.loads(RESULT.read_text())
    made = {"accuracy": accuracy_table(result), "sparsity": sparsity_table(result)}
    for data in ("synthetic", "nmnist"):
        path = RESULT.parent / f"dvs_windows_{data}.json"
        made[f"windows-{data}"] = window_table(json.loads(path.read_text()))
    return made


def main(config: Config) -> None:
    """Run, write the JSON, rewrite the tables."""
    console = Console()
    if not config.tables:
        result = collect(config, console)
        write_json(RESULT, result)
        first = dataclasses.replace(dvs_gesture.PRESETS["default"][1], output=config.output)
        GALLERY.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(first.folder / "frames.png", GALLERY)
    for document in (ROOT / "README.md", ROOT / "docs" / "dvs-gesture.md"):
        write_text(document, fill(document.read_text(), tables()))
    console.print(tables()["accuracy"])


if __name__ == "__main__":
    run_command(lambda: main(tyro.cli(Config)))
