"""Recordings cut into windows."""

import numpy as np
import pytest

from akida_jax.events import EVENT_DTYPE, as_events, build_frames
from akida_jax.pictures import cut_windows, find_extent


def recording(*events):
    return np.array(list(events), EVENT_DTYPE)


#: Times 1000, 1000, 1999, 2000, 5000 us: 0, 0, 999, 1000, 4000 after the first.
FEW = recording(
    (0, 0, 1000, True), (2, 1, 1000, False), (2, 1, 1999, False), (1, 0, 2000, True),
    (0, 1, 5000, False),
)  # fmt: skip


def test_windows_of_a_length_in_time_by_hand():
    windows, total = cut_windows(FEW, length_us=1000)
    assert total == 5
    assert [(w.start_us, w.stop_us) for w in windows] == [
        (0, 1000), (1000, 2000), (2000, 3000), (3000, 4000), (4000, 5000),
    ]  # fmt: skip
    assert [w.events["t"].tolist() for w in windows] == [[0, 0, 999], [1000], [], [], [4000]]
    counts = windows[0].counts((3, 2))
    assert (counts.dtype, counts.shape) == (np.uint8, (2, 3, 2))
    expected = np.zeros((2, 3, 2), np.uint8)
    expected[0, 0] = (1, 0)
    expected[1, 2] = (0, 2)
    np.testing.assert_array_equal(counts, expected)
    np.testing.assert_array_equal(windows[2].counts((3, 2)), 0 * expected)


def test_windows_of_a_number_of_events_by_hand():
    windows, total = cut_windows(FEW, n_events=2)
    assert total == 3
    assert [(w.start_us, w.stop_us, len(w.events)) for w in windows] == [
        (0, 1, 2), (999, 1001, 2), (4000, 4001, 1),
    ]  # fmt: skip


def test_a_later_start_and_a_limit():
    windows, total = cut_windows(FEW, length_us=1500, start_us=999, most=2)
    assert total == 3  # from 999, 2499 and 3999 on
    assert [(w.start_us, w.stop_us, len(w.events)) for w in windows] == [
        (999, 2499, 2), (2499, 3999, 0),
    ]  # fmt: skip
    windows, total = cut_windows(FEW, n_events=1, start_us=1000, most=1)
    assert (len(windows), total, windows[0].start_us) == (1, 2, 1000)


def test_the_recording_stays_as_it_was():
    before = FEW.copy()
    cut_windows(FEW, length_us=1000)
    np.testing.assert_array_equal(FEW, before)


def test_few_of_endlessly_many_windows():
    """A damaged time makes no endless list."""
    far = recording((0, 0, 0, True), (0, 0, 2**61, True))
    windows, total = cut_windows(far, length_us=1, most=3)
    assert (len(windows), total) == (3, 2**61 + 1)
    assert [len(w.events) for w in windows] == [1, 0, 0]


def random_events(rng, n=2000):
    events = np.zeros(n, EVENT_DTYPE)
    events["x"], events["y"] = rng.integers(0, 7, n), rng.integers(0, 5, n)
    events["t"] = np.sort(rng.integers(0, 10_000, n))
    events["t"][0] = 0
    events["p"] = rng.random(n) < 0.5
    return as_events(events)


@pytest.mark.parametrize("length", [{"length_us": 777}, {"n_events": 123}])
def test_every_event_is_in_one_window(rng, length):
    events = random_events(rng)
    windows, total = cut_windows(events, **length)
    assert len(windows) == total
    np.testing.assert_array_equal(np.concatenate([w.events for w in windows]), events)
    counts = sum(w.counts((7, 5)).astype(int) for w in windows)
    assert counts[..., 0].sum() == events["p"].sum()
    assert counts.sum() == len(events)


def test_counts_are_those_of_frames_with_one_bin(rng):
    events = random_events(rng)
    frames, _ = build_frames([events], sensor=(7, 5), window_ms=1.0, bins=1, clip=255)
    windows, _ = cut_windows(events, length_us=1000)
    assert len(frames) >= 9
    for frame, window in zip(frames, windows, strict=False):
        np.testing.assert_array_equal(window.counts((7, 5)), frame, strict=True)


def test_counts_end_at_255():
    many = np.zeros(300, EVENT_DTYPE)
    (window,), _ = cut_windows(many, length_us=1)
    assert window.counts((1, 1)).tolist() == [[[0, 255]]]


def test_the_extent_of_events():
    assert find_extent(FEW) == (3, 2)
    with pytest.raises(ValueError, match="the recording holds no events"):
        find_extent(FEW[:0])


@pytest.mark.parametrize(
    ("events", "settings", "message"),
    [
        (FEW, {}, "a length either in time or in events; give one of them"),
        (FEW, {"length_us": 1, "n_events": 1}, "a length either in time or in events"),
        (FEW, {"length_us": 0}, "a length and a number from 1 and a start from 0, got 0, 1000"),
        (FEW, {"n_events": 1, "most": 0}, "got 1, 0 and 0"),
        (FEW, {"n_events": 1, "start_us": -1}, "got 1, 1000 and -1"),
        (FEW, {"length_us": 1, "start_us": 4001},
         "no events from 4001 us on: the last comes 4000 us after the first"),
        (FEW[:0], {"length_us": 1}, "the recording holds no events"),
        (FEW[::-1], {"length_us": 1}, "time runs backward at event 1"),
    ],
)  # fmt: skip
def test_what_cannot_be_cut_is_refused(events, settings, message):
    with pytest.raises(ValueError, match=message):
        cut_windows(events, **settings)


def test_an_event_outside_the_sensor_is_refused():
    (window, *_), _ = cut_windows(FEW, length_us=1000)
    with pytest.raises(ValueError, match=r"lies at \(2, 1\), outside the sensor of 2 x 2 pixels"):
        window.counts((2, 2))
