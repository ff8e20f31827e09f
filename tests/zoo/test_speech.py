import math
import wave

import numpy as np
import pytest

from akida_jax.zoo.datasets.speech import (
    EDGE_WORDS,
    load_speech_commands,
    mel_bands,
    mfcc,
    read_wav,
    to_levels,
)
from akida_jax.zoo.keyword_spotting import INPUT_SHAPE, WORDS

RATE = 16_000
# The first coefficient of 40 bands that all hold the floor 1e-12: sqrt(2/40) * 40 * ln(1e-12).
SILENT = math.sqrt(2 / 40) * 40 * math.log(1e-12)


def tone(hertz, amplitude=0.5):
    return (amplitude * np.sin(2 * np.pi * hertz * np.arange(RATE) / RATE)).astype(np.float32)


def noise(amplitude, seed=0):
    rng = np.random.default_rng(seed)
    return (amplitude * rng.uniform(-1, 1, RATE)).astype(np.float32)


def to_mel(hertz):
    return 1127 * math.log(1 + hertz / 700)


def naive_bands(samples):
    """Magnitudes in the mel bands of one window of 640 samples, by plain sums."""
    low, high = to_mel(20), to_mel(4000)
    corners = [low + i * (high - low) / 41 for i in range(42)]
    bands = [0.0] * 40
    place = np.arange(640)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * place / 640)
    for k in range(2, 257):
        angle = 2 * np.pi * k * place / 1024
        magnitude = math.hypot(
            math.fsum(samples * hann * np.cos(angle)), math.fsum(samples * hann * np.sin(angle))
        )
        mel = to_mel(k * RATE / 1024)
        for band in range(40):
            foot, peak, end = corners[band : band + 3]
            if foot <= mel < peak:
                bands[band] += magnitude * (mel - foot) / (peak - foot)
            elif peak <= mel < end:
                bands[band] += magnitude * (end - mel) / (end - peak)
    return bands


def naive_mfcc(samples):
    """The ten coefficients of one window, by plain sums."""
    logs = [math.log(max(value, 1e-12)) for value in naive_bands(samples)]
    return [
        math.sqrt(2 / 40) * math.fsum(
            value * math.cos(math.pi / 40 * i * (band + 0.5)) for band, value in enumerate(logs)
        )
        for i in range(10)
    ]  # fmt: skip


def logs_of(coefficients):
    """Return the logarithms of the bands as ten coefficients tell them, by the inverse sum."""
    shares = np.cos(np.pi / 40 * np.outer(np.arange(10), np.arange(40) + 0.5))
    shares[0] /= 2
    return math.sqrt(2 / 40) * coefficients @ shares


@pytest.mark.parametrize("window", [0, 17, 48])
def test_agrees_with_plain_sums(window):
    audio = noise(0.7) + tone(440, 0.2)
    found = mfcc(audio[None])[0, window]
    expected = naive_mfcc(audio[320 * window : 320 * window + 640].astype(float))
    # Sums of 640 float64 terms below 1 are good to 640 * 2**-53 = 7e-14; bands here are above
    # 0.01, so logarithms to 7e-12, coefficients, forty of them times 0.22, to 7e-11. What is
    # left is the rounding to float32, half of 2**-23 of a value below 64.
    assert abs(found).max() < 64
    np.testing.assert_allclose(found, expected, rtol=0, atol=64 * 2**-24 + 1e-10)


def test_shape_and_dtype_are_those_of_the_network():
    found = mfcc(np.stack([tone(300), tone(900), noise(0.1)]))
    assert found.dtype == np.float32
    levels = to_levels(found)
    assert levels.shape == (3, *INPUT_SHAPE)
    assert levels.dtype == np.uint8
    assert mfcc(np.zeros((0, RATE), np.int16)).shape == (0, 49, 10)


def test_bands_are_triangles():
    bands = mel_bands()
    assert bands.shape == (513, 40)
    assert (bands >= 0).all()
    assert (bands <= 1).all()
    # Constant, bins 0 and 1 (15.6 Hz), and all above 4000 Hz (bin 256) count as none.
    used = np.flatnonzero(bands.any(axis=1))
    assert used[0] == 2
    assert used[-1] <= 256
    # Between two peaks the two weights of a bin add up to 1, to a few roundings.
    inner = [k for k in range(513) if bands[k, 0] < 1 and to_mel(k * 15.625) > to_mel(20) + 50.9
             and to_mel(k * 15.625) < to_mel(4000) - 52]  # fmt: skip
    np.testing.assert_allclose(bands[inner].sum(axis=1), 1, rtol=0, atol=1e-12)


