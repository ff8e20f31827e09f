"""Pressure in training: what it does to events, that a budget is met, that runs resume exactly."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from rich.console import Console

import akida_jax as aj
from akida_jax import mapping, quant
from experiments import dvs_gesture, train
from experiments.training import options
from experiments.training.pressure import NetworkPressure, Pressure, UnreachableError, sample_shares
from experiments.training.recipes import CHOICE_RATE, Phase, Recipe
from experiments.training.trainer import COLDEST, Trainer
from experiments.training.trainer import train as train_phases
from tests.experiments import tiny_run

DATA, TEST = tiny_run.make_examples()
EPOCHS = {"float": 1, "search": 2, "quantized": 2}


class Stop(Exception):
    """Stands for the moment at which a run ends without warning."""


@pytest.fixture(scope="module", autouse=True)
def _compiled(compile_once):
    return compile_once


def make_twin():
    return quant.quantize(tiny_run.make_network(), calibration=DATA.x[:8])


def make_pressure(**fields):
    return Pressure(**{"sample": DATA.x, **fields})


def make_trainer(network, pressure=None, *, epochs=8, high=3e-2, **recipe):
    phase = Phase(name="quantized", epochs=epochs, low=1e-3, high=high, cycle_epochs=epochs)
    made = Recipe(batch_size=13, pressure=pressure, **recipe)
    return Trainer(network, phase, DATA, recipe=made, seed=2)


def run_epochs(trainer):
    """Train the whole phase; return the metrics of every epoch."""
    rows = []
    for epoch in range(1, trainer.phase.epochs + 1):
        trainer.run_epoch(epoch)
        rows.append(trainer.measure())
    return rows


@pytest.fixture(scope="module")
def bench():
    """A trainer under pressure of every kind, whose strengths are arrays of one program."""
    activities = ("l1", "hoyer", "events")
    budget = mapping.Budget(quantity="events", limit=1e6)
    pressure = make_pressure(activities=activities, weights=(0.0, 0.0, 0.0), budget=budget)
    return make_trainer(make_twin(), pressure, epochs=12)


def train_under(bench, *, limit=np.inf, **weights):
    """Train a fresh network; return the metrics of every epoch."""
    bench.begin(make_twin(), 2)
    strengths = tuple(jnp.float32(weights.get(name, 0.0))
                      for name in bench.pressure.settings.activities)  # fmt: skip
    multiplier = mapping.start_multiplier(limit)
    state = bench.state.pressure._replace(weights=strengths, multiplier=multiplier)
    bench.restore(bench.state._replace(pressure=state))
    return run_epochs(bench)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("activity", "weights"),
    [("l1", (0.02, 0.3)), ("hoyer", (0.1, 1.0)), ("events", (0.001, 0.01))],
)
def test_a_heavier_weight_leaves_fewer_events(bench, activity, weights):
    counts = [train_under(bench, **{activity: weight})[-1]["figures"]["events"]
              for weight in (0.0, *weights)]  # fmt: skip
    assert counts[0] > counts[1] > counts[2]


def test_figures_are_those_of_the_converted_model():
    twin = make_twin()
    model = aj.convert(twin)
    placement = mapping.place(model, mapping.AKD1500, "all_nps")
    cost = mapping.estimate(placement, model.activity(DATA.x))
    pressure = make_pressure(device=mapping.AKD1500, mode="all_nps")
    bound = NetworkPressure(pressure, twin, 1)
    row = bound.measure(twin, bound.start())
    # The same counts; doubles added in another order.
    assert row["figures"] == pytest.approx(mapping.model_figures(placement, cost), rel=1e-12)


def test_the_term_of_a_cost_is_physical():
    """Weight times the figure that `estimate` gives, to float32."""
    twin = make_twin()
    shares = sample_shares(twin, DATA.x)
    for activity in ("energy", "dynamic", "latency", "events"):
        bound = NetworkPressure(make_pressure(activities=(activity,), weights=(2.0,)), twin, 1)
        term, _ = bound.term(bound.start(), twin, {}, DATA.x, twin.outputs(DATA.x))
        expected = 2 * bound.plan.figures(shares)[activity]
        # Shares and a few dozen terms in float32.
        np.testing.assert_allclose(term, expected, rtol=1e-5)


@pytest.mark.slow
def test_the_gradient_of_a_cost_term_is_that_of_the_events():
    """Energy is linear in the shares, so its slope is the sum of slopes times price per event."""
    twin = make_twin()
    graph, parameters, rest = nnx.split(twin, nnx.Param, ...)
    bound = NetworkPressure(make_pressure(activities=("dynamic",), weights=(1e6,)), twin, 1)
    x = jnp.asarray(DATA.x[:4])

    def term(parameters):
        network = nnx.merge(graph, parameters, rest)
        return bound.term(bound.start(), network, {}, x, network.outputs(x))[0]

    def share(parameters, name):
        return mapping.output_sparsity(nnx.merge(graph, parameters, rest), x)[name]

    base = {name: float(v) for name, v in mapping.output_sparsity(twin, x).items()}
    slope = jax.grad(term)(parameters)
    total = jax.tree.map(jnp.zeros_like, slope)
    for name in ("conv_0", "separable_1"):
        silent = bound.plan.figures(base | {name: 1.0})["dynamic"]
        full = bound.plan.figures(base | {name: 0.0})["dynamic"]
        part = jax.grad(share)(parameters, name)
        total = jax.tree.map(lambda t, g, c=silent - full: t + 1e6 * c * g, total, part)
    scale = max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(total))
    assert scale > 0
    for found, expected in zip(jax.tree.leaves(slope), jax.tree.leaves(total), strict=True):
        # Sums over 4 * 180 activations in float32, in another order.
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * scale)


@pytest.mark.slow
def test_a_budget_is_met_and_the_multiplier_never_negative(bench):
    free = train_under(bench)[-1]["figures"]["events"]
    shares = sample_shares(make_twin(), DATA.x)
    limit = 0.75 * free + 0.25 * bench.pressure.plan.least(shares["input"])["events"]
    rows = train_under(bench, limit=0.98 * limit)
    assert free > limit
    assert rows[-1]["figures"]["events"] <= limit
    assert all(row["multiplier"] >= 0 for row in rows)
    assert max(row["multiplier"] for row in rows) > 0


@pytest.mark.slow
def test_without_a_binding_budget_nothing_changes():
    loose = make_pressure(budget=mapping.parse_budget("1 J"))
    outputs = []
    for pressure in (loose, None):
        trainer = make_trainer(make_twin(), pressure, epochs=1)
        run_epochs(trainer)
        outputs.append(trainer.network()(TEST.x))
    np.testing.assert_array_equal(*outputs)


@pytest.mark.slow
def test_choices_follow_a_budget_of_bytes():
    budget = mapping.parse_budget("45 bytes")  # 36 with 2 bits everywhere, 72 with 4
    pressure = make_pressure(budget=budget, ascent=20.0)
    trainer = make_trainer(quant.mix(make_twin()), pressure, epochs=40)
    before = choices_of(trainer)
    for epoch in range(40):
        trainer.cool(epoch / 39)
        trainer.run_epoch(epoch + 1)
        if not epoch:
            # Two steps of Adam, each of about its rate at most.
            moved = np.abs(choices_of(trainer) - before)
            assert 0 < moved.max() <= 2 * CHOICE_RATE * 1.01
    row = trainer.measure()
    assert row["figures"]["size"] <= 45
    assert 2 in row["weight_bits"].values()
    assert float(trainer.network().layers[0].temperature[...]) == np.float32(COLDEST)
    fixed = quant.fix_widths(trainer.network(), row["weight_bits"])
    np.testing.assert_array_equal(fixed.forward(TEST.x), aj.convert(fixed).forward(TEST.x))


def choices_of(trainer):
    return np.array([layer.choice[...] for layer in quant.mixed_layers(trainer.network())])


def steps_of(network):
    return np.array([float(layer.step[...]) for layer in network.layers])


@pytest.mark.slow
def test_steps_are_learned_only_on_request(bench):
    before = steps_of(make_twin())
    train_under(bench)
    np.testing.assert_array_equal(steps_of(bench.network()), before)
    learned = make_trainer(make_twin(), step_rate=3.0, epochs=2)
    run_epochs(learned)
    after = steps_of(learned.network())
    assert (after[:2] != before[:2]).all()  # the last layer has no activation
    assert (after > 0).all()
    learned.check_registers()


def test_steps_stay_positive_under_any_rate():
    transform = Recipe(step_rate=1e9).transform(lambda step: 1.0, {"step": jnp.float32(0.25)})
    step = {"step": jnp.float32(0.25)}
    state = transform.init(step)
    for n in range(1, 6):
        updates, state = transform.update({"step": jnp.float32(1.0)}, state, step)
        step = jax.tree.map(jnp.add, step, updates)
        assert step["step"] == 0.25 / 2**n  # half of it goes at most


def test_a_step_that_no_register_holds_is_refused():
    twin = make_twin()
    twin.layers[0].step[...] = jnp.float32(1e30)
    with pytest.raises(aj.ModelError, match="conv_0"):
        make_trainer(twin, step_rate=1.0).check_registers()


def test_the_gradient_of_a_step_is_that_of_learned_step_size():
    """Of level * step: the rounding error inside, the highest level above, 0 below (LSQ)."""
    y = jnp.array([-1.0, 0.1, 0.33, 0.62, 1.4, 9.0])
    step = 0.25

    def value(step):
        levels = jnp.clip(jnp.ceil(y / 0.25 - 0.5), 0, 15).astype(jnp.int32)
        return quant.fake_activation(levels, y, step=step, bits=4) * step

    slope = jax.jacobian(value)(jnp.float32(step))
    levels = np.clip(np.ceil(np.asarray(y) / step - 0.5), 0, 15)
    inside = (levels < 15) & (np.asarray(y) > -step / 2)
    expected = np.where(inside, levels - np.asarray(y) / step, levels)
    # Quotients of numbers below 16 in float32.
    np.testing.assert_allclose(slope, expected, rtol=0, atol=1e-5)


def phases():
    return tuple(
        Phase(name=name, epochs=n, low=1e-4, high=1e-2, cycle_epochs=2)
        for name, n in EPOCHS.items()
    )


def run(folder, on_epoch=lambda row: None):
    """Train float, search widths, train on; under pressure of every kind."""
    pressure = make_pressure(
        activities=("l1", "energy"), weights=(0.1, 1.0), budget=mapping.parse_budget("60 bytes")
    )
    recipe = Recipe(batch_size=8, augment=tiny_run.flip, pressure=pressure, step_rate=2.0)
    checkpoints = tiny_run.open_checkpoints(folder)
    try:
        network, history = train_phases(
            tiny_run.make_network(), phases(), DATA, TEST, checkpoints=checkpoints, recipe=recipe,
            quantize=lambda network: quant.quantize(network, calibration=DATA.x[:8]), seed=1,
            on_epoch=on_epoch,
        )  # fmt: skip
    finally:
        checkpoints.close()
    leaves = jax.tree.leaves_with_path(nnx.state(network))
    arrays = {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves}
    rows = [{k: v for k, v in row.items() if k != "seconds"} for row in history]
    return arrays, rows, aj.convert(network).forward(TEST.x)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return run(tmp_path_factory.mktemp("whole"))


@pytest.mark.slow
def test_a_search_ends_in_a_plain_network(whole):
    arrays, rows, _ = whole
    assert [row["phase"] for row in rows] == ["float", "search", "search", "quantized", "quantized"]
    assert not any("choice" in name for name in arrays)
    assert "figures" not in rows[0]
    assert set(rows[2]["weight_bits"]) == {"conv_0", "separable_1", "dense_2"}
    assert all(row["multiplier"] >= 0 for row in rows[1:])
    assert rows[3]["figures"]["size"] == rows[2]["figures"]["size"]


@pytest.mark.slow
@pytest.mark.parametrize("last", [1, 2, 3, 4, 5])
def test_a_run_under_pressure_resumes_with_the_same_bits(tmp_path, whole, last):
    def stop(row):
        if row["epoch"] == last:
            raise Stop

    with pytest.raises(Stop):
        run(tmp_path, stop)
    arrays, rows, integers = run(tmp_path)
    assert rows == whole[1]
    np.testing.assert_array_equal(integers, whole[2])
    assert arrays.keys() == whole[0].keys()
    for name, value in whole[0].items():
        np.testing.assert_array_equal(arrays[name], value, err_msg=name, strict=True)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"activities": ("l1",)}, r"\('l1',\) need one weight .* got \(\)"),
        ({"activities": ("l1",), "weights": (-1.0,)}, r"at least 0 each, got \(-1.0,\)"),
    ],
)
def test_weights_that_do_not_fit_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        make_pressure(**fields)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"activities": ("size",), "weights": (1.0,)}, "size follows from the widths"),
        ({"budget": mapping.parse_budget("1 event")}, "1 events cannot be met on AKD1000"),
        ({"budget": mapping.parse_budget("2 NPs")}, "2 NPs cannot be met"),
    ],
)
def test_what_no_training_can_do_is_refused_before_it(fields, message):
    with pytest.raises(ValueError, match=message):
        make_trainer(make_twin(), make_pressure(**fields))


@pytest.mark.parametrize("experiment", [train, dvs_gesture])
@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"budget": "1 nJ"}, "a budget of 1e-06 mJ cannot be met on AKD1000: without a single"),
        ({"activity": "nps", "activity_weight": 1.0}, "activity nps follows from the widths"),
        ({"budget": "9 bytes", "search_epochs": 1}, "with the narrowest weights it may choose"),
    ],
)
def test_a_run_refuses_it_before_its_float_epochs(
    tmp_path, monkeypatch, experiment, fields, message
):
    monkeypatch.setattr(experiment, "train_visibly", None)
    preset = experiment.PRESETS["smoke"][1]
    config = dataclasses.replace(preset, output=str(tmp_path), **fields)
    with pytest.raises(UnreachableError, match=message):
        experiment.run(config, Console(quiet=True))
    assert not (config.folder / "config.json").exists()


@pytest.mark.parametrize("config", [train.Config, dvs_gesture.Config])
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"budget": "12"}, "--budget '12': no unit; write for example 1.2mJ"),
        ({"activity": "l1"}, "--activity and --activity-weight, above 0, go together"),
        ({"activity_weight": 0.5}, "--activity and --activity-weight, above 0, go together"),
        ({"device": "akd2000"}, "--device must be one of akd1000, akd1500, got akd2000"),
        ({"mapping_mode": "hw_pr"}, "--mapping-mode hw_pr needs a --device that reloads"),
        ({"search_epochs": 0}, "--search-epochs must be at least 1"),
    ],
)
def test_options_are_checked_at_once(config, settings, message):
    with pytest.raises(ValueError, match=message):
        config(**settings)


def test_options_become_a_recipe():
    config = train.Config(activity="hoyer", activity_weight=0.5, budget="3ms", learn_steps=True,
                          device="akd1500", search_epochs=3)  # fmt: skip
    made = config.recipe_options(lambda n: DATA.x[:n])
    pressure = made["pressure"]
    assert (pressure.activities, pressure.weights) == (("hoyer",), (0.5,))
    assert pressure.budget == mapping.Budget(quantity="latency", limit=3.0)
    assert (pressure.device, made["step_rate"]) == (mapping.AKD1500, options.STEP_RATE)
    assert [p.name for p in train.phases(config)] == ["float", "search", "quantized"]
    assert train.phases(config)[1].epochs == 3
    assert train.Config().recipe_options(lambda n: DATA.x) == {"pressure": None, "step_rate": None}


@pytest.mark.slow
def test_the_command_trains_to_a_budget(tmp_path, capsys):
    """The smoke preset, whose network costs 0.1 mJ or more of idling alone on an AKD1000."""
    arguments = ["smoke", "--output", str(tmp_path), "--device", "akd1500", "--learn-steps",
                 "--budget", "1 J", "--search-epochs", "1"]  # fmt: skip
    result = train.main(arguments)
    cost = result["modelled_cost"]
    assert cost["met"]
    assert cost["met_in_training"]
    assert cost["budget"] == "1000 mJ"
    assert "The budget of 1000 mJ is met." in capsys.readouterr().out
    with pytest.raises(ValueError, match="cannot be met on AKD1500: without a single event"):
        train.main([*arguments[:-3], "1 nJ"])


@pytest.mark.parametrize(
    ("met", "in_training", "words"),
    [(True, True, "is met."), (False, True, "training examples, not on those tested on"),
     (False, False, "is not met; train longer"), (True, False, "not on those of training.")],
)  # fmt: skip
def test_the_report_says_whether_the_budget_is_met(capsys, met, in_training, words):
    figures = dict.fromkeys(mapping.QUANTITIES, 1.5)
    cost = {"device": "AKD1000", **figures, "budget": "1 mJ", "met": met,
            "met_in_training": in_training}  # fmt: skip
    options.report_cost({"modelled_cost": cost}, Console(width=200))
    assert f"The budget of 1 mJ {'is' if met or not in_training else 'is met on the'}" in (
        printed := capsys.readouterr().out
    )
    assert words in printed
    options.report_cost({}, Console())
    assert capsys.readouterr().out == ""


def test_judging_a_model():
    model = aj.convert(make_twin())
    activity = model.activity(DATA.x)
    config = train.Config(budget="2000 events")
    rows = [{"figures": dict.fromkeys(mapping.QUANTITIES, 2001.0)}]
    cost = config.judge(model, activity.sparsity, DATA.x, rows)["modelled_cost"]
    placement = mapping.place(model, mapping.AKD1000)
    expected = mapping.model_figures(placement, mapping.estimate(placement, activity))
    assert {key: cost[key] for key in expected} == pytest.approx(expected, rel=1e-12)
    assert (cost["met"], cost["met_in_training"]) == (True, False)
    assert dataclasses.replace(config, budget=None).judge(model, {}, None, []) == {}
