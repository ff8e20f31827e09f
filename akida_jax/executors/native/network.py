"""A network for the native executor: packed once, called by XLA."""

import functools
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int32, UInt8

from akida_jax.executors.native.library import TARGET, load_library, path_number
from akida_jax.executors.native.plan import make_plan
from akida_jax.programs import Programs
from akida_jax.quant.architecture import Shape

LARGEST_EXACT = 16
"""Inputs up to which every batch size is a program of its own."""
LARGEST_PIECE = 256
"""Inputs of the largest program, beside which the 10 to 20 us of handing it over are little."""

Levels = UInt8[Array, "n h w c"] | UInt8[np.ndarray, "n h w c"]


class NativeNetwork:
    """Programs in the kernel's own layout; immutable.

    Args:
      programs: of all layers of a model.
      path: one of `PATHS`; the best that this processor can run by default.
      event_percent: as of `plan.make_plan`.

    Raises:
      NativeUnavailable: if the kernel cannot be built or this processor cannot run the path.
    """

    def __init__(
        self,
        programs: Programs,
        *,
        path: str | None = None,
        event_percent: int | None = None,
    ):
        load_library()
        number = path_number(path)
        plan = make_plan(programs, event_percent=event_percent)
        last = programs[-1]
        self._in_shape, self._out_shape = programs[0].in_shape, last.spec.out_shape(last.in_shape)
        self._constants = jax.device_put(plan.constants, jax.local_devices(backend="cpu")[0])
        self._run = jax.jit(
            functools.partial(
                _call,
                plan=np.array(plan.layers, np.int64),
                path=number,
                out_shape=self._out_shape,
            )
        )

    def __call__(self, x: Levels) -> Int32[Array, "n ho wo f"] | Int32[np.ndarray, "n ho wo f"]:
        """Return the last layer's pooled int32 potentials; may stand inside `jax.jit`.

        A batch of NumPy is cut into pieces of few distinct sizes, so that not each new size has
        to be compiled; what comes back is then of NumPy too. An array of JAX must lie on this
        process' first CPU device.

        Args:
          x: levels of the first layer's input; values are not checked.

        Raises:
          ValueError: if the shape is not the network's.
        """
        if len(x.shape) != 4 or tuple(x.shape[1:]) != tuple(self._in_shape):
            expected = ", ".join(map(str, self._in_shape))
            raise ValueError(f"the network takes inputs of shape (n, {expected}), got {x.shape}")
        if not isinstance(x, np.ndarray):
            return self._run(x, self._constants)
        if len(x) <= LARGEST_EXACT:
            return np.asarray(self._run(x, self._constants))
        potentials = np.empty((len(x), *self._out_shape), np.int32)
        for piece in pieces(len(x)):
            potentials[piece] = self._run(x[piece], self._constants)
        return potentials


def pieces(n: int) -> Iterator[slice]:
    """Cut a batch: powers of two up to `LARGEST_PIECE`, then at most `LARGEST_EXACT` inputs."""
    start = 0
    while start < n:
        left = n - start
        size = left if left <= LARGEST_EXACT else min(1 << left.bit_length() - 1, LARGEST_PIECE)
        yield slice(start, start + size)
        start += size


def _call(
    x: Array, constants: Array, *, plan: np.ndarray, path: int, out_shape: Shape
) -> Int32[Array, "n ho wo f"]:
    result = jax.ShapeDtypeStruct((x.shape[0], *out_shape), jnp.int32)
    return jax.ffi.ffi_call(TARGET, result)(x, constants, plan=plan, path=np.int64(path))
