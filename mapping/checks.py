"""Everything about a model that a device cannot hold."""

from collections.abc import Iterator, Sequence

import numpy as np

from akida_jax.layers import AnySpecification, InputConvolutional
from akida_jax.limits import Fault, ModelError, find_faults
from akida_jax.mapping.devices import Device
from akida_jax.mapping.splits import Unsplittable, split_layer
from akida_jax.model import Model
from akida_jax.programs import LayerProgram
from akida_jax.quant.architecture import name_layers
from akida_jax.variables import find_register_faults


class MappingError(ModelError):
    """A model that cannot be placed on a device; carries all `Fault`s found."""


def check(model: Model | Sequence[AnySpecification], device: Device) -> list[Fault]:
    """Return every violation of the device's limits, all at once, in layer order.

    A `Model` keeps to the table of layers already; specifications that form no model are
    checked against it here. Whether there are enough neural processors is the concern of
    `place`.

    Args:
      model: a model, or layer specifications without weights.
      device: what it is to run on.
    """
    if not isinstance(model, Model):
        faults = find_faults(name_layers(model))
        if faults:
            return faults
        try:
            model = Model(model)
        except ModelError as error:
            return list(error.faults)
    return [fault for program in model.programs for fault in _layer_faults(program, device)]


def _layer_faults(program: LayerProgram, device: Device) -> Iterator[Fault]:
    name = str(program.spec.name)
    is_input = isinstance(program.spec, InputConvolutional)
    if is_input and not device.input_unit:
        yield Fault(name, f"{device.name} has no unit for an input convolution",
                    "begin with InputData or choose another device")  # fmt: skip
    fraction = program.registers.step_fraction_bits - device.registers.step_fraction_bits
    raw = np.asarray(program.raw_step)
    if fraction > 0 and (raw % 2**fraction).any():
        yield Fault(
            name,
            f"its steps have {program.registers.step_fraction_bits} fractional bits, "
            f"{device.name} holds {device.registers.step_fraction_bits}",
            "quantize with registers=device.registers",
        )
    shifted = np.floor(np.ldexp(raw.astype(np.float64), -fraction))
    found = find_register_faults(
        np.asarray(program.threshold), shifted, device.registers, is_input=is_input
    )
    for what, remedy in found:
        yield Fault(name, what, remedy)
    try:
        split_layer(program, device)
    except Unsplittable as error:
        yield error.fault
