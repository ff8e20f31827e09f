"""Heart rhythms from single-lead electrocardiograms, the PhysioNet/CinC Challenge 2017.

    python -m experiments.ecg                 # AkidaNet 0.25 on time-frequency images of 64x64
    python -m experiments.ecg small           # the zoo's small network on the samples, 36x32
    python -m experiments.ecg smoke           # two folds of one epoch; the numbers mean nothing
    python -m experiments.ecg paper --data-dir training2017    # AkidaNet 0.5 at 224x224

Cross-validation with whole records in one fold or another, the classes of a record the mean
over its windows. The paper's Table 6 gives an accuracy of 73.5 % and an AUROC of 0.794, from the
full training set of 8,528 records with a split that it does not name. The 300 validation
records, on which the first three presets run, are 28 times fewer: of the two rows only the
form of the network and the scores' definitions are alike.

Results: results/ecg.json, which ``--keep`` writes. Interrupt it at any time: the same command
goes on where it stopped.
"""

import dataclasses
import functools
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float
from rich.console import Console
from rich.table import Table

import akida_jax as aj
from akida_jax import quant, zoo
from akida_jax.zoo.datasets import Examples
from akida_jax.zoo.datasets.ecg import RHYTHMS, SOURCE, TERMS, EcgRecords, Part, load_ecg
from akida_jax.zoo.datasets.ecg_windows import (
    EcgWindows,
    as_images,
    as_spectrograms,
    augment_ecg,
    augment_spectrograms,
    cut_records,
)
from akida_jax.zoo.datasets.fingerprints import fingerprint_arrays
from akida_jax.zoo.rhythm_scores import record_probabilities, score_records, stratified_folds
from experiments.presets import ANY, COUNT, check_settings, read_settings, run_command
from experiments.records import pictures
from experiments.training import evaluation
from experiments.training.recipes import Recipe, cross_entropy, two_phases
from experiments.training.runs import (
    FLOAT_WEIGHTS,
    Run,
    check_keep,
    check_output,
    keep_result,
    open_run,
    run_folder,
    timings,
    train_visibly,
)
from experiments.training.weights import load_weights

RESULTS = Path(__file__).parent / "results" / "ecg.json"
FORMS = ("float", "quantized", "integer")
SCORES = ("accuracy", "macro_f1", "challenge_f1", "auroc")

