"""Workers: each claims one trial after another until none is left."""

import contextlib
import functools
import multiprocessing
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import optuna
from rich.console import Console
from rich.markup import escape

from experiments.sweeping.claims import LostTrialError, SharedStudy
from experiments.sweeping.points import ImpossibleError

#: So many trials of one worker that fail alike, before any succeeds, end its work.
ALIKE = 3
_POLL_S = 2.0
_LOG_CHARACTERS = 4000


class Task(NamedTuple):
    """What a worker does with its trials.

    Attributes:
      study: where they are claimed.
      make_sampler: function of a slot.
      measure: function of (trial, on_epoch); returns values and everything measured.
      on_end: called after every trial that has ended.
      prunes: whether the accuracy of an epoch may end a trial.
    """

    study: SharedStudy
    make_sampler: Callable[[int], optuna.samplers.BaseSampler]
    measure: Callable[[optuna.Trial, Callable[[dict], None]], tuple[list[float], dict[str, Any]]]
    on_end: Callable[[], None]
    prunes: bool


def work(task: Task, console: Console) -> None:
    """Work until no trial waits or runs anywhere.

    Raises:
      OSError: if data or files fail; its trial waits again.
      ValueError: if the first trials of this worker all failed for the same reason.
    """
    reasons: list[str] = []
    waits = False
    with _stopped_by_termination():
        while _parent_lives():
            trial = task.study.claim(task.make_sampler)
            if trial is None:
                running = task.study.count()["running"]
                if not running:
                    return
                if not waits:
                    console.print(f"No trial waits; {running} of other workers may be lost yet.")
                waits = True
                time.sleep(_POLL_S)
                continue
            waits = False
            reason = _run_trial(task, trial, console)
            task.on_end()
            reasons.append(reason or "")
            if len(reasons) == ALIKE and reasons[0] and len(set(reasons)) == 1:
                raise ValueError(f"the first {ALIKE} trials all failed alike: {reason}; once that "
                                 "is mended, --retry-failed repeats them")  # fmt: skip


def _run_trial(task: Task, trial: optuna.Trial, console: Console) -> str | None:
    """Run one trial to its end; return the reason of a failure."""
    try:
        return _run_held(task, trial, console)
    except LostTrialError as lost:
        console.print(f"[yellow]warning:[/yellow] {lost}; what it trained stays")
        return None


def _run_held(task: Task, trial: optuna.Trial, console: Console) -> str | None:
    study, begun = task.study, time.perf_counter()
    try:
        with study.beating(trial) as lost:
            on_epoch = functools.partial(_report, trial, lost, prunes=task.prunes)
            values, result = task.measure(trial, on_epoch)
        study.complete(trial, values, result)
        _say(console, trial, begun, f"accuracy {result['accuracy']:.2%}, modelled "
             f"{result['energy_mj']:.3f} mJ, {result['latency_ms']:.3f} ms")  # fmt: skip
    except optuna.TrialPruned as pruned:
        study.prune(trial, str(pruned))
        _say(console, trial, begun, f"pruned: {pruned}")
    except ImpossibleError as impossible:
        study.fail(trial, "impossible", str(impossible))
        _say(console, trial, begun, f"not possible: {impossible}")
    except (KeyboardInterrupt, OSError) as stop:
        reason = "its worker was stopped" if isinstance(stop, KeyboardInterrupt) else _name(stop)
        with contextlib.suppress(LostTrialError):
            study.fail(trial, "interrupted", reason)
        raise
    except LostTrialError:
        raise
    except Exception as error:  # Whatever it is, the other trials go on.
        log = traceback.format_exc()[-_LOG_CHARACTERS:]
        study.fail(trial, "failed", _name(error), traceback=log)
        _say(console, trial, begun, f"failed: {_name(error)}")
        return _name(error)
    return None


def _report(trial: optuna.Trial, lost: threading.Event, row: dict, *, prunes: bool) -> None:
    """Hand an epoch's accuracy to the pruner.

    Raises:
      LostTrialError: if another worker repeats the trial.
      TrialPruned: if it is not worth its remaining epochs.
    """
    if lost.is_set():
        raise LostTrialError(f"trial {trial.number} was taken for lost; another repeats it")
    if not prunes:
        return  # Optuna takes no reports for several objectives.
    trial.report(row["test_accuracy"], row["epoch"])
    if trial.should_prune():
        raise optuna.TrialPruned(
            f"accuracy {row['test_accuracy']:.2%} after epoch {row['epoch']} is behind the others"
        )


def _name(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def _say(console: Console, trial: optuna.Trial, begun: float, text: str) -> None:
    chosen = " ".join(f"{name}={value}" for name, value in trial.params.items())
    seconds = time.perf_counter() - begun
    line = f"trial {trial.number} ({chosen}): {text} [{seconds:.0f} s]"
    console.print(escape(line), soft_wrap=True, highlight=False)


@contextlib.contextmanager
def _stopped_by_termination(first: Callable[[], object] = lambda: None) -> Iterator[None]:
    """Take SIGTERM as Ctrl-C, so that a trial is handed back; call ``first`` before."""

    def stop(number: int, frame: object) -> None:
        first()
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield  # Only the main thread receives signals.
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _parent_lives() -> bool:
    parent = multiprocessing.parent_process()
    return parent is None or parent.is_alive()


def start_workers(function: Callable[[Any], None], argument: Any, n: int) -> list[str]:
    """Run a function in so many processes; return what ended them, in words.

    Args:
      function: of the argument, at the top of a module; a ValueError or OSError it raises ends
        its process.
      argument: settings.
      n: processes.
    """
    # Several processes share an accelerator only if none of them takes all of its memory.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    context = multiprocessing.get_context("spawn")
    faults = context.SimpleQueue()
    processes = [
        context.Process(target=_run_worker, args=(function, argument, faults), name=f"worker {i}")
        for i in range(1, n + 1)
    ]

    def started() -> list[Any]:
        return [process for process in processes if process.pid is not None]

    try:
        # Ctrl-C reaches every process of a terminal; SIGTERM reaches this one alone.
        with _stopped_by_termination(lambda: [process.terminate() for process in started()]):
            for process in processes:
                process.start()
            for process in processes:
                process.join()
    except KeyboardInterrupt:
        for process in started():
            process.join()
        raise
    texts = []
    while not faults.empty():
        texts.append(faults.get())
    for process in processes:
        code = process.exitcode or 0
        if code:
            how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
            texts.append(f"{process.name} {how}")
    return list(dict.fromkeys(texts))


def _run_worker(function: Callable[[Any], None], argument: Any, faults: Any) -> None:
    try:
        function(argument)
    except (OSError, ValueError) as problem:
        faults.put(str(problem))
    except KeyboardInterrupt:
        return
