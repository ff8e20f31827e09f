import struct

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.io

from akida_jax.zoo.datasets.ecg import (
    RHYTHMS,
    load_ecg,
    read_header,
    read_matrix,
    read_record,
    read_reference,
)
from akida_jax.zoo.datasets.ecg_windows import (
    as_images,
    as_spectrograms,
    augment_ecg,
    augment_spectrograms,
    clean,
    cut_records,
)
from akida_jax.zoo.rhythm_scores import record_probabilities, score_records, stratified_folds

RATE = 300


def write_record(folder, name, samples, *, header=None):
    matrix = struct.pack("<5i", 30, 1, len(samples), 0, 4) + b"val\0"
    (folder / f"{name}.mat").write_bytes(matrix + np.asarray(samples, "<i2").tobytes())
    header = header or (f"{name} 1 300 {len(samples)} 2014-05-08 05:05:15 \n"
                        f"{name}.mat 16+24 1000/mV 16 0 {samples[0]} 0 0 ECG \n")  # fmt: skip
    (folder / f"{name}.hea").write_text(header)
    return folder / name


def test_record_by_hand(tmp_path):
    record = write_record(tmp_path, "A1", [-127, 0, 500, 32767])
    # Division by 1000 in float32 rounds once.
    np.testing.assert_array_equal(
        read_record(record), np.array([-0.127, 0, 0.5, 32.767], np.float32)
    )


def test_gain_and_baseline(tmp_path):
    text = "A1 1 300 2\nA1.mat 16+24 200(-24)/mV 12 7 0 0 0 ECG\n"
    record = write_record(tmp_path, "A1", [-24, 176], header=text)
    header = read_header(tmp_path / "A1.hea")
    assert (header.gain, header.baseline, header.n_samples, header.rate_hz) == (200, -24, 2, 300)
    assert read_record(record).tolist() == [0, 1]
    # Without a value of its own, 0 mV is the converter's zero. Comments do not count.
    text = "# made by hand\nA1 1 300 2\nA1.mat 16+24 200/mV 12 76 0 0 0 ECG\n# a note\n"
    record = write_record(tmp_path, "A1", [-24, 176], header=text)
    assert read_record(record).tolist() == [-0.5, 0.5]


def test_scipy_reads_the_same(tmp_path, rng):
    samples = rng.integers(-32768, 32768, 500, dtype=np.int16)
    write_record(tmp_path, "A1", samples)
    expected = scipy.io.loadmat(tmp_path / "A1.mat")["val"][0]
    found = read_matrix(tmp_path / "A1.mat")
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == np.int16
    scipy.io.savemat(tmp_path / "b.mat", {"val": samples[None]}, format="4")
    np.testing.assert_array_equal(read_matrix(tmp_path / "b.mat"), samples)


def matrix(*fields, name=b"val\0", content=b"\0\0\0\0"):
    return struct.pack("<5i", *fields) + name + content


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "ends after 0 bytes, in the header of 24"),
        (matrix(30, 1, 2, 0, 4)[:20], "ends after 20 bytes, in the header of 24"),
        (b"MATLAB 5.0 MAT-file, made somewhere else", "must be a MATLAB level 4 file"),
        (matrix(0, 1, 2, 0, 4), "int16 matrix 'val', but it begins with type 0"),
        (matrix(1030, 1, 2, 0, 4), "begins with type 1030"),
        (matrix(30, 1, 2, 1, 4), "must be a MATLAB level 4 file"),
        (matrix(30, 1, 2, 0, 4, name=b"abc\0"), r"the name b'abc\\x00'"),
        (matrix(30, 2, 1, 0, 4), "1 row of 1 to 25920000 samples, got 2 x 1"),
        (matrix(30, 1, 0, 0, 4), "1 row of 1 to 25920000 samples, got 1 x 0"),
        (matrix(30, 1, -2, 0, 4), "1 row of 1 to 25920000 samples, got 1 x -2"),
        (matrix(30, 1, 2**31 - 1, 0, 4), "1 row of 1 to 25920000 samples, got 1 x 2147483647"),
        (matrix(30, 1, 3, 0, 4), "3 samples need 30 bytes, the file has 28"),
        (matrix(30, 1, 1, 0, 4), "1 samples need 26 bytes, the file has 28"),
    ],
)
def test_a_bad_matrix_is_refused(tmp_path, content, message):
    path = tmp_path / "A1.mat"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as problem:
        read_matrix(path)
    assert str(path) in str(problem.value)


