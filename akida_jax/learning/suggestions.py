"""How many weights a neuron should have."""

import warnings

import numpy as np

from akida_jax.model import Inputs, Model

SURPLUS = 1.2
"""Weights of a neuron over the mean number of active inputs. Source: the vendor's public
guide to edge learning."""


def num_weights_for(active: float, n_inputs: int, *, surplus: float = SURPLUS) -> int:
    """Return so many times the active inputs, at least 1, at most half of the inputs.

    Args:
      active: inputs that are active in a sample, on average.
      n_inputs: of a sample.
      surplus: how many times; the product is rounded to nearest.
    """
    return max(1, min(round(surplus * active), n_inputs // 2))


def suggest_num_weights(model: Model, x: Inputs) -> int:
    """Return 1.2 times the mean number of active outputs, at least 1, at most half of them.

    A warning says so where half of the outputs is less.

    Args:
      model: whose last layer has 1-bit activations.
      x: inputs, as many kinds as will be learned.

    Raises:
      ValueError: if there is no input, or the outputs are not 0 and 1, or all are 0.
    """
    if not len(x):
        raise ValueError("suggest_num_weights needs at least one input, got none")
    spikes = np.asarray(model.forward(x))
    layer = model.layers[-1].name
    if spikes.max(initial=0) > 1 or spikes.min(initial=0) < 0:
        raise ValueError(f"layer {layer!r}: its outputs are not 0 and 1; end the model with a "
                         "layer of 1-bit activations")  # fmt: skip
    mean = float(spikes.reshape(len(spikes), -1).sum(1).mean())
    if mean == 0:
        raise ValueError(f"layer {layer!r}: no output is active for any input; nothing can be "
                         "learned from it")  # fmt: skip
    n_outputs = spikes[0].size
    found = num_weights_for(mean, n_outputs)
    if found < round(SURPLUS * mean):
        warnings.warn(
            f"layer {layer!r}: {SURPLUS} times its {mean:.1f} active outputs is more than half of "
            f"the {n_outputs}; suggested is that half, {found}",
            stacklevel=2,
        )
    return found
