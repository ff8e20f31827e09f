"""What an export takes: worked by hand, and refused where it is too much."""

import dataclasses

import numpy as np
import pytest

import akida_jax as aj
from akida_jax.export.c_code.layers import largest_sum, make_tables
from tests.learning.samples import backbone, make
from tests.samples import random_variables, small_model


@pytest.fixture
def model(rng):
    return small_model(rng)


def test_bytes_worked_by_hand(model, tmp_path):
    report = aj.export.to_c(model, tmp_path / "a")
    assert [(row.name, row.weight_bytes, row.other_bytes) for row in report.layers] == [
        ("conv_0", 27 * 4, 4 * 8),  # 8 bits: a byte each
        ("conv_1", 36 * 3, 6 * 8),  # 4 bits, 6 filters: three bytes for a tap and channel
        ("separable_2", 9 * 2 + 6 * 2, 5 * 8),  # 2 bits: two bytes for 6 channels, for 5 filters
        ("conv_3", 5 * 4, 7 * 8),  # 7 filters of 4 bits: four bytes
        ("dense_4", 7 * 2, 3 * 8),  # thresholds and steps of the potentials
    ]
    assert report.flash_bytes == 108 + 32 + 108 + 48 + 30 + 40 + 20 + 56 + 14 + 24
    # Maps: 5x4x4 = 80, pooled 3x2x6 = 36, 3x2x5 = 30 filled up to 32, 7 to 8.
    assert dict(report.buffers) == {
        "sums": 4 * 8,  # 5 and 7 filters fill whole bytes of codes: 8
        "totals": 4 * 7,
        "depthwise_sums": 2 * 6,
        "patch": 9 * 6 + 2,
        "levels_0": 80,
        "levels_1": 36,
    }
    assert report.ram_bytes == 32 + 28 + 12 + 56 + 80 + 36


def test_unpacked_weights_take_a_byte_each(model, tmp_path):
    report = aj.export.to_c(model, tmp_path / "a", packed=False)
    weights = [row.weight_bytes for row in report.layers]
    assert weights == [27 * 4, 36 * 6, 9 * 6 + 6 * 5, 5 * 7, 7 * 3]
    assert report.buffers["sums"] == 4 * 7


def test_the_header_says_the_same(model, tmp_path):
    report = aj.export.to_c(model, tmp_path / "a")
    header = (tmp_path / "a" / "model.h").read_text()
    assert f"#define MODEL_FLASH_BYTES {report.flash_bytes}\n" in header
    assert f"#define MODEL_RAM_BYTES {report.ram_bytes}\n" in header
    for name, size in report.buffers.items():
        assert f"#define MODEL_{name.upper()}_BYTES {size}\n" in header
    assert str(report).split("\nfiles:")[0] in (tmp_path / "a" / "README.md").read_text()


def test_a_learner_takes_memory(tmp_path):
    report = aj.export.to_c(backbone(), tmp_path / "a", learner=make(), extra_classes=1)
    # Two numbers, 8 neurons of 12 bytes and two words of weights, 4 sets of two words.
    assert report.buffers["learner"] == 8 + 8 * (12 + 8) + 4 * 8
    assert report.learning_flash_bytes == 0
    assert report.buffers["levels_0"] == 60  # the last layer's levels stay
    header = (tmp_path / "a" / "model.h").read_text()
    assert f"#define MODEL_RAM_BYTES {report.ram_bytes}\n" in header


def test_the_report_reads_well(model, tmp_path, golden):
    report = aj.export.to_c(model, tmp_path / "a")
    golden("export_c.txt", str(dataclasses.replace(report, folder="a")))
    with pytest.raises(dataclasses.FrozenInstanceError):
        report.name = "other"


def test_limits_are_refused_with_layer_and_value(model, tmp_path):
    target = tmp_path / "a"
    report = aj.export.to_c(model, target, ram_limit=244, flash_limit=480)
    assert (report.ram_bytes, report.flash_bytes) == (244, 480)
    with pytest.raises(aj.ModelError) as problem:
        aj.export.to_c(model, tmp_path / "b", ram_limit=243, flash_limit=479)
    ram, flash = problem.value.faults
    assert ram.layer == "conv_0"
    assert "takes 244 bytes, the limit is 243; most of it is levels_0, 80" in str(ram)
    assert flash.layer == "conv_1"
    assert "take 480 bytes, the limit is 479; most of it are this layer's, 156" in str(flash)
    assert not (tmp_path / "b").exists()


def test_a_learner_may_be_what_takes_most(tmp_path):
    learner = make(num_classes=50)
    with pytest.raises(aj.ModelError, match=r"layer 'learner': the static memory takes 2,\d+ "):
        aj.export.to_c(backbone(), tmp_path / "a", learner=learner, ram_limit=1000)


def test_a_learned_layer_is_a_layer_like_others(rng, tmp_path):
    learner = make()
    learner.fit(np.ones((1, 60), np.uint8), 0)
    model = learner.attach(backbone())
    with pytest.raises(aj.ModelError, match=r"layer 'learned'.*this layer's, 108;"):
        # 60 rows of six bits, a byte each, thresholds and steps of six neurons.
        aj.export.to_c(model, tmp_path / "a", flash_limit=100)


def test_the_bound_of_a_convolution(rng):
    """Sums as the runtime adds them: codes first, then the offset."""
    layers = [
        aj.InputData(input_shape=(3, 3, 2)),
        aj.Convolutional(filters=3, kernel_size=3, activation=False, name="a"),
    ]
    model = aj.Model(layers)
    model = model.with_variables(random_variables(rng, model))
    program = model.programs[0]
    codes = program.kernels["kernel"].reshape(18, 3).astype(int) + 8
    # The highest level everywhere: 15 times a filter's codes, and 8 times all levels.
    assert largest_sum(program, 8) == max(15 * codes.sum(0).max(), 8 * 15 * 18)


def test_the_widest_layers_stay_within_int32():
    def largest(spec, shape, bits=4):
        first = [] if isinstance(spec, aj.InputConvolutional) else [
            aj.InputData(input_shape=shape, input_bits=bits)
        ]  # fmt: skip
        model = aj.Model([*first, spec])
        highest = 2 ** (spec.weight_bits - 1) - 1
        blank = model.variables[model.layers[-1].name]
        kernels = {key: np.full_like(blank[key], highest) for key in ("kernel", "pointwise")
                   if key in blank}  # fmt: skip
        model = model.with_variables({model.layers[-1].name: kernels})
        (table,) = make_tables(model.programs, packed=True)
        return table.largest_sum

    found = [
        largest(aj.SeparableConvolutional(filters=1, kernel_size=7, activation=False),
                (8, 8, 2048)),
        largest(aj.Convolutional(filters=1, kernel_size=7, activation=False), (8, 8, 2048)),
        largest(aj.FullyConnected(units=1, activation=False), (1, 1, 57334)),
        largest(aj.InputConvolutional(input_shape=(8, 8, 3), filters=1, kernel_size=7,
                                      activation=False), None),
    ]  # fmt: skip
    # Levels times codes: 49 * 15 * 7 between the kernels of the first.
    assert found == [49 * 15 * 7 * 2048 * 15, 49 * 2048 * 15 * 15, 57334 * 15 * 15,
                     147 * 255 * 255]  # fmt: skip
    assert max(found) < 2**31
    assert 49 * 15 * 7 < 2**15
