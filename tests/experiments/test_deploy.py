"""What is measured of C exports, and the document that shows it."""

import json

import numpy as np
import pytest

from akida_jax import zoo
from experiments.deploy import __main__ as deploy
from experiments.deploy import builds, tables
from tests.export.c_code.programs import compiler
from tests.samples import random_inputs, small_model


def test_the_document_shows_the_committed_results():
    result = json.loads(tables.RESULTS.read_text())
    text, made = tables.DOCUMENT.read_text(), tables.tables(result)
    assert tables.fill(text, made) == text
    assert all(f"<!-- table: {name} -->" in text for name in made)


def test_the_committed_sizes_are_those_of_today(tmp_path):
    """Constants and memory follow from the model: the compiler adds at most 3 bytes an array."""
    result = json.loads(tables.RESULTS.read_text())
    report = deploy.aj.export.to_c(zoo.pretrained(deploy.MODEL), tmp_path / "net", name="net")
    rows = [row for row in result["sizes"] if row["title"] == deploy.MODEL]
    assert {row["cpu"] for row in rows} == set(deploy.CPUS)
    assert result["report"] == "\n".join(str(report).splitlines()[:-1])
    for row in rows:
        assert row["planned"] == {"constants": report.flash_bytes, "ram": report.ram_bytes}
        assert row["ram"] == report.ram_bytes
        assert 0 <= row["constants"] - report.flash_bytes < 100
    assert result["windows"] == zoo.model_card(deploy.MODEL).n_test
    assert result["accuracy"] == zoo.model_card(deploy.MODEL).accuracy["integer"][0]


def test_every_way_is_timed_and_compared(rng, tmp_path):
    compiler("gcc")
    model = small_model(rng)
    x = random_inputs(rng, model.input_shape, 255)
    rows = deploy.measure_speed(model, x, x[:2], tmp_path, rounds=1)
    assert len({(row["weights"], row["optimize"], row["way"]) for row in rows}) == 8
    assert all(0 < row["min_ns"] <= row["median_ns"] < 1e9 for row in rows)


def test_integers_that_differ_are_no_result(rng, tmp_path, monkeypatch):
    compiler("gcc")
    model = small_model(rng)
    x = random_inputs(rng, model.input_shape, 255)
    honest = builds.read_outputs
    monkeypatch.setattr(builds, "read_outputs", lambda text: honest(text) + np.int32(1))
    with pytest.raises(AssertionError, match="Arrays are not equal"):
        deploy.measure_speed(model, x, x[:2], tmp_path, rounds=1)


def test_a_program_that_is_missing_is_named():
    with pytest.raises(FileNotFoundError, match="no-such-cc is not there; on Debian: apt-get"):
        builds.find("no-such-cc")


def test_a_compiler_that_fails_says_why(tmp_path):
    with pytest.raises(RuntimeError, match="nowhere"):
        builds.run(compiler("gcc"), tmp_path / "nowhere.c")


def test_tables_worked_by_hand():
    rows = [
        {"weights": "w", "optimize": "-O2", "way": "dense", "median_ns": 4000.0},
        {"weights": "w", "optimize": "-O2", "way": "skipping zeros", "median_ns": 1600.0},
    ]
    assert tables.speed_table(rows).splitlines()[-1] == "| w | -O2 | 4 | 2 | 2.5 |"
    assert tables.zeros_table({"a": 0.256}).splitlines()[-1] == "| zeros | 26% |"
