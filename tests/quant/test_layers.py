"""Float layers, their folding, the quantized twin's gradients and its integers."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from akida_jax import quant
from akida_jax.quant.layers import _EPSILON

EVENTS = quant.InputData(input_shape=(6, 5, 3))
HEAD = quant.Dense(units=3, activation=False)
# Layers behind an input of (6, 5, 3) events.
STACKS = {
    "conv": [quant.Conv(filters=4, kernel_size=3, stride=2), HEAD],
    "conv_max": [quant.Conv(filters=4, kernel_size=3, pool="max"),
                 quant.Conv(filters=2, kernel_size=1, activation=False)],
    "separable": [quant.SeparableConv(filters=4, kernel_size=3, pool="global_average"), HEAD],
    "separable_max": [quant.SeparableConv(filters=4, kernel_size=3, pool="max"),
                      quant.SeparableConv(filters=2, kernel_size=3, activation=False)],
    "average_last": [quant.Conv(filters=4, kernel_size=1, pool="global_average",
                                activation=False)],
    "dense": [quant.Dense(units=4), HEAD],
}  # fmt: skip


def build(layers, *, seed=0, first=EVENTS, **arguments):
    network = quant.Sequential([first, *layers], rngs=nnx.Rngs(seed), **arguments)
    rng = np.random.default_rng(seed)
    for layer in network.layers:
        n = layer.bias[...].shape
        layer.bias[...] = rng.normal(0.3, 0.3, n).astype(np.float32)
        if layer.norm is not None:
            layer.gain[...] = rng.normal(0.3, 1, n).astype(np.float32)
            layer.norm.mean[...] = rng.normal(0, 0.3, n).astype(np.float32)
            layer.norm.var[...] = rng.uniform(0.05, 0.3, n).astype(np.float32)
    return network


def events(rng, n=4):
    return rng.integers(0, 16, (n, 6, 5, 3), dtype=np.uint8)


@pytest.mark.compiled
@pytest.mark.parametrize("name", ["conv", "conv_max", "separable", "separable_max"])
def test_folded_parameters_compute_the_same_layer(name, rng):
    network = build(STACKS[name][:1], seed=3)
    layer = network.layers[0]
    assert (layer.gain[...] < 0).any(), "a negative gain must be among them"
    x = events(rng)
    expected = np.asarray(network(x))
    kernels, bias = layer.folded()
    y = layer.spec.max_pool(layer.spec.linear(x.astype(jnp.float32), kernels)) / 15.0
    if layer.spec.pool == "global_average":
        y = y.mean((1, 2), keepdims=True)
    actual = np.clip(np.asarray(y + bias).reshape(expected.shape), 0, 6)
    # Two orders of at most 27 + 3 float32 products: 2 * 30 * 2**-24 of the sum of
    # magnitudes, which stays below 1000 here.
    np.testing.assert_allclose(actual, expected, atol=2 * 30 * 2.0**-24 * 1000)
    assert 0.05 < (actual > 0).mean() < 1


def test_a_negative_gain_counts_by_its_magnitude_before_max_pool(rng):
    x = events(rng)
    plus, minus = build(STACKS["conv_max"]), build(STACKS["conv_max"])
    plus.layers[0].gain[...] = jnp.abs(plus.layers[0].gain[...])
    minus.layers[0].gain[...] = -plus.layers[0].gain[...]
    np.testing.assert_array_equal(plus(x), minus(x))
    plain, negated = build(STACKS["conv"]), build(STACKS["conv"])
    negated.layers[0].gain[...] = -plain.layers[0].gain[...]
    assert not np.array_equal(plain(x), negated(x))


def test_train_mode_normalizes_and_moves_the_statistics(rng):
    network = build(STACKS["conv"])
    layer = network.layers[0]
    layer.gain[...], layer.bias[...] = jnp.ones(4), jnp.full(4, 3.0)
    before = np.asarray(layer.norm.mean[...])
    (_, out), *_ = network.outputs(events(rng, 64), train=True)
    # Normalized to variance 1 / (1 + epsilon/var) around 3: the bound at 0 and 6 cuts little.
    assert abs(float(out.mean()) - 3) < 0.1
    assert not np.array_equal(before, layer.norm.mean[...])
    frozen = np.asarray(layer.norm.mean[...])
    network(events(rng))
    np.testing.assert_array_equal(frozen, layer.norm.mean[...])
    assert _EPSILON == 1e-3


def test_input_scale_and_shift_are_undone(rng):
    first = quant.InputConv(input_shape=(6, 5, 3), filters=4, kernel_size=3, padding_value=100)
    network = quant.Sequential(
        [first], rngs=nnx.Rngs(1), batch_norm=False, input_scale=50.0, input_shift=100
    )
    x = rng.integers(0, 256, (2, 6, 5, 3), dtype=np.uint8)
    real = jnp.asarray((x.astype(np.float32) - 100) / 50)
    kernel = network.layers[0].kernel[...]
    y = jax.lax.conv_general_dilated(
        real, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision="highest",
    )  # fmt: skip
    # 27 products of magnitude below 255 * 1 and their sum, divided by 50, in two orders.
    np.testing.assert_allclose(network(x), np.clip(y, 0, 6), atol=2 * 28 * 2.0**-24 * 27 * 255 / 50)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([], "must begin with InputData or an input convolution"),
        ([HEAD], "must begin with InputData or an input convolution"),
        ([EVENTS], "needs at least one layer behind its input"),
        ([EVENTS, HEAD, quant.Dense(units=2)], "'dense_0': only the last layer may lack an"),
        ([EVENTS, quant.Dense(units=2, name="a"), quant.Dense(units=2, name="a")], "repeated: a"),
        ([EVENTS, quant.InputConv(input_shape=(6, 5, 3), filters=2, kernel_size=3)],
         "'conv_0': an input layer must come first"),
        ([EVENTS, quant.Dense(units=2), quant.InputData(input_shape=(1, 1, 2), name="b"), HEAD],
         "'b': an input layer must come first"),
    ],
)  # fmt: skip
def test_networks_that_cannot_be_built(layers, message):
    with pytest.raises(ValueError, match=message):
        quant.Sequential(layers, rngs=nnx.Rngs(0))


def test_a_shift_needs_an_input_convolution():
    with pytest.raises(ValueError, match="'input' is InputData: input_shift must be 0"):
        quant.Sequential([EVENTS, HEAD], rngs=nnx.Rngs(0), input_shift=3)


@pytest.mark.parametrize("shape", [(2, 6, 5), (2, 5, 6, 3), (2, 6, 5, 4)])
def test_inputs_of_another_shape_are_refused(shape):
    network = build(STACKS["dense"])
    with pytest.raises(ValueError, match=r"'input' takes inputs of shape \(n, 6, 5, 3\), got"):
        network(jnp.zeros(shape))
    with pytest.raises(ValueError, match="got"):
        quant.quantize(network).forward(jnp.zeros(shape))


@pytest.mark.parametrize("name", STACKS)
def test_an_empty_batch_gives_an_empty_output(name, rng):
    network, x = build(STACKS[name]), events(rng)
    twin = quant.quantize(network)
    for function in (network, twin, twin.forward):
        expected, empty = function(x), function(x[:0])
        assert empty.shape == (0, *expected.shape[1:])
        assert empty.dtype == expected.dtype


def test_an_empty_batch_of_channel_groups(rng):
    # 15*7 * 7*7 * 7 * 500 = 18 007 500 >= 2**24: two groups of channels.
    layers = [quant.SeparableConv(filters=2, kernel_size=7, activation=False)]
    first = quant.InputData(input_shape=(3, 3, 500))
    network = quant.quantize(quant.Sequential([first, *layers], rngs=nnx.Rngs(0)))
    assert network.layers[0].groups() == 2
    assert network.forward(np.zeros((0, 3, 3, 500), np.uint8)).shape == (0, 3, 3, 2)


def test_a_float_network_has_no_integers():
    with pytest.raises(ValueError, match=r"apply quant\.quantize first"):
        build(STACKS["dense"]).integers()


def _loss(graph, x, labels):
    def loss(parameters, rest):
        network = nnx.merge(graph, parameters, rest)
        logits = network(x).mean(tuple(range(1, network(x).ndim - 1))) * 0.3
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    return loss


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] if name in ("conv_max", "separable") else [])
        for name in STACKS
    ],
)
def test_the_gradient_reaches_every_parameter(name, rng):
    network = quant.quantize(build(STACKS[name], seed=1), calibration=events(rng, 16))
    n_outputs = network.layers[-1].spec.neurons
    x = events(rng, 8)
    labels = jnp.asarray(rng.integers(0, n_outputs, 8, dtype=np.int32))
    trained = nnx.Any(nnx.Param, quant.Step)
    graph, parameters, rest = nnx.split(network, trained, ...)
    gradients = jax.jit(jax.grad(_loss(graph, x, labels)))(parameters, rest)
    for path, gradient in nnx.to_flat_state(gradients):
        value = np.asarray(gradient[...])
        assert np.isfinite(value).all(), path
        is_last_step = path[-1] == "step" and path[1] == len(network.layers) - 1
        # The step of a layer without activation is not used.
        assert bool(np.any(value)) != is_last_step, path


def test_the_gradient_of_the_logits_is_that_of_the_float_surrogate(rng):
    # Without rounding in between (one dense layer) the gradient has a closed form.
    network = quant.quantize(build([HEAD]))
    x = events(rng)
    graph, state = nnx.split(network)
    gradient = jax.jit(jax.grad(lambda s: nnx.merge(graph, s)(x).sum()))(state)
    levels = x.reshape(4, -1).astype(np.float64).sum(0)
    step = float(network.input_step.value)
    by_kernel = np.asarray(gradient["layers"][0]["kernel"][...])[0, 0]
    # y = x @ (w * d) / d * step: three roundings of float32.
    np.testing.assert_allclose(by_kernel, np.stack([levels * step] * 3, 1), rtol=4 * 2.0**-23)
    np.testing.assert_allclose(gradient["layers"][0]["bias"][...], [4, 4, 4], rtol=1e-6)


@pytest.mark.compiled
@pytest.mark.parametrize(
    "name",
    ["average_last", *(pytest.param(n, marks=pytest.mark.slow) for n in ("conv", "separable_max"))],
)
def test_one_set_of_integers_under_every_compilation(name, rng):
    graph, _ = nnx.split(quant.quantize(build(STACKS[name])))
    states = [nnx.split(quant.quantize(build(STACKS[name], seed=s)))[1] for s in range(3)]
    x = events(rng)

    def run(state):
        network = nnx.merge(graph, state)
        return network.integers(), network.forward(x)

    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)
    mapped = jax.jit(jax.vmap(run))(stacked)
    compiled = jax.jit(run)
    for index, state in enumerate(states):
        expected = compiled(state)
        others = [jax.tree.map(lambda leaf, i=index: leaf[i], mapped)]
        if index == 0:
            eager = nnx.merge(graph, state)
            others += [(eager.integers(), expected[1]), jax.jit(lambda state=state: run(state))()]
        for other in others:
            for a, b in zip(jax.tree.leaves(expected), jax.tree.leaves(other), strict=True):
                np.testing.assert_array_equal(a, b)


def test_training_lowers_the_loss(rng):
    # The class is the channel that holds the most.
    labels = rng.integers(0, 3, 64, dtype=np.int32)
    x = rng.integers(0, 8, (64, 6, 5, 3), dtype=np.uint8)
    x[np.arange(64), :, :, labels] += 4
    network = quant.quantize(
        quant.Sequential([EVENTS, *STACKS["separable"]], rngs=nnx.Rngs(0)), calibration=x
    )
    graph, parameters, rest = nnx.split(network, nnx.Param, ...)
    loss = _loss(graph, jnp.asarray(x), jnp.asarray(labels))
    optimizer = optax.adam(0.03)

    @jax.jit
    def step(parameters, slots):
        value, gradient = jax.value_and_grad(loss)(parameters, rest)
        updates, slots = optimizer.update(gradient, slots, parameters)
        return optax.apply_updates(parameters, updates), slots, value

    slots, values = optimizer.init(parameters), []
    for _ in range(40):
        parameters, slots, value = step(parameters, slots)
        values.append(float(value))
    assert values[-1] < 0.7 * values[0]
