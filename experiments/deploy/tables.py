"""The tables of docs/deploy.md, from the committed result alone.

python -m experiments.deploy.tables
"""

import json
from pathlib import Path

from experiments.records.documents import fill, make_table
from experiments.records.files import write_text

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "experiments" / "results" / "deploy.json"
DOCUMENT = ROOT / "docs" / "deploy.md"


def sizes_table(rows: list[dict]) -> str:
    """Return bytes by model, processor and optimization, as Markdown."""
    heads = ["model", "processor", "", "code", "constants", "RAM, static", "stack, at most"]
    return make_table(
        heads,
        [[row["title"], row["cpu"], row["optimize"],
          *(f"{row[key]:,}" for key in ("code", "constants", "ram", "stack"))] for row in rows],
        numbers=True,
    )  # fmt: skip


def speed_table(rows: list[dict]) -> str:
    """Return microseconds of an inference, dense and skipping zeros, as Markdown."""
    heads = ["weights", "gcc", "dense, µs", "skipping zeros, µs", "times as quick"]
    body = []
    for weights, optimize in dict.fromkeys((row["weights"], row["optimize"]) for row in rows):
        dense, skipping = (
            next(row["median_ns"] for row in rows
                 if (row["weights"], row["optimize"], row["way"]) == (weights, optimize, way))
            for way in ("dense", "skipping zeros")
        )  # fmt: skip
        body.append([weights, optimize, f"{dense / 1e3:,.0f}", f"{skipping / 1e3:,.0f}",
                     f"{dense / skipping:.1f}"])  # fmt: skip
    return make_table(heads, body, numbers=True)


def zeros_table(zeros: dict[str, float]) -> str:
    """Return the share of zeros in each layer's input, as Markdown."""
    return make_table(
        ["input of", *zeros], [["zeros", *(f"{share:.0%}" for share in zeros.values())]],
        numbers=True,
    )  # fmt: skip


def emulated_table(rows: list[dict]) -> str:
    """Return what QEMU ran, as Markdown."""
    body = [[row["cpu"], row["board"], f"{row['windows']:,}", f"{row['values']:,}",
             str(row["different"])] for row in rows]  # fmt: skip
    heads = ["processor", "board of QEMU", "windows", "potentials", "that differ"]
    return make_table(heads, body, numbers=True)


def tables(result: dict) -> dict[str, str]:
    """Return every generated table by its marker."""
    return {
        "report": f"```\n{result['report']}\n```",
        "sizes": sizes_table(result["sizes"]),
        "zeros": zeros_table(result["zeros"]),
        "speed": speed_table(result["speed"]),
        "emulated": emulated_table(result["emulated"]),
    }


def main() -> None:
    """Rewrite the tables."""
    made = tables(json.loads(RESULTS.read_text()))
    write_text(DOCUMENT, fill(DOCUMENT.read_text(), made))


if __name__ == "__main__":
    main()
