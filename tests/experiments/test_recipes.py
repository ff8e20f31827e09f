import functools
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from akida_jax.zoo.datasets import Examples
from experiments.training import evaluation
from experiments.training.checkpoints import leaf_name
from experiments.training.recipes import Phase, Recipe, cross_entropy
from experiments.training.trainer import Trainer
from tests.experiments import sharded_step, tiny_run

ROOT = Path(__file__).resolve().parents[2]
EPS = np.finfo(np.float32).eps
AVERAGED = ("parameters", "statistics")


def make_trainer(recipe, data=None, quantized=False):
    data = data or tiny_run.make_examples()[0]
    return Trainer(
        tiny_run.make_network(), tiny_run.make_phases()[quantized], data, recipe=recipe, seed=0
    )


def arrays_of(tree):
    return {leaf_name(path): np.asarray(leaf) for path, leaf in jax.tree.leaves_with_path(tree)}


def test_cosine_rates_by_hand():
    phase = Phase(name="float", epochs=5, low=0.1, high=1.1, schedule="cosine", warmup_epochs=1)
    rate = phase.rate(4)
    # Four steps up from 0.1 to 1.1, then half a cosine over sixteen.
    found = [float(rate(step)) for step in (0, 2, 4, 12, 20)]
    np.testing.assert_allclose(found, [0.1, 0.6, 1.1, 0.6, 0.1], rtol=1e-6)


def test_a_warmup_takes_at_most_half_of_the_phase():
    phase = Phase(name="float", epochs=1, low=0.1, high=1.1, schedule="cosine", warmup_epochs=9)
    found = [float(phase.rate(8)(step)) for step in (0, 2, 4, 6, 8)]
    np.testing.assert_allclose(found, [0.1, 0.6, 1.1, 0.6, 0.1], rtol=1e-6)


def test_cycles_fill_the_phase():
    """Six epochs make two cycles of three, not one and a half of four: the last rate is low."""
    phase = Phase(name="float", epochs=6, low=0.1, high=1.1, cycle_epochs=4)
    found = [float(phase.rate(4)(step)) for step in (0, 6, 12, 18, 23)]
    np.testing.assert_allclose(found, [0.1, 1.1, 0.1, 1.1, 0.1 + 1 / 6], rtol=1e-6)


def test_rates_the_wrong_way_round_are_refused():
    with pytest.raises(ValueError, match=r"quantized: the learning rates must rise .* 0.1 to 0.01"):
        Phase(name="quantized", epochs=1, low=0.1, high=0.01)


def test_smoothed_cross_entropy_by_hand():
    logits, labels = jnp.log(jnp.array([[0.7, 0.2, 0.1]])), jnp.array([0])
    assert float(cross_entropy(logits, labels)) == pytest.approx(-np.log(0.7), rel=1e-6)
    wanted = -(0.8 * np.log(0.7) + 0.1 * np.log(0.2) + 0.1 * np.log(0.1))
    assert float(cross_entropy(logits, labels, smoothing=0.3)) == pytest.approx(wanted, rel=1e-6)


def test_weight_decay_acts_on_kernels_alone():
    trainer = make_trainer(Recipe(batch_size=8))
    parameters = trainer.state.parameters
    transform = Recipe(weight_decay=0.5).transform(optax.constant_schedule(0.1))
    nothing = jax.tree.map(jnp.zeros_like, parameters)
    updates, _ = transform.update(nothing, transform.init(parameters), parameters)
    given = arrays_of(parameters)
    kernels = set()
    for name, update in arrays_of(updates).items():
        if name.split(".")[2] in ("kernel", "pointwise"):
            kernels.add(name)
            np.testing.assert_allclose(update, -0.1 * 0.5 * given[name], rtol=1e-6)
        else:
            assert (update == 0).all()
    assert len(kernels) == 4  # conv, depthwise and pointwise, dense


