"""When events are quicker than the whole map: layers at generated and at real sparsity.

    python -m benchmarks.density [--path avx512_vnni]

One convolution with a small one behind, 4-bit inputs of which a given share is not zero, at random
places or in whole pixels as behind an event camera, or event frames of `benchmarks.networks`.
"native" is what `Model.forward` does, on the quickest path. The others stay on one path, by default
the quickest whose rows do not go through tiles, which need no events: "native, chosen" goes by the
share of active words, "native, rows" and "native, events" are held to one way. The kernel counts
words of four channels of which one is not zero; ``break_even`` is the share of them up to which
events were quicker, by a straight line between two densities. "dense" and "event" are XLA's, on
all cores.
All must give the same integers. Writes results/density.json.
"""

import dataclasses
import functools
import math
from collections.abc import Callable

import jax
import numpy as np
import tyro
from flax import nnx
from rich.console import Console
from rich.table import Table

import akida_jax as aj
from akida_jax import quant
from akida_jax.executors import choose_executor
from akida_jax.executors.batches import jit_on_all_cores
from akida_jax.executors.native import NativeNetwork, available_paths
from akida_jax.quant.architecture import Pool
from benchmarks.networks import CASES, compile_executor
from benchmarks.timing import check_integers, measure_in_turns, write_result

BATCH = 32
DENSITIES = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9)
LAYERS: dict[str, tuple[tuple[int, int, int], int, Pool | None]] = {
    "first layer of Akida Small": ((32, 32, 10), 32, "max"),
    "second layer of Akida Small": ((16, 16, 32), 64, "max"),
    "fourth layer of Akida Small": ((4, 4, 64), 128, "max"),
    "16x16x64 to 128": ((16, 16, 64), 128, None),
}
WAYS = ("native, rows", "native, events")
TILED = ("amx",)


@dataclasses.dataclass(frozen=True)
class Options:
    """What is measured.

    Attributes:
      path: on which the ways of the native kernel are compared; None for the quickest without
        tiles.
    """

    path: str | None = None


def make_layer(
    shape: tuple[int, int, int], filters: int, pool: Pool | None, x: np.ndarray
) -> aj.Model:
    """Return a 3x3 convolution of 4 bits with random weights, calibrated on ``x``.

    A convolution of four filters and one tap follows, as one must behind a max pool: what is
    measured then writes levels, as in a network, not potentials of 32 bits.
    """
    layers: list = [quant.InputData(input_shape=shape, input_bits=4),
              quant.Conv(filters=filters, kernel_size=3, pool=pool),
              quant.Conv(filters=4, kernel_size=1, pool="global_average")]  # fmt: skip
    network = quant.Sequential(layers, rngs=nnx.Rngs(0))
    return aj.convert(quant.quantize(network, calibration=x))


def generate(shape: tuple[int, int, int], density: float, *, pixels: bool) -> np.ndarray:
    """Return levels of which a share is not zero: values, or whole pixels."""
    rng = np.random.default_rng(0)
    levels = rng.integers(1, 16, (BATCH, *shape))
    active = rng.random((BATCH, *shape[:2], 1 if pixels else shape[2])) < density
    return np.where(active, levels, 0).astype(np.uint8)


def choose_path(path: str | None) -> str | None:
    """Return the path to measure; None where the native executor is not to be had."""
    if path is None and choose_executor("native") == "native":
        return next(name for name in available_paths() if name not in TILED)
    return path


def measure(model: aj.Model, x: np.ndarray, path: str | None) -> dict:
    """Return times of all ways on one input; of XLA's alone without a path of the kernel."""
    calls: dict[str, Callable[[], jax.Array | np.ndarray]] = {}
    if path is not None:
        calls["native"] = functools.partial(NativeNetwork(model.programs), x)
        for name, percent in (("native, chosen", None), (WAYS[0], 0), (WAYS[1], 100)):
            network = NativeNetwork(model.programs, path=path, event_percent=percent)
            calls[name] = functools.partial(network, x)
    for name in ("dense", "event"):
        run = compile_executor(jit_on_all_cores, name)
        calls[name] = functools.partial(run, model.programs, x)
    results = {name: np.asarray(call()) for name, call in calls.items()}
    check_integers(results, results["dense"])
    return measure_in_turns(calls, rounds=9, rest_s=0.003, turn_s=0.01)


def word_share(x: np.ndarray) -> float:
    """Return which share of the words of four channels is not zero."""
    padded = np.pad(x, [(0, 0)] * 3 + [(0, -x.shape[-1] % 4)])
    return float(padded.reshape(-1, 4).any(1).mean())


def break_even(rows: list[dict], ways: tuple[str, str], by: str) -> float | None:
    """Return the share up to which the second way is quicker; None if it never is.

    Args:
      rows: of one layer, by rising share.
      ways: two variants.
      by: name of the share in a row.
    """
    before = None
    for row in rows:
        first, second = (row["variants"][way]["median_s"] for way in ways)
        gain = math.log(first / second)
        if gain < 0:
            if before is None:
                return None
            share, was = before
            return round(share + (row[by] - share) * was / (was - gain), 4)
        before = row[by], gain
    return 1.0 if before else None


def main(options: Options) -> None:
    """Measure, print and write."""
    rows = []
    path = choose_path(options.path)
    for name, (shape, filters, pool) in LAYERS.items():
        for kind in ("values", "pixels"):
            swept = []
            for density in DENSITIES:
                x = generate(shape, density, pixels=kind == "pixels")
                model = make_layer(shape, filters, pool, x)
                swept.append({"layer": name, "input": kind, "batch": BATCH, "density": density,
                              "words": round(word_share(x), 4),
                              "path": path, "variants": measure(model, x, path)})  # fmt: skip
            rows += swept
            _show(swept)
    shape, filters, pool = LAYERS["first layer of Akida Small"]
    x = CASES["akida_small"]().x[:BATCH]
    rows.append({"layer": "first layer of Akida Small", "input": "event frames", "batch": BATCH,
                 "density": round(float((x != 0).mean()), 4), "words": round(word_share(x), 4),
                 "path": path,
                 "variants": measure(make_layer(shape, filters, pool, x), x, path)})  # fmt: skip
    _show(rows[-1:])
    print(write_result("density", rows))


def _show(rows: list[dict]) -> None:
    names = list(rows[0]["variants"])
    table = Table(title=f"{rows[0]['layer']}, {rows[0]['input']}, ms per batch of {BATCH}")
    for column in ("density", "words", *names):
        table.add_column(column, justify="right")
    for row in rows:
        times = (f"{1e3 * row['variants'][name]['median_s']:.3f}" for name in names)
        table.add_row(f"{row['density']:.0%}", f"{row['words']:.0%}", *times)
    even = [break_even(rows, ("dense", "event"), "density")]
    if WAYS[0] in names:
        even.append(break_even(rows, WAYS, "words"))
    table.caption = "events quicker up to: XLA {}, native {}".format(*even, None)
    Console().print(table)


if __name__ == "__main__":
    main(tyro.cli(Options))
