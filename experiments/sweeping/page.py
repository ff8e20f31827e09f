"""The report of a sweep: one HTML page that needs nothing else."""

import html
import json
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from experiments.sweeping.page_style import SCRIPT, STYLE
from experiments.sweeping.pictures import front_svg
from experiments.sweeping.points import OBJECTIVES
from experiments.training.options import HELD_OUT

Result = Mapping[str, Any]
Row = Mapping[str, Any]

_HEADS = {
    "trial": "trial", "state": "state", "accuracy": "accuracy %", "energy_mj": "modelled mJ",
    "dynamic_mj": "modelled dynamic mJ", "latency_ms": "modelled ms", "fps": "modelled frames/s",
    "nps": "NPs", "size_kb": "weights, kB", "training_s": "training, s",
}  # fmt: skip
_DIGITS = {"energy_mj": 4, "dynamic_mj": 5, "latency_ms": 4, "fps": 1, "size_kb": 1,
           "training_s": 0}  # fmt: skip
#: Characters in a line of the summary, unless its table is wider.
_WIDTH = 128


def make_page(result: Result) -> str:
    """Return the page; every text of the study is escaped, nothing is loaded from elsewhere."""
    parts = [
        _header(result),
        _front(result),
        _chosen(result),
        _all_trials(result),
        _without_result(result),
        _origin(result),
    ]
    title = _text(f"{result['title']}: sweep {result['name']}")
    policy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(part for part in parts if part)
        + f"\n</main>\n<script>{SCRIPT}</script>\n</body>\n</html>\n"
    )


def _text(value: Any) -> str:
    return html.escape(str(value))


def _header(result: Result) -> str:
    states = [row["state"] for row in result["rows"]]
    counts = "".join(
        f"<li><b>{states.count(state)}</b> {_text(state)}</li>" for state in dict.fromkeys(states)
    )
    goals = ", ".join(f"{_text(name)} ({_text(OBJECTIVES[name][1])})"
                      for name in result["objectives"])  # fmt: skip
    axes = "".join(f"<li><code>{_text(axis)}</code></li>" for axis in result["settings"]["axes"])
    return (
        f"<header><h1>{_text(result['title'])}</h1>\n"
        f'<p class="lead">Sweep <code>{_text(result["name"])}</code>: '
        f"{_text(result['settings']['sampler'])} over {len(result['settings']['axes'])} axes; "
        f"objectives: {goals}.</p>\n"
        f'<ul class="counts">{counts}</ul>\n<ul class="axes">{axes}</ul>\n'
        f'<p class="note">Accuracy is measured: the integer model on {_tested_on(result)}. Energy, '
        "latency and neural processors are <strong>modelled</strong> from the events counted "
        "there; how far to trust them stands below.</p></header>"
    )


def _tested_on(result: Result) -> str:
    """Return what chose the front, in words."""
    base = result["settings"]["base"]
    if any(base.get(name) for name in HELD_OUT):
        return "training examples that were held out; the test set was not looked at"
    return ("the whole test set. It has also chosen the front, so the accuracy of a chosen setting "
            "is a little flattered")  # fmt: skip


def _front(result: Result) -> str:
    if not result["front"]:
        return "<section><h2>Pareto front</h2><p>No trial has a result yet.</p></section>"
    rows = {row["trial"]: row for row in result["rows"]}
    front = [rows[number] for number in result["front"]]
    columns = ["trial", *_axes(result), *_measures(result)]
    return (
        f'<section><h2>Pareto front</h2>\n<figure role="img" aria-label="Pareto front, every '
        f'complete trial a symbol">{front_svg(result)}</figure>\n'
        f"<p>{len(front)} of {_count(result, 'complete')} complete trials are on the front: no "
        "other trial is at least as good in every objective and better in one.</p>\n"
        f"{_table(front, columns, result)}</section>"
    )


def _count(result: Result, state: str) -> int:
    return sum(row["state"] == state for row in result["rows"])


def _axes(result: Result) -> list[str]:
    return [name for name in result["rows"][0] if name.startswith("param.")]


