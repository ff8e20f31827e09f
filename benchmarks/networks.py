"""Networks and inputs that the benchmarks run."""

import functools
import os
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import akida_jax as aj
from akida_jax import quant, zoo
from akida_jax.executors import EXECUTORS, run_layers
from akida_jax.zoo import datasets

LARGEST_BATCH = 128


class Case(NamedTuple):
    """A network with inputs.

    Attributes:
      title: what it is, and what its inputs are.
      model: integers.
      x: `LARGEST_BATCH` inputs.
      trained: whether the weights are; else they are random, quantized and calibrated on ``x``.
    """

    title: str
    model: aj.Model
    x: np.ndarray
    trained: bool


def akidanet() -> Case:
    """AkidaNet 0.5 at 224x224 with a thousand classes, on noise."""
    x = np.random.default_rng(0).integers(0, 256, (LARGEST_BATCH, 224, 224, 3)).astype(np.uint8)
    options: dict[str, Any] = {"alpha": 0.5, "classes": 1000, "input_shape": (224, 224, 3)}
    return Case("AkidaNet 0.5/224, noise", _random("akidanet", x[:8], **options), x, False)


def gestures(name: str) -> Case:
    """Akida Tiny or Small on windows of 25 ms of DVS128 Gesture, or of synthetic gestures."""
    data = "clips" if os.environ.get("AKIDA_JAX_DATA") else "synthetic"
    x = _frames(data, window_ms=25.0)
    title = {"akida_tiny": "Akida Tiny", "akida_small": "Akida Small"}[name]
    source = {"clips": "DVS128 clips", "synthetic": "synthetic gestures"}[data]
    return Case(f"{title}, {source} of 25 ms", _random(name, x), x, False)


def digits() -> Case:
    """Akida Small trained on N-MNIST, on its test recordings; needs them."""
    return Case("Akida Small, N-MNIST of 300 ms", zoo.pretrained("akida_small_nmnist"),
                _frames("nmnist", window_ms=300.0), True)  # fmt: skip


def clothes() -> Case:
    """AkidaNet trained on Fashion-MNIST, on its test images; needs them."""
    x = datasets.load_images("fashion-mnist", size=32).test.x[:LARGEST_BATCH]
    return Case("AkidaNet 0.5/32, Fashion-MNIST", zoo.pretrained("akidanet_fashion"), x, True)


CASES: dict[str, Callable[[], Case]] = {
    "akidanet": akidanet,
    "akida_tiny": functools.partial(gestures, "akida_tiny"),
    "akida_small": functools.partial(gestures, "akida_small"),
    "nmnist": digits,
    "fashion": clothes,
}


def compile_executor(jit: Callable[..., Any], executor: str) -> Any:
    """Return a jitted function of programs and levels that gives the last layer's potentials."""
    return jit(lambda programs, x: run_layers(programs, x, EXECUTORS[executor])[1])


def _random(name: str, x: np.ndarray, **options: Any) -> aj.Model:
    return aj.convert(quant.quantize(zoo.build(name, **options), calibration=x))


def _frames(data: str, *, window_ms: float) -> np.ndarray:
    recordings = datasets.load_recordings(data, n_train_per_class=1, n_test_per_class=3)
    x = datasets.event_frames(recordings, window_ms=window_ms).test_x
    return np.resize(x, (LARGEST_BATCH, *x.shape[1:]))
