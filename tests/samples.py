"""Random integer models and inputs, and how to run them on both sides of a comparison."""

import functools
import math

import jax
import numpy as np

import akida_jax as aj
from akida_jax.executors import run_layers
from tests import reference

WEIGHTS = ("random", "highest", "lowest")


def random_inputs(rng, shape, limit):
    """Return five samples: sparse, dense, empty, full, and one with a single event."""
    x = rng.integers(0, limit + 1, (5, *shape), dtype=np.uint8)
    x[0] *= rng.random(shape) < 0.15
    x[2] = 0
    x[3] = limit
    x[4] *= 0
    x[4, -1, -1, -1] = limit  # the corner that uneven padding touches
    return x


def random_variables(rng, model, weights="random"):
    """Return weights of the given kind, and thresholds and steps that spread the levels."""
    result = {}
    limit_in = 2**model.input_bits - 1
    for layer in model.layers:
        if isinstance(layer, aj.InputData):
            continue
        arrays = {}
        low, high = (0, 1) if layer.weight_bits == 1 else symmetric(layer.weight_bits)
        blank = model.variables[layer.name]
        fan_in = spread = 1.0
        for key in ("kernel", "pointwise"):
            if key in blank:
                shape = blank[key].shape
                value = {"random": None, "highest": high, "lowest": low}[weights]
                drawn = rng.integers(low, high + 1, shape)
                arrays[key] = (drawn if value is None else np.full(shape, value)).astype(np.int8)
                fan_in *= math.prod(shape[:-1])
                spread *= high * 0.6
        if weights != "random":
            fan_in **= 2
        spread *= 0.6 * limit_in * fan_in**0.5
        n = layer.neurons
        threshold = rng.integers(-spread * 0.3 - 2, spread * 0.5 + 2, n)
        arrays["threshold"] = np.clip(threshold, -(2**19), 2**19 - 1).astype(np.int32)
        step = spread / 2**4 * rng.uniform(0.3, 2.0, n)
        arrays["step"] = np.clip(step, 1 / 16, 65535).astype(np.float32)
        result[layer.name] = arrays
        limit_in = 2**layer.act_bits - 1
    return result


def symmetric(bits):
    return -(2 ** (bits - 1) - 1), 2 ** (bits - 1) - 1


@functools.partial(jax.jit, static_argnums=2)
def execute(programs, x, potentials):
    """Return levels between the layers (float32), last potentials and output (int32)."""
    inputs, last = run_layers(programs, x, potentials)
    out = programs[-1].fire(last) if programs[-1].spec.activation else last
    return inputs[1:], last, out


def expect(model, x):
    """Return what `execute` must return, from plain Python."""
    samples = [reference.run(model.layers, model.variables, image) for image in x]
    levels, last, out = zip(*samples, strict=True)
    between = [np.array(one, np.float32) for one in zip(*levels, strict=True)]
    return between, np.array(last, np.int32), np.array(out, np.int32)


def assert_same(actual, expected):
    """Compare the triples of `execute` and `expect`: values, shapes, dtypes."""
    for a, b in zip(
        [*actual[0], actual[1], actual[2]], [*expected[0], expected[1], expected[2]], strict=True
    ):
        a = np.asarray(a)
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b, strict=True)


def small_model(rng, **last):
    """Return a model with every type of layer."""
    model = aj.Model([
        aj.InputConvolutional(input_shape=(9, 8, 3), filters=4, kernel_size=3, stride=2,
                              padding_value=128, name="conv_0"),
        aj.Convolutional(filters=6, kernel_size=3, pool="max", pool_stride=2, act_bits=2),
        aj.SeparableConvolutional(filters=5, kernel_size=3, weight_bits=2),
        aj.Convolutional(filters=7, kernel_size=1, pool="global_average", act_bits=1),
        aj.FullyConnected(units=3, activation=False, **last),
    ])  # fmt: skip
    return model.with_variables(random_variables(rng, model))


def worked_out():
    """Return a model of two layers, and two inputs whose outputs are easily worked out by hand.

    The first layer passes channel 0 on as it is and says in its channel 1 whether channel 1 is 2 or
    more; the second returns the sum of both as potentials.
    """
    model = aj.Model([
        aj.InputData(input_shape=(2, 3, 2), input_bits=2),
        aj.Convolutional(filters=2, kernel_size=1, act_bits=2, name="first"),
        aj.Convolutional(filters=1, kernel_size=1, activation=False, name="last"),
    ])  # fmt: skip
    model = model.with_variables({
        # With step 1 and 2 bits a level is ceil((potential - threshold) / 4).
        "first": {"kernel": np.array([[[[4, 0], [0, 1]]]], np.int8),
                  "threshold": np.array([0, 1], np.int32), "step": np.ones(2, np.float32)},
        "last": {"kernel": np.ones((1, 1, 2, 1), np.int8)},
    })  # fmt: skip
    x = [[[[1, 0], [0, 0], [3, 2]], [[0, 1], [0, 0], [0, 3]]],
         [[[2, 0], [0, 0], [0, 0]], [[0, 0], [0, 0], [0, 2]]]]  # fmt: skip
    return model, np.array(x, np.uint8)
