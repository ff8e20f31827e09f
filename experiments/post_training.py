"""Quantization after training against training of the quantized network.

    python -m experiments.train fashion-akidanet            # first: the network itself
    python -m experiments.post_training fashion-akidanet

The float network of a finished run is quantized in several ways without further training:
activation ranges from the float ReLU, from the largest activation or by least square error;
weight scales per filter or per tensor; with and without bias correction. Every row is the
integer model's accuracy on the test set. The last row is what the run itself reached by
quantized training. Writes results/post_training.json.
"""

import dataclasses
import itertools
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.table import Table

import akida_jax as aj
from akida_jax import quant, zoo
from experiments import train
from experiments.presets import check_settings, read_settings, run_command
from experiments.records.files import write_json
from experiments.records.provenance import describe_machine
from experiments.train_data import TrainingData, load
from experiments.training.runs import FLOAT_WEIGHTS, without_places
from experiments.training.weights import load_weights

RESULTS = Path(__file__).parent / "results"
BITS = ((8, 4, 4), (8, 2, 4))
RANGES = ("relu", "largest", "least square")
_WEIGHTS: tuple[quant.WeightQuantizer, ...] = ("max_per_filter", "max_per_tensor")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of the comparison.

    Attributes:
      run: settings of the finished run, as of `experiments.train`.
      n_calibration: training examples for ranges and bias correction.
      results: folder of the result.
    """

    run: train.Config = dataclasses.field(default_factory=train.Config)
    n_calibration: int = 1024
    results: Path = RESULTS

    def __post_init__(self):
        """Refuse a sample of nothing."""
        check_settings(self, {"n_calibration": (1, math.inf)})


PRESETS = {
    name: (f"of {text}", Config(run=config)) for name, (text, config) in train.PRESETS.items()
}


def _read_run(config: train.Config) -> dict:
    path = config.folder / "result.json"
    for needed in (path, config.folder / FLOAT_WEIGHTS):
        if not needed.exists():
            raise FileNotFoundError(
                f"no {needed}: finish the run first, with python -m experiments.train and the "
                "same settings"
            )
    return json.loads(path.read_text())


def _largest(network: quant.Sequential, sample: np.ndarray) -> tuple[quant.Rule, ...]:
    """Return rules that set each activation range to the largest activation of a sample."""
    rules = []
    for (name, y), layer in zip(network.outputs(jnp.asarray(sample)), network.layers, strict=True):
        top = float(y.max())
        if layer.spec.activation and top > 0:
            rules.append(quant.Rule(layers=name, max_activation=top))
    return tuple(rules)


def quantize_by(
    network: quant.Sequential,
    sample: np.ndarray,
    *,
    ranges: str,
    correction: bool,
    bits: tuple[int, int, int],
    weights: quant.WeightQuantizer,
    overrides: tuple[quant.Rule, ...] = (),
) -> aj.Model:
    """Return the integer model of a float network, quantized without further training.

    Args:
      network: float.
      sample: inputs for ranges and bias correction.
      ranges: one of `RANGES`.
      correction: correct the biases.
      bits: input weights, weights, activations.
      weights: how the weights' scale is chosen.
      overrides: widths of single layers.
    """
    if ranges == "largest":
        overrides = (*_largest(network, sample), *overrides)
    twin = quant.quantize(
        network,
        bits=bits,
        calibration=sample if ranges == "least square" else None,
        overrides=overrides,
        weight_quantizer=weights,
    )
    return aj.convert(quant.correct_biases(twin, network, sample) if correction else twin)


def _rows(
    network: quant.Sequential, sample: np.ndarray, data: TrainingData, overrides: tuple
) -> Iterator[dict[str, Any]]:
    choices = itertools.product(BITS, _WEIGHTS, RANGES, (False, True))
    for bits, weights, ranges, correction in choices:
        model = quantize_by(
            network, sample, ranges=ranges, correction=correction, bits=bits, weights=weights,
            overrides=overrides,
        )  # fmt: skip
        right = [
            model.predict(x, "dense").reshape(len(x), -1).argmax(-1) == y
            for x, y in data.test_pieces()
        ]
        yield {
            "bits": bits,
            "weights": weights,
            "ranges": ranges,
            "bias_correction": correction,
            "accuracy": float(np.concatenate(right).mean()),
        }


def run(config: Config, console: Console) -> dict:
    """Quantize in every way, evaluate, and write the result.

    Raises:
      FileNotFoundError: if the run is not finished.
      ValueError: if it has no float phase, or was made from other data.
    """
    finished = _read_run(config.run)
    if finished["accuracy"]["float"] is None:
        raise ValueError("the run has no float phase, so there is no float network to quantize")
    data = load(config.run)
    if data.fingerprint != finished["data_fingerprint"]:
        raise ValueError(f"the run was made from other data: fingerprint "
                         f"{finished['data_fingerprint']}, now {data.fingerprint}")  # fmt: skip
    network = load_weights(train.build(config.run, data), config.run.folder / FLOAT_WEIGHTS)
    sample = data.sample(config.n_calibration, seed=config.run.seed)
    assert sample is not None
    overrides = zoo.published_widths(config.run.model)["overrides"]
    rows = []
    with console.status("Quantizing ...") as status:
        for row in _rows(network, sample, data, overrides):
            rows.append(row)
            status.update(f"{len(rows)} ways, the last one {row['accuracy']:.1%}")
    result = {
        "experiment": "post_training",
        "title": finished["title"],
        "config": {
            "run": without_places(dataclasses.asdict(config.run)),
            "n_calibration": config.n_calibration,
        },
        **describe_machine(),
        "run": {key: finished[key] for key in ("commit", "code", "accuracy", "n_test")},
        "rows": rows,
    }
    write_json(config.results / "post_training.json", result)
    return result


def report(result: dict, console: Console) -> None:
    """Print the comparison."""
    table = Table(title=f"{result['title']}: integer accuracy")
    for column in ("bits", "weight scales", "activation ranges", "bias correction", "accuracy"):
        table.add_column(column)
    for row in result["rows"]:
        table.add_row(
            "/".join(map(str, row["bits"])), row["weights"], row["ranges"],
            "yes" if row["bias_correction"] else "no", f"{row['accuracy']:.2%}",
        )  # fmt: skip
    accuracy = result["run"]["accuracy"]
    table.add_section()
    table.add_row("float", "", "", "", f"{accuracy['float']:.2%}")
    table.add_row("trained quantized", "", "", "", f"{accuracy['integer']:.2%}")
    console.print(table)


def main(arguments: list[str] | None = None) -> dict:
    """Run the comparison for a preset of `experiments.train`."""
    config = read_settings(PRESETS, arguments)
    console = Console()
    result = run(config, console)
    report(result, console)
    return result


if __name__ == "__main__":
    run_command(main)
