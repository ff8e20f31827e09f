"""What a study remembers: slots, losses, repeats. Several processes: test_workers_together."""

import dataclasses
import time

import optuna
import pytest
from rich.console import Console

from experiments import sweep
from experiments.sweeping import claims, processes, space, storages, workers
from experiments.sweeping.points import ImpossibleError
from tests.experiments.sweep import made_up

N_SLOTS = 6


@pytest.fixture
def config(tmp_path):
    return made_up.make_config(tmp_path, storage=f"journal:{tmp_path}/study.log")


@pytest.fixture(params=["sqlite:///{}/study.db", "journal:{}/study.log"])
def any_config(request, tmp_path):
    return made_up.make_config(tmp_path, storage=request.param.format(tmp_path))


def sampler(slot):
    return optuna.samplers.RandomSampler(seed=slot)


def states(study):
    return [trial.state.name for trial in study.trials()]


def test_slots_are_there_once_and_in_order(any_config):
    study = made_up.open_study(any_config)
    made_up.open_study(any_config)
    study.add_slots(any_config.slots())
    assert [t.user_attrs["slot"] for t in study.trials()] == list(range(N_SLOTS))
    # A command killed while it made the slots: the next one makes those that are missing.
    study.add_slots([*any_config.slots(), {}])
    assert [t.user_attrs["slot"] for t in study.trials()] == list(range(N_SLOTS + 1))


def test_each_claim_is_another_trial_until_none_waits(any_config):
    first, second = made_up.open_study(any_config), made_up.open_study(any_config)
    claimed = []
    for i in range(N_SLOTS):
        claimed.append((first, second)[i % 2].claim(sampler).number)
    assert claimed == list(range(N_SLOTS))
    # They run in this very process, which lives: nothing is lost, nothing waits.
    assert first.claim(sampler) is None
    assert second.claim(sampler) is None
    assert first.count() == {"waiting": 0, "running": N_SLOTS}


def test_grid_points_are_the_slots(config):
    study = made_up.finish(config)
    trials = study.trials()
    assert states(study) == ["COMPLETE"] * N_SLOTS
    assert [trial.params for trial in trials] == config.slots()


def test_a_trial_whose_process_is_gone_is_repeated(any_config, monkeypatch):
    study = made_up.open_study(any_config)
    lost = study.claim(sampler)
    lost.suggest_categorical("device", ["akd1000", "akd1500"])
    gone = {**processes.describe_process(), "started": 1}
    lost.set_user_attr("worker", gone)
    made_up.finish(any_config)
    trials = study.trials()
    assert len(trials) == N_SLOTS + 1
    first, repeat = trials[0], trials[N_SLOTS]
    assert (first.state.name, first.user_attrs["kind"]) == ("FAIL", "lost")
    assert first.user_attrs["reason"].startswith("its worker ended without a word (process ")
    assert first.user_attrs["repeated_by"] == N_SLOTS
    assert repeat.user_attrs["repeats"] == 0
    assert repeat.user_attrs["slot"] == 0
    assert repeat.params == any_config.slots()[0]
    assert sorted(t.user_attrs["slot"] for t in trials if t.state.name == "COMPLETE") == list(
        range(N_SLOTS)
    )


def test_a_kill_in_the_middle_of_noticing_forgets_and_doubles_nothing(any_config, monkeypatch):
    study = made_up.open_study(any_config)
    lost = study.claim(sampler)
    lost.set_user_attr("worker", {**processes.describe_process(), "started": 1})

    def die(*_, **__):
        raise KeyboardInterrupt

    # Killed behind the new trial, before the old one's end.
    with monkeypatch.context() as patch:
        patch.setattr(study, "_set", die)
        with pytest.raises(KeyboardInterrupt):
            study.claim(sampler)
    assert states(study).count("RUNNING") == 1
    study = made_up.finish(any_config)
    assert len(study.trials()) == N_SLOTS + 1
    assert states(study).count("COMPLETE") == N_SLOTS
    assert study.trials()[0].user_attrs["repeated_by"] == N_SLOTS


def test_a_point_that_kills_its_workers_is_given_up(config):
    study = made_up.open_study(config)
    gone = {**processes.describe_process(), "started": 1}
    for _ in range(N_SLOTS + claims.MOST_LOSSES - 1):
        trial = study.claim(sampler)
        if study.trials()[trial.number].user_attrs["slot"] == 4:
            trial.set_user_attr("worker", gone)
        else:
            study.complete(trial, [0.5, 1.0], made_up.make_result())
    assert study.claim(sampler) is None
    of_slot = [trial for trial in study.trials() if trial.user_attrs["slot"] == 4]
    kinds = [trial.user_attrs["kind"] for trial in of_slot]
    assert kinds == ["lost"] * (claims.MOST_LOSSES - 1) + ["failed"]
    assert of_slot[-1].user_attrs["reason"].endswith("; given up after 3 losses")
    assert [trial.user_attrs.get("repeats") for trial in of_slot[1:]] == [
        trial.number for trial in of_slot[:-1]
    ]
    # Asked for, it is tried again.
    assert study.retry() == 1
    assert study.retry() == 0
    assert study.count() == {"waiting": 1, "running": 0}


