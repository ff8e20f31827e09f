"""The committed laws are what the fit gives, and as good as the docs say."""

import json

import numpy as np
import pytest

from akida_jax import mapping
from akida_jax.mapping.calibration.fit import errors_of, fit_law
from akida_jax.mapping.calibration.measurements import (
    layer_profile,
    read_measurements,
    read_table,
)
from akida_jax.mapping.law import Law, Work, published_law
from experiments import cost_calibration
from experiments.published_models import measured_models


@pytest.fixture(scope="module")
def measurements():
    return read_measurements(measured_models())


def test_every_published_row_is_compared(measurements):
    tables = ("akd1500_layers", "akd1500_modes")
    assert len(measurements) == sum(len(read_table(name)) for name in tables) == 53


def test_the_committed_law_is_the_fit(measurements):
    fitted, committed = fit_law(measurements), published_law("AKD1500")
    # The fit is iterative; another linear algebra library may round its steps differently.
    np.testing.assert_allclose(fitted.cycles, committed.cycles, rtol=1e-4)
    for size, value in committed.picojoules.items():
        np.testing.assert_allclose(fitted.picojoules[size], value, rtol=1e-6)


def test_errors_stay_within_the_promise(measurements):
    errors = errors_of(published_law("AKD1500"), measurements)
    for what in ("cycles", "dynamic energy"):
        assert errors[what]["median"] <= 0.08
        assert errors[what]["worst"] <= 0.20


def test_the_committed_result_is_the_committed_law():
    result = json.loads(cost_calibration.RESULT.read_text())
    law = published_law("AKD1500")
    assert result["constants"]["cycles"] == law.cycles._asdict()
    assert result["errors"] == law.errors
    cycles = [abs(row["cycle_error"]) for row in result["rows"]]
    assert law.errors["cycles"]["worst"] == max(cycles)
    assert law.errors["cycles"]["median"] == np.median(cycles)


def test_a_law_is_recovered_from_cycles_it_made(measurements):
    """The fit finds constants of which every measurement is an exact sum."""
    true = Work(input_unit_outputs=3.0, taps=0.1, scanned=2.0, dense_operations=1.0, layers=500.0,
                loaded_bytes=4.0, loads=9000.0)  # fmt: skip
    law = Law(cycles=true, picojoules={3: 4.0, 5: 6.0})
    made = []
    for m in measurements:
        energy = sum(n * law.tap_energy(k) for k, n in m.operations.items()) * 1e-9
        fields = {"cycles": law.count(m.work), "dynamic_mj": m.dynamic_mj and energy}
        made.append(m.__class__(**{**m.__dict__, **fields}))
    found = fit_law(made)
    np.testing.assert_allclose(found.cycles, true, rtol=1e-6)
    np.testing.assert_allclose([found.picojoules[3], found.picojoules[5]], [4, 6], rtol=1e-6)


def test_the_profile_of_a_stand_in_keeps_the_published_mean(measurements):
    """Events of AkidaNet 1.0 at 160: those of 224, scaled to the published sparsity."""
    (row,) = (r for r in read_table("akd1500_modes")
              if (r["alpha"], r["resolution"], r["mode"]) == ("1.0", "160", "minimal"))  # fmt: skip
    (found,) = (m for m in measurements
                if (m.model, m.what) == ("akidanet_1.0_160_imagenet", "minimal"))  # fmt: skip
    profile = layer_profile("akidanet_1.0_224_imagenet")[:-1]
    factor = (1 - float(row["sparsity"]) * 15 / 14) / (1 - sum(profile) / 14)
    shares = {
        str(layer.name): 1 - (1 - share) * factor
        for layer, share in zip(measured_models()[found.model].layers, profile, strict=False)
    }
    mean = (sum(shares.values()) + 0.0) / 15
    assert mean == pytest.approx(float(row["sparsity"]), abs=1e-12)
    placement = mapping.place(measured_models()[found.model], mapping.AKD1500)
    cost = mapping.estimate(placement, shares)
    assert cost.cycles == pytest.approx(published_law("AKD1500").count(found.work), rel=1e-9)


def test_an_unknown_law_is_refused():
    with pytest.raises(ValueError, match="no cost law 'AKD2000'; there are AKD1500, AKD1000"):
        published_law("AKD2000")
