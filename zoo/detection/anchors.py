"""Anchors: the box sizes that a detector starts from, found among the true boxes.

Source: Redmon and Farhadi, "YOLO9000", arXiv:1612.08242, section 2, "Dimension Clusters":
k-means with the distance 1 - IoU of boxes that share their centre. Here a centre moves to the
mean of its cluster, and the first centres are spread as k-means++ spreads them (Arthur and
Vassilvitskii, 2007), with that distance in the place of its square.
"""

import numpy as np
from jaxtyping import Float, Float32

_MAX_ROUNDS = 300


def find_anchors(
    sizes: Float[np.ndarray, "n 2"], n_anchors: int = 5, *, seed: int = 0
) -> Float32[np.ndarray, "anchors 2"]:
    """Return the widths and heights that the boxes gather around, smallest area first.

    The same boxes, number and seed give the same anchors.

    Args:
      sizes: width and height of each box, positive, in any unit; the anchors have the same.
      n_anchors: how many.
      seed: of the first centres.

    Raises:
      ValueError: if there are fewer different boxes than anchors, or a side is not positive.
    """
    sizes = np.asarray(sizes, np.float64)
    if sizes.ndim != 2 or sizes.shape[1] != 2:
        raise ValueError(f"sizes must have shape (n, 2), got {sizes.shape}")
    if n_anchors < 1:
        raise ValueError(f"n_anchors must be at least 1, got {n_anchors}")
    if not (np.isfinite(sizes) & (sizes > 0)).all():
        raise ValueError("widths and heights must be positive and finite; leave empty boxes out")
    n_different = len(np.unique(sizes, axis=0))
    if n_different < n_anchors:
        raise ValueError(f"{n_anchors} anchors need as many boxes of different size, got "
                         f"{n_different}; ask for fewer anchors")  # fmt: skip
    centres = _first_centres(sizes, n_anchors, np.random.default_rng(seed))
    nearest = np.full(len(sizes), -1)
    for _ in range(_MAX_ROUNDS):
        previous, nearest = nearest, shape_overlap(sizes, centres).argmax(1)
        if (nearest == previous).all():
            break
        for index in range(n_anchors):
            members = sizes[nearest == index]
            # A centre that lost its boxes stays where it is.
            centres[index] = members.mean(0) if len(members) else centres[index]
    return centres[np.argsort(centres.prod(1), kind="stable")].astype(np.float32)


def shape_overlap(
    a: Float[np.ndarray, "a 2"], b: Float[np.ndarray, "b 2"]
) -> Float[np.ndarray, "a b"]:
    """Return intersection over union of all pairs of sizes, as if their centres coincided."""
    shared = np.minimum(a[:, None], b).prod(-1)
    return shared / (a.prod(-1)[:, None] + b.prod(-1) - shared)


def _first_centres(sizes: np.ndarray, n_anchors: int, rng: np.random.Generator) -> np.ndarray:
    centres = sizes[rng.integers(len(sizes))][None]
    while len(centres) < n_anchors:
        # A box that is a centre already has a distance of rounding errors at most.
        distance = 1 - shape_overlap(sizes, centres).max(1)
        distance[(sizes[:, None] == centres).all(-1).any(1)] = 0
        chosen = rng.choice(len(sizes), p=distance / distance.sum())
        centres = np.concatenate([centres, sizes[chosen][None]])
    return centres
