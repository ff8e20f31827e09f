import struct

import numpy as np
import pytest

from akida_jax.events import (
    EVENT_DTYPE,
    EventFileError,
    Trial,
    gesture_trials,
    read_aedat31,
    read_gesture_labels,
)

LINES = b"#!AER-DAT3.1\r\n#Format: RAW\r\n#Source 1: DVS128\r\n#!END-HEADER\r\n"


def polarity_event(x, y, t, p, valid=1):
    return struct.pack("<Ii", valid | (p << 1) | (y << 2) | (x << 17), t)


def packet(*payload, event_type=1, size=8, overflow=0, room=None, valid=None):
    n = len(payload)
    room, valid = n if room is None else room, n if valid is None else valid
    header = struct.pack("<hhiiiiii", event_type, 1, size, 4, overflow, room, n, valid)
    return header + b"".join(payload)


@pytest.fixture
def write(tmp_path):
    def write(*parts, lines=LINES):
        path = tmp_path / "user.aedat"
        path.write_bytes(lines + b"".join(parts))
        return path

    return write


A, B, C = (polarity_event(*row) for row in [(1, 2, 10, 1), (32767, 3, 20, 0), (5, 32767, 30, 1)])


def test_events_worked_by_hand(write):
    # x = 5 in bits 17 up, y = 3 in bits 2 up, On, valid: 0x000A000F.
    raw = struct.pack("<Ii", 0x000A000F, 99)
    events = read_aedat31(write(packet(raw)))
    assert events.dtype == EVENT_DTYPE
    assert events.tolist() == [(5, 3, 99, True)]


def test_packets_join_and_other_types_are_skipped(write):
    special = packet(b"\xff" * 8, event_type=0)
    frame = packet(b"\xff" * 40, event_type=2, size=40)
    events = read_aedat31(write(packet(A), special, packet(B, C), frame))
    assert events.tolist() == [(1, 2, 10, True), (32767, 3, 20, False), (5, 32767, 30, True)]


def test_invalid_events_are_dropped(write):
    events = read_aedat31(write(packet(A, polarity_event(7, 7, 15, 1, valid=0), B, valid=2)))
    assert events["x"].tolist() == [1, 32767]


def test_overflow_counts_from_bit_31(write):
    events = read_aedat31(write(packet(A), packet(A, overflow=2)))
    assert events["t"].tolist() == [10, 10 + 2 * 2**31]


def test_no_packets_means_no_events(write):
    assert read_aedat31(write()).shape == (0,)
    assert read_aedat31(write(packet())).shape == (0,)


@pytest.mark.parametrize("lines", [b"", b"#!AER-DAT2.0\r\n", b"hello\n"])
def test_other_first_line_is_refused(write, lines):
    with pytest.raises(EventFileError, match=r"not AEDAT 3\.1.* 0 whole events read.* byte 0"):
        read_aedat31(write(lines=lines))


def test_header_without_end_is_refused(write):
    with pytest.raises(EventFileError, match="end without '#!END-HEADER'") as info:
        read_aedat31(write(packet(A), lines=b"#!AER-DAT3.1\r\n#Format: RAW\r\n"))
    assert info.value.offset_bytes == 28


def test_truncated_payload(write):
    path = write(packet(A), packet(B, C)[:-3])
    with pytest.raises(EventFileError, match="truncated packet, 13 of 16 bytes left") as info:
        read_aedat31(path)
    assert info.value.n_events == 2
    assert info.value.events["t"].tolist() == [10, 20]
    assert info.value.offset_bytes == len(LINES) + (28 + 8) + 28 + 8


def test_truncated_packet_header(write):
    path = write(packet(A), packet(B)[:20])
    with pytest.raises(EventFileError, match="truncated packet header; 1 whole events") as info:
        read_aedat31(path)
    assert info.value.offset_bytes == len(LINES) + 36


def test_truncated_packet_of_another_type(write):
    path = write(packet(A), packet(b"\xff" * 40, event_type=2, size=40)[:-1])
    with pytest.raises(EventFileError, match="truncated packet, 39 of 40 bytes left") as info:
        read_aedat31(path)
    assert info.value.n_events == 1


@pytest.mark.parametrize(
    "bad",
    [
        packet(A, size=0),
        packet(A, size=-8),
        packet(A, size=16),
        packet(A, overflow=-1),
        packet(A, valid=2),
        packet(A, valid=-1),
        packet(A, room=0),
        packet(A, event_type=-1),
    ],
)
def test_corrupt_packet_header(write, bad):
    path = write(packet(A, B), bad)
    with pytest.raises(EventFileError, match="corrupt packet header") as info:
        read_aedat31(path)
    assert (info.value.n_events, info.value.offset_bytes) == (2, len(LINES) + 44)


def test_a_line_without_end_is_refused_before_it_is_read(write):
    """Neither a line nor all of them may take the memory of a large file."""
    for lines, message in (
        (b"#!AER-DAT3.1\r\n#" + b"x" * 5000, "has more than 4096 bytes; .* byte 14"),
        (b"#!AER-DAT3.1\r\n" + b"#x\r\n" * 20_000, "lines take more than 65536 bytes"),
        (b"#!AER-DAT3.1\r\n#x", "a header line is cut short"),
    ):
        with pytest.raises(EventFileError, match=rf"user\.aedat: .*{message}"):
            read_aedat31(write(lines=lines))


