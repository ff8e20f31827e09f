"""The 5-byte event files of N-MNIST and N-Caltech101.

Each record holds the column, the row, and a big-endian 24-bit word: polarity in its top bit, time
in microseconds in the other 23. Row 240 marks no event but a step of the clock.
"""

import os
import pathlib

import numpy as np
from jaxtyping import Shaped, UInt8

from akida_jax.events.recordings import (
    EventFileError,
    as_events,
    find_outside,
    find_time_reversal,
    pack_events,
)

RECORD_BYTES = 5
#: Row of a record that steps the clock instead of telling of an event.
CLOCK_STEP_ROW = 240
#: Microseconds that such a record adds to all later times.
CLOCK_STEP_US = 2**13
_TIME_LIMIT_US = 2**23


def _decode(
    records: UInt8[np.ndarray, "records 5"],
) -> tuple[Shaped[np.ndarray, " records"], Shaped[np.ndarray, " records"]]:
    """Return all records as events, clock steps included, and which of them are clock steps."""
    x, y, high, middle, low = records.T
    is_step = y == CLOCK_STEP_ROW
    t = CLOCK_STEP_US * np.cumsum(is_step, dtype=np.int64)
    for byte, weight in ((high & 0x7F, 2**16), (middle, 2**8), (low, 1)):
        t += byte.astype(np.int32) * weight
    return pack_events(x, y, t, high >= 0x80), is_step


def _find_fault(
    events: Shaped[np.ndarray, " events"], sensor: tuple[int, int] | None, *, sort: bool
) -> tuple[int, str] | None:
    """Return index and description of the first event that cannot be right."""
    faults = []
    outside = find_outside(events, sensor)
    if outside is not None and sensor is not None:
        x, y, _, _ = events[outside].item()
        faults.append((outside, f"lies at ({x}, {y}), outside {sensor[0]} x {sensor[1]}"))
    reversal = None if sort else find_time_reversal(events["t"])
    if reversal is not None:
        before, after = events["t"][reversal - 1], events["t"][reversal]
        faults.append(
            (reversal, f"runs backward in time, {after} us after {before} us (see sort=True)")
        )
    return min(faults, default=None)


def read_bin(
    path: str | os.PathLike[str],
    sensor: tuple[int, int] | None = None,
    *,
    sort: bool = False,
) -> Shaped[np.ndarray, " events"]:
    """Read a 5-byte event file; an empty file holds no events.

    Args:
      path: the file.
      sensor: width and height in pixels; given, every event must lie inside.
      sort: put events into order of time instead of refusing a file whose time runs backward.

    Returns:
      The events, without the records that only step the clock.

    Raises:
      EventFileError: if the size is no multiple of 5 bytes, an event lies outside ``sensor``, or
        time runs backward; the error carries the events before the fault.

    Source: N-MNIST and N-Caltech101 (Orchard et al. 2015, doi:10.3389/fnins.2015.00437); the
    clock steps follow the data sets' published Python reader (event-Python, eventvision.py).
    """
    path = pathlib.Path(path)
    raw = np.fromfile(path, np.uint8)
    n_records, rest = divmod(len(raw), RECORD_BYTES)
    events, is_step = _decode(raw[: n_records * RECORD_BYTES].reshape(n_records, RECORD_BYTES))
    record_of = np.flatnonzero(~is_step)
    events = events[record_of]
    fault = _find_fault(events, sensor, sort=sort)
    if fault is not None:
        index, reason = fault
        raise EventFileError(
            f"event {index} {reason}",
            path=path,
            events=events[:index],
            offset_bytes=int(record_of[index]) * RECORD_BYTES,
        )
    if rest:
        raise EventFileError(
            f"truncated, {rest} bytes left of a record of {RECORD_BYTES}",
            path=path,
            events=events,
            offset_bytes=n_records * RECORD_BYTES,
        )
    return events[np.argsort(events["t"], kind="stable")] if sort else events


def _encode(events: Shaped[np.ndarray, " events"]) -> UInt8[np.ndarray, "events 5"]:
    records = np.empty((len(events), RECORD_BYTES), np.uint8)
    records[:, 0] = events["x"]
    records[:, 1] = events["y"]
    records[:, 2] = (events["t"] >> 16) | (events["p"].astype(np.int64) << 7)
    records[:, 3] = (events["t"] >> 8) & 0xFF
    records[:, 4] = events["t"] & 0xFF
    return records


def write_bin(path: str | os.PathLike[str], events: Shaped[np.ndarray, " events"]) -> None:
    """Write events as a 5-byte event file, whole or not at all.

    The file appears under its name only once complete; one that was there is replaced.

    Args:
      path: the file to write, in a folder that exists.
      events: anything that :func:`as_events` accepts.

    Raises:
      ValueError: if an event does not fit the format: a coordinate above 255, row 240 (which
        means a step of the clock), or a time of 2**23 us (8.4 s) or later.
    """
    path = pathlib.Path(path)
    events = as_events(events)
    limits = (
        (events["x"] > 255, "x is above 255"),
        (events["y"] > 255, "y is above 255"),
        (events["y"] == CLOCK_STEP_ROW, f"row {CLOCK_STEP_ROW} marks a step of the clock"),
        (events["t"] >= _TIME_LIMIT_US, f"times must be below {_TIME_LIMIT_US} us"),
    )
    for unfit, reason in limits:
        if unfit.any():
            index = int(np.flatnonzero(unfit)[0])
            raise ValueError(
                f"event {index} (x, y, t, p = {events[index].item()}) does not fit the 5-byte "
                f"format: {reason}"
            )
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        temporary.write_bytes(_encode(events).tobytes())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
