"""AEDAT 3.1 event files, and the trials of the DVS128 Gesture archive cut out of them."""

import csv
import io
import os
import pathlib
from collections.abc import Iterator
from typing import NamedTuple, NoReturn

import numpy as np
from jaxtyping import Shaped, UInt8

from akida_jax.events.recordings import (
    EVENT_DTYPE,
    EventFileError,
    cut_events,
    find_outside,
    find_time_reversal,
    pack_events,
)

_FIRST_LINE = b"#!AER-DAT3.1\r\n"
_LAST_LINE = b"#!END-HEADER\r\n"
_POLARITY_EVENT = 1
_N_CLASSES = 11
_SENSOR = (128, 128)
_LINE_BYTES = 2**12
_HEADER_BYTES = 2**16
_TIME_DIGITS = 18
_LABEL_FIELDS = ["class", "startTime_usec", "endTime_usec"]

_HEADER = np.dtype(
    [
        ("event_type", "<i2"),
        ("source", "<i2"),
        ("event_bytes", "<i4"),
        ("time_offset", "<i4"),
        ("time_overflow", "<i4"),
        ("capacity", "<i4"),
        ("n_events", "<i4"),
        ("n_valid", "<i4"),
    ]
)
_POLARITY = np.dtype([("data", "<u4"), ("time", "<i4")])


class Trial(NamedTuple):
    """One labelled span of a session: ``start_us`` belongs to it, ``stop_us`` does not."""

    label: int
    start_us: int
    stop_us: int


class _Packet(NamedTuple):
    header: Shaped[np.ndarray, ""]
    payload: UInt8[np.ndarray, " bytes"]
    start_bytes: int
    fault: str | None


def _find_payload(path: pathlib.Path) -> int:
    """Return the byte at which the header lines end."""

    def refuse(fault: str, start: int) -> NoReturn:
        nothing = np.empty(0, EVENT_DTYPE)
        raise EventFileError(fault, path=path, events=nothing, offset_bytes=start)

    with path.open("rb") as file:
        if file.readline(_LINE_BYTES) != _FIRST_LINE:
            refuse("is not AEDAT 3.1, the first line must be '#!AER-DAT3.1'", 0)
        line = b""
        while line != _LAST_LINE:
            if (start := file.tell()) > _HEADER_BYTES:
                refuse(f"header lines take more than {_HEADER_BYTES} bytes", start)
            line = file.readline(_LINE_BYTES)
            if not line.startswith(b"#"):
                refuse("header lines end without '#!END-HEADER'", start)
            if not line.endswith(b"\n"):
                refuse(f"a header line is cut short or has more than {_LINE_BYTES} bytes", start)
        return file.tell()


def _find_packet_fault(header: Shaped[np.ndarray, ""]) -> str | None:
    n_events, n_valid = int(header["n_events"]), int(header["n_valid"])
    event_bytes = int(header["event_bytes"])
    if event_bytes <= 0 or not 0 <= n_valid <= n_events or header["time_overflow"] < 0:
        return f"corrupt packet header ({n_valid} of {n_events} events of {event_bytes} bytes)"
    if header["event_type"] < 0 or header["capacity"] < n_events:
        return (
            f"corrupt packet header (type {header['event_type']}, {n_events} events in room "
            f"for {header['capacity']})"
        )
    if header["event_type"] == _POLARITY_EVENT and (
        event_bytes != _POLARITY.itemsize or header["time_offset"] != 4
    ):
        return f"corrupt packet header (polarity events of {event_bytes} bytes, must be 8)"
    return None


def _iterate_packets(content: UInt8[np.ndarray, " bytes"], start: int) -> Iterator[_Packet]:
    """Yield the packets up to the first with a fault, that one with what can be read of it."""
    while start < len(content):
        body = start + _HEADER.itemsize
        if body > len(content):
            yield _Packet(np.zeros((), _HEADER), content[:0], start, "truncated packet header")
            return
        header = content[start:body].view(_HEADER)[0]
        fault = _find_packet_fault(header)
        if fault is not None:
            yield _Packet(header, content[:0], start, fault)
            return
        size = int(header["n_events"]) * int(header["event_bytes"])
        payload = content[body : body + size]
        if len(payload) < size:
            fault = f"truncated packet, {len(payload)} of {size} bytes left"
        yield _Packet(header, payload, start, fault)
        start = body + size


