"""The layers of a Keras model file, in the order in which data passes them.

Reads whole-model ``.h5`` files as Keras 2 and Keras 3 write them: a JSON configuration and the
weights by layer. What each layer means is left to others.
"""

import dataclasses
import json
import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from akida_jax.interop.hdf5 import Hdf5Content, KerasFileError, read_hdf5
from akida_jax.limits import Fault, ModelError

_MODELS = {"Sequential", "Functional", "Model"}
_MAX_NESTING = 8


class KerasModelError(ModelError):
    """A Keras model that cannot be imported; carries every `Fault`, in layer order."""


@dataclasses.dataclass(frozen=True)
class KerasLayer:
    """One layer of a file.

    Attributes:
      name: as in Keras.
      kind: class name, without its package.
      package: "keras", "cnn2snn" or "quantizeml".
      config: its configuration.
      weights: by variable name (``kernel``, ``moving_mean``, ...).
    """

    name: str
    kind: str
    package: str
    config: dict[str, Any]
    weights: dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class KerasChain:
    """A model of one layer after another.

    Attributes:
      file: name of the file, for messages.
      input_shape: without the batch axis.
      layers: without the input layer.
    """

    file: str
    input_shape: tuple[int, ...]
    layers: tuple[KerasLayer, ...]


def read_chain(path: str | os.PathLike) -> KerasChain:
    """Read a model file.

    Raises:
      FileNotFoundError: if there is no such file.
      IsADirectoryError: if it is a folder.
      KerasFileError: if the file is truncated, damaged, or no whole Keras model.
      KerasModelError: if the layers do not stand one after another; with every such layer.
    """
    content = read_hdf5(path)
    if "model_config" not in content.attributes:
        raise KerasFileError(f"{content.name}: holds no model_config, so no whole Keras model "
                             "(weights alone?); save it with model.save('NAME.h5')")  # fmt: skip
    try:
        config = json.loads(content.attributes["model_config"])
        found: list[Fault] = []
        entries = list(_entries(config, found, 0))
        if found:
            raise KerasModelError(found, f"in {content.name}")
        shape = _input_shape(config, entries)
        layers = tuple(
            _layer(entry, group, content)
            for entry, group in entries
            if entry["class_name"] != "InputLayer"
        )
    except (ModelError, KerasFileError):
        raise
    except (AttributeError, IndexError, KeyError, OverflowError, RecursionError, TypeError,
            ValueError) as error:  # fmt: skip
        raise KerasFileError(
            f"{content.name}: its model_config cannot be read ({type(error).__name__}: {error})"
        ) from error
    if not layers:
        raise KerasFileError(f"{content.name}: the model has no layers")
    return KerasChain(content.name, shape, layers)


