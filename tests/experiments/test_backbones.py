"""AkidaNet beside MobileNet v1: equal recipes, tables by hand, the document of the results."""

import dataclasses
import itertools
import json
import statistics

import numpy as np
import pytest

from akida_jax import mapping, zoo
from akida_jax.mapping.calibration.measurements import read_paper
from experiments import backbone_report, backbones, faces, train
from experiments.paper_tables import random_model
from experiments.records.documents import fill
from experiments.training.runs import without_places


def row(network, seed, *, share, fps, events=(100.0, 40.0, 8.0), alpha=0.5):
    """A row of a network of three layers, the last of which gives potentials."""
    kind = {"mobilenet": "separable", "akidanet": "conv"}[network]
    names = ("conv_0", f"{kind}_1", "classifier")
    cost = {"nps": 7, "latency_ms": 1e3 / fps, "fps": fps, "pipelined_fps": 2 * fps,
            "power_mw": 1000.0, "dynamic_mw": 100.0, "total_mj": 1e3 / fps,
            "dynamic_mj": 1e2 / fps}  # fmt: skip
    return {
        "network": network, "alpha": alpha, "seed": seed, "n_train": 60, "n_test": 1000,
        "accuracy": {"float": share + 0.1, "quantized": share, "integer": share},
        "parameters": 1234, "weights": 1200, "macs": dict.fromkeys(names, 500_000),
        "events": dict(zip(names, events, strict=True)),
        "synaptic_operations": dict.fromkeys(names, 2e6),
        "sparsity": dict(zip(names, (0.25, 0.75, 0.0), strict=True)),
        "modelled": dict.fromkeys(backbones.MODES, cost),
    }  # fmt: skip


def result():
    points = [
        row("mobilenet", 0, share=0.5, fps=100.0), row("akidanet", 0, share=0.6, fps=110.0),
        row("mobilenet", 1, share=0.4, fps=100.0), row("akidanet", 1, share=0.5, fps=90.0),
        row("mobilenet", 2, share=0.9, fps=100.0),
    ]  # fmt: skip
    return {"title": "made-up data", "input_shape": [8, 9, 1], "points": points}


def test_a_seed_of_one_network_alone_is_left_out():
    (pair,) = backbone_report.pairs(result())
    assert [r["seed"] for r in pair.mobilenet] == [r["seed"] for r in pair.akidanet] == [0, 1]
    assert (pair.where, pair.resolution) == ("made-up data, 0.5", "8x9")
    lonely = {**result(), "points": result()["points"][-1:]}
    assert backbone_report.pairs(lonely) == []


def test_the_accuracies_by_hand():
    lines = backbone_report.accuracy_table(backbone_report.pairs(result())).splitlines()
    assert lines[2:] == [
        "| made-up data, 0.5 | MobileNet v1 | 60 | 1,000 | 1,234 | 1.50 | 7 | 55.00 | 45.00 | "
        "45.00 | 50.00, 40.00 |",
        "| made-up data, 0.5 | AkidaNet | 60 | 1,000 | 1,234 | 1.50 | 7 | 65.00 | 55.00 | "
        "55.00 | 60.00, 50.00 |",
    ]


def test_the_changes_by_hand():
    """From 60 to 70 % is +16.67 %; power stays, so energy changes as time does."""
    lines = backbone_report.change_table(backbone_report.pairs(result())).splitlines()
    assert lines[-1] == (
        "| here | made-up data, 0.5 | 8x9 | +18.33 (+16.67, +20.00) | +22.50 (+20.00, +25.00) | "
        "+0.00 (+10.00, -10.00) | - | +0.00 (+0.00, +0.00) | +0.00 (+0.00, +0.00) | "
        "+1.01 (-9.09, +11.11) | +1.01 (-9.09, +11.11) | +0.00 (+0.00, +0.00) | "
        "+0.00 (+0.00, +0.00) |"
    )


def test_every_published_change_stands_above_them():
    lines = backbone_report.change_table(backbone_report.pairs(result())).splitlines()[2:-1]
    paper = read_paper()
    published = [
        row
        for name in ("table_1_classification", "table_2_face_recognition", "table_3_face_detection")
        for row in paper[name]
    ]
    assert len(lines) == len(published) == 5
    for line, theirs in zip(lines, published, strict=True):
        cells = line.strip("| ").split(" | ")
        assert cells[1] == f"{theirs['dataset']}, {theirs['alpha']:g}"
        change = next(value for key, value in theirs.items()
                      if key in ("top1_change", "accuracy_change", "map_change"))  # fmt: skip
        assert float(cells[4]) == change
        assert float(cells[6]) == theirs["power_change"]
        assert cells[5] == "-" if theirs["fps_change"] is None else (
            float(cells[5]) == theirs["fps_change"]
        )  # fmt: skip


