"""Dense executor: every position of every map, on XLA."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int32

from akida_jax.executors.half import half_potentials
from akida_jax.programs import LayerProgram
from akida_jax.quant.potentials import exact_potentials


def dense_potentials(
    program: LayerProgram, x: Float[Array, "n h w c"]
) -> Int32[Array, "n ho wo f"]:
    """Return a layer's pooled int32 potentials for integer levels held as float32.

    On a CPU by XLA's convolutions of float32, elsewhere by products of float16.
    """
    if jax.default_backend() != "cpu" and program.groups == 1:
        return half_potentials(program, x)
    return exact_potentials(
        program.spec, x.astype(jnp.float32), program.float_kernels(), groups=program.groups
    )