def _entries(
    model: dict[str, Any], faults: list[Fault], depth: int, group: str | None = None
) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield the layers of a model in order, models within it unpacked, with their weight group."""
    if depth > _MAX_NESTING:
        raise ValueError(f"models within models deeper than {_MAX_NESTING}")
    kind, config = _class_name(model), model["config"]
    if kind not in _MODELS:
        raise ValueError(f"a model of class {kind!r}; only Sequential and Functional are read")
    layers = config if isinstance(config, list) else config["layers"]
    if kind != "Sequential":
        layers = _order(config, faults)
    for entry in layers:
        inside = group if group is not None else str(entry["config"]["name"])
        if _class_name(entry) in _MODELS:
            nested = list(_entries(entry, faults, depth + 1, inside))
            yield from (pair for pair in nested if pair[0]["class_name"] != "InputLayer")
        else:
            yield entry, inside


def _class_name(entry: dict[str, Any]) -> str:
    name = entry["class_name"]
    if not isinstance(name, str):
        raise TypeError(f"class_name {name!r} is no text")
    return name


def _order(config: dict[str, Any], faults: list[Fault]) -> list[dict[str, Any]]:
    """Return the layers of a functional model along its one path, or add faults."""
    layers = {str(entry["config"]["name"]): entry for entry in config["layers"]}
    sources = {name: list(_sources(entry["inbound_nodes"])) for name, entry in layers.items()}
    users: dict[str, list[str]] = {}
    for name, names in sources.items():
        for source in names:
            users.setdefault(source, []).append(name)
    found = []
    for name in layers:
        if len(sources[name]) > 1:
            found.append(Fault(name, f"takes {len(sources[name])} inputs "
                               f"({', '.join(sources[name])})", _ONE_PATH))  # fmt: skip
        if len(users.get(name, [])) > 1:
            found.append(Fault(name, f"its output goes to {', '.join(users[name])}", _ONE_PATH))
    for what in ("input_layers", "output_layers"):
        if len(names := list(_names(config[what]))) != 1:
            found.append(Fault(str(config.get("name")), f"has {len(names)} {what}", _ONE_PATH))
    faults += found
    if found:
        return []
    (name,) = _names(config["output_layers"])
    path = [name]
    while sources[path[-1]]:
        path.append(sources[path[-1]][0])
        if len(path) > len(layers):
            raise ValueError("its layers form a circle")
    return [layers[name] for name in reversed(path)]


_ONE_PATH = "the chip runs one layer after another; export a model of a single path"


def _sources(nodes: Any) -> Iterator[str]:
    """Yield the names of the layers that feed the calls of a layer (Keras 2 or 3)."""
    if isinstance(nodes, dict):
        if nodes.get("class_name") == "__keras_tensor__":
            yield str(nodes["config"]["keras_history"][0])
        else:
            for value in nodes.values():
                yield from _sources(value)
    elif isinstance(nodes, list):
        if len(nodes) >= 3 and isinstance(nodes[0], str) and isinstance(nodes[1], int):
            yield nodes[0]
        else:
            for value in nodes:
                yield from _sources(value)


def _names(references: Any) -> Iterator[str]:
    if isinstance(references, list) and references and isinstance(references[0], str):
        yield references[0]
    elif isinstance(references, list):
        for reference in references:
            yield from _names(reference)


def _input_shape(config: Any, entries: Sequence[tuple[dict[str, Any], str]]) -> tuple[int, ...]:
    candidates = [entry["config"] for entry, _ in entries[:1]]
    if isinstance(config["config"], dict):
        candidates.append(config["config"])
    for candidate in candidates:
        for key in ("batch_input_shape", "batch_shape", "build_input_shape"):
            shape = candidate.get(key)
            if shape:
                return _sizes(shape[1:])
    raise ValueError("the shape of its input is not stated")


def _sizes(shape: Any) -> tuple[int, ...]:
    if not all(isinstance(n, int) and not isinstance(n, bool) and n > 0 for n in shape):
        raise ValueError(f"input of shape {tuple(shape)}; every size must be fixed")
    return tuple(shape)


def _layer(entry: dict[str, Any], group: str, content: Hdf5Content) -> KerasLayer:
    config = entry["config"]
    name, kind = str(config["name"]), _class_name(entry)
    package = "keras"
    if kind.startswith("Custom>") or "quant_config" in config:
        kind, package = kind.removeprefix("Custom>"), "quantizeml"
    elif "quantizer" in config or "bitwidth" in config:
        package = "cnn2snn"
    weights: dict[str, np.ndarray] = {}
    for path in content.weight_names.get(group, []):
        parts = path.split("/")
        if group != name and f"/{name}/" not in f"/{path}":
            continue  # of another layer of the same inner model
        array = content.arrays.get(f"{group}/{path}")
        if array is None:
            raise KerasFileError(f"{content.name}: layer {name!r} lacks its weights {path!r}")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise KerasFileError(
                f"{content.name}: layer {name!r}: {path!r} has values that are not finite"
            )
        weights[parts[-1].removesuffix(":0")] = array.astype(np.float32)
    return KerasLayer(name, kind, package, config, weights)
