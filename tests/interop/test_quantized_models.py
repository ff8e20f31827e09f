"""Quantized Keras models become integer models, by formulas that reproduce Keras' own outputs."""

import shutil

import h5py
import numpy as np
import pytest

import akida_jax as aj
from tests.interop.exact import by_thresholds, half_up, read_exact, run_layers

CNN2SNN = ("akidanet_025_64_iq8_wq4_aq4", "convtiny_dvs_iq4_wq4_aq4", "ds_cnn_iq8_wq4_aq4",
           "gxnor_iq2_wq2_aq1", "mobilenet_025_64_iq8_wq4_aq4")  # fmt: skip
QUANTIZEML = ("akidanet_025_64", "ds_cnn", "mobilenet_025_64")
MODELS = [f"cnn2snn_{name}" for name in CNN2SNN] + [f"quantizeml_{name}" for name in QUANTIZEML]


def rule(name):
    return half_up if name.startswith("quantizeml") else by_thresholds


@pytest.mark.parametrize("name", MODELS)
def test_untruncated_outputs_equal_keras_own(data_dir, name):
    """Levels and potentials are integers: only the last layer's logits are rounded.

    Keras' float32 logits: a sum of n products of levels and quantized weights, each of them
    rounded once or twice, so within ``(n + 4) U sum |level| |w|``, plus the bias.
    """
    exact = read_exact(data_dir / "keras" / f"{name}.h5")
    given = np.load(data_dir / "keras" / f"{name}.npz")
    *_, before, (layer, potentials, logits) = run_layers(exact, given["x"], rule(name))
    most = 2 ** before[0].spec.act_bits - 1
    n = layer.kernels["kernel"].shape[2]
    inputs = most * np.abs(layer.kernels["kernel"]).sum((0, 1, 2))
    size = ((inputs + np.abs(layer.threshold)) / layer.step).max()
    bound = (n + 4) * 2.0**-24 * size
    y = logits.reshape(len(logits), -1)
    if exact.walk.host == "softmax":
        y = np.exp(y) / np.exp(y).sum(-1, keepdims=True)
        bound = 2 * bound + 40 * 2.0**-24  # of values below 1
    assert bound < 5e-2 * np.abs(given["y"]).max()  # a bound that says something
    assert np.abs(y - given["y"]).max() <= bound
    assert (y.argmax(-1) == given["y"].argmax(-1)).all()
    assert potentials.shape[1:3] == (1, 1)


@pytest.mark.parametrize(
    ("layer", "key"),
    [("conv_0", "kernel"), ("separable_4", "pointwise_kernel"), ("dense_5", "kernel")],
)
def test_a_pruned_filter(data_dir, tmp_path, layer, key):
    """The other filters of its layer keep threshold and step."""
    source = data_dir / "keras" / "quantizeml_ds_cnn.h5"
    shutil.copy(source, tmp_path / "m.h5")
    with h5py.File(tmp_path / "m.h5", "a") as file:
        group = file["model_weights"][layer]
        (name,) = (n for n in _names(group) if n.split("/")[-1] == f"{key}:0")
        values = group[name][...]
        values[..., 1] = 0
        group[name][...] = values
    found = aj.interop.from_keras(tmp_path / "m.h5")
    before = aj.interop.from_keras(source).model
    assert str(found.report).count("no weights in filters 1") == 1
    changed = 0
    for program, other in zip(found.model.programs, before.programs, strict=True):
        same = np.asarray(program.threshold) == np.asarray(other.threshold)
        same = same & (np.asarray(program.raw_step) == np.asarray(other.raw_step))
        changed += int((~same).sum())
        assert same[np.arange(len(same)) != 1].all()
    assert changed == 1


def _names(group):
    found = []
    group.visit(found.append)
    return found


@pytest.mark.parametrize("name", MODELS)
def test_registers_change_a_level_only_next_to_an_edge(data_dir, name):
    """Layer by layer on Keras' own levels, integers differ by 1, and only where they may.

    The register holds T rounded down, less than 1 below, and S truncated, less than 1/16 below:
    of S * 2**(4 - bits), the distance of two edges, less than 2**-bits. So the edge between levels
    m - 1 and m moves down by less than ``1 + (m - 1) * 2**-bits``, and a level differs only
    where a potential lies within that of an edge: it is then one more.
    """
    exact = read_exact(data_dir / "keras" / f"{name}.h5")
    model = aj.interop.from_keras(data_dir / "keras" / f"{name}.h5").model
    given = np.load(data_dir / "keras" / f"{name}.npz")
    changed = values = 0
    for (layer, p, levels), program in zip(
        run_layers(exact, given["x"][:2], rule(name)), model.programs, strict=True
    ):
        if not layer.spec.activation:
            continue
        found = np.asarray(program.fire(p.astype(np.int32)))
        bits = layer.spec.act_bits
        full = layer.step * 2.0 ** (4 - bits)
        edge = layer.threshold + levels * full  # between this level and the next
        gap = 1 + levels * 2.0**-bits
        may = (p > edge - gap) & (levels < 2**bits - 1)
        assert set(np.unique(found - levels)) <= {0, 1}
        assert not ((found != levels) & ~may).any()
        changed += int((found != levels).sum())
        values += levels.size
    assert values > 1000
    assert changed < values / 4
