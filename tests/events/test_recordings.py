import numpy as np
import pytest

from akida_jax.events import EVENT_DTYPE, as_events, cut_events


def make(rows, dtype=EVENT_DTYPE):
    return np.array(rows, dtype)


ROWS = [(1, 2, 10, 1), (3, 4, 10, 0), (5, 6, 30, 1)]


@pytest.mark.parametrize(
    "p_type", [np.bool_, np.uint8, np.int8, np.int64], ids=["bool", "uint8", "int8", "int64"]
)
def test_integer_widths_become_event_dtype(p_type):
    dtype = [("p", p_type), ("t", np.uint32), ("y", np.uint8), ("x", np.uint16), ("extra", float)]
    array = make([(p, t, y, x, 0.5) for x, y, t, p in ROWS], dtype)
    events = as_events(array)
    assert events.dtype == EVENT_DTYPE
    np.testing.assert_array_equal(events, make(ROWS))


def test_minus_one_is_off():
    dtype = [("x", int), ("y", int), ("t", int), ("p", np.int8)]
    events = as_events(make([(0, 0, 0, -1), (0, 0, 0, 1)], dtype))
    assert events["p"].tolist() == [False, True]


def test_empty_recording_is_valid():
    assert as_events(np.empty(0, EVENT_DTYPE)).shape == (0,)


def test_result_is_a_copy():
    array = make(ROWS)
    as_events(array)["x"] = 9
    assert array["x"].tolist() == [1, 3, 5]


def test_missing_fields_are_named():
    with pytest.raises(ValueError, match="y, p missing"):
        as_events(np.zeros(2, [("x", int), ("t", int)]))


def test_plain_array_is_refused():
    with pytest.raises(ValueError, match="x, y, t, p missing"):
        as_events(np.zeros((3, 4)))


def test_two_dimensions_are_refused():
    with pytest.raises(ValueError, match="one-dimensional"):
        as_events(np.zeros((2, 2), EVENT_DTYPE))


@pytest.mark.parametrize("field", ["x", "y", "t"])
def test_negative_values_are_refused(field):
    array = make(ROWS)
    array[field][2] = -7
    with pytest.raises(ValueError, match=rf"event 2 has {field} = -7"):
        as_events(array)


def test_too_large_coordinate_is_refused():
    array = make(ROWS, [("x", np.int32), ("y", np.int32), ("t", np.int64), ("p", bool)])
    array["x"][1] = 40000
    with pytest.raises(ValueError, match=r"event 1 has x = 40000, .* 0 to 32767"):
        as_events(array)


def test_float_time_is_refused():
    array = make(ROWS, [("x", int), ("y", int), ("t", float), ("p", bool)])
    with pytest.raises(ValueError, match="field 't' must be of integers, got float64"):
        as_events(array)


def test_third_polarity_is_refused():
    array = make(ROWS, [("x", int), ("y", int), ("t", int), ("p", np.int8)])
    array["p"] = [-1, 0, 1]
    with pytest.raises(ValueError, match=r"got the values \[-1, 0, 1\]"):
        as_events(array)


def test_backward_time_is_refused_at_its_index():
    array = make([(0, 0, 5, 1), (1, 0, 9, 1), (2, 0, 8, 1)])
    with pytest.raises(ValueError, match=r"backward at event 2: 8 us after 9 us; pass sort=True"):
        as_events(array)


def test_sort_keeps_the_order_of_equal_times():
    array = make([(0, 0, 5, 1), (1, 0, 3, 1), (2, 0, 5, 1), (3, 0, 3, 1)])
    assert as_events(array, sort=True)["x"].tolist() == [1, 3, 0, 2]


def test_cut_is_half_open_and_counts_from_its_start():
    cut = cut_events(make(ROWS), 10, 30)
    assert cut["t"].tolist() == [0, 0]
    assert cut_events(make(ROWS), 11, 31)["t"].tolist() == [19]
    assert len(cut_events(make(ROWS), 40, 50)) == 0
