"""A study whose trials train nothing, and processes that work on it."""

import json
import os
import signal
import sys
import time
from pathlib import Path

import optuna
from rich.console import Console

from experiments import sweep, train
from experiments.sweeping import outputs, space
from experiments.sweeping.claims import SharedStudy
from experiments.sweeping.points import OBJECTIVES
from experiments.sweeping.workers import Task, start_workers, work

AXES = ("batch_size=1,2,3", "device=akd1000,akd1500")
MORE_AXES = (*AXES, "mode=minimal,all_nps")
BASE = train.Config(output="nowhere")


def make_config(folder, **changes):
    # A database server holds the studies of all tests: each has the name of its folder.
    given = {"base": BASE, "axes": AXES, "name": Path(folder).name, "output": str(folder)}
    given |= changes
    return sweep.Config(**given)


def open_study(config, data="data"):
    study = SharedStudy(
        config.name, config.storage_url,
        directions=[OBJECTIVES[name][1] for name in config.objectives],
        settings=config.shared(data), grace_s=config.grace_s,
    )  # fmt: skip
    study.add_slots(config.slots())
    return study


def make_result(width=1, device="akd1000", mode="minimal"):
    """A result that nothing was trained for: the wider, the better and the dearer."""
    energy = width**2 * {"akd1000": 0.5, "akd1500": 0.25}[device]
    layers = [
        {"name": name, "nps": nps, "events": 100.0 * width, "compute_cycles": 5.0,
         "load_cycles": 0.0, "latency_ms": energy / 4, "dynamic_mj": energy / 8,
         "sparsity": 0.5, "weight_bits": 4, "act_bits": 4}
        for name, nps in (("conv_0", 0), ("fc_<1>", 2))
    ]  # fmt: skip
    return {
        "accuracy": 1 - 1 / (width + 1), "float_accuracy": None, "energy_mj": energy,
        "dynamic_mj": energy / 4, "latency_ms": energy / 2, "fps": 2000 / energy, "nps": width,
        "passes": 1, "size_kb": 2.0 * width, "weights": 100 * width, "training_s": 3.5,
        "folder": f"width-{width}", "title": "Made <up>", "n_train": 10, "n_test": 20, "seed": 0,
        "code": ["0123"], "reused": mode == "all_nps", "data_fingerprint": "data", "batch": 1,
        "device": device.upper(), "mode": mode, "trust": "expected error: unknown & large",
        "layers": layers, "summary": "layer  NPs\n------\nfc_<1>  2\n" + "long sentence " * 12,
    }  # fmt: skip


def make_task(config, study, measure=None):
    axes = space.parse_axes(config.axes, config.base)

    def run(trial, on_epoch):
        chosen = {axis.name: axis.suggest(trial) for axis in axes}
        point = space.make_point(config.base, axes, chosen, config.device, config.mode)
        settings = point.settings
        result = (measure or (lambda trial, point, on_epoch: None))(trial, point, on_epoch)
        result = result or make_result(settings.batch_size, point.device, point.mode)
        return [result[name] for name in config.objectives], result

    return Task(
        study=study, make_sampler=lambda slot: sweep.make_sampler(config, slot), measure=run,
        on_end=lambda: outputs.write_rows(config, study, axes), prunes=config.pruner != "none",
    )  # fmt: skip


def finish(config, measure=None):
    """Work until nothing is left, and return the study."""
    study = open_study(config)
    work(make_task(config, study, measure), Console(quiet=True))
    return study


def work_slowly(folder, storage, log, seconds):
    """Say which slot is begun; work on it for a while."""
    config = make_config(folder, storage=storage, axes=MORE_AXES)

    def measure(trial, point, on_epoch):
        slot = trial.study.get_trials(deepcopy=False)[trial.number].user_attrs["slot"]
        with Path(log).open("a") as file:
            file.write(json.dumps([slot, trial.number, os.getpid()]) + "\n")
        time.sleep(seconds)

    finish(config, measure)


def work_on(arguments):
    """Work, as one of several that a command has started."""
    work_slowly(*arguments)


def begin_and_die(folder, storage):
    """Claim a trial, and be gone."""
    study = open_study(make_config(folder, storage=storage))
    study.claim(lambda slot: optuna.samplers.RandomSampler(seed=0))
    os.kill(os.getpid(), signal.SIGKILL)


def end_badly(how):
    """End as a worker may end."""
    if how == "raise":
        raise ValueError("no such chip")
    if how == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "exit":
        sys.exit(3)


if __name__ == "__main__":
    given = (*sys.argv[2:5], *map(float, sys.argv[5:]))
    if sys.argv[1] == "die":
        begin_and_die(*given)
    elif sys.argv[1] == "together":
        start_workers(work_on, given, 2)
    else:
        work_slowly(*given)
