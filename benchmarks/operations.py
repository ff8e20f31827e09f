"""Where products overtake XLA's convolutions on a CPU, and their gradients.

    python -m benchmarks.operations

3x3 convolutions of square maps, batch 32, held to one way by the two constants of
`akida_jax.quant.operations` that stem from here. "FEW_POSITIONS": a convolution with its gradient
to the input, as products of patches or by XLA's convolution. "MANY_POSITIONS": the gradient of the
kernel, one product per tap or by XLA's convolution. All of it must give the same floats: the
operands are integers. Writes results/operations.json.
"""

import dataclasses
import functools
from collections.abc import Callable
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from akida_jax.quant import operations
from benchmarks.timing import check_integers, measure_in_turns, write_result

BATCH = 32
WAYS = ("convolution", "products")
SIDES = {"FEW_POSITIONS": (1, 2, 3, 4, 6, 8), "MANY_POSITIONS": (8, 12, 16, 24, 32)}
CHANNELS = {"FEW_POSITIONS": ((64, 128), (128, 128)), "MANY_POSITIONS": ((10, 32), (32, 64))}


@dataclasses.dataclass(frozen=True)
class Options:
    """What is measured.

    Attributes:
      rounds: measurements of each way.
      output: name of the file of results.
    """

    rounds: int = 11
    output: str = "operations"


def make_calls(constant: str, side: int, channels: tuple[int, int]) -> dict[str, Callable]:
    """Return a call for each of `WAYS` on one map."""
    rng = np.random.default_rng(0)
    shapes = (BATCH, side, side, channels[0]), (3, 3, *channels), (BATCH, side, side, channels[1])
    x, kernel, g = (jnp.asarray(rng.integers(-3, 4, shape), jnp.float32) for shape in shapes)
    # Products up to the one constant, and from the other: all positions, or none.
    limits = {"FEW_POSITIONS": (0, side**2), "MANY_POSITIONS": (side**2 + 1, 0)}[constant]
    calls: dict[str, Callable] = {}
    for way, limit in zip(WAYS, limits, strict=True):
        jax.clear_caches()  # else the other way's trace is taken
        with mock.patch.object(operations, constant, limit):
            compiled = jax.jit(_FUNCTIONS[constant]).lower(x, kernel, g).compile()
        calls[way] = functools.partial(compiled, x, kernel, g)
    return calls


def _to_input(x: jax.Array, kernel: jax.Array, g: jax.Array) -> tuple[jax.Array, jax.Array]:
    y, pull = jax.vjp(lambda x: operations.convolve(x, kernel), x)
    return y, pull(g)[0]


def _to_kernel(x: jax.Array, kernel: jax.Array, g: jax.Array) -> jax.Array:
    return jax.vjp(lambda kernel: operations.convolve(x, kernel), kernel)[1](g)[0]


_FUNCTIONS = {"FEW_POSITIONS": _to_input, "MANY_POSITIONS": _to_kernel}


def measure(constant: str, side: int, channels: tuple[int, int], rounds: int) -> dict:
    """Return a row."""
    calls = make_calls(constant, side, channels)
    expected = jax.tree.leaves(calls["convolution"]())
    for found, other in zip(jax.tree.leaves(calls["products"]()), expected, strict=True):
        check_integers({"products": found}, np.asarray(other))
    return {"constant": constant, "channels": list(channels), "positions": side**2,
            "variants": measure_in_turns(calls, rounds=rounds, turn_s=0.01)}  # fmt: skip


def main(options: Options) -> None:
    """Measure, print and write."""
    table = Table(title=f"3x3, batch {BATCH}, ms")
    for column in ("constant", "channels", "positions", *WAYS):
        table.add_column(column, justify="right")
    rows = []
    for constant, sides in SIDES.items():
        for channels in CHANNELS[constant]:
            for side in sides:
                row = measure(constant, side, channels, options.rounds)
                rows.append(row)
                times = (f"{1e3 * row['variants'][way]['median_s']:.2f}" for way in WAYS)
                table.add_row(constant, "{} to {}".format(*channels), str(side**2), *times)
    Console().print(table)
    print(write_result(options.output, rows))


if __name__ == "__main__":
    main(tyro.cli(Options))
