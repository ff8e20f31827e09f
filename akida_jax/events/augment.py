"""Random rotation and translation of event frames, for training."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key, Num


def _round(x: Float[Array, "*shape"]) -> Int[Array, "*shape"]:
    """Round to the nearest integer, halves up."""
    return jnp.floor(x + 0.5).astype(jnp.int32)


def _find_sources(
    angle: Float[Array, " n"], shift: Float[Array, "n 2"], height: int, width: int
) -> Int[Array, "n pixels"]:
    """Return the flat pixel each output pixel is taken from, ``height * width`` where none is.

    Rotation comes first, then translation, each rounded to whole pixels.
    """
    row, column = jnp.mgrid[:height, :width].reshape(2, 1, height * width)
    row = _round(row - shift[:, :1])
    column = _round(column - shift[:, 1:])
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    # Around the centre; rows count downward, so this turns the picture counter-clockwise.
    cos, sin = jnp.cos(angle)[:, None], jnp.sin(angle)[:, None]
    y, x = row - (height - 1) / 2, column - (width - 1) / 2
    row = _round(sin * x + cos * y + (height - 1) / 2)
    column = _round(cos * x - sin * y + (width - 1) / 2)
    inside &= (row >= 0) & (row < height) & (column >= 0) & (column < width)
    return jnp.where(inside, row * width + column, height * width)


@functools.partial(jax.jit, static_argnames=("rotation", "translation"))
def augment_frames(
    key: Key[Array, ""] | Array,
    frames: Num[Array, "n h w channels"],
    *,
    rotation: float = 0.05,
    translation: float = 0.02,
) -> Num[Array, "n h w channels"]:
    """Rotate and shift each frame at random, the nearest pixel taken, zeros from outside.

    The same as a layer RandomRotation followed by RandomTranslation of Keras, both with
    ``fill_mode="constant"``, ``fill_value=0`` and ``interpolation="nearest"``.

    Args:
      key: the same key gives the same result.
      frames: event frames of any dtype, which is kept.
      rotation: largest angle either way, as a fraction of a full turn.
      translation: largest shift either way, as a fraction of the height and of the width.

    Raises:
      ValueError: if a fraction is negative.

    Source: 0.05 and 0.02, system paper, "Example Use Case: DVS Gesture", Training; meaning of the
    fractions, keras.io, RandomRotation and RandomTranslation.
    """
    if rotation < 0 or translation < 0:
        raise ValueError(
            f"rotation and translation must not be negative, got {rotation} and {translation}"
        )
    n, height, width, channels = frames.shape
    angle_key, shift_key = jax.random.split(key)
    angle = 2 * jnp.pi * jax.random.uniform(angle_key, (n,), minval=-rotation, maxval=rotation)
    shift = jax.random.uniform(shift_key, (n, 2), minval=-translation, maxval=translation)
    size = jnp.array([height, width], jnp.float32)
    source = _find_sources(angle, shift * size, height, width)
    pixels = frames.reshape(n, height * width, channels)
    take = functools.partial(jnp.take, axis=0, mode="fill", fill_value=0)
    return jax.vmap(take)(pixels, source).reshape(frames.shape)
