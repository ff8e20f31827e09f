import numpy as np
import pytest

from akida_jax.events import EVENT_DTYPE, build_frames
from akida_jax.events import frames as frames_module


def make(rows):
    return np.array(rows, EVENT_DTYPE)


def draw(n, width, height, duration_us, seed=0):
    rng = np.random.default_rng(seed)
    events = np.empty(n, EVENT_DTYPE)
    events["x"], events["y"] = rng.integers(0, width, n), rng.integers(0, height, n)
    events["t"], events["p"] = np.sort(rng.integers(0, duration_us, n)), rng.integers(0, 2, n)
    return events


def build_slowly(recordings, sensor, window, bins, stride, clip, shrink, pool, crop, durations):
    """The same rule as loops over Python integers; all times in microseconds."""
    width, height = (-(-size // shrink) for size in sensor)
    inner_width, inner_height = crop or (width, height)
    left, top = (width - inner_width) // 2, (height - inner_height) // 2
    frames, origin = [], []
    for index, events in enumerate(recordings):
        start = 0
        while start + window <= durations[index]:
            frame = np.zeros((inner_height, inner_width, 2 * bins), np.int64)
            for x, y, t, p in events.tolist():
                column, row = x // shrink - left, y // shrink - top
                inside = 0 <= column < inner_width and 0 <= row < inner_height
                if inside and start <= t < start + window:
                    bin_index = (t - start) // (window // bins)
                    frame[row, column, 2 * bin_index + (0 if p else 1)] += 1
            frame = np.minimum(frame, clip)
            if pool == 2:
                quarters = [frame[i::2, j::2] for i in (0, 1) for j in (0, 1)]
                frame = np.maximum.reduce(quarters)
            frames.append(frame.astype(np.uint8))
            origin.append(index)
            start += stride
    return np.array(frames), np.array(origin, np.int32)


def test_counts_worked_by_hand():
    # Bins of 20 ms: 0 to 19,999 us and so on; the last event belongs to the second window.
    rows = [
        (0, 0, 0, 1),
        (0, 0, 19_999, 1),
        (0, 0, 20_000, 1),
        (2, 1, 99_999, 0),
        (1, 0, 100_000, 0),
    ]
    frames, origin = build_frames([make(rows)], sensor=(3, 2), duration_ms=200)
    assert frames.shape == (2, 2, 3, 10)
    assert frames.dtype == np.uint8
    assert origin.tolist() == [0, 0]
    assert origin.dtype == np.int32
    expected = np.zeros((2, 2, 3, 10), np.uint8)
    expected[0, 0, 0, 0] = 2
    expected[0, 0, 0, 2] = 1
    expected[0, 1, 2, 9] = 1
    expected[1, 0, 1, 1] = 1
    np.testing.assert_array_equal(frames, expected)


@pytest.mark.parametrize(
    ("stride", "shrink", "pool", "crop"),
    [
        (10_000, 1, 1, None),
        (4_000, 1, 1, None),
        (7_000, 2, 1, None),
        (13_000, 2, 2, None),
        (10_000, 1, 2, (6, 4)),
        (3_000, 1, 1, (5, 3)),
    ],
)
@pytest.mark.parametrize("max_counters", [2**22, 500])
def test_same_as_plain_loops(monkeypatch, stride, shrink, pool, crop, max_counters):
    monkeypatch.setattr(frames_module, "_MAX_COUNTERS", max_counters)
    recordings = [draw(n, 12, 8, 45_000, seed=n) for n in (300, 0, 1, 900)]
    durations = [45_000, 20_000, 31_000, 44_999]
    frames, origin = build_frames(
        recordings,
        sensor=(12, 8),
        window_ms=10,
        bins=2,
        stride_ms=stride / 1000,
        clip=3,
        halve=shrink == 2,
        max_pool=pool,
        crop=crop,
        duration_ms=[duration / 1000 for duration in durations],
    )
    expected, expected_origin = build_slowly(
        recordings, (12, 8), 10_000, 2, stride, 3, shrink, pool, crop, durations
    )
    np.testing.assert_array_equal(frames, expected)
    np.testing.assert_array_equal(origin, expected_origin)


def test_every_event_of_whole_windows_is_counted_once():
    events = draw(2000, 34, 34, 300_000)
    frames, _ = build_frames([events], sensor=(34, 34), clip=255, duration_ms=300)
    assert int(frames.sum()) == 2000
    assert int(frames[..., 0::2].sum()) == int(events["p"].sum())


def test_order_inside_a_bin_does_not_matter():
    events = draw(500, 4, 4, 20_000)
    shuffled = events[np.random.default_rng(1).permutation(500)]
    shuffled["t"] = np.sort(shuffled["t"])
    pair, _ = build_frames([events, shuffled], sensor=(4, 4), window_ms=20, bins=1, duration_ms=20)
    np.testing.assert_array_equal(pair[0], pair[1])


def test_clip_is_monotone_and_bounded():
    events = draw(3000, 4, 4, 100_000)
    low, _ = build_frames([events], sensor=(4, 4), duration_ms=100)
    high, _ = build_frames([events], sensor=(4, 4), duration_ms=100, clip=255)
    assert int(low.max()) == 15
    np.testing.assert_array_equal(low, np.minimum(high, 15))


def test_duration_defaults_to_the_last_event():
    rows = [(0, 0, 0, 1), (0, 0, 200_000, 1)]
    frames, origin = build_frames([make(rows), make(rows[:1])], sensor=(1, 1))
    assert len(frames) == 2
    assert origin.tolist() == [0, 0]


def test_empty_recordings():
    empty = make([])
    frames, origin = build_frames([empty], sensor=(4, 6))
    assert frames.shape == (0, 6, 4, 10)
    assert origin.shape == (0,)
    frames, origin = build_frames([empty, empty], sensor=(4, 6), duration_ms=250)
    assert origin.tolist() == [0, 0, 1, 1]
    assert not frames.any()
    assert build_frames([], sensor=(4, 6))[0].shape == (0, 6, 4, 10)


def test_fields_of_other_integer_types():
    narrow = np.array([(1, 0, 5, -1)], [("x", "u1"), ("y", "u1"), ("t", "u4"), ("p", "i1")])
    frames, _ = build_frames([narrow], sensor=(2, 1), window_ms=10, duration_ms=10)
    assert np.argwhere(frames).tolist() == [[0, 0, 1, 1]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window_ms": 100.0005}, "window_ms must be a whole number of microseconds"),
        ({"window_ms": 100, "bins": 7}, "100000 us cannot be cut into 7 bins"),
        ({"window_ms": 0}, "0 us cannot be cut into 5 bins"),
        ({"bins": 0}, "cannot be cut into 0 bins"),
        ({"stride_ms": 0}, "stride_ms must be positive"),
        ({"stride_ms": -5}, "stride_ms must be a whole number"),
        ({"clip": 0}, "clip must be 1 to 255, got 0"),
        ({"clip": 256}, "clip must be 1 to 255, got 256"),
        ({"max_pool": 3}, "max_pool must be 1 or 2, got 3"),
        ({"sensor": (0, 4)}, r"positive width and height, got \(0, 4\)"),
        ({"crop": (9, 4)}, r"crop \(9, 4\) does not fit into 8 x 6 pixels"),
        ({"crop": (3, 4), "max_pool": 2}, "3 x 4 pixels cannot be pooled"),
        ({"duration_ms": [1, 2]}, "2 durations given for 1 recordings"),
        ({"duration_ms": -1}, "duration_ms must be a whole number"),
    ],
)
def test_bad_parameters_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        build_frames([draw(10, 8, 6, 1000)], **({"sensor": (8, 6)} | options))


def test_event_outside_the_sensor_is_refused():
    good, bad = make([(0, 0, 0, 1)]), make([(0, 0, 0, 1), (2, 9, 3, 1)])
    with pytest.raises(
        ValueError, match=r"recording 1: event 1 lies at \(2, 9\), outside .* 4 x 9"
    ):
        build_frames([good, bad], sensor=(4, 9))


def test_malformed_recording_is_named():
    backward = make([(0, 0, 5, 1), (0, 0, 4, 1)])
    with pytest.raises(ValueError, match="recording 1: time runs backward at event 1"):
        build_frames([make([]), backward], sensor=(4, 4))
