"""A model as a table."""

from collections.abc import Sequence

from akida_jax.layers import AnySpecification, InputData, Specification
from akida_jax.quant.architecture import Shape

Row = tuple[str, ...]


def summarize(layers: Sequence[tuple[Specification, Shape, int]], first: AnySpecification) -> str:
    """Return layer by layer output, kernel, bits, weights and MACs, with totals.

    Args:
      layers: each computing layer with its input shape and input bits.
      first: the model's first layer.
    """
    rows: list[Row] = [("layer", "type", "output", "kernel", "bits in/w/out", "weights", "MACs")]
    if isinstance(first, InputData):
        out = "x".join(map(str, first.input_shape))
        rows.append((str(first.name), "InputData", out, "", f"-/-/{first.input_bits}", "", ""))
    weights = macs = 0
    for spec, shape, bits in layers:
        rows.append(_row(spec, shape, bits))
        weights += spec.n_weights(shape)
        macs += spec.macs(shape)
    footer: Row = ("total", "", "", "", "", f"{weights:,}", f"{macs:,}")
    return _render(rows, footer)


def _row(spec: Specification, shape: Shape, bits: int) -> Row:
    kernels = ["x".join(map(str, kernel)) for kernel in spec.kernel_shapes(shape).values()]
    out_bits = str(spec.act_bits) if spec.activation else "int32"
    return (
        str(spec.name),
        type(spec).__name__,
        "x".join(map(str, spec.out_shape(shape))),
        " + ".join(kernels),
        f"{bits}/{spec.weight_bits}/{out_bits}",
        f"{spec.n_weights(shape):,}",
        f"{spec.macs(shape):,}",
    )


def _render(rows: Sequence[Row], footer: Row) -> str:
    widths = [max(len(row[i]) for row in (*rows, footer)) for i in range(len(footer))]
    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))

    def line(row: Row) -> str:
        cells = [
            cell.rjust(width) if i >= len(row) - 2 else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        return "  ".join(cells).rstrip()

    return "\n".join([line(rows[0]), rule, *map(line, rows[1:]), rule, line(footer)])