@pytest.mark.parametrize("band", [5, 12, 20, 31, 38])
def test_a_tone_peaks_in_its_band(band):
    spacing = (to_mel(4000) - to_mel(20)) / 41
    hertz = 700 * math.expm1((to_mel(20) + spacing * (band + 1)) / 1127)
    found = naive_bands(tone(hertz)[:640].astype(float))
    assert int(np.argmax(found)) == band
    # Ten coefficients are a smoothed picture of the forty bands: they resolve four bands.
    told = logs_of(mfcc((tone(hertz) + noise(1e-3))[None])[0, 20])
    assert abs(int(np.argmax(told)) - band) <= 2


def test_silence():
    found = mfcc(np.zeros((1, RATE), np.int16))
    # Float32 of -247: half of 2**-16; the sums are exact to 1e-12.
    np.testing.assert_allclose(found[..., 0], SILENT, rtol=0, atol=2**-17 + 1e-9)
    np.testing.assert_allclose(found[..., 1:], 0, rtol=0, atol=1e-9)
    assert to_levels(found)[0, 0, :, 0].tolist() == [0] + [175] * 9


def test_ten_times_louder_adds_to_the_first_coefficient_only():
    audio = noise(0.05)
    quiet, loud = mfcc(np.stack([audio, np.float32(10) * audio])).astype(float)
    # ln(10) in each of the bands; the product rounds samples by 2**-24 of themselves, and
    # coefficients below 64 are float32: 2 * 64 * 2**-24 and as much again for the samples.
    expected = np.zeros(10)
    expected[0] = math.sqrt(2 / 40) * 40 * math.log(10)
    np.testing.assert_allclose(loud - quiet, np.tile(expected, (49, 1)), rtol=0, atol=3e-5)


def test_whole_numbers_are_shares_of_32768():
    levels = np.round(noise(0.9) * 32_768).astype(np.int16)
    shares = (levels / 32_768).astype(np.float32)
    np.testing.assert_array_equal(mfcc(levels[None]), mfcc(shares[None]))


def test_clips_do_not_depend_on_their_neighbours():
    audio = np.stack([noise(0.3, seed) for seed in range(130)])
    found = mfcc(audio)
    # One matrix product of many rows may add in another order: 1e-10 as above, in float32.
    np.testing.assert_allclose(found[[3, 129]], mfcc(audio[[3, 129]]), rtol=0, atol=64 * 2**-23)


def test_the_range_holds_sound_from_the_last_bit_to_full_scale():
    loud = mfcc(np.sign(noise(1.0))[None])
    assert 35 < loud.max() <= 40
    hiss = np.random.default_rng(0).integers(0, 2, (1, RATE)).astype(np.int16)
    assert -65 < mfcc(hiss).min() < -60


def test_levels_by_hand():
    values = np.zeros((1, 49, 10), np.float32)
    values[0, 0] = [-247, -87.5, -87.25, -87.2, -86.75, 0, 39.5, 40, 41, 1000]
    # -87.25 is half a level: rounded to the even one, 0; -86.75 is one and a half: 2.
    expected = [0, 0, 0, 1, 2, 175, 254, 255, 255, 255]
    assert to_levels(values)[0, 0, :, 0].tolist() == expected


@pytest.mark.parametrize(
    ("audio", "message"),
    [
        (np.zeros((1, 15_999), np.int16), r"shape \(n, 16000\), got \(1, 15999\)"),
        (np.zeros(RATE, np.int16), r"shape \(n, 16000\), got \(16000,\)"),
        (np.zeros((1, RATE)), "int16 or float32, got float64"),
        (np.full((1, RATE), np.inf, np.float32), "must be finite"),
    ],
)
def test_other_audio_is_refused(audio, message):
    with pytest.raises(ValueError, match=message):
        mfcc(audio)


def test_coefficients_that_are_no_numbers_are_refused():
    with pytest.raises(ValueError, match="must be numbers"):
        to_levels(np.full((1, 49, 10), np.nan, np.float32))


def write_wav(path, samples, *, rate=RATE, channels=1, width=2):
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setframerate(rate)
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.writeframes(np.asarray(samples, "<i2").tobytes())
    return path


def test_wav_by_hand(tmp_path):
    path = write_wav(tmp_path / "a.wav", [1, -2, 32_767, -32_768])
    assert read_wav(path).tolist() == [1, -2, 32_767, -32_768]
    assert read_wav(path, max_samples=2).tolist() == [1, -2]


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ({"rate": 8000}, "must have 16000 Hz, 1 channel and 16 bits, got 8000 Hz, 1 and 16"),
        ({"channels": 2}, "got 16000 Hz, 2 and 16; convert it"),
        ({"width": 1}, "got 16000 Hz, 1 and 8"),
    ],
)
def test_other_sound_is_refused(tmp_path, form, message):
    path = write_wav(tmp_path / "a.wav", [0] * 8, **form)
    with pytest.raises(ValueError, match=message):
        read_wav(path)


