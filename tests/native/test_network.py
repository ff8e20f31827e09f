"""The native executor on every path of this machine, with `==`."""

import pickle

import numpy as np
import pytest

import akida_jax as aj
from akida_jax import zoo
from akida_jax.executors import dense_potentials, run_layers
from akida_jax.executors.native import PATHS, NativeNetwork, available_paths, native_fault
from akida_jax.executors.native.network import pieces
from akida_jax.executors.native.plan import make_plan, measured_percent
from tests.native.samples import close, dense, levels, wide_layers
from tests.samples import expect, random_inputs, random_variables, small_model

WIDE = wide_layers()


@pytest.fixture(autouse=True)
def _built():
    # On a machine without a compiler there is nothing to test; CI has one (.ci/run).
    if native_fault() is not None:
        pytest.skip(f"no native executor: {native_fault()}")


@pytest.fixture(params=PATHS)
def path(request):
    if request.param not in available_paths():
        pytest.skip(f"this processor cannot run {request.param}")
    return request.param


def test_the_portable_path_is_everywhere():
    assert available_paths()[-1] == "portable"


def test_every_type_of_layer_equals_plain_python(path, rng):
    model = small_model(rng)
    x = random_inputs(rng, model.input_shape, 255)
    actual = np.asarray(NativeNetwork(model.programs, path=path)(x))
    assert actual.dtype == np.int32
    np.testing.assert_array_equal(actual, expect(model, x)[1], strict=True)


@pytest.mark.parametrize("name", WIDE)
def test_uneven_widths_equal_the_dense_executor(name, path, rng):
    model = close(WIDE[name], name)
    network = NativeNetwork(model.programs, path=path)
    for density in (0.02, 0.5, 1.0):
        x = levels(rng, model, 3, density=density)
        expected = dense(model, x)
        assert density < 0.5 or len(np.unique(expected)) > 10
        np.testing.assert_array_equal(np.asarray(network(x)), expected)


@pytest.mark.slow
@pytest.mark.parametrize("model_name", ["akida_tiny", "akidanet"])
def test_networks_of_the_zoo_equal_the_dense_executor(model_name, path, rng):
    options = {"alpha": 0.25, "classes": 9, "input_shape": (64, 64, 3)}
    model = zoo.blank_model(model_name, **(options if model_name == "akidanet" else {}))
    model = model.with_variables(random_variables(rng, model))
    network = NativeNetwork(model.programs, path=path)
    for n in (0, 1, 2, 5):  # one: rows are shared among threads; several: inputs are
        x = levels(rng, model, n, density=0.2)
        np.testing.assert_array_equal(np.asarray(network(x)), dense(model, x))


@pytest.mark.parametrize("event_percent", [0, 100])
def test_events_and_dense_rows_give_the_same(event_percent, path, rng):
    for name, layers in WIDE.items():
        model = close(layers, name)
        network = NativeNetwork(model.programs, path=path, event_percent=event_percent)
        for density in (0.02, 0.4):
            x = levels(rng, model, 2, density=density)
            np.testing.assert_array_equal(np.asarray(network(x)), dense(model, x))


def test_the_share_by_which_a_layer_chooses_rises_with_its_filters(rng):
    shares = [measured_percent(n) for n in (1, 10, 32, 64, 100, 128, 1024)]
    assert shares == [0, 0, 3, 6, 9, 12, 12]
    programs = small_model(rng).programs
    chosen, held = (make_plan(programs, event_percent=n).layers for n in (None, 77))
    filters = [program.spec.map_shape(program.in_shape)[2] for program in programs]
    differ = [pair for pair in zip(chosen, held, strict=True) if pair[0] != pair[1]]
    assert differ == [(measured_percent(n), 77) for n in filters]


@pytest.mark.parametrize("active", [0, 1])
def test_empty_and_single_events_equal_the_dense_executor(active, path, rng):
    for name, layers in WIDE.items():
        model = close(layers, name)
        x = np.zeros((2, *model.input_shape), np.uint8)
        x[:active, -1, -1, -1] = 2**model.input_bits - 1
        actual = np.asarray(NativeNetwork(model.programs, path=path)(x))
        np.testing.assert_array_equal(actual, dense(model, x))


