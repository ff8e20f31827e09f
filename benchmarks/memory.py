"""Peak memory of programs that run AkidaNet 0.5 at 224x224, batches of 128.

    python -m benchmarks.memory [--batch 128] [--no-peers]

Each way runs in a process of its own, with no more libraries than it needs: it loads the network,
runs two batches and tells the most memory that it held (`benchmarks/peers/alone.py`).
Writes results/memory.json.
"""

import dataclasses
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

import akida_jax as aj
from benchmarks.networks import CASES
from benchmarks.peers import is_installed
from benchmarks.timing import write_result

CASE = "akidanet"
AGAINST = "ONNX Runtime int8"
ALONE = Path(__file__).parent / "peers" / "alone.py"
COLUMNS = ("before", "peak", "added")


@dataclasses.dataclass(frozen=True)
class Options:
    """What is measured.

    Attributes:
      batch: inputs in a call.
      repeats: processes of each way, in turns.
      peers: whether to run other programs beside.
      output: name of the file of results.
    """

    batch: int = 128
    repeats: int = 3
    peers: bool = True
    output: str = "memory"


def main(options: Options) -> None:
    """Measure, print and write."""
    case = CASES[CASE]()
    with tempfile.TemporaryDirectory() as name:
        files = prepare(case.model, case.x[: options.batch], Path(name), peers=options.peers)
        runs = [(way, _run(*given)) for _ in range(options.repeats) for way, given in files.items()]
    rows: list[dict] = []
    for way in files:
        of_way = [taken for other, taken in runs if other == way]
        found = {
            column: float(np.median([taken[column] for taken in of_way])) for column in COLUMNS
        }
        rows.append(
            {"case": CASE, "batch": options.batch, "way": way, "runs": len(of_way), **found}
        )
    table = Table(title=f"{case.title}, batch {options.batch}, MiB")
    for column in ("way", *COLUMNS):
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(row["way"], *(f"{row[column]:,.0f}" for column in COLUMNS))
    Console().print(table)
    print(write_result(options.output, rows))


def prepare(
    model: aj.Model, x: np.ndarray, folder: Path, *, peers: bool
) -> dict[str, tuple[str, Path, Path]]:
    """Write network and inputs for each way; return what `ALONE` takes."""
    aj.save(model, folder / "network.akj")
    np.save(folder / "levels.npy", x)
    files = {
        way: (way, folder / "network.akj", folder / "levels.npy") for way in ("native", "dense")
    }
    if not (peers and is_installed("onnx_runtime")):
        return files
    from benchmarks.peers import onnx_runtime
    from benchmarks.peers.steps import make_peer

    content = onnx_runtime.make_file(make_peer(model, x[:8]), quantized=True)
    (folder / "network.onnx").write_bytes(content)
    np.save(folder / "channels_first.npy", np.ascontiguousarray(x.transpose(0, 3, 1, 2)))
    given = "onnxruntime", folder / "network.onnx", folder / "channels_first.npy"
    return files | {AGAINST: given}


def _run(way: str, network: Path, x: Path) -> dict[str, float]:
    command = [sys.executable, str(ALONE), way, str(network), str(x), str(os.cpu_count() or 1)]
    root = str(Path(__file__).parents[1])
    done = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, text=True, cwd=root,
        env=os.environ | {"PYTHONPATH": root},
    )  # fmt: skip
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    main(tyro.cli(Options))
