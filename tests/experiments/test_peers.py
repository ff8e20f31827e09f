"""The networks that other programs run are those of this project, in 8 bits where they say so."""

import importlib.metadata
import json

import numpy as np
import pytest

import akida_jax as aj
from benchmarks import timing
from benchmarks.peers import packages_of
from benchmarks.peers.steps import LEVELS, make_peer
from tests.samples import random_inputs, random_variables


def need(module):
    """Return a module of `benchmarks.peers`, or skip."""
    wants = {"onnx_runtime": "onnxruntime", "litert": "ai_edge_litert", "torch_eager": "torch"}
    pytest.importorskip(wants[module], reason=f"{wants[module]} is not installed (extra peers)")
    return pytest.importorskip(f"benchmarks.peers.{module}")


def whole_network(rng):
    """Return a network of steps 1: sums are levels, which 8 bits and floats hold exactly."""
    model = aj.Model([
        aj.InputConvolutional(input_shape=(9, 8, 3), filters=4, kernel_size=3, padding_value=7,
                              name="eye"),
        aj.Convolutional(filters=6, kernel_size=3, pool="max", name="pooled"),
        aj.Convolutional(filters=5, kernel_size=3, stride=2, name="strided"),
        aj.FullyConnected(units=4, activation=False, name="last"),
    ])  # fmt: skip
    return with_steps_of_one(rng, model)


def with_steps_of_one(rng, model):
    drawn = {}
    for name, layer in model.variables.items():
        kernel = rng.integers(-1, 2, layer["kernel"].shape).astype(np.int8)
        threshold = rng.integers(-3, 4, layer["threshold"].shape).astype(np.int32)
        drawn[name] = {"kernel": kernel, "threshold": threshold}
    return model.with_variables(drawn)


def calls(peer, x):
    """Return by name a way to make a call, and whether it holds 8 bits."""
    return {
        "onnx_runtime": lambda m: m.make_call(peer, x, quantized=False, threads=1),
        "onnx_runtime, int8": lambda m: m.make_call(peer, x, quantized=True, threads=1),
        "litert, int8": lambda m: m.make_call(peer, x, threads=1),
        "torch_eager": lambda m: m.make_call(peer, x, compiled=False, threads=1),
    }


PROGRAMS = ("onnx_runtime", "onnx_runtime, int8", "litert, int8", "torch_eager")


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("first", ["convolution", "classifier"])
def test_the_same_logits(program, first, rng):
    if first == "convolution":
        model, limit = whole_network(rng), 255
    else:
        model, limit = with_steps_of_one(rng, aj.Model([
            aj.InputData(input_shape=(3, 4, 5)), aj.FullyConnected(units=4, activation=False),
        ])), 15  # fmt: skip
    x = random_inputs(rng, model.input_shape, limit)
    peer = make_peer(model, x)
    expected = model.predict(x, "dense")
    found = calls(peer, x)[program](need(program.split(",")[0]))().reshape(expected.shape)
    last = peer.steps[-1]
    # Floats hold the integers. The last layer's 8 bits round to half a level of its range;
    # five roundings of float32 more, of values below 2**10.
    half = (last.high - last.low) / LEVELS / 2 + 5 * 2**-14 if "int8" in program else 0
    assert np.abs(expected).max() < 2**10
    assert np.abs(found - expected).max() <= half
    assert expected.std() > 2 * half


@pytest.fixture
def all_kinds(rng):
    """A network with every kind of step."""
    model = aj.Model([
        aj.InputConvolutional(input_shape=(16, 16, 3), filters=8, kernel_size=3, padding_value=7),
        aj.Convolutional(filters=8, kernel_size=3, pool="max"),
        aj.SeparableConvolutional(filters=12, kernel_size=3),
        aj.SeparableConvolutional(filters=8, kernel_size=3, pool="global_average"),
        aj.FullyConnected(units=6),
        aj.FullyConnected(units=4, activation=False),
    ])  # fmt: skip
    return model.with_variables(random_variables(rng, model))


def test_onnx_runtime_multiplies_integers_alone(all_kinds, rng):
    onnx_runtime = need("onnx_runtime")
    peer = make_peer(all_kinds, random_inputs(rng, all_kinds.input_shape, 255))
    content = onnx_runtime.make_file(peer, quantized=True)
    operators = onnx_runtime.optimized_operators(content)
    assert operators["QLinearConv"] == 6
    assert operators["QGemm"] == 2
    assert operators["QLinearGlobalAveragePool"] == 1
    assert operators["DequantizeLinear"] == 1  # the logits, of 8 bits in the network
    assert {"Conv", "FusedConv", "Gemm", "FusedGemm", "MatMul", "Relu", "Clip"}.isdisjoint(
        operators
    )


def test_litert_holds_no_floats(all_kinds, rng):
    litert = need("litert")
    x = random_inputs(rng, all_kinds.input_shape, 255)
    interpreter = litert.Interpreter(
        model_content=litert.make_file(make_peer(all_kinds, x), len(x))
    )
    interpreter.allocate_tensors()
    kinds = {tensor["dtype"] for tensor in interpreter.get_tensor_details()}
    assert kinds == {np.int8, np.int32}  # int32: biases, shapes and axes


@pytest.mark.parametrize("value", [0, 9])
def test_a_range_is_never_empty(value):
    model = aj.Model([
        aj.InputData(input_shape=(4, 4, 2)),
        aj.SeparableConvolutional(filters=3, kernel_size=3, pool="global_average"),
        aj.FullyConnected(units=2, activation=False, name="last"),
    ])  # fmt: skip
    model = model.with_variables({"last": {"threshold": np.full(2, -value, np.int32)}})
    steps = make_peer(model, np.zeros((2, 4, 4, 2), np.uint8)).steps
    for step in steps:
        assert step.low <= 0 < step.high
        assert 0 <= round(-step.low / (step.high - step.low) * LEVELS) <= LEVELS
    assert steps[1].inner > 0
    assert steps[-1].low < 0  # not to be clipped
    assert steps[-1].high == (value or 1)


def test_the_programs_that_ran_are_told(tmp_path, monkeypatch):
    monkeypatch.setattr(timing, "RESULTS", tmp_path)
    assert packages_of(["native", "dense, one core"]) == ()
    ways = ["LiteRT int8", "PyTorch float32", "torch.compile float32", "ONNX Runtime int8"]
    assert packages_of(ways) == ("ai-edge-litert", "onnx", "onnxruntime", "torch")
    own = json.loads(timing.write_result("own", [{"variants": {"native": {}}}]).read_text())
    assert not {"onnxruntime", "torch", "ai-edge-litert"} & own["versions"].keys()
    monkeypatch.setattr(importlib.metadata, "version", lambda name: f"version of {name}")
    for row in ({"variants": {"torch.compile": {}}}, {"way": "PyTorch"}):
        written = json.loads(timing.write_result("peers", [row]).read_text())
        assert written["versions"]["torch"] == "version of torch"
