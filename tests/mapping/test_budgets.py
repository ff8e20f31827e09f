"""Budgets as text."""

import pytest

from akida_jax import mapping
from akida_jax.mapping import Budget, parse_budget


@pytest.mark.parametrize(
    ("text", "quantity", "limit"),
    [
        ("1.2mJ", "energy", 1.2),
        ("1.2 mJ total", "energy", 1.2),
        ("30 uJ dynamic", "dynamic", 0.03),
        ("30µJ dynamic", "dynamic", 0.03),
        ("2e-3 J", "energy", 2.0),
        ("40us", "latency", 0.04),
        ("3ms", "latency", 3.0),
        ("0.5 s", "latency", 500.0),
        ("20000 events", "events", 20000),
        ("2e4events", "events", 20000),
        ("12 NPs", "nps", 12),
        ("1 np", "nps", 1),
        ("48KiB", "size", 48 * 1024),
        ("48 kB", "size", 48000),
        ("7 bytes", "size", 7),
    ],
)
def test_texts(text, quantity, limit):
    budget = parse_budget(text)
    assert budget.quantity == quantity
    # A product of two doubles, one of them a rounded power of ten.
    assert budget.limit == pytest.approx(limit, rel=1e-15)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1.2", "budget '1.2': no unit; write for example 1.2mJ"),
        ("1.2 watts", "unknown unit 'watts'; write for example"),
        ("1.2 mj", "unknown unit 'mj'"),
        ("mJ", "'mJ' is no number with a unit"),
        ("", "'' is no number with a unit"),
        ("1.2 mJ each", "'1.2 mJ each' is no number with a unit"),
        ("1.2.3 mJ", "'1.2.3' is no number"),
        ("40us dynamic", "only an energy can be dynamic, us is none"),
        ("3 events total", "only an energy can be total, events is none"),
        ("0 mJ", "'0 mJ': must be positive and finite"),
        ("-1 mJ", "'-1 mJ': must be positive and finite"),
        ("1e999 mJ", "must be positive and finite"),
    ],
)
def test_refused_texts(text, message):
    with pytest.raises(ValueError, match=message):
        parse_budget(text)


def test_a_budget_names_itself():
    assert str(parse_budget("30uJ dynamic")) == "0.03 mJ dynamic"
    assert str(parse_budget("20000 events")) == "20000 events"
    for quantity in mapping.QUANTITIES:
        budget = Budget(quantity=quantity, limit=12.5)
        assert parse_budget(str(budget)) == budget


@pytest.mark.parametrize(
    ("quantity", "limit", "message"),
    [("power", 1.0, "one of energy, dynamic, .* got 'power'"),
     ("energy", 0.0, "positive and finite, got 0.0"),
     ("energy", float("nan"), "positive and finite, got nan")],
)  # fmt: skip
def test_impossible_budgets(quantity, limit, message):
    with pytest.raises(ValueError, match=message):
        Budget(quantity=quantity, limit=limit)
