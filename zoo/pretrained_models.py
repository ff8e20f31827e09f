"""Integer models that come with this package, each with a card that says what it is.

A model is two files in ``models/``: ``NAME.akj`` and its card ``NAME.json``. Both are
written by `experiments.publish_model` from finished training runs, never by hand.
"""

import dataclasses
import functools
import hashlib
import importlib.resources
import json
import statistics
import types
import typing
from collections.abc import Mapping
from importlib.resources.abc import Traversable
from typing import Any

from akida_jax.files import load
from akida_jax.model import Model

LIMIT_BYTES = 5_000_000
"""What all models together may take, so that the package stays small."""
FORMS = ("float", "quantized", "integer")
"""In which an accuracy is given; see `ModelCard`."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelledCost:
    """Modelled, not measured, cost of one inference.

    Attributes:
      device: name of the chip.
      mode: how the model was placed.
      nps: neural processors.
      passes: how often the chip is filled.
      latency_ms: of one sample on its own.
      dynamic_mj: energy of the events.
      total_mj: energy, idling included.
      expected_error: of the cost law against published measurements.
    """

    device: str
    mode: str
    nps: int
    passes: int
    latency_ms: float
    dynamic_mj: float
    total_mj: float
    expected_error: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelCard:
    """What a pretrained model is, what it was made of, and how far to trust it.

    Attributes:
      name: by which `pretrained` returns it.
      title: network and data in words.
      architecture: name of `zoo.build`.
      options: of `zoo.build` and `zoo.blank_model`.
      task: what it decides.
      class_names: by index of the output.
      data: title of the data set.
      source: who made the data, and where they come from.
      terms: licence of the data.
      data_fingerprint: of the data of the run.
      recipe: how it was trained, in words and numbers.
      command: that trains it again.
      experiment: module of `experiments` that trained it.
      settings: of that experiment.
      seeds: of the training runs; the first one's model is the file.
      accuracy: by form ("float" if there was a float phase, "quantized" for the network in
        quantized training, "integer" for the model) the share of test examples classified
        rightly, in [0, 1], one number per run.
      n_train: training examples.
      n_test: test examples.
      cost: modelled, on each chip, with the events of the test set.
      sparsity: share of zeros in each layer's output on the test set, and in the input of
        `InputData`; what `mapping.estimate` takes.
      limits: what it must not be used for, or what is not known of it.
      date: of the run, ISO 8601.
      commit: of the code that trained it.
      versions: of the packages that trained it.
      size_bytes: of the file.
      sha256: of the file.
    """

    name: str
    title: str
    architecture: str
    options: Mapping[str, Any]
    task: str
    class_names: tuple[str, ...]
    data: str
    source: str
    terms: str
    data_fingerprint: str
    recipe: str
    command: str
    experiment: str
    settings: Mapping[str, Any]
    seeds: tuple[int, ...]
    accuracy: Mapping[str, tuple[float, ...]]
    n_train: int
    n_test: int
    cost: tuple[ModelledCost, ...]
    sparsity: Mapping[str, float]
    limits: str
    date: str
    commit: str
    versions: Mapping[str, str]
    size_bytes: int
    sha256: str

    def lines(self) -> list[tuple[str, str]]:
        """Return what a reader wants to know, as headings and texts."""
        options = ", ".join(f"{name}={value!r}" for name, value in self.options.items())
        costs = [
            f"modelled on {c.device}, {c.mode}: {c.latency_ms:.3f} ms, {c.total_mj:.4f} mJ "
            f"({c.dynamic_mj:.4f} mJ dynamic), {c.nps} NPs, {c.passes} pass"
            f"{'es' * (c.passes > 1)}; {c.expected_error}"
            for c in self.cost
        ]
        shares = ", ".join(f"{name} {share:.1%}" for name, share in self.sparsity.items())
        versions = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        return [
            ("name", self.name),
            ("title", self.title),
            ("architecture", f"{self.architecture}: {options}"),
            ("task", self.task),
            ("classes", ", ".join(self.class_names)),
            ("data", f"{self.data}; {self.source}"),
            ("terms of the data", self.terms),
            ("examples", f"{self.n_train:,} for training, {self.n_test:,} for test"),
            *(("accuracy", self._accuracy_line(form)) for form in self.accuracy),
            *(("cost", line) for line in costs),
            ("sparsity", shares),
            ("recipe", self.recipe),
            ("command", self.command),
            ("limits", self.limits),
            ("file", f"{self.size_bytes:,} bytes, sha256 {self.sha256}"),
            ("trained", f"{self.date}, commit {self.commit}; {versions}"),
        ]

    def _accuracy_line(self, form: str) -> str:
        """Return mean and, of several runs, each run's number."""
        each = self.accuracy[form]
        text = f"{form} {statistics.mean(each):.2%}"
        if len(each) == 1:
            return f"{text} (one run, seed {self.seeds[0]})"
        listed = ", ".join(f"{value:.2%}" for value in each)
        return f"{text} (mean of seeds {', '.join(map(str, self.seeds))}: {listed})"


