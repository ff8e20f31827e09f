import dataclasses
import re

import numpy as np
import pytest

import akida_jax as aj
from akida_jax import mapping
from akida_jax.quant.registers import AKIDA_1


def image_model(threshold=0, step=1.0):
    model = aj.Model(
        [
            aj.InputConvolutional(input_shape=(8, 8, 1), filters=4, kernel_size=3, name="eye"),
            aj.Convolutional(filters=4, kernel_size=3, activation=False, name="out"),
        ]
    )
    new = {"threshold": np.full(4, threshold, np.int32), "step": np.full(4, step, np.float32)}
    return model.with_variables({"out": new})


def test_a_sound_model_has_no_faults():
    assert mapping.check(image_model(), mapping.AKD1000) == []


def test_specifications_are_checked_against_the_table():
    faults = mapping.check(
        [
            aj.InputData(input_shape=(8, 8, 4), input_bits=4),
            aj.Convolutional(filters=4, kernel_size=5, stride=2, name="a"),
            aj.Convolutional(filters=4, kernel_size=2, name="b"),
        ],
        mapping.AKD1000,
    )
    assert [fault.layer for fault in faults] == ["a", "b"]
    assert str(faults[0]) == "layer 'a': stride 2 with kernel 5; stride 2 needs kernel 3"


def test_all_faults_of_a_device_come_at_once():
    small = mapping.mesh(
        4, input_unit=False, input_bytes_per_np=16, weight_bytes_per_np=16,
        registers=dataclasses.replace(AKIDA_1, threshold_bits=8, step_fraction_bits=2),
    )  # fmt: skip
    model = image_model(threshold=128, step=1.0625)
    faults = mapping.check(model, small)
    text = "\n".join(map(str, faults))
    assert [fault.layer for fault in faults] == ["eye", "out", "out", "out"]
    assert "'eye': mesh of 4 has no unit for an input convolution; begin with InputData" in text
    assert "steps have 4 fractional bits, mesh of 4 holds 2" in text
    assert "threshold of filters 0, 1, 2, 3 does not fit 8 signed bits (filter 0: 128)" in text
    assert "its narrowest strip, 1 of 8 columns, takes 48 bytes" in text
    with pytest.raises(mapping.MappingError, match=re.escape(str(faults[-1]))) as caught:
        mapping.place(model, small)
    assert list(caught.value.faults) == faults


def test_a_filter_beyond_the_memory_is_named():
    model = aj.Model(
        [
            aj.InputData(input_shape=(1, 1, 2048), input_bits=4),
            aj.Convolutional(filters=8, kernel_size=7, activation=False, name="deep"),
        ]
    )
    (fault,) = mapping.check(model, mapping.AKD1000)
    assert str(fault) == (
        "layer 'deep': the weights of one filter take 50176 bytes, a neural processor has 45056; "
        "reduce its input channels or its kernel"
    )


def test_a_column_beyond_the_memory_is_named():
    model = aj.Model(
        [
            aj.InputData(input_shape=(4096, 4, 64), input_bits=4),
            aj.Convolutional(filters=8, kernel_size=1, activation=False, name="tall"),
        ]
    )
    (fault,) = mapping.check(model, mapping.AKD1000)
    assert str(fault).startswith(
        "layer 'tall': its narrowest strip, 1 of 4 columns, takes 131072 bytes of input memory, "
        "a neural processor has 46080"
    )


def test_columns_beyond_a_processor_are_named_as_such():
    model = aj.Model(
        [
            aj.InputData(input_shape=(8, 8, 4), input_bits=4),
            aj.Convolutional(filters=8, kernel_size=7, activation=False, name="wide"),
        ]
    )
    (fault,) = mapping.check(model, mapping.mesh(80, columns_per_np=5))
    assert str(fault) == (
        "layer 'wide': its narrowest strip spans 7 columns, border included, a neural processor "
        "takes 5; use a smaller kernel or stride"
    )


def test_the_input_of_a_fully_connected_layer_must_fit():
    model = aj.Model(
        [
            aj.InputData(input_shape=(10, 10, 8), input_bits=4),
            aj.FullyConnected(units=3, activation=False, name="head"),
        ]
    )
    (fault,) = mapping.check(model, mapping.mesh(80, input_bytes_per_np=16))
    assert str(fault).startswith("layer 'head': its input takes 400 bytes, a neural processor has")
