"""The committed hardware tables are what the code computes, and reach their goals."""

import json

import pytest

from experiments import hardware_tables as tables


@pytest.fixture(scope="module")
def committed():
    return json.loads(tables.RESULT.read_text())["tables"]


@pytest.mark.parametrize("name", tables.TABLES)
def test_the_committed_tables_are_current(committed, name):
    computed = tables.TABLES[name]()
    assert len(computed) == len(committed[name])
    for ours, theirs in zip(computed, committed[name], strict=True):
        for key, value in ours.items():
            if isinstance(value, float):
                assert value == pytest.approx(theirs[key], rel=1e-9)
            else:
                assert value == theirs[key]


def test_every_published_count_is_met(committed):
    for name in ("minimal", "all-nps", "modes"):
        for row in committed[name]:
            assert row["placed"] == row["published"]
    assert all(row["passes"] == row["published_passes"] for row in committed["modes"])


def test_the_residuals_are_those_of_the_calibration(committed):
    for name, rows in tables.calibration_rows().items():
        assert rows == committed[name]


def test_the_documents_hold_the_tables(committed):
    text = tables.DOCUMENT.read_text()
    for name in committed:
        assert f"<!-- table: {name} -->" in text
    made = {name: tables.markdown(rows) for name, rows in committed.items()}
    assert tables.fill(text, made) == text


def test_markdown_of_errors():
    rows = [{"model": "a", "error": -0.0123, "median error": 0.05, "fps": 33.333, "what": None}]
    assert tables.markdown(rows) == (
        "| model | error | median error | fps | what |\n| --- | --- | --- | --- | --- |\n"
        "| a | -1.2% | 5.0% | 33.33 |  |"
    )


def test_the_readme_quotes_the_committed_errors(committed):
    errors = json.loads(tables.CALIBRATION.read_text())["errors"]["cycles"]
    readme = " ".join((tables.ROOT / "README.md").read_text().split())
    assert errors["worst"] <= 0.20
    assert (
        f"a cost law fitted to {errors['rows']} published measurements keeps within 20 % of them "
        f"(median {100 * errors['median']:.1f} %" in readme
    )


def test_what_the_page_says_of_left_out_networks(committed):
    """The figures that docs/cost-model.md puts into words."""
    rows = {row["left out"]: row for row in committed["left-out"]}
    akidanets = [name for name in rows if name.startswith("akidanet")]
    assert all(rows[name]["cycles median error"] <= 0.08 for name in akidanets)
    assert rows["arrhythmia_sep5x5"]["cycles median error"] > 0.08
    unidentified = [name for name, row in rows.items() if row["loads"] == 0]
    assert len(unidentified) == 2
    assert max(row["loads"] for row in rows.values()) > 10 * 19_000
    worst = {row["what"]: row["left_out"] for row in committed["layer-errors"]
             if row["model"] == "akidanet_0.5_224_plant_village"}  # fmt: skip
    assert round(100 * worst["predictions"]) == -30


def test_five_rows_of_the_zoo_belong_to_the_fit(committed):
    rows = committed["zoo-energy"]
    assert [row["network in the fit"] for row in rows].count(True) == 5
    assert len(rows) == 18
