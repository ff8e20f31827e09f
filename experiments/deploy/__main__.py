"""A trained model as C code: sizes on microcontrollers, speed on this machine, same integers.

    python -m experiments.deploy              # writes results/deploy.json and docs/deploy.md
    python -m experiments.deploy smoke        # a few windows, writes to --results alone

Needs gcc, gcc-arm-none-eabi with newlib and qemu-system-arm; no network. Sizes are measured with
`size` on what the cross compiler makes. Speed is processor time on this machine. Nothing is timed
on a microcontroller: none was at hand, and an emulator's time says nothing.
"""

import dataclasses
import statistics
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

import akida_jax as aj
from akida_jax import zoo
from akida_jax.zoo import datasets
from experiments.deploy import builds, tables
from experiments.presets import COUNT, check_settings, read_settings, run_command
from experiments.records.files import write_json
from experiments.records.provenance import describe_machine

MODEL = "akida_tiny_synthetic"
CPUS = ("cortex-m0plus", "cortex-m4", "cortex-m7")
EMULATED = ("cortex-m3", "cortex-m4")
OPTIMIZE = ("-Os", "-O2")
WAYS = {"dense": "-DAKIDA_SKIP_ZEROS=0", "skipping zeros": "-DAKIDA_SKIP_ZEROS=1"}
LEARNER = {"num_weights": 600, "num_classes": 5, "neurons_per_class": 4}
"""Of Akida Tiny with an edge head: 4,096 inputs; weights do not matter for sizes."""


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings.

    Attributes:
      windows: test windows that are run, at most.
      chosen: of these, spread evenly, that are timed and run on emulated processors.
      rounds: in which all ways are timed in turns.
      results: folder of the JSON.
    """

    windows: int = 660
    chosen: int = 66
    rounds: int = 15
    results: Path = tables.RESULTS.parent

    def __post_init__(self):
        """Refuse what cannot be run."""
        check_settings(self, {"windows": COUNT, "chosen": COUNT, "rounds": COUNT})


PRESETS = {
    "default": ("all test windows; rewrites docs/deploy.md", Config()),
    "smoke": ("a few windows, under a minute; give --results", Config(windows=4, chosen=2,
                                                                     rounds=2)),
}  # fmt: skip


def load_windows(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the test windows of a model trained on synthetic gestures, and their classes."""
    settings = zoo.model_card(name).settings
    recordings = datasets.load_recordings(
        "synthetic", seed=settings["seed"], n_train_per_class=1,
        n_test_per_class=settings["n_test_per_class"], duration_ms=settings["duration_ms"],
    )  # fmt: skip
    frames = datasets.event_frames(
        recordings, window_ms=settings["window_ms"], bins=settings["bins"]
    )
    return frames.test_x, frames.test_y


def sizes_of(folder: Path, report: Any, title: str) -> list[dict[str, Any]]:
    """Return a row for each processor and optimization."""
    return [
        {"title": title, "cpu": cpu, "optimize": optimize,
         "planned": {"constants": report.flash_bytes, "ram": report.ram_bytes},
         **builds.measure_sizes(folder, cpu, optimize, WAYS["skipping zeros"])}
        for optimize in OPTIMIZE
        for cpu in CPUS
    ]  # fmt: skip


