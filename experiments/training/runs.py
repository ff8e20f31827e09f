"""What every run does: a folder of its own, its origin, progress on the terminal, a result.

The folder's name follows from the settings, so the same command finds its unfinished run
again and goes on, or shows the finished one.
"""

import contextlib
import dataclasses
import hashlib
import json
import shutil
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

import akida_jax as aj
from akida_jax import quant
from experiments import hosts
from experiments.records.files import write_json, write_text
from experiments.records.provenance import describe_code, describe_machine, uncommitted
from experiments.training import origin, trainer
from experiments.training.checkpoints import Checkpoints
from experiments.training.recipes import Phase
from experiments.training.weights import save_weights

#: Weights of the trained float network, in the run's folder.
FLOAT_WEIGHTS = "float.npz"
_CACHE = "jax_compilation_cache_dir"
_ELSEWHERE = ("output", "restart")
#: Settings that say where things lie on one machine, and nothing of the result.
PLACES = (*_ELSEWHERE, "data_dir", "keep")


def run_folder(config: Any, stem: str) -> Path:
    """Return the folder of a run; other settings have another one.

    Args:
      config: dataclass with the fields ``output`` and ``restart``, which do not count, and
        maybe ``keep``: a run is the same whether its result is kept or not.
      stem: first part of the name.
    """
    settings = dataclasses.asdict(config)
    for key in _ELSEWHERE:
        del settings[key]
    if "keep" in settings:
        settings["keep"] = False
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:8]
    return Path(config.output, f"{stem}-{digest}")


