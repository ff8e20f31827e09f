"""Several processes, on one machine or on many, that train one network together.

Each process runs the same command; together their devices share every batch. The processes
find each other by the variables that JAX itself uses:

    JAX_COORDINATOR_ADDRESS=first:1234 JAX_NUM_PROCESSES=2 JAX_PROCESS_ID=0 python -m ...

or, under Slurm, Open MPI and what else JAX detects, by ``AKIDA_JAX_HOSTS=auto`` alone. All of
them need one file system for the runs' folders: the first one writes checkpoints, all read them.
"""

import os

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils

_ADDRESS, _COUNT, _NUMBER = (
    "JAX_COORDINATOR_ADDRESS",
    "JAX_NUM_PROCESSES",
    "JAX_PROCESS_ID",
)
_AUTOMATIC = "AKIDA_JAX_HOSTS"


def join() -> None:
    """Join the other processes if the environment names them; to be called before any work.

    Raises:
      ValueError: if the variables are incomplete or out of range.
    """
    if jax.distributed.is_initialized():
        return
    automatic = os.environ.get(_AUTOMATIC)
    if automatic not in (None, "", "auto"):
        raise ValueError(f"{_AUTOMATIC} must be auto or not set, got {automatic!r}")
    if _ADDRESS in os.environ:
        count, number = _whole(_COUNT), _whole(_NUMBER)
        if not 0 <= number < count:
            raise ValueError(f"{_NUMBER} must be 0 to {count - 1}, got {number}")
        jax.distributed.initialize(os.environ[_ADDRESS], count, number)
    elif automatic:
        jax.distributed.initialize()


def _whole(name: str) -> int:
    value = os.environ.get(name, "")
    if not value.isdecimal():
        raise ValueError(f"{_ADDRESS} is set, so {name} must be a whole number, got {value!r}")
    return int(value)


def is_first() -> bool:
    """Return whether this process is the one that writes and speaks."""
    return jax.process_index() == 0


def wait(name: str) -> None:
    """Wait until every process has come to this place."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(name)


def check_agreement(what: str, value: int) -> None:
    """Refuse to go on where the processes do not see the same number.

    Raises:
      ValueError: naming the numbers and what to do.
    """
    if jax.process_count() == 1:
        return
    found = np.asarray(multihost_utils.process_allgather(jnp.int32(value))).ravel().tolist()
    if len(set(found)) > 1:
        raise ValueError(
            f"the processes see different numbers of {what}: {found}; give all of them one "
            "--output on one file system"
        )