def _decode_packet(packet: _Packet) -> tuple[Shaped[np.ndarray, " events"], int | None]:
    """Return the valid events of a packet and the index of the first with a negative time."""
    n_whole = len(packet.payload) // _POLARITY.itemsize
    raw = packet.payload[: n_whole * _POLARITY.itemsize].view(_POLARITY)
    negative = np.flatnonzero(raw["time"] < 0)
    bad = int(negative[0]) if negative.size else None
    raw = raw[:bad]
    raw = raw[raw["data"] & 1 == 1]
    data = raw["data"]
    t = raw["time"].astype(np.int64) + (int(packet.header["time_overflow"]) << 31)
    return pack_events(data >> 17, (data >> 2) & 0x7FFF, t, (data >> 1) & 1), bad


def _find_break(packet: _Packet, bad: int | None, n_found: int) -> tuple[str, int] | None:
    """Return what is wrong with a packet and at which byte, or None."""
    body = packet.start_bytes + _HEADER.itemsize
    if bad is not None:
        return "corrupt event, its time is negative", body + bad * _POLARITY.itemsize
    n_valid = int(packet.header["n_valid"])
    if packet.fault is None:
        if n_found == n_valid or packet.header["event_type"] != _POLARITY_EVENT:
            return None
        fault = f"corrupt packet, {n_found} of its events are valid, its header says {n_valid}"
        return fault, packet.start_bytes
    if not len(packet.payload):
        return packet.fault, packet.start_bytes
    event_bytes = int(packet.header["event_bytes"])
    return packet.fault, body + len(packet.payload) // event_bytes * event_bytes


def _find_odd_event(
    events: Shaped[np.ndarray, " events"],
    last_us: int,
    sensor: tuple[int, int] | None,
    *,
    sort: bool,
) -> tuple[int, str] | None:
    """Return index and description of the first event that cannot be right."""
    faults = []
    outside = find_outside(events, sensor)
    if outside is not None and sensor is not None:
        x, y, _, _ = events[outside].item()
        what = f"an event of this packet lies at ({x}, {y}), outside {sensor[0]} x {sensor[1]}"
        faults.append((outside, what))
    reversal = None if sort else find_time_reversal(np.concatenate([[last_us], events["t"]]))
    if reversal is not None:
        faults.append((reversal - 1, "time runs backward in this packet (see sort=True)"))
    return min(faults, default=None)


def read_aedat31(
    path: str | os.PathLike[str], sensor: tuple[int, int] | None = None, *, sort: bool = False
) -> Shaped[np.ndarray, " events"]:
    """Read the polarity events of an AEDAT 3.1 file.

    Packets of other event types are skipped and events marked invalid are dropped. ``y`` counts
    from the top of the image, as the format says.

    Args:
      path: the file; it is mapped, not loaded.
      sensor: width and height in pixels; given, every event must lie inside.
      sort: put events into order of time instead of refusing a file whose time runs backward.

    Raises:
      EventFileError: if the header lines are not those of AEDAT 3.1, a packet is cut short or
        corrupt, an event lies outside ``sensor``, or time runs backward; the error carries the
        events before the fault.

    Source: AEDAT 3.1 specification, docs.inivation.com, "File formats".
    """
    path = pathlib.Path(path)
    start = _find_payload(path)
    content = np.memmap(path, np.uint8, mode="r")
    parts = [np.empty(0, EVENT_DTYPE)]
    last_us = 0
    for packet in _iterate_packets(content, start):
        bad, events = None, parts[0]
        if packet.header["event_type"] == _POLARITY_EVENT:
            events, bad = _decode_packet(packet)
        found = _find_break(packet, bad, len(events))
        if found is not None and found[1] == packet.start_bytes:
            events = parts[0]
        odd = _find_odd_event(events, last_us, sensor, sort=sort)
        if odd is not None:
            # Invalid events are dropped, so the byte is known only to within the packet.
            events, found = events[: odd[0]], (odd[1], packet.start_bytes)
        if len(events):
            parts.append(events)
            last_us = int(events["t"][-1])
        if found is not None:
            raise EventFileError(
                found[0], path=path, events=np.concatenate(parts), offset_bytes=found[1]
            )
    events = np.concatenate(parts)
    return events[np.argsort(events["t"], kind="stable")] if sort else events


