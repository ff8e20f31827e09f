"""Every rule of the layer table, broken once; the extremes, accepted."""

import numpy as np
import pytest

import akida_jax as aj
from akida_jax.limits import find_faults


def data(*shape, bits=4):
    return aj.InputData(input_shape=shape, input_bits=bits, name="events")


def image(shape=(20, 20, 3), **fields):
    fields = {"filters": 8, "kernel_size": 3, "name": "eye", **fields}
    return aj.InputConvolutional(input_shape=shape, **fields)


def conv(**fields):
    return aj.Convolutional(**{"filters": 4, "kernel_size": 3, "name": "conv", **fields})


def separable(**fields):
    fields = {"filters": 4, "kernel_size": 3, "name": "sep", **fields}
    return aj.SeparableConvolutional(**fields)


def dense(**fields):
    return aj.FullyConnected(**{"units": 4, "name": "head", **fields})


SMALL = data(8, 8, 2)
# Layers, the whole message of the one fault they have.
BROKEN = [
    ([conv()], "'conv': the first layer takes no input; begin with InputData or "
               "InputConvolutional"),
    ([SMALL, image((8, 8, 1))], "'eye': an input layer in the middle of the model; use it only "
                                "as the first layer"),
    ([SMALL, conv(activation=False), dense()],
     "'conv': no activation, but it is not the last layer; set activation=True"),
    ([data(8, 8, 2, bits=8), conv()],
     "'events': input_bits 8 is not one of 1, 2, 4; choose input_bits from 1, 2, 4"),
    ([data(8, 0, 2), conv()], "'events': input_shape (8, 0, 2) is not a tuple of three "
               "positive integers; give (height, width, channels)"),
    ([data(8, 2), conv()], "'events': input_shape (8, 2) is not a tuple of three "
               "positive integers; give (height, width, channels)"),
    ([image((8, 8))], "'eye': input_shape (8, 8) is not a tuple of three "
               "positive integers; give (height, width, channels)"),
    # Input convolution.
    ([image((20, 20, 2))], "'eye': input has 2 channels, the limit is 1 or 3; use InputData for "
                           "events"),
    ([image((4, 20, 3))], "'eye': input height 4 is below 5; enlarge or pad the input"),
    ([image((20, 4, 3))], "'eye': input width 4 is outside 5..256; resize the input"),
    ([image((20, 257, 3))], "'eye': input width 257 is outside 5..256; resize the input"),
    ([image(kernel_size=1)], "'eye': kernel_size 1 is not one of 3, 5, 7; choose kernel_size from "
                             "3, 5, 7"),
    ([image(stride=4)], "'eye': stride 4 is not one of 1, 2, 3; choose stride from 1, 2, 3"),
    ([image(padding="reflect")], "'eye': padding reflect is not one of same, valid; choose "
                                 "padding from same, valid"),
    ([image(weight_bits=1)], "'eye': weight_bits 1 is not one of 2, 4, 8; choose weight_bits from "
                             "2, 4, 8"),
    ([image(act_bits=8)], "'eye': act_bits 8 is not one of 1, 2, 4; choose act_bits from 1, 2, 4"),
    ([image(padding_value=256)], "'eye': padding_value 256 is outside 0..255; use an 8-bit value"),
    ([image(padding_value=-1)], "'eye': padding_value -1 is outside 0..255; use an 8-bit value"),
    *(
        ([image((20, 20, channels), kernel_size=k, filters=most + 1)],
         f"'eye': {most + 1} filters exceed the limit of {most} for {channels} channels and "
         f"kernel {k}; use fewer filters or a smaller kernel")
        for channels, k, most in [(1, 3, 512), (1, 5, 192), (1, 7, 96),
                                  (3, 3, 192), (3, 5, 64), (3, 7, 32)]
    ),
    ([image(pool="global_average")], "'eye': pool global_average is not one of None, max; choose "
                                     "pool from None, max"),
    ([image(pool="max", pool_size=3)], "'eye': pool_size (3, 3) is not one of (1, 2), (2, 1), "
                                       "(2, 2); choose pool_size from (1, 2), (2, 1), (2, 2)"),
    ([image(pool="max", pool_stride=1)], "'eye': pool_stride (1, 1) differs from pool_size "
                                         "(2, 2); make them equal"),
    ([image((6, 6, 3), kernel_size=7, padding="valid")],
     "'eye': kernel 7 exceeds the input 6x6; use same padding"),
    ([image((7, 7, 3), kernel_size=7, padding="valid", pool="max")],
     "'eye': pooling of an input 7x7 leaves nothing; drop the pool or use same padding"),
    # Convolution of events.
    ([data(4097, 1, 1), conv()], "'conv': input height 4097 exceeds the limit of 4096; reduce the "
                                 "input"),
    ([data(1, 4097, 1), conv()], "'conv': input width 4097 exceeds the limit of 4096; reduce the "
                                 "input"),
    ([data(1, 1, 2049), conv()], "'conv': input channels 2049 exceeds the limit of 2048; reduce "
                                 "the input"),
    ([SMALL, conv(kernel_size=9)], "'conv': kernel_size 9 is not one of 1, 3, 5, 7; choose "
                                   "kernel_size from 1, 3, 5, 7"),
    ([SMALL, separable(kernel_size=1)], "'sep': kernel_size 1 is not one of 3, 5, 7; choose "
                                        "kernel_size from 3, 5, 7"),
    ([SMALL, conv(stride=3)], "'conv': stride 3 is not one of 1, 2; choose stride from 1, 2"),
    ([SMALL, conv(stride=2, kernel_size=5)], "'conv': stride 2 with kernel 5; stride 2 needs "
                                             "kernel 3"),
    ([SMALL, separable(stride=2, kernel_size=7)], "'sep': stride 2 with kernel 7; stride 2 needs "
                                                  "kernel 3"),
    ([SMALL, conv(padding="valid")], "'conv': padding valid is not one of same; choose padding "
                                     "from same"),
    ([SMALL, separable(padding="valid")], "'sep': padding valid is not one of same; choose "
                                          "padding from same"),
    ([SMALL, conv(weight_bits=8)], "'conv': weight_bits 8 is not one of 2, 4; choose weight_bits "
                                   "from 2, 4"),
    ([SMALL, separable(weight_bits=1)], "'sep': weight_bits 1 is not one of 2, 4; choose "
                                        "weight_bits from 2, 4"),
    ([SMALL, conv(act_bits=3)], "'conv': act_bits 3 is not one of 1, 2, 4; choose act_bits from "
                                "1, 2, 4"),
    ([SMALL, conv(filters=0)], "'conv': 0 filters or units; use at least one"),
    ([SMALL, conv(pool="min")], "'conv': pool min is not one of None, max, global_average; choose "
                                "pool from None, max, global_average"),
    ([SMALL, conv(pool="max", pool_size=3, pool_stride=2), conv(name="b")],
     "'conv': pool_size (3, 3) is not one of (2, 2); choose pool_size from (2, 2)"),
    ([SMALL, conv(pool="max", pool_stride=(1, 2)), conv(name="b")],
     "'conv': pool_stride (1, 2) is not one of (1, 1), (2, 2); choose pool_stride from (1, 1), "
     "(2, 2)"),
    ([SMALL, separable(pool="max")],
     "'sep': a max pool must be followed by a convolution; add one, or pool by global average"),
    ([data(4, 33, 2), conv(pool="global_average")],
     "'conv': global average pool on an input 33 wide, the limit is 32; reduce the map before it"),
    ([data(9, 29, 2), separable(pool="global_average")],
     "'sep': global average pool over 261 positions, the limit is 256; reduce the map before it"),
    # Fully connected.
    ([data(1, 1, 57335), dense()], "'head': 57335 inputs exceed the limit of 57334; pool or "
                                   "reduce channels before it"),
    ([SMALL, dense(weight_bits=8)], "'head': weight_bits 8 is not one of 1, 2, 4; choose "
                                    "weight_bits from 1, 2, 4"),
    ([SMALL, dense(act_bits=0)], "'head': act_bits 0 is not one of 1, 2, 4; choose act_bits from "
                                 "1, 2, 4"),
    ([SMALL, dense(units=0)], "'head': 0 filters or units; use at least one"),
    ([SMALL, dense(neurons_per_class=3)], "'head': neurons_per_class 3 does not divide its 4 "
                                          "units; use a divisor of the units, 1 for a unit for "
                                          "each class"),
    ([SMALL, dense(neurons_per_class=0)], "'head': neurons_per_class 0 does not divide its 4 "
                                          "units; use a divisor of the units, 1 for a unit for "
                                          "each class"),
    ([SMALL, dense(neurons_per_class=2.0)], "'head': neurons_per_class 2.0 is not an integer; "
                                            "give a Python int"),
    ([image(pool="max"), dense()], "'head': follows the max pool of layer 'eye'; put a "
                                   "convolution in between or pool by global average"),
]  # fmt: skip


