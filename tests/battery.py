"""Layers of every type, kernel, stride, padding, pool and width, for what runs them."""

import itertools

import pytest

import akida_jax as aj

# Kernel, stride, padding, input shape, padding value, weight bits, activation bits (0 for
# no activation), pool.
_INPUT_CONVOLUTIONS = [
    (3, 1, "same", (6, 7, 1), 0, 8, 4, None),
    (3, 2, "same", (7, 8, 3), 128, 8, 4, None),
    (3, 2, "same", (6, 6, 3), 255, 8, 4, (2, 2)),
    (3, 2, "same", (9, 9, 1), 255, 8, 0, (2, 2)),
    (3, 3, "same", (8, 7, 3), 255, 4, 2, None),
    (5, 1, "same", (5, 6, 3), 128, 2, 1, (1, 2)),
    (5, 2, "same", (8, 9, 1), 255, 8, 4, (2, 1)),
    (5, 3, "same", (9, 8, 3), 0, 8, 2, (2, 2)),
    (7, 1, "same", (6, 5, 3), 255, 8, 4, (2, 2)),
    (7, 2, "same", (7, 8, 1), 128, 8, 0, None),
    (7, 3, "same", (10, 9, 3), 128, 8, 1, None),
    (3, 1, "valid", (5, 6, 3), 128, 8, 4, (2, 2)),
    (3, 2, "valid", (8, 9, 3), 255, 8, 4, None),
    (3, 3, "valid", (9, 10, 1), 0, 4, 2, (1, 2)),
    (5, 1, "valid", (7, 8, 1), 0, 8, 4, (2, 1)),
    (5, 2, "valid", (9, 10, 3), 128, 2, 4, None),
    (5, 3, "valid", (11, 9, 3), 0, 8, 0, None),
    (7, 1, "valid", (9, 8, 1), 255, 8, 1, None),
    (7, 2, "valid", (10, 11, 3), 0, 8, 4, (2, 2)),
    (7, 3, "valid", (10, 10, 3), 0, 8, 2, None),
]
_INPUT_FAST = [(3, 2, "same"), (5, 2, "same"), (7, 1, "same"), (3, 1, "valid")]
_TAIL = (aj.Convolutional(filters=2, kernel_size=1, activation=False),)
_POOLS = {
    "plain": ({}, ()),
    "max1": ({"pool": "max", "pool_stride": 1}, _TAIL),
    "max2": ({"pool": "max", "pool_size": 2, "pool_stride": (2, 2)}, _TAIL),
    "average": ({"pool": "global_average"}, ()),
}
_WINDOWS = {"conv": [(1, 1), (3, 1), (3, 2), (5, 1), (7, 1)],
            "separable": [(3, 1), (3, 2), (5, 1), (7, 1)]}  # fmt: skip
_EVENT_FAST = ["conv-k1-s1-average", "conv-k3-s1-plain", "conv-k3-s1-max1", "conv-k3-s2-max2",
               "conv-k5-s1-plain", "separable-k3-s1-plain", "separable-k3-s1-max2",
               "separable-k3-s2-plain", "separable-k3-s2-average",
               "separable-k7-s1-average"]  # fmt: skip
_WIDTHS = [(4, 4, 4), (4, 4, 1), (4, 2, 2), (2, 4, 4), (1, 2, 2), (4, 4, 2), (1, 4, 1)]
_SHAPES = [(5, 7, 3), (6, 4, 2), (7, 5, 1), (4, 4, 3), (3, 6, 2)]
_DENSE = [
    ((1, 1, 40), 4, 4, 4),
    ((1, 1, 33), 1, 1, 1),
    ((3, 5, 7), 4, 2, 2),
    ((4, 3, 6), 2, 4, 0),
    ((1, 1, 64), 1, 1, 0),
]


def _marked(layers, name, *, slow):
    return pytest.param(layers, id=name, marks=[pytest.mark.slow] if slow else [])


def _input_convolutions():
    for k, stride, padding, shape, value, weight_bits, act_bits, pool in _INPUT_CONVOLUTIONS:
        layer = aj.InputConvolutional(
            input_shape=shape, filters=3, kernel_size=k, stride=stride, padding=padding,
            padding_value=value, weight_bits=weight_bits, act_bits=act_bits or 4,
            activation=act_bits > 0, pool="max" if pool else None, pool_size=pool or 2,
        )  # fmt: skip
        name = f"input-k{k}-s{stride}-{padding}-{'x'.join(map(str, shape))}"
        yield _marked([layer], name, slow=(k, stride, padding) not in _INPUT_FAST)


def _event_convolutions():
    # The lengths of the lists are coprime, so that widths, shapes and pools mix.
    turn = itertools.count(1)
    for kind, windows in _WINDOWS.items():
        type_ = {"conv": aj.Convolutional, "separable": aj.SeparableConvolutional}[kind]
        for (k, stride), (pool, (options, tail)) in itertools.product(windows, _POOLS.items()):
            i = next(turn)
            input_bits, weight_bits, act_bits = _WIDTHS[i % len(_WIDTHS)]
            layer = type_(
                filters=3, kernel_size=k, stride=stride, weight_bits=weight_bits,
                act_bits=act_bits, activation=bool(tail) or i % 3 > 0, **options,
            )  # fmt: skip
            first = aj.InputData(input_shape=_SHAPES[i % len(_SHAPES)], input_bits=input_bits)
            name = f"{kind}-k{k}-s{stride}-{pool}"
            yield _marked([first, layer, *tail], name, slow=name not in _EVENT_FAST)


def _dense_layers():
    for shape, input_bits, weight_bits, act_bits in _DENSE:
        first = aj.InputData(input_shape=shape, input_bits=input_bits)
        layer = aj.FullyConnected(
            units=4, weight_bits=weight_bits, act_bits=act_bits or 4, activation=act_bits > 0
        )
        name = f"dense-{'x'.join(map(str, shape))}-w{weight_bits}"
        yield _marked([first, layer], name, slow=False)


BATTERY = [*_input_convolutions(), *_event_convolutions(), *_dense_layers()]
"""Parameters of a test of layers: every type, kernel, stride, padding, pool and width."""


def random_model(rng):
    """Return a model of five or six layers without weights."""

    def pick(*choices):
        return choices[rng.integers(len(choices))]

    size = (int(rng.integers(7, 11)), int(rng.integers(7, 11)))
    layers = [
        pick(
            aj.InputData(input_shape=(*size, 3), input_bits=pick(1, 2, 4)),
            aj.InputConvolutional(input_shape=(*size, 3), filters=4, kernel_size=3,
                                  stride=pick(1, 2), padding_value=pick(0, 99)),
        )
    ]  # fmt: skip
    for _ in range(3):
        widths = {"weight_bits": pick(2, 4), "act_bits": pick(1, 2, 4)}
        type_ = pick(aj.Convolutional, aj.SeparableConvolutional)
        layers.append(type_(filters=int(rng.integers(2, 7)), kernel_size=3, **widths,
                            stride=pick(1, 2), pool=pick(None, "max"),
                            pool_stride=pick(1, 2)))  # fmt: skip
    layers.append(aj.Convolutional(filters=5, kernel_size=pick(1, 3)))
    return aj.Model([*layers, aj.FullyConnected(units=6, activation=pick(True, False))])
