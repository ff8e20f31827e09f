"""C code of every layer against plain Python, with `==`."""

import ctypes
import subprocess

import numpy as np
import pytest

import akida_jax as aj
from akida_jax import zoo
from akida_jax.export.c_code.layers import pack_rows
from akida_jax.zoo.pretrained_models import pretrained_names
from benchmarks.networks import clothes, digits
from experiments.deploy.__main__ import load_windows
from tests.battery import BATTERY, random_model
from tests.export.c_code.programs import SANITIZED, STRICT, Program, compiler
from tests.learning.samples import backbone, images, make
from tests.samples import WEIGHTS, expect, random_inputs, random_variables, small_model

# By kind of weights: the ways in which a model can be written.
WAYS = {
    "random": {"skip_zeros": True},
    "highest": {"skip_zeros": False},
    "lowest": {"skip_zeros": False, "packed": False},
}


def assert_equal(program, name, x, expected):
    codes, _, out = program(name, x)
    assert not codes.any()
    np.testing.assert_array_equal(out, expected.reshape(len(x), -1))


@pytest.mark.parametrize("layers", BATTERY)
def test_layer_equals_plain_python(layers, rng, tmp_path):
    model = aj.Model(layers)
    x = random_inputs(rng, model.input_shape, 2**model.input_bits - 1)
    models = {
        weights: model.with_variables(random_variables(rng, model, weights)) for weights in WEIGHTS
    }
    program = Program(tmp_path, models, flags=["-O1"], each=WAYS)
    for name, model in models.items():
        expected = expect(model, x)[2]
        assert_equal(program, name, x, expected)
        if name == "random":
            assert len(np.unique(expected)) > 1, "the test would not notice a constant"


@pytest.mark.parametrize("skip_zeros", [False, True])
@pytest.mark.parametrize("packed", [False, True])
def test_every_type_of_layer_under_sanitizers(skip_zeros, packed, rng, tmp_path):
    model = small_model(rng)
    x = random_inputs(rng, model.input_shape, 255)
    options = {"skip_zeros": skip_zeros, "packed": packed}
    program = Program(tmp_path, {"small": model}, flags=SANITIZED, **options)
    codes, classes, out = program("small", x)
    assert not codes.any()
    np.testing.assert_array_equal(out, expect(model, x)[2].reshape(len(x), -1))
    np.testing.assert_array_equal(classes, model.predict_classes(x))


@pytest.mark.slow
def test_the_whole_battery_under_sanitizers(rng, tmp_path):
    models, each = {}, {}
    for index, parameters in enumerate(BATTERY):
        each[f"m{index}"] = {"skip_zeros": index % 2 > 0, "packed": index % 3 > 0}
        model = aj.Model(parameters.values[0])
        models[f"m{index}"] = model.with_variables(random_variables(rng, model))
    program = Program(tmp_path, models, flags=SANITIZED, each=each)
    for name, model in models.items():
        x = random_inputs(rng, model.input_shape, 2**model.input_bits - 1)
        assert_equal(program, name, x, model.forward(x))


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] if name != "akida_tiny_synthetic" else [])
        for name in pretrained_names()
    ],
)
def test_pretrained_models_equal_the_executor(name, rng, tmp_path):
    model = zoo.pretrained(name)
    limit = 2**model.input_bits - 1
    x = random_inputs(rng, model.input_shape, limit)
    program = Program(tmp_path, {"net": model}, flags=["-O2"], skip_zeros=True)
    codes, classes, out = program("net", x)
    assert not codes.any()
    np.testing.assert_array_equal(out, model.forward(x).reshape(len(x), -1))
    np.testing.assert_array_equal(classes, model.predict_classes(x))


@pytest.mark.slow
def test_deep_random_models_equal_plain_python(rng, tmp_path):
    models = {}
    for index in range(12):
        model = random_model(rng)
        models[f"m{index}"] = model.with_variables(random_variables(rng, model))
    program = Program(tmp_path, models, flags=SANITIZED, skip_zeros=True)
    for name, model in models.items():
        x = random_inputs(rng, model.input_shape, 2**model.input_bits - 1)
        assert_equal(program, name, x, expect(model, x)[2])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["akida_tiny_synthetic", "akida_small_nmnist", "akidanet_fashion"])
