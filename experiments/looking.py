"""The pictures of docs/looking.md: a synthetic gesture, and a small network that sees it.

python -m experiments.looking      # rewrites docs/pictures/looking_*; seconds
"""

from pathlib import Path

from akida_jax import pictures, zoo
from akida_jax.events import GESTURE_NAMES, build_frames, synthetic_gestures

PICTURES = Path(__file__).parents[1] / "docs" / "pictures"
SENSOR = (128, 128)
GESTURE = "right_arm_clockwise"
MODEL = "akida_tiny_synthetic"
SEED, WINDOW_US, WINDOWS, ZOOM = 1, 25_000, 24, 3


def main(folder: Path = PICTURES) -> None:
    """Draw the events of one gesture, and what each layer makes of all its windows."""
    # The first recording of every class, none of which the network was trained on.
    recording = synthetic_gestures(SEED, n_per_class=1)[0][GESTURE_NAMES.index(GESTURE)]
    windows, _ = pictures.cut_windows(recording, length_us=WINDOW_US, most=WINDOWS)
    drawn = pictures.draw_windows(windows, SENSOR, zoom=ZOOM)
    pictures.save_animation(drawn, folder / "looking_events.gif")
    # As the network was trained: windows of 100 ms in 5 bins, 128 pixels to 32.
    x, _ = build_frames([recording], sensor=SENSOR, halve=True, max_pool=2)
    maps = pictures.count_maps(zoo.pretrained(MODEL), x)
    title = f"{MODEL}, {len(x)} windows of {GESTURE.replace('_', ' ')}"
    pictures.save_figure(pictures.draw_maps(maps, title), folder / "looking_activity.png")


if __name__ == "__main__":
    main()
