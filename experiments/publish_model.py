"""Put a finished run's model, with its card, among those that come with the package.

    python -m experiments.publish_model RUN... --name NAME --task TEXT --limits TEXT
    python -m experiments.publish_model --costs    # after a new calibration of the cost model

Each RUN is the folder of a finished run, with result.json and model.akj, of the same
settings but for the seed, or the fold of a cross-validation. The first one's model is
shipped, the others give the spread.
The test examples are loaded again, so the data must be at hand: the model must reach the
recorded accuracy. Takes seconds to a minute.
"""

import dataclasses
import functools
import hashlib
import importlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tyro
from rich.console import Console

import akida_jax as aj
from akida_jax import mapping, zoo
from akida_jax.writing import replace_file
from akida_jax.zoo.datasets import Examples, fingerprint
from akida_jax.zoo.datasets.ecg import load_ecg
from akida_jax.zoo.datasets.event_sets import find_place
from akida_jax.zoo.pretrained_models import FORMS, LIMIT_BYTES, read_card
from experiments import dvs_gesture, ecg, train_data
from experiments.presets import run_command
from experiments.records.files import write_json, write_text
from experiments.records.provenance import uncommitted
from experiments.training.options import HELD_OUT
from experiments.training.recipes import Phase
from experiments.training.runs import without_places

FOLDER = Path(zoo.__file__).resolve().parent / "models"
MODE: mapping.Mode = "all_nps"
NEEDED = ("experiment", "title", "config", "date", "commit", "versions", "data_fingerprint",
          "class_names", "accuracy", "n_train", "n_test", "sparsity",
          "potentials_equal")  # fmt: skip
#: Settings in which the runs of one model may differ.
_SPREAD = ("seed", "fold")
_EVENT_TERMS = {
    "synthetic": "none: the recordings are computed",
    "nmnist": "CC BY-SA 4.0",
    "clips": "CC BY 4.0",
    "dvs-gesture": "CC BY 4.0",
}
_COMPUTED = "computed from the seed by akida_jax.events.synthetic_gestures"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """What to publish.

    Attributes:
      runs: folders of finished runs; the first one's model is shipped.
      name: of the model; lower-case letters, digits and underscores.
      task: what the model decides, in a few words.
      limits: what it must not be used for, in a sentence.
      costs: publish nothing, model the costs on all cards again.
      folder: that receives the model and its card.
    """

    runs: tyro.conf.Positional[tuple[Path, ...]] = ()
    name: str = ""
    task: str = ""
    limits: str = ""
    costs: bool = False
    folder: Path = FOLDER

    def check(self) -> None:
        """Refuse what says too little, and a name that is no file name everywhere.

        Raises:
          ValueError: naming the option.
        """
        if self.costs:
            if self.runs or self.name or self.task or self.limits:
                raise ValueError("--costs takes no runs, no --name, --task or --limits")
            return
        if not (self.runs and self.name and self.task.strip() and self.limits.strip()):
            raise ValueError("give at least one folder of a run, --name, --task and --limits")
        if not re.fullmatch(r"[a-z][a-z0-9_]*", self.name):
            raise ValueError(
                "--name must be lower-case letters, digits and underscores, beginning with a "
                f"letter, got {self.name!r}"
            )


def read_runs(folders: tuple[Path, ...]) -> list[dict]:
    """Return the results of finished runs that may be published.

    Raises:
      ValueError: naming every fault of every run.
      FileNotFoundError: if a folder holds no finished run.
    """
    results = []
    for folder in folders:
        for name in ("result.json", "model.akj"):
            if not (folder / name).is_file():
                raise FileNotFoundError(f"{folder} has no {name}: it holds no finished run")
        results.append(json.loads((folder / "result.json").read_text()))
    faults = [
        f"{folder}: {fault}"
        for folder, result in zip(folders, results, strict=True)
        for fault in _faults(result)
    ]
    faults = faults or [
        f"{folder}: {fault}"
        for folder, result in zip(folders[1:], results[1:], strict=True)
        for fault in _differences(results[0], result)
    ]
    spread = [tuple(result.get("config", {}).get(key) for key in _SPREAD) for result in results]
    if not faults and len(set(spread)) != len(spread):
        seeds = [seed for seed, _ in spread]
        faults.append(f"the runs have the seeds {seeds}; each must have its own, or its own fold")
    if faults:
        raise ValueError("cannot publish: " + "; ".join(faults))
    return results


