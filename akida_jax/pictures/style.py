"""The look of all pictures: colours, fonts and sizes.

The colours are six of the eight that Okabe and Ito chose so that people of every kind of colour
vision can tell them apart ("Color Universal Design", 2008); black and yellow, which vanish on a
dark and on a white page, are left out.
"""

from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.rcsetup import cycler

Colour = tuple[float, float, float]

GREEN = "#009e73"
BLUE = "#0072b2"
VERMILION = "#d55e00"
PURPLE = "#cc79a7"
ORANGE = "#e69f00"
SKY = "#56b4e9"
#: Of the two left out, for boxes on photographs.
YELLOW = "#f0e442"
#: The first stands for this project where others stand beside it.
PALETTE = (GREEN, BLUE, VERMILION, PURPLE, ORANGE, SKY)
#: Shapes of points, so that series differ without their colours too.
MARKERS = "os^DvP"

INK = "#262626"
#: Lines that guide the eye, and what was left out or comes second.
MUTED = "#8c8c8c"
#: Outlines of what is idle.
EDGE = "#cccccc"
#: Areas that lie behind.
SHADE = "#dddddd"
PALE = "#f2f2f2"

#: Polarities of events; where nothing happens, pictures stay white.
ON = VERMILION
OFF = BLUE
#: From few to many: white to dark, in one hue.
SEQUENTIAL = "Blues"

FONT = "DejaVu Sans"
#: Sizes of type in points: titles of whole pictures, all else, numbers and legends, small print.
TITLE, TEXT, SMALL, SMALLEST = 10, 9, 8, 7
DPI = 130

STYLE: dict[Any, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.labelsize": TEXT,
    "axes.linewidth": 0.7,
    "axes.prop_cycle": cycler(color=PALETTE),
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": TEXT,
    "figure.titlesize": TITLE,
    "font.family": ["sans-serif"],
    "font.sans-serif": [FONT],
    "font.size": TEXT,
    "grid.alpha": 0.3,
    "image.cmap": SEQUENTIAL,
    "image.interpolation": "nearest",
    "legend.fontsize": SMALL,
    "legend.title_fontsize": SMALL,
    "lines.linewidth": 1.3,
    "lines.markersize": 3.5,
    "savefig.bbox": "tight",
    "savefig.dpi": DPI,
    "text.color": INK,
    "xtick.color": INK,
    "xtick.labelsize": SMALL,
    "ytick.color": INK,
    "ytick.labelsize": SMALL,
}
"""Settings of matplotlib, for `matplotlib.rc_context`; the caller's own stay as they are."""

#: Decorates a function that draws: within it, and within no other, these settings hold.
in_style = mpl.rc_context(STYLE)


def plain(text: str) -> str:
    """Return a text that matplotlib does not take for mathematics."""
    return text.replace("$", r"\$")


def shades(n: int) -> list[Colour]:
    """Return colours for ``n`` values in order, from pale to dark."""
    colours = mpl.colormaps[SEQUENTIAL]
    return [to_rgb(colours(0.4 + 0.6 * i / max(1, n - 1))) for i in range(n)]


def tell_apart(n: int) -> list[Colour]:
    """Return a colour of its own for each of ``n`` things; neighbours differ in hue.

    The palette, again and again, each time with more white: from none to almost two thirds.
    """
    rounds = -(-n // len(PALETTE))
    made = []
    for i in range(n):
        again, place = divmod(i, len(PALETTE))
        white = 0.65 * again / rounds
        red, green, blue = (value + (1 - value) * white for value in to_rgb(PALETTE[place]))
        made.append((red, green, blue))
    return made


def ink_on(colour: Any) -> str:
    """Return the colour of text, dark or white, that is read better on a colour.

    Source: relative luminance and contrast, WCAG 2.1.
    """
    linear = (v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in to_rgb(colour))
    luminance = sum(weight * v for weight, v in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
    # Black has contrast (L + 0.05) / 0.05 and white 1.05 / (L + 0.05): equal at 0.179.
    return "black" if luminance > 0.179 else "white"


def hide_ticks(axis: Axes) -> None:
    """Leave the ticks of a picture of pixels out."""
    axis.set_xticks([])
    axis.set_yticks([])
    for spine in axis.spines.values():
        spine.set(visible=True, color=EDGE)
