"""Artefacts of jax.export: the integers of plain Python, without this package."""

import subprocess
import sys

import jax
import jax.export
import numpy as np
import pytest

import akida_jax as aj
from akida_jax import zoo
from akida_jax.export import sizes, stablehlo
from akida_jax.zoo.pretrained_models import pretrained_names
from tests.export.samples import MODELS, beyond_float32, with_weights
from tests.samples import execute, random_inputs, random_variables, small_model

ALONE = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("akida_jax", "flax", "quant"):
            raise ImportError(f"{name} is blocked")

sys.meta_path.insert(0, Blocked())
try:
    import akida_jax
except ImportError:
    pass
else:
    sys.exit("akida_jax can be imported")

import jax, jax.export, numpy as np

with open(sys.argv[1], "rb") as file:
    artefact = jax.export.deserialize(bytearray(file.read()))
for n in (1, 3, 64):
    x, expected = (np.load(f"{sys.argv[2]}/{what}{n}.npy") for what in "xy")
    np.testing.assert_array_equal(np.asarray(artefact.call(x)), expected, strict=True)
print("equal", len(jax.devices()))
"""


def read(path):
    return jax.export.deserialize(bytearray(path.read_bytes()))


def by_branch(branch, programs, x):
    """Run what another platform runs, on this one."""

    def potentials(program, x):
        way = branch if branch is not stablehlo._in_half or program.groups == 1 else products
        return way(program, x, program.kernels)

    products = stablehlo._by_products
    return execute(programs, x, potentials)


@pytest.mark.integers
@pytest.mark.parametrize("name", MODELS)
def test_every_layer_equals_plain_python(name, rng, tmp_path):
    model, x, expected = with_weights(name, rng)
    aj.export.to_jax(model, tmp_path / "m")
    out = np.asarray(read(tmp_path / "m").call(x))
    np.testing.assert_array_equal(out, expected, strict=True)
    assert len(np.unique(expected)) > 1, "the test would not notice a constant"
    for branch in (stablehlo._by_products, stablehlo._in_half):
        np.testing.assert_array_equal(np.asarray(by_branch(branch, model.programs, x)[2]), expected)


@pytest.mark.compiled
def test_sums_beyond_float32_are_exact(tmp_path):
    model, x, expected = beyond_float32()
    aj.export.to_jax(model, tmp_path / "m")
    out = np.asarray(read(tmp_path / "m").call(x))
    np.testing.assert_array_equal(out, expected, strict=True)


@pytest.mark.compiled
@pytest.mark.parametrize("name", pretrained_names())
def test_pretrained_models_give_their_integers(name, rng, tmp_path):
    model = zoo.pretrained(name)
    x = random_inputs(rng, model.input_shape, 2**model.input_bits - 1)
    aj.export.to_jax(model, tmp_path / "m")
    out = np.asarray(read(tmp_path / "m").call(x))
    np.testing.assert_array_equal(out, model.forward(x), strict=True)


@pytest.mark.compiled
@pytest.mark.slow
@pytest.mark.parametrize("name", ["akidanet", "ecg", "yolo"])
def test_large_architectures_give_their_integers(name, rng, tmp_path):
    model = zoo.blank_model(name)
    model = model.with_variables(random_variables(rng, model))
    x = rng.integers(0, 2**model.input_bits, (2, *model.input_shape), dtype=np.uint8)
    aj.export.to_jax(model, tmp_path / "m")
    out = np.asarray(read(tmp_path / "m").call(x))
    np.testing.assert_array_equal(out, model.forward(x), strict=True)


@pytest.mark.parametrize("devices", [1, 3])
def test_an_artefact_runs_alone_for_any_number_of_inputs(devices, rng, tmp_path, monkeypatch):
    """In a process that cannot import this package, on one device of it."""
    model = small_model(rng)
    aj.export.to_jax(model, tmp_path / "m")
    for n in (1, 3, 64):
        x = rng.integers(0, 256, (n, *model.input_shape), dtype=np.uint8)
        np.save(tmp_path / f"x{n}.npy", x)
        np.save(tmp_path / f"y{n}.npy", model.forward(x))
    monkeypatch.setenv("XLA_FLAGS", f"--xla_force_host_platform_device_count={devices}")
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    command = [sys.executable, "-c", ALONE, str(tmp_path / "m"), str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert result.stdout == f"equal {devices}\n", result.stderr


def test_what_is_in_an_artefact(rng, tmp_path):
    model = small_model(rng)
    aj.export.to_jax(model, tmp_path / "a", platforms=("cpu", "cuda", "rocm", "tpu"))
    artefact = read(tmp_path / "a")
    assert artefact.platforms == ("cpu", "cuda", "rocm", "tpu")
    assert artefact.nr_devices == 1
    assert [str(a) for a in artefact.in_avals] == ["uint8[n,9,8,3]"]
    assert [str(a) for a in artefact.out_avals] == ["int32[n,1,1,3]"]
    calls = [line for line in artefact.mlir_module().splitlines() if "custom_call" in line]
    assert all("@shape_assertion" in line for line in calls), "only jax.export's own check of n"
    content = (tmp_path / "a").read_bytes()
    assert b".py" not in content, "no path of the machine that wrote it"
    aj.export.to_jax(model, tmp_path / "b", platforms=("cpu", "cuda", "rocm", "tpu"))
    assert (tmp_path / "b").read_bytes() == content


def test_an_artefact_takes_at_least_one_input_of_its_shape(rng, tmp_path):
    model = small_model(rng)
    aj.export.to_jax(model, tmp_path / "m", platforms="cpu")
    call = read(tmp_path / "m").call
    with pytest.raises(ValueError, match=r"Expected value >= 1 for dimension variable 'n'"):
        call(np.zeros((0, 9, 8, 3), np.uint8))
    with pytest.raises(ValueError, match="Shape mismatch"):
        call(np.zeros((1, 9, 7, 3), np.uint8))
    with pytest.raises(ValueError, match="Dtype mismatch"):
        call(np.zeros((1, 9, 8, 3), np.int32))


def test_an_artefact_of_another_platform_does_not_run_here(rng, tmp_path):
    model = small_model(rng)
    aj.export.to_jax(model, tmp_path / "m", platforms=["tpu"])
    with pytest.raises(ValueError, match=r"platforms.*tpu"):
        read(tmp_path / "m").call(np.zeros((1, 9, 8, 3), np.uint8))


@pytest.mark.parametrize(
    ("platforms", "got"),
    [(("cpu", "gpu"), "cpu, gpu"), ((), "none"), ("metal", "metal"), (("cpu", "cpu"), "cpu, cpu")],
)
def test_unknown_platforms_are_refused(platforms, got, rng, tmp_path):
    with pytest.raises(ValueError, match=f"some of cpu, cuda, rocm, tpu, each once, got {got}$"):
        aj.export.to_jax(small_model(rng), tmp_path / "m", platforms=platforms)
    assert not list(tmp_path.iterdir())


def test_weights_beyond_a_file_are_refused(rng, tmp_path, monkeypatch):
    monkeypatch.setattr(sizes, "LARGEST_BYTES", 300)
    model = aj.Model([
        aj.InputData(input_shape=(1, 1, 30)), aj.FullyConnected(units=11, name="wide"),
    ])  # fmt: skip
    message = r"weights take 330 bytes, of which layer 'wide' 330; a file holds 300; use fewer"
    with pytest.raises(ValueError, match=message):
        aj.export.to_jax(model, tmp_path / "m")
    assert not list(tmp_path.iterdir())


def test_targets_that_cannot_be_written(rng, tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist; create it first"):
        aj.export.to_jax(small_model(rng), tmp_path / "none" / "m")
    with pytest.raises(IsADirectoryError, match="is a folder; give the name of a file"):
        aj.export.to_jax(small_model(rng), tmp_path)


def test_a_failing_export_leaves_the_old_file(rng, tmp_path, monkeypatch):
    (tmp_path / "m").write_bytes(b"old")

    def fail(*args):
        raise OSError("no space left on device")

    monkeypatch.setattr(stablehlo.os, "fsync", fail)
    with pytest.raises(OSError, match="no space left"):
        aj.export.to_jax(small_model(rng), tmp_path / "m")
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("m", b"old")]


def test_exporting_leaves_the_settings_of_jax(rng, tmp_path):
    before = jax.config.jax_traceback_in_locations_limit
    aj.export.to_jax(small_model(rng), tmp_path / "m")
    assert jax.config.jax_traceback_in_locations_limit == before != 0


@pytest.mark.gpu
def test_an_artefact_gives_the_same_integers_on_an_accelerator(rng, tmp_path):
    assert jax.default_backend() != "cpu", "no accelerator; leave out the marker gpu"
    model = zoo.blank_model("akidanet", alpha=0.5, classes=10, input_shape=(64, 64, 3))
    model = model.with_variables(random_variables(rng, model))
    x = random_inputs(rng, model.input_shape, 255)
    aj.export.to_jax(model, tmp_path / "m")
    out = np.asarray(read(tmp_path / "m").call(x))
    np.testing.assert_array_equal(out, model.forward(x, "event"), strict=True)
