import dataclasses
import io
import itertools
import json
import subprocess
import sys
import threading

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from akida_jax.zoo.datasets import downloaded
from akida_jax.zoo.datasets.downloaded import (
    CATALOGUE,
    find_prepared,
    fingerprint_prepared,
    main,
    open_source,
    open_stream,
    prepare,
)
from akida_jax.zoo.datasets.image_streams import (
    AHEAD,
    LabelledStream,
    View,
    decode_image,
    middle_box,
    random_box,
    scale,
)

N = 20


def pack(pixels, form="PNG"):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, form)
    return file.getvalue()


def picture(i):
    """An image of one colour that says its number, of sizes that differ."""
    return np.full((8 + i, 12, 3), 10 * i % 250, np.uint8)


def write_set(root, *, version="4.0.1", file_format="array_record", n=N):
    """Prepare a set in the form of cats_vs_dogs."""
    with tfds.core.registered.skip_registration():

        class CatsVsDogs(tfds.core.GeneratorBasedBuilder):
            # Of no package, in whose folder checksums of downloads would be looked for.
            __module__ = "made"
            VERSION = tfds.core.Version(version)

            def _info(self):
                features = {
                    "image": tfds.features.Image(),
                    "label": tfds.features.ClassLabel(names=["cat", "dog"]),
                }
                return tfds.core.DatasetInfo(
                    builder=self, features=tfds.features.FeaturesDict(features)
                )

            def _split_generators(self, dl_manager):
                return {"train": self._generate_examples()}

            def _generate_examples(self):
                for i in range(n):
                    yield i, {"image": io.BytesIO(pack(picture(i))), "label": i % 2}

    CatsVsDogs(data_dir=root).download_and_prepare(file_format=file_format)
    return root


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_set(tmp_path_factory.mktemp("tfds"))


class Counted(list):
    """A list of examples that counts how often one is read, and by which threads."""

    reads = 0

    def __getitem__(self, index):
        self.reads += 1
        return super().__getitem__(index)


def make_examples(n):
    return Counted({"image": pack(picture(i)), "label": i % 2} for i in range(n))


def make_stream(n_train=N, n_test=7, *, workers=3, **view):
    return LabelledStream(
        "made", make_examples(n_train), make_examples(n_test), class_names=("cat", "dog"),
        view=View(**{"size": 4, **view}), workers=workers,
    )  # fmt: skip


