"""Event frames: counts of events per pixel, short time bin and polarity.

A window of time is cut into ``bins`` equal bins. Channel ``2 * bin`` of the frame counts the On
events of a bin and channel ``2 * bin + 1`` its Off events. Source: system paper, Figure 3.
"""

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Int, Int32, Shaped, UInt8

from akida_jax.events.recordings import as_events, cut_events, find_outside

#: Counters held at once while counting; 8 bytes each.
_MAX_COUNTERS = 2**22


@dataclasses.dataclass(frozen=True)
class _Piece:
    """Some consecutive windows of one recording, their events counted in time from the first."""

    events: Shaped[np.ndarray, " events"]
    recording: int
    n_windows: int


@dataclasses.dataclass(frozen=True)
class _Grid:
    """How time and place of an event become a counter. ``shape`` is height, width, channels."""

    shape: tuple[int, int, int]
    left: int
    top: int
    shrink: int
    window_us: int
    stride_us: int

    @property
    def bin_us(self) -> int:
        return self.window_us // (self.shape[2] // 2)

    @property
    def max_windows(self) -> int:
        """How many windows are counted at once."""
        return max(1, _MAX_COUNTERS // int(np.prod(self.shape)))

    def count_windows(self, duration_us: int) -> int:
        """Return how many whole windows a duration holds."""
        return max(0, (duration_us - self.window_us) // self.stride_us + 1)


def _to_microseconds(name: str, value_ms: float) -> int:
    value_us = round(value_ms * 1000)
    if abs(value_us - value_ms * 1000) > 1e-6 or value_us < 0:
        raise ValueError(f"{name} must be a whole number of microseconds, got {value_ms} ms")
    return value_us


def _check_counting(bins: int, window_us: int, stride_us: int, clip: int, max_pool: int) -> None:
    if bins < 1 or window_us < 1 or window_us % bins:
        raise ValueError(
            f"a window of {window_us} us cannot be cut into {bins} bins of whole microseconds"
        )
    if stride_us < 1:
        raise ValueError("stride_ms must be positive")
    if not 1 <= clip <= 255:
        raise ValueError(f"clip must be 1 to 255, got {clip}")
    if max_pool not in (1, 2):
        raise ValueError(f"max_pool must be 1 or 2, got {max_pool}")


def _lay_out_pixels(
    sensor: tuple[int, int], crop: tuple[int, int] | None, shrink: int, max_pool: int
) -> tuple[int, int, int, int]:
    """Return width and height of the counted part, and its left and top edge."""
    width, height = (-(-size // shrink) for size in sensor)
    if min(width, height) < 1:
        raise ValueError(f"sensor must be a positive width and height, got {sensor}")
    inner_width, inner_height = crop or (width, height)
    if not (1 <= inner_width <= width and 1 <= inner_height <= height):
        raise ValueError(f"crop {crop} does not fit into {width} x {height} pixels")
    if inner_width % max_pool or inner_height % max_pool:
        raise ValueError(f"{inner_width} x {inner_height} pixels cannot be pooled 2 x 2")
    return inner_width, inner_height, (width - inner_width) // 2, (height - inner_height) // 2


def _check_recording(
    index: int, recording: Shaped[np.ndarray, " events"], sensor: tuple[int, int]
) -> Shaped[np.ndarray, " events"]:
    try:
        events = as_events(recording)
    except ValueError as error:
        raise ValueError(f"recording {index}: {error}") from error
    outside = find_outside(events, sensor)
    if outside is not None:
        x, y, _, _ = events[outside].item()
        raise ValueError(
            f"recording {index}: event {outside} lies at ({x}, {y}), outside the sensor of "
            f"{sensor[0]} x {sensor[1]} pixels"
        )
    return events


def _list_durations_us(
    n_recordings: int, duration_ms: float | Sequence[float] | None
) -> list[int | None]:
    """Return the given duration of each recording, None where its events tell it."""
    if duration_ms is None:
        return [None] * n_recordings
    if isinstance(duration_ms, int | float):
        return [_to_microseconds("duration_ms", duration_ms)] * n_recordings
    if len(duration_ms) != n_recordings:
        raise ValueError(f"{len(duration_ms)} durations given for {n_recordings} recordings")
    return [_to_microseconds("duration_ms", value) for value in duration_ms]


def _split(
    events: Shaped[np.ndarray, " events"], recording: int, duration_us: int | None, grid: _Grid
) -> Iterator[_Piece]:
    """Split a recording into pieces whose counters fit into ``_MAX_COUNTERS``."""
    if duration_us is None:
        duration_us = int(events["t"][-1]) if len(events) else 0
    n_windows = grid.count_windows(duration_us)
    for first in range(0, n_windows, grid.max_windows):
        n = min(grid.max_windows, n_windows - first)
        start_us = first * grid.stride_us
        stop_us = start_us + (n - 1) * grid.stride_us + grid.window_us
        yield _Piece(cut_events(events, start_us, stop_us), recording, n)


def _group(pieces: Iterator[_Piece], grid: _Grid) -> Iterator[list[_Piece]]:
    """Group pieces so that one count serves many short recordings."""
    group: list[_Piece] = []
    n_windows = 0
    for piece in pieces:
        if group and n_windows + piece.n_windows > grid.max_windows:
            yield group
            group, n_windows = [], 0
        group.append(piece)
        n_windows += piece.n_windows
    if group:
        yield group


def _find_counters(pieces: list[_Piece], grid: _Grid) -> Int[np.ndarray, " hits"]:
    """Return one flat counter index per event and window that it falls into."""
    events = np.concatenate([piece.events for piece in pieces])
    sizes = [len(piece.events) for piece in pieces]
    windows = np.array([piece.n_windows for piece in pieces])
    limit = np.repeat(windows, sizes)
    first = np.repeat(np.cumsum(windows) - windows, sizes)
    height, width, channels = grid.shape
    x = events["x"].astype(np.int64) // grid.shrink - grid.left
    y = events["y"].astype(np.int64) // grid.shrink - grid.top
    visible = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    place = (y * width + x) * channels + np.where(events["p"], 0, 1)
    hits = []
    for back in range(-(-grid.window_us // grid.stride_us)):
        window = events["t"] // grid.stride_us - back
        since = events["t"] - window * grid.stride_us
        kept = visible & (window >= 0) & (window < limit) & (since < grid.window_us)
        cell = (first + window) * (height * width * channels) + place + 2 * (since // grid.bin_us)
        hits.append(cell[kept])
    return np.concatenate(hits)


def _count(
    pieces: list[_Piece], grid: _Grid, clip: int, max_pool: int
) -> UInt8[np.ndarray, "windows h w channels"]:
    height, width, channels = grid.shape
    n_windows = sum(piece.n_windows for piece in pieces)
    n_counters = n_windows * height * width * channels
    counts = np.bincount(_find_counters(pieces, grid), minlength=n_counters)
    counts = np.minimum(counts, clip).astype(np.uint8)
    if max_pool == 1:
        return counts.reshape(n_windows, height, width, channels)
    return counts.reshape(n_windows, height // 2, 2, width // 2, 2, channels).max((2, 4))


def build_frames(
    recordings: Sequence[Shaped[np.ndarray, " events"]],
    *,
    sensor: tuple[int, int],
    window_ms: float = 100.0,
    bins: int = 5,
    stride_ms: float | None = None,
    clip: int = 15,
    halve: bool = False,
    max_pool: int = 1,
    crop: tuple[int, int] | None = None,
    duration_ms: float | Sequence[float] | None = None,
) -> tuple[UInt8[np.ndarray, "windows h w channels"], Int32[np.ndarray, " windows"]]:
    """Count the events of every whole window of every recording.

    Window ``k`` holds the events with ``k * stride <= t < k * stride + window``, in whole
    microseconds. Place is worked out in the order halve, crop, count, clip, pool.

    Args:
      recordings: anything that :func:`as_events` accepts, in order of time, counted from 0.
      sensor: width and height of the recordings, in pixels.
      window_ms: length of a window.
      bins: time bins per window; must divide the window into whole microseconds.
      stride_ms: from the start of one window to the next; the window's length if None.
      clip: highest count kept, at most 255; 15 is what 4 bits hold.
      halve: divide coordinates by 2, rounding down; four pixels then share one counter.
      max_pool: 2 keeps the largest of each 2 x 2 counters, 1 keeps all.
      crop: width and height of the central part to keep, after halving.
      duration_ms: length of all recordings, or of each; the time of its last event if None.
        Windows that end later are left out.

    Returns:
      Frames, in the order of recordings and of time, and the recording that each comes from.
      A recording shorter than a window, or empty with no duration given, has none.

    Raises:
      ValueError: if a parameter cannot be met, or an event is malformed or outside the sensor.

    Source: windows of 100 ms, 5 bins and counts clipped at 15, system paper, Figure 3; pooling
    the frame when it is built, models of "Example Use Case: DVS Gesture".
    """
    window_us = _to_microseconds("window_ms", window_ms)
    stride_us = window_us if stride_ms is None else _to_microseconds("stride_ms", stride_ms)
    _check_counting(bins, window_us, stride_us, clip, max_pool)
    shrink = 2 if halve else 1
    width, height, left, top = _lay_out_pixels(sensor, crop, shrink, max_pool)
    grid = _Grid((height, width, 2 * bins), left, top, shrink, window_us, stride_us)
    durations_us = _list_durations_us(len(recordings), duration_ms)
    pieces = (
        piece
        for i, recording in enumerate(recordings)
        for piece in _split(_check_recording(i, recording, sensor), i, durations_us[i], grid)
    )
    frames = [np.empty((0, height // max_pool, width // max_pool, 2 * bins), np.uint8)]
    origins = [np.empty(0, np.int32)]
    for group in _group(pieces, grid):
        frames.append(_count(group, grid, clip, max_pool))
        origins += [np.full(piece.n_windows, piece.recording, np.int32) for piece in group]
    return np.concatenate(frames), np.concatenate(origins)