def test_the_average_follows_the_parameters():
    """The first value has a share of 9/10, so that the random start is soon forgotten."""
    recipe = Recipe(batch_size=26, average=0.75)
    trainer = make_trainer(recipe)
    before = {kind: arrays_of(getattr(trainer.state, kind)) for kind in AVERAGED}
    trainer.run_epoch(1)  # one step
    for kind in AVERAGED:
        after = arrays_of(getattr(trainer.state, kind))
        average = arrays_of(getattr(trainer.state.average, kind))
        for name in average:
            # One product and one sum in float32, and a share that is rounded itself.
            np.testing.assert_allclose(
                average[name], 0.1 * before[kind][name] + 0.9 * after[name],
                rtol=8 * EPS, atol=8 * EPS,
            )  # fmt: skip
    network = nnx.state(trainer.network())
    expected = (*jax.tree.leaves(trainer.state.average.parameters),
                *jax.tree.leaves(trainer.state.average.statistics))  # fmt: skip
    found = sorted(np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(network))
    assert found == sorted(np.asarray(leaf).tobytes() for leaf in expected)


def test_the_random_start_is_forgotten():
    """Ten steps by hand: of the start is left the product of (1 + i) / (10 + i), 1 in 92,378.

    With a constant decay of 0.9999 it would be 99.9 %.
    """
    trainer = make_trainer(Recipe(batch_size=26, average=0.9999))
    start = arrays_of(trainer.state.parameters)
    seen = []
    for number in range(1, 11):
        trainer.run_epoch(number)
        seen.append(arrays_of(trainer.state.parameters))
    expected = start
    for n, values in enumerate(seen):
        share = 1 - min(0.9999, (1 + n) / (10 + n))
        expected = {k: (1 - share) * expected[k] + share * values[k] for k in expected}
    average = arrays_of(trainer.state.average.parameters)
    for name, value in expected.items():
        # Ten times the rounding of one update.
        np.testing.assert_allclose(average[name], value, rtol=80 * EPS, atol=80 * EPS)
    assert int(trainer.state.average.updates) == 10


@pytest.mark.slow
def test_a_run_with_an_average_resumes_to_the_same_bits(tmp_path):
    class Stop(Exception):
        pass

    def stop(row):
        if row["epoch"] == 3:
            raise Stop

    recipe = Recipe(batch_size=8, average=0.9, weight_decay=1e-3, augment=tiny_run.flip)
    whole = tiny_run.run(tmp_path / "whole", recipe=recipe)
    with pytest.raises(Stop):
        tiny_run.run(tmp_path / "broken", recipe=recipe, on_epoch=stop)
    resumed = tiny_run.run(tmp_path / "broken", recipe=recipe)
    assert whole.keys() == resumed.keys()
    for name, value in whole.items():
        np.testing.assert_array_equal(resumed[name], value, strict=True)


def test_several_steps_in_a_call_are_the_same_steps():
    one = make_trainer(Recipe(batch_size=8, augment=tiny_run.flip, steps_per_call=1))
    two = make_trainer(Recipe(batch_size=8, augment=tiny_run.flip, steps_per_call=2))
    assert one.steps == 3  # a call of two steps and one of a single step
    calls = []
    step = two._chosen_steps
    two._chosen_steps = lambda *given: calls.append(given[2].shape) or step(*given)
    losses = one.run_epoch(1), two.run_epoch(1)
    assert calls == [(2, 8)]
    # Another program: its sums over 8 * 6 * 6 values may round in another order.
    assert losses[0] == pytest.approx(losses[1], rel=float(8 * 36 * EPS))


class ThreeBatches:
    """A stream of three batches, the first of which tells the epoch."""

    n_train = 26
    input_shape = (6, 6, 2)

    def __init__(self, given=3):
        self.given = given
        self.asked = []

    def train_batches(self, seed, epoch, batch_size):
        self.asked.append((seed, epoch, batch_size))
        data, _ = tiny_run.make_examples()
        for i in range(self.given):
            yield Examples(*(values[8 * i : 8 * i + 8] for values in data))

    def test_batches(self, batch_size):
        _, test = tiny_run.make_examples()
        for start in range(0, len(test.x), 5):
            yield Examples(*(values[start : start + 5] for values in test))


