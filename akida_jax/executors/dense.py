"""Dense executor: every position of every map, on XLA."""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int32

from akida_jax.programs import LayerProgram
from akida_jax.quant.potentials import exact_potentials


def dense_potentials(
    program: LayerProgram, x: Float[Array, "n h w c"]
) -> Int32[Array, "n ho wo f"]:
    """Return a layer's pooled int32 potentials for integer levels held as float32."""
    return exact_potentials(
        program.spec, x.astype(jnp.float32), program.float_kernels(), groups=program.groups
    )
