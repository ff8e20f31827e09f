"""What a network says of a test set: outputs, accuracy, equality of its integer forms."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, UInt8

import akida_jax as aj
from akida_jax import quant
from akida_jax.zoo.datasets import Examples
from experiments.training.streams import Data


def accuracy(network: quant.Sequential, test: Data) -> dict[str, float]:
    """Return the share of test examples whose label has the largest logit."""
    pieces = [test] if isinstance(test, Examples) else test.test_batches(256)
    right = [classify(network, piece.x) == piece.y for piece in pieces]
    return {"test_accuracy": float(np.concatenate(right).mean())}


@functools.partial(jax.jit, static_argnums=0)
def _outputs(graph: Any, state: Any, x: Array) -> Array:
    return nnx.merge(graph, state)(x)


def outputs(network: quant.Sequential, x: UInt8[np.ndarray, "n h w c"]) -> np.ndarray:
    """Return the float32 outputs of a network, batch by batch."""
    graph, state = nnx.split(network)
    return _in_batches(lambda piece: _outputs(graph, state, piece), x)


def classify(network: quant.Sequential, x: UInt8[np.ndarray, "n h w c"]) -> np.ndarray:
    """Return the class of the largest logit of each input."""
    return outputs(network, x).argmax(-1)


def integers(network: quant.Sequential, x: UInt8[np.ndarray, "n h w c"]) -> np.ndarray:
    """Return the potentials of a quantized network's last layer."""
    # Called once per run: compiling it as a whole would take longer than it saves.
    return _in_batches(lambda piece: network.forward(jnp.asarray(piece)), x)


def integer_forms(
    network: quant.Sequential, model: aj.Model, x: UInt8[np.ndarray, "n h w c"]
) -> dict:
    """Compare every output of the quantized network with those of the executors.

    Args:
      network: quantized.
      model: converted from it.
      x: inputs.

    Returns:
      ``potentials_compared``, a count, and ``potentials_equal``, True by executor.

    Raises:
      AssertionError: if one of them differs anywhere.
    """
    potentials = integers(network, x)
    equal = {
        name: bool((model.forward(x, name) == potentials).all()) for name in ("dense", "event")
    }
    if not all(equal.values()):
        raise AssertionError(f"executors disagree with the trained network: {equal}")
    return {"potentials_compared": int(potentials.size), "potentials_equal": equal}


def work(model: aj.Model, x: UInt8[np.ndarray, "n h w c"]) -> dict:
    """Return sparsity, synaptic operations and multiply-accumulates by layer, and weights."""
    return work_of(model, model.activity(x))


def work_of(model: aj.Model, activity: aj.Activity) -> dict:
    """Return the same of an activity that has been counted."""
    return {
        "sparsity": activity.sparsity,
        "synaptic_operations": {
            name: layer.synaptic_operations / layer.samples for name, layer in activity.items()
        },
        "macs": {name: layer.macs // layer.samples for name, layer in activity.items()},
        "weights": sum(p.spec.n_weights(p.in_shape) for p in model.programs),
    }


def join_work(pieces: Sequence[tuple[int, dict]]) -> dict:
    """Return the work of several pieces together, each weighted by its examples.

    Args:
      pieces: number of examples and what `work` returned for them.
    """
    total = sum(n for n, _ in pieces)
    joined = dict(pieces[0][1])
    for key in ("sparsity", "synaptic_operations"):
        joined[key] = {
            name: sum(n * piece[key][name] for n, piece in pieces) / total for name in joined[key]
        }
    return joined


def confusion(labels: np.ndarray, predicted: np.ndarray, classes: int) -> list[list[int]]:
    """Return how often each class (row) was taken for each (column)."""
    counts = np.zeros((classes, classes), int)
    np.add.at(counts, (labels, predicted), 1)
    return counts.tolist()


def _in_batches(
    function: Callable[[np.ndarray], Array], x: np.ndarray, size: int = 256
) -> np.ndarray:
    results = []
    for start in range(0, len(x), size):
        piece = x[start : start + size]
        filled = np.zeros((min(size, len(x)), *x.shape[1:]), x.dtype)
        filled[: len(piece)] = piece
        results.append(np.asarray(function(filled))[: len(piece)])
    return np.concatenate(results)
