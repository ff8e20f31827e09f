"""The committed figures, and the page that states them."""

import json

import pytest

from experiments.records.documents import fill
from tests.fuzz.mutations import BYTES
from tests.fuzz.readers import READERS
from tests.fuzz.report import PAGE, RESULTS, table


@pytest.fixture(scope="module")
def results():
    return json.loads(RESULTS.read_text())


def test_enough_files_were_read_and_none_wrongly(results):
    assert results["files"] >= 100_000
    assert list(results["readers"]) == sorted(READERS)
    assert sum(counts["files"] for counts in results["readers"].values()) == results["files"]
    for name, counts in results["readers"].items():
        assert set(counts["results"]) <= {"refused", "same", "other"}
        assert sum(counts["results"].values()) == counts["files"]
        assert sum(counts["errors"].values()) == counts["results"]["refused"]
        assert set(counts["errors"]) == {error.__name__ for error in READERS[name].refusals}
        assert set(counts["changes"]) == set(READERS[name].changes)


def test_no_blind_change_of_an_archive_is_read_to_another_one(results):
    for name in ("akj", "akl"):
        changes = results["readers"][name]["changes"]
        assert all("other" not in changes[change] for change in BYTES)


def test_the_page_states_the_figures(results):
    text = PAGE.read_text()
    assert "<!-- table: fuzz -->" in text
    assert fill(text, {"fuzz": table(results)}) == text
