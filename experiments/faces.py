"""Faces at 112x96: whose a face is, and whether two show one person.

    python -m experiments.faces identification    # ORL, 5 images of each of 40 people train
    python -m experiments.faces verification      # ORL, 30 people train, pairs of 10 others
    python -m experiments.faces smoke             # two people, in under a minute

AkidaNet 0.5 with an embedding of 128, from scratch: float, then 8/4/4 bits, then the chip's
integers; ``--model mobilenet_faces`` trains MobileNet v1 in its place. The paper trains AkidaNet
on CASIA-WebFace and verifies on LFW (its Table 5: 70.18 % and 97.25 %); 400 images of 40 people
are no match for 494,414 of 10,575, so its numbers and these cannot be compared.
Results: results/faces.json, which ``--keep`` writes.

Interrupt it at any time: the same command goes on where it stopped.
"""

import dataclasses
import functools
import time
from pathlib import Path
from typing import Any, Literal

import numpy as np
from flax import nnx
from jaxtyping import Float
from rich.console import Console
from rich.table import Table

import akida_jax as aj
from akida_jax import quant, zoo
from akida_jax.zoo import verification
from akida_jax.zoo.datasets import Examples, LabelledSet
from akida_jax.zoo.datasets.faces import (
    HEIGHT,
    N_IMAGES,
    N_PEOPLE,
    WIDTH,
    augment_faces,
    load_faces,
)
from akida_jax.zoo.datasets.fingerprints import fingerprint_arrays
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

RESULTS = Path(__file__).parent / "results" / "faces.json"

