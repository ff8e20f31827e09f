"""Classes that a backbone is trained on, and new ones that are learned beside them."""

import dataclasses
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Int32, UInt8

from akida_jax.zoo import datasets
from akida_jax.zoo.datasets import EventFrames, Examples
from akida_jax.zoo.datasets.event_sets import find_place
from akida_jax.zoo.datasets.faces import N_IMAGES, N_PEOPLE, load_faces
from akida_jax.zoo.datasets.fingerprints import fingerprint_arrays

DataName = Literal["synthetic", "nmnist", "faces", "clips"]
Turns = Literal[1, 2, 4]
_TITLES = {
    "synthetic": "synthetic gestures",
    "nmnist": "N-MNIST digits",
    "faces": "ORL faces",
    "clips": "DVS128 clips beside synthetic gestures",
}
_SYNTHETIC = "gestures computed by akida_jax.events.synthetic_gestures"
_FACES_TRAIN = 8
"""Images of each old person that train; the others test that old classes stay."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class NewSamples:
    """Samples of the classes that a learner learns.

    Attributes:
      x: inputs of the backbone.
      y: classes from 0.
      support: which may be learned.
      query: which may be asked for; one that an episode learned is not asked in it.
    """

    x: UInt8[np.ndarray, "n h w c"]
    y: Int32[np.ndarray, " n"]
    support: Bool[np.ndarray, " n"]
    query: Bool[np.ndarray, " n"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Classes:
    """Old classes and new ones.

    Attributes:
      title: as it stands in tables.
      source: who made the data, and where they come from.
      old_names: by label.
      new_names: by label.
      train: samples of old classes that train the backbone.
      test: other samples of old classes.
      new: samples of new classes.
    """

    title: str
    source: str
    old_names: tuple[str, ...]
    new_names: tuple[str, ...]
    train: Examples
    test: Examples
    new: NewSamples

    @property
    def fingerprint(self) -> str:
        """Changes if the data do."""
        masks = (self.new.support, self.new.query)
        return fingerprint_arrays(*self.train, *self.test, self.new.x, self.new.y, *masks)


def load(config: Any) -> Classes:
    """Load the classes that the settings of `experiments.few_shot` name.

    Raises:
      FileNotFoundError: if data are missing, saying how to get them.
      ValueError: if a file is damaged, or no class is left to learn.
    """
    if config.data == "faces":
        return _load_faces(config)
    if config.data == "clips":
        return _load_clips(config)
    dataset, frames = _load_frames(config, config.data)
    n_classes = len(dataset.class_names)
    _check_old(config.n_old, n_classes)
    train, test = Examples(frames.train_x, frames.train_y), Examples(frames.test_x, frames.test_y)
    sides = [_of_new(side, config.n_old) for side in (train, test)]
    # Windows of one recording look alike: those of a training recording are never asked for.
    apart = len(train.x) > len(dataset.train.recordings)
    return Classes(
        title=_TITLES[config.data],
        source=_SYNTHETIC if config.data == "synthetic" else find_place(config.data).source,
        old_names=dataset.class_names[: config.n_old],
        new_names=dataset.class_names[config.n_old :],
        train=_of_old(train, config.n_old),
        test=_of_old(test, config.n_old),
        new=_join(*sides, apart=apart),
    )


def _check_old(n_old: int, n_classes: int) -> None:
    if n_old > n_classes - 2:
        raise ValueError(f"--n-old must leave 2 of {n_classes} classes to learn, got {n_old}")


def _of_old(side: Examples, n_old: int) -> Examples:
    mine = side.y < n_old
    return Examples(side.x[mine], side.y[mine])


def _of_new(side: Examples, n_old: int) -> Examples:
    mine = side.y >= n_old
    return Examples(side.x[mine], side.y[mine] - np.int32(n_old))


def _join(support: Examples, query: Examples, *, apart: bool) -> NewSamples:
    """Return samples of both sides; unless they are apart, all may be learned and asked for."""
    first = np.arange(len(support.x) + len(query.x)) < len(support.x)
    everything = np.ones_like(first)
    return NewSamples(
        x=np.concatenate([support.x, query.x]),
        y=np.concatenate([support.y, query.y]),
        support=first if apart else everything,
        query=~first if apart else everything,
    )


def _load_frames(config: Any, name: str) -> tuple[datasets.EventDataset, EventFrames]:
    dataset = datasets.load_recordings(
        name,
        seed=config.seed,
        data_dir=None if name == "synthetic" else config.data_dir,
        n_train_per_class=config.n_train_per_class,
        n_test_per_class=config.n_test_per_class,
        duration_ms=config.duration_ms,
    )
    return dataset, datasets.event_frames(
        dataset,
        window_ms=config.window_ms,
        bins=config.bins,
        train_stride_ms=config.stride_ms,
        test_stride_ms=config.stride_ms,
    )


def _load_clips(config: Any) -> Classes:
    """Return synthetic gestures as old classes, the ten real clips as new ones."""
    synthetic, made = _load_frames(config, "synthetic")
    n_old = len(synthetic.class_names)
    if config.n_old != n_old:
        raise ValueError(f"--n-old must be {n_old} for clips, which are learned beside all "
                         f"synthetic gestures, got {config.n_old}")  # fmt: skip
    clips, real = _load_frames(config, "clips")
    support, query = Examples(real.train_x, real.train_y), Examples(real.test_x, real.test_y)
    return Classes(
        title=_TITLES["clips"],
        source=f"old: {_SYNTHETIC}; new: {find_place('clips').source}",
        old_names=tuple(f"synthetic {name}" for name in synthetic.class_names),
        new_names=clips.class_names[: int(real.train_y.max()) + 1],
        train=Examples(made.train_x, made.train_y),
        test=Examples(made.test_x, made.test_y),
        new=_join(support, query, apart=True),
    )


def _load_faces(config: Any) -> Classes:
    _check_old(config.n_old, N_PEOPLE)
    old = load_faces(config.data_dir, people=range(config.n_old), n_train=_FACES_TRAIN)
    new = load_faces(config.data_dir, people=range(config.n_old, N_PEOPLE), n_train=N_IMAGES)
    return Classes(
        title=_TITLES["faces"],
        source=old.source,
        old_names=old.class_names,
        new_names=new.class_names,
        train=old.train,
        test=old.test,
        new=_join(new.train, new.test, apart=False),
    )


def add_turns(data: Examples, n_classes: int, turns: Turns) -> Examples:
    """Return samples and their turned copies, each turn of a class as a class of its own.

    A backbone that must tell them apart gives spikes that new classes are told apart by as
    well. Source: Lee, Hwang, Shin, "Self-supervised Label Augmentation via Input
    Transformations", arXiv:1910.05872.

    Args:
      data: square inputs if there are four turns.
      n_classes: of the data.
      turns: 1 for the data themselves; 2 adds those turned by half a turn, 4 by each quarter.

    Raises:
      ValueError: if quarter turns do not fit.
    """
    height, width = data.x.shape[1:3]
    if turns == 4 and height != width:
        raise ValueError(f"--turns must be 1 or 2 for inputs of {height}x{width}, got 4")
    quarters = range(0, 4, 4 // turns)
    return Examples(
        np.concatenate([np.rot90(data.x, quarter, (1, 2)) for quarter in quarters]),
        np.concatenate([data.y + np.int32(n_classes * i) for i in range(turns)]),
    )
