"""Words of one second as mel-frequency cepstral coefficients, the input of DS-CNN.

The chain is that of TensorFlow's operations audio_spectrogram and mfcc, which the keyword
networks were published with: magnitudes of a windowed Fourier transform, 40 triangular mel bands,
natural logarithm, cosine transform. Source: Zhang et al., "Hello Edge", arXiv:1711.07128,
section 4 (windows of 40 ms every 20 ms, 10 coefficients); tensorflow/core/kernels, spectrogram.cc,
mfcc.cc, mfcc_mel_filterbank.cc and mfcc_dct.cc (facts).
"""

import functools
import os
import pathlib
import wave
from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
import scipy.fft
import scipy.signal
from jaxtyping import Float, Float32, Float64, Int16, Shaped, UInt8

from akida_jax.zoo.datasets.examples import Examples, LabelledSet
from akida_jax.zoo.datasets.places import Place, find_folder

Part = Literal["testing", "validation"]

#: Samples per second, and samples of one clip.
RATE_HZ = 16_000
WINDOW, STEP = 640, 320
N_WINDOWS = 1 + (RATE_HZ - WINDOW) // STEP
N_COEFFICIENTS = 10
#: Words that the vendor keeps for learning on the chip. Source: vendor's keyword examples.
EDGE_WORDS = ("backward", "follow", "forward")
SILENCE = "silence"
#: Levels are ``(coefficient - LOW) / LEVEL_STEP``, rounded and clipped to 0..255. The range,
#: -87.5 to 40, is a choice of this project: random signs at full scale, the loudest noise, reach
#: 40.0, and samples whose last bit alone is random -63; below is only digital silence, -247.
LOW, LEVEL_STEP = -87.5, 0.5

_N_BANDS = 40
_LOWEST_HZ, _HIGHEST_HZ = 20.0, 4000.0
# The smallest power of two that holds a window.
_N_FOURIER = 1024
_FLOOR = 1e-12
# Clips in one go: 128 spectra of 49 x 513 complex numbers take 51 MB.
_PIECE = 128
_INT16_RANGE = 32_768
_NOISE = "_background_noise_"
# The longest noise of the data set runs for 95 s.
_MAX_NOISE_S = 600
_PLACE = Place(
    name="speech-commands",
    usual="speech_commands",
    needed="testing_list.txt",
    source="Speech Commands v0.02 by Warden (Google, 2018, arXiv:1804.03209), CC BY 4.0: unpack "
    "download.tensorflow.org/data/speech_commands_v0.02.tar.gz (2.4 GB) into that folder",
)


def _mel(hertz: Float[np.ndarray, "*shape"] | float) -> Float[np.ndarray, "*shape"]:
    return 1127.0 * np.log1p(np.asarray(hertz) / 700.0)


