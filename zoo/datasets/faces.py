"""Faces: photographs of known people, to identify them or to tell whether two are one.

The ORL faces are read whole. LFW and CASIA-WebFace, too large for that, are `FaceFiles`,
read one by one. Every image has the shape of the zoo's face networks, 112x96.

Source: Samaria & Harter 1994, doi:10.1109/ACV.1994.341300; Huang et al., "Labeled Faces in
the Wild", UMass technical report 07-49; Yi et al., "CASIA-WebFace", arXiv:1411.7923.
"""

import functools
import os
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8
from PIL import Image

from akida_jax.zoo.datasets.examples import Examples, LabelledSet
from akida_jax.zoo.datasets.places import Place, find_folder

#: Rows and columns of the system paper's face networks.
HEIGHT, WIDTH = 112, 96
#: Source: the ORL database, README: 40 people, ten images each, 92 wide and 112 high.
N_PEOPLE, N_IMAGES = 40, 10
_ORL_WIDTH = 92
_ORL = Place(
    name="orl-faces",
    usual="orl_faces",
    needed="s1",
    source="the ORL Database of Faces by AT&T Laboratories Cambridge, the Olivetti Research "
    "Laboratory (Samaria & Harter 1994, doi:10.1109/ACV.1994.341300), for research, credit the "
    "laboratory; from cam-orl.co.uk/facedatabase.html",
)
ORL_TERMS = "research use, credit AT&T Laboratories Cambridge"
_CASIA = Place(
    name="casia-webface",
    usual="casia_webface",
    needed=".",
    source="CASIA-WebFace by Yi et al. (2014, arXiv:1411.7923), 494,414 images of 10,575 people "
    "in one folder each, for research, on request from its authors",
)
_ENDINGS = (".jpg", ".jpeg", ".png", ".pgm")
# A photograph of more pixels is refused before it is decoded.
_MAX_PIXELS = 1 << 26


class FaceFiles:
    """Photographs that are read, cut and scaled when they are asked for.

    ``faces[i]`` is the image uint8 (112, 96, 3) and the label of file i. The largest
    rectangle of 7:6 in the middle is scaled to 112x96; ``share`` takes less of it.

    Args:
      paths: of the files.
      labels: of the files, one each.
      names: of the people, by label.
      share: of the rectangle's height and width that is kept, above 0 and up to 1.

    Raises:
      ValueError: if the share is out of its range, or paths and labels differ in number.
    """

    def __init__(
        self,
        paths: list[pathlib.Path],
        labels: list[int],
        names: tuple[str, ...],
        *,
        share: float = 1.0,
    ):
        if not 0 < share <= 1:
            raise ValueError(f"share must be above 0 and at most 1, got {share}")
        if len(paths) != len(labels):
            raise ValueError(f"{len(paths)} files need as many labels, got {len(labels)}")
        self.paths = paths
        self.labels = np.array(labels, np.int32)
        self.names = names
        self._share = share

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[UInt8[np.ndarray, "112 96 3"], int]:
        return read_photo(self.paths[index], share=self._share), int(self.labels[index])

    def batch(self, indices: list[int]) -> Examples:
        """Return the images and labels of some of the files."""
        images = np.zeros((len(indices), HEIGHT, WIDTH, 3), np.uint8)
        for place, index in enumerate(indices):
            images[place], _ = self[index]
        return Examples(images, self.labels[list(indices)])


def read_pgm(
    path: str | os.PathLike[str], *, shape: tuple[int, int]
) -> UInt8[np.ndarray, "rows columns"]:
    """Return the pixels of a PGM file, plain (P2) or binary (P5), of 8 bits.

    Grey values of a file whose white is below 255 are scaled to 255.

    Args:
      path: of the file.
      shape: the rows and columns it must have; they are compared before it is decoded.

    Raises:
      ValueError: if it is none, of another size, of more than 8 bits, or ends too early.
    """
    with _open(path, ("PPM",)) as image:
        if image.mode != "L":
            raise ValueError(f"{path}: must be grey with 8 bits, got mode {image.mode!r}")
        if image.size != shape[::-1]:
            raise ValueError(f"{path}: must be {shape[1]} wide and {shape[0]} high, "
                             f"got {image.size[0]} and {image.size[1]}")  # fmt: skip
        return np.array(_decode(path, image))


