"""Images per second of whole networks by the share of zeros between their layers.

    python -m benchmarks.sparsity [--sparsities 0.1 0.5 0.9] [--batches 1 8] [--no-peers]

Random weights; inputs are zero with the given probability, at random places. Thresholds are set
layer by layer, filter by filter, at the quantile of the potentials of the batch, so that the given
share of every layer's activations is zero; ``found`` is what came of it (the input first): more
where equal potentials meet a threshold, as on maps of one place. All executors must give the same
integers. ONNX Runtime computes the same network in its own 8 bits and gains nothing from zeros.
Writes results/sparsity.json.
"""

import dataclasses
import functools
import os
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

import akida_jax as aj
from akida_jax import quant, zoo
from akida_jax.executors import choose_executor, dense_potentials
from benchmarks.peers import is_installed
from benchmarks.timing import check_integers, measure_in_turns, seconds, write_result

NETWORKS: dict[str, dict[str, Any]] = {
    "akidanet": {"alpha": 0.5, "classes": 1000, "input_shape": (224, 224, 3)},
    "akida_small": {},
}
AGAINST = "ONNX Runtime int8"
LARGEST_STEP = 65535.0
#: Shares of zeros at which ONNX Runtime 1.32 ends: "parameter out of computation range".
REFUSED = {("akidanet", 0.9), ("akida_small", 0.7), ("akida_small", 0.9)}


@dataclasses.dataclass(frozen=True)
class Options:
    """What is measured.

    Attributes:
      networks: of `NETWORKS`.
      sparsities: shares of zeros.
      batches: inputs in a call.
      rounds: measurements of each variant.
      peers: whether to run ONNX Runtime beside.
      output: name of the file of results.
    """

    networks: tuple[str, ...] = tuple(NETWORKS)
    sparsities: tuple[float, ...] = (0.1, 0.3, 0.5, 0.7, 0.9)
    batches: tuple[int, ...] = (1, 8)
    rounds: int = 5
    peers: bool = True
    output: str = "sparsity"


def generate(model: aj.Model, n: int, sparsity: float) -> np.ndarray:
    """Return inputs of which a share is zero, at random places."""
    rng = np.random.default_rng(0)
    shape = n, *model.input_shape
    levels = rng.integers(1, 2**model.input_bits, shape)
    return np.where(rng.random(shape) < sparsity, 0, levels).astype(np.uint8)


def with_sparsity(model: aj.Model, x: np.ndarray, sparsity: float) -> aj.Model:
    """Return the model with thresholds that leave a share of each layer's activations zero on x.

    Steps spread the others over all levels. A threshold beyond its register is cut to it: fewer
    activations of that filter are zero then.
    """
    levels = jnp.asarray(x, jnp.float32)
    for i, program in enumerate(model.programs):
        if not program.spec.activation:
            break
        potentials = dense_potentials(program, levels)
        flat = np.asarray(potentials).reshape(-1, potentials.shape[-1])
        # What is at most the threshold is zero: the least that leaves the share.
        threshold = np.quantile(flat, sparsity, axis=0, method="inverted_cdf")
        most = model.registers.threshold_limit(is_input=i == 0) - 1
        threshold = np.clip(threshold, -most, most)
        step = (flat.max(0) - threshold) / 2**4
        model = model.with_variables({
            str(program.spec.name): {
                "threshold": threshold.astype(np.int32),
                "step": np.clip(step, 1 / 16, LARGEST_STEP).astype(np.float32),
            }
        })  # fmt: skip
        levels = model.programs[i].fire(potentials).astype(jnp.float32)
    return model


def measure(model: aj.Model, x: np.ndarray, *, rounds: int, peers: bool) -> dict:
    """Return times of all ways on one batch."""
    names = ["native"] * (choose_executor("native") == "native") + ["dense", "event"]
    calls: dict[str, Callable[[], np.ndarray]] = {
        name: functools.partial(model.forward, x, name) for name in names
    }
    check_integers({name: call() for name, call in calls.items()}, calls["dense"]())
    if peers and is_installed("onnx_runtime"):
        from benchmarks.peers import onnx_runtime
        from benchmarks.peers.steps import make_peer

        threads = os.cpu_count() or 1
        calls[AGAINST] = onnx_runtime.make_call(
            make_peer(model, x), x, quantized=True, threads=threads
        )
    compile_s = {name: seconds(call)[0] for name, call in calls.items()}
    return measure_in_turns(calls, compile_s=compile_s, rounds=rounds, rest_s=0.005, turn_s=0.03)


def main(options: Options) -> None:
    """Measure, print and write."""
    rows = []
    for network in options.networks:
        for sparsity in options.sparsities:
            blank = zoo.build(network, **NETWORKS[network])
            plain = aj.convert(quant.quantize(blank))
            x = generate(plain, max(options.batches), sparsity)
            model = with_sparsity(plain, x, sparsity)
            activity = model.activity(x)
            peers = options.peers and (network, sparsity) not in REFUSED
            found = {"input": float((x == 0).mean()), **activity.sparsity}
            for batch in options.batches:
                rows.append({"network": network, "sparsity": sparsity, "batch": batch,
                             "found": {name: round(share, 3) for name, share in found.items()},
                             "variants": measure(model, x[:batch], rounds=options.rounds,
                                                 peers=peers)})  # fmt: skip
                _show(rows[-1])
    print(write_result(options.output, rows))


def _show(row: dict) -> None:
    table = Table(title=f"{row['network']}, {row['sparsity']:.0%} zeros, batch {row['batch']}")
    for column in ("variant", "ms"):
        table.add_column(column, justify="right")
    for name, timing in row["variants"].items():
        table.add_row(name, f"{1e3 * timing['median_s']:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main(tyro.cli(Options))
