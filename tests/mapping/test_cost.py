"""The cost model: its arithmetic, its laws, its gradients."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import akida_jax as aj
from akida_jax import mapping, quant, zoo
from akida_jax.mapping import firing
from akida_jax.mapping.calibration.measurements import read_measurements
from akida_jax.mapping.law import Law, Work, published_law
from akida_jax.quant import fake_activation
from experiments.published_models import measured_models

SIMPLE = Law(
    cycles=Work(input_unit_outputs=2, taps=0.5, scanned=3, dense_operations=4, layers=100,
                loaded_bytes=5, loads=1000),
    picojoules={3: 10.0, 5: 20.0},
)  # fmt: skip
"""A law whose numbers one can follow by hand."""


@pytest.fixture
def model():
    return aj.Model(
        [
            aj.InputConvolutional(input_shape=(8, 12, 1), filters=4, kernel_size=3, name="eye"),
            aj.Convolutional(filters=6, kernel_size=5, name="conv"),
            aj.SeparableConvolutional(filters=10, kernel_size=3, pool="global_average", name="sep"),
            aj.FullyConnected(units=3, activation=False, name="head"),
        ]
    )


SPARSITY = {"eye": 0.5, "conv": 0.25, "sep": 0.4}


def test_cost_by_hand(model):
    placement = mapping.place(model, mapping.AKD1500)
    cost = mapping.estimate(placement, SPARSITY, law=SIMPLE, batch=3)
    compute = [
        2 * 8 * 12 * 4 + 100,
        0.5 * (8 * 12 * 4 * 0.5) * 6 * 25 + 3 * 8 * 12 * 4 + 100,
        0.5 * (8 * 12 * 6 * 0.75) * 10 * 9 + 3 * 8 * 12 * 6 + 100,
        4 * (10 * 0.6) * 3 + 100,
    ]
    assert [layer.compute_cycles for layer in cost.layers] == compute
    assert cost.cycles == sum(compute) + 2 * max(compute)
    assert cost.latency_ms == pytest.approx(cost.cycles / 400e3, rel=1e-12)  # one rounding each
    assert cost.fps == pytest.approx(3e3 / cost.latency_ms, rel=1e-12)
    assert cost.pipelined_fps == 400e6 / max(compute)
    picojoules = [0, 192 * 6 * 25 * 20.0, 432 * 10 * 9 * 10.0, 6 * 3 * 10.0]
    assert cost.dynamic_mj == pytest.approx(sum(picojoules) * 1e-9, rel=1e-12)
    assert cost.idle_mj == pytest.approx(113.5e-3 * cost.latency_ms / 3, rel=1e-12)
    assert cost.total_mj == cost.dynamic_mj + cost.idle_mj
    assert cost.power_mw == pytest.approx(cost.total_mj * cost.fps, rel=1e-12)


def test_reloading_happens_once_per_batch_and_pass():
    model = zoo.blank_model("akidanet", alpha=0.5)
    placement = mapping.place(model, mapping.AKD1500, "hw_pr")
    shares = {str(layer.name): 0.5 for layer in model.layers}
    one, many = (mapping.estimate(placement, shares, law=SIMPLE, batch=b) for b in (1, 11))
    loads = [layer.load_cycles for layer in one.layers]
    assert loads == [layer.load_cycles for layer in many.layers]
    first = sum(layer.pass_index == 0 for layer in placement.layers)
    assert loads[:first] == [0] * first
    split = placement["separable_4"].split
    assert one["separable_4"].load_cycles == 5 * split.weight_bytes * split.nps + 1000
    slowest = [
        max(one[layer.name].compute_cycles for layer in placement.layers if layer.pass_index == i)
        for i in range(placement.passes)
    ]
    assert many.cycles - one.cycles == pytest.approx(10 * sum(slowest), rel=1e-12)


def test_counts_of_a_real_activity_are_taken(model, rng):
    new = {"kernel": rng.integers(-7, 8, (5, 5, 4, 6)).astype(np.int8)}
    eye = {"kernel": rng.integers(-90, 91, (3, 3, 1, 4)).astype(np.int8)}
    model = model.with_variables({"conv": new, "eye": eye})
    activity = model.activity(rng.integers(0, 256, (5, 8, 12, 1)).astype(np.uint8))
    placement = mapping.place(model, mapping.AKD1000)
    cost = mapping.estimate(placement, activity)
    assert [layer.events for layer in cost.layers] == [
        layer.events_in / 5 for layer in activity.values()
    ]
    shares = mapping.estimate(placement, activity.sparsity)
    assert shares["sep"].events == pytest.approx(cost["sep"].events, rel=1e-12)
    assert shares.dynamic_mj == pytest.approx(cost.dynamic_mj, rel=1e-9)


MODES = [(mapping.AKD1500, mode) for mode in mapping.MODES] + [
    (mapping.AKD1000, "minimal"), (mapping.AKD1000, "all_nps")]  # fmt: skip


@pytest.mark.parametrize(("device", "mode"), MODES, ids=lambda v: str(getattr(v, "name", v)))
def test_more_events_never_cost_less(device, mode):
    model = zoo.blank_model("akidanet", alpha=0.25, input_shape=(96, 96, 3))
    placement = mapping.place(model, device, mode)
    names = [str(layer.name) for layer in model.layers]
    previous = None
    for share in (1.0, 0.9, 0.5, 0.1, 0.0):
        cost = mapping.estimate(placement, dict.fromkeys(names, share), batch=4)
        if previous is not None:
            assert cost.cycles > previous.cycles
            assert cost.dynamic_mj > previous.dynamic_mj
            for a, b in zip(previous.layers, cost.layers, strict=True):
                assert b.compute_cycles >= a.compute_cycles
        previous = cost


@pytest.mark.parametrize("most", [8, 64])
def test_more_filters_never_cost_less(most):
    """At one number of processors; a further part of the filters makes a layer faster."""
    costs = []
    for filters in (1, most // 2, most - 1, most):
        model = aj.Model(
            [
                aj.InputData(input_shape=(16, 16, 32), input_bits=4, name="input"),
                aj.Convolutional(filters=filters, kernel_size=3, activation=False, name="conv"),
            ]
        )
        placement = mapping.place(model, mapping.AKD1000)
        assert placement.nps == 1
        cost = mapping.estimate(placement, {"input": 0.5})
        costs.append((cost.cycles, cost.dynamic_mj))
    assert costs == sorted(costs)
    assert len(set(costs)) == len(costs)


def test_finer_splits_are_never_slower_to_compute():
    model = zoo.blank_model("akidanet", alpha=0.5)
    shares = {str(layer.name): 0.5 for layer in model.layers}
    least, more = (
        mapping.estimate(mapping.place(model, mapping.AKD1500, mode), shares)
        for mode in ("minimal", "hw_pr")
    )
    for a, b in zip(least.layers, more.layers, strict=True):
        assert b.nps >= a.nps
        assert b.compute_cycles <= a.compute_cycles


def test_one_energy_serves_every_measured_mode():
    """The model's energy has no mode: the measured ones lie within the calibrated error."""
    measured = {}
    for m in read_measurements(measured_models()):
        if m.dynamic_mj is not None:
            measured.setdefault(m.model, []).append(m)
    law = published_law("AKD1500")
    for rows in measured.values():
        assert len({m.modelled_mj(law) for m in rows}) == 1
        for m in rows:
            assert abs(m.energy_error(law)) <= law.errors["dynamic energy"]["worst"]


