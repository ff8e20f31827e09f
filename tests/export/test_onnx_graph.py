"""ONNX graphs in ONNX Runtime: the integers of plain Python."""

import sys
from fractions import Fraction

import numpy as np
import pytest

import akida_jax as aj
from akida_jax import zoo
from akida_jax.export import onnx_graph, sizes
from akida_jax.quant.registers import Registers
from akida_jax.zoo.pretrained_models import pretrained_names
from tests.export.samples import MODELS, beyond_float32, with_weights
from tests.samples import random_inputs, random_variables, small_model

onnx = pytest.importorskip("onnx", reason="extra onnx is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")


def open_session(path):
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def run(path, x):
    return open_session(path).run(["output"], {"input": x})[0]


@pytest.mark.parametrize("weights", ["random", "highest", "lowest"])
@pytest.mark.parametrize("name", MODELS)
def test_every_layer_equals_plain_python(name, weights, rng, tmp_path):
    model, x, expected = with_weights(name, rng, weights)
    aj.export.to_onnx(model, tmp_path / "m.onnx")
    np.testing.assert_array_equal(run(tmp_path / "m.onnx", x), expected, strict=True)
    if weights == "random":
        assert len(np.unique(expected)) > 1, "the test would not notice a constant"


def test_sums_beyond_float32_are_exact(tmp_path):
    model, x, expected = beyond_float32()
    aj.export.to_onnx(model, tmp_path / "m.onnx")
    np.testing.assert_array_equal(run(tmp_path / "m.onnx", x), expected, strict=True)


