"""The paper's tables beside ours: complete, current, and nothing without a reason."""

import json

import numpy as np
import pytest

import akida_jax as aj
from akida_jax import mapping, zoo
from akida_jax.mapping.calibration.measurements import read_paper, read_table
from akida_jax.zoo.parameters import count_parameters
from akida_jax.zoo.pretrained_models import model_card
from experiments import paper_tables, trained_results
from experiments.published_models import listed_model
from experiments.records import documents
from experiments.trained_results import RESULTS, find_accuracy, none, trained_rows

PAPER = read_paper()
PUBLISHED = {
    "table-1": "table_1_classification",
    "table-2": "table_2_face_recognition",
    "table-3": "table_3_face_detection",
    "table-4": "table_4_image_classification",
    "table-5": "table_5_face_recognition",
    "table-6": "table_6_time_series_and_point_cloud",
    "table-7": "table_7_params_and_ops",
}


@pytest.fixture(scope="module")
def committed():
    return json.loads(paper_tables.RESULT.read_text())["tables"]


def test_the_committed_tables_are_current(committed):
    """If not: python -m experiments.paper_tables."""
    computed = paper_tables.compute(paper_tables.RESULT.parent)
    assert list(computed) == list(committed)
    for name, rows in computed.items():
        assert len(rows) == len(committed[name])
        for ours, theirs in zip(rows, committed[name], strict=True):
            assert list(ours) == list(theirs)
            for head, value in ours.items():
                if "file" in head and isinstance(value, float):
                    # Versions of zlib differ by a few bytes in what they make of noise.
                    assert value == pytest.approx(theirs[head], rel=0.01)
                elif isinstance(value, float):
                    assert value == pytest.approx(theirs[head], rel=1e-9)
                else:
                    assert value == theirs[head]


def test_the_documents_hold_the_tables(committed):
    for path, made in paper_tables.documents(committed).items():
        text = path.read_text()
        for name in made:
            assert text.count(f"<!-- table: {name} -->") == 1
        assert documents.fill(text, made) == text


@pytest.mark.parametrize(("name", "key"), PUBLISHED.items())
def test_every_row_of_the_paper_is_there_with_its_numbers(committed, name, key):
    """Each number of a published row stands in our row, in the same order."""
    assert len(committed[name]) == len(PAPER[key])
    for ours, theirs in zip(committed[name], PAPER[key], strict=True):
        words = " ".join(str(value) for value in ours.values())
        for field, value in theirs.items():
            if field in ("classes", "bits", "resolution", "input_scaling", "model", "top1"):
                continue
            if value is None:
                assert none("not in the paper") in ours.values()
            elif field == "auroc":
                assert f"AUROC {value:.4f}" in words
            elif field == "alpha":
                assert value == ours.get("alpha", value)
            else:
                assert value in ours.values(), (field, value)
        if "top1" in theirs:
            assert ours["accuracy %, paper"].startswith(f"{theirs['top1']:.2f}")


def test_every_empty_cell_has_a_reason(committed):
    n_empty = 0
    for rows in committed.values():
        for row in rows:
            for value in row.values():
                assert value not in (None, "")
                if isinstance(value, dict):
                    assert list(value) == ["none"]
                    assert len(value["none"]) > 5
                    n_empty += 1
    assert n_empty > 0


def test_the_parameters_are_the_published_ones(committed):
    """The vendor's public counts for 1,000 classes, to the digit."""
    rows = {(r["network"], r["data set"], r["resolution"]): r for r in committed["table-4"]}
    assert rows["AkidaNet 1", "ImageNet", "224x224"]["parameters"] == 4_445_000
    assert rows["AkidaNet 0.5", "ImageNet", "224x224"]["parameters"] == 1_384_856
    assert count_parameters(zoo.blank_model("akidanet", alpha=0.25)) == 483_392


