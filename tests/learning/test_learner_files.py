"""Files of learners: going on exactly, damage, the other kind."""

import dataclasses
import hashlib
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

import akida_jax as aj
from akida_jax import archives, learning
from akida_jax.containers import pack_members
from tests.learning.samples import N_INPUTS, assert_same_state, backbone, make

GOLDEN = Path(__file__).parent.parent / "golden"


def test_what_is_saved_goes_on_as_if_nothing_had_happened(noisy, tmp_path):
    x, labels = noisy(20)
    whole, first = make(), make()
    whole.fit(x, labels)
    first.fit(x[:9], labels[:9])
    first.save(tmp_path / "a.akl")
    second = aj.EdgeLearner.load(tmp_path / "a.akl")
    assert_same_state(first, second)
    second.fit(x[9:], labels[9:])
    assert_same_state(whole, second)
    second.save(tmp_path / "b.akl")
    whole.save(tmp_path / "c.akl")
    assert (tmp_path / "b.akl").read_bytes() == (tmp_path / "c.akl").read_bytes()


def test_a_learner_that_has_seen_nothing_is_saved_too(noisy, tmp_path):
    make().save(tmp_path / "a.akl")
    loaded = aj.EdgeLearner.load(tmp_path / "a.akl")
    assert loaded.state is None
    x, labels = noisy(9)
    fresh = make()
    fresh.fit(x, labels)
    loaded.fit(x, labels)
    assert_same_state(fresh, loaded)


@pytest.fixture
def saved(noisy, tmp_path):
    learner = make()
    learner.fit(*noisy(15))
    learner.save(tmp_path / "a.akl")
    return tmp_path / "a.akl"


def test_a_cut_file_is_refused_at_any_length(saved):
    content = saved.read_bytes()
    for length in range(0, len(content) - 1, 97):
        saved.write_bytes(content[:length])
        with pytest.raises(learning.LearnerFileError, match=r"^a\.akl: "):
            aj.EdgeLearner.load(saved)


ALL_SETTINGS = dataclasses.asdict(learning.LearningSettings(num_weights=20, num_classes=3))


