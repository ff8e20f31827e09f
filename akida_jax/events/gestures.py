"""A jointed figure and the movements of the eleven gestures of DVS128 Gesture.

Lengths are in pixels of a 128 x 128 sensor, ``x`` to the right and ``y`` down, the person facing
the camera: the right arm is on the left side of the image. Movements are invented; only the order
of the classes and their sense of rotation come from the data set.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Float32

#: Classes of DVS128 Gesture, in its order. Source: Amir et al. 2017, gesture_mapping.csv.
GESTURE_NAMES = (
    "hand_clapping",
    "right_hand_wave",
    "left_hand_wave",
    "right_arm_clockwise",
    "right_arm_counter_clockwise",
    "left_arm_clockwise",
    "left_arm_counter_clockwise",
    "arm_roll",
    "air_drums",
    "air_guitar",
    "other_gestures",
)

SENSOR = (128, 128)
#: Capsules that make up the figure: torso, head, then upper arm, forearm, hand on either side.
N_CAPSULES = 8
_RIGHT, _LEFT = -1.0, 1.0

Path = Float[np.ndarray, "steps 2"]


@dataclasses.dataclass(frozen=True)
class Scene:
    """One recording before it is seen by the camera.

    Attributes:
      ends: both end points (x, y, x, y) of each capsule at each moment, in pixels.
      radii: thickness of the capsules, in pixels.
      tones: log intensity of the capsules, drawn in order.
      background: log intensity behind the figure.
    """

    ends: Float32[np.ndarray, "steps 8 4"]
    radii: Float32[np.ndarray, " 8"]
    tones: Float32[np.ndarray, " 8"]
    background: Float32[np.ndarray, "128 128"]


@dataclasses.dataclass(frozen=True)
class _Style:
    """How a gesture is made this time: ``turn`` is its phase at each moment, in radians."""

    time: Float[np.ndarray, " steps"]
    turn: Float[np.ndarray, " steps"]
    size: float
    rng: np.random.Generator


def _path(x: Float[np.ndarray, " steps"] | float, y: Float[np.ndarray, " steps"]) -> Path:
    return np.stack(np.broadcast_arrays(x, y), axis=-1)


# Each movement returns where a hand is, in lengths of an arm from the middle of the shoulders.


def _rest(style: _Style, side: float) -> Path:
    swing = 0.02 * np.sin(0.3 * style.turn + side)
    return _path(side * 0.5 + swing, np.full_like(swing, 0.93))


def _clap(style: _Style, side: float) -> Path:
    apart = 0.5 + 0.5 * np.cos(style.turn)
    return _path(side * (0.05 + 0.38 * style.size * apart), 0.5 - 0.12 * apart)


def _wave(style: _Style, side: float) -> Path:
    swing = np.cos(style.turn)
    return _path(side * 0.62 + 0.3 * style.size * swing, -0.5 + 0.1 * swing**2)


def _circle(style: _Style, side: float, sense: float) -> Path:
    radius = 0.72 * style.size
    angle = sense * style.turn
    return _path(side * 0.5 + radius * np.cos(angle), 0.02 + radius * np.sin(angle))


def _roll(style: _Style, side: float) -> Path:
    angle = style.turn + (np.pi if side == _LEFT else 0.0)
    return _path(
        -side * 0.08 + 0.14 * style.size * np.cos(angle), 0.55 + 0.27 * style.size * np.sin(angle)
    )


def _drum(style: _Style, side: float) -> Path:
    beat = np.cos(style.turn + (np.pi if side == _LEFT else 0.0))
    return _path(side * (0.34 - 0.06 * beat), 0.55 + 0.24 * style.size * beat)


def _strum(style: _Style, side: float) -> Path:
    if side == _RIGHT:
        beat = np.cos(style.turn)
        return _path(-0.1 + 0.1 * style.size * beat, 0.72 + 0.2 * style.size * beat)
    slide = 0.12 * style.size * np.sin(0.23 * style.turn)
    return _path(0.85 + slide, 0.25 - 0.4 * slide)


def _wander(style: _Style, side: float) -> Path:
    """A smooth movement without a plan: two sines per axis; now and then the arm rests."""
    if style.rng.random() < 0.25:
        return _rest(style, side)
    rate, phase = style.rng.uniform(0.4, 2.2, (2, 2)), style.rng.uniform(0, 2 * np.pi, (2, 2))
    reach = style.rng.uniform(0.1, 0.32, (2, 2))
    angle = 2 * np.pi * rate * style.time[:, None, None] + phase
    centre = np.array([side * 0.5, 0.15]) + style.rng.uniform(-0.4, 0.4, 2)
    return centre + style.size * (reach * np.sin(angle)).sum(-1)


# Clockwise is as the person sees it, so it runs the other way on screen. Source: measured on real
# clips of the four classes, tests/events/test_synthetic.py.
_Movement = Callable[[_Style, float], Path]
_MOVEMENTS: dict[str, tuple[tuple[float, float], _Movement, _Movement]] = {
    # Turns per second, from and to; movement of the right and of the left hand.
    "hand_clapping": ((1.3, 2.8), _clap, _clap),
    "right_hand_wave": ((1.2, 2.8), _wave, _rest),
    "left_hand_wave": ((1.2, 2.8), _rest, _wave),
    "right_arm_clockwise": ((0.6, 1.4), lambda s, side: _circle(s, side, -1.0), _rest),
    "right_arm_counter_clockwise": ((0.6, 1.4), lambda s, side: _circle(s, side, 1.0), _rest),
    "left_arm_clockwise": ((0.6, 1.4), _rest, lambda s, side: _circle(s, side, -1.0)),
    "left_arm_counter_clockwise": ((0.6, 1.4), _rest, lambda s, side: _circle(s, side, 1.0)),
    "arm_roll": ((1.3, 2.8), _roll, _roll),
    "air_drums": ((1.5, 3.0), _drum, _drum),
    "air_guitar": ((2.0, 4.0), _strum, _strum),
    "other_gestures": ((0.8, 2.2), _wander, _wander),
}


def _bend_arm(shoulder: Path, hand: Path, length: float, side: float) -> tuple[Path, Path]:
    """Return elbow and hand of an arm of two equal bones, the hand moved into reach."""
    reach = hand - shoulder
    distance = np.linalg.norm(reach, axis=-1, keepdims=True)
    reach = reach * np.minimum(1.0, 0.995 * length / np.maximum(distance, 1e-6))
    distance = np.minimum(distance, 0.995 * length)
    # Across the arm, fading out where the hand is so near the shoulder that its direction is vague.
    across = side * np.stack([reach[:, 1], -reach[:, 0]], axis=-1)
    across /= np.sqrt(distance**2 + (0.25 * length) ** 2)
    # The elbow keeps to the outer, lower side; where that side changes it passes through the line
    # from shoulder to hand, as an arm does that points at the camera.
    outward = np.tanh(2 * (across[:, :1] * side + across[:, 1:]))
    height = np.sqrt((0.5 * length) ** 2 - (0.5 * distance) ** 2)
    return shoulder + 0.5 * reach + outward * height * across, shoulder + reach


def _build_arm(style: _Style, move: _Movement, side: float, neck: Path, scale: float) -> np.ndarray:
    arm = 44.0 * scale
    tremor = 0.01 * np.sin(2 * np.pi * style.rng.uniform(2, 5) * style.time)
    hand = neck + arm * (move(style, side) + tremor[:, None])
    shoulder = neck + np.array([side * 15.0 * scale, 0.0])
    elbow, hand = _bend_arm(shoulder, hand, arm, side)
    joints = [shoulder, elbow, elbow, hand, hand, hand]
    return np.concatenate(joints, axis=-1).reshape(-1, 3, 4)


def _build_body(neck: Path, scale: float) -> Float[np.ndarray, "steps 2 4"]:
    points = [(0.0, 16.0), (0.0, 80.0), (0.0, -19.0), (0.0, -15.0)]
    return np.concatenate([neck + scale * np.array(point) for point in points], axis=-1).reshape(
        -1, 2, 4
    )


def _draw_style(
    rng: np.random.Generator, time: Float[np.ndarray, " steps"], rates: tuple[float, float]
) -> _Style:
    turn = 2 * np.pi * (rng.uniform(*rates) * time + rng.random())
    # The tempo is not quite even.
    turn += rng.uniform(0, 0.4) * np.sin(2 * np.pi * (0.9 * time + rng.random()))
    return _Style(time, turn, rng.uniform(0.75, 1.2), rng)


def _draw_tones(rng: np.random.Generator) -> Float[np.ndarray, " 8"]:
    """Draw log intensities: clothes and skin are both brighter or both darker than the wall."""
    clothes, skin = rng.choice([-1.0, 1.0]) * rng.uniform([0.15, 0.6], [0.7, 1.3])
    sleeve = rng.choice([clothes, skin]) + rng.uniform(-0.3, 0.3)
    return np.array([clothes, skin] + 2 * [sleeve, skin, skin])


def _draw_background(rng: np.random.Generator) -> Float[np.ndarray, "128 128"]:
    """Draw a wall with soft stains: 8 x 8 random values, linearly interpolated."""
    stains = rng.normal(0.0, 0.1, (8, 8))
    at = np.linspace(0, 7, SENSOR[0])
    rows = np.stack([np.interp(at, np.arange(8), column) for column in stains.T], axis=-1)
    return np.stack([np.interp(at, np.arange(8), row) for row in rows])


def draw_scene(
    rng: np.random.Generator, gesture: str, time_s: Float[np.ndarray, " steps"]
) -> Scene:
    """Draw one performance of a gesture: place, size, tempo, phase, reach and tones at random.

    Args:
      rng: source of all that is random in it.
      gesture: one of ``GESTURE_NAMES``.
      time_s: the moments to show, in seconds.
    """
    rates, right, left = _MOVEMENTS[gesture]
    style = _draw_style(rng, time_s, rates)
    scale = rng.uniform(0.85, 1.1)
    sway = rng.uniform(0.3, 1.2, 2) * np.sin(
        2 * np.pi * (rng.uniform(0.2, 0.7, 2) * time_s[:, None] + rng.random(2))
    )
    neck = rng.uniform([56.0, 60.0], [72.0, 74.0]) + sway
    arms = [
        _build_arm(style, move, side, neck, scale)
        for side, move in ((_RIGHT, right), (_LEFT, left))
    ]
    ends = np.concatenate([_build_body(neck, scale), *arms], axis=1)
    radii = scale * np.array([16.0, 8.0] + 2 * [5.0, 4.2, 5.8])
    drawn = (ends, radii, _draw_tones(rng), _draw_background(rng))
    return Scene(*(array.astype(np.float32) for array in drawn))
