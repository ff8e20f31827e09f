"""Data sets that tensorflow-datasets downloads, streamed with bounded memory.

Getting one is a step of its own, which needs TensorFlow: every builder of the catalogue reads the
original archives by it.

    python -m akida_jax.zoo.datasets.downloaded imagenette

Reading needs neither TensorFlow nor the network: records of the ArrayRecord format are found by
index. Nothing is downloaded but by that command. Speech Commands is not among these sets:
tensorflow-datasets merges most of its words into one class; `speech` reads the original archive.
"""

import argparse
import dataclasses
import hashlib
import importlib.util
import json
import os
import pathlib
from collections.abc import Sequence
from typing import Any

from akida_jax.zoo.datasets.image_streams import LabelledStream, Source, View

FORMAT = "array_record"
_INFO = "dataset_info.json"
# TensorFlow, by which the builders read archives, and a package that tensorflow-datasets 4.9.10
# imports without requiring it.
_PREPARING = ("tensorflow", "importlib_resources")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Downloadable:
    """A data set of tensorflow-datasets, and how the zoo's networks see it.

    Attributes:
      folder: name, and configuration, in tensorflow-datasets.
      title: as it stands in tables and captions.
      source: who made the data, and where they come from.
      terms: of use, as the homepage states them.
      splits: training and test side; None if the examples are no labelled images.
      classes: number of labels.
      view: what the published networks see.
      by_hand: files that must be fetched by hand first.
    """

    folder: str
    title: str
    source: str
    terms: str
    splits: tuple[str, str] | None = None
    classes: int = 0
    view: View = dataclasses.field(default_factory=View)
    by_hand: tuple[str, ...] = ()


# The sets without a test side: tensorflow-datasets shuffles them by a fixed hash when they are
# prepared, and the last fifth is the test side here.
_FIFTH = ("train[:80%]", "train[80%:]")
# Shorter side 256, of which 224 are seen. Source: vendor's ImageNet example (images of at least
# 256 pixels, a square piece of 224); the smallest area is that of Szegedy et al., section 6.
_PHOTO = View(crop=224 / 256, min_area=0.08, flip=True)
# The whole image scaled to 224 x 224. Source: vendor's PlantVillage example. The smallest area
# is a choice of this project.
_WHOLE = View(min_area=0.5, flip=True)
_GREY = View(size=28, channels=1)

#: Data sets by name. Resolutions and classes: system paper, Table 4.
CATALOGUE: dict[str, Downloadable] = {
    "imagenet2012": Downloadable(
        folder="imagenet2012", title="ImageNet", splits=("train", "validation"), classes=1000,
        source="ImageNet (ILSVRC 2012) by Russakovsky et al. (arXiv:1409.0575), image-net.org",
        terms="non-commercial research and education, on registration",
        by_hand=("ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar"), view=_PHOTO),
    "imagenette": Downloadable(
        folder="imagenette/320px-v2", title="Imagenette", splits=("train", "validation"),
        classes=10, source="Imagenette by Howard (fast.ai), ten classes of ImageNet with the "
        "shorter side scaled to 320, github.com/fastai/imagenette",
        terms="the repository Apache-2.0, the images those of ImageNet", view=_PHOTO),
    "cats_vs_dogs": Downloadable(
        folder="cats_vs_dogs", title="Cats vs Dogs", splits=_FIFTH, classes=2,
        source="Asirra by Elson et al. (Microsoft, 2007), microsoft.com/en-us/download/"
        "details.aspx?id=54765", terms="see the homepage; it names no licence",
        view=dataclasses.replace(_WHOLE, size=160)),
    "plant_village": Downloadable(
        folder="plant_village", title="PlantVillage", splits=_FIFTH, classes=38,
        source="PlantVillage by Hughes & Salathé (arXiv:1511.08060), "
        "data.mendeley.com/datasets/tywbtsjrjv", terms="see the homepage", view=_WHOLE),
    "mnist": Downloadable(
        folder="mnist", title="MNIST", splits=("train", "test"), classes=10, view=_GREY,
        source="MNIST by LeCun et al. (1998, doi:10.1109/5.726791)", terms="CC BY-SA 3.0"),
    "fashion_mnist": Downloadable(
        folder="fashion_mnist", title="Fashion-MNIST", splits=("train", "test"),
        classes=10, view=_GREY, source="Fashion-MNIST by Xiao et al. (arXiv:1708.07747)",
        terms="MIT"),
    "svhn_cropped": Downloadable(
        folder="svhn_cropped", title="SVHN", splits=("train", "test"), classes=10,
        view=View(size=32), source="Street View House Numbers by Netzer et al. (2011), "
        "ufldl.stanford.edu/housenumbers", terms="non-commercial use only"),
    "lfw": Downloadable(
        folder="lfw", title="LFW", source="Labeled Faces in the Wild by Huang et al. (UMass, "
        "technical report 07-49)", terms="research; the homepage names no licence"),
    "wider_face": Downloadable(
        folder="wider_face", title="WIDER FACE", source="WIDER FACE by Yang et al. "
        "(arXiv:1511.06523), shuoyang1213.me/WIDERFACE", terms="see the homepage"),
    "voc": Downloadable(
        folder="voc/2007", title="PASCAL VOC 2007", source="PASCAL VOC 2007 by Everingham et "
        "al., host.robots.ox.ac.uk/pascal/VOC/voc2007", terms="those of Flickr, whose images "
        "they are"),
}  # fmt: skip


