"""What a run's folder remembers of its origin: the data it was made from, and the code.

The name of the folder follows from the settings alone. The same settings may meet other
data, if AKIDA_JAX_DATA moves or files change, and other code.
"""

import json
from collections.abc import Collection
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from experiments.records.files import write_text
from experiments.records.provenance import describe_code

RECORD = "origin.json"
#: What only a run that has begun or ended leaves in its folder.
CHECKPOINTS, RESULT = "checkpoints", "result.json"


def check_origin(
    folder: Path, data: str, console: Console, traces: Collection[str] = ()
) -> list[str]:
    """Compare a folder with the present data and code, before anything in it is used.

    Prints a warning if other code made what is there.

    Args:
      folder: of the run; it may be new.
      data: fingerprint of the present data.
      console: receives the warning.
      traces: patterns of further names that only a run that has begun leaves there.

    Returns:
      The versions of the code that made the run so far, the present one last.

    Raises:
      ValueError: if the run was made from other data.
    """
    now = describe_code()
    if not any(any(folder.glob(name)) for name in (CHECKPOINTS, RESULT, *traces)):
        return [now]
    record = folder / RECORD
    stored = json.loads(record.read_text()) if record.exists() else {"data": None, "code": []}
    if stored["data"] != data:
        raise ValueError(
            f"the run in {folder} was made from other data: fingerprint {stored['data']}, now "
            f"{data}; remove that folder, choose another --output, or add --restart"
        )
    code: list[str] = stored["code"]
    if code[-1] == now:
        return code
    console.print(
        f"[yellow]warning:[/yellow] what is in {escape(str(folder))} stems from commit "
        f"{escape(', '.join(code))}; the code is now at {escape(now)}",
        soft_wrap=True,
    )
    return [*code, now]


def write_origin(folder: Path, data: str, code: list[str]) -> None:
    """Store what :func:`check_origin` compares with."""
    write_text(folder / RECORD, json.dumps({"data": data, "code": code}) + "\n")