def numbers(batches):
    """Return the numbers of the pictures, by batch."""
    return [(batch.x[:, 0, 0, 0] // 10).tolist() for batch in batches]


def test_a_prepared_set_is_read_from_its_files(root):
    stream = open_stream("cats_vs_dogs", size=6, data_dir=root)
    assert (stream.n_train, stream.n_test) == (16, 4)
    assert stream.class_names == ("cat", "dog")
    assert stream.input_shape == (6, 6, 3)
    train = list(stream.train_batches(0, 0, 4))
    test = list(stream.test_batches(3))
    assert [len(batch.x) for batch in train] == [4, 4, 4, 4]
    assert [len(batch.x) for batch in test] == [3, 1]
    for batch in train + test:
        assert (batch.x.dtype, batch.y.dtype) == (np.uint8, np.int32)
        assert (batch.x == batch.x[:, :1, :1]).all()
        np.testing.assert_array_equal(batch.x[:, 0, 0, 0] // 10 % 2, batch.y)
    seen = sorted(itertools.chain(*numbers(train), *numbers(test)))
    assert seen == list(range(N))


def test_published_resolutions_are_the_default(root):
    assert open_stream("cats_vs_dogs", data_dir=root).input_shape == (160, 160, 3)
    with pytest.raises(ValueError, match="size and workers must be at least 1, got 0 and"):
        open_stream("cats_vs_dogs", data_dir=root, size=0)


def test_reading_needs_no_tensorflow(root):
    code = (
        "import sys\n"
        "from akida_jax.zoo.datasets.downloaded import open_stream\n"
        f"stream = open_stream('cats_vs_dogs', size=4, data_dir={str(root)!r})\n"
        "print(len(list(stream.test_batches(2))), 'tensorflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["2", "False"]


def test_the_newest_version_is_taken(root, tmp_path, monkeypatch):
    for version in ("9.0.0", "10.0.0"):
        write_set(tmp_path, version=version, n=5)
    (tmp_path / "cats_vs_dogs" / "incomplete.ABCDEF_11.0.0").mkdir()
    assert find_prepared("cats_vs_dogs", tmp_path).name == "10.0.0"
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    assert find_prepared("cats_vs_dogs").name == "10.0.0"


def test_a_fingerprint_is_of_the_data_not_of_their_place(root, tmp_path):
    same, shorter, newer = (tmp_path / name for name in ("same", "shorter", "newer"))
    write_set(same)
    write_set(shorter, n=N - 1)
    write_set(newer, version="4.0.2")
    first, *others = (
        fingerprint_prepared(find_prepared("cats_vs_dogs", folder))
        for folder in (root, same, shorter, newer)
    )
    assert others[0] == first
    assert len({first, *others}) == 3


def test_a_source_keeps_images_as_files(root):
    source = open_source("cats_vs_dogs", "train", root)
    assert len(source) == N
    example = source[3]
    number = int(decode_image(example["image"], where="here").getpixel((0, 0))[0]) // 10
    assert example["image"] == pack(picture(number))
    assert len(open_source("cats_vs_dogs", "train[:10%]", root)) == 2


def test_another_format_is_refused(root, tmp_path):
    folder = tmp_path / "cats_vs_dogs" / "4.0.1"
    folder.parent.mkdir()
    folder.mkdir()
    for path in find_prepared("cats_vs_dogs", root).iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    info = json.loads((folder / "dataset_info.json").read_text())
    info["fileFormat"] = "tfrecord"
    (folder / "dataset_info.json").write_text(json.dumps(info))
    with pytest.raises(ValueError, match=r"4.0.1 is of the format tfrecord, .* needs array_record"):
        open_stream("cats_vs_dogs", data_dir=tmp_path)


def test_other_classes_are_refused(root, monkeypatch):
    entry = dataclasses.replace(CATALOGUE["cats_vs_dogs"], classes=3)
    monkeypatch.setitem(CATALOGUE, "cats_vs_dogs", entry)
    with pytest.raises(ValueError, match="must have 3 classes, got 2"):
        open_stream("cats_vs_dogs", data_dir=root)


def test_a_missing_set_names_the_command(tmp_path, monkeypatch):
    command = "python -m akida_jax.zoo.datasets.downloaded"
    with pytest.raises(FileNotFoundError) as problem:
        open_stream("plant_village", data_dir=tmp_path)
    assert f"{command} plant_village --data-dir {tmp_path}. The data: Plant" in str(problem.value)
    assert f"not in {tmp_path / 'plant_village'}" in str(problem.value)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    with pytest.raises(FileNotFoundError) as problem:
        open_stream("imagenet2012")
    assert f"first put ILSVRC2012_img_train.tar and ILSVRC2012_img_val.tar into {tmp_path}" in str(
        problem.value
    )
    assert f"{command} imagenet2012. The data" in str(problem.value)


def test_unknown_and_unlabelled_sets_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"must be one of imagenet2012, .*, got 'x'"):
        open_stream("x", data_dir=tmp_path)
    with pytest.raises(
        ValueError, match=r"'voc' has no labelled images .* imagenet2012, imagenette"
    ):
        open_stream("voc", data_dir=tmp_path)


def test_every_entry_is_known_to_tensorflow_datasets():
    known = set(tfds.list_builders(with_community_datasets=False))
    for name, entry in CATALOGUE.items():
        assert entry.folder.split("/")[0] == name
        assert name in known
        assert entry.source
        assert entry.terms
        assert (entry.splits is None) == (entry.classes == 0)


def test_preparing_needs_tensorflow(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(downloaded.importlib.util, "find_spec", lambda name: None)
    command = "pip install tensorflow importlib_resources"
    with pytest.raises(ModuleNotFoundError, match=f"'imagenette' needs .*: {command}$"):
        prepare("imagenette", tmp_path)
    with pytest.raises(SystemExit):
        main(["imagenette", "--data-dir", str(tmp_path)])
    assert command in capsys.readouterr().err


class FakeBuilder:
    """Stands for a builder of tensorflow-datasets; prepares a small set without a download."""

    def __init__(self, name, data_dir):
        self.name, self.data_dir = name, data_dir

    def download_and_prepare(self, *, file_format):
        write_set(self.data_dir, file_format=file_format)


def test_the_command_prepares(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(downloaded.importlib.util, "find_spec", lambda name: "found")
    monkeypatch.setattr(tfds, "builder", FakeBuilder)
    assert main(["cats_vs_dogs", "--data-dir", str(tmp_path)]) == 0
    assert f"prepared in {tmp_path}/cats_vs_dogs/4.0.1" in capsys.readouterr().out
    assert open_stream("cats_vs_dogs", data_dir=tmp_path).n_train == 16
    with pytest.raises(FileNotFoundError, match=r"no .*manual/ILSVRC2012_img_train.tar; fetch it"):
        prepare("imagenet2012", tmp_path)


def test_epochs_are_orders_that_follow_from_the_seed():
    first = numbers(make_stream().train_batches(1, 0, 5))
    assert sorted(itertools.chain(*first)) == list(range(N))
    assert numbers(make_stream().train_batches(1, 0, 5)) == first
    others = [numbers(make_stream().train_batches(*run, 5)) for run in ((1, 1), (2, 0))]
    assert first not in others
    assert others[0] != others[1]


def test_batches_do_not_depend_on_the_number_of_threads():
    form = {"min_area": 0.3, "flip": True, "size": 5}
    runs = [list(make_stream(workers=workers, **form).train_batches(3, 4, 6))
            for workers in (1, 2, 7)]  # fmt: skip
    for run in runs[1:]:
        for batch, expected in zip(run, runs[0], strict=True):
            np.testing.assert_array_equal(batch.x, expected.x)
            np.testing.assert_array_equal(batch.y, expected.y)


def test_a_sample_is_cut_as_test_images_are():
    stream = make_stream(min_area=0.3, flip=True, size=5)
    sample = stream.sample(N, seed=3)
    whole = make_stream(size=5).sample(N, seed=3)
    np.testing.assert_array_equal(sample, whole)
    assert (stream.sample(4, seed=3) == sample[:4]).all()
    assert (stream.sample(N, seed=4) != sample).any()
    for n in (0, N + 1):
        with pytest.raises(ValueError, match=f"n must be 1 to {N}, got {n}"):
            stream.sample(n, seed=3)


def test_training_leaves_out_the_rest_and_test_keeps_it():
    stream = make_stream()
    assert [len(batch.x) for batch in stream.train_batches(0, 0, 8)] == [8, 8]
    assert numbers(stream.test_batches(3)) == [[0, 1, 2], [3, 4, 5], [6]]
    assert numbers(stream.test_batches(100)) == [list(range(7))]


def test_few_batches_are_decoded_ahead():
    stream = make_stream(n_train=200)
    batches = stream.train_batches(0, 0, 4)
    assert stream._train.reads == 0
    for used in range(1, 11):
        next(batches)
        assert stream._train.reads <= 4 * (used + AHEAD)
    batches.close()
    reads = stream._train.reads
    assert reads <= 4 * (10 + AHEAD)
    assert not [thread for thread in threading.enumerate() if "ThreadPool" in thread.name]


@pytest.mark.parametrize("batch_size", [0, N + 1])
def test_batch_sizes_out_of_range_are_refused(batch_size):
    with pytest.raises(ValueError, match=f"batch_size must be 1 to {N}, got {batch_size}"):
        make_stream().train_batches(0, 0, batch_size)


def test_a_test_batch_size_below_one_is_refused():
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        make_stream().test_batches(0)


@pytest.mark.parametrize("data", [b"", b"no image", pack(picture(9))[:-30]])
def test_a_damaged_image_is_named(data):
    stream = make_stream()
    stream._test[5] = {"image": data, "label": 0}
    with pytest.raises(ValueError, match="data set 'made', test example 5: must be a whole image"):
        list(stream.test_batches(4))


def test_a_label_out_of_range_is_named():
    stream = make_stream()
    stream._test[2]["label"] = 2
    with pytest.raises(ValueError, match="test example 2: label must be 0 to 1, got 2"):
        list(stream.test_batches(4))


def test_an_image_of_too_many_pixels_is_refused(monkeypatch):
    monkeypatch.setattr("akida_jax.zoo.datasets.image_streams._MAX_PIXELS", 95)
    with pytest.raises(ValueError, match="here: 12 x 8 pixels are more than 95"):
        decode_image(pack(picture(0)), where="here")


@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_colours_and_grey(form):
    grey = np.full((4, 4), 77, np.uint8)
    assert np.asarray(decode_image(pack(grey, form), where="")).tolist() == [[[77] * 3] * 4] * 4
    # Luma of red: 0.299 * 200 = 59.8, rounded. Source: ITU-R BT.601; JPEG may be off by two.
    red = np.zeros((4, 4, 3), np.uint8)
    red[..., 0] = 200
    level = np.asarray(decode_image(pack(red, form), where="", channels=1))
    assert (abs(level.astype(int) - 60) <= (2 if form == "JPEG" else 0)).all()


def test_the_middle_square_by_hand():
    # 0.5 of the shorter side 8 is 4; the image is 16 wide.
    assert middle_box((16, 8), 0.5) == (6.0, 2.0, 10.0, 6.0)
    assert middle_box((16, 8), None) == (0.0, 0.0, 16.0, 8.0)
    pixels = np.arange(8 * 16, dtype=np.uint8).reshape(8, 16)
    piece = scale(Image.fromarray(pixels), 4, (6.0, 2.0, 10.0, 6.0))
    np.testing.assert_array_equal(piece[..., 0], pixels[2:6, 6:10])


def test_scaling_by_hand():
    # Halving bilinearly with antialiasing weighs four neighbours 1, 3, 3, 1; at the border the
    # outermost weight is left out: (3 * 0 + 3 * 80 + 160) / 7 = 57.1, (80 + 3 * 160 + 3 * 240) / 7
    # = 182.9.
    pixels = np.tile(np.array([0, 80, 160, 240], np.uint8), (4, 1))
    piece = scale(Image.fromarray(pixels), 2, (0.0, 0.0, 4.0, 4.0))
    assert piece[..., 0].tolist() == [[57, 183], [57, 183]]


def test_random_pieces_lie_within_and_cover_enough(rng):
    boxes = [random_box(rng, (30, 20), 0.25) for _ in range(500)]
    found = np.array([box for box in boxes if box is not None])
    assert len(found) > 450
    left, top, right, bottom = found.T
    assert left.min() >= 0
    assert top.min() >= 0
    assert right.max() <= 30
    assert bottom.max() <= 20
    share = (right - left) * (bottom - top) / 600
    # Rounding of square roots in float64.
    assert share.min() >= 0.25 - 1e-12
    ratio = (right - left) / (bottom - top)
    assert ratio.min() >= 3 / 4 - 1e-12
    assert ratio.max() <= 4 / 3 + 1e-12
    assert len(np.unique(left)) > 450
    assert random_box(rng, (30, 20), 1.0) is None


def test_every_other_image_is_mirrored():
    ramp = np.tile(np.arange(0, 120, 10, dtype=np.uint8)[None, :, None], (12, 1, 3))
    examples = [{"image": pack(ramp), "label": 0}] * 200
    stream = LabelledStream("made", examples, examples, class_names=("ramp",),
                            view=View(size=12, flip=True), workers=2)  # fmt: skip
    (batch,) = stream.train_batches(0, 0, 200)
    mirrored = (batch.x == ramp[:, ::-1]).all(axis=(1, 2, 3))
    assert (mirrored | (batch.x == ramp).all(axis=(1, 2, 3))).all()
    # Binomial of 200 at 1/2: standard deviation 7.1, five of them.
    assert abs(int(mirrored.sum()) - 100) <= 35
    (batch,) = stream.test_batches(200)
    assert (batch.x == ramp).all()


def test_the_vendors_test_cut_of_imagenet():
    """Shorter side to 256 and the middle 224 of it, in one step."""
    view = CATALOGUE["imagenet2012"].view
    assert (view.size, view.crop) == (224, 0.875)
    # The middle square of 256 x 384 has side 224, so nothing is scaled.
    pixels = np.random.default_rng(0).integers(0, 256, (256, 384, 3), np.uint8)
    examples = [{"image": pack(pixels), "label": 0}]
    stream = LabelledStream("made", examples, examples, class_names=("a",), view=view, workers=1)
    (batch,) = stream.test_batches(1)
    np.testing.assert_array_equal(batch.x[0], pixels[16:240, 80:304])
