"""Shapes of ModelNet as point clouds: from voxels, from meshes, from stored points.

ModelNet is by Wu et al., "3D ShapeNets", arXiv:1406.5670; academic research only.
"""

import gzip
import itertools
import math
import os
import pathlib
import zlib
from typing import NamedTuple

import h5py
import numpy as np
from jaxtyping import Bool, Float32, Int32

from akida_jax.zoo.datasets.examples import Examples, LabelledSet
from akida_jax.zoo.datasets.places import Place, find_folder
from akida_jax.zoo.pointnet import INPUT_SHAPE, group_points

SOURCE = "ModelNet by Wu et al. (Princeton, 2015, arXiv:1406.5670), modelnet.cs.princeton.edu"
TERMS = "academic research only"
POINTS = 1024
"""Points of a cloud, as in PointNet++."""

_GRID = (32, 32, 32)
_FILES = ("chair", "monitor")
_TEST_SHARE = 0.2
_MAX_SHAPES = 10_000
_MAX_VERTICES = 10_000_000
_BATCH = 64

_VOXELS = Place(
    name="modelnet10-two",
    usual="modelnet10_two",
    needed="chair.npy.gz",
    source=f"chairs and monitors of the training side of ModelNet10 as voxels; {SOURCE}; {TERMS}",
)
_MESHES = Place(
    name="modelnet-off", usual="ModelNet10", needed="chair", source=f"{SOURCE}; {TERMS}"
)
_STORED = Place(
    name="modelnet40-hdf5",
    usual="modelnet40_ply_hdf5_2048",
    needed="train_files.txt",
    source=f"points of ModelNet40 by Qi et al. (PointNet, arXiv:1612.00593); {SOURCE}; {TERMS}",
)
#: Names that :func:`load_clouds` knows.
CLOUD_SETS = ("modelnet10-two", "modelnet-off", "modelnet40-hdf5")


class Clouds(NamedTuple):
    """Point clouds and labels of one side; coordinates in [-1, 1], the third one upwards."""

    points: Float32[np.ndarray, "n points 3"]
    labels: Int32[np.ndarray, " n"]


def normalize(points: Float32[np.ndarray, "n 3"]) -> Float32[np.ndarray, "n 3"]:
    """Return a cloud moved and scaled into the unit sphere.

    Raises:
      ValueError: if all points are the same.
    """
    centred = points - points.mean(0)
    radius = np.sqrt((centred**2).sum(1).max())
    if not radius > 0:
        raise ValueError("a cloud needs at least two points that differ")
    return (centred / radius).astype(np.float32)


def read_voxels(path: str | os.PathLike[str]) -> Bool[np.ndarray, "n 32 32 32"]:
    """Read a gzipped ``.npy`` file of float64 voxels (n + 1, 1, 32, 32, 32), 0 or 1.

    Its first shape is empty and left out.

    Raises:
      ValueError: naming the file, if it is truncated, damaged, or holds something else.
    """
    try:
        with gzip.open(path) as file:
            version = np.lib.format.read_magic(file)
            if version != (1, 0):
                raise ValueError(f"must be of .npy version 1.0, got {version}")
            shape, by_columns, dtype = np.lib.format.read_array_header_1_0(file)
            if shape[1:] != (1, *_GRID) or not 1 < shape[0] <= _MAX_SHAPES or by_columns:
                raise ValueError(
                    f"must hold 2 to {_MAX_SHAPES} shapes of {(1, *_GRID)} row by row, got {shape}"
                )
            if dtype != np.float64:
                raise ValueError(f"must hold float64, got {dtype}")
            shapes = [_read_shape(file, number) for number in range(shape[0])]
            if file.read(1):
                raise ValueError(f"goes on behind its {shape[0]} shapes")
    except (ValueError, EOFError, OSError, zlib.error) as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise ValueError(f"{path}: {error}") from error
    return np.stack(shapes[1:])


def _read_shape(file: gzip.GzipFile, number: int) -> Bool[np.ndarray, "32 32 32"]:
    size = math.prod(_GRID)
    data = file.read(8 * size)
    if len(data) != 8 * size:
        raise ValueError(f"ends within shape {number}")
    values = np.frombuffer(data, "<f8")
    if not np.isin(values, (0.0, 1.0)).all():
        raise ValueError(f"shape {number} must consist of 0 and 1")
    return (values == 1).reshape(_GRID)


def surface(voxels: Bool[np.ndarray, "d h w"]) -> Float32[np.ndarray, "n 3"]:
    """Return the places of the occupied voxels that have an empty neighbour."""
    padded = np.pad(voxels, 1)
    inside = padded.copy()
    for axis in range(3):
        for step in (-1, 1):
            inside &= np.roll(padded, step, axis)
    hidden = inside[1:-1, 1:-1, 1:-1]
    return np.argwhere(voxels & ~hidden).astype(np.float32)


