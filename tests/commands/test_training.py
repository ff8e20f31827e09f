"""The commands train and sweep: experiments, where there is a checkout."""

import json
import sys

import pytest

import akida_jax as aj
import experiments.train


def test_settings_reach_the_experiment(command, monkeypatch):
    """Options alone mean the default preset, as they do for the experiment itself."""
    seen = []
    monkeypatch.setattr(experiments.train, "run", lambda config, console: seen.append(config))
    for part in ("report", "pictures"):
        monkeypatch.setattr(experiments.train, part, _Silent())
    assert command("train", "--model", "akidanet", "--alpha", "0.25").code == 0
    assert command("train", "smoke", "--seed", "3").code == 0
    assert (seen[0].model, seen[0].alpha, seen[0].data) == ("akidanet", 0.25, "digits")
    assert (seen[1].n_train, seen[1].seed) == (64, 3)


class _Silent:
    def __call__(self, *arguments):
        pass

    def __getattr__(self, name):
        return self


def test_settings_that_cannot_work_are_refused(command):
    result = command("train", "--float-epochs", "-1", "--model", "nope")
    assert result.code == 2
    assert "error: --float-epochs must be at least 0, got -1; --model must be one of" in result.err


@pytest.mark.parametrize("name", ["train", "sweep"])
def test_without_a_checkout_the_error_says_how_to_get_the_experiments(name, command, monkeypatch):
    monkeypatch.setitem(sys.modules, "experiments", None)
    monkeypatch.setitem(sys.modules, f"experiments.{name}", None)
    for arguments in ((), ("--help",), ("smoke",)):
        result = command(name, *arguments)
        assert (result.code, result.out) == (2, "")
        assert result.err == (
            f"error: {name} needs the experiments, which the installed package does not hold: get "
            "a checkout of the project, run pip install -e . in its folder, and try again\n"
        )


def test_settings_of_a_sweep_are_checked(command):
    result = command("sweep", "smoke", "--trials", "0")
    assert result.code == 2
    assert "error: --trials must be at least 1, got 0" in result.err


def test_an_interrupted_training_says_how_to_go_on(command, monkeypatch):
    def stop(config, console):
        raise KeyboardInterrupt

    monkeypatch.setattr(experiments.train, "run", stop)
    result = command("train", "smoke")
    assert result.code == 130
    assert result.err == "stopped; the same command goes on from the last epoch\n"


@pytest.mark.slow
def test_a_run_leaves_a_model(command, tmp_path):
    result = command("train", "smoke", "--output", tmp_path)
    assert result.code == 0, result.err
    (folder,) = tmp_path.iterdir()
    accuracy = json.loads((folder / "result.json").read_text())["accuracy"]
    assert f"{accuracy['integer']:.2%}" in result.out
    assert aj.load(folder / "model.akj").output_shape == (1, 1, 10)
