"""Event recordings: files, frames, augmentation and synthetic gestures."""

from akida_jax.events.aedat import Trial, gesture_trials, read_aedat31, read_gesture_labels
from akida_jax.events.augment import augment_frames
from akida_jax.events.bin_files import read_bin, write_bin
from akida_jax.events.frames import build_frames
from akida_jax.events.gestures import GESTURE_NAMES
from akida_jax.events.recordings import EVENT_DTYPE, EventFileError, as_events, cut_events
from akida_jax.events.synthetic import synthetic_gestures

__all__ = [
    "EVENT_DTYPE",
    "GESTURE_NAMES",
    "EventFileError",
    "Trial",
    "as_events",
    "augment_frames",
    "build_frames",
    "cut_events",
    "gesture_trials",
    "read_aedat31",
    "read_bin",
    "read_gesture_labels",
    "synthetic_gestures",
    "write_bin",
]
