import numpy as np
import pytest

from akida_jax.zoo.datasets import Examples, LabelledSet
from akida_jax.zoo.datasets.scenes import MAX_OVERLAP, Scenes, background, enlarge, load_scenes


@pytest.fixture(scope="module")
def scenes():
    return load_scenes("digits", n_train=10, n_test=5, seed=3)


def made_set(train_label, test_label):
    """Squares whose label tells their side of the set."""
    x = np.full((3, 8, 8, 1), 255, np.uint8)
    sides = [Examples(x, np.full(3, label, np.int32)) for label in (train_label, test_label)]
    return LabelledSet(name="made", title="made", class_names=tuple("0123456789"), train=sides[0],
                       test=sides[1], source="here", terms="none")  # fmt: skip


def test_shapes_and_ranges(scenes):
    made = scenes.make("train", range(30))
    assert made.x.shape == (30, 128, 128, 3)
    assert made.x.dtype == np.uint8
    corners, classes, mask = made.y
    assert corners.shape == (30, 4, 4)
    assert (corners.dtype, classes.dtype, mask.dtype) == (np.float32, np.int32, bool)
    assert set(mask.sum(1)) == {1, 2, 3, 4}
    assert not corners[~mask].any()
    assert not classes[~mask].any()
    assert set(classes[mask]) == set(range(10))
    assert corners.min() == 0
    assert corners.max() <= 1
    sides = (corners[..., 2:] - corners[..., :2])[mask].max(1) * 128
    # Corners are whole pixels over 128, exact in float32.
    assert (sides >= 20).all()
    assert (sides <= 56).all()


def test_a_scene_depends_on_seed_side_and_index_alone(scenes):
    first, again = scenes.make("test", range(2, 4)), load_scenes(n_train=3, seed=3)
    np.testing.assert_array_equal(first.x, again.make("test", range(4)).x[2:])
    for other in (scenes.make("train", range(2, 4)), scenes.make("test", range(4, 6)),
                  load_scenes(seed=4).make("test", range(2, 4))):  # fmt: skip
        assert (other.x != first.x).any((1, 2, 3)).all()


def test_objects_overlap_little(scenes):
    corners, _, mask = scenes.make("train", range(60)).y
    seen = 0
    for boxes in (c[m].astype(float) for c, m in zip(corners, mask, strict=True)):
        for i, a in enumerate(boxes):
            for b in boxes[:i]:
                sides = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
                smaller = min(np.prod(a[2:] - a[:2]), np.prod(b[2:] - b[:2]))
                assert np.prod(np.maximum(sides, 0)) <= MAX_OVERLAP * smaller
                seen += 1
    assert seen > 50


def test_sides_do_not_mix():
    scenes = Scenes(made_set(1, 2), n_test=4)
    train, test = scenes.make("train", range(20)).y, scenes.test_boxes()
    assert set(train.classes[train.mask]) == {1}
    assert set(test.classes[test.mask]) == {2}


def test_boxes_lie_around_their_objects():
    # A white square on a background has its mean colour inside the box, not outside.
    scenes = Scenes(made_set(0, 0), sides=(40, 40), max_objects=1)
    for index in range(5):
        x, boxes, _ = scenes.scene("train", index)
        left, top, right, bottom = np.rint(boxes[0] * 128).astype(int)
        assert (right - left, bottom - top) == (40, 40)
        bare = background(np.random.default_rng((0, 0, index)), 128)
        changed = np.abs(x - bare).max(-1) > 40
        inside = changed[top + 6 : bottom - 6, left + 6 : right - 6].mean()
        changed[top:bottom, left:right] = False
        assert inside > 0.8
        assert changed.mean() < 0.01


def test_epochs_are_new_and_test_batches_are_not(scenes):
    first, second = (list(scenes.train_batches(0, epoch, 4)) for epoch in (1, 2))
    assert [len(batch.x) for batch in first] == [4, 4]
    assert (first[0].x != second[0].x).any((1, 2, 3)).all()
    np.testing.assert_array_equal(first[1].x, next(scenes.train_batches(9, 1, 8)).x[4:])
    batches = list(scenes.test_batches(3))
    assert [len(batch.x) for batch in batches] == [3, 2]
    corners = np.concatenate([batch.y.corners for batch in batches])
    np.testing.assert_array_equal(corners, scenes.test_boxes().corners)


def test_enlarged_objects_fill_their_box():
    image = np.zeros((8, 8), np.uint8)
    image[2:6, 3:5] = 255
    mask = enlarge(image, 40)
    # 4 by 2 pixels and a blurred edge: the ratio of the sides is near 2.
    assert mask.shape[0] == 40
    assert 19 <= mask.shape[1] <= 25
    assert mask[20, mask.shape[1] // 2] > 0.95
    assert mask[0].max() < 0.5
    with pytest.raises(ValueError, match="at least a fifth of white"):
        enlarge(np.full((8, 8), 40, np.uint8), 40)


def test_what_cannot_be_is_refused(scenes):
    with pytest.raises(ValueError, match=r"from 4 or more to the size 64, got \(20, 65\)"):
        load_scenes(size=64, sides=(20, 65))
    with pytest.raises(ValueError, match="must be at least 1, got 5, 0 and 4"):
        load_scenes(n_train=5, n_test=0)
    with pytest.raises(ValueError, match="batch_size must be 1 to 10, got 11"):
        next(scenes.train_batches(0, 1, 11))
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        next(scenes.test_batches(0))


def test_scenes_of_clothes(tmp_path):
    with pytest.raises(FileNotFoundError, match="fashion-mnist"):
        load_scenes("fashion-mnist", data_dir=tmp_path)
