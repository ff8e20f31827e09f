"""The command convert."""

import numpy as np
import pytest

import akida_jax as aj
from akida_jax import interop, quant
from tests.commands.test_command_line import small_keras
from tests.interop.keras_writer import write_keras

SHAPE = (12, 12, 5)


@pytest.fixture
def keras(tmp_path, monkeypatch):
    """Write a float model, and enter its folder."""
    monkeypatch.chdir(tmp_path)
    write_keras("m.h5", small_keras(SHAPE), SHAPE)
    return tmp_path


def test_a_float_model_is_quantized_as_quantize_does(command, keras, rng):
    x = rng.integers(0, 16, (4, *SHAPE), dtype=np.uint8)
    np.save("x.npy", x)
    options = ("--bits", "8", "2", "4", "--calibration", "x.npy")
    result = command("convert", "m.h5", "m.akj", *options)
    assert result.code == 0, result.err
    assert "a float model, quantized to 8/2/4 bits without training" in result.out
    assert "conv2d_0" in result.out
    twin = quant.quantize(interop.from_keras("m.h5").network, bits=(8, 2, 4), calibration=x)
    expected = aj.convert(twin)
    np.testing.assert_array_equal(aj.load("m.akj").forward(x), expected.forward(x), strict=True)


def test_what_cannot_be_converted_is_refused(command, keras):
    result = command("convert", "m.h5", "m.akj")
    assert result.code == 2
    assert "m.h5 is a float model; add --calibration FILE.npy" in result.err
    before = (keras / "m.h5").read_bytes()
    result = command("convert", "m.h5", "m.h5")
    assert result.code == 2
    assert "m.h5 is the Keras model itself; give another file to write" in result.err
    assert (keras / "m.h5").read_bytes() == before
    result = command("convert", "none.h5", "m.akj")
    assert result.code == 2
    assert "none.h5" in result.err
    (keras / "bad.h5").write_bytes(b"no HDF5")
    result = command("convert", "bad.h5", "m.akj")
    assert result.code == 2
    assert "bad.h5" in result.err
    assert "Traceback" not in result.err
    result = command("convert", "m.h5", "none/m.akj")
    assert (result.code, result.err) == (
        2,
        "error: the folder none does not exist; create it first\n",
    )
    assert not (keras / "m.akj").exists()


def test_a_quantized_model_needs_no_calibration(command, keras, data_dir, rng):
    source = data_dir / "keras" / "cnn2snn_ds_cnn_iq8_wq4_aq4.h5"
    result = command("convert", source, "m.akj")
    assert result.code == 0, result.err
    expected = interop.from_keras(source).model
    x = rng.integers(0, 256, (2, *expected.input_shape), dtype=np.uint8)
    np.testing.assert_array_equal(aj.load("m.akj").forward(x), expected.forward(x), strict=True)
    np.save("x.npy", x)
    result = command("convert", source, "other.akj", "--calibration", "x.npy")
    assert result.code == 2
    assert "is quantized already; leave --calibration, --bits" in result.err
    assert command("convert", source, "other.akj", "--bits", "8", "2", "2").code == 2
