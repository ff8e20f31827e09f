"""What is loaded onto the chip: one program per layer, a pytree of integer arrays."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int32

from akida_jax.layers import Specification
from akida_jax.quant.activations import activate
from akida_jax.quant.architecture import Shape
from akida_jax.quant.registers import Registers


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["kernels", "threshold", "raw_step"],
    meta_fields=["spec", "in_shape", "input_bits", "groups", "registers"],
)
@dataclasses.dataclass(frozen=True, kw_only=True)
class LayerProgram:
    """One layer as the chip stores it.

    Attributes:
      kernels: int8 arrays by name, ``kernel`` and, if separable, ``pointwise``.
      threshold: int32 per filter.
      raw_step: int32 per filter, in units of ``2**-step_fraction_bits``.
      spec: the layer's specification.
      in_shape: height, width, channels of its input.
      input_bits: width of its input values.
      groups: channel groups in which float32 sums the potentials exactly.
      registers: register widths.
    """

    kernels: dict[str, Array | np.ndarray]
    threshold: Int32[Array, " filters"] | np.ndarray
    raw_step: Int32[Array, " filters"] | np.ndarray
    spec: Specification
    in_shape: Shape
    input_bits: int
    groups: int
    registers: Registers

    @property
    def packed_bytes(self) -> int:
        """Bytes of the weights at their width; every layer's fill whole bytes."""
        return -(-self.spec.n_weights(self.in_shape) * self.spec.weight_bits // 8)

    def float_kernels(self) -> dict[str, Float[Array, "..."]]:
        """Return the kernels as float32, which carries the integers."""
        return {name: jnp.asarray(k).astype(jnp.float32) for name, k in self.kernels.items()}

    def fire(self, potentials: Int32[Array, "n h w f"]) -> Int32[Array, "n h w f"]:
        """Quantize potentials to activation levels."""
        return activate(
            potentials,
            jnp.asarray(self.threshold),
            jnp.asarray(self.raw_step),
            bits=self.spec.act_bits,
            registers=self.registers,
        )


Programs = tuple[LayerProgram, ...]