@pytest.mark.parametrize(("layers", "message"), BROKEN, ids=lambda v: v[:44] if v else "")
def test_a_broken_rule_names_layer_limit_value_and_remedy(layers, message):
    with pytest.raises(aj.ModelError) as error:
        aj.Model(layers)
    assert str(error.value) == f"1 fault in the model:\nlayer {message}"
    (fault,) = error.value.faults
    assert str(fault) == f"layer {message}"
    assert fault.layer in message
    assert isinstance(error.value, ValueError)


@pytest.mark.parametrize(
    "layers",
    [
        [SMALL, conv(stride=0)],
        [SMALL, conv(stride=0, pool="global_average"), dense()],
        [SMALL, separable(pool="max", pool_stride=0), conv()],
        [image(kernel_size=0, stride=0)],
        [data(8), conv()],
        [image(())],
        [data(8, 8, 2.0), conv()],
        [data(8, 8, 2), conv(filters=2.0)],
        [SMALL, conv(kernel_size="3")],
        [SMALL, conv(pool="max", pool_size=(2,)), conv(name="b")],
        [SMALL, conv(pool="max", pool_size=(2, 2, 2)), conv(name="b")],
        [SMALL, conv(stride=None)],
        [SMALL, conv(kernel_size=True)],
        [SMALL, dense(units="4")],
        [SMALL, conv(weight_bits=4.0)],
        [data(8, 8, 2, bits=None), conv()],
        [aj.InputData(input_shape=[8, 8, 2]), conv()],
    ],
    ids=str,
)
def test_nonsense_is_a_fault_and_no_crash(layers):
    with pytest.raises(aj.ModelError):
        aj.Model(layers)


