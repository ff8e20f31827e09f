"""Integer models as artefacts of `jax.export`: StableHLO with the weights inside.

They run wherever JAX does, without this package. Every product is one that its platform
computes exactly: no convolution of a library that may transform its operands, except on CPUs,
whose do not.
"""

import contextlib
import dataclasses
import functools
import os
from collections.abc import Callable, Iterator, Sequence

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int32, UInt8

from akida_jax.executors import run_layers
from akida_jax.executors.half import half_potentials
from akida_jax.export.sizes import check_size
from akida_jax.model import Model
from akida_jax.programs import LayerProgram, Programs
from akida_jax.quant.architecture import Conv, Kernels
from akida_jax.quant.operations import (
    FEW_POSITIONS,
    convolve_by_library,
    gather_patches,
    pad_spatial,
)
from akida_jax.quant.potentials import exact_potentials, pool_potentials
from akida_jax.writing import check_target, replace_file

PLATFORMS = ("cpu", "cuda", "rocm", "tpu")
"""For which an artefact can be made. Tried are CPUs; what holds of the others is derived."""

_HIGHEST = jax.lax.Precision.HIGHEST


def to_jax(
    model: Model, path: str | os.PathLike, *, platforms: Sequence[str] = ("cpu", "cuda")
) -> None:
    """Write a model as an artefact that `jax.export.deserialize` reads.

    Its ``call`` takes uint8 levels (n, h, w, c) for any n of at least 1, and returns what
    `Model.forward` does: int32 potentials, or uint8 levels where the last layer has an
    activation. It does not check that levels lie below ``2**input_bits``. JAX keeps artefacts
    readable for at least six months of its versions.

    Args:
      model: to be written.
      path: of the file, by habit ``.jaxexport``; it appears when it is complete.
      platforms: where it is to run, of `PLATFORMS`.

    Raises:
      ValueError: for an unknown platform, or weights beyond 2 GiB.
      FileNotFoundError: if the folder does not exist.
      IsADirectoryError: if the name is that of a folder.
    """
    target = check_target(path)
    with replace_file(target) as stream:
        stream.write(export_program(model, platforms).serialize())


def export_program(model: Model, platforms: Sequence[str]) -> jax.export.Exported:
    """Return the artefact of a model; arguments and errors are those of `to_jax`."""
    _check_platforms(platforms)
    check_size(model.programs)
    shape = jax.export.symbolic_shape(", ".join(["n", *map(str, model.input_shape)]))
    run = jax.jit(functools.partial(_forward, model.programs))
    with _without_locations():
        return jax.export.export(run, platforms=_listed(platforms))(
            jax.ShapeDtypeStruct(shape, np.uint8)
        )


@contextlib.contextmanager
def _without_locations() -> Iterator[None]:
    """Let no path of this machine into what is traced."""
    option = "jax_traceback_in_locations_limit"
    before = getattr(jax.config, option)
    jax.config.update(option, 0)
    try:
        yield
    finally:
        jax.config.update(option, before)


def _listed(platforms: Sequence[str]) -> list[str]:
    return [platforms] if isinstance(platforms, str) else list(platforms)


def _check_platforms(platforms: Sequence[str]) -> None:
    given = _listed(platforms)
    unknown = sorted(set(given) - set(PLATFORMS))
    if unknown or not given or len(given) > len(set(given)):
        raise ValueError(
            f"platforms must be some of {', '.join(PLATFORMS)}, each once, got "
            f"{', '.join(given) or 'none'}"
        )


def _forward(
    programs: Programs, x: UInt8[Array, "n h w c"]
) -> Int32[Array, "n ho wo f"] | UInt8[Array, "n ho wo f"]:
    potentials = run_layers(programs, x, _potentials)[1]
    last = programs[-1]
    return last.fire(potentials).astype(jnp.uint8) if last.spec.activation else potentials


def _potentials(program: LayerProgram, x: Float[Array, "n h w c"]) -> Int32[Array, "n ho wo f"]:
    """Return a layer's pooled potentials, in the way of the platform that runs the artefact.

    Sums stay below 2**24 (`LayerProgram.groups`), so float32 holds them in any order. Graphics
    processors multiply float16, as the dense executor does. A TPU multiplies bfloat16, a float32
    operand of the highest precision in three parts: integers up to 2**16 have two, the weights
    beside them one, and no product of those is left out.
    """
    kernels = {name: jnp.asarray(kernel) for name, kernel in program.kernels.items()}
    branches: dict[str, Callable] = {"default": functools.partial(_by_products, program)}
    if isinstance(program.spec, Conv) and program.spec.kind != "separable":
        branches["cpu"] = functools.partial(_by_convolution, program)
    if program.groups == 1:
        branches["cuda"] = branches["rocm"] = functools.partial(_in_half, program)
    return jax.lax.platform_dependent(x, kernels, **branches)


def _by_products(program: LayerProgram, x: Array, kernels: Kernels) -> Array:
    """Return potentials from matrix products of float32, whose operands nothing transforms."""
    spec, floats = program.spec, _to_float(kernels)
    if not isinstance(spec, Conv) or spec.kind == "separable":
        return exact_potentials(spec, x, floats, groups=program.groups)
    assert program.groups == 1, "no convolution of the chip reaches 2**24"
    patches = gather_patches(
        x, (spec.kernel_size,) * 2, spec.stride, padding=spec.padding, padding_value=spec.border
    )
    weights = floats["kernel"].reshape(-1, spec.filters)
    return pool_potentials(spec, jnp.matmul(patches, weights, precision=_HIGHEST))


def _by_convolution(program: LayerProgram, x: Array, kernels: Kernels) -> Array:
    """Return potentials from XLA's convolution of float32, for a CPU: it transforms nothing."""
    spec = program.spec
    assert isinstance(spec, Conv)
    rows, columns, _ = spec.map_shape(program.in_shape)
    if rows * columns <= FEW_POSITIONS or (spec.kernel_size, spec.stride) == (1, 1):
        return _by_products(program, x, kernels)
    if spec.padding == "same":
        size, stride = (spec.kernel_size,) * 2, (spec.stride,) * 2
        x = pad_spatial(x, size, stride, spec.border)
    total = convolve_by_library(x, _to_float(kernels)["kernel"], spec.stride)
    return pool_potentials(spec, total)


def _in_half(program: LayerProgram, x: Array, kernels: Kernels) -> Array:
    return half_potentials(dataclasses.replace(program, kernels=dict(kernels)), x)


def _to_float(kernels: Kernels) -> dict[str, Array]:
    return {name: kernel.astype(jnp.float32) for name, kernel in kernels.items()}