def test_pretrained_models_on_real_inputs(name, request, tmp_path):
    model = zoo.pretrained(name)
    if name == "akida_tiny_synthetic":
        x, _ = load_windows(name)
    else:
        request.getfixturevalue("data_dir")
        try:
            x = {"akida_small_nmnist": digits, "akidanet_fashion": clothes}[name]().x
        except FileNotFoundError as error:
            pytest.skip(f"its data are not here: {error}")
    x = x[:: len(x) // 40]
    for skip_zeros in (False, True):
        (folder := tmp_path / str(skip_zeros)).mkdir()
        program = Program(folder, {"net": model}, flags=["-O2"], skip_zeros=skip_zeros, sample=x[0])
        codes, classes, out = program("net", x)
        assert not codes.any()
        np.testing.assert_array_equal(out, model.forward(x).reshape(len(x), -1))
        np.testing.assert_array_equal(classes, model.predict_classes(x))
        assert len(np.unique(classes)) > 1


def test_a_one_bit_layer_that_was_learned(rng, tmp_path):
    model, learner = backbone(), make()
    x = images(rng, 9)
    learner.fit(model.forward(x[:6]), np.arange(6) % 3)
    attached = learner.attach(model)
    program = Program(tmp_path, {"net": attached}, flags=SANITIZED, skip_zeros=True)
    codes, classes, out = program("net", x)
    assert not codes.any()
    np.testing.assert_array_equal(out, learner.predict(model.forward(x)))
    np.testing.assert_array_equal(classes, attached.predict_classes(x))


def test_names_of_layers_may_hold_anything(rng, tmp_path):
    names = ['*/ #error "é" \\', "@name@ @x@", "??/"]
    convolutions = [aj.Convolutional(filters=2, kernel_size=1, name=name) for name in names]
    model = aj.Model([aj.InputData(input_shape=(4, 4, 2), name="in"), *convolutions])
    model = model.with_variables(random_variables(rng, model))
    x = random_inputs(rng, model.input_shape, 15)
    program = Program(tmp_path, {"net": model}, flags=["-O1"])
    assert_equal(program, "net", x, model.forward(x))


def test_the_largest_logit_is_that_of_single_precision(rng, tmp_path):
    """Pairs whose quotients are the same, or nearly, before and after rounding."""
    model = aj.Model([aj.InputData(input_shape=(1, 1, 2)),
                      aj.FullyConnected(units=2, activation=False)])  # fmt: skip
    aj.export.to_c(model, tmp_path / "net", name="net")
    library = tmp_path / "net.so"
    source = tmp_path / "net" / "akida_runtime.c"
    subprocess.run([compiler("gcc"), *STRICT, "-O1", "-shared", "-fPIC", source, "-o", library],
                   check=True)  # fmt: skip
    largest = ctypes.CDLL(library).net_akida_largest
    n = 20_000
    steps = rng.integers(1, 2 ** rng.integers(1, 25, (n, 2)))
    above = np.empty((n, 2), np.int64)
    above[:, 0] = rng.integers(-(2**30), 2**30, n) >> rng.integers(0, 31, n)
    near = np.round(above[:, 0] * (steps[:, 1] / steps[:, 0])) + rng.integers(-1, 2, n)
    above[:, 1] = np.clip(near, -(2**30), 2**30)
    thresholds = rng.integers(-(2**19), 2**19, (n, 2))
    potentials = (above + thresholds).astype(np.int32)
    thresholds, steps = thresholds.astype(np.int32), steps.astype(np.uint32)
    logits = (potentials - thresholds).astype(np.float32) / steps.astype(np.float32)
    pairs = zip(potentials, thresholds, steps, strict=True)
    found = [largest(*(row.ctypes.data_as(ctypes.c_void_p) for row in pair), 2) for pair in pairs]
    np.testing.assert_array_equal(found, logits.argmax(1))
    exact = above[:, 1] * steps[:, 0].astype(object) > above[:, 0] * steps[:, 1].astype(object)
    equal = logits[:, 0] == logits[:, 1]
    assert (exact & equal).sum() > 100, "no pair is told apart by rounding alone"
    assert (~equal).sum() > 1000


def test_codes_of_a_row_lie_side_by_side():
    # Three bytes for five codes: byte f % 3, low half first, the last half empty.
    packed = pack_rows(np.array([[1, 2, 3, 4, 5], [15, 0, 8, 7, 9]]), 4)
    assert packed.tolist() == [0x41, 0x52, 0x03, 0x7F, 0x90, 0x08]
    # Two bytes for nine bits: those of even places in the first.
    bits = np.array([[1, 0, 1, 1, 0, 0, 1, 1, 1]])
    assert pack_rows(bits, 1).tolist() == [0b11011, 0b1010]
    assert pack_rows(np.array([[255, 0]]), 8).tolist() == [255, 0]
