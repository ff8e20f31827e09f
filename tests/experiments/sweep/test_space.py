import dataclasses
import itertools

import optuna
import pytest

from akida_jax import mapping
from experiments import dvs_gesture, train
from experiments.sweeping import space

BASE = train.Config()


def parse(*texts, base=BASE):
    return space.parse_axes(texts, base)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("alpha=0.25,0.5", (0.25, 0.5)),
        ("alpha=none,1", (None, 1.0)),
        ("size = 32, 48", (32, 48)),
        ("bits=8/4/4,8/2/1", ((8, 4, 4), (8, 2, 1))),
        ("float_rates=1e-5/1e-3,1e-6/1e-2", ((1e-5, 1e-3), (1e-6, 1e-2))),
        ("flip=true,false", (True, False)),
        ("model=gxnor,akidanet", ("gxnor", "akidanet")),
        ("weight_quantizer=std,max_per_filter", ("std", "max_per_filter")),
        ("weight_bits[separable_.*]=2,4", (2, 4)),
        ("act_bits[conv_=1]=1,2,4", (1, 2, 4)),
        ("device=akd1500,akd1000", ("akd1500", "akd1000")),
        ("mode=hw_pr", ("hw_pr",)),
    ],
)
def test_texts_become_values_of_the_settings_type(text, values):
    (axis,) = parse(text)
    assert axis.values == values
    assert [axis.value(choice) for choice in axis.choices] == list(values)


@pytest.mark.parametrize(
    ("text", "low", "high", "log", "whole"),
    [
        ("weight_decay=0..0.1", 0.0, 0.1, False, False),
        ("weight_decay=1e-6..1e-2:log", 1e-6, 1e-2, True, False),
        ("float_epochs=2..8", 2, 8, False, True),
        ("alpha=0.25..1", 0.25, 1.0, False, False),
    ],
)
def test_ranges(text, low, high, log, whole):
    (axis,) = parse(text)
    assert (axis.low, axis.high, axis.log, axis.whole) == (low, high, log, whole)
    assert not axis.choices
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    values = [axis.suggest(study.ask()) for _ in range(20)]
    assert all(low <= value <= high for value in values)
    assert all(isinstance(value, int) == whole for value in values)
    assert len(set(values)) > 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("alpha", "axis 'alpha' must be NAME=VALUE"),
        ("alpha=", "must be NAME=VALUE"),
        ("alpha=0.5,0.5", "axis 'alpha': values must be there once each, got 0.5,0.5"),
        ("alpha=0.5,,1", "values must be there once each"),
        ("alpha=half", "axis 'alpha': 'half' is no number"),
        ("alpha=nan", "'nan' is not finite"),
        ("size=32.5", "axis 'size': '32.5' is no whole number"),
        ("size=none..3", "'none' is no whole number"),
        ("bits=8/4", r"axis 'bits': '8/4' must have 3 values, written with strokes"),
        ("bits=2..4", "axis 'bits': LOW..HIGH or LOW..HIGH:log is for one number"),
        ("model=a..b", "axis 'model': LOW..HIGH or"),
        ("alpha=1..0.5", "axis 'alpha': the range must rise, got 1..0.5"),
        ("weight_decay=0..1:log", "the range must rise from above 0, got 0..1:log"),
        ("flip=yes", "'yes' must be one of true, false"),
        ("data=cifar", "axis 'data': 'cifar' must be one of digits, "),
        (
            "width=1,2",
            "axis 'width': the settings have no such field; there are activity, activity_weight",
        ),
        ("output=a,b", "axis 'output': the settings have no such field"),
        ("restart=true,false", "axis 'restart': the settings have no such field"),
        ("weight_bits[conv=2,4", "axis 'weight_bits\\[conv': the settings have no such field"),
        ("weight_bits[(]=2,4", "axis 'weight_bits\\[\\(\\]': no regular expression"),
        ("weight_bits[conv_1]=1,2", "'1' must be one of 2, 4"),
        ("act_bits[conv_1]=8", "'8' must be one of 1, 2, 4"),
        ("mode=all", "axis 'mode': 'all' must be one of minimal, all_nps, hw_pr"),
        ("device=akd9", "axis 'device': 'akd9' must be one of akd1000, akd1500"),
    ],
)
def test_axes_that_cannot_be_read(text, message):
    with pytest.raises(ValueError, match=message):
        parse(text)


def test_all_faults_at_once():
    with pytest.raises(ValueError, match=r"axis 'a'.*; axis 'size'.*; axis 'seed' is there twice"):
        parse("a=1", "size=x", "seed=0,1", "seed=2")


def test_gestures_have_their_own_axes():
    base = dvs_gesture.Config()
    axes = parse("model=akida_tiny,akida_small", "window_ms=50,100", "weight_bits=2,4", base=base)
    assert axes[2].values == (2, 4)
    with pytest.raises(ValueError, match=r"experiments.dvs_gesture has no bits by layer"):
        parse("act_bits[conv_0]=2,4", base=base)


def test_the_pressure_on_activity_is_an_axis():
    base = train.Config(activity="l1", activity_weight=1e-5)
    (axis,) = parse("activity_weight=1e-5,1e-6", base=base)
    point = space.make_point(base, [axis], {axis.name: "1e-6"}, "akd1000", "minimal")
    assert (point.settings.activity, point.settings.activity_weight) == ("l1", 1e-6)


def all_points(*texts, base=BASE, device="akd1000", mode="minimal"):
    axes = parse(*texts, base=base)
    assert space.find_faults(base, axes, device, mode) == []
    return [space.make_point(base, axes, chosen, device, mode) for chosen in space.grid(axes)]