_RANGES = {
    "n_people": (2, N_PEOPLE), "n_train": (1, N_IMAGES - 1), "alpha": (1 / 32, 8),
    "embedding": COUNT, "seed": (0, 2**31 - 1), "float_epochs": ANY, "quantized_epochs": ANY,
    "float_rates": ANY, "quantized_rates": ANY, "batch_size": COUNT, "weight_decay": ANY,
    "label_smoothing": (0, 0.99), "n_calibration": COUNT, "folds": (2, 20),
}  # fmt: skip


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of one run.

    Attributes:
      task: "identification" tests other images of the people it trains on, "verification"
        pairs of people it has never seen.
      data_dir: folder of the ORL faces, instead of its place in $AKIDA_JAX_DATA.
      n_people: people to train on, the first ones; for verification the others are tested.
      n_train: training images of each person, for identification.
      model: of the zoo.
      alpha: width multiplier.
      embedding: units of the embedding.
      seed: of weights, order, augmentation and pairs.
      float_epochs: epochs of the float network.
      quantized_epochs: epochs of its quantized twin.
      float_rates: lowest and highest learning rate of the float epochs.
      quantized_rates: the same for the quantized epochs.
      batch_size: images per step.
      weight_decay: of kernels, decoupled.
      label_smoothing: share of probability spread over all people.
      n_calibration: training images from which activation ranges are chosen.
      folds: of the pairs; no person is in two of them.
      output: folder that receives one folder per run.
      keep: write the result into experiments/results too, in the place of its task.
      restart: forget what an earlier run with these settings has done.

    Raises:
      ValueError: naming every option that is out of its range.
    """

    task: Literal["identification", "verification"] = "identification"
    data_dir: str | None = None
    n_people: int = N_PEOPLE
    n_train: int = 5
    model: Literal["akidanet_faces", "mobilenet_faces"] = "akidanet_faces"
    alpha: float = 0.5
    embedding: int = 128
    seed: int = 0
    float_epochs: int = 60
    quantized_epochs: int = 16
    float_rates: tuple[float, float] = (1e-5, 3e-3)
    quantized_rates: tuple[float, float] = (1e-5, 3e-4)
    batch_size: int = 20
    weight_decay: float = 1e-3
    label_smoothing: float = 0.1
    n_calibration: int = 128
    folds: int = 5
    output: str = "runs/faces"
    keep: bool = False
    restart: bool = False

    def __post_init__(self):
        """Refuse what would fail only in the middle of a run, or after it."""
        check_settings(self, _RANGES)

    @property
    def folder(self) -> Path:
        """Folder of this run; other settings have another one."""
        return run_folder(self, f"{self.task}-seed{self.seed}")


_VERIFICATION = Config(task="verification", n_people=30)

PRESETS = {
    "default": ("identification of 40 people", Config()),
    "identification": ("the same", Config()),
    "verification": ("30 people train, pairs of 10 others test", _VERIFICATION),
    "smoke": (
        "the whole pipeline in under a minute; the numbers mean nothing",
        dataclasses.replace(_VERIFICATION, n_people=2, alpha=1 / 16, float_epochs=1,
                            quantized_epochs=1, n_calibration=8, output="runs/smoke"),
    ),
}  # fmt: skip


def load(config: Config) -> tuple[LabelledSet, Examples]:
    """Return what trains, and the images that are tested.

    Raises:
      FileNotFoundError: if data are missing, saying how to get them.
      ValueError: if a file is damaged, or too few people are left for verification.
    """
    needed = 2 * config.folds
    if config.task == "verification" and config.n_people > N_PEOPLE - needed:
        raise ValueError(
            f"--n-people must leave {needed} of {N_PEOPLE} for {config.folds} folds of "
            f"verification, got {config.n_people}"
        )
    if config.task == "identification":
        data = load_faces(config.data_dir, people=range(config.n_people), n_train=config.n_train)
        return data, data.test
    data, others = (
        load_faces(config.data_dir, people=people, n_train=N_IMAGES)
        for people in (range(config.n_people), range(config.n_people, N_PEOPLE))
    )
    return data, others.train


def run(config: Config, console: Console) -> dict:
    """Train, convert, evaluate; return the result that is written as JSON.

    Raises:
      ValueError: before training, if the chip cannot hold the network, the output is no
        folder, or the run was begun with other data.
    """
    check_output(config.folder)
    start = time.perf_counter()
    with console.status("Loading faces ..."):
        data, test = load(config)
    seconds = time.perf_counter() - start
    this = open_run(config, config.folder, fingerprint_arrays(*data.train, *test), console)
    if (finished := this.finished(console)) is not None:
        return finished
    network = build(config)
    aj.convert(_quantize(config, network))
    this.begin()
    network, history = _train(config, this, network, data, test, console)
    model = aj.convert(network)
    aj.save(model, this.folder / "model.akj")
    with console.status("Evaluating ..."):
        measured = evaluate(config, this.folder, network, test)
    return this.write_result(
        config,
        experiment="faces",
        title=f"{pictures.LABELS[config.model]} {config.alpha:g}, {config.task} of ORL faces",
        source=data.source,
        terms=data.terms,
        n_train=len(data.train.x),
        **measured,
        history=history,
        timings_s=timings(seconds, history),
    )


def build(config: Config) -> quant.Sequential:
    """Return the float network with its first weights."""
    return zoo.build(
        config.model,
        alpha=config.alpha,
        classes=config.n_people,
        embedding=config.embedding,
        input_shape=(HEIGHT, WIDTH, 1),
        seed=config.seed,
    )


def _quantize(config: Config, network: quant.Sequential, **given: Any) -> quant.Sequential:
    return quant.quantize(network, **zoo.published_widths(config.model), **given)


def _train(
    config: Config,
    this: Run,
    network: quant.Sequential,
    data: LabelledSet,
    test: Examples,
    console: Console,
) -> tuple[quant.Sequential, list[dict]]:
    order = np.random.default_rng(config.seed).permutation(len(data.train.x))
    sample = data.train.x[order[: config.n_calibration]]
    return train_visibly(
        this,
        network,
        two_phases(config, schedule="cosine"),
        data.train,
        test,
        console,
        quantize=functools.partial(_quantize, config, calibration=sample),
        recipe=Recipe(
            batch_size=config.batch_size,
            loss=functools.partial(cross_entropy, smoothing=config.label_smoothing),
            augment=augment_faces,
            weight_decay=config.weight_decay,
        ),
        seed=config.seed,
        measure=functools.partial(measure, config),
    )


def measure(config: Config, network: quant.Sequential, test: Examples) -> dict[str, float]:
    """Return the accuracy of identification or of verification."""
    if config.task == "identification":
        return evaluation.accuracy(network, test)
    return {"test_accuracy": _verify(config, embed(network, test.x), test.y).accuracy}


def embedder(network: quant.Sequential) -> quant.Sequential:
    """Return a network without its classifier: its last layer is the embedding."""
    shorter = nnx.clone(network)
    shorter.layers = nnx.List(list(shorter.layers)[:-1])
    return shorter


def embed(network: quant.Sequential, x: np.ndarray) -> Float[np.ndarray, "n embedding"]:
    """Return the embeddings of faces."""
    return evaluation.outputs(embedder(network), x)


def _pairs(config: Config, people: np.ndarray) -> verification.Pairs:
    return verification.make_pairs(people, seed=config.seed, folds=config.folds)


def _verify(
    config: Config, embeddings: Float[np.ndarray, "n embedding"], people: np.ndarray
) -> verification.VerificationResult:
    pairs = _pairs(config, people)
    scores = verification.cosine_scores(embeddings[pairs.first], embeddings[pairs.second])
    return verification.verify(scores, pairs.same, pairs.fold)


def evaluate(config: Config, folder: Path, network: quant.Sequential, test: Examples) -> dict:
    """Measure the task in each form, and compare every integer of the tested layer."""
    floats = load_weights(build(config), folder / FLOAT_WEIGHTS)
    if config.task == "identification":
        model = aj.convert(network)
        return {
            "accuracy": {
                "float": evaluation.accuracy(floats, test)["test_accuracy"],
                "quantized": evaluation.accuracy(network, test)["test_accuracy"],
                "integer": model.evaluate(test.x, test.y),
            },
            "n_test": len(test.x),
            **evaluation.integer_forms(network, model, test.x),
        }
    shorter = embedder(network)
    model = aj.convert(shorter)
    levels = model.forward(test.x, "dense").reshape(len(test.x), -1)
    results = {
        "float": _verify(config, embed(floats, test.x), test.y),
        "quantized": _verify(config, embed(network, test.x), test.y),
        # One step for all units: the cosine of the levels is that of the values.
        "integer": _verify(config, levels, test.y),
    }
    each = {form: dataclasses.asdict(result) for form, result in results.items()}
    return {
        name: {form: values[key] for form, values in each.items()}
        for name, key in (
            ("accuracy", "accuracy"),
            ("standard_error", "standard_error"),
            ("auroc", "auroc"),
            ("equal_error_rate", "equal_error_rate"),
        )
    } | {
        "n_test": len(_pairs(config, test.y).same),
        **evaluation.integer_forms(shorter, model, test.x),
    }


def report(result: dict, folder: Path, console: Console) -> None:
    """Print what was reached."""
    names = [name for name in ("accuracy", "standard_error", "auroc", "equal_error_rate")
             if name in result]  # fmt: skip
    table = Table("form", *(name.replace("_", " ") for name in names), title=result["title"])
    for form in result["accuracy"]:
        table.add_row(form, *(f"{result[name][form]:.4f}" for name in names))
    console.print(table)
    console.print(
        f"{result['n_test']:,} tested; {result['potentials_compared']:,} integers of the quantized "
        "network, dense and event executor compared: all equal."
    )
    console.print(f"Model and JSON: {folder}/", soft_wrap=True, highlight=False)


def main(arguments: list[str] | None = None) -> dict:
    """Run a preset, "default" if none is named, with its settings overridden."""
    config = read_settings(PRESETS, arguments)
    check_keep(config, PRESETS)
    console = Console()
    result = run(config, console)
    if config.keep:
        keep_result(result, RESULTS, by="task", presets=PRESETS)
    report(result, config.folder, console)
    return result


if __name__ == "__main__":
    run_command(main)
