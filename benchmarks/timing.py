"""Timing side by side: variants take turns, so that a drifting machine favours none."""

import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from benchmarks.peers import packages_of
from experiments.records.files import write_json
from experiments.records.provenance import describe_machine

RESULTS = Path(__file__).parent / "results"
ROUNDS = 15
WARM_UP = 2


def measure_in_turns(
    variants: Mapping[str, Callable[[], Any]],
    *,
    compile_s: Mapping[str, float] | None = None,
    rounds: int = ROUNDS,
    rest_s: float = 0.0,
    turn_s: float = 0.0,
) -> dict:
    """Time each variant once per round and return seconds per call.

    The first call is timed apart; two more warm up.

    Args:
      variants: by name, what to time.
      compile_s: seconds that it took to compile each ahead; without them the first call
        compiles, and its time is taken.
      rounds: measurements per variant.
      rest_s: pause before each turn, in which the threads of the variant before it, which may
        go on looking for work, fall asleep; one call behind it wakes those of this one.
      turn_s: how long calls are repeated in a turn; their mean is its measurement.

    Returns:
      By variant: ``compile_s``, ``median_s``, ``min_s``, ``max_s`` and ``rounds``.
    """
    first = {name: seconds(call)[0] for name, call in variants.items()}
    samples: dict[str, list[float]] = {name: [] for name in variants}
    for turn in range(WARM_UP + rounds):
        for name, call in variants.items():
            taken = _turn(call, rest_s, turn_s)
            if turn >= WARM_UP:
                samples[name].append(taken)
    return {
        name: {
            "compile_s": round((compile_s or first)[name], 4),
            "median_s": statistics.median(values),
            "min_s": min(values),
            "max_s": max(values),
            "rounds": len(values),
        }
        for name, values in samples.items()
    }


def _turn(call: Callable[[], Any], rest_s: float, turn_s: float) -> float:
    if rest_s:
        time.sleep(rest_s)
        seconds(call)
    total, calls = seconds(call)[0], 1
    while total < turn_s:
        total += seconds(call)[0]
        calls += 1
    return total / calls


def seconds(call: Callable[[], Any]) -> tuple[float, Any]:
    """Return how long a call takes until its result is there, and the result."""
    start = time.perf_counter()
    result = jax.block_until_ready(call())
    return time.perf_counter() - start, result


def check_integers(results: Mapping[str, Any], expected: np.ndarray) -> None:
    """Raise an AssertionError if a variant gave other integers than expected."""
    for name, result in results.items():
        if not (np.asarray(result) == expected).all():
            raise AssertionError(f"{name} gives other integers")


def write_result(name: str, rows: list[dict]) -> Path:
    """Write rows with what is needed to cite them; return the path of the JSON.

    Versions are also those of the other programs that ran: a ``variants`` or ``way`` of a row.
    """
    path = RESULTS / f"{name}.json"
    ways = {way for row in rows for way in (*row.get("variants", ()), row.get("way", ""))}
    content = {"benchmark": name, **describe_machine(also=packages_of(ways)), "rows": rows}
    write_json(path, content)
    return path
