"""Pictures of a sweep, drawn from the contents of its JSON alone."""

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from akida_jax.pictures import style
from experiments.sweeping.points import OBJECTIVES

_FRONT = style.GREEN
_COLOURS = tuple(colour for colour in style.PALETTE if colour != _FRONT)
_LABELS = {
    "accuracy": "accuracy of the integer model, %",
    "energy_mj": "modelled energy, mJ per sample",
    "dynamic_mj": "modelled dynamic energy, mJ per sample",
    "latency_ms": "modelled latency, ms",
    "nps": "neural processors, modelled",
    "size_kb": "weights, kB",
}
#: A ratio of largest to smallest beyond which an axis is logarithmic.
_WIDE = 8
#: Stands for the colour of the page's text while matplotlib draws.
_TEXT = "#010203"


@style.in_style
def draw_front(result: Mapping[str, Any]) -> Figure:
    """Draw every complete trial, and the Pareto front: the first objective against each other.

    With one objective the second axis is energy, or accuracy against energy.
    """
    return _draw(result)


def _draw(result: Mapping[str, Any]) -> Figure:
    pairs = _pairs(result["objectives"])
    figure = Figure(figsize=(2.7 + 5.4 * len(pairs), 4.2), layout="constrained")
    panels = figure.subplots(1, len(pairs), squeeze=False)[0]
    for axis, (across, up) in zip(panels, pairs, strict=True):
        _draw_panel(axis, result, across, up)
    # Beside the points: within the axes it would cover some.
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center")
    figure.suptitle(style.plain(result["title"]))
    return figure


def _pairs(objectives: Sequence[str]) -> list[tuple[str, str]]:
    first, *others = objectives
    if others:
        return [(other, first) for other in others]
    return [("energy_mj", first) if first != "energy_mj" else ("energy_mj", "accuracy")]


def _draw_panel(axis: Axes, result: Mapping[str, Any], across: str, up: str) -> None:
    complete = [row for row in result["rows"] if row["state"] == "complete"]
    groups = list(dict.fromkeys((row["device"], row["mode"]) for row in complete))
    for i, group in enumerate(groups):
        members = [row for row in complete if (row["device"], row["mode"]) == group]
        colour, marker = _COLOURS[i % len(_COLOURS)], style.MARKERS[i % len(style.MARKERS)]
        axis.scatter(*_places(members, across, up), s=26, color=colour, marker=marker,
                     alpha=0.75, linewidths=0, label=", ".join(group))  # fmt: skip
    rows = {row["trial"]: row for row in complete}
    front = sorted((rows[n] for n in result["front"]), key=lambda row: row[across])
    if len(result["objectives"]) == 2:
        axis.plot(*_places(front, across, up), color=_FRONT, zorder=1,
                  drawstyle="steps-post", label="Pareto front")  # fmt: skip
    axis.scatter(*_places(front, across, up), s=70, facecolors="none", edgecolors=_FRONT)
    for row in front:
        x, y = _places([row], across, up)
        axis.annotate(str(row["trial"]), (x[0], y[0]), xytext=(4, -11),
                      textcoords="offset points", fontsize=style.SMALLEST)  # fmt: skip
    if result["chosen"] is not None:
        axis.scatter(*_places([rows[result["chosen"]]], across, up), marker="*", s=140,
                     color=_FRONT, zorder=4, label="shown in the report")  # fmt: skip
    axis.set_xlabel(_LABELS[across])
    axis.set_ylabel(_LABELS[up])
    axis.grid()
    values = [row[across] for row in complete]
    if min(values) > 0 and max(values) > _WIDE * min(values):
        axis.set_xscale("log")
        axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.xaxis.set_minor_formatter(NullFormatter())


def _places(
    rows: Sequence[Mapping[str, Any]], across: str, up: str
) -> tuple[list[float], list[float]]:
    def shown(row: Mapping[str, Any], name: str) -> float:
        return row[name] * (100 if name == "accuracy" else 1)

    assert {across, up} <= OBJECTIVES.keys()
    return [shown(row, across) for row in rows], [shown(row, up) for row in rows]


def front_svg(result: Mapping[str, Any]) -> str:
    """Return the picture as SVG for a page, its text and lines in the page's colour."""
    of_page = {
        "svg.fonttype": "none", "svg.hashsalt": "akida-jax", "text.color": _TEXT,
        "axes.edgecolor": _TEXT, "axes.labelcolor": _TEXT, "xtick.color": _TEXT,
        "ytick.color": _TEXT, "axes.facecolor": "none", "legend.framealpha": 0,
        "font.family": "sans-serif",
    }  # fmt: skip
    with mpl.rc_context(style.STYLE | of_page):
        figure = _draw(result)
        buffer = io.StringIO()
        metadata = {"Date": None, "Creator": None, "Format": None, "Type": None}
        figure.savefig(buffer, format="svg", transparent=True,
                       metadata=metadata)  # fmt: skip
    drawn = buffer.getvalue()
    drawn = drawn[drawn.index("<svg") :].replace(_TEXT, "currentColor")
    drawn = drawn.replace(_FRONT, "var(--accent)")
    return re.sub(r"<metadata>.*?</metadata>", "", drawn, flags=re.DOTALL)