def read_off(
    path: str | os.PathLike[str],
) -> tuple[Float32[np.ndarray, "v 3"], Int32[np.ndarray, "f 3"]]:
    """Read vertices and triangles of a mesh in OFF format.

    Some files of ModelNet have no line break behind the word OFF. Polygons of more corners
    are cut into triangles that share their first corner.

    Raises:
      ValueError: naming the file, if it is truncated or no mesh.
    """
    text = pathlib.Path(path).read_bytes()
    try:
        if text[:3] != b"OFF":
            raise ValueError("must begin with OFF")
        words = text[3:].split()
        n_vertices, n_faces = int(words[0]), int(words[1])
        if not (3 <= n_vertices <= _MAX_VERTICES and 1 <= n_faces <= _MAX_VERTICES):
            raise ValueError(f"must have 3 vertices and 1 face, got {n_vertices} and {n_faces}")
        end = 3 + 3 * n_vertices
        if len(words) < end + 4 * n_faces:
            raise ValueError(f"ends within its {n_vertices} vertices and {n_faces} faces")
        vertices = np.array(words[3:end], np.float32).reshape(-1, 3)
        triangles = _read_faces(words, end, n_faces)
        if not np.isfinite(vertices).all():
            raise ValueError("has vertices that are not finite")
        if triangles.min() < 0 or triangles.max() >= n_vertices:
            raise ValueError(f"has faces with corners beyond its {n_vertices} vertices")
    except (ValueError, IndexError) as error:
        raise ValueError(f"{path}: {error}") from error
    return vertices, triangles


def _read_faces(words: list[bytes], at: int, n_faces: int) -> Int32[np.ndarray, "f 3"]:
    triangles = []
    for face in range(n_faces):
        corners = int(words[at]) if at < len(words) else 0
        listed = words[at + 1 : at + 1 + corners]
        if corners < 3 or len(listed) < corners:
            raise ValueError(f"face {face} must have at least 3 corners and all of them listed")
        numbers = [int(word) for word in listed]
        triangles += [(numbers[0], a, b) for a, b in itertools.pairwise(numbers[1:])]
        at += 1 + corners
    return np.array(triangles, np.int32)


def sample_surface(
    vertices: Float32[np.ndarray, "v 3"],
    triangles: Int32[np.ndarray, "f 3"],
    count: int,
    rng: np.random.Generator,
) -> Float32[np.ndarray, "count 3"]:
    """Return points drawn evenly over the surface of a mesh.

    Raises:
      ValueError: if the mesh has no area.
    """
    a, b, c = (vertices[triangles[:, corner]].astype(np.float64) for corner in range(3))
    areas = np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2
    if not areas.sum() > 0:
        raise ValueError("the mesh has no area")
    chosen = rng.choice(len(triangles), size=count, p=areas / areas.sum())
    u, v = rng.random((2, count, 1))
    root = np.sqrt(u)  # evenly over a triangle
    points = (1 - root) * a[chosen] + root * (1 - v) * b[chosen] + root * v * c[chosen]
    return points.astype(np.float32)


def _from_voxels(
    data_dir: str | os.PathLike[str] | None, points: int, seed: int
) -> tuple[tuple[str, ...], Clouds, Clouds]:
    sides: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    labels: tuple[list[int], list[int]] = ([], [])
    for label, name in enumerate(_FILES):
        file = f"{name}.npy.gz"
        shapes = read_voxels(find_folder(_VOXELS, data_dir, file) / file)
        # Some shapes occur several times; both sides would share them.
        unique = list({shape.tobytes(): number for number, shape in enumerate(shapes)}.values())
        # The split is part of the data set: it does not depend on the seed.
        order = np.random.default_rng(label).permutation(unique)
        n_test = round(_TEST_SHARE * len(order))
        for place, shape in enumerate(order):
            side = int(place >= n_test)
            rng = np.random.default_rng((seed, label, int(shape)))
            cloud = surface(shapes[shape])
            if len(cloud) < 2:
                raise ValueError(f"{file}: shape {shape + 1} has fewer than two voxels")
            chosen = np.resize(rng.permutation(len(cloud)), points)
            sides[side].append(normalize(cloud[chosen]))
            labels[side].append(label)
    test, train = (
        Clouds(np.stack(clouds), np.array(found, np.int32))
        for clouds, found in zip(sides, labels, strict=True)
    )
    return _FILES, train, test


