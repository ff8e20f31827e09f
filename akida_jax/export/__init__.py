"""Exports: integer models as files that run without this package."""

from akida_jax.export.onnx_graph import to_onnx
from akida_jax.export.stablehlo import to_jax

__all__ = ["to_jax", "to_onnx"]
