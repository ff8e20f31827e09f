"""Keras models in and out, without TensorFlow."""

from akida_jax.interop.exports import to_keras
from akida_jax.interop.hdf5 import KerasFileError
from akida_jax.interop.imports import from_keras
from akida_jax.interop.keras_files import KerasModelError
from akida_jax.interop.reports import Imported, LayerReport, Report

__all__ = [
    "Imported",
    "KerasFileError",
    "KerasModelError",
    "LayerReport",
    "Report",
    "from_keras",
    "to_keras",
]
