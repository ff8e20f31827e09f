"""Write models as Keras 2 and Keras 3 write them to HDF5, without Keras.

A model is a list of (class name, configuration, weights by name); what is left out of a
configuration takes Keras' defaults.
"""

import json

import h5py
import numpy as np

DEFAULTS = {
    "Activation": {},
    "BatchNormalization": {"axis": [-1], "epsilon": 1e-3, "center": True, "scale": True},
    "Conv2D": {"strides": [1, 1], "padding": "valid", "activation": "linear", "use_bias": True,
               "dilation_rate": [1, 1], "groups": 1, "data_format": "channels_last"},
    "Dense": {"activation": "linear", "use_bias": True},
    "DepthwiseConv2D": {"strides": [1, 1], "padding": "valid", "activation": "linear",
                        "use_bias": True, "dilation_rate": [1, 1], "depth_multiplier": 1},
    "GlobalAveragePooling2D": {"keepdims": False, "data_format": "channels_last"},
    "MaxPooling2D": {"pool_size": [2, 2], "strides": None, "padding": "valid"},
    "ReLU": {"max_value": None, "negative_slope": 0.0, "threshold": 0.0},
    "Rescaling": {"offset": 0.0},
    "SeparableConv2D": {"strides": [1, 1], "padding": "valid", "activation": "linear",
                        "use_bias": True, "dilation_rate": [1, 1], "depth_multiplier": 1},
}  # fmt: skip


def complete(layers):
    """Return the layers with names and default configurations."""
    return [
        (kind, {"name": f"{kind.lower()}_{i}"} | DEFAULTS.get(kind, {}) | config, weights)
        for i, (kind, config, weights) in enumerate(layers)
    ]


def write_keras(path, layers, input_shape, *, version=2, functional=False):
    """Write a whole model; returns the layers as `complete` has them."""
    layers = complete(layers)
    shape = [None, *input_shape]
    first = {"name": "input", "batch_input_shape" if version == 2 else "batch_shape": shape}
    entries = [_entry("InputLayer", first, version)]
    entries += [_entry(kind, config, version) for kind, config, _ in layers]
    config = {"name": "model", "layers": entries}
    if functional:
        _connect(config, version)
    kind = "Functional" if functional else "Sequential"
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps({"class_name": kind, "config": config})
        file.attrs["keras_version"] = "2.15.0" if version == 2 else "3.8.0"
        file.attrs["backend"] = "tensorflow"
        weights = file.create_group("model_weights")
        for layer_kind, settings, arrays in layers:
            name = settings["name"]
            if version == 3 and layer_kind == "DepthwiseConv2D":  # renamed there
                arrays = {key.removeprefix("depthwise_"): v for key, v in arrays.items()}
            group = weights.require_group(name)
            ends = ":0" if version == 2 else ""
            names = [f"{name}/{key}{ends}" for key in arrays]
            group.attrs["weight_names"] = [n.encode() for n in names]
            for full, value in zip(names, arrays.values(), strict=True):
                group[full] = np.asarray(value, np.float32)
    return layers


def _entry(kind, config, version):
    entry = {"class_name": kind, "config": dict(config)}
    if version == 3:
        entry |= {"module": "keras.layers", "registered_name": None}
        if isinstance(config.get("activation"), str) and kind != "Activation":
            entry["config"]["activation"] = {
                "module": "builtins", "class_name": "function",
                "config": config["activation"], "registered_name": "function",
            }  # fmt: skip
    return entry


def _connect(config, version):
    before = None
    for entry in config["layers"]:
        name = entry["config"]["name"]
        entry["name"] = name
        if before is None:
            entry["inbound_nodes"] = []
        elif version == 2:
            entry["inbound_nodes"] = [[[before, 0, 0, {}]]]
        else:
            tensor = {"class_name": "__keras_tensor__",
                      "config": {"shape": [None], "dtype": "float32",
                                 "keras_history": [before, 0, 0]}}  # fmt: skip
            entry["inbound_nodes"] = [{"args": [tensor], "kwargs": {}}]
        before = name
    config["input_layers"] = [["input", 0, 0]]
    config["output_layers"] = [[before, 0, 0]]
