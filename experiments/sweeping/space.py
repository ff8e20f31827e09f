"""What a sweep varies: axes over the settings of an experiment, and over the chip.

An axis is written ``NAME=VALUE,VALUE,...`` or, for a number, ``NAME=LOW..HIGH`` with ``:log``
behind it for a logarithmic scale. NAME is

- a field of the experiment's settings: ``alpha=0.25,0.5``, ``bits=8/4/4,8/2/4``;
- the bits of the layers whose name matches a regular expression:
  ``weight_bits[separable_.*]=2,4``, ``act_bits[conv_1]=2,4``;
- ``device`` or ``mode`` of the placement, which take no training of their own, unless training
  itself looks at the modelled cost, by a budget or an activity in physical units: then a point is
  trained for the chip that it is priced on.
"""

import dataclasses
import itertools
import math
import re
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import optuna

from akida_jax import mapping
from experiments.training.options import HELD_OUT
from experiments.training.pressure import BASELINES

#: Axes that act on the trained model, and their values.
PLACEMENT_AXES: Mapping[str, tuple[str, ...]] = {
    "device": tuple(mapping.DEVICES),
    "mode": mapping.MODES,
}
#: The field of an experiment's settings that an axis of the placement means too.
PLACED_FIELDS: Mapping[str, str] = {"device": "device", "mode": "mapping_mode"}
#: Fields of an experiment's settings that say where things lie, and nothing of the result.
_PLACES = ("output", "restart", "data_dir", "keep")
_LAYER_FIELDS = {"weight_bits": "layer_weight_bits", "act_bits": "layer_act_bits"}
_LAYER_AXIS = re.compile(r"(weight_bits|act_bits)\[(.+)\]")

Value = str | float | int
"""A parameter as the study stores it: the text of a choice, or a number within a range."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Axis:
    """One axis.

    Attributes:
      name: as it was written.
      choices: texts of its values; empty for a range.
      values: what they mean.
      low: lowest value of a range.
      high: highest value of a range.
      log: whether the range is sampled logarithmically.
      whole: whether the range is of whole numbers.
    """

    name: str
    choices: tuple[str, ...] = ()
    values: tuple[Any, ...] = ()
    low: float = 0
    high: float = 0
    log: bool = False
    whole: bool = False

    def suggest(self, trial: optuna.Trial) -> Value:
        """Return the parameter that the study's sampler chooses."""
        if self.choices:
            return trial.suggest_categorical(self.name, self.choices)
        if self.whole:
            return trial.suggest_int(self.name, int(self.low), int(self.high), log=self.log)
        return trial.suggest_float(self.name, self.low, self.high, log=self.log)

    def value(self, parameter: Value) -> Any:
        """Return what a stored parameter means."""
        return self.values[self.choices.index(str(parameter))] if self.choices else parameter


@dataclasses.dataclass(frozen=True, kw_only=True)
class Point:
    """One point of a sweep.

    Attributes:
      settings: of the experiment that trains it.
      device: name of the chip.
      mode: of the placement.
    """

    settings: Any
    device: str
    mode: mapping.Mode


def parse_axes(texts: Sequence[str], base: Any) -> tuple[Axis, ...]:
    """Return axes, those of the placement first, so that they vary slowest in a grid.

    Points that differ in the placement alone share their training; apart from each other in
    the grid, no worker has to wait for another's.

    Args:
      texts: as they are written.
      base: settings of the experiment.

    Raises:
      ValueError: naming every axis that cannot be read, and one that is there twice.
    """
    axes, faults = [], []
    for text in texts:
        try:
            axes.append(parse_axis(text, base))
        except ValueError as error:
            faults.append(str(error))
    names = [axis.name for axis in axes]
    faults += [f"axis {name!r} is there twice" for name in dict.fromkeys(names)
               if names.count(name) > 1]  # fmt: skip
    if faults:
        raise ValueError("; ".join(faults))
    return tuple(sorted(axes, key=lambda axis: axis.name not in PLACEMENT_AXES))


