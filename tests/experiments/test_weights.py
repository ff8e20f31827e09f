import jax
import numpy as np
import pytest
from flax import nnx

from experiments.training.weights import load_weights, save_weights
from tests.experiments import tiny_run


def leaves(network):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(nnx.state(network))]


def test_weights_come_back(tmp_path):
    network = tiny_run.make_network()
    network.layers[0].kernel[...] += 1
    path = tmp_path / "new" / "float.npz"
    save_weights(network, path)
    loaded = load_weights(tiny_run.make_network(), path)
    for found, wanted in zip(leaves(loaded), leaves(network), strict=True):
        np.testing.assert_array_equal(found, wanted, strict=True)
    assert [file.name for file in path.parent.iterdir()] == ["float.npz"]


def test_weights_of_another_network_are_refused(tmp_path):
    save_weights(tiny_run.make_network(filters=5), tmp_path / "float.npz")
    with pytest.raises(ValueError, match=r"float\.npz: weights of another network"):
        load_weights(tiny_run.make_network(), tmp_path / "float.npz")
