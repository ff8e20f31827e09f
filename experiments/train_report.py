"""The accuracies that docs/training.md quotes.

    python -m experiments.train_report fashion-gxnor --seeds 0 1 2   # train, write the JSON
    python -m experiments.train_report --tables                      # rewrite the tables only

Runs a preset of experiments.train with each seed (finished runs are taken as they are) and
writes results/train_PRESET.json.
"""

import dataclasses
import json
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tyro
from rich.console import Console

from experiments import train
from experiments.presets import run_command
from experiments.records.documents import fill, make_table
from experiments.records.files import write_json, write_text
from experiments.training.runs import without_places

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "experiments" / "results"
DOCUMENT = ROOT / "docs" / "training.md"

_KEPT = ("title", "config", "date", "commit", "versions", "device", "source", "terms", "n_train",
         "n_test", "accuracy", "potentials_compared", "potentials_equal", "sparsity", "weights",
         "timings_s", "code", "data_fingerprint")  # fmt: skip


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of the report.

    Attributes:
      presets: of `experiments.train`.
      seeds: of the runs of each preset.
      output: folder of the runs.
      tables: only rewrite the tables from the committed JSON.
    """

    presets: tyro.conf.Positional[tuple[str, ...]] = ()
    seeds: tuple[int, ...] = (0,)
    output: str = "runs/train"
    tables: bool = False

    def __post_init__(self):
        """Refuse a preset that is not there."""
        unknown = [name for name in self.presets if name not in train.PRESETS]
        if unknown:
            raise ValueError(
                f"no preset {', '.join(unknown)}; there are {', '.join(train.PRESETS)}"
            )


def result_path(preset: str) -> Path:
    """Return the file of a preset's results."""
    return RESULTS / f"train_{preset.replace('-', '_')}.json"


def collect(preset: str, config: Config, console: Console) -> dict:
    """Run a preset with every seed and keep what a table needs."""
    runs = []
    for seed in config.seeds:
        settings = dataclasses.replace(train.PRESETS[preset][1], seed=seed, output=config.output)
        result = train.run(settings, console)
        kept = {key: result[key] for key in _KEPT}
        runs.append({**kept, "config": without_places(result["config"])})
    return {"experiment": "train_report", "preset": preset, "runs": runs}


def stored() -> Iterator[dict[str, Any]]:
    """Yield the results of every preset that has any."""
    for preset in train.PRESETS:
        if result_path(preset).exists():
            yield json.loads(result_path(preset).read_text())


def accuracy_table() -> str:
    """Return the accuracies of every preset as Markdown."""
    heads = ["preset", "network, data", "weights", "trained on", "tested on", "float", "integer",
             "each seed", "training, minutes"]  # fmt: skip
    rows = []
    for result in stored():
        runs = result["runs"]
        first = runs[0]
        floats = [100 * run["accuracy"]["float"] for run in runs]
        integers = [100 * run["accuracy"]["integer"] for run in runs]
        minutes = statistics.mean(run["timings_s"]["training"] for run in runs) / 60
        rows.append([
            result["preset"], first["title"], f"{first['weights']:,}", f"{first['n_train']:,}",
            f"{first['n_test']:,}", f"{statistics.mean(floats):.2f} %",
            f"{statistics.mean(integers):.2f} %",
            ", ".join(f"{value:.2f}" for value in integers), f"{minutes:.0f}",
        ])  # fmt: skip
    return make_table(heads, rows)


def post_training_table() -> str:
    """Return quantization after training beside quantized training, as Markdown."""
    result = json.loads((RESULTS / "post_training.json").read_text())
    rows = result["rows"]
    ways = list(dict.fromkeys((row["ranges"], row["bias_correction"]) for row in rows))
    heads = [f"{ranges}{', corrected' if corrected else ''}" for ranges, corrected in ways]
    cells = []
    for bits, weights in dict.fromkeys((tuple(row["bits"]), row["weights"]) for row in rows):
        found = {
            (row["ranges"], row["bias_correction"]): row["accuracy"]
            for row in rows
            if (tuple(row["bits"]), row["weights"]) == (bits, weights)
        }
        shares = [f"{found[way]:.1%}" for way in ways]
        cells.append(["/".join(map(str, bits)), weights.replace("_", " "), *shares])
    accuracy = result["run"]["accuracy"]
    return (
        f"{make_table(['bits', 'weight scales', *heads], cells)}\n\n"
        f"{result['title']}: float {accuracy['float']:.2%}, quantized training at 8/4/4 "
        f"{accuracy['integer']:.2%}."
    )


def detection_table() -> str:
    """Return the detectors' mean average precision, form by form, as Markdown."""
    rows = []
    for run in json.loads((RESULTS / "detection.json").read_text())["runs"]:
        for form in run["map"]:
            cells = [f"{run[name][form]:.3f}" for name in ("map", "map_50", "map_voc")]
            rows.append([run["title"], form, *cells])
    heads = ["network, data", "form", "AP@[.5:.95]", "AP@0.5", "AP@0.5, VOC 2007"]
    return make_table(heads, rows)


def tables() -> dict[str, str]:
    """Return every generated table by its marker."""
    made = {"trained": accuracy_table()}
    if (RESULTS / "post_training.json").exists():
        made["post-training"] = post_training_table()
    if (RESULTS / "detection.json").exists():
        made["detection"] = detection_table()
    return made


def main(config: Config) -> None:
    """Run, write the JSON, rewrite the tables."""
    console = Console()
    if not config.tables:
        for preset in config.presets:
            result = collect(preset, config, console)
            write_json(result_path(preset), result)
    write_text(DOCUMENT, fill(DOCUMENT.read_text(), tables()))
    console.print(tables()["trained"])


if __name__ == "__main__":
    run_command(lambda: main(tyro.cli(Config)))
