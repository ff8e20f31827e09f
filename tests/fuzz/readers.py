"""What is read, from which files, and how to tell that it was read rightly.

Another reader is one more entry of `READERS`.
"""

import dataclasses
import functools
import io
import json
import struct
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx

import akida_jax as aj
from akida_jax import learning
from akida_jax.events import EventFileError, read_aedat31, read_bin, read_gesture_labels
from tests.fuzz import plain_events
from tests.fuzz.archive_edits import ARCHIVES
from tests.fuzz.event_edits import LABELS, PACKETS, RECORDS
from tests.fuzz.keras_edits import KERAS
from tests.fuzz.mutations import BYTES
from tests.interop.keras_writer import write_keras
from tests.samples import random_variables, small_model

GOLDEN = Path(__file__).parent.parent / "golden"


class Wrong(Exception):
    """A reader did other than it should; the message says what."""


@dataclasses.dataclass(frozen=True)
class Reader:
    """A reader under test.

    Attributes:
      suffix: of its files.
      sources: returns the sound files that are changed.
      read: reads a file.
      refusals: errors that a refused file may raise; the message holds the file's name.
      edits: changes that know the format.
      check: of the content, what was read of it, or None if it was refused, the sources, and
        whether the bytes were changed blindly; raises `Wrong`. Returns "refused", "same" if it
        says what a source says, or "other".
      share: of as many files as other readers get, for a slow one.
    """

    suffix: str
    sources: Callable[[], list[bytes]]
    read: Callable[[Path], Any]
    refusals: tuple[type[Exception], ...]
    edits: Mapping[str, Callable]
    check: Callable[[bytes, Any, list[bytes], bool], str]
    share: float = 1.0

    @functools.cached_property
    def changes(self) -> dict[str, Callable]:
        """Every change by name."""
        return {**BYTES, **self.edits}


