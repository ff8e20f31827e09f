"""How a batch is cut into pieces, spread over devices, and how XLA compiles a piece.

The numbers of a CPU are those at which one way overtook the other; `python -m benchmarks.batches`
measures them again. Those of accelerators are assumed: memory is plenty there, and a call costs
more than on a CPU.
"""

import functools
import math
import os
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array

from akida_jax.executors.half import patch_bytes
from akida_jax.programs import Programs

LARGEST_PIECE = 64
"""Inputs that run in one call on a device, however small they are."""
PIECE_BYTES = 16 * 2**20
"""What the largest map of a piece may take on a device, in float32."""
ACCELERATOR_PIECE = 4096
"""The former on an accelerator."""
ACCELERATOR_BYTES = 2**30
"""The latter on an accelerator, where the patches of a convolution may take as much."""
SPLIT_MACS = 8_000_000
"""Multiply-accumulates of one input from which convolutions gain by being split over cores."""
SPLIT_PIECE_MACS = 64_000_000
"""The same of a whole piece."""
_SPLIT_CONVOLUTIONS = {"xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT"}


def piece_size(programs: Programs) -> int:
    """Return how many inputs run in one call on a device: memory is constant in the batch.

    A power of two.
    """
    on_cpu = jax.default_backend() == "cpu"
    most, room = (LARGEST_PIECE, PIECE_BYTES) if on_cpu else (ACCELERATOR_PIECE, ACCELERATOR_BYTES)
    maps = [shape for p in programs for shape in (p.in_shape, p.spec.map_shape(p.in_shape))]
    largest = max(4 * math.prod(shape) for shape in maps)  # float32
    if not on_cpu:
        largest = max(largest, *map(patch_bytes, programs))
    fit = room // largest
    return min(most, 1 << max(fit, 1).bit_length() - 1)


def device_count() -> int:
    """Return over how many devices `spread` splits a batch: all of this process."""
    return len(jax.local_devices())


def filled_size(n: int, devices: int) -> int:
    """Return how many inputs ``n`` are filled up to: one of few numbers that devices share evenly.

    A power of two for each device; of fewer inputs than devices, one each for some of them.
    """
    share = 1 << (max(-(-n // devices), 1) - 1).bit_length()
    if share > 1:
        return share * devices
    return min(1 << max(n - 1, 0).bit_length(), devices)


def spread(x: np.ndarray) -> np.ndarray | Array:
    """Split inputs evenly along the first axis over all devices, or over as many as inputs."""
    devices = np.array(jax.local_devices()[: len(x)])
    if devices.size == 1 or len(x) % devices.size:
        return x
    return jax.device_put(x, NamedSharding(Mesh(devices, ("batch",)), PartitionSpec("batch")))


def gains_by_splitting(programs: Programs, n: int) -> bool:
    """Return whether a piece is large enough for its convolutions to be split over the cores.

    Args:
      programs: of all layers.
      n: inputs of the piece.
    """
    macs = sum(program.spec.macs(program.in_shape) for program in programs)
    return macs >= SPLIT_MACS and n * macs >= SPLIT_PIECE_MACS


def jit_on_all_cores(function: Callable, **options: object) -> Callable:
    """Return a jitted function whose convolutions use all cores of a CPU.

    jaxlib 0.10 compiles a convolution for a library that works on one core; an experimental
    option of XLA leaves it to one that works on all. Where there is no such option, no second
    core, or no CPU, this is `jax.jit`. Integers are the same: float32 carries them exactly in
    any order.

    Args:
      function: to be compiled.
      **options: of `jax.jit`.
    """
    split = _SPLIT_CONVOLUTIONS if has_split_convolutions() else None
    return jax.jit(function, compiler_options=split, **options)  # type: ignore[call-overload]


@functools.cache
def has_split_convolutions() -> bool:
    """Return whether XLA can be told to split convolutions over the cores of this machine."""
    if jax.default_backend() != "cpu" or (os.cpu_count() or 1) < 2:
        return False
    try:
        jax.jit(jnp.negative, compiler_options=_SPLIT_CONVOLUTIONS).lower(jnp.float32(0)).compile()
    except jax.errors.JaxRuntimeError:
        return False
    return True
