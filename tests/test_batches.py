"""Pieces of a batch, and convolutions on all cores: the same integers."""

import os
import subprocess
import sys

import jax
import numpy as np
import pytest

import akida_jax as aj
from akida_jax import zoo
from akida_jax.executors import batches
from akida_jax.executors.batches import LARGEST_PIECE, gains_by_splitting, piece_size
from tests.samples import random_variables


@pytest.fixture
def wide(rng):
    """A model large enough for its convolutions to be split from eight inputs on."""
    model = aj.Model([
        aj.InputConvolutional(input_shape=(32, 32, 3), filters=32, kernel_size=3, pool="max",
                              padding_value=7, name="eye"),
        aj.Convolutional(filters=128, kernel_size=3),
        aj.SeparableConvolutional(filters=64, kernel_size=3, pool="global_average"),
        aj.FullyConnected(units=5, activation=False),
    ])  # fmt: skip
    return model.with_variables(random_variables(rng, model))


def test_a_piece_holds_what_its_largest_map_allows():
    size = piece_size(zoo.blank_model("akidanet", alpha=0.5, classes=10).programs)
    # The second map is 112x112x32 in float32, 1.5 MiB: ten fit into 16 MiB.
    assert size == 8
    assert piece_size(zoo.blank_model("akida_tiny").programs) == LARGEST_PIECE


def test_one_input_is_always_a_piece(monkeypatch):
    monkeypatch.setattr(batches, "PIECE_BYTES", 1)
    assert piece_size(zoo.blank_model("akida_tiny").programs) == 1


def test_small_work_is_not_split(wide):
    assert not gains_by_splitting(zoo.blank_model("akida_tiny").programs, 64)
    assert gains_by_splitting(wide.programs, 8)
    assert not gains_by_splitting(wide.programs, 1)


def test_integers_are_the_same_however_a_batch_is_cut_and_compiled(wide, rng, monkeypatch):
    x = rng.integers(0, 256, (11, *wide.input_shape)).astype(np.uint8)
    together = wide.forward(x, "dense")
    np.testing.assert_array_equal(together, wide.forward(x, "event"))
    alone = [wide.forward(image[None], "dense") for image in x]
    np.testing.assert_array_equal(together, np.concatenate(alone))
    for size in (1, 4):
        monkeypatch.setattr(batches, "LARGEST_PIECE", size)
        np.testing.assert_array_equal(wide.forward(x, "dense"), together)


def test_without_the_option_it_is_plain_jit(monkeypatch):
    monkeypatch.setattr(batches, "_SPLIT_CONVOLUTIONS", {"xla_cpu_no_such_option": "1"})
    batches.has_split_convolutions.cache_clear()
    try:
        assert not batches.has_split_convolutions()
        assert batches.jit_on_all_cores(lambda x: 2 * x)(jax.numpy.ones(2)).tolist() == [2, 2]
    finally:
        batches.has_split_convolutions.cache_clear()


EIGHT_DEVICES = """
import sys
import jax, numpy as np
import akida_jax as aj
from akida_jax.executors import batches
model = aj.load(sys.argv[1])
x = np.load(sys.argv[2])
spread, seen = batches.spread, []
import akida_jax.model
def watched(piece):
    placed = spread(piece)
    seen.append(len(getattr(placed, "sharding", jax.devices()[:1]).device_set))
    return placed
akida_jax.model.spread = watched
np.save(sys.argv[3], model.forward(x, "dense"))
np.save(sys.argv[4], model.forward(x, "native"))
print(len(jax.devices()), seen)
"""


def test_eight_devices_share_a_batch(wide, rng, tmp_path):
    x = rng.integers(0, 256, (21, *wide.input_shape)).astype(np.uint8)
    model, inputs, dense, native = (str(tmp_path / n) for n in ("m.akj", "x.npy", "d.npy", "n.npy"))
    aj.save(wide, model)
    np.save(inputs, x)
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8"
    done = subprocess.run(
        [sys.executable, "-c", EIGHT_DEVICES, model, inputs, dense, native],
        env={**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout == "8 [8]\n", done.stderr
    expected = wide.forward(x, "dense")
    np.testing.assert_array_equal(np.load(dense), expected, strict=True)
    np.testing.assert_array_equal(np.load(native), expected, strict=True)
