"""A recording cut into windows, of a length in time or of a number of events."""

import itertools
from typing import NamedTuple

import numpy as np
from jaxtyping import Shaped, UInt8

from akida_jax.events.recordings import as_events, find_outside

_HIGHEST = 255


class EventWindow(NamedTuple):
    """Consecutive events; times count from the recording's first event.

    Attributes:
      events: of ``EVENT_DTYPE``.
      start_us: first microsecond of the window.
      stop_us: first microsecond behind it.
    """

    events: Shaped[np.ndarray, " events"]
    start_us: int
    stop_us: int

    def counts(self, sensor: tuple[int, int]) -> UInt8[np.ndarray, "h w 2"]:
        """Return the On and Off events of every pixel, at most 255 of each.

        Args:
          sensor: width and height in pixels.

        Raises:
          ValueError: if an event lies outside.
        """
        outside = find_outside(self.events, sensor)
        if outside is not None:
            x, y, _, _ = self.events[outside].item()
            raise ValueError(f"an event lies at ({x}, {y}), outside the sensor of {sensor[0]} x "
                             f"{sensor[1]} pixels")  # fmt: skip
        width, height = sensor
        pixel = self.events["y"].astype(np.int64) * width + self.events["x"]
        flat = np.bincount(2 * pixel + ~self.events["p"], minlength=2 * width * height)
        return np.minimum(flat, _HIGHEST).astype(np.uint8).reshape(height, width, 2)


def find_extent(events: Shaped[np.ndarray, " events"]) -> tuple[int, int]:
    """Return width and height of the smallest sensor that holds all events.

    Raises:
      ValueError: if there are none.
    """
    if not len(events):
        raise ValueError("the recording holds no events")
    return int(events["x"].max()) + 1, int(events["y"].max()) + 1


def cut_windows(
    events: Shaped[np.ndarray, " events"],
    *,
    length_us: int | None = None,
    n_events: int | None = None,
    start_us: int = 0,
    most: int = 1000,
) -> tuple[list[EventWindow], int]:
    """Cut a recording into windows that hold each event once; the last may hold fewer.

    Args:
      events: anything that `as_events` accepts.
      length_us: length of a window in microseconds,
      n_events: or events of a window.
      start_us: what lies before is left out, counted from the first event.
      most: how many windows are returned, from the start.

    Returns:
      Windows in order of time, of a length in time silent ones too; and how many the recording
      holds from the start on.

    Raises:
      ValueError: if there are no events from ``start_us`` on, not exactly one of the lengths is
        given, or a length or ``most`` is below 1.
    """
    if (length_us is None) == (n_events is None):
        raise ValueError("a window has a length either in time or in events; give one of them")
    length = length_us if n_events is None else n_events
    assert length is not None
    if length < 1 or most < 1 or start_us < 0:
        raise ValueError(
            f"windows need a length and a number from 1 and a start from 0, got {length}, {most} "
            f"and {start_us}"
        )
    events = as_events(events)
    find_extent(events)
    events["t"] -= events["t"][0]
    last_us = int(events["t"][-1])
    events = events[events["t"] >= start_us]
    if not len(events):
        raise ValueError(
            f"no events from {start_us} us on: the last comes {last_us} us after the first"
        )
    if n_events is not None:
        pieces = [events[i : i + length] for i in range(0, min(len(events), most * length), length)]
        windows = [EventWindow(e, int(e["t"][0]), int(e["t"][-1]) + 1) for e in pieces]
        return windows, -(-len(events) // length)
    total = (last_us - start_us) // length + 1
    edges = start_us + length * np.arange(min(total, most) + 1, dtype=np.int64)
    borders = np.searchsorted(events["t"], edges)
    windows = [
        EventWindow(events[i:j], int(start), int(stop))
        for (i, j), (start, stop) in zip(
            itertools.pairwise(borders), itertools.pairwise(edges), strict=True
        )
    ]
    return windows, total
