"""Tables of `experiments.backbones`, beside the paper's tables 1 to 3.

python -m experiments.backbone_report      # rewrites docs/paper-tables.md
"""

import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from rich.console import Console

from akida_jax.mapping.calibration.measurements import read_paper
from experiments.backbones import MODES, NETWORKS, result_path
from experiments.presets import run_command
from experiments.records.documents import fill, make_table
from experiments.records.files import write_text
from experiments.records.pictures import LABELS

DOCUMENT = result_path("fashion-mnist").parents[2] / "docs" / "paper-tables.md"
DATA = ("fashion-mnist", "orl-faces")
#: Of a modelled cost, in the order of the table.
FIGURES = ("fps", "power_mw", "dynamic_mw", "total_mj", "dynamic_mj")
#: Of the cells whose number is not published, or not of this row.
EMPTY = "-"

Row = Mapping[str, Any]


class Pair(NamedTuple):
    """Both networks of one width on one data set; the rows of a seed stand at one place.

    Attributes:
      title: of the data.
      resolution: of the input, such as "32x32".
      alpha: width multiplier.
      mobilenet: its rows in the result, by seed.
      akidanet: the same.
    """

    title: str
    resolution: str
    alpha: float
    mobilenet: tuple[Row, ...]
    akidanet: tuple[Row, ...]

    @property
    def where(self) -> str:
        """Data and width, as they stand in tables."""
        return f"{self.title}, {self.alpha:g}"

    def networks(self) -> list[tuple[str, tuple[Row, ...]]]:
        """Return the name that tables give a network, and its rows."""
        return [(LABELS[name], getattr(self, name)) for name in NETWORKS]

    def changes(self, quantity: Callable[[Row], float]) -> list[float]:
        """Return what changes from MobileNet v1 to AkidaNet, seed by seed, in percent."""
        both = zip(self.mobilenet, self.akidanet, strict=True)
        return [100 * (quantity(after) / quantity(before) - 1) for before, after in both]


def pairs(result: Mapping[str, Any]) -> list[Pair]:
    """Return every width of a result; a seed that only one network has is left out."""
    rows = {(row["network"], row["alpha"], row["seed"]): row for row in result["points"]}
    height, width, _ = result["input_shape"]
    found = []
    for alpha in dict.fromkeys(row["alpha"] for row in result["points"]):
        seeds = sorted({seed for _, width_of, seed in rows if width_of == alpha})
        whole = [s for s in seeds if all((name, alpha, s) in rows for name in NETWORKS)]
        if whole:
            sides = (tuple(rows[name, alpha, seed] for seed in whole) for name in NETWORKS)
            found.append(Pair(result["title"], f"{height}x{width}", alpha, *sides))
    return found


def accuracy(form: str) -> Callable[[Row], float]:
    """Return the accuracy of a row in one form, in percent, as a function."""
    return lambda row: 100 * row["accuracy"][form]


def modelled(name: str, mode: str = "all_nps") -> Callable[[Row], float]:
    """Return a modelled figure of a row as a function."""
    return lambda row: row["modelled"][mode][name]


def events(row: Row) -> float:
    """Return the events behind the input layer, which takes pixels."""
    return sum(list(row["events"].values())[1:])


def operations(row: Row) -> float:
    """Return the synaptic operations behind the input layer, in millions."""
    return sum(list(row["synaptic_operations"].values())[1:]) / 1e6


def _mean(rows: Sequence[Row], quantity: Callable[[Row], float]) -> float:
    return statistics.mean(map(quantity, rows))


def accuracy_table(every: Sequence[Pair]) -> str:
    """Return size and accuracy of each network as Markdown, mean over the seeds."""
    lines = []
    for pair in every:
        for name, rows in pair.networks():
            first = rows[0]
            means = [f"{_mean(rows, accuracy(form)):.2f}"
                     for form in ("float", "quantized", "integer")]  # fmt: skip
            lines.append([
                pair.where, name, f"{first['n_train']:,}", f"{first['n_test']:,}",
                f"{first['parameters']:,}", f"{sum(first['macs'].values()) / 1e6:.2f}",
                f"{first['modelled']['minimal']['nps']}", *means,
                ", ".join(f"{accuracy('integer')(row):.2f}" for row in rows),
            ])  # fmt: skip
    heads = ["data, alpha", "network", "trained on", "tested on", "parameters", "million MACs",
             "NPs", "float %", "quantized %", "integer %", "integer %, each seed"]  # fmt: skip
    return make_table(heads, lines)


