"""The system paper's tables 1 to 7, row by row, the paper's numbers beside ours.

    python -m experiments.paper_tables             # prints, writes the JSON
    python -m experiments.paper_tables --tables    # rewrite the documents from the JSON

Takes under a minute; nothing is trained. Accuracies are read from experiments/results/*.json,
speed and power are modelled, sizes and neural processors are those of the networks as the zoo
builds them. A cell without a number says why.

Source of the paper's numbers: Carlson et al. (BrainChip), "Deploying ML Applications at the
Edge with AKIDA and MetaTF", tables 1 to 7; mapping/calibration/published/paper_tables.json.
"""

import dataclasses
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

import akida_jax as aj
from akida_jax import mapping, zoo
from akida_jax.mapping.calibration.measurements import read_paper
from akida_jax.zoo.parameters import count_parameters
from experiments.cost_calibration import (
    PROFILE,
    assumed_sparsity,
    paper_frame_rates,
    paper_model,
)
from experiments.hardware_tables import paper_detection, paper_speeds, yolo
from experiments.presets import run_command
from experiments.published_models import listed_model
from experiments.records.documents import fill, make_table
from experiments.records.files import write_json, write_text
from experiments.records.provenance import describe_machine
from experiments.trained_results import Cell, Row, find_accuracy, none, score_rows, trained_rows