@functools.cache
def mel_bands() -> Float64[np.ndarray, "bins bands"]:
    """Return the weight of each Fourier bin in each mel band.

    The 40 peaks and the two outer feet, 20 and 4000 Hz, are equally spaced in mel; a triangle
    rises from the peak below to 1 and falls to the peak above. Bins below 20 Hz count as none.

    Source: tensorflow/core/kernels/mfcc_mel_filterbank.cc.
    """
    hertz_per_bin = RATE_HZ / _N_FOURIER
    bins = np.arange(_N_FOURIER // 2 + 1)
    corners = np.linspace(_mel(_LOWEST_HZ), _mel(_HIGHEST_HZ), _N_BANDS + 2)
    mel = _mel(bins * hertz_per_bin)[:, None]
    rising = (mel - corners[:-2]) / (corners[1:-1] - corners[:-2])
    falling = (corners[2:] - mel) / (corners[2:] - corners[1:-1])
    weights = np.maximum(np.minimum(rising, falling), 0.0)
    first = int(1.5 + _LOWEST_HZ / hertz_per_bin)
    last = int(_HIGHEST_HZ / hertz_per_bin)
    weights[(bins < first) | (bins > last)] = 0.0
    weights.setflags(write=False)
    return weights


def mfcc(
    audio: Int16[np.ndarray, "n 16000"] | Float32[np.ndarray, "n 16000"],
) -> Float32[np.ndarray, "n 49 10"]:
    """Return the cepstral coefficients of clips of one second.

    Args:
      audio: samples at 16 kHz, int16, or float32 from -1 to 1.

    Raises:
      ValueError: if the shape or the dtype is another, or a sample is not finite.
    """
    if audio.ndim != 2 or audio.shape[1] != RATE_HZ:
        raise ValueError(f"audio must have shape (n, {RATE_HZ}), got {audio.shape}")
    if audio.dtype not in (np.int16, np.float32):
        raise ValueError(f"audio must be int16 or float32, got {audio.dtype}")
    if audio.dtype == np.float32 and not np.isfinite(audio).all():
        raise ValueError("audio must be finite numbers; some samples are not")
    coefficients = np.empty((len(audio), N_WINDOWS, N_COEFFICIENTS), np.float32)
    for first in range(0, len(audio), _PIECE):
        piece = slice(first, first + _PIECE)
        coefficients[piece] = _coefficients(audio[piece])
    return coefficients


def _coefficients(
    audio: Shaped[np.ndarray, "n 16000"],
) -> Float64[np.ndarray, "n 49 10"]:
    samples = audio.astype(np.float64)
    if audio.dtype == np.int16:
        samples /= _INT16_RANGE
    windows = np.lib.stride_tricks.sliding_window_view(samples, WINDOW, axis=1)[:, ::STEP]
    shaped = windows * scipy.signal.get_window("hann", WINDOW)
    bands = np.abs(scipy.fft.rfft(shaped, _N_FOURIER)) @ mel_bands()
    # Type 2 without norm carries a factor of 2; TensorFlow scales by sqrt(2 / bands), the first
    # coefficient too.
    cosines = scipy.fft.dct(np.log(np.maximum(bands, _FLOOR)), type=2)
    return cosines[..., :N_COEFFICIENTS] * (np.sqrt(2 / _N_BANDS) / 2)


def to_levels(
    coefficients: Float32[np.ndarray, "n 49 10"],
) -> UInt8[np.ndarray, "n 49 10 1"]:
    """Return coefficients as the 8-bit levels that the chip reads.

    Halves are rounded to even; what lies outside of -87.5 to 40 is clipped.

    Args:
      coefficients: of `mfcc`.

    Raises:
      ValueError: if one of them is not a number.
    """
    if np.isnan(coefficients).any():
        raise ValueError("coefficients must be numbers; some are not")
    levels = np.clip(np.rint((coefficients - LOW) / LEVEL_STEP), 0, 255)
    return levels.astype(np.uint8)[..., None]


def read_wav(
    path: str | os.PathLike[str], *, max_samples: int = RATE_HZ
) -> Int16[np.ndarray, " samples"]:
    """Return the samples of a WAV file, 16 kHz, mono, 16 bits, the first ones if it is longer.

    Args:
      path: of the file.
      max_samples: that are read.

    Raises:
      ValueError: if the file is of another form, or ends too early.
      FileNotFoundError: if there is no such file.
    """
    try:
        with wave.open(os.fspath(path)) as file:
            form = file.getframerate(), file.getnchannels(), 8 * file.getsampwidth()
            n_samples = min(file.getnframes(), max_samples)
            content = file.readframes(n_samples) if form == (RATE_HZ, 1, 16) else b""
    except (wave.Error, EOFError) as error:
        raise ValueError(f"{path}: must be a whole WAV file: {error}") from error
    if form != (RATE_HZ, 1, 16):
        raise ValueError(f"{path}: must have {RATE_HZ} Hz, 1 channel and 16 bits, got {form[0]} "
                         f"Hz, {form[1]} and {form[2]}; convert it")  # fmt: skip
    if len(content) != 2 * n_samples:
        raise ValueError(f"{path}: ends after {len(content)} of {2 * n_samples} bytes of sound")
    return np.frombuffer(content, "<i2").astype(np.int16)


def load_speech_commands(
    data_dir: str | os.PathLike[str] | None = None,
    *,
    words: Sequence[str] | None = None,
    part: Part = "testing",
) -> LabelledSet:
    """Load Speech Commands as the levels that DS-CNN reads.

    The split is that of the data set's lists, which keeps the clips of a speaker on one side:
    what neither list names trains, one of the lists is the test side. Clips shorter than a second
    end with zeros. The last class, "silence", is cut from the background noises, a second every
    half second: the last noise by name is the test side, the others train.

    Args:
      data_dir: folder with a folder of WAV files for each word, validation_list.txt and
        testing_list.txt, instead of ``speech_commands`` in ``$AKIDA_JAX_DATA``.
      words: classes, in this order, before "silence"; by default all of the data set but
        ``EDGE_WORDS``, by name, as the published network has them: 33 classes in all.
      part: list that is the test side.

    Raises:
      ValueError: if a file is damaged or of another rate, a list is wrong, or there is no such
        word or part.
      FileNotFoundError: if data are missing, saying how to get them.

    Source: Warden, arXiv:1804.03209, section 5; the vendor's keyword examples (classes).
    """
    if part not in get_args(Part):
        raise ValueError(f"part must be one of {', '.join(get_args(Part))}, got {part!r}")
    folder = find_folder(_PLACE, data_dir)
    held_out = {name: _read_list(folder, name) for name in get_args(Part)}
    chosen = _choose_words(folder, words)
    train: list[tuple[pathlib.Path, int]] = []
    test: list[tuple[pathlib.Path, int]] = []
    for label, word in enumerate(chosen):
        for path in sorted((folder / word).glob("*.wav")):
            clip = f"{word}/{path.name}"
            if clip in held_out[part]:
                test.append((path, label))
            elif not any(clip in listed for listed in held_out.values()):
                train.append((path, label))
    noises = sorted((folder / _NOISE).glob("*.wav"))
    if len(noises) < 2:
        raise FileNotFoundError(f"data set 'speech-commands': {folder / _NOISE} needs two or more "
                                f".wav files. The data: {_PLACE.source}")  # fmt: skip
    sides = [
        _read_clips(clips, silence, len(chosen))
        for clips, silence in ((train, noises[:-1]), (test, noises[-1:]))
    ]
    return LabelledSet(
        name="speech-commands", title="Speech Commands", class_names=(*chosen, SILENCE),
        train=sides[0], test=sides[1], source=_PLACE.source, terms="CC BY 4.0",
    )  # fmt: skip


def _read_list(folder: pathlib.Path, part: str) -> frozenset[str]:
    path = find_folder(_PLACE, folder, f"{part}_list.txt") / f"{part}_list.txt"
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    listed = [line.strip() for line in lines]
    for number, line in enumerate(listed, start=1):
        if line and (line.count("/") != 1 or not line.endswith(".wav")):
            raise ValueError(f"{path}, line {number}: must be such as 'yes/0a7c2a8d_nohash_0.wav', "
                             f"got {line!r}")  # fmt: skip
        if line and not (folder / line).is_file():
            raise FileNotFoundError(
                f"{path}, line {number}: names {line}, but there is no {folder / line}. "
                f"The data: {_PLACE.source}"
            )
    return frozenset(line for line in listed if line)


def _choose_words(folder: pathlib.Path, words: Sequence[str] | None) -> tuple[str, ...]:
    there = sorted({path.parent.name for path in folder.glob("[!_.]*/*.wav")})
    if words is None:
        words = [word for word in there if word not in EDGE_WORDS]
    unknown = [word for word in words if word not in there]
    if unknown or not words or len(set(words)) != len(words):
        raise ValueError(f"words must be different ones of {', '.join(there) or 'none'} "
                         f"in {folder}, got {', '.join(words) or 'none'}")  # fmt: skip
    return tuple(words)


def _read_clips(
    clips: list[tuple[pathlib.Path, int]], noises: list[pathlib.Path], silence: int
) -> Examples:
    """Return the levels of clips, and of the seconds of noises under the label ``silence``."""
    levels, labels = [], [label for _, label in clips]
    for first in range(0, len(clips), _PIECE):
        audio = np.zeros((len(clips[first : first + _PIECE]), RATE_HZ), np.int16)
        for row, (path, _) in zip(audio, clips[first : first + _PIECE], strict=True):
            samples = read_wav(path)
            row[: len(samples)] = samples
        levels.append(to_levels(mfcc(audio)))
    for path in noises:
        samples = read_wav(path, max_samples=_MAX_NOISE_S * RATE_HZ)
        if len(samples) < RATE_HZ:
            raise ValueError(f"{path}: must last a second or more, got {len(samples)} samples")
        seconds = np.lib.stride_tricks.sliding_window_view(samples, RATE_HZ)[:: RATE_HZ // 2]
        levels.append(to_levels(mfcc(seconds)))
        labels += [silence] * len(seconds)
    return Examples(np.concatenate(levels), np.array(labels, np.int32))
