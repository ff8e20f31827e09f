"""Network, data and points of `experiments.budget`."""

import dataclasses
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from flax import nnx

from akida_jax import quant, zoo
from akida_jax.zoo import datasets
from akida_jax.zoo.datasets import Examples
from experiments import dvs_gesture, train, train_data

#: Recordings of a class that leave the training set of N-MNIST for the test set.
HELD_BACK = 30
#: From one training window of N-MNIST to the next: nine of 100 ms in a recording, not three.
STRIDE_MS = 25.0

#: Trained from random weights, or on from the seed's base.
NARROW, UNIFORM = "width", "2-bit"
#: At width 1, of all layers but the classifier.
FILTERS = (8, 16, 64, 128, 128)


class Point(NamedTuple):
    """One network to train.

    Attributes:
      method: "none", "l1", "hoyer", "budget", "budget-steps", "width", "mixed" or "2-bit".
      setting: weight of the regularizer, share of the base's energy or bytes, or width.
    """

    method: str
    setting: float

    @property
    def label(self) -> str:
        """Name that a file can have."""
        return f"{self.method}-{self.setting:g}"


def points(config: Any) -> Iterator[Point]:
    """Yield every network that is trained with one seed."""
    yield Point("none", 1.0)
    yield from (Point("budget", share) for share in config.budgets)
    yield from (Point("l1", weight) for weight in config.l1_weights)
    yield from (Point("hoyer", weight) for weight in config.hoyer_weights)
    yield from (Point("budget-steps", share) for share in config.step_budgets)
    yield from (Point(NARROW, width) for width in config.widths)
    yield Point(UNIFORM, 1.0)
    yield from (Point("mixed", share) for share in config.sizes)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Loaded:
    """A data set in memory.

    Attributes:
      title: as it stands in tables.
      train: training examples.
      test: test examples.
      fingerprint: changes if the data do.
    """

    title: str
    train: Examples
    test: Examples
    fingerprint: str


def load(config: Any) -> Loaded:
    """Load the data set that the settings of `experiments.budget` name.

    Raises:
      FileNotFoundError: if data are missing, saying how to get them.
    """
    if config.data == "nmnist":
        return _recordings(config)
    size = 16 if config.data == "digits" else None  # eight pixels cannot be halved three times
    settings = train.Config(data=config.data, n_train=config.n_train, size=size, seed=0)
    data = train_data.load(settings)
    assert isinstance(data.train, Examples)
    assert isinstance(data.test, Examples)
    return Loaded(title=data.title, train=data.train, test=data.test, fingerprint=data.fingerprint)


def hold_back(dataset: datasets.EventDataset, per_class: int) -> datasets.EventDataset:
    """Return the data set with recordings moved from its training to its test split.

    More recordings to test with make a smaller standard error.

    Args:
      dataset: of events.
      per_class: so many, the last of each class, are moved; at least one.

    Raises:
      ValueError: if a class has no more than that.
    """
    train, held = dvs_gesture.hold_out(dataset, per_class)
    test = dataset.test
    return dataclasses.replace(
        dataset,
        train=train,
        test=datasets.EventSplit(
            test.recordings + held.recordings,
            np.concatenate([test.labels, held.labels]),
            test.durations_us + held.durations_us,
        ),
    )


def _recordings(config: Any) -> Loaded:
    settings = dvs_gesture.Config(data=config.data, train_stride_ms=STRIDE_MS)
    every = datasets.load_recordings(config.data, seed=0)
    frames = dvs_gesture.cut(settings, hold_back(every, HELD_BACK))
    test = Examples(frames.test_x, frames.test_y)
    chosen = np.random.default_rng(0).permutation(len(frames.train_x))[: config.n_train]
    seen = Examples(frames.train_x[chosen], frames.train_y[chosen])
    return Loaded(
        title=f"{dvs_gesture.DATA_TITLES[config.data]}, {settings.window_ms:g} ms windows",
        train=seen,
        test=test,
        fingerprint=datasets.fingerprint_arrays(*seen, *test),
    )


def build(data: Loaded, *, width: float, seed: int) -> quant.Sequential:
    """Return a small network of AkidaNet's form, in float.

    Images enter by an input convolution, event frames by a convolution. At width 1 it has
    1.1 million multiply-accumulates for Fashion-MNIST, what trains quickly on a CPU.

    Args:
      data: gives the input.
      width: multiplier of all filters.
      seed: of the weights.
    """
    shape: Any = data.train.x.shape[1:]
    filters = [round(width * n) for n in FILTERS]
    first: list[Any] = [quant.InputConv(input_shape=shape, filters=filters[0], kernel_size=3,
                                        stride=2, name="conv_0")]  # fmt: skip
    if shape[2] not in (1, 3):
        first = [
            quant.InputData(input_shape=shape, input_bits=zoo.dvs.EVENT_BITS),
            quant.Conv(filters=filters[0], kernel_size=3, stride=2, name="conv_0"),
        ]
    layers = [
        *first,
        quant.Conv(filters=filters[1], kernel_size=3, name="conv_1"),
        quant.Conv(filters=filters[2], kernel_size=3, stride=2, name="conv_2"),
        quant.SeparableConv(filters=filters[3], kernel_size=3, stride=2, name="separable_3"),
        quant.SeparableConv(filters=filters[4], kernel_size=3, pool="global_average",
                            name="separable_4"),
        quant.Dense(units=10, activation=False, name="classifier"),
    ]  # fmt: skip
    return quant.Sequential(layers, rngs=nnx.Rngs(seed))
