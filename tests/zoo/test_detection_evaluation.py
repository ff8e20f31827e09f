import numpy as np
import pytest

from akida_jax.zoo.detection import Detections, evaluation, mean_average_precision, pad_boxes

A, B, C = (0.0, 0.0, 0.2, 0.2), (0.5, 0.5, 0.7, 0.7), (0.3, 0.0, 0.5, 0.2)


def make_true(*images):
    """Boxes of each image from (corners, class)."""
    return pad_boxes(
        [np.array([box for box, _ in image], np.float32).reshape(-1, 4) for image in images],
        [np.array([label for _, label in image], np.int32) for image in images],
        max(map(len, images)),
    )


def make_found(*images):
    """Detections of each image from (corners, class, score)."""
    most = max(map(len, images))
    found = Detections(
        np.zeros((len(images), most, 4), np.float32), np.zeros((len(images), most), np.float32),
        np.zeros((len(images), most), np.int32),
    )  # fmt: skip
    for image, rows in enumerate(images):
        for place, (box, label, score) in enumerate(rows):
            found.corners[image, place] = box
            found.classes[image, place] = label
            found.scores[image, place] = score
    return found


def test_perfect_detections():
    true = make_true([(A, 0), (B, 1)], [(C, 0)])
    found = make_found([(A, 0, 0.9), (B, 1, 0.8)], [(C, 0, 0.7)])
    result = mean_average_precision(found, true, n_classes=5)
    # Classes 2 to 4 do not occur and do not count.
    # pycocotools adds the smallest float to each divisor.
    assert result == pytest.approx({"map": 1, "map_50": 1, "map_voc": 1}, abs=1e-12)


def test_no_detections_give_zero(capfd):
    true = make_true([(A, 0), (B, 1)])
    for found in (make_found([(A, 0, 0.0)]), make_found([])):
        result = mean_average_precision(found, true, n_classes=2)
        assert result == {"map": 0.0, "map_50": 0.0, "map_voc": 0.0}
    assert capfd.readouterr().out == ""


def test_ranked_by_score():
    # Three to find; in the order of scores: right, wrong, right. Precision is 1 up to recall
    # 1/3, then 2/3 up to recall 2/3, then 0.
    true = make_true([(A, 0), (B, 0)], [(C, 0)])
    found = make_found([(A, 0, 0.9), (C, 0, 0.8)], [(C, 0, 0.7)])
    result = mean_average_precision(found, true, n_classes=1)
    # Recalls 0 to 0.33 are 34 of 101, 0.34 to 0.66 are 33; of eleven they are 4 and 3.
    assert result["map_50"] == pytest.approx((34 + 33 * 2 / 3) / 101, abs=1e-12)
    assert result["map"] == pytest.approx(result["map_50"], abs=1e-12)
    assert result["map_voc"] == pytest.approx((4 + 3 * 2 / 3) / 11, abs=1e-12)


def test_a_recall_that_is_reached_exactly_counts():
    # 3 of 10 found: recalls 0, 0.1, 0.2 and 0.3 have precision 1.
    true = make_true(*[[(A, 0)]] * 10)
    found = make_found(*[[(A, 0, 0.5)]] * 3, *[[]] * 7)
    assert mean_average_precision(found, true, n_classes=1)["map_voc"] == pytest.approx(4 / 11)


def test_overlap_decides():
    # 0.2 of 0.25 in width is shared: the overlap is 0.8, right at 0.5 to 0.75 for sure.
    wide = (0.0, 0.0, 0.25, 0.2)
    result = mean_average_precision(make_found([(wide, 0, 0.5)]), make_true([(A, 0)]), n_classes=1)
    # pycocotools adds the smallest float to each divisor.
    assert result["map_50"] == pytest.approx(1, abs=1e-12)
    assert result["map_voc"] == pytest.approx(1, abs=1e-12)
    # 0.8 itself lies within a rounding of the threshold.
    assert result["map"] == pytest.approx(0.65, abs=0.051)
    narrow = (0.0, 0.0, 0.09, 0.2)
    result = mean_average_precision(
        make_found([(narrow, 0, 0.5)]), make_true([(A, 0)]), n_classes=1
    )
    assert result["map_50"] == 0


def test_a_second_box_on_an_object_is_wrong():
    true = make_true([(A, 0)], [(B, 0)])
    found = make_found([(A, 0, 0.9), (A, 0, 0.8)], [(B, 0, 0.7)])
    result = mean_average_precision(found, true, n_classes=1)
    # Right, wrong, right: precision 1 up to recall 1/2 and 2/3 above.
    assert result["map_voc"] == pytest.approx((6 + 5 * 2 / 3) / 11, abs=1e-12)


def test_ignored_boxes_count_neither_way():
    true = make_true([(A, 0), (B, 0)])
    ignored = np.array([[False, True]])
    both = make_found([(A, 0, 0.8), (B, 0, 0.9)])
    one = make_found([(A, 0, 0.8)])
    for found in (both, one):
        result = mean_average_precision(found, true, n_classes=1, ignored=ignored)
        assert result["map"] == pytest.approx(1, abs=1e-12)
    assert mean_average_precision(one, true, n_classes=1)["map_voc"] == pytest.approx(6 / 11)


def test_more_than_a_hundred_detections_of_an_image_count():
    grid = [((x / 12, y / 12, (x + 0.9) / 12, (y + 0.9) / 12), 0) for x in range(12)
            for y in range(12)]  # fmt: skip
    found = make_found([(box, label, 0.5) for box, label in grid])
    assert mean_average_precision(found, make_true(grid), n_classes=1)["map_voc"] == pytest.approx(
        1, abs=1e-12
    )


def test_what_cannot_be_measured_is_refused():
    true, found = make_true([(A, 0)]), make_found([(A, 3, 0.5)])
    with pytest.raises(ValueError, match="classes must be 0 to 2, got 3 to 3"):
        mean_average_precision(found, true, n_classes=3)
    with pytest.raises(ValueError, match=r"detections of 2 images need .* of as many, got 1"):
        mean_average_precision(make_found([], [(A, 0, 0.5)]), true, n_classes=3)
    with pytest.raises(ValueError, match="no true box that could be found"):
        mean_average_precision(found, true, n_classes=5, ignored=np.array([[True]]))


def test_without_the_package_that_evaluates_nothing_begins(monkeypatch):
    monkeypatch.setattr(evaluation.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install 'akida-jax\[detection\]'"):
        evaluation.require_coco()
