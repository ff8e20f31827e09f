import itertools

import numpy as np
import pytest

from akida_jax.events import EVENT_DTYPE, GESTURE_NAMES, as_events, read_bin, synthetic_gestures
from akida_jax.events.gestures import _MOVEMENTS, _circle, _Style, draw_scene
from akida_jax.events.synthetic import _find_events

DURATION_MS = 200


@pytest.fixture(scope="module")
def gestures():
    return synthetic_gestures(5, n_per_class=2, duration_ms=DURATION_MS)


def test_recordings_are_valid_and_inside_the_sensor(gestures):
    recordings, labels = gestures
    assert labels.dtype == np.int32
    assert labels.tolist() == 2 * list(range(11))
    for events in recordings:
        np.testing.assert_array_equal(as_events(events), events)
        assert events.dtype == EVENT_DTYPE
        assert int(max(events["x"].max(), events["y"].max())) < 128
        assert int(events["t"].max()) < DURATION_MS * 1000


def test_event_rates_are_those_of_an_event_camera(gestures):
    # Real clips of DVS128 Gesture have 44,000 to 125,000 events per second.
    rates = np.array([len(events) for events in gestures[0]]) / (DURATION_MS / 1000)
    assert rates.min() > 3_000
    assert rates.max() < 400_000
    assert 20_000 < np.median(rates) < 150_000


def test_same_arguments_same_events(gestures):
    again, _ = synthetic_gestures(5, n_per_class=2, duration_ms=DURATION_MS)
    for first, second in zip(gestures[0], again, strict=True):
        np.testing.assert_array_equal(first, second)


def test_a_larger_set_contains_the_smaller(gestures):
    small, labels = synthetic_gestures(5, n_per_class=1, duration_ms=DURATION_MS)
    assert len(small) == len(labels) == 11
    for first, second in zip(small, gestures[0], strict=False):
        np.testing.assert_array_equal(first, second)


def test_another_seed_gives_other_recordings(gestures):
    other, _ = synthetic_gestures(6, n_per_class=1, duration_ms=DURATION_MS)
    sizes = {len(events) for events in gestures[0]}
    assert sum(len(events) in sizes for events in other) <= 1


def test_the_moving_side_is_the_named_one(gestures):
    recordings, labels = gestures
    right, left = (
        np.mean([np.median(recordings[i]["x"]) for i in np.flatnonzero(np.isin(labels, classes))])
        for classes in ([1, 3, 4], [2, 5, 6])
    )
    assert right < 64 < left


def test_nothing_asked_nothing_made():
    recordings, labels = synthetic_gestures(0, n_per_class=0)
    assert recordings == []
    assert labels.shape == (0,)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seed": -1, "n_per_class": 1}, "must be 0 or more, got -1 and 1"),
        ({"seed": 0, "n_per_class": -2}, "must be 0 or more, got 0 and -2"),
        ({"seed": 0, "n_per_class": 1, "duration_ms": 0}, "duration_ms must be positive, got 0"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        synthetic_gestures(**arguments)


def test_events_of_a_pixel_worked_by_hand():
    # One pixel, changes in thresholds. From 0.5 up to 2.5 in the first 4 ms: 1 is passed after a
    # quarter, 2 after three quarters. 0.5 is kept; from there down to -1.0: reached at the end.
    change = np.array([0.5, 2.5, -1.0], np.float32).reshape(3, 1, 1)
    assert _find_events(change).tolist() == [
        (0, 0, 1000, True),
        (0, 0, 3000, True),
        (0, 0, 8000, False),
    ]


def test_pixels_that_do_not_reach_a_threshold_are_silent():
    change = np.array([0.0, 0.99, -0.99, 0.5], np.float32).reshape(4, 1, 1)
    assert len(_find_events(change)) == 0


def test_row_and_column_are_not_swapped():
    change = np.zeros((2, 3, 4), np.float32)
    change[1, 2, 3] = 1.5
    assert _find_events(change)["x"].tolist() == [3]
    assert _find_events(change)["y"].tolist() == [2]


def test_either_sense_of_rotation_passes_the_same_places():
    # Read backward in time, one sense is the other: no still picture tells them apart.
    turn = np.linspace(0, 4, 50)
    forward = _Style(turn, turn, 0.9, np.random.default_rng(0))
    backward = _Style(turn, -turn, 0.9, np.random.default_rng(0))
    np.testing.assert_array_equal(_circle(forward, 1.0, 1.0), _circle(backward, 1.0, -1.0))


def test_clockwise_is_as_the_person_sees_it():
    turn = np.linspace(0, 1, 20)
    style = _Style(turn, turn, 1.0, np.random.default_rng(0))
    for name, side in (("right_arm_clockwise", 1), ("left_arm_clockwise", 2)):
        path = _MOVEMENTS[name][side](style, 1.0)
        centred = path - [0.5, 0.02]
        # Rows count downward: a falling angle runs counter-clockwise on screen.
        assert np.all(np.diff(np.unwrap(np.arctan2(centred[:, 1], centred[:, 0]))) < 0)


@pytest.mark.parametrize("gesture", GESTURE_NAMES)
def test_limbs_move_smoothly_and_keep_their_length(gesture):
    time_s = np.arange(151) * 0.004
    for seed in range(5):
        scene = draw_scene(np.random.default_rng(seed), gesture, time_s)
        # A hand that circles 1.8 times a second, 40 pixels out, moves 1.8 pixels in 4 ms.
        assert np.abs(np.diff(scene.ends, axis=0)).max() < 4
        lengths = np.linalg.norm(scene.ends[..., :2] - scene.ends[..., 2:], axis=-1)
        assert lengths[:, 2:].max() < 0.5 * 44 * 1.1 + 1e-3


def turns_on_screen(events, duration_us):
    """Turns that the middle of the events makes, clockwise on screen, in steps of 40 ms."""
    edges = np.searchsorted(events["t"], np.arange(0, duration_us + 1, 40_000))
    parts = [events[i:j] for i, j in itertools.pairwise(edges)]
    middle = np.array([[np.median(part["x"]), np.median(part["y"])] for part in parts])
    middle -= middle.mean(0)
    angle = np.unwrap(np.arctan2(middle[:, 1], middle[:, 0]))
    return (angle[-1] - angle[0]) / (2 * np.pi)


@pytest.mark.parametrize("label", [3, 4, 5, 6])
def test_arms_turn_as_in_real_clips(data_dir, label):
    path = data_dir / "dvs_gesture_clips" / f"{label + 1:02}_{GESTURE_NAMES[label]}.bin"
    real = turns_on_screen(read_bin(path), 1_440_000)
    sense = -1 if "_arm_clockwise" in GESTURE_NAMES[label] else 1
    assert sense * real > 1