ROOT = Path(__file__).resolve().parent.parent
RESULT = ROOT / "experiments" / "results" / "paper_tables.json"
DOCUMENT = ROOT / "docs" / "paper-tables.md"
README = ROOT / "README.md"
KB = 1024
"""Bytes; the paper does not say whether its KB are these or 1000."""
WIDE_PROFILE = "akidanet_1.0_224_imagenet"
NOT_PUBLISHED = none("not in the paper")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Settings.

    Attributes:
      tables: only rewrite docs/paper-tables.md and README.md from the committed JSON.
      results: folder of the JSON, and of those that accuracies are read from.
    """

    tables: bool = False
    results: Path = RESULT.parent


@dataclasses.dataclass(frozen=True, kw_only=True)
class Size:
    """What a network takes.

    Attributes:
      parameters: of the float network, batch norm included.
      macs: multiply-accumulates of one inference, zeros included.
      weight_bytes: packed, 4-bit weights two a byte.
      file_bytes: of the .akj file with random weights, which do not compress.
      nps: neural processors, mode minimal.
    """

    parameters: int
    macs: int
    weight_bytes: int
    file_bytes: int
    nps: int

    def cells(self) -> Row:
        """Return columns of a table."""
        return {"parameters": self.parameters, "million MACs": self.macs / 1e6,
                "weights here KB": self.weight_bytes / KB, "file here KB": self.file_bytes / KB,
                "NPs here": self.nps}  # fmt: skip


def measure(model: aj.Model) -> Size:
    """Return what a network takes."""
    programs = model.programs
    return Size(
        parameters=count_parameters(model),
        macs=sum(p.spec.macs(p.in_shape) for p in programs),
        weight_bytes=packed_weight_bytes(model),
        file_bytes=_saved_bytes(model),
        nps=mapping.place(model, mapping.mesh(None)).nps,
    )


def packed_weight_bytes(model: aj.Model) -> int:
    """Return the bytes of all kernels, each packed at its layer's width."""
    return sum(
        -(-model.variables[str(p.spec.name)][kernel].size * p.spec.weight_bits // 8)
        for p in model.programs
        for kernel in p.kernels
    )


def random_model(model: aj.Model) -> aj.Model:
    """Return the model with weights drawn evenly over their range, thresholds and steps too."""
    rng = np.random.default_rng(0)
    drawn = {}
    for p in model.programs:
        variables = dict(model.variables[str(p.spec.name)])
        largest = 2 ** (p.spec.weight_bits - 1) - 1
        for kernel in p.kernels:
            shape = variables[kernel].shape
            variables[kernel] = rng.integers(-largest, largest, shape, np.int8, endpoint=True)
        # Ten bits, as of trained layers; the file holds 32 of each.
        variables["threshold"] = rng.integers(-512, 512, p.spec.neurons, np.int32)
        variables["step"] = (rng.integers(16, 2**14, p.spec.neurons) / 16).astype(np.float32)
        drawn[str(p.spec.name)] = variables
    return model.with_variables(drawn)


def _saved_bytes(model: aj.Model) -> int:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.akj")
        aj.save(random_model(model), path)
        return path.stat().st_size


def change_rows(results: Path) -> dict[str, list[Row]]:
    """Return tables 1 to 3: what changes from MobileNet v1 to AkidaNet."""
    paper = read_paper()
    keys = {"table-1": ("table_1_classification", "akidanet_top1", "top1_change"),
            "table-2": ("table_2_face_recognition", "akidanet_accuracy", "accuracy_change"),
            "table-3": ("table_3_face_detection", "akidanet_map", "map_change")}  # fmt: skip
    speeds = {(row["dataset"], row["alpha"]): row for row in paper_speeds()}
    tables: dict[str, list[Row]] = {}
    for name, (key, accuracy, change) in keys.items():
        tables[name] = []
        for row in paper[key]:
            speed = speeds[row["dataset"], row["alpha"]]
            untrained = none(f"not trained here on {row['dataset']}")
            tables[name].append({
                "alpha": row["alpha"], "data set": row["dataset"],
                "resolution": _resolution(row),
                "accuracy %, paper": row[accuracy],
                "accuracy %, here": find_accuracy(results, row["dataset"]) or untrained,
                "change %, paper": row[change], "change %, here": untrained,
                "fps, paper": _published(row["akidanet_fps"]), "fps, modelled": speed["fps 0"],
                "fps change %, paper": _published(row["fps_change"]),
                "fps change %, modelled": speed["fps_change"],
                "power change %, paper": row["power_change"],
                "power change %, modelled, dynamic": speed["dynamic_power_change"],
                "power change %, modelled, total": speed["total_power_change"],
            })  # fmt: skip
    return tables


def pair_rows() -> list[Row]:
    """Return what both networks of each row of tables 1 to 3 take."""
    rows: list[Row] = []
    numbers = (1, 1, 2, 2, 3)
    for number, row in zip(numbers, [*paper_frame_rates(), *paper_detection()], strict=True):
        for name, title in (("mobilenet", "MobileNet v1"), ("akidanet", "AkidaNet")):
            model = yolo(name, row) if number == 3 else paper_model(name, row)
            rows.append({"table": number, "data set": row["dataset"], "network": title,
                         "alpha": row["alpha"], **measure(model).cells()})  # fmt: skip
    return rows


def listed_rows(results: Path) -> dict[str, list[Row]]:
    """Return tables 4 to 6: the networks of the paper's model zoo."""
    paper = read_paper()
    keys = {"table-4": "table_4_image_classification", "table-5": "table_5_face_recognition",
            "table-6": "table_6_time_series_and_point_cloud"}  # fmt: skip
    return {name: [_listed_row(row, results) for row in paper[key]] for name, key in keys.items()}


def _listed_row(row: Mapping[str, Any], results: Path) -> Row:
    model = listed_model(row)
    auroc = f" (AUROC {row['auroc']:.4f})" if "auroc" in row else ""
    sizes = measure(model).cells()
    alpha = f" {row['alpha']:g}" if "alpha" in row else ""
    return {
        "network": f"{row['model']}{alpha}",
        "resolution": _resolution(row),
        "data set": row["dataset"],
        "accuracy %, paper": f"{row['top1']:.2f}{auroc}",
        "accuracy %, here": find_accuracy(results, row["dataset"])
        or none(f"not trained here on {row['dataset']}"),
        "parameters": sizes["parameters"],
        "million MACs": sizes["million MACs"],
        "size KB, paper": row["size_kb"],
        "file KB, here": sizes["file here KB"],
        "weights KB, here": sizes["weights here KB"],
        "NPs, paper (older mapper)": row["nps"],
        "NPs, here": sizes["NPs here"],
        **_modelled(row, model),
    }


def _modelled(row: Mapping[str, Any], model: aj.Model) -> Row:
    """Return modelled speed and energy, and where the sparsity is from."""
    wide, plant = row.get("alpha") == 1.0, row["dataset"] == "PlantVillage"
    profile = WIDE_PROFILE if wide else PROFILE
    source = f"{'measured' if wide or plant else 'assumed'}: {profile}"
    if row["model"] != "AkidaNet":
        reason = none("no sparsity per layer is published for this network")
        return {"fps, modelled, AKD1000": reason, "fps, modelled, AKD1500": reason,
                "mJ, modelled, AKD1500": reason, "sparsity": reason}  # fmt: skip
    small, large = (
        mapping.place(model, device, "all_nps") for device in (mapping.AKD1000, mapping.AKD1500)
    )
    shares = assumed_sparsity(large, profile=profile)
    cost = mapping.estimate(large, shares)
    assert not cost.software, "an AKD1500 reloads weights: every network fits"
    frames: Cell = none(
        f"more neural processors than the {mapping.AKD1000.nps} of an AKD1000, some layers "
        "would run in software"
    )
    if not any(layer.split is None for layer in small.layers):
        frames = float(mapping.estimate(small, shares).fps)
    return {"fps, modelled, AKD1000": frames, "fps, modelled, AKD1500": float(cost.fps),
            "mJ, modelled, AKD1500": float(cost.total_mj), "sparsity": source}  # fmt: skip


def gesture_rows(results: Path) -> list[Row]:
    """Return table 7: parameters and operations of gesture networks."""
    rows: list[Row] = []
    for row in read_paper()["table_7_params_and_ops"]:
        name = row["model"].lower().replace(" ", "_")
        published = {"parameters M, paper": _published(row["params_m"]),
                     "million operations, paper": _published(row["mops"])}  # fmt: skip
        if name not in zoo.list():
            reason = none("another group's network, not built here")
            heads = ("parameters", "weights", "million MACs, here", "file KB, here", "NPs, here",
                     "accuracy %, here")  # fmt: skip
            rows.append({"network": row["model"], **published, **dict.fromkeys(heads, reason)})
            continue
        model = zoo.blank_model(name)
        size = measure(model)
        untrained = none("not trained here on DVS128 Gesture")
        rows.append({
            "network": row["model"], **published, "parameters": size.parameters,
            "weights": sum(p.spec.n_weights(p.in_shape) for p in model.programs),
            "million MACs, here": size.macs / 1e6, "file KB, here": size.file_bytes / KB,
            "NPs, here": size.nps,
            "accuracy %, here": find_accuracy(results, row["model"]) or untrained,
        })  # fmt: skip
    return rows


def compute(results: Path) -> dict[str, list[Row]]:
    """Return every table by the name of its marker."""
    return {
        **change_rows(results),
        "pairs": pair_rows(),
        **listed_rows(results),
        "table-7": gesture_rows(results),
        "trained": trained_rows(results),
        "scores": score_rows(results),
    }


def _published(value: float | None) -> Cell:
    return NOT_PUBLISHED if value is None else value


def _resolution(row: Mapping[str, Any]) -> str:
    if "input_scaling" in row:
        return "scaling ({}, {})".format(*row["input_scaling"])
    return "{}x{}".format(*row["resolution"])


def show(value: Cell) -> str:
    """Return a cell as text; an empty one says why it is."""
    if isinstance(value, Mapping):
        return f"none: {value['none']}"
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1e4 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else value


def documents(tables: Mapping[str, list[Row]]) -> dict[Path, dict[str, str]]:
    """Return the tables of each document, by the name of their marker."""
    shown = {"trained and tested on": "trained and tested on", "test examples": "test examples",
             "float %": "float %", "integer %": "integer %"}  # fmt: skip
    # Events have a table of their own there.
    trained = [row for row in tables["trained"] if not str(row["beside"]).startswith("table 7")]
    rows = [{title: row[head] for head, title in shown.items()} for row in trained]
    return {
        DOCUMENT: {name: markdown(rows) for name, rows in tables.items()},
        README: {"zoo": markdown(rows)},
    }


def markdown(rows: list[Row]) -> str:
    """Return rows as a Markdown table; without rows there is none."""
    if not rows:
        return "none"
    heads = list(rows[0])
    return make_table(heads, [[show(row[head]) for head in heads] for row in rows])


def _print(console: Console, name: str, rows: list[Row]) -> None:
    """Print one row after another, a line for each column: the tables are too wide."""
    table = Table("row", "column", "value", title=name)
    for number, row in enumerate(rows, start=1):
        for head, value in row.items():
            table.add_row(str(number), head, show(value), end_section=head == list(row)[-1])
    console.print(table)


def main(config: Config) -> None:
    """Compute, print, write."""
    console = Console()
    path = config.results / RESULT.name
    if not config.tables:
        result = {"experiment": "paper_tables", **describe_machine(),
                  "tables": compute(config.results)}  # fmt: skip
        write_json(path, result)
    tables = json.loads(path.read_text())["tables"]
    if path == RESULT:
        for document, made in documents(tables).items():
            write_text(document, fill(document.read_text(), made))
    for name, rows in tables.items():
        if rows:
            _print(console, name, rows)
    console.print(f"JSON: {path}")


if __name__ == "__main__":
    run_command(lambda: main(tyro.cli(Config)))
