"""Which results of runs are kept in the project, and in which place."""

import dataclasses
import json

import pytest

from experiments.training import runs


@dataclasses.dataclass(frozen=True)
class Config:
    kind: str = "a"
    width: int = 4
    rates: tuple[float, float] = (0.1, 0.2)
    seed: int = 0
    output: str = "runs/x"
    data_dir: str | None = None
    keep: bool = False
    restart: bool = False


PRESETS = {
    "default": ("", Config()),
    "other": ("", Config(kind="b", width=8)),
    "smoke": ("", Config(width=1)),
}


def result(accuracy=0.5, code=("0123",), **settings):
    config = dataclasses.asdict(Config(output="/somewhere", keep=True, **settings))
    made = {"experiment": "x", "config": config, "code": list(code), "accuracy": accuracy,
            "history": [1, 2]}  # fmt: skip
    return json.loads(json.dumps(made))


def keep(path, *results):
    for each in results:
        runs.keep_result(each, path, by="kind", presets=PRESETS)
    return json.loads(path.read_text())


def test_each_kind_and_seed_has_one_place(tmp_path):
    kept = keep(
        tmp_path / "x.json", result(kind="b", width=8), result(seed=1), result(), result(0.75)
    )
    assert kept["experiment"] == "x"
    found = [(run["preset"], run["config"]["seed"], run["accuracy"]) for run in kept["runs"]]
    assert found == [("a", 0, 0.75), ("a", 1, 0.5), ("b", 0, 0.5)]
    for run in kept["runs"]:
        assert not set(run["config"]) & set(runs.PLACES)
        assert "history" not in run
    assert "somewhere" not in (tmp_path / "x.json").read_text()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": 5}, "--keep is for the settings of a preset, with any seed: default, other"),
        ({"width": 1}, "--keep is for the settings of a preset"),
        ({"kind": "b"}, "--keep is for the settings of a preset"),
        ({"code": ["0123", "45-dirty"]}, "--keep needs code that a commit holds, got 45-dirty"),
    ],
)
def test_other_settings_leave_the_kept_results_alone(tmp_path, changes, message):
    keep(tmp_path / "x.json", result())
    before = (tmp_path / "x.json").read_bytes()
    with pytest.raises(ValueError, match=message):
        keep(tmp_path / "x.json", result(0.9, **changes))
    assert (tmp_path / "x.json").read_bytes() == before


def test_a_run_that_cannot_be_kept_is_refused_before_it_begins():
    runs.check_keep(Config(keep=True, seed=7), PRESETS)
    runs.check_keep(Config(width=5), PRESETS)
    with pytest.raises(ValueError, match="--keep is for the settings of a preset"):
        runs.check_keep(Config(keep=True, width=5), PRESETS)
