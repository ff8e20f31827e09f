"""New classes from a few samples, by the rule of the chip's last layer.

    python -m experiments.few_shot              # synthetic gestures, offline
    python -m experiments.few_shot smoke        # the same in under a minute
    python -m experiments.few_shot digits       # N-MNIST, data in $AKIDA_JAX_DATA
    python -m experiments.few_shot faces        # ORL
    python -m experiments.few_shot clips        # real gestures beside synthetic ones

A backbone learns the old classes with gradients. Its 1-bit spikes of the new ones are learned
in episodes, each sample once, side by side with methods that work on floats. Algorithm and
results: docs/learning.md; ``--keep`` writes results/few_shot.json.

Interrupt it at any time: the same command goes on where the training stopped.
"""

import dataclasses
import time
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.table import Table

from experiments.few_shot import backbones, measurements, pictures
from experiments.few_shot.baselines import METHODS
from experiments.few_shot.data import DataName, Turns, load
from experiments.few_shot.measurements import RULE
from experiments.presets import ANY, COUNT, TIME_MS, check_settings, read_settings, run_command
from experiments.training.runs import (
    check_keep,
    check_output,
    keep_result,
    open_run,
    run_folder,
    timings,
)

RESULTS = Path(__file__).parents[1] / "results" / "few_shot.json"

