"""Integer models as Keras files with the layers of quantizeml, for the vendor's own tools.

The formulas are those of `quantizeml`, solved for what a file holds. Real scales between layers are
free: an activation of b bits has the step ``2**-b``. With inputs of ``f`` fractional bits, ``n``
positions of a global average pool (1 without) and ``s = S * 2**(4 - b)`` potentials per level:

- weights ``w = level * ws`` with ``ws = n * q * 2**-h``, ``q * 2**-h ~ 2**(f - b) / s`` and q in
  129..255, which quantizeml rounds to no other q; its S then is within 1/170 of the model's;
- bias ``b = B * ws * 2**-f`` with ``B = L * 2**j ~ (ceil(s / 2) - 1 - T) / n``, L of 8 bits;
- a last layer without activation has ``ws = n * 2**f / (S + 1/32)``, which gives S again.

quantizeml scales the largest weight of a filter to the top level: a filter that does not reach it
is stretched, s and T with it, exactly where the top level is a multiple of its largest.
"""

import json
import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from akida_jax.convert import convert
from akida_jax.interop.integer_models import constant_registers, without_weights
from akida_jax.interop.quantizeml import align, ceil_log2
from akida_jax.interop.reports import LayerReport, Report
from akida_jax.layers import InputConvolutional
from akida_jax.limits import Fault, ModelError
from akida_jax.model import Model
from akida_jax.programs import LayerProgram
from akida_jax.quant.networks import Sequential
from akida_jax.quant.weights import weight_limit
from akida_jax.writing import check_target, replace_file

_KERAS_VERSION = "2.15.0"
_BUFFER_BITS = {"conv": 28, "dense": 28, "input_conv": 28, "separable": 32}

Entry = tuple[str, dict[str, Any], dict[str, np.ndarray]]
"""Class, configuration and weights by name."""


def to_keras(model: Model | Sequential, path: str | os.PathLike) -> Report:
    """Write a model as ``.h5`` with quantizeml's layers.

    quantizeml loads it (`quantizeml.load_model`) and cnn2snn converts it for the chip;
    `from_keras` reads it back. What fixed point cannot carry differs: see the report.

    Args:
      model: an integer model, or a quantized network, which is converted first.
      path: of the file; it appears under its name only when it is complete.

    Returns:
      What each layer holds otherwise than the model.

    Raises:
      ModelError: with every layer that quantizeml has no form for.
      ValueError: if a network is not quantized.
      FileNotFoundError, IsADirectoryError: if the file cannot be written.
    """
    if isinstance(model, Sequential):
        model = convert(model)
    target = check_target(path)
    faults = [
        Fault(str(p.spec.name), "weights of 1 bit", "quantizeml has 2 bits and more")
        for p in model.programs
        if p.spec.weight_bits == 1
    ]
    if faults:
        raise ModelError(faults)
    entries, reports = _entries(model)
    _write(target, model, entries)
    return Report(tuple(reports))


def _entries(model: Model) -> tuple[list[Entry], list[LayerReport]]:
    entries: list[Entry] = []
    reports = []
    if isinstance(model.layers[0], InputConvolutional):
        entries.append(("QuantizedRescaling", {"name": "rescaling", "scale": 1.0, "offset": 0}, {}))
    frac_bits = 0
    for index, program in enumerate(model.programs):
        following = model.programs[index + 1] if index + 1 < len(model.programs) else None
        changes: list[str] = []
        entries += _layer(program, following, frac_bits, changes)
        name = str(program.spec.name)
        reports.append(LayerReport(name, (name,), changes=tuple(changes)))
        frac_bits = program.spec.act_bits
    entries.append(("Dequantizer", {"name": "dequantizer"}, {}))
    return entries, reports


def _layer(
    program: LayerProgram, following: LayerProgram | None, frac_bits: int, changes: list[str]
) -> list[Entry]:
    """Return the Keras layers of one layer of the chip."""
    spec, name = program.spec, str(program.spec.name)
    entries: list[Entry] = []
    if spec.kind == "dense" and program.in_shape[:2] != (1, 1):
        entries.append(("QuantizedFlatten", {"name": f"{name}/flatten"}, {}))
    entries.append(_linear(program, frac_bits, changes))
    pool = getattr(spec, "pool", None)
    if pool == "max":
        size, stride = spec.pool_window  # type: ignore[union-attr]
        config = {"name": f"{name}/maxpool", "pool_size": list(size), "strides": list(stride),
                  "padding": spec.padding, "data_format": "channels_last"}  # type: ignore[union-attr]  # fmt: skip
        entries.append(("QuantizedMaxPool2D", config, {}))
    elif pool == "global_average":
        keep = following is not None and following.spec.kind != "dense"
        config = {"name": f"{name}/global_avg", "keepdims": keep, "data_format": "channels_last",
                  "quant_config": {"buffer_bitwidth": 32}}  # fmt: skip
        entries.append(("QuantizedGlobalAveragePooling2D", config, {}))
    if spec.activation:
        quantizer = {"bitwidth": spec.act_bits, "signed": False, "axis": "per-tensor",
                     "buffer_bitwidth": 32}  # fmt: skip
        both = {"output_quantizer": quantizer, "buffer_bitwidth": 32}
        config = {"name": f"{name}/relu", "max_value": 1.0, "quant_config": both}
        weights = {"output_quantizer/range_max": np.asarray(1 - 2.0**-spec.act_bits),
                   "output_quantizer/rescaling_rate": np.asarray(1.0)}  # fmt: skip
        entries.append(("QuantizedReLU", config, weights))
    return entries