def cost_table(every: Sequence[Pair]) -> str:
    """Return events and modelled cost of each network as Markdown, mean over the seeds."""
    lines = []
    for pair in every:
        for name, rows in pair.networks():
            counted = [f"{_mean(rows, events):,.0f}", f"{_mean(rows, operations):.3f}"]
            for mode in MODES:
                figures = [_mean(rows, modelled(key, mode)) for key in FIGURES]
                lines.append([pair.where, name, *counted, mode,
                              f"{rows[0]['modelled'][mode]['nps']}",
                              *(f"{figure:.4g}" for figure in figures)])  # fmt: skip
    heads = ["data, alpha", "network", "events", "million synaptic operations", "mode", "NPs",
             "fps, modelled", "mW, modelled", "of them dynamic", "mJ, modelled",
             "of them dynamic"]  # fmt: skip
    return make_table(heads, lines)


def change_table(every: Sequence[Pair]) -> str:
    """Return what changes from MobileNet v1 to AkidaNet, the paper's rows first, as Markdown."""
    lines = _paper_changes()
    quantities = (
        accuracy("float"), accuracy("integer"), modelled("fps"), modelled("dynamic_mw"),
        modelled("power_mw"), modelled("dynamic_mj"), modelled("total_mj"), events, operations,
    )  # fmt: skip
    for pair in every:
        cells = [_changes(pair.changes(quantity)) for quantity in quantities]
        lines.append(["here", pair.where, pair.resolution, *cells[:3], EMPTY, *cells[3:]])
    heads = ["row", "data, alpha", "resolution", "float accuracy", "4-bit accuracy",
             "fps, modelled if here", "power, as published", "dynamic power, modelled",
             "power, modelled", "dynamic energy, modelled", "energy, modelled", "events",
             "synaptic operations"]  # fmt: skip
    return make_table(heads, lines)


def _paper_changes() -> list[list[str]]:
    """Return the published rows, cells in the order of `change_table`."""
    paper = read_paper()
    keys = {"table_1_classification": "top1_change", "table_2_face_recognition": "accuracy_change",
            "table_3_face_detection": "map_change"}  # fmt: skip
    lines = []
    for number, (key, change) in enumerate(keys.items(), start=1):
        for row in paper[key]:
            values = (row[change], row["fps_change"], row["power_change"])
            published = [EMPTY if value is None else f"{value:+.2f}" for value in values]
            lines.append([
                f"paper, table {number}", f"{row['dataset']}, {row['alpha']:g}",
                "{}x{}".format(*row["resolution"]), EMPTY, *published, *[EMPTY] * 6,
            ])  # fmt: skip
    return lines


def _changes(values: Sequence[float]) -> str:
    """Return the mean, and behind it each seed."""
    # Adding 0.0 takes the sign from a zero.
    mean, *each = (f"{round(v, 2) + 0.0:+.2f}" for v in (statistics.mean(values), *values))
    return mean if len(each) == 1 else f"{mean} ({', '.join(each)})"


def layer_table(every: Sequence[Pair], field: str) -> str:
    """Return a number of each layer as Markdown, mean over the seeds, side by side.

    Args:
      every: the pairs, one column for each network of each.
      field: "sparsity" for the share of zeros in the layers' outputs, in percent, or "events"
        for the events that enter them.
    """
    columns: list[dict[int, str]] = []
    heads = ["layer", "kind, MobileNet v1 / AkidaNet"]
    names: dict[int, list[str]] = {}
    for pair in every:
        for title, rows in pair.networks():
            heads.append(f"{pair.where}: {title}")
            columns.append(_column(rows, field))
            for place, name in enumerate(rows[0][field]):
                names.setdefault(place, []).append(name.rpartition("_")[0] or name)
    lines = []
    for place in sorted({place for column in columns for place in column}):
        kinds = " / ".join(dict.fromkeys(names[place]))
        lines.append([str(place), kinds, *(column.get(place, EMPTY) for column in columns)])
    return make_table(heads, lines)


def _column(rows: Sequence[Row], field: str) -> dict[int, str]:
    """Return the cells of one network by the place of the layer.

    The input layer takes pixels, no events, and the last layer gives potentials.
    """
    means = [statistics.mean(row[field][name] for row in rows) for name in rows[0][field]]
    if field == "sparsity":
        return {place: f"{100 * mean:.1f}" for place, mean in enumerate(means[:-1])}
    return {place: f"{mean:,.0f}" for place, mean in enumerate(means) if place}


def stored() -> list[dict[str, Any]]:
    """Return the committed results."""
    paths = [result_path(data) for data in DATA]
    return [json.loads(path.read_text()) for path in paths if path.exists()]


def tables(results: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return every generated table by its marker."""
    every = [pair for result in results for pair in pairs(result)]
    return {
        "backbones": accuracy_table(every),
        "backbone-changes": change_table(every),
        "backbone-costs": cost_table(every),
        "backbone-zeros": layer_table(every, "sparsity"),
        "backbone-events": layer_table(every, "events"),
    }


def main() -> None:
    """Rewrite the tables."""
    made = tables(stored())
    write_text(DOCUMENT, fill(DOCUMENT.read_text(), made))
    Console().print(made["backbone-changes"])


if __name__ == "__main__":
    run_command(main)
