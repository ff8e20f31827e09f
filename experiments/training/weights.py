"""Weights of a Flax network in a file: arrays by path, readable without Flax."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from akida_jax import quant
from akida_jax.writing import replace_file
from experiments.training.checkpoints import leaf_name


def save_weights(network: quant.Sequential, path: Path) -> None:
    """Write all parameters and statistics as ``.npz``, under a temporary name first."""
    leaves = jax.tree.leaves_with_path(nnx.state(network))
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, Any] = {leaf_name(place): np.asarray(leaf) for place, leaf in leaves}
    with replace_file(path) as stream:
        np.savez(stream, **arrays)


def load_weights(network: quant.Sequential, path: Path) -> quant.Sequential:
    """Return a network of the same architecture with the weights of a file.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if the file belongs to another architecture.
    """
    graph, state = nnx.split(network)
    leaves = jax.tree.leaves_with_path(state)
    with np.load(path, allow_pickle=False) as file:
        arrays = dict(file)
    expected = {leaf_name(place): leaf.shape for place, leaf in leaves}
    found = {name: array.shape for name, array in arrays.items()}
    if found != expected:
        odd = sorted(set(found.items()) ^ set(expected.items()))
        raise ValueError(f"{path}: weights of another network, for example in {odd[0]}")
    values = [jnp.asarray(arrays[leaf_name(place)]) for place, _ in leaves]
    return nnx.merge(graph, jax.tree.unflatten(jax.tree.structure(state), values))
