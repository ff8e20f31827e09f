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


def test_a_row_for_each_number_of_shots():
    value = {"mean": 50.04, "interval": 1.0}
    run = {"title": "digits: 5 beside 5", "few_shot": {
        "1": {"accuracy": {"rule": value, "other": value}, "difference": {"mean": -0.5,
              "interval": 0.25}}}}  # fmt: skip
    assert tables.accuracy_table([run]).splitlines() == [
        "| data | shots | rule | other | rule - best other |",
        "| --- | --- | --- | --- | --- |",
        "| digits | 1 | 50.0 ± 1.0 | 50.0 ± 1.0 | -0.5 ± 0.2 |",
    ]
