"""Data-parallel placement: batches are split over all devices, everything else is copied.

The devices of all processes count (`experiments.hosts`). The same code runs on one device, where
nothing is placed. Sums over a batch, those of batch norm among them, are then sums over all
devices: the compiler inserts the exchange.
"""

from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

_AXIS = "data"
Tree = TypeVar("Tree")


def copies() -> NamedSharding | None:
    """Return the placement of what every device holds; None with one device."""
    return _placement(PartitionSpec())


def split() -> NamedSharding | None:
    """Return the placement of a batch, split along its first axis; None with one device."""
    return _placement(PartitionSpec(_AXIS))


def _placement(spec: PartitionSpec) -> NamedSharding | None:
    devices = np.array(jax.devices())
    return None if devices.size == 1 else NamedSharding(Mesh(devices, (_AXIS,)), spec)


def place(tree: Tree, placement: NamedSharding | None) -> Tree:
    """Put arrays where a placement says; with None they stay as they are."""
    if placement is None:
        return tree
    if jax.process_count() > 1:  # from the memory of each process, not from its device
        tree = jax.tree.map(np.asarray, tree)
    return jax.device_put(tree, placement)


def constrain(tree: Tree, placement: NamedSharding | None) -> Tree:
    """The same inside of a jitted function."""
    return tree if placement is None else jax.lax.with_sharding_constraint(tree, placement)


def fetch(tree: Tree) -> Tree:
    """Return copies that belong to this process alone, if there are several.

    What is not trained, such as the test of an epoch, each process does for itself.
    """
    if jax.process_count() == 1:
        return tree
    return jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf)), tree)


def check_batch(batch_size: int) -> None:
    """Refuse a batch that the devices cannot share evenly.

    Raises:
      ValueError: naming both numbers.
    """
    n = len(jax.devices())
    if batch_size % n:
        raise ValueError(
            f"a batch of {batch_size} cannot be split evenly over {n} devices; "
            f"choose a multiple of {n}"
        )
