"""Train and sweep with the experiments of a checkout."""

import importlib

TRAIN = """Train a network of the zoo on labelled data: float, quantized, then the chip's integers.

Example: akida-jax train smoke --output runs

The first argument is a preset, "default" if left out; options override its settings. The run's
folder receives the model (model.akj), its accuracy and pictures; the same command goes on where
it was stopped. Needs the experiments, which come with a checkout of the project.
"""

SWEEP = """Train, place and measure many settings with many workers: accuracy against power.

Example: akida-jax sweep smoke --output runs

The first argument is a preset, "default" if left out; options override its settings. The study's
folder receives tables, the Pareto front and a report page; the same command, here or elsewhere
with the same storage, joins in and goes on. Needs the experiments, which come with a checkout of
the project.
"""


def train(arguments: list[str]) -> None:
    """Train a network of the zoo on labelled data: float, quantized, then the chip's integers.

    Args:
      arguments: of `experiments.train`, as they stand on the command line.

    Raises:
      ModuleNotFoundError: if the experiments are not here.
      ValueError: for settings that cannot work.
    """
    _run("train", TRAIN, arguments)


def sweep(arguments: list[str]) -> None:
    """Train, place and measure many settings with many workers: accuracy against power.

    Args:
      arguments: of `experiments.sweep`, as they stand on the command line.

    Raises:
      ModuleNotFoundError: if the experiments are not here.
      ValueError: for settings that cannot work.
    """
    _run("sweep", SWEEP, arguments)


def _run(name: str, text: str, arguments: list[str]) -> None:
    try:
        module = importlib.import_module(f"experiments.{name}")
        hosts = importlib.import_module("experiments.hosts")
    except ModuleNotFoundError as error:
        if error.name not in ("experiments", f"experiments.{name}"):
            raise
        raise ModuleNotFoundError(
            f"{name} needs the experiments, which the installed package does not hold: get a "
            "checkout of the project, run pip install -e . in its folder, and try again"
        ) from error
    if {"-h", "--help"} & set(arguments):
        print(text)
    hosts.join()
    try:
        module.main(arguments, f"akida-jax {name}")
    except KeyboardInterrupt:
        raise KeyboardInterrupt("the same command goes on from the last epoch") from None
