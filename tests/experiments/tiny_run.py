"""A training run of seconds, in this process or in one of its own that is to be killed.

python -m tests.experiments.tiny_run FOLDER          # 2 float and 2 quantized epochs
python -m tests.experiments.tiny_run FOLDER SAVES    # checkpoints alone, without an end
"""

import itertools
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from akida_jax import quant
from akida_jax.zoo.datasets import Examples
from experiments import hosts
from experiments.training import evaluation
from experiments.training.checkpoints import Checkpoints
from experiments.training.recipes import Phase, Recipe
from experiments.training.trainer import TrainingState, train

EPOCHS = (2, 2)


def make_examples():
    """Return random training and test examples of three classes."""
    rng = np.random.default_rng(3)
    x = rng.integers(0, 16, (40, 6, 6, 2), dtype=np.uint8)
    y = rng.integers(0, 3, 40).astype(np.int32)
    return Examples(x[:26], y[:26]), Examples(x[26:], y[26:])


def make_network(filters=4):
    layers = [
        quant.InputData(input_shape=(6, 6, 2), input_bits=4),
        quant.Conv(filters=filters, kernel_size=3, pool="max"),
        quant.SeparableConv(filters=5, kernel_size=3, pool="global_average"),
        quant.Dense(units=3, activation=False),
    ]
    return quant.Sequential(layers, rngs=nnx.Rngs(0))


def make_phases(epochs=EPOCHS):
    return tuple(
        Phase(name=name, epochs=n, low=1e-4, high=high, cycle_epochs=2)
        for name, n, high in zip(("float", "quantized"), epochs, (1e-2, 1e-3), strict=True)
    )


def flip(key, batch):
    """Mirror a whole batch, or not."""
    return jnp.where(jax.random.bernoulli(key), batch[:, :, ::-1], batch)


RECIPE = Recipe(batch_size=8, augment=flip)


class Announced(Checkpoints):
    """Checkpoints that say when they begin and when they are there."""

    def save(self, epoch, state, history):
        print("saving", epoch, flush=True)
        super().save(epoch, state, history)
        print("saved", epoch, flush=True)


def open_checkpoints(folder, kind=Checkpoints):
    return kind(Path(folder, "checkpoints"), Path(folder, "metrics.jsonl"))


def run(
    folder, *, kind=Checkpoints, epochs=EPOCHS, filters=4, recipe=RECIPE, on_epoch=lambda row: None
):
    """Train, or go on, and return what must not depend on interruptions."""
    data, test = make_examples()
    checkpoints = open_checkpoints(folder, kind)
    try:
        network, history = train(
            make_network(filters),
            make_phases(epochs),
            data,
            test,
            quantize=lambda network: quant.quantize(network, calibration=data.x[:8]),
            checkpoints=checkpoints,
            recipe=recipe,
            seed=1,
            on_epoch=on_epoch,
        )
    finally:
        checkpoints.close()
    arrays = {
        jax.tree_util.keystr(path, simple=True, separator="."): np.asarray(leaf)
        for path, leaf in jax.tree.leaves_with_path(nnx.state(network))
    }
    arrays["integers"] = evaluation.integers(network, test.x)
    for key in ("epoch", "loss", "test_accuracy"):
        arrays[f"history.{key}"] = np.array([row[key] for row in history])
    arrays["history.phase"] = np.array([row["phase"] for row in history])
    return arrays


def save_forever(folder):
    """Save one checkpoint after another, each full of its own number."""
    checkpoints = open_checkpoints(folder, Announced)
    done, history = checkpoints.latest()
    for epoch in itertools.count(done + 1):
        history.append({"epoch": epoch})
        checkpoints.save(epoch, make_state(epoch), history)


def make_state(number):
    filled = {name: jnp.full((300, 300), number, jnp.float32) for name in "abcdef"}
    return TrainingState(filled, {}, {"count": jnp.int32(number)})


if __name__ == "__main__":
    hosts.join()
    if len(sys.argv) > 2:
        save_forever(sys.argv[1])
    else:
        result = run(sys.argv[1], kind=Announced)
        np.savez(Path(sys.argv[1], f"result{jax.process_index()}.npz"), **result)
