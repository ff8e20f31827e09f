"""Data sets that the models of the zoo read."""

from akida_jax.zoo.datasets.event_sets import (
    EVENT_SETS,
    EventDataset,
    EventFrames,
    EventSplit,
    event_frames,
    load_recordings,
)

__all__ = [
    "EVENT_SETS",
    "EventDataset",
    "EventFrames",
    "EventSplit",
    "event_frames",
    "load_recordings",
]
