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
                one, two = (np.asarray(image.convert("L"), float) for image in (drawn, kept))
                assert one.var() > 10
                # Most of what is drawn, measured by what an empty picture would lack.
                assert np.abs(one - two).mean() < 0.1 * np.abs(two.max() - two).mean()
