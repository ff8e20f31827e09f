"""Folds and scores for the classification of heart rhythms, record by record.

Source: Clifford et al., doi:10.22489/CinC.2017.065-469, section "Scoring".
"""

import numpy as np
from jaxtyping import Float, Int, Int32
from sklearn.metrics import f1_score, roc_auc_score
from sklearn.model_selection import StratifiedKFold

from akida_jax.zoo.datasets.ecg import RHYTHMS

#: The challenge leaves the noisy records out of its mean.
_N_SCORED = 3


def stratified_folds(
    labels: Int[np.ndarray, " records"], folds: int = 5, *, seed: int = 0
) -> list[tuple[Int[np.ndarray, " train"], Int[np.ndarray, " test"]]]:
    """Return the training and test records of each fold, every class in its proportion.

    Args:
      labels: of the records; whole records are split, never their windows.
      folds: number of folds.
      seed: of the order.

    Raises:
      ValueError: if there are fewer than two folds, or a class has fewer records than folds.
    """
    labels = np.asarray(labels)
    rarest = np.unique(labels, return_counts=True)[1].min(initial=len(labels))
    if not 2 <= folds <= rarest:
        raise ValueError(f"folds must be 2 to {rarest}, the records of the rarest class, "
                         f"got {folds}")  # fmt: skip
    splitter = StratifiedKFold(n_splits=folds, shuffle=True, random_state=seed)
    return list(splitter.split(np.zeros(len(labels)), labels))


def record_probabilities(
    logits: Float[np.ndarray, "windows classes"], record: Int32[np.ndarray, " windows"]
) -> Float[np.ndarray, "records classes"]:
    """Return the class probabilities of each record, the mean over its windows.

    Args:
      logits: of the windows.
      record: which record each window is of, 0 to n - 1, none left out.

    Raises:
      ValueError: if a record has no window.
    """
    counts = np.bincount(record)
    if len(record) != len(logits) or not counts.all():
        raise ValueError(f"every record needs a window and every window a record, got "
                         f"{len(logits)} windows and counts {counts.tolist()}")  # fmt: skip
    shifted = np.exp(logits - logits.max(1, keepdims=True))
    windows = shifted / shifted.sum(1, keepdims=True)
    sums = np.zeros((len(counts), logits.shape[1]))
    np.add.at(sums, record, windows)
    return sums / counts[:, None]


def score_records(
    probabilities: Float[np.ndarray, "records 4"], labels: Int[np.ndarray, " records"]
) -> dict[str, float]:
    """Return accuracy, F1 scores and area under the ROC curve of classified records.

    Args:
      probabilities: of the four rhythms; each row sums to 1.
      labels: of the records; each rhythm occurs.

    Returns:
      ``accuracy``; ``macro_f1``, the mean over four rhythms; ``challenge_f1``, that without
      noisy records, the score of the challenge; ``auroc``, the mean of each rhythm against
      all others.

    Raises:
      ValueError: if the shapes differ, a row is no distribution, or a rhythm is missing.
    """
    classes = range(len(RHYTHMS))
    labels = np.asarray(labels)
    if probabilities.shape != (len(labels), len(classes)):
        raise ValueError(f"{len(labels)} labels need probabilities of shape "
                         f"({len(labels)}, {len(classes)}), got {probabilities.shape}")  # fmt: skip
    # Rounding of a sum of four float32 is below 1e-6; NaN fails here too.
    if not (np.abs(probabilities.sum(1) - 1) < 1e-5).all() or (probabilities < 0).any():
        raise ValueError("each row of the probabilities must be positive and sum to 1")
    if set(labels.tolist()) != set(classes):
        raise ValueError(f"every rhythm 0 to {len(classes) - 1} must occur among the labels, "
                         f"got {sorted(set(labels.tolist()))}")  # fmt: skip
    found = probabilities.argmax(1)
    by_class = f1_score(labels, found, labels=list(classes), average=None, zero_division=0.0)
    exact = probabilities / probabilities.sum(1, keepdims=True, dtype=np.float64)
    return {
        "accuracy": float((found == labels).mean()),
        "macro_f1": float(by_class.mean()),
        "challenge_f1": float(by_class[:_N_SCORED].mean()),
        "auroc": float(roc_auc_score(labels, exact, multi_class="ovr", average="macro")),
    }
