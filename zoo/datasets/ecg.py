"""Single-lead electrocardiograms of the PhysioNet/CinC Challenge 2017, with four rhythm labels.

A record is a pair of files: the samples as a MATLAB level 4 matrix (`read_matrix`) and a
header of text (`read_header`). Windows of them that a network reads: `ecg_windows`.

Source: Clifford et al., "AF Classification from a Short Single Lead ECG Recording",
doi:10.22489/CinC.2017.065-469; physionet.org/content/challenge-2017.
"""

import csv
import dataclasses
import io
import os
import pathlib
import re
import struct
from typing import Literal

import numpy as np
from jaxtyping import Float32, Int16, Int32

from akida_jax.zoo.datasets.places import Place, find_folder

Part = Literal["validation", "training2017"]

RHYTHMS = ("normal", "atrial fibrillation", "other", "noisy")
"""Names of the labels, in their order."""
SYMBOLS = ("N", "A", "O", "~")
"""The same as they stand in the reference."""
REFERENCE = "REFERENCE.csv"
SOURCE = (
    "AF Classification from a Short Single Lead ECG Recording, the PhysioNet/Computing in "
    "Cardiology Challenge 2017, by Clifford et al. (doi:10.22489/CinC.2017.065-469), from "
    "physionet.org/content/challenge-2017"
)
TERMS = "ODC-By 1.0"

_PLACES: dict[str, Place] = {
    part: Place(
        name="physionet2017",
        usual=f"physionet2017/{part}",
        needed=REFERENCE,
        source=f"{SOURCE} ({part}.zip), {TERMS}",
    )
    for part in ("validation", "training2017")
}
# All files of the challenge are sampled at this rate. Source: Clifford et al., section 2.
RATE_HZ = 300
# Level 4 of the MAT format: five int32 (type, rows, columns, imaginary, length of the name),
# the name with a zero byte, the matrix. Type 30 is little endian, int16, full.
# Source: MathWorks, "MAT-File Format", level 4.
_MATRIX_HEADER = struct.Struct("<5i")
_INT16_MATRIX = 30
_NAME = b"val\0"
_OFFSET = _MATRIX_HEADER.size + len(_NAME)
# The longest record of the challenge is 61 s; a day is refused before it is read.
_MAX_SAMPLES = RATE_HZ * 86_400
# Units of the converter per millivolt, its value at 0 mV, the unit. Source: WFDB, header(5).
_GAIN = re.compile(r"(\d+(?:\.\d+)?)(?:\((-?\d+)\))?/mV")
_SIGNAL_FIELDS = 5


@dataclasses.dataclass(frozen=True, kw_only=True)
class Header:
    """What the header of a record says of its signal.

    Attributes:
      rate_hz: samples per second.
      n_samples: samples of the record.
      gain: converter units per millivolt.
      baseline: converter units at 0 mV.
    """

    rate_hz: int
    n_samples: int
    gain: float
    baseline: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class EcgRecords:
    """Records of one part of the challenge.

    Attributes:
      names: such as "A00001".
      signals: of each record, in millivolts, 300 samples per second; their lengths differ.
      labels: index into `RHYTHMS` of each record.
      part: of the challenge.
    """

    names: tuple[str, ...]
    signals: tuple[Float32[np.ndarray, " samples"], ...]
    labels: Int32[np.ndarray, " records"]
    part: str


def read_matrix(path: str | os.PathLike[str]) -> Int16[np.ndarray, " samples"]:
    """Return the samples of a record, in units of the converter.

    Args:
      path: of the .mat file, one row of int16 named "val".

    Raises:
      ValueError: if the file is of another kind, or its length is not what its header says.
    """
    path = pathlib.Path(path)
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(_OFFSET)
        if len(start) < _OFFSET:
            raise ValueError(f"{path}: ends after {size} bytes, in the header of {_OFFSET}")
        kind, rows, columns, imaginary, name_length = _MATRIX_HEADER.unpack_from(start)
        name = start[_MATRIX_HEADER.size :]
        if (kind, imaginary, name_length, name) != (_INT16_MATRIX, 0, len(_NAME), _NAME):
            raise ValueError(
                f"{path}: must be a MATLAB level 4 file with the int16 matrix 'val', but it begins "
                f"with type {kind} and the name {name!r}"
            )
        if rows != 1 or not 1 <= columns <= _MAX_SAMPLES:
            raise ValueError(
                f"{path}: must hold 1 row of 1 to {_MAX_SAMPLES} samples, got {rows} x {columns}"
            )
        if size != _OFFSET + 2 * columns:
            raise ValueError(
                f"{path}: {columns} samples need {_OFFSET + 2 * columns} bytes, the file has {size}"
            )
        return np.frombuffer(file.read(), "<i2").astype(np.int16)


