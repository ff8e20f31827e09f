"""Checkpoints of a training run: written completely or not at all, free of devices."""

import json
from pathlib import Path
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from orbax.checkpoint import v1 as ocp

from experiments.records.files import write_text

State = TypeVar("State")


class Checkpoints:
    """Checkpoints of one run: the state after each epoch, and the history so far.

    The state is stored as NumPy arrays by path, free of Flax objects and devices; Orbax lets
    a checkpoint appear only when it is complete.
    """

    def __init__(self, directory: Path, metrics: Path):
        self._metrics = metrics
        policy = ocp.training.preservation_policies.LatestN(2)
        self._checkpointer = ocp.training.Checkpointer(
            directory.absolute(), preservation_policy=policy, cleanup_tmp_directories=True
        )

    def save(self, epoch: int, state: Any, history: list[dict]) -> None:
        """Store the state after ``epoch`` epochs, a pytree of arrays, then the metrics."""
        arrays = {
            leaf_name(path): np.asarray(leaf) for path, leaf in jax.tree.leaves_with_path(state)
        }
        self._checkpointer.save(epoch, arrays, custom_metadata={"history": history})
        self._write_metrics(history)

    def latest(self) -> tuple[int, list[dict]]:
        """Return the last complete epoch (0 if none) and the history up to it."""
        latest = self._checkpointer.latest
        if latest is None:
            return 0, []
        metadata = self._checkpointer.metadata(latest.step).custom_metadata
        history = list(metadata["history"])
        # The last run may have ended between its last checkpoint and the metrics.
        self._write_metrics(history)
        return latest.step, history

    def load(self, epoch: int, like: State) -> State:
        """Return the stored state in the structure of ``like``.

        Raises:
          ValueError: if the checkpoint belongs to another architecture.
        """
        arrays = self._checkpointer.load(epoch)
        leaves = jax.tree.leaves_with_path(like)
        expected = {leaf_name(path): leaf.shape for path, leaf in leaves}
        found = {path: array.shape for path, array in arrays.items()}
        if found != expected:
            odd = sorted(set(found.items()) ^ set(expected.items()))
            raise ValueError(f"the checkpoint is of another network, for example in {odd[0]}")
        values = [jnp.asarray(arrays[leaf_name(path)]) for path, _ in leaves]
        return jax.tree.unflatten(jax.tree.structure(like), values)

    def close(self) -> None:
        """Wait for the last checkpoint."""
        self._checkpointer.close()

    def _write_metrics(self, history: list[dict]) -> None:
        write_text(self._metrics, "".join(json.dumps(row) + "\n" for row in history))


def leaf_name(path: Any) -> str:
    """Return the place of a leaf in a pytree, such as "parameters.layers.0.kernel"."""
    return jax.tree_util.keystr(path, simple=True, separator=".")