def test_a_worker_on_another_machine_is_lost_when_its_beat_stands_still(config, monkeypatch):
    study = made_up.open_study(config)
    trial = study.claim(sampler)
    trial.set_user_attr("worker", {**processes.describe_process(), "machine": "elsewhere"})
    now = [1000.0]
    monkeypatch.setattr(claims.time, "monotonic", lambda: now[0])

    def look(seconds):
        now[0] += seconds
        study._recover()
        return study.trials()[0].state.name

    assert look(0) == "RUNNING"
    assert look(config.grace_s) == "RUNNING"
    trial.set_user_attr("beat", 1)
    # A beat since: counted from when it was seen, by this machine's clock.
    assert look(1) == "RUNNING"
    assert look(config.grace_s) == "RUNNING"
    assert look(1) == "FAIL"
    reason = study.trials()[0].user_attrs["reason"]
    assert reason.startswith("no beat of process ")
    assert reason.endswith(" for 121 s")


def test_beats_are_counted_and_a_loss_is_noticed(config):
    study = made_up.open_study(made_up.make_config(config.output, storage=config.storage,
                                                   grace_s=0.3))  # fmt: skip
    trial = study.claim(sampler)
    with study.beating(trial) as lost:
        end = time.monotonic() + 60
        while study.trials()[0].user_attrs.get("beat", 0) < 2:
            assert time.monotonic() < end
            time.sleep(0.05)
        assert not lost.is_set()
        trial.set_user_attr("worker", None)
        study._recover()
        assert lost.wait(60)
    with pytest.raises(claims.LostTrialError, match="trial 0 was taken for lost; another repeats"):
        study.complete(trial, [0.5, 1.0], made_up.make_result())
    assert study.trials()[0].user_attrs["reason"] == "its worker ended as it began"


def test_other_settings_or_data_are_refused_by_name(config):
    made_up.open_study(config)
    other = made_up.make_config(config.output, storage=config.storage, seed=3, axes=("seed=0,1",))
    told = r'settings: axes \[.*\], now \["seed=0,1"\]; seed 0, now 3; give them again, or choose'
    with pytest.raises(ValueError, match=told):
        made_up.open_study(other)
    with pytest.raises(ValueError, match='data_fingerprint "data", now "new"'):
        made_up.open_study(config, data="new")
    base = dataclasses.replace(config.base, flip=True)
    other = made_up.make_config(config.output, storage=config.storage, base=base)
    with pytest.raises(ValueError, match=r"other settings: base.flip false, now true; give them"):
        made_up.open_study(other)


def test_more_trials_may_be_asked_for_later(config):
    given = {"sampler": "random", "storage": config.storage}
    few = made_up.make_config(config.output, trials=3, **given)
    made_up.finish(few)
    study = made_up.finish(made_up.make_config(config.output, trials=5, **given))
    assert states(study) == ["COMPLETE"] * 5
    assert made_up.finish(few).count() == {"waiting": 0, "running": 0}
    assert len(study.trials()) == 5


@pytest.mark.parametrize("name", ["random", "tpe", "nsga2"])
def test_samplers_fill_exactly_the_trials_asked_for(config, name):
    axes = ("batch_size=1..9", "weight_decay=1e-4..1:log", "mode=minimal,all_nps")
    given = {"sampler": name, "axes": axes, "trials": 10, "storage": config.storage}
    study = made_up.finish(made_up.make_config(config.output, **given))
    assert states(study) == ["COMPLETE"] * 10
    assert len({tuple(trial.params.items()) for trial in study.trials()}) > 7
    for trial in study.trials():
        assert 1 <= trial.params["batch_size"] <= 9
        assert 1e-4 <= trial.params["weight_decay"] <= 1
    # The random sampler's points follow from seed and slot, whoever draws them.
    if name == "random":
        config = made_up.make_config(config.output, **given)
        again = optuna.create_study(sampler=sweep.make_sampler(config, 5))
        trial = again.ask()
        chosen = {a.name: a.suggest(trial) for a in space.parse_axes(axes, config.base)}
        assert chosen == study.trials()[5].params


@pytest.mark.parametrize("objectives", [("accuracy",), ("accuracy", "energy_mj")])
def test_what_is_impossible_is_asked_for_less_and_less(config, objectives):
    """One of four placements is possible; the first ten trials of TPE are drawn at random."""

    def measure(trial, point, on_epoch):
        if (point.device, point.mode) != ("akd1500", "minimal"):
            raise ImpossibleError("does not fit")

    axes = ("batch_size=1..9", "device=akd1000,akd1500", "mode=minimal,all_nps")
    given = {"sampler": "tpe", "axes": axes, "trials": 40, "storage": config.storage}
    config = made_up.make_config(config.output, **given, objectives=objectives)
    study = made_up.finish(config, measure)
    kinds = [trial.user_attrs.get("kind", "complete") for trial in study.trials()]
    assert set(kinds) == {"complete", "impossible"}
    assert kinds[:10].count("impossible") >= 5
    # A sampler that forgets them never leaves a placement that it has not seen succeed.
    assert kinds[20:].count("impossible") <= 10