def _from_meshes(
    data_dir: str | os.PathLike[str] | None, points: int, seed: int
) -> tuple[tuple[str, ...], Clouds, Clouds]:
    folder = find_folder(_MESHES, data_dir)
    names = tuple(sorted(path.name for path in folder.iterdir() if (path / "train").is_dir()))
    sides = []
    for side in ("train", "test"):
        clouds, labels = [], []
        for label, name in enumerate(names):
            for number, path in enumerate(sorted((folder / name / side).glob("*.off"))):
                rng = np.random.default_rng((seed, side == "test", label, number))
                mesh = read_off(path)
                try:
                    clouds.append(normalize(sample_surface(*mesh, points, rng)))
                except ValueError as error:
                    raise ValueError(f"{path}: {error}") from error
                labels.append(label)
        if not clouds:
            raise FileNotFoundError(
                f"data set 'modelnet-off': no {folder}/*/{side}/*.off. The data: {_MESHES.source}"
            )
        sides.append(Clouds(np.stack(clouds), np.array(labels, np.int32)))
    return names, sides[0], sides[1]


def _from_stored(
    data_dir: str | os.PathLike[str] | None, points: int, seed: int
) -> tuple[tuple[str, ...], Clouds, Clouds]:
    folder = find_folder(_STORED, data_dir)
    names = tuple((folder / "shape_names.txt").read_text().split())
    sides = []
    for side in ("train", "test"):
        clouds, labels = [], []
        for line in (folder / f"{side}_files.txt").read_text().split():
            path = folder / pathlib.PurePosixPath(line).name
            with h5py.File(path) as file:
                data, label = file["data"], file["label"]
                if data.ndim != 3 or data.shape[2] != 3 or data.shape[1] < points:
                    raise ValueError(f"{path}: data must be (n, {points} or more, 3), "
                                     f"got {data.shape}")  # fmt: skip
                upright = data[:, :points][..., [0, 2, 1]] * np.asarray([1, -1, 1], np.float32)
                clouds.append(np.stack([normalize(cloud) for cloud in upright]))
                labels.append(np.asarray(label, np.int32).reshape(-1))
        found = np.concatenate(labels)
        if found.min() < 0 or found.max() >= len(names):
            raise ValueError(f"{folder}: labels must be 0 to {len(names) - 1}")
        sides.append(Clouds(np.concatenate(clouds), found))
    del seed  # the points are stored
    return names, sides[0], sides[1]


_READERS = {
    "modelnet10-two": (_from_voxels, "ModelNet10 chairs and monitors"),
    "modelnet-off": (_from_meshes, "ModelNet10"),
    "modelnet40-hdf5": (_from_stored, "ModelNet40"),
}


def load_clouds(
    name: str,
    *,
    points: int = POINTS,
    seed: int = 0,
    data_dir: str | os.PathLike[str] | None = None,
) -> tuple[tuple[str, ...], Clouds, Clouds]:
    """Return class names, training clouds and test clouds.

    ``modelnet10-two`` are the chairs and monitors of ModelNet10's training side as voxels of
    32x32x32, whose surface is taken. Shapes that occur several times count once (839 of 889
    chairs, 451 of 465 monitors); a fifth of either class, chosen once and for all, is the test
    side here. ``modelnet-off`` is the official folder of meshes, ``modelnet40-hdf5`` that
    of stored points.

    Args:
      name: one of ``CLOUD_SETS``.
      points: of each cloud; a smaller surface repeats some of its points.
      seed: of the choice of points.
      data_dir: folder of the data, instead of its place in ``$AKIDA_JAX_DATA``.

    Raises:
      ValueError: if the name is unknown, a number is not positive or a file damaged.
      FileNotFoundError: if data are missing, saying how to get them.
    """
    if name not in _READERS:
        raise ValueError(f"point clouds must be one of {', '.join(CLOUD_SETS)}, got {name!r}")
    if points < 2 or seed < 0:
        raise ValueError(
            f"points must be at least 2 and seed not negative, got {points} and {seed}"
        )
    return _READERS[name][0](data_dir, points, seed)


def load_grouped(
    name: str,
    *,
    points: int = POINTS,
    seed: int = 0,
    data_dir: str | os.PathLike[str] | None = None,
) -> LabelledSet:
    """Return point clouds as the images that PointNet++ reads, (32, 64, 3).

    Args:
      name: one of ``CLOUD_SETS``.
      points: of each cloud.
      seed: of the choice of points.
      data_dir: as of `load_clouds`.

    Raises:
      ValueError, FileNotFoundError: as of `load_clouds`.
    """
    names, *sides = load_clouds(name, points=points, seed=seed, data_dir=data_dir)
    train, test = (Examples(_group(side.points), side.labels) for side in sides)
    return LabelledSet(
        name=name, title=_READERS[name][1], class_names=names, train=train, test=test,
        source=SOURCE, terms=TERMS,
    )  # fmt: skip


def _group(clouds: Float32[np.ndarray, "n points 3"]) -> np.ndarray:
    images = np.empty((len(clouds), *INPUT_SHAPE), np.uint8)
    for start in range(0, len(clouds), _BATCH):
        piece = clouds[start : start + _BATCH]
        filled = np.resize(piece, (_BATCH, *piece.shape[1:]))  # one program for all pieces
        images[start : start + _BATCH] = np.asarray(group_points(filled))[: len(piece)]
    return images
