"""What the benchmark of learning writes."""

import pytest

from benchmarks import learning


def test_a_row_says_what_was_compiled_and_what_was_scaled(monkeypatch, compiled_anew):
    monkeypatch.setattr(learning, "EPISODES", 6)
    monkeypatch.setattr(learning, "IN_TURN", 3)
    monkeypatch.setattr(learning, "IN_NUMPY", 2)
    measured = {}
    honest = learning.measure_in_turns

    def measure(ways, **options):
        found = honest(ways, **options, rounds=2)
        measured.update({name: dict(row) for name, row in found.items()})
        return found

    monkeypatch.setattr(learning, "measure_in_turns", measure)
    row = learning.measure(1, 40)
    variants = row["variants"]
    for name in ("together", "mapped", "in turn"):
        # Compilation takes tenths of a second, six episodes of five samples do not.
        assert variants[name]["compile_s"] > measured[name]["median_s"]
    assert variants["numpy"]["compile_s"] == 0
    for name, n_run in (("in turn", 3), ("numpy", 2)):
        assert variants[name]["episodes_run"] == n_run
        expected = measured[name]["median_s"] * 6 / n_run
        assert variants[name]["median_s"] == pytest.approx(expected, rel=1e-12)  # one rounding
