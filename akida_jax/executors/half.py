"""Potentials from float16 operands, for the matrix units of accelerators.

Float16 holds every integer up to 2048, float32 every sum below 2**24; matrix units multiply the
first and add up in the second, so the integers are exact at the speed of half precision. A
convolution is one product of gathered patches: a library's own may go through a Winograd or Fourier
transform, which rounds. The products are the same on a CPU, only slow.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int32

from akida_jax.programs import LayerProgram
from akida_jax.quant.activations import activation_limit
from akida_jax.quant.architecture import Conv
from akida_jax.quant.operations import convolve_depthwise, gather_patches
from akida_jax.quant.potentials import pool_potentials
from akida_jax.quant.weights import weight_limit

EXACT_FLOAT16 = 2**11
"""Integers up to this magnitude are float16 values."""


def half_potentials(program: LayerProgram, x: Float[Array, "n h w c"]) -> Int32[Array, "n ho wo f"]:
    """Return a layer's pooled int32 potentials; the same integers as the dense executor.

    Args:
      program: a layer whose sums float32 holds, that is with one group.
      x: integer levels held as float32.
    """
    assert program.groups == 1
    spec, kernels = program.spec, program.float_kernels()
    if not isinstance(spec, Conv):
        flat = x.reshape(x.shape[0], 1, 1, math.prod(x.shape[1:]))
        return _product(flat, kernels["kernel"][0, 0], exact=True).astype(jnp.int32)
    if spec.kind == "separable":
        sums = convolve_depthwise(x, kernels["kernel"], stride=spec.stride)
        total = _product(sums, kernels["pointwise"], exact=_largest_sum(program) <= EXACT_FLOAT16)
    else:
        patches = gather_patches(
            x.astype(jnp.float16), (spec.kernel_size,) * 2, spec.stride, padding=spec.padding,
            padding_value=spec.border,
        )  # fmt: skip
        total = _product(patches, kernels["kernel"].reshape(-1, spec.filters), exact=True)
    return pool_potentials(spec, total)


def patch_bytes(program: LayerProgram) -> int:
    """Return what the gathered patches of one input take in a layer; 0 if it gathers none."""
    spec = program.spec
    if program.groups > 1 or not isinstance(spec, Conv) or spec.kind == "separable":
        return 0
    rows, columns, _ = spec.map_shape(program.in_shape)
    return rows * columns * spec.kernel_size**2 * program.in_shape[2] * np.float16().nbytes


def _largest_sum(program: LayerProgram) -> int:
    taps = math.prod(program.kernels["kernel"].shape[:2])
    return (
        taps * activation_limit(program.input_bits) * weight_limit(max(program.spec.weight_bits, 2))
    )


def _product(x: Array, weights: Array, *, exact: bool) -> Float[Array, "n h w f"]:
    """Multiply integers: in float16 where it holds them all, else in full float32."""
    if not exact:
        return jnp.matmul(x, weights, precision=jax.lax.Precision.HIGHEST)
    half = jnp.float16
    return jnp.matmul(x.astype(half), weights.astype(half), preferred_element_type=jnp.float32)