def test_no_pressure_is_one_training_of_a_sweep_over_it():
    points = all_points("activity=none,l1,hoyer", "activity_weight=0,0.1,1")
    settings = [point.settings for point in points]
    pressed = {(s.activity, s.activity_weight) for s in settings}
    assert pressed == {(None, 0.0), ("l1", 0.1), ("l1", 1.0), ("hoyer", 0.1), ("hoyer", 1.0)}
    assert len({s.folder for s in settings}) == 5
    # Either axis alone needs the other half from the base.
    base = train.Config(activity="l1", activity_weight=0.5)
    assert [point.settings.activity for point in all_points("activity=none,l1", base=base)] == [
        None, "l1",
    ]  # fmt: skip
    assert [p.settings.activity_weight for p in all_points("activity_weight=0,1", base=base)] == [
        0.0, 1.0,
    ]  # fmt: skip
    for text in ("activity_weight=0.1,1", "activity=l1,hoyer"):
        faults = space.find_faults(BASE, parse(text), "akd1000", "minimal")
        assert len(faults) == 2
        assert all("--activity and --activity-weight, above 0, go together" in f for f in faults)


def test_a_point_is_trained_for_the_chip_that_it_is_priced_on():
    texts = ("device=akd1000,akd1500", "mode=minimal,all_nps")
    for base in (train.Config(budget="5mJ"), train.Config(activity="energy", activity_weight=1.0)):
        points = all_points(*texts, base=base)
        for point in points:
            assert (point.settings.device, point.settings.mapping_mode) == (
                point.device, point.mode,
            )  # fmt: skip
        assert len({point.settings.folder for point in points}) == 4
    (low, none) = all_points("budget=5mJ,none", device="akd1500", mode="hw_pr")
    assert (low.settings.device, low.settings.mapping_mode) == ("akd1500", "hw_pr")
    assert none.settings == BASE
    blind = all_points(*texts, base=train.Config(activity="l1", activity_weight=1.0))
    assert len({point.settings.folder for point in blind}) == 1
    for name in ("mapping_mode", "n_validation"):
        with pytest.raises(ValueError, match=f"axis '{name}': the settings have no such field"):
            parse(f"{name}=1,2")


def test_a_value_is_refused_only_if_no_other_axis_makes_it_possible():
    base = train.Config(budget="5mJ")
    texts = ("mode=minimal,hw_pr", "device=akd1000,akd1500")
    assert space.find_faults(base, parse(*texts, base=base), "akd1000", "minimal") == []
    faults = space.find_faults(base, parse(texts[0], base=base), "akd1000", "minimal")
    assert [fault.partition(":")[0] for fault in faults] == ["axis 'mode', value hw_pr"]


def test_the_grid_has_every_combination_once_placements_slowest():
    axes = parse("alpha=0.25,0.5", "mode=minimal,all_nps", "seed=0,1,2", "device=akd1000,akd1500")
    points = list(space.grid(axes))
    names = {axis.name: axis.choices for axis in axes}
    expected = [dict(zip(names, values, strict=True))
                for values in itertools.product(*names.values())]  # fmt: skip
    assert points == expected
    assert len(points) == 24
    assert list(points[0]) == ["mode", "device", "alpha", "seed"]
    # Of the first six trials no two share a training.
    assert len({(point["alpha"], point["seed"]) for point in points[:6]}) == 6
    with pytest.raises(ValueError, match="a grid needs values, not ranges, for weight_decay"):
        list(space.grid(parse("weight_decay=0..1", "seed=0,1")))


def test_points():
    base = dataclasses.replace(BASE, layer_weight_bits=(("fc_1", 4),))
    axes = parse("alpha=0.5", "weight_bits[conv_.*]=2,4", "weight_bits[fc_1]=2",
                 "act_bits[fc_1]=1,2", "device=akd1500", base=base)  # fmt: skip
    chosen = {"alpha": "0.5", "weight_bits[conv_.*]": "2", "weight_bits[fc_1]": "2",
              "act_bits[fc_1]": "1", "device": "akd1500"}  # fmt: skip
    point = space.make_point(base, axes, chosen, "akd1000", "all_nps")
    assert (point.device, point.mode) == ("akd1500", "all_nps")
    assert point.settings.alpha == 0.5
    # The axes come behind the base's own exceptions: later rules win.
    assert point.settings.layer_weight_bits == (("fc_1", 4), ("conv_.*", 2), ("fc_1", 2))
    assert point.settings.layer_act_bits == (("fc_1", 1),)
    assert set(mapping.DEVICES) == set(space.PLACEMENT_AXES["device"])


def test_points_that_differ_in_the_placement_alone_have_one_run_folder():
    axes = parse("alpha=0.25,0.5", "mode=minimal,all_nps", "device=akd1000,akd1500")
    points = [space.make_point(BASE, axes, p, "akd1000", "minimal") for p in space.grid(axes)]
    folders = [point.settings.folder for point in points]
    assert len(points) == 8
    assert len(set(folders)) == 2
    assert folders[:2] == folders[2:4]


def test_values_that_the_experiment_refuses():
    axes = parse("alpha=0.5,9", "weight_decay=-1..1")
    faults = space.find_faults(BASE, axes, "akd1000", "minimal")
    assert [fault.partition(":")[0] for fault in faults] == [
        "axis 'alpha', value 9", "axis 'weight_decay', value -1.0",
    ]  # fmt: skip
    assert "--alpha must be 0.03125 to 8, got 9" in faults[0]
