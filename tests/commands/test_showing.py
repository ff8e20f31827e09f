"""The commands show events, activity, confusion and mesh."""

import struct

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image, ImageSequence

from akida_jax import mapping, pictures
from akida_jax.commands import showing
from akida_jax.events import EVENT_DTYPE, write_bin
from akida_jax.mapping.pictures import draw_mesh
from akida_jax.pictures import style

#: Two windows of 20 ms: an On event, then two Off events of one pixel; the third holds one more.
EVENTS = np.array(
    [(0, 0, 5000, True), (4, 2, 25_000, False), (4, 2, 26_000, False), (1, 1, 45_000, True)],
    EVENT_DTYPE,
)


def write_aedat(path, events):
    data = (events["x"].astype(int) << 17) | (events["y"].astype(int) << 2)
    data = data | (events["p"].astype(int) << 1) | 1
    n = len(events)
    content = b"#!AER-DAT3.1\r\n#!END-HEADER\r\n"
    content += struct.pack("<hhiiiiii", 1, 0, 8, 4, 0, n, n, n)
    pairs = zip(data.tolist(), events["t"].tolist(), strict=True)
    path.write_bytes(content + b"".join(struct.pack("<Ii", *pair) for pair in pairs))


@pytest.fixture
def recording(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_bin("r.bin", EVENTS)
    np.save("r.npy", EVENTS)
    write_aedat(tmp_path / "r.aedat", EVENTS)
    return tmp_path


def colour(name, share=1.0):
    return tuple(round(255 * (1 - share * (1 - v))) for v in to_rgb(name))


def read_frames(path):
    with Image.open(path) as image:
        return [frame.convert("RGB") for frame in ImageSequence.Iterator(image)]


@pytest.mark.parametrize("name", ["r.bin", "r.npy", "r.aedat"])
def test_an_animation_of_every_kind_of_file(name, command, recording):
    result = command("show", "events", name, "--output", "e.gif")
    assert result.code == 0, result.err
    size = (recording / "e.gif").stat().st_size
    assert result.out == (
        "3 of 3 windows, 4 of 4 events, sensor 5 x 3\n" f"{size:,} bytes written to e.gif\n"
    )  # fmt: skip
    shown = read_frames("e.gif")
    assert len(shown) == 3
    zoom = 384 // 5
    places = {(x, y): (1 + zoom * x, 1 + zoom * y) for x in range(5) for y in range(3)}
    expected = [
        {(0, 0): colour(style.ON, 1 / 4)},
        {(4, 2): colour(style.OFF, 2 / 4)},
        {(1, 1): colour(style.ON, 1 / 4)},
    ]
    for frame, events in zip(shown, expected, strict=True):
        for pixel, place in places.items():
            assert frame.getpixel(place) == events.get(pixel, (255, 255, 255))


def test_a_sheet_with_colours_sensor_and_windows_of_events(command, recording):
    result = command("show", "events", "r.bin", "-o", "e.PNG", "--window-events", "3", "--sensor",
                     "36", "18", "--on", "lime", "--off", "#000000", "--full", "2")  # fmt: skip
    assert result.code == 0, result.err
    assert "2 of 2 windows, 4 of 4 events, sensor 36 x 18\n" in result.out
    with Image.open("e.PNG") as image:
        sheet = image.convert("RGB")
    zoom = 256 // 36
    # The first window begins behind the margin of 2 and the outline of 1.
    assert sheet.getpixel((3, 3)) == colour("lime", 1 / 2)
    assert sheet.getpixel((3 + 4 * zoom, 3 + 2 * zoom)) == (0, 0, 0)


def test_fewer_windows_a_later_start_and_the_speed(command, recording):
    result = command("show", "events", "r.bin", "-o", "e.gif", "--window-ms", "0.5", "--start-ms",
                     "20", "--frames", "3", "--fps", "4")  # fmt: skip
    assert result.code == 0, result.err
    # From 20 ms after the first event on: at 20, 21 and 40 ms, 41 windows of 0.5 ms.
    assert result.out.startswith("3 of 41 windows, 2 of 4 events, ")
    with Image.open("e.gif") as image:
        assert image.n_frames == 3
        assert image.info["duration"] == 250


def test_time_that_runs_backward_is_put_into_order_on_request(command, recording):
    np.save("back.npy", EVENTS[::-1])
    result = command("show", "events", "back.npy", "-o", "e.gif")
    assert result.code == 2
    assert "back.npy: time runs backward at event 1" in result.err
    assert command("show", "events", "back.npy", "-o", "e.gif", "--sort").code == 0
    command("show", "events", "r.bin", "-o", "other.gif")
    assert (recording / "e.gif").read_bytes() == (recording / "other.gif").read_bytes()


def write_cut(folder):
    (folder / "x.bin").write_bytes((folder / "r.bin").read_bytes()[:-2])


def write_odd_packet(folder):
    (folder / "x.aedat").write_bytes((folder / "r.aedat").read_bytes()[:-3])


def write_nothing(folder):
    for suffix in ("bin", "aedat", "npy", "dat"):
        (folder / f"x.{suffix}").touch()


def write_fields(folder):
    np.save(folder / "x.npy", np.zeros(3))


def write_wide(folder):
    wide = EVENTS.copy()
    wide["x"][1] = 30_000
    np.save(folder / "x.npy", wide)


@pytest.mark.parametrize(
    ("write", "name", "message"),
    [
        (write_cut, "x.bin", "x.bin: truncated, 3 bytes left of a record of 5; 3 whole events"),
        (write_odd_packet, "x.aedat", "x.aedat: truncated packet, 29 of 32 bytes left; 3 whole"),
        (write_fields, "x.npy", "x.npy: events need the fields x, y, t and p"),
        (write_wide, "x.npy", "x.npy: the events reach over 30001 x 3 pixels, more than 2048"),
        (write_nothing, "x.bin", "x.bin: the recording holds no events"),
        (write_nothing, "x.aedat", "x.aedat: is not AEDAT 3.1"),
        (write_nothing, "x.npy", "x.npy: no .npy file of plain numbers"),
        (write_nothing, "x.dat", "x.dat: recordings end in .aedat (AEDAT 3.1), .bin (N-MNIST)"),
        (lambda folder: None, "none.bin", "No such file or directory: 'none.bin'"),
    ],
)  # fmt: skip
def test_files_that_hold_no_recording_are_refused(write, name, message, command, recording):
    write(recording)
    result = command("show", "events", name, "-o", "e.gif")
    assert (result.code, result.out) == (2, "")
    assert message in result.err
    assert not (recording / "e.gif").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("-o", "e.mp4"), "e.mp4: this picture is written as .gif or .png; end the name so"),
        (("-o", "e"), "e: this picture is written as .gif or .png"),
        (("-o", "none/e.gif"), "the folder none does not exist"),
        ((), "--output"),
        (("-o", "e.gif", "--window-ms", "1", "--window-events", "1"), "exclude each other"),
        (("-o", "e.gif", "--window-ms", "0"), "--window-ms must be 0.001 to 3.6e+06, got 0"),
        (("-o", "e.gif", "--window-ms", "nan"), "--window-ms must be 0.001 to 3.6e+06, got nan"),
        (("-o", "e.gif", "--window-events", "0"), "--window-events must be 1 to"),
        (("-o", "e.gif", "--start-ms", "-1"), "--start-ms must be 0 to"),
        (("-o", "e.gif", "--frames", "0", "--fps", "100", "--full", "99"),
         "--frames must be 1 to 1000, got 0; --fps must be 0.1 to 50, got 100; "
         "--full must be 1 to 14, got 99"),
        (("-o", "e.gif", "--start-ms", "41"), "no events from 41000 us on"),
        (("-o", "e.gif", "--frames", "0"), "--frames must be 1 to 1000, got 0"),
        (("-o", "e.gif", "--fps", "100"), "--fps must be 0.1 to 50, got 100"),
        (("-o", "e.gif", "--sensor", "0", "3"), "--sensor must be 1 to 2048, got 0"),
        (("-o", "e.gif", "--sensor", "4", "3"), "lies at (4, 2), outside 4 x 3"),
        (("-o", "e.gif", "--on", "nope"), "on: 'nope' is no colour"),
        (("-o", "e.gif", "--full", "0"), "--full must be 1 to 14, got 0"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["r.bin", "r.npy"])