def test_failures_are_recorded_and_the_others_go_on(any_config):
    def measure(trial, point, on_epoch):
        if point.settings.batch_size == 2 and point.device == "akd1000":
            raise ImpossibleError("layer 'fc' needs 90 neural processors")
        if trial.number == 4:
            raise RuntimeError("out of memory")
        if trial.number == 5:
            raise ValueError("the loss of epoch 1 is not finite")

    study = made_up.finish(any_config, measure)
    found = {t.number: (t.user_attrs["kind"], t.user_attrs["reason"]) for t in study.trials()
             if t.state.name != "COMPLETE"}  # fmt: skip
    assert found == {
        1: ("impossible", "layer 'fc' needs 90 neural processors"),
        4: ("failed", "RuntimeError: out of memory"),
        5: ("failed", "ValueError: the loss of epoch 1 is not finite"),
    }
    assert "in measure" in study.trials()[4].user_attrs["traceback"]
    assert len(study.trials()) == N_SLOTS
    # What is impossible stays so; what failed is tried again on request.
    assert study.retry() == 2
    made_up.finish(any_config)
    assert states(study).count("COMPLETE") == N_SLOTS - 1


def test_a_fault_of_every_trial_ends_the_work_early(config):
    def measure(trial, point, on_epoch):
        raise ValueError("rule 'conv_9' matches no layer")

    told = "the first 3 trials all failed alike: ValueError: rule 'conv_9' .*, --retry-failed"
    with pytest.raises(ValueError, match=told):
        made_up.finish(config, measure)
    study = made_up.open_study(config)
    assert states(study).count("FAIL") == 3
    assert study.count()["waiting"] == N_SLOTS - 3
    # Impossible points are no such fault.
    study.retry()

    def never(trial, point, on_epoch):
        raise ImpossibleError("too large")

    made_up.finish(config, never)
    assert study.count() == {"waiting": 0, "running": 0}


@pytest.mark.parametrize("stop", [KeyboardInterrupt, FileNotFoundError("no data here")])
def test_a_stopped_worker_hands_its_trial_back(config, stop):
    def measure(trial, point, on_epoch):
        if trial.number == 2:
            raise stop

    with pytest.raises(type(stop) if isinstance(stop, Exception) else stop):
        made_up.finish(config, measure)
    study = made_up.open_study(config)
    handed = study.trials()[2]
    assert (handed.user_attrs["kind"], handed.user_attrs["repeated_by"]) == ("interrupted", N_SLOTS)
    told = "its worker was stopped" if stop is KeyboardInterrupt else "no data here"
    assert told in handed.user_attrs["reason"]
    made_up.finish(config)
    done = [t.user_attrs["slot"] for t in study.trials() if t.state.name == "COMPLETE"]
    assert sorted(done) == list(range(N_SLOTS))


def test_pruning_by_the_accuracy_of_an_epoch(tmp_path):
    config = made_up.make_config(tmp_path, objectives=("accuracy",), pruner="median")
    study = made_up.open_study(config)
    study.study.pruner = sweep._make_pruner(config)

    def measure(trial, point, on_epoch):
        for epoch in range(1, 4):
            bad = 0.5 if trial.number == 5 else 0.0
            on_epoch({"epoch": epoch, "test_accuracy": 0.6 + epoch / 10 - bad})

    workers.work(made_up.make_task(config, study, measure), Console(quiet=True))
    pruned = [trial for trial in study.trials() if trial.state.name == "PRUNED"]
    assert [trial.number for trial in pruned] == [5]
    assert pruned[0].user_attrs["reason"] == "accuracy 20.00% after epoch 1 is behind the others"
    assert pruned[0].intermediate_values == {1: pytest.approx(0.2, abs=1e-12)}


def test_processes():
    mine = processes.describe_process()
    assert processes.has_ended(mine) is False
    assert processes.has_ended({**mine, "started": mine["started"] - 1}) is True
    assert processes.has_ended({**mine, "pid": 2**22 + 1}) is True
    assert processes.has_ended({**mine, "machine": "elsewhere"}) is None
    assert processes.has_ended({**mine, "machine": None}) is None


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("redis://here", "--storage must be sqlite:///FILE, journal:FILE, postgresql"),
        ("study.db", "--storage must be sqlite:///FILE"),
        ("sqlite://", "--storage must name a file"),
        ("mysql+nodriver://me:secret@here/x", r"--storage mysql\+nodriver://me:\*\*\*@here/x: the "
         "driver is not installed"),
        ("sqlite:////proc/nowhere/study.db", "nowhere"),
    ],
)  # fmt: skip
def test_storages_that_cannot_be(url, message):
    with pytest.raises((ValueError, OSError), match=message):
        storages.open_storage(url, "study")
