"""Activity of a quantized network as a number to train down: the usual baselines.

Both see events as they are, integer levels, and know nothing of what an event costs; the
modelled cost as a loss term is `akida_jax.mapping`'s.
"""

from collections.abc import Sequence

import jax.numpy as jnp
from jaxtyping import Array, Float


def mean_level(levels: Sequence[Float[Array, "n ..."]]) -> Float[Array, ""]:
    """Return the mean level over all activations of all layers: plain L1.

    Every activation counts the same, whatever layer it is in. Silent ones have the same
    gradient as the others, where the straight-through gradient passes it on: up to one step
    below the threshold.

    Args:
      levels: activations of each layer, not negative; at least one layer.

    Raises:
      ValueError: if there is no layer.
    """
    _check(levels)
    return jnp.stack([y.sum() for y in levels]).sum() / sum(y.size for y in levels)


def hoyer_square(levels: Sequence[Float[Array, "n ..."]]) -> Float[Array, ""]:
    """Return the mean over layers and samples of ``sum(y)**2 / (n * sum(y**2))``.

    It lies in [0, 1]: of ``n`` activations of a sample, the share that would fire if all that
    fire had one level. It does not change if all levels of a sample are scaled. A sample
    without events counts 0, with no gradient.

    Args:
      levels: activations of each layer, not negative; at least one layer.

    Raises:
      ValueError: if there is no layer.

    Source: Yang, Wen and Li, "DeepHoyer", arXiv:1908.09979, equation 3, divided by ``n``.
    """
    _check(levels)
    return jnp.stack([_hoyer_square(y) for y in levels]).mean()


def _check(levels: Sequence[Array]) -> None:
    if not levels:
        raise ValueError("no layer has an activation, there is no activity to train down")


def _hoyer_square(y: Float[Array, "n ..."]) -> Float[Array, ""]:
    flat = y.reshape(len(y), -1)
    squares = (flat * flat).sum(1)
    fires = squares > 0
    # A safe divisor in both branches: the gradient of the branch not taken must be finite.
    share = flat.sum(1) ** 2 / (flat.shape[1] * jnp.where(fires, squares, 1.0))
    return jnp.where(fires, share, 0.0).mean()