def test_a_stream_is_trained_on_epoch_by_epoch():
    stream = ThreeBatches()
    trainer = make_trainer(Recipe(batch_size=8), stream)
    losses = [trainer.run_epoch(number) for number in (1, 2, 3)]
    assert stream.asked == [(0, 1, 8), (0, 2, 8), (0, 3, 8)]
    assert losses[2] < losses[0]
    _, test = tiny_run.make_examples()
    network = trainer.network()
    assert evaluation.accuracy(network, stream) == evaluation.accuracy(network, test)


def test_a_stream_that_ends_early_is_refused():
    trainer = make_trainer(Recipe(batch_size=8), ThreeBatches(given=2))
    with pytest.raises(ValueError, match=r"epoch 4: the stream gave 2 batches of 8, 3 were"):
        trainer.run_epoch(4)


def test_the_loss_is_what_the_recipe_says():
    def loss(outputs, targets):
        return 3.0 + 0.0 * outputs.sum() + 0.0 * targets["weight"].sum()

    data, _ = tiny_run.make_examples()
    targets = {"label": data.y, "weight": np.ones(len(data.y), np.float32)}
    trainer = make_trainer(Recipe(batch_size=8, loss=loss), Examples(data.x, targets))
    assert trainer.run_epoch(1) == 3.0


@functools.cache
def _flags(n):
    flags = os.environ.get("XLA_FLAGS", "")
    return f"{flags} --xla_force_host_platform_device_count={n}".strip()


def run_on(n, path, module="tests.experiments.sharded_step"):
    environment = {**os.environ, "XLA_FLAGS": _flags(n), "JAX_PLATFORMS": "cpu"}
    return subprocess.run(
        [sys.executable, "-m", module, str(path)],
        cwd=ROOT, env=environment, capture_output=True, text=True,
    )  # fmt: skip


@pytest.mark.slow
def test_eight_devices_share_a_batch(tmp_path):
    finished = run_on(8, tmp_path / "eight.npz")
    assert finished.returncode == 0, finished.stderr
    eight, one = dict(np.load(tmp_path / "eight.npz")), sharded_step.run()
    assert (one.pop("devices"), eight.pop("devices")) == (1, 8)
    np.testing.assert_array_equal(eight.pop("integers"), one.pop("integers"), strict=True)
    gradients = {name: one.pop(name) for name in list(one) if name.startswith("gradient")}
    assert len(gradients) == len(jax.tree.leaves(nnx.state(tiny_run.make_network(), nnx.Param)))
    largest = max(np.abs(gradient).max() for gradient in gradients.values())
    for name, gradient in gradients.items():
        # As below, of the largest: where the terms cancel, as in a bias before a batch norm,
        # only their rounding is left. Without an exchange each device would have its own.
        bound = 10 * 24 * 36 * EPS * largest
        np.testing.assert_allclose(eight[name], gradient, rtol=0, atol=bound, err_msg=name)
    assert len(one) == 1 + 2 * 2  # loss; mean and variance of two layers
    for name, value in one.items():
        # Statistics over the whole batch, 24 * 36 values, summed in another order; those of
        # one device's three examples differ in the first digit. Inputs up to 15 are squared
        # and subtracted in the variance, which costs another digit.
        np.testing.assert_allclose(eight[name], value, rtol=10 * 24 * 36 * EPS, err_msg=name)


def test_a_batch_that_devices_cannot_share_is_refused(tmp_path):
    finished = run_on(7, tmp_path / "seven.npz")
    assert finished.returncode != 0
    assert "a batch of 24 cannot be split evenly over 7 devices" in finished.stderr