def _linear(program: LayerProgram, frac_bits: int, changes: list[str]) -> Entry:
    spec, name = program.spec, str(program.spec.name)
    pooled = spec.pooled(program.in_shape)
    kernels, stretch = _stretch(program, changes)
    fraction = 2**program.registers.step_fraction_bits
    idle, threshold, raw = _settled(program, pooled)
    stretch = np.where(idle, 1.0, stretch)
    if spec.activation:
        full = raw / fraction * 2.0 ** (4 - spec.act_bits) * stretch
        scale, full = _scales(
            full, frac_bits - spec.act_bits, fraction * 2.0 ** (spec.act_bits - 4)
        )
        wanted = np.where(idle, -threshold, np.ceil(full / 2) - 1 - threshold * stretch) / pooled
        given = full / stretch * 2.0 ** (spec.act_bits - 4)
        _compare(changes, "step", raw / fraction, np.where(idle, raw / fraction, given))
    else:
        scale = 2.0**frac_bits / (raw / fraction + 1 / (2 * fraction)) / stretch
        wanted = -threshold * stretch / pooled
    bias = _biases(wanted)
    _compare(changes, "threshold", threshold, threshold + (wanted - bias) * pooled / stretch)
    scale = scale * pooled
    weights = _real_weights(program, kernels, scale)
    weights["bias"] = bias * scale * 2.0**-frac_bits
    return (*_config(program, changes, name), weights)