_RANGES = {
    "size": (32, 256), "alpha": (1 / 32, 8), "halvings": (0, 5), "folds": (2, 30),
    "fold": (0, 29), "train_stride_s": (0.01, math.inf), "test_stride_s": (0.01, math.inf),
    "balance": (0, 1), "seed": (0, 2**31 - 1), "float_epochs": ANY, "quantized_epochs": ANY,
    "float_rates": ANY, "quantized_rates": ANY, "batch_size": COUNT, "weight_decay": ANY,
    "label_smoothing": (0, 0.99), "n_calibration": COUNT,
}  # fmt: skip


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of one cross-validation.

    Attributes:
      part: "validation" has 300 records, "training2017" 8,528.
      data_dir: folder of the records, instead of its place in $AKIDA_JAX_DATA.
      model: "akidanet_ecg" reads time-frequency images, "ecg" rows of samples.
      size: rows and columns of a time-frequency image.
      alpha: width multiplier of AkidaNet.
      halvings: layers of AkidaNet that halve the map.
      folds: of the cross-validation.
      fold: only this one, from 0; all by default.
      train_stride_s: from one training window to the next.
      test_stride_s: the same for test windows.
      balance: how far rare rhythms are repeated, 0 not at all, 1 until all are as frequent.
      seed: of folds, weights, order and augmentation.
      float_epochs: epochs of the float network.
      quantized_epochs: epochs of its quantized twin.
      float_rates: lowest and highest learning rate of the float epochs.
      quantized_rates: the same for the quantized epochs.
      batch_size: windows per step.
      weight_decay: of kernels, decoupled.
      label_smoothing: share of probability spread over all rhythms.
      n_calibration: training windows from which activation ranges are chosen.
      output: folder that receives one folder per cross-validation.
      keep: write the result into experiments/results too, in the place of its model.
      restart: forget what an earlier run with these settings has done.

    Raises:
      ValueError: naming every option that is out of its range.
    """

    part: Part = "validation"
    data_dir: str | None = None
    model: Literal["akidanet_ecg", "ecg"] = "akidanet_ecg"
    size: int = 64
    alpha: float = 0.25
    halvings: int = 4
    folds: int = 5
    fold: int | None = None
    train_stride_s: float = 2.4
    test_stride_s: float = 2.4
    balance: float = 0.5
    seed: int = 0
    float_epochs: int = 10
    quantized_epochs: int = 4
    float_rates: tuple[float, float] = (1e-5, 3e-3)
    quantized_rates: tuple[float, float] = (1e-5, 3e-4)
    batch_size: int = 64
    weight_decay: float = 1e-2
    label_smoothing: float = 0.1
    n_calibration: int = 256
    output: str = "runs/ecg"
    keep: bool = False
    restart: bool = False

    def __post_init__(self):
        """Refuse what would fail only in the middle of a run, or after it."""
        others = []
        if self.fold is not None and self.fold >= self.folds:
            others.append(f"--fold must be below the {self.folds} folds, got {self.fold}")
        if self.fold is not None and self.keep:
            others.append("--keep is for all folds together; leave out --fold")
        check_settings(self, _RANGES, others=others)

    @property
    def folder(self) -> Path:
        """Folder of this run; other settings have another one."""
        stem = f"{self.part}-{self.model}-seed{self.seed}"
        return run_folder(self, stem if self.fold is None else f"{stem}-fold{self.fold}")


PRESETS = {
    "default": ("AkidaNet 0.25 on time-frequency images of 64x64", Config()),
    "small": (
        "the zoo's small network on rows of samples, 36x32",
        Config(model="ecg"),
    ),
    "smoke": (
        "two folds of one epoch, narrow; the numbers mean nothing",
        Config(alpha=1 / 16, size=32, halvings=4, folds=2, train_stride_s=20.0,
               test_stride_s=20.0, balance=0.0, float_epochs=1, quantized_epochs=1,
               n_calibration=32, output="runs/smoke"),
    ),
    "paper": (
        "AkidaNet 0.5 at 224x224 on the full training set",
        Config(part="training2017", size=224, alpha=0.5, halvings=5, train_stride_s=9.6),
    ),
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Fold:
    """What trains and what is tested in one fold.

    Attributes:
      train: windows, those of rare rhythms several times.
      n_train: records that they are of.
      test: windows.
      labels: of the test records.
    """

    train: Examples
    n_train: int
    test: EcgWindows
    labels: np.ndarray


def run(config: Config, console: Console) -> dict:
    """Train and evaluate every fold, or one; return the result that is written as JSON.

    Each fold is a run in a folder of its own, which can be had alone with ``--fold``.

    Raises:
      ValueError: before training, if the chip cannot hold the network, the output is no
        folder, or the run was begun with other data.
    """
    check_output(config.folder)
    start = time.perf_counter()
    with console.status(f"Loading {config.part} ..."):
        data = load_ecg(config.data_dir, part=config.part)
    seconds = time.perf_counter() - start
    this = open_run(config, config.folder, fingerprint(data), console)
    if (finished := this.finished(console)) is not None:
        return finished
    if config.fold is None:
        this.begin()
        folds = [
            run(dataclasses.replace(config, fold=number, keep=False), console)
            for number in range(config.folds)
        ]
        scores = summarize(folds)
    else:
        aj.convert(_quantize(config, build(config)))
        this.begin()
        scores = run_fold(config, this, split(config, data), console)
    extent = f"{config.folds} folds"
    if config.fold is not None:
        extent = f"one of {extent}"
    spent = {"data": round(seconds, 2), "training": scores.pop("training_s")}
    return this.write_result(
        config,
        experiment="ecg",
        title=f"{label(config)} of {len(data.labels)} ECGs, {extent}",
        class_names=list(RHYTHMS),
        source=SOURCE,
        terms=TERMS,
        **scores,
        timings_s=spent,
    )


def fingerprint(data: EcgRecords) -> str:
    """Return what changes if the records do."""
    return fingerprint_arrays(data.labels, *data.signals)


def split(config: Config, data: EcgRecords) -> Fold:
    """Return what trains and what is tested in the fold of a run."""
    assert config.fold is not None
    splits = stratified_folds(data.labels, config.folds, seed=config.seed)
    return cut_fold(config, data, *splits[config.fold])


def label(config: Config) -> str:
    """Return network and input in words."""
    if config.model == "ecg":
        return "small network on samples, 36x32,"
    return f"AkidaNet {config.alpha:g} on time-frequency images, {config.size}x{config.size},"


def convert(
    config: Config, signal: Float[np.ndarray, " samples"], *, stride_s: float
) -> np.ndarray:
    """Return the windows of a record in the form that the model reads."""
    if config.model == "ecg":
        return as_images(signal, stride_s=stride_s)
    return as_spectrograms(signal, size=config.size, stride_s=stride_s)


def cut_fold(config: Config, data: EcgRecords, train: np.ndarray, test: np.ndarray) -> Fold:
    """Return the windows of both sides, rare rhythms repeated on the training side."""
    sides = [
        cut_records(
            [data.signals[record] for record in records],
            data.labels[records],
            functools.partial(convert, config, stride_s=stride_s),
        )
        for records, stride_s in ((train, config.train_stride_s), (test, config.test_stride_s))
    ]
    chosen = repeat_rare(sides[0].y, config.balance, seed=config.seed)
    windows = Examples(sides[0].x[chosen], sides[0].y[chosen])
    return Fold(windows, len(train), sides[1], data.labels[test])


def repeat_rare(labels: np.ndarray, balance: float, *, seed: int) -> np.ndarray:
    """Return the windows to train on, those of a rare class several times.

    Args:
      labels: of the windows.
      balance: a class n times rarer than the most frequent is repeated n ** balance times.
      seed: of the choice where that is not a whole number.
    """
    counts = np.bincount(labels)
    rng = np.random.default_rng(seed)
    pieces = []
    for of_class, count in enumerate(counts):
        if count:
            wanted = round(count * (counts.max() / count) ** balance)
            pieces.append(np.resize(rng.permutation(np.flatnonzero(labels == of_class)), wanted))
    return np.concatenate(pieces)


def build(config: Config, seed: int = 0) -> quant.Sequential:
    """Return the float network with its first weights."""
    options: dict[str, Any] = {}
    if config.model == "akidanet_ecg":
        options = {"input_shape": (config.size, config.size, 1), "alpha": config.alpha,
                   "halvings": config.halvings}  # fmt: skip
    else:
        options = {"classes": len(RHYTHMS)}
    return zoo.build(config.model, seed=seed, **options)


def _quantize(config: Config, network: quant.Sequential, **given: Any) -> quant.Sequential:
    return quant.quantize(network, **zoo.published_widths(config.model), **given)


def run_fold(config: Config, this: Run, fold: Fold, console: Console) -> dict:
    """Train one fold and return its scores, its probabilities in each form, its work."""
    assert config.fold is not None
    seed = config.seed + config.fold
    order = np.random.default_rng(seed).permutation(len(fold.train.x))
    network, history = train_visibly(
        this,
        build(config, seed),
        two_phases(config, schedule="cosine"),
        fold.train,
        fold,
        console,
        quantize=functools.partial(
            _quantize, config, calibration=fold.train.x[order[: config.n_calibration]]
        ),
        recipe=_recipe(config),
        seed=seed,
        measure=measure,
    )
    model = aj.convert(network)
    aj.save(model, this.folder / "model.akj")
    floats = load_weights(build(config, seed), this.folder / FLOAT_WEIGHTS)
    x, record = fold.test.x, fold.test.record
    logits = {
        "float": evaluation.outputs(floats, x),
        "quantized": evaluation.outputs(network, x),
        "integer": model.predict(x, "dense").reshape(len(x), -1),
    }
    each = {form: record_probabilities(logits[form], record) for form in FORMS}
    return {
        **_scores(each, fold.labels),
        "labels": fold.labels.tolist(),
        "probabilities": {form: values.tolist() for form, values in each.items()},
        "n_train": fold.n_train,
        "n_test": len(fold.labels),
        "n_windows": len(x),
        **evaluation.integer_forms(network, model, x),
        "sparsity": evaluation.work(model, x)["sparsity"],
        "history": history,
        "training_s": timings(0, history)["training"],
    }


def _recipe(config: Config) -> Recipe:
    return Recipe(
        batch_size=config.batch_size,
        loss=functools.partial(cross_entropy, smoothing=config.label_smoothing),
        augment=augment_ecg if config.model == "ecg" else augment_spectrograms,
        weight_decay=config.weight_decay,
    )


def score_model(fold: Fold, model: aj.Model) -> float:
    """Return the share of a fold's test records that a model classifies rightly."""
    logits = model.predict(fold.test.x, "dense").reshape(len(fold.test.x), -1)
    chosen = record_probabilities(logits, fold.test.record).argmax(1)
    return float((chosen == fold.labels).mean())