@pytest.mark.parametrize("act_bits", [1, 2, 4])
@pytest.mark.parametrize("step", [1 / 16, 1, 100.0625, 2047.9375, 4096, 4096.0625, 65535.9375])
def test_levels_are_exact_at_every_potential_around_a_step(step, act_bits, path):
    """Filters fire at thresholds one apart, so that every remainder of the division occurs."""
    filters = 64
    model = aj.Model([
        aj.InputData(input_shape=(1, 240, 1), input_bits=4),
        aj.Convolutional(filters=filters, kernel_size=1, act_bits=act_bits),
        aj.Convolutional(filters=filters, kernel_size=1, activation=False),
    ])  # fmt: skip
    names = [layer.name for layer in model.layers[1:]]
    reach = np.linspace(-step, 16.5 * step, filters)
    around = np.concatenate([reach[: filters // 2], np.arange(filters // 2) * step * 0.5])
    threshold = np.clip(np.rint(-around), -(2**19), 2**19 - 1).astype(np.int32)
    model = model.with_variables({
        names[0]: {"kernel": np.ones((1, 1, 1, filters), np.int8), "threshold": threshold,
                   "step": np.full(filters, step, np.float32)},
        names[1]: {"kernel": np.eye(filters, dtype=np.int8)[None, None]},
    })  # fmt: skip
    x = np.tile(np.arange(16, dtype=np.uint8), 15).reshape(1, 1, 240, 1)
    actual = np.asarray(NativeNetwork(model.programs, path=path)(x))
    expected = expect(model, x)[1]
    assert len(np.unique(expected)) > 1
    np.testing.assert_array_equal(actual, expected)


def test_the_native_executor_serves_a_model(rng):
    model = small_model(rng)
    x = random_inputs(rng, model.input_shape, 255)
    for method in (model.forward, model.predict, model.predict_classes):
        np.testing.assert_array_equal(method(x, "native"), method(x, "dense"), strict=True)
    assert str(model.activity(x, "native")) == str(model.activity(x, "dense"))
    with pytest.raises(ValueError, match="layer 'conv_0' takes uint8 inputs, got int64"):
        model.forward(x.astype(np.int64), "native")


def test_a_last_layer_with_activation_gives_levels(rng):
    model = aj.Model([aj.InputData(input_shape=(1, 1, 40)), aj.FullyConnected(units=5)])
    model = model.with_variables(random_variables(rng, model))
    x = levels(rng, model, 6, density=0.5)
    actual = model.forward(x, "native")
    assert actual.dtype == np.uint8
    np.testing.assert_array_equal(actual, model.forward(x, "dense"))


def test_a_network_stands_inside_other_compiled_functions(rng):
    import jax

    model = small_model(rng)
    network = NativeNetwork(model.programs)
    x = random_inputs(rng, model.input_shape, 255)
    doubled = jax.jit(lambda x: 2 * network(x))(x)
    np.testing.assert_array_equal(
        doubled, 2 * np.asarray(run_layers(model.programs, x, dense_potentials)[1])
    )


@pytest.mark.parametrize("shape", [(2, 9, 8, 4), (2, 8, 9, 3), (2, 216), (2, 1, 1, 9, 8)])
def test_an_input_of_another_shape_is_refused(shape, rng):
    model = small_model(rng)
    assert model.input_shape == (9, 8, 3)
    network = NativeNetwork(model.programs)
    with pytest.raises(ValueError, match=r"takes inputs of shape \(n, 9, 8, 3\), got \(2, "):
        network(np.zeros(shape, np.uint8))


def test_the_kernel_itself_refuses_another_shape(rng):
    network = NativeNetwork(small_model(rng).programs)
    turned = np.zeros((2, 8, 9, 3), np.uint8)  # as many values
    with pytest.raises(Exception, match="the input has another shape than the plan"):
        np.asarray(network._run(turned, network._constants))


@pytest.mark.parametrize("n", [0, 1, 16, 17, 31, 100, 256, 257, 1000])
def test_pieces_cover_a_batch_once(n):
    cut = list(pieces(n))
    assert [i for piece in cut for i in range(n)[piece]] == list(range(n))
    sizes = [piece.stop - piece.start for piece in cut]
    assert all(size <= 16 or size in (32, 64, 128, 256) for size in sizes)
    assert len(sizes) <= n // 256 + 5


def test_a_batch_in_pieces_compiles_few_programs(rng):
    model = close(wide_layers()["conv 1x1"], "conv 1x1")
    network = NativeNetwork(model.programs)
    x = levels(rng, model, 300, density=0.3)
    expected = dense(model, x)
    for n in range(260, 301):
        np.testing.assert_array_equal(network(x[:n]), expected[:n], strict=True)
    assert network._run._cache_size() <= 18  # 256, 32 and up to 16


def test_an_unknown_path_is_refused(rng):
    with pytest.raises(ValueError, match="unknown path 'sse9'; choose from amx, avx512_vnni"):
        NativeNetwork(small_model(rng).programs, path="sse9")


def test_a_model_that_has_run_can_be_pickled(rng):
    model = close(wide_layers()["conv 1x1"], "conv 1x1")
    x = levels(rng, model, 2, density=0.5)
    expected = model.forward(x, "native")
    copy = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(copy.forward(x, "native"), expected)


def test_counting_events_builds_no_kernel(monkeypatch, rng):
    def refuse():
        raise AssertionError("asked for the kernel")

    model = close(wide_layers()["conv 1x1"], "conv 1x1")
    x = levels(rng, model, 2, density=0.5)
    monkeypatch.setattr("akida_jax.executors.choice.native_fault", refuse)
    assert model.activity(x, "native") == model.activity(x, "dense")
    with pytest.raises(ValueError, match="unknown executor 'fast'"):
        model.activity(x, "fast")
