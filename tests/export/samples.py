"""Models with every type, window and pool of a layer, for exports."""

import numpy as np

import akida_jax as aj
from tests.samples import expect, random_inputs, random_variables

_EVENTS = {"input_shape": (6, 7, 3)}
_TAIL = aj.Convolutional(filters=2, kernel_size=1, activation=False)


def _images(shape, **options):
    return aj.InputConvolutional(input_shape=shape, filters=3, **options)


MODELS = {
    "image-k3-s2": [_images((7, 8, 3), kernel_size=3, stride=2, padding_value=128)],
    "image-k3-s1-max": [_images((6, 7, 1), kernel_size=3, pool="max", padding_value=255)],
    "image-k5-s3": [_images((9, 8, 3), kernel_size=5, stride=3, act_bits=2)],
    "image-k7-s2-valid": [_images((11, 10, 3), kernel_size=7, stride=2, padding="valid",
                                  activation=False, pool="max", pool_size=(1, 2))],
    "image-k5-s1-valid-max": [_images((9, 8, 1), kernel_size=5, padding="valid", pool="max",
                                      pool_size=(2, 1), act_bits=1)],
    "conv-k1-average": [
        aj.InputData(**_EVENTS),
        aj.Convolutional(filters=4, kernel_size=1, pool="global_average", act_bits=2),
    ],
    "conv-k3-s2": [
        aj.InputData(**_EVENTS, input_bits=2),
        aj.Convolutional(filters=4, kernel_size=3, stride=2, weight_bits=2),
    ],
    "conv-k5-max-s1": [
        aj.InputData(**_EVENTS),
        aj.Convolutional(filters=4, kernel_size=5, pool="max", pool_stride=1, act_bits=1),
        _TAIL,
    ],
    "conv-k7-on-few-positions": [
        aj.InputData(input_shape=(2, 2, 3), input_bits=1),
        aj.Convolutional(filters=4, kernel_size=7, activation=False),
    ],
    "separable-k3-s2-max": [
        aj.InputData(**_EVENTS),
        aj.SeparableConvolutional(filters=4, kernel_size=3, stride=2, pool="max"),
        _TAIL,
    ],
    "separable-k5-average": [
        aj.InputData(**_EVENTS),
        aj.SeparableConvolutional(filters=4, kernel_size=5, weight_bits=2,
                                  pool="global_average", activation=False),
    ],
    # Sums of 500 channels reach 500 * 49 * 15 * 7 * 7 = 18 million, beyond 2**24.
    "separable-k7-in-groups": [
        aj.InputData(input_shape=(3, 2, 500)),
        aj.SeparableConvolutional(filters=3, kernel_size=7, pool="max", pool_stride=1),
        _TAIL,
    ],
    "separable-k7-in-groups-average": [
        aj.InputData(input_shape=(3, 2, 500)),
        aj.SeparableConvolutional(filters=3, kernel_size=7, pool="global_average",
                                  activation=False),
    ],
    "dense-on-a-map": [
        aj.InputData(input_shape=(3, 5, 7)),
        aj.FullyConnected(units=4, activation=False),
    ],
    "dense-1-bit": [
        aj.InputData(input_shape=(1, 1, 33), input_bits=1),
        aj.FullyConnected(units=4, weight_bits=1, act_bits=1),
        aj.FullyConnected(units=3, act_bits=2),
    ],
}  # fmt: skip


def with_weights(name, rng, weights="random"):
    """Return a model of that name, inputs for it, and its output in plain Python."""
    model = aj.Model(MODELS[name])
    model = model.with_variables(random_variables(rng, model, weights))
    x = random_inputs(rng, model.input_shape, 2**model.input_bits - 1)
    out = expect(model, x)[2]
    return model, x, out.astype(np.uint8 if model.layers[-1].activation else np.int32)


def beyond_float32():
    """Return a model, one input and its output, which float32 does not hold."""
    model = aj.Model([
        aj.InputData(input_shape=(7, 7, 500)),
        aj.SeparableConvolutional(filters=1, kernel_size=7, activation=False, name="wide"),
    ])  # fmt: skip
    kernels = {"kernel": np.full((7, 7, 1, 500), 7), "pointwise": np.full((500, 1), -7)}
    kernels["pointwise"][0] = -6
    model = model.with_variables({"wide": {k: v.astype(np.int8) for k, v in kernels.items()}})
    x = np.full((1, 7, 7, 500), 15, np.uint8)
    expected = expect(model, x)[2]
    # The middle sees all 49 taps: 499 channels of 49 * 15 * 7 * 7, one of 49 * 15 * 7 * 6.
    assert expected[0, 3, 3, 0] == -(499 * 36015 + 30870) == -18002355
    assert int(np.float32(18002355)) != 18002355
    return model, x, expected
