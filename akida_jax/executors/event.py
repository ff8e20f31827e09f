"""Event executor: works through the list of active pixels, not the whole map.

The list has a fixed capacity, so that its shapes are static. A batch with more active
pixels than that takes the dense path inside the same compiled program.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int32

from akida_jax.executors.dense import dense_potentials
from akida_jax.programs import LayerProgram
from akida_jax.quant.architecture import Conv, Kernels
from akida_jax.quant.operations import same_padding

DEFAULT_CAPACITY = 0.25
"""Share of a layer's input pixels that its event list holds, over a whole batch."""


def event_potentials(
    program: LayerProgram, x: Float[Array, "n h w c"], *, capacity: float = DEFAULT_CAPACITY
) -> Int32[Array, "n ho wo f"]:
    """Return a layer's pooled int32 potentials; the same integers as the dense executor.

    Args:
      program: the layer.
      x: integer levels held as float32.
      capacity: share of the batch's input pixels that the event list holds, in (0, 1].
    """
    if program.groups > 1 or not x.size:  # float32 cannot hold the whole sum; no pixels
        return dense_potentials(program, x)
    if program.spec.kind == "dense":
        x = x.reshape(len(x), 1, x[0].size, 1)  # every input is a pixel of its own
    pixels = x.reshape(-1, x.shape[-1])
    size = max(1, math.ceil(capacity * len(pixels)))
    active = (pixels != 0).any(1)

    def sparse(x: Array) -> Array:
        index = jnp.nonzero(active, size=size, fill_value=len(pixels))[0]
        return _from_events(program, x, index)

    def dense(x: Array) -> Array:
        return dense_potentials(program, x.reshape(len(x), *program.in_shape))

    return jax.lax.cond(active.sum() > size, dense, sparse, x)


def _from_events(program: LayerProgram, x: Array, index: Array) -> Array:
    """Accumulate the potentials of the pixels in a list; padding entries lie past the end."""
    values = x.reshape(-1, x.shape[-1]).at[index].get(mode="fill", fill_value=0)
    spec, kernels = program.spec, program.float_kernels()
    if not isinstance(spec, Conv):
        weights = kernels["kernel"][0, 0]
        inputs, units = weights.shape
        sample, position = jnp.divmod(index, inputs)
        rows = weights.at[position].get(mode="clip") * values
        total = jnp.zeros((len(x), units)).at[sample].add(rows, mode="drop")
        return total.reshape(len(x), 1, 1, units).astype(jnp.int32)
    if spec.kind == "separable":
        total = _scatter_taps(spec, x.shape, index, lambda tap: values * kernels["kernel"][tap][0])
        total = jnp.matmul(total, kernels["pointwise"], precision=jax.lax.Precision.HIGHEST)
    else:
        total = _scatter_taps(
            spec, x.shape, index,
            lambda tap: jnp.matmul(values, kernels["kernel"][tap],
                                   precision=jax.lax.Precision.HIGHEST),
        )  # fmt: skip
        if spec.border and spec.padding == "same":
            total = total + _border_potentials(spec, x.shape, kernels)
    potentials = spec.max_pool(total).astype(jnp.int32)
    if spec.pool == "global_average":
        potentials = potentials.sum((1, 2), keepdims=True)
    return potentials


def _scatter_taps(
    spec: Conv,
    shape: tuple[int, ...],
    index: Array,
    contribution: Callable[[tuple[int, ...]], Array],
) -> Array:
    """Add each pixel's contribution, tap by tap, to the outputs it reaches."""
    n, height, width, _ = shape
    sample, pixel = jnp.divmod(index, height * width)
    y, x = jnp.divmod(pixel, width)
    rows, columns, _ = spec.map_shape(shape[1:])  # type: ignore[arg-type]
    size, stride = spec.kernel_size, spec.stride
    top, left = (
        same_padding(extent, size, stride)[0] if spec.padding == "same" else 0
        for extent in (height, width)
    )
    total = None
    for tap in np.ndindex(size, size):
        out_y, off_y = jnp.divmod(y + top - tap[0], stride)
        out_x, off_x = jnp.divmod(x + left - tap[1], stride)
        reaches = (
            (off_y == 0) & (off_x == 0) & (sample < n)
            & (out_y >= 0) & (out_y < rows) & (out_x >= 0) & (out_x < columns)
        )  # fmt: skip
        target = jnp.where(reaches, (sample * rows + out_y) * columns + out_x, n * rows * columns)
        added = contribution(tap)
        if total is None:
            total = jnp.zeros((n * rows * columns, added.shape[-1]), jnp.float32)
        total = total.at[target].add(added, mode="drop")
    assert total is not None
    return total.reshape(n, rows, columns, -1)


def _border_potentials(
    spec: Conv, shape: tuple[int, ...], kernels: Kernels
) -> Float[Array, "1 h w f"]:
    """Return what the padding value alone contributes to each output."""
    return spec.linear(jnp.zeros((1, *shape[1:]), jnp.float32), kernels)