def _measures(result: Result) -> list[str]:
    usual = ["accuracy", "energy_mj", "dynamic_mj", "latency_ms", "fps", "nps", "size_kb"]
    return list(dict.fromkeys([*result["objectives"], *usual]))


def _table(rows: Sequence[Row], columns: Sequence[str], result: Result) -> str:
    heads = "".join(
        f'<th scope="col" aria-sort="none"><button type="button">'
        f"{_text(_HEADS.get(name, name.removeprefix('param.')))}</button></th>"
        for name in columns
    )
    lines = []
    for row in rows:
        marks = " ".join(
            mark for mark, is_so in (("front", row["trial"] in result["front"]),
                                     ("chosen", row["trial"] == result["chosen"])) if is_so
        )  # fmt: skip
        cells = "".join(_cell(name, row[name]) for name in columns)
        lines.append(f'<tr class="{marks}">{cells}</tr>')
    body = "\n".join(lines)
    return (f'<div class="scroll"><table class="sortable"><thead><tr>{heads}</tr></thead>\n'
            f"<tbody>\n{body}\n</tbody></table></div>")  # fmt: skip


def _cell(name: str, value: Any) -> str:
    if value is None:
        return '<td class="number">–</td>'
    if isinstance(value, str):
        return f'<td data-value="{_text(value)}">{_text(value)}</td>'
    shown = f"{value:g}"
    if name == "accuracy":
        shown = f"{100 * value:.2f}"
    elif name in _DIGITS:
        shown = f"{value:,.{_DIGITS[name]}f}"
    return f'<td class="number" data-value="{value!r}">{shown}</td>'


def _all_trials(result: Result) -> str:
    columns = ["trial", "state", *_axes(result), *_measures(result), "training_s"]
    shared = ("Trials that differ in chip or mode alone share one training, and its time."
              if any(row["reused"] for row in result["rows"]) else "")  # fmt: skip
    return (
        f"<section><h2>All {len(result['rows'])} trials</h2>\n<p>Click a heading to sort; trials "
        f"of the front are marked. {shared}</p>\n"
        f"{_table(result['rows'], columns, result)}</section>"
    )


def _without_result(result: Result) -> str:
    rows = [row for row in result["rows"] if row["state"] not in ("complete", "waiting")]
    if not rows:
        return ""
    lines = []
    for row in rows:
        settings = ", ".join(f"{name.removeprefix('param.')} = {row[name]}"
                             for name in _axes(result) if row[name] is not None)  # fmt: skip
        again = "" if row["repeated_by"] is None else f"trial {row['repeated_by']}"
        lines.append(
            f'<tr><td class="number">{row["trial"]}</td><td>{_text(row["state"])}</td>'
            f'<td>{_text(settings)}</td><td class="reason">{_text(row["reason"] or "")}</td>'
            f"<td>{again}</td></tr>"
        )
    body = "\n".join(lines)
    return (
        "<section><h2>Trials without a result</h2>\n<p>impossible: the chip cannot hold it, no "
        "training can meet its budget, or its settings exclude each other; lost: its worker "
        "ended; interrupted: its worker was stopped; pruned: behind the others.</p>\n"
        '<div class="scroll"><table><thead><tr>'
        "<th>trial</th><th>state</th><th>settings</th><th>reason</th><th>repeated by</th></tr>"
        "</thead>\n<tbody>\n"
        f"{body}\n</tbody></table></div></section>"
    )


def _chosen(result: Result) -> str:
    row = next((row for row in result["rows"] if row["trial"] == result["chosen"]), None)
    if row is None:
        return ""
    settings = ", ".join(f"{name.removeprefix('param.')} = {row[name]}" for name in _axes(result))
    return (
        f"<section><h2>Trial {row['trial']}: {_text(row['title'])}</h2>\n"
        f"<p>{_text(settings)}. On {_text(row['device'])}, mode {_text(row['mode'])}, batch "
        f"{row['batch']}: <b>{100 * row['accuracy']:.2f} %</b> of {row['n_test']:,} examples "
        f"tested on (float {_percent(row['float_accuracy'])}), "
        f"<b>{row['energy_mj']:.4f} mJ</b> and "
        f"<b>{row['latency_ms']:.3f} ms</b> per sample, modelled, on {row['nps']} neural "
        f"processors; trained on {row['n_train']:,}, seed {row['seed']}.</p>\n"
        f"<h3>Modelled cost of each layer</h3>\n{_layers(row['layers'])}\n"
        f"<h3>Summary with placement</h3>\n<pre>{_text(_wrap(row['summary']))}</pre></section>"
    )