FIRST, SECOND = "A1 1 300 2", "A1.mat 16+24 1000/mV 16 0 5 0 0 ECG"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["", ""], "one line for the record and one for its signal, got 0"),
        ([FIRST, SECOND, SECOND], "one line for the record and one for its signal, got 3"),
        (["A1 1 300", SECOND], "line 1: needs name, signals, rate and samples"),
        (["A1 1 300 x", SECOND], "line 1: needs name, signals, rate and samples"),
        (["A2 1 300 2", SECOND], "line 1: must be of A1 with 1 signal at 300 Hz"),
        (["A1 2 300 2", SECOND], "line 1: must be of A1 with 1 signal at 300 Hz"),
        (["A1 1 500 2", SECOND], "line 1: must be of A1 with 1 signal at 300 Hz"),
        ([FIRST, "A1.mat 16+24"], "line 2: needs file, format, gain in units per mV"),
        ([FIRST, "A1.mat 16+24 1000/uV 16 0"], "line 2: needs file, format, gain in units per mV"),
        ([FIRST, "A1.mat 16+24 0/mV 16 0"], "line 2: needs file, format, gain in units per mV"),
        ([FIRST, "A2.mat 16+24 1000/mV 16 0"], r"line 2: must name A1.mat in format 16\+24"),
        ([FIRST, "A1.mat 16 1000/mV 16 0"], r"line 2: must name A1.mat in format 16\+24"),
        ([FIRST, "A1.mat 16+24 1000/mV 16 x"], "line 2: the value at 0 mV must be a whole number"),
    ],
)
def test_a_bad_header_is_refused(tmp_path, lines, message):
    path = tmp_path / "A1.hea"
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(ValueError, match=message) as problem:
        read_header(path)
    assert str(path) in str(problem.value)
    path.write_bytes(b"A1\xff")
    with pytest.raises(ValueError, match=r"A1\.hea: must be UTF-8 text, but byte 2 is none"):
        read_header(path)


