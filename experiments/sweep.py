"""Accuracy against power: train, place and measure many settings, alone or with many workers.

    python -m experiments.sweep                     # digits, offline, in some minutes
    python -m experiments.sweep smoke               # the whole sweep in under a minute
    python -m experiments.sweep fashion --workers 2 # GXNOR on Fashion-MNIST, docs/sweeps.md
    python -m experiments.sweep gestures            # Akida Tiny and Small, synthetic gestures
    python -m experiments.sweep nmnist              # the same on N-MNIST

The same command started again, here or elsewhere with the same --storage, joins in. Kill it at
any time: what was finished stays, what was begun goes on from its last epoch. Axes, storages,
outputs: docs/sweeps.md.
"""

import dataclasses
import math
from pathlib import Path
from typing import Annotated, Any, Literal

import jax
import numpy as np
import optuna
import tyro
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from akida_jax import mapping
from experiments import dvs_gesture, train
from experiments.presets import COUNT, check_settings, read_settings, run_command
from experiments.sweeping import outputs, space
from experiments.sweeping.claims import SharedStudy
from experiments.sweeping.points import OBJECTIVES, ImpossibleError, check_data, measure
from experiments.sweeping.workers import Task, start_workers, work
from experiments.training.options import DeviceName
from experiments.training.runs import without_places

SamplerName = Literal["grid", "random", "tpe", "nsga2"]
PrunerName = Literal["none", "median", "hyperband"]

_RANGES = {"trials": COUNT, "workers": COUNT, "seed": (0, 2**31 - 1), "batch": (1, 2**24 - 1),
           "grace_s": (0.1, math.inf), "choose": (0, math.inf)}  # fmt: skip
#: Settings that every command that joins in must have in common, besides those of the base.
_SHARED = ("axes", "objectives", "sampler", "pruner", "seed", "device", "mode", "batch")
_POINTS = "runs/sweep/points"
#: Smallest and largest population of NSGA-II; else a quarter of the trials.
_POPULATION = (4, 50)