def test_table_7_agrees_with_the_paper_truncated(committed):
    rows = {row["network"]: row for row in committed["table-7"]}
    for name in ("Akida Tiny", "Akida Small"):
        row = rows[name]
        assert np.floor(row["million MACs, here"]) == row["million operations, paper"]
        hundredths = np.round(row["weights"] / 1e4)
        assert abs(hundredths - 100 * row["parameters M, paper"]) <= 1


def test_nps_are_those_of_the_public_zoo(committed):
    """Where the paper's older mapper and the public model zoo name the same network."""
    public = {(row["alpha"], row["height"]): int(row["nps"]) for row in read_table("akida1_zoo")
              if row["model"] == "akidanet" and row["dataset"] == "ImageNet"}  # fmt: skip
    for row in committed["table-4"]:
        if row["data set"] == "ImageNet":
            alpha = f"{float(row['network'].split()[1]):.1f}"
            assert row["NPs, here"] == public[alpha, "224"]


def test_a_network_that_is_too_large_says_so(committed):
    wide = committed["table-4"][0]
    assert "more neural processors than the 80" in wide["fps, modelled, AKD1000"]["none"]
    assert wide["sparsity"] == "measured: akidanet_1.0_224_imagenet"


def small_model(weight_bits=4):
    return aj.Model([
        aj.InputData(input_shape=(1, 1, 5), input_bits=1),
        aj.FullyConnected(units=3, activation=False, weight_bits=weight_bits),
    ])  # fmt: skip


@pytest.mark.parametrize(("bits", "expected"), [(4, 8), (2, 4)])
def test_weights_are_packed(bits, expected):
    """15 weights: two, or four, a byte, rounded up."""
    assert paper_tables.packed_weight_bytes(small_model(bits)) == expected


def test_the_sizes_of_a_small_model():
    size = paper_tables.measure(small_model())
    assert (size.parameters, size.macs, size.weight_bytes, size.nps) == (18, 15, 8, 1)
    # Description and headers of the zip; 8 bytes of weights, 8 per unit of registers.
    assert size.file_bytes > 8 + 3 * 8


def test_random_weights_do_not_compress():
    model = zoo.blank_model("akida_tiny")
    size = paper_tables.measure(model)
    drawn = paper_tables.random_model(model).variables["conv_0"]["kernel"]
    assert (drawn.min(), drawn.max()) == (-7, 7)
    # 15 of 16 levels occur: at most a bit in 4 / log2(15) can be saved, 2.3 %.
    assert size.file_bytes > 0.977 * size.weight_bytes
    assert model_card("akida_tiny_synthetic").size_bytes < size.file_bytes


def test_cells_as_text():
    assert paper_tables.show(none("no reason")) == "none: no reason"
    texts = [paper_tables.show(v) for v in (0.0, 33, 1_384_856, 12.3456, 21634.5, "8/4/4")]
    assert texts == ["0", "33", "1,384,856", "12.35", "21,634", "8/4/4"]
    rows = [{"a": 1, "b": none("why")}, {"a": 2.5, "b": "x"}]
    expected = "| a | b |\n| --- | --- |\n| 1 | none: why |\n| 2.5 | x |"
    assert paper_tables.markdown(rows) == expected


def test_without_results_every_accuracy_says_which_file_is_missing(tmp_path):
    rows = trained_rows(tmp_path)
    assert len(rows) == len(RESULTS)
    for row, entry in zip(rows, RESULTS, strict=True):
        assert row["integer %"] == none(f"no {entry.file} yet")
    assert find_accuracy(tmp_path, "Akida Tiny") is None


