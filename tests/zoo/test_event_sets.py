import numpy as np
import pytest

from akida_jax.events import EVENT_DTYPE, GESTURE_NAMES, build_frames, write_bin
from akida_jax.zoo.datasets import (
    EventDataset,
    EventSplit,
    event_frames,
    fingerprint,
    load_recordings,
)


def make_split(rows, n, duration_us):
    recordings = [np.array(rows, EVENT_DTYPE)] * n
    return EventSplit(recordings, np.arange(n, dtype=np.int32), [duration_us] * n)


def make_dataset(sensor, rows=((5, 7, 3, 1),)):
    split = make_split(list(rows), 2, 200_000)
    return EventDataset("made", ("a", "b"), sensor, split, split)


def test_unknown_name_lists_the_known():
    with pytest.raises(ValueError, match="one of synthetic, nmnist, clips, dvs-gesture, got 'x'"):
        load_recordings("x")


def test_synthetic_sides_have_nothing_in_common():
    data = load_recordings("synthetic", n_train_per_class=2, n_test_per_class=1, duration_ms=100)
    assert data.class_names == GESTURE_NAMES
    assert data.sensor == (128, 128)
    assert data.train.labels.tolist() == 2 * list(range(11))
    assert data.test.labels.tolist() == list(range(11))
    assert data.test.durations_us == [100_000] * 11
    trained = {events.tobytes() for events in data.train.recordings}
    assert not trained & {events.tobytes() for events in data.test.recordings}
    frames = event_frames(data)
    assert frames.train_x.shape == (22, 32, 32, 10)
    assert frames.test_recording.tolist() == list(range(11))


@pytest.mark.parametrize(
    ("name", "folder", "source"),
    [
        ("nmnist", "nmnist_small", "N-MNIST by Orchard et al. .*CC BY-SA 4.0"),
        ("clips", "dvs_gesture_clips", "DVS128 Gesture by Amir et al. .*CC BY 4.0"),
        ("dvs-gesture", "DvsGesture", "DVS128 Gesture by Amir et al. .*CC BY 4.0"),
    ],
)
def test_missing_data_say_where_and_what(tmp_path, monkeypatch, name, folder, source):
    monkeypatch.setenv("AKIDA_JAX_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=rf"'{name}': no {tmp_path}.*{folder}.*{source}"):
        load_recordings(name)
    monkeypatch.delenv("AKIDA_JAX_DATA")
    with pytest.raises(FileNotFoundError, match=r"set AKIDA_JAX_DATA \(not set now\)"):
        load_recordings(name)
    with pytest.raises(FileNotFoundError, match=rf"no {tmp_path / 'elsewhere'}"):
        load_recordings(name, data_dir=tmp_path / "elsewhere")


def test_empty_nmnist_folder_is_refused(tmp_path):
    (tmp_path / "Train").mkdir()
    with pytest.raises(FileNotFoundError, match=rf"no files {tmp_path}/Train/0/\*.bin"):
        load_recordings("nmnist", data_dir=tmp_path)


def test_nmnist_layout(tmp_path):
    for part, digits in (("Train", (3, 0, 3)), ("Test", (9,))):
        for i, digit in enumerate(digits):
            folder = tmp_path / part / str(digit)
            folder.mkdir(parents=True, exist_ok=True)
            write_bin(folder / f"{i:05}.bin", np.array([(i, 33, 7, 1)], EVENT_DTYPE))
    data = load_recordings("nmnist", data_dir=tmp_path)
    assert data.train.labels.tolist() == [0, 3, 3]
    assert [int(events["x"][0]) for events in data.train.recordings] == [1, 0, 2]
    assert data.test.labels.tolist() == [9]
    assert event_frames(data).train_y.tolist() == [0, 0, 0, 3, 3, 3, 3, 3, 3]


def test_listed_session_that_is_missing_is_named(tmp_path):
    (tmp_path / "trials_to_train.txt").write_text("user01_led.aedat\n")
    with pytest.raises(FileNotFoundError, match=r"trials_to_train.txt names user01_led.aedat"):
        load_recordings("dvs-gesture", data_dir=tmp_path)


HEADER = "file,class,name\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "labels.csv, line 1: must be 'file,class,name', got ''"),
        (b"name,label\na.bin,1\n", "labels.csv, line 1: must be 'file,class,name', got 'name,lab"),
        (HEADER.encode(), "labels.csv: names no clip; needs one line 'file,class,name' each"),
        (b"\x80\x81", "labels.csv: must be UTF-8 text, but byte 0 is none"),
        ((HEADER + "a.bin,1,x\na.bin,2\n").encode(), "labels.csv, line 3: needs the 3 fields"),
        ((HEADER + "a.bin,12,x\n").encode(), "line 2: class must be .* 1 to 10, got '12'"),
        ((HEADER + "a.bin,0,x\n").encode(), "line 2: class must be .* 1 to 10, got '0'"),
        ((HEADER + "a.bin,one,x\n").encode(), "line 2: class must be .* 1 to 10, got 'one'"),
    ],
)
def test_a_bad_list_of_clips_is_refused(tmp_path, text, message):
    write_bin(tmp_path / "a.bin", np.array([(1, 1, 7, 1)], EVENT_DTYPE))
    (tmp_path / "labels.csv").write_bytes(text)
    with pytest.raises(ValueError, match=message) as problem:
        load_recordings("clips", data_dir=tmp_path)
    assert str(tmp_path) in str(problem.value)


