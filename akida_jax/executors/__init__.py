"""Executors: ways to compute the same integers, which differ in speed only.

The dense and the event executor are functions from a layer's program and its input levels
(float32) to the pooled int32 potentials, on XLA; the native executor runs whole networks.
"""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Float, Int32, UInt8

from akida_jax.executors.choice import NAMES, check_name, choose_executor
from akida_jax.executors.dense import dense_potentials
from akida_jax.executors.event import DEFAULT_CAPACITY, event_potentials
from akida_jax.executors.native import NativeNetwork
from akida_jax.programs import LayerProgram, Programs

__all__ = [
    "DEFAULT_CAPACITY",
    "EXECUTORS",
    "NAMES",
    "NativeNetwork",
    "Potentials",
    "check_name",
    "choose_executor",
    "dense_potentials",
    "event_potentials",
    "run_layers",
]

Potentials = Callable[[LayerProgram, Float[Array, "n h w c"]], Int32[Array, "n ho wo f"]]

EXECUTORS: dict[str, Potentials] = {"dense": dense_potentials, "event": event_potentials}
"""Those that go layer by layer, by the name that `Model.forward` takes."""


def run_layers(
    programs: Programs, x: UInt8[Array, "n h w c"], potentials: Potentials
) -> tuple[list[Float[Array, "n h w c"]], Int32[Array, "n ho wo f"]]:
    """Run all layers; return the input levels of each and the last potentials."""
    inputs = [x.astype(jnp.float32)]
    for program in programs[:-1]:
        levels = program.fire(potentials(program, inputs[-1]))
        inputs.append(levels.astype(jnp.float32))
    return inputs, potentials(programs[-1], inputs[-1])
