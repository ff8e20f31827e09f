"""The network whose spikes a learner learns from."""

import dataclasses
import functools
from typing import Any

import numpy as np
from jaxtyping import UInt8
from rich.console import Console

import akida_jax as aj
from akida_jax import quant, zoo
from akida_jax.events import augment_frames
from akida_jax.zoo.datasets import Examples
from akida_jax.zoo.datasets.faces import augment_faces
from experiments.few_shot.data import Classes, add_turns
from experiments.training import evaluation
from experiments.training.recipes import Augment, Recipe, two_phases
from experiments.training.runs import Run, train_visibly

_N_CALIBRATION = 256


@dataclasses.dataclass(frozen=True, kw_only=True)
class Backbone:
    """A trained network without its classifier.

    Attributes:
      spikes: its integer model: outputs are 0 and 1.
      measured: accuracy on the old classes, and what was compared.
      history: of the training.
    """

    spikes: aj.Model
    measured: dict
    history: list[dict]


def train(config: Any, this: Run, classes: Classes, console: Console) -> Backbone:
    """Train on the old classes; go on where an earlier run stopped.

    Raises:
      ModelError: before training, if the chip cannot hold the network.
    """
    n_old = len(classes.old_names)
    data, test = (add_turns(side, n_old, config.turns) for side in (classes.train, classes.test))
    network = build(config, data)
    aj.convert(_quantize(config, network))
    this.begin()
    order = np.random.default_rng(config.seed).permutation(len(data.x))
    sample = data.x[order[:_N_CALIBRATION]]
    network, history = train_visibly(
        this,
        network,
        _phases(config),
        data,
        test,
        console,
        quantize=functools.partial(_quantize, config, calibration=sample),
        recipe=Recipe(
            batch_size=config.batch_size,
            augment=_augment(config),
            weight_decay=config.weight_decay,
        ),
        seed=config.seed,
    )
    model = aj.convert(network)
    aj.save(model, this.folder / "backbone.akj")
    measured = {
        "accuracy": _accuracies(network, model, test, history),
        "n_classes": n_old * config.turns,
        "n_train": len(data.x),
        "n_test": len(test.x),
        **evaluation.integer_forms(network, model, test.x),
    }
    return Backbone(spikes=model.up_to("spike_generator"), measured=measured, history=history)


def _accuracies(
    network: quant.Sequential, model: aj.Model, test: Examples, history: list[dict]
) -> dict[str, float | None]:
    """Return the accuracy of every form of a network; the float one trained last."""
    floats = [row["test_accuracy"] for row in history if row["phase"] == "float"]
    return {
        "float": floats[-1] if floats else None,
        "quantized": evaluation.accuracy(network, test)["test_accuracy"],
        "integer": model.evaluate(test.x, test.y),
    }


def build(config: Any, data: Examples) -> quant.Sequential:
    """Return the float network with its first weights."""
    options = {"alpha": config.alpha} if config.model == "akidanet_edge" else {}
    return zoo.build(
        config.model,
        classes=int(data.y.max()) + 1,
        input_shape=data.x.shape[1:],
        spikes=config.spikes,
        seed=config.seed,
        **options,
    )


def _quantize(config: Any, network: quant.Sequential, **given: Any) -> quant.Sequential:
    return quant.quantize(network, **zoo.published_widths(config.model), **given)


def _phases(config: Any) -> Any:
    if config.data == "faces":
        return two_phases(config, schedule="cosine")
    # One rise and one fall in each phase.
    return two_phases(config, cycle_epochs=max(config.float_epochs, config.quantized_epochs, 1))


def _augment(config: Any) -> Augment:
    if config.data == "faces":
        return augment_faces
    return functools.partial(
        augment_frames, rotation=config.rotation, translation=config.translation
    )


def spikes(model: aj.Model, x: UInt8[np.ndarray, "n h w c"]) -> UInt8[np.ndarray, "n inputs"]:
    """Return the 1-bit outputs of a model, a row for each input."""
    return model.forward(x).reshape(len(x), -1)
