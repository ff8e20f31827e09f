"""What an export takes: bytes of flash and RAM, by layer and by buffer."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path


@dataclasses.dataclass(frozen=True, kw_only=True)
class LayerRow:
    """One layer of an export.

    Attributes:
      name: of the layer.
      kind: its type.
      out_shape: height, width, channels of its output.
      code_bits: bits in which a weight is stored.
      weight_bytes: of its weights.
      other_bytes: of its thresholds and steps.
      largest_sum: bound of the magnitude of all that is added up in int32.
    """

    name: str
    kind: str
    out_shape: tuple[int, int, int]
    code_bits: int
    weight_bytes: int
    other_bytes: int
    largest_sum: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class CExport:
    """A model written as C.

    Attributes:
      folder: where the files are.
      name: prefix of everything in C.
      files: their names, in order.
      layers: a row for each.
      learning_flash_bytes: what a learner has learned before the export.
      buffers: bytes of the static memory by name.
    """

    folder: Path
    name: str
    files: tuple[str, ...]
    layers: tuple[LayerRow, ...]
    learning_flash_bytes: int
    buffers: Mapping[str, int]

    @property
    def flash_bytes(self) -> int:
        """Bytes of weights, thresholds and steps; code comes on top."""
        of_layers = sum(row.weight_bytes + row.other_bytes for row in self.layers)
        return of_layers + self.learning_flash_bytes

    @property
    def ram_bytes(self) -> int:
        """Bytes of the static memory; input, output and stack come on top."""
        return sum(self.buffers.values())

    def __str__(self) -> str:
        rows = [
            (row.name, row.kind, "x".join(map(str, row.out_shape)), str(row.code_bits),
             f"{row.weight_bytes:,}", f"{row.other_bytes:,}", f"{row.largest_sum:,}")
            for row in self.layers
        ]  # fmt: skip
        heads = ("layer", "type", "output", "bits", "weights", "other", "largest sum")
        parts = [f"{name} {size:,}" for name, size in self.buffers.items()]
        learned = self.learning_flash_bytes
        return "\n".join([
            *columns(heads, rows, left=3),
            f"flash: {self.flash_bytes:,} bytes of constants"
            + (f", {learned:,} of them learned" if learned else ""),
            f"RAM:   {self.ram_bytes:,} bytes ({', '.join(parts)})",
            f"files: {len(self.files)} in {self.folder}",
        ])  # fmt: skip


def columns(heads: Sequence[str], rows: Sequence[Sequence[str]], *, left: int) -> list[str]:
    """Return lines of a table, its first columns at the left and the others at the right."""
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    lines = []
    for row in (heads, ["-" * width for width in widths], *rows):
        cells = [
            cell.ljust(width) if index < left else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return lines
