"""Heat maps of what every layer puts out, and where."""

import dataclasses
import math

import numpy as np
from jaxtyping import Float64, Int64
from matplotlib.figure import Figure

from akida_jax.model import Inputs, Model
from akida_jax.pictures import style
from akida_jax.quant.architecture import Shape

#: Inputs whose outputs are held at once.
_AT_ONCE = 32
_COLUMNS = 4


@dataclasses.dataclass(frozen=True, kw_only=True)
class ActivityMap:
    """Events of one layer's output by position, over all channels and samples.

    Attributes:
      name: of the layer.
      shape: height, width and channels of its output.
      samples: number of inputs.
      events: non-zero output values at each position.
      fires: whether they are events; a layer without activation puts out potentials.
    """

    name: str
    shape: Shape
    samples: int
    events: Int64[np.ndarray, "h w"]
    fires: bool

    @property
    def mean(self) -> Float64[np.ndarray, "h w"]:
        """Events of a sample at each position, 0 to the number of channels."""
        return self.events / self.samples

    @property
    def sparsity(self) -> float:
        """Share of zeros among the output values."""
        return 1 - int(self.events.sum()) / (self.samples * math.prod(self.shape))


def count_maps(model: Model, x: Inputs, executor: str = "auto") -> list[ActivityMap]:
    """Count the events of every layer's output by position, in layer order.

    Of a last layer without activation, which fires nothing, the potentials that are not zero are
    counted; its map says so.

    Args:
      model: that runs.
      x: inputs, as for `Model.forward`; at least one.
      executor: as for `Model.outputs`.

    Raises:
      ValueError: if there is no input, or as `Model.forward`.
    """
    if not len(x):
        raise ValueError("no input; activity needs at least one")
    events: dict[str, Int64[np.ndarray, "h w"]] = {}
    shapes: dict[str, Shape] = {}
    for start in range(0, len(x), _AT_ONCE):
        for name, levels in model.outputs(x[start : start + _AT_ONCE], executor).items():
            shapes[name] = levels.shape[1:]
            found = np.count_nonzero(levels, axis=(0, 3)).astype(np.int64)
            events[name] = events[name] + found if name in events else found
    fires = {str(program.spec.name): program.spec.activation for program in model.programs}
    return [
        ActivityMap(name=name, shape=shapes[name], samples=len(x), events=found, fires=fires[name])
        for name, found in events.items()
    ]


@style.in_style
def draw_maps(maps: list[ActivityMap], title: str) -> Figure:
    """Draw how many outputs are not zero by position, each layer with a scale of its own.

    It runs from 0 to the highest mean; for an output of one position, to the number of channels.

    Raises:
      ValueError: if there is no map.
    """
    if not maps:
        raise ValueError("no maps to draw; a model has at least one layer")
    columns = min(_COLUMNS, len(maps))
    rows = -(-len(maps) // columns)
    figure = Figure(figsize=(2.5 * columns + 0.4, 2.5 * rows + 0.5), layout="constrained")
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axis in panels[len(maps) :]:
        axis.set_axis_off()
    for axis, one in zip(panels, maps, strict=False):
        image = axis.imshow(one.mean, vmin=0, vmax=_highest(one))
        style.hide_ticks(axis)
        shape = "x".join(map(str, one.shape))
        kind = "" if one.fires else " potentials"
        axis.set_title(f"{style.plain(one.name)}\n{shape}{kind}, {one.sparsity:.1%} zeros")
        bar = figure.colorbar(image, ax=axis, shrink=0.8, aspect=16)
        bar.ax.tick_params(labelsize=style.SMALLEST)
        bar.outline.set_visible(False)
    figure.suptitle(
        f"{style.plain(title)}\nmean number of non-zero outputs per position, all channels"
    )
    return figure


def _highest(one: ActivityMap) -> float:
    if one.events.size == 1:
        return one.shape[2]
    return float(one.mean.max()) or 1.0  # without any event all stays white
