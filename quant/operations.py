"""Convolution and pooling on arrays, shared by training and by the executors.

Activations are NHWC, kernels HWIO. All of it runs on float32; fed with integers, every
result is exact as long as the sums of magnitudes stay below 2**24.
"""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Num

EXACT_FLOAT32 = 2**24
"""Integers up to this magnitude are float32 values, and so are their sums below it."""
FEW_POSITIONS = 4
"""Positions of a map up to which a CPU multiplies patches instead of convolving."""
MANY_POSITIONS = 256
"""Positions from which the gradient of a kernel is one product per tap on a CPU."""


def same_padding(size: int, window: int, stride: int) -> tuple[int, int]:
    """Return (low, high) padding of the SAME rule: the odd element goes high.

    Source: docs/hardware.md#padding.
    """
    total = max((-(-size // stride) - 1) * stride + window - size, 0)
    return total // 2, total - total // 2


def output_size(size: int, window: int, stride: int, padding: str) -> int:
    """Return the extent of a convolution or pooling along one axis."""
    return -(-size // stride) if padding == "same" else (size - window) // stride + 1


def pad_spatial(
    x: Num[Array, "n h w c"], window: tuple[int, int], stride: tuple[int, int], value: float
) -> Num[Array, "n hp wp c"]:
    """Pad height and width for SAME windows with a constant."""
    rows, columns = (
        same_padding(x.shape[1 + i], window[i], stride[i]) for i in range(2)
    )  # fmt: skip
    return jnp.pad(x, ((0, 0), rows, columns, (0, 0)), constant_values=value)


def convolve(
    x: Float[Array, "n h w c"],
    kernel: Float[Array, "kh kw c f"],
    *,
    stride: int = 1,
    padding: str = "same",
    padding_value: float = 0,
) -> Float[Array, "n ho wo f"]:
    """Convolve with a dense kernel.

    On a CPU by XLA's convolution. Elsewhere as one matrix product per tap: a library's
    convolution may go through a Winograd or Fourier transform, which rounds.

    On a CPU, SAME convolutions of stride 1 and odd kernels have gradients of their own and no
    forward mode: `jax.jvp`, `jax.linearize`, `jax.jacfwd` and `jax.hessian` raise a TypeError.
    Reverse mode goes to any order: ``jax.jacrev(jax.grad(f))`` is the Hessian, the gradient of
    ``jnp.vdot(jax.grad(f)(x), v)`` its product with ``v``.
    """
    size = kernel.shape[0], kernel.shape[1]
    if size == (1, 1) and stride == 1:
        return jnp.matmul(x, kernel[0, 0], precision=jax.lax.Precision.HIGHEST)
    odd = size[0] % 2 == size[1] % 2 == 1
    plain = padding == "same" and stride == 1 and odd and x.dtype == kernel.dtype
    if plain and jax.default_backend() == "cpu":
        return _convolve_same(x, kernel, padding_value)
    if padding == "same":
        x = pad_spatial(x, size, (stride, stride), padding_value)
    if jax.default_backend() != "cpu":
        return _convolve_by_taps(x, kernel, stride)
    return convolve_by_library(x, kernel, stride)


def convolve_by_library(
    x: Float[Array, "n h w c"], kernel: Float[Array, "kh kw c f"], stride: int
) -> Float[Array, "n ho wo f"]:
    """Convolve a padded input by XLA's convolution, which only CPUs are known not to transform."""
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        "VALID",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision=jax.lax.Precision.HIGHEST,
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _convolve_same(
    x: Float[Array, "n h w c"], kernel: Float[Array, "kh kw c f"], padding_value: float
) -> Float[Array, "n h w f"]:
    """Convolve with stride 1 and an odd kernel, on a CPU.

    XLA's convolution is some twenty times slower than a product of patches where the output has
    few positions, and its gradients are up to twice as slow as those here (docs/performance.md).
    """
    size = kernel.shape[0], kernel.shape[1]
    if x.shape[1] * x.shape[2] <= FEW_POSITIONS:
        patches = gather_patches(x, size, 1, padding="same", padding_value=padding_value)
        weights = kernel.reshape(-1, kernel.shape[3])
        return jnp.matmul(patches, weights, precision=jax.lax.Precision.HIGHEST)
    return convolve_by_library(pad_spatial(x, size, (1, 1), padding_value), kernel, 1)


def _convolve_same_forward(x: Array, kernel: Array, padding_value: float) -> tuple:
    return _convolve_same(x, kernel, padding_value), (x, kernel)


def _convolve_same_backward(padding_value: float, saved: tuple, g: Array) -> tuple[Array, Array]:
    x, kernel = saved
    size = kernel.shape[0], kernel.shape[1]
    turned = jnp.flip(kernel, (0, 1)).transpose(0, 1, 3, 2)
    padded = pad_spatial(x, size, (1, 1), padding_value)
    if x.shape[1] * x.shape[2] < MANY_POSITIONS:
        of_kernel = jax.vjp(lambda k: convolve_by_library(padded, k, 1), kernel)[1](g)[0]
    else:
        taps = [
            jnp.einsum("nhwc,nhwf->cf", _window(padded, (dy, dx), size, (1, 1)), g)
            for dy in range(size[0])
            for dx in range(size[1])
        ]
        of_kernel = jnp.stack(taps).reshape(kernel.shape)
    return _convolve_same(g, turned, 0.0), of_kernel


_convolve_same.defvjp(_convolve_same_forward, _convolve_same_backward)


def _convolve_by_taps(
    x: Float[Array, "n h w c"], kernel: Float[Array, "kh kw c f"], stride: int
) -> Float[Array, "n ho wo f"]:
    """Convolve a padded input as a sum of matrix products."""
    kh, kw = kernel.shape[:2]
    total = jnp.zeros((), x.dtype)
    for dy in range(kh):
        for dx in range(kw):
            window = _window(x, (dy, dx), (kh, kw), (stride, stride))
            total = total + jnp.matmul(window, kernel[dy, dx], precision=jax.lax.Precision.HIGHEST)
    return total


def gather_patches(
    x: Num[Array, "n h w c"],
    size: tuple[int, int],
    stride: int,
    *,
    padding: str,
    padding_value: float = 0,
) -> Num[Array, "n ho wo taps*c"]:
    """Return what each window of a convolution sees, tap by tap, channels last."""
    if padding == "same":
        x = pad_spatial(x, size, (stride, stride), padding_value)
    taps = [(dy, dx) for dy in range(size[0]) for dx in range(size[1])]
    return jnp.concatenate([_window(x, tap, size, (stride, stride)) for tap in taps], axis=-1)


def _window(
    x: Num[Array, "n h w c"],
    offset: tuple[int, int],
    size: tuple[int, int],
    stride: tuple[int, int],
) -> Num[Array, "n ho wo c"]:
    """Return what one tap of a sliding window sees, for all its valid positions."""
    stops = [offset[i] + (x.shape[1 + i] - size[i]) // stride[i] * stride[i] + 1 for i in range(2)]
    return x[:, offset[0] : stops[0] : stride[0], offset[1] : stops[1] : stride[1]]


def convolve_depthwise(
    x: Float[Array, "n h w c"], kernel: Float[Array, "kh kw 1 c"], *, stride: int = 1
) -> Float[Array, "n ho wo c"]:
    """Convolve each channel with its own kernel, SAME padding.

    One multiply-add per tap: a grouped convolution is several times slower on a CPU.
    """
    kh, kw = kernel.shape[:2]
    x = pad_spatial(x, (kh, kw), (stride, stride), 0)
    total = jnp.zeros((), x.dtype)
    for dy in range(kh):
        for dx in range(kw):
            total = total + _window(x, (dy, dx), (kh, kw), (stride, stride)) * kernel[dy, dx, 0]
    return total


def max_pool(
    x: Num[Array, "n h w c"],
    size: tuple[int, int],
    stride: tuple[int, int],
    *,
    padding: str = "same",
) -> Num[Array, "n ho wo c"]:
    """Take the largest value of each window; padding never wins."""
    n, height, width, channels = x.shape
    if size == stride and height % size[0] == 0 and width % size[1] == 0:
        tiles = x.reshape(n, height // size[0], size[0], width // size[1], size[1], channels)
        return tiles.max((2, 4))
    lowest = -jnp.inf if jnp.issubdtype(x.dtype, jnp.floating) else jnp.iinfo(x.dtype).min
    if padding == "same":
        x = pad_spatial(x, size, stride, lowest)
    result = _window(x, (0, 0), size, stride)
    for dy in range(size[0]):
        for dx in range(size[1]):
            result = jnp.maximum(result, _window(x, (dy, dx), size, stride))
    return result
