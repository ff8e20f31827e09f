"""Pictures of scenes with the boxes that are true and those that were found."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from akida_jax.pictures import save_figure, style
from akida_jax.zoo.datasets import Examples
from akida_jax.zoo.detection import Boxes, Detections

COLUMNS = 4
#: Found boxes with a lower score are not drawn.
SHOWN_SCORE = 0.3
_TRUE, _FOUND = "#ffffff", style.YELLOW


@style.in_style
def draw_scenes(
    test: Examples, found: Detections, names: Sequence[str], path: Path, title: str
) -> None:
    """Draw scenes with true boxes, dashed white, and found ones, yellow with class and score.

    Args:
      test: scenes and their `Boxes`; as many are drawn as have detections.
      found: detections of the first scenes.
      names: of the classes.
      path: of the PNG.
      title: of the picture.
    """
    assert isinstance(test.y, Boxes)
    n = len(found.scores)
    rows = -(-n // COLUMNS)
    figure = Figure(figsize=(2.3 * COLUMNS, 2.3 * rows + 0.5))
    axes = figure.subplots(rows, COLUMNS, squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    for index, axis in enumerate(list(axes.flat)[:n]):
        axis.imshow(test.x[index])
        size = np.array(test.x.shape[2:0:-1] * 2)
        for corners in test.y.corners[index][test.y.mask[index]]:
            _draw_box(axis, corners * size, _TRUE, "--")
        shown = np.asarray(found.scores[index]) >= SHOWN_SCORE
        boxes, classes, scores = (np.asarray(values[index])[shown] for values in
                                  (found.corners, found.classes, found.scores))  # fmt: skip
        for corners, label, score in zip(boxes * size, classes, scores, strict=True):
            _draw_box(axis, corners, _FOUND, "-")
            text = axis.text(*corners[:2], f"{names[label]} {score:.2f}", color=_FOUND,
                             fontsize=style.SMALLEST, va="bottom")  # fmt: skip
            text.set_path_effects([patheffects.withStroke(linewidth=1.5, foreground="black")])
    figure.tight_layout(rect=(0, 0, 1, 1 - 0.5 / figure.get_figheight()))
    figure.suptitle(f"{title}\ntrue boxes dashed, found ones with class and score")
    save_figure(figure, path)


def _draw_box(axis: Axes, corners: np.ndarray, colour: str, style: str) -> None:
    left, top, right, bottom = corners - 0.5
    axis.add_patch(Rectangle((left, top), right - left, bottom - top, fill=False, edgecolor=colour,
                             linestyle=style, linewidth=1.2))  # fmt: skip
