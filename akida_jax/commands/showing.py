"""Pictures of recordings, and of what a model does."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import tyro

from akida_jax import mapping
from akida_jax.commands.inputs import read_events, read_inputs, read_labels
from akida_jax.files import load
from akida_jax.mapping.pictures import draw_mesh
from akida_jax.pictures import (
    EventLook,
    choose_zoom,
    count_maps,
    cut_windows,
    draw_confusion,
    draw_maps,
    draw_windows,
    find_extent,
    save_animation,
    save_figure,
    save_sheet,
    style,
)
from akida_jax.pictures.frames import MOST_LEVELS
from akida_jax.writing import check_target

Target = Annotated[Path, tyro.conf.arg(aliases=["-o"], metavar="FILE")]

_WINDOW_MS = 20.0
_LONGEST_MS = 3_600_000.0
_MOST_FRAMES = 1000
#: A larger one is hardly a sensor's; it comes of a damaged coordinate.
_WIDEST = 2048
#: Longer side of one picture in an animation and in a sheet, in pixels.
_ANIMATION_PIXELS, _SHEET_PIXELS = 384, 256


def show_events(
    recording: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="RECORDING")]],
    output: Target,
    window_ms: float | None = None,
    window_events: int | None = None,
    frames: int = 30,
    start_ms: float = 0.0,
    sensor: tuple[int, int] | None = None,
    on: str = style.ON,
    off: str = style.OFF,
    full: int = 4,
    fps: float = 10.0,
    sort: bool = False,
) -> None:
    """Draw the events of a recording, window by window: an animation, or a sheet of pictures.

    Example: akida-jax show events recording.bin --output events.gif

    Args:
      recording: AEDAT 3.1 (.aedat), events of 5 bytes as N-MNIST has them (.bin), or an array
        with the fields x, y, t (us), p (.npy).
      output: the file to write: an animation (.gif), or all windows beside each other (.png).
      window_ms: length of a window; 20 ms by default.
      window_events: or its number of events.
      frames: how many windows, at most.
      start_ms: where the first begins, counted from the first event.
      sensor: width and height in pixels; as far as the events reach by default.
      on: colour of On events, a name or #rrggbb.
      off: colour of Off events.
      full: events of a pixel at which its colour is full.
      fps: windows that an animation shows in a second.
      sort: put events into order of time instead of refusing a file whose time runs backward.
    """
    _check_windows(window_ms, window_events, start_ms, frames, fps, sensor, full)
    target = _check_suffix(output, (".gif", ".png"))
    animated = target.suffix.lower() == ".gif"
    look = EventLook(on=on, off=off, full=full)
    length_us = None
    if window_events is None:
        length_us = round(1000 * (_WINDOW_MS if window_ms is None else window_ms))
    events = read_events(recording, sensor, sort=sort)
    size = _find_sensor(recording, events, sensor)
    windows, total = cut_windows(
        events,
        length_us=length_us,
        n_events=window_events,
        start_us=round(1000 * start_ms),
        most=frames,
    )
    zoom = choose_zoom(size, _ANIMATION_PIXELS if animated else _SHEET_PIXELS)
    drawn = draw_windows(windows, size, look, zoom=zoom)
    if animated:
        # The format counts in hundredths of a second.
        save_animation(drawn, target, delay_ms=10 * round(100 / fps))
    else:
        save_sheet(drawn, target)
    shown = sum(len(window.events) for window in windows)
    print(f"{len(windows)} of {total} windows, {shown:,} of {len(events):,} events, sensor "
          f"{size[0]} x {size[1]}")  # fmt: skip
    _report(target)


def _check_windows(
    window_ms: float | None,
    window_events: int | None,
    start_ms: float,
    frames: int,
    fps: float,
    sensor: tuple[int, int] | None,
    full: int,
) -> None:
    """Refuse what is out of its range, all of it at once; None is left out."""
    faults = []
    if window_ms is not None and window_events is not None:
        faults.append("--window-ms and --window-events exclude each other; give one")
    options: dict[str, tuple[float, float, Sequence[float | None]]] = {
        "--window-ms": (0.001, _LONGEST_MS, [window_ms]),
        "--window-events": (1, 2**40, [window_events]),
        "--start-ms": (0, float(2**40), [start_ms]),
        "--frames": (1, _MOST_FRAMES, [frames]),
        "--fps": (0.1, 50, [fps]),
        "--sensor": (1, _WIDEST, sensor or ()),
        "--full": (1, MOST_LEVELS, [full]),
    }
    faults += [
        f"{name} must be {low:g} to {high:g}, got {value:g}"
        for name, (low, high, values) in options.items()
        for value in values
        if value is not None and not low <= value <= high
    ]
    if faults:
        raise ValueError("; ".join(faults))


def _find_sensor(path: Path, events: np.ndarray, sensor: tuple[int, int] | None) -> tuple[int, int]:
    """Return the given size, or how far the events reach; without any there is none."""
    try:
        width, height = find_extent(events)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    if sensor is not None:
        return sensor
    if max(width, height) > _WIDEST:
        raise ValueError(
            f"{path}: the events reach over {width} x {height} pixels, more than {_WIDEST}; the "
            "file is damaged, or no recording of a camera"
        )
    return width, height


def show_activity(
    model: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="MODEL")]],
    inputs: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="INPUT")]],
    output: Target,
    executor: Literal["auto", "dense", "event", "native"] = "auto",
) -> None:
    """Draw where every layer of a model puts out events, as heat maps.

    Example: akida-jax show activity model.akj input.npy --output activity.png

    Args:
      model: a file written by akida_jax.save (.akj).
      inputs: as run takes them: levels, uint8, (n, h, w, c) or one of (h, w, c) in a .npy file;
        or an image. The maps show the mean of all.
      output: the file to write (.png).
      executor: how the integers are computed; each gives the same.
    """
    target = _check_suffix(output, (".png",))
    loaded = load(model)
    x = read_inputs(inputs, loaded.input_shape)
    maps = count_maps(loaded, x, executor)
    for one in maps:
        shape = "x".join(map(str, one.shape))
        count = int(one.events.sum()) / one.samples
        what = "events" if one.fires else "non-zero potentials"
        print(f"{one.name:<16}{shape:>14}{count:>14,.1f} {f'{what} per input':<29}"
              f"{one.sparsity:>8.1%} zeros")  # fmt: skip
    save_figure(draw_maps(maps, f"{model.name}, {_count(len(x))}"), target)
    _report(target)


def _count(n: int) -> str:
    return f"{n:,} input" + "s" * (n != 1)


def show_confusion(
    model: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="MODEL")]],
    inputs: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="INPUT")]],
    labels: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="LABELS")]],
    output: Target,
    names: tuple[str, ...] = (),
    executor: Literal["auto", "dense", "event", "native"] = "auto",
) -> None:
    """Draw which class a model takes for which.

    Example: akida-jax show confusion model.akj input.npy labels.npy --output confusion.png

    Args:
      model: a file written by akida_jax.save (.akj).
      inputs: as run takes them.
      labels: whole numbers from 0, one for each input (.npy).
      output: the file to write (.png).
      names: of all classes; their numbers by default.
      executor: how the integers are computed; each gives the same.
    """
    target = _check_suffix(output, (".png",))
    loaded = load(model)
    x = read_inputs(inputs, loaded.input_shape)
    confusion = loaded.confusion(x, read_labels(labels), executor)
    if names and len(names) != len(confusion):
        raise ValueError(f"--names gives {len(names)} names, the model has {len(confusion)} "
                         "classes")  # fmt: skip
    right = int(np.trace(confusion))
    title = f"{model.name}: {right:,} of {_count(len(x))} right, {right / len(x):.1%}"
    classes = names or tuple(map(str, range(len(confusion))))
    save_figure(draw_confusion(confusion, classes, title), target)
    print(title)
    _report(target)


def show_mesh(
    model: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="MODEL")]],
    output: Target,
    device: Literal["akd1000", "akd1500"] = "akd1000",
    mode: mapping.Mode = "minimal",
) -> None:
    """Draw which layer of a model every neural processor of a chip works for.

    Example: akida-jax show mesh model.akj --device akd1000 --output mesh.png

    Args:
      model: a file written by akida_jax.save (.akj).
      output: the file to write (.png).
      device: the chip.
      mode: how the model is placed.
    """
    target = _check_suffix(output, (".png",))
    placement = mapping.place(load(model), mapping.DEVICES[device], mode)
    save_figure(draw_mesh(placement), target)
    print(f"{placement.nps} neural processors, {placement.passes} "
          f"pass{'es' * (placement.passes != 1)}, {placement.device.name}, modelled")  # fmt: skip
    _report(target)


def _check_suffix(output: Path, known: tuple[str, ...]) -> Path:
    if output.suffix.lower() not in known:
        raise ValueError(f"{output}: this picture is written as {' or '.join(known)}; end the "
                         "name so")  # fmt: skip
    return check_target(output)


def _report(target: Path) -> None:
    print(f"{target.stat().st_size:,} bytes written to {target}")
