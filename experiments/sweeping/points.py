"""One point of a sweep: trained, or found again, then placed and measured."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

import akida_jax as aj
from akida_jax import mapping
from akida_jax.layers import InputData
from akida_jax.limits import ModelError
from akida_jax.zoo import datasets
from experiments import dvs_gesture, train, train_data
from experiments.sweeping.claims import Direction
from experiments.sweeping.space import Point
from experiments.sweeping.storages import file_lock
from experiments.training.pressure import UnreachableError
from experiments.training.runs import Watch

#: What can be optimized: unit, and direction.
OBJECTIVES: dict[str, tuple[str, Direction]] = {
    "accuracy": ("share of the examples tested on, integer model", "maximize"),
    "energy_mj": ("modelled mJ per sample, idle power included", "minimize"),
    "dynamic_mj": ("modelled mJ per sample above idle", "minimize"),
    "latency_ms": ("modelled ms per sample", "minimize"),
    "nps": ("neural processors", "minimize"),
    "size_kb": ("kB of weights at their bits", "minimize"),
}


class ImpossibleError(ValueError):
    """A point that the chip cannot hold, or no training can reach; the text says why."""


def check_data(base: Any) -> str:
    """Return the fingerprint of the base's data, having seen that they are there.

    Raises:
      FileNotFoundError: if data are missing, saying how to get them.
      ValueError: if a file is damaged.
    """
    if isinstance(base, dvs_gesture.Config):
        return datasets.fingerprint(base.data, seed=base.seed, data_dir=base.data_dir)
    return train_data.load(base).fingerprint


def measure(point: Point, *, batch: int, on_epoch: Callable[[dict], None]) -> dict[str, Any]:
    """Train a point unless its run is there already; return what was measured and modelled.

    Points that differ in the placement alone have one run folder: the second takes the trained
    model of the first. Workers that come upon the same run wait for each other.

    Args:
      point: its settings and placement.
      batch: samples that enter the chip together.
      on_epoch: called with each epoch's row of metrics.

    Raises:
      ImpossibleError: before any training, or behind it where a register overflows only then.
    """
    settings, console = point.settings, Console(quiet=True)
    experiment = dvs_gesture if isinstance(settings, dvs_gesture.Config) else train

    def check(model: aj.Model) -> None:
        _place(model, point)

    watch = Watch(on_untrained=check, on_epoch=on_epoch)
    folder: Path = settings.folder
    with file_lock(folder.with_name(f"{folder.name}.lock")):
        reused = (folder / "result.json").exists()
        try:
            result = experiment.run(settings, console, watch)
        except (ModelError, UnreachableError) as error:
            raise ImpossibleError(str(error)) from error
    model = aj.load(folder / "model.akj")
    shares = _shares(model, result, settings)
    return {"reused": reused, "folder": folder.name, **_of_run(result), **_of_model(model),
            **_of_chip(model, point, shares, batch)}  # fmt: skip


def _place(model: aj.Model, point: Point) -> mapping.Placement:
    """Return the placement.

    Raises:
      ImpossibleError: if any layer would run in software, where it would cost nothing.
    """
    try:
        return mapping.place(model, mapping.DEVICES[point.device], point.mode, hw_only=True)
    except ValueError as error:
        raise ImpossibleError(str(error)) from error


def _shares(model: aj.Model, result: dict, settings: Any) -> dict[str, float]:
    """Return the share of zeros in each layer's output on the test set, and in the input."""
    shares = dict(result["sparsity"])
    first = model.layers[0]
    if isinstance(first, InputData):
        zeros, values = 0, 0
        for x in _test_inputs(settings):
            zeros, values = zeros + x.size - int(np.count_nonzero(x)), values + x.size
        shares[str(first.name)] = zeros / values
    return shares


def _test_inputs(settings: Any) -> list[np.ndarray]:
    if isinstance(settings, dvs_gesture.Config):
        return [dvs_gesture.load(settings)[1].test_x]
    return [piece.x for piece in train_data.load(settings).test_pieces()]


def _of_run(result: dict) -> dict[str, Any]:
    return {
        "accuracy": result["accuracy"]["integer"],
        "float_accuracy": result["accuracy"]["float"],
        "title": result["title"],
        "n_train": result["n_train"],
        "n_test": result["n_test"],
        "seed": result["config"]["seed"],
        "training_s": result["timings_s"]["training"],
        "code": result["code"],
        "data_fingerprint": result["data_fingerprint"],
    }


def _of_model(model: aj.Model) -> dict[str, Any]:
    return {
        "weights": sum(p.spec.n_weights(p.in_shape) for p in model.programs),
        "size_kb": sum(p.packed_bytes for p in model.programs) / 1000,
    }


def _of_chip(model: aj.Model, point: Point, shares: dict[str, float], batch: int) -> dict[str, Any]:
    placement = _place(model, point)
    cost = mapping.estimate(placement, shares, batch=batch)
    layers = []
    for layer, place in zip(cost.layers, placement.layers, strict=True):
        spec = place.program.spec
        layers.append({
            **{key: value if isinstance(value, str) else round(float(value), 9)
               for key, value in dataclasses.asdict(layer).items()},
            "nps": layer.nps,
            "sparsity": round(shares[layer.name], 6),
            "weight_bits": spec.weight_bits,
            "act_bits": spec.act_bits,
        })  # fmt: skip
    return {
        "device": placement.device.name,
        "mode": placement.mode,
        "batch": batch,
        "nps": placement.nps,
        "passes": placement.passes,
        "energy_mj": float(cost.total_mj),
        "dynamic_mj": float(cost.dynamic_mj),
        "latency_ms": float(cost.latency_ms),
        "fps": float(cost.fps),
        "trust": cost.law.trust(),
        "layers": layers,
        "summary": str(model.summary(placement, cost)),
    }
