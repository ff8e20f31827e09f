import numpy as np
import pytest

from akida_jax.zoo.detection import detect
from experiments import detection
from experiments.presets import read_settings


def small(**settings):
    return detection.Config(size=64, sides=(12, 28), n_train=16, n_test=6, alpha=1 / 16,
                            head_filters=16, **settings)  # fmt: skip


def test_what_is_loaded():
    scenes, test, anchors = detection.load(small())
    assert scenes.n_train == 16
    assert test.x.shape == (6, 64, 64, 3)
    assert anchors.shape == (5, 2)
    # Sides of 12 to 28 of 64 pixels; a digit may be narrower than it is high.
    assert anchors.max() <= 28 / 64
    assert (anchors.max(1) >= 12 / 64).all()


@pytest.mark.slow
def test_a_network_begins_by_finding_nothing():
    config = small()
    _, test, anchors = detection.load(config)
    outputs = np.asarray(detection.build(config, 10)(test.x))
    assert outputs.shape == (6, 4, 4, 5 * 15)
    # A confidence near 0.02 times a probability of one of ten classes.
    assert detect(outputs, anchors).scores.max() < 0.1


def test_true_boxes_score_one():
    config = small()
    _, test, anchors = detection.load(config)
    outputs = np.zeros((6, 64, 64, 5, 15), np.float32)
    outputs[..., 4] = -20
    corners, classes, mask = test.y
    # A cell for each pixel: every box has a cell of its own, if no two share their centre.
    for image, object_ in np.argwhere(mask):
        box, label = corners[image, object_], classes[image, object_]
        middle = (box[:2] + box[2:]) / 2 * 64
        column, row = middle.astype(int)
        part = np.clip(middle - (column, row), 1e-6, None)
        cell = outputs[image, row, column, 0]
        cell[:2] = np.log(part / (1 - part))
        cell[2:4] = np.log((box[2:] - box[:2]) / anchors[0])
        cell[[4, 5 + label]] = 20
    result = detection.score(outputs.reshape(6, 64, 64, 75), test, anchors)
    # pycocotools adds the smallest float to each divisor.
    assert result == pytest.approx({"map": 1, "map_50": 1, "map_voc": 1}, abs=1e-12)


@pytest.mark.slow
def test_a_run_from_scenes_to_result(tmp_path):
    given = ["smoke", "--output", str(tmp_path / "runs")]
    result = detection.main(given)
    for name in detection.SCORES:
        assert result[name]["integer"] == result[name]["quantized"]
    assert result["potentials_equal"] == {"dense": True, "event": True}
    # 4 scenes of 4x4 cells with 75 numbers.
    assert result["potentials_compared"] == 4 * 4 * 4 * 75
    assert [row["phase"] for row in result["history"]] == ["float", "quantized"]
    assert detection.main(given) == result
    folder = read_settings(detection.PRESETS, given).folder
    assert (folder / "scenes.png").stat().st_size > 10_000


def test_settings_out_of_range_are_named():
    with pytest.raises(ValueError, match="--halvings must be 1 to 5, got 6"):
        read_settings(detection.PRESETS, ["smoke", "--halvings", "6"])
    with pytest.raises(ValueError, match=r"sides must rise .* to the size 64, got \(20, 65\)"):
        detection.load(detection.Config(size=64, sides=(20, 65)))
