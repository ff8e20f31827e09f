"""Event-camera data sets, split into training and test recordings, and their frames."""

import csv
import dataclasses
import io
import os
import pathlib
from typing import NamedTuple

import numpy as np
from jaxtyping import Int32, Shaped, UInt8

from akida_jax.events import (
    GESTURE_NAMES,
    build_frames,
    cut_events,
    gesture_trials,
    read_bin,
    read_gesture_labels,
    synthetic_gestures,
)
from akida_jax.zoo.datasets.places import Place, find_folder

#: Names that :func:`load_recordings` knows.
EVENT_SETS = ("synthetic", "nmnist", "clips", "dvs-gesture")

_GESTURE_SOURCE = (
    "DVS128 Gesture by Amir et al. (IBM, 2017, doi:10.1109/CVPR.2017.781), CC BY 4.0, from IBM "
    "Research"
)
_NMNIST_SOURCE = (
    "N-MNIST by Orchard et al. (2015, doi:10.3389/fnins.2015.00437), CC BY-SA 4.0, from "
    "garrickorchard.com/datasets/n-mnist"
)
_PLACES = {
    place.name: place
    for place in (
        Place(name="nmnist", usual="nmnist_small", needed="Train", source=_NMNIST_SOURCE),
        Place(name="clips", usual="dvs_gesture_clips", needed="labels.csv",
              source=_GESTURE_SOURCE),
        Place(name="dvs-gesture", usual="dvs_gesture_official/DvsGesture",
              needed="trials_to_train.txt", source=_GESTURE_SOURCE),
    )
}  # fmt: skip
# Three movements of the camera of 100 ms each. Source: Orchard et al. 2015, section 2.
_NMNIST_DURATION_US = 300_000
_NMNIST_SENSOR = (34, 34)
_DVS128_SENSOR = (128, 128)
# The clips run for 1.45 s; 50 ms between training and test belong to neither.
_CLIP_TRAIN_US = (0, 950_000)
_CLIP_TEST_US = (1_000_000, 1_450_000)
_CLIP_FIELDS = ["file", "class", "name"]
# All but the last, "other gestures".
_N_CLIP_CLASSES = 10


@dataclasses.dataclass(frozen=True)
class EventSplit:
    """Recordings of one side of a data set.

    Attributes:
      recordings: arrays of ``EVENT_DTYPE``, time counted from the start of each.
      labels: class of each.
      durations_us: length of each; the last event may come earlier.
    """

    recordings: list[Shaped[np.ndarray, " events"]]
    labels: Int32[np.ndarray, " recordings"]
    durations_us: list[int]


@dataclasses.dataclass(frozen=True)
class EventDataset:
    """A data set of event recordings; ``sensor`` is its width and height in pixels."""

    name: str
    class_names: tuple[str, ...]
    sensor: tuple[int, int]
    train: EventSplit
    test: EventSplit


class EventFrames(NamedTuple):
    """Event frames of both sides; ``test_recording`` says which recording each test frame is of."""

    train_x: UInt8[np.ndarray, "train h w channels"]
    train_y: Int32[np.ndarray, " train"]
    test_x: UInt8[np.ndarray, "test h w channels"]
    test_y: Int32[np.ndarray, " test"]
    test_recording: Int32[np.ndarray, " test"]


def find_place(name: str) -> Place:
    """Return where an event data set is looked for.

    Raises:
      ValueError: if it is none of ``EVENT_SETS`` that has files.
    """
    if name not in _PLACES:
        raise ValueError(f"event data set must be one of {', '.join(EVENT_SETS)}, got '{name}'")
    return _PLACES[name]


def _load_synthetic(seed: int, n_train: int, n_test: int, duration_ms: float) -> EventDataset:
    splits = []
    # Even seeds train and odd seeds test, so no seed's test recordings train another's model.
    for part_seed, n_per_class in ((2 * seed, n_train), (2 * seed + 1, n_test)):
        recordings, labels = synthetic_gestures(
            part_seed, n_per_class=n_per_class, duration_ms=duration_ms
        )
        durations_us = [round(duration_ms * 1000)] * len(recordings)
        splits.append(EventSplit(recordings, labels, durations_us))
    return EventDataset("synthetic", GESTURE_NAMES, _DVS128_SENSOR, *splits)


