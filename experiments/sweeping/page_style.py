"""Style and script of the report page."""

STYLE = """
:root { color-scheme: light dark; --text: #1c1c1c; --paper: #ffffff; --soft: #f3f5f3;
  --line: #d5dad5; --accent: #009e73; --quiet: #5a625a; --fill: #b9dcc3; }
@media (prefers-color-scheme: dark) { :root { --text: #e6e9e6; --paper: #161916;
  --soft: #20251f; --line: #3a423a; --accent: #6fcf8a; --quiet: #a3ada3; --fill: #2b5a39; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--text);
  font: 16px/1.5 system-ui, "Segoe UI", "DejaVu Sans", sans-serif; }
main { max-width: 1240px; margin: 0 auto; padding: 1.5rem 1.2rem 4rem; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .4rem; }
h2 { font-size: 1.25rem; margin: 2.4rem 0 .6rem; padding-bottom: .25rem;
  border-bottom: 2px solid var(--accent); }
h3 { font-size: 1.02rem; margin: 1.4rem 0 .5rem; }
.lead, .note { margin: .3rem 0; } .note { color: var(--quiet); font-size: .92rem; }
.counts, .axes { list-style: none; display: flex; flex-wrap: wrap; gap: .5rem; padding: 0;
  margin: .7rem 0; }
.counts li { background: var(--soft); border: 1px solid var(--line); border-radius: .4rem;
  padding: .25rem .7rem; }
.axes li { border: 1px solid var(--line); border-radius: .3rem; padding: .05rem .5rem; }
code, pre { font-family: ui-monospace, "DejaVu Sans Mono", monospace; font-size: .86rem; }
pre { background: var(--soft); border: 1px solid var(--line); border-radius: .4rem;
  padding: .8rem; overflow-x: auto; line-height: 1.35; font-size: .76rem; }
figure { margin: .8rem 0; color: var(--text); overflow-x: auto; }
figure svg { max-width: 100%; height: auto; display: block; margin: 0 auto; }
.scroll { overflow-x: auto; margin: .6rem 0; }
table { border-collapse: collapse; font-size: .86rem; font-variant-numeric: tabular-nums;
  min-width: 100%; }
th, td { padding: .28rem .6rem; border-bottom: 1px solid var(--line); text-align: left;
  white-space: nowrap; }
thead th { background: var(--soft); vertical-align: bottom; white-space: normal; }
th.number { text-align: right; }
tbody th { font-weight: 500; } tfoot td, tfoot th { font-weight: 700; }
td.number { text-align: right; } td.reason { white-space: normal; min-width: 24rem; }
th button { all: unset; cursor: pointer; font-weight: 600; }
th button:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
th[aria-sort=ascending] button::after { content: " \\25B2"; }
th[aria-sort=descending] button::after { content: " \\25BC"; }
tr.front td:first-child { border-left: 4px solid var(--accent); }
tr.chosen td { background: var(--soft); font-weight: 700; }
td.bar { position: relative; min-width: 9rem; text-align: right; }
td.bar .fill { position: absolute; left: 0; top: 15%; bottom: 15%; background: var(--fill);
  border-radius: 0 .2rem .2rem 0; }
td.bar .label { position: relative; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .25rem 1rem; margin: .5rem 0; }
dt { font-weight: 600; } dd { margin: 0; overflow-wrap: anywhere; }
@media (max-width: 640px) { dl { grid-template-columns: 1fr; } dt { margin-top: .4rem; } }
@media print { :root { --text: #000; --paper: #fff; --soft: #f3f3f3; --line: #bbb;
  --accent: #009e73; --quiet: #333; --fill: #b9dcc3; }
  main { max-width: none; padding: 0; } body { font-size: 10pt; }
  .scroll, pre, figure { overflow: visible; } table { font-size: 7.5pt; }
  th, td { padding: .15rem .3rem; } td.reason, pre { white-space: pre-wrap; min-width: 0; }
  pre { font-size: 6pt; } figure, tr, h2, h3 { break-inside: avoid; }
  h2, h3 { break-after: avoid; } td.bar .fill, tr.chosen td, thead th {
  print-color-adjust: exact; -webkit-print-color-adjust: exact; } }
"""

SCRIPT = """
"use strict";
for (const head of document.querySelectorAll("table.sortable thead th")) {
  head.querySelector("button").addEventListener("click", () => {
    const column = head.cellIndex;
    const body = head.closest("table").tBodies[0];
    const rises = head.getAttribute("aria-sort") !== "ascending";
    const value = (row) => row.cells[column].dataset.value;
    const compare = (a, b) => {
      const [x, y] = [value(a), value(b)];
      if (x === undefined || y === undefined) {
        return (x === undefined) - (y === undefined);
      }
      const [m, n] = [Number(x), Number(y)];
      const order = Number.isNaN(m) || Number.isNaN(n) ? x.localeCompare(y) : m - n;
      return rises ? order : -order;
    };
    body.append(...Array.from(body.rows).sort(compare));
    for (const other of head.parentElement.cells) {
      other.setAttribute("aria-sort", "none");
    }
    head.setAttribute("aria-sort", rises ? "ascending" : "descending");
  });
}
"""
