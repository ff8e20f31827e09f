"""Training steps alone in their process: prints page faults and seconds of a step, as JSON.

    python -m benchmarks.step_alone WAY NETWORK STEPS

WAY is "kept", or "given back" for the C library's default. In MiB: ``peak_mib``. Needs Linux.
"""

import json
import resource
import statistics
import sys
import time
import types

WARM_UP = 5


def main(way: str, network: str, steps: str) -> None:
    """Train and print."""
    if way == "given back":  # `experiments` would set it when it is imported
        stub = types.ModuleType("experiments.memory")
        vars(stub)["keep_freed_memory"] = lambda: False
        sys.modules[stub.__name__] = stub
    import numpy as np

    from akida_jax import quant, zoo
    from akida_jax.zoo.datasets import Examples
    from benchmarks.peers.alone import peak
    from benchmarks.training import BATCH, make_step

    rng = np.random.default_rng(0)
    floating = zoo.build(network)
    x = np.minimum(rng.poisson(0.3, (BATCH, *floating.input.input_shape)), 15).astype(np.uint8)
    data = Examples(x, rng.integers(0, 11, BATCH).astype(np.int32))
    step = make_step(quant.quantize(floating, calibration=x), data)
    for _ in range(WARM_UP):
        step()
    before, times = _faults(), []
    for _ in range(int(steps)):
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    faults = (_faults() - before) / int(steps)
    print(json.dumps({"faults": round(faults, 1), "median_s": statistics.median(times),
                      "peak_mib": peak()}))  # fmt: skip


def _faults() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


if __name__ == "__main__":
    main(*sys.argv[1:])
