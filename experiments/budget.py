"""Training to a budget beside L1, Hoyer and narrower networks: accuracy against energy.

One trained 8/4/4-bit network per seed, the base, is trained on: under no pressure, under an
activity regularizer of several weights, and under several budgets of modelled energy, with
constant and with learned activation steps. Narrower networks are trained from random weights,
for as many epochs in all. Last, layers choose among 2 and 4 weight bits under a budget of
bytes, beside 2 bits in all of them.

    python -m experiments.budget smoke      # two minutes; its numbers mean nothing
    python -m experiments.budget fashion    # Fashion-MNIST
    python -m experiments.budget nmnist     # N-MNIST in $AKIDA_JAX_DATA

Results, and how long they took: docs/budget.md. Interrupt it at any time: the same command
goes on behind the last trained network. `experiments.budget_report` makes table and picture.
"""

import dataclasses
import functools
import itertools
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np
from rich.console import Console

import akida_jax as aj
from akida_jax import mapping, quant
from experiments.budget_networks import NARROW, UNIFORM, Loaded, Point, build, load, points
from experiments.presets import ANY, COUNT, check_settings, read_settings, run_command
from experiments.records.files import write_json
from experiments.records.provenance import describe_machine
from experiments.training import evaluation
from experiments.training.options import STEP_RATE
from experiments.training.pressure import Pressure, PressureState, sample_shares
from experiments.training.recipes import Phase, Recipe
from experiments.training.runs import (
    check_keep_any_seeds,
    check_output,
    open_run,
    run_folder,
    share_programs,
    without_places,
    write_whole,
)
from experiments.training.trainer import Trainer
from experiments.training.weights import load_weights, save_weights

RESULTS = Path(__file__).parent / "results"
DEVICE = mapping.AKD1500

#: What tells that a run has begun: networks and results, of which each is written once.
_TRACES = ("base-*.npz", "point-*.json")
_SHARE = (0.01, 1)
_RANGES = {
    "n_train": COUNT, "seeds": (0, 2**31 - 1), "float_epochs": ANY,
    "tuned_epochs": COUNT, "batch_size": COUNT, "l1_weights": ANY, "hoyer_weights": ANY,
    "budgets": _SHARE, "step_budgets": _SHARE, "sizes": _SHARE, "widths": (0.1, 1),
    "float_rates": ANY, "quantized_rates": ANY,
}  # fmt: skip


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of the experiment.

    Attributes:
      data: labelled data set; the last lies in $AKIDA_JAX_DATA.
      n_train: training images, or windows of recordings, at most.
      seeds: of weights and order; every point is trained with each.
      float_epochs: of the base, in float.
      tuned_epochs: of the base in 8/4/4 bits, and of every point from there.
      batch_size: examples per step.
      l1_weights: of the regularizer.
      hoyer_weights: the same.
      budgets: shares of the base's modelled energy, with constant steps.
      step_budgets: the same, with learned steps.
      sizes: shares of the base's bytes, for mixed weight bits.
      widths: of narrower networks.
      float_rates: lowest and highest learning rate of the float epochs.
      quantized_rates: the same of all others.
      output: folder of the trained networks.
      restart: forget what an earlier run with these settings has done.
      keep: write the result into experiments/results; the settings must be a preset's.
      collect: train nothing, write the result of the points that are there.

    Raises:
      ValueError: naming every option that is out of its range.
    """

    data: Literal["digits", "fashion-mnist", "nmnist"] = "fashion-mnist"
    n_train: int = 20_000
    seeds: tuple[int, ...] = (0, 1, 2)
    float_epochs: int = 6
    tuned_epochs: int = 10
    batch_size: int = 50
    l1_weights: tuple[float, ...] = (0.3, 1.0)
    hoyer_weights: tuple[float, ...] = (1.0, 3.0)
    budgets: tuple[float, ...] = (0.6, 0.5)
    step_budgets: tuple[float, ...] = (0.6,)
    sizes: tuple[float, ...] = (0.75,)
    widths: tuple[float, ...] = (0.75, 0.5)
    float_rates: tuple[float, float] = (1e-5, 3e-3)
    quantized_rates: tuple[float, float] = (1e-5, 1e-3)
    output: str = "runs/budget"
    restart: bool = False
    keep: bool = False
    collect: bool = False

    def __post_init__(self):
        """Refuse what would fail only in the middle of a run, or after it."""
        check_settings(self, _RANGES)

    @property
    def folder(self) -> Path:
        """Folder of this run; other settings have another one, other seeds have not."""
        form = dataclasses.replace(self, seeds=(0,), collect=False)
        return run_folder(form, self.data)


PRESETS = {
    "fashion": ("Fashion-MNIST", Config()),
    "nmnist": (
        "N-MNIST, windows of 100 ms",
        Config(data="nmnist", float_epochs=20, tuned_epochs=12, l1_weights=(0.3, 1.0, 3.0),
               budgets=(0.75, 0.6, 0.5)),
    ),
    "smoke": (
        "every method once, in two minutes; the numbers mean nothing",
        Config(data="digits", n_train=60, seeds=(0,), float_epochs=1,
               tuned_epochs=2, batch_size=20, l1_weights=(0.1,), hoyer_weights=(0.3,),
               budgets=(0.9,), step_budgets=(0.9,), widths=(0.5,), output="runs/smoke"),
    ),
}  # fmt: skip


def result_path(data: str) -> Path:
    """Return the file of a data set's committed results."""
    return RESULTS / f"budget_{data.split('-')[0]}.json"