def measure(network: quant.Sequential, fold: Fold) -> dict[str, float]:
    """Return the scores of the test records."""
    logits = evaluation.outputs(network, fold.test.x)
    scores = score_records(record_probabilities(logits, fold.test.record), fold.labels)
    return {"test_accuracy": scores.pop("accuracy"), **scores}


def _scores(probabilities: Mapping[str, np.ndarray], labels: np.ndarray) -> dict:
    """Return each score by form, and the confusion of the integers."""
    result: dict[str, Any] = {}
    for form in FORMS:
        for name, value in score_records(probabilities[form], labels).items():
            result.setdefault(name, {})[form] = value
    chosen = probabilities["integer"].argmax(1)
    return {**result, "confusion": evaluation.confusion(labels, chosen, len(RHYTHMS))}


def summarize(folds: list[dict]) -> dict:
    """Return the scores of all test records together, and of each fold.

    Args:
      folds: results of the runs of all folds.
    """
    labels = np.concatenate([fold["labels"] for fold in folds])
    together = {form: np.concatenate([fold["probabilities"][form] for fold in folds])
                for form in FORMS}  # fmt: skip
    return {
        **_scores(together, labels),
        "folds": [{name: fold[name] for name in SCORES} for fold in folds],
        "n_test": len(labels),
        "n_windows": sum(fold["n_windows"] for fold in folds),
        "code": list(dict.fromkeys(version for fold in folds for version in fold["code"])),
        "potentials_compared": sum(fold["potentials_compared"] for fold in folds),
        "potentials_equal": {
            name: all(fold["potentials_equal"][name] for fold in folds)
            for name in folds[0]["potentials_equal"]
        },
        "training_s": round(sum(fold["timings_s"]["training"] for fold in folds), 2),
    }


