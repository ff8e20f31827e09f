"""Whether two photographs show one person: cosine of their embeddings, tested in folds.

The rule of Labeled Faces in the Wild, for images without outside training data: the
threshold is chosen on all folds but one and tested on that one.

Source: Huang et al., UMass technical report 07-49, sections III and IV; pairs.txt and its
format: vis-www.cs.umass.edu/lfw/README.txt.
"""

import dataclasses
import os
import pathlib

import numpy as np
from jaxtyping import Bool, Float, Float64, Int, Int32, Shaped
from sklearn.metrics import roc_auc_score, roc_curve

from akida_jax.zoo.datasets.faces import FaceFiles
from akida_jax.zoo.datasets.places import Place, find_folder

PAIRS = "pairs.txt"
_LFW = Place(
    name="lfw",
    usual="lfw",
    needed=PAIRS,
    source="Labeled Faces in the Wild by Huang et al. (2007, UMass technical report 07-49), "
    "13,233 images of 5,749 people, for research; the images unpacked as Name/Name_0001.jpg and "
    "pairs.txt beside them, from vis-www.cs.umass.edu/lfw",
)
_MAX_PAIRS = 1_000_000


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pairs:
    """Pairs of images, in folds.

    Attributes:
      first: index of one image of each pair.
      second: index of the other.
      same: whether they show one person.
      fold: of the pair.
    """

    first: Int32[np.ndarray, " pairs"]
    second: Int32[np.ndarray, " pairs"]
    same: Bool[np.ndarray, " pairs"]
    fold: Int32[np.ndarray, " pairs"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class VerificationResult:
    """How well a score tells one person from two.

    Attributes:
      accuracy: mean over the folds.
      standard_error: of that mean, the folds' standard deviation over the root of their number.
      fold_accuracies: of each fold, with the threshold that was best on all others.
      thresholds: of each fold; a score at or above it says "one person".
      auroc: area under the ROC curve of all pairs.
      equal_error_rate: where as many genuine pairs are refused as false ones accepted.
    """

    accuracy: float
    standard_error: float
    fold_accuracies: tuple[float, ...]
    thresholds: tuple[float, ...]
    auroc: float
    equal_error_rate: float


def cosine_scores(
    a: Float[np.ndarray, "pairs d"], b: Float[np.ndarray, "pairs d"]
) -> Float64[np.ndarray, " pairs"]:
    """Return the cosine between the rows of two arrays, from -1 to 1.

    A row of zeros, which a quantized network may give, has the cosine 0 with every other.

    Args:
      a: embeddings of the first images.
      b: of the second.

    Raises:
      ValueError: if the shapes differ or a value is not finite.
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.ndim != 2 or a.shape != b.shape:
        raise ValueError(f"embeddings must be two arrays of one shape (pairs, d), got {a.shape} "
                         f"and {b.shape}")  # fmt: skip
    for name, values in (("first", a), ("second", b)):
        odd = np.flatnonzero(~np.isfinite(values).all(1))
        if odd.size:
            raise ValueError(f"the {name} embedding of pair {odd[0]} is not finite "
                             f"({odd.size} such pairs)")  # fmt: skip
    # The largest value is taken out first, so that no square can overflow.
    a, b = (v / np.maximum(np.abs(v).max(1, keepdims=True, initial=0), 1e-300) for v in (a, b))
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    products = np.einsum("nd,nd->n", a, b)
    scores = np.divide(products, lengths, out=np.zeros(len(a)), where=lengths > 0)
    return np.clip(scores, -1.0, 1.0)


def verify(
    scores: Float[np.ndarray, " pairs"],
    same: Bool[np.ndarray, " pairs"],
    folds: int | Int[np.ndarray, " pairs"] = 10,
) -> VerificationResult:
    """Return accuracy by folds, area under the ROC curve and equal error rate.

    Args:
      scores: higher for pairs that seem to show one person.
      same: whether they do.
      folds: the fold of each pair, or a number of equal folds, one after the other as LFW
        lists its pairs.

    Raises:
      ValueError: if the shapes differ, a score is not finite, there are fewer than two folds
        or unequal ones, or a fold holds only pairs of one kind.
    """
    scores, same = np.asarray(scores, np.float64), np.asarray(same)
    if scores.ndim != 1 or same.shape != scores.shape or same.dtype != np.bool_:
        raise ValueError(f"scores and same must be (pairs,), same of bool; got {scores.shape} and "
                         f"{same.shape} of {same.dtype}")  # fmt: skip
    if not np.isfinite(scores).all():
        raise ValueError(f"the score of pair {np.flatnonzero(~np.isfinite(scores))[0]} is not "
                         "finite")  # fmt: skip
    fold = _assign_folds(len(scores), folds)
    accuracies, thresholds = [], []
    for number in np.unique(fold):
        test = fold == number
        if same[test].all() or not same[test].any():
            raise ValueError(f"fold {number} must hold pairs of one person and of two, it has only "
                             f"{'one' if same[test].all() else 'two'}")  # fmt: skip
        thresholds.append(best_threshold(scores[~test], same[~test]))
        accuracies.append(float(((scores[test] >= thresholds[-1]) == same[test]).mean()))
    return VerificationResult(
        accuracy=float(np.mean(accuracies)),
        standard_error=float(np.std(accuracies, ddof=1) / np.sqrt(len(accuracies))),
        fold_accuracies=tuple(accuracies),
        thresholds=tuple(thresholds),
        auroc=float(roc_auc_score(same, scores)),
        equal_error_rate=_equal_error_rate(scores, same),
    )


def _assign_folds(n: int, folds: int | Int[np.ndarray, " pairs"]) -> Int[np.ndarray, " pairs"]:
    if isinstance(folds, int):
        if folds < 2 or n % folds:
            raise ValueError(f"{n} pairs must split into 2 or more equal folds, got {folds}")
        return np.repeat(np.arange(folds), n // folds)
    fold = np.asarray(folds)
    if fold.shape != (n,) or len(np.unique(fold)) < 2:
        raise ValueError(f"folds must name one of 2 or more folds for each of {n} pairs, "
                         f"got shape {fold.shape}")  # fmt: skip
    return fold


def best_threshold(
    scores: Float64[np.ndarray, " pairs"], same: Bool[np.ndarray, " pairs"]
) -> float:
    """Return the threshold of the highest accuracy; the lowest of several.

    It lies midway between two scores, or 1 below the lowest or above the highest.
    """
    levels, place = np.unique(scores, return_inverse=True)
    edges = np.concatenate([[levels[0] - 1], (levels[1:] + levels[:-1]) / 2, [levels[-1] + 1]])
    genuine = np.bincount(place, weights=same, minlength=len(levels))
    false = np.bincount(place, weights=~same, minlength=len(levels))
    # At edge i the levels from i on are accepted, those below are refused.
    right = np.concatenate([[0], false.cumsum()]) + genuine.sum()
    right -= np.concatenate([[0], genuine.cumsum()])
    return float(edges[right.argmax()])


def _equal_error_rate(
    scores: Float64[np.ndarray, " pairs"], same: Bool[np.ndarray, " pairs"]
) -> float:
    """Return the share of errors where the ROC curve, a polygon, crosses the other diagonal."""
    accepted, found, _ = roc_curve(same, scores, drop_intermediate=False)
    return float(np.interp(0.0, accepted - (1 - found), accepted))


def make_pairs(labels: Shaped[np.ndarray, " images"], *, seed: int = 0, folds: int = 10) -> Pairs:
    """Return pairs of one person and as many random pairs of two, in equal folds.

    No person is in two folds, as in Labeled Faces in the Wild: a threshold is never chosen on
    images of those it is tested on.

    Args:
      labels: person on each image.
      seed: of the choice and of the order.
      folds: number of folds, each with about as many people and exactly as many pairs; those
        that do not fill one more pair of each kind in every fold are left out.

    Raises:
      ValueError: if there are fewer than two folds, or a fold would have no pair of a kind.
    """
    labels = np.asarray(labels)
    people = np.unique(labels)
    if not 2 <= folds <= len(people) // 2:
        raise ValueError(f"folds must be 2 to {len(people) // 2}, with two of the {len(people)} "
                         f"people in each, got {folds}")  # fmt: skip
    rng = np.random.default_rng(seed)
    groups = np.array_split(rng.permutation(people), folds)
    kinds = [_pairs_within(labels, group, rng) for group in groups]
    each = min(len(pairs) for fold in kinds for pairs in fold)
    if not each:
        raise ValueError(f"{folds} folds: one has no pair of images of one person; every person "
                         "needs two images, or choose fewer folds")  # fmt: skip
    chosen = np.concatenate([pairs[:each] for fold in kinds for pairs in fold])
    first, second = chosen.T.astype(np.int32)
    return Pairs(
        first=first,
        second=second,
        same=labels[first] == labels[second],
        fold=np.repeat(np.arange(folds, dtype=np.int32), 2 * each),
    )


def _pairs_within(
    labels: Shaped[np.ndarray, " images"],
    people: Shaped[np.ndarray, " people"],
    rng: np.random.Generator,
) -> tuple[Int[np.ndarray, "pairs 2"], Int[np.ndarray, "pairs 2"]]:
    """Return all pairs of images of some people, of one person and of two, in random order."""
    images = np.flatnonzero(np.isin(labels, people))
    first, second = np.triu_indices(len(images), 1)
    pairs = rng.permutation(np.stack([images[first], images[second]], 1))
    same = labels[pairs[:, 0]] == labels[pairs[:, 1]]
    return pairs[same], pairs[~same]


def load_lfw(
    data_dir: str | os.PathLike[str] | None = None, *, share: float = 1.0
) -> tuple[FaceFiles, Pairs]:
    """Return the photographs that LFW's list of pairs names, and the pairs.

    Args:
      data_dir: folder with pairs.txt and a folder for each person, instead of ``lfw`` in
        ``$AKIDA_JAX_DATA``.
      share: of the photograph that is kept, as of `FaceFiles`.

    Raises:
      FileNotFoundError: if data are missing, saying how to get them.
      ValueError: if the list is wrong, naming the line.
    """
    folder = find_folder(_LFW, data_dir)
    rows = read_pairs(folder / PAIRS)
    images = sorted({image for row in rows for image in row[:2]})
    paths = [folder / name / f"{name}_{number:04d}.jpg" for name, number in images]
    for path in paths:
        if not path.is_file():
            raise FileNotFoundError(
                f"{folder / PAIRS} names {path.name}, but there is no {path}. "
                f"The data: {_LFW.source}"
            )
    names = tuple(sorted({name for name, _ in images}))
    labels = [names.index(name) for name, _ in images]
    place = {image: index for index, image in enumerate(images)}
    pairs = Pairs(
        first=np.array([place[row[0]] for row in rows], np.int32),
        second=np.array([place[row[1]] for row in rows], np.int32),
        same=np.array([row[0][0] == row[1][0] for row in rows]),
        fold=np.array([row[2] for row in rows], np.int32),
    )
    return FaceFiles(paths, labels, names, share=share), pairs


def read_pairs(
    path: str | os.PathLike[str],
) -> list[tuple[tuple[str, int], tuple[str, int], int]]:
    """Return the two images, by name and number, and the fold of each pair of LFW's list.

    The first line gives the number of folds and of pairs of each kind in a fold, 10 and 300
    in the official list. Each fold has first the pairs of one person, "name, number, number",
    then those of two, "name, number, name, number", separated by tabs.

    Args:
      path: of pairs.txt.

    Raises:
      ValueError: if it is wrong, naming the line.
    """
    path = pathlib.Path(path)
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: must be UTF-8 text, but byte {error.start} is none") from error
    counts = lines[0].split() if lines else []
    if len(counts) != 2 or not all(n.isdecimal() and int(n) for n in counts):
        raise ValueError(f"{path}, line 1: needs the numbers of folds and of pairs, got {counts}")
    folds, each = (int(count) for count in counts)
    if len(lines) != 1 + 2 * folds * each or len(lines) > _MAX_PAIRS:
        raise ValueError(f"{path}: {folds} folds of {each} + {each} pairs need "
                         f"{2 * folds * each} lines, got {len(lines) - 1}")  # fmt: skip
    rows = []
    for number, line in enumerate(lines[1:]):
        fold, place = divmod(number, 2 * each)
        first, second = _read_pair(line, same=place < each, where=f"{path}, line {number + 2}")
        rows.append((first, second, fold))
    return rows


def _read_pair(line: str, *, same: bool, where: str) -> tuple[tuple[str, int], tuple[str, int]]:
    fields = line.split("\t")
    if same:
        fields[2:2] = fields[:1]
    names, numbers = fields[::2], fields[1::2]
    good = len(fields) == 4 and (names[0] == names[1]) == same
    # A name is a folder; it must not lead out of the data set.
    safe = all(pathlib.PurePath(name).name == name not in ("", ".", "..") for name in names)
    if not good or not safe or not all(number.isdecimal() for number in numbers):
        kind = "name, number, number" if same else "name, number, another name, number"
        raise ValueError(f"{where}: needs {kind}, separated by tabs, got {line!r}")
    first, second = ((name, int(number)) for name, number in zip(names, numbers, strict=True))
    return first, second
