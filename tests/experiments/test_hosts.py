import os
import socket
import subprocess
import sys

import numpy as np
import pytest

from experiments import hosts
from tests.conftest import ROOT
from tests.experiments import tiny_run

VIRTUAL = "--xla_force_host_platform_device_count="


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"JAX_COORDINATOR_ADDRESS": "a:1"}, "JAX_NUM_PROCESSES must be a whole number, got ''"),
        (
            {"JAX_COORDINATOR_ADDRESS": "a:1", "JAX_NUM_PROCESSES": "2", "JAX_PROCESS_ID": "-1"},
            "JAX_PROCESS_ID must be a whole number, got '-1'",
        ),
        (
            {"JAX_COORDINATOR_ADDRESS": "a:1", "JAX_NUM_PROCESSES": "2", "JAX_PROCESS_ID": "2"},
            "JAX_PROCESS_ID must be 0 to 1, got 2",
        ),
        ({"AKIDA_JAX_HOSTS": "yes"}, "AKIDA_JAX_HOSTS must be auto or not set, got 'yes'"),
    ],
)
def test_incomplete_variables_are_refused(variables, message, monkeypatch):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=message):
        hosts.join()


def test_processes_that_see_different_epochs_are_refused(monkeypatch):
    monkeypatch.setattr(hosts.jax, "process_count", lambda: 2)
    monkeypatch.setattr(
        hosts.multihost_utils, "process_allgather", lambda value: np.array([[value], [0]])
    )
    hosts.check_agreement("finished epochs", 0)
    with pytest.raises(ValueError, match=r"different numbers of finished epochs: \[3, 0\]"):
        hosts.check_agreement("finished epochs", 3)


def start(folder, *, devices=1, processes=1):
    """Start the tiny run in processes that train together, and return them."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    started = []
    for number in range(processes):
        together = {
            "JAX_COORDINATOR_ADDRESS": f"localhost:{port}",
            "JAX_NUM_PROCESSES": str(processes),
            "JAX_PROCESS_ID": str(number),
        }
        environment = {
            **os.environ,
            "JAX_PLATFORMS": "cpu",
            "XLA_FLAGS": f"{VIRTUAL}{devices}",
            **(together if processes > 1 else {}),
        }
        command = [sys.executable, "-m", "tests.experiments.tiny_run", str(folder)]
        started.append(
            subprocess.Popen(
                command,
                cwd=ROOT,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        )
    return started


def finish(started):
    outputs = [process.communicate(timeout=900)[0] for process in started]
    assert [process.returncode for process in started] == [0] * len(started), outputs


def result(folder, number=0):
    with np.load(folder / f"result{number}.npz") as stored:
        return dict(stored)


def start_and_kill(folder, **how):
    """Start the tiny run, kill it behind its second epoch; return its metrics so far."""
    together = start(folder, **how)
    for line in together[0].stdout:
        if line.startswith("saving 3"):  # so epoch 2 is complete
            break
    for process in together:
        process.kill()
        process.communicate()
    checkpoints = tiny_run.open_checkpoints(folder)
    done, history = checkpoints.latest()
    checkpoints.close()
    assert done in (2, 3)
    return history


@pytest.fixture(scope="module")
def two_devices(tmp_path_factory):
    """The run of one process with two devices, without interruption."""
    folder = tmp_path_factory.mktemp("whole")
    finish(start(folder, devices=2))
    return result(folder)


@pytest.mark.slow
def test_processes_train_what_as_many_devices_of_one_process_train(tmp_path, two_devices):
    finish(start(tmp_path, processes=2))
    first, second = result(tmp_path), result(tmp_path, 1)
    assert set(first) == set(second) == set(two_devices)
    for name, value in two_devices.items():
        np.testing.assert_array_equal(first[name], value, err_msg=name)
        np.testing.assert_array_equal(second[name], value, err_msg=name)


@pytest.mark.slow
def test_one_process_goes_on_from_two_with_the_same_bits(tmp_path, two_devices):
    start_and_kill(tmp_path, processes=2)
    finish(start(tmp_path, devices=2))
    resumed = result(tmp_path)
    assert set(resumed) == set(two_devices)
    for name, value in two_devices.items():
        np.testing.assert_array_equal(resumed[name], value, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize(("before", "after"), [({"processes": 2}, {}), ({}, {"processes": 2})])
def test_another_number_of_devices_goes_on_from_the_same_state(
    tmp_path, two_devices, before, after
):
    history = start_and_kill(tmp_path, **before)
    finish(start(tmp_path, **after))
    resumed = result(tmp_path)
    assert resumed["history.epoch"].tolist() == [1, 2, 3, 4]
    for key in ("loss", "test_accuracy"):
        stored = [row[key] for row in history]
        np.testing.assert_array_equal(resumed[f"history.{key}"][: len(stored)], stored)
    # Other devices add in another order: three steps of float32 sums of a few hundred terms move
    # a loss by some 1e-5 of itself. What epochs 1 and 2 have learned is more than a hundred times
    # that, so a run that had forgotten it would be far off.
    found, whole = (one["history.loss"] for one in (resumed, two_devices))
    assert abs(whole[0] - whole[2]) > 1e-2 * whole[2]
    np.testing.assert_allclose(found[2:], whole[2:], rtol=1e-4)
