"""Files that are no Keras models, damaged or hostile, end in one clear error."""

import json

import h5py
import numpy as np
import pytest

import akida_jax as aj
from akida_jax.interop.hdf5 import read_hdf5
from tests.interop.keras_writer import write_keras

KERNEL = np.ones((3, 3, 1, 2), np.float32)
LAYERS = [
    ("Conv2D", {"padding": "same", "use_bias": False}, {"kernel": KERNEL}),
    ("ReLU", {"max_value": 6.0}, {}),
    ("GlobalAveragePooling2D", {}, {}),
    ("Dense", {"use_bias": False}, {"kernel": np.ones((2, 3))}),
]


@pytest.fixture
def path(tmp_path):
    write_keras(tmp_path / "m.h5", LAYERS, (6, 6, 1))
    return tmp_path / "m.h5"


def refuses(path, match):
    with pytest.raises(aj.interop.KerasFileError, match=match):
        aj.interop.from_keras(path)


def test_what_is_no_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        aj.interop.from_keras(tmp_path / "none.h5")
    with pytest.raises(IsADirectoryError, match="is a folder"):
        aj.interop.from_keras(tmp_path)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", r"x\.h5: not an HDF5 file"),
        (b"hello" * 1000, r"x\.h5: not an HDF5 file"),
        (b"PK\x03\x04" + bytes(100), r"x\.h5: a zip archive such as \.keras"),
        (b"\x89HDF\r\n\x1a\n" + bytes(200), r"x\.h5: truncated or damaged"),
    ],
)
def test_foreign_files(tmp_path, content, match):
    (tmp_path / "x.h5").write_bytes(content)
    refuses(tmp_path / "x.h5", match)


def test_truncated_files(path):
    whole = path.read_bytes()
    for share in (0.3, 0.9):
        path.write_bytes(whole[: int(len(whole) * share)])
        refuses(path, r"m\.h5: (truncated or )?damaged")


def test_weights_alone(path):
    with h5py.File(path, "a") as file:
        del file.attrs["model_config"]
    refuses(path, r"m\.h5: holds no model_config")


def test_links_are_not_followed(path):
    with h5py.File(path, "a") as file:
        file["model_weights/other"] = h5py.ExternalLink("/etc/passwd", "/x")
    refuses(path, "other is a link to another place")


def test_values_in_other_files(path, tmp_path):
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource(str(tmp_path / "b.h5"), "x", (4,))
    with h5py.File(path, "a") as file:
        file["model_weights"].create_virtual_dataset("v", layout)
    refuses(path, "v keeps its values in another file")


def test_sizes_are_checked_before_reading(path):
    with h5py.File(path, "a") as file:
        file["model_weights"].create_dataset("huge", (2**20, 2**20), "f4", chunks=(64, 64))
    refuses(path, "huge with its 4398046511104 bytes exceeds")


def test_declared_but_empty(path):
    with h5py.File(path, "a") as file:
        file["model_weights"].create_dataset("empty", (2**20,), "f4")
    refuses(path, "empty declares 4194304 bytes, the file holds 0")


def test_references_are_no_numbers(path):
    with h5py.File(path, "a") as file:
        file["model_weights"].create_dataset("r", (1,), h5py.ref_dtype)[0] = file.ref
    refuses(path, "r holds object, not numbers")


def test_weights_that_are_not_finite(path):
    with h5py.File(path, "a") as file:
        file["model_weights/conv2d_0/conv2d_0/kernel:0"][0, 0, 0, 0] = np.nan
    refuses(path, r"m\.h5: layer 'conv2d_0': .* not finite")


@pytest.mark.parametrize(
    "change",
    [
        lambda config: [],
        lambda config: {"class_name": "Sequential", "config": 3},
        lambda config: {"class_name": "Other", "config": config["config"]},
        lambda config: {"class_name": "Sequential", "config": {"name": "m", "layers": []}},
    ],
)
def test_configurations_that_cannot_be_read(path, change):
    with h5py.File(path, "a") as file:
        file.attrs["model_config"] = json.dumps(change(json.loads(file.attrs["model_config"])))
    refuses(path, r"m\.h5: ")