def report(result: dict, folder: Path, console: Console) -> None:
    """Print what was reached."""
    table = Table("form", *SCORES, title=result["title"])
    for form in FORMS:
        cells = [f"{result[name][form]:.3f}" for name in SCORES]
        if "folds" in result:
            by_fold = [[fold[name][form] for fold in result["folds"]] for name in SCORES]
            cells = [f"{cell} ± {np.std(values):.3f}"
                     for cell, values in zip(cells, by_fold, strict=True)]  # fmt: skip
        table.add_row(form, *cells)
    console.print(table)
    spread = ", ± the standard deviation of the folds" if "folds" in result else ""
    console.print(
        f"{result['n_test']} records{spread}; {result['potentials_compared']:,} potentials of the "
        "quantized network, dense and event executor compared: all equal."
    )
    console.print(f"JSON, confusion: {folder}/; a folder beside it for each fold, with its model",
                  soft_wrap=True, highlight=False)  # fmt: skip


def main(arguments: list[str] | None = None) -> dict:
    """Run a preset, "default" if none is named, with its settings overridden."""
    config = read_settings(PRESETS, arguments)
    check_keep(config, PRESETS)
    console = Console()
    result = run(config, console)
    if config.keep:
        keep_result(result, RESULTS, by="model", presets=PRESETS)
    pictures.draw_confusion({**result, "class_names": RHYTHMS}, config.folder / "confusion.png")
    report(result, config.folder, console)
    return result


if __name__ == "__main__":
    run_command(main)
