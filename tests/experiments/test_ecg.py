import json
import struct

import matplotlib.pyplot as plt
import numpy as np
import pytest

import akida_jax as aj
from akida_jax.zoo.datasets.ecg import SYMBOLS, load_ecg
from experiments import ecg, publish_model
from experiments.presets import read_settings
from experiments.training import runs


@pytest.fixture
def records(tmp_path):
    """A folder of 16 records of 10 s of noise, four of each rhythm."""
    folder = tmp_path / "records"
    folder.mkdir()
    rng = np.random.default_rng(0)
    lines = []
    for i in range(16):
        name, samples = f"A{i:02}", rng.integers(-500, 500, 3000).astype("<i2")
        start = struct.pack("<5i", 30, 1, 3000, 0, 4) + b"val\0"
        (folder / f"{name}.mat").write_bytes(start + samples.tobytes())
        (folder / f"{name}.hea").write_text(
            f"{name} 1 300 3000\n{name}.mat 16+24 1000/mV 16 0 0 0 0 ECG\n"
        )
        lines.append(f"{name},{SYMBOLS[i % 4]}\n")
    (folder / "REFERENCE.csv").write_text("".join(lines))
    return folder


def test_rare_rhythms_are_repeated():
    labels = np.repeat([0, 1, 3], [16, 4, 1])
    counts = {
        balance: np.bincount(labels[ecg.repeat_rare(labels, balance, seed=0)], minlength=4).tolist()
        for balance in (0.0, 0.5, 1.0)
    }
    assert counts == {0.0: [16, 4, 0, 1], 0.5: [16, 8, 0, 4], 1.0: [16, 16, 0, 16]}
    # Every window is there at least once.
    assert set(ecg.repeat_rare(labels, 0.5, seed=0).tolist()) == set(range(21))


@pytest.mark.parametrize(("model", "shape"), [("ecg", (36, 32, 1)), ("akidanet_ecg", (32, 32, 1))])
def test_no_record_is_on_both_sides(records, model, shape):
    config = ecg.Config(model=model, size=32, balance=0.0)
    data = load_ecg(records)
    fold = ecg.cut_fold(config, data, np.arange(4, 16), np.arange(4))
    assert fold.train.x.shape[1:] == fold.test.x.shape[1:] == shape
    assert fold.labels.tolist() == [0, 1, 2, 3]
    trained = {window.tobytes() for window in fold.train.x}
    assert not trained & {window.tobytes() for window in fold.test.x}


@pytest.mark.slow
def test_a_run_from_records_to_result(records, tmp_path):
    output = tmp_path / "runs"
    given = ["smoke", "--data-dir", str(records), "--output", str(output), "--model", "ecg",
             "--batch-size", "4"]  # fmt: skip
    alone = ecg.main([*given, "--fold", "1"])
    result = ecg.main(given)
    (folder,) = output.glob("*-seed0-????????")
    assert result == json.loads((folder / "result.json").read_text())
    assert plt.imread(folder / "confusion.png")[..., :3].var() > 1e-3
    assert result["n_test"] == np.sum(result["confusion"]) == 16
    assert result["accuracy"]["integer"] == np.trace(result["confusion"]) / 16
    assert result["accuracy"]["integer"] == result["accuracy"]["quantized"]
    assert result["potentials_equal"] == {"dense": True, "event": True}
    assert result["potentials_compared"] == 4 * result["n_windows"]
    assert result["folds"][1] == {name: alone[name] for name in ecg.SCORES}
    # The folds that are there already are not trained again.
    (folder / "result.json").unlink()
    assert ecg.main(given)["confusion"] == result["confusion"]
    with pytest.raises(ValueError, match="--keep is for the settings of a preset"):
        runs.keep_result(result, tmp_path / "a.json", by="model", presets=ecg.PRESETS)
    # What is published of a fold scores its records again.
    (own,) = output.glob("*-fold1-????????")
    model = aj.load(own / "model.akj")
    test = publish_model.load_test("ecg", {**publish_model.settings(alone),
                                           "data_dir": str(records)})  # fmt: skip
    assert test.n == alone["n_test"] == 8
    assert test.score(model) == alone["accuracy"]["integer"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--size", "8", "--folds", "1"], r"--size must be 32 to 256, got 8; --folds must be 2"),
        (["--fold", "5"], "--fold must be below the 5 folds, got 5"),
        (["--fold", "0", "--keep"], "--keep is for all folds together; leave out --fold"),
    ],
)
def test_settings_that_cannot_work_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        read_settings(ecg.PRESETS, ["default", *arguments])
