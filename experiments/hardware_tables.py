"""Placement and cost beside every published figure.

    python -m experiments.hardware_tables           # prints, writes JSON and pictures
    python -m experiments.hardware_tables --tables  # rewrite docs/cost-model.md from the JSON

Reads the calibrated laws (experiments.cost_calibration). Expected: every published number of
neural processors met, cycles within 20 %. Takes a few seconds; everything is modelled or
counted, nothing is trained.
"""

import dataclasses
import json
import statistics
from collections.abc import Callable
from pathlib import Path

import tyro
from rich.console import Console
from rich.markdown import Markdown

import akida_jax as aj
from akida_jax import mapping, zoo
from akida_jax.mapping.calibration.measurements import model_name, read_paper, read_table
from experiments.cost_calibration import (
    PROFILE,
    assumed_sparsity,
    paper_frame_rates,
    paper_model,
)
from experiments.cost_calibration import (
    RESULT as CALIBRATION,
)
from experiments.hardware_pictures import draw
from experiments.published_models import listed_model, measured_models, zoo_model
from experiments.records.documents import fill, make_table
from experiments.records.files import write_json, write_text
from experiments.records.provenance import describe_machine

ROOT = Path(__file__).resolve().parent.parent
RESULT = ROOT / "experiments" / "results" / "hardware_tables.json"
PICTURES = ROOT / "docs" / "pictures"
DOCUMENT = ROOT / "docs" / "cost-model.md"
SPARSITY_SHIFTS = (-0.1, 0.0, 0.1)

Rows = list[dict]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Settings.

    Attributes:
      tables: only rewrite docs/cost-model.md from the committed JSON.
      results: folder of the JSON.
      pictures: folder of the pictures.
    """

    tables: bool = False
    results: Path = RESULT.parent
    pictures: Path = PICTURES


def minimal_counts() -> Rows:
    """Compare the counts of the published model zoo, mode minimal."""
    rows = []
    for row in read_table("akida1_zoo"):
        model = zoo_model(row)
        if model is None:
            continue
        placed = mapping.place(model, mapping.mesh(None))
        rows.append({"model": _title(row), "published": int(row["nps"]), "placed": placed.nps})
    return rows


def layer_counts() -> Rows:
    """Compare the counts of the published AKD1000 listings, mode all_nps."""
    models = {
        "ds_cnn_kws": zoo.blank_model("ds_cnn"),
        "akidanet_0.5_224": zoo.blank_model("akidanet", alpha=0.5),
    }
    placed = {
        name: mapping.place(model, mapping.AKD1000, "all_nps") for name, model in models.items()
    }
    return [
        {"model": row["model"], "layer": row["layer"], "published": int(row["nps"]),
         "placed": placed[row["model"]][row["layer"]].nps}
        for row in read_table("akd1000_summaries")
    ]  # fmt: skip


def mode_counts() -> Rows:
    """Compare neural processors and passes of the AKD1500 measurements, all modes."""
    models = measured_models()
    rows = []
    for row in read_table("akd1500_modes"):
        placed = mapping.place(models[model_name(row)], mapping.AKD1500, row["mode"])  # type: ignore[arg-type]
        # The published count includes the input unit.
        rows.append({"model": model_name(row), "mode": row["mode"],
                     "published": int(row["nps"]) - 1, "placed": placed.nps,
                     "published_passes": int(row["passes"]), "passes": placed.passes})  # fmt: skip
    return rows


def zoo_energies() -> Rows:
    """Compare the published energy of the zoo, the best mode for each network.

    Networks of the fit take their own published sparsity, the others that of one of them.
    """
    fitted = {"akidanet 0.5, 160x160, ImageNet", "akidanet 0.5, 224x224, ImageNet",
              "akidanet 1.0, 160x160, ImageNet", "akidanet 1.0, 224x224, ImageNet",
              "akidanet 0.5, 224x224, PlantVillage"}  # fmt: skip
    rows = []
    for row in read_table("akida1_zoo"):
        model = zoo_model(row)
        if model is None or row["model"] not in ("akidanet", "mobilenet", "akidanet_edge"):
            continue
        wide = row["model"] == "akidanet" and row["alpha"] == "1.0"
        profile = "akidanet_1.0_224_imagenet" if wide else PROFILE
        costs = []
        for mode in mapping.MODES:
            placement = mapping.place(model, mapping.AKD1500, mode)
            shares = assumed_sparsity(placement, profile=profile)
            costs.append(mapping.estimate(placement, shares).total_mj)
        published = float(row["akd1500_mj"])
        rows.append({"model": _title(row), "network in the fit": _title(row) in fitted,
                     "published_mj": published, "modelled_mj": min(costs),
                     "error": min(costs) / published - 1})  # fmt: skip
    return rows


def paper_speeds() -> Rows:
    """Compare frame rates, and what AkidaNet gains over MobileNet v1, with the paper."""
    rows: Rows = []
    for row in [*paper_frame_rates(), *paper_detection()]:
        entry = {"dataset": row["dataset"], "alpha": row["alpha"], "published_fps": row["fps"],
                 "published_fps_change": row["fps_change"],
                 "published_power_change": row["power_change"]}  # fmt: skip
        for shift in SPARSITY_SHIFTS:
            build = yolo if row["dataset"] == "WIDER FACE" else paper_model
            akida, mobile = (_speed(build(n, row), shift) for n in ("akidanet", "mobilenet"))
            name = f"{shift:+.1f}" if shift else "0"
            entry[f"fps {name}"] = akida.fps
            entry[f"dynamic_mw {name}"] = akida.dynamic_mw
            if not shift:
                entry["fps_change"] = 100 * (akida.fps / mobile.fps - 1)
                entry["dynamic_power_change"] = 100 * (akida.dynamic_mw / mobile.dynamic_mw - 1)
                entry["total_power_change"] = 100 * (akida.power_mw / mobile.power_mw - 1)
                entry["pipelined_fps"] = akida.pipelined_fps
        rows.append(entry)
    return rows


def paper_detection() -> Rows:
    """Return the paper's table 3 in the form of `paper_frame_rates`; it has no frame rate."""
    (row,) = read_paper()["table_3_face_detection"]
    return [{**row, "fps": None}]


