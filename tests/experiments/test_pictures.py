import json
import runpy
import sys

import matplotlib.pyplot as plt
import pytest

from experiments.records import pictures
from tests.experiments import made_up

NAMES = ["hand_clap", "arm_roll", "air_drums"]


def read_picture(path):
    """Return the grey values of a PNG that is neither blank nor of an odd size."""
    assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    image = plt.imread(path)[..., :3].mean(-1)
    height, width = image.shape
    assert 200 < height < 4000
    assert 200 < width < 4000
    assert image.var() > 1e-3
    return image


def draw_gallery(path, rng, absent=()):
    x, y = made_up.gallery(rng, absent=absent)
    pictures.draw_gallery(x, y, NAMES, path, "made-up data")


@pytest.mark.parametrize("draw", [pictures.draw_history, pictures.draw_confusion])
def test_drawn_from_the_result_alone_and_always_the_same(tmp_path, draw):
    result = json.loads(json.dumps(made_up.gesture_result()))
    for name in ("one.png", "two.png"):
        draw(result, tmp_path / "new" / name)
    read_picture(tmp_path / "new" / "one.png")
    assert (tmp_path / "new" / "one.png").read_bytes() == (tmp_path / "new/two.png").read_bytes()
    assert not plt.get_fignums()


@pytest.mark.parametrize("epochs", [(0, 2), (2, 0), (1, 0), (0, 0)])
def test_history_of_a_phase_without_epochs(tmp_path, epochs):
    result = made_up.gesture_result(float_epochs=epochs[0], quantized_epochs=epochs[1])
    pictures.draw_history(result, tmp_path / "training.png")
    read_picture(tmp_path / "training.png")


def test_pictures_show_the_numbers(tmp_path):
    first, second = made_up.gesture_result(), made_up.gesture_result()
    second["confusion"][0] = [0, 4, 0]
    second["history"][1]["loss"] = 7.0
    for draw in (pictures.draw_confusion, pictures.draw_history):
        draw(first, tmp_path / "one.png")
        draw(second, tmp_path / "two.png")
        one, two = (tmp_path / "one.png").read_bytes(), (tmp_path / "two.png").read_bytes()
        assert one != two


def test_confusion_with_a_class_without_samples(tmp_path):
    result = made_up.gesture_result()
    result["confusion"][2] = [0, 0, 0]
    pictures.draw_confusion(result, tmp_path / "confusion.png")
    read_picture(tmp_path / "confusion.png")


def test_gallery(tmp_path, rng):
    state = rng.bit_generator.state
    draw_gallery(tmp_path / "one.png", rng)
    rng.bit_generator.state = state
    draw_gallery(tmp_path / "two.png", rng)
    read_picture(tmp_path / "one.png")
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()


def test_gallery_with_a_class_without_samples(tmp_path, rng):
    draw_gallery(tmp_path / "frames.png", rng, absent=(1,))
    image = read_picture(tmp_path / "frames.png")
    rows = image.shape[0]
    # The middle row has its name and its empty boxes, the others have events.
    middle = image[int(0.45 * rows) : int(0.6 * rows)]
    last = image[int(0.75 * rows) : int(0.9 * rows)]
    assert middle.mean() > last.mean()


def test_a_picture_appears_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "training.png"
    pictures.draw_history(made_up.gesture_result(), path)
    before = path.read_bytes()
    assert [file.name for file in tmp_path.iterdir()] == ["training.png"]

    def break_off(figure, target, **options):
        target.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(pictures.Figure, "savefig", break_off)
    for target in (path, tmp_path / "other.png"):
        with pytest.raises(OSError, match="disk full"):
            pictures.draw_history(made_up.gesture_result(), target)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["training.png"]


def test_command(tmp_path, monkeypatch):
    source = tmp_path / "result.json"
    source.write_text(json.dumps(made_up.gesture_result()))
    monkeypatch.setattr(sys, "argv", ["pictures", str(source), str(tmp_path)])
    runpy.run_path(pictures.__file__, run_name="__main__")
    read_picture(tmp_path / "training.png")
    read_picture(tmp_path / "confusion.png")
    monkeypatch.setattr(sys, "argv", ["pictures", str(source)])
    with pytest.raises(SystemExit, match=r"usage: .* RESULT\.json FOLDER"):
        runpy.run_path(pictures.__file__, run_name="__main__")