def _read_trial(row: list[str]) -> Trial:
    if len(row) != len(_LABEL_FIELDS):
        raise ValueError(f"needs 3 fields, got {len(row)}")
    if not all(field.strip().isdecimal() for field in row):
        raise ValueError(f"class, start and end must be whole numbers, got {','.join(row)!r}")
    if max(map(len, row)) > _TIME_DIGITS:
        raise ValueError(f"numbers may have {_TIME_DIGITS} digits, got {max(map(len, row))}")
    label, start_us, stop_us = (int(field) for field in row)
    if not 1 <= label <= _N_CLASSES:
        raise ValueError(f"class must be 1 to {_N_CLASSES}, got {label}")
    if not 0 <= start_us <= stop_us:
        raise ValueError(f"a trial cannot run from {start_us} to {stop_us} us")
    return Trial(label - 1, start_us, stop_us)


def read_gesture_labels(path: str | os.PathLike[str]) -> list[Trial]:
    """Read the trials of one session of DVS128 Gesture.

    Args:
      path: CSV with the line ``class,startTime_usec,endTime_usec`` and one line per trial.

    Returns:
      Trials in the order of the file, their classes 1 to 11 as labels 0 to 10.

    Raises:
      ValueError: if the file is no text, its first line is another, or it names no trial; naming
        the line, if it does not hold three integers, a class of 1 to 11 and a span of time that
        does not run backward.

    Source: DVS128 Gesture (Amir et al. 2017, doi:10.1109/CVPR.2017.781), README of the archive.
    """
    path = pathlib.Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: must be UTF-8 text, but byte {error.start} is none") from error
    reader = csv.reader(io.StringIO(text, newline=""))
    try:
        first = next(reader, [])
    except csv.Error as error:
        raise ValueError(f"{path}, line 1: {error}") from error
    if first != _LABEL_FIELDS:
        got = ",".join(first)[:80]
        raise ValueError(f"{path}, line 1: must be '{','.join(_LABEL_FIELDS)}', got '{got}'")
    try:
        trials = [_read_trial(row) for row in reader if row]
    except (ValueError, csv.Error) as error:
        raise ValueError(f"{path}, line {reader.line_num}: {error}") from error
    if not trials:
        raise ValueError(f"{path}: names no trial; needs one line '{','.join(_LABEL_FIELDS)}' each")
    return trials


def gesture_trials(
    aedat_path: str | os.PathLike[str], labels_path: str | os.PathLike[str]
) -> list[tuple[int, Shaped[np.ndarray, " events"]]]:
    """Cut one session of DVS128 Gesture into its labelled trials.

    Events between trials are dropped. A trial includes its first microsecond and excludes its
    last. Events are put into order of time first, so packets may come in any order.

    Args:
      aedat_path: the session, ``user*.aedat``.
      labels_path: its ``user*_labels.csv``.

    Returns:
      Label 0 to 10 and events, counted in time from the start of the trial, for each trial.

    Raises:
      EventFileError: as :func:`read_aedat31`.
      ValueError: as :func:`read_gesture_labels`.
    """
    trials = read_gesture_labels(labels_path)
    events = read_aedat31(aedat_path, _SENSOR, sort=True)
    return [(trial.label, cut_events(events, trial.start_us, trial.stop_us)) for trial in trials]