def _settled(program: LayerProgram, pooled: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return which filters have no weights, thresholds and raw steps.

    Theirs are chosen anew, in the middle of a level, which 8 bits of bias then hold exactly.
    """
    fraction = 2**program.registers.step_fraction_bits
    raw = np.asarray(program.raw_step, np.float64)
    threshold = np.asarray(program.threshold, np.float64)
    kernels = {key: np.asarray(kernel) for key, kernel in program.kernels.items()}
    idle = without_weights(kernels["kernel"], kernels.get("pointwise"))
    values = -threshold / (raw / fraction)
    if program.spec.activation:
        bits = program.spec.act_bits
        levels = np.clip(np.ceil(values / 2.0 ** (4 - bits)), 0, 2**bits - 1)
        chosen, step = (8 * pooled * part for part in constant_registers(levels, act_bits=bits))
    else:
        chosen, step = constant_registers(values, act_bits=None)
    return idle, np.where(idle, chosen, threshold), np.where(idle, step * fraction, raw)


def _stretch(program: LayerProgram, changes: list[str]) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return the levels that quantizeml will hold, and by how much each filter grows."""
    limit = weight_limit(program.spec.weight_bits)
    kernels: dict[str, np.ndarray] = {}
    factor = np.ones(program.spec.neurons)
    rounded = False
    for key, kernel in program.kernels.items():
        levels = np.asarray(kernel, np.float64)
        depthwise = program.spec.kind == "separable" and key == "kernel"
        largest = np.abs(levels).max(None if depthwise else tuple(range(levels.ndim - 1)))
        grow = np.where(largest > 0, limit / np.maximum(largest, 1), 1.0)
        kernels[key] = np.round(levels * grow)
        rounded = rounded or bool((kernels[key] != levels * grow).any())
        factor = factor * grow
    if rounded:
        changes.append("weights of filters that do not reach the top level are stretched, rounded")
    elif (factor != 1).any():
        changes.append("weights of filters that do not reach the top level are stretched, exactly")
    return kernels, factor


def _scales(full: np.ndarray, exponent: int, fraction: float) -> tuple[np.ndarray, np.ndarray]:
    """Return ``q * 2**-h`` next to ``2**exponent / full``, and the step that it gives.

    Among the nearest three, one whose step the register truncates to the same value.
    """
    value = 2.0**exponent / full
    h = 8 - ceil_log2(value)
    h = h + (value * 2.0**h < 128.25)  # nearer to 255 / 2 than to 129
    nearest = np.clip(np.round(value * 2.0**h), 129, 255)
    best, least = nearest, np.full(len(full), np.inf)
    for offset in (0, -1, 1):
        q = np.clip(nearest + offset, 129, 255)
        step = 2.0 ** (exponent + h) / q
        away = (
            np.abs(np.floor(step * fraction + 1e-9) - np.round(full * fraction)) + abs(offset) / 4
        )
        best, least = np.where(away < least, q, best), np.minimum(away, least)
    return best * 2.0**-h, 2.0 ** (exponent + h) / best


def _biases(wanted: np.ndarray) -> np.ndarray:
    """Return integers ``L * 2**j`` next to the wanted ones, L of 8 bits."""
    whole = np.round(wanted)
    shift = np.maximum(ceil_log2(np.abs(whole)) - 7, 0.0)
    return np.clip(np.round(wanted / 2.0**shift), -128, 127) * 2.0**shift


def _compare(changes: list[str], what: str, held: np.ndarray, given: np.ndarray) -> None:
    away = np.abs(given - held).max()
    if away >= (1 / 16 if what == "step" else 0.5):
        changes.append(f"{what}: up to {away:.3g} away (of {np.abs(held).max():.6g})")


def _real_weights(
    program: LayerProgram, kernels: dict[str, np.ndarray], scale: np.ndarray
) -> dict[str, np.ndarray]:
    if program.spec.kind == "separable":
        depthwise = kernels["kernel"].transpose(0, 1, 3, 2)
        return {"depthwise_kernel": depthwise,
                "pointwise_kernel": (kernels["pointwise"] * scale)[None, None]}  # fmt: skip
    kernel = kernels["kernel"] * scale
    return {"kernel": kernel[0, 0] if program.spec.kind == "dense" else kernel}


def _config(program: LayerProgram, changes: list[str], name: str) -> tuple[str, dict[str, Any]]:
    spec = program.spec
    buffer = {"buffer_bitwidth": _BUFFER_BITS[spec.kind]}
    one = {"weight_quantizer": {"bitwidth": spec.weight_bits}, **buffer}
    common = {"name": name, "activation": "linear", "use_bias": True, "quant_config": one}
    if spec.kind == "dense":
        return "QuantizedDense", {**common, "units": spec.neurons}
    size, stride = spec.kernel_size, spec.stride  # type: ignore[union-attr]
    config = {**common, "filters": spec.neurons, "kernel_size": [size, size],
              "strides": [stride, stride], "padding": spec.padding,  # type: ignore[union-attr]
              "dilation_rate": [1, 1], "data_format": "channels_last"}  # fmt: skip
    if spec.kind == "separable":
        config["quant_config"] = {
            "dw_weight_quantizer": {"bitwidth": spec.weight_bits, "axis": None},
            "pw_weight_quantizer": {"bitwidth": spec.weight_bits}, **buffer,
        }  # fmt: skip
        return "QuantizedSeparableConv2D", {**config, "depth_multiplier": 1}
    if isinstance(spec, InputConvolutional) and spec.padding == "same" and spec.padding_value:
        value = float(spec.padding_value)
        held = align(np.full(1, value, np.float32), np.ones(1, np.float32), 0, spec.weight_bits - 1)
        if held[0] != value:
            changes.append(f"padding is level {int(held[0])}, not {spec.padding_value}")
        config |= {"padding_value": [value], "padding": "valid"}
    return "QuantizedConv2D", config


def _write(target: Path, model: Model, entries: list[Entry]) -> None:
    """Write the file under a temporary name and rename it."""
    image = isinstance(model.layers[0], InputConvolutional)
    first = {"batch_input_shape": [None, *model.input_shape], "name": "input", "sparse": False,
             "dtype": "uint8" if image else "int8", "ragged": False}  # fmt: skip
    layers: list[dict[str, Any]] = [
        {"class_name": "InputLayer", "config": first, "name": "input", "inbound_nodes": []}
    ]
    for kind, config, _ in entries:
        layers.append({
            "class_name": f"Custom>{kind}", "name": config["name"],
            "config": {"trainable": True, "dtype": "float32", **config},
            "inbound_nodes": [[[layers[-1]["name"], 0, 0, {}]]],
        })  # fmt: skip
    config = {"name": "model", "trainable": True, "layers": layers,
              "input_layers": [["input", 0, 0]],
              "output_layers": [[layers[-1]["name"], 0, 0]]}  # fmt: skip
    with replace_file(target) as stream, h5py.File(stream, "w") as file:
        _fill(file, {"class_name": "Functional", "config": config}, entries)


def _fill(file: h5py.File, config: dict[str, Any], entries: list[Entry]) -> None:
    file.attrs["model_config"] = json.dumps(config)
    group = file.create_group("model_weights")
    for place in (file, group):
        place.attrs["keras_version"] = _KERAS_VERSION
        place.attrs["backend"] = "tensorflow"
    names = ["input", *(settings["name"] for _, settings, _ in entries)]
    group.attrs["layer_names"] = [name.encode() for name in names]
    for name in names:
        group.require_group(name).attrs["weight_names"] = np.array([], "S1")
    for _, settings, weights in entries:
        name = settings["name"]
        paths = [f"{name}/{key}:0" for key in weights]
        group[name].attrs["weight_names"] = np.array([p.encode() for p in paths] or [], "S")
        for path, value in zip(paths, weights.values(), strict=True):
            group[name][path] = np.asarray(value, np.float32)
