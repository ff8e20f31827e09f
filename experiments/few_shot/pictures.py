"""Pictures of few-shot learning, drawn from the result's JSON alone.

python -m experiments.few_shot.pictures RESULT.json FOLDER
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from akida_jax.pictures import save_figure, style
from experiments.few_shot.measurements import RULE
from experiments.few_shot.sweeps import of_weights


def draw(result: dict, folder: Path) -> None:
    """Draw all pictures of a result."""
    save_figure(draw_methods(result), folder / "methods.png")
    save_figure(draw_curves(result), folder / "curves.png")
    save_figure(draw_ablation(result), folder / "ablation.png")


@style.in_style
def draw_methods(*results: dict) -> Figure:
    """Draw each method's accuracy against the samples of each class, a panel for each result."""
    columns = min(2, len(results))
    rows = -(-len(results) // columns)
    figure = Figure(figsize=(1 + 4.6 * columns, 0.4 + 3.4 * rows))
    panels = figure.subplots(rows, columns, squeeze=False).reshape(-1)
    for axis, result in zip(panels, results, strict=False):
        _draw_bars(axis, result)
    for axis in panels[len(results) :]:
        axis.set_axis_off()
    names = len(panels[0].containers) // 2
    figure.legend(*panels[0].get_legend_handles_labels(), ncols=names,
                  loc="lower center")  # fmt: skip
    figure.tight_layout(rect=(0, 0.07 if rows == 1 else 0.04, 1, 1))
    return figure


def _draw_bars(axis: Axes, result: dict) -> None:
    rows = result["few_shot"]
    names = list(next(iter(rows.values()))["accuracy"])
    width = 0.8 / len(names)
    for i, (name, colour) in enumerate(zip(names, style.PALETTE[:4], strict=True)):
        values = [row["accuracy"][name] for row in rows.values()]
        means = [value["mean"] for value in values]
        places = [place + (i - (len(names) - 1) / 2) * width for place in range(len(rows))]
        axis.bar(places, means, width, yerr=[value["interval"] for value in values],
                 color=colour, label=name, error_kw={"lw": 1})  # fmt: skip
        for place, mean in zip(places, means, strict=True):
            axis.text(place, mean + 0.8, f"{mean:.1f}", ha="center", fontsize=style.SMALLEST)
    axis.set_ylim(0, 104)
    axis.set_xticks(range(len(rows)), [f"{shots}-shot" for shots in rows])
    axis.set_ylabel(f"accuracy of {len(result['new_names'])} new classes, %")
    axis.grid(axis="y")
    episodes = next(iter(rows.values()))["episodes"]
    axis.set_title(f"{result['title'].replace(': ', ':' + chr(10))}\n{episodes:,} episodes")


def _draw_line(axis: Axes, x: Sequence[float], rows: Sequence[dict], **form: object) -> None:
    y, error = [row["mean"] for row in rows], [row["interval"] for row in rows]
    axis.errorbar(x, y, error, marker="o", capsize=2, **form)  # type: ignore[arg-type]


@style.in_style
def draw_curves(result: dict) -> Figure:
    """Draw accuracy against neurons per class and against weights, few samples and many."""
    sweeps, chosen = result["sweeps"], result["spikes"]["num_weights"]
    figure = Figure(figsize=(12, 4.4))
    by_neurons, by_weights, by_many = figure.subplots(1, 3)
    _draw_by_neurons(by_neurons, sweeps, chosen)
    _draw_by_weights(by_weights, sweeps, chosen)
    many = sweeps["many"]["curve"]
    numbers = [row["neurons_per_class"] for row in many]
    _draw_line(by_many, numbers, many, color=style.GREEN)
    _count_neurons(by_many, numbers, "")
    titles = (f"{sweeps['shots']} samples a class", f"{sweeps['shots']} samples a class",
              f"{sweeps['many']['shots']} samples a class, {chosen} weights")  # fmt: skip
    for axis, title in zip((by_neurons, by_weights, by_many), titles, strict=True):
        axis.set_title(title)
    figure.suptitle(f"{result['title']}; {sweeps['episodes']} episodes, at the right "
                    f"{sweeps['many']['episodes']}")  # fmt: skip
    figure.tight_layout()
    return figure


def _draw_by_neurons(axis: Axes, sweeps: dict, chosen: int) -> None:
    """Draw a line for each number of weights, and the knee of the chosen one."""
    rows = sweeps["curves"]
    weights = sorted({row["num_weights"] for row in rows})
    for number, shade in zip(weights, style.shades(len(weights)), strict=True):
        mine = of_weights(rows, number)
        label = f"{number} ({mine[0]['surplus']:g} x)"
        _draw_line(axis, [row["neurons_per_class"] for row in mine], mine, color=shade,
                   label=label, alpha=1 if number == chosen else 0.6)  # fmt: skip
    knee = sweeps["knee"]
    axis.axvline(knee, color=style.MUTED, ls="--", lw=1)
    axis.text(knee, axis.get_ylim()[1], f" knee {knee}", fontsize=style.SMALL, va="top")
    _count_neurons(axis, sorted({row["neurons_per_class"] for row in rows}),
                   "weights (x active inputs)")  # fmt: skip


def _draw_by_weights(axis: Axes, sweeps: dict, chosen: int) -> None:
    """Draw a line for each number of neurons."""
    rows = sweeps["curves"]
    neurons = sorted({row["neurons_per_class"] for row in rows})
    for number, shade in zip(neurons, style.shades(len(neurons)), strict=True):
        mine = [row for row in rows if row["neurons_per_class"] == number]
        _draw_line(axis, [row["num_weights"] for row in mine], mine, color=shade,
                   label=str(number))  # fmt: skip
    axis.axvline(chosen, color=style.MUTED, ls="--", lw=1)
    _label(axis, "num_weights", "neurons per class")


def _count_neurons(axis: Axes, numbers: Sequence[int], legend: str) -> None:
    """Let the horizontal axis show numbers of neurons per class."""
    _label(axis, "neurons per class", legend)
    axis.set_xscale("log")
    axis.set_xticks(numbers, [str(number) for number in numbers])
    axis.minorticks_off()


def _label(axis: Axes, x: str, legend: str) -> None:
    axis.set_xlabel(x)
    axis.set_ylabel("accuracy, %")
    axis.grid()
    if legend:
        axis.legend(title=legend, ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.16))


@style.in_style
def draw_ablation(result: dict) -> Figure:
    """Draw accuracy against each other setting, the rest as they are."""
    rows = result["sweeps"]["ablation"]
    names = list(dict.fromkeys(row["setting"] for row in rows))
    neurons = sorted({row["neurons_per_class"] for row in rows})
    figure = Figure(figsize=(3 * len(names), 3.2))
    axes = figure.subplots(1, len(names), sharey=True)
    for axis, name in zip(axes, names, strict=True):
        for number, colour in zip(neurons, (style.BLUE, style.GREEN), strict=False):
            mine = [row for row in rows
                    if row["setting"] == name and row["neurons_per_class"] == number]  # fmt: skip
            _draw_line(axis, [row["value"] for row in mine], mine, color=colour, label=str(number))
        axis.set_xlabel(name)
        axis.grid()
    axes[0].set_ylabel("accuracy, %")
    axes[0].legend(title="neurons per class")
    figure.suptitle(f"{result['title']}: {RULE}, {result['sweeps']['shots']} samples a class, one "
                    "setting changed at a time")  # fmt: skip
    figure.tight_layout()
    return figure


def main(source: Path, folder: Path) -> None:
    """Draw the pictures of one result again."""
    draw(json.loads(source.read_text()), folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
