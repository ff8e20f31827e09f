"""Results that nothing was trained for."""

import numpy as np

from experiments.records import provenance


def gesture_result(model="akida_tiny", float_epochs=3, quantized_epochs=2):
    """Return a result of dvs_gesture, with three classes."""
    phases = ["float"] * float_epochs + ["quantized"] * quantized_epochs
    history = [
        {"epoch": i + 1, "phase": phase, "loss": 2 / (i + 1), "test_accuracy": 0.5 + i / 20,
         "seconds": 1.0}
        for i, phase in enumerate(phases)
    ]  # fmt: skip
    layers = ["conv_0", "separable_1", "dense_2"]
    return {
        "experiment": "dvs_gesture",
        "title": "Akida Tiny on made-up data",
        "config": {"model": model},
        **provenance.describe_machine(),
        "n_train": 60,
        "n_test": 12,
        "class_names": ["hand_clap", "arm_roll", "air_drums"],
        "accuracy": {"float": 0.8 if float_epochs else None, "quantized": 0.75, "integer": 0.75},
        "potentials_compared": 36,
        "potentials_equal": {"dense": True, "event": True},
        "sparsity": dict.fromkeys(layers, 0.9),
        "synaptic_operations_per_window": dict.fromkeys(layers, 12_345.5),
        "macs_per_window": dict.fromkeys(layers, 100_000),
        "confusion": [[4, 0, 0], [1, 3, 0], [0, 2, 2]],
        "history": history,
    }


def window_result(windows=(20.0, 100.0), seeds=(0, 1)):
    """Return a result of dvs_windows; accuracy rises with window, model and seed."""
    points = [
        {
            "model": model,
            "seed": seed,
            "window_ms": window,
            "weights": weights,
            "accuracy": {"float": 0.5 + window / 250 + seed / 50, "integer": 0.4 + window / 250},
        }
        for seed in seeds
        for model, weights in (("akida_tiny", 137_248), ("akida_small", 316_096))
        for window in windows
    ]
    return {"experiment": "dvs_windows", "title": "made-up data", "points": points}


def gallery(rng, classes=3, absent=()):
    """Return frames and labels of every class but the absent ones."""
    y = np.repeat([c for c in range(classes) if c not in absent], 4).astype(np.int32)
    x = rng.poisson(0.3, (len(y), 32, 32, 10)).clip(0, 15).astype(np.uint8)
    return x, y
