"""The command run: inputs from files, outputs in each form."""

import typing
import zipfile

import numpy as np
import pytest
from PIL import Image

import akida_jax as aj
from akida_jax.commands import running
from akida_jax.executors import NAMES
from tests.samples import random_variables


@pytest.fixture
def x(rng, model):
    values = rng.integers(0, 256, (4, *model.input_shape), dtype=np.uint8)
    np.save("x.npy", values)
    return values


@pytest.fixture
def mapped(rng, tmp_path, monkeypatch):
    """Save a model that returns a map, and its inputs; return both."""
    monkeypatch.chdir(tmp_path)
    made = aj.Model([
        aj.InputData(input_shape=(3, 4, 2), input_bits=2),
        aj.Convolutional(filters=3, kernel_size=3, name="map"),
    ])  # fmt: skip
    made = made.with_variables(random_variables(rng, made))
    values = rng.integers(0, 4, (2, 3, 4, 2), dtype=np.uint8)
    aj.save(made, "map.akj")
    np.save("x.npy", values)
    return made, values


def test_classes_are_printed_line_by_line(command, model, x):
    result = command("run", "-m", "m.akj", "-i", "x.npy")
    assert result == (0, "".join(f"{c}\n" for c in model.predict_classes(x)), "")


def test_logits_and_integers_are_printed(command, model, x):
    result = command("run", "--model", "m.akj", "--input", "x.npy", "--form", "logits")
    lines = [" ".join(f"{value:.4f}" for value in row) for row in model.predict(x)]
    assert result.out.splitlines() == lines
    result = command("run", "-m", "m.akj", "-i", "x.npy", "--form", "integers")
    lines = [" ".join(map(str, row)) for row in model.forward(x).reshape(4, -1)]
    assert result.out.splitlines() == lines


@pytest.mark.parametrize("executor", NAMES)
@pytest.mark.parametrize("form", typing.get_args(running.Form))
def test_outputs_are_written(form, executor, command, model, x):
    options = ("-o", "y.npy", "--form", form, "--executor", executor)
    result = command("run", "-m", "m.akj", "-i", "x.npy", *options)
    assert result.code == 0, result.err
    expected = {"classes": model.predict_classes, "logits": model.predict,
                "integers": model.forward}[form](x)  # fmt: skip
    np.testing.assert_array_equal(np.load("y.npy"), expected, strict=True)
    assert result.out == f"{form} {expected.dtype} {expected.shape} written to y.npy\n"


def test_every_executor_can_be_chosen(command):
    shown = command("run", "--help").out
    assert "{" + ",".join(NAMES) + "}" in shown


def test_one_input_and_none(command, model, x):
    np.save("one.npy", x[0])
    result = command("run", "-m", "m.akj", "-i", "one.npy")
    assert result == (0, f"{model.predict_classes(x[:1])[0]}\n", "")
    np.save("none.npy", x[:0])
    assert command("run", "-m", "m.akj", "-i", "none.npy") == (0, "", "")


def test_activity_is_printed_after_the_outputs(command, model, x):
    result = command("run", "-m", "m.akj", "-i", "x.npy", "--activity")
    classes = "".join(f"{c}\n" for c in model.predict_classes(x))
    assert result.out == f"{classes}{model.activity(x)}\n"


def test_a_map_is_written_or_only_its_activity_shown(command, mapped):
    model, x = mapped
    result = command("run", "-m", "map.akj", "-i", "x.npy", "-o", "y.npy")
    assert result.code == 0, result.err
    np.testing.assert_array_equal(np.load("y.npy"), model.forward(x), strict=True)
    result = command("run", "-m", "map.akj", "-i", "x.npy", "--activity")
    assert result.out == f"{model.activity(x)}\n"
    result = command("run", "-m", "map.akj", "-i", "x.npy")
    assert result.code == 2
    assert result.err == (
        "error: the output is a map of 3x4x3, too much to print; add -o FILE.npy\n"
    )
    result = command("run", "-m", "map.akj", "-i", "x.npy", "-o", "y.npy", "--form", "classes")
    assert result.code == 2
    assert "layer 'map' returns a map of 3x4x3, no classes" in result.err