@pytest.mark.parametrize("name", pretrained_names())
def test_pretrained_models_give_their_integers(name, rng, tmp_path):
    model = zoo.pretrained(name)
    x = random_inputs(rng, model.input_shape, 2**model.input_bits - 1)
    aj.export.to_onnx(model, tmp_path / "m.onnx")
    np.testing.assert_array_equal(run(tmp_path / "m.onnx", x), model.forward(x), strict=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", zoo.list())
def test_every_architecture_gives_its_integers(name, rng, tmp_path):
    model = zoo.blank_model(name)
    model = model.with_variables(random_variables(rng, model))
    x = rng.integers(0, 2**model.input_bits, (2, *model.input_shape), dtype=np.uint8)
    aj.export.to_onnx(model, tmp_path / "m.onnx")
    expected = model.forward(x)
    np.testing.assert_array_equal(run(tmp_path / "m.onnx", x), expected, strict=True)
    assert len(np.unique(expected)) > 1, "the test would not notice a constant"


def test_any_number_of_inputs(rng, tmp_path):
    model = small_model(rng)
    aj.export.to_onnx(model, tmp_path / "m.onnx")
    for n in (0, 1, 3, 64):
        x = rng.integers(0, 256, (n, *model.input_shape), dtype=np.uint8)
        np.testing.assert_array_equal(run(tmp_path / "m.onnx", x), model.forward(x), strict=True)


def test_channels_first(rng, tmp_path):
    for name in ("image-k3-s2", "dense-on-a-map"):
        model, x, expected = with_weights(name, rng)
        aj.export.to_onnx(model, tmp_path / "m.onnx", channels_first=True)
        out = run(tmp_path / "m.onnx", np.ascontiguousarray(x.transpose(0, 3, 1, 2)))
        np.testing.assert_array_equal(out, expected.transpose(0, 3, 1, 2), strict=True)


def test_the_corners_of_the_registers(tmp_path):
    """Largest and smallest steps and thresholds, at the potentials where a level begins."""
    wide = Registers(threshold_bits=25, input_threshold_bits=25, step_integer_bits=16,
                     input_step_integer_bits=16, step_fraction_bits=8)  # fmt: skip
    n = 57334
    weights = np.array([1, -7, 7, -7, 1])
    thresholds = [0, -6_000_000, 2**24 - 1, -(2**24), 5]
    steps = [1 / 256, 65535 + 255 / 256, 1, 65535, 1.5]
    counts = np.unique([*range(40), *np.linspace(46000, n, 60, dtype=int)])
    x = np.zeros((len(counts), 1, 1, n), np.uint8)
    for row, count in zip(x, counts, strict=True):
        row[..., :count] = 15 if count > 39 else 1
    potentials = np.einsum("nabc,u->nu", x.astype(np.int64), weights)
    for bits in (1, 2, 4):
        layer = aj.FullyConnected(units=5, act_bits=bits, name="a")
        model = aj.Model([aj.InputData(input_shape=(1, 1, n)), layer], registers=wide)
        kernel = np.broadcast_to(weights, (1, 1, n, 5)).astype(np.int8)
        firing = {"threshold": np.int32(thresholds), "step": np.float32(steps)}
        model = model.with_variables({"a": {"kernel": kernel, **firing}})
        expected = [
            [fire(p, t, s, bits, 256) for p, t, s in zip(row, thresholds, steps, strict=True)]
            for row in potentials.tolist()
        ]
        aj.export.to_onnx(model, tmp_path / "m.onnx")
        np.testing.assert_array_equal(run(tmp_path / "m.onnx", x)[:, 0, 0], expected)
        assert {row[1] for row in expected} == set(range(2**bits))
        assert {row[4] for row in expected} == set(range(2**bits))


def fire(potential, threshold, step, bits, one):
    """Quantize one potential in Python's integers; the step is a multiple of 1 / one."""
    raw = Fraction(step) * one
    assert raw.denominator == 1
    level = -(-one * (potential - threshold) // (int(raw) << (4 - bits)))
    return min(max(level, 0), 2**bits - 1)


@pytest.mark.parametrize("over", [0, 1])
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("kind", ["conv", "separable"])
def test_dividends_up_to_the_bound_of_float32(kind, sign, over, tmp_path):
    """Exactly at the bound the convolution sums the dividend; one beyond, int32 does."""
    # Three channels of 15 * 7 * 7, or of 15 * 7.
    largest = 2205 if kind == "separable" else 315
    threshold = sign * (2**19 - 1)
    divisor = 2**24 - (largest + abs(threshold)) * 16 + 8 * over
    layer = {"conv": aj.Convolutional, "separable": aj.SeparableConvolutional}[kind]
    model = aj.Model([
        aj.InputData(input_shape=(3, 3, 3)),
        layer(filters=2, kernel_size=3, act_bits=1, name="a"),
    ])  # fmt: skip
    kernel = np.zeros(model.variables["a"]["kernel"].shape, np.int8)
    kernel[1, 1] = 7
    values = {"kernel": kernel, "threshold": np.int32([threshold, 300]),
              "step": np.float32([divisor / 128, 1.0625])}  # fmt: skip
    if kind == "separable":
        values["pointwise"] = np.full((3, 2), 7, np.int8)
    model = model.with_variables({"a": values})
    assert onnx_graph.can_fold(model.programs[0]) == (not over)
    x = np.arange(9, dtype=np.uint8).reshape(1, 3, 3, 1).repeat(3, -1)
    x = np.concatenate([x, 15 - x, np.full_like(x, 15)])
    aj.export.to_onnx(model, tmp_path / "m.onnx")
    potentials = x.astype(int).sum(-1) * (largest // 45)
    expected = [
        [fire(p, t, s, 1, 16) for t, s in zip(values["threshold"].tolist(),
                                              values["step"].tolist(), strict=True)]
        for p in potentials.ravel().tolist()
    ]  # fmt: skip
    out = run(tmp_path / "m.onnx", x)
    np.testing.assert_array_equal(out.reshape(-1, 2), expected)
    assert set(np.unique(out[..., 1])) == {0, 1}


def test_what_is_in_a_file(rng, tmp_path):
    model = small_model(rng)
    aj.export.to_onnx(model, tmp_path / "a.onnx")
    aj.export.to_onnx(model, tmp_path / "b.onnx")
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()
    stored = onnx.load(tmp_path / "a.onnx")
    onnx.checker.check_model(stored, full_check=True)
    assert [(entry.domain, entry.version) for entry in stored.opset_import] == [("", 17)]
    assert {node.domain for node in stored.graph.node} == {""}
    session = open_session(tmp_path / "a.onnx")
    (given,), (out,) = session.get_inputs(), session.get_outputs()
    assert (given.name, given.type, given.shape) == ("input", "tensor(uint8)", ["n", 9, 8, 3])
    assert (out.name, out.type, out.shape) == ("output", "tensor(int32)", ["n", 1, 1, 3])
    kernels = [c for c in stored.graph.initializer if "kernel" in c.name or "pointwise" in c.name]
    assert {c.data_type for c in kernels} == {onnx.TensorProto.INT8}
    assert len(kernels) == 6


def test_names_of_layers_are_kept(rng, tmp_path):
    name = 'größe "x"/\\'
    model = aj.Model([aj.InputData(input_shape=(1, 1, 3)), aj.FullyConnected(units=2, name=name)])
    aj.export.to_onnx(model, tmp_path / "m.onnx")
    x = np.ones((1, 1, 1, 3), np.uint8)
    np.testing.assert_array_equal(run(tmp_path / "m.onnx", x), model.forward(x), strict=True)
    assert any(node.name.startswith(name) for node in onnx.load(tmp_path / "m.onnx").graph.node)


def test_without_onnx_the_error_names_the_extra(rng, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    message = r"to_onnx needs the package onnx: pip install 'akida-jax\[onnx\]'$"
    with pytest.raises(ModuleNotFoundError, match=message):
        aj.export.to_onnx(small_model(rng), tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_written_is_refused(rng, tmp_path, monkeypatch):
    model = small_model(rng)
    with pytest.raises(FileNotFoundError, match="does not exist; create it first"):
        aj.export.to_onnx(model, tmp_path / "none" / "m.onnx")
    with pytest.raises(IsADirectoryError, match="is a folder; give the name of a file"):
        aj.export.to_onnx(model, tmp_path)
    monkeypatch.setattr(sizes, "LARGEST_BYTES", 300)
    with pytest.raises(ValueError, match=r"the weights take \d+ bytes, of which layer 'conv_1'"):
        aj.export.to_onnx(model, tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())


def test_a_failing_export_leaves_the_old_file(rng, tmp_path, monkeypatch):
    (tmp_path / "m").write_bytes(b"old")

    def fail(*args):
        raise OSError("no space left on device")

    monkeypatch.setattr(onnx_graph.os, "fsync", fail)
    with pytest.raises(OSError, match="no space left"):
        aj.export.to_onnx(small_model(rng), tmp_path / "m")
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("m", b"old")]