def test_totals_are_the_sums_of_the_layers(model):
    cost = mapping.estimate(mapping.place(model, mapping.AKD1500), SPARSITY)
    assert cost.dynamic_mj == sum(layer.dynamic_mj for layer in cost.layers)
    # Ten terms, each rounded once.
    total = sum(layer.latency_ms for layer in cost.layers)
    assert cost.latency_ms == pytest.approx(total, rel=1e-14)


def test_gradients_equal_finite_differences(model):
    """Energy and time are linear in a layer's events: any step gives the slope.

    Each figure is a sum of less than 16 terms in float32: it is off by 16 units of 2**-24
    at most, and the quotient of a difference over a step of 0.5 by four times that.
    """
    placement = mapping.place(model, mapping.AKD1500)

    def figures(shares):
        cost = mapping.estimate(placement, shares)
        return {"energy": cost.dynamic_mj, "time": cost.latency_ms, "power": cost.power_mw}

    shares = {name: jnp.float32(value) for name, value in SPARSITY.items()}
    for figure in ("energy", "time"):
        slope = jax.jit(jax.grad(lambda s, f=figure: figures(s)[f]))(shares)
        for name in SPARSITY:
            up, down = ({**shares, name: shares[name] + h} for h in (0.25, -0.25))
            difference = (figures(up)[figure] - figures(down)[figure]) / 0.5
            error = 4 * 16 * 2.0**-24 * float(figures(shares)[figure])
            np.testing.assert_allclose(slope[name], difference, rtol=0, atol=error)
            assert slope[name] < 0
    power = jax.grad(lambda s: figures(s)["power"])(shares)
    for name in SPARSITY:
        # A quotient of sums: central differences err by the square of the step, 2 % at most
        # here, and by the rounding as above, for a step of 0.04.
        up, down = ({**shares, name: shares[name] + h} for h in (0.02, -0.02))
        difference = (figures(up)["power"] - figures(down)["power"]) / 0.04
        rounding = 4 * 16 * 2.0**-24 * float(figures(shares)["power"]) * 0.5 / 0.04
        np.testing.assert_allclose(power[name], difference, rtol=2e-2, atol=rounding)


