"""Train a network of the zoo on a labelled data set: float, 8/4/4 bits, the chip's integers.

    python -m experiments.train                     # digits, offline, in a minute
    python -m experiments.train smoke               # the whole pipeline in seconds
    python -m experiments.train fashion-akidanet    # Fashion-MNIST, see docs/training.md
    python -m experiments.train imagenet --data-dir TFDS
    python -m experiments.train fashion-akidanet --budget 1.5mJ     # see docs/budget.md

Interrupt it at any time: the same command goes on where it stopped and ends with the same
numbers. Several devices share each batch. Results and how long they took: docs/training.md.
"""

import dataclasses
import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
from rich.console import Console
from rich.table import Table

import akida_jax as aj
from akida_jax import quant, zoo
from akida_jax.zoo.datasets import Examples
from akida_jax.zoo.datasets.augment import augment_images
from experiments.presets import ANY, COUNT, check_settings, read_settings, run_command
from experiments.records import pictures
from experiments.train_data import DataName, TrainingData, load
from experiments.training import evaluation, options
from experiments.training.recipes import Phase, Recipe, cross_entropy, two_phases
from experiments.training.runs import (
    UNWATCHED,
    Run,
    Watch,
    check_output,
    open_run,
    run_folder,
    timings,
    train_visibly,
)

_RANGES = {
    "seed": (0, 2**31 - 1), "alpha": (1 / 32, 8), "size": COUNT, "halvings": (0, 5),
    "n_train": COUNT, "n_validation": ANY, "n_calibration": ANY, "float_epochs": ANY,
    "quantized_epochs": ANY, "cycle_epochs": COUNT, "warmup_epochs": ANY, "batch_size": COUNT,
    "float_rates": ANY, "quantized_rates": ANY, "weight_decay": ANY, "label_smoothing": (0, 0.99),
    "average": (0, 0.999999), "shift": ANY, **options.RANGES,
}  # fmt: skip


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(options.PressureOptions):
    """Settings of one run; the others are those of `options.PressureOptions`.

    Attributes:
      model: a classifier of the zoo.
      alpha: width multiplier, where the model has one.
      halvings: layers that halve the map, where the model can choose.
      data: a labelled data set.
      data_dir: its folder, instead of its usual place.
      size: rows and columns of the images; the data set's own by default.
      n_train: use the first so many training examples in random order; all by default.
      n_validation: hold out so many training examples, the same in every run, and test on them
        instead of the test set: for choices among settings.
      bits: input weights, weights, activations; by default those the model is published with.
      layer_weight_bits: exceptions: a regular expression of layer names, and their weight bits;
        later ones win.
      layer_act_bits: the same for activation bits.
      weight_quantizer: how the weights' scale is chosen.
      n_calibration: training examples from which activation ranges are chosen; 0 for those
        of the float network's ReLU.
      seed: of weights, order and augmentation.
      float_epochs: epochs of the float network.
      quantized_epochs: epochs of its quantized twin.
      schedule: of the learning rate.
      cycle_epochs: length of a cycle of the cyclic schedule.
      warmup_epochs: of the cosine schedule.
      float_rates: lowest and highest learning rate of the float epochs.
      quantized_rates: the same for the quantized epochs.
      batch_size: examples per step.
      weight_decay: of kernels, decoupled.
      label_smoothing: share of probability spread over all classes.
      average: decay of the moving average of the parameters; none by default.
      flip: mirror training images at random.
      shift: shift training images by up to so many pixels.
      output: folder that receives one folder per run.
      restart: forget what an earlier run with these settings has done.

    Raises:
      ValueError: naming every option that is out of its range.
    """

    model: str = "gxnor"
    alpha: float | None = None
    halvings: int | None = None
    data: DataName = "digits"
    data_dir: str | None = None
    size: int | None = None
    n_train: int | None = None
    n_validation: int = 0
    bits: tuple[int, int, int] | None = None
    layer_weight_bits: tuple[tuple[str, int], ...] = ()
    layer_act_bits: tuple[tuple[str, int], ...] = ()
    weight_quantizer: quant.WeightQuantizer = "max_per_filter"
    n_calibration: int = 256
    seed: int = 0
    float_epochs: int = 20
    quantized_epochs: int = 8
    schedule: Literal["cosine", "cyclic"] = "cosine"
    cycle_epochs: int = 4
    warmup_epochs: float = 1.0
    float_rates: tuple[float, float] = (1e-5, 3e-3)
    quantized_rates: tuple[float, float] = (1e-6, 3e-4)
    batch_size: int = 128
    weight_decay: float = 0.0
    label_smoothing: float = 0.0
    average: float | None = None
    flip: bool = False
    shift: int = 0
    output: str = "runs/train"
    restart: bool = False

    def __post_init__(self):
        """Refuse what would fail only in the middle of a run, or after it."""
        choices = {"model": zoo.list(), **options.CHOICES}
        check_settings(self, _RANGES, choices, others=self.faults())

    @property
    def folder(self) -> Path:
        """Folder of this run; other settings have another one."""
        return run_folder(self, f"{self.data}-{self.model}-seed{self.seed}")


