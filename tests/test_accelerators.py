"""Integers on an accelerator are those of the CPU; without one, its way is run on the CPU."""

import jax
import numpy as np
import pytest

import akida_jax as aj
from akida_jax import zoo
from akida_jax.executors import batches, dense, dense_potentials
from akida_jax.executors.half import EXACT_FLOAT16, half_potentials, patch_bytes
from tests.samples import execute, expect, random_inputs, random_variables, small_model

pytestmark = pytest.mark.compiled


def test_float16_holds_every_integer_that_it_is_given():
    integers = np.arange(-EXACT_FLOAT16, EXACT_FLOAT16 + 1)
    np.testing.assert_array_equal(integers.astype(np.float16).astype(int), integers)
    assert int(np.float16(EXACT_FLOAT16 + 1)) != EXACT_FLOAT16 + 1


@pytest.mark.parametrize("size", [3, 5, 7])
def test_separable_sums_beyond_float16_are_exact(size, rng):
    # 25 * 15 * 7 = 2625 and 49 * 15 * 7 = 5145 are beyond 2048, 9 * 15 * 7 = 945 is not.
    model = aj.Model([
        aj.InputData(input_shape=(6, 7, 5)),
        aj.SeparableConvolutional(filters=9, kernel_size=size, activation=False),
    ])  # fmt: skip
    name = model.layers[-1].name
    odd = rng.choice([5, 7], (size, size, 1, 5)).astype(np.int8)
    model = model.with_variables({**random_variables(rng, model)})
    model = model.with_variables({name: {"kernel": odd}})
    x = np.full((2, 6, 7, 5), 15, np.uint8)
    x[1, ::2] = 14
    np.testing.assert_array_equal(
        np.asarray(execute(model.programs, x, half_potentials)[1]), expect(model, x)[1]
    )


def test_off_the_cpu_products_are_of_float16(monkeypatch, rng):
    used = []
    monkeypatch.setattr(dense.jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(
        dense,
        "half_potentials",
        lambda program, x: used.append(program) or half_potentials(program, x),
    )
    model = small_model(rng)
    x = random_inputs(rng, model.input_shape, 255)
    np.testing.assert_array_equal(
        np.asarray(execute(model.programs, x, dense_potentials)[1]), expect(model, x)[1]
    )
    assert len(used) == len(model.programs)
    assert batches.piece_size(model.programs) == batches.ACCELERATOR_PIECE


def test_a_piece_on_an_accelerator_holds_the_patches_of_its_convolutions(monkeypatch):
    model = aj.Model([
        aj.InputConvolutional(input_shape=(224, 224, 3), filters=8, kernel_size=7, stride=2,
                              name="eye"),
        aj.Convolutional(filters=16, kernel_size=3, stride=2, name="strided"),
        aj.SeparableConvolutional(filters=24, kernel_size=3, name="separable"),
        aj.Convolutional(filters=8, kernel_size=1, name="pointwise"),
        aj.FullyConnected(units=10, activation=False, name="last"),
    ])  # fmt: skip
    found = [patch_bytes(program) for program in model.programs]
    # Two bytes for each place, tap and channel.
    assert found == [112 * 112 * 49 * 3 * 2, 56 * 56 * 9 * 8 * 2, 0, 56 * 56 * 24 * 2, 0]
    # 3,687,936 bytes where the largest map takes 4 * 224 * 224 * 3 = 602,112.
    monkeypatch.setattr(batches.jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(batches, "ACCELERATOR_BYTES", 9 * found[0])
    assert batches.piece_size(model.programs) == 8
    monkeypatch.setattr(batches, "ACCELERATOR_BYTES", 8 * found[0] - 1)
    assert batches.piece_size(model.programs) == 4
    monkeypatch.setattr(batches.jax, "default_backend", lambda: "cpu")
    monkeypatch.setattr(batches, "PIECE_BYTES", 16 * 602_112)
    assert batches.piece_size(model.programs) == 16


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["akida_tiny", "akidanet"])
def test_an_accelerator_gives_the_integers_of_the_cpu(name, rng):
    assert jax.default_backend() != "cpu", "no accelerator; leave out the marker gpu"
    options = {"alpha": 0.5, "classes": 10, "input_shape": (64, 64, 3)}
    model = zoo.blank_model(name, **(options if name == "akidanet" else {}))
    model = model.with_variables(random_variables(rng, model))
    x = random_inputs(rng, model.input_shape, 2**model.input_bits - 1)
    there = model.forward(x, "dense")
    with jax.default_device(jax.devices("cpu")[0]):
        np.testing.assert_array_equal(there, expect(model, x)[2].astype(there.dtype))
    np.testing.assert_array_equal(there, model.forward(x, "native"))
    np.testing.assert_array_equal(there, model.forward(x, "event"))