@pytest.mark.parametrize("valid", [0, 1])
def test_a_packet_that_holds_other_than_its_header_says(write, valid):
    path = write(packet(A), packet(B, C, valid=valid))
    with pytest.raises(EventFileError, match=rf"2 of its events .* says {valid}; ") as info:
        read_aedat31(path)
    assert (info.value.n_events, info.value.offset_bytes) == (1, len(LINES) + 36)


def test_event_outside_the_sensor(write):
    path = write(packet(A, polarity_event(128, 3, 20, 1), C))
    with pytest.raises(EventFileError, match=r"at \(128, 3\), outside 128 x 128; 1 whole") as info:
        read_aedat31(path, (128, 128))
    assert info.value.events["x"].tolist() == [1]
    path = write(packet(C, B))
    with pytest.raises(EventFileError, match=r"outside 128 x 128; 0 whole events"):
        read_aedat31(path, (128, 128))  # the first of two faults


def test_negative_time(write):
    path = write(packet(A, polarity_event(1, 1, -5, 1), C))
    with pytest.raises(EventFileError, match="corrupt event, its time is negative") as info:
        read_aedat31(path)
    assert (info.value.n_events, info.value.offset_bytes) == (1, len(LINES) + 28 + 8)


@pytest.mark.parametrize("parts", [(packet(A, C, B),), (packet(A, C), packet(B))])
def test_time_that_runs_backward(write, parts):
    path = write(*parts)
    with pytest.raises(EventFileError, match=r"runs backward .* 2 whole events"):
        read_aedat31(path)
    assert read_aedat31(path, sort=True)["t"].tolist() == [10, 20, 30]


@pytest.fixture
def labels(tmp_path):
    def labels(text):
        path = tmp_path / "user_labels.csv"
        path.write_text(text)
        return path

    return labels


def test_labels_count_from_zero(labels):
    path = labels("class,startTime_usec,endTime_usec\n1,10,20\n11,20,35\n\n")
    assert read_gesture_labels(path) == [Trial(0, 10, 20), Trial(10, 20, 35)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: must be 'class,startTime_usec,endTime_usec', got ''"),
        ("class,start,end\n", "line 1: must be .*got 'class,start,end'"),
        ("class,startTime_usec,endTime_usec\n1,2,3\n4,5\n", "line 3: needs 3 fields, got 2"),
        (
            "class,startTime_usec,endTime_usec\n1,x,3\n",
            "line 2: class, start and end must be .*'1,x,3'",
        ),
        ("class,startTime_usec,endTime_usec\n1,-2,3\n", "line 2: .* whole numbers, got '1,-2,3'"),
        ("class,startTime_usec,endTime_usec\n\n", "labels.csv: names no trial"),
        ("class,startTime_usec,endTime_usec\n12,2,3\n", "line 2: class must be 1 to 11, got 12"),
        ("class,startTime_usec,endTime_usec\n1,2," + "9" * 19, "line 2: numbers .* 18 .* got 19"),
        ('class,startTime_usec,endTime_usec\n1,"' + "9" * 200_000, "line 2: field larger than"),
        ("9" * 200_000, "line 1: field larger than"),
        ("class,startTime_usec,endTime_usec\n1,9,3\n", "line 2: a trial cannot run from 9 to 3"),
    ],
)
def test_bad_labels_name_the_line(labels, text, message):
    with pytest.raises(ValueError, match=message):
        read_gesture_labels(labels(text))


def test_labels_that_are_no_text_are_refused(tmp_path):
    path = tmp_path / "user_labels.csv"
    path.write_bytes(b"class\xff\x00")
    with pytest.raises(ValueError, match=r"user_labels\.csv: must be UTF-8 text, but byte 5"):
        read_gesture_labels(path)


def test_trials_include_their_start_and_exclude_their_end(write, labels):
    path = labels("class,startTime_usec,endTime_usec\n3,10,20\n1,20,31\n2,21,30\n")
    events = [polarity_event(1, 2, t, 1) for t in (10, 20, 30)]
    trials = gesture_trials(write(packet(*events)), path)
    assert [label for label, _ in trials] == [2, 0, 1]
    assert [events["t"].tolist() for _, events in trials] == [[0], [0, 10], []]


@pytest.mark.parametrize(("user", "n_events"), [("user01", 42_304), ("user24", 21_167)])
def test_real_sessions(data_dir, user, n_events):
    folder = data_dir / "dvs_gesture_official" / "DvsGesture"
    name = f"{user}_fluorescent_led"
    trials = gesture_trials(folder / f"{name}.aedat", folder / f"{name}_labels.csv")
    assert [label for label, _ in trials] == list(range(10))
    assert len(trials[0][1]) == n_events
    assert all(np.all(np.diff(events["t"]) >= 0) for _, events in trials)
    assert max(int(events["x"].max()) for _, events in trials) == 127
    # A hand that waves is held above the hands that strum: rows count from the top.
    assert np.mean(trials[1][1]["y"]) < np.mean(trials[9][1]["y"])


def test_real_session_agrees_with_the_clip_it_was_made_of(data_dir):
    folder = data_dir / "dvs_gesture_official" / "DvsGesture"
    name = "user01_fluorescent_led"
    trials = gesture_trials(folder / f"{name}.aedat", folder / f"{name}_labels.csv")
    raw = np.fromfile(data_dir / "dvs_gesture_clips" / "08_arm_roll.bin", np.uint8).reshape(-1, 5)
    events = trials[7][1]
    np.testing.assert_array_equal(events["x"], raw[: len(events), 0])
    np.testing.assert_array_equal(events["y"], raw[: len(events), 1])
    np.testing.assert_array_equal(events["p"], raw[: len(events), 2] >= 128)
