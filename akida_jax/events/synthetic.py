"""Synthetic gestures: a jointed figure seen by a simulated event camera.

Made by computation, not recorded: it stands in for DVS128 Gesture where that is not at hand. The
figure is drawn in steps of 4 ms. A pixel sends an event each time its log intensity has moved by
the pixel's threshold since its last one; events are timed inside a step by linear interpolation.

The same arguments give the same recordings, event by event, on one machine with the same versions
of NumPy and JAX. Elsewhere labels and movements are the same up to rounding, and single events may
differ where a threshold is just met.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, Int32, Shaped

from akida_jax.events.gestures import GESTURE_NAMES, SENSOR, Scene, draw_scene
from akida_jax.events.recordings import pack_events

_STEP_US = 4000
_BATCH = 8
#: Width of the soft edge of what is drawn, in pixels.
_EDGE = 1.5
#: Folds along each limb; log intensity falls by half of this depth from crest to trough.
_N_FOLDS = 3
_FOLD_DEPTH = 0.8
#: Change of log intensity per event, its middle and its relative spread over the pixels.
_THRESHOLD = 0.1
_THRESHOLD_SPREAD = 0.1
#: Events per second and pixel that come from nothing. Source: measured, corners of real clips of
#: DVS128 Gesture, 0.08 to 0.18.
_NOISE_HZ = 0.13


def _draw(
    ends: Float[Array, "8 4"],
    radii: Float[Array, " 8"],
    tones: Float[Array, " 8"],
    background: Float[Array, "h w"],
) -> Float[Array, "h w"]:
    """Draw the capsules one over the other, with soft edges; log intensities are blended."""
    height, width = background.shape
    y = jnp.arange(height, dtype=jnp.float32)[:, None]
    x = jnp.arange(width, dtype=jnp.float32)[None, :]
    image = background
    for i in range(ends.shape[0]):
        ax, ay, bx, by = ends[i]
        dx, dy = bx - ax, by - ay
        scale = 1.0 / jnp.maximum(dx * dx + dy * dy, 1e-6)
        along = jnp.clip((x - ax) * (dx * scale) + (y - ay) * (dy * scale), 0.0, 1.0)
        off_x, off_y = x - ax - along * dx, y - ay - along * dy
        # Near the edge, (r^2 - d^2) / 2r is the distance to it, without a square root.
        depth = (radii[i] ** 2 - off_x * off_x - off_y * off_y) / (2 * radii[i])
        fold = jnp.abs(_N_FOLDS * along - jnp.floor(_N_FOLDS * along) - 0.5) - 0.25
        cover = jnp.clip(depth / _EDGE + 0.5, 0.0, 1.0)
        image += cover * (tones[i] + _FOLD_DEPTH * fold - image)
    return image


@jax.jit
@functools.partial(jax.vmap, in_axes=(0, 0, 0, 0, 0, 0))
def _watch(
    ends: Float[Array, "steps 8 4"],
    radii: Float[Array, " 8"],
    tones: Float[Array, " 8"],
    background: Float[Array, "h w"],
    threshold: Float[Array, "h w"],
    start: Float[Array, "h w"],
) -> Float[Array, "steps h w"]:
    """Return each pixel's change since its last event, in thresholds, before events are sent.

    ``start`` is that change at the first moment, between -1 and 1. A pixel sends as many events as
    the change has whole thresholds and keeps the rest.
    """

    def step(reference, moment):
        change = (_draw(moment, radii, tones, background) - reference) / threshold
        return reference + jnp.trunc(change) * threshold, change

    reference = _draw(ends[0], radii, tones, background) - start * threshold
    _, change = jax.lax.scan(step, reference, ends[1:])
    return jnp.concatenate([start[None], change])


def _find_events(change: Float32[np.ndarray, "steps h w"]) -> Shaped[np.ndarray, " events"]:
    """Turn the changes of one recording into events, in order of time."""
    n_pixels = change[0].size
    flat = change.reshape(-1)
    hits = np.flatnonzero(np.abs(flat[n_pixels:]) >= 1) + n_pixels
    after = flat[hits].astype(np.float64)
    before = flat[hits - n_pixels].astype(np.float64)
    before -= np.trunc(before)
    n_events = np.trunc(np.abs(after)).astype(np.int64)
    # The k-th event of a step is sent where the change passes k thresholds.
    source = np.repeat(np.arange(len(hits)), n_events)
    k = np.arange(len(source)) - np.repeat(np.cumsum(n_events) - n_events, n_events) + 1
    level = np.copysign(k, after[source])
    passed = (level - before[source]) / (after[source] - before[source])
    cell = hits[source]
    t = np.floor((cell // n_pixels - 1 + passed) * _STEP_US).astype(np.int64)
    pixel = cell % n_pixels
    return pack_events(pixel % change.shape[2], pixel // change.shape[2], t, level > 0)


def _draw_noise(rng: np.random.Generator, duration_us: int) -> Shaped[np.ndarray, " events"]:
    width, height = SENSOR
    n = int(rng.poisson(_NOISE_HZ * width * height * duration_us * 1e-6))
    columns = (rng.integers(0, limit, n) for limit in (width, height, max(1, duration_us), 2))
    return pack_events(*columns)


def _record(
    scenes: list[Scene], rngs: list[np.random.Generator], duration_us: int
) -> list[Shaped[np.ndarray, " events"]]:
    """Watch a batch of scenes, always of the same size so that one compilation serves all."""
    n_missing = _BATCH - len(scenes)
    shape = (SENSOR[1], SENSOR[0])
    thresholds, starts = [], []
    for rng in rngs:
        spread = _THRESHOLD_SPREAD * rng.standard_normal(shape)
        thresholds.append(_THRESHOLD * np.clip(1 + spread, 0.5, 1.5))
        starts.append(rng.uniform(-0.999, 0.999, shape))
    columns = [
        [scene.ends for scene in scenes],
        [scene.radii for scene in scenes],
        [scene.tones for scene in scenes],
        [scene.background for scene in scenes],
        thresholds,
        starts,
    ]
    stacked = [np.stack(column + n_missing * column[-1:]).astype(np.float32) for column in columns]
    changes = np.asarray(_watch(*stacked))
    recordings = []
    for change, rng in zip(changes, rngs, strict=False):
        events = np.concatenate([_find_events(change), _draw_noise(rng, duration_us)])
        events = events[events["t"] < duration_us]
        recordings.append(events[np.argsort(events["t"], kind="stable")])
    return recordings


def synthetic_gestures(
    seed: int, *, n_per_class: int, duration_ms: float = 600.0
) -> tuple[list[Shaped[np.ndarray, " events"]], Int32[np.ndarray, " recordings"]]:
    """Make recordings of the eleven gestures, each with its own person, tempo and light.

    Recording ``index`` of a class depends only on ``(seed, class, index)`` and the duration, so
    that a larger set contains the smaller one.

    Args:
      seed: not negative; sets of different seeds have no recording in common.
      n_per_class: recordings of each class.
      duration_ms: length of each recording; times run from 0 to below it.

    Returns:
      Recordings of 128 x 128 pixels, the first of every class, the second of every class and so
      on, and their classes 0 to 10, as in ``GESTURE_NAMES``.

    Raises:
      ValueError: if ``seed`` or ``n_per_class`` is negative, or the duration not positive.
    """
    if seed < 0 or n_per_class < 0:
        raise ValueError(f"seed and n_per_class must be 0 or more, got {seed} and {n_per_class}")
    duration_us = round(duration_ms * 1000)
    if duration_us < 1:
        raise ValueError(f"duration_ms must be positive, got {duration_ms}")
    time_s = np.arange(-(-duration_us // _STEP_US) + 1) * (_STEP_US * 1e-6)
    labels = np.tile(np.arange(len(GESTURE_NAMES), dtype=np.int32), n_per_class)
    recordings: list[Shaped[np.ndarray, " events"]] = []
    for first in range(0, len(labels), _BATCH):
        chosen = range(first, min(first + _BATCH, len(labels)))
        rngs = [
            np.random.default_rng([seed, int(labels[i]), i // len(GESTURE_NAMES)]) for i in chosen
        ]
        scenes = [
            draw_scene(rng, GESTURE_NAMES[labels[i]], time_s)
            for i, rng in zip(chosen, rngs, strict=True)
        ]
        recordings += _record(scenes, rngs, duration_us)
    return recordings, labels