def test_the_slowest_layer_of_a_pass_has_the_gradient_of_the_pipeline(model):
    placement = mapping.place(model, mapping.AKD1500)
    shares = {name: jnp.float32(value) for name, value in SPARSITY.items()}
    slope = jax.grad(lambda s: mapping.estimate(placement, s, law=SIMPLE).pipelined_fps)(shares)
    assert slope["conv"] > 0  # sep is the slowest, conv feeds it
    assert slope["eye"] == slope["sep"] == 0


def test_training_reaches_the_weights_through_the_events(rng):
    layers = [
        quant.InputData(input_shape=(6, 6, 2), input_bits=4),
        quant.Conv(filters=4, kernel_size=3),
        quant.SeparableConv(filters=5, kernel_size=3),
        quant.Dense(units=3, activation=False),
    ]
    network = quant.quantize(quant.Sequential(layers, rngs=nnx.Rngs(0)))
    x = rng.integers(0, 16, (4, 6, 6, 2)).astype(np.uint8)
    placement = mapping.place(aj.convert(network), mapping.AKD1000)

    @nnx.jit
    @nnx.value_and_grad
    def energy(network):
        return mapping.estimate(placement, mapping.output_sparsity(network, x)).dynamic_mj

    value, slope = energy(network)
    exact = mapping.estimate(placement, aj.convert(network).activity(x)).dynamic_mj
    # Shares of up to 720 values and a sum of three terms, each rounded to 2**-24.
    np.testing.assert_allclose(value, exact, rtol=16 * 2.0**-24)
    assert np.abs(slope["layers"][0]["kernel"][...]).max() > 0
    assert np.abs(slope["layers"][1]["pointwise"][...]).max() > 0
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(slope))


def test_the_surrogate_is_the_central_difference_over_one_step():
    """Potentials spread over several steps; every one of them shifted by one step."""
    u = jnp.linspace(-2.97, 4.03, 351)  # none on a level's edge

    def fired(shift):
        y = (u + shift + 0.5) * 0.25
        levels = jnp.clip(jnp.ceil(y / 0.25 - 0.5), 0, 15).astype(jnp.int32)
        out = fake_activation(levels, y, step=jnp.float32(0.25), bits=4)
        return firing.count_events(out)

    slope = jax.grad(fired)(0.0)
    assert slope == (fired(1.0) - fired(-1.0)) / 2


