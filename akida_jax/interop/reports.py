"""What an import did with a Keras model: the result and its report."""

import dataclasses
import math

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Num

from akida_jax.model import Model
from akida_jax.quant.networks import Sequential


@dataclasses.dataclass(frozen=True)
class LayerReport:
    """What became one layer.

    Attributes:
      layer: its name.
      sources: the Keras layers that it stands for.
      notes: what was rewritten without a change of the function.
      changes: what it computes otherwise than Keras does.
    """

    layer: str
    sources: tuple[str, ...]
    notes: tuple[str, ...] = ()
    changes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Report:
    """What became of every layer; printed, it is a text of some lines.

    Attributes:
      layers: in order.
    """

    layers: tuple[LayerReport, ...]

    @property
    def changes(self) -> tuple[str, ...]:
        """Everything that is computed otherwise than in Keras; empty if nothing is."""
        return tuple(f"{layer.layer}: {what}" for layer in self.layers for what in layer.changes)

    def __str__(self) -> str:
        lines = []
        for layer in self.layers:
            lines.append(f"{layer.layer} <- {', '.join(layer.sources) or 'inserted'}")
            lines += [f"    {note}" for note in layer.notes]
            lines += [f"    changed: {change}" for change in layer.changes]
        return "\n".join(lines)


@dataclasses.dataclass(frozen=True)
class Imported:
    """A Keras model as this library holds it.

    Attributes:
      network: Flax network of a float model, ready for `quant.quantize`; else None.
      model: integer model of a quantized one; else None.
      report: what became of each layer.
      input_scale, input_shift: the integers that the input layer takes are
        ``input_scale * x + input_shift`` for what the first Keras layer behind a rescaling
        sees as ``x``; both of `network` hold the same.
      final_activation: "softmax" or "sigmoid" where the Keras model ends with one, which is
        left to the host; else None.
      output_shape: of the Keras model, without the batch axis.
    """

    network: Sequential | None
    model: Model | None
    report: Report
    input_scale: float
    input_shift: float
    final_activation: str | None
    output_shape: tuple[int, ...]

    def predict(self, x: Num[np.ndarray, "n h w c"]) -> Float[np.ndarray, "n ..."]:
        """Return what the Keras model returns: final activation applied, its output shape.

        Args:
          x: input levels, unsigned integers of the input layer's range.
        """
        if self.model is not None:
            y = self.model.predict(x)
        else:
            assert self.network is not None
            y = np.asarray(self.network(jnp.asarray(x)))
        y = y.reshape(len(y), *self.output_shape)
        if self.final_activation == "softmax":
            exponentials = np.exp(y - y.max(-1, keepdims=True))
            return exponentials / exponentials.sum(-1, keepdims=True)
        return 1 / (1 + np.exp(-y)) if self.final_activation == "sigmoid" else y


def check_scaling(scaling: tuple[float, float] | None) -> tuple[float, float] | None:
    """Return an input scaling as floats, or None.

    Raises:
      ValueError: if it is no positive scale and finite shift.
    """
    if scaling is None:
        return None
    try:
        scale, shift = (float(value) for value in scaling)
    except (TypeError, ValueError) as error:
        raise ValueError(f"input_scaling must be (scale, shift), got {scaling!r}") from error
    if not (0 < scale < math.inf and abs(shift) < math.inf):
        raise ValueError(
            f"input_scaling must be a positive finite scale and a finite shift, got {scaling!r}"
        )
    return scale, shift
