"""Keras model files to networks and integer models."""

import os

from akida_jax.interop.cnn2snn import Cnn2Snn
from akida_jax.interop.float_networks import import_float
from akida_jax.interop.integer_models import import_integers
from akida_jax.interop.keras_files import read_chain
from akida_jax.interop.quantizeml import QuantizeMl
from akida_jax.interop.reports import Imported, check_scaling
from akida_jax.quant.activations import ACTIVATION_BITS
from akida_jax.quant.registers import AKIDA_1, Registers


def from_keras(
    path: str | os.PathLike,
    *,
    input_scaling: tuple[float, float] | None = None,
    input_bits: int | None = None,
    fuse: bool = False,
    registers: Registers = AKIDA_1,
) -> Imported:
    """Read a Keras model saved as ``.h5``.

    A float model becomes a Flax network (`Imported.network`) that computes the same function. A
    model quantized with the vendor's cnn2snn or quantizeml (one scale per tensor for activations)
    becomes an integer model (`Imported.model`).

    Args:
      path: of a whole model of Keras 2 or 3.
      input_scaling: scale and shift by which inputs of Keras become integers,
        ``x_int = scale * x + shift``, for a model without a Rescaling of its own; (1, 0) by
        default.
      input_bits: 8 for an input of images, 1, 2 or 4 for events (`InputData`); by default
        images where the input has 1 or 3 channels, else events of 4 bits.
      fuse: give up equality for fewer layers: drop the activation between a depthwise and a
        pointwise convolution, and average in front of an activation instead of behind it. The
        network then has to be trained again; the report lists every change.
      registers: widths of the integer model.

    Raises:
      FileNotFoundError: if there is no such file.
      IsADirectoryError: if it is a folder.
      KerasFileError: if the file is truncated, damaged, or no whole Keras model.
      KerasModelError: with every fault at once: layers that the chip does not have, and
        limits of the chip that the model exceeds.
      ValueError: if an argument is out of range.
    """
    scaling = check_scaling(input_scaling)
    if input_bits is not None and input_bits not in (*ACTIVATION_BITS, 8):
        raise ValueError(f"input_bits must be 1, 2, 4 or 8, got {input_bits!r}")
    chain = read_chain(path)
    packages = {layer.package for layer in chain.layers} - {"keras"}
    if not packages:
        return import_float(chain, fuse=fuse, scaling=scaling, input_bits=input_bits)
    package = QuantizeMl() if "quantizeml" in packages else Cnn2Snn()
    return import_integers(
        chain, package, scaling=scaling, input_bits=input_bits, registers=registers
    )
