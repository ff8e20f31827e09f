"""Object detection: YOLOv2 on AkidaNet, trained on generated scenes.

    python -m experiments.detection                         # ten digits, 128x128
    python -m experiments.detection smoke                   # in under a minute
    python -m experiments.detection default --data fashion-mnist

The scenes are generated: real 8x8 digits, enlarged, at random places on random textures
(`akida_jax.zoo.datasets.scenes`). They stand in for the photographs that the published
detectors are trained on (WIDER FACE, PASCAL VOC), so the results cannot be compared with
theirs. Every epoch shows new scenes; training digits never appear in test scenes.

Float, then 8/4/4 bits, then the chip's integers. Unlike YOLOv2 the network starts from random
weights, and its confidence learns by cross entropy; with the squared error it learned nothing
in 8,000 scenes. Results: results/detection.json, which ``--keep`` writes.

Interrupt it at any time: the same command goes on where it stopped.
"""

import dataclasses
import functools
import time
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float32
from rich.console import Console
from rich.table import Table

import akida_jax as aj
from akida_jax import quant, zoo
from akida_jax.zoo import detection
from akida_jax.zoo.datasets import Examples
from akida_jax.zoo.datasets.fingerprints import fingerprint_arrays
from akida_jax.zoo.datasets.scenes import MAX_OBJECTS, Scenes, load_scenes
from experiments.detection_pictures import draw_scenes
from experiments.presets import ANY, COUNT, check_settings, read_settings, run_command
from experiments.training import evaluation
from experiments.training.recipes import Recipe, two_phases
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

RESULTS = Path(__file__).parent / "results" / "detection.json"
SCORES = ("map", "map_50", "map_voc")
WEIGHTS = detection.LossWeights(objects=1.0, background=1.0, cross_entropy=True)
#: Training scenes whose boxes give the anchors; those of epoch 0, which trains nothing.
N_ANCHOR_SCENES = 512

