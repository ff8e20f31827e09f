"""A study that workers share: every slot is worked on by one of them, and none is forgotten.

A study has as many slots as trials were asked for, each a waiting trial from the beginning. A
worker claims the first that waits, and alone it changes a trial's state, under the study's lock.
While it works it counts a beat up in the trial's attributes. A trial whose process is gone, or
whose beat stands still, is lost: it fails with that reason, and a new trial with its parameters
waits in its place. All of this is kept in the attributes of Optuna's trials, so the storage alone
says how a study stands.
"""

import contextlib
import json
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import optuna
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from experiments.sweeping.processes import describe_process, has_ended
from experiments.sweeping.storages import Opened, open_storage

#: How often the same point may lose its worker before it is given up.
MOST_LOSSES = 3
#: Beats within the time after which a trial without a beat is lost.
_BEATS = 6
_SETTINGS = "settings"

Kind = Literal["failed", "impossible", "lost", "interrupted"]
"""Why a trial has no result: what it did, what the chip cannot hold, a worker that is gone, a
worker that was stopped."""


Direction = Literal["maximize", "minimize"]


class LostTrialError(Exception):
    """A trial that another worker has taken for lost, and repeats."""


class SharedStudy:
    """One study, as one worker sees it.

    Args:
      name: of the study.
      storage: as of `open_storage`.
      directions: "maximize" or "minimize" of each objective.
      settings: what every command that joins in must have in common.
      grace_s: time without a beat after which a trial on another machine is lost.

    Raises:
      ValueError: if the study was begun with other settings, naming them, or the storage cannot
        be opened.
    """

    def __init__(
        self,
        name: str,
        storage: str,
        *,
        directions: Sequence[Direction],
        settings: Mapping[str, Any],
        grace_s: float,
    ):
        opened: Opened = open_storage(storage, name)
        self._storage, self.lock = opened
        self._grace_s = grace_s
        self._beats: dict[int, tuple[Any, float]] = {}
        with self.lock():
            self.study = optuna.create_study(
                storage=self._storage, study_name=name, directions=list(directions),
                load_if_exists=True,
            )  # fmt: skip
            stored = self.study.user_attrs.get(_SETTINGS)
            given = json.loads(json.dumps(settings))
            if stored is None:
                self.study.set_user_attr(_SETTINGS, given)
            elif stored != given:
                raise ValueError(_differences(name, stored, given))

    def trials(self) -> list[FrozenTrial]:
        """Return all trials, in the order of their numbers."""
        return self.study.get_trials(deepcopy=False)

    def add_slots(self, parameters: Sequence[Mapping[str, Any]]) -> None:
        """Let a trial wait for each slot that has none yet.

        Args:
          parameters: what is fixed of each slot's parameters; a sampler chooses the others.
        """
        with self.lock():
            there = {trial.user_attrs["slot"] for trial in self.trials()}
            for slot, fixed in enumerate(parameters):
                if slot not in there:
                    self.study.enqueue_trial(dict(fixed), user_attrs={"slot": slot})

    def retry(self) -> int:
        """Let every failed trial that nobody repeats be repeated; return how many."""
        with self.lock():
            trials = self.trials()
            failed = [t for t in trials if t.user_attrs.get("kind") == "failed"]
            failed = [trial for trial in failed if _repeat(trial, trials) is None]
            for trial in failed:
                self._enqueue_again(trial)
        return len(failed)

    def claim(self, make_sampler: Any) -> optuna.Trial | None:
        """Return a trial to work on; None if none waits.

        Args:
          make_sampler: function of a trial's slot.
        """
        with self.lock():
            self._recover()
            waiting = [t for t in self.trials() if t.state == TrialState.WAITING]
            if not waiting:
                return None
            self.study.sampler = make_sampler(waiting[0].user_attrs["slot"])
            trial = self.study.ask()
            assert trial.number == waiting[0].number
            trial.set_user_attr("worker", describe_process())
            return trial

    def count(self) -> dict[str, int]:
        """Return how many trials wait and how many run."""
        states = [trial.state for trial in self.trials()]
        return {
            "waiting": states.count(TrialState.WAITING),
            "running": states.count(TrialState.RUNNING),
        }

    @contextlib.contextmanager
    def beating(self, trial: optuna.Trial) -> Iterator[threading.Event]:
        """Count the beat of a trial; the event is set if the trial was taken for lost."""
        ended, lost = threading.Event(), threading.Event()

        def beat() -> None:
            number = 0
            while not ended.wait(self._grace_s / _BEATS):
                number += 1
                try:
                    trial.set_user_attr("beat", number)
                except UpdateFinishedTrialError:
                    lost.set()
                    return
                except StorageInternalError:
                    continue  # The next beat may come through.

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield lost
        finally:
            ended.set()
            thread.join()

    def complete(
        self, trial: optuna.Trial, values: Sequence[float], result: Mapping[str, Any]
    ) -> None:
        """End a trial with its values and everything that was measured.

        Raises:
          LostTrialError: if another worker repeats the trial.
        """
        with self.lock():
            self._check_mine(trial)
            trial.set_user_attr("result", dict(result))
            self.study.tell(trial, list(values))

    def prune(self, trial: optuna.Trial, reason: str) -> None:
        """End a trial that is not worth its remaining epochs."""
        with self.lock():
            self._check_mine(trial)
            trial.set_user_attr("reason", reason)
            self.study.tell(trial, state=TrialState.PRUNED)

    def fail(self, trial: optuna.Trial, kind: Kind, reason: str, **more: str) -> None:
        """End a trial without values.

        Args:
          trial: claimed by this worker.
          kind: "interrupted" lets its parameters wait again.
          reason: in words.
          **more: other attributes to keep.
        """
        with self.lock():
            self._check_mine(trial)
            for key, value in {"kind": kind, "reason": reason, **more}.items():
                trial.set_user_attr(key, value)
            if kind == "interrupted":
                frozen = next(t for t in self.trials() if t.number == trial.number)
                trial.set_user_attr("repeated_by", self._enqueue_again(frozen))
            # Samplers forget failed trials, and learn from pruned ones where not to look again.
            known = kind == "impossible"
            self.study.tell(trial, state=TrialState.PRUNED if known else TrialState.FAIL)

    def _check_mine(self, trial: optuna.Trial) -> None:
        state = self.study.get_trials(deepcopy=False)[trial.number].state
        if state != TrialState.RUNNING:
            raise LostTrialError(f"trial {trial.number} was taken for lost; another repeats it")

    def _recover(self) -> None:
        """Fail every running trial whose worker is gone, and let its parameters wait again."""
        for trial in self.trials():
            if trial.state != TrialState.RUNNING:
                self._beats.pop(trial.number, None)
                continue
            reason = self._loss(trial)
            if reason is None:
                continue
            losses = trial.user_attrs.get("losses", 0) + 1
            repeated = losses < MOST_LOSSES
            if repeated:
                # First the new trial, then the old one's end: a kill between them forgets nothing.
                self._set(trial, "repeated_by", self._enqueue_again(trial, losses=losses))
            else:
                reason += f"; given up after {losses} losses"
            self._set(trial, "reason", reason)
            self._set(trial, "kind", "lost" if repeated else "failed")
            self.study.tell(trial.number, state=TrialState.FAIL)

    def _loss(self, trial: FrozenTrial) -> str | None:
        """Return why a running trial is lost; None if it is not, as far as can be seen."""
        worker = trial.user_attrs.get("worker")
        if worker is None:
            # The lock is held: nobody is between claiming a trial and saying so.
            return "its worker ended as it began"
        named = f"process {worker['pid']} on {worker['host']}"
        ended = has_ended(worker)
        if ended is not None:
            return f"its worker ended without a word ({named})" if ended else None
        beat, now = trial.user_attrs.get("beat"), time.monotonic()
        known, since = self._beats.get(trial.number, (None, now))
        if trial.number not in self._beats or known != beat:
            self._beats[trial.number] = (beat, now)
            return None
        still = now - since
        return f"no beat of {named} for {still:.0f} s" if still > self._grace_s else None

    def _enqueue_again(self, trial: FrozenTrial, **attributes: Any) -> int:
        """Let a trial's parameters wait again; return the new number."""
        there = _repeat(trial, self.trials())
        if there is not None:
            return there
        fixed = {**trial.system_attrs.get("fixed_params", {}), **trial.params}
        kept = {"slot": trial.user_attrs["slot"], "repeats": trial.number, **attributes}
        self.study.enqueue_trial(fixed, user_attrs=kept)
        number = _repeat(trial, self.trials())
        assert number is not None
        return number

    def _set(self, trial: FrozenTrial, key: str, value: Any) -> None:
        """Set an attribute of another worker's trial."""
        study = self._storage.get_study_id_from_name(self.study.study_name)
        place = self._storage.get_trial_id_from_study_id_trial_number(study, trial.number)
        self._storage.set_trial_user_attr(place, key, value)


def _repeat(trial: FrozenTrial, trials: Sequence[FrozenTrial]) -> int | None:
    """Return the number of the trial that repeats one."""
    return next((t.number for t in trials if t.user_attrs.get("repeats") == trial.number), None)


def _differences(name: str, stored: Mapping[str, Any], given: Mapping[str, Any]) -> str:
    stored, given = _flat(stored), _flat(given)
    keys = [key for key in {**stored, **given} if stored.get(key) != given.get(key)]
    parts = [f"{key} {_short(stored.get(key))}, now {_short(given.get(key))}" for key in keys]
    return (
        f"the study {name!r} was begun with other settings: {'; '.join(parts)}; give them again, "
        "or choose another --name"
    )


def _flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings with those inside others under names such as base.seed."""
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        inner = value if isinstance(value, dict) else {}
        flat |= {f"{key}.{name}": one for name, one in inner.items()} or {key: value}
    return flat


def _short(value: Any) -> str:
    return json.dumps(value)