_IMAGENET = Config(
    model="akidanet", alpha=0.5, data="imagenet2012", size=224, float_epochs=90,
    quantized_epochs=10, batch_size=256, warmup_epochs=5, weight_decay=1e-4,
    label_smoothing=0.1, average=0.9999, flip=True,
)  # fmt: skip

PRESETS = {
    "default": (
        "the network of GXNOR, in 8/4/4 bits, on scikit-learn's digits",
        Config(model="gxnor", bits=(8, 4, 4), shift=1, batch_size=64),
    ),
    "smoke": (
        "the whole pipeline in under a minute; the accuracy means nothing",
        Config(model="gxnor", n_train=64, float_epochs=2, quantized_epochs=1,
               batch_size=32, n_calibration=32, output="runs/smoke"),
    ),
    "fashion-akidanet": (
        "AkidaNet 0.5 on Fashion-MNIST at 32x32",
        Config(model="akidanet", data="fashion-mnist", alpha=0.5, halvings=4, size=32,
               flip=True, shift=2, float_epochs=30, quantized_epochs=5, weight_decay=1e-3),
    ),
    "fashion-gxnor": (
        "GXNOR, 2-bit weights and 1-bit activations, on Fashion-MNIST",
        # Scales by deviation: with the largest weight's, hardly any ternary weight is not 0.
        Config(model="gxnor", data="fashion-mnist", flip=True, weight_quantizer="std",
               float_epochs=4, quantized_epochs=14, quantized_rates=(1e-5, 3e-3)),
    ),
    "imagenet": ("AkidaNet 0.5 on ImageNet, as the paper's Table 4", _IMAGENET),
    "imagenette": (
        "AkidaNet 0.5 on Imagenette, as the paper's Table 4",
        dataclasses.replace(_IMAGENET, data="imagenette"),
    ),
    "cats-vs-dogs": (
        "AkidaNet 0.5 at 160x160, as the paper's Table 4",
        dataclasses.replace(_IMAGENET, data="cats_vs_dogs", size=160),
    ),
    "plant-village": (
        "AkidaNet 0.5 with a hidden layer, as the paper's Table 4",
        dataclasses.replace(_IMAGENET, data="plant_village", model="akidanet_plant_village"),
    ),
    "pointnet": (
        "PointNet++ on the chairs and monitors of ModelNet10",
        Config(model="pointnet", data="modelnet10-two", batch_size=32, float_epochs=20,
               quantized_epochs=6),
    ),
    "keywords": (
        "DS-CNN on Speech Commands",
        Config(model="ds_cnn", data="speech-commands", float_epochs=16, quantized_epochs=8),
    ),
}  # fmt: skip


def run(config: Config, console: Console, watch: Watch = UNWATCHED) -> dict:
    """Train, convert, evaluate; return the result that is written as JSON.

    Args:
      config: the settings.
      console: receives the progress.
      watch: who looks on.

    Raises:
      ValueError: before training, if the chip cannot hold the network, no training can meet
        the budget, the output is no folder, or the run was begun with other data.
    """
    check_output(config.folder)
    start = time.perf_counter()
    with console.status(f"Loading {config.data} ..."):
        data = load(config)
    seconds = time.perf_counter() - start
    this = open_run(config, config.folder, data.fingerprint, console)
    if (finished := this.finished(console)) is not None:
        return finished
    network = build(config, data, watch)
    this.begin()
    network, history = _train(config, this, network, data, console, watch)
    model = aj.convert(network)
    aj.save(model, this.folder / "model.akj")
    measured = evaluate(network, model, data, history)
    inputs = data.test.x if isinstance(data.test, Examples) else None
    return this.write_result(
        config,
        experiment="train",
        title=f"{_label(config)} on {data.title}",
        class_names=list(data.class_names),
        source=data.source,
        terms=data.terms,
        **measured,
        **config.judge(model, measured["sparsity"], inputs, history),
        history=history,
        timings_s=timings(seconds, history),
    )


def _label(config: Config) -> str:
    label = pictures.LABELS.get(config.model, config.model)
    return label if config.alpha is None else f"{label} {config.alpha:g}"


def build(config: Config, data: TrainingData, watch: Watch = UNWATCHED) -> quant.Sequential:
    """Return the float network, having seen that its quantized twin can be converted.

    Args:
      config: the settings.
      data: shape of the inputs, and classes.
      watch: sees the converted twin.

    Raises:
      ValueError: if the chip cannot hold the twin, no training can meet the budget, or the
        network has no such option or gives a map instead of classes.
    """
    options: dict[str, Any] = {"alpha": config.alpha, "halvings": config.halvings}
    given = {key: value for key, value in options.items() if value is not None}
    shape: dict[str, Any] = {"classes": len(data.class_names), "input_shape": data.input_shape}
    try:
        network = zoo.build(config.model, seed=config.seed, **shape, **given)
    except TypeError as error:
        named = ", ".join(f"--{key} {value:g}" for key, value in given.items())
        raise ValueError(f"the network {config.model} has not all of {named}: {error}") from error
    twin = _quantizer(config)(network)
    model = aj.convert(twin)
    if model.output_shape[:2] != (1, 1):
        raise ValueError(f"the network {config.model} gives a map {model.output_shape}, not "
                         "classes; see experiments.detection")  # fmt: skip
    watch.on_untrained(model)
    config.check_reachable(twin, lambda n: data.sample(n, seed=config.seed))
    return network