_RANGES = {
    "size": (32, 256), "sides": (4, 256), "n_train": COUNT, "n_test": COUNT, "alpha": (1 / 32, 8),
    "head_filters": COUNT, "halvings": (1, 5), "n_anchors": (1, 20), "seed": (0, 2**31 - 1),
    "float_epochs": ANY, "quantized_epochs": ANY, "float_rates": ANY, "quantized_rates": ANY,
    "batch_size": COUNT, "weight_decay": ANY, "n_calibration": COUNT, "n_compared": COUNT,
}  # fmt: skip
_TITLES = {"digits": "digits", "fashion-mnist": "clothes"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of one run.

    Attributes:
      data: what the scenes show.
      data_dir: folder of its images, instead of the usual ones.
      size: rows and columns of a scene.
      sides: shortest and longest object, in pixels.
      n_train: scenes of an epoch.
      n_test: test scenes.
      alpha: width multiplier of the base.
      head_filters: filters of the layers behind the base.
      halvings: how often the map is halved; 4 gives cells of 16 pixels.
      n_anchors: boxes of a cell.
      seed: of weights and scenes.
      float_epochs: epochs of the float network.
      quantized_epochs: epochs of its quantized twin.
      float_rates: lowest and highest learning rate of the float epochs.
      quantized_rates: the same for the quantized epochs.
      batch_size: scenes per step.
      weight_decay: of kernels, decoupled.
      n_calibration: scenes from which activation ranges are chosen.
      n_compared: test scenes of which every potential of every executor is compared.
      output: folder that receives one folder per run.
      keep: write the result into experiments/results too.
      restart: forget what an earlier run with these settings has done.

    Raises:
      ValueError: naming every option that is out of its range.
    """

    data: Literal["digits", "fashion-mnist"] = "digits"
    data_dir: str | None = None
    size: int = 128
    sides: tuple[int, int] = (20, 56)
    n_train: int = 2048
    n_test: int = 400
    alpha: float = 0.25
    head_filters: int = 256
    halvings: int = 4
    n_anchors: int = 5
    seed: int = 0
    float_epochs: int = 60
    quantized_epochs: int = 10
    float_rates: tuple[float, float] = (1e-5, 2e-3)
    quantized_rates: tuple[float, float] = (1e-5, 3e-4)
    batch_size: int = 16
    weight_decay: float = 1e-4
    n_calibration: int = 128
    n_compared: int = 64
    output: str = "runs/detection"
    keep: bool = False
    restart: bool = False

    def __post_init__(self):
        """Refuse what would fail only in the middle of a run, or after it."""
        check_settings(self, _RANGES)

    @property
    def folder(self) -> Path:
        """Folder of this run; other settings have another one."""
        return run_folder(self, f"{self.data}-seed{self.seed}")


PRESETS = {
    "default": ("ten digits in scenes of 128x128", Config()),
    "smoke": (
        "the whole pipeline in under a minute; the numbers mean nothing",
        Config(size=64, sides=(12, 28), n_train=16, n_test=8, alpha=1 / 16, head_filters=16,
               batch_size=8, float_epochs=1, quantized_epochs=1, n_calibration=8, n_compared=4,
               output="runs/smoke"),
    ),
}  # fmt: skip


def load(config: Config) -> tuple[Scenes, Examples, Float32[np.ndarray, "anchors 2"]]:
    """Return the stream of scenes, the test scenes, and anchors as shares of a scene.

    Raises:
      FileNotFoundError: if data are missing, saying how to get them.
      ValueError: if the objects do not fit into a scene.
    """
    scenes = load_scenes(
        config.data,
        data_dir=config.data_dir,
        n_train=config.n_train,
        n_test=config.n_test,
        size=config.size,
        sides=config.sides,
        seed=config.seed,
    )
    boxes = scenes.make("train", range(min(config.n_train, N_ANCHOR_SCENES))).y
    assert isinstance(boxes, detection.Boxes)
    sizes = (boxes.corners[..., 2:] - boxes.corners[..., :2])[boxes.mask]
    anchors = detection.find_anchors(sizes, config.n_anchors, seed=config.seed)
    return scenes, scenes.make("test", range(config.n_test)), anchors


def run(config: Config, console: Console) -> dict:
    """Train, convert, evaluate; return the result that is written as JSON.

    Raises:
      ValueError: before training, if the chip cannot hold the network, the output is no
        folder, the run was begun with other data, or pycocotools is missing.
    """
    check_output(config.folder)
    detection.require_coco()
    start = time.perf_counter()
    with console.status("Making scenes ..."):
        scenes, test, anchors = load(config)
    seconds = time.perf_counter() - start
    data = fingerprint_arrays(*scenes.source.train, test.x, *test.y, anchors)
    this = open_run(config, config.folder, data, console)
    if (finished := this.finished(console)) is not None:
        return finished
    network = build(config, len(scenes.source.class_names))
    aj.convert(_quantize(network))
    this.begin()
    network, history = _train(config, this, network, scenes, test, anchors, console)
    with console.status("Evaluating ..."):
        measured = evaluate(config, this.folder, network, test, anchors)
    names = scenes.source.class_names
    found = find(evaluation.outputs(network, test.x[:12]), anchors)
    draw_scenes(test, found, names, this.folder / "scenes.png", title(config))
    return this.write_result(
        config,
        experiment="detection",
        title=title(config),
        source=scenes.source.source,
        terms=scenes.source.terms,
        class_names=list(names),
        anchors_pixels=(anchors * config.size).round(2).tolist(),
        **measured,
        history=history,
        timings_s=timings(seconds, history),
    )


def title(config: Config) -> str:
    """Return what a run is about."""
    return f"YOLOv2 on AkidaNet {config.alpha:g}, generated scenes of {_TITLES[config.data]}"


def build(config: Config, n_classes: int) -> quant.Sequential:
    """Return the float network with its first weights."""
    network = zoo.build(
        "yolo",
        alpha=config.alpha,
        classes=n_classes,
        anchors=config.n_anchors,
        head_filters=config.head_filters,
        halvings=config.halvings,
        input_shape=(config.size, config.size, 3),
        seed=config.seed,
    )
    detection.set_prior(network, config.n_anchors)
    return network


def _quantize(network: quant.Sequential, **given: Any) -> quant.Sequential:
    return quant.quantize(network, **zoo.published_widths("yolo"), **given)


def _loss(anchors: np.ndarray, outputs: jax.Array, boxes: detection.Boxes) -> jax.Array:
    return detection.detection_loss(outputs, boxes, jnp.asarray(anchors), WEIGHTS)


def _train(
    config: Config,
    this: Run,
    network: quant.Sequential,
    scenes: Scenes,
    test: Examples,
    anchors: np.ndarray,
    console: Console,
) -> tuple[quant.Sequential, list[dict]]:
    sample = scenes.make("train", range(config.n_calibration)).x
    return train_visibly(
        this,
        network,
        two_phases(config, schedule="cosine"),
        scenes,
        test,
        console,
        shown="test_map_50",
        quantize=functools.partial(_quantize, calibration=sample),
        recipe=Recipe(
            batch_size=config.batch_size,
            loss=functools.partial(_loss, anchors),
            weight_decay=config.weight_decay,
        ),
        seed=config.seed,
        measure=functools.partial(measure, anchors),
    )


@jax.jit
def _detect(outputs: jax.Array, anchors: jax.Array) -> detection.Detections:
    return detection.detect(outputs, anchors)


def find(outputs: np.ndarray, anchors: np.ndarray) -> detection.Detections:
    """Return what a network's outputs say is in the scenes."""
    return _detect(jnp.asarray(outputs), jnp.asarray(anchors))


def score(outputs: np.ndarray, test: Examples, anchors: np.ndarray) -> dict[str, float]:
    """Return mean average precision of a network's outputs, by three rules."""
    assert isinstance(test.y, detection.Boxes)
    n_classes = outputs.shape[-1] // len(anchors) - 5
    found = find(outputs, anchors)
    return detection.mean_average_precision(
        found, test.y, n_classes=n_classes, size=test.x.shape[1:3]
    )


def measure(anchors: np.ndarray, network: quant.Sequential, test: Examples) -> dict[str, float]:
    """Return mean average precision under the names of metrics."""
    result = score(evaluation.outputs(network, test.x), test, anchors)
    return {f"test_{name}": value for name, value in result.items()}


def evaluate(
    config: Config, folder: Path, network: quant.Sequential, test: Examples, anchors: np.ndarray
) -> dict:
    """Measure each form of the network, and compare potentials of some scenes."""
    model = aj.convert(network)
    aj.save(model, folder / "model.akj")
    n_classes = model.output_shape[2] // config.n_anchors - 5
    floats = load_weights(build(config, n_classes), folder / FLOAT_WEIGHTS)
    forms = {
        "float": evaluation.outputs(floats, test.x),
        "quantized": evaluation.outputs(network, test.x),
        "integer": model.predict(test.x, "dense"),
    }
    work = evaluation.work(model, test.x[: config.n_compared])
    scores = {form: score(outputs, test, anchors) for form, outputs in forms.items()}
    return {
        **{name: {form: scores[form][name] for form in forms} for name in SCORES},
        "n_test": len(test.x),
        "n_objects": int(test.y.mask.sum()),  # type: ignore[attr-defined]
        "max_objects": MAX_OBJECTS,
        **evaluation.integer_forms(network, model, test.x[: config.n_compared]),
        "sparsity": work["sparsity"],
        "macs_per_scene": sum(work["macs"].values()),
        "weights": work["weights"],
    }


def report(result: dict, folder: Path, console: Console) -> None:
    """Print what was reached, and where the picture lies."""
    table = Table("form", "AP@[.5:.95]", "AP@0.5", "AP@0.5, VOC 2007", title=result["title"])
    for form in result["map"]:
        table.add_row(form, *(f"{result[name][form]:.4f}" for name in SCORES))
    console.print(table)
    console.print(
        f"{result['n_objects']:,} objects in {result['n_test']:,} test scenes; "
        f"{result['potentials_compared']:,} potentials of the quantized network, dense and event "
        "executor compared: all equal."
    )
    console.print(f"Picture, model and JSON: {folder}/", soft_wrap=True, highlight=False)


def main(arguments: list[str] | None = None) -> dict:
    """Run a preset, "default" if none is named, with its settings overridden."""
    config = read_settings(PRESETS, arguments)
    check_keep(config, PRESETS)
    console = Console()
    result = run(config, console)
    if config.keep:
        keep_result(result, RESULTS, by="data", presets=PRESETS)
    report(result, config.folder, console)
    return result


if __name__ == "__main__":
    run_command(main)
