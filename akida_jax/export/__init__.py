"""Exports: integer models as files that run without this package."""

from akida_jax.export.stablehlo import to_jax

__all__ = ["to_jax"]
