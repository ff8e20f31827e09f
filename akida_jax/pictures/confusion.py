"""Which class was taken for which."""

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from jaxtyping import Int
from matplotlib.figure import Figure

from akida_jax.pictures import style

#: Of more classes the picture shows shares alone: neither names nor counts could be read.
MOST_NAMED = 60


@style.in_style
def draw_confusion(
    confusion: Int[np.ndarray, "classes classes"],
    names: Sequence[str],
    title: str,
    *,
    predicted_by: str = "the integer model",
) -> Figure:
    """Draw a confusion matrix; shades are shares of each class.

    Up to `MOST_NAMED` classes have their names and counts.

    Args:
      confusion: how often each class (row) was taken for each (column), as `Model.confusion`
        counts.
      names: of the classes.
      title: of the picture.
      predicted_by: what predicted.

    Raises:
      ValueError: if there is not one name for each class.
    """
    if confusion.shape != (len(names), len(names)):
        raise ValueError(f"{len(names)} names for a confusion matrix of {confusion.shape}")
    size = 0.42 * min(len(names), MOST_NAMED) + 2.4
    figure = Figure(figsize=(size, size))
    axis = figure.subplots()
    share = confusion / np.maximum(confusion.sum(1, keepdims=True), 1)
    axis.imshow(share, vmin=0, vmax=1)
    axis.set_xlabel(f"predicted by {predicted_by}")
    axis.set_ylabel("class")
    axis.set_title(style.plain(title), fontsize=style.TITLE)
    if len(names) > MOST_NAMED:
        return figure
    shades = mpl.colormaps[style.SEQUENTIAL]
    for (row, column), count in np.ndenumerate(confusion):
        if count:
            ink = style.ink_on(shades(share[row, column]))
            axis.text(column, row, str(count), ha="center", va="center", color=ink,
                      fontsize=style.SMALL)  # fmt: skip
    labels = [style.plain(name.replace("_", " ")) for name in names]
    axis.set_xticks(range(len(names)), labels, rotation=60, ha="right")
    axis.set_yticks(range(len(names)), labels)
    return figure
