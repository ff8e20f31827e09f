"""A model as a table."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from akida_jax.layers import AnySpecification, InputData, Specification
from akida_jax.quant.architecture import Shape


@dataclasses.dataclass(frozen=True, kw_only=True)
class Column:
    """One more column of a summary.

    Attributes:
      title: heading.
      cells: by layer name; a layer left out gets an empty cell.
      total: cell of the last line.
    """

    title: str
    cells: Mapping[str, str]
    total: str = ""


class Columns(Protocol):
    """What can stand beside the layers of a model: a placement, a cost."""

    def layer_names(self) -> Sequence[str]:
        """Return the names of the model's computing layers."""

    def columns(self) -> Sequence[Column]:
        """Return the columns from left to right."""

    def notes(self) -> Sequence[str]:
        """Return the sentences below the table."""


class Summary(str):
    """A table: plain text where it is printed, a rich table in a rich console."""

    columns: tuple[Column, ...]
    names: tuple[str, ...]
    remarks: tuple[str, ...]

    def __new__(
        cls, names: Sequence[str], columns: Sequence[Column], remarks: Sequence[str]
    ) -> "Summary":
        """Render the plain text and keep the parts."""
        result = super().__new__(cls, _render(names, columns, remarks))
        result.columns, result.names = tuple(columns), tuple(names)
        result.remarks = tuple(remarks)
        return result

    def __rich__(self) -> "_Fitted":
        """Return what a rich console prints."""
        return _Fitted(self)


@dataclasses.dataclass(frozen=True)
class _Fitted:
    """A table with rules, or the plain text where the console is too narrow for it."""

    summary: Summary

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        summary = self.summary
        table = Table(show_footer=True)
        table.add_column("layer", "total", no_wrap=True)
        for column in summary.columns:
            title, total = Text(column.title), Text(column.total)
            table.add_column(title, total, justify=_justify(column), no_wrap=True)
        for name in summary.names:
            cells = (column.cells.get(name, "") for column in summary.columns)
            table.add_row(Text(name), *map(Text, cells))
        unlimited = options.update(max_width=10_000, width=10_000)
        if Measurement.get(console, unlimited, table).maximum > options.max_width:
            yield Text(str(summary))
            return
        yield table
        yield from map(Text, summary.remarks)


def summarize(
    layers: Sequence[tuple[Specification, Shape, int]],
    first: AnySpecification,
    extras: Sequence[Columns] = (),
) -> Summary:
    """Return layer by layer output, kernel, bits, weights and MACs, with totals.

    Args:
      layers: each computing layer with its input shape and input bits.
      first: the model's first layer.
      extras: a placement, a cost; they replace the columns of types, weights and MACs.

    Raises:
      ValueError: if a placement or cost is of a model with other layers.
    """
    own = sorted(str(spec.name) for spec, _, _ in layers)
    for extra in extras:
        if sorted(extra.layer_names()) != own:
            raise ValueError(
                f"the {type(extra).__name__.lower()} is of another model, with layers "
                f"{', '.join(extra.layer_names())}"
            )
    entry = [first] if isinstance(first, InputData) else []
    names = [str(spec.name) for spec in (*entry, *(spec for spec, _, _ in layers))]
    columns = [
        Column(title="output", cells={str(s.name): _x(s.out_shape(i)) for s, i, _ in layers}),
        Column(title="kernel", cells={str(s.name): _kernels(s, i) for s, i, _ in layers}),
        Column(title="bits in/w/out", cells={str(s.name): _bits(s, b) for s, _, b in layers}),
    ]
    if entry:
        columns[0].cells[names[0]] = _x(first.input_shape)  # type: ignore[index, union-attr]
        columns[2].cells[names[0]] = f"-/-/{first.input_bits}"  # type: ignore[index, union-attr]
    if extras:
        columns += [column for extra in extras for column in extra.columns()]
    else:
        kinds = {str(s.name): type(s).__name__ for s in (*entry, *(s for s, _, _ in layers))}
        weights = {str(s.name): s.n_weights(i) for s, i, _ in layers}
        macs = {str(s.name): s.macs(i) for s, i, _ in layers}
        columns = [
            Column(title="type", cells=kinds),
            *columns,
            _counts("weights", weights),
            _counts("MACs", macs),
        ]
    return Summary(names, columns, [note for extra in extras for note in extra.notes()])


def _counts(title: str, counts: Mapping[str, int]) -> Column:
    cells = {name: f"{count:,}" for name, count in counts.items()}
    return Column(title=title, cells=cells, total=f"{sum(counts.values()):,}")


def _x(numbers: Sequence[int]) -> str:
    return "x".join(map(str, numbers))


def _kernels(spec: Specification, shape: Shape) -> str:
    return " + ".join(_x(kernel) for kernel in spec.kernel_shapes(shape).values())


def _bits(spec: Specification, input_bits: int) -> str:
    out = str(spec.act_bits) if spec.activation else "int32"
    return f"{input_bits}/{spec.weight_bits}/{out}"


def _justify(column: Column) -> Literal["left", "right"]:
    """Columns with a total hold numbers, which stand at the right."""
    return "right" if column.total else "left"


def _render(names: Sequence[str], columns: Sequence[Column], remarks: Sequence[str]) -> str:
    rows = [
        ("layer", *(c.title for c in columns)),
        *((name, *(c.cells.get(name, "") for c in columns)) for name in names),
        ("total", *(c.total for c in columns)),
    ]
    widths = [max(len(row[i]) for row in rows) for i in range(len(columns) + 1)]
    rule = "-" * (sum(widths) + 2 * len(columns))
    sides = ["left", *(_justify(c) for c in columns)]

    def line(row: Sequence[str]) -> str:
        cells = [
            cell.rjust(width) if side == "right" else cell.ljust(width)
            for cell, width, side in zip(row, widths, sides, strict=True)
        ]
        return "  ".join(cells).rstrip()

    lines = [line(rows[0]), rule, *map(line, rows[1:-1]), rule, line(rows[-1])]
    return "\n".join([*lines, *remarks])
