"""The data sets that `experiments.train` reads, in one form."""

import dataclasses
import functools
from collections.abc import Iterator
from typing import Any, Literal, get_args

import numpy as np
from jaxtyping import UInt8

from akida_jax.zoo.datasets import Examples, LabelledSet
from akida_jax.zoo.datasets.downloaded import (
    CATALOGUE,
    find_prepared,
    fingerprint_prepared,
    open_stream,
)
from akida_jax.zoo.datasets.fingerprints import fingerprint_arrays
from akida_jax.zoo.datasets.image_sets import load_images
from akida_jax.zoo.datasets.image_streams import LabelledStream
from akida_jax.zoo.datasets.point_clouds import load_grouped
from akida_jax.zoo.datasets.speech import load_speech_commands
from akida_jax.zoo.pointnet import augment_points
from experiments.training.recipes import Augment

ImageName = Literal["digits", "fashion-mnist", "mnist"]
DownloadedName = Literal["imagenet2012", "imagenette", "cats_vs_dogs", "plant_village"]
CloudName = Literal["modelnet10-two", "modelnet-off", "modelnet40-hdf5"]
DataName = ImageName | DownloadedName | CloudName | Literal["speech-commands"]

#: Noise on the coordinates of training clouds, in units of their radius; PointNet++'s.
CLOUD_JITTER = 0.01
_PIECE = 2000


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingData:
    """A data set as `experiments.train` needs it.

    Attributes:
      title: as it stands in tables.
      class_names: by label.
      train: training examples.
      test: test examples; a stream if the training examples are one.
      fingerprint: changes if the data do.
      source: who made the data, and where they come from.
      terms: licence of the data.
      augment: random changes that belong to this kind of data, or None.
    """

    title: str
    class_names: tuple[str, ...]
    train: Examples | LabelledStream
    test: Examples | LabelledStream
    fingerprint: str
    source: str
    terms: str
    augment: Augment | None = None

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Height, width, channels."""
        return (
            self.train.x.shape[1:] if isinstance(self.train, Examples) else self.train.input_shape
        )

    @property
    def n_train(self) -> int:
        """Number of training examples."""
        return len(self.train.x) if isinstance(self.train, Examples) else self.train.n_train

    def sample(self, n: int, *, seed: int) -> UInt8[np.ndarray, "n h w c"] | None:
        """Return inputs of so many random training examples, as test inputs are; None for 0."""
        if not n:
            return None
        if not isinstance(self.train, Examples):
            return self.train.sample(min(n, self.train.n_train), seed=seed)
        order = np.random.default_rng(seed).permutation(len(self.train.x))
        return self.train.x[order[:n]]

    def test_pieces(self) -> Iterator[Examples]:
        """Yield the test examples in pieces that fit into memory with their potentials."""
        if not isinstance(self.test, Examples):
            yield from self.test.test_batches(_PIECE)
            return
        for start in range(0, len(self.test.x), _PIECE):
            yield Examples(*(values[start : start + _PIECE] for values in self.test))


def load(config: Any) -> TrainingData:
    """Load the data set that the settings of `experiments.train` name.

    Raises:
      FileNotFoundError: if data are missing, saying how to get them.
      ValueError: if a file is damaged or a setting does not suit the data.
    """
    if config.data in get_args(DownloadedName):
        return _streamed(config)
    if config.data in get_args(CloudName):
        clouds = load_grouped(config.data, data_dir=config.data_dir)
        return _in_memory(clouds, config, functools.partial(augment_points, jitter=CLOUD_JITTER))
    if config.data == "speech-commands":
        return _in_memory(load_speech_commands(config.data_dir), config)
    return _in_memory(load_images(config.data, data_dir=config.data_dir, size=config.size), config)


def _streamed(config: Any) -> TrainingData:
    stream = open_stream(config.data, size=config.size, data_dir=config.data_dir)
    entry = CATALOGUE[config.data]
    if config.n_train is not None or config.n_validation:
        raise ValueError(f"--n-train must be None and --n-validation 0 for {config.data}, which "
                         "is streamed whole")  # fmt: skip
    return TrainingData(
        title=entry.title,
        class_names=stream.class_names,
        train=stream,
        test=stream,
        fingerprint=fingerprint_prepared(find_prepared(config.data, config.data_dir)),
        source=entry.source,
        terms=entry.terms,
    )


def _in_memory(dataset: LabelledSet, config: Any, augment: Augment | None = None) -> TrainingData:
    train, test, title = dataset.train, dataset.test, dataset.title
    if config.n_validation:
        train, test = _hold_out(train, config.n_validation)
        title += f", tested on {config.n_validation:,} held-out training examples"
    if config.n_train is not None:
        chosen = np.random.default_rng(config.seed).permutation(len(train.x))[: config.n_train]
        train = _choose(train, chosen)
    return TrainingData(
        title=title,
        class_names=dataset.class_names,
        train=train,
        test=test,
        fingerprint=fingerprint_arrays(*dataset.train, *dataset.test),
        source=dataset.source,
        terms=dataset.terms,
        augment=augment,
    )


def _hold_out(train: Examples, n: int) -> tuple[Examples, Examples]:
    """Return the training examples without some of them, and those; the same ones in every run.

    Raises:
      ValueError: if none would be left.
    """
    if n >= len(train.x):
        raise ValueError(f"--n-validation must be less than the {len(train.x):,} training examples "
                         f"there are, got {n:,}")  # fmt: skip
    order = np.random.default_rng(0).permutation(len(train.x))
    return _choose(train, order[n:]), _choose(train, order[:n])


def _choose(examples: Examples, index: np.ndarray) -> Examples:
    return Examples(examples.x[index], examples.y[index])
