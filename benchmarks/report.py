"""Rewrite the tables and the picture of docs/performance.md from results/*.json.

python -m benchmarks.report
"""

import json
from pathlib import Path

from matplotlib.figure import Figure

from akida_jax.pictures import save_figure, style
from benchmarks.density import WAYS, break_even
from benchmarks.timing import RESULTS
from experiments.records.documents import fill, make_table
from experiments.records.files import write_text

DOCS = Path(__file__).parents[1] / "docs"
DOCUMENT = DOCS / "performance.md"
PICTURE = DOCS / "pictures" / "performance.png"
EIGHT_BITS = ("ONNX Runtime int8", "LiteRT int8")
COMPILED = "torch.compile float32"
#: The first three are this project's executors.
_COLOURS = {"native": style.GREEN, "dense": style.ORANGE, "event": style.PURPLE,
            "ONNX Runtime int8": style.BLUE, "LiteRT int8": style.INK,
            "ONNX Runtime float32": style.SKY, COMPILED: style.VERMILION}  # fmt: skip


def speed_table(rows: list[dict]) -> str:
    """Return images per second of every way, as Markdown."""
    names = list(dict.fromkeys(name for row in rows for name in row["variants"]))
    body = [
        [row["title"], str(row["batch"]),
         *(_speed(row["variants"].get(name)) for name in names)]
        for row in rows
    ]  # fmt: skip
    return make_table(["network, inputs", "batch", *names], body, numbers=True)


def _speed(timing: dict | None) -> str:
    return "" if timing is None else f"{timing['images_per_s']:,.0f}"


def ratio(row: dict, way: str, others: tuple[str, ...]) -> float | None:
    """Return how much quicker a way is than the quickest of others; None without them."""
    variants = row["variants"]
    there = [variants[name]["median_s"] for name in others if name in variants]
    return min(there) / variants[way]["median_s"] if there and way in variants else None


_OF_NETWORKS = (
    ("AkidaNet 0.5/224, native", "akidanet", "native", EIGHT_BITS, 1.2),
    ("AkidaNet 0.5/224, XLA alone", "akidanet", "dense", (COMPILED,), 1.3),
    ("Akida Tiny, native", "akida_tiny", "native", EIGHT_BITS[:1], 3.0),
    ("Akida Small, native", "akida_small", "native", EIGHT_BITS[:1], 3.0),
)


def goals(results: dict[str, list[dict]]) -> list[list[str]]:
    """Return a row for each goal: work, against what, goal, what was measured, reached or not.

    Args:
      results: rows of "executor", "density", "training" and "memory".
    """
    made = []
    for title, case, way, others, least in _OF_NETWORKS:
        rows = [row for row in results["executor"] if row["case"] == case]
        against = "the quicker of " * (len(others) > 1) + " and ".join(others)
        made.append(_goal(title, against, least, [(row, ratio(row, way, others)) for row in rows]))
    rows = [row for row in results["density"] if row["input"] == "event frames"]
    found = [(row, ratio(row, "native", ("dense",))) for row in rows]
    made.append(_goal("first layer of Akida Small, native", "dense XLA", 5.0, found))
    rows = [row for row in results["training"] if row["network"] == "akida_small"]
    found = [(row, ratio(row, "quantized", ("torch.compile",))) for row in rows]
    title = "quantized training step of Akida Small"
    made.append(_goal(title, "torch.compile", 0.9, found))
    peak = {row["way"]: row["peak"] for row in results["memory"]}
    if EIGHT_BITS[0] in peak:
        share = peak["native"] / peak[EIGHT_BITS[0]]
        made.append(["peak memory of AkidaNet 0.5/224, native", EIGHT_BITS[0], "at most 1.0",
                     f"{results['memory'][0]['batch']}: {share:.2f}",
                     "yes" if share <= 1 else "no"])  # fmt: skip
    return made


def _goal(
    title: str, against: str, least: float, found: list[tuple[dict, float | None]]
) -> list[str]:
    there = [(row["batch"], value) for row, value in found if value is not None]
    measured = ", ".join(f"{batch}: {value:.2f}" for batch, value in there)
    missed = [str(batch) for batch, value in there if value < least]
    if not there:
        reached = "not measured"
    elif len(missed) == len(there):
        reached = "no"
    else:
        reached = f"not at {', '.join(missed)}" if missed else "yes"
    return [title, against, f"{least}", measured, reached]


def density_table(rows: list[dict]) -> str:
    """Return up to which share events are quicker, and by how much at 5 %, as Markdown."""
    body = []
    for key in dict.fromkeys((row["layer"], row["input"]) for row in rows):
        swept = [row for row in rows if (row["layer"], row["input"]) == key]
        if len(swept) == 1:
            continue
        at = next(row for row in swept if row["density"] == 0.05)["variants"]
        native = break_even(swept, WAYS, "words") if WAYS[0] in at else None
        body.append([
            *key, _share(native), _times(at, *WAYS), _times(at, "dense", "native"),
            _share(break_even(swept, ("dense", "event"), "density")), _times(at, "dense", "event"),
        ])  # fmt: skip
    heads = ["layer, 3x3", "active", "native: events quicker up to words",
             "events at 5 %, times as quick as rows", "native at 5 %, times as quick as dense XLA",
             "XLA: events quicker up to", "event at 5 %, times as quick as dense"]  # fmt: skip
    return make_table(heads, body, numbers=True)


def _share(value: float | None) -> str:
    return "never" if value is None else f"{value:.0%}"


def _times(variants: dict, slow: str, quick: str) -> str:
    if quick not in variants or slow not in variants:
        return ""
    return f"{variants[slow]['median_s'] / variants[quick]['median_s']:.2f}"