def test_images_are_inputs(command, model, rng):
    pixels = rng.integers(0, 256, (9, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).save("x.png")
    result = command("run", "-m", "m.akj", "-i", "x.png", "-o", "y.npy", "--form", "integers")
    assert result.code == 0, result.err
    np.testing.assert_array_equal(np.load("y.npy"), model.forward(pixels[None]))


def test_images_become_grey_for_one_channel(command, rng, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = aj.Model([aj.InputConvolutional(input_shape=(6, 5, 1), filters=2, kernel_size=3)])
    model = model.with_variables(random_variables(rng, model))
    aj.save(model, "m.akj")
    grey = rng.integers(0, 256, (6, 5), dtype=np.uint8)
    Image.fromarray(np.repeat(grey[..., None], 3, 2)).save("x.bmp")
    assert command("run", "-m", "m.akj", "-i", "x.bmp", "-o", "y.npy").code == 0
    np.testing.assert_array_equal(np.load("y.npy"), model.forward(grey[None, ..., None]))


def test_an_alpha_channel_is_refused(command, model):
    height, width = model.input_shape[:2]
    Image.fromarray(np.zeros((height, width, 4), np.uint8)).save("x.png")
    result = command("run", "-m", "m.akj", "-i", "x.png")
    assert result.code == 2
    assert "x.png: the image has an alpha channel; put it on a background" in result.err


def test_a_broken_archive_of_arrays_is_refused(command, model, tmp_path):
    (tmp_path / "x.npy").write_bytes(b"PK\3\4 nonsense")
    result = command("run", "-m", "m.akj", "-i", "x.npy")
    assert result.code == 2
    assert "x.npy: no .npy file of plain numbers, or damaged" in result.err


def test_images_that_do_not_suit_are_refused(command, model, mapped):
    Image.new("L", (9, 8)).save("turned.png")
    result = command("run", "-m", "m.akj", "-i", "turned.png")
    assert result.code == 2
    assert "turned.png: the image is 9 wide and 8 high, the model takes 8 and 9" in result.err
    result = command("run", "-m", "map.akj", "-i", "turned.png")
    assert result.code == 2
    assert "an image has 1 or 3 channels, the model takes 2; give a .npy file" in result.err
    with open("text.png", "w") as file:
        file.write("no image")
    result = command("run", "-m", "m.akj", "-i", "text.png")
    assert result.code == 2
    assert "cannot identify image file" in result.err


def write_pickle():
    np.save("x.npy", np.array([{"a": 1}], object), allow_pickle=True)


def write_cut():
    np.save("whole.npy", np.zeros((4, 9, 8, 3), np.uint8))
    with open("whole.npy", "rb") as whole, open("x.npy", "wb") as cut:
        cut.write(whole.read()[:-1])


def write_huge():
    """A header that promises 2**60 values."""
    header = {"descr": "|u1", "fortran_order": False, "shape": (2**50, 2**10)}
    with open("x.npy", "wb") as file:
        np.lib.format.write_array_header_1_0(file, header)


def write_text():
    with open("x.npy", "w") as file:
        file.write("1, 2, 3")


def write_archive():
    np.savez("x.npz", a=np.zeros(3))
    zipfile.ZipFile("x.npz").close()
    with open("x.npz", "rb") as archive, open("x.npy", "wb") as file:
        file.write(archive.read())


def write_empty():
    open("x.npy", "wb").close()


NO_ARRAY = "x.npy: no .npy file of plain numbers, or damaged ("


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (write_pickle, NO_ARRAY),
        (write_cut, NO_ARRAY),
        (write_huge, NO_ARRAY),
        (write_text, NO_ARRAY),
        (write_empty, NO_ARRAY),
        (write_archive, "x.npy: an archive of arrays; give one array, as np.save writes it"),
        (lambda: None, "No such file or directory: 'x.npy'"),
        (lambda: np.save("x.npy", np.zeros((2, 9, 8, 3))), "takes uint8 inputs, got float64"),
        (lambda: np.save("x.npy", np.zeros((2, 8, 9, 3), np.uint8)), "of shape (n, 9, 8, 3)"),
        (lambda: np.save("x.npy", np.zeros((9, 8), np.uint8)), "of shape (n, 9, 8, 3)"),
    ],
)  # fmt: skip
def test_inputs_that_cannot_be_read_are_refused(write, message, command, model):
    write()
    result = command("run", "-m", "m.akj", "-i", "x.npy", "-o", "y.npy")
    assert (result.code, result.out) == (2, "")
    assert message in result.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("-m", "none.akj", "-i", "x.npy"), "No such file or directory: 'none.akj'"),
        (("-m", "x.npy", "-i", "x.npy"), "x.npy: not a model file, or truncated or damaged"),
        (("-m", "m.akj", "-i", "x.npy", "-o", "none/y.npy"), "the folder none does not exist"),
        (("-m", "m.akj", "-i", "x.npy", "-o", "."), ". is a folder; give the name of a file"),
        (("-m", "m.akj"), "--input"),
        (("-m", "m.akj", "-i", "x.npy", "--executor", "gpu"), "'gpu'"),
    ],
)
def test_impossible_wishes_are_refused(options, message, command, model, x):
    result = command("run", *options)
    assert result.code == 2
    assert message in result.out + result.err
    assert "Traceback" not in result.err


def test_an_output_is_complete_or_absent(command, model, x, monkeypatch):
    def fail(*args):
        raise OSError("no space left on device")

    np.save("y.npy", np.zeros(3))
    monkeypatch.setattr("os.fsync", fail)
    result = command("run", "-m", "m.akj", "-i", "x.npy", "-o", "y.npy")
    assert (result.code, result.err) == (2, "error: no space left on device\n")
    np.testing.assert_array_equal(np.load("y.npy"), np.zeros(3))