def parse_axis(text: str, base: Any) -> Axis:
    """Return one axis of the settings ``base``.

    Raises:
      ValueError: naming the axis and what is wrong with it.
    """
    name, equals, values = text.rpartition("=")
    name, values = name.strip(), values.strip()
    if not (equals and name and values):
        raise ValueError(f"axis {text!r} must be NAME=VALUE,VALUE,... or NAME=LOW..HIGH")
    hint = _hint(name, base)
    if ".." in values:
        return _parse_range(name, values, hint)
    choices = tuple(choice.strip() for choice in values.split(","))
    if len(set(choices)) < len(choices) or "" in choices:
        raise ValueError(f"axis {name!r}: values must be there once each, got {values}")
    try:
        meant = tuple(_decode(choice, hint) for choice in choices)
    except ValueError as error:
        raise ValueError(f"axis {name!r}: {error}") from None
    return Axis(name=name, choices=choices, values=meant)


def _hint(name: str, base: Any) -> Any:
    """Return the type of an axis' values."""
    if name in PLACEMENT_AXES:
        return typing.Literal[PLACEMENT_AXES[name]]
    fields = {field.name for field in dataclasses.fields(base)}
    if layers := _LAYER_AXIS.fullmatch(name):
        if _LAYER_FIELDS[layers[1]] not in fields:
            raise ValueError(f"axis {name!r}: {type(base).__module__} has no bits by layer")
        try:
            re.compile(layers[2])
        except re.error as error:
            raise ValueError(f"axis {name!r}: no regular expression: {error}") from None
        return typing.Literal[2, 4] if layers[1] == "weight_bits" else typing.Literal[1, 2, 4]
    # Accuracies on other examples cannot be compared.
    others = {*_PLACES, *HELD_OUT, *_LAYER_FIELDS.values(), *PLACED_FIELDS.values()}
    known = sorted(fields - others)
    if name not in known:
        raise ValueError(
            f"axis {name!r}: the settings have no such field; there are {', '.join(known)}, "
            f"{', '.join(PLACEMENT_AXES)}, weight_bits[LAYERS], act_bits[LAYERS]"
        )
    return typing.get_type_hints(type(base))[name]