def _load_nmnist(data_dir: str | os.PathLike[str] | None) -> EventDataset:
    splits = []
    for part in ("Train", "Test"):
        folder = find_folder(find_place("nmnist"), data_dir, part) / part
        files = [
            (digit, file) for digit in range(10) for file in sorted(folder.glob(f"{digit}/*.bin"))
        ]
        if not files:
            raise FileNotFoundError(
                f"data set 'nmnist': no files {folder}/0/*.bin to {folder}/9/*.bin. The data: "
                f"{_NMNIST_SOURCE}"
            )
        recordings = [read_bin(file, _NMNIST_SENSOR, sort=True) for _, file in files]
        labels = np.array([digit for digit, _ in files], np.int32)
        splits.append(EventSplit(recordings, labels, [_NMNIST_DURATION_US] * len(files)))
    return EventDataset("nmnist", tuple("0123456789"), _NMNIST_SENSOR, *splits)


def _read_text(path: pathlib.Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: must be UTF-8 text, but byte {error.start} is none") from error


def _read_clip_row(row: list[str], folder: pathlib.Path) -> tuple[pathlib.Path, int]:
    """Return a clip's file and its label, the class counted from zero."""
    if len(row) != len(_CLIP_FIELDS):
        raise ValueError(
            f"needs the {len(_CLIP_FIELDS)} fields {','.join(_CLIP_FIELDS)}, got {row}"
        )
    name, given, _ = row
    if not given.isdecimal() or not 1 <= int(given) <= _N_CLIP_CLASSES:
        raise ValueError(f"class must be a whole number from 1 to {_N_CLIP_CLASSES}, got {given!r}")
    if not (folder / name).is_file():
        raise FileNotFoundError(
            f"names {name!r}, but there is no {folder / name}. The data: {_GESTURE_SOURCE}"
        )
    return folder / name, int(given) - 1


def _read_clip_labels(path: pathlib.Path) -> list[tuple[pathlib.Path, int]]:
    reader = csv.reader(io.StringIO(_read_text(path), newline=""))
    first = next(reader, [])
    if first != _CLIP_FIELDS:
        raise ValueError(
            f"{path}, line 1: must be {','.join(_CLIP_FIELDS)!r}, got {','.join(first)!r}"
        )
    clips = []
    for row in reader:
        if not row:
            continue
        try:
            clips.append(_read_clip_row(row, path.parent))
        except (ValueError, FileNotFoundError) as error:
            raise type(error)(f"{path}, line {reader.line_num}: {error}") from error
    if not clips:
        raise ValueError(f"{path}: names no clip; needs one line {','.join(_CLIP_FIELDS)!r} each")
    return clips


def _load_clips(data_dir: str | os.PathLike[str] | None) -> EventDataset:
    listed = _read_clip_labels(find_folder(find_place("clips"), data_dir) / "labels.csv")
    clips = [read_bin(path, _DVS128_SENSOR) for path, _ in listed]
    labels = np.array([label for _, label in listed], np.int32)
    splits = [
        EventSplit(
            [cut_events(clip, *span) for clip in clips], labels, [span[1] - span[0]] * len(clips)
        )
        for span in (_CLIP_TRAIN_US, _CLIP_TEST_US)
    ]
    return EventDataset("clips", GESTURE_NAMES[:_N_CLIP_CLASSES], _DVS128_SENSOR, *splits)


def _list_sessions(path: pathlib.Path) -> list[tuple[pathlib.Path, pathlib.Path]]:
    """Return the sessions that a list names, each with the file of its labels."""
    names = _read_text(path).split()
    if not names:
        raise ValueError(f"{path}: names no session; needs one file name such as "
                         "'user01_led.aedat' per line")  # fmt: skip
    sessions = []
    for name in names:
        session = path.parent / name
        labels = session.with_name(f"{session.stem}_labels.csv")
        for file in (session, labels):
            if not file.exists():
                raise FileNotFoundError(
                    f"data set 'dvs-gesture': {path} names {name}, but there is no "
                    f"{file}. The data: {_GESTURE_SOURCE}"
                )
        sessions.append((session, labels))
    return sessions


def _read_sessions(path: pathlib.Path) -> EventSplit:
    split = EventSplit([], np.empty(0, np.int32), [])
    labels: list[int] = []
    for session, labels_path in _list_sessions(path):
        spans = read_gesture_labels(labels_path)
        split.durations_us.extend(trial.stop_us - trial.start_us for trial in spans)
        for label, events in gesture_trials(session, labels_path):
            labels.append(label)
            split.recordings.append(events)
    return dataclasses.replace(split, labels=np.array(labels, np.int32))


def _load_dvs_gesture(data_dir: str | os.PathLike[str] | None) -> EventDataset:
    splits = [
        _read_sessions(find_folder(find_place("dvs-gesture"), data_dir, listing) / listing)
        for listing in ("trials_to_train.txt", "trials_to_test.txt")
    ]
    return EventDataset("dvs-gesture", GESTURE_NAMES, _DVS128_SENSOR, *splits)


def load_recordings(
    name: str,
    *,
    seed: int = 0,
    data_dir: str | os.PathLike[str] | None = None,
    n_train_per_class: int = 30,
    n_test_per_class: int = 10,
    duration_ms: float = 600.0,
) -> EventDataset:
    """Load a data set of event recordings, split into training and test.

    ``synthetic`` is computed, with no recording in common between its two sides, nor between
    training and test of different seeds. ``nmnist`` has the folders ``{Train,Test}/{digit}``.
    ``clips`` are ten clips of DVS128 Gesture, each cut in time: 0 to 0.95 s trains, 1.0 to 1.45 s
    tests. ``dvs-gesture`` is the unpacked official archive, users 1 to 23 for training and 24 to
    29 for test as its lists say; all its events are held in memory, 13 bytes each.

    Args:
      name: one of ``EVENT_SETS``.
      seed: of ``synthetic``, not negative.
      data_dir: folder of the data set; by default the folder ``nmnist_small``,
        ``dvs_gesture_clips`` or ``dvs_gesture_official/DvsGesture`` in ``$AKIDA_JAX_DATA``.
      n_train_per_class: training recordings per class of ``synthetic``.
      n_test_per_class: test recordings per class of ``synthetic``.
      duration_ms: length of each recording of ``synthetic``.

    Raises:
      ValueError: if the name is unknown or a list or label file is wrong, with file and line.
      FileNotFoundError: if data are missing, saying where they were looked for and what they are.
      EventFileError: if a file is truncated or corrupt.
    """
    if name == "synthetic":
        return _load_synthetic(seed, n_train_per_class, n_test_per_class, duration_ms)
    if name == "nmnist":
        return _load_nmnist(data_dir)
    if name == "clips":
        return _load_clips(data_dir)
    if name == "dvs-gesture":
        return _load_dvs_gesture(data_dir)
    raise ValueError(f"event data set must be one of {', '.join(EVENT_SETS)}, got '{name}'")


def _choose_layout(sensor: tuple[int, int]) -> dict:
    """Return how recordings of a sensor become frames of 32 x 32."""
    if sensor == _DVS128_SENSOR:
        return {"sensor": sensor, "halve": True, "max_pool": 2}
    if sensor == _NMNIST_SENSOR:
        return {"sensor": sensor, "crop": (32, 32)}
    raise ValueError(
        f"no layout of 32 x 32 frames for a sensor of {sensor[0]} x {sensor[1]} pixels; "
        "call build_frames with your own"
    )


def event_frames(
    dataset: EventDataset,
    *,
    window_ms: float = 100.0,
    bins: int = 5,
    train_stride_ms: float | None = None,
    test_stride_ms: float | None = None,
) -> EventFrames:
    """Turn both sides of a data set into frames of 32 x 32 and ``2 * bins`` channels, 0 to 15.

    Recordings of 128 x 128 pixels are halved to 64 x 64 and their counts pooled 2 x 2, which is
    the first layer of the models Akida Tiny and Akida Small. N-MNIST keeps its central 32 x 32.

    Args:
      dataset: of a sensor of 128 x 128 or 34 x 34 pixels.
      window_ms: time that a frame covers.
      bins: time bins per frame.
      train_stride_ms: from one training frame to the next; the window's length if None.
      test_stride_ms: the same for test frames.

    Raises:
      ValueError: if the sensor is another, or :func:`build_frames` refuses a parameter.

    Source: system paper, Figure 3 and "Example Use Case: DVS Gesture", Models.
    """
    layout = _choose_layout(dataset.sensor)
    columns = []
    for split, stride_ms in ((dataset.train, train_stride_ms), (dataset.test, test_stride_ms)):
        frames, recording = build_frames(
            split.recordings,
            window_ms=window_ms,
            bins=bins,
            stride_ms=stride_ms,
            duration_ms=[duration_us / 1000 for duration_us in split.durations_us],
            **layout,
        )
        columns += [frames, split.labels[recording], recording]
    train_x, train_y, _, test_x, test_y, test_recording = columns
    return EventFrames(train_x, train_y, test_x, test_y, test_recording)
