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

import matplotlib.pyplot as plt
import tyro
from rich.console import Console
from rich.markdown import Markdown

import akida_jax as aj
from akida_jax import mapping, zoo
from akida_jax.mapping import pictures as mapping_pictures
from akida_jax.mapping.calibration.measurements import model_name, read_paper, read_table
from experiments.cost_calibration import (
    RESULT as CALIBRATION,
)
from experiments.cost_calibration import assumed_sparsity, paper_frame_rates, paper_model
from experiments.dvs_report import fill
from experiments.pictures import save_figure
from experiments.provenance import describe_machine
from experiments.published_models import (
    akidanet_faces,
    akidanet_plant_village,
    ds_cnn,
    measured_models,
    zoo_model,
)
from experiments.training import write_text

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
    models = {"ds_cnn_kws": ds_cnn(), "akidanet_0.5_224": zoo.blank_model("akidanet", alpha=0.5)}
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
    """Compare the published energy of the zoo, which no constant was fitted to."""
    rows = []
    for row in read_table("akida1_zoo"):
        model = zoo_model(row)
        if model is None or row["model"] not in ("akidanet", "mobilenet", "akidanet_edge"):
            continue
        costs = []
        for mode in mapping.MODES:
            placement = mapping.place(model, mapping.AKD1500, mode)
            costs.append(mapping.estimate(placement, assumed_sparsity(placement)).total_mj)
        published = float(row["akd1500_mj"])
        rows.append({"model": _title(row), "published_mj": published, "modelled_mj": min(costs),
                     "error": min(costs) / published - 1})  # fmt: skip
    return rows


def paper_speeds() -> Rows:
    """Compare frame rates, and what AkidaNet gains over MobileNet v1, with the paper."""
    rows = []
    for row in paper_frame_rates():
        entry = {"dataset": row["dataset"], "alpha": row["alpha"], "published_fps": row["fps"],
                 "published_fps_change": row["fps_change"],
                 "published_power_change": row["power_change"]}  # fmt: skip
        for shift in SPARSITY_SHIFTS:
            akida, mobile = (_speed(paper_model(n, row), shift) for n in ("akidanet", "mobilenet"))
            name = f"{shift:+.1f}" if shift else "0"
            entry[f"fps {name}"] = akida.fps
            entry[f"dynamic_mw {name}"] = akida.dynamic_mw
            if not shift:
                entry["fps_change"] = 100 * (akida.fps / mobile.fps - 1)
                entry["power_change"] = 100 * (akida.dynamic_mw / mobile.dynamic_mw - 1)
                entry["pipelined_fps"] = akida.pipelined_fps
        rows.append(entry)
    return rows


def paper_counts() -> Rows:
    """Compare with the counts of the paper's tables 4 to 6, from an older mapper."""
    rows = []
    tables = read_paper()
    for row in (*tables["table_4_image_classification"], *tables["table_5_face_recognition"]):
        height, width = row["resolution"]
        if "Webface" in row["dataset"] or "LFW" in row["dataset"]:
            model = akidanet_faces(row["alpha"], height, width,
                                   10575 if "Webface" in row["dataset"] else None)  # fmt: skip
        elif row["dataset"] == "PlantVillage":
            model = akidanet_plant_village()
        else:
            model = zoo.blank_model("akidanet", alpha=row["alpha"], input_shape=(height, width, 3),
                                    classes=row["classes"])  # fmt: skip
        placed = mapping.place(model, mapping.mesh(None)).nps
        rows.append({"model": f"AkidaNet {row['alpha']:g}, {height}x{width}, {row['dataset']}",
                     "published_older": row["nps"], "placed": placed})  # fmt: skip
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
                      "energy_left_out": row["energy_error_left_out"]}  # fmt: skip
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
    lines = ["| " + " | ".join(head.replace("_", " ") for head in heads) + " |",
             "|---" * len(heads) + "|"]  # fmt: skip
    for row in rows:
        lines.append("| " + " | ".join(_cell(head, row[head]) for head in heads) + " |")
    return "\n".join(lines)


def _cell(head: str, value: object) -> str:
    if isinstance(value, float) and ("error" in head or "left_out" in head):
        return f"{value:+.1%}" if "median" not in head and "worst" not in head else f"{value:.1%}"
    if isinstance(value, float):
        return f"{value:.4g}"
    return "" if value is None else str(value)


def draw(result: dict, folder: Path) -> None:
    """Draw the residuals, a mesh and the cost of its layers."""
    save_figure(draw_residuals(result), folder / "cost_residuals.png")
    model = zoo.blank_model("akidanet", alpha=0.5)
    for device, mode in ((mapping.AKD1000, "all_nps"), (mapping.AKD1500, "hw_pr")):
        placement = mapping.place(model, device, mode)  # type: ignore[arg-type]
        cost = mapping.estimate(placement, assumed_sparsity(placement))
        stem = f"{device.name.lower()}_{mode}"
        save_figure(mapping_pictures.draw_mesh(placement), folder / f"mesh_{stem}.png")
        save_figure(mapping_pictures.draw_cost(placement, cost), folder / f"cost_{stem}.png")


def draw_residuals(result: dict) -> plt.Figure:
    """Draw modelled over measured cycles and energy against the measurement."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4))
    panels = (
        (left, "layer-errors", "measured_kcycles", "error", "left_out", "o", "one layer"),
        (left, "mode-errors", "measured_kcycles", "error", "left_out", "s", "whole model"),
        (right, "mode-errors", "measured_mj", "energy_error", "energy_left_out", "s",
         "whole model"),
    )  # fmt: skip
    for axis, table, measured, error, left_out, marker, label in panels:
        rows = result["tables"][table]
        x = [row[measured] for row in rows]
        axis.scatter(x, [100 * row[error] for row in rows], marker=marker, s=22, label=label)
        axis.scatter(x, [100 * max(min(row[left_out], 0.5), -0.5) for row in rows], marker=marker,
                     s=22, facecolors="none", edgecolors="#888888",
                     label=f"{label}, its network left out of the fit")  # fmt: skip
    for axis, what in ((left, "cycles, thousands"), (right, "dynamic energy, mJ")):
        axis.axhspan(-20, 20, color="#eeeeee", zorder=-2)
        axis.axhspan(-8, 8, color="#dddddd", zorder=-1)
        axis.axhline(0, color="black", lw=0.6)
        axis.set_xscale("log")
        axis.set_ylim(-55, 55)
        axis.set_xlabel(f"measured {what}")
        axis.legend(fontsize=7)
    left.set_ylabel("modelled - measured, % (cut at 50)")
    figure.suptitle("Cost model against the published measurements of an AKD1500; bands 8 and 20 %",
                    fontsize=10)  # fmt: skip
    figure.tight_layout()
    return figure


def main(config: Config) -> None:
    """Compute, print, write."""
    console = Console()
    path = config.results / RESULT.name
    if not config.tables:
        tables = {name: compute() for name, compute in TABLES.items()}
        result = {"experiment": "hardware_tables", **describe_machine(),
                  "tables": {**tables, **calibration_rows()}}  # fmt: skip
        write_text(path, json.dumps(result, indent=1) + "\n")
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