def _faults(result: dict) -> Iterator[str]:
    missing = [key for key in NEEDED if key not in result]
    if missing:
        yield f"result.json lacks {', '.join(missing)}; run it again with the present code"
        return
    code = [result["commit"], *result.get("code", [])]
    if not all(code) or uncommitted(code):
        yield (
            f"it was made by code that no commit holds ({', '.join(map(str, code))}); run it "
            "again from a clean checkout"
        )
    equal = result["potentials_equal"]
    if not equal or not all(equal.values()):
        yield f"the executors' potentials were not all equal to the network's: {equal}"


def _differences(first: dict, other: dict) -> Iterator[str]:
    ours, theirs = ({**settings(r), **dict.fromkeys(_SPREAD)} for r in (first, other))
    different = sorted(k for k in {*ours, *theirs} if ours.get(k) != theirs.get(k))
    different += [k for k in ("experiment", "title", "class_names") if first[k] != other[k]]
    if ours.get("data") != "synthetic" and first["data_fingerprint"] != other["data_fingerprint"]:
        different.append("data_fingerprint")
    if different:
        yield f"differs from the first run in {', '.join(different)}"


def settings(result: dict) -> dict[str, Any]:
    """Return the settings of a run, without those that name folders."""
    return without_places(result["config"])


def first_seed(result: dict) -> int:
    """Return the seed of a run's first weights; each fold has its own."""
    return result["config"]["seed"] + (result["config"].get("fold") or 0)


class Test(NamedTuple):
    """What a model is tested on.

    Attributes:
      x: inputs.
      n: test examples, of each of which there may be several inputs.
      fingerprint: of the data, as the run's.
      score: share of the examples that a model classifies rightly.
    """

    x: np.ndarray
    n: int
    fingerprint: str
    score: Callable[[aj.Model], float]


def load_test(experiment: str, chosen: Mapping[str, Any]) -> Test:
    """Return what the model of a run was tested on, loaded again.

    Args:
      experiment: module of `experiments`.
      chosen: its settings.

    Raises:
      ValueError: if there is no loader for this experiment.
    """
    if experiment not in _LOADERS:
        raise ValueError(
            f"no loader for the test examples of {experiment!r}; add one to _LOADERS of "
            "experiments/publish_model.py"
        )
    given = {k: tuple(v) if isinstance(v, list | tuple) else v for k, v in chosen.items()}
    config = importlib.import_module(f"experiments.{experiment}").Config(**given)
    return _LOADERS[experiment](config)


def _test(examples: Examples, fingerprint: str) -> Test:
    x, y = examples
    return Test(x, len(x), fingerprint, lambda model: model.evaluate(x, y))


def _event_test(config: dvs_gesture.Config) -> Test:
    # The test recordings do not depend on the number of training recordings.
    _, frames = dvs_gesture.load(dataclasses.replace(config, n_train_per_class=1))
    found = fingerprint(config.data, seed=config.seed, data_dir=config.data_dir)
    return _test(Examples(frames.test_x, frames.test_y), found)


def _labelled_test(config: Any) -> Test:
    data = train_data.load(config)
    pieces = zip(*data.test_pieces(), strict=True)
    return _test(Examples(*(np.concatenate(values) for values in pieces)), data.fingerprint)


def _heartbeat_test(config: ecg.Config) -> Test:
    data = load_ecg(config.data_dir, part=config.part)
    fold = ecg.split(config, data)
    score = functools.partial(ecg.score_model, fold)
    return Test(fold.test.x, len(fold.labels), ecg.fingerprint(data), score)


_LOADERS: dict[str, Callable[[Any], Test]] = {
    "dvs_gesture": _event_test,
    "ecg": _heartbeat_test,
    "train": _labelled_test,
}


def architecture_options(result: dict, model: aj.Model) -> dict[str, Any]:
    """Return the options with which the zoo builds a run's network.

    Raises:
      ValueError: if the zoo builds something else with them.
    """
    config = result["config"]
    options: dict[str, Any] = {"input_shape": model.input_shape,
                               "classes": len(result["class_names"])}  # fmt: skip
    # Only AkidaNet and its kin have them; the heartbeats' settings name them for both networks.
    for key in ("alpha", "halvings") if config["model"] != "ecg" else ():
        if config.get(key) is not None:
            options[key] = config[key]
    if config.get("bits") is not None:
        options["bits"] = tuple(config["bits"])
    elif "weight_bits" in config:
        options["bits"] = (8, config["weight_bits"], config["act_bits"])
    built = zoo.blank_model(config["model"], **options)
    if built.layers != model.layers:
        raise ValueError(
            f"the zoo's {config['model']} with {options} has other layers than the model of the "
            "run; run it again with the present code"
        )
    return options