def _decode(text: str, hint: Any) -> Any:
    """Return the value of a text; a tuple is written with strokes, as 8/4/4."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if text.lower() == "none" and type(None) in inner:
            return None
        return _decode(text, next(kind for kind in inner if kind is not type(None)))
    if origin is typing.Literal:
        found = {str(value): value for value in inner}
        if text not in found:
            raise ValueError(f"{text!r} must be one of {', '.join(found)}")
        return found[text]
    if origin is tuple:
        parts = text.split("/")
        kinds = (inner[0],) * len(parts) if inner[-1] is Ellipsis else inner
        if len(parts) != len(kinds):
            raise ValueError(f"{text!r} must have {len(kinds)} values, written with strokes")
        return tuple(_decode(part, kind) for part, kind in zip(parts, kinds, strict=True))
    if hint is bool:
        return _decode(text.lower(), typing.Literal["true", "false"]) == "true"
    if hint in (int, float):
        return _number(text, hint)
    if hint is str:
        return text
    raise ValueError(f"values of type {hint} cannot be varied")


def _number(text: str, kind: type) -> Any:
    try:
        value = kind(text)
    except ValueError:
        raise ValueError(f"{text!r} is no {'whole ' * (kind is int)}number") from None
    if not math.isfinite(value):
        raise ValueError(f"{text!r} is not finite")
    return value


def _parse_range(name: str, values: str, hint: Any) -> Axis:
    kinds = [kind for kind in (hint, *typing.get_args(hint)) if kind in (int, float)]
    found = re.fullmatch(r"(.+?)\.\.(.+?)(:log)?", values)
    if not kinds or found is None or typing.get_origin(hint) is tuple:
        raise ValueError(f"axis {name!r}: LOW..HIGH or LOW..HIGH:log is for one number, "
                         f"got {values}")  # fmt: skip
    try:
        low, high = (_number(text, kinds[0]) for text in found.group(1, 2))
    except ValueError as error:
        raise ValueError(f"axis {name!r}: {error}") from None
    log = found[3] is not None
    if not low < high or (log and low <= 0):
        raise ValueError(f"axis {name!r}: the range must rise{' from above 0' * log}, "
                         f"got {values}")  # fmt: skip
    return Axis(name=name, low=low, high=high, log=log, whole=kinds[0] is int)


def grid(axes: Sequence[Axis]) -> Iterator[dict[str, Value]]:
    """Yield the parameters of every combination; the last axis varies fastest.

    Raises:
      ValueError: naming the axes that are ranges.
    """
    ranges = [axis.name for axis in axes if not axis.choices]
    if ranges:
        raise ValueError(f"a grid needs values, not ranges, for {', '.join(ranges)}")
    for combination in itertools.product(*(axis.choices for axis in axes)):
        yield {axis.name: value for axis, value in zip(axes, combination, strict=True)}


def make_point(
    base: Any, axes: Sequence[Axis], parameters: Mapping[str, Value], device: str, mode: str
) -> Point:
    """Return the point with some parameters.

    Args:
      base: settings that all points share.
      axes: of the sweep; those without a parameter leave the base as it is.
      parameters: by the name of the axis.
      device: where no axis says another.
      mode: where no axis says another.

    Raises:
      ValueError: if the experiment refuses the settings.
    """
    changes: dict[str, Any] = {}
    placed: dict[str, Any] = {"device": device, "mode": mode}
    for axis in axes:
        if axis.name not in parameters:
            continue
        value = axis.value(parameters[axis.name])
        if axis.name in PLACEMENT_AXES:
            placed[axis.name] = value
        elif layers := _LAYER_AXIS.fullmatch(axis.name):
            field = _LAYER_FIELDS[layers[1]]
            before = changes.get(field, getattr(base, field))
            changes[field] = (*before, (layers[2], value))
        else:
            changes[axis.name] = value
    return Point(settings=_with_changes(base, changes, placed), **placed)


def _with_changes(base: Any, changes: dict[str, Any], placed: Mapping[str, Any]) -> Any:
    """Return the settings of a point.

    Points without pressure on activity are one training, whatever else their axes say of it.
    """
    unpressed = {"activity": None, "activity_weight": 0.0}
    if any(name in changes and changes[name] == none for name, none in unpressed.items()):
        changes = {**changes, **unpressed}
    activity, budget = (changes.get(name, getattr(base, name)) for name in ("activity", "budget"))
    if activity not in (None, *BASELINES) or budget is not None:
        changes = {**changes, **{PLACED_FIELDS[name]: value for name, value in placed.items()}}
    return dataclasses.replace(base, **changes)


def find_faults(base: Any, axes: Sequence[Axis], device: str, mode: str) -> list[str]:
    """Return what the experiment says against values of the axes, in words.

    A value is at fault if it is refused alone, and beside the first and the last values of all
    other axes. Whole points are looked at when their turn comes.

    Args:
      base: settings that all points share.
      axes: of the sweep.
      device: where no axis says another.
      mode: where no axis says another.
    """
    faults = []
    for axis in axes:
        others = [other for other in axes if other is not axis]
        beside = [{}, *({other.name: _ends(other)[end] for other in others} for end in (0, -1))]
        for value in _ends(axis):
            told = [_fault(base, axes, {axis.name: value, **rest}, device, mode) for rest in beside]
            if all(told):
                faults.append(f"axis {axis.name!r}, value {value}: {told[0]}")
    return faults


def _ends(axis: Axis) -> Sequence[Value]:
    return axis.choices or (axis.low, axis.high)


def _fault(
    base: Any, axes: Sequence[Axis], parameters: Mapping[str, Value], device: str, mode: str
) -> str | None:
    try:
        make_point(base, axes, parameters, device, mode)
    except ValueError as error:
        return str(error)
    return None