class Bench:
    """Trains points; networks of one form go through one compiled program.

    Args:
      config: settings.
      data: examples.
      folder: of the run.
    """

    def __init__(self, config: Config, data: Loaded, folder: Path):
        self.config, self.data, self.folder = config, data, folder
        self.sample = data.train.x[:1000]
        self._trainers: dict[Any, Trainer] = {}

    def base(self, width: float, seed: int) -> quant.Sequential:
        """Return the trained network of a width in 8/4/4 bits, or load it."""
        config, path = self.config, self.folder / f"base-{width:g}-{seed}.npz"
        network = build(self.data, width=width, seed=seed)
        if not path.exists():
            phase = self._phase("float", config.float_epochs, config.float_rates)
            network = self._train(("float", width), network, phase, Recipe, seed)
        twin = quant.quantize(network, calibration=self.sample[:256])
        if path.exists():
            return load_weights(twin, path)
        twin = self._pressed(Point("none", width), twin, np.inf, seed)
        save_weights(twin, path)
        return twin

    def point(self, point: Point, seed: int) -> tuple[quant.Sequential, dict[str, Any]]:
        """Return the trained network of a point, and what it was asked for."""
        if point.method == NARROW:
            narrow = self.base(point.setting, seed)
            return self._pressed(Point("none", point.setting), narrow, np.inf, seed), {}
        twin = self.base(1.0, seed)
        if point.method == UNIFORM:
            return self._on(("2-bit",), _narrow_weights(twin), seed, times=2), {}
        figures = self._figures(twin)
        if point.method == "mixed":
            limit = point.setting * figures["size"]
            return self._mixed(twin, limit, seed), {"limit": limit}
        if not point.method.startswith("budget"):
            return self._pressed(point, twin, np.inf, seed), {}
        limit = point.setting * figures["energy"]
        return self._pressed(point, twin, limit, seed), {"limit": limit}

    def _pressed(
        self, point: Point, twin: quant.Sequential, limit: float, seed: int
    ) -> quant.Sequential:
        """Train on under a budget or a regularizer; weights and limit are arrays of one program."""
        steps = STEP_RATE if point.method == "budget-steps" else None
        pressure = Pressure(
            activities=("l1", "hoyer"), weights=(0.0, 0.0), device=DEVICE, sample=self.sample,
            budget=mapping.Budget(quantity="energy", limit=1e6),
        )  # fmt: skip
        recipe = functools.partial(Recipe, pressure=pressure, step_rate=steps)
        weights = tuple(jnp.float32(point.setting * (point.method == name))
                        for name in ("l1", "hoyer"))  # fmt: skip
        multiplier = mapping.start_multiplier((1 - pressure.margin) * limit)
        state = PressureState(weights, multiplier)
        width = point.setting if point.method == "none" else 1.0
        phase = self._phase("quantized", self.config.tuned_epochs, self.config.quantized_rates)
        return self._train(("pressed", width, steps), twin, phase, recipe, seed, state)

    def _on(self, key: Any, twin: quant.Sequential, seed: int, *, times: int) -> quant.Sequential:
        """Train on without pressure."""
        epochs = times * self.config.tuned_epochs
        phase = self._phase("quantized", epochs, self.config.quantized_rates)
        return self._train(key, twin, phase, Recipe, seed)

    def _mixed(self, twin: quant.Sequential, limit: float, seed: int) -> quant.Sequential:
        pressure = Pressure(device=DEVICE, sample=self.sample,
                            budget=mapping.Budget(quantity="size", limit=limit))  # fmt: skip
        recipe = functools.partial(Recipe, pressure=pressure)
        search = self._phase("search", self.config.tuned_epochs, self.config.quantized_rates)
        mixed = self._train(("search", limit), quant.mix(twin), search, recipe, seed)
        widths = quant.chosen_widths(mixed)
        return self._on(tuple(widths.values()), quant.fix_widths(mixed, widths), seed, times=1)

    def _figures(self, twin: quant.Sequential) -> dict[Any, Any]:
        return mapping.plan(twin, DEVICE).figures(sample_shares(twin, self.sample))

    def _phase(self, name: str, epochs: int, rates: tuple[float, float]) -> Phase:
        return Phase(name=name, epochs=epochs, low=rates[0], high=rates[1], schedule="cosine",
                     warmup_epochs=0.5)  # fmt: skip

    def _train(
        self,
        key: Any,
        network: quant.Sequential,
        phase: Phase,
        recipe: Callable[..., Recipe],
        seed: int,
        pressure: PressureState | None = None,
    ) -> quant.Sequential:
        trainer = self._trainers.get(key)
        if trainer is None:
            made = recipe(batch_size=self.config.batch_size)
            trainer = Trainer(network, phase, self.data.train, recipe=made, seed=seed)
            self._trainers[key] = trainer
        trainer.begin(network, seed)
        if pressure is not None:
            trainer.restore(trainer.state._replace(pressure=pressure))
        for epoch in range(phase.epochs):
            trainer.cool(epoch / max(phase.epochs - 1, 1))
            trainer.run_epoch(epoch + 1)
        return trainer.network()

    def judge(self, network: quant.Sequential) -> dict[str, Any]:
        """Return accuracy and modelled figures of the integers on the test set."""
        model = aj.convert(network)
        x, y = self.data.test
        compared = evaluation.integer_forms(network, model, x[:500])
        placement = mapping.place(model, DEVICE, hw_only=True)
        activity = model.activity(x)
        cost = mapping.estimate(placement, activity)
        return {
            "accuracy": model.evaluate(x, y),
            "figures": mapping.model_figures(placement, cost),
            "figures_train": self._figures(network),
            "sparsity": activity.sparsity,
            "weight_bits": {p.spec.name: p.spec.weight_bits for p in model.programs},
            **compared,
        }


