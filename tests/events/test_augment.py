import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from akida_jax.events import augment_frames
from akida_jax.events.augment import _find_sources


def find_slowly(angle, shift, height, width):
    """The same rule, one pixel at a time: undo the shift, round, undo the turn, round."""
    sources = []
    for i in range(height):
        for j in range(width):
            row, column = math.floor(i - shift[0] + 0.5), math.floor(j - shift[1] + 0.5)
            found = 0 <= row < height and 0 <= column < width
            y, x = row - (height - 1) / 2, column - (width - 1) / 2
            row = math.floor(math.sin(angle) * x + math.cos(angle) * y + (height - 1) / 2 + 0.5)
            column = math.floor(math.cos(angle) * x - math.sin(angle) * y + (width - 1) / 2 + 0.5)
            found = found and 0 <= row < height and 0 <= column < width
            sources.append(row * width + column if found else height * width)
    return sources


def move(frame, angle=0.0, shift=(0.0, 0.0)):
    height, width = frame.shape
    source = _find_sources(jnp.array([angle]), jnp.array([shift]), height, width)[0]
    return np.append(frame.reshape(-1), 0)[np.asarray(source)].reshape(height, width)


FRAME = np.array([[1, 2, 3], [4, 5, 6], [7, 8, 9]])


def test_quarter_turn_is_counter_clockwise():
    np.testing.assert_array_equal(move(FRAME, math.pi / 2), [[3, 6, 9], [2, 5, 8], [1, 4, 7]])


def test_positive_shift_moves_down_and_right():
    np.testing.assert_array_equal(move(FRAME, shift=(1.0, 0.0)), [[0, 0, 0], [1, 2, 3], [4, 5, 6]])
    np.testing.assert_array_equal(move(FRAME, shift=(0.0, 2.0)), [[0, 0, 1], [0, 0, 4], [0, 0, 7]])
    np.testing.assert_array_equal(move(FRAME, shift=(0.4, -0.4)), FRAME)


def test_turn_comes_before_shift():
    turned = [[0, 3, 6], [0, 2, 5], [0, 1, 4]]
    np.testing.assert_array_equal(move(FRAME, math.pi / 2, (0.0, 1.0)), turned)


@pytest.mark.parametrize("size", [(7, 9), (8, 6)])
def test_same_as_plain_loops(size):
    rng = np.random.default_rng(0)
    angle = rng.uniform(-1, 1, 20).astype(np.float32)
    shift = rng.uniform(-2, 2, (20, 2)).astype(np.float32)
    found = np.asarray(_find_sources(jnp.asarray(angle), jnp.asarray(shift), *size))
    expected = [find_slowly(float(a), s.tolist(), *size) for a, s in zip(angle, shift, strict=True)]
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.float32])
def test_dtype_and_values_are_kept(dtype):
    frames = np.random.default_rng(0).integers(1, 16, (6, 16, 16, 4)).astype(dtype)
    moved = np.asarray(augment_frames(jax.random.key(0), frames))
    assert moved.dtype == dtype
    assert moved.shape == frames.shape
    assert set(np.unique(moved)) <= set(np.unique(frames)) | {0}
    assert np.any(moved != frames)


def test_no_movement_changes_nothing():
    frames = np.random.default_rng(0).integers(0, 16, (3, 8, 9, 2)).astype(np.uint8)
    moved = augment_frames(jax.random.key(0), frames, rotation=0.0, translation=0.0)
    np.testing.assert_array_equal(moved, frames)


def test_same_key_same_result_other_key_other_result():
    frames = np.random.default_rng(0).integers(0, 16, (4, 16, 16, 2)).astype(np.uint8)
    first = augment_frames(jax.random.key(1), frames)
    np.testing.assert_array_equal(first, augment_frames(jax.random.key(1), frames))
    assert np.any(first != augment_frames(jax.random.key(2), frames))


def test_samples_move_apart_and_channels_together():
    one = np.random.default_rng(0).integers(1, 16, (1, 16, 16, 1)).astype(np.uint8)
    moved = np.asarray(augment_frames(jax.random.key(0), np.tile(one, (8, 1, 1, 3))))
    np.testing.assert_array_equal(moved[..., 0], moved[..., 2])
    assert len({sample.tobytes() for sample in moved}) > 1


def test_shift_stays_within_its_fraction():
    frames = np.zeros((200, 20, 20, 1), np.uint8)
    frames[:, 10, 10] = 1
    moved = np.asarray(augment_frames(jax.random.key(0), frames, rotation=0.0, translation=0.1))
    _, rows, columns, _ = np.nonzero(moved)
    assert len(rows) == 200
    assert set(rows) == set(columns) == {8, 9, 10, 11, 12}


def test_works_inside_jit_and_vmap():
    frames = np.random.default_rng(0).integers(0, 16, (2, 3, 8, 8, 2)).astype(np.uint8)
    keys = jax.random.split(jax.random.key(0), 2)
    moved = jax.jit(jax.vmap(augment_frames))(keys, frames)
    np.testing.assert_array_equal(moved[1], augment_frames(keys[1], frames[1]))


@pytest.mark.parametrize("options", [{"rotation": -0.1}, {"translation": -0.1}])
def test_negative_fractions_are_refused(options):
    with pytest.raises(ValueError, match="must not be negative"):
        augment_frames(jax.random.key(0), np.zeros((1, 4, 4, 1)), **options)
