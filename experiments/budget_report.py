"""Tables and picture of `experiments.budget`, from its committed results.

python -m experiments.budget_report      # rewrites docs/budget.md and its picture
"""

import itertools
import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.figure import Figure
from rich.console import Console

from akida_jax.pictures import save_figure, style
from experiments.budget import RESULTS, result_path
from experiments.presets import run_command
from experiments.records.documents import fill, make_table
from experiments.records.files import write_text

DOCUMENT = RESULTS.parent.parent / "docs" / "budget.md"
PICTURE = DOCUMENT.parent / "pictures" / "budget_fronts.png"
DATA = ("fashion-mnist", "nmnist")
#: What the experiment was to show: points of accuracy lost, and share of energy saved.
MOST_LOST, LEAST_SAVED = 0.5, 0.4

_LABELS = {
    "none": "no pressure", "budget": "budget of energy", "budget-steps": "budget, steps learned",
    "l1": "L1", "hoyer": "Hoyer square", "width": "narrower network",
}  # fmt: skip
_SETTINGS = {"none": "", "budget": "{:.0%} of the base", "budget-steps": "{:.0%} of the base",
             "l1": "weight {:g}", "hoyer": "weight {:g}", "width": "width {:g}"}  # fmt: skip
_STYLES = {"none": (style.INK, "s"), "budget": (style.GREEN, "o"),
           "budget-steps": (style.SKY, "D"), "l1": (style.PURPLE, "^"),
           "hoyer": (style.ORANGE, "v"), "width": (style.BLUE, "P")}  # fmt: skip


class Mean(NamedTuple):
    """A point, mean over its seeds.

    Attributes:
      method: of `budget_networks.Point`.
      setting: the same.
      accuracy: of the integers on the test examples, in percent.
      each: the same by seed.
      change: points of accuracy against the same seeds without pressure.
      saved: share of the modelled energy that the same seed takes without pressure.
      figures: modelled, on the test examples.
      met: of how many seeds with a budget, how many meet it in training and on the test
        examples; None without one.
    """

    method: str
    setting: float
    accuracy: float
    each: tuple[float, ...]
    change: float
    saved: float
    figures: dict[str, float]
    met: tuple[int, int, int] | None


def means(result: dict[str, Any]) -> list[Mean]:
    """Return every point of a result, mean over the seeds, in its order."""
    rows = result["points"]
    free = {row["seed"]: row for row in rows if row["method"] == "none"}
    found = dict.fromkeys((row["method"], row["setting"]) for row in rows)
    return [
        _mean([row for row in rows if (row["method"], row["setting"]) == key], free)
        for key in found
    ]


def _mean(rows: Sequence[dict[str, Any]], free: dict[int, dict[str, Any]]) -> Mean:
    first = rows[0]
    beside = [free[row["seed"]] for row in rows]
    pairs = list(zip(rows, beside, strict=True))
    met = None
    if "limit" in first:
        quantity = "size" if first["method"] == "mixed" else "energy"
        trained = sum(row["figures_train"][quantity] <= row["limit"] for row in rows)
        tested = sum(row["figures"][quantity] <= row["limit"] for row in rows)
        met = (len(rows), trained, tested)
    each = tuple(100 * row["accuracy"] for row in rows)
    return Mean(
        method=first["method"],
        setting=first["setting"],
        accuracy=statistics.mean(each),
        each=each,
        change=statistics.mean(100 * (row["accuracy"] - one["accuracy"]) for row, one in pairs),
        saved=statistics.mean(1 - row["figures"]["energy"] / one["figures"]["energy"]
                              for row, one in pairs),
        figures={name: statistics.mean(row["figures"][name] for row in rows)
                 for name in first["figures"]},
        met=met,
    )  # fmt: skip


def front_table(result: dict[str, Any]) -> str:
    """Return accuracy and energy of every point as Markdown."""
    every = [mean for mean in means(result) if mean.method in _LABELS]
    rows = []
    for mean in every:
        met = "" if mean.met is None else f"{mean.met[1]} / {mean.met[2]} of {mean.met[0]}"
        rows.append([
            _LABELS[mean.method], _SETTINGS[mean.method].format(mean.setting),
            f"{mean.accuracy:.2f}", f"{mean.change:+.2f}",
            f"{1e3 * mean.figures['energy']:.1f}", f"{mean.saved:.0%}",
            f"{1e3 * mean.figures['dynamic']:.2f}", f"{mean.figures['events']:,.0f}", met,
            ", ".join(f"{value:.2f}" for value in mean.each),
        ])  # fmt: skip
    heads = ["method", "setting", "integer accuracy %", "points", "modelled uJ", "saved",
             "of them dynamic", "events", "budget met, training / test", "each seed"]  # fmt: skip
    return make_table(heads, rows, numbers=True)


