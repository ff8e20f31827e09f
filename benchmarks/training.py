"""Training steps per second of the DVS networks, float and quantized.

    python -m benchmarks.training

Batches of 32 windows with augmentation, Adam; both forms of a network take turns.
``compile_s`` is the time of the first step. Writes results/training.json.
"""

import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.table import Table

from akida_jax import quant, zoo
from akida_jax.events import augment_frames
from akida_jax.zoo.datasets import Examples
from benchmarks.timing import measure_in_turns, write_result
from experiments.training.recipes import Phase, Recipe
from experiments.training.trainer import Trainer

BATCH = 32


def main() -> None:
    """Measure, print and write."""
    rng = np.random.default_rng(0)
    x = np.minimum(rng.poisson(0.3, (BATCH, 32, 32, 10)), 15).astype(np.uint8)
    data = Examples(x, rng.integers(0, 11, BATCH).astype(np.int32))
    rows = []
    table = Table(title=f"training, batches of {BATCH}")
    for column in ("network", "form", "first step, s", "ms per step", "steps/s", "windows/s"):
        table.add_column(column, justify="right")
    for network in ("akida_tiny", "akida_small"):
        start = time.perf_counter()
        floating = zoo.build(network)
        twin = quant.quantize(floating, calibration=x)
        build_s = time.perf_counter() - start
        variants = measure_in_turns(
            {"float": _step(floating, data), "quantized": _step(twin, data)}
        )
        for timing in variants.values():
            timing["steps_per_s"] = round(1 / timing["median_s"], 2)
        rows.append({"network": network, "batch": BATCH, "build_s": round(build_s, 3),
                     "variants": variants})  # fmt: skip
        for form, timing in variants.items():
            table.add_row(network, form, f"{timing['compile_s']:.1f}",
                          f"{1e3 * timing['median_s']:.1f}", f"{timing['steps_per_s']:.1f}",
                          f"{BATCH * timing['steps_per_s']:,.0f}")  # fmt: skip
    Console().print(table)
    print(write_result("training", rows))


def _step(network: quant.Sequential, data: Examples) -> Callable[[], jax.Array]:
    phase = Phase(name="benchmark", epochs=1, low=1e-5, high=1e-3)
    recipe = Recipe(batch_size=BATCH, augment=augment_frames)
    trainer = Trainer(network, phase, data, recipe=recipe, seed=0)
    numbers = iter(range(10**9))

    def step() -> jax.Array:
        return jnp.float32(trainer.run_epoch(next(numbers)))

    return step


if __name__ == "__main__":
    main()
