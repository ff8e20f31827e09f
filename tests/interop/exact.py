"""Run an imported integer model with real thresholds and steps: nothing truncated."""

import jax.numpy as jnp
import numpy as np

from akida_jax.interop.cnn2snn import Cnn2Snn
from akida_jax.interop.integer_models import exact_layers
from akida_jax.interop.keras_files import read_chain
from akida_jax.interop.quantizeml import QuantizeMl


def read_exact(path, **options):
    """Return the `ExactModel` of a file."""
    chain = read_chain(path)
    package = QuantizeMl() if any(x.package == "quantizeml" for x in chain.layers) else Cnn2Snn()
    return exact_layers(chain, package, **{"scaling": None, "input_bits": None} | options)


def run_layers(exact, x, fire):
    """Yield each layer, its potentials and its levels; the last layer's are logits.

    ``fire(layer, potentials)`` returns the levels of float64 potentials.
    """
    x = np.asarray(x)
    for layer in exact.layers:
        kernels = {k: jnp.asarray(v, jnp.float32) for k, v in layer.kernels.items()}
        p = layer.spec.linear(jnp.asarray(x, jnp.float32), kernels)
        assert float(jnp.abs(p).max()) < 2**24  # float32 holds the integers
        p = np.asarray(layer.spec.max_pool(p), np.float64)
        if getattr(layer.spec, "pool", None) == "global_average":
            p = p.sum((1, 2), keepdims=True)
        x = fire(layer, p) if layer.spec.activation else (p - layer.threshold) / layer.step
        yield layer, p, x


def by_thresholds(layer, p):
    """Levels of cnn2snn: ceil((p - T) / S), with real T and S."""
    bits = layer.spec.act_bits
    quotient = (p - layer.threshold) / (layer.step * 2.0 ** (4 - bits))
    return np.clip(np.ceil(quotient), 0, 2**bits - 1)


def half_up(layer, p):
    """Levels of quantizeml: half of a level is rounded up.

    Its T is ceil(s / 2) - 1 - n B: undone here, so that P = p + n B comes back.
    """
    bits = layer.spec.act_bits
    full = layer.step * 2.0 ** (4 - bits)
    whole = p - layer.threshold + np.ceil(full / 2) - 1
    return np.clip(np.floor(whole / full + 0.5), 0, 2**bits - 1)
