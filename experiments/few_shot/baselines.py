"""Methods that work on floats, on the same binary features and the same episodes."""

import numpy as np
import sklearn.linear_model
from jaxtyping import Float

from experiments.few_shot.episodes import Answers, Episodes, Pool


def _compare(
    pool: Pool, episodes: Episodes
) -> tuple[Float[np.ndarray, "e ways queries ways"], Float[np.ndarray, "e 1 1 ways"]]:
    """Return the product of each query with each class mean, and the means' squared norms."""
    spikes = pool.spikes.astype(np.float32)
    # Sums of fewer than 2**24 ones: exact.
    products = spikes @ spikes.T
    support, query = episodes.support, episodes.query
    with_mean = np.empty((*query.shape, support.shape[1]), np.float32)
    norms = np.empty((len(support), 1, 1, support.shape[1]), np.float32)
    for way in range(support.shape[1]):
        mine = support[:, way]
        with_mean[..., way] = products[query[..., None], mine[:, None, None]].mean(-1)
        norms[:, 0, 0, way] = products[mine[..., None], mine[:, None]].mean((1, 2))
    return with_mean, norms


def nearest_centroid(pool: Pool, episodes: Episodes) -> Answers:
    """Return the class whose mean is nearest, by Euclidean distance."""
    with_mean, norms = _compare(pool, episodes)
    return (2 * with_mean - norms).argmax(-1)


def cosine_prototypes(pool: Pool, episodes: Episodes) -> Answers:
    """Return the class whose mean has the smallest angle to the query."""
    with_mean, norms = _compare(pool, episodes)
    # A mean without any spike has no angle; any other is longer: 1 / shots where a spike is.
    return (with_mean / np.sqrt(np.maximum(norms, 1e-6))).argmax(-1)


def logistic_regression(pool: Pool, episodes: Episodes) -> Answers:
    """Return the answers of scikit-learn's logistic regression with its own settings (C = 1)."""
    n, ways, queries = episodes.query.shape
    answers = np.empty((n, ways, queries), np.int64)
    labels = np.repeat(np.arange(ways), episodes.shots)
    for support, query, found in zip(episodes.support, episodes.query, answers, strict=True):
        learned, asked = (
            pool.spikes[chosen.reshape(-1)].astype(np.float64) for chosen in (support, query)
        )
        # Penalized by their length alone, the coefficients lie in the span of the samples: in
        # coordinates of that span the problem is the same, and smaller.
        basis, _ = np.linalg.qr(learned.T)
        model = sklearn.linear_model.LogisticRegression(max_iter=1000)
        model.fit(learned @ basis, labels)
        found[:] = model.predict(asked @ basis).reshape(ways, queries)
    return answers


METHODS = {
    "nearest centroid": nearest_centroid,
    "cosine prototypes": cosine_prototypes,
    "logistic regression": logistic_regression,
}
