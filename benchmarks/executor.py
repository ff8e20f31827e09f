"""Images per second of whole networks: this project's executors and other programs.

    python -m benchmarks.executor [--cases akidanet ...] [--batches 1 8 ...] [--no-peers]

Every variant takes its turn in every round, for 30 ms after a pause and a call that wakes its
threads; ratios compare medians of one run. All of this project's must give the same integers.
Each call takes an array of NumPy and returns one; "native" is `Model.forward` with its checks,
the others run a program made for their batch size. Other programs (``pip install
"akida-jax[peers]"``) compute the same network in their own 8 bits or in float32, given the inputs
in the layout and type that suits them; how far their logits agree is told as a correlation. Two
threads each, or as many as there are cores. Writes results/executor.json.
"""

import dataclasses
import functools
import os
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from akida_jax.executors import choose_executor
from akida_jax.executors.batches import jit_on_all_cores
from benchmarks.networks import CASES, Case, compile_executor
from benchmarks.peers import find_peers
from benchmarks.timing import check_integers, measure_in_turns, seconds, write_result

Call = Callable[[], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Options:
    """What is measured.

    Attributes:
      cases: networks with inputs.
      batches: inputs in a call.
      rounds: measurements of each variant.
      peers: whether to run other programs beside.
      output: name of the file of results.
    """

    cases: tuple[str, ...] = tuple(CASES)
    batches: tuple[int, ...] = (1, 8, 32, 128)
    rounds: int = 11
    peers: bool = True
    output: str = "executor"


def own_calls(case: Case, x: np.ndarray) -> dict[str, Call]:
    """Return this project's ways, the event executor only on event frames."""
    model = case.model
    calls: dict[str, Call] = {}
    if choose_executor("native") == "native":
        calls["native"] = functools.partial(model.forward, x, "native")
    calls["dense"] = functools.partial(model.forward, x, "dense")
    calls["dense, one core"] = _compiled(jax.jit, case, x, "dense")
    if model.input_bits < 8:
        calls["event"] = _compiled(jit_on_all_cores, case, x, "event")
    return calls


def _compiled(jit: Callable[..., Any], case: Case, x: np.ndarray, name: str) -> Call:
    run = compile_executor(jit, name)
    return lambda: np.asarray(run(case.model.programs, x))


def measure(case: Case, batch: int, options: Options) -> dict:
    """Return times of all variants on one batch."""
    x = case.x[:batch]
    calls = own_calls(case, x)
    own = list(calls)
    if options.peers:
        calls |= find_peers(case.model, x, threads=os.cpu_count() or 1)
    jax.clear_caches()
    first = {name: seconds(call) for name, call in calls.items()}
    compile_s = {name: taken for name, (taken, _) in first.items()}
    potentials = case.model.forward(x, "dense")
    reference = case.model.predict(x, "dense").reshape(batch, -1)
    check_integers({name: first[name][1] for name in own}, potentials)
    agreement = {name: _correlation(found.reshape(batch, -1), reference)
                 for name, (_, found) in first.items() if name not in own}  # fmt: skip
    variants = measure_in_turns(
        calls, compile_s=compile_s, rounds=options.rounds, rest_s=0.005, turn_s=0.03
    )
    for name, timing in variants.items():
        timing["images_per_s"] = round(batch / timing["median_s"], 1)
        if name in agreement:
            timing["correlation"] = agreement[name]
    return {"equal": own, "variants": variants}


def _correlation(a: np.ndarray, b: np.ndarray) -> float | None:
    if not (a.std() and b.std()):
        return None
    return round(float(np.corrcoef(a.ravel(), b.ravel())[0, 1]), 4)


def main(options: Options) -> None:
    """Measure, print and write."""
    rows = []
    for key in options.cases:
        case = CASES[key]()
        density = float((case.x != 0).mean())
        sparsity = case.model.activity(case.x[:8]).sparsity
        for batch in options.batches:
            row = measure(case, batch, options)
            rows.append({"case": key, "title": case.title, "trained": case.trained,
                         "input_density": round(density, 4),
                         "sparsity": {name: round(s, 3) for name, s in sparsity.items()},
                         "batch": batch, **row})  # fmt: skip
            _show(rows[-1])
    print(write_result(options.output, rows))


def _show(row: dict) -> None:
    table = Table(title=f"{row['title']}, batch {row['batch']}")
    for column in ("variant", "images/s", "compile s", "native is quicker by"):
        table.add_column(column, justify="right")
    variants = row["variants"]
    native = variants.get("native", {}).get("images_per_s", 0.0)
    for name, timing in variants.items():
        table.add_row(name, f"{timing['images_per_s']:,.0f}", f"{timing['compile_s']:.2f}",
                      f"{native / timing['images_per_s']:.2f}")  # fmt: skip
    Console().print(table)


if __name__ == "__main__":
    main(tyro.cli(Options))
