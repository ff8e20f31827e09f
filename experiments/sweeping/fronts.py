"""Pareto fronts of finished trials, and the point that stands for one."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from experiments.sweeping.points import OBJECTIVES

Row = Mapping[str, Any]


def losses(row: Row, objectives: Sequence[str]) -> tuple[float, ...]:
    """Return a trial's objectives, so turned that less is better."""
    signs = {"maximize": -1.0, "minimize": 1.0}
    return tuple(signs[OBJECTIVES[name][1]] * row[name] for name in objectives)


def pareto_front(rows: Sequence[Row], objectives: Sequence[str]) -> list[Row]:
    """Return the trials that no other one is better than, best first by the first objective.

    One is better if it is nowhere worse and somewhere less; of equals all stay.

    Args:
      rows: complete trials.
      objectives: names of `OBJECTIVES`.
    """
    points = [losses(row, objectives) for row in rows]

    def beaten(point: tuple[float, ...]) -> bool:
        return any(
            other != point and all(o <= p for o, p in zip(other, point, strict=True))
            for other in points
        )

    front = [row for row, point in zip(rows, points, strict=True) if not beaten(point)]
    return sorted(front, key=lambda row: (*losses(row, objectives), row["trial"]))


def choose_knee(front: Sequence[Row], objectives: Sequence[str]) -> Row:
    """Return the trial nearest to the ideal one, which has the best of every objective.

    Each objective is scaled to its range over the front; of equally near ones the first counts.

    Args:
      front: not empty.
      objectives: names of `OBJECTIVES`.
    """
    points = [losses(row, objectives) for row in front]
    lows = [min(values) for values in zip(*points, strict=True)]
    spans = [max(values) - low or 1.0 for values, low in
             zip(zip(*points, strict=True), lows, strict=True)]  # fmt: skip

    def distance(point: tuple[float, ...]) -> float:
        return math.hypot(*((p - low) / span for p, low, span in
                            zip(point, lows, spans, strict=True)))  # fmt: skip

    return front[min(range(len(front)), key=lambda i: (distance(points[i]), i))]
