"""Pieces of a batch, and convolutions on all cores: the same integers."""

import json
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


@pytest.mark.compiled
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


ON_DEVICES = """
import json
import sys
import jax, numpy as np
import akida_jax as aj
import akida_jax.model as module
from akida_jax.executors import batches

batches.LARGEST_PIECE = 2
model, x = aj.load(sys.argv[1]), np.load(sys.argv[2])
seen = []

def watch(name):
    plain = getattr(module, name)
    def watched(programs, piece, potentials):
        devices = getattr(piece, "sharding", None)
        seen.append([len(piece), len(devices.device_set) if devices else 1])
        return plain(programs, piece, potentials)
    setattr(module, name, watched)

watch("_run")
watch("_count")
found = {}
for n in json.loads(sys.argv[3]):
    seen.clear()
    for way in sys.argv[5:]:
        np.save(f"{sys.argv[4]}/{way}_{n}.npy", model.forward(x[:n], way))
    found[n] = {"runs": list(seen), "activity": {}}
    if "event" in sys.argv:
        seen.clear()
        activity = model.activity(x[:n]).items()
        found[n]["activity"] = {k: [v.events_in, v.synaptic_operations] for k, v in activity}
        found[n]["counts"] = list(seen)
print(json.dumps(found))
"""


def run_on_devices(count, model, x, sizes, folder, ways):
    """Run the first few of ``x`` in a process with virtual devices; return what it tells."""
    aj.save(model, folder / "m.akj")
    np.save(folder / "x.npy", x)
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={count}"
    done = subprocess.run(
        [sys.executable, "-c", ON_DEVICES, str(folder / "m.akj"), str(folder / "x.npy"),
         json.dumps(sizes), str(folder), *ways],
        env={**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


# Pieces of two inputs for a device. By inputs: (size, devices) of each dense call, by hand.
SHARED = {
    3: {1: [[1, 1]], 2: [[2, 2]], 3: [[3, 3]], 10: [[6, 3], [6, 3]]},
    6: {2: [[2, 2]], 5: [[6, 6]], 7: [[12, 6]], 15: [[12, 6], [4, 4]]},
    8: {1: [[1, 1]], 3: [[4, 4]], 9: [[16, 8]], 18: [[16, 8], [2, 2]]},
}


@pytest.mark.parametrize("devices", SHARED)
def test_devices_share_a_batch(devices, rng, tmp_path):
    model = aj.Model([
        aj.InputData(input_shape=(6, 5, 2), input_bits=4),
        aj.Convolutional(filters=4, kernel_size=3, pool="global_average"),
        aj.FullyConnected(units=3, activation=False),
    ])  # fmt: skip
    model = model.with_variables(random_variables(rng, model))
    x = rng.integers(0, 16, (max(SHARED[devices]), 6, 5, 2)).astype(np.uint8)
    ways = ("dense", "event", "native")
    told = run_on_devices(devices, model, x, list(SHARED[devices]), tmp_path, ways)
    for n, shared in SHARED[devices].items():
        alone = [[2, 1]] * (n // 2) + [[1, 1]] * (n % 2)  # event executor, activity
        assert told[str(n)]["runs"] == shared + alone
        assert told[str(n)]["counts"] == alone
        for way in ways:
            found = np.load(tmp_path / f"{way}_{n}.npy")
            np.testing.assert_array_equal(found, model.forward(x[:n], "dense"), strict=True)
        for name, layer in model.activity(x[:n]).items():
            expected = [layer.events_in, layer.synaptic_operations]
            assert told[str(n)]["activity"][name] == expected


def test_eight_devices_share_convolutions_that_are_split(wide, rng, tmp_path):
    x = rng.integers(0, 256, (21, *wide.input_shape)).astype(np.uint8)
    run_on_devices(8, wide, x, [21], tmp_path, ["dense"])
    np.testing.assert_array_equal(
        np.load(tmp_path / "dense_21.npy"), wide.forward(x, "dense"), strict=True
    )