def test_impossible_wishes_are_refused(options, message, name, command, recording):
    result = command("show", "events", name, *options)
    assert result.code == 2
    assert message in result.out + result.err
    assert "Traceback" not in result.err
    assert not (recording / "e.gif").exists()


@pytest.fixture
def x(rng, model):
    values = rng.integers(0, 256, (4, *model.input_shape), dtype=np.uint8)
    np.save("x.npy", values)
    return values


def read_png(path):
    with Image.open(path) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("L"))


@pytest.mark.parametrize("executor", ["auto", "event"])
def test_activity_is_drawn_and_printed(executor, command, model, x, monkeypatch):
    drawn = []

    def draw(maps, title):
        drawn.append((maps, title))
        return pictures.draw_maps(maps, title)

    monkeypatch.setattr(showing, "draw_maps", draw)
    result = command("show", "activity", "m.akj", "x.npy", "-o", "a.png", "--executor", executor)
    assert result.code == 0, result.err
    ((maps, title),) = drawn
    assert title == "m.akj, 4 inputs"
    activity = model.activity(x)
    lines = result.out.splitlines()
    assert len(lines) == len(activity) + 1
    for one, line, (name, layer) in zip(maps, lines, activity.items(), strict=False):
        assert (one.name, one.events.sum()) == (name, layer.events_out)
        shape = "x".join(map(str, one.shape))
        what = "events" if name != "dense_4" else "non-zero potentials"
        assert " ".join(line.split()) == (f"{name} {shape} {layer.events_out / 4:,.1f} {what} per "
                                          f"input {layer.sparsity:.1%} zeros")  # fmt: skip
    assert read_png("a.png").var() > 10


