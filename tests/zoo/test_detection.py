import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from akida_jax import zoo
from akida_jax.zoo.detection import (
    Boxes,
    Detections,
    LossWeights,
    assign,
    decode,
    detect,
    detection_loss,
    find_anchors,
    overlap,
    pad_boxes,
    suppress,
    to_centres,
    to_corners,
)

ANCHORS = np.array([[0.1, 0.2], [0.4, 0.3]], np.float32)
# A few roundings of numbers up to 1 in float32.
CLOSE = 1e-6


def plain_overlap(a, b):
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(0.0, width) * max(0.0, height)
    union = sum((c[2] - c[0]) * (c[3] - c[1]) for c in (a, b)) - shared
    return shared / union if union else 0.0


def make_boxes(rows, n_objects=3):
    """Boxes of one image from (left, top, right, bottom, class)."""
    table = np.array(rows, np.float32).reshape(-1, 5)
    return pad_boxes([table[:, :4]], [table[:, 4]], n_objects)


def test_overlap_by_hand():
    # Unit squares, one shifted by half: 0.5 shared of 1.5.
    a, b = jnp.array([0.0, 0, 1, 1]), jnp.array([0.5, 0, 1.5, 1])
    assert overlap(a, b) == pytest.approx(1 / 3, abs=CLOSE)
    assert overlap(a, a) == 1
    assert overlap(a, a + 1) == 0
    assert overlap(jnp.zeros(4), jnp.zeros(4)) == 0
    assert overlap(jnp.stack([a, b])[:, None], jnp.stack([a, b, a])).shape == (2, 3)


def test_corners_and_centres_are_inverse():
    corners = jnp.array([[0.25, 0.5, 0.75, 1.0]])
    np.testing.assert_array_equal(to_centres(corners), [[0.5, 0.75, 0.5, 0.5]])
    np.testing.assert_array_equal(to_corners(to_centres(corners)), corners)


def test_too_many_boxes_are_refused():
    with pytest.raises(ValueError, match=r"image 0 may have 1 boxes, .* got 2 boxes and 2"):
        make_boxes([(0, 0, 1, 1, 0)] * 2, 1)
    assert not make_boxes([], 2).mask.any()


def test_anchors_of_two_heaps(rng):
    small = rng.uniform(9, 11, (50, 2))
    large = rng.uniform((38, 78), (42, 82), (30, 2))
    sizes = rng.permutation(np.concatenate([small, large]))
    anchors = find_anchors(sizes, 2)
    np.testing.assert_allclose(anchors, [small.mean(0), large.mean(0)], rtol=1e-6)
    assert anchors.dtype == np.float32
    np.testing.assert_array_equal(anchors, find_anchors(sizes, 2))


def test_anchors_are_sorted_by_area(rng):
    anchors = find_anchors(rng.uniform(1, 50, (200, 2)), 5, seed=1)
    assert (np.diff(anchors.prod(1)) > 0).all()


def test_as_many_anchors_as_boxes_are_the_boxes():
    sizes = np.array([[1, 2], [3, 1], [5, 5]], float)
    np.testing.assert_array_equal(find_anchors(sizes, 3), sizes[[0, 1, 2]])


@pytest.mark.parametrize(
    ("sizes", "n", "message"),
    [
        (np.ones((9, 2)), 2, "2 anchors need as many boxes of different size, got 1"),
        (np.zeros((3, 2)), 1, "must be positive and finite"),
        (np.ones((3, 4)), 1, r"shape \(n, 2\), got \(3, 4\)"),
        (np.ones((3, 2)), 0, "at least 1, got 0"),
    ],
)
def test_anchors_that_cannot_be(sizes, n, message):
    with pytest.raises(ValueError, match=message):
        find_anchors(sizes, n)


def make_outputs(boxes, anchors, shape, classes, sure=20.0):
    """Return the numbers that mean exactly these boxes, by plain loops."""
    outputs = np.zeros((1, *shape, len(anchors), 5 + classes), np.float32)
    outputs[..., 4] = -sure
    for (left, top, right, bottom), label in zip(
        boxes.corners[0][boxes.mask[0]], boxes.classes[0][boxes.mask[0]], strict=True
    ):
        x, y = (left + right) / 2 * shape[1], (top + bottom) / 2 * shape[0]
        width, height = right - left, bottom - top
        likeness = [min(width, w) * min(height, h)
                    / (width * height + w * h - min(width, w) * min(height, h))
                    for w, h in anchors]  # fmt: skip
        best = int(np.argmax(likeness))
        cell = outputs[0, int(y), int(x), best]
        cell[:2] = [np.log(part / (1 - part)) for part in (x % 1, y % 1)]
        cell[2:4] = np.log([width / anchors[best][0], height / anchors[best][1]])
        cell[4] = sure
        cell[5 + label] = sure
    return outputs.reshape(1, *shape, -1)


