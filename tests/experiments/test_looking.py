"""The pictures of docs/looking.md."""

import numpy as np
import pytest
from PIL import Image

from experiments import looking


@pytest.mark.slow
def test_the_pictures_are_drawn_as_those_that_are_committed(tmp_path):
    """Of one form; events may differ by a few where float32 is rounded in another way."""
    looking.main(tmp_path)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["looking_activity.png", "looking_events.gif"]
    for name in names:
        with Image.open(tmp_path / name) as drawn, Image.open(looking.PICTURES / name) as kept:
            assert (drawn.format, getattr(drawn, "n_frames", 1)) == (
                kept.format, getattr(kept, "n_frames", 1),
            )  # fmt: skip
            for i in range(getattr(kept, "n_frames", 1)):
                drawn.seek(i)
                kept.seek(i)
                one, two = _means(drawn), _means(kept)
                assert one.shape == two.shape
                # A few events more fill a few of a block's pixels, or change a map's colour by
                # one step of several; another map, another place or no events change more.
                assert np.abs(one - two).max() < 40


def _means(picture):
    """Return the mean colour of every block of 16 x 16 pixels."""
    pixels = np.asarray(picture.convert("RGB"), float)
    height, width = (side // 16 * 16 for side in pixels.shape[:2])
    blocks = pixels[:height, :width].reshape(height // 16, 16, width // 16, 16, 3)
    return blocks.mean((1, 3))
