"""Event windows as pictures: a sheet of all windows, or an animation.

A picture holds a palette of few colours and no blend of them: a pixel of the sensor is a square
of one colour, which tells how many On and Off events it had.
"""

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float64, UInt8
from matplotlib import font_manager
from matplotlib.colors import is_color_like, to_rgb
from PIL import Image, ImageDraw, ImageFont

from akida_jax.pictures import style
from akida_jax.pictures.event_windows import EventWindow
from akida_jax.writing import replace_file

#: Pixels of all pictures of an animation or of a sheet; a byte each.
_MOST_PIXELS = 2**28
#: With more levels than this of either polarity, a palette of 256 has no room for the outline.
MOST_LEVELS = 14
_FONT_PIXELS = 12
_BAR_PIXELS = 18


@dataclasses.dataclass(frozen=True, kw_only=True)
class EventLook:
    """How the events of a pixel are drawn.

    Attributes:
      on: colour of On events, of any form that matplotlib knows.
      off: colour of Off events.
      full: events of one polarity at which its colour is full, 1 to 14.
    """

    on: str = style.ON
    off: str = style.OFF
    full: int = 4

    def __post_init__(self):
        """Refuse what is no colour, and more levels than a palette holds."""
        for name, colour in (("on", self.on), ("off", self.off)):
            if not is_color_like(colour):
                raise ValueError(f"{name}: {colour!r} is no colour; give a name, or #rrggbb")
        if not 1 <= self.full <= MOST_LEVELS:
            raise ValueError(f"full must be 1 to {MOST_LEVELS} events, got {self.full}")


def colour_frame(
    counts: UInt8[np.ndarray, "h w 2"], look: EventLook | None = None
) -> Float64[np.ndarray, "h w 3"]:
    """Return red, green and blue of every pixel, 0 to 1: white without events.

    Args:
      counts: On and Off events.
      look: colours; by default those of `EventLook`.
    """
    look = look or EventLook()
    strength = np.minimum(counts, look.full) / look.full
    ink = strength[..., :1] * (1 - np.array(to_rgb(look.on)))
    ink = ink + strength[..., 1:] * (1 - np.array(to_rgb(look.off)))
    return np.clip(1 - ink, 0, 1)


def _make_palette(look: EventLook) -> UInt8[np.ndarray, "colours 3"]:
    """Return the colour of every pair of levels, then those of text and outline."""
    pairs = np.stack(np.meshgrid(*[np.arange(look.full + 1)] * 2, indexing="ij"), -1)
    colours = colour_frame(pairs.astype(np.uint8), look).reshape(-1, 3)
    further = [to_rgb(style.INK), to_rgb(style.EDGE)]
    return np.round(255 * np.concatenate([colours, further])).astype(np.uint8)


def choose_zoom(sensor: tuple[int, int], pixels: int) -> int:
    """Return how large a pixel of the sensor is drawn: the longer side takes ``pixels`` at most."""
    return max(1, pixels // max(sensor))


def draw_windows(
    windows: Sequence[EventWindow],
    sensor: tuple[int, int],
    look: EventLook | None = None,
    *,
    zoom: int = 1,
) -> list[Image.Image]:
    """Draw every window, with its place in time and its number of events below it.

    Args:
      windows: of `cut_windows`, at least one.
      sensor: width and height in pixels.
      look: colours.
      zoom: side of the square that a pixel of the sensor becomes.

    Returns:
      Pictures with a palette (mode "P"), all of one size. The sensor's pixel (x, y) begins at
      ``(1 + zoom * x, 1 + zoom * y)``: an outline of one pixel runs around it.

    Raises:
      ValueError: if there is no window, an event lies outside the sensor, or the pictures take
        more than 256 MiB.
    """
    if not windows:
        raise ValueError("no windows to draw; cut at least one")
    look = look or EventLook()
    font = ImageFont.truetype(font_manager.findfont(style.FONT), _FONT_PIXELS)
    texts = [_caption(i + 1, len(windows), window) for i, window in enumerate(windows)]
    width, height = (zoom * side + 2 for side in sensor)
    # Wide enough for every text: windows with the same events must not become one picture.
    size = (max(width, *(math.ceil(font.getlength(text)) + 4 for text in texts)),
            height + _BAR_PIXELS)  # fmt: skip
    if (pixels := len(windows) * math.prod(size)) > _MOST_PIXELS:
        raise ValueError(
            f"{len(windows)} pictures of {size[0]} x {size[1]} take {pixels:,} pixels, the limit "
            f"is {_MOST_PIXELS:,}; show fewer frames"
        )
    palette = _make_palette(look)
    ink, edge = len(palette) - 2, len(palette) - 1
    made = []
    for window, text in zip(windows, texts, strict=True):
        levels = np.minimum(window.counts(sensor), look.full)
        index = levels[..., 0] * (look.full + 1) + levels[..., 1]
        canvas = np.zeros(size[::-1], np.uint8)
        canvas[:height, :width] = edge
        canvas[1 : height - 1, 1 : width - 1] = index.repeat(zoom, 0).repeat(zoom, 1)
        picture = Image.fromarray(canvas)
        picture.putpalette(palette.tobytes())
        ImageDraw.Draw(picture).text((2, height + 1), text, fill=ink, font=font)
        made.append(picture)
    return made


def _caption(number: int, total: int, window: EventWindow) -> str:
    start_ms, stop_ms = window.start_us / 1000, window.stop_us / 1000
    return f"{number}/{total}  {start_ms:.12g} to {stop_ms:.12g} ms  {len(window.events):,} events"


def save_animation(pictures: Sequence[Image.Image], path: Path, *, delay_ms: int = 100) -> None:
    """Write a GIF that runs for ever, under a temporary name; rename it.

    Args:
      pictures: of `draw_windows`.
      path: the file to write, in a folder that exists.
      delay_ms: how long each is shown; GIF counts in steps of 10.

    Raises:
      ValueError: if there is no picture.
    """
    _check_pictures(pictures)
    first, *others = pictures
    with replace_file(path) as stream:
        first.save(stream, "GIF", save_all=True, append_images=others, duration=delay_ms, loop=0,
                   optimize=False)  # fmt: skip


def _check_pictures(pictures: Sequence[Image.Image]) -> None:
    if not pictures:
        raise ValueError("no pictures to save; draw at least one window")


def save_sheet(pictures: Sequence[Image.Image], path: Path) -> None:
    """Write a PNG with all pictures in rows, under a temporary name; rename it.

    Args:
      pictures: of `draw_windows`; the sheet is about as wide as high.
      path: the file to write, in a folder that exists.

    Raises:
      ValueError: if there is no picture.
    """
    _check_pictures(pictures)
    width, height = (side + 4 for side in pictures[0].size)
    columns = min(len(pictures), max(1, round(math.sqrt(len(pictures) * height / width))))
    rows = -(-len(pictures) // columns)
    sheet = Image.new("P", (columns * width, rows * height), 0)
    palette = pictures[0].getpalette()
    assert palette is not None
    sheet.putpalette(palette)
    for i, picture in enumerate(pictures):
        row, column = divmod(i, columns)
        sheet.paste(picture, (column * width + 2, row * height + 2))
    with replace_file(path) as stream:
        sheet.save(stream, "PNG")