def pretrained_names() -> list[str]:
    """Return the names that `pretrained` knows."""
    names = (entry.name for entry in _folder().iterdir())
    return sorted(name.removesuffix(".json") for name in names if name.endswith(".json"))


def pretrained(name: str) -> Model:
    """Return a model that comes with this package.

    Raises:
      ValueError: if there is none of that name, or its file is not the one that its card
        describes.
    """
    card = model_card(name)
    entry = _folder() / f"{name}.akj"
    _read_checked(entry, card)
    with importlib.resources.as_file(entry) as path:
        return load(path)


def pretrained_bytes(name: str) -> bytes:
    """Return the contents of the model's file, compared with the sum on its card.

    Raises:
      ValueError: as `pretrained`.
    """
    return _read_checked(_folder() / f"{name}.akj", model_card(name))


def model_card(name: str) -> ModelCard:
    """Return what is known of a model that comes with this package.

    Raises:
      ValueError: if there is none of that name, or its card is not valid.
    """
    names = pretrained_names()
    if name not in names:
        raise ValueError(f"no pretrained model {name!r}; there are {', '.join(names) or 'none'}")
    return read_card((_folder() / f"{name}.json").read_text(), name)


def read_card(text: str, name: str) -> ModelCard:
    """Return the card that a JSON text holds.

    Args:
      text: of the file.
      name: that the card must have.

    Raises:
      ValueError: if the text is no JSON, or naming each field that is missing, unknown or
        of another type.
    """
    try:
        fields = json.loads(text)
    except ValueError as error:
        raise ValueError(f"card {name!r} is no valid JSON ({error})") from error
    card: ModelCard = _build(ModelCard, fields, f"card {name!r}")
    if card.name != name:
        raise ValueError(f"card {name!r} says that its name is {card.name!r}; rename the file")
    forms, n_runs = set(card.accuracy), {len(each) for each in card.accuracy.values()}
    if not {"quantized", "integer"} <= forms <= set(FORMS) or n_runs != {len(card.seeds)}:
        raise ValueError(
            f"card {name!r}: accuracy must have quantized and integer, may have float, and one "
            f"number for each of {len(card.seeds)} seeds"
        )
    return card


def _folder() -> Traversable:
    return importlib.resources.files("akida_jax.zoo").joinpath("models")


def _read_checked(entry: Traversable, card: ModelCard) -> bytes:
    content = entry.read_bytes() if entry.is_file() else b""
    if hashlib.sha256(content).hexdigest() != card.sha256:
        state = "does not match the sha256 of its card" if content else "is missing"
        raise ValueError(
            f"pretrained model {card.name!r}: the file {entry.name} {state}; it was damaged or "
            "replaced, install akida-jax again"
        )
    return content


def _build(kind: type, fields: Any, where: str) -> Any:
    """Return a dataclass from what JSON holds, every field checked."""
    if not isinstance(fields, dict):
        raise ValueError(f"{where}: must be an object, got {fields!r}")
    hints = typing.get_type_hints(kind)
    unknown, missing = sorted(set(fields) - set(hints)), sorted(set(hints) - set(fields))
    if unknown or missing:
        raise ValueError(f"{where}: unknown fields {unknown}, missing fields {missing}")
    return kind(**{key: _read(hint, fields[key], f"{where}, {key}") for key, hint in hints.items()})


def _read(hint: Any, value: Any, where: str) -> Any:
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint):
        return _build(typing.cast(type, hint), value, where)
    if origin is tuple:
        _check(isinstance(value, list), value, "a list", where)
        return tuple(_read(inner[0], item, where) for item in value)
    if origin is Mapping:
        _check(isinstance(value, dict), value, "an object", where)
        read = functools.partial(_read, inner[1], where=where)
        return types.MappingProxyType({key: read(value=item) for key, item in value.items()})
    if hint is Any:
        return tuple(value) if isinstance(value, list) else value
    number = isinstance(value, int | float) and not isinstance(value, bool)
    fits = number if hint is float else isinstance(value, hint) and not isinstance(value, bool)
    _check(fits, value, f"of type {hint.__name__}", where)
    return value


def _check(fits: bool, value: Any, wanted: str, where: str) -> None:
    if not fits:
        raise ValueError(f"{where}: must be {wanted}, got {value!r}")