def yolo(name: str, row: dict) -> aj.Model:
    """Return the face detector on either network."""
    return zoo.blank_model("yolo", classes=1, base=name)


def paper_counts() -> Rows:
    """Compare with the counts of the paper's tables 4 to 6, from an older mapper."""
    tables = read_paper()
    names = ("table_4_image_classification", "table_5_face_recognition",
             "table_6_time_series_and_point_cloud")  # fmt: skip
    rows: Rows = []
    for row in (row for name in names for row in tables[name]):
        title = f"{row['model']}, {row['dataset']}"
        if "alpha" in row:
            size = "x".join(map(str, row["resolution"]))
            title = f"{row['model']} {row['alpha']:g}, {size}, {row['dataset']}"
        placed = mapping.place(listed_model(row), mapping.mesh(None)).nps
        rows.append({"model": title, "published_older": row["nps"], "placed": placed})
    return rows


def _speed(model: aj.Model, shift: float) -> mapping.Cost:
    placement = mapping.place(model, mapping.AKD1000, "all_nps")
    return mapping.estimate(placement, assumed_sparsity(placement, extra=shift))


def _title(row: dict[str, str]) -> str:
    size = f"{row['height']}x{row['width']}"
    return f"{row['model']} {row['alpha']}, {size}, {row['dataset']}".replace(" ,", ",")


TABLES: dict[str, Callable[[], Rows]] = {
    "minimal": minimal_counts,
    "all-nps": layer_counts,
    "modes": mode_counts,
    "zoo-energy": zoo_energies,
    "speeds": paper_speeds,
    "older-counts": paper_counts,
}


def calibration_rows() -> dict[str, Rows]:
    """Return the residuals as tables, from the JSON of the calibration."""
    result = json.loads(CALIBRATION.read_text())
    layers: Rows = []
    modes: Rows = []
    for row in result["rows"]:
        entry = {
            "model": row["model"],
            "what": row["what"],
            "measured_kcycles": row["cycles"] / 1e3,
            "error": row["cycle_error"],
            "left_out": row["cycle_error_left_out"],
        }
        if "dynamic_mj" in row:
            entry |= {"measured_mj": row["dynamic_mj"], "energy_error": row["energy_error"],
                      "energy_left_out": row["energy_error_left_out"],
                      "total_energy_error": row["total_error"],
                      "power_error": row["power_error"]}  # fmt: skip
        (modes if "dynamic_mj" in row else layers).append(entry)
    laws = [
        {"constant": name, "value": value} for name, value in result["constants"]["cycles"].items()
    ]
    laws += [
        {"constant": f"pJ per operation, {size}x{size}", "value": value}
        for size, value in result["constants"]["picojoules"].items()
    ]
    return {
        "constants": laws,
        "layer-errors": layers,
        "mode-errors": modes,
        "error-summary": _summaries(layers, modes),
        "left-out": result["left_out"],
        "exponents": result["exponents"],
        "memory": result["memory"],
        "akd1000": result["akd1000"],
    }


def _summaries(layers: Rows, modes: Rows) -> Rows:
    compared = (
        ("cycles of layers", layers, "error", "left_out"),
        ("cycles of whole models", modes, "error", "left_out"),
        ("dynamic energy of whole models", modes, "energy_error", "energy_left_out"),
    )
    rows = []
    for title, source, fitted, left_out in compared:
        row: dict = {"compared": title, "rows": len(source)}
        for kind, key in (("", fitted), (" left out", left_out)):
            errors = [abs(entry[key]) for entry in source]
            row |= {f"median{kind} error": statistics.median(errors),
                    f"worst{kind} error": max(errors)}  # fmt: skip
        rows.append(row)
    return rows


def markdown(rows: Rows) -> str:
    """Return rows as a Markdown table; errors in percent."""
    heads = list(rows[0])
    cells = [[_cell(head, row[head]) for head in heads] for row in rows]
    return make_table([head.replace("_", " ") for head in heads], cells)


def _cell(head: str, value: object) -> str:
    if isinstance(value, float) and ("error" in head or "left_out" in head):
        return f"{value:+.1%}" if "median" not in head and "worst" not in head else f"{value:.1%}"
    if isinstance(value, float):
        return f"{value:.4g}"
    return "" if value is None else str(value)


def main(config: Config) -> None:
    """Compute, print, write."""
    console = Console()
    path = config.results / RESULT.name
    if not config.tables:
        tables = {name: compute() for name, compute in TABLES.items()}
        result = {"experiment": "hardware_tables", **describe_machine(),
                  "tables": {**tables, **calibration_rows()}}  # fmt: skip
        write_json(path, result)
        draw(result, config.pictures)
    result = json.loads(path.read_text())
    made = {name: markdown(rows) for name, rows in result["tables"].items()}
    if path == RESULT:
        write_text(DOCUMENT, fill(DOCUMENT.read_text(), made))
    for name, table in made.items():
        console.print(Markdown(f"## {name}\n\n{table}"))
    console.print(f"JSON: {path}; pictures: {config.pictures}")


if __name__ == "__main__":
    main(tyro.cli(Config))