def check_output(folder: Path) -> None:
    """Refuse a folder that cannot be made.

    Raises:
      ValueError: naming the file in its place.
    """
    for path in (folder, *folder.parents):
        if path.exists() and not path.is_dir():
            raise ValueError(
                f"--output must be a folder, but {path} is a file; choose another or remove it"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Watch:
    """Who looks on while a run goes; what its functions raise ends the run.

    Attributes:
      on_untrained: called before training with the converted twin of the untrained network; not
        for a run that is finished already.
      on_epoch: called with each epoch's row of metrics, its checkpoint written; also for
        epochs done before.
    """

    on_untrained: Callable[[aj.Model], None] = lambda model: None
    on_epoch: Callable[[dict], None] = lambda row: None


UNWATCHED = Watch()


@dataclasses.dataclass(frozen=True)
class Run:
    """A run that is to begin or to go on.

    Attributes:
      folder: of this run.
      data: fingerprint of its data.
      code: versions of the code that made it so far, the present one last.
      restart: forget what an earlier run has done.
    """

    folder: Path
    data: str
    code: list[str]
    restart: bool

    @property
    def result_path(self) -> Path:
        """File of the result."""
        return self.folder / origin.RESULT

    def finished(self, console: Console) -> dict | None:
        """Return the result of a run that is finished already, and say so."""
        if self.restart or not self.result_path.exists():
            return None
        console.print(
            f"This run is finished already; its result is {self.result_path}.", soft_wrap=True
        )
        return json.loads(self.result_path.read_text())

    def begin(self) -> None:
        """Empty the folder if asked to, and note where the run stems from."""
        if self.restart:
            if hosts.is_first() and self.folder.exists():
                shutil.rmtree(self.folder)
            hosts.wait("an emptied folder")
        origin.write_origin(self.folder, self.data, self.code)

    def write_result(self, config: Any, **contents: Any) -> dict:
        """Write the result with everything it needs to be cited, and return it."""
        contents = dict(contents)
        first = {key: contents.pop(key) for key in ("experiment", "title")}
        result = {
            **first,
            "config": dataclasses.asdict(config),
            **describe_machine(),
            "code": self.code,
            "data_fingerprint": self.data,
            **contents,
        }
        text = json.dumps(result, indent=1)
        write_text(self.result_path, text + "\n")
        return json.loads(text)


def open_run(
    config: Any, folder: Path, data: str, console: Console, traces: Collection[str] = ()
) -> Run:
    """Return a run, having compared its folder with the present data and code.

    Args:
      config: dataclass with the field ``restart``.
      folder: of the run.
      data: fingerprint of the present data.
      console: receives a warning if other code made what is there.
      traces: as of `origin.check_origin`.

    Raises:
      ValueError: if the folder cannot be made, or was begun with other data.
    """
    check_output(folder)
    code = [describe_code()]
    if not config.restart:
        code = origin.check_origin(folder, data, console, traces)
    return Run(folder, data, code, config.restart)


def train_visibly(
    run: Run,
    network: quant.Sequential,
    phases: Sequence[Phase],
    data: trainer.Data,
    test: Any,
    console: Console,
    shown: str = "test_accuracy",
    watch: Watch = UNWATCHED,
    **settings: Any,
) -> tuple[quant.Sequential, list[dict]]:
    """Train as `trainer.train` does, with checkpoints in the run's folder and a bar.

    Args:
      run: where the checkpoints lie.
      network: as of `trainer.train`, like the next three.
      phases: as of `trainer.train`.
      data: training examples.
      test: what is measured after every epoch.
      console: receives the bar.
      shown: the number beside the bar, a share of 1.
      watch: who looks on.
      **settings: other arguments of `trainer.train`.
    """
    columns = (TextColumn("{task.description:<28}"), BarColumn(), MofNCompleteColumn(),
               TimeElapsedColumn())  # fmt: skip
    checkpoints = Checkpoints(run.folder / origin.CHECKPOINTS, run.folder / "metrics.jsonl")
    with Progress(*columns, console=console) as progress, contextlib.closing(checkpoints):
        bar = progress.add_task("training", total=sum(phase.epochs for phase in phases))

        def show(row: dict) -> None:
            text = f"{row['phase']}, test {row[shown]:.1%}"
            progress.update(bar, completed=row["epoch"], description=text)
            watch.on_epoch(row)

        return trainer.train(
            network,
            phases,
            data,
            test,
            checkpoints=checkpoints,
            on_epoch=show,
            on_float=lambda network: save_weights(network, run.folder / FLOAT_WEIGHTS),
            **settings,
        )


def timings(loading: float, history: list[dict]) -> dict[str, float]:
    """Return seconds: of this process' loading, and of the epochs of all processes."""
    epochs = sum(row["seconds"] for row in history)
    return {"data": round(loading, 2), "training": round(epochs, 2)}


def without_places(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings as they may be published: without the folders of one machine."""
    return {key: value for key, value in config.items() if key not in PLACES}


def keep_result(result: dict, path: Path, *, by: str, presets: Mapping[str, Any]) -> None:
    """Write a result into a file of results, in the place of its kind and seed.

    Args:
      result: of a run.
      path: of the file, ``{"experiment": ..., "runs": [...]}``.
      by: the setting that tells kinds of runs apart; it becomes the run's "preset".
      presets: of the experiment; only their results are kept, with any seed, and not those of
        "smoke".

    Raises:
      ValueError: if no preset has these settings, or no commit holds the code; the result
        stays in the run's folder.
    """
    kept = {key: value for key, value in result.items() if key != "history"}
    kept["config"] = without_places(result["config"])
    _check_preset(kept["config"], presets)
    check_code(result["code"])
    kept = {"preset": result["config"][by], **kept}
    runs = json.loads(path.read_text())["runs"] if path.exists() else []

    def place(run: dict) -> tuple[str, int]:
        return run["config"][by], run["config"]["seed"]

    runs = sorted([*(run for run in runs if place(run) != place(kept)), kept], key=place)
    contents = {"experiment": result["experiment"], "runs": runs}
    write_json(path, contents)


def share_programs(folder: Path) -> None:
    """Keep compiled programs, which every seed runs again, unless they are kept already."""
    if getattr(jax.config, _CACHE) is None:
        jax.config.update(_CACHE, str(folder.absolute() / "compiled"))


def check_code(code: Iterable[str]) -> None:
    """Refuse to keep a result of code that no commit holds.

    Args:
      code: descriptions of the code of all processes that made the result.

    Raises:
      ValueError: naming them.
    """
    if odd := uncommitted(code):
        raise ValueError(f"--keep needs code that a commit holds, got {', '.join(odd)}")


def write_whole(
    result: dict[str, Any], folder: Path, code: Iterable[str], kept: Path | None
) -> Path:
    """Write the result of many trainings, and keep it if asked to; return where it is.

    Args:
      result: of the run.
      folder: of the run, where it stays.
      code: descriptions of the code of all processes that made it.
      kept: file of committed results; None if it is not to be kept.

    Raises:
      ValueError: if it is to be kept and no commit holds the code.
    """
    path = folder / origin.RESULT
    write_json(path, result)
    if kept is None:
        return path
    check_code(code)
    write_json(kept, result)
    return kept


def check_keep(config: Any, presets: Mapping[str, Any]) -> None:
    """Refuse before a run what `keep_result` would refuse after it.

    Args:
      config: dataclass with the field ``keep``.
      presets: of the experiment.

    Raises:
      ValueError: if the result is to be kept and no preset has these settings.
    """
    if config.keep:
        _check_preset(_plain(config), presets)


def check_keep_any_seeds(config: Any, presets: Mapping[str, Any]) -> None:
    """Refuse before a run to keep its result, if no preset has its settings, whatever the seeds.

    Args:
      config: dataclass with the field ``keep`` and a ``folder`` that is the same for all seeds.
      presets: of the experiment; that of "smoke" is not kept.

    Raises:
      ValueError: naming the presets; or if no commit holds the present code.
    """
    if not config.keep:
        return
    names = [name for name in presets if name != "smoke"]
    if config.folder.name not in [presets[name][1].folder.name for name in names]:
        raise ValueError(f"--keep is for a preset, with any seeds: {', '.join(names)}")
    check_code([describe_code()])


def _check_preset(settings: dict[str, Any], presets: Mapping[str, Any]) -> None:
    names = [name for name in presets if name != "smoke"]
    known = [{**_plain(presets[name][1]), "seed": settings["seed"]} for name in names]
    if settings not in known:
        raise ValueError(
            f"--keep is for the settings of a preset, with any seed: {', '.join(names)}"
        )


def _plain(config: Any) -> dict[str, Any]:
    """Return a preset's settings as they stand in a result."""
    plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(config)))
    return without_places(plain)
