"""Figures as files."""

from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from akida_jax.pictures.style import STYLE
from akida_jax.writing import replace_file


def save_figure(figure: Figure, path: Path) -> None:
    """Write a PNG under a temporary name and rename it; its folder is made if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Ticks are made when a figure is saved, and take the settings of that moment.
    with mpl.rc_context(STYLE), replace_file(path) as stream:
        figure.savefig(stream, format="png")