def test_listed_clip_that_is_missing_is_named(tmp_path):
    (tmp_path / "labels.csv").write_text(HEADER + "b.bin,1,x\n")
    message = r"labels.csv, line 2: names 'b.bin', but there is no .*b.bin. The data: DVS128 Ges"
    with pytest.raises(FileNotFoundError, match=message):
        load_recordings("clips", data_dir=tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b" \n", "trials_to_train.txt: names no session; needs one file name such as"),
        (b"user01\xff", "trials_to_train.txt: must be UTF-8 text, but byte 6 is none"),
    ],
)
def test_a_bad_list_of_sessions_is_refused(tmp_path, text, message):
    (tmp_path / "trials_to_train.txt").write_bytes(text)
    with pytest.raises(ValueError, match=message):
        load_recordings("dvs-gesture", data_dir=tmp_path)


@pytest.fixture
def clips(tmp_path):
    folder = tmp_path / "clips"
    folder.mkdir()
    (folder / "labels.csv").write_text(HEADER + "a.bin,1,x\n")
    (folder / "a.bin").write_bytes(bytes(10))
    return folder


def test_a_fingerprint_is_of_the_data_not_of_their_place(clips, tmp_path, monkeypatch):
    expected = fingerprint("clips", data_dir=clips)
    (clips / "readme.txt").write_text("not read")
    (tmp_path / "dvs_gesture_clips").symlink_to(clips)
    monkeypatch.setenv("AKIDA_JAX_DATA", str(tmp_path))
    assert fingerprint("clips") == expected
    assert len(expected) == 16


@pytest.mark.parametrize("change", ["content", "name", "label", "more"])
def test_a_fingerprint_changes_with_the_data(clips, change):
    before = fingerprint("clips", data_dir=clips)
    if change == "content":
        (clips / "a.bin").write_bytes(bytes(9) + b"\x01")
    elif change == "name":
        (clips / "a.bin").rename(clips / "b.bin")
    elif change == "label":
        (clips / "labels.csv").write_text(HEADER + "a.bin,2,x\n")
    else:
        (clips / "b.bin").write_bytes(b"")
    assert fingerprint("clips", data_dir=clips) != before


def test_a_fingerprint_of_synthetic_data_is_that_of_its_seed():
    assert fingerprint("synthetic") == fingerprint("synthetic") != fingerprint("synthetic", seed=1)


def test_a_fingerprint_needs_a_known_name_and_data(tmp_path):
    with pytest.raises(ValueError, match="one of synthetic, nmnist, clips, dvs-gesture, got 'x'"):
        fingerprint("x")
    with pytest.raises(FileNotFoundError, match=f"'clips': no {tmp_path}"):
        fingerprint("clips", data_dir=tmp_path)


def test_dvs128_is_halved_and_pooled():
    # (5, 7) is in pixel (2, 3) of 64 x 64 and (1, 1) of 32 x 32.
    frames = event_frames(make_dataset((128, 128)))
    assert np.argwhere(frames.train_x).tolist() == [[0, 1, 1, 0], [2, 1, 1, 0]]
    assert frames.train_y.tolist() == [0, 0, 1, 1]
    assert frames.test_recording.tolist() == [0, 0, 1, 1]


def test_nmnist_keeps_its_centre():
    rows = [(0, 5, 3, 1), (1, 1, 3, 1), (32, 32, 3, 1), (33, 5, 3, 1)]
    frames = event_frames(make_dataset((34, 34), rows))
    assert np.argwhere(frames.test_x[0]).tolist() == [[0, 0, 0], [31, 31, 0]]


def test_strides_and_bins():
    frames = event_frames(
        make_dataset((128, 128)), window_ms=80, bins=4, train_stride_ms=20, test_stride_ms=40
    )
    assert frames.train_x.shape == (14, 32, 32, 8)
    assert frames.test_x.shape == (8, 32, 32, 8)


def test_other_sensors_are_refused():
    with pytest.raises(ValueError, match="no layout of 32 x 32 frames for a sensor of 10 x 20"):
        event_frames(make_dataset((10, 20)))


def test_real_nmnist(data_dir):
    data = load_recordings("nmnist", data_dir=data_dir / "nmnist_small")
    assert len(data.train.recordings) == 1000
    assert len(data.test.recordings) == 100
    folders = [data_dir / "nmnist_small" / "Train" / str(digit) for digit in range(10)]
    n_files = [len(list(folder.iterdir())) for folder in folders]
    assert np.bincount(data.train.labels).tolist() == n_files
    frames = event_frames(data)
    assert frames.train_x.shape == (3000, 32, 32, 10)
    assert frames.test_x.shape == (300, 32, 32, 10)


def test_real_clips(data_dir):
    data = load_recordings("clips", data_dir=data_dir / "dvs_gesture_clips")
    assert data.class_names == GESTURE_NAMES[:10]
    assert data.train.labels.tolist() == data.test.labels.tolist() == list(range(10))
    assert len(data.train.recordings[0]) == 42_304
    frames = event_frames(data)
    assert frames.train_x.shape == (90, 32, 32, 10)
    assert frames.test_x.shape == (40, 32, 32, 10)


def test_real_archive_trains_on_the_same_clips(data_dir):
    archive = load_recordings(
        "dvs-gesture", data_dir=data_dir / "dvs_gesture_official" / "DvsGesture"
    )
    clips = load_recordings("clips", data_dir=data_dir / "dvs_gesture_clips")
    for first, second in zip(archive.train.recordings, clips.train.recordings, strict=True):
        np.testing.assert_array_equal(first, second)
    assert len(archive.test.recordings[0]) == 21_167
    assert archive.test.durations_us == [500_000] * 10
    frames, _ = build_frames(
        archive.train.recordings, sensor=(128, 128), halve=True, max_pool=2, duration_ms=950
    )
    np.testing.assert_array_equal(frames, event_frames(archive).train_x)
