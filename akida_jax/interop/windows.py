"""Convolution windows in the forms that the chip has: square, odd, SAME padding.

A kernel with other padding, an even or oblong one, or one with gaps computes the same as a
larger square kernel with zeros around, if the larger one's SAME padding covers its own.
"""

import numpy as np

from akida_jax.quant.operations import same_padding

Pads = tuple[tuple[int, int], tuple[int, int]]
"""Rows and columns added (top, bottom) and (left, right)."""

SIZES = (1, 3, 5, 7)
NO_PADS: Pads = ((0, 0), (0, 0))


def same_pads(shape: tuple[int, ...], window: tuple[int, int], stride: tuple[int, int]) -> Pads:
    """Return the padding of the SAME rule for a map of ``shape``."""
    rows, columns = (same_padding(shape[i], window[i], stride[i]) for i in range(2))
    return rows, columns


def out_sizes(
    shape: tuple[int, ...], window: tuple[int, int], stride: tuple[int, int], pads: Pads
) -> tuple[int, int]:
    """Return rows and columns of the output of an explicitly padded window."""
    rows, columns = ((shape[i] + sum(pads[i]) - window[i]) // stride[i] + 1 for i in range(2))
    return rows, columns


def fit_same(
    kernel: np.ndarray, shape: tuple[int, ...], stride: int, pads: Pads, sizes: tuple[int, ...]
) -> np.ndarray | None:
    """Return the kernel embedded in the smallest square one that has SAME padding.

    Args:
      kernel: rows and columns first.
      shape: of the input map.
      stride: along both axes.
      pads: that the kernel has.
      sizes: allowed sizes, ascending.

    Returns:
      None where no size gives the same windows.
    """
    window = kernel.shape[0], kernel.shape[1]
    wanted = tuple(-(-n // stride) for n in shape[:2])
    if out_sizes(shape, window, (stride, stride), pads) != wanted:
        return None
    for size in sizes:
        if size < max(window):
            continue
        # A tap at row r of the small kernel reads input row i * stride + r - pad.
        around = same_pads(shape, (size, size), (stride, stride))
        starts = [around[axis][0] - pads[axis][0] for axis in range(2)]
        if all(0 <= start <= size - n for start, n in zip(starts, window, strict=True)):
            square = np.zeros((size, size, *kernel.shape[2:]), kernel.dtype)
            rows, columns = (slice(s, s + n) for s, n in zip(starts, window, strict=True))
            square[rows, columns] = kernel
            return square
    return None


def dilate(kernel: np.ndarray, rates: tuple[int, int]) -> np.ndarray:
    """Return a kernel with ``rate - 1`` zeros between its taps."""
    rows, columns = ((kernel.shape[i] - 1) * rates[i] + 1 for i in range(2))
    result = np.zeros((rows, columns, *kernel.shape[2:]), kernel.dtype)
    result[:: rates[0], :: rates[1]] = kernel
    return result


def ungroup(kernel: np.ndarray, groups: int) -> np.ndarray:
    """Return the full kernel of a grouped one, ``(kh, kw, cin / groups, f)``."""
    rows, columns, inputs, filters = kernel.shape
    full = np.zeros((rows, columns, inputs * groups, filters), kernel.dtype)
    each = filters // groups
    for group in range(groups):
        taken = slice(group * each, (group + 1) * each)
        full[:, :, group * inputs : (group + 1) * inputs, taken] = kernel[..., taken]
    return full


def join_separable(depthwise: np.ndarray, pointwise: np.ndarray) -> np.ndarray:
    """Return the full kernel of a depthwise one (kh kw 1 c) and a pointwise one (c f)."""
    return depthwise[:, :, 0, :, None] * pointwise


def expand_depthwise(kernel: np.ndarray) -> np.ndarray:
    """Return the full kernel of a Keras depthwise one, ``(kh, kw, c, multiplier)``."""
    rows, columns, channels, multiplier = kernel.shape
    full = np.zeros((rows, columns, channels, channels, multiplier), kernel.dtype)
    every = np.arange(channels)
    full[:, :, every, every, :] = kernel
    return full.reshape(rows, columns, channels, channels * multiplier)
