"""Images per second of the dense executor: whole batches and pieces, one core and all.

    python -m benchmarks.batches

Weights are random, quantized and calibrated on the inputs: noise for AkidaNet 0.5 at 224x224,
one value in ten active for Akida Tiny and Akida Small. "whole" runs a batch in one call,
"pieces" as `Model.forward` cuts it; "split" lets all cores work on a convolution. "chosen" is
what `Model.forward` does, checks and copies included. All must give the same integers. From
these numbers stem the constants of `akida_jax.executors.batches`. Writes results/batches.json.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from rich.console import Console
from rich.table import Table

import akida_jax as aj
from akida_jax import quant, zoo
from akida_jax.executors.batches import jit_on_all_cores, piece_size
from benchmarks.networks import compile_executor
from benchmarks.timing import check_integers, measure_in_turns, seconds, write_result

BATCHES = (1, 8, 32, 128)
NETWORKS: dict[str, dict[str, Any]] = {
    "akidanet": {"alpha": 0.5, "classes": 1000, "input_shape": (224, 224, 3)},
    "akida_small": {},
    "akida_tiny": {},
}


def _inputs(model: str) -> np.ndarray:
    rng = np.random.default_rng(0)
    if model == "akidanet":
        return rng.integers(0, 256, (max(BATCHES), 224, 224, 3)).astype(np.uint8)
    x = rng.integers(1, 16, (max(BATCHES), 32, 32, 10))
    return np.where(rng.random(x.shape) < 0.1, x, 0).astype(np.uint8)


def _row(model: aj.Model, x: np.ndarray) -> dict:
    size = piece_size(model.programs)
    pieces = [jax.device_put(x[i : i + size]) for i in range(0, len(x), size)]
    given = jax.device_put(x)
    calls: dict[str, Callable[[], Any]] = {}
    compile_s = {}
    for name, jit in (("", jax.jit), (", split", jit_on_all_cores)):
        jitted = compile_executor(jit, "dense")
        for way, parts in (("whole", [given]), ("pieces", pieces)):
            if way == "pieces" and len(pieces) == 1:
                continue
            compile_s[way + name], compiled = seconds(
                functools.partial(_compile, jitted, model.programs, parts[0])
            )
            calls[way + name] = functools.partial(_run, compiled, model.programs, parts)
    calls["chosen"] = functools.partial(model.forward, x, "dense")
    compile_s["chosen"], _ = seconds(calls["chosen"])
    reference = calls["chosen"]()
    check_integers({name: call() for name, call in calls.items()}, reference)
    variants = measure_in_turns(calls, compile_s=compile_s)
    for timing in variants.values():
        timing["images_per_s"] = round(len(x) / timing["median_s"], 1)
    return {"piece": size, "equal": True, "variants": variants}


def _compile(jitted: Any, programs: aj.model.Programs, x: jax.Array) -> jax.stages.Compiled:
    return jitted.lower(programs, x).compile()


def _run(
    compiled: jax.stages.Compiled, programs: aj.model.Programs, parts: list[jax.Array]
) -> np.ndarray:
    return np.concatenate([np.asarray(compiled(programs, part)) for part in parts])


def main() -> None:
    """Measure, print and write."""
    names = ("whole", "pieces", "whole, split", "pieces, split", "chosen")
    table = Table(title="dense executor, images per second (median)")
    for column in ("network", "batch", "piece", *names, "chosen/whole"):
        table.add_column(column, justify="right", no_wrap=column == "network")
    rows = []
    for network, options in NETWORKS.items():
        x = _inputs(network)
        model = aj.convert(quant.quantize(zoo.build(network, **options), calibration=x[:8]))
        for batch in BATCHES:
            row = _row(model, x[:batch])
            rows.append({"network": network, "batch": batch, **row})
            rates = {name: timing["images_per_s"] for name, timing in row["variants"].items()}
            cells = (f"{rates[name]:,.0f}" if name in rates else "" for name in names)
            table.add_row(network, str(batch), str(row["piece"]), *cells,
                          f"{rates['chosen'] / rates['whole']:.2f}")  # fmt: skip
    Console().print(table)
    print(write_result("batches", rows))


if __name__ == "__main__":
    main()
