"""Exact counts of events and synaptic operations."""

import dataclasses
from collections.abc import Iterator, Mapping

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int32

from akida_jax.programs import LayerProgram
from akida_jax.quant.architecture import Conv
from akida_jax.quant.operations import convolve_depthwise, same_padding


@dataclasses.dataclass(frozen=True, kw_only=True)
class LayerActivity:
    """What one layer did, summed over all samples.

    Attributes:
      samples: number of inputs.
      events_in: non-zero input values.
      events_out: non-zero output values; potentials, for a layer without activation.
      values_out: all output values.
      synaptic_operations: weights that an event met. In a convolution, the taps of each
        input event that fall inside the output, times the filters. In a separable layer,
        the depthwise taps plus, for each non-zero depthwise sum, the filters.
      macs: what a dense computation would need.
    """

    samples: int
    events_in: int
    events_out: int
    values_out: int
    synaptic_operations: int
    macs: int

    @property
    def sparsity(self) -> float:
        """Share of zeros among the output values."""
        return 1 - self.events_out / self.values_out if self.values_out else 0.0


class Activity(Mapping[str, LayerActivity]):
    """Counts per layer, by name, in layer order."""

    def __init__(self, layers: Mapping[str, LayerActivity]):
        self._layers = dict(layers)

    def __getitem__(self, name: str) -> LayerActivity:
        return self._layers[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._layers)

    def __len__(self) -> int:
        return len(self._layers)

    @property
    def sparsity(self) -> dict[str, float]:
        """Output sparsity per layer."""
        return {name: layer.sparsity for name, layer in self.items()}

    def __str__(self) -> str:
        lines = [f"{'layer':<16}{'events in':>14}{'events out':>14}{'sparsity':>10}"
                 f"{'synaptic ops':>16}{'of MACs':>9}"]  # fmt: skip
        for name, layer in self.items():
            share = layer.synaptic_operations / layer.macs if layer.macs else 0.0
            lines.append(f"{name:<16}{layer.events_in:>14,}{layer.events_out:>14,}"
                         f"{layer.sparsity:>10.3f}{layer.synaptic_operations:>16,}"
                         f"{share:>9.1%}")  # fmt: skip
        return "\n".join(lines)


def count_operations(program: LayerProgram, x: Array) -> tuple[Array, Array]:
    """Count events and what they meet, per sample and input row, in int32.

    Returns:
      Events, and synaptic operations per filter or unit: (n, rows) each; for a separable
      layer the second has the depthwise taps, already in operations, and behind them one
      column of non-zero depthwise sums.
    """
    spec = program.spec
    present = (x != 0).astype(jnp.int32)
    per_pixel = present.sum(3)
    if not isinstance(spec, Conv):
        return per_pixel.sum(2), per_pixel.sum(2)
    taps = (per_pixel * _tap_counts(spec, x.shape[1:])).sum(2)
    if spec.kind == "separable":
        depthwise = convolve_depthwise(x, program.float_kernels()["kernel"], stride=spec.stride)
        nonzero = (depthwise != 0).astype(jnp.int32).sum((1, 2, 3))
        taps = jnp.concatenate([taps, nonzero[:, None]], axis=1)
    return per_pixel.sum(2), taps


def _tap_counts(spec: Conv, shape: tuple[int, ...]) -> Int32[np.ndarray, "h w"]:
    """Return how many taps of the kernel carry each input pixel to an output."""
    outputs = spec.map_shape(shape)  # type: ignore[arg-type]
    counts = []
    for extent, n_out in zip(shape[:2], outputs[:2], strict=True):
        low = same_padding(extent, spec.kernel_size, spec.stride)[0]
        first = np.arange(n_out) * spec.stride - (low if spec.padding == "same" else 0)
        covered = first[:, None] + np.arange(spec.kernel_size)
        inside = covered[(covered >= 0) & (covered < extent)]
        counts.append(np.bincount(inside, minlength=extent).astype(np.int32))
    return counts[0][:, None] * counts[1][None, :]


def synaptic_operations(program: LayerProgram, taps: np.ndarray) -> int:
    """Return the total from the counts of `count_operations`."""
    totals = taps.astype(np.int64).sum(0)
    if program.spec.kind == "separable":
        return int(totals[:-1].sum() + totals[-1] * program.spec.neurons)
    return int(totals.sum()) * program.spec.neurons
