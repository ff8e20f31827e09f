"""Event windows as pictures: every pixel is read back and compared."""

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image, ImageSequence

from akida_jax.events import EVENT_DTYPE
from akida_jax.pictures import (
    EventLook,
    choose_zoom,
    colour_frame,
    cut_windows,
    draw_windows,
    frames,
    save_animation,
    save_sheet,
    style,
)

ZOOM, SENSOR = 5, (6, 4)


def rgb(colour):
    return [round(255 * v) for v in to_rgb(colour)]


WHITE = [255, 255, 255]


def mixed(on, off, full, colours=(style.ON, style.OFF)):
    """Return the colour of a pixel in plain Python: each ink takes its share from white."""
    shares = min(on, full) / full, min(off, full) / full
    result = []
    for a, b in zip(*map(to_rgb, colours), strict=True):
        result.append(round(255 * max(0, 1 - shares[0] * (1 - a) - shares[1] * (1 - b))))
    return result


@pytest.fixture
def windows(rng):
    n = 90
    events = np.zeros(n, EVENT_DTYPE)
    events["x"], events["y"] = rng.integers(0, 6, n), rng.integers(0, 4, n)
    events["t"] = np.sort(rng.integers(0, 4000, n))
    events["t"][[0, -1]] = 0, 3999
    events["p"] = rng.random(n) < 0.5
    return cut_windows(events, length_us=1000)[0]


def assert_shows(image, window, full=4, zoom=ZOOM, colours=(style.ON, style.OFF), corner=(0, 0)):
    """Compare every pixel of the sensor's part of an RGB picture with its window's events."""
    counts = {}
    for x, y, _, on in window.events.tolist():
        pair = counts.setdefault((x, y), [0, 0])
        pair[0 if on else 1] += 1
    left, top = corner
    for x in range(SENSOR[0]):
        for y in range(SENSOR[1]):
            expected = mixed(*counts.get((x, y), (0, 0)), full, colours)
            for place in ((0, 0), (zoom - 1, zoom - 1)):
                at = left + 1 + zoom * x + place[0], top + 1 + zoom * y + place[1]
                assert list(image.getpixel(at)) == expected, (x, y)


def test_colours_of_pixels_by_hand():
    look = EventLook(on="#000000", off="#ff0000", full=5)
    counts = np.array([[[0, 0], [5, 0]], [[0, 9], [1, 0]], [[2, 1], [5, 5]]], np.uint8)
    colours = np.round(255 * colour_frame(counts, look)).astype(int)
    # A fifth of black takes 51 from every part of white, a fifth of red from green and blue.
    assert colours.tolist() == [
        [[255, 255, 255], [0, 0, 0]],
        [[255, 0, 0], [204, 204, 204]],
        [[153, 102, 102], [0, 0, 0]],
    ]


def test_colours_of_data_sets_are_full_at_four_events():
    counts = np.array([[[4, 0], [0, 4]]], np.uint8)
    expected = [rgb(style.ON), rgb(style.OFF)]
    assert np.round(255 * colour_frame(counts)).tolist() == [expected]
    assert np.round(255 * colour_frame(2 * counts)).tolist() == [expected]


