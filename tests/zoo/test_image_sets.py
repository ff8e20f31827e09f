import gzip
import pathlib
import struct

import numpy as np
import pytest
from sklearn.datasets import load_digits

from akida_jax.zoo.datasets.fingerprints import fingerprint_arrays
from akida_jax.zoo.datasets.image_sets import load_images, read_idx

SYSTEM = pathlib.Path("/usr/share/datasets/fashion-mnist")


def idx(shape, content, *, sign=8):
    return struct.pack(f">HBB{len(shape)}I", 0, sign, len(shape), *shape) + content


def write(path, content):
    path.write_bytes(gzip.compress(content, compresslevel=1))
    return path


def test_idx_by_hand(tmp_path):
    values = read_idx(write(tmp_path / "a.gz", idx((2, 3), bytes(range(6)))), shape=(2, 3))
    assert values.dtype == np.uint8
    assert values.tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"must begin with 0 0 8 2.* got \[\]"),
        (b"\0\0\x08", r"must begin with 0 0 8 2"),
        (idx((2, 3), bytes(6), sign=9), r"must begin with 0 0 8 2.* got \[0, 0, 9, 2\]"),
        (idx((6,), bytes(6)), r"2 axes, got \[0, 0, 8, 1\]"),
        (idx((2, 3), b"")[:9], r"ends after 9 bytes, in the header"),
        (idx((2, 4), bytes(8)), r"must have shape \(2, 3\), got \(2, 4\)"),
        (idx((2**32 - 1, 3), b""), r"must have shape \(2, 3\), got \(4294967295, 3\)"),
        (idx((2, 3), bytes(5)), r"must hold 6 bytes, got only 5"),
        (idx((2, 3), bytes(7)), r"must hold 6 bytes, got more"),
        (idx((2, 3), bytes((0, 1, 2, 10, 9, 0))), r"must be 0 to 9, got 10 at index 3"),
    ],
)
def test_a_bad_idx_file_is_refused(tmp_path, content, message):
    path = write(tmp_path / "a.gz", content)
    with pytest.raises(ValueError, match=message) as problem:
        read_idx(path, shape=(2, 3), limit=9)
    assert str(path) in str(problem.value)


def cut(packed):
    return packed[:-12]


def damage(packed):
    return packed[:20] + bytes(byte ^ 255 for byte in packed[20:40]) + packed[40:]


def wrong_sum(packed):
    return packed[:-8] + bytes(4) + packed[-4:]


@pytest.mark.parametrize("change", [cut, damage, wrong_sum, lambda packed: b"not gzip at all"])
def test_a_damaged_gzip_file_is_refused(tmp_path, change):
    content = np.random.default_rng(0).integers(0, 256, 3000, np.uint8).tobytes()
    path = tmp_path / "a.gz"
    path.write_bytes(change(gzip.compress(idx((1000, 3), content))))
    with pytest.raises(ValueError, match=r"a.gz: must "):
        read_idx(path, shape=(1000, 3))


@pytest.fixture(scope="module")
def mnist(tmp_path_factory):
    """A folder in the form of MNIST: black images but for one pixel, labels that count."""
    folder = tmp_path_factory.mktemp("mnist")
    for stem, n in (("train", 60_000), ("t10k", 10_000)):
        images = np.zeros((n, 28, 28), np.uint8)
        images[0, 0, 27] = 200
        write(folder / f"{stem}-images-idx3-ubyte.gz", idx((n, 28, 28), images.tobytes()))
        labels = (np.arange(n) % 10).astype(np.uint8)
        write(folder / f"{stem}-labels-idx1-ubyte.gz", idx((n,), labels.tobytes()))
    return folder


def test_mnist_is_centred(mnist, monkeypatch):
    data = load_images("mnist", data_dir=mnist, size=31)
    assert data.train.x.shape == (60_000, 31, 31, 1)
    assert data.test.x.shape == (10_000, 31, 31, 1)
    assert data.train.x.dtype == np.uint8
    assert data.train.y.dtype == np.int32
    assert data.test.y[:12].tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]
    # Three columns more: one on the left, two on the right.
    assert np.argwhere(data.test.x).tolist() == [[0, 1, 28, 0]]
    monkeypatch.setenv("AKIDA_JAX_DATA", str(mnist.parent))
    (mnist.parent / "mnist").symlink_to(mnist)
    np.testing.assert_array_equal(load_images("mnist").test.x, data.test.x[:, 1:29, 1:29])


def test_a_canvas_that_is_too_small_is_refused(mnist):
    with pytest.raises(ValueError, match="size must be at least 28, got 27"):
        load_images("mnist", data_dir=mnist, size=27)
    with pytest.raises(ValueError, match="size must be at least 8, got 7"):
        load_images("digits", size=7)


def test_a_missing_file_of_a_set_is_named(tmp_path):
    write(tmp_path / "train-images-idx3-ubyte.gz", idx((60_000, 28, 28), bytes(60_000 * 784)))
    with pytest.raises(FileNotFoundError, match=r"no .*train-labels-idx1-ubyte.gz.*MNIST by LeCun"):
        load_images("mnist", data_dir=tmp_path)


def test_missing_sets_say_how_to_get_them(tmp_path):
    with pytest.raises(FileNotFoundError, match="apt install dataset-fashion-mnist"):
        load_images("fashion-mnist", data_dir=tmp_path)
    with pytest.raises(FileNotFoundError, match=r"yann.lecun.com/exdb/mnist"):
        load_images("mnist", data_dir=tmp_path)


def test_unknown_name_lists_the_known():
    with pytest.raises(ValueError, match="one of digits, fashion-mnist, mnist, got 'x'"):
        load_images("x")


def test_digits_are_split_by_class():
    data = load_images("digits", size=10)
    images, labels = load_digits(return_X_y=True)
    assert data.train.x.shape[1:] == data.test.x.shape[1:] == (10, 10, 1)
    for digit in range(10):
        members = images[labels == digit]
        n_test = round(0.2 * len(members))
        train = data.train.x[data.train.y == digit, 1:9, 1:9, 0].reshape(-1, 64)
        test = data.test.x[data.test.y == digit, 1:9, 1:9, 0].reshape(-1, 64)
        # Level v of 16 becomes v * 255 / 16, rounded.
        expected = np.floor(members * 255 / 16 + 0.5)
        np.testing.assert_array_equal(train, expected[: len(members) - n_test])
        np.testing.assert_array_equal(test, expected[len(members) - n_test :])
    assert len(data.train.y) + len(data.test.y) == 1797
    assert data.train.x.max() == 255


@pytest.mark.skipif(not SYSTEM.is_dir(), reason="the package dataset-fashion-mnist is not here")
def test_real_fashion_mnist():
    data = load_images("fashion-mnist", size=32)
    assert data.train.x.shape == (60_000, 32, 32, 1)
    assert np.bincount(data.train.y).tolist() == [6000] * 10
    assert np.bincount(data.test.y).tolist() == [1000] * 10
    assert not data.train.x[:, :2].any()
    # The first training image is an ankle boot.
    assert data.class_names[data.train.y[0]] == "ankle boot"
    assert fingerprint_arrays(*data.train, *data.test) == "d26263346e882d94"