def test_the_costs_by_hand():
    lines = backbone_report.cost_table(backbone_report.pairs(result())).splitlines()
    assert len(lines) == 2 + 2 * len(backbones.MODES)
    # 40 + 8 events and 2 x 2 million operations behind the input layer.
    assert lines[3] == (
        "| made-up data, 0.5 | MobileNet v1 | 48 | 4.000 | all_nps | 7 | 100 | 1000 | 100 | "
        "10 | 1 |"
    )


def test_the_layers_by_hand():
    every = backbone_report.pairs(result())
    lines = backbone_report.layer_table(every, "sparsity").splitlines()
    assert lines[2:] == ["| 0 | conv | 25.0 | 25.0 |", "| 1 | separable / conv | 75.0 | 75.0 |"]
    lines = backbone_report.layer_table(every, "events").splitlines()
    assert lines[2:] == ["| 1 | separable / conv | 40 | 40 |", "| 2 | classifier | 8 | 8 |"]


def test_the_document_is_made_from_the_results():
    results = backbone_report.stored()
    text = backbone_report.DOCUMENT.read_text()
    made = backbone_report.tables(results)
    assert all(text.count(f"<!-- table: {name} -->") == 1 for name in made)
    assert fill(text, made) == text


def test_the_committed_results_are_whole():
    results = backbone_report.stored()
    assert results
    presets = {config.data: config for _, config in backbones.PRESETS.values()}
    for one in results:
        preset = without_places(
            json.loads(json.dumps(dataclasses.asdict(presets[one["config"]["data"]])))
        )
        del preset["collect"]
        assert one["config"] == preset
        found = {(row["network"], row["alpha"], row["seed"]) for row in one["points"]}
        assert found == set(
            itertools.product(backbones.NETWORKS, preset["alphas"], preset["seeds"])
        )
        assert len({point["data_fingerprint"] for point in one["points"]}) == 1
        assert len({(point["n_train"], point["n_test"]) for point in one["points"]}) == 1
        for point in one["points"]:
            assert point["potentials_equal"] == {"dense": True, "event": True}
            assert point["accuracy"]["quantized"] == point["accuracy"]["integer"]
            assert not any(code.endswith("-dirty") for code in point["code"])


def test_the_prose_says_what_the_tables_say():
    """What stands beside the tables in words is written by hand: it must not outlive them."""
    text = " ".join(backbone_report.DOCUMENT.read_text().split())
    quarter, half, faces = (
        p for one in backbone_report.stored() for p in backbone_report.pairs(one)
    )
    accurate = {pair.where: pair.changes(backbone_report.accuracy("integer"))
                for pair in (quarter, half, faces)}  # fmt: skip
    means = {where: statistics.mean(changes) for where, changes in accurate.items()}
    for form in ("float", "integer"):
        for pair in (quarter, half):
            assert min(pair.changes(backbone_report.accuracy(form))) > 0
    assert sum(change < 0 for change in accurate[faces.where]) == 1
    assert f"by {means[quarter.where]:.2f} % in the mean at width 0.25 and by" in text
    assert f"and by {means[half.where]:.2f} % at 0.5" in text
    assert f"no difference is shown: {means[faces.where]:.2f} % in the mean" in text
    fired, fast = (
        half.changes(backbone_report.events),
        half.changes(backbone_report.modelled("fps")),
    )
    assert max(fired) < 0 < min(fast)
    assert f"fires {-statistics.mean(fired):.1f} % fewer events, so it is modelled " in text
    assert f"it is modelled {statistics.mean(fast):.1f} % faster" in text
    for pair in (quarter, faces):
        for name in ("fps", "total_mj", "dynamic_mj"):
            changes = pair.changes(backbone_report.modelled(name))
            assert abs(statistics.mean(changes)) < 1
            assert min(changes) < 0 < max(changes)
    for pair in (quarter, half, faces):
        assert max(map(abs, pair.changes(backbone_report.modelled("power_mw")))) < 0.1
    counted = [
        [statistics.mean(pair.changes(quantity)) for pair in (quarter, half, faces)]
        for quantity in (lambda row: sum(row["macs"].values()), backbone_report.operations)
    ]
    times = [1 + change / 100 for change in counted[0]]
    assert f"{min(times):.1f} to {max(times):.1f} times the multiply-accumulates" in text
    assert f"and {min(counted[1]):.0f} to {max(counted[1]):.0f} % more synaptic" in text


