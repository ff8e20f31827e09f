import io

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from akida_jax.zoo.datasets.detection_sets import (
    DETECTION_SETS,
    DetectionStream,
    annotate_faces,
    annotate_voc,
    open_detection,
)


def pack(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG")
    return file.getvalue()


def picture(i):
    """An image whose left half is dark, its size and brightness say its number."""
    pixels = np.full((40 + i, 80, 3), 100 + 20 * (i % 7), np.uint8)
    pixels[:, :40] = 0
    return pixels


def make_record(i, boxes, invalid=None):
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    invalid = np.zeros(len(boxes), bool) if invalid is None else np.array(invalid)
    return {"image": pack(picture(i)), "faces": {"bbox": boxes, "invalid": invalid}}


# Top, left, bottom, right: a large face, a small one (0.03 of 224 are 6.7 pixels), one between.
LARGE, SMALL, MIDDLE = (0.1, 0.2, 0.9, 0.6), (0.5, 0.5, 0.53, 0.6), (0.0, 0.75, 0.25, 1.0)


def make_stream(n_train=6, **settings):
    train = [make_record(i, [MIDDLE, LARGE, SMALL]) for i in range(n_train)]
    test = [make_record(0, [LARGE]), make_record(1, []), make_record(2, [LARGE], [True])]
    return DetectionStream("made", train, test, kind=DETECTION_SETS["wider_face"], **settings)


def test_faces_of_a_record():
    corners, classes = annotate_faces(make_record(0, [LARGE, MIDDLE], [False, True]))
    np.testing.assert_array_equal(corners, np.array([[0.2, 0.1, 0.6, 0.9]], np.float32))
    assert classes.tolist() == [0]


def test_people_and_cars_of_a_record():
    record = {"objects": {
        "bbox": np.array([LARGE, SMALL, MIDDLE, LARGE], np.float32),
        "label": np.array([14, 6, 7, 14]),
        "is_difficult": np.array([False, False, False, True]),
    }}  # fmt: skip
    corners, classes = annotate_voc(record)
    # Label 14 is "person", 6 "car", 7 "cat".
    assert classes.tolist() == [0, 1]
    np.testing.assert_array_equal(corners[1], np.array([0.5, 0.5, 0.6, 0.53], np.float32))
    record["objects"] = {key: values[:0] for key, values in record["objects"].items()}
    corners, classes = annotate_voc(record)
    assert (corners.shape, classes.shape) == ((0, 4), (0,))


def test_batches_of_targets():
    batches = list(make_stream().test_batches(2))
    assert [len(batch.x) for batch in batches] == [2, 1]
    first = batches[0]
    assert first.x.shape == (2, 224, 224, 3)
    assert first.x.dtype == np.uint8
    assert first.y.corners.shape == (2, 32, 4)
    assert first.y.mask.sum(1).tolist() == [1, 0]
    # An invalid face is none.
    assert not batches[1].y.mask.any()
    # JPEG is lossy: flat halves keep their level within a few.
    np.testing.assert_allclose(first.x[1, :, 150:].astype(int), 120, atol=4)
    np.testing.assert_allclose(first.x[1, :, :75].astype(int), 0, atol=4)


def test_small_faces_are_dropped_and_the_largest_come_first():
    batch = next(make_stream().train_batches(0, 1, 6))
    assert batch.y.mask.sum(1).tolist() == [2] * 6
    sides = batch.y.corners[..., 2:] - batch.y.corners[..., :2]
    assert (sides[:, 0].prod(-1) > sides[:, 1].prod(-1)).all()
    only = next(make_stream(max_objects=1).train_batches(0, 1, 6)).y.corners
    assert only.shape == (6, 1, 4)
    # 0.4 of the width is 89.6 pixels.
    none = next(make_stream(min_pixels=90).train_batches(0, 1, 6)).y
    assert not none.mask.any()


def test_mirrored_images_have_mirrored_boxes():
    stream, seen = make_stream(), set()
    for epoch in range(4):
        batch = next(stream.train_batches(0, epoch, 6))
        for image, box in zip(batch.x, batch.y.corners[:, 0], strict=True):
            mirrored = image[:, :75].mean() > 50
            expected = (0.4, 0.1, 0.8, 0.9) if mirrored else (0.2, 0.1, 0.6, 0.9)
            # 1 - 0.6 in float32 is not 0.4 to the last bit.
            np.testing.assert_allclose(box, expected, atol=1e-6)
            seen.add(bool(mirrored))
    assert seen == {False, True}


def test_epochs_have_an_order_of_their_own():
    stream = make_stream(n_train=20)
    epochs = [next(stream.train_batches(0, epoch, 20)).x for epoch in (1, 1, 2)]
    np.testing.assert_array_equal(epochs[0], epochs[1])
    assert (epochs[0] != epochs[2]).any()
    assert [len(batch.x) for batch in stream.train_batches(0, 1, 8)] == [8, 8]


def test_what_cannot_be_is_refused(tmp_path):
    with pytest.raises(ValueError, match="one of wider_face, voc, got 'coco'"):
        open_detection("coco")
    for name in DETECTION_SETS:
        command = f"python -m akida_jax.zoo.datasets.downloaded {name}"
        with pytest.raises(FileNotFoundError, match=command):
            open_detection(name, data_dir=tmp_path)
    with pytest.raises(ValueError, match="at least 1 and min_pixels 0, got 0, 32 and 8"):
        make_stream(size=0)
    with pytest.raises(ValueError, match="batch_size must be 1 to 6, got 7"):
        next(make_stream().train_batches(0, 1, 7))
    stream = DetectionStream("made", [], [{"image": b"no image"}], kind=DETECTION_SETS["voc"])
    with pytest.raises(ValueError, match="data set 'made', test example 0: must be a whole image"):
        next(stream.test_batches(1))


def test_a_prepared_set_is_read_from_its_files(tmp_path):
    with tfds.core.registered.skip_registration():

        class WiderFace(tfds.core.GeneratorBasedBuilder):
            # Of no package, in whose folder checksums of downloads would be looked for.
            __module__ = "made"
            VERSION = tfds.core.Version("0.1.0")

            def _info(self):
                faces = {"bbox": tfds.features.BBoxFeature(), "invalid": np.bool_}
                features = tfds.features.FeaturesDict({
                    "image": tfds.features.Image(encoding_format="jpeg"),
                    "faces": tfds.features.Sequence(faces),
                })  # fmt: skip
                return tfds.core.DatasetInfo(builder=self, features=features)

            def _split_generators(self, dl_manager):
                return {
                    "train": self._generate_examples(3),
                    "validation": self._generate_examples(2),
                }

            def _generate_examples(self, n):
                for i in range(n):
                    boxes = [(LARGE, False), (MIDDLE, True), (SMALL, False)][:i]
                    faces = [{"bbox": tfds.features.BBox(*box), "invalid": invalid}
                             for box, invalid in boxes]  # fmt: skip
                    yield i, {"image": io.BytesIO(pack(picture(i))), "faces": faces}

    WiderFace(data_dir=tmp_path).download_and_prepare(file_format="array_record")
    stream = open_detection("wider_face", data_dir=tmp_path)
    assert (stream.n_train, stream.n_test) == (3, 2)
    assert stream.class_names == ("face",)
    batch = next(stream.train_batches(0, 0, 3))
    # One image without faces, two with one that is valid and large enough.
    assert sorted(batch.y.mask.sum(1).tolist()) == [0, 1, 1]
    assert sum(batch.y.mask.sum() for batch in stream.test_batches(1)) == 1
