import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest
from flax import nnx
from orbax.checkpoint import v1 as ocp

from experiments.records import files
from experiments.training import checkpoints, evaluation, recipes
from experiments.training.recipes import Phase, Recipe
from experiments.training.trainer import Trainer
from tests.conftest import ROOT
from tests.experiments import tiny_run

LAST = sum(tiny_run.EPOCHS)
BOUNDARY = tiny_run.EPOCHS[0]
OTHER_NETWORK = r"the checkpoint is of another network, for example in \('parameters\.b', \("


class Stop(Exception):
    """Stands for the moment at which a run ends without warning."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory, compile_once):
    """Folder and result of a run that nobody disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    return folder, tiny_run.run(folder)


def read_metrics(folder):
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def assert_same(arrays, expected):
    assert arrays.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(arrays[name], value, err_msg=name, strict=True)


def finish(folder, whole):
    """Resume in ``folder`` and compare with the undisturbed run."""
    epochs = []
    result = tiny_run.run(folder, on_epoch=lambda row: epochs.append(row["epoch"]))
    assert_same(result, whole[1])
    assert epochs == list(range(1, LAST + 1))
    rows = read_metrics(folder)
    assert [row["epoch"] for row in rows] == epochs
    assert [row["loss"] for row in rows] == whole[1]["history.loss"].tolist()


def stop_after(last):
    def on_epoch(row):
        if row["epoch"] == last:
            raise Stop

    return on_epoch


def phase(**fields):
    return Phase(**{"name": "float", "epochs": 8, "low": 0.1, "high": 0.5, **fields})


def test_cyclic_rate_by_hand():
    rate = recipes.cyclic_rate(phase(), 5)  # 4 epochs of 5 steps to a cycle
    # float32 arithmetic of numbers below 1: a few units of 2**-24.
    steps = [0, 1, 5, 10, 15, 19, 20, 30, 39]
    expected = [0.1, 0.14, 0.3, 0.5, 0.3, 0.14, 0.1, 0.5, 0.14]
    np.testing.assert_allclose([rate(step) for step in steps], expected, rtol=1e-6)


def test_a_cycle_fits_into_a_short_phase():
    rate = recipes.cyclic_rate(phase(epochs=2), 5)
    np.testing.assert_allclose([rate(step) for step in (0, 5, 10)], [0.1, 0.5, 0.1], rtol=1e-6)


def test_a_cycle_has_two_steps_at_least():
    rate = recipes.cyclic_rate(phase(epochs=1), 1)
    np.testing.assert_allclose([rate(step) for step in (0, 1, 2)], [0.1, 0.5, 0.1], rtol=1e-6)


def test_the_loss_falls(whole):
    loss = whole[1]["history.loss"]
    assert loss[1] < loss[0]
    assert loss[3] < loss[2]


def test_history_and_metrics(whole):
    folder, result = whole
    rows = read_metrics(folder)
    assert result["history.phase"].tolist() == ["float"] * 2 + ["quantized"] * 2
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4]
    assert all(row["seconds"] >= 0 and 0 <= row["test_accuracy"] <= 1 for row in rows)


@pytest.mark.parametrize("last", range(1, LAST + 1))
def test_resume_after_an_epoch(tmp_path, whole, last):
    assert 0 < BOUNDARY < LAST  # one of the cases lies between the two phases
    with pytest.raises(Stop):
        tiny_run.run(tmp_path, on_epoch=stop_after(last))
    assert [row["epoch"] for row in read_metrics(tmp_path)] == list(range(1, last + 1))
    finish(tmp_path, whole)


@pytest.mark.parametrize("broken", [2, 3])
def test_resume_after_a_broken_epoch(tmp_path, monkeypatch, whole, broken):
    run_epoch = Trainer.run_epoch

    def break_off(trainer, number):
        if number == broken:
            step, calls = trainer._chosen_step, []

            def limited(*arguments):
                calls.append(1)
                if len(calls) == 2:
                    raise Stop
                return step(*arguments)

            trainer._chosen_step = limited
        return run_epoch(trainer, number)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "run_epoch", break_off)
        with pytest.raises(Stop):
            tiny_run.run(tmp_path)
    finish(tmp_path, whole)


@pytest.mark.parametrize("broken", [2, LAST])
def test_resume_between_checkpoint_and_metrics(tmp_path, monkeypatch, whole, broken):
    write_text = files.write_text

    def refuse(path, text):
        if text.count("\n") == broken:
            raise Stop
        write_text(path, text)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "write_text", refuse)
        with pytest.raises(Stop):
            tiny_run.run(tmp_path)
    finish(tmp_path, whole)