def _narrow_weights(twin: quant.Sequential) -> quant.Sequential:
    """Return the network with 2-bit weights behind its input convolution."""
    mixed = quant.mix(twin)
    return quant.fix_widths(mixed, dict.fromkeys(quant.chosen_widths(mixed), 2))


def run(config: Config, console: Console) -> dict:
    """Train every point that is not trained yet; return the result.

    Raises:
      ValueError: if a folder cannot be made, or was begun with other data.
    """
    check_output(config.folder)
    data = load(config)
    this = open_run(config, config.folder, data.fingerprint, console, _TRACES)
    this.begin()
    share_programs(config.folder)
    bench = Bench(config, data, config.folder)
    rows = []
    for point, seed in sorted(
        itertools.product(points(config), config.seeds), key=lambda pair: _round(*pair)
    ):
        path = config.folder / f"point-{point.label}-{seed}.json"
        if config.collect and not path.exists():
            continue
        if not path.exists():
            write_json(path, _measure(bench, point, seed))
        rows.append(json.loads(path.read_text()))
        row = rows[-1]
        console.print(
                f"seed {seed} {point.label:<18} {row['accuracy']:.2%} "
                f"{1e3 * row['figures']['energy']:8.2f} uJ {row['seconds']:.0f} s", highlight=False
            )  # fmt: skip
    settings = without_places(dataclasses.asdict(config))
    del settings["collect"]
    return {
        "experiment": "budget",
        "title": data.title,
        "config": settings,
        **describe_machine(),
        "code": this.code,
        "data_fingerprint": this.data,
        "device_modelled": DEVICE.name,
        "n_train": len(data.train.x),
        "n_test": len(data.test.x),
        "points": rows,
    }


def _round(point: Point, seed: int) -> tuple[bool, int]:
    """Return what comes first: the fronts seed by seed, then the widths of the weights."""
    return point.method in (UNIFORM, "mixed"), seed


def _measure(bench: Bench, point: Point, seed: int) -> dict[str, Any]:
    start = time.perf_counter()
    network, asked = bench.point(point, seed)
    return {
        "method": point.method,
        "setting": point.setting,
        "seed": seed,
        **asked,
        **bench.judge(network),
        "seconds": round(time.perf_counter() - start, 1),
    }


def main(arguments: list[str] | None = None) -> dict:
    """Run a preset with its settings overridden."""
    config = read_settings(PRESETS, arguments)
    console = Console()
    check_keep_any_seeds(config, PRESETS)
    result = run(config, console)
    kept = result_path(config.data) if config.keep else None
    path = write_whole(result, config.folder, result["code"], kept)
    console.print(f"Results: {path}", soft_wrap=True, highlight=False)
    return result


if __name__ == "__main__":
    run_command(main)
