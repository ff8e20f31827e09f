"""AkidaNet beside MobileNet v1 on equal data, by one recipe: accuracy, events, modelled cost.

    python -m experiments.backbones smoke      # digits, in a minute; its numbers mean nothing
    python -m experiments.backbones fashion    # Fashion-MNIST at 32x32, about an hour
    python -m experiments.backbones faces      # ORL faces at 112x96, in $AKIDA_JAX_DATA, the same

The paper's tables 1 to 3 say what changes from MobileNet v1 to AkidaNet, on data that are not
here. Here both are trained from random weights with the same examples, epochs, rates and seeds:
float, 8/4/4 bits, the chip's integers. Events are counted on the test examples; speed, power
and energy on an AKD1000 are modelled from these counts.

Results: results/backbones_*.json, which ``--keep`` writes, and docs/paper-tables.md, whose
tables `experiments.backbone_report` makes of them. Interrupt it at any time: the same command
goes on from the last epoch, and trains no finished network again.
"""

import dataclasses
import itertools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import UInt8
from rich.console import Console

import akida_jax as aj
from akida_jax import mapping
from akida_jax.zoo.datasets import Examples
from akida_jax.zoo.parameters import count_parameters
from experiments import faces, train, train_data
from experiments.presets import ANY, COUNT, check_settings, read_settings, run_command
from experiments.records.provenance import describe_machine
from experiments.training import evaluation
from experiments.training.origin import RESULT
from experiments.training.runs import (
    check_keep_any_seeds,
    check_output,
    run_folder,
    share_programs,
    without_places,
    write_whole,
)

RESULTS = Path(__file__).parent / "results"
DEVICE = mapping.AKD1000
#: The second is that of the paper's tables 1 to 3 in docs/paper-tables.md.
MODES: tuple[mapping.Mode, ...] = ("minimal", "all_nps")
NETWORKS = ("mobilenet", "akidanet")
TITLES = {"digits": "digits", "fashion-mnist": "Fashion-MNIST", "orl-faces": "ORL faces"}
#: Of images, as in the preset "fashion-akidanet" of `experiments.train`.
_IMAGES: dict[str, Any] = {"size": 32, "halvings": 4, "flip": True, "shift": 2}

#: Settings that every training takes as they are.
_SHARED = ("data_dir", "n_train", "float_epochs", "quantized_epochs", "batch_size",
           "float_rates", "quantized_rates", "weight_decay", "output", "restart")  # fmt: skip
_KEPT = ("code", "data_fingerprint", "n_train", "n_test", "accuracy", "potentials_compared",
         "potentials_equal", "timings_s")  # fmt: skip
_RANGES = {
    "n_train": COUNT, "alphas": (1 / 32, 8), "seeds": (0, 2**31 - 1), "float_epochs": COUNT,
    "quantized_epochs": COUNT, "batch_size": COUNT, "float_rates": ANY, "quantized_rates": ANY,
    "weight_decay": ANY,
}  # fmt: skip


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of the comparison; both networks take all of them.

    Attributes:
      data: labelled data set.
      data_dir: its folder, instead of its usual place.
      n_train: training examples; of the faces, images of each person.
      alphas: width multipliers.
      seeds: of weights, order and augmentation, and of the choice of training examples.
      float_epochs: epochs of the float network.
      quantized_epochs: epochs of its quantized twin.
      batch_size: examples per step.
      float_rates: lowest and highest learning rate of the float epochs.
      quantized_rates: the same for the quantized epochs.
      weight_decay: of kernels, decoupled.
      output: folder that receives one folder per trained network.
      restart: forget what an earlier run with these settings has done.
      keep: write the result into experiments/results; the settings must be a preset's.
      collect: train nothing, write the result of the networks that are finished.

    Raises:
      ValueError: naming every option that is out of its range.
    """

    data: Literal["digits", "fashion-mnist", "orl-faces"] = "fashion-mnist"
    data_dir: str | None = None
    n_train: int = 12_000
    alphas: tuple[float, ...] = (0.25, 0.5)
    seeds: tuple[int, ...] = (0, 1, 2)
    float_epochs: int = 12
    quantized_epochs: int = 3
    batch_size: int = 32
    float_rates: tuple[float, float] = (1e-5, 3e-3)
    quantized_rates: tuple[float, float] = (1e-5, 3e-4)
    weight_decay: float = 1e-3
    output: str = "runs/backbones"
    restart: bool = False
    keep: bool = False
    collect: bool = False

    def __post_init__(self):
        """Refuse what would fail only in the middle of a run, or after it."""
        others = ["--restart and --collect exclude each other"] * (self.restart and self.collect)
        check_settings(self, _RANGES, others=others)

    @property
    def folder(self) -> Path:
        """Folder of the result; other settings have another one, other seeds have not."""
        form = dataclasses.replace(self, seeds=(0,), collect=False)
        return run_folder(form, f"result-{self.data}")


PRESETS = {
    "default": ("the same as fashion", Config()),
    "fashion": ("Fashion-MNIST at 32x32", Config()),
    "faces": (
        "ORL faces at 112x96, 5 images of each of 40 people",
        Config(data="orl-faces", n_train=5, alphas=(0.5,), float_epochs=60, quantized_epochs=16,
               batch_size=20),
    ),
    "smoke": (
        "the whole comparison in about a minute; the numbers mean nothing",
        Config(data="digits", n_train=32, alphas=(1 / 16,), seeds=(0,), float_epochs=1,
               quantized_epochs=1, batch_size=32, output="runs/smoke"),
    ),
}  # fmt: skip


def result_path(data: str) -> Path:
    """Return the file of a data set's committed results."""
    names = {"digits": "smoke", "fashion-mnist": "fashion", "orl-faces": "faces"}
    return RESULTS / f"backbones_{names[data]}.json"