def _members(content):
    """Return what an archive says: the JSON, with fields that may be left out, and arrays."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = next(iter(members))
    description = json.loads(members.pop(name))
    if description["version"] == 1:
        description["version"] = 2
        for layer in description.get("layers", []):
            if layer["type"] == "FullyConnected":
                layer.setdefault("neurons_per_class", 1)
    return json.dumps(description, sort_keys=True), members


def _written(thing):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "again"
        aj.save(thing, path) if isinstance(thing, aj.Model) else thing.save(path)
        return path.read_bytes()


def check_archive(content, found, sources, blind):
    """Everything in a file that is read must come back when it is written again.

    A blind change may be read only from a file without a digest, and to what it was.
    """
    if found is None:
        return "refused"
    if blind and content[-71:-64] == b"sha256:":
        raise Wrong("a changed byte goes unnoticed")
    try:
        says = _members(content)
    except Exception as error:
        raise Wrong(f"the zip library does not read what was read: {error}") from error
    if says != _members(_written(found)):
        raise Wrong("what was read is not what the file says")
    same = says in [_members(source) for source in sources]
    if blind and not same:
        raise Wrong("a changed byte changes what is read")
    return "same" if same else "other"


def check_events(plain, content, found, sources, blind):
    """A file is refused if plain Python refuses it, else read to the same events."""
    try:
        expected = plain(content)
    except plain_events.Unsound as error:
        if found is not None:
            raise Wrong(f"an unsound file is read ({error})") from error
        return "refused"
    if found is None:
        raise Wrong("a sound file is refused")
    if found.tolist() != expected:
        raise Wrong("the events differ from those of plain Python")
    return "same" if expected in [plain(source) for source in sources] else "other"


def check_labels(content, found, sources, blind):
    if found is None:
        return "refused"
    for trial in found:
        if not (0 <= trial.label <= 10 and 0 <= trial.start_us <= trial.stop_us < 10**18):
            raise Wrong(f"{trial} cannot be")
    n_lines = len(content.splitlines())
    if not 1 <= len(found) < n_lines:
        raise Wrong(f"{len(found)} trials of {n_lines} lines")
    return "other"


def _said(imported):
    """Return what an imported model computes: architecture and variables."""
    if imported.model is not None:
        return _members(_written(imported.model))
    leaves = jax.tree.leaves(nnx.state(imported.network))
    arrays = [np.asarray(leaf) for leaf in leaves]
    if not all(np.isfinite(array).all() for array in arrays):
        raise Wrong("a network with values that are not finite")
    settings = [layer.spec for layer in imported.network.layers]
    scaling = imported.input_scale, imported.input_shift
    return repr((settings, scaling)), [(a.shape, a.tobytes()) for a in arrays]


@functools.cache
def _said_by(content):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "source.h5"
        path.write_bytes(content)
        return _said(aj.interop.from_keras(path))


def check_keras(content, found, sources, blind):
    """What is read must be whole: finite, and for integers within every limit of a saved model.

    HDF5 holds no digest, so blind changes of weights are read.
    """
    if found is None:
        return "refused"
    says = _said(found)
    if found.model is not None:
        with tempfile.TemporaryDirectory() as folder:
            aj.save(found.model, Path(folder) / "m.akj")
            again = _members(_written(aj.load(Path(folder) / "m.akj")))
        if again != says:
            raise Wrong("what was read is not what is written of it")
    return "same" if says in map(_said_by, sources) else "other"


def _keras_files():
    rng = np.random.default_rng(8)
    layers = [
        ("Rescaling", {"scale": 1 / 255}, {}),
        ("Conv2D", {"padding": "same", "use_bias": False},
         {"kernel": rng.normal(size=(3, 3, 1, 4))}),
        ("BatchNormalization", {}, {
            "gamma": rng.uniform(0.5, 2, 4), "beta": rng.normal(size=4),
            "moving_mean": rng.normal(size=4), "moving_variance": rng.uniform(0.5, 2, 4)}),
        ("ReLU", {"max_value": 6.0}, {}),
        ("SeparableConv2D", {"padding": "same"}, {
            "depthwise_kernel": rng.normal(size=(3, 3, 4, 1)),
            "pointwise_kernel": rng.normal(size=(1, 1, 4, 3)), "bias": rng.normal(size=3)}),
        ("ReLU", {}, {}),
        ("GlobalAveragePooling2D", {}, {}),
        ("Dense", {"activation": "softmax"}, {"kernel": rng.normal(size=(3, 2)),
                                              "bias": rng.normal(size=2)}),
    ]  # fmt: skip
    sources = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m.h5"
        for version, functional in ((2, False), (3, True)):
            write_keras(path, layers, (6, 6, 1), version=version, functional=functional)
            sources.append(path.read_bytes())
        aj.interop.to_keras(small_model(rng), path)
        sources.append(path.read_bytes())
    return sources


def _models():
    rng = np.random.default_rng(5)
    one_bit = aj.Model([
        aj.InputData(input_shape=(1, 1, 13), input_bits=1),
        aj.FullyConnected(units=6, weight_bits=1, activation=False, neurons_per_class=2),
    ])  # fmt: skip
    tiny = aj.Model([
        aj.InputConvolutional(input_shape=(5, 5, 1), filters=1, kernel_size=3, pool="max"),
    ])  # fmt: skip
    made = [
        small_model(rng),
        *(model.with_variables(random_variables(rng, model)) for model in (one_bit, tiny)),
    ]
    written = [_written(model) for model in made]
    old = [path.read_bytes() for path in sorted(GOLDEN.glob("*.akj"))]
    return [*old, *written]


def _learners():
    fresh = aj.EdgeLearner(num_weights=2, num_classes=2)
    old = [path.read_bytes() for path in sorted(GOLDEN.glob("*.akl"))]
    return [*old, _written(fresh)]


def _bins():
    rng = np.random.default_rng(6)
    sources = [b""]
    for n, steps in ((1, 0), (60, 0), (60, 3)):
        records = np.empty((n, 5), np.uint8)
        records[:, :2] = rng.integers(0, 34, (n, 2))
        t = np.sort(rng.integers(0, 8192, n))
        records[:, 2] = rng.integers(0, 2, n) << 7
        records[:, 3], records[:, 4] = t >> 8, t & 255
        rows = list(records)
        for _ in range(steps):
            rows.insert(int(rng.integers(n)), np.array([0, 240, 0, 0, 0], np.uint8))
        if steps:  # in order of time behind the clock steps
            rows.sort(key=lambda row: row[1] == 240)
        sources.append(np.array(rows).tobytes())
    return sources


def _aedats():
    rng = np.random.default_rng(7)
    lines = b"#!AER-DAT3.1\r\n#Format: RAW\r\n#Source 1: DVS128\r\n#!END-HEADER\r\n"
    packets = []
    for k, n in enumerate((1, 20, 5, 0)):
        data = rng.integers(0, 128, n) << 17 | rng.integers(0, 128, n) << 2 | rng.integers(0, 4, n)
        t = np.sort(rng.integers(0, 1000, n)) + 1000 * k
        body = b"".join(struct.pack("<Ii", *event) for event in zip(data, t, strict=True))
        n_valid = int((data & 1).sum())
        packets.append(struct.pack("<hhiiiiii", 1, 1, 8, 4, 0, n + 4, n, n_valid) + body)
    packets.insert(2, struct.pack("<hhiiiiii", 2, 1, 40, 4, 0, 1, 1, 1) + bytes(40))
    return [lines, lines + packets[0], lines + b"".join(packets)]


def _labels():
    first = b"class,startTime_usec,endTime_usec\n"
    return [first + b"1,10,20\n", first + b"3,0,5\r\n11,5,500000\r\n2,600000,700000\r\n"]


def _events(read, plain, suffix, sources, edits, sensor, *, sort=False):
    return Reader(
        suffix=suffix,
        sources=sources,
        read=functools.partial(read, sensor=sensor, sort=sort),
        refusals=(EventFileError,),
        edits=edits,
        check=functools.partial(check_events, functools.partial(plain, sensor=sensor, sort=sort)),
    )


_BIN = (read_bin, plain_events.read_records, ".bin", _bins, RECORDS)
_AEDAT = (read_aedat31, plain_events.read_packets, ".aedat", _aedats, PACKETS)

READERS = {
    "akj": Reader(".akj", _models, aj.load, (aj.ModelFileError,), ARCHIVES, check_archive),
    "akl": Reader(".akl", _learners, aj.EdgeLearner.load, (learning.LearnerFileError,), ARCHIVES,
                  check_archive),
    "bin": _events(*_BIN, (34, 34)),
    "bin sorted": _events(*_BIN, None, sort=True),
    "aedat": _events(*_AEDAT, (128, 128)),
    "aedat sorted": _events(*_AEDAT, None, sort=True),
    # Each file is read by a process of its own.
    "h5": Reader(".h5", _keras_files, aj.interop.from_keras,
                 (aj.interop.KerasFileError, aj.interop.KerasModelError), KERAS, check_keras,
                 share=0.02),
    "labels": Reader(".csv", _labels, read_gesture_labels, (ValueError,), LABELS, check_labels),
}  # fmt: skip
