"""Many changed files, in processes that may hang or run out of memory without harm to others."""

import collections
import dataclasses
import math
import multiprocessing
import multiprocessing.connection
import os
import resource
import tempfile
import time
from collections.abc import Sequence
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from typing import Any

from tests.fuzz.cases import Outcome, judge, make
from tests.fuzz.readers import READERS, Reader

CASE_SECONDS = 60.0
"""After which a reader hangs; a file takes milliseconds, on a machine that does nothing else."""
ADDRESS_BYTES = 2**30
"""That a process may map beside what it maps before the first file."""
_CHUNK = 500

Chunk = tuple[str, int, int]
"""Reader, first case, case behind the last."""


def _limit_memory() -> None:
    if os.path.exists("/proc/self/statm"):
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        most = pages * os.sysconf("SC_PAGE_SIZE") + ADDRESS_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (most, resource.RLIM_INFINITY))


def _file(folder: Path, reader: str, seed: int, index: int) -> Path:
    """Return the name of a case's file, by which a fault is reported."""
    return folder / f"{reader.replace(' ', '_')}_{seed}_{index}{READERS[reader].suffix}"


def _work(
    pipe: Any,
    entries: dict[str, Reader],
    seed: int,
    folder: Path,
    case: Synchronized,
    since: Synchronized,
) -> None:
    """Judge the chunks that come through a pipe, and send the outcomes of each."""
    READERS.update(entries)
    for reader, entry in entries.items():  # what is compiled or allocated once
        for content in entry.sources():
            path = folder / f"{os.getpid()}{entry.suffix}"
            path.write_bytes(content)
            judge(reader, "none", path)
            path.unlink()
    _limit_memory()
    pipe.send([])
    while (chunk := pipe.recv()) is not None:
        reader, start, stop = chunk
        outcomes = []
        for index in range(start, stop):
            name, content = make(reader, seed, index)
            path = _file(folder, reader, seed, index)
            path.write_bytes(content)
            case.value, since.value = index, time.monotonic()
            outcome = judge(reader, name, path)
            since.value = 0.0
            outcomes.append((reader, index, outcome))
            if outcome.result != "wrong":
                path.unlink()
        pipe.send(outcomes)


class _Worker:
    """A process, what it is at, and how to replace it."""

    def __init__(self, readers: Sequence[str], seed: int, folder: Path):
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.case, self.since = context.Value("q", 0), context.Value("d", 0.0)
        entries = {name: READERS[name] for name in readers}
        arguments = (theirs, entries, seed, folder, self.case, self.since)
        self.process = context.Process(target=_work, args=arguments, daemon=True)
        self.process.start()
        theirs.close()
        self.chunk: Chunk | None = None

    def receive(self) -> list | str | None:
        """Return outcomes, why there will never be any, or None while there are none."""
        try:
            if self.pipe.poll():
                return self.pipe.recv()
        except (EOFError, OSError):
            self.process.join()
            return f"the process ended with {self.process.exitcode}"
        since = self.since.value
        if since and time.monotonic() - since > CASE_SECONDS:
            return f"no answer after {CASE_SECONDS:g} s"
        return None

    def end(self) -> None:
        self.process.kill()
        self.process.join()
        self.pipe.close()


@dataclasses.dataclass
class Run:
    """Files that were judged.

    Attributes:
      folder: where the files of faults are.
      seconds: how long it took.
      outcomes: of each case, by reader and number.
    """

    folder: Path
    seconds: float
    outcomes: dict[tuple[str, int], Outcome]

    def faults(self) -> list[str]:
        """Return a line for each outcome that is wrong."""
        return [
            f"{reader}, case {index}, {outcome.change}: {outcome.fault}"
            for (reader, index), outcome in sorted(self.outcomes.items())
            if outcome.result == "wrong"
        ]

    def counts(self) -> dict[str, Any]:
        """Return how many files came to what, by reader: of all, by change, by error."""
        counted: dict[str, Any] = {}
        for (reader, _), outcome in sorted(self.outcomes.items()):
            entry = counted.setdefault(
                reader, {"files": 0, "results": {}, "errors": {}, "changes": {}}
            )
            change = entry["changes"].setdefault(outcome.change, collections.Counter())
            entry["files"] += 1
            for counter, key in (
                (entry["results"], outcome.result),
                (entry["errors"], outcome.error),
                (change, outcome.result),
            ):
                if key is not None:
                    counter[key] = counter.get(key, 0) + 1
        return counted


def run(readers: Sequence[str], count: int, seed: int, processes: int = 2) -> Run:
    """Judge changed files.

    Args:
      readers: names of `READERS`.
      count: of files, shared among the readers by `Reader.share`; each part is rounded up.
      seed: of everything that is drawn.
      processes: that work side by side.
    """
    whole = sum(READERS[reader].share for reader in readers)
    counts = {name: math.ceil(count * READERS[name].share / whole - 1e-9) for name in readers}
    waiting: collections.deque[Chunk] = collections.deque(
        (reader, start, min(start + _CHUNK, counts[reader]))
        for start in range(0, max(counts.values()), _CHUNK)
        for reader in readers
        if start < counts[reader]
    )
    folder, begun = Path(tempfile.mkdtemp(prefix="fuzz_")), time.monotonic()
    outcomes: dict[tuple[str, int], Outcome] = {}
    workers = [_Worker(readers, seed, folder) for _ in range(min(processes, len(waiting)))]
    while workers:
        multiprocessing.connection.wait([worker.pipe for worker in workers], timeout=0.5)
        for i, worker in reversed(list(enumerate(workers))):
            answer = worker.receive()
            if isinstance(answer, str):
                if worker.chunk is None:
                    raise RuntimeError(f"a process did not start: {answer}")
                reader, start, stop = worker.chunk
                index = worker.case.value
                change, _ = make(reader, seed, index)
                outcomes[reader, index] = Outcome(change, "wrong", fault=answer)
                waiting.extend([(reader, start, index), (reader, index + 1, stop)])
                worker.end()
                workers[i] = _Worker(readers, seed, folder)
            elif answer is not None:
                outcomes |= {(name, k): outcome for name, k, outcome in answer}
                if waiting:
                    worker.chunk = waiting.popleft()
                    worker.pipe.send(worker.chunk)
                else:
                    worker.pipe.send(None)
                    workers.pop(i).process.join()
    return Run(folder, time.monotonic() - begun, outcomes)
