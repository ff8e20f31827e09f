"""The committed sweep, and the page that shows it."""

import collections
import dataclasses
import json

import pytest

from experiments import sweep, sweep_report
from experiments.records import documents
from experiments.sweeping import fronts
from experiments.training import options
from experiments.training.runs import PLACES, without_places


@pytest.fixture(scope="module")
def result():
    return json.loads(sweep_report.result_path(sweep_report.SHOWN).read_text())


def test_the_document_shows_the_committed_result():
    text = sweep_report.DOCUMENT.read_text()
    assert documents.fill(text, sweep_report.tables()) == text
    for name in sweep_report.tables():
        assert f"<!-- table: {name} -->" in text
    assert (sweep_report.PICTURES / f"sweep_{sweep_report.SHOWN}.png").stat().st_size > 0


def test_nothing_was_lost_or_doubled(result):
    config = sweep.PRESETS[sweep_report.SHOWN][1]
    slots = config.slots()
    assert len(slots) >= 24
    ended = collections.defaultdict(list)
    for row in result["rows"]:
        ended[row["slot"]].append(row)
    assert sorted(ended) == list(range(len(slots)))
    for slot, rows in ended.items():
        *before, last = rows
        assert last["state"] in ("complete", "impossible")
        # Every trial that lost its worker names the one that repeats it.
        for row, following in zip(before, rows[1:], strict=True):
            assert row["state"] in ("lost", "interrupted")
            assert row["repeated_by"] == following["trial"]
            assert following["repeats"] == row["trial"]
        fixed = {f"param.{name}": value for name, value in slots[slot].items()}
        assert {name: str(last[name]) for name in fixed} == fixed
    assert any(row["state"] == "lost" for row in result["rows"])
    assert all(row["reason"] for row in result["rows"] if row["state"] != "complete")


def test_it_is_the_preset_and_its_front(result):
    config = sweep.PRESETS[sweep_report.SHOWN][1]
    expected = config.shared(result["settings"]["data_fingerprint"])
    # Made before these settings joined; each has the value that changes nothing.
    since = {**dataclasses.asdict(options.PressureOptions()), "n_validation": 0}
    assert not set(since) & set(result["settings"]["base"])
    stated = {**result["settings"], "base": {**since, **result["settings"]["base"]}}
    assert stated == json.loads(json.dumps(expected))
    complete = [row for row in result["rows"] if row["state"] == "complete"]
    front = fronts.pareto_front(complete, config.objectives)
    assert [row["trial"] for row in front] == result["front"]
    assert fronts.choose_knee(front, config.objectives)["trial"] == result["chosen"]
    # One training for all placements.
    trained = [row["folder"] for row in complete if not row["reused"]]
    assert set(trained) == {row["folder"] for row in complete}
    assert not set(result["settings"]["base"]) & set(PLACES)
    assert without_places(result["settings"]["base"]) == result["settings"]["base"]


def test_what_is_not_kept(tmp_path):
    row = {"trial": 0, "slot": 0, "state": "running", "code": None}

    def attempt(**changes):
        contents = {"name": "x", "rows": [{**row, **changes}]}
        (tmp_path / "trials.json").write_text(json.dumps(contents))
        sweep_report.keep(tmp_path)

    with pytest.raises(ValueError, match="1 trials are left; the sweep's command goes on"):
        attempt()
    with pytest.raises(ValueError, match="made by code that no commit holds, 0123-dirty"):
        attempt(state="complete", code=["0123-dirty"])
