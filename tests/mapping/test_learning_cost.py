import jax
import jax.numpy as jnp
import numpy as np
import pytest

import akida_jax as aj
from akida_jax import mapping
from akida_jax.mapping.law import Law, Work

SIMPLE = Law(cycles=Work(dense_operations=4, layers=100), picojoules={3: 10.0})
"""A law whose numbers one can follow by hand."""
EVENTS = 8
SPARSITY = {"data": 1 - EVENTS / 20}


def place(weight_bits=1, device=mapping.AKD1000, units=6):
    model = aj.Model([
        aj.InputData(input_shape=(1, 1, 20), input_bits=1, name="data"),
        aj.FullyConnected(units=units, activation=False, weight_bits=weight_bits, name="learned"),
    ])  # fmt: skip
    kernel = np.zeros((1, 1, 20, units), np.int8)
    kernel[:, :, :5] = 1
    return mapping.place(model.with_variables({"learned": {"kernel": kernel}}), device)


def test_cost_by_hand():
    cost = mapping.estimate_learning(place(), SPARSITY, swaps=3, neurons_per_class=2, law=SIMPLE)
    clock = mapping.AKD1000.clock_hz
    assert cost.events == EVENTS
    assert cost.support_operations == EVENTS + 5
    assert cost.update_cycles == 4 * (EVENTS + 5 + 2 * 3)
    # One rounding in each operation of a handful.
    close = {"rel": 1e-12}
    assert cost.inference.cycles == pytest.approx(4 * EVENTS * 6 + 100, **close)
    assert cost.update_ms == pytest.approx(cost.update_cycles / clock * 1e3, **close)
    assert cost.update_mj == pytest.approx(19 * 10 * 1e-9, **close)
    assert cost.latency_ms == pytest.approx(cost.inference.latency_ms + cost.update_ms, **close)
    idle = mapping.AKD1000.idle_mw * cost.latency_ms * 1e-3
    assert cost.total_mj == pytest.approx(
        cost.inference.dynamic_mj + cost.update_mj + idle, **close
    )
    assert "modelled on AKD1000: 8 events and 3.0 swaps" in str(cost)
    assert "assumed" in str(cost)


def test_neurons_that_never_learned_do_not_count():
    """They have no weights in an attached model; those that learned have all theirs."""
    full = place()
    kernel = np.array(full.layers[-1].program.kernels["kernel"])
    kernel[..., 2:] = 0
    model = aj.Model(
        [
            aj.InputData(input_shape=(1, 1, 20), input_bits=1, name="data"),
            aj.FullyConnected(units=6, activation=False, weight_bits=1, name="learned"),
        ],
        {"learned": {"kernel": kernel}},
    )
    given = {"swaps": 5, "neurons_per_class": 3, "law": SIMPLE}
    expected = mapping.estimate_learning(full, SPARSITY, **given)
    found = mapping.estimate_learning(mapping.place(model, mapping.AKD1000), SPARSITY, **given)
    assert found.support_operations == expected.support_operations == 2 * (EVENTS + 5)


def test_neurons_per_class_are_those_of_the_layer():
    model = aj.Model([
        aj.InputData(input_shape=(1, 1, 20), input_bits=1, name="data"),
        aj.FullyConnected(units=6, activation=False, weight_bits=1, neurons_per_class=3,
                          name="learned"),
    ], {"learned": {"kernel": place().layers[-1].program.kernels["kernel"]}})  # fmt: skip
    cost = mapping.estimate_learning(mapping.place(model, mapping.AKD1000), SPARSITY, swaps=3)
    assert cost.support_operations == 2 * (EVENTS + 5)


def test_a_neuron_per_class_asks_no_others():
    cost = mapping.estimate_learning(place(), SPARSITY, swaps=0)
    assert cost.support_operations == cost.update_cycles == 0
    assert cost.latency_ms == cost.inference.latency_ms


def test_gradients_follow_events_and_swaps():
    placement = place()

    def cycles(sparsity, swaps):
        cost = mapping.estimate_learning(
            placement, {"data": sparsity}, swaps=swaps, neurons_per_class=3, law=SIMPLE
        )
        return cost.update_cycles

    by_sparsity, by_swaps = jax.jit(jax.grad(cycles, (0, 1)))(jnp.float32(0.5), jnp.float32(2))
    assert by_sparsity == -20 * 2 * 4
    assert by_swaps == 2 * 4


@pytest.mark.parametrize(
    ("given", "options", "message"),
    [
        ({"weight_bits": 4}, {}, "'learned': only a fully connected layer of 1-bit weights"),
        ({}, {"neurons_per_class": 4}, "neurons_per_class must divide its 6 neurons, got 4"),
        ({}, {"neurons_per_class": 0}, "neurons_per_class must divide its 6 neurons, got 0"),
        ({}, {"swaps": 6}, "swaps must be 0 to its 5 weights a neuron, got 6"),
        ({}, {"swaps": -1}, "swaps must be 0 to its 5 weights a neuron, got -1"),
    ],
)
def test_what_cannot_be_learned_is_refused(given, options, message):
    with pytest.raises(ValueError, match=message):
        mapping.estimate_learning(place(**given), SPARSITY, **{"swaps": 1, **options})
