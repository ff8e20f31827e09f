"""Budgets: a modelled quantity with its unit and the most that a network may cost.

parse_budget("1.2mJ")           # energy of a sample, idle included
parse_budget("30 uJ dynamic")   # energy of its events alone
parse_budget("40us")            # time of a sample on its own
parse_budget("20000 events")    # into layers on neural processors, per sample
parse_budget("12 NPs"), parse_budget("48 KiB")   # processors, packed weights
"""

import dataclasses
import math
import re
from typing import Literal, get_args

Quantity = Literal["energy", "dynamic", "latency", "events", "nps", "size"]
QUANTITIES: tuple[Quantity, ...] = get_args(Quantity)

UNITS: dict[Quantity, str] = {
    "energy": "mJ", "dynamic": "mJ", "latency": "ms", "events": "events", "nps": "NPs",
    "size": "bytes",
}  # fmt: skip
"""What a number of each quantity counts."""

_PREFIXES = {"": 1.0, "m": 1e-3, "u": 1e-6, "µ": 1e-6, "μ": 1e-6, "n": 1e-9, "p": 1e-12}
_SCALES: dict[str, tuple[Quantity, float]] = {
    **{f"{prefix}J": ("energy", 1e3 * factor) for prefix, factor in _PREFIXES.items()},
    **{f"{prefix}s": ("latency", 1e3 * factor) for prefix, factor in _PREFIXES.items()},
    "event": ("events", 1), "events": ("events", 1),
    "NP": ("nps", 1), "NPs": ("nps", 1), "np": ("nps", 1), "nps": ("nps", 1),
    "B": ("size", 1), "byte": ("size", 1), "bytes": ("size", 1), "kB": ("size", 1e3),
    "MB": ("size", 1e6), "KiB": ("size", 1024), "MiB": ("size", 1024**2),
}  # fmt: skip
_FORM = re.compile(r"\s*([-+]?[0-9.]+(?:e[-+]?[0-9]+)?)\s*([A-Za-zµμ]*)\s*(dynamic|total)?\s*")
_EXAMPLES = "1.2mJ, '30uJ dynamic', 40us, 3ms, '20000 events', '12 NPs' or 48KiB"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Budget:
    """The most that a sample, or a network, may cost.

    Attributes:
      quantity: "energy" with idling, "dynamic" energy, "latency", "events", "nps" or "size".
      limit: positive, in the quantity's unit of `UNITS`.

    Raises:
      ValueError: for an unknown quantity or a limit that is not positive and finite.
    """

    quantity: Quantity
    limit: float

    def __post_init__(self):
        """Refuse what nothing can be compared with."""
        if self.quantity not in QUANTITIES:
            raise ValueError(
                f"budget: quantity must be one of {', '.join(QUANTITIES)}, got {self.quantity!r}"
            )
        if not (self.limit > 0 and math.isfinite(self.limit)):
            raise ValueError(f"budget: the limit must be positive and finite, got {self.limit}")

    def __str__(self) -> str:
        words = " dynamic" if self.quantity == "dynamic" else ""
        return f"{self.limit:g} {UNITS[self.quantity]}{words}"


def parse_budget(text: str) -> Budget:
    """Return the budget that a text such as ``1.2mJ`` names.

    Raises:
      ValueError: for a text that is no number with a unit, an unknown unit, "dynamic" behind
        something else than an energy, or a number that is not positive.
    """
    found = _FORM.fullmatch(text)
    if not found:
        raise ValueError(f"budget {text!r} is no number with a unit; write for example {_EXAMPLES}")
    number, unit, kind = found.groups()
    if unit not in _SCALES:
        what = f"unknown unit {unit!r}" if unit else "no unit"
        raise ValueError(f"budget {text!r}: {what}; write for example {_EXAMPLES}")
    quantity, scale = _SCALES[unit]
    if kind and quantity != "energy":
        raise ValueError(f"budget {text!r}: only an energy can be {kind}, {unit} is none")
    try:
        value = float(number)
    except ValueError:
        raise ValueError(
            f"budget {text!r}: {number!r} is no number; write for example {_EXAMPLES}"
        ) from None
    if not (value > 0 and math.isfinite(value)):
        raise ValueError(f"budget {text!r}: must be positive and finite")
    return Budget(quantity="dynamic" if kind == "dynamic" else quantity, limit=value * scale)
