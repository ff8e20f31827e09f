"""The tables and pictures of docs/learning.md, from the committed results alone.

python -m experiments.few_shot.tables
"""

import json
from pathlib import Path

from akida_jax.pictures import save_figure
from experiments.few_shot import pictures
from experiments.few_shot.measurements import RULE
from experiments.records.documents import fill, make_table
from experiments.records.files import write_text

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "experiments" / "results" / "few_shot.json"
SPEED = ROOT / "benchmarks" / "results" / "learning.json"
DOCUMENT = ROOT / "docs" / "learning.md"
GOAL, GOAL_SHOTS = 2.0, 5
"""Points that binary weights and one pass may cost against the best method on floats."""
PICTURES = ROOT / "docs" / "pictures"


def _name(run: dict) -> str:
    return str(run["title"].partition(":")[0])


def _value(value: dict[str, float], sign: str = "", digits: int = 1) -> str:
    return f"{value['mean']:{sign}.{digits}f} ± {value['interval']:.{digits}f}"


def accuracy_table(runs: list[dict]) -> str:
    """Return the accuracy of every method on every data set as Markdown."""
    methods = list(next(iter(runs[0]["few_shot"].values()))["accuracy"])
    heads = ["data", "shots", *methods, "rule - best other", "guide's weights - best other"]
    rows = [
        [_name(run), shots, *(_value(row["accuracy"][name]) for name in methods),
         _value(row["difference"], "+"), _value(row["guide"]["difference"], "+")]
        for run in runs
        for shots, row in run["few_shot"].items()
    ]  # fmt: skip
    return make_table(heads, rows)


def goal_table(runs: list[dict]) -> str:
    """Return where the rule keeps within `GOAL` points of the best other method, as Markdown."""
    heads = ["data", f"difference at {GOAL_SHOTS} shots", f"within {GOAL:g} points"]
    rows = []
    for run in runs:
        difference = run["few_shot"][str(GOAL_SHOTS)]["difference"]
        reached = "yes" if difference["mean"] >= -GOAL else "no"
        rows.append([_name(run), _value(difference, "+", 2), reached])
    return make_table(heads, rows)


def parts_table(runs: list[dict]) -> str:
    """Return what parts of the rule that are this project's own bring, as Markdown."""
    heads = ["data", "samples per class", "neurons per class", "whole rule", "turns bring",
             "class-mates bring"]  # fmt: skip
    rows = [
        [_name(run), str(row["shots"]), str(row["neurons_per_class"]), _value(row["whole"]),
         _value(row["gain"]["turns"], "+"), _value(row["gain"]["mates"], "+")]
        for run in runs
        for row in run["sweeps"]["own_parts"]
    ]  # fmt: skip
    return make_table(heads, rows)


def settings_table(runs: list[dict]) -> str:
    """Return what was learned from, and with which settings, as Markdown."""
    heads = ["data", "backbone", "its accuracy on old classes", "inputs", "active",
             "num_weights", "neurons per class", "knee"]  # fmt: skip
    rows = [
        [_name(run), run["config"]["model"], f"{run['backbone']['accuracy']['integer']:.1%} of "
         f"{run['backbone']['n_classes']} classes", f"{run['spikes']['inputs']:,}",
         f"{run['spikes']['active']:,.0f}", f"{run['spikes']['num_weights']:,}",
         str(run["config"]["neurons_per_class"]), str(run["sweeps"]["knee"])]
        for run in runs
    ]  # fmt: skip
    return make_table(heads, rows)


def old_table(runs: list[dict]) -> str:
    """Return what old classes lose beside new ones as Markdown."""
    heads = ["data", "method", "neurons per class", "old before", "old after", "difference",
             "new", "old neurons compared"]  # fmt: skip
    rows = []
    for run in runs:
        old = run["old_classes"]
        each = [(RULE, str(row["neurons_per_class"]), row) for row in old[RULE]]
        for name, neurons, row in [*each, ("cosine prototypes", "", old["cosine prototypes"])]:
            compared = row.get("old_neurons_compared")
            rows.append([
                _name(run), name, neurons, f"{row['old_before']:.1f}", _value(row["old_after"]),
                _value(row["old_difference"], "+"), _value(row["new"]),
                f"{compared:,}" if compared else "",
            ])  # fmt: skip
    return make_table(heads, rows)


def many_table(runs: list[dict]) -> str:
    """Return accuracy against neurons per class when all samples are learned, as Markdown."""
    neurons = [str(row["neurons_per_class"]) for row in runs[0]["sweeps"]["many"]["curve"]]
    rows = [
        [_name(run), str(run["sweeps"]["many"]["shots"]),
         *(_value(row) for row in run["sweeps"]["many"]["curve"])]
        for run in runs
    ]  # fmt: skip
    return make_table(["data", "samples per class", *neurons], rows)


def cost_table(runs: list[dict]) -> str:
    """Return the modelled cost of learning a sample as Markdown."""
    heads = ["data", "NPs", "events", "swaps", "cycles, network", "cycles, update",
             "ms a sample", "mJ a sample"]  # fmt: skip
    rows = []
    for run in runs:
        cost = run["learning_cost"]
        rows.append([
            _name(run), str(cost["nps"]), f"{cost['events']:,.0f}", f"{cost['swaps']:,.0f}",
            f"{cost['inference_cycles']:,}", f"{cost['update_cycles']:,}",
            f"{cost['latency_ms']:.2f}", f"{cost['total_mj']:.3f}",
        ])  # fmt: skip
    return make_table(heads, rows)


def speed_table(speed: dict) -> str:
    """Return how much slower other ways of learning as many episodes are, as Markdown."""
    names = list(speed["rows"][0]["variants"])
    first, *others = names
    heads = ["samples per class", "inputs", f"{first}, ms", *(f"{name}, times" for name in others)]
    rows = [
        [str(row["shots"]), f"{row['inputs']:,}", f"{1e3 * row['variants'][first]['median_s']:.1f}",
         *(f"{row['ratios'][name]:g}" for name in others)]
        for row in speed["rows"]
    ]  # fmt: skip
    return make_table(heads, rows)


def tables() -> dict[str, str]:
    """Return every generated table by its marker."""
    runs = json.loads(RESULTS.read_text())["runs"]
    return {
        "few-shot": accuracy_table(runs),
        "few-shot-goal": goal_table(runs),
        "few-shot-parts": parts_table(runs),
        "few-shot-settings": settings_table(runs),
        "few-shot-old": old_table(runs),
        "few-shot-many": many_table(runs),
        "few-shot-cost": cost_table(runs),
        "few-shot-speed": speed_table(json.loads(SPEED.read_text())),
    }


def main() -> None:
    """Rewrite tables and pictures."""
    write_text(DOCUMENT, fill(DOCUMENT.read_text(), tables()))
    runs = json.loads(RESULTS.read_text())["runs"]
    detailed = next(run for run in runs if run["preset"] == "nmnist")
    save_figure(pictures.draw_methods(*runs), PICTURES / "few_shot_methods.png")
    save_figure(pictures.draw_curves(detailed), PICTURES / "few_shot_curves.png")
    save_figure(pictures.draw_ablation(detailed), PICTURES / "few_shot_ablation.png")


if __name__ == "__main__":
    main()
