import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from akida_jax.zoo.datasets.faces import (
    FaceFiles,
    augment_faces,
    list_faces,
    load_faces,
    load_orl,
    read_pgm,
    read_photo,
)

PIXELS = bytes(range(6))


def write(path, content):
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    "content",
    [
        b"P5 3 2 255\n" + PIXELS,
        b"P5\n# made by hand\n3 2\n255\n" + PIXELS,
        b"P2\n3 2\n255\n0 1 2\n3 4 5\n",
    ],
)
def test_pgm_by_hand(tmp_path, content):
    pixels = read_pgm(write(tmp_path / "a.pgm", content), shape=(2, 3))
    assert pixels.dtype == np.uint8
    assert pixels.tolist() == [[0, 1, 2], [3, 4, 5]]


def test_pgm_of_a_darker_white_is_scaled(tmp_path):
    path = write(tmp_path / "a.pgm", b"P5 3 1 15\n\x00\x05\x0f")
    assert read_pgm(path, shape=(1, 3)).tolist() == [[0, 85, 255]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "must be an image"),
        (b"P5", "must be an image"),
        (b"P5 3 2", "must be an image"),
        (b"P5 3 x 255\n" + PIXELS, "must be an image"),
        (b"P5 3 0 255\n" + PIXELS, "a.pgm"),
        (b"P5 3 2 0\n" + PIXELS, "must be an image"),
        (b"P5 99999999 99999999 255\n" + PIXELS, "must be an image"),
        (b"P5 9000 9000 255\n" + PIXELS, "must be 3 wide and 2 high, got 9000 and 9000"),
        (b"P5 2 3 255\n" + PIXELS, "must be 3 wide and 2 high, got 2 and 3"),
        (b"P5 3 2 65535\n" + 2 * PIXELS, "must be grey with 8 bits, got mode 'I"),
        (b"P6 3 2 255\n" + 3 * PIXELS, "must be grey with 8 bits, got mode 'RGB'"),
        (b"P5 3 2 255\n" + PIXELS[:-1], "ends too early or is damaged"),
        (b"P2 3 2 255\n0 1 2 3 4", "ends too early or is damaged"),
        (b"P2 3 2 255\n0 1 2 3 4 256", "ends too early or is damaged"),
        (b"P2 3 2 255\n0 1 2 3 4 x", "ends too early or is damaged"),
    ],
)
def test_a_bad_pgm_is_refused(tmp_path, content, message):
    path = write(tmp_path / "a.pgm", content)
    with pytest.raises(ValueError, match=message) as problem:
        read_pgm(path, shape=(2, 3))
    assert str(path) in str(problem.value)


@pytest.fixture
def orl(tmp_path):
    """A folder of 40 x 10 grey images; the left column holds person, the right one image."""
    for person in range(1, 41):
        (tmp_path / f"s{person}").mkdir()
        for image in range(1, 11):
            pixels = np.full((112, 92), 128, np.uint8)
            pixels[:, 0], pixels[:, -1] = person, image
            Image.fromarray(pixels).save(tmp_path / f"s{person}" / f"{image}.pgm")
    return tmp_path


def test_orl_is_widened_by_its_border(orl):
    faces = load_orl(orl)
    assert faces.shape == (40, 10, 112, 96, 1)
    assert faces[6, 9, 50, :4, 0].tolist() == [7, 7, 7, 128]
    assert faces[6, 9, 50, -4:, 0].tolist() == [128, 10, 10, 10]


def test_first_images_train(orl):
    data = load_faces(orl)
    assert data.train.x.shape == data.test.x.shape == (200, 112, 96, 1)
    assert data.train.y.dtype == np.int32
    assert data.train.y.tolist() == data.test.y.tolist() == np.repeat(np.arange(40), 5).tolist()
    assert data.train.x[:, 0, 0, 0].tolist() == (data.train.y + 1).tolist()
    assert data.train.x[:, 0, -1, 0].tolist() == 40 * [1, 2, 3, 4, 5]
    assert data.test.x[:, 0, -1, 0].tolist() == 40 * [6, 7, 8, 9, 10]
    assert data.class_names[0] == "s1"