def test_accuracies_are_read_in_every_form(tmp_path):
    accuracy = {"float": 0.75, "quantized": 0.5, "integer": [0.5, 0.25]}
    ecg = {"preset": "akidanet_ecg", "config": {"model": "akidanet_ecg"}, "n_test": 300,
           "accuracy": accuracy}  # fmt: skip
    (tmp_path / "ecg.json").write_text(json.dumps(ecg))
    (tmp_path / "detection.json").write_text(json.dumps({"map_50": {"integer": 0.875}}))
    rows = {row["trained and tested on"]: row for row in trained_rows(tmp_path)}
    row = rows["300 records of PhysioNet 2017, AkidaNet 0.25 at 64x64"]
    assert (row["float %"], row["quantized %"], row["integer %"]) == (75.0, 50.0, 37.5)
    assert (row["test examples"], row["runs"]) == (300, 1)
    row = rows["generated scenes, mAP@0.5"]
    assert row["integer %"] == 87.5
    assert row["float %"] == row["test examples"] == none("not in detection.json")
    place = "PhysioNet 2017 ECG"
    assert find_accuracy(tmp_path, place) == (
        "37.50 (300 records of PhysioNet 2017, AkidaNet 0.25 at 64x64)"
    )
    ecg["config"]["model"] = "ecg"  # another network than that of the row
    (tmp_path / "ecg.json").write_text(json.dumps(ecg))
    assert find_accuracy(tmp_path, place) is None


def test_scores_of_each_form_are_listed(tmp_path):
    shares = {"float": 0.75, "quantized": 0.5, "integer": 0.5}
    ecg = {"preset": "ecg", "accuracy": shares, "macro_f1": shares, "auroc": shares}
    (tmp_path / "ecg.json").write_text(json.dumps({"runs": [ecg]}))
    rows = trained_results.score_rows(tmp_path)
    assert [row["form"] for row in rows] == ["float", "quantized", "integer"]
    assert [row["macro F1"] for row in rows] == [0.75, 0.5, 0.5]
    assert rows[0]["equal error rate"] == none("not of this task")
    assert trained_results.score_rows(tmp_path / "elsewhere") == []


def test_runs_of_a_file_are_told_apart_by_their_preset(tmp_path):
    runs = [{"preset": preset, "n_test": 9, "config": {"model": "akida_tiny"},
             "accuracy": {"float": None, "quantized": share, "integer": share}}
            for preset, share in (("default", 0.5), ("default", 1.0), ("clips", 0.25))]  # fmt: skip
    (tmp_path / "dvs_gesture.json").write_text(json.dumps({"runs": runs}))
    found = find_accuracy(tmp_path, "Akida Tiny")
    assert found == ("75.00 (synthetic gestures); 25.00 (DVS128 clips, ten recordings cut in time)")
    (row,) = [r for r in trained_rows(tmp_path) if r["trained and tested on"].startswith("synth")]
    assert (row["runs"], row["float %"]) == (2, none("not in dvs_gesture.json"))
    (row,) = [r for r in trained_rows(tmp_path) if r["beside"] == "table 7, Akida Small"]
    assert row["integer %"] == none("no run of nmnist in dvs_gesture.json yet")


def test_results_of_another_folder_leave_the_document_alone(tmp_path):
    before = paper_tables.DOCUMENT.read_text()
    paper_tables.main(paper_tables.Config(results=tmp_path))
    assert paper_tables.DOCUMENT.read_text() == before
    tables = json.loads((tmp_path / "paper_tables.json").read_text())["tables"]
    assert [row["accuracy %, here"] for row in tables["table-7"]][-1] == none(
        "not trained here on DVS128 Gesture"
    )


def test_every_result_is_named_once():
    names = [(entry.file, entry.preset) for entry in trained_results.RESULTS]
    assert len(set(names)) == len(names)


def test_a_table_without_an_end_is_refused():
    with pytest.raises(ValueError, match="the table 'a' has no end marker"):
        documents.fill("<!-- table: a -->\nold", {"a": "new"})


def test_all_networks_of_the_tables_fit_the_larger_chip():
    for row in PAPER["table_4_image_classification"]:
        model = listed_model(row)
        assert all(p.split for p in mapping.place(model, mapping.AKD1500, "all_nps").layers)
