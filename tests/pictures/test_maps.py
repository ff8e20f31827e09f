"""Heat maps of activity."""

import numpy as np
import pytest

from akida_jax.pictures import ActivityMap, count_maps, draw_maps, maps
from tests.samples import random_inputs, small_model, worked_out


@pytest.fixture(scope="module")
def thresholds():
    return worked_out()[0]


X = worked_out()[1]


def test_maps_by_hand(thresholds):
    first, last = count_maps(thresholds, X)
    assert (first.name, first.shape, first.samples) == ("first", (2, 3, 2), 2)
    # Position (0, 2) of the first sample has events in both channels.
    assert first.events.tolist() == [[2, 0, 2], [0, 0, 2]]
    assert first.events.dtype == np.int64
    assert first.mean.tolist() == [[1, 0, 1], [0, 0, 1]]
    assert first.sparsity == 1 - 6 / 24
    assert (last.name, last.shape) == ("last", (2, 3, 1))
    assert last.events.tolist() == [[2, 0, 1], [0, 0, 2]]
    assert last.sparsity == 1 - 5 / 12
    assert (first.fires, last.fires) == (True, False)


def test_maps_hold_the_events_of_the_activity(rng, monkeypatch):
    """A law, over pieces too."""
    model = small_model(rng)
    x = random_inputs(rng, model.input_shape, 255)
    whole = count_maps(model, x)
    monkeypatch.setattr(maps, "_AT_ONCE", 2)
    pieces = count_maps(model, x)
    activity = model.activity(x)
    assert [m.name for m in whole] == list(activity)
    for one, other, layer in zip(whole, pieces, activity.values(), strict=True):
        np.testing.assert_array_equal(one.events, other.events, strict=True)
        assert one.events.sum() == layer.events_out
        assert one.sparsity == layer.sparsity
        assert one.samples == other.samples == layer.samples


def test_what_is_drawn(thresholds):
    counted = count_maps(thresholds, X)
    figure = draw_maps(counted, "$ both")
    panels = [axis for axis in figure.axes if axis.images]
    assert [axis.get_title() for axis in panels] == [
        "first\n2x3x2, 75.0% zeros", "last\n2x3x1 potentials, 58.3% zeros",
    ]  # fmt: skip
    for axis, one in zip(panels, counted, strict=True):
        (image,) = axis.images
        np.testing.assert_array_equal(image.get_array(), one.mean)
        assert image.get_clim() == (0, one.mean.max())
    assert (
        figure.get_suptitle()
        == "\\$ both\nmean number of non-zero outputs per position, all channels"
    )


def test_the_scale_of_one_position_ends_at_all_channels():
    one = ActivityMap(name="dense", shape=(1, 1, 8), samples=4, events=np.array([[6]]), fires=True)
    figure = draw_maps([one], "one")
    assert figure.axes[0].images[0].get_clim() == (0, 8)


def test_silence_and_many_layers_are_drawn(thresholds):
    counted = count_maps(thresholds, X * 0)
    assert [one.sparsity for one in counted] == [1, 1]
    figure = draw_maps(counted * 5, "many")
    panels = [axis for axis in figure.axes if axis.images]
    assert len(panels) == 10
    assert {axis.images[0].get_clim() for axis in panels} == {(0, 1)}


def test_no_input_has_no_maps(thresholds):
    with pytest.raises(ValueError, match="no input; activity needs at least one"):
        count_maps(thresholds, X[:0])
    with pytest.raises(ValueError, match=r"takes 2-bit inputs in 0\.\.3, got 7"):
        count_maps(thresholds, X + 4)
