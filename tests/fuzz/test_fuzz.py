"""Some thousand changed files; `python -m tests.fuzz` reads a hundred thousand."""

import itertools
import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz import cases, run
from tests.fuzz.bad_readers import BAD
from tests.fuzz.keras_edits import KERAS
from tests.fuzz.readers import READERS, Reader


@pytest.mark.parametrize("reader", READERS)
def test_sound_files_are_read(reader, tmp_path):
    entry = READERS[reader]
    sources = entry.sources()
    assert len(set(sources)) >= 2
    for i, content in enumerate(sources):
        path = tmp_path / f"{i}{entry.suffix}"
        path.write_bytes(content)
        assert entry.check(content, entry.read(path), sources, False) in ("same", "other")


def test_changed_files_are_refused_or_read_for_what_they_say():
    done = run.run(list(READERS), 3500, seed=1, processes=1)
    assert done.faults() == []
    assert 3500 <= len(done.outcomes) < 3500 + len(READERS)
    done.folder.rmdir()
    for reader, counts in done.counts().items():
        share = READERS[reader].share
        assert counts["results"]["refused"] > 50 * share, reader
        assert share < 1 or len(counts["changes"]) == len(READERS[reader].changes), reader


@pytest.mark.parametrize("reader", READERS)
@settings(max_examples=40, deadline=None, derandomize=True)
@given(data=st.data())
def test_any_edits_of_bytes(reader, tmp_path_factory, data):
    sources = READERS[reader].sources()
    content = bytearray(data.draw(st.sampled_from(sources)))
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(content)))
        stop = data.draw(st.integers(start, min(start + 16, len(content))))
        content[start:stop] = data.draw(st.binary(max_size=16))
    path = tmp_path_factory.mktemp("edits") / f"file{READERS[reader].suffix}"
    path.write_bytes(bytes(content))
    blind = "flip_bits" if bytes(content) not in sources else "none"
    outcome = cases.judge(reader, blind, path)
    assert outcome.result != "wrong", outcome


def read_badly(path):
    kind = path.read_bytes()[0] % 8
    if kind == 0:
        raise KeyError(path.name)
    if kind == 1:
        raise ValueError("no name")
    if kind == 2:
        np.zeros(2**27, np.uint8)
    if kind == 3:
        np.uint8(200) + np.uint8(100)
    if kind == 4:
        raise MemoryError(path.name)
    return kind


@pytest.mark.parametrize(
    ("kind", "fault"),
    [
        (0, "raises KeyError"),
        (1, "without the name"),
        (2, "takes 134"),
        (3, "raises RuntimeWarning"),
        (4, "raises MemoryError"),
        (5, None),
    ],
)
def test_the_judge_sees_what_is_wrong(kind, fault, tmp_path, monkeypatch):
    entry = Reader(
        suffix=".x",
        sources=lambda: [bytes([7])],
        read=read_badly,
        refusals=(ValueError,),
        edits={},
        check=lambda content, found, sources, blind: "same",
    )
    monkeypatch.setitem(READERS, "x", entry)
    monkeypatch.setattr(cases, "_sources", lambda reader: [])
    path = tmp_path / "file.x"
    path.write_bytes(bytes([kind]))
    outcome = cases.judge("x", "set_bytes", path)
    if fault is None:
        assert outcome == cases.Outcome("set_bytes", "same")
    else:
        assert outcome.result == "wrong"
        assert fault in outcome.fault


def test_the_same_numbers_give_the_same_file():
    for reader in READERS:
        made = [cases.make(reader, 3, i) for i in range(20)]
        assert made == [cases.make(reader, 3, i) for i in range(20)]
        assert len(set(made)) > 10


@pytest.mark.slow  # starts three processes
def test_a_reader_that_hangs_or_ends_its_process_is_a_fault(monkeypatch):
    monkeypatch.setitem(READERS, "bad", BAD)
    monkeypatch.setattr(run, "CASE_SECONDS", 1.0)
    done = run.run(["bad"], 8, seed=0, processes=1)
    assert len(done.outcomes) == 8
    faults = {i: o.fault for (_, i), o in done.outcomes.items() if o.result == "wrong"}
    assert faults == {3: "no answer after 1 s", 5: "the process ended with 9"}
    assert sorted(path.name for path in done.folder.iterdir()) == ["bad_0_3.bad", "bad_0_5.bad"]
    shutil.rmtree(done.folder)


@pytest.mark.slow  # a process for each file
def test_every_change_of_keras_files_is_read_or_refused(tmp_path):
    changes = {}
    for index in itertools.count():
        change, content = cases.make("h5", 11, index)
        if change in KERAS and changes.setdefault(change, 0) < 3:
            changes[change] += 1
            path = tmp_path / f"{index}.h5"
            path.write_bytes(content)
            outcome = cases.judge("h5", change, path)
            assert outcome.result != "wrong", (index, outcome)
        if len(changes) == len(KERAS) and min(changes.values()) == 3:
            break
