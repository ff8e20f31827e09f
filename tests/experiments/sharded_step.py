"""One training step and the integers of a network, over all devices of this process.

python -m tests.experiments.sharded_step FILE.npz
"""

import sys

import jax
import numpy as np

from akida_jax import quant
from experiments.training import evaluation
from experiments.training.recipes import Recipe
from experiments.training.trainer import Trainer
from tests.experiments import tiny_run

BATCH = 24


def run():
    """Return loss, statistics, gradients, integers, and how many devices hold the parameters."""
    data, test = tiny_run.make_examples()
    phase = tiny_run.make_phases()[0]
    trainer = Trainer(tiny_run.make_network(), phase, data, recipe=Recipe(batch_size=BATCH), seed=0)
    loss = trainer.run_epoch(1)
    leaf = jax.tree.leaves(trainer.state.parameters)[0]
    twin = quant.quantize(tiny_run.make_network(), calibration=data.x[:8])
    statistics = {
        jax.tree_util.keystr(path, simple=True, separator="."): np.asarray(leaf)
        for path, leaf in jax.tree.leaves_with_path(trainer.state.statistics)
        if "norm" in jax.tree_util.keystr(path)
    }
    # Adam's first moment after one step is a tenth of the gradient.
    gradients = {
        f"gradient{jax.tree_util.keystr(path)}": 10 * np.asarray(leaf)
        for path, leaf in jax.tree.leaves_with_path(trainer.state.optimizer)
        if ".mu" in jax.tree_util.keystr(path)
    }
    return {
        "loss": np.float32(loss),
        "integers": evaluation.integers(twin, test.x),
        "devices": np.int32(len(leaf.sharding.device_set)),
        **statistics,
        **gradients,
    }


if __name__ == "__main__":
    np.savez(sys.argv[1], **run())
