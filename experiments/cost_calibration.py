"""Fit the constants of the cost model to published measurements of an AKD1500.

    python -m experiments.cost_calibration

Writes the laws into mapping/calibration/laws.json, which the package reads, and every
residual, also with its model left out of the fit, into results/cost_calibration.json. Takes
a few seconds. The law of the AKD1000 is that of the AKD1500 with its cycles scaled to the
frame rates that the paper gives.
"""

import math
import statistics
from pathlib import Path
from typing import Any

from rich.console import Console

import akida_jax as aj
from akida_jax import mapping, zoo
from akida_jax.mapping.calibration.fit import (
    errors_of,
    fit_law,
    leave_out,
    with_left_out_errors,
)
from akida_jax.mapping.calibration.measurements import (
    Measurement,
    layer_profile,
    read_measurements,
    read_paper,
    read_table,
)
from akida_jax.mapping.law import Law, Work
from experiments.published_models import measured_models, zoo_model
from experiments.records.files import write_json
from experiments.records.provenance import describe_machine

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
    head = "" if row["classes"] == 1000 else "_faces"
    return zoo.blank_model(
        f"{name}{head}", alpha=row["alpha"], input_shape=shape, classes=row["classes"]
    )


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
        "one factor on all cycles was fitted; energy per event is that of an AKD1500, nothing "
        "published to compare with"
    )
    scaled = Work(*(constant * scale for constant in law.cycles))
    errors_by = {"frames per second": fps}
    return Law(cycles=scaled, picojoules=law.picojoules, errors=errors_by, remark=remark), rows


def assumed_sparsity(
    placement: mapping.Placement, *, extra: float = 0.0, profile: str = PROFILE
) -> dict[str, float]:
    """Return the output sparsity that is assumed where none is published.

    Args:
      placement: of an AkidaNet or MobileNet, with any layers behind.
      extra: added to every layer's share of zeros.
      profile: measured model whose layers stand for these; its last hidden layer stands
        for all layers behind.
    """
    measured = layer_profile(profile)[:-1][:15]
    names = placement.layer_names()
    shares = [*measured, *measured[-1:] * (len(names) - len(measured))]
    return {n: min(max(s + extra, 0.0), 1.0) for n, s in zip(names, shares, strict=False)}


def calibrate() -> tuple[dict[str, Law], dict]:
    """Return the law of every device, and all residuals."""
    measurements = read_measurements(measured_models())
    names = list(dict.fromkeys(m.model for m in measurements))
    without = leave_out(measurements, {name: [name] for name in names})
    law = with_left_out_errors(fit_law(measurements), [(m, without[m.model]) for m in measurements])
    akd1000, frame_rates = fit_akd1000(law)
    result = {
        "experiment": "cost_calibration",
        **describe_machine(),
        "constants": {"cycles": law.cycles._asdict(), "picojoules": law.picojoules},
        "errors": law.errors,
        "left_out": _left_out_rows(measurements),
        "exponents": _exponent_rows(measurements),
        "memory": memory_intervals(),
        "rows": [_row(m, law, without[m.model]) for m in measurements],
        "akd1000": frame_rates,
    }
    return {"AKD1500": law, "AKD1000": akd1000}, result


def _left_out_rows(measurements: list[Measurement]) -> list[dict]:
    """Return constants and errors without one network, and without one width."""
    names = list(dict.fromkeys(m.model for m in measurements))
    groups = {name: [name] for name in names}
    for width in ("0.5", "1.0"):
        groups[f"all of alpha {width}"] = [n for n in names if n.startswith(f"akidanet_{width}")]
    rows = []
    for group, law in leave_out(measurements, groups).items():
        errors = errors_of(law, [m for m in measurements if m.model in groups[group]])
        rows.append(
            {"left out": group, **law.cycles._asdict(),
             **{f"{what} {kind} error": errors[what][kind] for what in errors
                for kind in ("median", "worst")}}
        )  # fmt: skip
    return rows


def _exponent_rows(measurements: list[Measurement]) -> list[dict]:
    rows = []
    for exponent in (2.0, 2.5, 3.0, 3.5, 4.0):
        errors = fit_law(measurements, exponent=exponent).errors["cycles"]
        rows.append({"exponent": exponent, "median error": errors["median"],
                     "worst error": errors["worst"]})  # fmt: skip
    return rows


def memory_intervals() -> list[dict]:
    """Return which values of each placement rule keep every published count of Minimal."""
    rows = read_table("akida1_zoo")
    pairs = [(zoo_model(row), int(row["nps"])) for row in rows]
    counted = [(model, nps) for model, nps in pairs if model is not None]
    counted.append((zoo.blank_model("ecg"), 6))
    scans: dict[str, range] = {
        "input_bytes_per_np": range(44 * 1024, 47 * 1024, 32),
        "weight_bytes_per_np": range(43 * 1024, 46 * 1024, 32),
        "columns_per_np": range(28, 40),
        "depthwise_row_bytes": range(1, 8),
        "pooled_sum_bytes": range(1, 16),
    }
    result = []
    for field, values in scans.items():
        fitting = [v for v in values if _counts_fit(counted, _mesh_with(field, v))]
        result.append({"rule": field, "chosen": getattr(mapping.AKD1000, field),
                       "least": min(fitting), "most": max(fitting)})  # fmt: skip
    return result


def _mesh_with(field: str, value: int) -> mapping.Device:
    changes: dict[str, Any] = {field: value}
    return mapping.mesh(None, **changes)


def _counts_fit(counted: list[tuple[aj.Model, int]], device: mapping.Device) -> bool:
    try:
        return all(mapping.place(model, device).nps == nps for model, nps in counted)
    except mapping.MappingError:
        return False


def _row(measurement: Measurement, law: Law, without: Law) -> dict:
    """Return a row's errors; total energy includes the idle power of the device."""
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
            "total_mj": measurement.total_mj,
            "total_error": measurement.total_error(law),
            "power_error": measurement.power_error(law),
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
    write_json(LAWS, stored)
    write_json(RESULT, result)
    console = Console()
    for name, law in laws.items():
        console.print(f"{name}: {law.trust()}")


if __name__ == "__main__":
    main()