def test_a_seed_draws_for_each_person(orl):
    data = load_faces(orl, seed=1)
    images = data.train.x[:, 0, -1, 0].reshape(40, 5)
    assert len({tuple(sorted(row)) for row in images.tolist()}) > 30
    tested = data.test.x[:, 0, -1, 0].reshape(40, 5)
    both = np.sort(np.concatenate([images, tested], axis=1))
    assert (both == np.arange(1, 11)).all()
    np.testing.assert_array_equal(load_faces(orl, seed=1).train.x, data.train.x)


def test_some_people_in_three_channels(orl):
    data = load_faces(orl, people=range(30, 40), n_train=10, channels=3)
    assert data.train.x.shape == (100, 112, 96, 3)
    assert (data.train.x == data.train.x[..., :1]).all()
    assert len(data.test.x) == 0
    assert data.train.x[-1, 0, 0, 0] == 40
    assert data.train.y[-1] == 9
    assert data.class_names == tuple(f"s{n}" for n in range(31, 41))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"people": range(0)}, "people must be some of 0 to 39"),
        ({"people": range(41)}, "people must be some of 0 to 39"),
        ({"people": range(-1, 3)}, "people must be some of 0 to 39"),
        ({"n_train": 0}, "n_train must be 1 to 10, got 0"),
        ({"n_train": 11}, "n_train must be 1 to 10, got 11"),
        ({"channels": 2}, "channels must be 1 or 3, got 2"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        load_faces(**options)


def test_missing_faces_say_how_to_get_them(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"'orl-faces': no .*s1.*Samaria & Harter"):
        load_faces(tmp_path)
    (tmp_path / "s1").mkdir()
    with pytest.raises(FileNotFoundError, match=r"no .*1\.pgm.*Samaria & Harter"):
        load_faces(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"'casia-webface'.*CASIA-WebFace by Yi"):
        list_faces(tmp_path / "elsewhere")


def test_a_photo_is_cut_in_the_middle(tmp_path):
    # The largest 7:6 rectangle of 300x280 is 240 wide and 280 high.
    pixels = np.zeros((280, 300, 3), np.uint8)
    pixels[:, 30:270] = 200
    pixels[140:, 30:270, 0] = 100
    Image.fromarray(pixels).save(tmp_path / "a.png")
    face = read_photo(tmp_path / "a.png")
    assert face.shape == (112, 96, 3)
    # The filter reaches 2.5 pixels to each side: only the outermost columns and the two rows at
    # the edge are mixed.
    assert (face[:, 1:-1, 1] == 200).all()
    assert (face[:54, 1:-1, 0] == 200).all()
    assert (face[58:, 1:-1, 0] == 100).all()
    pixels[70:210, 90:210] = 9
    Image.fromarray(pixels).save(tmp_path / "a.png")
    half = read_photo(tmp_path / "a.png", share=0.5)
    assert (half[2:-2, 2:-2] == 9).all()


def test_folders_are_read_when_asked_for(tmp_path):
    for name, n in (("b", 2), ("a", 1)):
        (tmp_path / name).mkdir()
        for i in range(n):
            Image.new("L", (96, 112), 40 * (i + 1)).save(tmp_path / name / f"{i}.PNG")
    (tmp_path / "a" / "notes.txt").write_text("no image")
    (tmp_path / "empty").mkdir()
    (tmp_path / "b" / "9.jpg").write_bytes(b"\xff\xd8broken")
    faces = list_faces(tmp_path)
    assert len(faces) == 4
    assert faces.names == ("a", "b")
    assert faces.labels.tolist() == [0, 1, 1, 1]
    image, label = faces[2]
    assert label == 1
    assert image.dtype == np.uint8
    assert (image == 80).all()
    x, y = faces.batch([0, 2])
    assert x.shape == (2, 112, 96, 3)
    assert y.tolist() == [0, 1]
    with pytest.raises(ValueError, match=r"9\.jpg: "):
        faces[3]
    with pytest.raises(IndexError):
        faces[4]


def test_a_damaged_photo_is_named(tmp_path):
    path = tmp_path / "a.jpg"
    noise = np.random.default_rng(0).integers(0, 255, (112, 96, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(ValueError, match=r"a\.jpg: ends too early or is damaged"):
        read_photo(path)
    write(path, b"P5 9000 9000 255\n")
    with pytest.raises(ValueError, match="9000 x 9000 pixels are more than 67108864"):
        read_photo(path)


def test_bad_folders_are_refused(tmp_path):
    with pytest.raises(ValueError, match="needs a folder for each person with files that end in"):
        list_faces(tmp_path)
    with pytest.raises(ValueError, match=r"at most 1, got 1\.5"):
        FaceFiles([], [], (), share=1.5)
    with pytest.raises(ValueError, match="1 files need as many labels, got 0"):
        FaceFiles([tmp_path], [], ())


STILL = {"flip": False, "shift": 0.0, "zoom": 0.0, "rotation": 0.0, "contrast": 0.0,
         "brightness": 0.0}  # fmt: skip


def augment(x, seed=0, **options):
    return np.asarray(augment_faces(jax.random.key(seed), jnp.asarray(x), **{**STILL, **options}))


@pytest.fixture
def faces(rng):
    return rng.integers(0, 256, (16, 12, 10, 3), dtype=np.uint8)


def test_nothing_to_change_changes_nothing(faces):
    np.testing.assert_array_equal(augment(faces), faces)


def test_half_of_the_images_are_mirrored(faces):
    y = augment(faces, flip=True)
    mirrored = [(a == b[:, ::-1]).all() for a, b in zip(y, faces, strict=True)]
    same = [(a == b).all() for a, b in zip(y, faces, strict=True)]
    assert [a or b for a, b in zip(mirrored, same, strict=True)] == [True] * 16
    assert 0 < sum(mirrored) < 16


def test_light_stays_within_its_range():
    grey = np.full((64, 4, 4, 1), 100, np.uint8)
    y = augment(grey, brightness=20.0)
    assert y.min() >= 80
    assert y.max() <= 120
    assert len(np.unique(y)) > 20
    y = augment(grey, contrast=0.5)
    # 128 - 28 * 1.5 and 128 - 28 * 0.5
    assert y.min() >= 86
    assert y.max() <= 114


def test_movements_repeat_the_border():
    image = np.zeros((32, 40, 40, 1), np.uint8)
    image[:, 15:25, 15:25] = 255
    image[:, 19:21, 19:21] = 0
    for options in ({"shift": 8.0}, {"zoom": 0.3}, {"rotation": 0.1}):
        y = augment(image, **options)
        assert (y[:, 0, 0] == 0).all()
        # Two changes may be so small that they round to the same bytes.
        assert len({a.tobytes() for a in y}) > 28
    assert (augment(np.full((4, 9, 9, 1), 77, np.uint8), shift=30.0) == 77).all()


def test_a_shift_moves_the_image():
    image = np.zeros((32, 21, 21, 1), np.uint8)
    image[:, 10, 10] = 240
    y = augment(image, shift=5.0).astype(float)[..., 0]
    rows = (y.sum(2) * np.arange(21)).sum(1) / y.sum((1, 2))
    # Linear interpolation keeps the centre of mass up to rounding to bytes: four bytes, half a
    # level each, at up to 5 pixels, of at least 240 - 2 levels, is below 0.05 pixels.
    assert (np.abs(rows - 10) <= 5.05).all()
    assert rows.min() < 7 < 13 < rows.max()


def test_real_faces(data_dir):
    data = load_faces(data_dir / "orl_faces")
    assert data.train.x.shape == (200, 112, 96, 1)
    assert 90 < data.train.x.mean() < 135
    assert data.train.x[0, 0, :5, 0].tolist()[:3] == [data.train.x[0, 0, 2, 0]] * 3
