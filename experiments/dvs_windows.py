"""The paper's Figure 4: test accuracy against the temporal window, for both networks.

A window of any length is cut into five bins, so the networks stay the same. A point trains
the whole number of float epochs nearest to 30,000 training windows, and a quarter as many
quantized epochs, at least one.

    python -m experiments.dvs_windows                       # synthetic gestures
    python -m experiments.dvs_windows nmnist                # N-MNIST in $AKIDA_JAX_DATA
    python -m experiments.dvs_windows smoke

About 25 minutes per data set on 2 cores. Writes results/dvs_windows_DATA.json and the
picture; finished points are not trained again.

The points do not see the same amount of training. With one seed, synthetic gestures at 20 ms
see 39,600 windows in the float epochs and 19,800 in the quantized, at 300 ms 27,720 and
4,620; N-MNIST sees 30,000 and 5,000 to 15,000. The count per point: docs/dvs-gesture.md.
"""

import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path

from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from akida_jax.pictures import save_figure, style
from akida_jax.zoo.dvs import FILTERS
from experiments import dvs_gesture
from experiments.presets import check_settings, read_settings, run_command
from experiments.records import pictures
from experiments.records.files import write_json
from experiments.records.provenance import describe_machine

RESULTS = Path(__file__).parent / "results"
PICTURES = Path(__file__).parents[1] / "docs" / "pictures"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of the sweep.

    Attributes:
      base: settings shared by all points.
      windows_ms: temporal windows.
      models: networks.
      seeds: each point is the mean over these.
      train_windows: training windows that a point sees in its float epochs, rounded to
        whole epochs.
      results: folder for the JSON.
      pictures: folder for the picture.
    """

    base: dvs_gesture.Config = dataclasses.field(
        default_factory=lambda: dvs_gesture.Config(output="runs/dvs_windows")
    )
    windows_ms: tuple[float, ...] = (20.0, 50.0, 100.0, 200.0, 300.0)
    models: tuple[str, ...] = ("akida_tiny", "akida_small")
    seeds: tuple[int, ...] = (0,)
    train_windows: int = 30_000
    results: Path = RESULTS
    pictures: Path = PICTURES

    def __post_init__(self):
        """Refuse windows, networks and counts that no point can be made of."""
        check_settings(
            self,
            {"windows_ms": (0.001, math.inf), "seeds": (0, 2**31 - 1),
             "train_windows": (1, math.inf)},
            {"models": tuple(FILTERS)},
        )  # fmt: skip


_NMNIST = dvs_gesture.Config(data="nmnist", translation=0.08, output="runs/dvs_windows")

PRESETS = {
    "default": ("synthetic gestures", Config()),
    "nmnist": ("N-MNIST", Config(base=_NMNIST)),
    "smoke": (
        "two points in under a minute; the accuracy means nothing",
        # Batches and test sets of one size, so that the second point compiles less.
        Config(
            base=dvs_gesture.Config(n_train_per_class=1, n_test_per_class=1, duration_ms=300.0,
                                    test_stride_ms=300.0, batch_size=8,
                                    weight_quantizer="max_per_tensor", output="runs/smoke"),
            windows_ms=(50.0, 300.0), models=("akida_tiny",), train_windows=64,
            results=Path("runs/smoke"), pictures=Path("runs/smoke"),
        ),
    ),
}  # fmt: skip


def sweep(config: Config) -> Iterator[dvs_gesture.Config]:
    """Yield the settings of every point."""
    for seed in config.seeds:
        for model in config.models:
            for window_ms in config.windows_ms:
                yield _point(config, model, window_ms, seed)


def _point(config: Config, model: str, window_ms: float, seed: int) -> dvs_gesture.Config:
    base = config.base
    if base.data not in ("synthetic", "nmnist"):
        raise ValueError(f"the sweep knows the lengths of synthetic and nmnist, not {base.data!r}")
    nmnist = base.data == "nmnist"
    duration_ms = 300.0 if nmnist else base.duration_ms
    recordings = 1000 if nmnist else 11 * base.n_train_per_class
    stride_ms = min(50.0, window_ms)
    windows = recordings * (int((duration_ms - window_ms) / stride_ms) + 1)
    # No window fits: the run itself says so.
    epochs = max(1, round(config.train_windows / max(windows, 1)))
    return dataclasses.replace(
        base,
        model=model,  # type: ignore[arg-type]
        seed=seed,
        window_ms=window_ms,
        train_stride_ms=stride_ms,
        float_epochs=epochs,
        quantized_epochs=max(1, epochs // 4),
        cycle_epochs=epochs,
    )


def collect(config: Config, console: Console) -> dict:
    """Train every point and gather what the figure needs."""
    points = []
    for point in sweep(config):
        result = dvs_gesture.run(point, console)
        points.append({
            "model": point.model,
            "code": result["code"],
            "data_fingerprint": result["data_fingerprint"],
            "seed": point.seed,
            "window_ms": point.window_ms,
            "weights": result["weights"],
            "n_train": result["n_train"],
            "n_test": result["n_test"],
            "accuracy": result["accuracy"],
            "epochs": [point.float_epochs, point.quantized_epochs],
        })  # fmt: skip
    title = f"{dvs_gesture.DATA_TITLES[config.base.data]}: accuracy against the temporal window"
    settings = {**dataclasses.asdict(config), "results": None, "pictures": None}
    return {"experiment": "dvs_windows", "title": title, "config": settings,
            **describe_machine(), "points": points}  # fmt: skip


def mean_accuracy(result: dict, model: str, form: str) -> dict[float, float]:
    """Return the mean over the seeds by window, in ms."""
    values: dict[float, list[float]] = {}
    for point in result["points"]:
        if point["model"] == model:
            values.setdefault(point["window_ms"], []).append(point["accuracy"][form])
    return {window: sum(v) / len(v) for window, v in sorted(values.items())}


@style.in_style
def draw(result: dict, path: Path) -> None:
    """Draw accuracy against window; symbols grow with the number of weights."""
    figure = Figure(figsize=(6, 4))
    axis = figure.subplots()
    for model in dict.fromkeys(point["model"] for point in result["points"]):
        weights = next(p["weights"] for p in result["points"] if p["model"] == model)
        colour = pictures.COLOURS[model]
        for form, dashes in (("integer", "-"), ("float", ":")):
            curve = mean_accuracy(result, model, form)
            label = f"{pictures.LABELS[model]}, {form}"
            if form == "integer":
                label += f" ({weights:,} weights)"
            axis.plot(list(curve), [100 * v for v in curve.values()], dashes, color=colour,
                      label=label, alpha=1 if form == "integer" else 0.5)  # fmt: skip
        curve = mean_accuracy(result, model, "integer")
        axis.scatter(list(curve), [100 * v for v in curve.values()], s=weights / 2500,
                     color=colour, alpha=0.8, zorder=3)  # fmt: skip
    axis.set_xlabel("temporal window, ms")
    axis.set_ylabel("test accuracy of one window, %")
    axis.set_title(result["title"])
    axis.grid()
    axis.legend(loc="lower right")
    save_figure(figure, path)


def report(result: dict, console: Console) -> None:
    """Print the figure as a table."""
    table = Table(title=result["title"])
    table.add_column("window, ms", justify="right")
    models = list(dict.fromkeys(point["model"] for point in result["points"]))
    for model in models:
        for form in ("float", "integer"):
            table.add_column(f"{pictures.LABELS[model]}, {form}", justify="right")
    for window in mean_accuracy(result, models[0], "integer"):
        cells = [
            f"{mean_accuracy(result, model, form)[window]:.1%}"
            for model in models
            for form in ("float", "integer")
        ]
        table.add_row(f"{window:g}", *cells)
    console.print(table)


def main(arguments: list[str] | None = None) -> dict:
    """Run a preset, "default" if none is named, with its settings overridden."""
    config = read_settings(PRESETS, arguments)
    console = Console()
    result = collect(config, console)
    name = f"dvs_windows_{config.base.data}"
    write_json(config.results / f"{name}.json", result)
    draw(result, config.pictures / f"{name}.png")
    report(result, console)
    places = f"JSON: {config.results}/{name}.json; picture: {config.pictures}/{name}.png"
    console.print(places, soft_wrap=True, highlight=False)
    return result


if __name__ == "__main__":
    run_command(main)
