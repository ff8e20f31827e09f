import gzip

import h5py
import numpy as np
import pytest

from akida_jax.zoo.datasets import point_clouds
from akida_jax.zoo.datasets.point_clouds import (
    load_clouds,
    load_grouped,
    normalize,
    read_off,
    read_voxels,
    sample_surface,
    surface,
)


def write_voxels(path, shapes, dtype=np.float64):
    array = np.zeros((len(shapes) + 1, 1, 32, 32, 32), dtype)
    for place, shape in enumerate(shapes, start=1):
        array[place, 0][shape] = 1
    with gzip.open(path, "wb") as file:
        np.save(file, array)


def make_box(rng):
    box = np.zeros((32, 32, 32), bool)
    low = rng.integers(0, 8, 3)
    high = rng.integers(12, 32, 3)
    box[low[0] : high[0], low[1] : high[1], low[2] : high[2]] = True
    return box


@pytest.fixture
def voxels(tmp_path, rng):
    for name, n in (("chair", 10), ("monitor", 5)):
        write_voxels(tmp_path / f"{name}.npy.gz", [make_box(rng) for _ in range(n)])
    return tmp_path


def test_voxels_come_back_without_the_empty_first_shape(tmp_path, rng):
    boxes = [make_box(rng) for _ in range(3)]
    write_voxels(tmp_path / "a.npy.gz", boxes)
    np.testing.assert_array_equal(read_voxels(tmp_path / "a.npy.gz"), np.stack(boxes), strict=True)