def modelled_costs(model: aj.Model, shares: Mapping[str, float]) -> list[dict]:
    """Return the modelled cost of one inference on every known chip.

    Args:
      model: what is placed.
      shares: of zeros in each layer's output, and in the input of `InputData`.
    """
    costs = []
    for device in mapping.DEVICES.values():
        placement = mapping.place(model, device, MODE)
        cost = mapping.estimate(placement, shares)
        costs.append({
            "device": device.name, "mode": MODE, "nps": placement.nps, "passes": placement.passes,
            "latency_ms": float(cost.latency_ms), "dynamic_mj": float(cost.dynamic_mj),
            "total_mj": float(cost.total_mj), "expected_error": cost.law.trust(),
        })  # fmt: skip
    return costs


def recipe(chosen: Mapping[str, Any]) -> str:
    """Return the settings of a training run in words and numbers."""
    parts = []
    for phase in ("float", "quantized"):
        low, high = chosen[f"{phase}_rates"]
        parts.append(f"{chosen[f'{phase}_epochs']} {phase} epochs, learning rate {low:g} to "
                     f"{high:g}")  # fmt: skip
    if "cycle_epochs" in chosen and chosen.get("schedule", "cyclic") == "cyclic":
        parts.append(f"cyclic schedule over {chosen['cycle_epochs']} epochs")
    else:
        warmup = chosen.get("warmup_epochs", Phase.warmup_epochs)
        parts.append(f"cosine schedule after {warmup:g} epochs of warm-up")
    parts.append(f"Adam, batches of {chosen['batch_size']}")
    words = {"weight_decay": "weight decay {:g}", "label_smoothing": "label smoothing {:g}",
             "average": "moving average of the parameters, decay {:g}",
             "rotation": "random rotation up to {:g} turns",
             "translation": "random shift up to {:g} of the frame",
             "shift": "random shift up to {} pixels"}  # fmt: skip
    parts += [text.format(chosen[key]) for key, text in words.items() if chosen.get(key)]
    parts += ["random mirroring"] if chosen.get("flip") else []
    return "; ".join(parts)


def command(experiment: str, chosen: Mapping[str, Any]) -> str:
    """Return the command that runs an experiment with given settings.

    It begins with the preset from which the settings differ least.
    """
    presets = importlib.import_module(f"experiments.{experiment}").PRESETS
    choices = []
    for name, (_, config) in presets.items():
        base = json.loads(json.dumps(dataclasses.asdict(config)))
        changed = {key: value for key, value in chosen.items() if base.get(key) != value}
        choices.append((len(changed), name, changed))
    _, name, changed = min(choices, key=lambda choice: choice[0])
    return " ".join(
        [f"python -m experiments.{experiment} {name}", *map(_option, changed, changed.values())]
    )


def _option(name: str, value: Any) -> str:
    flag = name.replace("_", "-")
    if isinstance(value, bool):
        return f"--{flag}" if value else f"--no-{flag}"
    values = value if isinstance(value, list | tuple) else [value]
    return " ".join([f"--{flag}", *map(str, values)])


