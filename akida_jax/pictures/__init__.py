"""Pictures of events, of what layers do, and of mistakes; and the one look of all pictures.

Not imported by `akida_jax` itself: matplotlib takes a while to load.
"""

from akida_jax.pictures.confusion import draw_confusion
from akida_jax.pictures.event_windows import EventWindow, cut_windows, find_extent
from akida_jax.pictures.frames import (
    EventLook,
    choose_zoom,
    colour_frame,
    draw_windows,
    save_animation,
    save_sheet,
)
from akida_jax.pictures.maps import ActivityMap, count_maps, draw_maps
from akida_jax.pictures.saving import save_figure

__all__ = [
    "ActivityMap",
    "EventLook",
    "EventWindow",
    "choose_zoom",
    "colour_frame",
    "count_maps",
    "cut_windows",
    "draw_confusion",
    "draw_maps",
    "draw_windows",
    "find_extent",
    "save_animation",
    "save_figure",
    "save_sheet",
]
