"""All that is measured of new classes: accuracy, curves, what old classes lose, cost."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

import akida_jax as aj
from akida_jax import mapping
from akida_jax.executors import NAMES
from akida_jax.executors.native import native_fault
from akida_jax.learning import LearningSettings
from akida_jax.learning.suggestions import SURPLUS
from experiments.few_shot import backbones, old_classes, sweeps
from experiments.few_shot.backbones import Backbone
from experiments.few_shot.baselines import METHODS
from experiments.few_shot.data import Classes
from experiments.few_shot.episodes import (
    Episodes,
    Pool,
    accuracies,
    draw,
    draw_all,
    learn_episodes,
    summarize,
)

#: The chip's method, beside those of `baselines.METHODS`.
RULE = "learning rule"
_USUAL_SHOTS = 5
#: Episodes that learn many samples are fewer by this.
_FEWER = 10
#: Neurons per class, fewer than samples, with which the rule's own parts are switched off too.
_FEW_NEURONS = 2


def check_samples(config: Any, classes: Classes) -> None:
    """Refuse, before anything is trained, classes with too few samples for an episode.

    Raises:
      ValueError: naming the class, what it has and what is needed.
    """
    blank = np.zeros((len(classes.new.x), 1), np.uint8)
    _draw(config, _pool(classes, blank), episodes=2)


def _pool(classes: Classes, spikes: np.ndarray) -> Pool:
    return Pool(spikes, classes.new.y, classes.new.support, classes.new.query)


def _draw(config: Any, pool: Pool, episodes: int) -> dict[int, Episodes]:
    return {
        shots: draw(pool, shots=shots, queries=config.queries, episodes=episodes, seed=config.seed)
        for shots in config.shots
    }


def measure(config: Any, classes: Classes, backbone: Backbone, folder: Path) -> dict:
    """Learn the new classes in every way, and measure all that is asked of them.

    Args:
      config: settings of `experiments.few_shot`.
      classes: old and new.
      backbone: trained on the old ones.
      folder: receives a learner that knows all classes, and its model.

    Raises:
      ValueError: if the backbone is silent for all samples.
    """
    pool = _pool(classes, backbones.spikes(backbone.spikes, classes.new.x))
    settings = LearningSettings(
        num_weights=sweeps.weights_for(pool, config.surplus),
        num_classes=pool.ways,
        neurons_per_class=config.neurons_per_class,
    )
    described = _describe(pool, settings)
    tasks = _draw(config, pool, config.episodes)
    few_shot = {str(shots): side_by_side(pool, tasks[shots], settings) for shots in tasks}
    shots = min(config.shots, key=lambda shots: abs(shots - _USUAL_SHOTS))
    usual = tasks[shots].first(config.sweep_episodes)
    learner, old = _beside_old(config, classes, backbone, pool, usual, settings)
    model = _attach_all(learner, pool, usual, backbone, folder)
    swaps = few_shot[str(shots)]["swaps_per_sample"]
    return {
        "spikes": described,
        "few_shot": few_shot,
        "sweeps": _sweep(config, pool, usual, settings),
        "old_classes": old,
        "learned_model": _compare_potentials(model, learner, classes),
        "learning_cost": _model_cost(config, model, classes, swaps),
    }


def _describe(pool: Pool, settings: LearningSettings) -> dict:
    """Return what is learned from.

    Raises:
      ValueError: if the backbone is silent for all samples.
    """
    silent = int((pool.spikes.sum(1) == 0).sum())
    if silent == len(pool.spikes):
        raise ValueError(
            f"the backbone is silent for all {silent} samples of new classes, nothing can be "
            "learned from them; train longer or raise --spikes"
        )
    return {
        "inputs": pool.n_inputs,
        "active": round(pool.active, 1),
        "silent_samples": silent,
        "never_active": int((pool.spikes.max(0) == 0).sum()),
        "num_weights": settings.num_weights,
    }


def side_by_side(pool: Pool, episodes: Episodes, settings: LearningSettings) -> dict:
    """Return the accuracy of the chip's rule and of the other methods, and the difference.

    "guide" is the rule with as many weights as the vendor's guide says.
    """
    answers, swaps = learn_episodes(pool, episodes, settings)
    ours = accuracies(pool, episodes, answers)
    guide = dataclasses.replace(settings, num_weights=sweeps.weights_for(pool, SURPLUS))
    guided = accuracies(pool, episodes, learn_episodes(pool, episodes, guide)[0])
    others = {
        name: accuracies(pool, episodes, method(pool, episodes)) for name, method in METHODS.items()
    }
    return {
        "accuracy": {name: summarize(values) for name, values in {RULE: ours, **others}.items()},
        **compare(ours, others),
        "guide": {
            "num_weights": guide.num_weights,
            "accuracy": summarize(guided),
            "difference": compare(guided, others)["difference"],
        },
        "swaps_per_sample": round(swaps, 2),
        "episodes": len(ours),
    }


def compare(ours: np.ndarray, others: dict[str, np.ndarray]) -> dict:
    """Return the best of some methods, and by how much ours differs, episode by episode.

    Args:
      ours: accuracy in each episode.
      others: the same of other methods, by name.
    """
    best = max(others, key=lambda name: others[name].mean())
    return {"best": best, "difference": summarize(ours - others[best])}


def _sweep(config: Any, pool: Pool, episodes: Episodes, settings: LearningSettings) -> dict:
    neurons = sorted({*config.sweep_neurons, config.neurons_per_class})
    surpluses = sorted({*sweeps.SURPLUSES, config.surplus})
    curves = sweeps.curves(pool, episodes, settings, neurons=neurons, surpluses=surpluses)
    n_many = max(2, config.sweep_episodes // _FEWER)
    many = draw_all(pool, queries=config.queries, episodes=n_many, seed=config.seed)
    few_neurons = sorted({_FEW_NEURONS, config.neurons_per_class})
    return {
        "shots": episodes.shots,
        "episodes": len(episodes.support),
        "curves": curves,
        "knee": sweeps.find_knee(sweeps.of_weights(curves, settings.num_weights)),
        "ablation": sweeps.ablate(pool, episodes, settings, sorted({1, config.neurons_per_class})),
        "own_parts": [
            *sweeps.switch_off(pool, episodes, settings, few_neurons),
            *sweeps.switch_off(pool, many, settings, [config.neurons_per_class]),
        ],
        "many": {
            "shots": many.shots,
            "episodes": len(many.support),
            "curve": sweeps.curves(
                pool, many, settings, neurons=config.many_neurons, surpluses=[config.surplus]
            ),
        },
    }


def _beside_old(
    config: Any,
    classes: Classes,
    backbone: Backbone,
    pool: Pool,
    episodes: Episodes,
    settings: LearningSettings,
) -> tuple[aj.EdgeLearner, dict]:
    """Return a learner of the old classes, and what learning new ones beside them does."""
    train, test = (
        (backbones.spikes(backbone.spikes, side.x), side.y)
        for side in (classes.train, classes.test)
    )
    rows = {}
    for n in sorted({*config.old_neurons, config.neurons_per_class}):
        given = dataclasses.replace(
            settings, num_classes=len(classes.old_names), neurons_per_class=n
        )
        learner = old_classes.learn_old(given, train, seed=config.seed)
        rows[n] = learner, old_classes.measure(learner, test, pool, episodes)
    return rows[config.neurons_per_class][0], {
        "n_test": len(test[0]),
        "episodes": len(episodes.support),
        "shots": episodes.shots,
        RULE: [row for _, row in rows.values()],
        "cosine prototypes": old_classes.measure_prototypes(train, test, pool, episodes),
    }


def _attach_all(
    learner: aj.EdgeLearner, pool: Pool, episodes: Episodes, backbone: Backbone, folder: Path
) -> aj.Model:
    """Learn the first episode beside the old classes, attach, save; return the model."""
    new = learner.add_classes(pool.ways)
    order, labels = episodes.first(1).in_turns()
    old_classes.fit_active(learner, pool.spikes[order[:, 0]], labels[:, 0] + new.start)
    model = learner.attach(backbone.spikes)
    learner.save(folder / "learned.akl")
    aj.save(model, folder / "learned.akj")
    return model


def _compare_potentials(model: aj.Model, learner: aj.EdgeLearner, classes: Classes) -> dict:
    """Compare the attached model's potentials with the learner's, in every executor.

    Raises:
      AssertionError: if any differ.
    """
    x = classes.new.x
    expected = learner.predict(backbones.spikes(model.up_to("spike_generator"), x))
    executors = [name for name in NAMES if name != "native" or native_fault() is None]
    for executor in executors:
        found = np.asarray(model.forward(x, executor)).reshape(expected.shape)
        np.testing.assert_array_equal(found, expected)
    return {
        "potentials_compared": expected.size,
        "potentials_equal": True,
        "executors": executors,
    }


def _model_cost(config: Any, model: aj.Model, classes: Classes, swaps: float) -> dict:
    """Return the modelled cost of learning a sample of the new classes on an AKD1000."""
    placement = mapping.place(model, mapping.AKD1000)
    cost = mapping.estimate_learning(
        placement,
        model.activity(classes.new.x),
        swaps=swaps,
        neurons_per_class=config.neurons_per_class,
    )
    return {
        "device": mapping.AKD1000.name,
        "nps": placement.nps,
        "events": round(cost.events, 1),
        "swaps": round(swaps, 1),
        "inference_cycles": round(cost.inference.cycles),
        "update_cycles": round(cost.update_cycles),
        "latency_ms": round(cost.latency_ms, 4),
        "update_ms": round(cost.update_ms, 5),
        "total_mj": round(cost.total_mj, 5),
    }