def width_table(results: Sequence[dict[str, Any]]) -> str:
    """Return mixed weight bits beside 4 and 2 bits everywhere as Markdown."""
    names = {"none": "4 everywhere", "2-bit": "2 everywhere", "mixed": "chosen"}
    rows = []
    for result in results:
        for mean in means(result):
            if mean.method not in names:
                continue
            key = (mean.method, mean.setting)
            chosen = [
                row["weight_bits"]
                for row in result["points"]
                if (row["method"], row["setting"]) == key
            ]
            bits = "; ".join("/".join(map(str, widths.values())) for widths in chosen)
            goal = f", {mean.setting:.0%} of the bytes" if mean.method == "mixed" else ""
            rows.append([
                result["title"], names[mean.method] + goal, f"{mean.figures['size']:,.0f}",
                f"{mean.accuracy:.2f}", bits if mean.method == "mixed" else "",
                f"{mean.figures['nps']:g}",
            ])  # fmt: skip
    heads = ["data", "weight bits behind the input layer", "bytes", "integer accuracy %",
             "bits by layer, each seed", "NPs"]  # fmt: skip
    return make_table(heads, rows)


def saved_at(every: Sequence[Mean], change: float) -> float | None:
    """Return the energy saved by a method at an accuracy, on straight lines between its points.

    Args:
      every: points of one method, the one without pressure among them.
      change: points of accuracy against no pressure.

    Returns:
      The largest share saved at this accuracy, or None beyond the points.
    """
    line = sorted(every, key=lambda mean: mean.saved)
    found = [mean.saved for mean in line if mean.change >= change]
    for left, right in itertools.pairwise(line):
        low, high = sorted((left.change, right.change))
        if low <= change <= high and low < high:
            place = (change - left.change) / (right.change - left.change)
            found.append(left.saved + place * (right.saved - left.saved))
    return max(found, default=None)


def goal_table(results: Sequence[dict[str, Any]]) -> str:
    """Return what each method saves at equal accuracy as Markdown, of the mean and by seed."""
    rows = []
    for result in results:
        seeds = sorted({row["seed"] for row in result["points"]})
        for method in ("budget", "budget-steps", "l1", "hoyer", "width"):
            if all(row["method"] != method for row in result["points"]):
                continue
            cells = [_saved_by(result, method, lost, seeds) for lost in (MOST_LOST, 1.0, 2.0)]
            rows.append([result["title"], _LABELS[method], *cells])
    heads = ["data", "method", "saved at 0.5 points lost", "at 1 point", "at 2 points"]
    return make_table(heads, rows)


def _saved_by(result: dict[str, Any], method: str, lost: float, seeds: Sequence[int]) -> str:
    """Return the share that a method saves, and in brackets that of each seed by itself."""
    shown = []
    for chosen in (seeds, *([seed] for seed in seeds)):
        points = [row for row in result["points"] if row["seed"] in chosen]
        line = [mean for mean in means({"points": points}) if mean.method in ("none", method)]
        share = saved_at(line, -lost)
        shown.append("-" if share is None else f"{share:.0%}")
    return shown[0] if len(seeds) == 1 else f"{shown[0]} ({', '.join(shown[1:])})"


def stored() -> list[dict[str, Any]]:
    """Return the committed results."""
    paths = [result_path(data) for data in DATA]
    return [json.loads(path.read_text()) for path in paths if path.exists()]


def tables() -> dict[str, str]:
    """Return every generated table by its marker."""
    results = stored()
    fronts = {f"front-{r['config']['data'].split('-')[0]}": front_table(r) for r in results}
    return {**fronts, "goal": goal_table(results), "widths": width_table(results)}


@style.in_style
def draw(results: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw accuracy against modelled energy, one panel for each data set."""
    figure = Figure(figsize=(5.2 * len(results), 4))
    axes = figure.subplots(1, len(results), squeeze=False)
    for axis, result in zip(axes[0], results, strict=True):
        every = means(result)
        (free,) = [mean for mean in every if mean.method == "none"]
        for method, (colour, marker) in _STYLES.items():
            line = [mean for mean in every if mean.method == method]
            joined = line if method == "none" else sorted([free, *line], key=_energy)
            axis.plot(list(map(_energy, joined)), [mean.accuracy for mean in joined],
                      color=colour, zorder=1)  # fmt: skip
            axis.scatter(list(map(_energy, line)), [mean.accuracy for mean in line], color=colour,
                         marker=marker, s=42, label=_LABELS[method], zorder=2)  # fmt: skip
        axis.axhline(free.accuracy - MOST_LOST, color=style.MUTED, ls="--", lw=1)
        axis.axvline((1 - LEAST_SAVED) * _energy(free), color=style.MUTED, ls="--", lw=1)
        axis.set_title(f"{result['title']}, seeds: {len(free.each)}")
        axis.set_xlabel("modelled energy per sample, uJ")
        axis.grid()
    axes[0][0].set_ylabel("integer test accuracy, %")
    axes[0][0].legend(loc="lower right")
    figure.tight_layout()
    save_figure(figure, path)


def _energy(mean: Mean) -> float:
    return 1e3 * mean.figures["energy"]


def main() -> None:
    """Rewrite the tables and the picture."""
    write_text(DOCUMENT, fill(DOCUMENT.read_text(), tables()))
    draw(stored(), PICTURE)
    Console().print(tables()["goal"])


if __name__ == "__main__":
    run_command(main)