def _quantizer(config: Config) -> Callable[..., quant.Sequential]:
    widths = zoo.published_widths(config.model)
    if config.bits is not None:
        widths["bits"] = config.bits
    own = [
        *(quant.Rule(layers=layers, weight_bits=n) for layers, n in config.layer_weight_bits),
        *(quant.Rule(layers=layers, act_bits=n) for layers, n in config.layer_act_bits),
    ]
    widths["overrides"] = (*widths["overrides"], *own)
    return functools.partial(quant.quantize, weight_quantizer=config.weight_quantizer, **widths)


def phases(config: Config) -> tuple[Phase, ...]:
    """Return the phases of a run: float, a search for widths or none, quantized."""
    both = two_phases(
        config,
        schedule=config.schedule,
        cycle_epochs=config.cycle_epochs,
        warmup_epochs=config.warmup_epochs,
    )
    return config.insert_search(both)


def recipe(config: Config, data: TrainingData) -> Recipe:
    """Return the recipe of a run; the data set's augmentation comes before flip and shift."""
    augment = data.augment
    change = functools.partial(augment_images, flip=config.flip, shift=config.shift)

    def both(key, x):
        return change(key, x if augment is None else augment(key, x))

    return Recipe(
        batch_size=config.batch_size,
        loss=functools.partial(cross_entropy, smoothing=config.label_smoothing),
        augment=both,
        weight_decay=config.weight_decay,
        average=config.average,
        **config.recipe_options(lambda n: data.sample(n, seed=config.seed)),
    )


def _train(
    config: Config,
    this: Run,
    network: quant.Sequential,
    data: TrainingData,
    console: Console,
    watch: Watch,
) -> tuple[quant.Sequential, list[dict]]:
    sample = data.sample(config.n_calibration, seed=config.seed)
    return train_visibly(
        this,
        network,
        phases(config),
        data.train,
        data.test,
        console,
        watch=watch,
        quantize=functools.partial(_quantizer(config), calibration=sample),
        recipe=recipe(config, data),
        seed=config.seed,
    )


def evaluate(
    network: quant.Sequential, model: aj.Model, data: TrainingData, history: list[dict]
) -> dict:
    """Measure accuracy in each form, and compare every potential of the test set."""
    correct, compared, labels, predicted = 0, {"potentials_compared": 0}, [], []
    work = []
    for piece in data.test_pieces():
        equal = evaluation.integer_forms(network, model, piece.x)
        compared = {**equal, "potentials_compared": equal["potentials_compared"]
                    + compared["potentials_compared"]}  # fmt: skip
        labels.append(piece.y)
        predicted.append(model.predict(piece.x, "dense").argmax(-1).reshape(-1))
        correct += int((evaluation.classify(network, piece.x) == piece.y).sum())
        work.append((len(piece.x), evaluation.work(model, piece.x)))
    truth, found = np.concatenate(labels), np.concatenate(predicted)
    floats = [row["test_accuracy"] for row in history if row["phase"] == "float"]
    return {
        "accuracy": {
            "float": floats[-1] if floats else None,
            "quantized": correct / len(truth),
            "integer": float((found == truth).mean()),
        },
        "n_train": data.n_train,
        "n_test": len(truth),
        **compared,
        **evaluation.join_work(work),
        "confusion": evaluation.confusion(truth, found, len(data.class_names)),
    }


def report(result: dict, folder: Path, console: Console) -> None:
    """Print what was reached, and where the pictures lie."""
    table = Table(title=result["title"])
    table.add_column("form")
    table.add_column("accuracy", justify="right")
    table.add_column("computed by")
    by = {"float": "Flax, float32", "quantized": "Flax, straight-through",
          "integer": "dense = event executor"}  # fmt: skip
    for form, value in result["accuracy"].items():
        if value is not None:
            table.add_row(form, f"{value:.2%}", by[form])
    console.print(table)
    console.print(
        f"{result['n_test']:,} examples tested on; {result['potentials_compared']:,} potentials of "
        "the quantized network, dense and event executor compared: all equal."
    )
    options.report_cost(result, console)
    console.print(f"Pictures, model and JSON: {folder}/", soft_wrap=True, highlight=False)


def main(arguments: list[str] | None = None, program: str | None = None) -> dict:
    """Run a preset, "default" if none is named, with its settings overridden."""
    config = read_settings(PRESETS, arguments, program)
    console = Console()
    result = run(config, console)
    pictures.draw_history(result, config.folder / "training.png")
    pictures.draw_confusion(result, config.folder / "confusion.png")
    report(result, config.folder, console)
    return result


if __name__ == "__main__":
    run_command(main)
