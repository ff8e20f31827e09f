"""Pictures of a placement and its cost. Each function returns a matplotlib figure."""

import math
import textwrap

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from akida_jax.mapping.cost import Cost
from akida_jax.mapping.placement import LayerPlacement, Placement
from akida_jax.pictures import style

_NODE_COLUMNS = 2


@style.in_style
def draw_mesh(placement: Placement) -> Figure:
    """Draw which layer every neural processor works for, one mesh per pass.

    Nodes are squares of processors. How high a processor is filled is the share of its
    memory, input and weights together, that its layer takes.
    """
    colours = _colours(placement)
    per_node = placement.device.nps_per_node
    used = max((max(layer.processors, default=0) + 1 for layer in placement.layers), default=1)
    nodes = math.ceil((placement.device.nps or used) / per_node)
    across = math.ceil(math.sqrt(nodes * (1.6 if placement.passes == 1 else 1.0)))
    down = math.ceil(nodes / across)
    width = max(0.55 * across * placement.passes, 4) + 2.4
    figure = Figure(figsize=(width, 0.55 * down + 1.2))
    axes = figure.subplots(1, placement.passes, squeeze=False)
    for index, axis in enumerate(axes[0]):
        _draw_nodes(axis, nodes, across, per_node)
        for layer in placement.layers:
            if layer.pass_index == index:
                _draw_layer(axis, layer, placement, colours[layer.name], across)
        axis.set_title(f"pass {index + 1}" if placement.passes > 1 else "")
        axis.set_xlim(-0.1, 2.2 * across)
        axis.set_ylim(2.2 * down, -0.1)
        axis.set_aspect("equal")
        axis.axis("off")
    handles = [
        Patch(
            color=colours[layer.name],
            label=style.plain(f"{layer.name} ({layer.nps or layer.unit})"),
        )
        for layer in placement.layers
    ]
    figure.legend(
        handles=handles, loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=style.SMALLEST
    )
    figure.suptitle(
        f"{placement.device.name}, mode {placement.mode}: {placement.nps} neural processors; "
        "filled height: memory used"
    )
    figure.tight_layout()
    return figure


@style.in_style
def draw_cost(placement: Placement, cost: Cost) -> Figure:
    """Draw modelled time and dynamic energy of every layer as bars."""
    colours = [_colours(placement)[layer.name] for layer in cost.layers]
    names = [style.plain(layer.name) for layer in cost.layers]
    figure = Figure(figsize=(9, 0.26 * len(names) + 1.2))
    left, right = figure.subplots(1, 2, sharey=True)
    scale = 1e3 / placement.device.clock_hz
    compute = [float(layer.compute_cycles) * scale for layer in cost.layers]
    load = [float(layer.load_cycles) * scale for layer in cost.layers]
    left.barh(names, compute, color=colours)
    left.barh(names, load, left=compute, color=style.MUTED, label="loading weights")
    if any(load):
        left.legend()
    left.set_xlabel("modelled time of one sample, ms")
    right.barh(names, [1e3 * float(layer.dynamic_mj) for layer in cost.layers], color=colours)
    right.set_xlabel("modelled dynamic energy, uJ")
    left.invert_yaxis()
    left.tick_params(axis="y", labelsize=style.SMALLEST)
    figure.suptitle(
        f"{cost.device}, mode {placement.mode}, batch {cost.batch}: "
        f"{float(cost.latency_ms):.2f} ms, {float(cost.total_mj):.3f} mJ per sample, modelled"
    )
    trust = textwrap.fill(cost.law.trust(), 120)
    figure.text(0.5, -0.02, trust, ha="center", va="top", fontsize=style.SMALLEST)
    figure.tight_layout()
    return figure


def _colours(placement: Placement) -> dict[str, style.Colour]:
    names = [layer.name for layer in placement.layers]
    return dict(zip(names, style.tell_apart(len(names)), strict=True))


def _corner(processor: int, across: int, per_node: int) -> tuple[float, float]:
    node, inside = divmod(processor, per_node)
    row, column = divmod(node, across)
    return 2.2 * column + inside % _NODE_COLUMNS, 2.2 * row + inside // _NODE_COLUMNS


def _draw_nodes(axis: Axes, nodes: int, across: int, per_node: int) -> None:
    for processor in range(nodes * per_node):
        corner = _corner(processor, across, per_node)
        axis.add_patch(
            Rectangle(corner, 0.95, 0.95, facecolor=style.PALE, edgecolor=style.EDGE, lw=0.5)
        )


def _draw_layer(
    axis: Axes,
    layer: LayerPlacement,
    placement: Placement,
    colour: style.Colour,
    across: int,
) -> None:
    device, split = placement.device, layer.split
    assert split is not None
    weights = 0 if split.external else split.weight_bytes
    available = device.input_bytes_per_np + device.weight_bytes_per_np
    filled = 0.95 * (split.input_bytes + weights) / available
    pale = tuple(0.75 + 0.25 * part for part in colour)
    for processor in layer.processors:
        x, y = _corner(processor, across, device.nps_per_node)
        axis.add_patch(Rectangle((x, y), 0.95, 0.95, facecolor=pale, edgecolor=style.MUTED, lw=0.5))
        axis.add_patch(Rectangle((x, y + 0.95 - filled), 0.95, filled, facecolor=colour))
