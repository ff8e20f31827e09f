"""A network for the native executor: packed once, called by XLA."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int32, UInt8

from akida_jax.executors.native.library import TARGET, load_library, path_number
from akida_jax.executors.native.plan import EVENT_PERCENT, make_plan
from akida_jax.programs import Programs
from akida_jax.quant.architecture import Shape

Levels = UInt8[Array, "n h w c"] | UInt8[np.ndarray, "n h w c"]


class NativeNetwork:
    """Programs in the kernel's own layout; immutable.

    Args:
      programs: of all layers of a model.
      path: one of `PATHS`; the best that this processor can run by default.
      event_percent: as of `plan.make_plan`; a measured share by default.

    Raises:
      NativeUnavailable: if the kernel cannot be built or this processor cannot run the path.
    """

    def __init__(
        self,
        programs: Programs,
        *,
        path: str | None = None,
        event_percent: int = EVENT_PERCENT,
    ):
        load_library()
        plan = make_plan(programs, event_percent=event_percent)
        last = programs[-1]
        self._constants = jax.device_put(plan.constants, jax.devices("cpu")[0])
        self._run = jax.jit(
            functools.partial(
                _call,
                plan=np.array(plan.layers, np.int64),
                path=path_number(path),
                out_shape=last.spec.out_shape(last.in_shape),
            )
        )

    def __call__(self, x: Levels) -> Int32[Array, "n ho wo f"]:
        """Return the last layer's pooled int32 potentials; may stand inside `jax.jit`.

        Args:
          x: levels of the first layer's input. A shape other than the network's is an error of
            XLA; values are not checked.
        """
        return self._run(x, self._constants)


def _call(
    x: Array, constants: Array, *, plan: np.ndarray, path: int, out_shape: Shape
) -> Int32[Array, "n ho wo f"]:
    result = jax.ShapeDtypeStruct((x.shape[0], *out_shape), jnp.int32)
    return jax.ffi.ffi_call(TARGET, result)(x, constants, plan=plan, path=np.int64(path))