BOXES = make_boxes([(0.1, 0.2, 0.2, 0.5, 2), (0.57, 0.4, 0.97, 0.65, 0)])


def test_assignment_by_hand():
    chosen = assign(BOXES, jnp.array(ANCHORS), (4, 8))
    # Centres (0.15, 0.35) and (0.77, 0.525) in 8 columns and 4 rows.
    assert chosen.row[0, :2].tolist() == [1, 2]
    assert chosen.column[0, :2].tolist() == [1, 6]
    assert chosen.anchor[0, :2].tolist() == [0, 1]
    assert chosen.mask.tolist() == [[True, True, False]]


def test_of_two_objects_in_one_slot_the_first_counts():
    box = (0.1, 0.2, 0.2, 0.5)
    chosen = assign(make_boxes([(*box, 1), (*box, 2), (0.6, 0.6, 0.7, 0.8, 0)]),
                    jnp.array(ANCHORS), (4, 4))  # fmt: skip
    assert chosen.mask.tolist() == [[True, False, True]]


def test_centres_on_the_last_edge_stay_in_the_map():
    chosen = assign(make_boxes([(1, 1, 1, 1, 0)]), jnp.array(ANCHORS), (4, 8))
    assert (chosen.row[0, 0], chosen.column[0, 0]) == (3, 7)


def test_the_right_outputs_have_no_loss_and_decode_to_the_boxes():
    outputs = jnp.array(make_outputs(BOXES, ANCHORS, (4, 8), 3))
    # Sigmoid and softmax of 20 are 1 - 2e-9; places are roundings of numbers up to 8.
    assert detection_loss(outputs, BOXES, ANCHORS) < 1e-6
    found = jax.jit(detect)(outputs, ANCHORS)
    order = np.argsort(np.asarray(found.corners[0, :2, 0]))
    np.testing.assert_allclose(found.corners[0, order], BOXES.corners[0, :2], atol=1e-5)
    assert found.classes[0, order].tolist() == [2, 0]
    np.testing.assert_allclose(found.scores[0, :2], 1, atol=1e-5)
    assert not found.scores[0, 2:].any()


def plain_loss(outputs, boxes, anchors, weights):
    """Return the loss of the first image, box by box."""
    _, rows, columns, _ = outputs.shape
    raw = np.asarray(outputs, float)[0].reshape(rows, columns, len(anchors), -1)
    real = boxes.mask[0]
    true = boxes.corners[0][real].astype(float)
    slots = {}
    for i, box in enumerate(true):
        x, y = (box[0] + box[2]) / 2 * columns, (box[1] + box[3]) / 2 * rows
        size = box[2:] - box[:2]
        best = max(range(len(anchors)),
                   key=lambda a: plain_overlap([0, 0, *size], [0, 0, *anchors[a]]))  # fmt: skip
        slots.setdefault((int(y), int(x), best), (i, x - int(x), y - int(y), size))
    total = 0.0
    for place in np.ndindex(rows, columns, len(anchors)):
        numbers = raw[place]
        sure = 1 / (1 + np.exp(-numbers[4]))
        inside = 1 / (1 + np.exp(-numbers[:2]))
        middle = (inside + place[1::-1]) / (columns, rows)
        half = anchors[place[2]] * np.exp(numbers[2:4]) / 2
        box = [*(middle - half), *(middle + half)]
        overlaps = [plain_overlap(box, other) for other in true]
        if place in slots:
            i, x, y, size = slots[place]
            stretch = np.log(size / anchors[place[2]])
            errors = ((inside - [x, y]) ** 2).sum() + ((numbers[2:4] - stretch) ** 2).sum()
            total += weights.places * (2 - size.prod()) * errors
            total += weights.objects * (sure - overlaps[i]) ** 2
            logits = numbers[5:]
            label = boxes.classes[0][real][i]
            total += weights.classes * (np.log(np.exp(logits).sum()) - logits[label])
        elif max(overlaps, default=0) < weights.near:
            total += weights.background * sure**2
    return total


