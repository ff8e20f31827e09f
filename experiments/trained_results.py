"""Accuracies reached here, read from experiments/results, and which row they stand beside."""

import dataclasses
import json
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Cell = str | int | float | Mapping[str, str]
"""What stands in a table: a value, or ``{"none": reason}``."""
Row = dict[str, Cell]

FORMS = ("float", "quantized", "integer")


def none(reason: str) -> dict[str, str]:
    """Return a cell without a value."""
    return {"none": reason}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trained:
    """A result and its place.

    Attributes:
      file: in experiments/results.
      beside: the rows of the paper that it comes nearest to.
      data: data set in words.
      paper: the number of those rows.
      same: the data set of the row that the number itself stands in, or the network of
        table 7; None where another network or other data were used.
      network: of the zoo, that the run must have trained to stand in that row.
      measure: key of the number; "accuracy", or "map_50" for detection.
      preset: of the runs that count, where a file holds several data sets.
    """

    file: str
    beside: str
    data: str
    paper: str
    same: str | None = None
    network: str | None = None
    measure: str = "accuracy"
    preset: str | None = None


RESULTS = (
    Trained(file="train_fashion_akidanet.json", beside="table 4, AkidaNet",
            data="AkidaNet on Fashion-MNIST, 32x32", paper="none on this data"),
    Trained(file="train_fashion_gxnor.json", beside="no row; the public zoo's GXNOR",
            data="GXNOR on Fashion-MNIST", paper="none on this data"),
    Trained(file="faces.json", beside="table 5, identification",
            data="ORL faces, 112x96, forty people", paper="70.18 (CASIA Webface)",
            preset="identification"),
    Trained(file="faces.json", beside="table 5, verification",
            data="ORL faces, 10 people not trained on", paper="97.25 (LFW)",
            preset="verification"),
    Trained(file="ecg.json", beside="table 6, ECG",
            data="300 records of PhysioNet 2017, AkidaNet 0.25 at 64x64",
            paper="73.50, AUROC 0.7940 (full set)", same="PhysioNet 2017 ECG",
            network="akidanet_ecg", preset="akidanet_ecg"),
    Trained(file="ecg.json", beside="table 6, ECG",
            data="300 records of PhysioNet 2017, small network at 36x32",
            paper="73.50, AUROC 0.7940 (full set)", preset="ecg"),
    Trained(file="train_pointnet.json", beside="table 6, PointNet++",
            data="ModelNet10, chairs and monitors only", paper="84.76 (ModelNet40)"),
    Trained(file="detection.json", beside="table 3", data="generated scenes, mAP@0.5",
            paper="72.00 (WIDER FACE)", measure="map_50"),
    Trained(file="dvs_gesture.json", beside="table 7, Akida Tiny", data="synthetic gestures",
            paper="figure 4 only", same="Akida Tiny", network="akida_tiny", preset="default"),
    Trained(file="dvs_gesture.json", beside="table 7, Akida Tiny",
            data="DVS128 clips, ten recordings cut in time", paper="figure 4 only",
            same="Akida Tiny", network="akida_tiny", preset="clips"),
    Trained(file="dvs_gesture.json", beside="table 7, Akida Small",
            data="N-MNIST, 1,000 training recordings", paper="none on this data",
            same="Akida Small", network="akida_small", preset="nmnist"),
)  # fmt: skip


def trained_rows(folder: Path) -> list[Row]:
    """Return one row per result, with the reason where there is none yet."""
    rows: list[Row] = []
    for entry in RESULTS:
        runs = read_runs(entry, folder)
        row: Row = {"beside": entry.beside, "trained and tested on": entry.data,
                    "paper %": entry.paper}  # fmt: skip
        if runs is None:
            reason = none(missing(entry, folder))
            row |= dict.fromkeys(("test examples", "runs"), reason)
            rows.append(row | {f"{form} %": reason for form in FORMS})
            continue
        row |= {"test examples": runs[0].get("n_test", none(f"not in {entry.file}")),
                "runs": len(runs)}  # fmt: skip
        rows.append(row | {f"{form} %": mean_percent(entry, runs, form) for form in FORMS})
    return rows


SCORES = {"macro_f1": "macro F1", "auroc": "AUROC", "equal_error_rate": "equal error rate"}
"""Of results that have more than an accuracy, by their key."""


def score_rows(folder: Path) -> list[Row]:
    """Return every score of the results that have more than an accuracy, form by form."""
    rows: list[Row] = []
    for entry in RESULTS:
        for run in read_runs(entry, folder) or []:
            if not any(name in run for name in SCORES):
                continue
            for form in FORMS:
                row: Row = {"trained and tested on": entry.data, "form": form,
                            "accuracy %": 100 * run["accuracy"][form]}  # fmt: skip
                for name, title in SCORES.items():
                    row[title] = run[name][form] if name in run else none("not of this task")
                rows.append(row)
    return rows


def find_accuracy(folder: Path, place: str) -> str | None:
    """Return the integer accuracies of a row's network and data set, in words.

    Args:
      folder: of the results.
      place: data set of the row, or the network in table 7.
    """
    parts = []
    for entry in RESULTS:
        runs = read_runs(entry, folder) if entry.same == place else None
        if not runs or runs[0].get("config", {}).get("model") != entry.network:
            continue
        value = mean_percent(entry, runs, "integer")
        if isinstance(value, float):
            parts.append(f"{value:.2f} ({entry.data})")
    return "; ".join(parts) or None


def read_runs(entry: Trained, folder: Path) -> list[dict[str, Any]] | None:
    """Return the runs of a result; None if the file is not there."""
    path = folder / entry.file
    if not path.is_file():
        return None
    result = json.loads(path.read_text())
    runs = result.get("runs", [result])
    return [run for run in runs if entry.preset in (None, run.get("preset"))] or None


def missing(entry: Trained, folder: Path) -> str:
    """Return why there is no result."""
    if entry.preset and (folder / entry.file).is_file():
        return f"no run of {entry.preset} in {entry.file} yet"
    return f"no {entry.file} yet"


def mean_percent(entry: Trained, runs: list[dict[str, Any]], form: str) -> Cell:
    """Return the mean of one form over the runs, in percent.

    Each run has under the entry's key one number per form: a share in [0, 1], or a list of
    them, or, for the integer form only, the share itself.
    """
    values: list[float] = []
    for run in runs:
        found = run.get(entry.measure)
        value = found.get(form) if isinstance(found, Mapping) else found
        if not isinstance(found, Mapping) and form != "integer":
            value = None
        values += value if isinstance(value, list) else [] if value is None else [value]
    if not values:
        return none(f"not in {entry.file}")
    return 100 * statistics.mean(values)