def test_nothing_is_not_drawn(tmp_path):
    with pytest.raises(ValueError, match="no windows to draw"):
        draw_windows([], SENSOR)
    for save in (save_animation, save_sheet):
        with pytest.raises(ValueError, match="no pictures to save"):
            save([], tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("full", [1, 3, 14])
def test_an_animation_shows_every_event(windows, tmp_path, full):
    colours = ("#00ff00", "black")
    look = EventLook(on=colours[0], off=colours[1], full=full)
    drawn = draw_windows(windows, SENSOR, look, zoom=ZOOM)
    save_animation(drawn, tmp_path / "a.gif", delay_ms=250)
    with Image.open(tmp_path / "a.gif") as image:
        assert (image.format, image.n_frames, image.info["loop"]) == ("GIF", 4, 0)
        shown = [frame.convert("RGB") for frame in ImageSequence.Iterator(image)]
        assert image.info["duration"] == 250
    for one, window in zip(shown, windows, strict=True):
        assert_shows(one, window, full, colours=colours)
    assert [path.name for path in tmp_path.iterdir()] == ["a.gif"]


def test_windows_without_a_difference_stay_apart(tmp_path):
    """Encoders join pictures that are equal; the texts below keep silent windows apart."""
    events = np.array([(0, 0, 0, True), (0, 0, 4999, True)], EVENT_DTYPE)
    silent, _ = cut_windows(events, length_us=1000)
    save_animation(draw_windows(silent, (1, 1)), tmp_path / "a.gif")
    with Image.open(tmp_path / "a.gif") as image:
        assert image.n_frames == 5


def test_a_sheet_shows_every_event(windows, tmp_path):
    drawn = draw_windows(windows, SENSOR, zoom=ZOOM)
    width, height = (side + 4 for side in drawn[0].size)
    save_sheet(drawn, tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        assert image.format == "PNG"
        sheet = image.convert("RGB")
    columns = sheet.size[0] // width
    assert sheet.size == (columns * width, -(-4 // columns) * height)
    for i, window in enumerate(windows):
        corner = (i % columns * width + 2, i // columns * height + 2)
        assert_shows(sheet, window, corner=corner)
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize("n", range(1, 12))
def test_a_sheet_of_any_number_has_no_empty_row(n, tmp_path):
    events = np.zeros(n, EVENT_DTYPE)
    events["t"] = np.arange(n)
    drawn = draw_windows(cut_windows(events, length_us=1)[0], (1, 1), zoom=40)
    save_sheet(drawn, tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        columns, rows = (image.size[i] // (drawn[0].size[i] + 4) for i in range(2))
    assert columns * (rows - 1) < n <= columns * rows


def test_the_sensor_has_an_outline_and_a_text_below(windows):
    picture = draw_windows(windows, SENSOR, zoom=ZOOM)[1].convert("RGB")
    width, height = ZOOM * SENSOR[0] + 2, ZOOM * SENSOR[1] + 2
    edge = rgb(style.EDGE)
    assert all(
        list(picture.getpixel((x, y))) == edge for x in range(width) for y in (0, height - 1)
    )
    assert all(
        list(picture.getpixel((x, y))) == edge for x in (0, width - 1) for y in range(height)
    )
    below = np.asarray(picture)[height:].reshape(-1, 3)
    colours = {tuple(colour) for colour in below.tolist()}
    assert colours == {tuple(WHITE), tuple(rgb(style.INK))}
    assert frames._caption(2, 4, windows[1]) == (f"2/4  1 to 2 ms  {len(windows[1].events)} events")


def test_pictures_always_are_the_same(windows, tmp_path):
    for name in ("one", "two"):
        drawn = draw_windows(windows, SENSOR, zoom=2)
        save_animation(drawn, tmp_path / f"{name}.gif")
        save_sheet(drawn, tmp_path / f"{name}.png")
    for suffix in ("gif", "png"):
        one, two = (tmp_path / f"{name}.{suffix}" for name in ("one", "two"))
        assert one.read_bytes() == two.read_bytes()


def test_zoom():
    assert choose_zoom((34, 34), 384) == 11
    assert choose_zoom((128, 64), 384) == 3
    assert choose_zoom((1280, 720), 384) == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"on": "nope"}, "on: 'nope' is no colour; give a name, or #rrggbb"),
        ({"off": "#12345"}, "off: '#12345' is no colour"),
        ({"full": 0}, "full must be 1 to 14 events, got 0"),
        ({"full": 15}, "full must be 1 to 14 events, got 15"),
    ],
)
def test_looks_that_cannot_be_drawn_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        EventLook(**settings)


def test_pictures_too_large_are_refused(windows):
    with pytest.raises(ValueError, match=r"4 pictures of 12002 x 8020 .* show fewer frames"):
        draw_windows(windows, SENSOR, zoom=2000)
    with pytest.raises(ValueError, match="outside the sensor of 2 x 2"):
        draw_windows(windows, (2, 2))


def test_a_picture_appears_whole_or_not_at_all(windows, tmp_path, monkeypatch):
    drawn = draw_windows(windows, SENSOR)
    (tmp_path / "a.gif").write_bytes(b"before")

    def break_off(self, stream, *arguments, **options):
        stream.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(Image.Image, "save", break_off)
    for save, name in ((save_animation, "a.gif"), (save_sheet, "a.png")):
        with pytest.raises(OSError, match="disk full"):
            save(drawn, tmp_path / name)
    assert (tmp_path / "a.gif").read_bytes() == b"before"
    assert [path.name for path in tmp_path.iterdir()] == ["a.gif"]
