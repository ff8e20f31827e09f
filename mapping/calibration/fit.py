"""Fit the constants of the cost model to the published measurements."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from scipy.optimize import nnls

from akida_jax.mapping.calibration.measurements import Measurement
from akida_jax.mapping.law import Law, Work

EXPONENT = 3
"""The fit minimizes the sum of relative errors to this power: between least squares and
least worst error. docs/cost-model.md shows what others give; above 4 it may not converge."""
_ROUNDS = 300


def fit_law(measurements: Sequence[Measurement], *, exponent: float = EXPONENT) -> Law:
    """Return the law that fits best, and its errors on the same measurements."""
    law = Law(cycles=_fit_cycles(measurements, exponent), picojoules=_fit_energy(measurements))
    return dataclasses.replace(law, errors=errors_of(law, measurements))


def errors_of(law: Law, measurements: Sequence[Measurement]) -> dict[str, dict[str, float]]:
    """Return number of rows, median and worst absolute relative error."""
    cycles = [m.cycle_error(law) for m in measurements]
    energy = [m.energy_error(law) for m in measurements if m.dynamic_mj is not None]
    return {
        name: {
            "rows": len(values),
            "median": float(np.median(np.abs(values))),
            "worst": float(np.max(np.abs(values))),
        }
        for name, values in (("cycles", cycles), ("dynamic energy", energy))
        if values
    }


def leave_out(
    measurements: Sequence[Measurement], groups: Mapping[str, Sequence[str]]
) -> dict[str, Law]:
    """Return for each group of networks the law fitted without them."""
    return {
        name: fit_law([m for m in measurements if m.model not in models])
        for name, models in groups.items()
    }


def with_left_out_errors(law: Law, rows: Sequence[tuple[Measurement, Law]]) -> Law:
    """Return the law with the errors that each row has under the law fitted without it."""
    cycles = [m.cycle_error(other) for m, other in rows]
    energy = [m.energy_error(other) for m, other in rows if m.dynamic_mj is not None]
    errors = {what: dict(error) for what, error in law.errors.items()}
    for what, values in (("cycles", cycles), ("dynamic energy", energy)):
        errors[what]["median_left_out"] = float(np.median(np.abs(values)))
        errors[what]["worst_left_out"] = float(np.max(np.abs(values)))
    return dataclasses.replace(law, errors=errors)


def _fit_cycles(measurements: Sequence[Measurement], exponent: float) -> Work:
    """Iteratively reweighted non-negative least squares."""
    design = np.array([[w / m.cycles for w in m.work] for m in measurements], np.float64)
    weights = np.ones(len(design))
    for _ in range(_ROUNDS):
        constants, _ = nnls(design * weights[:, None], weights)
        errors = np.abs(design @ constants - 1)
        # Halving the step keeps the iteration from oscillating at powers of 3 and above.
        weights = 0.5 * (weights + np.maximum(errors, 1e-2) ** ((exponent - 2) / 2))
    return Work(*map(float, constants))


def _fit_energy(measurements: Sequence[Measurement]) -> dict[int, float]:
    """Return pJ per operation by kernel size; of sizes that matter in some measurement."""
    rows = [m for m in measurements if m.dynamic_mj is not None]
    sizes = sorted({size for m in rows for size in m.operations if size > 1})
    # A column of the design is the error's part of one constant: a law of zeros and a one.
    columns = []
    for size in sizes:
        unit = Law(cycles=Work(layers=0), picojoules={s: float(s == size) for s in sizes})
        columns.append([m.energy_error(unit) + 1 for m in rows])
    constants, _ = nnls(np.array(columns).T, np.ones(len(rows)))
    return {size: float(c) for size, c in zip(sizes, constants, strict=True)}