def test_odd_values_in_a_configuration(path):
    """Whatever a field holds, the answer is a network or one of the two errors."""
    with h5py.File(path) as file:
        text = file.attrs["model_config"]
    rng = np.random.default_rng(0)
    fields = [("Conv2D", "padding"), ("Conv2D", "strides"), ("Conv2D", "dilation_rate"),
              ("Conv2D", "groups"), ("ReLU", "max_value"), ("Dense", "activation"),
              ("Dense", "name"), ("InputLayer", "batch_input_shape")]  # fmt: skip
    values = [None, -1, 0, 2**62, 1e300, "x", [], [1, [2]], {}, [None, 2**40, 2**40, 1], True]
    refused = []
    for kind, field in fields:
        for value in rng.permutation(np.array(values, object))[:2]:
            config = json.loads(text)
            for entry in config["config"]["layers"]:
                if entry["class_name"] == kind:
                    entry["config"][field] = value
            with h5py.File(path, "a") as file:
                file.attrs["model_config"] = json.dumps(config)
            try:
                aj.interop.from_keras(path)
            except (aj.interop.KerasFileError, aj.interop.KerasModelError) as error:
                refused.append(str(error))
    assert len(refused) > len(fields)
    assert all("m.h5" in message for message in refused)


def test_damaged_bytes(path):
    """Flipped bytes give a file that is read, or one of the two errors; nothing else."""
    whole = path.read_bytes()
    rng = np.random.default_rng(1)
    refused = []
    for _ in range(12):
        content = bytearray(whole)
        for place in rng.integers(0, len(whole), 8):
            content[place] = rng.integers(256)
        path.write_bytes(content)
        try:
            read_hdf5(path)
        except aj.interop.KerasFileError as error:
            refused.append(str(error))
    assert refused
    assert all("m.h5" in message for message in refused)


def test_every_fault_at_once(tmp_path):
    layers = [
        ("Conv2D", {"use_bias": False, "padding": "same"}, {"kernel": KERNEL}),
        ("LeakyReLU", {}, {}),
        ("Conv2D", {"use_bias": False}, {"kernel": np.ones((3, 3, 2, 2))}),
        ("Activation", {"activation": "tanh"}, {}),
        ("UpSampling2D", {}, {}),
        ("Conv2D", {"use_bias": False}, {"kernel": np.ones((3, 3, 2, 2))}),
        ("LSTM", {}, {}),
    ]
    write_keras(tmp_path / "m.h5", layers, (8, 8, 1))
    with pytest.raises(aj.interop.KerasModelError, match=r"in m\.h5") as caught:
        aj.interop.from_keras(tmp_path / "m.h5")
    named = [fault.layer for fault in caught.value.faults]
    assert named == ["leakyrelu_1", "activation_3", "upsampling2d_4", "lstm_6"]


@pytest.mark.parametrize(
    ("layers", "match"),
    [
        ([("Conv2D", {"use_bias": False, "padding": "same"}, {"kernel": KERNEL}),
          ("ReLU", {}, {}),
          ("Conv2D", {"use_bias": False}, {"kernel": np.ones((3, 3, 2, 2))}), ("ReLU", {}, {})],
         "kernel 3x3, stride 1, padding"),
        ([("Conv2D", {"use_bias": False, "padding": "same"}, {"kernel": KERNEL}),
          ("Conv2D", {"use_bias": False, "padding": "same"}, {"kernel": np.ones((3, 3, 2, 2))})],
         "which has no activation"),
        ([("Conv2D", {"use_bias": False, "padding": "same", "strides": [1, 2]},
           {"kernel": KERNEL})], "strides 1 and 2 differ"),
        ([("MaxPooling2D", {}, {})], "a max pool on the input"),
    ],
)  # fmt: skip
def test_what_the_chip_has_no_form_for(tmp_path, layers, match):
    write_keras(tmp_path / "m.h5", layers, (8, 8, 1))
    with pytest.raises(aj.interop.KerasModelError, match=match):
        aj.interop.from_keras(tmp_path / "m.h5")


def test_two_paths(tmp_path, path):
    with h5py.File(path, "a") as file:
        config = json.loads(file.attrs["model_config"])["config"]
        nodes = [["input", 0, 0, {}]]
        for entry in config["layers"]:
            entry["inbound_nodes"] = []
        config["layers"][1]["inbound_nodes"] = [nodes]
        config["layers"][2]["inbound_nodes"] = [nodes]
        config["layers"][3]["inbound_nodes"] = [[["conv2d_0", 0, 0, {}], ["relu_1", 0, 0, {}]]]
        config |= {"input_layers": [["input", 0, 0]], "output_layers": [["relu_1", 0, 0]]}
        file.attrs["model_config"] = json.dumps({"class_name": "Functional", "config": config})
    with pytest.raises(aj.interop.KerasModelError) as caught:
        aj.interop.from_keras(path)
    assert [f.what for f in caught.value.faults] == [
        "its output goes to conv2d_0, relu_1", "takes 2 inputs (conv2d_0, relu_1)",
    ]  # fmt: skip