def find_prepared(name: str, data_dir: str | os.PathLike[str] | None = None) -> pathlib.Path:
    """Return the folder of the newest version of a data set that is prepared.

    Args:
      name: key of `CATALOGUE`.
      data_dir: folder that tensorflow-datasets writes to, instead of ``$TFDS_DATA_DIR`` or
        ``~/tensorflow_datasets``.

    Raises:
      ValueError: if the name is unknown.
      FileNotFoundError: if there is none, with the command that gets it.
    """
    entry = _find(name)
    root = _root(data_dir)
    found = (root / entry.folder).glob(f"[0-9]*.[0-9]*.[0-9]*/{_INFO}")
    versions = {tuple(map(int, path.parent.name.split("."))): path.parent for path in found}
    if versions:
        return versions[max(versions)]
    option = "" if data_dir is None else f" --data-dir {root}"
    by_hand = ""
    if entry.by_hand:
        by_hand = f"first put {' and '.join(entry.by_hand)} into {_manual(root)}, then "
    raise FileNotFoundError(
        f"data set {name!r}: not in {root / entry.folder}; {by_hand}run "
        f"python -m akida_jax.zoo.datasets.downloaded {name}{option}. The data: {entry.source}; "
        f"terms: {entry.terms}"
    )


def fingerprint_prepared(folder: str | os.PathLike[str]) -> str:
    """Return 16 hexadecimal digits that change if the version or the sizes of a data set do.

    They are a hash over what its dataset_info.json says: name, version, and for each side how
    many examples each file holds and their bytes together. The files, up to 150 GB, are not read.

    Args:
      folder: of a prepared data set, see `find_prepared`.
    """
    info = json.loads((pathlib.Path(folder) / _INFO).read_text(encoding="utf-8"))
    told = [info.get(key) for key in ("name", "configName", "version", "splits")]
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]


def open_source(name: str, split: str, data_dir: str | os.PathLike[str] | None = None) -> Source:
    """Return the examples of one side by index, images as the bytes of their files.

    Args:
      name: key of `CATALOGUE`.
      split: such as "train" or "train[:10%]".
      data_dir: as of `find_prepared`.

    Raises:
      ValueError: if the name or the split is unknown, or the files are of another format.
      FileNotFoundError: if the data set is not prepared, with the command that gets it.
    """
    return _open(name, find_prepared(name, data_dir), split)[1]


