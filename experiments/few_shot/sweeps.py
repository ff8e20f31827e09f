"""Accuracy against each setting of a learner."""

import dataclasses
from collections.abc import Sequence

from akida_jax.learning import LearningSettings, num_weights_for
from experiments.few_shot.episodes import (
    Episodes,
    Pool,
    accuracies,
    learn_episodes,
    summarize,
)

ABLATED: dict[str, tuple[float, ...]] = {
    "initial_plasticity": (0.1, 0.25, 0.5, 0.75, 1.0),
    "min_plasticity": (0.0, 0.1, 0.25, 0.5, 1.0),
    "plasticity_decay": (0.0, 0.1, 0.25, 0.5, 1.0),
    "learning_competition": (0.0, 0.1, 0.2, 0.3, 0.5),
}
PARTS = ("turns", "mates")
"""Of the rule, which are this project's own."""
SURPLUSES = (0.2, 0.4, 0.6, 0.8, 1.0, 1.2)


def weights_for(pool: Pool, surplus: float) -> int:
    """Return so many times the active inputs of a sample, at most half of the inputs."""
    return num_weights_for(pool.active, pool.n_inputs, surplus=surplus)


def measure(pool: Pool, episodes: Episodes, settings: LearningSettings) -> dict:
    """Return accuracy and weights moved per sample."""
    answers, swaps = learn_episodes(pool, episodes, settings)
    return {**summarize(accuracies(pool, episodes, answers)), "swaps": round(swaps, 2)}


def ablate(
    pool: Pool,
    episodes: Episodes,
    settings: LearningSettings,
    neurons: Sequence[int],
    ablated: dict[str, tuple[float, ...]] = ABLATED,
) -> list[dict]:
    """Change one setting at a time.

    Args:
      pool: samples.
      episodes: tasks, the same for all.
      settings: that the others keep.
      neurons: per class; all is measured for each number.
      ablated: values by setting.
    """
    rows = []
    for n in neurons:
        base = dataclasses.replace(settings, neurons_per_class=n)
        for name, values in ablated.items():
            for value in values:
                changed = _change(base, name, value)
                row = measure(pool, episodes, changed)
                rows.append({"setting": name, "value": value, "neurons_per_class": n, **row})
    return rows


def switch_off(
    pool: Pool, episodes: Episodes, settings: LearningSettings, neurons: Sequence[int]
) -> list[dict]:
    """Leave out one of the rule's own parts at a time.

    Args:
      pool: samples.
      episodes: tasks, the same for all.
      settings: that the others keep.
      neurons: per class; all is measured for each number.

    Returns:
      Rows with the accuracy of the whole rule, and by how much it exceeds that without each
      part, episode by episode.
    """
    rows = []
    for n in neurons:
        chosen = dataclasses.replace(settings, neurons_per_class=n)
        whole, *others = (
            accuracies(pool, episodes, learn_episodes(pool, episodes, chosen, without=off)[0])
            for off in ((), *((part,) for part in PARTS))
        )
        gains = {part: summarize(whole - other) for part, other in zip(PARTS, others, strict=True)}
        rows.append({
            "shots": episodes.shots, "episodes": len(whole), "neurons_per_class": n,
            "whole": summarize(whole), "gain": gains,
        })  # fmt: skip
    return rows


def _change(settings: LearningSettings, name: str, value: float) -> LearningSettings:
    changes = {name: value}
    if name == "initial_plasticity":
        changes["min_plasticity"] = min(settings.min_plasticity, value)
    return dataclasses.replace(settings, **changes)  # type: ignore[arg-type]


def curves(
    pool: Pool,
    episodes: Episodes,
    settings: LearningSettings,
    *,
    neurons: Sequence[int],
    surpluses: Sequence[float],
) -> list[dict]:
    """Return accuracy for every number of neurons per class and of weights.

    Args:
      pool: samples.
      episodes: tasks, the same for all.
      settings: that the others keep.
      neurons: per class.
      surpluses: weights over the active inputs of a sample.
    """
    weights = {weights_for(pool, surplus): surplus for surplus in reversed(surpluses)}
    rows = []
    for n in neurons:
        for num_weights, surplus in sorted(weights.items()):
            chosen = dataclasses.replace(settings, num_weights=num_weights, neurons_per_class=n)
            row = measure(pool, episodes, chosen)
            where = {"neurons_per_class": n, "num_weights": num_weights, "surplus": surplus}
            rows.append({**where, **row})
    return rows


def find_knee(rows: Sequence[dict]) -> int:
    """Return the fewest neurons per class that reach the best one's 95 % interval.

    Args:
      rows: of `curves`, all of one number of weights.
    """
    best = max(rows, key=lambda row: row["mean"])
    reached = [row["neurons_per_class"] for row in rows
               if row["mean"] >= best["mean"] - best["interval"]]  # fmt: skip
    return int(min(reached))


def of_weights(rows: Sequence[dict], num_weights: int) -> list[dict]:
    """Return the rows of `curves` that have as many weights."""
    return [row for row in rows if row["num_weights"] == num_weights]
