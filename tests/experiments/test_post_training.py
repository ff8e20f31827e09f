import json

import numpy as np
import pytest
from rich.console import Console

from akida_jax import quant
from akida_jax.zoo.datasets import Examples
from experiments import post_training, train, train_report
from experiments.train_data import TrainingData
from experiments.training.runs import FLOAT_WEIGHTS
from experiments.training.weights import save_weights
from tests.experiments import tiny_run


@pytest.fixture
def data():
    train_side, test_side = tiny_run.make_examples()
    return TrainingData(
        title="noise", class_names=("a", "b", "c"), train=train_side, test=test_side,
        fingerprint="0123", source="computed", terms="none",
    )  # fmt: skip


@pytest.fixture
def finished(data, tmp_path, monkeypatch):
    """Settings of a comparison whose run is finished, with a network of three layers."""
    monkeypatch.setattr(train, "build", lambda config, data: tiny_run.make_network())
    monkeypatch.setattr(post_training, "load", lambda config: data)
    monkeypatch.setattr(post_training, "BITS", ((4, 4, 4),))
    monkeypatch.setattr(
        post_training.zoo, "published_widths", lambda name: {"bits": (8, 4, 4), "overrides": ()}
    )
    run = train.Config(output=str(tmp_path / "runs"))
    save_weights(tiny_run.make_network(), run.folder / FLOAT_WEIGHTS)
    result = {"title": "tiny on noise", "commit": "abc", "code": ["abc"], "n_test": 14,
              "data_fingerprint": "0123",
              "accuracy": {"float": 0.5, "quantized": 0.4, "integer": 0.4}}  # fmt: skip
    (run.folder / "result.json").write_text(json.dumps(result))
    return post_training.Config(run=run, n_calibration=8, results=tmp_path / "results")


@pytest.mark.slow
def test_every_way_is_tried_once(finished, data, monkeypatch):
    result = post_training.run(finished, Console())
    assert json.loads((finished.results / "post_training.json").read_text())["rows"] == [
        {**row, "bits": list(row["bits"])} for row in result["rows"]
    ]
    ways = [(row["weights"], row["ranges"], row["bias_correction"]) for row in result["rows"]]
    assert len(ways) == len(set(ways)) == 2 * 3 * 2
    # The accuracy is that of the integer model that this way gives.
    row = next(row for row in result["rows"] if row["ranges"] == "least square")
    model = post_training.quantize_by(
        tiny_run.make_network(), data.sample(8, seed=0), ranges="least square",
        correction=row["bias_correction"], bits=(4, 4, 4), weights=row["weights"],
    )  # fmt: skip
    assert row["accuracy"] == model.evaluate(*data.test)
    monkeypatch.setattr(train_report, "RESULTS", finished.results)
    table = train_report.post_training_table().splitlines()
    assert table[0].count("|") == 2 + 6 + 1
    assert table[2].startswith("| 4/4/4 | max per filter | ")
    assert table[-1] == "tiny on noise: float 50.00%, quantized training at 8/4/4 40.00%."
    post_training.report(result, Console())


def test_largest_ranges_reach_the_largest_activation(rng):
    network = tiny_run.make_network()
    sample = rng.integers(0, 16, (8, 6, 6, 2), dtype=np.uint8)
    rules = {rule.layers: rule for rule in post_training._largest(network, sample)}
    outputs = dict(network.outputs(sample))
    assert list(rules) == list(outputs)[:-1]  # the last layer has no activation
    for name, rule in rules.items():
        assert rule.max_activation == float(outputs[name].max())
    twin = quant.quantize(network, overrides=tuple(rules.values()))
    for layer in twin.layers[:-1]:
        wanted = np.float32(rules[layer.spec.name].max_activation / 15)
        assert float(layer.step[...]) == wanted


def test_an_unfinished_run_is_named(finished):
    (finished.run.folder / "result.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"no .*result\.json: finish the run first"):
        post_training.run(finished, Console())


def test_calibration_may_not_be_empty():
    examples = Examples(np.zeros((3, 6, 6, 2), np.uint8), np.zeros(3, np.int32))
    network = tiny_run.make_network()
    with pytest.raises(ValueError, match="calibration holds no inputs"):
        post_training.quantize_by(
            network, examples.x[:0], ranges="least square", correction=False, bits=(4, 4, 4),
            weights="max_per_filter",
        )  # fmt: skip


def test_a_run_that_cannot_be_compared_is_refused(finished):
    path = finished.run.folder / "result.json"
    result = json.loads(path.read_text())
    path.write_text(json.dumps(result | {"data_fingerprint": "4567"}))
    with pytest.raises(ValueError, match="made from other data: fingerprint 4567, now 0123"):
        post_training.run(finished, Console())
    path.write_text(json.dumps(result | {"accuracy": {"float": None}}))
    with pytest.raises(ValueError, match="the run has no float phase"):
        post_training.run(finished, Console())
    with pytest.raises(ValueError, match="--n-calibration must be at least 1, got 0"):
        post_training.Config(n_calibration=0)


def test_tables_are_those_of_the_committed_results():
    text = train_report.DOCUMENT.read_text()
    assert train_report.fill(text, train_report.tables()) == text


def test_a_row_per_preset(monkeypatch, tmp_path):
    monkeypatch.setattr(train_report, "RESULTS", tmp_path)
    runs = [
        {"title": "A on B", "weights": 1234, "n_train": 5000, "n_test": 10,
         "accuracy": {"float": value, "integer": value - 0.1}, "timings_s": {"training": 120}}
        for value in (0.5, 0.6)
    ]  # fmt: skip
    result = {"preset": "fashion-gxnor", "runs": runs}
    (tmp_path / "train_fashion_gxnor.json").write_text(json.dumps(result))
    assert train_report.accuracy_table().splitlines()[2:] == [
        "| fashion-gxnor | A on B | 1,234 | 5,000 | 10 | 55.00 % | 45.00 % | 40.00, 50.00 | 2 |"
    ]
    with pytest.raises(ValueError, match="no preset fashion; there are default, smoke"):
        train_report.Config(presets=("fashion",))
