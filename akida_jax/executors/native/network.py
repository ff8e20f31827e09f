"""A network for the native executor: packed once, called by XLA."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int32, UInt8

from akida_jax.executors.native.library import TARGET, load_library, path_number
from akida_jax.executors.native.plan import make_plan
from akida_jax.programs import Programs

Levels = UInt8[Array, "n h w c"] | UInt8[np.ndarray, "n h w c"]


class NativeNetwork:
    """Programs in the kernel's own layout; immutable.

    Args:
      programs: of all layers of a model.
      path: one of `PATHS`; the best that this processor can run by default.

    Raises:
      NativeUnavailable: if the kernel cannot be built or this processor cannot run the path.
    """

    def __init__(self, programs: Programs, *, path: str | None = None):
        load_library()
        self._path = path_number(path)
        self._plan = make_plan(programs)
        self._constants = jax.device_put(self._plan.constants, jax.devices("cpu")[0])
        last = programs[-1]
        self._out_shape = last.spec.out_shape(last.in_shape)

    def __call__(self, x: Levels) -> Int32[Array, "n ho wo f"]:
        """Return the last layer's pooled int32 potentials; may stand inside `jax.jit`.

        Args:
          x: levels of the first layer's input. A shape other than the network's is an error of
            XLA; values are not checked.
        """
        return _run(x, self._constants, self._plan.layers, self._out_shape, self._path)


@functools.partial(jax.jit, static_argnums=(2, 3, 4))
def _run(
    x: Levels,
    constants: Array,
    plan: tuple[int, ...],
    out_shape: tuple[int, int, int],
    path: int,
) -> Int32[Array, "n ho wo f"]:
    result = jax.ShapeDtypeStruct((x.shape[0], *out_shape), jnp.int32)
    call = jax.ffi.ffi_call(TARGET, result)
    return call(x, constants, plan=np.array(plan, np.int64), path=np.int64(path))