@pytest.mark.parametrize("broken", [1, 3])
def test_resume_after_a_broken_checkpoint(tmp_path, monkeypatch, whole, broken):
    """The arrays are written, but the folder has not got its name yet."""
    save = checkpoints.Checkpoints.save

    def break_off(checkpoints, epoch, state, history):
        save(checkpoints, epoch, state, history)
        if epoch == broken:
            folder = tmp_path / "checkpoints" / str(epoch)
            leave_unfinished(folder)
            shutil.rmtree(folder)
            files.write_text(
                tmp_path / "metrics.jsonl",
                "".join(json.dumps(row) + "\n" for row in history[:-1]),
            )
            raise Stop

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints.Checkpoints, "save", break_off)
        with pytest.raises(Stop):
            tiny_run.run(tmp_path)
    finish(tmp_path, whole)
    # Nothing but the last two checkpoints is left.
    names = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert names == [str(LAST - 1), str(LAST)]


def leave_unfinished(folder):
    """Copy a checkpoint to the name it has while it is written, metadata missing."""
    temporary = folder.with_name(f"{folder.name}.orbax-checkpoint-tmp")
    shutil.copytree(folder, temporary)
    (temporary / "_CHECKPOINT_METADATA").unlink()


def test_a_half_deleted_older_checkpoint_does_not_disturb(tmp_path, whole):
    with pytest.raises(Stop):
        tiny_run.run(tmp_path, on_epoch=stop_after(3))
    older = tmp_path / "checkpoints" / "2"
    shutil.rmtree(older / "state" / "d")
    (older / "_CHECKPOINT_METADATA").unlink()
    (older / "commit_success.txt").unlink()
    finish(tmp_path, whole)


@pytest.mark.parametrize("epochs", [(0, 2), (2, 0)])
def test_a_phase_may_be_empty(tmp_path, epochs):
    result = tiny_run.run(tmp_path, epochs=epochs)
    assert len(result["history.loss"]) == 2
    assert result["integers"].dtype == np.int32
    assert_same(tiny_run.run(tmp_path, epochs=epochs), result)


def test_checkpoints_hold_arrays_by_path(whole):
    folder, _ = whole
    with ocp.training.Checkpointer(folder / "checkpoints") as checkpointer:
        assert [checkpoint.step for checkpoint in checkpointer.checkpoints] == [LAST - 1, LAST]
        arrays = checkpointer.load(LAST)
        history = checkpointer.metadata(LAST).custom_metadata["history"]
    assert all(isinstance(path, str) for path in arrays)
    assert all(isinstance(value, np.ndarray) for value in arrays.values())
    assert {path.split(".")[0] for path in arrays} <= {"parameters", "statistics", "optimizer"}
    assert any(path.startswith("parameters.layers.0.") for path in arrays)
    assert history == read_metrics(folder)
    for file in (folder / "checkpoints" / str(LAST)).rglob("*META*"):
        assert "flax" not in file.read_text(), file
        assert "nnx" not in file.read_text(), file


def test_checkpoints_know_no_device(tmp_path, recwarn):
    checkpoints = tiny_run.open_checkpoints(tmp_path)
    checkpoints.save(1, tiny_run.make_state(1), [])
    loaded = checkpoints.load(1, tiny_run.make_state(0))
    checkpoints.close()
    assert jax.tree.all(jax.tree.map(lambda leaf: not leaf.committed, loaded))
    assert not list((tmp_path / "checkpoints").rglob("_sharding"))
    assert not [str(w.message) for w in recwarn if "harding" in str(w.message)]


def test_a_checkpoint_of_another_network_is_refused(tmp_path):
    checkpoints = tiny_run.open_checkpoints(tmp_path)
    checkpoints.save(1, tiny_run.make_state(1), [])
    like = tiny_run.make_state(0)
    for wrong in ({**like.parameters, "b": like.parameters["b"][1:]}, {"a": like.parameters["a"]}):
        with pytest.raises(ValueError, match=OTHER_NETWORK):
            checkpoints.load(1, like._replace(parameters=wrong))
    checkpoints.close()


def make_trainer(network=None):
    """Return a trainer whose program is that of the runs' first phase."""
    data, _ = tiny_run.make_examples()
    return Trainer(
        network or tiny_run.make_network(), tiny_run.make_phases()[0], data,
        recipe=tiny_run.RECIPE, seed=0,
    )  # fmt: skip


