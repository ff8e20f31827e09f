"""Several processes on one study, and what is left when one of them is killed."""

import collections
import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from experiments.sweeping import workers
from experiments.sweeping.storages import open_storage
from tests.conftest import ROOT
from tests.experiments.sweep import made_up

#: URLs of database servers with an empty database each, as .ci/databases prints them.
SERVERS = os.environ.get("AKIDA_JAX_SWEEP_STORAGES", "").split()
STORAGES = ("sqlite:///{}/study.db", "journal:{}/study.log", *SERVERS)
N_SLOTS = 12
#: A machine that does other work too needs long to start a process.
LONG_S = 900


def start(*arguments):
    command = [sys.executable, "-m", "tests.experiments.sweep.made_up", *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT)


def begun(log):
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def wait_for(log, n, processes, seconds=LONG_S):
    """Wait until so many trials have begun."""
    end = time.monotonic() + seconds
    while len(begun(log)) < n:
        assert time.monotonic() < end, "no worker begins a trial"
        assert any(process.poll() is None for process in processes)
        time.sleep(0.02)


def complete_slots(trials):
    return sorted(t.user_attrs["slot"] for t in trials if t.state.name == "COMPLETE")


@pytest.mark.parametrize("storage", STORAGES)
def test_the_lock_of_a_study_has_one_holder(tmp_path, storage):
    url, entered = storage.format(tmp_path), threading.Event()

    def enter(study):
        with open_storage(url, study).lock():
            entered.set()

    with open_storage(url, tmp_path.name).lock():
        other = threading.Thread(target=enter, args=(tmp_path.name,))
        other.start()
        assert not entered.wait(1)
        if storage in SERVERS:  # files have one lock for all of their studies
            enter("another study")
            entered.clear()
    other.join(LONG_S)
    assert entered.is_set()


@pytest.mark.slow
@pytest.mark.parametrize("storage", STORAGES)
def test_every_point_once_though_workers_are_killed(tmp_path, storage):
    url, log = storage.format(tmp_path), tmp_path / "begun"
    arguments = ("work", tmp_path, url, log, 0.3)
    processes = [start(*arguments) for _ in range(3)]
    # Kill whoever began the latest trial, and another one some trials later.
    victims = []
    for n in (3, 6):
        wait_for(log, n, processes)
        running = {process.pid: process for process in processes if process.poll() is None}
        victim = running[next(pid for _, _, pid in reversed(begun(log)) if pid in running)]
        victim.send_signal(signal.SIGKILL)
        victims.append(victim)
    processes.append(start(*arguments))
    for process in processes:
        process.wait(timeout=LONG_S)
    ends = [process.returncode for process in processes]
    assert [process.returncode for process in victims] == [-signal.SIGKILL] * 2
    assert sorted(ends) == [-signal.SIGKILL] * 2 + [0] * 2

    study = made_up.open_study(made_up.make_config(tmp_path, storage=url, axes=made_up.MORE_AXES))
    trials = study.trials()
    assert complete_slots(trials) == list(range(N_SLOTS))
    assert study.count() == {"waiting": 0, "running": 0}
    parameters = [tuple(sorted(t.params.items())) for t in trials if t.state.name == "COMPLETE"]
    assert len(set(parameters)) == N_SLOTS
    # No trial was begun by two workers; a slot was begun again only where its worker was killed.
    assert max(collections.Counter(number for _, number, _ in begun(log)).values()) == 1
    again = [slot for slot, n in collections.Counter(s for s, _, _ in begun(log)).items() if n > 1]
    lost = [trial for trial in trials if trial.user_attrs.get("kind") == "lost"]
    assert set(again) <= {trial.user_attrs["slot"] for trial in lost}
    assert len(trials) == N_SLOTS + len(lost)
    assert len(lost) <= 2
    killed = {victim.pid for victim in victims}
    for trial in lost:
        assert trial.user_attrs["worker"]["pid"] in killed
        repeat = trials[trial.user_attrs["repeated_by"]]
        assert repeat.user_attrs["repeats"] == trial.number
        assert repeat.params == trial.params or not trial.params
        assert repeat.state.name == "COMPLETE"
    rows = (tmp_path / tmp_path.name / "trials.csv").read_text().splitlines()
    assert len(rows) == 1 + len(trials)


@pytest.mark.slow
@pytest.mark.parametrize("storage", STORAGES)
def test_a_study_begun_by_many_at_once_has_each_slot_once(tmp_path, storage):
    url, log = storage.format(tmp_path), tmp_path / "begun"
    processes = [start("work", tmp_path, url, log, 0) for _ in range(4)]
    for process in processes:
        assert process.wait(timeout=LONG_S) == 0
    trials = made_up.open_study(
        made_up.make_config(tmp_path, storage=url, axes=made_up.MORE_AXES)
    ).trials()
    assert [trial.user_attrs["slot"] for trial in trials] == list(range(N_SLOTS))
    assert {trial.state.name for trial in trials} == {"COMPLETE"}
    assert sorted(slot for slot, _, _ in begun(log)) == list(range(N_SLOTS))


@pytest.mark.slow
def test_a_worker_killed_as_it_claims_is_noticed(tmp_path):
    url = STORAGES[0].format(tmp_path)
    for _ in range(2):
        assert start("die", tmp_path, url).wait(timeout=LONG_S) == -signal.SIGKILL
    study = made_up.finish(made_up.make_config(tmp_path, storage=url))
    trials = study.trials()
    assert complete_slots(trials) == list(range(6))
    lost = [trial for trial in trials if trial.user_attrs.get("kind") == "lost"]
    assert [trial.number for trial in lost] == [0, 1]
    assert all("ended without a word" in trial.user_attrs["reason"] for trial in lost)


@pytest.mark.slow
def test_a_command_that_is_terminated_hands_the_trials_of_its_workers_back(tmp_path):
    url, log = STORAGES[0].format(tmp_path), tmp_path / "begun"
    command = start("together", tmp_path, url, log, 10 * LONG_S)
    wait_for(log, 2, [command])
    command.send_signal(signal.SIGTERM)
    # Its workers too have ended, or this would wait for the trials.
    assert command.wait(timeout=LONG_S) == -signal.SIGINT
    study = made_up.open_study(made_up.make_config(tmp_path, storage=url, axes=made_up.MORE_AXES))
    ended = [trial for trial in study.trials() if trial.state.is_finished()]
    assert [trial.number for trial in ended] == sorted(number for _, number, _ in begun(log))
    assert {trial.user_attrs["kind"] for trial in ended} == {"interrupted"}
    assert {trial.user_attrs["reason"] for trial in ended} == {"its worker was stopped"}
    assert study.count() == {"waiting": N_SLOTS, "running": 0}
    assert len(study.trials()) == N_SLOTS + 2


@pytest.mark.slow
def test_what_ends_workers_is_told_once():
    told = workers.start_workers(made_up.end_badly, "raise", 2)
    assert told == ["no such chip"]
    assert workers.start_workers(made_up.end_badly, "die", 1) == ["worker 1 was killed by signal 9"]
    assert workers.start_workers(made_up.end_badly, "exit", 1) == ["worker 1 ended with code 3"]
    assert workers.start_workers(made_up.end_badly, "well", 1) == []