def test_damaged_voxels_are_refused(tmp_path, rng):
    path = tmp_path / "a.npy.gz"
    write_voxels(path, [make_box(rng)] * 2)
    whole = path.read_bytes()
    for damaged in (whole[:-100], whole[: len(whole) // 2], b"no gzip", b"", whole[:-4] + b"abcd"):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"a\.npy\.gz: "):
            read_voxels(path)
    plain = gzip.decompress(whole)
    for text, message in (
        (plain + b"x", "goes on behind its 3 shapes"),
        (plain[:-8], "ends within shape 2"),
        (plain.replace(b"<f8", b"<i8"), "must hold float64"),
        (plain[:-8] + np.float64(0.5).tobytes(), "shape 2 must consist of 0 and 1"),
        (plain[:-8] + np.float64(np.nan).tobytes(), "shape 2 must consist of 0 and 1"),
        (plain.replace(b"(3, 1, 32", b"(3, 2, 32"), "must hold 2 to 10000 shapes"),
    ):
        path.write_bytes(gzip.compress(text))
        with pytest.raises(ValueError, match=f"a.npy.gz: {message}"):
            read_voxels(path)


def test_a_huge_header_allocates_nothing(tmp_path):
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (9000000, 1, 32, 32, 32), }"
    text = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
    (tmp_path / "a.npy.gz").write_bytes(gzip.compress(text))
    with pytest.raises(ValueError, match="must hold 2 to 10000 shapes"):
        read_voxels(tmp_path / "a.npy.gz")


def test_the_surface_of_a_cube():
    cube = np.zeros((32, 32, 32), bool)
    cube[4:9, 4:9, 4:9] = True
    found = surface(cube)
    assert len(found) == 5**3 - 3**3
    assert {tuple(p) for p in found} == {
        tuple(p) for p in np.argwhere(cube) if (np.isin(p, (4, 8))).any()
    }
    # A cube at the border has no neighbours beyond it.
    full = np.ones((4, 4, 4), bool)
    assert len(surface(full)) == 4**3 - 2**3


def test_clouds_lie_in_the_unit_sphere(rng):
    cloud = normalize(rng.normal(5, 3, (100, 3)).astype(np.float32))
    radii = np.linalg.norm(cloud.astype(np.float64), axis=1)
    assert radii.max() == pytest.approx(1, abs=float(4 * np.finfo(np.float32).eps))
    with pytest.raises(ValueError, match="at least two points that differ"):
        normalize(np.ones((4, 3), np.float32))


def test_the_split_does_not_depend_on_the_seed(voxels):
    names, train, test = load_clouds("modelnet10-two", points=64, data_dir=voxels)
    assert names == ("chair", "monitor")
    assert (len(train.points), len(test.points)) == (12, 3)
    assert (np.bincount(train.labels), np.bincount(test.labels)) == (
        pytest.approx([8, 4]), pytest.approx([2, 1]),
    )  # fmt: skip
    _, other, _ = load_clouds("modelnet10-two", points=64, data_dir=voxels, seed=1)
    assert (other.points != train.points).any()
    # The same shapes: their extents along the axes agree, whichever points were chosen.
    everything = load_clouds("modelnet10-two", points=6000, data_dir=voxels, seed=0)[1].points
    again = load_clouds("modelnet10-two", points=6000, data_dir=voxels, seed=1)[1].points
    # 6,000 points hold the whole surface, some voxels twice: the mean moves by that much.
    np.testing.assert_allclose(np.ptp(everything, axis=1), np.ptp(again, axis=1), atol=0.1)


def test_grouped_clouds_are_images(voxels):
    found = load_grouped("modelnet10-two", points=70, data_dir=voxels)
    assert found.train.x.shape == (12, 32, 64, 3)
    assert found.train.x.dtype == np.uint8
    assert found.test.y.tolist() == sorted(found.test.y.tolist())
    again = load_grouped("modelnet10-two", points=70, data_dir=voxels)
    np.testing.assert_array_equal(found.train.x, again.train.x)


CUBE = """OFF
8 6 0
0 0 0
1 0 0
1 1 0
0 1 0
0 0 1
1 0 1
1 1 1
0 1 1
4 0 3 2 1
4 4 5 6 7
4 0 1 5 4
4 1 2 6 5
4 2 3 7 6
4 3 0 4 7
"""


@pytest.mark.parametrize("text", [CUBE, CUBE.replace("OFF\n", "OFF")])
def test_meshes_with_and_without_the_missing_line_break(tmp_path, text):
    (tmp_path / "a.off").write_text(text)
    vertices, triangles = read_off(tmp_path / "a.off")
    assert vertices.shape == (8, 3)
    assert triangles.tolist()[:2] == [[0, 3, 2], [0, 2, 1]]
    assert len(triangles) == 12


def test_damaged_meshes_are_refused(tmp_path):
    path = tmp_path / "a.off"
    for text, message in (
        ("PLY" + CUBE, "must begin with OFF"),
        ("OFF 8", "list index out of range"),
        (CUBE[:60], "ends within its 8 vertices and 6 faces"),
        (CUBE.replace("4 3 0 4 7", "4 3 0 4"), "face 5 must have at least 3 corners"),
        (CUBE.replace("4 3 0 4 7", "4 3 0 4 9"), "corners beyond its 8 vertices"),
        (CUBE.replace("1 0 1", "1 nan 1"), "vertices that are not finite"),
        (CUBE.replace("8 6 0", "999999999 6 0"), "must have 3 vertices and 1 face"),
    ):
        path.write_text(text)
        with pytest.raises(ValueError, match=rf"a\.off: .*{message}"):
            read_off(path)


def test_points_lie_evenly_on_a_mesh(tmp_path, rng):
    (tmp_path / "a.off").write_text(CUBE)
    points = sample_surface(*read_off(tmp_path / "a.off"), 6000, rng)
    on_side = np.isclose(points, 0, atol=1e-6) | np.isclose(points, 1, atol=1e-6)
    assert on_side.any(1).all()
    # Each of six sides has a sixth: 1,000 points, standard deviation 29; five of them.
    for axis in range(3):
        for value in (0, 1):
            count = np.isclose(points[:, axis], value, atol=1e-6).sum()
            assert abs(count - 1000) < 5 * 29
    with pytest.raises(ValueError, match="the mesh has no area"):
        sample_surface(np.zeros((3, 3), np.float32), np.array([[0, 1, 2]]), 5, rng)


def test_the_official_folder_of_meshes(tmp_path):
    for name in ("table", "bed"):
        for side in ("train", "test"):
            folder = tmp_path / name / side
            folder.mkdir(parents=True)
            (folder / f"{name}_1.off").write_text(CUBE)
    (tmp_path / "chair").mkdir()  # no class: it has no training side
    names, train, test = load_clouds("modelnet-off", points=80, data_dir=tmp_path)
    assert names == ("bed", "table")
    assert train.points.shape == (2, 80, 3)
    assert test.labels.tolist() == [0, 1]
    assert (train.points[0] != test.points[0]).any()


def test_stored_points(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "shape_names.txt").write_text("airplane\nbathtub\n")
    for side in ("train", "test"):
        (tmp_path / f"{side}_files.txt").write_text(f"data/x/{side}0.h5\n")
        with h5py.File(tmp_path / f"{side}0.h5", "w") as file:
            file["data"] = rng.normal(size=(3, 90, 3)).astype(np.float32)
            file["label"] = np.array([[0], [1], [1]], np.uint8)
    names, train, _ = load_clouds("modelnet40-hdf5", points=80, data_dir=tmp_path)
    assert names == ("airplane", "bathtub")
    assert train.points.shape == (3, 80, 3)
    assert train.labels.tolist() == [0, 1, 1]
    with pytest.raises(ValueError, match=r"train0\.h5: data must be \(n, 91 or more, 3\)"):
        load_clouds("modelnet40-hdf5", points=91, data_dir=tmp_path)


def test_stored_clouds_stand_upright(tmp_path):
    """Stored with y upwards; the third coordinate is it here."""
    (tmp_path / "shape_names.txt").write_text("post\n")
    post = np.random.default_rng(0).normal(size=(1, 90, 3)) * [0.1, 5, 0.2]
    for side in ("train", "test"):
        (tmp_path / f"{side}_files.txt").write_text(f"{side}0.h5\n")
        with h5py.File(tmp_path / f"{side}0.h5", "w") as file:
            file["data"], file["label"] = post.astype(np.float32), np.zeros((1, 1), np.uint8)
    _, train, _ = load_clouds("modelnet40-hdf5", points=80, data_dir=tmp_path)
    spread = train.points[0].std(0)
    assert spread[2] > 10 * max(spread[:2])
    # Turned, not mirrored: the handedness of three directions stays.
    turn = np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]])
    assert np.linalg.det(turn) == 1
    centred = post[0, :80] - post[0, :80].mean(0)
    expected = centred @ turn.T
    scale = np.linalg.norm(expected, axis=1).max()
    # float32 coordinates of about 15 at most, some of them subtracted.
    np.testing.assert_allclose(train.points[0] * scale, expected, atol=1e-4)


