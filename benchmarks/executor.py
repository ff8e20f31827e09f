"""Images per second of the executors on the DVS networks.

    python -m benchmarks.executor

Weights are random, quantized and calibrated on the inputs. The inputs are windows of
synthetic gestures of 100 ms and of 4 ms, and the latter with their pixels scattered evenly
over the frame. A batch's variants take turns; ratios compare medians of one run. Where a
layer has more active pixels than the event list holds, its time is that of the dense path.
Each variant is compiled ahead, ``compile_s``. Writes results/executor.json.
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
from akida_jax.executors import DEFAULT_CAPACITY, dense_potentials, event_potentials, run_layers
from akida_jax.zoo import datasets
from benchmarks.timing import measure_in_turns, seconds, write_result

BATCHES = (1, 8, 32, 128)
CAPACITIES = (DEFAULT_CAPACITY, 0.5)


def _inputs() -> dict[str, np.ndarray]:
    """Return synthetic windows, dense and sparse, and the sparse ones scattered evenly."""
    dataset = datasets.load_recordings("synthetic", n_train_per_class=1, n_test_per_class=3)
    long, frames = (
        datasets.event_frames(dataset, window_ms=window, test_stride_ms=40.0).test_x[: max(BATCHES)]
        for window in (100.0, 4.0)
    )
    pixels = frames.reshape(len(frames), -1, frames.shape[-1])
    order = np.random.default_rng(0).permuted(
        np.tile(np.arange(pixels.shape[1]), (len(pixels), 1)), axis=1
    )
    scattered = np.take_along_axis(pixels, order[..., None], 1).reshape(frames.shape)
    return {"100 ms": long, "4 ms": frames, "4 ms, scattered": scattered}


def main() -> None:
    """Measure, print and write."""
    rows = []
    table = Table(title="executors, images per second (median)")
    names = ["dense", *(f"event {capacity:g}" for capacity in CAPACITIES)]
    for column in ("network", "input", "batch", "active pixels", *names, "event/dense"):
        table.add_column(column, justify="right")
    inputs = _inputs()
    for network in ("akida_tiny", "akida_small"):
        flax = quant.quantize(zoo.build(network), calibration=inputs["100 ms"])
        programs = aj.convert(flax).programs
        for kind, frames in inputs.items():
            for batch in BATCHES:
                row = _row(programs, frames[:batch], names)
                rows.append({"network": network, "input": kind, "batch": batch, **row})
                rates = [row["variants"][name]["images_per_s"] for name in names]
                table.add_row(network, kind, str(batch), f"{row['active_pixels']:.1%}",
                              *(f"{rate:,.0f}" for rate in rates),
                              f"{max(rates[1:]) / rates[0]:.2f}")  # fmt: skip
    Console().print(table)
    print(write_result("executor", rows))


def _compile(
    function: Callable[..., Any], programs: aj.model.Programs, x: jax.Array
) -> jax.stages.Compiled:
    return jax.jit(lambda p, a: run_layers(p, a, function)[1]).lower(programs, x).compile()


def _row(programs: aj.model.Programs, x: np.ndarray, names: list[str]) -> dict:
    functions = [dense_potentials]
    functions += [functools.partial(event_potentials, capacity=c) for c in CAPACITIES]
    device = jax.device_put(x)
    calls, compile_s = {}, {}
    for name, function in zip(names, functions, strict=True):
        compile_s[name], compiled = seconds(functools.partial(_compile, function, programs, device))
        calls[name] = functools.partial(compiled, programs, device)
    reference = np.asarray(calls["dense"]())
    for name, call in calls.items():
        if not (np.asarray(call()) == reference).all():
            raise AssertionError(f"{name} differs from the dense executor")
    variants = measure_in_turns(calls, compile_s=compile_s)
    for timing in variants.values():
        timing["images_per_s"] = round(len(x) / timing["median_s"], 1)
    return {
        "active_pixels": float((x != 0).any(-1).mean()),
        "equal": True,
        "variants": variants,
    }


if __name__ == "__main__":
    main()
