"""The figures of a run as JSON, and in docs/format.md."""

import json
from pathlib import Path
from typing import Any

from experiments.records.documents import fill, make_table
from tests.fuzz.mutations import BYTES

RESULTS = Path(__file__).parent / "results.json"
PAGE = Path(__file__).parent.parent.parent / "docs" / "format.md"


def table(results: dict[str, Any]) -> str:
    """Return what came of the files of each reader, as Markdown."""
    heads = ["reader", "changed files", "of them blindly", "refused", "read, the same", "others"]
    rows = []
    for name, counts in results["readers"].items():
        found = counts["results"]
        blind = sum(sum(counts["changes"][change].values()) for change in BYTES)
        numbers = [counts["files"], blind, *(found.get(k, 0) for k in ("refused", "same", "other"))]
        rows.append([f"`{name}`", *(f"{number:,}" for number in numbers)])
    totals = [sum(int(row[i].replace(",", "")) for row in rows) for i in range(1, len(heads))]
    rows.append(["all", *(f"{total:,}" for total in totals)])
    return make_table(heads, rows, numbers=True)


def write(results: dict[str, Any], path: Path) -> None:
    """Write the figures; those of the committed file also into the page that states them."""
    path.write_text(json.dumps(results, indent=1) + "\n")
    if path == RESULTS:
        PAGE.write_text(fill(PAGE.read_text(), {"fuzz": table(results)}))
