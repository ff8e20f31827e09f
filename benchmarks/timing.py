"""Timing side by side: variants take turns, so that a drifting machine favours none."""

import json
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax

from experiments.provenance import describe_machine
from experiments.training import write_text

RESULTS = Path(__file__).parent / "results"
ROUNDS = 15
WARM_UP = 2


def measure_in_turns(variants: Mapping[str, Callable[[], Any]], *, rounds: int = ROUNDS) -> dict:
    """Time each variant once per round and return seconds per call.

    The first call, which compiles, is timed apart; two more warm up.

    Returns:
      By variant: ``first_s``, ``median_s``, ``min_s``, ``max_s`` and ``rounds``.
    """
    first = {name: _seconds(call) for name, call in variants.items()}
    samples: dict[str, list[float]] = {name: [] for name in variants}
    for turn in range(WARM_UP + rounds):
        for name, call in variants.items():
            seconds = _seconds(call)
            if turn >= WARM_UP:
                samples[name].append(seconds)
    return {
        name: {
            "first_s": round(first[name], 4),
            "median_s": statistics.median(values),
            "min_s": min(values),
            "max_s": max(values),
            "rounds": len(values),
        }
        for name, values in samples.items()
    }


def _seconds(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    jax.block_until_ready(call())
    return time.perf_counter() - start


def write_result(name: str, rows: list[dict]) -> Path:
    """Write rows with what is needed to cite them; return the path of the JSON."""
    path = RESULTS / f"{name}.json"
    content = {"benchmark": name, **describe_machine(), "rows": rows}
    write_text(path, json.dumps(content, indent=1) + "\n")
    return path
