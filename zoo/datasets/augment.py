"""Random changes of image batches, computed where the network is trained."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, UInt8


def augment_images(
    key: Array, x: UInt8[Array, "n h w c"], *, flip: bool = False, shift: int = 0
) -> UInt8[Array, "n h w c"]:
    """Mirror and shift each image on its own.

    Args:
      key: random key of the batch.
      x: images.
      flip: mirror left and right, every other image on average.
      shift: largest shift along each axis, in pixels; zeros move in.
    """
    flip_key, shift_key = jax.random.split(key)
    if flip:
        mirrored = jax.random.bernoulli(flip_key, shape=(len(x), 1, 1, 1))
        x = jnp.where(mirrored, x[:, :, ::-1], x)
    if shift:
        corners = jax.random.randint(shift_key, (len(x), 2), 0, 2 * shift + 1)
        padded = jnp.pad(x, ((0, 0), (shift, shift), (shift, shift), (0, 0)))
        x = jax.vmap(lambda image, corner: jax.lax.dynamic_slice(image, (*corner, 0), x.shape[1:]))(
            padded, corners
        )
    return x
