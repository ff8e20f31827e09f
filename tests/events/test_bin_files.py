import numpy as np
import pytest

from akida_jax.events import EVENT_DTYPE, EventFileError, read_bin, write_bin

# x, y, polarity and time 0x01_02_03 = 66051 us; then Off at 0x7F_FF_FF = 8388607 us.
TWO = bytes([7, 9, 0x81, 0x02, 0x03, 33, 0, 0x7F, 0xFF, 0xFF])


def record(x, y, t, p):
    return bytes([x, y, (p << 7) | (t >> 16), (t >> 8) & 255, t & 255])


def test_bytes_worked_by_hand(tmp_path):
    (tmp_path / "a.bin").write_bytes(TWO)
    events = read_bin(tmp_path / "a.bin")
    assert events.dtype == EVENT_DTYPE
    assert events.tolist() == [(7, 9, 66051, True), (33, 0, 8388607, False)]


def test_written_bytes_worked_by_hand(tmp_path):
    events = np.array([(7, 9, 66051, True), (33, 0, 8388607, False)], EVENT_DTYPE)
    write_bin(tmp_path / "a.bin", events)
    assert (tmp_path / "a.bin").read_bytes() == TWO
    assert [path.name for path in tmp_path.iterdir()] == ["a.bin"]


def test_random_events_survive(tmp_path):
    rng = np.random.default_rng(0)
    events = np.empty(500, EVENT_DTYPE)
    events["x"], events["y"] = rng.integers(0, 256, 500), rng.integers(0, 240, 500)
    events["t"], events["p"] = np.sort(rng.integers(0, 2**23, 500)), rng.integers(0, 2, 500)
    write_bin(tmp_path / "a.bin", events)
    np.testing.assert_array_equal(read_bin(tmp_path / "a.bin"), events)


def test_empty_file_holds_no_events(tmp_path):
    (tmp_path / "a.bin").write_bytes(b"")
    events = read_bin(tmp_path / "a.bin", (34, 34))
    assert events.shape == (0,)
    assert events.dtype == EVENT_DTYPE


def test_clock_steps_are_dropped_and_add_8192_us(tmp_path):
    steps = [(1, 1, 50, 1), (0, 240, 0, 0), (2, 2, 10, 0), (0, 240, 5, 0), (3, 3, 20, 1)]
    (tmp_path / "a.bin").write_bytes(b"".join(record(*step) for step in steps))
    events = read_bin(tmp_path / "a.bin", (34, 34))
    assert events.tolist() == [(1, 1, 50, True), (2, 2, 8202, False), (3, 3, 16404, True)]


def test_truncated_file(tmp_path):
    (tmp_path / "a.bin").write_bytes(TWO + b"\x01\x02")
    with pytest.raises(EventFileError, match=r"truncated, 2 bytes left .* 2 whole events") as info:
        read_bin(tmp_path / "a.bin")
    error = info.value
    assert (error.path, error.n_events, error.offset_bytes) == (tmp_path / "a.bin", 2, 10)
    assert error.events["x"].tolist() == [7, 33]
    assert "broken at byte 10" in str(error)


def test_event_outside_the_sensor(tmp_path):
    rows = [(1, 1, 1, 1), (0, 240, 2, 0), (34, 3, 3, 1)]
    (tmp_path / "a.bin").write_bytes(b"".join(record(*row) for row in rows))
    with pytest.raises(EventFileError, match=r"event 1 lies at \(34, 3\), outside 34 x 34") as info:
        read_bin(tmp_path / "a.bin", (34, 34))
    assert (info.value.n_events, info.value.offset_bytes) == (1, 10)


def test_time_that_runs_backward(tmp_path):
    rows = [(1, 1, 10, 1), (2, 1, 20, 1), (3, 1, 19, 1)]
    (tmp_path / "a.bin").write_bytes(b"".join(record(*row) for row in rows))
    with pytest.raises(EventFileError, match="event 2 runs backward in time, 19 us after 20") as e:
        read_bin(tmp_path / "a.bin")
    assert (e.value.n_events, e.value.offset_bytes) == (2, 10)
    assert read_bin(tmp_path / "a.bin", sort=True)["x"].tolist() == [1, 3, 2]


def test_the_first_of_two_faults_is_reported(tmp_path):
    rows = [(1, 1, 10, 1), (2, 1, 5, 1), (99, 1, 19, 1)]
    (tmp_path / "a.bin").write_bytes(b"".join(record(*row) for row in rows) + b"\x00")
    with pytest.raises(EventFileError, match="event 1 runs backward"):
        read_bin(tmp_path / "a.bin", (34, 34))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ((256, 0, 0, 1), "x is above 255"),
        ((0, 256, 0, 1), "y is above 255"),
        ((0, 240, 0, 1), "row 240 marks a step of the clock"),
        ((0, 0, 2**23, 1), "times must be below 8388608 us"),
    ],
)
def test_events_that_do_not_fit_are_refused(tmp_path, row, message):
    events = np.array([(0, 0, 0, 0), row], EVENT_DTYPE)
    with pytest.raises(ValueError, match=rf"event 1 .*{message}"):
        write_bin(tmp_path / "a.bin", events)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.bin"
    path.write_bytes(TWO)

    def fail(self, target):
        raise OSError("disk full")

    monkeypatch.setattr("pathlib.Path.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_bin(path, np.zeros(3, EVENT_DTYPE))
    assert path.read_bytes() == TWO
    assert [file.name for file in tmp_path.iterdir()] == ["a.bin"]


def test_real_clip(data_dir):
    path = data_dir / "dvs_gesture_clips" / "01_hand_clapping.bin"
    events = read_bin(path, (128, 128))
    raw = path.read_bytes()
    assert len(events) == 63_471 == len(raw) // 5
    for i in (0, 1, 31_000, 63_470):
        x, y, a, b, c = raw[5 * i : 5 * i + 5]
        assert events[i].item() == (x, y, ((a & 127) << 16) + (b << 8) + c, a >= 128)