def training_table(rows: list[dict]) -> str:
    """Return milliseconds of a training step, as Markdown."""
    body = [
        [row["network"], form, f"{1e3 * timing['median_s']:.1f}",
         f"{row['batch'] * timing['steps_per_s']:,.0f}", f"{timing['compile_s']:.1f}",
         f"{timing['first_loss']:.4f}"]
        for row in rows
        for form, timing in row["variants"].items()
    ]  # fmt: skip
    heads = ["network", "form", "ms a step", "windows/s", "first step, s", "first loss"]
    return make_table(heads, body, numbers=True)


def memory_table(rows: list[dict]) -> str:
    """Return MiB of every way, as Markdown."""
    body = [
        [row["way"], *(f"{row[name]:,.0f}" for name in ("before", "peak", "added"))] for row in rows
    ]
    return make_table(
        ["way", "before the batch, MiB", "peak, MiB", "added, MiB"], body, numbers=True
    )


def sparsity_table(rows: list[dict]) -> str:
    """Return images per second by the share of zeros, as Markdown."""
    names = list(dict.fromkeys(name for row in rows for name in row["variants"]))
    body = []
    for row in rows:
        found = list(row["found"].values())[1:-1]  # neither the input nor the logits
        times = {name: timing["median_s"] for name, timing in row["variants"].items()}
        body.append([
            row["network"], f"{row['sparsity']:.0%}", f"{min(found):.0%} to {max(found):.0%}",
            str(row["batch"]),
            *(f"{row['batch'] / times[name]:,.0f}" if name in times else "" for name in names),
            _times(row["variants"], EIGHT_BITS[0], "native"),
        ])  # fmt: skip
    heads = ["network", "zeros", "found in layers", "batch", *names,
             f"native, times as quick as {EIGHT_BITS[0]}"]  # fmt: skip
    return make_table(heads, body, numbers=True)


def operations_table(rows: list[dict]) -> str:
    """Return how many times as quick products are as convolutions, as Markdown."""
    body = []
    for key in dict.fromkeys((row["constant"], *row["channels"]) for row in rows):
        of_key = [row for row in rows if (row["constant"], *row["channels"]) == key]
        times = (f"{row['positions']}: {_times(row['variants'], 'convolution', 'products')}"
                 for row in of_key)  # fmt: skip
        body.append([key[0], f"{key[1]} to {key[2]}", ", ".join(times)])
    heads = ["constant", "channels", "positions: products, times as quick"]
    return make_table(heads, body, numbers=True)


def faults_table(rows: list[dict]) -> str:
    """Return page faults and milliseconds of a training step, as Markdown."""
    body = [
        [row["network"], row["memory"], f"{row['faults']:,.0f}", f"{1e3 * row['median_s']:.1f}",
         f"{row['peak_mib']:,.0f}"]
        for row in rows
    ]  # fmt: skip
    heads = ["network", "freed memory", "page faults a step", "ms a step", "peak, MiB"]
    return make_table(heads, body, numbers=True)


@style.in_style
def draw(rows: list[dict]) -> Figure:
    """Draw images per second against the batch, a panel for each network."""
    cases = list(dict.fromkeys(row["case"] for row in rows))
    figure = Figure(figsize=(1 + 3.4 * len(cases), 3.6))
    panels = figure.subplots(1, len(cases), squeeze=False)[0]
    for axis, case in zip(panels, cases, strict=True):
        of_case = [row for row in rows if row["case"] == case]
        for name, colour in _COLOURS.items():
            points = [(row["batch"], row["variants"][name]["images_per_s"])
                      for row in of_case if name in row["variants"]]  # fmt: skip
            if points:
                axis.plot(*zip(*points, strict=True), color=colour, marker="o", label=name)
        axis.set(xscale="log", yscale="log", xlabel="inputs in a call")
        batches = [row["batch"] for row in of_case]
        axis.set_xticks(batches, [str(batch) for batch in batches])
        axis.minorticks_off()
        axis.set_title(of_case[0]["title"].replace(", ", ",\n", 1))
        axis.grid()
    panels[0].set_ylabel("images per second")
    handles: dict = {}
    for axis in panels:
        handles |= dict(zip(*reversed(axis.get_legend_handles_labels()), strict=True))
    figure.legend(handles.values(), handles, ncols=len(handles), loc="lower center")
    figure.tight_layout(rect=(0, 0.08, 1, 1))
    return figure


_FURTHER = {"sparsity": sparsity_table, "operations": operations_table, "faults": faults_table}


def load_results() -> dict[str, list[dict]]:
    """Return the committed rows of every benchmark that is shown."""
    names = ("executor", "density", "training", "memory", *_FURTHER)
    return {name: json.loads((RESULTS / f"{name}.json").read_text())["rows"] for name in names}


def tables(results: dict[str, list[dict]]) -> dict[str, str]:
    """Return every generated table by its marker."""
    heads = ["work", "against", "goal", "batch: times as quick (memory: share)", "reached"]
    return {
        "goals": make_table(heads, goals(results), numbers=True),
        "executors": speed_table(results["executor"]),
        "density": density_table(results["density"]),
        "training-steps": training_table(results["training"]),
        "memory": memory_table(results["memory"]),
        **{name: table(results[name]) for name, table in _FURTHER.items()},
    }


def main() -> None:
    """Rewrite tables and picture."""
    results = load_results()
    write_text(DOCUMENT, fill(DOCUMENT.read_text(), tables(results)))
    save_figure(draw(results["executor"]), PICTURE)


if __name__ == "__main__":
    main()
