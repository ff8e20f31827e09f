"""The command ``python -m tests.fuzz``."""

import json
import sys
from pathlib import Path

import tyro

from tests.fuzz.cases import judge, make
from tests.fuzz.readers import READERS
from tests.fuzz.report import RESULTS, write
from tests.fuzz.run import run


def main(
    readers: tuple[str, ...] = tuple(READERS),
    count: int = 100_000,
    seed: int = 0,
    case: int | None = None,
    processes: int = 2,
    result: Path = RESULTS,
) -> None:
    """Read changed files, and write how many came to what.

    Args:
      readers: which readers.
      count: files, shared among the readers; those that start processes get fewer.
      seed: of all changes.
      case: read this file alone, and say what comes of it.
      processes: that work side by side.
      result: the JSON to write; not written if anything is wrong.
    """
    if case is not None:
        for reader in readers:
            change, content = make(reader, seed, case)
            path = Path(f"{reader.replace(' ', '_')}_{seed}_{case}{READERS[reader].suffix}")
            path.write_bytes(content)
            print(judge(reader, change, path))
        return
    done = run(readers, count, seed, processes)
    for line in done.faults():
        print(f"seed {seed}, {line}")
    if done.faults():
        print(f"the files are in {done.folder}")
        sys.exit(1)
    done.folder.rmdir()
    counts = {"seed": seed, "files": len(done.outcomes), "seconds": round(done.seconds)}
    write(counts | {"readers": done.counts()}, result)
    print(json.dumps(counts))


if __name__ == "__main__":
    tyro.cli(main)
