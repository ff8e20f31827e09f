"""Learners, patterns and a backbone that several test files use."""

import numpy as np

import akida_jax as aj

N_INPUTS = 60
SAMPLE = np.ones((1, N_INPUTS), np.uint8)


def make(**changes):
    given = {"num_weights": 20, "num_classes": 3, "neurons_per_class": 2, "seed": 5, **changes}
    return aj.EdgeLearner(**given)


def assert_same_state(a, b):
    assert a.settings == b.settings
    for x, y in zip(a.state[:-1], b.state[:-1], strict=True):
        np.testing.assert_array_equal(x, y, strict=True)
    assert [int(v) for v in a.state.rule] == [int(v) for v in b.state.rule]


def backbone(act_bits=1, activation=True):
    """A small model whose last layer gives spikes of 3x4x5 inputs."""
    model = aj.Model(
        [
            aj.InputData(input_shape=(3, 4, 2), input_bits=4),
            aj.Convolutional(filters=5, kernel_size=3, act_bits=act_bits, activation=activation,
                             name="spikes"),
        ]
    )  # fmt: skip
    rng = np.random.default_rng(1)
    kernel = rng.integers(-7, 8, (3, 3, 2, 5)).astype(np.int8)
    return model.with_variables({"spikes": {"kernel": kernel}})


def images(rng, n=30):
    return rng.integers(0, 16, (n, 3, 4, 2)).astype(np.uint8)
