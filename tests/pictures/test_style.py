"""The one look of all pictures."""

import itertools
import re
from pathlib import Path

import matplotlib as mpl
import pytest
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure

from akida_jax.pictures import style
from experiments.sweeping import page_style

ROOT = Path(__file__).parents[2]

# Linear red, green and blue as people without cones of one kind see them. Source: Machado et al.
# 2009, doi:10.1109/TVCG.2009.113, severity 1.
VISION = {
    "all cones": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "no long": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "no middle": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "no short": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}
_XYZ = [
    [0.4124564, 0.3575761, 0.1804375],
    [0.2126729, 0.7151522, 0.0721750],
    [0.0193339, 0.1191920, 0.9503041],
]
_WHITE = (0.95047, 1.0, 1.08883)


def linear(colour):
    return [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in to_rgb(colour)]


def through(matrix, values):
    return [sum(a * b for a, b in zip(row, values, strict=True)) for row in matrix]


def seen(colour, vision):
    """Return lightness and both hues (CIE 1976) of a colour as someone sees it."""
    inside = [min(1, max(0, v)) for v in through(VISION[vision], linear(colour))]
    x, y, z = (
        v ** (1 / 3) if v > (6 / 29) ** 3 else v / (3 * (6 / 29) ** 2) + 4 / 29
        for v in (a / b for a, b in zip(through(_XYZ, inside), _WHITE, strict=True))
    )
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def distance(one, other, vision):
    pairs = zip(seen(one, vision), seen(other, vision), strict=True)
    return sum((a - b) ** 2 for a, b in pairs) ** 0.5


@pytest.mark.parametrize("vision", VISION)
def test_everyone_can_tell_the_colours_apart(vision):
    # 2.3 is just noticed (CIE 1976); six times as much is seen in thin lines too.
    for one, other in itertools.combinations(style.PALETTE, 2):
        assert distance(one, other, vision) > 6 * 2.3, (one, other)
    assert distance(style.ON, style.OFF, vision) > 12 * 2.3


def test_the_test_sees_colours_that_are_confused():
    red, green = "#b03a2e", "#6b7a2b"  # of one lightness to those without middle cones
    assert distance(red, green, "all cones") > 6 * 2.3
    assert distance(red, green, "no middle") < 2 * 2.3


def test_the_sequential_map_darkens_all_the_way():
    colours = [mpl.colormaps[style.SEQUENTIAL](i / 20) for i in range(21)]
    for vision in VISION:
        lightness = [seen(colour, vision)[0] for colour in colours]
        assert all(a > b for a, b in itertools.pairwise(lightness))
    shades = style.shades(5)
    assert len(set(shades)) == 5
    assert sorted(shades, key=lambda c: -seen(c, "all cones")[0]) == shades
    # Even the palest is seen on white.
    assert distance(shades[0], "white", "all cones") > 6 * 2.3
    assert len(style.shades(1)) == 1


def contrast(one, other):
    """Return the contrast of two colours, WCAG 2.1."""
    a, b = sorted(0.2126 * r + 0.7152 * g + 0.0722 * b for r, g, b in (linear(one), linear(other)))
    return (b + 0.05) / (a + 0.05)


@pytest.mark.parametrize("colour", ["white", "black", *style.PALETTE, "#777777", "#767676"])
def test_text_is_read_on_any_colour(colour):
    ink = style.ink_on(colour)
    assert contrast(ink, colour) >= contrast({"black": "white", "white": "black"}[ink], colour)
    # The better of black and white has the root of 21, the contrast of both, at least.
    assert contrast(ink, colour) >= 21**0.5


@pytest.mark.parametrize("n", [0, 1, 6, 7, 31, 100])
def test_each_of_many_has_a_colour_of_its_own(n):
    colours = style.tell_apart(n)
    assert len(set(colours)) == len(colours) == n
    assert [to_hex(colour) for colour in colours[:6]] == list(style.PALETTE[:n])
    for vision in VISION:
        for one, other in itertools.pairwise(colours):
            assert distance(one, other, vision) > 2 * 2.3


def test_settings_hold_within_a_drawing_alone():
    before = mpl.rcParams["axes.titlesize"], mpl.rcParams["axes.spines.top"]

    @style.in_style
    def draw():
        """Draw."""
        return Figure().subplots(), mpl.rcParams["axes.titlesize"]

    for _ in range(2):
        axis, size = draw()
        assert size == style.TEXT
        assert not axis.spines["top"].get_visible()
        assert (mpl.rcParams["axes.titlesize"], mpl.rcParams["axes.spines.top"]) == before
    assert (draw.__name__, draw.__doc__) == ("draw", "Draw.")


def test_names_are_no_mathematics():
    assert style.plain("a $x$ b") == r"a \$x\$ b"


def test_no_other_module_has_colours_or_sizes_of_its_own():
    rooms = ("akida_jax", "mapping", "zoo", "experiments", "benchmarks")
    drawing = [
        path
        for room in rooms
        for path in (ROOT / room).rglob("*.py")
        if path != Path(style.__file__).resolve()
        and re.search(r"^(import|from) matplotlib", path.read_text(), re.MULTILINE)
    ]
    assert len(drawing) > 8
    # Two mean no look: white over a photograph, and what stands for the colour of a page.
    own = re.compile(r'(font|label)size=\d|cmap=|rcParams|"#(?!010203|ffffff)[0-9a-f]{6}"')
    found = {path: hit.group() for path in drawing if (hit := own.search(path.read_text()))}
    assert found == {}


def test_the_report_page_has_the_same_accent():
    assert page_style.STYLE.count(f"--accent: {style.GREEN}") == 2