def read_photo(
    path: str | os.PathLike[str], *, share: float = 1.0
) -> UInt8[np.ndarray, "112 96 3"]:
    """Return the middle of a photograph, scaled to 112x96 (bilinear, antialiased).

    Args:
      path: of a JPEG, PNG or PGM file.
      share: of the largest middle rectangle of 7:6 that is kept.

    Raises:
      ValueError: if the file is no image, is damaged or is larger than 67 million pixels.
    """
    with _open(path, ("JPEG", "PNG", "PPM")) as image:
        width, height = image.size
        if width * height > _MAX_PIXELS:
            raise ValueError(f"{path}: {width} x {height} pixels are more than {_MAX_PIXELS}")
        cut_height = min(height, width * HEIGHT / WIDTH) * share
        cut_width = cut_height * WIDTH / HEIGHT
        left, top = (width - cut_width) / 2, (height - cut_height) / 2
        box = (left, top, left + cut_width, top + cut_height)
        colours = _decode(path, image).convert("RGB")
        return np.array(colours.resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR, box=box))


def load_orl(
    data_dir: str | os.PathLike[str] | None = None,
) -> UInt8[np.ndarray, "40 10 112 96 1"]:
    """Return the ORL faces by person and image, the ten images in the order of their numbers.

    The images are 92 wide: two columns on each side repeat the outermost one.

    Args:
      data_dir: folder with s1 to s40, instead of ``orl_faces`` in ``$AKIDA_JAX_DATA``.

    Raises:
      FileNotFoundError: if data are missing, saying how to get them.
      ValueError: if a file is damaged.
    """
    folder = find_folder(_ORL, data_dir)
    paths = [folder / f"s{person}" / f"{image}.pgm"
             for person in range(1, N_PEOPLE + 1) for image in range(1, N_IMAGES + 1)]  # fmt: skip
    for path in paths:
        if not path.is_file():
            raise FileNotFoundError(f"data set 'orl-faces': no {path}. The data: {_ORL.source}")
    faces = np.stack([read_pgm(path, shape=(HEIGHT, _ORL_WIDTH)) for path in paths])
    margin = (WIDTH - _ORL_WIDTH) // 2
    canvas = np.pad(faces, ((0, 0), (0, 0), (margin, margin)), mode="edge")
    return canvas.reshape(N_PEOPLE, N_IMAGES, HEIGHT, WIDTH, 1)


def load_faces(
    data_dir: str | os.PathLike[str] | None = None,
    *,
    people: range = range(N_PEOPLE),
    n_train: int = 5,
    channels: int = 1,
    seed: int | None = None,
) -> LabelledSet:
    """Return ORL faces for identification: some images of each person train, the rest test.

    Args:
      data_dir: folder of the data, instead of the usual one.
      people: which of the 40, counted from 0; labels count from 0 again.
      n_train: training images of each person, 1 to 10: the first ones.
      channels: 1, or 3 to repeat the grey values.
      seed: of a random choice of the training images instead of the first ones.

    Raises:
      FileNotFoundError: if data are missing, saying how to get them.
      ValueError: if a file is damaged or an argument out of its range.
    """
    if not people or not 0 <= min(people) <= max(people) < N_PEOPLE:
        raise ValueError(f"people must be some of 0 to {N_PEOPLE - 1}, got {people}")
    if not 1 <= n_train <= N_IMAGES:
        raise ValueError(f"n_train must be 1 to {N_IMAGES}, got {n_train}")
    if channels not in (1, 3):
        raise ValueError(f"channels must be 1 or 3, got {channels}")
    faces = np.repeat(load_orl(data_dir)[list(people)], channels, axis=-1)
    order = np.tile(np.arange(N_IMAGES), (len(people), 1))
    if seed is not None:
        order = np.random.default_rng(seed).permuted(order, axis=1)
    sides = [
        Examples(
            faces[np.arange(len(people))[:, None], chosen].reshape(-1, *faces.shape[2:]),
            np.repeat(np.arange(len(people), dtype=np.int32), chosen.shape[1]),
        )
        for chosen in (order[:, :n_train], order[:, n_train:])
    ]
    return LabelledSet(
        name="orl-faces",
        title="ORL faces",
        class_names=tuple(f"s{person + 1}" for person in people),
        train=sides[0],
        test=sides[1],
        source=_ORL.source,
        terms=ORL_TERMS,
    )