@pytest.mark.parametrize("kept", [0, 10, 40, 50])
def test_a_damaged_wav_is_refused(tmp_path, kept):
    path = write_wav(tmp_path / "a.wav", range(8))
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ValueError, match=r"a.wav: (must be a whole WAV file|ends after)"):
        read_wav(path)


@pytest.fixture
def folder(tmp_path):
    """Words "no" and "yes" of two speakers each, an edge word, and noises."""
    for word, hertz in (("yes", 400), ("no", 1500), (EDGE_WORDS[0], 700)):
        for i, speaker in enumerate(("aa", "bb", "cc")):
            samples = np.round(32_767 * tone(hertz + 100 * i)).astype(np.int16)
            write_wav(tmp_path / word / f"{speaker}_nohash_0.wav", samples)
    write_wav(tmp_path / "yes" / "aa_nohash_1.wav", [9] * 100)
    write_wav(tmp_path / "yes" / "aa_nohash_2.wav", [9] * 20_000)
    for name, seconds in (("a", 1.0), ("b", 2.25), ("z", 1.5)):
        samples = np.random.default_rng(0).integers(-99, 99, int(seconds * RATE))
        write_wav(tmp_path / "_background_noise_" / f"{name}.wav", samples)
    (tmp_path / "testing_list.txt").write_text("yes/bb_nohash_0.wav\nno/bb_nohash_0.wav\n")
    (tmp_path / "validation_list.txt").write_text("yes/cc_nohash_0.wav\nno/cc_nohash_0.wav\n")
    return tmp_path


def test_the_split_is_that_of_the_lists(folder):
    data = load_speech_commands(folder)
    assert data.class_names == ("no", "yes", "silence")
    # aa trains, with its two other clips of "yes"; noises give one second, and three of b.
    assert data.train.y.tolist() == [0, 1, 1, 1] + [2] * 4
    assert data.test.y.tolist() == [0, 1, 2, 2]
    assert data.train.x.shape == (8, *INPUT_SHAPE)
    held = load_speech_commands(folder, part="validation")
    np.testing.assert_array_equal(held.train.x, data.train.x)
    expected = read_wav(folder / "no" / "cc_nohash_0.wav")
    np.testing.assert_array_equal(held.test.x[0], to_levels(mfcc(expected[None]))[0])


def test_clips_are_padded_and_cut(folder):
    data = load_speech_commands(folder)
    short = np.zeros((1, RATE), np.int16)
    short[0, :100] = 9
    np.testing.assert_array_equal(data.train.x[2], to_levels(mfcc(short))[0])
    whole = np.full((1, RATE), 9, np.int16)
    np.testing.assert_array_equal(data.train.x[3], to_levels(mfcc(whole))[0])


def test_words_are_chosen(folder):
    data = load_speech_commands(folder, words=("yes", EDGE_WORDS[0]))
    assert data.class_names == ("yes", EDGE_WORDS[0], "silence")
    assert data.train.y.tolist() == [0, 0, 0, 1, 1, 1] + [2] * 4
    # 35 words less three, and silence. Source: the data set's paper; the vendor's examples.
    assert 35 - len(EDGE_WORDS) + 1 == WORDS


@pytest.mark.parametrize("words", [("yes", "maybe"), (), ("yes", "yes"), ("_background_noise_",)])
def test_other_words_are_refused(folder, words):
    with pytest.raises(ValueError, match=r"different ones of backward, no, yes in .*, got "):
        load_speech_commands(folder, words=words)


def test_a_missing_set_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setenv("AKIDA_JAX_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"speech_commands/testing_list.txt.*v0.02.tar.gz"):
        load_speech_commands()


def test_wrong_folders_are_refused(folder):
    with pytest.raises(ValueError, match="part must be one of testing, validation, got 'train'"):
        load_speech_commands(folder, part="train")
    listing = folder / "testing_list.txt"
    listing.write_text("yes/bb_nohash_0.wav\nyes\n")
    with pytest.raises(
        ValueError, match=r"testing_list.txt, line 2: must be such as .*, got 'yes'"
    ):
        load_speech_commands(folder)
    listing.write_text("yes/dd_nohash_0.wav\n")
    with pytest.raises(FileNotFoundError, match=r"line 1: names yes/dd_nohash_0.wav, but there is"):
        load_speech_commands(folder)
    listing.write_text("")
    (folder / "_background_noise_" / "a.wav").unlink()
    write_wav(folder / "_background_noise_" / "b.wav", [0] * 99)
    with pytest.raises(ValueError, match=r"b.wav: must last a second or more, got 99 samples"):
        load_speech_commands(folder)
    (folder / "_background_noise_" / "b.wav").unlink()
    with pytest.raises(FileNotFoundError, match=r"_background_noise_ needs two or more .wav files"):
        load_speech_commands(folder)
    (folder / "validation_list.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"no .*validation_list.txt.*CC BY 4.0"):
        load_speech_commands(folder)
