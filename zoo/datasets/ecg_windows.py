"""Electrocardiograms as images of bytes: samples row by row, or time against frequency.

Both cut a record into windows of 9.6 s that overlap; the last one ends with the record, and
a record that is shorter is repeated until it fills one.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.signal
from jaxtyping import Array, Float, Int32, UInt8

from akida_jax.zoo.datasets.ecg import RATE_HZ

#: Rows and columns of an image of samples, the input of the zoo's network "ecg".
IMAGE_SHAPE = (36, 32)
#: Samples per second of such an image: 36 x 32 of them are 9.6 s.
IMAGE_RATE_HZ = 120
WINDOW_S = math.prod(IMAGE_SHAPE) / IMAGE_RATE_HZ
#: Side of a time-frequency image, in pixels; the system paper's network reads 224.
SIZE = 64
# Below: breathing and movement of the electrodes. Above: mains hum at 50 and 60 Hz.
_BAND_HZ = (0.5, 40.0)
_ROUNDING = 1e-9
_BAND_ORDER = 2
# The filter's transient of half a second, both ways.
_SHORTEST = RATE_HZ
_ZERO_LEVEL = 128
# The largest 1 % of the samples, the tips of the R waves, may go up to half as high again.
_PERCENTILE = 99.0
_HEADROOM = 1.5
_HIGHEST_HZ = 50.0
_SEGMENT_S = 0.5
_DECIBELS = 60.0

Convert = Callable[[Float[np.ndarray, " samples"]], UInt8[np.ndarray, "windows h w 1"]]


class EcgWindows(NamedTuple):
    """Windows of several records; ``record`` says which one each is of."""

    x: UInt8[np.ndarray, "windows h w 1"]
    y: Int32[np.ndarray, " windows"]
    record: Int32[np.ndarray, " windows"]


def clean(
    signal: Float[np.ndarray, " samples"], *, band_hz: tuple[float, float] = _BAND_HZ
) -> Float[np.ndarray, " samples"]:
    """Return a signal without baseline wander and hum, scaled by its 99th percentile.

    Args:
      signal: 300 samples per second, in any unit.
      band_hz: what passes, 3 dB down at both ends; filtered forwards and backwards, so
        nothing is delayed.

    Raises:
      ValueError: if the signal is shorter than a second or not finite.
    """
    if signal.ndim != 1 or len(signal) < _SHORTEST:
        raise ValueError(f"an ECG must be at least {_SHORTEST} samples, got shape {signal.shape}")
    if not np.isfinite(signal).all():
        raise ValueError("an ECG must be finite")
    sections = scipy.signal.butter(_BAND_ORDER, band_hz, "bandpass", fs=RATE_HZ, output="sos")
    filtered = scipy.signal.sosfiltfilt(sections, signal.astype(np.float64))
    size = np.percentile(np.abs(filtered), _PERCENTILE)
    # What is left of a flat line is the rounding of its filter.
    if size <= _ROUNDING * np.abs(signal).max():
        return np.zeros_like(filtered)
    return filtered / size


def as_images(
    signal: Float[np.ndarray, " samples"], *, stride_s: float = WINDOW_S / 2
) -> UInt8[np.ndarray, "windows 36 32 1"]:
    """Return windows of a record, 120 samples per second, row by row; 128 is 0 mV.

    Args:
      signal: 300 samples per second.
      stride_s: from one window to the next.

    Raises:
      ValueError: as `clean`, or if the stride is shorter than a sample.
    """
    cleaned = clean(signal)
    slower = scipy.signal.resample_poly(cleaned, IMAGE_RATE_HZ, RATE_HZ)
    windows = _cut(slower, math.prod(IMAGE_SHAPE), stride_s * IMAGE_RATE_HZ)
    levels = _ZERO_LEVEL + windows * ((_ZERO_LEVEL - 1) / _HEADROOM)
    return _to_bytes(levels).reshape(-1, *IMAGE_SHAPE, 1)


def as_spectrograms(
    signal: Float[np.ndarray, " samples"],
    *,
    size: int = SIZE,
    window_s: float = WINDOW_S,
    stride_s: float = WINDOW_S / 2,
    segment_s: float = _SEGMENT_S,
) -> UInt8[np.ndarray, "windows size size 1"]:
    """Return the logarithm of the power of a record by frequency (rows) and time (columns).

    Each pixel is the power of a Hann window of the signal at one of ``size`` frequencies
    from 0 to 50 Hz; 255 is the largest power of the record, 0 is 60 dB less.

    Args:
      signal: 300 samples per second.
      size: rows and columns.
      window_s: time that an image covers.
      stride_s: from one image to the next.
      segment_s: length of the Hann window.

    Raises:
      ValueError: as `clean`, or if a length is shorter than a sample or the size below 1.
    """
    if size < 1:
        raise ValueError(f"size must be at least 1, got {size}")
    n_window, n_segment = round(window_s * RATE_HZ), round(segment_s * RATE_HZ)
    if n_window < 1 or n_segment < 1:
        raise ValueError(f"window and segment must be at least 1/{RATE_HZ} s, "
                         f"got {window_s} and {segment_s}")  # fmt: skip
    cleaned = clean(signal, band_hz=(_BAND_HZ[0], _HIGHEST_HZ))
    windows = _cut(cleaned, n_window, stride_s * RATE_HZ)
    starts = np.round((np.arange(size) + 0.5) * n_window / size).astype(np.int64)
    padded = np.pad(windows, ((0, 0), (n_segment // 2, n_segment)))
    index = starts[:, None] + np.arange(n_segment)
    segments = padded[:, index] * scipy.signal.windows.hann(n_segment)
    spectrum = scipy.signal.zoom_fft(segments, (0, _HIGHEST_HZ), size, fs=RATE_HZ, endpoint=True)
    power = np.abs(spectrum) ** 2
    largest = power.max()
    if largest == 0:
        return np.zeros((len(windows), size, size, 1), np.uint8)
    decibels = 10 * np.log10(np.maximum(power / largest, 10 ** (-_DECIBELS / 10)))
    return _to_bytes((1 + decibels / _DECIBELS) * 255).swapaxes(1, 2)[..., None]


def cut_records(
    signals: Sequence[Float[np.ndarray, " samples"]],
    labels: Int32[np.ndarray, " records"],
    convert: Convert = as_images,
) -> EcgWindows:
    """Return the windows of several records, each with its record's label.

    Args:
      signals: of the records.
      labels: of the records.
      convert: turns a signal into windows, such as `as_images`.
    """
    pieces = [convert(signal) for signal in signals]
    record = np.repeat(np.arange(len(pieces), dtype=np.int32), [len(piece) for piece in pieces])
    return EcgWindows(np.concatenate(pieces), np.asarray(labels, np.int32)[record], record)


def _cut(
    signal: Float[np.ndarray, " samples"], length: int, stride: float
) -> Float[np.ndarray, "windows length"]:
    """Return windows at a stride, one more to reach the end; a short signal is repeated."""
    step = round(stride)
    if step < 1:
        raise ValueError(f"the stride must be at least one sample, got {stride:g}")
    if len(signal) < length:
        signal = np.resize(signal, length)
    last = len(signal) - length
    starts = [*range(0, last, step), last]
    return np.stack([signal[start : start + length] for start in starts])


def _to_bytes(values: Float[np.ndarray, "..."]) -> UInt8[np.ndarray, "..."]:
    return np.clip(np.round(values), 0, 255).astype(np.uint8)


def augment_ecg(
    key: Array,
    x: UInt8[Array, "n h w 1"],
    *,
    stretch: float = 0.1,
    scale: float = 0.3,
    invert: float = 0.5,
) -> UInt8[Array, "n h w 1"]:
    """Stretch in time, scale and turn over each window of `as_images` on its own.

    Args:
      key: random key of the batch.
      x: windows, 128 for 0 mV.
      stretch: largest change of the heart rate, as a share.
      scale: largest change of the amplitude, as a share.
      invert: share of the windows whose sign is turned, as if the electrodes were swapped.
    """
    one = functools.partial(_change, stretch=stretch, scale=scale, invert=invert)
    return jax.vmap(one)(jax.random.split(key, len(x)), x)


def _change(
    key: Array, x: UInt8[Array, "h w 1"], *, stretch: float, scale: float, invert: float
) -> UInt8[Array, "h w 1"]:
    stretch_key, scale_key, invert_key = jax.random.split(key, 3)
    wave = x.reshape(-1).astype(jnp.float32) - _ZERO_LEVEL
    middle = (wave.size - 1) / 2
    factor = 1 + jax.random.uniform(stretch_key, minval=-stretch, maxval=stretch)
    places = middle + (jnp.arange(wave.size) - middle) * factor
    # Beyond its ends the window goes on as its mirror image.
    places = jnp.abs(places)
    places = wave.size - 1 - jnp.abs(wave.size - 1 - places)
    before = jnp.clip(jnp.floor(places).astype(jnp.int32), 0, wave.size - 2)
    share = places - before
    wave = wave[before] * (1 - share) + wave[before + 1] * share
    sign = jnp.where(jax.random.bernoulli(invert_key, invert), -1.0, 1.0)
    wave *= sign * (1 + jax.random.uniform(scale_key, minval=-scale, maxval=scale))
    return jnp.clip(jnp.round(wave) + _ZERO_LEVEL, 0, 255).astype(jnp.uint8).reshape(x.shape)


def augment_spectrograms(
    key: Array, x: UInt8[Array, "n f t 1"], *, gain: float = 0.15, offset: float = 20.0
) -> UInt8[Array, "n f t 1"]:
    """Turn, mirror and brighten each window of `as_spectrograms` on its own.

    Args:
      key: random key of the batch.
      x: windows. They are shifted in time by any number of columns, what leaves on one side
        comes back on the other, and every other one on average runs backwards.
      gain: largest change of the contrast, as a share.
      offset: largest change of all pixels, in levels.
    """
    mirror_key, turn_key, gain_key, offset_key = jax.random.split(key, 4)
    each = (len(x), 1, 1, 1)
    x = jnp.where(jax.random.bernoulli(mirror_key, shape=each), x[:, :, ::-1], x)
    turns = jax.random.randint(turn_key, (len(x),), 0, x.shape[2])
    x = jax.vmap(lambda image, turn: jnp.roll(image, turn, axis=1))(x, turns)
    factor = jax.random.uniform(gain_key, each, minval=1 - gain, maxval=1 + gain)
    change = jax.random.uniform(offset_key, each, minval=-offset, maxval=offset)
    return jnp.clip(jnp.round(x * factor + change), 0, 255).astype(jnp.uint8)