def make_card(config: Config, results: list[dict], content: bytes) -> dict:
    """Return the card of the first run's model.

    Raises:
      ValueError: if the model does not reach the recorded accuracy, or was tested on held-out
        training examples.
    """
    first = results[0]
    _check_tested(first["config"])
    model = aj.load(config.runs[0] / "model.akj")
    options = architecture_options(first, model)
    test = load_test(first["experiment"], settings(first))
    _check_reached(test, test.score(model), first)
    zeros = 1 - np.count_nonzero(test.x) / test.x.size
    shares = {str(model.layers[0].name): zeros, **first["sparsity"]}
    forms = [f for f in FORMS if all(r["accuracy"].get(f) is not None for r in results)]
    return {
        "name": config.name,
        "title": first["title"],
        "architecture": first["config"]["model"],
        "options": options,
        "task": config.task,
        "class_names": first["class_names"],
        **data_facts(first),
        "data_fingerprint": first["data_fingerprint"],
        "recipe": recipe(first["config"]),
        "command": command(first["experiment"], settings(first)),
        "experiment": first["experiment"],
        "settings": settings(first),
        "seeds": [first_seed(result) for result in results],
        "accuracy": {form: [result["accuracy"][form] for result in results] for form in forms},
        "n_train": first["n_train"],
        "n_test": first["n_test"],
        "cost": modelled_costs(model, shares),
        "sparsity": shares,
        "limits": config.limits,
        "date": first["date"],
        "commit": first["commit"],
        "versions": first["versions"],
        "size_bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }


def _check_tested(trained: dict) -> None:
    """Refuse a run whose accuracy was to choose settings by."""
    held = [name for name in HELD_OUT if trained.get(name)]
    if held:
        raise ValueError(f"cannot publish: the run was tested on held-out training examples "
                         f"({held[0]} {trained[held[0]]}); train it again without")  # fmt: skip


def _check_reached(test: Any, reached: float, recorded: dict) -> None:
    """Refuse a model that does not score on the test examples what its run has recorded."""
    if test.fingerprint != recorded["data_fingerprint"]:
        raise ValueError(f"cannot publish: the run was made from other data, fingerprint "
                         f"{recorded['data_fingerprint']}, now {test.fingerprint}")  # fmt: skip
    accuracy = recorded["accuracy"]["integer"]
    if reached != accuracy or test.n != recorded["n_test"]:
        raise ValueError(
            f"cannot publish: the model classifies {reached:.4%} of {test.n} test examples "
            f"rightly, the run recorded {accuracy:.4%} of {recorded['n_test']}; "
            "the model is not that of the run, or the code computes something else"
        )


def data_facts(result: dict) -> dict[str, str]:
    """Return title, source and terms of a run's data."""
    title = result["title"].split(" on ", 1)[1]
    if "source" in result:
        return {"data": title, "source": result["source"], "terms": result["terms"]}
    name = result["config"]["data"]
    source = _COMPUTED if name == "synthetic" else find_place(name).source
    return {"data": title, "source": source, "terms": _EVENT_TERMS[name]}


def publish(config: Config) -> dict:
    """Write the model and then its card; return the card.

    Raises:
      ValueError: if a run may not be published, or all models together grow too large.
      FileNotFoundError: if a run is not finished, or the folder does not exist.
    """
    config.check()
    if not config.folder.is_dir():
        raise FileNotFoundError(f"the folder {config.folder} does not exist; create it first")
    results = read_runs(config.runs)
    content = (config.runs[0] / "model.akj").read_bytes()
    text = json.dumps(make_card(config, results, content), indent=1) + "\n"
    read_card(text, config.name)
    others = (path for path in config.folder.iterdir() if path.stem != config.name)
    total = sum(path.stat().st_size for path in others) + len(content) + len(text)
    if total > LIMIT_BYTES:
        raise ValueError(
            f"cannot publish: all models together would take {total:,} bytes, the limit is "
            f"{LIMIT_BYTES:,}; publish a smaller one or remove another"
        )
    with replace_file(config.folder / f"{config.name}.akj") as stream:
        stream.write(content)
    write_text(config.folder / f"{config.name}.json", text)
    return json.loads(text)


def model_costs_again(folder: Path) -> list[str]:
    """Rewrite the costs of every card with the present law; return the names."""
    names = sorted(path.stem for path in folder.glob("*.json"))
    for name in names:
        path = folder / f"{name}.json"
        card = json.loads(path.read_text())
        card["cost"] = modelled_costs(aj.load(folder / f"{name}.akj"), card["sparsity"])
        write_json(path, card)
    return names


def main(arguments: list[str] | None = None) -> None:
    """Publish, and say what was written."""
    config = tyro.cli(Config, args=arguments)
    console = Console()
    if config.costs:
        config.check()
        console.print(f"modelled again: {', '.join(model_costs_again(config.folder))}")
        return
    publish(config)
    card = read_card((config.folder / f"{config.name}.json").read_text(), config.name)
    for heading, text in card.lines():
        console.print(f"{heading:<18}{text}", soft_wrap=True, highlight=False, markup=False)


if __name__ == "__main__":
    run_command(functools.partial(main, None))
