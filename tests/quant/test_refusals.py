"""What `Sequential` refuses: descriptions, arguments, inputs."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import akida_jax as aj
from akida_jax import quant

IMAGE = (6, 6, 3)


def image(**fields):
    return quant.InputConv(**{"input_shape": IMAGE, "filters": 4, "kernel_size": 3, **fields})


def conv(**fields):
    return quant.Conv(**{"filters": 4, "kernel_size": 3, **fields})


def events(**fields):
    return quant.InputData(**{"input_shape": IMAGE, **fields})


HEAD = quant.Dense(units=3, activation=False)


def refusal(*layers, **arguments):
    with pytest.raises(ValueError, match=r".") as error:
        quant.Sequential(layers, rngs=nnx.Rngs(0), **arguments)
    return str(error.value)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"padding": "SAME"}, "padding must be 'same' or 'valid', got 'SAME'"),
        ({"padding": "foo"}, "padding must be 'same' or 'valid', got 'foo'"),
        ({"padding": None}, "padding must be 'same' or 'valid', got None"),
        ({"padding": ["same"]}, "padding must be 'same' or 'valid', got ['same']"),
        ({"pool": "avg"}, "pool must be None, 'max' or 'global_average', got 'avg'"),
        ({"pool": "MAX"}, "pool must be None, 'max' or 'global_average', got 'MAX'"),
        ({"pool": 0}, "pool must be None, 'max' or 'global_average', got 0"),
        ({"activation": "no"}, "activation must be True or False, got 'no'"),
        ({"activation": 0}, "activation must be True or False, got 0"),
        ({"kernel_size": 2.0}, "kernel_size must be a positive int, got 2.0"),
        ({"kernel_size": 0}, "kernel_size must be a positive int, got 0"),
        ({"kernel_size": True}, "kernel_size must be a positive int, got True"),
        ({"stride": 0}, "stride must be a positive int, got 0"),
        ({"stride": (1, 1)}, "stride must be a positive int, got (1, 1)"),
        ({"filters": 0}, "filters must be a positive int, got 0"),
        ({"filters": "4"}, "filters must be a positive int, got '4'"),
        ({"pool": "max", "pool_size": 0},
         "pool_size must be a positive int or a tuple of two, got 0"),
        ({"pool": "max", "pool_size": (2, 0)},
         "pool_size must be a positive int or a tuple of two, got (2, 0)"),
        ({"pool": "max", "pool_size": (2,)},
         "pool_size must be a positive int or a tuple of two, got (2,)"),
        ({"pool": "max", "pool_size": [2, 2]},
         "pool_size must be a positive int or a tuple of two, got [2, 2]"),
        ({"pool": "max", "pool_stride": 0},
         "pool_stride must be None, a positive int or a tuple of two, got 0"),
        ({"padding": "valid", "kernel_size": 9},
         "kernel_size 9 exceeds the input of 6x6; use same padding or a smaller kernel"),
        ({"padding": "valid", "pool": "max", "pool_size": (2, 5)},
         "pool_size (2, 5) exceeds the potentials of 4x4; use same padding or a smaller pool"),
        ({"name": 7}, "name must be a str, got 7"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["input", "hidden"])
def test_a_bad_convolution_is_refused(kind, fields, message):
    fields = {"name": "eye", **fields}
    layers = [image(**fields), HEAD] if kind == "input" else [events(), conv(**fields), HEAD]
    assert refusal(*layers) == (
        f"1 fault in the network:\nlayer {fields['name']!r}: {message}"
    )  # fmt: skip


@pytest.mark.parametrize("padding", ["valid", "SAME"])
def test_a_separable_layer_has_only_same_padding(padding):
    layer = quant.SeparableConv(filters=2, kernel_size=3, padding=padding)
    message = (
        f"layer 'separable_0': padding must be 'same', got {padding!r}: "
        "a separable layer has only same padding"
    )
    assert message in refusal(events(), layer, HEAD)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (quant.Dense(units=0), "layer 'dense_0': units must be a positive int, got 0"),
        (quant.Dense(units=2.5), "layer 'dense_0': units must be a positive int, got 2.5"),
        (quant.Dense(units=2, activation=None),
         "layer 'dense_0': activation must be True or False, got None"),
    ],
)  # fmt: skip
def test_a_bad_dense_layer_is_refused(layer, message):
    assert message in refusal(events(), layer, HEAD)


@pytest.mark.parametrize(
    "shape", [(6, 6), (6, 6, 3, 1), (6, 0, 3), (6, -1, 3), (6, 6.0, 3), [6, 6, 3], 6, None]
)
@pytest.mark.parametrize("make", [image, events])
def test_an_input_shape_is_three_positive_integers(make, shape):
    message = (
        "input_shape must be a tuple of three positive ints (height, width, channels), "
        f"got {shape!r}"
    )
    assert message in refusal(make(input_shape=shape, name="eye"), HEAD)


@pytest.mark.parametrize("bits", [0, 3, 9, 4.0, True, "4"])
def test_input_bits(bits):
    message = f"layer 'input': input_bits must be 1, 2 or 4, got {bits!r}"
    assert message in refusal(events(input_bits=bits), HEAD)


@pytest.mark.parametrize("level", [-1, 256, 1.5])
def test_a_padding_value_is_an_input_level(level):
    message = f"layer 'conv_0': padding_value must be an int in 0..255, got {level!r}"
    assert message in refusal(image(padding_value=level), HEAD)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        *(({"input_scale": scale}, "input_scale must be None or a positive finite number, got ")
          for scale in (-1, 0, np.nan, np.inf, 1e300, "1", True)),
        *(({"input_shift": shift}, "input_shift must be an int in 0..255, got ")
          for shift in (5.7, -1, 256, 10**9, True, None)),
        ({"batch_norm": "no"}, "batch_norm must be True or False, got "),
    ],
)  # fmt: skip
def test_a_bad_argument_is_refused(arguments, message):
    (value,) = arguments.values()
    assert f"\n{message}{value!r}" in refusal(image(), HEAD, **arguments)


def test_every_fault_is_reported_at_once():
    message = refusal(
        image(padding="SAME"),
        conv(kernel_size=0, pool="avg"),
        events(name="late"),
        quant.Dense(units=0, activation=False),
        HEAD,
        input_scale=0,
    )
    assert message.splitlines() == [
        "7 faults in the network:",
        "layer 'late': an input layer must come first",
        "layer 'dense_3': only the last layer may lack an activation",
        "layer 'conv_0': padding must be 'same' or 'valid', got 'SAME'",
        "layer 'conv_1': kernel_size must be a positive int, got 0",
        "layer 'conv_1': pool must be None, 'max' or 'global_average', got 'avg'",
        "layer 'dense_3': units must be a positive int, got 0",
        "input_scale must be None or a positive finite number, got 0",
    ]


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([events(), quant.Conv], "layers[1] must be a layer description such as quant.Conv(...)"),
        (["conv"], "layers[0] must be a layer description such as quant.Conv(...), got 'conv'"),
        (HEAD, "layers must be a list of layer descriptions, got Dense("),
    ],
)
def test_something_else_is_no_layer(layers, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        quant.Sequential(layers, rngs=nnx.Rngs(0))


def test_the_chip_reports_a_bad_specification_itself():
    with pytest.raises(aj.ModelError, match="padding SAME is not one of same"):
        aj.Model([aj.InputData(input_shape=IMAGE),
                  aj.Convolutional(filters=2, kernel_size=3, padding="SAME")])  # fmt: skip


@pytest.fixture(scope="module")
def binary():
    layers = [events(input_bits=1), HEAD]
    return quant.quantize(quant.Sequential(layers, rngs=nnx.Rngs(0)))


@pytest.fixture(scope="module")
def camera():
    return quant.quantize(quant.Sequential([image(), HEAD], rngs=nnx.Rngs(0)))


def batch(value, dtype):
    x = np.zeros((2, *IMAGE), dtype)
    x[1, 3, 2, 1] = value
    return x


@pytest.mark.parametrize(
    ("value", "dtype", "message"),
    [
        (200, np.uint8, "layer 'input' takes integers in 0..1, got 200; clip or rescale them"),
        (-3, np.int32, "layer 'input' takes integers in 0..1, got -3; clip or rescale them"),
        (-3.75, np.float32, "layer 'input' takes integers in 0..1, got -3.75; clip or rescale"),
        (np.nan, np.float32, "layer 'input' takes integers in 0..1, got nan; clip or rescale"),
        (0.5, np.float32,
         "layer 'input' takes integers in 0..1, got 0.5; give the input levels, not scaled images"),
    ],
)  # fmt: skip
def test_values_that_are_no_levels_are_refused(binary, value, dtype, message):
    for x in (batch(value, dtype), jnp.asarray(batch(value, dtype))):
        with pytest.raises(ValueError, match=re.escape(message)):
            binary(x)
    if np.issubdtype(dtype, np.integer):
        with pytest.raises(ValueError, match=re.escape(message)):
            binary.forward(x)


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.bool_])
def test_integers_come_from_integers_only(camera, dtype):
    message = rf"'conv_0' takes integers in 0\.\.255, got dtype {np.dtype(dtype)}; give the input"
    with pytest.raises(ValueError, match=message):
        camera.forward(batch(1, dtype))
    with pytest.raises(ValueError, match=message):
        jax.jit(camera.forward)(batch(1, dtype))


def test_a_list_is_no_array(camera):
    for function in (camera, camera.forward):
        with pytest.raises(ValueError, match="takes an array, got list; convert it with numpy"):
            function(batch(1, np.uint8).tolist())


def test_integers_as_floats_are_taken(camera):
    x = batch(255, np.uint8)
    np.testing.assert_array_equal(camera(x.astype(np.float32)), camera(x))
    np.testing.assert_array_equal(camera.forward(x.astype(np.int32)), camera.forward(x))


def test_traced_values_are_not_looked_at(camera):
    assert jax.jit(lambda x: camera(x))(batch(-3.5, np.float32)).shape == (2, 3)
    x = jnp.asarray(batch(7, np.uint8))
    assert jax.jit(lambda: camera(x))().shape == (2, 3)  # a constant of the program
    with pytest.raises(ValueError, match="got 300"):
        jax.jit(lambda: camera(batch(300, np.int32)))()
