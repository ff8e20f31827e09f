"""Event recordings as structured arrays, and the error that event files raise.

A recording is a one-dimensional array of :data:`EVENT_DTYPE`, ordered by time. ``x`` counts pixels
from the left edge of the image and ``y`` from its top edge.
"""

import pathlib

import numpy as np
from jaxtyping import Int, Shaped

#: One event: column, row, time in microseconds, polarity (True is On). The fields and their order
#: are those that the ``tonic`` package yields.
EVENT_DTYPE = np.dtype([("x", np.int16), ("y", np.int16), ("t", np.int64), ("p", np.bool_)])

_MAX_COORDINATE = int(np.iinfo(np.int16).max)


class EventFileError(ValueError):
    """An event file that is truncated or corrupt.

    Attributes:
      path: the file.
      events: the events before the fault, of ``EVENT_DTYPE``.
      n_events: how many of them there are.
      offset_bytes: the byte at which the file stops making sense.
    """

    def __init__(
        self,
        fault: str,
        *,
        path: pathlib.Path,
        events: Shaped[np.ndarray, " events"],
        offset_bytes: int,
    ):
        super().__init__(
            f"{path}: {fault}; {len(events)} whole events read, broken at byte {offset_bytes}"
        )
        self.path = path
        self.events = events
        self.n_events = len(events)
        self.offset_bytes = offset_bytes


def pack_events(
    x: Int[np.ndarray, " events"],
    y: Int[np.ndarray, " events"],
    t: Int[np.ndarray, " events"],
    p: Shaped[np.ndarray, " events"],
) -> Shaped[np.ndarray, " events"]:
    """Put four columns into one array of ``EVENT_DTYPE``, unchecked.

    Args:
      x: columns, in pixels.
      y: rows, in pixels.
      t: times, in microseconds.
      p: polarities; non-zero is On.
    """
    events = np.empty(len(t), EVENT_DTYPE)
    events["x"], events["y"], events["t"], events["p"] = x, y, t, p
    return events


def find_time_reversal(t: Int[np.ndarray, " events"]) -> int | None:
    """Return the index of the first event earlier than the one before it, or None."""
    backward = np.flatnonzero(t[1:] < t[:-1])
    return int(backward[0]) + 1 if backward.size else None


def find_outside(
    events: Shaped[np.ndarray, " events"], sensor: tuple[int, int] | None
) -> int | None:
    """Return the index of the first event outside a sensor of (width, height), or None."""
    if sensor is None:
        return None
    outside = np.flatnonzero((events["x"] >= sensor[0]) | (events["y"] >= sensor[1]))
    return int(outside[0]) if outside.size else None


def _check_coordinates(array: Shaped[np.ndarray, " events"]) -> None:
    for field in ("x", "y", "t"):
        values = array[field]
        if values.dtype.kind not in "iu":
            raise ValueError(f"event field '{field}' must be of integers, got {values.dtype}")
        limit = np.iinfo(np.int64).max if field == "t" else _MAX_COORDINATE
        outside = np.flatnonzero((values < 0) | (values > limit))
        if outside.size:
            raise ValueError(
                f"event {outside[0]} has {field} = {values[outside[0]]}, "
                f"which is outside 0 to {limit}"
            )


def _read_polarity(p: Shaped[np.ndarray, " events"]) -> Shaped[np.ndarray, " events"]:
    values = {int(value) for value in np.unique(p)}
    if not (values <= {0, 1} or values <= {-1, 1}):
        raise ValueError(f"polarity must be bool, 0/1 or -1/+1, got the values {sorted(values)}")
    return p > 0


def as_events(
    array: Shaped[np.ndarray, " events"], *, sort: bool = False
) -> Shaped[np.ndarray, " events"]:
    """Check a structured array of events and return it as ``EVENT_DTYPE``.

    Args:
      array: fields ``x``, ``y`` (pixels), ``t`` (microseconds) of any integer type, and ``p``
        (bool, 0/1 or -1/+1), in any order; further fields are dropped.
      sort: put events into order of time; events of the same time keep their order.

    Returns:
      A new array, never a view of ``array``.

    Raises:
      ValueError: if a field is missing or is not of integers, a coordinate or time is negative,
        a coordinate exceeds 32,767, a polarity has a third value, or time runs backward and
        ``sort`` is False.

    Source: field names of the public `tonic` package.
    """
    array = np.asarray(array)
    names = array.dtype.names or ()
    missing = [field for field in EVENT_DTYPE.names or () if field not in names]
    if missing:
        raise ValueError(
            f"events need the fields x, y, t and p; {', '.join(missing)} missing, got {names}"
        )
    if array.ndim != 1:
        raise ValueError(f"events must be a one-dimensional array, got shape {array.shape}")
    _check_coordinates(array)
    events = pack_events(array["x"], array["y"], array["t"], _read_polarity(array["p"]))
    reversal = find_time_reversal(events["t"])
    if reversal is None:
        return events
    if not sort:
        raise ValueError(
            f"time runs backward at event {reversal}: {events['t'][reversal]} us after "
            f"{events['t'][reversal - 1]} us; pass sort=True to put the events into order"
        )
    return events[np.argsort(events["t"], kind="stable")]


def cut_events(
    events: Shaped[np.ndarray, " events"], start_us: int, stop_us: int
) -> Shaped[np.ndarray, " cut"]:
    """Cut out the events of a half-open span of time and count time from its start.

    Args:
      events: a recording in order of time.
      start_us: first microsecond that belongs to the span.
      stop_us: first microsecond after it.

    Returns:
      A new array, with ``t`` from 0 to ``stop_us - start_us - 1``.
    """
    first, last = np.searchsorted(events["t"], [start_us, stop_us])
    cut = events[first:last].copy()
    cut["t"] -= start_us
    return cut