@pytest.mark.parametrize("near", [0.6, 0.1])
def test_loss_equals_plain_loops(rng, near):
    outputs = rng.normal(0, 1, (1, 4, 8, 2 * 8)).astype(np.float32)
    weights = LossWeights(objects=4, background=0.5, classes=2, places=3, near=near)
    rows = [(0.1, 0.2, 0.2, 0.5, 2), (0.12, 0.22, 0.2, 0.5, 1), (0.55, 0.4, 0.95, 0.65, 0)]
    boxes = make_boxes(rows, 5)
    got = jax.jit(functools.partial(detection_loss, weights=weights))(outputs, boxes, ANCHORS)
    expected = plain_loss(outputs, boxes, ANCHORS.astype(float), weights)
    # A sum of about 100 terms in float32: 100 * 2**-24 of it at most.
    assert got == pytest.approx(expected, rel=1e-5)
    assert got.dtype == jnp.float32
    assert got.shape == ()
    empty = make_boxes([])
    got = detection_loss(outputs, empty, ANCHORS, weights)
    assert got == pytest.approx(plain_loss(outputs, empty, ANCHORS, weights), rel=1e-5)


def test_loss_is_the_mean_over_images(rng):
    outputs = rng.normal(0, 1, (2, 4, 8, 2 * 8)).astype(np.float32)
    pair = Boxes(*(np.concatenate(both) for both in zip(BOXES, make_boxes([]), strict=True)))
    parts = [detection_loss(outputs[i : i + 1], Boxes(*(v[i : i + 1] for v in pair)), ANCHORS)
             for i in range(2)]  # fmt: skip
    assert detection_loss(outputs, pair, ANCHORS) == pytest.approx(float(sum(parts)) / 2, rel=1e-5)


def test_huge_outputs_stay_finite():
    outputs = jnp.full((1, 4, 8, 16), 1e4)
    loss, gradient = jax.value_and_grad(detection_loss)(outputs, BOXES, ANCHORS)
    assert np.isfinite(loss)
    assert np.isfinite(gradient).all()
    assert np.isfinite(detect(outputs, ANCHORS).corners).all()


def test_outputs_of_another_depth_are_refused():
    with pytest.raises(ValueError, match=r"must hold 2 \* \(5 \+ classes\) numbers, got 11"):
        decode(jnp.zeros((1, 2, 2, 11)), ANCHORS)
    with pytest.raises(ValueError, match="numbers, got 10"):
        detection_loss(jnp.zeros((1, 2, 2, 10)), BOXES, ANCHORS)


def plain_suppress(corners, scores, classes, most, max_overlap, threshold):
    kept = []
    for i in sorted(range(len(scores)), key=lambda i: (-scores[i], i)):
        clear = all(classes[j] != classes[i] or plain_overlap(corners[i], corners[j]) <= max_overlap
                    for j in kept)  # fmt: skip
        if scores[i] >= threshold and clear and len(kept) < most:
            kept.append(i)
    return kept


@pytest.mark.parametrize("most", [4, 60])
def test_suppression_equals_plain_loops(rng, most):
    first = rng.uniform(0, 0.6, (3, 40, 2))
    corners = np.concatenate([first, first + rng.uniform(0.1, 0.4, first.shape)], -1)
    corners = corners.astype(np.float32)
    scores = rng.uniform(0, 1, (3, 40)).astype(np.float32).round(1)
    classes = rng.integers(0, 3, (3, 40)).astype(np.int32)
    found = jax.jit(functools.partial(suppress, max_detections=most, threshold=0.25))(
        Detections(*map(jnp.array, (corners, scores, classes)))
    )
    assert found.scores.shape == (3, most)
    for image in range(3):
        kept = plain_suppress(corners[image], scores[image], classes[image], most, 0.45, 0.25)
        assert len(kept) > 3
        n = len(kept)
        np.testing.assert_array_equal(found.corners[image, :n], corners[image, kept])
        np.testing.assert_array_equal(found.scores[image, :n], scores[image, kept])
        np.testing.assert_array_equal(found.classes[image, :n], classes[image, kept])
        assert not found.scores[image, n:].any()


@pytest.mark.slow
def test_a_network_learns_one_scene():
    network = zoo.build("yolo", input_shape=(64, 64, 3), alpha=1 / 16, head_filters=16, classes=3,
                        anchors=2, halvings=3)  # fmt: skip
    outputs = network(np.zeros((1, 64, 64, 3), np.uint8))
    assert outputs.shape == (1, 8, 8, 2 * (5 + 3))
    start = detection_loss(outputs, BOXES, ANCHORS)
    gradient = jax.grad(detection_loss)(outputs, BOXES, ANCHORS)
    assert detection_loss(outputs - 0.01 * gradient, BOXES, ANCHORS) < start
