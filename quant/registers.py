"""Widths of the integer registers that a layer is programmed with."""

import dataclasses


@dataclasses.dataclass(frozen=True, kw_only=True)
class Registers:
    """Signed threshold and unsigned fixed-point step, each in bits.

    The input layer has wider registers than the others.

    Source: docs/hardware.md#registers.
    """

    threshold_bits: int
    input_threshold_bits: int
    step_integer_bits: int
    input_step_integer_bits: int
    step_fraction_bits: int

    def __post_init__(self):
        """Refuse widths beyond which int32 arithmetic would overflow (`activate`)."""
        steps = (self.step_integer_bits, self.input_step_integer_bits)
        limits = {
            "threshold_bits": (2, 25),
            "input_threshold_bits": (2, 25),
            "step_fraction_bits": (0, 24 - max(steps)),
            "step_integer_bits": (1, 24),
            "input_step_integer_bits": (1, 24),
        }
        for name, (low, high) in limits.items():
            value = getattr(self, name)
            if type(value) is not int or not low <= value <= high:
                raise ValueError(f"registers: {name} must be in {low}..{high}, got {value!r}")

    def threshold_limit(self, *, is_input: bool) -> int:
        """Return the magnitude that a threshold must stay below."""
        return 2 ** ((self.input_threshold_bits if is_input else self.threshold_bits) - 1)

    def step_limit(self, *, is_input: bool) -> int:
        """Return the value that a raw (fixed-point) step must stay below."""
        integer = self.input_step_integer_bits if is_input else self.step_integer_bits
        return 2 ** (integer + self.step_fraction_bits)


AKIDA_1 = Registers(
    threshold_bits=20,
    input_threshold_bits=24,
    step_integer_bits=16,
    input_step_integer_bits=20,
    step_fraction_bits=4,
)
"""Registers of the first Akida generation (AKD1000, AKD1500)."""