def _wrap(summary: str) -> str:
    """Return a summary whose long sentences are broken; its table is narrow enough."""
    lines = summary.splitlines()
    width = max(_WIDTH, len(lines[1]))  # The rule below the headings is as wide as the table.
    return "\n".join(textwrap.fill(line, width) if len(line) > width else line for line in lines)


def _percent(share: float | None) -> str:
    return "none" if share is None else f"{100 * share:.2f} %"


def _layers(layers: Sequence[Mapping[str, Any]]) -> str:
    times = sum(layer["latency_ms"] for layer in layers)
    energies = sum(layer["dynamic_mj"] for layer in layers)
    lines = []
    for layer in layers:
        lines.append(
            f'<tr><th scope="row">{_text(layer["name"])}</th>'
            f'<td class="number">{layer["weight_bits"]}/{layer["act_bits"]}</td>'
            f'<td class="number">{layer["nps"] or "input unit"}</td>'
            f'<td class="number">{layer["events"]:,.0f}</td>'
            f'<td class="number">{100 * layer["sparsity"]:.1f}</td>'
            + _bar(layer["latency_ms"], times, 4)
            + _bar(1e3 * layer["dynamic_mj"], 1e3 * energies, 3)
            + "</tr>"
        )  # fmt: skip
    heads = ("bits w/out", "NPs", "events in", "zeros out, %", "modelled ms",
             "modelled dynamic µJ")  # fmt: skip
    named = "".join(f'<th scope="col" class="number">{head}</th>' for head in heads)
    body = "\n".join(lines)
    return (
        f'<div class="scroll"><table class="layers"><thead><tr><th scope="col">layer</th>{named}'
        f"</tr></thead>\n<tbody>\n{body}\n</tbody>\n<tfoot><tr>"
        f'<th scope="row">all layers</th><td colspan="4"></td>'
        f'<td class="number">{times:.4f}</td><td class="number">{1e3 * energies:.3f}</td></tr>'
        "</tfoot></table></div>"
    )


def _bar(value: float, total: float, digits: int) -> str:
    share = 100 * value / total if total else 0
    return (f'<td class="bar"><span class="fill" style="width:{share:.1f}%"></span>'
            f'<span class="label">{value:.{digits}f}</span></td>')  # fmt: skip


def _origin(result: Result) -> str:
    trust = dict.fromkeys((row["device"], row["trust"]) for row in result["rows"] if row["trust"])
    known = "".join(f"<dt>{_text(device)}</dt><dd>{_text(text)}</dd>" for device, text in trust)
    codes = dict.fromkeys(code for row in result["rows"] for code in row["code"] or ())
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    facts = {
        "date": result["date"],
        "code of this page": result["commit"] or "no commit",
        "code of the runs": ", ".join(codes) or "none",
        "versions": versions,
        "computed on": f"{result['device']['kind']} ({result['device']['platform']})",
        "data": result["settings"]["data_fingerprint"],
        "seeds": f"sampler {result['settings']['seed']}, training "
        f"{result['settings']['base'].get('seed')}",
    }
    lines = "".join(f"<dt>{_text(name)}</dt><dd>{_text(value)}</dd>"
                    for name, value in facts.items())  # fmt: skip
    settings = _text(json.dumps(result["settings"], indent=1))
    return (
        "<section><h2>How far to trust the modelled numbers</h2>\n<p>Time and energy follow a "
        "cost law fitted to published measurements; they were not measured here.</p>\n"
        f"<dl>{known}</dl></section>\n<section><h2>Origin</h2>\n<dl>{lines}</dl>\n"
        f"<details><summary>All settings</summary><pre>{settings}</pre></details></section>"
    )
