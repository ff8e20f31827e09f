"""Fit the constants of the cost model to published measurements of an AKD1500.

    python -m experiments.cost_calibration

Writes the laws into mapping/calibration/laws.json, which the package reads, and every
residual, also with its model left out of the fit, into results/cost_calibration.json. Takes
a few seconds. The law of the AKD1000 is that of the AKD1500 with its cycles scaled to the
frame rates that the paper gives.
"""

import json
import math
import statistics
from pathlib import Path

from rich.console import Console

import akida_jax as aj
from akida_jax import mapping, zoo
from akida_jax.mapping.calibration.fit import errors_of, fit_law, leave_one_out
from akida_jax.mapping.calibration.measurements import (
    Measurement,
    layer_profile,
    read_measurements,
    read_paper,
)
from akida_jax.mapping.law import Law, Work
from experiments.provenance import describe_machine
from experiments.published_models import akidanet_faces, measured_models
from experiments.training import write_text

LAWS = Path(mapping.__file__).parent / "calibration" / "laws.json"
RESULT = Path(__file__).parent / "results" / "cost_calibration.json"

PROFILE = "akidanet_0.5_224_plant_village"
"""Measured model whose sparsity per layer stands for a network of which none is known."""


def paper_frame_rates() -> list[dict]:
    """Return the frame rates of the paper's tables 1 and 2, and what they were taken on."""
    tables = read_paper()
    rows = []
    for key in ("table_1_classification", "table_2_face_recognition"):
        for row in tables[key]:
            height, width = row["resolution"]
            # The classifier of LFW verification is cut off: the embedding is compared.
            classes = {"ImageNet": 1000, "CASIA Webface": 10575}.get(row["dataset"])
            rows.append({"dataset": row["dataset"], "alpha": row["alpha"], "height": height,
                         "width": width, "classes": classes, "fps": row["akidanet_fps"],
                         **row})  # fmt: skip
    return rows


def paper_model(name: str, row: dict) -> aj.Model:
    """Return the network of a row of `paper_frame_rates`; "mobilenet" or "akidanet"."""
    shape = (row["height"], row["width"], 3)
    model = zoo.blank_model(name, alpha=row["alpha"], input_shape=shape)
    if row["classes"] == 1000:
        return model
    faces = akidanet_faces(row["alpha"], row["height"], row["width"], row["classes"])
    return aj.Model([*model.layers[:-1], *faces.layers[len(model.layers) - 1 :]])


def fit_akd1000(law: Law) -> tuple[Law, list[dict]]:
    """Return the law scaled to the paper's frame rates, and each row."""
    rows = []
    for row in paper_frame_rates():
        model = paper_model("akidanet", row)
        placement = mapping.place(model, mapping.AKD1000, "all_nps")
        cost = mapping.estimate(placement, assumed_sparsity(placement), law=law)
        rows.append({"dataset": row["dataset"], "alpha": row["alpha"], "fps": row["fps"],
                     "nps": placement.nps, "unscaled_fps": cost.fps})  # fmt: skip
    scale = math.exp(statistics.mean(math.log(r["unscaled_fps"] / r["fps"]) for r in rows))
    for row in rows:
        row["modelled_fps"] = row["unscaled_fps"] / scale
        row["error"] = row["modelled_fps"] / row["fps"] - 1
    errors = [abs(row["error"]) for row in rows]
    fps = {"rows": len(rows), "median": statistics.median(errors), "worst": max(errors)}
    remark = (
        "the fit's only free number is one factor on all cycles; energy per event is that of "
        "an AKD1500, nothing published to compare with"
    )
    scaled = Work(*(constant * scale for constant in law.cycles))
    errors_by = {"frames per second": fps}
    return Law(cycles=scaled, picojoules=law.picojoules, errors=errors_by, remark=remark), rows


def assumed_sparsity(placement: mapping.Placement, *, extra: float = 0.0) -> dict[str, float]:
    """Return the output sparsity that is assumed where none is published.

    Args:
      placement: of an AkidaNet or MobileNet, with any layers behind.
      extra: added to every layer's share of zeros.
    """
    names = [layer.name for layer in placement.layers]
    measured = layer_profile(PROFILE)[:15]
    profile = [*measured, *measured[-1:] * (len(names) - len(measured))]
    return {n: min(max(s + extra, 0.0), 1.0) for n, s in zip(names, profile, strict=False)}


def calibrate() -> tuple[dict[str, Law], dict]:
    """Return the law of every device, and all residuals."""
    measurements = read_measurements(measured_models())
    law = fit_law(measurements)
    without = leave_one_out(measurements)
    akd1000, frame_rates = fit_akd1000(law)
    result = {
        "experiment": "cost_calibration",
        **describe_machine(),
        "constants": {"cycles": law.cycles._asdict(), "picojoules": law.picojoules},
        "errors": law.errors,
        "errors_model_left_out": _left_out_errors(measurements, without),
        "rows": [_row(m, law, without[m.model]) for m in measurements],
        "akd1000": frame_rates,
    }
    return {"AKD1500": law, "AKD1000": akd1000}, result


def _left_out_errors(measurements: list[Measurement], without: dict[str, Law]) -> dict:
    result = {}
    for name, law in without.items():
        rows = [m for m in measurements if m.model == name]
        result[name] = {
            "constants": {"cycles": law.cycles._asdict(), "picojoules": law.picojoules},
            "errors": errors_of(law, rows),
        }
    return result


def _row(measurement: Measurement, law: Law, without: Law) -> dict:
    row = {
        "model": measurement.model,
        "what": measurement.what,
        "cycles": measurement.cycles,
        "cycle_error": measurement.cycle_error(law),
        "cycle_error_left_out": measurement.cycle_error(without),
    }
    if measurement.dynamic_mj is not None:
        row |= {
            "dynamic_mj": measurement.dynamic_mj,
            "energy_error": measurement.energy_error(law),
            "energy_error_left_out": measurement.energy_error(without),
        }
    return row


def main() -> None:
    """Fit and write."""
    laws, result = calibrate()
    stored = {
        name: {
            "cycles": law.cycles._asdict(),
            "picojoules": law.picojoules,
            "errors": law.errors,
            "remark": law.remark,
        }
        for name, law in laws.items()
    }
    write_text(LAWS, json.dumps(stored, indent=1) + "\n")
    write_text(RESULT, json.dumps(result, indent=1) + "\n")
    console = Console()
    for name, law in laws.items():
        console.print(f"{name}: {law.trust()}")


if __name__ == "__main__":
    main()