def open_stream(
    name: str,
    *,
    size: int | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    workers: int = 0,
) -> LabelledStream:
    """Open a data set of labelled images.

    Training images are random pieces, mirrored every other time, where the catalogue says so;
    test images are the middle square or the whole image, scaled.

    Args:
      name: key of `CATALOGUE`.
      size: rows and columns of the images, instead of those of the published networks.
      data_dir: as of `find_prepared`.
      workers: threads that decode; 0 for one per processor.

    Raises:
      ValueError: if the data set is unknown or has no labelled images, or a number is wrong.
      FileNotFoundError: if it is not prepared, with the command that gets it.
    """
    entry = _find(name)
    if entry.splits is None:
        known = ", ".join(key for key, value in CATALOGUE.items() if value.splits)
        raise ValueError(f"data set {name!r} has no labelled images to stream, open_source reads "
                         f"it; those that have: {known}")  # fmt: skip
    folder = find_prepared(name, data_dir)
    sides = [_open(name, folder, split) for split in entry.splits]
    label = sides[0][0].info.features["label"]
    if label.num_classes != entry.classes:
        raise ValueError(f"{folder}: must have {entry.classes} classes, got {label.num_classes}")
    return LabelledStream(
        name,
        sides[0][1],
        sides[1][1],
        class_names=tuple(label.names),
        view=entry.view if size is None else dataclasses.replace(entry.view, size=size),
        workers=workers or os.cpu_count() or 1,
    )


def _find(name: str) -> Downloadable:
    if name not in CATALOGUE:
        raise ValueError(f"data set must be one of {', '.join(CATALOGUE)}, got {name!r}")
    return CATALOGUE[name]


def _root(data_dir: str | os.PathLike[str] | None) -> pathlib.Path:
    usual = os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")
    return pathlib.Path(usual if data_dir is None else data_dir).expanduser()


def _manual(root: pathlib.Path) -> pathlib.Path:
    return root / "downloads" / "manual"


def _open(name: str, folder: pathlib.Path, split: str) -> tuple[Any, Source]:
    """Return the builder, which reads the folder's files only, and one side of the data."""
    import tensorflow_datasets as tfds

    builder = tfds.builder_from_directory(folder)
    written = builder.info.file_format.value
    if written != FORMAT:
        raise ValueError(
            f"data set {name!r}: {folder} is of the format {written}, reading by index needs "
            f"{FORMAT}; remove the folder or choose another data_dir, and prepare it again"
        )
    skip = {"image": tfds.decode.SkipDecoding()} if "image" in builder.info.features else None
    return builder, builder.as_data_source(split, decoders=skip)


def prepare(name: str, data_dir: str | os.PathLike[str] | None = None) -> pathlib.Path:
    """Download a data set and prepare it for reading.

    tensorflow-datasets writes into a folder "incomplete..." and renames it at the end, so a set
    is there whole or not at all; what is downloaded is kept, and a second call goes on from it.

    Args:
      name: key of `CATALOGUE`.
      data_dir: as of `find_prepared`.

    Returns:
      Its folder.

    Raises:
      ValueError: if the name is unknown.
      ModuleNotFoundError: if TensorFlow or another package that this step alone needs is not
        installed.
      FileNotFoundError: if files that must be fetched by hand are missing.

    Source: tensorflow-datasets 4.9.10, `DatasetBuilder.download_and_prepare`.
    """
    entry = _find(name)
    root = _root(data_dir)
    missing = [package for package in _PREPARING if importlib.util.find_spec(package) is None]
    if missing:
        raise ModuleNotFoundError(
            f"preparing {name!r} needs packages that reading it afterwards does not: "
            f"pip install {' '.join(missing)}"
        )
    for file in entry.by_hand:
        if not (_manual(root) / file).is_file():
            raise FileNotFoundError(f"no {_manual(root) / file}; fetch it by hand from "
                                    f"{entry.source}; terms: {entry.terms}")  # fmt: skip
    import tensorflow_datasets as tfds

    tfds.builder(entry.folder, data_dir=root).download_and_prepare(file_format=FORMAT)
    return find_prepared(name, data_dir)


def main(arguments: Sequence[str] | None = None) -> int:
    """Prepare the data set that the command line names."""
    parser = argparse.ArgumentParser(
        prog="python -m akida_jax.zoo.datasets.downloaded",
        description="Download a data set with tensorflow-datasets and prepare it for reading.",
    )
    parser.add_argument("name", choices=sorted(CATALOGUE))
    parser.add_argument("--data-dir", help="instead of $TFDS_DATA_DIR or ~/tensorflow_datasets")
    options = parser.parse_args(arguments)
    entry = CATALOGUE[options.name]
    print(f"{entry.source}; terms: {entry.terms}", flush=True)
    try:
        print(f"prepared in {prepare(options.name, options.data_dir)}")
    except (ModuleNotFoundError, FileNotFoundError) as error:
        parser.error(str(error))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
