import numpy as np
import pytest
from PIL import Image

from akida_jax.quant import quantize
from experiments import faces
from experiments.presets import read_settings
from experiments.training import runs


@pytest.fixture
def orl(tmp_path):
    """A folder like that of the ORL faces; each person has a pattern, images add noise."""
    rng = np.random.default_rng(0)
    for person in range(1, 41):
        folder = tmp_path / "orl" / f"s{person}"
        folder.mkdir(parents=True)
        pattern = rng.integers(40, 200, (112, 92))
        for image in range(1, 11):
            pixels = (pattern + rng.integers(0, 40, pattern.shape)).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{image}.pgm")
    return tmp_path / "orl"


def test_sides_of_both_tasks(orl):
    data, test = faces.load(faces.Config(data_dir=str(orl), n_people=7, n_train=4))
    assert (len(data.train.x), len(test.x)) == (28, 42)
    assert set(test.y.tolist()) == set(range(7))
    data, test = faces.load(
        faces.Config(data_dir=str(orl), n_people=36, folds=2, task="verification")
    )
    assert (len(data.train.x), len(test.x)) == (360, 40)
    assert set(test.y.tolist()) == set(range(4))
    trained = {face.tobytes() for face in data.train.x}
    assert not trained & {face.tobytes() for face in test.x}


@pytest.mark.slow
def test_the_embedding_is_the_layer_before_the_classifier(orl):
    config = faces.Config(n_people=3, alpha=1 / 16, embedding=16, data_dir=str(orl))
    network = quantize(faces.build(config))
    x = faces.load(config)[1].x[:4]
    expected = np.asarray(dict(network.outputs(x))["embedding"])[:, 0, 0]
    # Quantized networks compute integers, so the two calls agree to the last bit.
    np.testing.assert_array_equal(faces.embed(network, x), expected)
    assert expected.shape == (4, 16)
    # The network itself keeps its classifier.
    assert network.layers[-1].spec.units == 3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "model"),
    [("verification", "akidanet_faces"), ("identification", "mobilenet_faces")],
)
def test_a_run_from_images_to_result(orl, tmp_path, task, model, monkeypatch):
    monkeypatch.setattr(faces, "RESULTS", tmp_path / "faces.json")
    given = ["smoke", "--data-dir", str(orl), "--output", str(tmp_path / "runs"), "--task", task,
             "--model", model]  # fmt: skip
    n_people = "36" if task == "verification" else "3"
    result = faces.main([*given, "--n-people", n_people, "--n-train", "8", "--folds", "2"])
    names = {"akidanet_faces": "AkidaNet", "mobilenet_faces": "MobileNet v1"}
    assert result["title"] == f"{names[model]} 0.0625, {task} of ORL faces"
    assert result["accuracy"]["integer"] == result["accuracy"]["quantized"]
    assert result["potentials_equal"] == {"dense": True, "event": True}
    assert [row["phase"] for row in result["history"]] == ["float", "quantized"]
    if task == "verification":
        # 4 people x 45 pairs, and as many of two people; 128 integers of 40 images.
        assert result["n_test"] == 360
        assert result["potentials_compared"] == 40 * 128
        assert set(result["auroc"]) == {"float", "quantized", "integer"}
    else:
        assert result["n_test"] == 3 * 2
    with pytest.raises(ValueError, match="--keep is for the settings of a preset"):
        runs.keep_result(result, tmp_path / "a.json", by="task", presets=faces.PRESETS)


def test_settings_out_of_range_are_named():
    with pytest.raises(ValueError, match=r"--n-people must leave 10 of 40 for 5 .* got 31"):
        faces.load(faces.Config(task="verification", n_people=31))
    with pytest.raises(ValueError, match="--n-train must be 1 to 9, got 10"):
        read_settings(faces.PRESETS, ["identification", "--n-train", "10"])