def settings(config: Config, network: str, alpha: float, seed: int) -> train.Config | faces.Config:
    """Return the settings of one training; only the network's name differs between the two.

    Args:
      config: of the comparison.
      network: one of `NETWORKS`.
      alpha: width multiplier.
      seed: of everything random.

    Raises:
      ValueError: naming every option that is out of its range for this data set.
    """
    own: dict[str, Any] = {name: getattr(config, name) for name in _SHARED}
    own |= {"alpha": alpha, "seed": seed}
    if config.data == "orl-faces":
        model: Any = f"{network}_faces"
        return faces.Config(model=model, **own)
    return train.Config(model=network, data=config.data, **_IMAGES, **own)


def test_inputs(config: Config) -> UInt8[np.ndarray, "n h w c"]:
    """Return the test examples, which are the same for every network.

    Raises:
      FileNotFoundError: if data are missing, saying how to get them.
    """
    first = settings(config, NETWORKS[0], config.alphas[0], config.seeds[0])
    if isinstance(first, faces.Config):
        return faces.load(first)[1].x
    test = train_data.load(first).test
    assert isinstance(test, Examples)
    return test.x


def run(config: Config, console: Console) -> dict:
    """Train every network that is not trained yet; return the result.

    Raises:
      FileNotFoundError: if data are missing, saying how to get them.
      ValueError: before training, if a setting does not suit the data, a folder cannot be made,
        or a run was begun with other data.
    """
    check_output(config.folder)
    points = list(itertools.product(config.seeds, config.alphas, NETWORKS))
    every = [settings(config, network, alpha, seed) for seed, alpha, network in points]
    x = test_inputs(config)
    share_programs(Path(config.output))
    rows = []
    for (seed, alpha, network), one in zip(points, every, strict=True):
        if config.collect and not (one.folder / RESULT).exists():
            continue
        result = (
            train.run(one, console) if isinstance(one, train.Config) else faces.run(one, console)
        )
        kept = {key: result[key] for key in _KEPT}
        row = {"network": network, "alpha": alpha, "seed": seed, **kept,
               **measure(aj.load(one.folder / "model.akj"), x)}  # fmt: skip
        rows.append(row)
        _show(row, console)
    plain = without_places(dataclasses.asdict(config))
    del plain["collect"]
    return {"experiment": "backbones", "title": TITLES[config.data], "config": plain,
            **describe_machine(), "device_modelled": DEVICE.name,
            "input_shape": list(x.shape[1:]), "points": rows}  # fmt: skip


def measure(model: aj.Model, x: UInt8[np.ndarray, "n h w c"]) -> dict[str, Any]:
    """Return what a model is and does, its cost modelled.

    Args:
      model: converted.
      x: inputs whose events are counted.

    Returns:
      ``parameters``, ``weights``; by layer for one input ``macs``, ``events`` that enter,
      ``events_out``, ``synaptic_operations``, and ``sparsity`` of the output, the share of
      zeros; ``modelled`` by mode.
    """
    activity = model.activity(x)

    def each(field: str) -> dict[str, float]:
        return {name: getattr(layer, field) / layer.samples for name, layer in activity.items()}

    return {
        "parameters": count_parameters(model),
        **evaluation.work_of(model, activity),
        "events": each("events_in"),
        "events_out": each("events_out"),
        "modelled": {mode: _modelled(model, activity, mode) for mode in MODES},
    }


def _modelled(model: aj.Model, activity: aj.Activity, mode: mapping.Mode) -> dict[str, float]:
    """Return the cost of one input at a time."""
    placement = mapping.place(model, DEVICE, mode, hw_only=True)
    cost = mapping.estimate(placement, activity)
    names = ("latency_ms", "fps", "pipelined_fps", "power_mw", "dynamic_mw", "total_mj",
             "dynamic_mj")  # fmt: skip
    return {"nps": placement.nps, **{name: float(getattr(cost, name)) for name in names}}


def _show(row: Mapping[str, Any], console: Console) -> None:
    cost = row["modelled"]["all_nps"]
    console.print(
        f"seed {row['seed']} {row['network']} {row['alpha']:g}: integer "
        f"{row['accuracy']['integer']:.2%}, modelled {cost['fps']:.0f} frames/s, "
        f"{cost['total_mj']:.3f} mJ, {row['timings_s']['training']:.0f} s of training",
        highlight=False,
    )


def main(arguments: list[str] | None = None) -> dict:
    """Run a preset with its settings overridden."""
    config = read_settings(PRESETS, arguments)
    console = Console()
    check_keep_any_seeds(config, PRESETS)
    result = run(config, console)
    code = sorted({version for row in result["points"] for version in row["code"]})
    kept = result_path(config.data) if config.keep else None
    path = write_whole(result, config.folder, code, kept)
    console.print(f"Results: {path}", soft_wrap=True, highlight=False)
    return json.loads(json.dumps(result))


if __name__ == "__main__":
    run_command(main)
