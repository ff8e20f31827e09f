"""A study as a table: one row for each trial, as JSON, CSV and Parquet."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from optuna.trial import FrozenTrial, TrialState

from akida_jax.writing import replace_file
from experiments.records.files import write_text
from experiments.sweeping.space import Axis

#: Measures of a complete trial that have a column of their own.
MEASURES = ("accuracy", "float_accuracy", "energy_mj", "dynamic_mj", "latency_ms", "fps", "nps",
            "passes", "size_kb", "weights", "training_s")  # fmt: skip
_WORDS = ("state", "reason", "started", "finished", "worker", "folder")
_WHOLE = ("trial", "slot", "repeats", "repeated_by", "nps", "passes", "weights")
_DETAILS = ("layers", "summary", "trust", "title", "n_train", "n_test", "seed", "code", "reused",
            "data_fingerprint", "batch", "device", "mode")  # fmt: skip


def make_rows(trials: Sequence[FrozenTrial], axes: Sequence[Axis]) -> list[dict[str, Any]]:
    """Return one row for each trial; what a trial does not have is None.

    Its state is "complete", "pruned", "impossible", "failed", "lost", "interrupted", "running"
    or "waiting". Parameters have the column ``param.NAME``.
    """
    return [_make_row(trial, axes) for trial in trials]


def _make_row(trial: FrozenTrial, axes: Sequence[Axis]) -> dict[str, Any]:
    attributes = trial.user_attrs
    result = attributes.get("result", {})
    worker = attributes.get("worker")
    state = "failed" if trial.state == TrialState.FAIL else trial.state.name.lower()
    if trial.state.is_finished():
        state = attributes.get("kind", state)
    fixed = {**trial.system_attrs.get("fixed_params", {}), **trial.params}
    return {
        "trial": trial.number,
        "slot": attributes["slot"],
        "state": state,
        "repeats": attributes.get("repeats"),
        "repeated_by": attributes.get("repeated_by"),
        **{f"param.{axis.name}": _plain(axis, fixed) for axis in axes},
        **{name: result.get(name) for name in MEASURES},
        "reason": attributes.get("reason"),
        "started": _time(trial.datetime_start),
        "finished": _time(trial.datetime_complete),
        "worker": None if worker is None else f"{worker['host']}:{worker['pid']}",
        "folder": result.get("folder"),
        **{name: result.get(name) for name in _DETAILS},
    }


def _plain(axis: Axis, parameters: Mapping[str, Any]) -> float | int | str | None:
    """Return a parameter as number if all of its axis are, else as its text."""
    if axis.name not in parameters:
        return None
    parameter = parameters[axis.name]
    numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in axis.values)
    return axis.value(parameter) if numbers else str(parameter)


def _time(value: Any) -> str | None:
    return None if value is None else value.isoformat(timespec="seconds")


def columns(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the columns of the tables; the JSON holds layers and summaries besides."""
    return [name for name in rows[0] if name not in _DETAILS] if rows else []


def write_tables(rows: Sequence[Mapping[str, Any]], folder: Path, stem: str = "trials") -> None:
    """Write the rows as STEM.csv and STEM.parquet, each whole or not at all."""
    names = columns(rows)
    text = io.StringIO()
    writer = csv.DictWriter(text, names, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(folder / f"{stem}.csv", text.getvalue())
    arrays = {name: pa.array([row[name] for row in rows], _type(name, rows)) for name in names}
    with replace_file(folder / f"{stem}.parquet") as stream:
        pq.write_table(pa.table(arrays), stream)


def _type(name: str, rows: Sequence[Mapping[str, Any]]) -> pa.DataType:
    if name in _WORDS:
        return pa.string()
    if name in _WHOLE:
        return pa.int64()
    if name in MEASURES:
        return pa.float64()
    values = [row[name] for row in rows if row[name] is not None]
    if all(isinstance(value, int) for value in values):
        return pa.int64()
    return pa.float64() if all(isinstance(v, int | float) for v in values) else pa.string()