def measure_speed(
    model: aj.Model, x: np.ndarray, chosen: np.ndarray, folder: Path, rounds: int
) -> list[dict[str, Any]]:
    """Return nanoseconds of processor time per inference of every way, in turns.

    Args:
      model: what is run.
      x: inputs for which the integers of every way are compared with the executor's.
      chosen: inputs that are timed.
      folder: to work in.
      rounds: measurements of each way.

    Raises:
      AssertionError: if any integers differ.
    """
    inputs, timed = folder / "inputs", folder / "timed"
    inputs.write_bytes(x.tobytes())
    timed.write_bytes(chosen.tobytes())
    expected = model.forward(x).reshape(len(x), -1)
    programs: dict[tuple[str, ...], Path] = {}
    for packed in (True, False):
        export = folder / f"packed-{packed}"
        aj.export.to_c(model, export, name="net", packed=packed)
        weights = "4-bit weights packed" if packed else "a byte for each weight"
        for optimize in ("-O2", "-O3"):
            for way, flag in WAYS.items():
                target = folder / f"{packed}{optimize}{len(programs)}"
                check = builds.build(export, target, optimize, flag)
                found = builds.read_outputs(builds.run(check, inputs))
                np.testing.assert_array_equal(found, expected)
                programs[weights, optimize, way] = builds.build(
                    export, target, optimize, flag, main=builds.HERE / "timing.c"
                )
    samples: dict[tuple[str, ...], list[float]] = {key: [] for key in programs}
    for _ in range(rounds):
        for key, program in programs.items():
            samples[key].append(float(builds.run(program, timed, "1")))
    return [
        {"weights": key[0], "optimize": key[1], "way": key[2], "rounds": rounds,
         "median_ns": statistics.median(values), "min_ns": min(values)}
        for key, values in samples.items()
    ]  # fmt: skip


def emulate(model: aj.Model, x: np.ndarray, folder: Path) -> list[dict[str, Any]]:
    """Return on which processors of QEMU all integers of all inputs were the same.

    Raises:
      AssertionError: if any differ.
    """
    export = folder / "emulated"
    aj.export.to_c(model, export, name="net", skip_zeros=True)
    (folder / "inputs").write_bytes(x.tobytes())
    rows = []
    for cpu in EMULATED:
        firmware = builds.build_firmware(export, folder / f"{cpu}.elf", cpu, "inputs", "-Os")
        found = builds.read_outputs(builds.emulate(firmware, cpu))
        expected = model.forward(x).reshape(len(x), -1)
        np.testing.assert_array_equal(found, expected)
        different = int((found != expected).sum())
        rows.append({"cpu": cpu, "board": builds.BOARDS[cpu], "windows": len(x),
                     "values": found.size, "different": different})  # fmt: skip
    return rows


def zeros_of(model: aj.Model, x: np.ndarray) -> dict[str, float]:
    """Return the share of zeros in the input of every layer."""
    activity = model.activity(x)
    shares = [float((x == 0).mean()), *activity.sparsity.values()]
    return dict(zip(activity, shares[:-1], strict=True))


def measure_all(config: Config, folder: Path, console: Console) -> dict[str, Any]:
    """Return everything that the document shows."""
    model = zoo.pretrained(MODEL)
    x, labels = (values[: config.windows] for values in load_windows(MODEL))
    chosen = x[:: -(-len(x) // config.chosen)]
    report = aj.export.to_c(model, folder / "net", name="net", skip_zeros=True, sample=x[0])
    console.print(str(report), highlight=False, soft_wrap=True)
    sizes = sizes_of(folder / "net", report, MODEL)
    backbone = zoo.blank_model("akida_tiny_edge").up_to("spike_generator")
    learner = aj.EdgeLearner(**LEARNER)
    learning = aj.export.to_c(backbone, folder / "edge", name="net", learner=learner)
    sizes += sizes_of(folder / "edge", learning, "akida_tiny_edge, learning")
    return {
        "experiment": "deploy",
        **describe_machine(),
        "programs": builds.describe(("gcc", f"{builds.CROSS}gcc", builds.EMULATOR)),
        "model": MODEL,
        "report": "\n".join(str(report).splitlines()[:-1]),
        "windows": len(x),
        "accuracy": model.evaluate(x, labels),
        "learner": LEARNER,
        "zeros": zeros_of(model, x),
        "sizes": sizes,
        "speed": measure_speed(model, x, chosen, folder, config.rounds),
        "emulated": emulate(model, chosen, folder),
    }


def main(config: Config) -> None:
    """Measure and write."""
    console = Console()
    with tempfile.TemporaryDirectory() as folder:
        result = measure_all(config, Path(folder), console)
    path = config.results / tables.RESULTS.name
    write_json(path, result)
    console.print(str(path))
    if path == tables.RESULTS:
        tables.main()


if __name__ == "__main__":
    run_command(lambda: main(read_settings(PRESETS)))
