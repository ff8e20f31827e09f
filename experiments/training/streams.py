"""Training data: examples in memory, or a stream of batches."""

from collections.abc import Iterable
from typing import Protocol

from akida_jax.zoo.datasets import Examples


class Stream(Protocol):
    """Examples that do not fit into memory, in batches made on the way.

    Attributes:
      n_train: training examples.
      input_shape: height, width, channels.
    """

    n_train: int
    input_shape: tuple[int, int, int]

    def train_batches(self, seed: int, epoch: int, batch_size: int) -> Iterable[Examples]:
        """Return the full batches of an epoch; the same for the same arguments."""

    def test_batches(self, batch_size: int) -> Iterable[Examples]:
        """Return the test examples, in order."""


Data = Examples | Stream