_RANGES = {
    "n_old": (2, 1000), "seed": (0, 2**31 - 1), "alpha": (1 / 32, 8), "spikes": COUNT,
    "window_ms": TIME_MS, "bins": COUNT, "stride_ms": TIME_MS, "duration_ms": TIME_MS,
    "n_train_per_class": COUNT, "n_test_per_class": COUNT, "float_epochs": ANY,
    "quantized_epochs": ANY, "float_rates": ANY, "quantized_rates": ANY, "batch_size": COUNT,
    "weight_decay": ANY, "rotation": (0, 1), "translation": (0, 1), "shots": COUNT,
    "queries": COUNT, "episodes": (2, 10**6), "sweep_episodes": (2, 10**6), "surplus": (0.01, 10),
    "neurons_per_class": COUNT, "sweep_neurons": COUNT, "many_neurons": COUNT,
    "old_neurons": COUNT,
}  # fmt: skip


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of one run.

    Attributes:
      data: "synthetic" is computed; "nmnist", "faces" and "clips" lie in $AKIDA_JAX_DATA.
      data_dir: folder of the data set, instead of its place there.
      n_old: classes that train the backbone, the first ones; for "clips" all synthetic ones.
      turns: 2 or 4 add the old classes' samples turned by half or quarter turns, as classes of
        their own.
      seed: of weights, order, augmentation, synthetic data, episodes and learners.
      model: of the zoo, with an edge head.
      alpha: width multiplier of "akidanet_edge".
      spikes: filters of the edge head's separable layer.
      window_ms: time that one event frame covers.
      bins: time bins per window.
      stride_ms: from one window to the next; the window by default.
      duration_ms: length of a synthetic recording.
      n_train_per_class: synthetic training recordings per class.
      n_test_per_class: synthetic test recordings per class.
      float_epochs: epochs of the float network.
      quantized_epochs: epochs of its quantized twin.
      float_rates: lowest and highest learning rate of the float epochs.
      quantized_rates: the same for the quantized epochs.
      batch_size: samples per training step.
      weight_decay: of kernels, decoupled.
      rotation: largest random rotation of event frames, as a fraction of a turn.
      translation: largest random shift of event frames, as a fraction of the frame.
      shots: samples of each new class that are learned.
      queries: samples of each new class that are asked for.
      episodes: tasks for each number of shots.
      sweep_episodes: tasks for each point of a curve.
      sweep_neurons: per class, of the curves.
      many_neurons: per class, of the curve that learns all samples.
      old_neurons: per class, when old classes are learned too.
      surplus: weights of a neuron over the active inputs of a sample.
      neurons_per_class: that share a class.
      output: folder that receives one folder per run.
      keep: write the result into experiments/results too, in the place of its data.
      restart: forget what an earlier run with these settings has done.

    Raises:
      ValueError: naming every option that is out of its range.
    """

    data: DataName = "synthetic"
    data_dir: str | None = None
    n_old: int = 6
    turns: Turns = 1
    seed: int = 0
    model: Literal["akida_tiny_edge", "akida_small_edge", "akidanet_edge"] = "akida_tiny_edge"
    alpha: float = 0.5
    spikes: int = 256
    window_ms: float = 100.0
    bins: int = 5
    stride_ms: float | None = None
    duration_ms: float = 600.0
    n_train_per_class: int = 40
    n_test_per_class: int = 10
    float_epochs: int = 12
    quantized_epochs: int = 4
    float_rates: tuple[float, float] = (1e-5, 1e-3)
    quantized_rates: tuple[float, float] = (1e-6, 1e-3)
    batch_size: int = 32
    weight_decay: float = 0.0
    rotation: float = 0.05
    translation: float = 0.02
    shots: tuple[int, ...] = (1, 5, 10)
    queries: int = 15
    episodes: int = 1000
    sweep_episodes: int = 200
    sweep_neurons: tuple[int, ...] = (1, 2, 3, 5, 10, 20)
    many_neurons: tuple[int, ...] = (1, 2, 5, 10, 20, 50, 100)
    old_neurons: tuple[int, ...] = (1, 10, 50)
    surplus: float = 0.8
    neurons_per_class: int = 10
    output: str = "runs/few_shot"
    keep: bool = False
    restart: bool = False

    def __post_init__(self):
        """Refuse what would fail only in the middle of a run, or after it."""
        check_settings(self, _RANGES)

    @property
    def folder(self) -> Path:
        """Folder of this run; other settings have another one."""
        return run_folder(self, f"{self.data}-seed{self.seed}")


PRESETS = {
    "default": ("5 synthetic gestures learned beside 6", Config()),
    "digits": (
        "N-MNIST: 5 to 9 learned beside 0 to 4, one window of 300 ms per recording",
        Config(data="nmnist", model="akida_small_edge", n_old=5, turns=4, window_ms=300.0,
               translation=0.08, float_epochs=24, quantized_epochs=6),
    ),
    "faces": (
        "ORL: 10 people learned beside 30",
        Config(data="faces", model="akidanet_edge", n_old=30, spikes=1024, float_epochs=20,
               quantized_epochs=5, float_rates=(1e-5, 3e-3), quantized_rates=(1e-5, 3e-4),
               batch_size=20, weight_decay=1e-3, shots=(1, 5), queries=5),
    ),
    "clips": (
        "10 clips of DVS128 Gesture learned beside 11 synthetic gestures",
        Config(data="clips", n_old=11, stride_ms=25.0, queries=10),
    ),
    "smoke": (
        "the whole pipeline in under a minute; the numbers mean nothing",
        Config(n_train_per_class=3, n_test_per_class=2, duration_ms=300.0, spikes=16,
               float_epochs=1, quantized_epochs=1, shots=(1,), queries=2, episodes=4,
               sweep_episodes=2, sweep_neurons=(1, 2), many_neurons=(2,), old_neurons=(2,),
               neurons_per_class=2, output="runs/smoke"),
    ),
}  # fmt: skip


def run(config: Config, console: Console) -> dict:
    """Train the backbone, learn the new classes, measure; return the result.

    Raises:
      ValueError: before training, if the chip cannot hold the network, the output is no
        folder, the run was begun with other data, or a class has too few samples.
    """
    check_output(config.folder)
    start = time.perf_counter()
    with console.status(f"Loading {config.data} ..."):
        classes = load(config)
    loading = time.perf_counter() - start
    measurements.check_samples(config, classes)
    this = open_run(config, config.folder, classes.fingerprint, console)
    if (finished := this.finished(console)) is not None:
        return finished
    backbone = backbones.train(config, this, classes, console)
    start = time.perf_counter()
    with console.status("Learning new classes ..."):
        measured = measurements.measure(config, classes, backbone, this.folder)
    return this.write_result(
        config,
        experiment="few_shot",
        title=f"{classes.title}: {len(classes.new_names)} classes learned beside "
        f"{len(classes.old_names)}",
        source=classes.source,
        old_names=list(classes.old_names),
        new_names=list(classes.new_names),
        backbone=backbone.measured,
        **measured,
        history=backbone.history,
        timings_s={
            **timings(loading, backbone.history),
            "learning": round(time.perf_counter() - start, 2),
        },
    )


def report(result: dict, folder: Path, console: Console) -> None:
    """Print what was reached, and where the pictures lie."""
    few_shot = result["few_shot"]
    table = Table(title=f"{result['title']}, accuracy in %")
    table.add_column("method")
    for shots in few_shot:
        table.add_column(f"{shots}-shot", justify="right")
    for name in (RULE, *METHODS):
        table.add_row(name, *(_with_interval(row["accuracy"][name]) for row in few_shot.values()))
    table.add_section()
    table.add_row(
        f"{RULE} - best other",
        *(_with_interval(row["difference"], sign="+") for row in few_shot.values()),
    )
    console.print(table)
    any_row = next(iter(few_shot.values()))
    console.print(
        f"± half of the 95 % interval over {any_row['episodes']:,} episodes; "
        f"{result['spikes']['num_weights']} of {result['spikes']['inputs']} binary weights a "
        f"neuron, {result['config']['neurons_per_class']} neurons a class, each sample learned once"
    )
    if result["spikes"]["silent_samples"]:
        console.print(f"samples without a spike, which teach nothing and are of no class: "
                      f"{result['spikes']['silent_samples']}")  # fmt: skip
    console.print(_old_table(result["old_classes"]))
    cost = result["learning_cost"]
    console.print(
        f"modelled on {cost['device']}: a sample of {cost['events']:,.0f} events is learned in "
        f"{cost['latency_ms']:.3f} ms, of which {cost['update_ms']:.4f} ms for its "
        f"{cost['swaps']:,.1f} swaps"
    )
    console.print(f"Pictures, models and JSON: {folder}/", soft_wrap=True, highlight=False)


def _old_table(old: dict) -> Table:
    table = Table(title=f"old and new classes together, {old['shots']} samples of each new one")
    for column in ("method", "neurons a class", "old before", "old after", "new"):
        table.add_column(column, justify="left" if column == "method" else "right")
    rows = [(RULE, str(row["neurons_per_class"]), row) for row in old[RULE]]
    for name, neurons, row in [*rows, ("cosine prototypes", "", old["cosine prototypes"])]:
        after, new = _with_interval(row["old_after"]), _with_interval(row["new"])
        table.add_row(name, neurons, f"{row['old_before']:.2f}", after, new)
    compared = sum(row["old_neurons_compared"] for row in old[RULE])
    table.caption = f"bits of {compared:,} old neurons compared before and after: all equal"
    return table


def _with_interval(value: dict[str, float], sign: str = "") -> str:
    return f"{value['mean']:{sign}.2f} ± {value['interval']:.2f}"


def main(arguments: list[str] | None = None) -> dict:
    """Run a preset, "default" if none is named, with its settings overridden."""
    config = read_settings(PRESETS, arguments)
    check_keep(config, PRESETS)
    console = Console()
    result = run(config, console)
    pictures.draw(result, config.folder)
    if config.keep:
        keep_result(result, RESULTS, by="data", presets=PRESETS)
    report(result, config.folder, console)
    return result


if __name__ == "__main__":
    run_command(main)
