"""Data sets that the models of the zoo read."""

from akida_jax.zoo.datasets.event_sets import (
    EVENT_SETS,
    EventDataset,
    EventFrames,
    EventSplit,
    event_frames,
    load_recordings,
)
from akida_jax.zoo.datasets.examples import Examples, LabelledSet
from akida_jax.zoo.datasets.fingerprints import fingerprint

__all__ = [
    "EVENT_SETS",
    "EventDataset",
    "EventFrames",
    "EventSplit",
    "Examples",
    "LabelledSet",
    "event_frames",
    "fingerprint",
    "load_recordings",
]
