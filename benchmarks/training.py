"""Training steps per second of the DVS networks, float and quantized.

    python -m benchmarks.training [--no-peers]

Batches of 32 windows, Adam, no augmentation; all forms of a network take turns, each for 100 ms
after a pause. Beside the quantized one PyTorch (``pip install "akida-jax[peers]"``) trains the
same arithmetic, eager and compiled; the loss of the first step tells how far it is the same.
``compile_s`` is the time of the first step. Writes results/training.json.
"""

import dataclasses
import functools
import os
import time
from collections.abc import Callable

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from akida_jax import quant, zoo
from akida_jax.zoo.datasets import Examples
from benchmarks.peers import is_installed
from benchmarks.timing import measure_in_turns, seconds, write_result
from experiments.training.recipes import Phase, Recipe
from experiments.training.trainer import Trainer

BATCH = 32
RATE = 1e-3


@dataclasses.dataclass(frozen=True)
class Options:
    """What is measured.

    Attributes:
      networks: of the zoo.
      rounds: measurements of each variant.
      peers: whether to run PyTorch beside.
      output: name of the file of results.
    """

    networks: tuple[str, ...] = ("akida_tiny", "akida_small")
    rounds: int = 15
    peers: bool = True
    output: str = "training"


def main(options: Options) -> None:
    """Measure, print and write."""
    rng = np.random.default_rng(0)
    x = np.minimum(rng.poisson(0.3, (BATCH, 32, 32, 10)), 15).astype(np.uint8)
    data = Examples(x, rng.integers(0, 11, BATCH).astype(np.int32))
    rows = []
    for network in options.networks:
        rows.append(measure(network, data, options))
        _show(rows[-1])
    print(write_result(options.output, rows))


def measure(network: str, data: Examples, options: Options) -> dict:
    """Return times of all forms of a network on one batch."""
    start = time.perf_counter()
    floating = zoo.build(network)
    twin = quant.quantize(floating, calibration=data.x)
    build_s = time.perf_counter() - start
    calls = {"float": make_step(floating, data), "quantized": make_step(twin, data)}
    if options.peers:
        calls |= _peers(twin, data)
    first = {name: seconds(call) for name, call in calls.items()}
    variants = measure_in_turns(
        calls,
        compile_s={name: taken for name, (taken, _) in first.items()},
        rounds=options.rounds,
        rest_s=0.005,
        turn_s=0.1,
    )
    for name, timing in variants.items():
        timing["first_loss"] = round(float(first[name][1]), 5)
        timing["steps_per_s"] = round(1 / timing["median_s"], 2)
    return {"network": network, "batch": BATCH, "build_s": round(build_s, 3), "variants": variants}


def make_step(network: quant.Sequential, data: Examples) -> Callable[[], float]:
    """Return a call that trains one step and returns its loss."""
    phase = Phase(name="benchmark", epochs=1, low=RATE, high=RATE)
    trainer = Trainer(network, phase, data, recipe=Recipe(batch_size=len(data.x)), seed=0)
    numbers = iter(range(10**9))
    return lambda: trainer.run_epoch(next(numbers))


def _peers(twin: quant.Sequential, data: Examples) -> dict[str, Callable[[], float]]:
    if not is_installed("torch"):
        return {}
    from benchmarks.peers.torch_training import make_step as make_torch_step

    make = functools.partial(
        make_torch_step, twin, data.x, data.y, rate=RATE, threads=os.cpu_count() or 1
    )
    return {"PyTorch": make(compiled=False), "torch.compile": make(compiled=True)}


def _show(row: dict) -> None:
    table = Table(title=f"training of {row['network']}, batches of {row['batch']}")
    for column in ("form", "first step, s", "first loss", "ms per step", "windows/s"):
        table.add_column(column, justify="right")
    for form, timing in row["variants"].items():
        table.add_row(form, f"{timing['compile_s']:.1f}", f"{timing['first_loss']:.4f}",
                      f"{1e3 * timing['median_s']:.1f}",
                      f"{row['batch'] * timing['steps_per_s']:,.0f}")  # fmt: skip
    Console().print(table)


if __name__ == "__main__":
    main(tyro.cli(Options))
