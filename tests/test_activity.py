"""Counts of events and synaptic operations against plain counting loops."""

import itertools

import numpy as np
import pytest

import akida_jax as aj
from tests.reference import convolve_depthwise, windows
from tests.samples import expect, random_inputs, random_variables, small_model


def count_taps(layer, image):
    """Count, event by event, the taps that carry it to an output."""
    height, width, _ = image.shape
    rows = windows(height, layer.kernel_size, layer.stride, layer.padding)
    columns = windows(width, layer.kernel_size, layer.stride, layer.padding)
    taps = 0
    for y, x, c in itertools.product(*map(range, image.shape)):
        if image[y, x, c]:
            reached = [
                (top, left) for top in rows for left in columns
                if 0 <= y - top < layer.kernel_size and 0 <= x - left < layer.kernel_size
            ]  # fmt: skip
            taps += len(reached)
    return taps


def count_operations(layer, variables, image):
    if isinstance(layer, aj.FullyConnected):
        return int(np.count_nonzero(image)) * layer.units
    taps = count_taps(layer, image)
    if not isinstance(layer, aj.SeparableConvolutional):
        return taps * layer.filters
    sums = convolve_depthwise(
        image.astype(int).tolist(), variables["kernel"].tolist(), layer.stride
    )
    return taps + int(np.count_nonzero(sums)) * layer.filters


LAYERS = {
    "image same": [aj.InputConvolutional(input_shape=(6, 7, 3), filters=3, kernel_size=5, stride=2,
                                         padding_value=99)],
    "image valid": [aj.InputConvolutional(input_shape=(8, 7, 1), filters=2, kernel_size=3,
                                          stride=3, padding="valid", pool="max",
                                          pool_size=(1, 2))],
    "conv": [aj.InputData(input_shape=(5, 4, 2)),
             aj.Convolutional(filters=3, kernel_size=7, activation=False)],
    "conv stride": [aj.InputData(input_shape=(6, 5, 2)),
                    aj.Convolutional(filters=3, kernel_size=3, stride=2, pool="global_average")],
    "separable": [aj.InputData(input_shape=(6, 5, 3)),
                  aj.SeparableConvolutional(filters=4, kernel_size=3, stride=2)],
    "separable 5": [aj.InputData(input_shape=(4, 5, 3)),
                    aj.SeparableConvolutional(filters=2, kernel_size=5)],
    "dense": [aj.InputData(input_shape=(2, 3, 4)), aj.FullyConnected(units=5)],
}  # fmt: skip


@pytest.mark.parametrize("name", LAYERS)
def test_one_layer_counts_like_loops(name, rng):
    model = aj.Model(LAYERS[name])
    model = model.with_variables(random_variables(rng, model))
    layer = model.layers[-1]
    x = random_inputs(rng, model.input_shape, 2**model.input_bits - 1)
    counted = model.activity(x)[layer.name]
    assert model.activity(x, executor="event")[layer.name] == counted
    variables = model.variables[layer.name]
    assert counted.synaptic_operations == sum(
        count_operations(layer, variables, image) for image in x
    )
    out = expect(model, x)[2]
    assert counted.samples == 5
    assert counted.events_in == np.count_nonzero(x)
    assert counted.events_out == np.count_nonzero(out)
    assert counted.values_out == out.size
    assert counted.sparsity == pytest.approx(1 - np.count_nonzero(out) / out.size)


def test_a_full_input_needs_every_multiplication_but_those_of_the_border():
    model = aj.Model([
        aj.InputData(input_shape=(4, 5, 2)), aj.Convolutional(filters=3, kernel_size=3),
    ])  # fmt: skip
    counted = model.activity(np.full((1, 4, 5, 2), 15, np.uint8))["conv_0"]
    assert counted.macs == 4 * 5 * 9 * 2 * 3
    # Rows have 3*4 - 2 taps inside, columns 3*5 - 2.
    assert counted.synaptic_operations == 10 * 13 * 2 * 3


def test_layers_pass_their_events_on(rng):
    model = small_model(rng)
    x = random_inputs(rng, model.input_shape, 255)
    between, last, _ = expect(model, x)
    activity = model.activity(x)
    maps = [x, *between, last]
    assert list(activity) == [layer.name for layer in model.layers]
    for index, (layer, counted) in enumerate(zip(model.layers, activity.values(), strict=True)):
        assert counted.events_in == np.count_nonzero(maps[index])
        assert counted.events_out == np.count_nonzero(maps[index + 1])
        assert counted.synaptic_operations == sum(
            count_operations(layer, model.variables[layer.name], image)
            for image in maps[index].astype(int)
        )
    assert activity.sparsity == {name: layer.sparsity for name, layer in activity.items()}


def test_no_inputs_count_nothing():
    model = aj.Model([aj.InputData(input_shape=(2, 2, 1)), aj.FullyConnected(units=2)])
    counted = model.activity(np.zeros((0, 2, 2, 1), np.uint8))["dense_0"]
    assert (counted.samples, counted.events_in, counted.macs, counted.sparsity) == (0, 0, 0, 0.0)


def test_the_table_of_an_activity(golden):
    layer = aj.LayerActivity(samples=2, events_in=1234, events_out=56, values_out=100,
                             synaptic_operations=7_000_000, macs=28_000_000)  # fmt: skip
    nothing = aj.LayerActivity(samples=0, events_in=0, events_out=0, values_out=0,
                               synaptic_operations=0, macs=0)  # fmt: skip
    golden("activity.txt", str(aj.Activity({"conv_0": layer, "dense_1": nothing})))