def list_faces(data_dir: str | os.PathLike[str] | None = None, *, share: float = 1.0) -> FaceFiles:
    """Return the photographs of a folder that holds a folder for each person.

    Args:
      data_dir: the folder, instead of ``casia_webface`` in ``$AKIDA_JAX_DATA``.
      share: as of `FaceFiles`.

    Raises:
      FileNotFoundError: if there is no such folder, saying how to get CASIA-WebFace.
      ValueError: if it holds no photographs, or the share is out of its range.
    """
    folder = find_folder(_CASIA, data_dir)
    names: list[str] = []
    paths: list[pathlib.Path] = []
    labels: list[int] = []
    for person in sorted(path for path in folder.iterdir() if path.is_dir()):
        files = sorted(path for path in person.iterdir() if path.suffix.lower() in _ENDINGS)
        if files:
            paths += files
            labels += [len(names)] * len(files)
            names.append(person.name)
    if not paths:
        raise ValueError(f"{folder}: needs a folder for each person with files that end in "
                         f"{', '.join(_ENDINGS)}; there are none")  # fmt: skip
    return FaceFiles(paths, labels, tuple(names), share=share)


def _open(path: str | os.PathLike[str], formats: tuple[str, ...]) -> Image.Image:
    """Open an image without decoding it; every fault of the file is a ValueError."""
    try:
        return Image.open(path, formats=formats)
    except FileNotFoundError:
        raise
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path}: must be an image, {' or '.join(formats)}: {error}") from error


def _decode(path: str | os.PathLike[str], image: Image.Image) -> Image.Image:
    try:
        image.load()
    except (OSError, ValueError, SyntaxError) as error:
        raise ValueError(f"{path}: ends too early or is damaged: {error}") from error
    return image


def augment_faces(
    key: Array,
    x: UInt8[Array, "n h w c"],
    *,
    flip: bool = True,
    shift: float = 6.0,
    zoom: float = 0.1,
    rotation: float = 0.02,
    contrast: float = 0.2,
    brightness: float = 25.0,
) -> UInt8[Array, "n h w c"]:
    """Move each image a little and change its light; what moves in repeats the border.

    Args:
      key: random key of the batch.
      x: images.
      flip: mirror left and right, every other image on average.
      shift: largest shift along each axis, in pixels.
      zoom: largest change of the size, as a share.
      rotation: largest turn, as a fraction of a full one.
      contrast: largest change of the contrast about the middle grey, as a share.
      brightness: largest change of all pixels, in grey levels.
    """
    flip_key, shift_key, zoom_key, turn_key, contrast_key, light_key = jax.random.split(key, 6)
    n = len(x)
    draw = functools.partial(jax.random.uniform, minval=-1.0, maxval=1.0)
    angle = 2 * jnp.pi * rotation * draw(turn_key, (n,))
    size = 1 + zoom * draw(zoom_key, (n,))
    sign = 1 - 2 * jax.random.bernoulli(flip_key, 0.5 if flip else 0.0, (n,))
    sine, cosine = size * jnp.sin(angle), size * jnp.cos(angle)
    turn = jnp.stack([jnp.stack([cosine, sine], 1), jnp.stack([-sine, cosine], 1)], 1)
    turn = turn * jnp.stack([jnp.ones(n), sign], 1)[:, :, None]
    moved = jax.vmap(_resample)(x.astype(jnp.float32), turn, shift * draw(shift_key, (n, 2)))
    gain = 1 + contrast * draw(contrast_key, (n, 1, 1, 1))
    changed = (moved - 128) * gain + 128 + brightness * draw(light_key, (n, 1, 1, 1))
    return jnp.clip(jnp.round(changed), 0, 255).astype(jnp.uint8)


def _resample(
    image: Float[Array, "h w c"], turn: Float[Array, "2 2"], shift: Float[Array, " 2"]
) -> Float[Array, "h w c"]:
    """Return an image whose pixel p is the input's at turn (p - middle) + middle + shift."""
    middle = (jnp.array(image.shape[:2]) - 1) / 2
    grid = jnp.stack(jnp.mgrid[: image.shape[0], : image.shape[1]], -1) - middle
    places = jnp.moveaxis(grid @ turn.T + middle + shift, -1, 0)
    sample = functools.partial(
        jax.scipy.ndimage.map_coordinates, coordinates=list(places), order=1, mode="nearest"
    )
    return jax.vmap(sample, in_axes=-1, out_axes=-1)(image)
