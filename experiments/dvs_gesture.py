"""Gesture recognition from an event camera: float, 4-bit, then the chip's integers.

The paper's recipe (Carlson et al., "Example Use Case: DVS Gesture"): windows of 100 ms in
5 bins, 16 float epochs and 8 quantized epochs of Adam under a cyclic learning rate.

    python -m experiments.dvs_gesture                          # synthetic gestures, offline
    python -m experiments.dvs_gesture smoke                    # under a minute
    python -m experiments.dvs_gesture default --data nmnist    # data in $AKIDA_JAX_DATA
    python -m experiments.dvs_gesture paper --data-dir DvsGesture

Expected results and spread: docs/dvs-gesture.md. Interrupt it at any time: the same command
goes on where it stopped and ends with the same numbers.
"""

import dataclasses
import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
from rich.console import Console
from rich.table import Table

import akida_jax as aj
from akida_jax import quant, zoo
from akida_jax.events import augment_frames
from akida_jax.zoo import datasets
from experiments.presets import ANY, COUNT, TIME_MS, check_settings, read_settings, run_command
from experiments.records import pictures
from experiments.training import evaluation, options
from experiments.training.recipes import Recipe, two_phases
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
    "seed": (0, 2**31 - 1), "window_ms": TIME_MS, "bins": COUNT, "train_stride_ms": TIME_MS,
    "test_stride_ms": TIME_MS, "n_train_per_class": COUNT, "n_test_per_class": COUNT,
    "n_validation_per_class": ANY,
    "duration_ms": TIME_MS, "float_epochs": ANY, "quantized_epochs": ANY,
    "cycle_epochs": COUNT, "batch_size": COUNT, "float_rates": ANY, "quantized_rates": ANY,
    "rotation": (0, 1), "translation": (0, 1), **options.RANGES,
}  # fmt: skip
# Source: docs/hardware.md#weights and #activation; what all layers of the networks have.
_CHOICES = {"weight_bits": (2, 4), "act_bits": (1, 2, 4), **options.CHOICES}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(options.PressureOptions):
    """Settings of one run; the others are those of `options.PressureOptions`.

    Attributes:
      data: "synthetic" is computed; "nmnist" and "clips" lie in $AKIDA_JAX_DATA;
        "dvs-gesture" is the official archive.
      data_dir: folder of the data set, instead of its place in $AKIDA_JAX_DATA.
      model: "akida_tiny" or "akida_small".
      seed: of weights, order, augmentation and synthetic data.
      window_ms: time that one input covers.
      bins: time bins per window.
      train_stride_ms: from one training window to the next; the window by default.
      test_stride_ms: the same for test windows.
      n_train_per_class: synthetic training recordings per class.
      n_test_per_class: synthetic test recordings per class.
      n_validation_per_class: hold out the last so many training recordings of each class, and
        test on them instead of the test set: for choices among settings.
      duration_ms: length of a synthetic recording.
      float_epochs: epochs of the float network.
      quantized_epochs: epochs of its quantized twin.
      cycle_epochs: length of a learning-rate cycle.
      batch_size: windows per training step.
      float_rates: lowest and highest learning rate of the float epochs.
      quantized_rates: the same for the quantized epochs.
      rotation: largest random rotation, as a fraction of a turn.
      translation: largest random shift, as a fraction of the frame.
      weight_bits: of all layers.
      act_bits: of all layers.
      weight_quantizer: how the weights' scale is chosen.
      output: folder that receives one folder per run.
      restart: forget what an earlier run with these settings has done.

    Raises:
      ValueError: naming every option that is out of its range.
    """

    data: Literal["synthetic", "nmnist", "clips", "dvs-gesture"] = "synthetic"
    data_dir: str | None = None
    model: Literal["akida_tiny", "akida_small"] = "akida_tiny"
    seed: int = 0
    window_ms: float = 100.0
    bins: int = 5
    train_stride_ms: float | None = None
    test_stride_ms: float | None = None
    n_train_per_class: int = 60
    n_test_per_class: int = 10
    n_validation_per_class: int = 0
    duration_ms: float = 600.0
    float_epochs: int = 16
    quantized_epochs: int = 8
    cycle_epochs: int = 4
    batch_size: int = 32
    float_rates: tuple[float, float] = (1e-5, 1e-3)
    quantized_rates: tuple[float, float] = (1e-6, 1e-4)
    rotation: float = 0.05
    translation: float = 0.02
    weight_bits: int = 4
    act_bits: int = 4
    weight_quantizer: quant.WeightQuantizer = "max_per_filter"
    output: str = "runs/dvs_gesture"
    restart: bool = False

    def __post_init__(self):
        """Refuse what would fail only in the middle of a run, or after it."""
        check_settings(self, _RANGES, _CHOICES, others=[*self.faults(), *self._held_out_faults()])

    def _held_out_faults(self) -> list[str]:
        """Return why no recordings can be held out, in words; only of data known beforehand."""
        held, there = self.n_validation_per_class, self.n_train_per_class
        if self.data == "clips" and held:
            return ["--n-validation-per-class must be 0 for clips, one recording of each class"]
        if self.data == "synthetic" and held >= there:
            return [f"--n-validation-per-class must be less than the {there} of "
                    f"--n-train-per-class, got {held}"]  # fmt: skip
        return []

    @property
    def folder(self) -> Path:
        """Folder of this run; other settings have another one."""
        return run_folder(self, f"{self.data}-{self.model}-seed{self.seed}")