def test_the_callers_network_survives_training():
    network = tiny_run.make_network()
    before = [np.array(leaf) for leaf in jax.tree.leaves(nnx.state(network))]
    trainer = make_trainer(network)
    assert trainer.steps == 3  # 26 examples: the last 2 are left out
    trainer.run_epoch(1)
    trained = jax.tree.leaves(nnx.state(trainer.network()))
    for leaf, value, new in zip(jax.tree.leaves(nnx.state(network)), before, trained, strict=True):
        np.testing.assert_array_equal(leaf, value, strict=True)
        assert np.asarray(new).shape == value.shape
    assert any((np.asarray(new) != old).any() for new, old in zip(trained, before, strict=True))


def test_epochs_differ_in_order_and_augmentation():
    losses = [make_trainer().run_epoch(number) for number in (1, 2, 1)]
    assert losses[0] == losses[2] != losses[1]


def test_a_batch_larger_than_the_data_is_cut():
    data, _ = tiny_run.make_examples()
    trainer = Trainer(
        tiny_run.make_network(), phase(), data, recipe=Recipe(batch_size=1000), seed=0
    )
    assert (trainer.batch_size, trainer.steps) == (26, 1)


@pytest.mark.parametrize("n", [1, 3, 4, 5, 8, 9])
def test_batches_are_cut_filled_and_put_together(n):
    x = np.arange(2 * n, dtype=np.uint8).reshape(n, 2)
    shapes = set()

    def double(piece):
        shapes.add(piece.shape)
        return piece * 2

    np.testing.assert_array_equal(evaluation._in_batches(double, x, size=4), 2 * x, strict=True)
    assert shapes == {(min(n, 4), 2)}  # one shape, so one compilation


def test_write_text_is_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "new" / "file.json"
    files.write_text(path, "old\n")
    assert path.read_text() == "old\n"
    assert [p.name for p in path.parent.iterdir()] == ["file.json"]

    def refuse(source, target):
        raise Stop

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", refuse)
        with pytest.raises(Stop):
            files.write_text(path, "new\n")
    assert path.read_text() == "old\n"
    files.write_text(path, "newer\n")
    assert path.read_text() == "newer\n"


def start(folder, *more):
    """Start a run in a process of its own; return it and the lines it prints."""
    command = [sys.executable, "-m", "tests.experiments.tiny_run", str(folder), *more]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    return process, (line.split() for line in process.stdout)


def kill(process):
    process.send_signal(signal.SIGKILL)
    process.stdout.read()
    process.stdout.close()
    assert process.wait() == -signal.SIGKILL


@pytest.mark.slow
def test_killed_while_saving(tmp_path):
    """A checkpoint is there or not, whenever the process is killed."""
    chance = random.Random(7)
    saved = 0
    for _ in range(6):
        process, lines = start(tmp_path, "saves")
        for word, epoch in lines:
            if word == "saved":
                saved = int(epoch)
            elif int(epoch) >= saved + 4 or (saved and chance.random() < 0.3):
                break
        time.sleep(chance.uniform(0, 0.08))
        kill(process)
        checkpoints = tiny_run.open_checkpoints(tmp_path)
        written = [row["epoch"] for row in read_metrics(tmp_path)]
        done, history = checkpoints.latest()
        assert done >= saved
        assert [row["epoch"] for row in history] == list(range(1, done + 1))
        assert written in (list(range(1, done + 1)), list(range(1, done)))
        state = checkpoints.load(done, tiny_run.make_state(0))
        for leaf in jax.tree.leaves(state):
            assert (np.asarray(leaf) == done).all()
        checkpoints.close()
        saved = done


@pytest.mark.slow
def test_killed_at_any_time(tmp_path, whole):
    """Killed in the float phase, between the phases and in the quantized phase."""
    chance = random.Random(11)
    for epoch, word in ((1, "saving"), (BOUNDARY, "saved"), (3, "saving")):
        process, lines = start(tmp_path)
        for line in lines:
            if line == [word, str(epoch)] or int(line[1]) > epoch:
                break
        time.sleep(chance.uniform(0, 0.06))
        if process.poll() is None:
            kill(process)
        if (tmp_path / "metrics.jsonl").exists():
            rows = read_metrics(tmp_path)
            assert [row["epoch"] for row in rows] == list(range(1, len(rows) + 1))
    process, _ = start(tmp_path)
    process.communicate()
    assert process.returncode == 0
    with np.load(tmp_path / "result0.npz") as result:
        assert_same(dict(result), whole[1])
    assert [row["epoch"] for row in read_metrics(tmp_path)] == list(range(1, LAST + 1))
