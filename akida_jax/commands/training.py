"""Train with the experiments of a checkout."""

TEXT = """Train a network of the zoo on labelled data: float, quantized, then the chip's integers.

Example: akida-jax train smoke --output runs

The first argument is a preset, "default" if left out; options override its settings. The run's
folder receives the model (model.akj), its accuracy and pictures; the same command goes on where
it was stopped. Needs the experiments, which come with a checkout of the project.
"""


def train(arguments: list[str]) -> None:
    """Train a network of the zoo on labelled data: float, quantized, then the chip's integers.

    Args:
      arguments: of `experiments.train`, as they stand on the command line.

    Raises:
      ModuleNotFoundError: if the experiments are not here.
      ValueError: for settings that cannot work.
    """
    try:
        from experiments.train import main
    except ModuleNotFoundError as error:
        if error.name not in ("experiments", "experiments.train"):
            raise
        raise ModuleNotFoundError(
            "train needs the experiments, which the installed package does not hold: get a "
            "checkout of the project, run pip install -e . in its folder, and try again"
        ) from error
    if {"-h", "--help"} & set(arguments):
        print(TEXT)
    try:
        main(arguments, "akida-jax train")
    except KeyboardInterrupt:
        raise KeyboardInterrupt("the same command goes on from the last epoch") from None