@pytest.mark.parametrize(
    ("sparsity", "message"),
    [
        ({"eye": 0.5}, r"missing \['conv', 'sep'\], unknown \[\]; the layers are eye, conv, sep, "
                       "head"),
        ({**SPARSITY, "ear": 0.5}, r"missing \[\], unknown \['ear'\]; the layers are eye, conv"),
        ({**SPARSITY, "eye": "0.5"}, "layer 'eye': sparsity must be one number"),
        ({**SPARSITY, "eye": None}, "layer 'eye': sparsity must be one number"),
        ({**SPARSITY, "eye": 0.5j}, "layer 'eye': sparsity must be one number"),
        ({**SPARSITY, "eye": 1.5}, r"'eye': sparsity must be one number in \[0, 1\], got 1.5"),
        ({**SPARSITY, "eye": float("nan")}, "layer 'eye': sparsity must be one number"),
        ({**SPARSITY, "eye": np.zeros(2)}, "layer 'eye': sparsity must be one number"),
    ],
)  # fmt: skip
def test_impossible_sparsities_are_refused(model, sparsity, message):
    with pytest.raises(ValueError, match=message):
        mapping.estimate(mapping.place(model, mapping.AKD1000), sparsity)


@pytest.mark.parametrize("sparsity", [0.5, None, [0.5]])
def test_something_else_than_a_dict_is_refused(model, sparsity):
    with pytest.raises(TypeError, match="takes the Activity of a model, or a dict of output"):
        mapping.estimate(mapping.place(model, mapping.AKD1000), sparsity)


@pytest.mark.parametrize("cast", [np.float16, np.float32, np.int64, np.array, jnp.float16])
def test_numbers_of_every_kind_are_taken(model, cast):
    placement = mapping.place(model, mapping.AKD1000)
    exact = mapping.estimate(placement, dict.fromkeys(SPARSITY, 1.0))
    cost = mapping.estimate(placement, {name: cast(1) for name in SPARSITY}, batch=np.int64(1))
    # JAX scalars are float32: sums of less than 16 terms.
    assert float(cost.cycles) == pytest.approx(exact.cycles, rel=16 * 2.0**-24)


@pytest.mark.parametrize("batch", [0, -1, 1.5, True, 10**30])
def test_impossible_batches_are_refused(model, batch):
    with pytest.raises(ValueError, match="batch must be a positive integer"):
        mapping.estimate(mapping.place(model, mapping.AKD1000), SPARSITY, batch=batch)


def test_activity_of_another_model_is_refused(model):
    other = zoo.blank_model("akida_tiny")
    activity = other.activity(np.zeros((1, 32, 32, 10), np.uint8))
    with pytest.raises(ValueError, match="activity and placement differ in layers: conv"):
        mapping.estimate(mapping.place(model, mapping.AKD1000), activity)


def test_impossible_activity_is_refused(model):
    placement = mapping.place(model, mapping.AKD1000)
    with pytest.raises(ValueError, match="the activity is of no samples"):
        mapping.estimate(placement, model.activity(np.zeros((0, 8, 12, 1), np.uint8)))
    larger = aj.Model(
        [dataclasses.replace(model.layers[0], input_shape=(16, 16, 1)), *model.layers[1:]]
    )
    activity = larger.activity(np.full((1, 16, 16, 1), 255, np.uint8))
    message = "layer 'eye': 256 events of 1 samples into 96 values; the activity is of another"
    with pytest.raises(ValueError, match=message):
        mapping.estimate(placement, activity)


def test_the_summary_of_another_model_is_refused(model):
    other = mapping.place(zoo.blank_model("akida_tiny"), mapping.AKD1000)
    with pytest.raises(ValueError, match="the placement is of another model, with layers conv_0"):
        model.summary(other)


def test_a_float_network_has_no_sparsity():
    with pytest.raises(ValueError, match="a float network has no events"):
        mapping.output_sparsity(zoo.build("akida_tiny"), np.zeros((1, 32, 32, 10), np.uint8))


def test_software_is_named_and_not_counted():
    model = zoo.blank_model("akidanet", alpha=1.0)
    placement = mapping.place(model, mapping.AKD1000)
    cost = mapping.estimate(placement, {str(layer.name): 0.5 for layer in model.layers})
    assert cost.software == placement.sequences[1][1]
    assert "in software, not counted: separable_11" in str(cost)


def test_every_printed_cost_says_modelled_and_its_error(model):
    for device in mapping.DEVICES.values():
        cost = mapping.estimate(mapping.place(model, device), SPARSITY)
        assert str(cost).startswith(f"modelled on {device.name}")
        assert "expected error: " in str(cost)
        assert "median" in str(cost)
    own = dataclasses.replace(cost, law=SIMPLE)
    assert "expected error: unknown, constants of one's own" in str(own)
