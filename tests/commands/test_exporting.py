"""The commands export-c, export-jax and export-onnx."""

import sys

import jax
import jax.export
import numpy as np
import pytest

import akida_jax as aj


@pytest.fixture
def x(rng, model):
    return rng.integers(0, 256, (3, *model.input_shape), dtype=np.uint8)


def test_export_jax(command, model, x, tmp_path):
    result = command("export-jax", "m.akj", "m.jaxexport", "--platforms", "cpu", "tpu")
    assert result.code == 0, result.err
    content = (tmp_path / "m.jaxexport").read_bytes()
    assert result.out == f"{len(content):,} bytes written to m.jaxexport\n"
    artefact = jax.export.deserialize(bytearray(content))
    assert artefact.platforms == ("cpu", "tpu")
    np.testing.assert_array_equal(np.asarray(artefact.call(x)), model.forward(x), strict=True)


def test_export_c(command, model, x, tmp_path):
    np.save("x.npy", x[0])
    result = command("export-c", "m.akj", "firmware", "--name", "net", "--sample", "x.npy")
    assert result.code == 0, result.err
    written = {path.name: path.read_bytes() for path in (tmp_path / "firmware").iterdir()}
    report = aj.export.to_c(model, "firmware", name="net", sample=x[0])  # in its place
    assert result.out == f"{report}\n"
    assert written == {name: (tmp_path / "firmware" / name).read_bytes() for name in report.files}


def test_export_c_refuses_limits_samples_and_learners(command, model, x):
    result = command("export-c", "m.akj", "firmware", "--flash-limit", "10")
    assert result.code == 2
    assert "the constants take 480 bytes, the limit is 10" in result.err
    np.save("x.npy", x)
    result = command("export-c", "m.akj", "firmware", "--sample", "x.npy")
    assert (result.code, result.err) == (2, "error: x.npy: 3 inputs; the sample is one\n")
    result = command("export-c", "m.akj", "firmware", "--ram-limit", "0")
    assert result.code == 2
    assert "ram_limit must be a whole number of bytes from 1, got 0" in result.err
    assert command("export-c", "m.akj", "firmware", "--name", "clean").code == 2
    result = command("export-c", "m.akj", "firmware", "--learner", "m.akj")
    assert result.code == 2
    assert "this is no learner file; akida_jax.load reads it" in result.err


@pytest.mark.parametrize("first", [False, True])
def test_export_onnx(first, command, model, x, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
    options = ("--channels-first",) if first else ()
    result = command("export-onnx", "m.akj", "m.onnx", *options)
    assert result.code == 0, result.err
    size = (tmp_path / "m.onnx").stat().st_size
    assert result.out == f"{size:,} bytes written to m.onnx\n"
    session = onnxruntime.InferenceSession("m.onnx", providers=["CPUExecutionProvider"])
    order = (0, 3, 1, 2) if first else (0, 1, 2, 3)
    (out,) = session.run(None, {"input": x.transpose(order)})
    np.testing.assert_array_equal(out, model.forward(x).transpose(order), strict=True)


@pytest.mark.parametrize("name", ["export-jax", "export-onnx"])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("none.akj", "out"), "No such file or directory: 'none.akj'"),
        (("m.akj", "none/out"), "the folder none does not exist; create it first"),
        (("m.akj", "."), ". is a folder; give the name of a file"),
        (("m.akj",), "TARGET"),
        (("m.akj", "./m.akj"), "m.akj is the model itself; give another file to write"),
    ],
)
def test_what_cannot_be_written_is_refused(name, options, message, command, model, tmp_path):
    result = command(name, *options)
    assert result.code == 2
    assert message in result.out + result.err
    assert "Traceback" not in result.err
    assert [path.name for path in tmp_path.iterdir()] == ["m.akj"]


def test_platforms_are_checked(command, model):
    result = command("export-jax", "m.akj", "out", "--platforms", "metal")
    assert result.code == 2
    assert "metal" in result.out + result.err
    result = command("export-jax", "m.akj", "out", "--platforms")
    assert result.code == 2
    assert "platforms must be some of cpu, cuda, rocm, tpu, each once, got none" in result.err


def test_without_onnx_the_error_names_the_extra(command, model, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    result = command("export-onnx", "m.akj", "m.onnx")
    assert (result.code, result.out) == (2, "")
    assert result.err == ("error: to_onnx needs the package onnx: pip install 'akida-jax[onnx]'\n")