def test_header_and_matrix_must_agree(tmp_path):
    record = write_record(tmp_path, "A1", [1, 2, 3], header=f"{FIRST}\n{SECOND}\n")
    with pytest.raises(ValueError, match=r"A1\.mat: holds 3 samples, its header says 2"):
        read_record(record)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "REFERENCE.csv: lists no record"),
        ("A1,N,1\n", "line 1: needs a name and one of N A O ~"),
        ("A1,N\n\nA2,X\n", "line 3: needs a name and one of N A O ~, got .'A2', 'X'"),
        ("../A1,N\n", "line 1: needs a name and one of N A O ~"),
        ("A1,N\nA1,A\n", "line 2: lists A1 again"),
    ],
)
def test_a_bad_reference_is_refused(tmp_path, text, message):
    (tmp_path / "REFERENCE.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_reference(tmp_path / "REFERENCE.csv")


def test_folder_of_records(tmp_path):
    (tmp_path / "REFERENCE.csv").write_text("A2,~\nA1,A\n")
    write_record(tmp_path, "A1", [0, 1000])
    with pytest.raises(FileNotFoundError, match=r"lists A2, but there is no A2\.mat.*Clifford"):
        load_ecg(tmp_path)
    write_record(tmp_path, "A2", [2000])
    data = load_ecg(tmp_path)
    assert data.names == ("A2", "A1")
    assert [signal.tolist() for signal in data.signals] == [[2], [0, 1]]
    assert data.labels.dtype == np.int32
    assert [RHYTHMS[label] for label in data.labels] == ["noisy", "atrial fibrillation"]


def test_missing_records_say_how_to_get_them(tmp_path, monkeypatch):
    monkeypatch.setenv("AKIDA_JAX_DATA", str(tmp_path))
    for part in ("validation", "training2017"):
        with pytest.raises(FileNotFoundError, match=rf"no .*physionet2017/{part}.*{part}.zip.*ODC"):
            load_ecg(part=part)
    with pytest.raises(ValueError, match="part must be one of validation, training2017, got 'x'"):
        load_ecg(part="x")


def beats(seconds, *, rate_hz=1.0):
    """Return a signal with a spike of 1 mV at each beat, on a wandering baseline."""
    t = np.arange(round(seconds * RATE)) / RATE
    phase = (t * rate_hz + 0.5) % 1 - 0.5
    return np.exp(-((phase / rate_hz / 0.02) ** 2)) + 2 * np.sin(2 * np.pi * 0.05 * t)


def test_baseline_and_hum_are_removed():
    t = np.arange(20 * RATE) / RATE
    wave = np.sin(2 * np.pi * 5 * t)
    dirty = 3 + wave + 2 * np.sin(2 * np.pi * 0.05 * t) + 0.1 * np.sin(2 * np.pi * 140 * t)
    middle = slice(5 * RATE, 15 * RATE)
    # A band-pass of order 2 from a to b, run both ways, leaves 1 / (1 + x ** 4) of an amplitude
    # with x = (f - a * b / f) / (b - a): 1e-4 of 2 at 0.05 Hz, 0.6 % of 0.1 at 140 Hz, and all
    # but 1e-6 at 5 Hz. The scale, changed by what the ends of the record do, is taken out.
    found = clean(dirty)[middle]
    np.testing.assert_allclose(found / np.abs(found).max(), wave[middle], atol=2e-3)


def test_windows_cover_the_record():
    # 9.6 s at a stride of 4.8 s: 0, 4.8 and, ending with the record, 7.4.
    assert as_images(beats(17)).shape == (3, 36, 32, 1)
    assert as_images(beats(14.4)).shape == (2, 36, 32, 1)
    assert as_images(beats(9.6)).shape == (1, 36, 32, 1)
    assert as_images(beats(30), stride_s=9.6).shape == (4, 36, 32, 1)
    assert as_spectrograms(beats(17), size=32).shape == (3, 32, 32, 1)


def test_beats_lie_where_they_should():
    image = as_images(beats(12))[0]
    assert image.dtype == np.uint8
    wave = image.reshape(-1).astype(int)
    found = np.flatnonzero((wave[1:-1] > wave[:-2]) & (wave[1:-1] >= wave[2:]) & (wave[1:-1] > 180))
    # One beat a second, 120 samples; the beat at 0 has no neighbour to its left.
    assert (found + 1).tolist() == list(range(120, 1152, 120))


def test_a_short_record_is_repeated():
    images = as_images(beats(3))
    assert images.shape == (1, 36, 32, 1)
    wave = images.reshape(-1)
    np.testing.assert_array_equal(wave[:360], wave[360:720])
    assert as_spectrograms(beats(3), size=16).shape == (1, 16, 16, 1)


def test_units_do_not_matter():
    np.testing.assert_array_equal(as_images(beats(12)), as_images(1000 * beats(12)))


@pytest.mark.parametrize("level", [0.0, 0.3, -5.0])
def test_silence_is_grey(level):
    flat = np.full(3000, level)
    assert (as_images(flat) == 128).all()
    assert (as_spectrograms(flat) == 0).all()


def test_a_tone_is_a_line():
    t = np.arange(12 * RATE) / RATE
    image = as_spectrograms(np.sin(2 * np.pi * 20 * t), size=51)[0, :, :, 0]
    # Rows are 0 to 50 Hz in steps of 1 Hz. The Hann window of 0.5 s is zero 4 Hz off its centre.
    assert image.argmax(0).tolist() == [20] * 51
    assert image[20, 25] >= 250
    assert image[30:, 25].max() < 120
    # A pulse is a column.
    pulse = np.zeros(12 * RATE)
    pulse[5 * RATE] = 1
    image = as_spectrograms(pulse, size=48)[0, :, :, 0]
    assert image.sum(0).argmax() == 25  # 0.2 s per column, 5.0 s at its left edge


@pytest.mark.parametrize("convert", [as_images, as_spectrograms])
def test_bad_signals_are_refused(convert):
    with pytest.raises(ValueError, match=r"at least 300 samples, got shape \(299,\)"):
        convert(np.zeros(299))
    with pytest.raises(ValueError, match=r"at least 300 samples, got shape \(2, 300\)"):
        convert(np.zeros((2, 300)))
    with pytest.raises(ValueError, match="must be finite"):
        convert(np.full(300, np.nan))
    with pytest.raises(ValueError, match="stride must be at least one sample"):
        convert(np.zeros(300), stride_s=0)


def test_bad_sizes_are_refused():
    with pytest.raises(ValueError, match="size must be at least 1, got 0"):
        as_spectrograms(np.zeros(300), size=0)
    with pytest.raises(ValueError, match="window and segment must be at least 1/300 s"):
        as_spectrograms(np.zeros(300), window_s=0)


def test_windows_keep_label_and_record():
    windows = cut_records([beats(9.6), beats(17)], np.array([2, 0]))
    assert windows.x.shape == (4, 36, 32, 1)
    assert windows.y.tolist() == [2, 0, 0, 0]
    assert windows.record.tolist() == [0, 1, 1, 1]
    assert windows.y.dtype == windows.record.dtype == np.int32


def augment(x, **options):
    still = {"stretch": 0.0, "scale": 0.0, "invert": 0.0}
    return np.asarray(augment_ecg(jax.random.key(1), jnp.asarray(x), **{**still, **options}))


def test_nothing_to_change_changes_nothing(rng):
    x = rng.integers(0, 256, (5, 36, 32, 1), dtype=np.uint8)
    np.testing.assert_array_equal(augment(x), x)


def test_inversion_turns_the_sign():
    x = as_images(beats(40))
    y = augment(x, invert=1.0)
    # 256 - x, but 0 has no opposite.
    np.testing.assert_array_equal(y, np.clip(256 - x.astype(int), 0, 255))


def test_amplitudes_stay_in_their_range():
    x = np.full((64, 36, 32, 1), 228, np.uint8)
    y = augment(x, scale=0.2)
    assert y.min() >= 208
    assert y.max() <= 248
    assert len(np.unique(y)) > 20


def test_stretching_moves_the_beats():
    x = np.repeat(as_images(beats(9.6)), 16, axis=0)
    y = augment(x, stretch=0.1).reshape(16, -1)
    n_beats = ((y[:, 1:] > 170) & (y[:, :-1] <= 170)).sum(1)
    assert len({row.tobytes() for row in y}) == 16
    assert n_beats.min() >= 8
    assert n_beats.max() <= 11


def test_spectrograms_are_turned_in_time(rng):
    x = rng.integers(100, 150, (32, 8, 8, 1), dtype=np.uint8)
    y = np.asarray(augment_spectrograms(jax.random.key(0), jnp.asarray(x), gain=0.0, offset=0.0))
    for before, after in zip(x[..., 0], y[..., 0], strict=True):
        turns = [np.roll(way, k, 1) for way in (before, before[:, ::-1]) for k in range(8)]
        assert any((after == turn).all() for turn in turns)
    assert len({a.tobytes() for a in y}) == 32
    y = np.asarray(augment_spectrograms(jax.random.key(0), jnp.full_like(x, 100), offset=10.0))
    # 100 * (1 ± 0.15) ± 10
    assert y.min() >= 75
    assert y.max() <= 125


def test_folds_share_out_every_rhythm():
    labels = np.repeat([0, 1, 2, 3], [150, 50, 70, 30])
    folds = stratified_folds(labels, 5, seed=2)
    assert sorted(np.concatenate([test for _, test in folds]).tolist()) == list(range(300))
    for train, test in folds:
        assert not set(train.tolist()) & set(test.tolist())
        assert len(train) + len(test) == 300
        assert np.bincount(labels[test]).tolist() == [30, 10, 14, 6]
    again = stratified_folds(labels, 5, seed=2)
    np.testing.assert_array_equal(again[0][1], folds[0][1])
    assert (stratified_folds(labels, 5, seed=3)[0][1] != folds[0][1]).any()
    for n in (1, 31):
        with pytest.raises(ValueError, match=f"folds must be 2 to 30, .* got {n}"):
            stratified_folds(labels, n)


def test_probabilities_are_means_over_windows():
    logits = np.log(np.array([[1, 3], [3, 1], [1, 1], [9, 1]], np.float64)) + 7
    found = record_probabilities(logits, np.array([1, 0, 1, 0]))
    # (3/4 + 9/10) / 2 and (1/4 + 1/2) / 2; five roundings of values below 1.
    np.testing.assert_allclose(found, [[0.825, 0.175], [0.375, 0.625]], atol=5 * 2**-52)
    for record in ([0, 2, 2, 2], [0, 1, 1]):
        with pytest.raises(ValueError, match="every record needs a window"):
            record_probabilities(logits, np.array(record))


def test_scores_by_hand():
    labels = np.array([0, 0, 1, 2, 3])
    sure = np.eye(4)[[0, 1, 1, 2, 0]]
    scores = score_records(sure, labels)
    assert scores["accuracy"] == pytest.approx(3 / 5)
    # F1 = 2 hits / (true + found): 2 / 4, 2 / 3, 2 / 2, 0 / 1.
    assert scores["macro_f1"] == pytest.approx((1 / 2 + 2 / 3 + 1 + 0) / 4)
    assert scores["challenge_f1"] == pytest.approx((1 / 2 + 2 / 3 + 1) / 3)
    # Pairs of a record of the class and another, ties a half. Class 0: the hit wins against 2,
    # ties with record 5; the miss ties with 2, loses: (2.5 + 1) / 6. Class 1: wins against 3,
    # ties with record 2: 3.5 / 4. Class 2: 1. Class 3: all tie: 1/2.
    assert scores["auroc"] == pytest.approx((3.5 / 6 + 3.5 / 4 + 1 + 0.5) / 4)


def test_perfect_scores():
    labels = np.array([3, 2, 1, 0, 0])
    assert score_records(np.eye(4)[labels], labels) == {
        "accuracy": 1.0, "macro_f1": 1.0, "challenge_f1": 1.0, "auroc": 1.0
    }  # fmt: skip


@pytest.mark.parametrize(
    ("probabilities", "labels", "message"),
    [
        (np.eye(4)[:, :3], range(4), r"4 labels need probabilities of shape \(4, 4\), got \(4, 3"),
        (np.eye(4)[:3], range(4), r"4 labels need probabilities of shape \(4, 4\), got \(3, 4"),
        (2 * np.eye(4), range(4), "must be positive and sum to 1"),
        (np.full((4, 4), np.nan), range(4), "must be positive and sum to 1"),
        (np.tile([1.5, -0.5, 0, 0], (4, 1)), range(4), "must be positive and sum to 1"),
        (np.eye(4), [0, 1, 2, 2], r"every rhythm 0 to 3 must occur .* got \[0, 1, 2\]"),
        (np.eye(4), [0, 1, 2, 4], r"every rhythm 0 to 3 must occur .* got \[0, 1, 2, 4\]"),
    ],
)
def test_bad_probabilities_are_refused(probabilities, labels, message):
    with pytest.raises(ValueError, match=message):
        score_records(probabilities, np.array(labels))


def test_real_records(data_dir):
    data = load_ecg(data_dir / "physionet2017" / "validation")
    assert np.bincount(data.labels).tolist() == [150, 50, 70, 30]
    assert data.names[0] == "A00001"
    assert len(data.signals[0]) == 9000
    assert data.signals[0][0] == np.float32(-0.127)
    windows = cut_records(data.signals, data.labels)
    assert windows.x.shape == (1913, 36, 32, 1)
    assert set(windows.record.tolist()) == set(range(300))
    # Hardly a sample is cut off.
    assert ((windows.x == 0) | (windows.x == 255)).mean() < 0.005
