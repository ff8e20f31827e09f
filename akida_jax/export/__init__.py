"""Exports: integer models as files that run without this package.

`to_c` writes C99 for microcontrollers, `to_jax` an artefact of `jax.export`, `to_onnx` an ONNX
graph. All of them compute the same integers as `Model.forward`.
"""

from akida_jax.export.c_code import to_c
from akida_jax.export.onnx_graph import to_onnx
from akida_jax.export.stablehlo import to_jax

__all__ = ["to_c", "to_jax", "to_onnx"]
