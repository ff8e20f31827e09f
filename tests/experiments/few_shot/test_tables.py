"""Tables of docs/learning.md, from the committed results."""

import json

from experiments.few_shot import tables
from experiments.records.documents import fill


def test_the_document_shows_the_committed_results():
    text = tables.DOCUMENT.read_text()
    made = tables.tables()
    assert fill(text, made) == text
    assert all(f"<!-- table: {name} -->" in text for name in made)


def test_what_the_document_says_holds():
    runs = {run["preset"]: run for run in json.loads(tables.RESULTS.read_text())["runs"]}
    assert set(runs) == {"nmnist", "faces", "clips", "synthetic"}
    for run in runs.values():
        assert run["learned_model"]["potentials_equal"]
        assert all(row["old_bits_equal"] for row in run["old_classes"]["learning rule"])
        assert all(row["episodes"] == 1000 for row in run["few_shot"].values())
    for name in ("nmnist", "faces"):
        assert runs[name]["few_shot"]["5"]["difference"]["mean"] > -2


def run_of(mean):
    value = {"mean": 50.04, "interval": 1.0}
    row = {"accuracy": {"rule": value, "other": value}, "difference": {"mean": mean,
           "interval": 0.25}, "guide": {"difference": {"mean": 0.1, "interval": 0.3}}}  # fmt: skip
    return {"title": "digits: 5 beside 5", "few_shot": {"5": row}}


def test_a_row_for_each_number_of_shots():
    assert tables.accuracy_table([run_of(-0.5)]).splitlines() == [
        "| data | shots | rule | other | rule - best other | guide's weights - best other |",
        "| --- | --- | --- | --- | --- | --- |",
        "| digits | 5 | 50.0 ± 1.0 | 50.0 ± 1.0 | -0.5 ± 0.2 | +0.1 ± 0.3 |",
    ]


def test_the_goal_is_reached_or_not():
    lines = tables.goal_table([run_of(-2.0), run_of(-2.01)]).splitlines()
    assert lines[2:] == ["| digits | -2.00 ± 0.25 | yes |", "| digits | -2.01 ± 0.25 | no |"]
