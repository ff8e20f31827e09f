"""One way to run a network, alone in its process: prints the memory that it took, as JSON.

    python benchmarks/peers/alone.py WAY NETWORK INPUTS THREADS

WAY is "onnxruntime" or an executor. It imports nothing else, so that the process holds what such
a program holds. In MiB: ``before`` the first batch, with network, inputs and a call with one of
them, ``peak`` and their difference ``added``. Needs Linux.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np


def main(way: str, network: str, inputs: str, threads: str) -> None:
    """Load, run two batches, print."""
    x = np.load(inputs)
    call = _onnxruntime(network, int(threads)) if way == "onnxruntime" else _own(way, network)
    call(x[:1])
    before = peak()
    for _ in range(2):
        call(x)
    after = peak()
    print(json.dumps({"before": before, "peak": after, "added": round(after - before, 1)}))


def _onnxruntime(network: str, threads: int) -> Callable[[np.ndarray], np.ndarray]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(network, options, providers=["CPUExecutionProvider"])
    return lambda x: session.run(None, {"input": x})[0]


def _own(way: str, network: str) -> Callable[[np.ndarray], np.ndarray]:
    import akida_jax as aj

    model = aj.load(Path(network))
    return lambda x: model.forward(x, way)


def peak() -> float:
    """Return the most memory that this process has held so far, in MiB."""
    # Not ru_maxrss: it counts what the process held before it was this program.
    status = Path("/proc/self/status").read_text()
    return round(int(status.split("VmHWM:")[1].split()[0]) / 1024, 1)


if __name__ == "__main__":
    main(*sys.argv[1:])