def rewrite(path, description=None, **changed):
    """Write a file again with another description or other arrays, checksums included."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members |= {f"arrays/{name}": content for name, content in changed.items()}
    text = json.loads(members["learner.json"])
    for entry in text["arrays"] if changed else []:
        content = members[f"arrays/{entry['name']}"]
        entry["sha256"] = hashlib.sha256(content).hexdigest()
    members["learner.json"] = json.dumps(text | (description or {})).encode()
    path.write_bytes(pack_members(members))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "akida-jax model"}, "this is no learner file"),
        ({"version": 3}, "format version 3, this akida-jax reads up to 2"),
        ({"settings": ALL_SETTINGS | {"num_weights": 0}}, "num_weights must be a whole number"),
        ({"seed": "5"}, "seed '5' is no whole number of 32 bits"),
        ({"seed": True}, "seed True is no whole number of 32 bits"),
        ({"input_shape": [60.0]}, r"input_shape \[60.0\] is no list of whole numbers from 1"),
        ({"input_shape": []}, r"input_shape \[\] is no list of whole numbers from 1"),
        ({"input_shape": [60, 0]}, r"input_shape \[60, 0\] is no list of whole numbers from 1"),
        ({"input_shape": None}, "it has arrays, but no input_shape"),
        (
            {"settings": {"num_weights": 20, "num_classes": 3}},
            r"settings has unknown or missing fields \['initial_plasticity', 'learning_comp",
        ),
        ({"input_shape": [2**20, 2**20]}, "at most 65,535 inputs, got 1,099,511,627,776"),
        ({"arrays": []}, r"the arrays are \[\], a learner has"),
        ({"other": 1}, r"learner.json has unknown or missing fields \['other'\]; a newer akida"),
        ({"input_shape": [1] * 33}, "input_shape has 33 axes, a file holds at most 32"),
        # A product of so many numbers takes minutes.
        ({"input_shape": [2**32 - 1 - i for i in range(150_000)]}, "input_shape has 150000 axes"),
        ({"settings": ALL_SETTINGS | {"num_classes": 10**6}}, "arrays take 72000000 bytes"),
        ({"settings": ALL_SETTINGS | {"num_weights": True}}, "num_weights must be a whole number"),
        ({"settings": ALL_SETTINGS | {"min_plasticity": 0}}, "min_plasticity is 0, not 0.0"),
        ({"settings": []}, "settings has unknown or missing fields"),
    ],
)
def test_a_changed_description_is_refused(saved, change, message):
    rewrite(saved, change)
    with pytest.raises(learning.LearnerFileError, match=message):
        aj.EdgeLearner.load(saved)


def test_arrays_that_no_learning_leads_to_are_refused(saved):
    content = saved.read_bytes()
    for changed, message in (
        ({"weights": bytes(6 * N_INPUTS // 8)}, "a neuron has 0 weights, every neuron has 20"),
        ({"plasticity": b"\xff" * 24}, "plasticity must be 0 to 65536, got -1"),
        ({"threshold": np.full(6, 21, np.int32).tobytes()}, "threshold must be 0 to 20, got 21"),
        ({"learned": bytes(20)}, "arrays/learned has 20 bytes, expected 24"),
        ({"learned": bytes(24)}, "neuron 0: its threshold does not go with 0 samples learned"),
        (
            {"plasticity": np.full(6, 2**16, np.int32).tobytes()},
            r"neuron 0: its plasticity does not go with \d samples learned",
        ),
    ):
        saved.write_bytes(content)
        rewrite(saved, **changed)
        with pytest.raises(learning.LearnerFileError, match=message):
            aj.EdgeLearner.load(saved)
    saved.write_bytes(content)
    description = json.loads(zipfile.ZipFile(saved).read("learner.json"))
    description["arrays"][0]["sha256"] = "0" * 64
    rewrite(saved, {"arrays": description["arrays"]})
    with pytest.raises(learning.LearnerFileError, match="weights does not match its checksum"):
        aj.EdgeLearner.load(saved)
    description["arrays"][0]["bits"] = 1
    rewrite(saved, {"arrays": description["arrays"]})
    with pytest.raises(learning.LearnerFileError, match=r"an entry of arrays .* fields \['bits'\]"):
        aj.EdgeLearner.load(saved)
    description.pop("seed")
    saved.write_bytes(pack_members({"learner.json": json.dumps(description).encode()}))
    with pytest.raises(learning.LearnerFileError, match=r"learner.json has .* fields \['seed'\]"):
        aj.EdgeLearner.load(saved)


def test_a_neuron_learns_no_more_than_its_plasticity_allows(noisy, tmp_path):
    """From 1 down to 0 in four steps: a fifth sample teaches it nothing."""
    learner = make(min_plasticity=0, num_classes=1, neurons_per_class=1)
    learner.fit(noisy(6, classes=1)[0], 0)
    assert learner.statistics().learned.tolist() == [4]
    learner.save(tmp_path / "a.akl")
    assert aj.EdgeLearner.load(tmp_path / "a.akl").statistics().learned.tolist() == [4]
    rewrite(tmp_path / "a.akl", learned=np.array([5], np.int32).tobytes())
    with pytest.raises(learning.LearnerFileError, match="neuron 0: its plasticity before the last"):
        aj.EdgeLearner.load(tmp_path / "a.akl")


@pytest.mark.parametrize("nothing", [{}, 0, 0.0, False, "", None])
def test_no_arrays_are_an_empty_list(nothing, tmp_path):
    make().save(tmp_path / "a.akl")
    rewrite(tmp_path / "a.akl", {"arrays": nothing})
    with pytest.raises(learning.LearnerFileError, match="it has arrays, but no input_shape"):
        aj.EdgeLearner.load(tmp_path / "a.akl")


def test_a_file_of_the_other_kind_says_what_reads_it(saved, tmp_path):
    with pytest.raises(ValueError, match=r"a\.akl: this is no model file; EdgeLearner.load reads"):
        aj.load(saved)
    aj.save(backbone(), tmp_path / "m.akj")
    with pytest.raises(
        learning.LearnerFileError, match=r"no learner file; akida_jax.load reads it"
    ):
        aj.EdgeLearner.load(tmp_path / "m.akj")


@pytest.mark.parametrize(("version", "digest"), [(1, "6462f6b9a3e957ce"), (2, "6cc89e07091c5188")])
def test_files_of_every_version_load_for_ever(version, digest):
    path = GOLDEN / f"version_{version}.akl"
    learner = aj.EdgeLearner.load(path)
    statistics = learner.statistics()
    assert statistics.learned.tolist() == [3, 2, 3, 2, 3, 2]
    assert statistics.threshold.tolist() == [7, 18, 13, 14, 14, 13]
    assert statistics.plasticity.tolist() == [0.25, 0.5, 0.25, 0.5, 0.25, 0.5]
    assert hashlib.sha256(path.read_bytes()).hexdigest()[:16] == digest


def test_today_writes_what_version_2_wrote(tmp_path):
    aj.EdgeLearner.load(GOLDEN / "version_1.akl").save(tmp_path / "a.akl")
    old = GOLDEN / "version_2.akl"
    with zipfile.ZipFile(tmp_path / "a.akl") as new, zipfile.ZipFile(old) as old:
        # The deflated bytes depend on the zlib, the contents do not.
        assert {n: new.read(n) for n in new.namelist()} == {n: old.read(n) for n in old.namelist()}


def test_a_learner_larger_than_files_are_read_is_not_written(noisy, tmp_path, monkeypatch):
    learner = make()
    learner.fit(*noisy(3))
    monkeypatch.setattr(archives, "MOST_UNPACKED_BYTES", 6 * (N_INPUTS + 12) - 1)
    with pytest.raises(learning.LearnerFileError, match=r"^a\.akl cannot be written: its arrays"):
        learner.save(tmp_path / "a.akl")
    assert list(tmp_path.iterdir()) == []
