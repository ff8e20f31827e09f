"""Page faults of a training step, with and without `experiments.memory.keep_freed_memory`.

    python -m benchmarks.faults

Each way trains Akida Small in processes of its own, in turns (`benchmarks/step_alone.py`).
Writes results/faults.json. Needs glibc.
"""

import dataclasses
import json
import statistics
import subprocess
import sys
from pathlib import Path

import tyro
from rich.console import Console
from rich.table import Table

from benchmarks.timing import write_result

ALONE = "benchmarks.step_alone"
WAYS = ("kept", "given back")
COLUMNS = ("faults", "median_s", "peak_mib")


@dataclasses.dataclass(frozen=True)
class Options:
    """What is measured.

    Attributes:
      network: of the zoo, on event frames.
      steps: of each process, behind some that are not counted.
      repeats: processes of each way.
      output: name of the file of results.
    """

    network: str = "akida_small"
    steps: int = 30
    repeats: int = 3
    output: str = "faults"


def main(options: Options) -> None:
    """Measure, print and write."""
    runs = [(way, run(way, options)) for _ in range(options.repeats) for way in WAYS]
    rows: list[dict] = []
    table = Table(title=f"a training step of {options.network}")
    for column in ("freed memory", *COLUMNS):
        table.add_column(column, justify="right")
    for way in WAYS:
        found = {column: statistics.median(taken[column] for other, taken in runs if other == way)
                 for column in COLUMNS}  # fmt: skip
        rows.append({"network": options.network, "memory": way, "runs": options.repeats, **found})
        table.add_row(way, *(f"{found[column]:,.4g}" for column in COLUMNS))
    Console().print(table)
    print(write_result(options.output, rows))


def run(way: str, options: Options) -> dict[str, float]:
    """Return faults and seconds of a step in a process of its own."""
    command = [sys.executable, "-m", ALONE, way, options.network, str(options.steps)]
    root = Path(__file__).parents[1]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=root)
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    main(tyro.cli(Options))
