"""Convert a model of another program into a model file."""

from pathlib import Path
from typing import Annotated

import tyro

from akida_jax import interop
from akida_jax.commands.inputs import read_inputs
from akida_jax.convert import convert as convert_network
from akida_jax.files import save
from akida_jax.quant.twins import quantize
from akida_jax.quant.weights import WeightQuantizer
from akida_jax.writing import check_target


def convert(
    source: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="KERAS")]],
    target: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="TARGET")]],
    calibration: Path | None = None,
    bits: tuple[int, int, int] | None = None,
    weight_quantizer: WeightQuantizer | None = None,
    fuse: bool = False,
    input_scaling: tuple[float, float] | None = None,
    input_bits: int | None = None,
) -> None:
    """Convert a Keras model (.h5), float or quantized, into a model file.

    A float model is quantized without training, by inputs to calibrate on; docs/keras.md says
    how to train it.

    Example: akida-jax convert keras.h5 converted.akj --calibration input.npy

    Args:
      source: a whole model saved by Keras 2 or 3, or one with the layers of cnn2snn or quantizeml.
      target: the file to write (.akj).
      calibration: of a float model: levels as it will see them (.npy), from which the ranges of
        its activations are chosen.
      bits: of a float model's first weights, other weights, activations; 8 4 4 by default.
      weight_quantizer: how the scale of a float model's weights is chosen; max_per_filter by
        default.
      fuse: give up equality for fewer layers, see interop.from_keras.
      input_scaling: scale and shift by which inputs of Keras become levels.
      input_bits: 8 for images, 1, 2 or 4 for events.
    """
    if check_target(target).resolve() == source.resolve():
        raise ValueError(f"{target} is the Keras model itself; give another file to write")
    imported = interop.from_keras(
        source, fuse=fuse, input_scaling=input_scaling, input_bits=input_bits
    )
    model = imported.model
    if imported.network is not None:
        bits = bits or (8, 4, 4)
        if calibration is None:
            raise ValueError(
                f"{source} is a float model; add --calibration FILE.npy, inputs from which the "
                "ranges of its activations are chosen"
            )
        x = read_inputs(calibration, imported.network.input.input_shape)
        how = weight_quantizer or "max_per_filter"
        twin = quantize(imported.network, bits=bits, calibration=x, weight_quantizer=how)
        model = convert_network(twin)
    elif any(option is not None for option in (calibration, bits, weight_quantizer)) or fuse:
        raise ValueError(
            f"{source} is quantized already; leave --calibration, --bits, --weight-quantizer and "
            "--fuse out"
        )
    assert model is not None
    save(model, target)
    print(imported.report)
    print(f"inputs: level = {imported.input_scale:g} * x + {imported.input_shift:g}")
    if imported.network is not None and bits is not None:
        print(f"a float model, quantized to {bits[0]}/{bits[1]}/{bits[2]} bits without training")
    print(f"{target.stat().st_size:,} bytes written to {target}")
