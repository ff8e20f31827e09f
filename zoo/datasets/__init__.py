"""Data sets that the models of the zoo read."""

from akida_jax.zoo.datasets.augment import augment_images
from akida_jax.zoo.datasets.downloaded import open_source, open_stream
from akida_jax.zoo.datasets.ecg import EcgRecords, load_ecg
from akida_jax.zoo.datasets.event_sets import (
    EVENT_SETS,
    EventDataset,
    EventFrames,
    EventSplit,
    event_frames,
    load_recordings,
)
from akida_jax.zoo.datasets.examples import Examples, LabelledSet
from akida_jax.zoo.datasets.faces import load_faces
from akida_jax.zoo.datasets.fingerprints import (
    fingerprint,
    fingerprint_arrays,
    fingerprint_files,
)
from akida_jax.zoo.datasets.image_sets import IMAGE_SETS, load_images
from akida_jax.zoo.datasets.image_streams import LabelledStream
from akida_jax.zoo.datasets.speech import load_speech_commands, mfcc

__all__ = [
    "EVENT_SETS",
    "IMAGE_SETS",
    "EcgRecords",
    "EventDataset",
    "EventFrames",
    "EventSplit",
    "Examples",
    "LabelledSet",
    "LabelledStream",
    "augment_images",
    "event_frames",
    "fingerprint",
    "fingerprint_arrays",
    "fingerprint_files",
    "load_ecg",
    "load_faces",
    "load_images",
    "load_recordings",
    "load_speech_commands",
    "mfcc",
    "open_source",
    "open_stream",
]