DATA_TITLES = {
    "synthetic": "synthetic gestures",
    "nmnist": "N-MNIST",
    "clips": "DVS128 clips",
    "dvs-gesture": "DVS128 Gesture",
}

PRESETS = {
    "default": ("Akida Tiny on synthetic gestures", Config(train_stride_ms=50.0)),
    "smoke": (
        "the whole pipeline in under a minute; the accuracy means nothing",
        # Nearly all of the time is compilation.
        Config(n_train_per_class=1, n_test_per_class=1, duration_ms=300.0, float_epochs=2,
               quantized_epochs=1, output="runs/smoke"),
    ),
    "nmnist": (
        "N-MNIST, one window of 300 ms per recording; longer training on few recordings",
        Config(data="nmnist", model="akida_small", window_ms=300.0, translation=0.08,
               float_epochs=64, quantized_epochs=16, cycle_epochs=64),
    ),
    "clips": (
        "ten real clips, trained on their first 0.95 s, tested on their last 0.45 s",
        Config(data="clips", train_stride_ms=5.0, test_stride_ms=10.0),
    ),
    "paper": (
        "Akida Small on the official DVS128 Gesture archive",
        Config(data="dvs-gesture", model="akida_small"),
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
    with console.status(f"Reading {config.data} ..."):
        data = datasets.fingerprint(config.data, seed=config.seed, data_dir=config.data_dir)
    this = open_run(config, config.folder, data, console)
    if (finished := this.finished(console)) is not None:
        return finished
    dataset, frames, seconds = _load_timed(config, console)
    network = _build(config, dataset, frames, watch)
    this.begin()
    gallery = this.folder / "frames.png"
    names = dataset.class_names
    pictures.draw_gallery(frames.train_x, frames.train_y, names, gallery, _data_title(config))
    network, history = _train(config, this, network, frames, console, watch)
    model = aj.convert(network)
    aj.save(model, this.folder / "model.akj")
    measured = evaluate(network, model, frames, history)
    return this.write_result(
        config,
        experiment="dvs_gesture",
        title=_title(config),
        class_names=list(names),
        **measured,
        **config.judge(model, measured["sparsity"], frames.test_x, history),
        history=history,
        timings_s=timings(seconds, history),
    )


def _load_timed(
    config: Config, console: Console
) -> tuple[datasets.EventDataset, datasets.EventFrames, float]:
    start = time.perf_counter()
    with console.status(f"Loading {config.data} ..."):
        dataset, frames = load(config)
    return dataset, frames, time.perf_counter() - start


def load(config: Config) -> tuple[datasets.EventDataset, datasets.EventFrames]:
    """Load the recordings and cut them into windows."""
    dataset = datasets.load_recordings(
        config.data,
        seed=config.seed,
        data_dir=config.data_dir,
        n_train_per_class=config.n_train_per_class,
        n_test_per_class=config.n_test_per_class,
        duration_ms=config.duration_ms,
    )
    if config.n_validation_per_class:
        train, held = hold_out(dataset, config.n_validation_per_class)
        dataset = dataclasses.replace(dataset, train=train, test=held)
    return dataset, cut(config, dataset)


def hold_out(
    dataset: datasets.EventDataset, per_class: int
) -> tuple[datasets.EventSplit, datasets.EventSplit]:
    """Return the training recordings without the last ones of each class, and those.

    Args:
      dataset: of events.
      per_class: so many of each class are held out; at least one.

    Raises:
      ValueError: if a class has no more than that.
    """
    labels = dataset.train.labels
    counts = {int(label): int((labels == label).sum()) for label in np.unique(labels)}
    if few := [f"{n} of class {label}" for label, n in counts.items() if n <= per_class]:
        raise ValueError(
            f"'{dataset.name}' has {', '.join(few)} to train with, of which {per_class} each are "
            "held out for the test; hold out fewer, or take a larger part of the data set"
        )
    last = np.zeros(len(labels), bool)
    for label in counts:
        last[np.nonzero(labels == label)[0][-per_class:]] = True
    return _choose(dataset.train, ~last), _choose(dataset.train, last)


def _choose(split: datasets.EventSplit, which: np.ndarray) -> datasets.EventSplit:
    index = np.nonzero(which)[0]
    return datasets.EventSplit(
        [split.recordings[i] for i in index],
        split.labels[index],
        [split.durations_us[i] for i in index],
    )


def cut(config: Config, dataset: datasets.EventDataset) -> datasets.EventFrames:
    """Cut the recordings of a data set into windows.

    Raises:
      ValueError: if a side has no window of this length.
    """
    frames = datasets.event_frames(
        dataset,
        window_ms=config.window_ms,
        bins=config.bins,
        train_stride_ms=config.train_stride_ms,
        test_stride_ms=config.test_stride_ms,
    )
    if not len(frames.train_x) or not len(frames.test_x):
        raise ValueError(
            f"no window of {config.window_ms:g} ms fits into the recordings of "
            f"{config.data!r}; choose a shorter one"
        )
    return frames


def evaluate(
    network: quant.Sequential, model: aj.Model, frames: datasets.EventFrames, history: list[dict]
) -> dict:
    """Measure accuracy in each form, and compare every potential of the test set."""
    x, y = frames.test_x, frames.test_y
    compared = evaluation.integer_forms(network, model, x)
    logits = model.predict(x, "dense")
    recordings = np.unique(frames.test_recording)
    votes = np.stack([logits[frames.test_recording == r].sum(0) for r in recordings])
    truth = np.array([y[frames.test_recording == r][0] for r in recordings])
    work = evaluation.work(model, x)
    floats = [row["test_accuracy"] for row in history if row["phase"] == "float"]
    return {
        "accuracy": {
            "float": floats[-1] if floats else None,
            "quantized": float((evaluation.classify(network, x) == y).mean()),
            "integer": model.evaluate(x, y),
            "integer_by_recording": float((votes.argmax(1) == truth).mean()),
        },
        "n_train": len(frames.train_x),
        "n_test": len(x),
        **compared,
        "sparsity": work["sparsity"],
        "synaptic_operations_per_window": work["synaptic_operations"],
        "macs_per_window": work["macs"],
        "weights": work["weights"],
        "confusion": evaluation.confusion(y, logits.argmax(1), logits.shape[1]),
    }


def _build(
    config: Config, dataset: datasets.EventDataset, frames: datasets.EventFrames, watch: Watch
) -> quant.Sequential:
    """Return the float network, having seen that its quantized twin can be converted."""
    network = zoo.build(
        config.model,
        classes=len(dataset.class_names),
        input_shape=frames.train_x.shape[1:],
        seed=config.seed,
    )
    twin = _quantizer(config)(network)
    watch.on_untrained(aj.convert(twin))
    config.check_reachable(twin, _sampler(config, frames))
    return network


def _sampler(config: Config, frames: datasets.EventFrames) -> options.Sample:
    """Return a function that gives so many random training windows."""
    order = np.random.default_rng(config.seed).permutation(len(frames.train_x))
    return lambda n: frames.train_x[order[:n]]


def _quantizer(config: Config) -> Callable[..., quant.Sequential]:
    return functools.partial(
        quant.quantize,
        bits=(8, config.weight_bits, config.act_bits),
        weight_quantizer=config.weight_quantizer,
    )


def _train(
    config: Config,
    this: Run,
    network: quant.Sequential,
    frames: datasets.EventFrames,
    console: Console,
    watch: Watch,
) -> tuple[quant.Sequential, list[dict]]:
    sample = _sampler(config, frames)
    augment = functools.partial(
        augment_frames, rotation=config.rotation, translation=config.translation
    )
    return train_visibly(
        this,
        network,
        config.insert_search(two_phases(config, cycle_epochs=config.cycle_epochs)),
        datasets.Examples(frames.train_x, frames.train_y),
        datasets.Examples(frames.test_x, frames.test_y),
        console,
        watch=watch,
        quantize=functools.partial(_quantizer(config), calibration=sample(256)),
        recipe=Recipe(
            batch_size=config.batch_size,
            augment=augment,
            **config.recipe_options(sample),
        ),
        seed=config.seed,
    )


def _data_title(config: Config) -> str:
    held = config.n_validation_per_class
    tested = f", tested on {held} held-out training recordings a class" if held else ""
    return f"{DATA_TITLES[config.data]}, {config.window_ms:g} ms windows{tested}"


def _title(config: Config) -> str:
    return f"{pictures.LABELS[config.model]} on {_data_title(config)}"


def report(result: dict, folder: Path, console: Console) -> None:
    """Print what was reached, and where the pictures lie."""
    accuracy = result["accuracy"]
    table = Table(title=result["title"])
    table.add_column("form")
    table.add_column("accuracy", justify="right")
    table.add_column("computed by")
    if accuracy["float"] is not None:
        table.add_row("float", f"{accuracy['float']:.2%}", "Flax, float32")
    table.add_row("quantized", f"{accuracy['quantized']:.2%}", "Flax, straight-through")
    table.add_row("integer", f"{accuracy['integer']:.2%}", "dense = event executor")
    console.print(table)
    layers = Table(title="share of zeros in each layer's output, windows tested on")
    layers.add_column("layer")
    layers.add_column("sparsity", justify="right")
    layers.add_column("synaptic operations", justify="right")
    layers.add_column("of dense MACs", justify="right")
    for name, sparsity in result["sparsity"].items():
        operations = result["synaptic_operations_per_window"][name]
        share = operations / result["macs_per_window"][name]
        layers.add_row(name, f"{sparsity:.1%}", f"{operations:,.0f}", f"{share:.1%}")
    console.print(layers)
    console.print(
        f"{result['n_test']} windows tested on; {result['potentials_compared']:,} potentials of "
        "the quantized network, dense and event executor compared: all equal."
    )
    options.report_cost(result, console)
    console.print(f"Pictures, model and JSON: {folder}/", soft_wrap=True, highlight=False)


def main(arguments: list[str] | None = None) -> dict:
    """Run a preset, "default" if none is named, with its settings overridden."""
    config = read_settings(PRESETS, arguments)
    console = Console()
    result = run(config, console)
    pictures.draw_history(result, config.folder / "training.png")
    pictures.draw_confusion(result, config.folder / "confusion.png")
    report(result, config.folder, console)
    return result


if __name__ == "__main__":
    run_command(main)