def test_a_shape_that_occurs_twice_counts_once(tmp_path, rng):
    boxes = [make_box(rng) for _ in range(10)]
    write_voxels(tmp_path / "chair.npy.gz", boxes * 3)
    write_voxels(tmp_path / "monitor.npy.gz", [make_box(rng) for _ in range(5)])
    _, train, test = load_clouds("modelnet10-two", points=64, data_dir=tmp_path)
    unique = len({box.tobytes() for box in boxes})
    counts = np.bincount(train.labels) + np.bincount(test.labels)
    assert counts[0] == unique


def test_what_is_missing_or_unknown_is_named(tmp_path):
    for name in point_clouds.CLOUD_SETS:
        with pytest.raises(FileNotFoundError, match=f"data set '{name}'.*academic research only"):
            load_clouds(name, data_dir=tmp_path)
    with pytest.raises(ValueError, match="point clouds must be one of modelnet10-two"):
        load_clouds("modelnet")
    with pytest.raises(ValueError, match="points must be at least 2"):
        load_clouds("modelnet10-two", points=1)


@pytest.mark.slow
def test_the_real_shapes(data_dir):
    names, train, test = load_clouds("modelnet10-two", points=128)
    assert names == ("chair", "monitor")
    assert np.bincount(train.labels).tolist() == [671, 361]
    assert np.bincount(test.labels).tolist() == [168, 90]
    assert (np.linalg.norm(train.points, axis=2) <= 1.0001).all()