def test_activity_of_an_image_and_refusals(command, model, rng):
    height, width, channels = model.input_shape
    Image.fromarray(rng.integers(0, 256, (height, width, channels), dtype=np.uint8)).save("x.png")
    assert command("show", "activity", "m.akj", "x.png", "-o", "a.png").code == 0
    result = command("show", "activity", "m.akj", "x.png", "-o", "a.gif")
    assert (result.code, result.err) == (
        2, "error: a.gif: this picture is written as .png; end the name so\n"
    )  # fmt: skip
    np.save("none.npy", np.zeros((0, *model.input_shape), np.uint8))
    result = command("show", "activity", "m.akj", "none.npy", "-o", "b.png")
    assert (result.code, result.err) == (2, "error: no input; activity needs at least one\n")
    result = command("show", "activity", "x.png", "x.png", "-o", "b.png")
    assert "x.png: not a model file, or truncated or damaged" in result.err


def test_confusion_is_drawn(command, model, x, monkeypatch):
    drawn = []

    def draw(confusion, names, title):
        drawn.append((confusion.tolist(), names))
        return pictures.draw_confusion(confusion, names, title)

    monkeypatch.setattr(showing, "draw_confusion", draw)
    labels = np.array([0, 1, 2, 2])
    np.save("y.npy", labels)
    arguments = ("show", "confusion", "m.akj", "x.npy", "y.npy", "-o", "c.png")
    result = command(*arguments)
    assert result.code == 0, result.err
    classes = model.predict_classes(x)
    expected = [[sum((labels == i) & (classes == j)) for j in range(3)] for i in range(3)]
    assert drawn == [(expected, ("0", "1", "2"))]
    right = sum(labels == classes)
    assert result.out.startswith(f"m.akj: {right} of 4 inputs right, {right / 4:.1%}\n")
    assert read_png("c.png").var() > 10
    assert command(*arguments, "--names", "a", "b", "c").code == 0
    assert drawn[1] == (expected, ("a", "b", "c"))


def test_confusion_of_labels_that_do_not_suit_is_refused(command, model, x):
    arguments = ("show", "confusion", "m.akj", "x.npy", "y.npy", "-o", "c.png")
    np.save("y.npy", np.array([0, 1, 2]))
    assert "one label for each of 4 inputs, got (3,)" in command(*arguments).err
    np.save("y.npy", np.array([0, 1, 2, 3]))
    assert "labels must lie in 0..2, got 0 to 3" in command(*arguments).err
    np.save("y.npy", np.array([0, 1, 2, 2]))
    result = command(*arguments, "--names", "a", "b")
    assert (result.code, result.err) == (
        2, "error: --names gives 2 names, the model has 3 classes\n"
    )  # fmt: skip


@pytest.mark.parametrize(("device", "mode"), [("akd1000", "minimal"), ("akd1500", "hw_pr")])
def test_the_mesh_is_drawn(device, mode, command, model, tmp_path):
    result = command("show", "mesh", "m.akj", "--device", device, "--mode", mode, "-o", "m.png")
    assert result.code == 0, result.err
    placement = mapping.place(model, mapping.DEVICES[device], mode)
    passes = "1 pass," if placement.passes == 1 else f"{placement.passes} passes,"
    assert result.out.startswith(f"{placement.nps} neural processors, {passes}")
    pictures.save_figure(draw_mesh(placement), tmp_path / "expected.png")
    assert (tmp_path / "m.png").read_bytes() == (tmp_path / "expected.png").read_bytes()


def test_a_model_that_does_not_fit_has_no_mesh(command, model):
    result = command("show", "mesh", "m.akj", "--mode", "hw_pr", "-o", "mesh.png")
    assert result.code == 2
    assert "AKD1000 cannot reload weights" in result.err


def test_the_first_word_alone_lists_what_can_be_shown(command):
    result = command("show")
    assert (result.code, result.out) == (2, "")
    asked = command("show", "--help")
    assert (asked.code, asked.out) == (0, result.err)
    for name in ("show events", "show activity", "show confusion", "show mesh"):
        assert f"  {name}" in asked.out
    assert command("show", "nope") == (
        2, "", "error: no command 'show nope'; there are show events, show activity, show "
        "confusion, show mesh\n",
    )  # fmt: skip


def test_a_picture_is_complete_or_absent(command, recording, monkeypatch):
    def fail(*args):
        raise OSError("no space left on device")

    (recording / "e.gif").write_bytes(b"before")
    monkeypatch.setattr("os.fsync", fail)
    result = command("show", "events", "r.bin", "-o", "e.gif")
    assert (result.code, result.err) == (2, "error: no space left on device\n")
    assert (recording / "e.gif").read_bytes() == b"before"
    assert {path.name for path in recording.iterdir()} == {"r.bin", "r.npy", "r.aedat", "e.gif"}
