"""Models written with quantizeml's layers read back as what they were."""

import numpy as np
import pytest

import akida_jax as aj
from akida_jax import zoo
from akida_jax.interop.exports import _biases, _scales


def random_variables(model, seed=0):
    """Weights that reach the top level in each filter, and plausible registers."""
    rng = np.random.default_rng(seed)
    variables = {}
    for program in model.programs:
        spec, limit = program.spec, 2 ** (program.spec.weight_bits - 1) - 1
        values = {}
        for key, kernel in program.kernels.items():
            levels = rng.integers(-limit, limit + 1, kernel.shape).astype(np.int8)
            levels.reshape(-1, kernel.shape[-1])[0] = limit
            values[key] = levels
        steps = rng.integers(500, 40000, spec.neurons) / 16
        values["step"] = steps.astype(np.float32)
        values["threshold"] = rng.integers(-3000, 3000, spec.neurons).astype(np.int32)
        variables[str(spec.name)] = values
    return model.with_variables(variables)


HALVED = {"pool": "max", "pool_size": (2, 2), "pool_stride": (2, 2)}
IMAGE = [
    aj.InputConvolutional(input_shape=(12, 12, 3), filters=6, kernel_size=3, padding_value=100,
                          name="conv_0", **HALVED),
    aj.Convolutional(filters=8, kernel_size=3, act_bits=2, name="conv_1",
                     **{**HALVED, "pool_stride": (1, 1)}),
    aj.SeparableConvolutional(filters=8, kernel_size=3, pool="global_average", name="sep_2"),
    aj.FullyConnected(units=5, act_bits=1, name="dense_3"),
    aj.FullyConnected(units=4, activation=False, name="dense_4"),
]  # fmt: skip
EVENTS = [
    aj.InputData(input_shape=(6, 6, 5), name="input"),
    aj.Convolutional(filters=4, kernel_size=1, weight_bits=2, name="conv_0"),
    aj.SeparableConvolutional(filters=4, kernel_size=5, pool="global_average", name="sep_1"),
    aj.Convolutional(filters=4, kernel_size=1, name="conv_2"),
    aj.FullyConnected(units=3, activation=False, name="dense_3"),
]
MODELS = {"image": IMAGE, "events": EVENTS}


def assert_equal_models(left, right):
    assert left.layers == right.layers
    for name, values in left.variables.items():
        for key, array in values.items():
            np.testing.assert_array_equal(array, right.variables[name][key], f"{name} {key}")


@pytest.mark.parametrize("name", MODELS)
def test_written_and_read_back(tmp_path, name):
    model = random_variables(aj.Model(MODELS[name]))
    report = aj.interop.to_keras(model, tmp_path / "a.h5")
    first = aj.interop.from_keras(tmp_path / "a.h5").model
    assert first.layers == model.layers
    for program in model.programs:
        layer = str(program.spec.name)
        held, found = model.variables[layer], first.variables[layer]
        for key in program.kernels:
            np.testing.assert_array_equal(held[key], found[key])
        # The widest gap of q * 2**-h is that from 127.5 to 129: a step lies within 1/170 of the
        # wanted one, and the truncation adds 1/16.
        assert (np.abs(found["step"] - held["step"]) <= held["step"] / 170 + 1 / 16).all()
        if not program.spec.activation:
            np.testing.assert_array_equal(held["step"], found["step"])
    assert len(report.layers) == len(model.programs)
    # What fixed point can carry, it carries: a second passage changes nothing.
    aj.interop.to_keras(first, tmp_path / "b.h5")
    assert_equal_models(first, aj.interop.from_keras(tmp_path / "b.h5").model)


def constants(model):
    """Return by layer what filter 1 makes of the potential 0."""
    found = []
    for program in model.programs:
        values = np.zeros((1, 1, 1, program.spec.neurons), np.int32)
        if program.spec.activation:
            found.append(int(np.asarray(program.fire(values))[0, 0, 0, 1]))
        else:
            held = model.variables[str(program.spec.name)]
            found.append(float(-held["threshold"][1] / held["step"][1]))
    return found


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", MODELS)
def test_filters_without_weights(tmp_path, name, seed):
    """They keep their level; a logit is held in 8 bits."""
    model = random_variables(aj.Model(MODELS[name]), seed)
    variables = {layer: dict(values) for layer, values in model.variables.items()}
    for values in variables.values():
        last = "pointwise" if "pointwise" in values else "kernel"
        values[last] = values[last].copy()
        values[last][..., 1] = 0
        if last == "pointwise":  # its depthwise kernel is stretched: the constant is not
            values["kernel"] = np.clip(values["kernel"], -3, 3)
    model = model.with_variables(variables)
    aj.interop.to_keras(model, tmp_path / "m.h5")
    found = aj.interop.from_keras(tmp_path / "m.h5").model
    *levels, logit = constants(model)
    *read, read_logit = constants(found)
    assert read == levels
    # Rounded to 8 bits by the writer and the reader, once to a potential of step 2**9 at least.
    assert abs(read_logit - logit) <= abs(logit) * 2 / 128 + 2.0**-10


@pytest.mark.parametrize("name", zoo.pretrained_names())
def test_pretrained_models_written_and_read_back(tmp_path, name):
    model = zoo.pretrained(name)
    aj.interop.to_keras(model, tmp_path / "m.h5")
    found = aj.interop.from_keras(tmp_path / "m.h5", input_bits=model.input_bits).model
    for wanted, read in zip(model.programs, found.programs, strict=True):
        assert (read.spec.name, read.spec.kind) == (wanted.spec.name, wanted.spec.kind)
        assert (read.in_shape, read.spec.neurons) == (wanted.in_shape, wanted.spec.neurons)
        assert read.spec.weight_bits == wanted.spec.weight_bits
        values = np.zeros((1, 1, 1, wanted.spec.neurons), np.int32)
        idle = ~np.asarray(wanted.kernels["kernel"]).any((0, 1, 2))
        if wanted.spec.kind != "separable" and wanted.spec.activation:
            levels = [np.asarray(p.fire(values))[..., idle] for p in (read, wanted)]
            np.testing.assert_array_equal(*levels)


def test_scales_have_eight_bits():
    full = np.array([1.0, 3.3125, 1000.0, 4095.5])
    scale, step = _scales(full, -4, 16.0)
    mantissa = scale / 2.0 ** np.floor(np.log2(scale)) * 128
    np.testing.assert_array_equal(mantissa, np.round(mantissa))
    assert (np.abs(step / full - 1) <= 1 / 170).all()


def test_biases_have_eight_bits():
    wanted = np.array([0.0, 1, -128, 127, 128, 1000, -70000])
    np.testing.assert_array_equal(_biases(wanted), [0, 1, -128, 127, 127, 1000, -69632])


def test_learned_weights_are_refused(tmp_path):
    layers = [aj.InputData(input_shape=(1, 1, 8), input_bits=1),
              aj.FullyConnected(units=2, weight_bits=1, activation=False, name="edge")]  # fmt: skip
    with pytest.raises(aj.ModelError, match="layer 'edge': weights of 1 bit"):
        aj.interop.to_keras(aj.Model(layers), tmp_path / "m.h5")
    assert list(tmp_path.iterdir()) == []
