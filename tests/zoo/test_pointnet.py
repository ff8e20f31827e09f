import jax
import jax.numpy as jnp
import numpy as np
import pytest

from akida_jax import mapping, zoo
from akida_jax.zoo.pointnet import (
    SHIFT,
    augment_points,
    farthest_points,
    group_points,
    nearest_points,
)


def squares(points, centre):
    difference = (points - centre) ** 2
    return (difference[:, 0] + difference[:, 1]) + difference[:, 2]


def farthest_by_loop(points, count):
    chosen = [0]
    while len(chosen) < count:
        nearest = np.min([squares(points, points[i]) for i in chosen], axis=0)
        chosen.append(int(nearest.argmax()))
    return chosen


def nearest_by_loop(points, centres, count):
    return [np.argsort(squares(points, c), kind="stable")[:count].tolist() for c in centres]


@pytest.mark.parametrize("grid", [False, True])
def test_indices_are_those_of_plain_loops(rng, grid):
    """Whole numbers make many ties, which the smallest index wins."""
    points = rng.normal(size=(50, 3)).astype(np.float32)
    if grid:
        points = rng.integers(0, 3, (50, 3)).astype(np.float32)
    chosen = farthest_points(jnp.asarray(points), 12)
    assert chosen.tolist() == farthest_by_loop(points, 12)
    centres = points[np.asarray(chosen)]
    found = nearest_points(jnp.asarray(points), jnp.asarray(centres), 7)
    assert found.tolist() == nearest_by_loop(points, centres, 7)


def test_groups_are_images_of_absolute_coordinates(rng):
    points = rng.uniform(-1, 1, (2, 40, 3)).astype(np.float32)
    images = np.asarray(group_points(points, neighbours=5, centres=6))
    assert (images.shape, images.dtype) == ((2, 5, 6, 3), np.uint8)
    for cloud, image in zip(points, images, strict=True):
        centres = farthest_by_loop(cloud, 6)
        for column, centre in enumerate(centres):
            rows = nearest_by_loop(cloud, cloud[[centre]], 5)[0]
            wanted = np.rint(cloud[rows] * np.float32(127)) + 127
            np.testing.assert_array_equal(image[:, column], wanted.astype(np.uint8))


def test_what_lies_outside_is_clipped():
    points = jnp.array([[[-3.0, 0.0, 3.0], [1.0, -1.0, 0.0]]])
    image = np.asarray(group_points(points, neighbours=1, centres=2))[0, 0]
    assert image.tolist() == [[0, 127, 254], [254, 0, 127]]


def test_counts_beyond_the_points_are_refused():
    points = jnp.zeros((4, 3))
    with pytest.raises(ValueError, match="count must be 1 to the 4 points, got 5"):
        farthest_points(points, 5)
    with pytest.raises(ValueError, match="count must be 1 to the 4 points, got 0"):
        nearest_points(points, points, 0)


def test_published_parameters_and_processors():
    model = zoo.blank_model("pointnet")
    weights = sum(p.spec.n_weights(p.in_shape) + p.spec.neurons for p in model.programs)
    assert weights == 601_928  # published as 602K
    assert mapping.place(model, mapping.AKD1000, mode="minimal").nps == 12
    kernels = [layer.kernel_size for layer in model.layers[:8]]
    assert kernels == [3] + [1] * 7


def test_augmentation_keeps_height_over_radius(rng):
    """A turn about the third axis keeps the ratio of heights to horizontal distances."""
    x = rng.integers(40, 215, (3, 4, 5, 3), dtype=np.uint8)
    y = np.asarray(augment_points(jax.random.key(0), jnp.asarray(x)))
    assert (y.shape, y.dtype) == (x.shape, np.uint8)
    before, after = (v.astype(np.float64) - SHIFT for v in (x, y))
    radius = [np.hypot(v[..., 0], v[..., 1]) for v in (before, after)]
    for i in range(len(x)):
        # Levels are rounded by half a level: a height of h and a radius of r are known to
        # 0.5 and 0.5 * sqrt(2), the scale of a cloud from its largest radius likewise.
        largest = radius[0][i].argmax()
        scale = radius[1][i].flat[largest] / radius[0][i].flat[largest]
        slack = 0.75 * (1 + radius[0][i] / radius[0][i].max())
        assert 0.75 < scale < 1.05
        assert (np.abs(radius[1][i] - scale * radius[0][i]) <= slack).all()
        height = np.abs(after[i, ..., 2] - scale * before[i, ..., 2])
        assert (height <= 0.5 + 0.75 * np.abs(before[i, ..., 2]) / radius[0][i].max()).all()
    again = np.asarray(augment_points(jax.random.key(1), jnp.asarray(x)))
    assert (again != y).any()
    moved = np.asarray(augment_points(jax.random.key(0), jnp.asarray(x), jitter=0.05))
    assert 2 < np.abs(moved.astype(int) - y).mean() < 10  # 0.05 of a radius is 6 levels
