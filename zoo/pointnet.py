"""PointNet++: shapes from point clouds, grouped into images for the chip.

Centres are chosen by farthest-point sampling, each with its nearest neighbours. They become
an image with neighbours along the rows, centres along the columns and coordinates as
channels, on which layers of 1x1 act as the shared perceptron of every point does.

Published are the filters, the dense layers, 602 thousand parameters and 12 neural processors
(the vendor's public model zoo and Apache-2.0 package akida-models, facts). Inferred from
these two numbers: 1x1 kernels but for the input convolution, which the chip has from 3x3 on,
without batch norm 601,928 parameters; 32 neighbours of 64 centres; max pooling behind every
second layer. Qi et al., "PointNet++", arXiv:1706.02413.
"""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int32, UInt8

from akida_jax.quant import Conv, Dense, InputConv, InputData
from akida_jax.quant.architecture import Layer, Pool, Shape

FILTERS = (32, 32, 64, 64, 128, 128, 256, 512)
HIDDEN = (512, 256)
POOLED = (1, 3, 5)

INPUT_SHAPE: Shape = (32, 64, 3)
"""Neighbours, centres, coordinates."""
CLASSES = 40
SCALE = SHIFT = 127
"""Input level of a coordinate in [-1, 1]: ``SCALE * x + SHIFT``. Source: system paper,
Table 6, "Input Scaling (127,127)"."""


def pointnet_layers(
    *, input_shape: Shape = INPUT_SHAPE, classes: int = CLASSES
) -> list[InputData | Layer]:
    """Return the layers of PointNet++.

    Args:
      input_shape: neighbours, centres, coordinates.
      classes: units of the classifier.
    """
    first, *others = FILTERS
    layers: list[InputData | Layer] = [
        InputConv(input_shape=input_shape, filters=first, kernel_size=3, name="conv_0")
    ]
    for index, filters in enumerate(others, start=1):
        pool: Pool | None = "max" if index in POOLED else None
        if index == len(others):
            pool = "global_average"
        layers.append(Conv(filters=filters, kernel_size=1, pool=pool, name=f"conv_{index}"))
    return [
        *layers,
        *(Dense(units=units, name=f"fc_{index}") for index, units in enumerate(HIDDEN, start=1)),
        Dense(units=classes, activation=False, name="predictions"),
    ]


def farthest_points(points: Float[Array, "n 3"], count: int) -> Int32[Array, " count"]:
    """Return the indices of points that lie far from each other.

    The first point comes first, then always the one farthest from all chosen before; of
    several the one with the smallest index.

    Args:
      points: coordinates.
      count: how many to choose, at most n.

    Raises:
      ValueError: if there are fewer points.
    """
    if not 1 <= count <= len(points):
        raise ValueError(f"count must be 1 to the {len(points)} points, got {count}")

    def choose(i: Array, state: tuple[Array, Array]) -> tuple[Array, Array]:
        chosen, nearest = state
        distance = _squared_distance(points, points[chosen[i - 1]][None])[0]
        nearest = jnp.minimum(nearest, distance)
        return chosen.at[i].set(jnp.argmax(nearest).astype(jnp.int32)), nearest

    start = jnp.zeros(count, jnp.int32), jnp.full(len(points), jnp.inf, points.dtype)
    return jax.lax.fori_loop(1, count, choose, start)[0]


def nearest_points(
    points: Float[Array, "n 3"], centres: Float[Array, "m 3"], count: int
) -> Int32[Array, "m count"]:
    """Return the indices of each centre's nearest points, the nearest first.

    Of several at the same distance those with the smallest indices.

    Args:
      points: coordinates.
      centres: coordinates.
      count: how many, at most n.

    Raises:
      ValueError: if there are fewer points.
    """
    if not 1 <= count <= len(points):
        raise ValueError(f"count must be 1 to the {len(points)} points, got {count}")
    # top_k gives the smaller index first where values are equal, and is faster than a sort.
    return jax.lax.top_k(-_squared_distance(points, centres), count)[1]


def _squared_distance(points: Array, centres: Array) -> Array:
    # The barrier keeps the order of rounding, and with it ties, the same in every program.
    squares = jax.lax.optimization_barrier((points[None] - centres[:, None]) ** 2)
    return (squares[..., 0] + squares[..., 1]) + squares[..., 2]


@functools.partial(jax.jit, static_argnames=("neighbours", "centres"))
def group_points(
    points: Float[Array, "b n 3"],
    *,
    neighbours: int = INPUT_SHAPE[0],
    centres: int = INPUT_SHAPE[1],
) -> UInt8[Array, "b neighbours centres 3"]:
    """Return clouds as images: the absolute coordinates of every centre's neighbours.

    Args:
      points: clouds in [-1, 1]; what lies outside is clipped.
      neighbours: rows.
      centres: columns.

    Raises:
      ValueError: if a cloud has fewer points than neighbours or centres.
    """

    def group(cloud: Array) -> Array:
        chosen = cloud[farthest_points(cloud, centres)]
        return cloud[nearest_points(cloud, chosen, neighbours)].swapaxes(0, 1)

    levels = jnp.round(jax.vmap(group)(points) * SCALE) + SHIFT
    return jnp.clip(levels, 0, 2 * SCALE).astype(jnp.uint8)


def augment_points(
    key: Array, x: UInt8[Array, "b neighbours centres 3"], *, jitter: float = 0.0
) -> UInt8[Array, "b neighbours centres 3"]:
    """Turn each cloud about its vertical axis, the third coordinate, scale and jitter it.

    Args:
      key: random key of the batch.
      x: clouds as images.
      jitter: standard deviation of the noise on each coordinate, in units of the cloud.
    """
    turn_key, scale_key, jitter_key = jax.random.split(key, 3)
    angle = jax.random.uniform(turn_key, (len(x), 1, 1), maxval=2 * jnp.pi)
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    a, b, c = jnp.moveaxis((x.astype(jnp.float32) - SHIFT) / SCALE, -1, 0)
    turned = jnp.stack([cos * a - sin * b, sin * a + cos * b, c], axis=-1)
    turned *= jax.random.uniform(scale_key, (len(x), 1, 1, 1), minval=0.8, maxval=1.0)
    turned += jitter * jax.random.normal(jitter_key, turned.shape)
    return jnp.clip(jnp.round(turned * SCALE) + SHIFT, 0, 2 * SCALE).astype(jnp.uint8)
