"""Train, convert and run event-based 4-bit networks, bit for bit.

The runtime: layer specifications, the integer `Model`, its executors, conversion from
Flax, and files. Quantized training is `akida_jax.quant`, architectures and data sets are
`akida_jax.zoo`, event recordings `akida_jax.events`.
"""

from akida_jax import export, interop
from akida_jax.activity import Activity, LayerActivity
from akida_jax.convert import convert
from akida_jax.files import ModelFileError, load, save
from akida_jax.layers import (
    Convolutional,
    FullyConnected,
    InputConvolutional,
    InputData,
    SeparableConvolutional,
)
from akida_jax.learning import EdgeLearner, suggest_num_weights
from akida_jax.limits import Fault, ModelError
from akida_jax.model import Model

__all__ = [
    "Activity",
    "Convolutional",
    "EdgeLearner",
    "Fault",
    "FullyConnected",
    "InputConvolutional",
    "InputData",
    "LayerActivity",
    "Model",
    "ModelError",
    "ModelFileError",
    "SeparableConvolutional",
    "convert",
    "export",
    "interop",
    "load",
    "save",
    "suggest_num_weights",
]