# The two are named for tyro, which would take classes of one name for the same.
Base = (
    Annotated[train.Config, tyro.conf.subcommand("train")]
    | Annotated[dvs_gesture.Config, tyro.conf.subcommand("dvs_gesture")]
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of a sweep.

    Attributes:
      base: settings of `experiments.train` or `experiments.dvs_gesture` that all points share;
        their output is where the runs lie, those of other sweeps too.
      axes: what is varied: NAME=VALUE,VALUE or NAME=LOW..HIGH or NAME=LOW..HIGH:log; NAME is a
        setting of the base, weight_bits[LAYERS] or act_bits[LAYERS] with a regular expression of
        layer names, device, or mode.
      objectives: what is optimized: accuracy, energy_mj, dynamic_mj, latency_ms, nps, size_kb.
      sampler: "grid" takes every combination of the axes.
      trials: of the whole study, whatever the number of workers; a grid's by default.
      pruner: ends a training whose accuracy stays behind; for the objective accuracy alone.
      seed: of the sampler.
      device: chip, where no axis says another.
      mode: of the placement, where no axis says another.
      batch: samples that enter the chip together, for energy and latency.
      name: of the study, and of its folder.
      storage: sqlite:///FILE, journal:FILE, or a URL of PostgreSQL or MySQL; OUTPUT/NAME.db by
        default.
      workers: processes that this command starts.
      grace_s: seconds without a beat after which a trial on another machine is lost.
      retry_failed: repeat the trials that have failed.
      choose: trial whose model the report shows; the knee of the front by default.
      report: write the outputs from what is there, and work on nothing.
      output: folder that receives the study's folder.

    Raises:
      ValueError: naming every option that cannot work.
    """

    base: Base = dataclasses.field(default_factory=lambda: train.Config(output=_POINTS))
    axes: tuple[str, ...] = ()
    objectives: tuple[str, ...] = ("accuracy", "energy_mj")
    sampler: SamplerName = "grid"
    trials: int | None = None
    pruner: PrunerName = "none"
    seed: int = 0
    device: DeviceName = "akd1000"
    mode: mapping.Mode = "minimal"
    batch: int = 1
    name: str = "default"
    storage: str | None = None
    workers: int = 1
    grace_s: float = 120.0
    retry_failed: bool = False
    choose: int | None = None
    report: bool = False
    output: str = "runs/sweep"

    def __post_init__(self):
        """Refuse what would fail only in the middle of a sweep, or in every trial."""
        check_settings(self, _RANGES, {"objectives": tuple(OBJECTIVES)}, others=_faults(self))

    @property
    def folder(self) -> Path:
        """Folder of the study's outputs."""
        return Path(self.output, self.name)

    @property
    def storage_url(self) -> str:
        """Where the study is kept."""
        return self.storage or f"sqlite:///{Path(self.output, self.name)}.db"

    def slots(self) -> list[dict[str, Any]]:
        """Return what is fixed of each trial's parameters."""
        axes = space.parse_axes(self.axes, self.base)
        if self.sampler == "grid":
            return list(space.grid(axes))
        return [{} for _ in range(self.trials or 0)]

    def shared(self, data: str) -> dict[str, Any]:
        """Return what every command that joins in must have in common."""
        return {
            "base": {"experiment": type(self.base).__module__,
                     **without_places(dataclasses.asdict(self.base))},
            "data_fingerprint": data,
            **{key: getattr(self, key) for key in _SHARED},
        }  # fmt: skip


def _faults(config: Config) -> list[str]:
    """Return what is wrong with several settings together, in words."""
    faults = []
    if not config.name or set(config.name) & set("/\\") or config.name.startswith("."):
        faults.append(f"--name must be the name of a folder, got {config.name!r}")
    if len(set(config.objectives)) < len(config.objectives):
        faults.append(f"--objectives must differ, got {', '.join(config.objectives)}")
    if config.pruner != "none" and config.objectives != ("accuracy",):
        faults.append(f"--pruner {config.pruner} judges by accuracy, and Optuna prunes for one "
                      f"objective only: add --objectives accuracy, got "
                      f"{', '.join(config.objectives)}")  # fmt: skip
    if config.base.restart:
        faults.append("--base.restart would forget runs in every trial; remove their folders")
    if not config.axes:
        return [*faults, "--axes must name at least one axis, for example alpha=0.25,0.5"]
    try:
        axes = space.parse_axes(config.axes, config.base)
    except ValueError as error:
        return [*faults, str(error)]
    return [*faults, *_base_faults(config), *_count_faults(config, axes),
            *space.find_faults(config.base, axes, config.device, config.mode)]  # fmt: skip


def _base_faults(config: Config) -> list[str]:
    """Return the chip and mode that the base names for itself, in words."""
    faults = []
    varied = [text.partition("=")[0].strip() for text in config.axes]
    for name, field in space.PLACED_FIELDS.items():
        own, shared = getattr(config.base, field), getattr(config, name)
        if name not in varied and own not in (shared, getattr(type(config.base), field)):
            faults.append(f"--base.{field.replace('_', '-')} {own}: a sweep trains for the {name} "
                          f"that it prices; give --{name}, or an axis {name}=...")  # fmt: skip
    return faults


def _count_faults(config: Config, axes: tuple[space.Axis, ...]) -> list[str]:
    if config.sampler != "grid":
        return [] if config.trials else [f"--trials must be given for --sampler {config.sampler}"]
    try:
        points = len(list(space.grid(axes)))
    except ValueError as error:
        return [f"--sampler grid: {error}"]
    if config.trials not in (None, points):
        return [f"--trials must be {points}, the points of the grid, or left out; got "
                f"{config.trials}"]  # fmt: skip
    return []


_DIGITS = train.Config(model="gxnor", n_validation=300, bits=(8, 4, 4), shift=1, batch_size=64,
                       output=_POINTS)  # fmt: skip

PRESETS = {
    "default": (
        "GXNOR on digits: bits of all layers and of the large hidden one, two chips, two modes",
        Config(base=_DIGITS, axes=("bits=8/4/4,8/4/2,8/2/4,8/2/2", "weight_bits[fc_1]=2,4",
                                   "device=akd1000,akd1500", "mode=minimal,all_nps"),
               objectives=("accuracy", "energy_mj"), name="digits"),
    ),
    "smoke": (
        "one training, three placements and one that is impossible; the accuracy means nothing",
        Config(base=dataclasses.replace(train.PRESETS["smoke"][1], output="runs/smoke/points"),
               axes=("device=akd1000,akd1500", "mode=minimal,hw_pr"), name="smoke",
               output="runs/smoke"),
    ),
    "fashion": (
        "GXNOR on 6,000 images of Fashion-MNIST: bits, chip and mode, in 24 trials",
        Config(
            base=train.Config(
                model="gxnor", data="fashion-mnist", size=28, n_train=6000, flip=True, shift=1,
                float_epochs=4, quantized_epochs=3, quantized_rates=(1e-5, 1e-3), batch_size=64,
                output=_POINTS,
            ),
            axes=("bits=8/4/4,8/2/2", "weight_bits[fc_1]=2,4", "device=akd1000,akd1500",
                  "mode=minimal,all_nps,hw_pr"),
            name="fashion",
        ),
    ),
    "fashion-akidanet": (
        "AkidaNet on all of Fashion-MNIST: width, bits, chip and mode",
        Config(
            base=dataclasses.replace(train.PRESETS["fashion-akidanet"][1], n_validation=5000,
                                     output=_POINTS),
            axes=("alpha=0.125,0.25,0.5", "bits=8/4/4,8/2/4", "weight_bits[separable_.*]=2,4",
                  "device=akd1000,akd1500", "mode=minimal,all_nps"),
            name="fashion-akidanet",
        ),
    ),
    "gestures": (
        "Akida Tiny and Small on synthetic gestures: network and bits",
        Config(
            base=dataclasses.replace(dvs_gesture.PRESETS["default"][1], n_validation_per_class=10,
                                     output=_POINTS),
            axes=("model=akida_tiny,akida_small", "weight_bits=2,4", "act_bits=2,4",
                  "device=akd1000,akd1500"),
            name="gestures",
        ),
    ),
    "nmnist": (
        "the same on N-MNIST",
        Config(
            base=dataclasses.replace(dvs_gesture.PRESETS["nmnist"][1], n_validation_per_class=20,
                                     output=_POINTS),
            axes=("model=akida_tiny,akida_small", "weight_bits=2,4", "act_bits=2,4",
                  "device=akd1000,akd1500"),
            name="nmnist",
        ),
    ),
}  # fmt: skip


def make_sampler(config: Config, slot: int) -> optuna.samplers.BaseSampler:
    """Return the sampler of one trial; its seed follows from the slot, not from the worker."""
    seed = int(np.random.SeedSequence((config.seed, slot)).generate_state(1)[0])
    if config.sampler == "tpe":
        # Trials of other workers that are not finished count as bad ones, so that no two
        # workers choose the same point.
        return optuna.samplers.TPESampler(seed=seed, constant_liar=True)
    if config.sampler == "nsga2":
        low, high = _POPULATION
        population = min(max((config.trials or 0) // 4, low), high)
        return optuna.samplers.NSGAIISampler(seed=seed, population_size=population)
    return optuna.samplers.RandomSampler(seed=seed)


def _make_pruner(config: Config) -> optuna.pruners.BasePruner:
    if config.pruner == "median":
        return optuna.pruners.MedianPruner()
    if config.pruner == "hyperband":
        most = config.base.float_epochs + config.base.quantized_epochs
        return optuna.pruners.HyperbandPruner(min_resource=1, max_resource=max(most, 1))
    return optuna.pruners.NopPruner()


def open_study(config: Config) -> SharedStudy:
    """Open the study of a sweep, or begin it; every slot has its trial then.

    Raises:
      FileNotFoundError: if data are missing, saying how to get them.
      ValueError: if the study was begun with other settings or data.
    """
    study = SharedStudy(
        config.name,
        config.storage_url,
        directions=[OBJECTIVES[name][1] for name in config.objectives],
        settings=config.shared(check_data(config.base)),
        grace_s=config.grace_s,
    )
    study.study.pruner = _make_pruner(config)
    study.add_slots(config.slots())
    return study


def run_worker(config: Config) -> None:
    """Work on the trials of a sweep until none is left."""
    study, console = open_study(config), Console()
    axes = space.parse_axes(config.axes, config.base)

    def run(trial: optuna.Trial, on_epoch: Any) -> tuple[list[float], dict[str, Any]]:
        chosen = {axis.name: axis.suggest(trial) for axis in axes}
        try:
            point = space.make_point(config.base, axes, chosen, config.device, config.mode)
        except ValueError as error:
            raise ImpossibleError(str(error)) from error
        result = measure(point, batch=config.batch, on_epoch=on_epoch)
        return [result[name] for name in config.objectives], result

    task = Task(
        study=study,
        make_sampler=lambda slot: make_sampler(config, slot),
        measure=run,
        on_end=lambda: outputs.write_rows(config, study, axes),
        prunes=config.pruner != "none",
    )
    work(task, console)


def run(config: Config, console: Console) -> dict:
    """Run a sweep to its end, write its outputs and return what `outputs.collect` gathers.

    Raises:
      FileNotFoundError: if data are missing, saying how to get them.
      ValueError: if the study was begun with other settings, or workers end before the trials
        do, saying why; the outputs are written all the same.
    """
    study = open_study(config)
    if config.retry_failed and (again := study.retry()):
        console.print(f"{again} failed trials are repeated.")
    faults = [] if config.report else _work(config)
    axes = space.parse_axes(config.axes, config.base)
    result = outputs.write_all(config, study, axes)
    left = sum(study.count().values())
    if faults and left:
        told = "trial is" if left == 1 else "trials are"
        raise ValueError("; ".join([*faults, f"{left} {told} left, the same command goes on"]))
    for fault in faults:
        console.print(f"[yellow]warning:[/yellow] {escape(fault)}", soft_wrap=True)
    return result


def _work(config: Config) -> list[str]:
    """Work on the trials; return what ended workers early, in words."""
    if config.workers > 1:
        return start_workers(run_worker, config, config.workers)
    try:
        run_worker(config)
    except (OSError, ValueError) as error:
        return [str(error)]
    return []


def report(result: dict, folder: Path, console: Console) -> None:
    """Print the front, and where everything lies."""
    table = Table(title=f"{result['title']}: Pareto front")
    table.add_column("trial", justify="right")
    names = [axis for axis in result["rows"][0] if axis.startswith("param.")]
    for name in (*names, *result["objectives"]):
        table.add_column(escape(name.removeprefix("param.")), justify="right")
    for row in result["rows"]:
        if row["trial"] in result["front"]:
            mark = " *" * (row["trial"] == result["chosen"])
            cells = [row[name] for name in (*names, *result["objectives"])]
            texts = [f"{cell:.4g}" if isinstance(cell, float) else str(cell) for cell in cells]
            table.add_row(f"{row['trial']}{mark}", *map(escape, texts))
    console.print(table)
    states = [row["state"] for row in result["rows"]]
    counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    console.print(f"{counts}; energy and latency are modelled; * is the trial the report shows.")
    console.print(f"Tables, picture and report: {folder}/", soft_wrap=True, highlight=False)


def main(arguments: list[str] | None = None, program: str | None = None) -> dict:
    """Run a preset, "default" if none is named, with its settings overridden.

    Args:
      arguments: of the command line; those of the process if None.
      program: name that help and errors show; that of the process if None.
    """
    config = read_settings(PRESETS, arguments, program)
    if jax.distributed.is_initialized():
        raise ValueError("each process of a sweep trains by itself, but these would share every "
                         "training; start them without JAX_COORDINATOR_ADDRESS and "
                         "AKIDA_JAX_HOSTS")  # fmt: skip
    console = Console()
    result = run(config, console)
    report(result, config.folder, console)
    return result


if __name__ == "__main__":
    run_command(main)
