"""Networks that reach every way through the kernel."""

import numpy as np

import akida_jax as aj
from akida_jax.executors import dense_potentials, run_layers
from tests.samples import random_variables


def wide_layers():
    """Return models whose widths, channels and filters fill tiles and blocks unevenly."""
    first = aj.InputData(input_shape=(9, 28, 10), input_bits=4)
    photo = aj.InputConvolutional(input_shape=(11, 33, 3), filters=33, kernel_size=5, stride=2,
                                  padding_value=255, pool="max")  # fmt: skip
    conv, separable = aj.Convolutional, aj.SeparableConvolutional
    return {
        "conv, 16 filters": [first, conv(filters=16, kernel_size=3)],
        "conv, 70 filters": [first, conv(filters=70, kernel_size=3, stride=2)],
        "conv 1x1": [first, conv(filters=50, kernel_size=1), conv(filters=20, kernel_size=1)],
        "conv 7x7": [first, conv(filters=40, kernel_size=7, pool="max")],
        "overlapping pool": [first, conv(filters=36, kernel_size=5, pool="max", pool_stride=1)],
        "separable": [first, conv(filters=50, kernel_size=3), separable(filters=90, kernel_size=3)],
        "separable, stride": [first, conv(filters=33, kernel_size=1),
                              separable(filters=16, kernel_size=3, stride=2, pool="max")],
        "separable 7x7": [first, separable(filters=20, kernel_size=7, pool="global_average")],
        "average": [first, conv(filters=48, kernel_size=3, pool="global_average")],
        "one channel": [aj.InputData(input_shape=(7, 5, 1), input_bits=4),
                        conv(filters=16, kernel_size=3)],
        "one channel, one column": [aj.InputData(input_shape=(9, 1, 1), input_bits=2),
                                    conv(filters=16, kernel_size=3)],
        "two channels": [aj.InputConvolutional(input_shape=(6, 7, 1), filters=9, kernel_size=3),
                         conv(filters=2, kernel_size=3), conv(filters=20, kernel_size=3)],
        "two-channel input": [aj.InputData(input_shape=(5, 3, 2), input_bits=4),
                              conv(filters=16, kernel_size=3)],
        "photo": [photo, separable(filters=40, kernel_size=5)],
        "dense": [first, conv(filters=5, kernel_size=3, stride=2), aj.FullyConnected(units=70)],
    }  # fmt: skip


def close(layers, name):
    """Return the model that ends in potentials which depend on all layers, with weights."""
    last = layers[-1]
    tail = []
    if isinstance(last, aj.FullyConnected) or getattr(last, "pool", None) == "global_average":
        tail = [aj.FullyConnected(units=17, activation=False)]
    elif last.kernel_size != 1 or last.pool:
        tail = [aj.Convolutional(filters=18, kernel_size=1, activation=False)]
    model = aj.Model([*layers, *tail])
    return model.with_variables(random_variables(np.random.default_rng(len(name)), model))


def levels(rng, model, n, *, density):
    """Return inputs of which a share is not zero."""
    x = rng.integers(1, 2**model.input_bits, (n, *model.input_shape), dtype=np.uint8)
    return np.where(rng.random(x.shape) < density, x, 0).astype(np.uint8)


def dense(model, x):
    """Return the potentials of the dense executor, itself compared with plain Python."""
    return np.asarray(run_layers(model.programs, x, dense_potentials)[1])