def read_header(path: str | os.PathLike[str]) -> Header:
    """Return what a .hea file says of its record, which has one signal in millivolts.

    Args:
      path: of the file.

    Raises:
      ValueError: if it is none, naming file and line.

    Source: WFDB, header(5).
    """
    path = pathlib.Path(path)
    lines = [line for line in _read_text(path).splitlines() if line and line[0] != "#"]
    if len(lines) != 2:
        raise ValueError(f"{path}: needs one line for the record and one for its signal, "
                         f"got {len(lines)}")  # fmt: skip
    record, signal = (line.split() for line in lines)
    if len(record) < 4 or not all(field.isdecimal() for field in record[1:4]):
        raise ValueError(f"{path}, line 1: needs name, signals, rate and samples, got {lines[0]!r}")
    n_signals, rate_hz, n_samples = (int(field) for field in record[1:4])
    if record[0] != path.stem or n_signals != 1 or rate_hz != RATE_HZ:
        raise ValueError(f"{path}, line 1: must be of {path.stem} with 1 signal at {RATE_HZ} Hz, "
                         f"got {lines[0]!r}")  # fmt: skip
    gain = _GAIN.fullmatch(signal[2]) if len(signal) >= _SIGNAL_FIELDS else None
    if gain is None or float(gain[1]) == 0:
        raise ValueError(f"{path}, line 2: needs file, format, gain in units per mV, bits and the "
                         f"value at 0 mV, got {lines[1]!r}")  # fmt: skip
    if signal[:2] != [f"{path.stem}.mat", f"16+{_OFFSET}"]:
        raise ValueError(f"{path}, line 2: must name {path.stem}.mat in format 16+{_OFFSET}, "
                         f"got {lines[1]!r}")  # fmt: skip
    zero = gain[2] if gain[2] is not None else signal[4]
    if not zero.removeprefix("-").isdecimal():
        raise ValueError(f"{path}, line 2: the value at 0 mV must be a whole number, got {zero!r}")
    return Header(
        rate_hz=rate_hz, n_samples=n_samples, gain=float(gain[1]), baseline=int(zero)
    )  # fmt: skip


def read_record(path: str | os.PathLike[str]) -> Float32[np.ndarray, " samples"]:
    """Return the signal of a record in millivolts.

    Args:
      path: of the record, without the endings .mat and .hea.

    Raises:
      ValueError: if a file is damaged, or the two disagree.
      FileNotFoundError: if one of them is missing.
    """
    path = pathlib.Path(path)
    header = read_header(path.with_name(f"{path.name}.hea"))
    matrix = path.with_name(f"{path.name}.mat")
    samples = read_matrix(matrix)
    if len(samples) != header.n_samples:
        raise ValueError(
            f"{matrix}: holds {len(samples)} samples, its header says {header.n_samples}"
        )
    return (samples - np.float32(header.baseline)) / np.float32(header.gain)


def read_reference(path: str | os.PathLike[str]) -> list[tuple[str, int]]:
    """Return name and label of each record that a reference lists.

    Args:
      path: of the file, lines such as "A00001,N".

    Raises:
      ValueError: if it is wrong, naming file and line.
    """
    path = pathlib.Path(path)
    rows: dict[str, int] = {}
    reader = csv.reader(io.StringIO(_read_text(path), newline=""))
    for row in reader:
        where = f"{path}, line {reader.line_num}"
        if not row:
            continue
        if len(row) != 2 or row[1] not in SYMBOLS or not row[0].isalnum():
            raise ValueError(f"{where}: needs a name and one of {' '.join(SYMBOLS)}, got {row}")
        if row[0] in rows:
            raise ValueError(f"{where}: lists {row[0]} again")
        rows[row[0]] = SYMBOLS.index(row[1])
    if not rows:
        raise ValueError(f"{path}: lists no record; needs lines such as 'A00001,N'")
    return list(rows.items())


def load_ecg(
    data_dir: str | os.PathLike[str] | None = None, *, part: Part = "validation"
) -> EcgRecords:
    """Load all records of one part of the challenge.

    The 300 records of "validation" are also among the 8,528 of "training2017": one must not
    train on the second and test on the first.

    Args:
      data_dir: folder with the records and REFERENCE.csv, instead of
        ``physionet2017/validation`` or ``physionet2017/training2017`` in ``$AKIDA_JAX_DATA``.
      part: which folder to look for.

    Raises:
      ValueError: if a file is damaged or there is no such part.
      FileNotFoundError: if data are missing, saying how to get them.
    """
    if part not in _PLACES:
        raise ValueError(f"part must be one of {', '.join(_PLACES)}, got {part!r}")
    folder = find_folder(_PLACES[part], data_dir)
    listed = read_reference(folder / REFERENCE)
    for name, _ in listed:
        for ending in ("mat", "hea"):
            if not (folder / f"{name}.{ending}").is_file():
                raise FileNotFoundError(
                    f"{folder / REFERENCE} lists {name}, but there is no {name}.{ending}. "
                    f"The data: {_PLACES[part].source}"
                )
    return EcgRecords(
        names=tuple(name for name, _ in listed),
        signals=tuple(read_record(folder / name) for name, _ in listed),
        labels=np.array([label for _, label in listed], np.int32),
        part=part,
    )


def _read_text(path: pathlib.Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: must be UTF-8 text, but byte {error.start} is none") from error