@pytest.mark.parametrize(("data", "kind"), [("fashion-mnist", train), ("orl-faces", faces)])
def test_both_networks_are_trained_alike(data, kind):
    config = backbones.Config(data=data, n_train=5)
    mobile, akida = (backbones.settings(config, n, 0.25, 3) for n in backbones.NETWORKS)
    assert isinstance(mobile, kind.Config)
    assert mobile.folder != akida.folder
    assert dataclasses.replace(mobile, model=akida.model) == akida
    assert (mobile.model, akida.model) == {
        "fashion-mnist": ("mobilenet", "akidanet"),
        "orl-faces": ("mobilenet_faces", "akidanet_faces"),
    }[data]


def test_events_and_cost_of_a_model(rng):
    options = {"alpha": 1 / 16, "input_shape": (32, 32, 1), "classes": 3, "halvings": 4}
    model = random_model(zoo.blank_model("mobilenet", **options))
    x = rng.integers(0, 256, (3, 32, 32, 1), dtype=np.uint8)
    measured = backbones.measure(model, x)
    names = [layer.name for layer in model.layers]
    assert list(measured["events"]) == list(measured["sparsity"]) == names
    assert measured["events"]["conv_0"] == np.count_nonzero(x) / 3
    # What leaves a layer enters the next one; every value is an event or a zero.
    inside = list(measured["events"].values())[1:]
    assert inside == list(measured["events_out"].values())[:-1]
    for program, after in itertools.pairwise(model.programs):
        name, values = program.spec.name, np.prod(after.in_shape)
        assert measured["sparsity"][name] == pytest.approx(
            1 - measured["events_out"][name] / values, abs=1e-12
        )
    assert max(inside) > 0
    for mode, cost in measured["modelled"].items():
        placement = mapping.place(model, mapping.AKD1000, mode)
        assert cost["nps"] == placement.nps
        assert cost["fps"] == mapping.estimate(placement, model.activity(x)).fps


def test_settings_are_checked():
    with pytest.raises(ValueError, match=r"--alphas must be 0.03125 to 8, got 9"):
        backbones.Config(alphas=(0.5, 9.0))
    with pytest.raises(ValueError, match="--restart and --collect exclude each other"):
        backbones.Config(restart=True, collect=True)
    with pytest.raises(ValueError, match="--keep is for a preset, with any seeds: default, fash"):
        backbones.main(["fashion", "--keep", "--n-train", "7"])


def test_images_of_each_person_are_checked_before_training(tmp_path):
    with pytest.raises(ValueError, match="--n-train must be 1 to 9, got 10"):
        backbones.main(["faces", "--n-train", "10", "--output", str(tmp_path)])


def test_missing_data_say_how_to_get_them(tmp_path):
    for preset, where in (("fashion", "dataset-fashion-mnist"), ("faces", "facedatabase")):
        with pytest.raises(FileNotFoundError, match=where):
            backbones.main([preset, "--data-dir", str(tmp_path), "--output", str(tmp_path)])


def test_other_seeds_share_a_folder():
    config = backbones.Config()
    assert dataclasses.replace(config, seeds=(4, 5), collect=True).folder == config.folder
    assert dataclasses.replace(config, n_train=5).folder != config.folder


@pytest.mark.slow
def test_a_finished_network_is_not_trained_again(tmp_path, monkeypatch, compile_once):
    arguments = ["smoke", "--output", str(tmp_path)]
    empty = backbones.main([*arguments, "--collect"])
    assert empty["points"] == []
    first = backbones.main(arguments)
    assert [point["network"] for point in first["points"]] == list(backbones.NETWORKS)
    monkeypatch.setattr(train, "train_visibly", None)
    again = backbones.main([*arguments, "--collect"])
    assert again["points"] == first["points"]
    (path,) = tmp_path.glob("result-digits-*/result.json")
    assert json.loads(path.read_text())["points"] == first["points"]
    (pair,) = backbone_report.pairs(first)
    assert pair.networks()[1][0] == "AkidaNet"
