"""From a quantized Flax network to the integer model."""

import numpy as np

from akida_jax.layers import InputConvolutional, specify
from akida_jax.limits import Fault, ModelError, find_faults
from akida_jax.model import Model
from akida_jax.quant.architecture import InputData
from akida_jax.quant.layers import LayerIntegers
from akida_jax.quant.mixed import mixed_layers
from akida_jax.quant.networks import Sequential
from akida_jax.variables import find_register_faults


def convert(network: Sequential) -> Model:
    """Return the integer model that a quantized network computes.

    The integers are those of the network's own forward pass: for every input
    ``convert(network).forward(x) == network.forward(x)``, potential by potential.

    Raises:
      ValueError: if the network is not quantized or a parameter is not finite.
      ModelError: with every fault at once: a layer that the chip does not have, a
        threshold or step that does not fit its register (layer and filter named).
    """
    if not isinstance(network, Sequential):
        raise ValueError(
            f"convert takes an akida_jax.quant.Sequential, got {type(network).__name__}"
        )
    if not network.quantized:
        raise ValueError("the network is a float network; apply quant.quantize first")
    _check_fixed(network)
    _check_finite(network)
    registers = network.layers[0].precision.registers
    specs = [
        specify(
            layer.spec,
            weight_bits=layer.precision.weight_bits,
            act_bits=layer.precision.act_bits,
        )
        for layer in network.layers
    ]
    first = [network.input] if isinstance(network.input, InputData) else []
    faults = find_faults([*first, *specs])
    variables = {}
    for spec, integers in zip(specs, network.integers(), strict=True):
        threshold, raw_step = map(np.asarray, integers.firing)
        is_input = isinstance(spec, InputConvolutional)
        found = find_register_faults(threshold, raw_step, registers, is_input=is_input)
        faults += [Fault(str(spec.name), what, remedy) for what, remedy in found]
        variables[str(spec.name)] = _variables(integers, registers.step_fraction_bits)
    if faults:
        raise ModelError(faults)
    return Model([*first, *specs], variables, registers=registers)


def _variables(integers: LayerIntegers, fraction_bits: int) -> dict[str, np.ndarray]:
    kernels = {k: np.asarray(w.levels).astype(np.int8) for k, w in integers.weights.items()}
    step = np.asarray(integers.firing.raw_step) / 2**fraction_bits
    threshold = np.asarray(integers.firing.threshold)
    return {**kernels, "threshold": threshold, "step": step.astype(np.float32)}


def _check_fixed(network: Sequential) -> None:
    if choosing := [str(layer.spec.name) for layer in mixed_layers(network)]:
        raise ValueError(f"layers {', '.join(choosing)} still choose their weight bits; apply "
                         "quant.fix_widths first")  # fmt: skip


def _check_finite(network: Sequential) -> None:
    for layer in network.layers:
        for name in (*layer.spec.kernel_shapes(layer.in_shape), "bias", "step"):
            if not np.isfinite(np.asarray(getattr(layer, name)[...])).all():
                raise ValueError(
                    f"layer {layer.spec.name!r}: {name} has values that are not finite; "
                    "the training has diverged, lower its learning rate"
                )
