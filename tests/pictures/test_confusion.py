"""Pictures of confusion matrices."""

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from akida_jax.pictures import draw_confusion, style


def test_the_picture_shows_counts_and_shares():
    confusion = np.array([[3, 1, 0], [0, 0, 0], [0, 7, 70]])
    figure = draw_confusion(confusion, ["a_b", "$c", "d"], "title")
    (axis,) = figure.axes
    (image,) = axis.images
    assert image.get_array().tolist() == [[0.75, 0.25, 0], [0, 0, 0], [0, 7 / 77, 70 / 77]]
    assert image.get_clim() == (0, 1)
    shown = {tuple(text.get_position()): text for text in axis.texts}
    assert {place: text.get_text() for place, text in shown.items()} == {
        (0, 0): "3", (1, 0): "1", (1, 2): "7", (2, 2): "70",
    }  # fmt: skip
    assert shown[2, 2].get_color() == "white"
    assert shown[1, 2].get_color() == "black"
    assert [text.get_text() for text in axis.get_xticklabels()] == ["a b", r"\$c", "d"]
    assert axis.get_xlabel() == "predicted by the integer model"
    darkest = image.cmap(image.norm(70 / 77))
    assert style.ink_on(to_rgb(darkest)) == "white"


def test_very_many_classes_have_neither_names_nor_counts():
    figure = draw_confusion(np.eye(1000, dtype=int), list(map(str, range(1000))), "title")
    (axis,) = figure.axes
    assert axis.images[0].get_array().shape == (1000, 1000)
    assert not axis.texts
    assert max(figure.get_size_inches()) < 30
    few = draw_confusion(np.eye(60, dtype=int), ["a"] * 60, "title")
    assert len(few.axes[0].texts) == 60


def test_names_that_do_not_suit_are_refused():
    with pytest.raises(ValueError, match=r"2 names for a confusion matrix of \(3, 3\)"):
        draw_confusion(np.zeros((3, 3), int), ["a", "b"], "title")
