"""Labelled examples that fit into memory."""

import dataclasses
from typing import NamedTuple

import numpy as np
from jaxtyping import Int32, UInt8


class Examples(NamedTuple):
    """Inputs and labels of one side of a data set."""

    x: UInt8[np.ndarray, "n h w c"]
    y: Int32[np.ndarray, " n"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class LabelledSet:
    """A data set in memory.

    Attributes:
      name: of the data set.
      title: as it stands in tables and captions.
      class_names: by label.
      train: training examples.
      test: test examples.
      source: who made the data, and where they come from.
      terms: licence of the data.
    """

    name: str
    title: str
    class_names: tuple[str, ...]
    train: Examples
    test: Examples
    source: str
    terms: str