def test_all_faults_of_a_model_at_once_in_layer_order():
    layers = [
        image((4, 300, 2), stride=4),
        conv(kernel_size=5, stride=2, weight_bits=8),
        separable(act_bits=3, pool="max"),
        dense(activation=False, weight_bits=3),
        dense(name="tail", units=0),
    ]
    with pytest.raises(aj.ModelError) as error:
        aj.Model(layers)
    names = [fault.layer for fault in error.value.faults]
    assert names == ["eye"] * 4 + ["conv"] * 2 + ["sep"] * 2 + ["head"] * 3 + ["tail"]
    lines = str(error.value).splitlines()
    assert lines[0] == "12 faults in the model:"
    assert len(lines) == 13


LEGAL = {
    "image 1 channel": [image((5, 5, 1), filters=512, padding_value=255)],
    "image 3 channels": [image((5, 256, 3), kernel_size=7, filters=32, stride=3)],
    "image pools": [image(pool="max", pool_size=(1, 2), pool_stride=(1, 2)), conv()],
    "image 5 valid": [image((500, 5, 3), kernel_size=5, filters=64, padding="valid")],
    "image 2 bits": [image(weight_bits=2, act_bits=1), dense(weight_bits=1)],
    "tall": [data(4096, 1, 1), conv(kernel_size=7)],
    "wide": [data(1, 4096, 1, bits=1), conv(stride=2)],
    "deep": [data(1, 1, 2048), separable(kernel_size=7)],
    "pools": [SMALL, conv(pool="max", pool_stride=1), separable(pool="max"), conv(name="b")],
    "average area": [data(8, 32, 2), conv(pool="global_average"), dense()],
    "average width": [data(3, 32, 2), separable(pool="global_average")],
    "average behind stride": [data(32, 32, 2), conv(pool="global_average", stride=2)],
    "flat": [data(1, 1, 57334), dense(units=1, weight_bits=2)],
    "flattened": [data(2, 2, 14333), dense(units=1)],
    "dense in the middle": [SMALL, dense(name="a"), dense(activation=False)],
}


@pytest.mark.parametrize("name", LEGAL)
def test_the_extremes_are_legal(name):
    assert find_faults(LEGAL[name]) == []
    assert aj.Model(LEGAL[name]).layers == tuple(LEGAL[name])


def test_options_of_an_absent_pool_do_not_hide_later_faults():
    layers = [SMALL, conv(pool_size=0), dense(act_bits=3)]
    assert [fault.layer for fault in find_faults(layers)] == ["head"]


def test_a_model_needs_layers():
    with pytest.raises(aj.ModelError, match="'model': no layers; begin with an input layer"):
        aj.Model([])
    with pytest.raises(aj.ModelError, match="'events': no layer behind the input; add one"):
        aj.Model([SMALL])


def test_repeated_names_are_refused():
    with pytest.raises(ValueError, match="layer names must be unique, repeated: conv"):
        aj.Model([SMALL, conv(), conv()])


def test_potentials_beyond_int32_are_refused():
    # 49 * 7 * 15 * 2048 * 7 = 73 758 720 per position; 30 positions exceed 2**31 - 2**24.
    def model(width):
        return aj.Model([data(3, width, 2048), separable(kernel_size=7, pool="global_average",
                                                        filters=1)])  # fmt: skip

    weights = {"kernel": np.full((7, 7, 1, 2048), 7, np.int8),
               "pointwise": np.full((2048, 1), -7, np.int8)}  # fmt: skip
    model(9).with_variables({"sep": weights})
    with pytest.raises(aj.ModelError) as error:
        model(10).with_variables({"sep": weights})
    assert str(error.value.faults[0]) == (
        "layer 'sep': potentials of filter 0 can reach 2212761600, beyond 2130706432; use fewer "
        "channels, a smaller kernel or fewer bits"
    )
