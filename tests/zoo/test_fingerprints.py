import hashlib
import os
import platform
import subprocess
import sys

import numpy as np
import pytest

from akida_jax.zoo.datasets.fingerprints import fingerprint, fingerprint_arrays, fingerprint_files


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "2.bin").write_bytes(b"two")
    (tmp_path / "a" / "1.bin").write_bytes(b"one")
    (tmp_path / "list.txt").write_bytes(b"names")
    (tmp_path / "other").write_bytes(b"not read")
    return tmp_path


def test_files_are_hashed_by_pattern_name_and_size(folder):
    text = b"list.txt 5\nnamesa/1.bin 3\nonea/2.bin 3\ntwo"
    expected = hashlib.sha256(text).hexdigest()[:16]
    assert fingerprint_files(folder, ("*.txt", "a/*.bin")) == expected


@pytest.mark.parametrize("change", ["content", "name", "new"])
def test_a_change_of_a_file_changes_the_fingerprint(folder, change):
    before = fingerprint_files(folder, ("a/*.bin",))
    path = folder / "a" / "1.bin"
    if change == "content":
        path.write_bytes(b"ONE")
    elif change == "name":
        path.rename(folder / "a" / "0.bin")
    else:
        (folder / "a" / "3.bin").write_bytes(b"")
    assert fingerprint_files(folder, ("a/*.bin",)) != before


def test_other_files_do_not_count(folder):
    before = fingerprint_files(folder, ("a/*.bin",))
    (folder / "other").write_bytes(b"changed")
    assert fingerprint_files(folder, ("a/*.bin",)) == before


def test_no_file_is_refused(folder):
    with pytest.raises(FileNotFoundError, match=r"no file to fingerprint is x\* or y\*"):
        fingerprint_files(folder, ("x*", "y*"))


def test_arrays_count_with_shape_and_dtype():
    x = np.arange(6, dtype=np.uint8)
    assert fingerprint_arrays(x, x) == fingerprint_arrays(x.copy(), x[::-1][::-1])
    different = {
        fingerprint_arrays(x),
        fingerprint_arrays(x.reshape(2, 3)),
        fingerprint_arrays(x.astype(np.int8)),
        fingerprint_arrays(x + np.uint8(1)),
        fingerprint_arrays(x, x),
    }
    assert len(different) == 5


def test_event_sets_keep_their_fingerprints(data_dir):
    # Results in experiments/results carry these; they were computed before other sets shared
    # the function.
    clips = fingerprint("clips", data_dir=data_dir / "dvs_gesture_clips")
    assert clips == "77714e2ad3f19b52"
    official = data_dir / "dvs_gesture_official" / "DvsGesture"
    assert fingerprint("dvs-gesture", data_dir=official) == "79f42aab64b94ea6"
    nmnist = fingerprint("nmnist", data_dir=data_dir / "nmnist_small")
    assert nmnist == "6f5d03856e54cee9"


@pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64"),
    reason="the results that carry it were made on x86-64; rounding differs elsewhere",
)
def test_the_synthetic_set_keeps_its_fingerprint():
    """In a process of its own, compiled as the results' were: its events depend on rounding."""
    code = (
        "from akida_jax.zoo.datasets.fingerprints import fingerprint\n"
        "print(fingerprint('synthetic'))"
    )
    environment = {**os.environ, "XLA_FLAGS": ""}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True
    )
    assert done.stdout.split() == ["42a23eebbe237dff"]
