"""The layer that learns in C: after every sample the state of `EdgeLearner`, with `==`."""

import subprocess

import numpy as np
import pytest

import akida_jax as aj
from tests.export.c_code.programs import SANITIZED, STRICT, compiler
from tests.learning.samples import backbone, images, make

BAD_INPUT, BAD_LABEL, NO_SPIKES, NO_ROOM, BAD_STATE = -2, -3, -4, -5, -6

# Each command is two int32, what and an argument, and an input; the answer is an int32, the output,
# its class and the state.
_MAIN = """
#include <stdio.h>
#include "net.h"

int main(void)
{
    static uint8_t input[NET_INPUT_SIZE];
    static int32_t output[NET_OUTPUT_SIZE];
    static net_state state, saved;
    int32_t command[2], answer[2] = {0, 0};

    while (fread(command, sizeof command, 1, stdin) == 1) {
        if (fread(input, sizeof input, 1, stdin) != 1)
            return 1;
        switch (command[0]) {
        case 'l': answer[0] = net_learn(input, command[1]); break;
        case 'a': answer[0] = net_add_classes(command[1]); break;
        case 'r': answer[0] = net_run(input, output); break;
        case 'f': net_forget(); break;
        case 'g': net_get_state(&saved); break;
        case 's': answer[0] = net_set_state(&saved); break;
        case 'n': saved.n_neurons = (uint32_t)command[1]; break;
        default: return 2;
        }
        answer[1] = net_predict(output);
        net_get_state(&state);
        fwrite(answer, sizeof answer, 1, stdout);
        fwrite(output, sizeof output, 1, stdout);
        fwrite(&state, sizeof state, 1, stdout);
    }
    return 0;
}
"""


class Device:
    """A program that learns, fed with all commands at once."""

    def __init__(self, folder, model, learner, extra_classes=0):
        report = aj.export.to_c(
            model, folder / "net", name="net", learner=learner, extra_classes=extra_classes
        )
        self.report, self.shape = report, model.input_shape
        self.neurons = (learner.num_classes + extra_classes) * learner.settings.neurons_per_class
        self.words = -(-int(np.prod(model.output_shape)) // 32)
        main = folder / "main.c"
        main.write_text(_MAIN)
        sources = [folder / "net" / file for file in report.files
                   if file.endswith(".c") and file != "main.c"]  # fmt: skip
        self.program = folder / "program"
        command = [compiler("gcc"), *STRICT, *SANITIZED, f"-I{folder / 'net'}", main, *sources]
        done = subprocess.run([*command, "-o", self.program], capture_output=True, text=True,
                              check=False)  # fmt: skip
        assert done.returncode == 0, done.stderr

    def __call__(self, *commands):
        """Return answer, class, output and state after each of (letter, number, input)."""
        blank = np.zeros(self.shape, np.uint8)
        fed = b"".join(
            np.array([ord(letter), number], np.int32).tobytes()
            + (blank if x is None else x).tobytes()
            for letter, number, x in commands
        )
        done = subprocess.run([self.program], input=fed, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()
        n = self.neurons
        rows = np.frombuffer(done.stdout, np.uint32).reshape(len(commands), -1)
        ends = np.cumsum([1, 1, n, 1, 3 * n])
        return [np.split(row, ends) for row in rows]


def signed(values):
    return values.view(np.int32)


def assert_state(row, learner):
    """Compare what a program answered with the learner's state; the rest of its room is 0."""
    _, _, _, count, neurons, weights = row
    state, n = learner.state, len(learner.state.plasticity)
    assert count[0] == n
    table = neurons.reshape(-1, 3)
    expected = [np.asarray(v).astype(np.uint32)
                for v in (state.plasticity, state.learned, state.threshold)]  # fmt: skip
    np.testing.assert_array_equal(table[:n], np.stack(expected, 1))
    rows = weights.reshape(len(table), -1)
    np.testing.assert_array_equal(rows[:n], np.asarray(state.weights))
    assert not table[n:].any()
    assert not rows[n:].any()


SETTINGS = {
    "default": {},
    "a neuron per class": {"neurons_per_class": 1, "num_classes": 2},
    "many neurons": {"neurons_per_class": 7, "num_classes": 2, "num_weights": 11},
    "competition": {"learning_competition": 0.3, "neurons_per_class": 3},
    "no floor": {"min_plasticity": 0.0, "plasticity_decay": 0.4, "neurons_per_class": 3},
    "slow": {"initial_plasticity": 0.37, "plasticity_decay": 0.1, "seed": 2**32 - 1},
    "all weights": {"num_weights": 60},
}
_SLOW = ("a neuron per class", "slow", "all weights")


@pytest.mark.filterwarnings("ignore:num_weights 60 is more than half")
@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] if name in _SLOW else []) for name in SETTINGS],
)
def test_the_state_after_every_sample_is_the_same(name, rng, tmp_path):
    model, learner = backbone(), make(**SETTINGS[name])
    device = Device(tmp_path, model, learner, extra_classes=1)
    x = images(rng, 36)
    spikes = model.forward(x)
    labels = rng.integers(-1, learner.num_classes, len(x))
    found = device(*(("l", label, image) for image, label in zip(x, labels, strict=True)))
    learned = 0
    for row, sample, label in zip(found, spikes, labels, strict=True):
        (winner,) = learner.fit(sample[None], None if label < 0 else int(label))
        assert signed(row[0])[0] == winner
        assert_state(row, learner)
        learned += winner >= 0
    assert learned > 3
    if name == "no floor":
        assert learned < len(x), "no neuron ran out of plasticity"


def test_potentials_and_classes_are_those_of_the_learner(rng, tmp_path):
    model, learner = backbone(), make()
    device = Device(tmp_path, model, learner)
    x = images(rng, 12)
    silent = np.zeros_like(x[:1])
    labels = np.arange(8) % 2  # class 2 learns nothing
    asked = np.concatenate([x, silent])
    found = device(
        ("r", 0, x[0]),
        *(("l", label, image) for image, label in zip(x[:8], labels, strict=True)),
        *(("r", 0, image) for image in asked),
    )
    first, found = found[0], found[9:]
    assert not first[2].any()
    assert signed(first[1])[0] == -1
    learner.fit(model.forward(x[:8]), labels)
    spikes = model.forward(asked)
    expected = learner.predict(spikes)
    assert expected[:, :4].any(1)[:8].all()
    np.testing.assert_array_equal([signed(row[2]) for row in found], expected)
    classes = [signed(row[1])[0] for row in found]
    np.testing.assert_array_equal(classes, learner.predict_classes(spikes))


def test_an_export_goes_on_from_what_was_learned(rng, tmp_path):
    model, learner = backbone(), make()
    x = images(rng, 20)
    spikes = model.forward(x)
    labels = np.arange(20) % 3
    learner.fit(spikes[:10], labels[:10])
    device = Device(tmp_path, model, learner, extra_classes=2)
    assert device.report.learning_flash_bytes == 6 * 12 + 6 * 2 * 4
    learn = [("l", label, image) for image, label in zip(x[10:], labels[10:], strict=True)]
    found = device(("r", 0, x[0]), *learn, ("f", 0, None))
    np.testing.assert_array_equal(signed(found[0][2])[:6], learner.predict(spikes[:1])[0])
    assert_state(found[0], learner)
    assert_state(found[-1], learner)  # forgot what it has learned since
    learner.fit(spikes[10:], labels[10:])
    assert_state(found[-2], learner)


@pytest.mark.parametrize("begun", [False, True])
def test_classes_are_added_as_the_learner_adds_them(begun, rng, tmp_path):
    model, learner = backbone(), make()
    x = images(rng, 16)
    spikes = model.forward(x)
    if begun:
        learner.fit(spikes[:6], np.arange(6) % 3)
    device = Device(tmp_path, model, learner, extra_classes=3)
    rows = device(
        ("l", 0, x[6]), ("a", 2, None), ("l", 4, x[7]), ("l", 5, x[7]), ("a", 2, None),
        ("a", 0, None), ("a", 1, None), ("l", 5, x[8]), ("l", -1, x[9]),
    )  # fmt: skip
    answers = [signed(row[0])[0] for row in rows]
    assert answers[1] == 3
    assert answers[3:7] == [BAD_LABEL, NO_ROOM, NO_ROOM, 5]
    learner.fit(spikes[6:7], 0)
    learner.add_classes(2)
    learner.fit(spikes[7:8], 4)
    assert_state(rows[2], learner)
    assert_state(rows[5], learner)
    learner.add_classes(1)
    assert_state(rows[6], learner)
    learner.fit(spikes[8:9], 5)
    learner.fit(spikes[9:10])
    assert_state(rows[8], learner)


def test_a_state_is_kept_and_put_back(rng, tmp_path):
    model, learner = backbone(), make()
    x = images(rng, 8)
    learn = [("l", i % 3, image) for i, image in enumerate(x)]
    device = Device(tmp_path, model, learner)
    rows = device(*learn[:4], ("g", 0, None), *learn[4:], ("s", 0, None), *learn[4:])
    np.testing.assert_array_equal(np.concatenate(rows[9][3:]), np.concatenate(rows[4][3:]))
    for first, again in zip(rows[5:9], rows[10:], strict=True):
        np.testing.assert_array_equal(np.concatenate(first), np.concatenate(again))
    assert not np.array_equal(rows[8][5], rows[4][5])
    rows = device(*learn, ("n", 5, None), ("s", 0, None), ("n", 8, None), ("s", 0, None))
    assert [signed(rows[i][0])[0] for i in (9, 11)] == [BAD_STATE, BAD_STATE]  # 6 in pairs
    np.testing.assert_array_equal(np.concatenate(rows[11][3:]), np.concatenate(rows[7][3:]))


def test_what_cannot_be_learned_changes_nothing(rng, tmp_path):
    kernel = np.ones((3, 3, 2, 5), np.int8)
    model = backbone().with_variables({"spikes": {"kernel": kernel}})  # 0 stays silent
    learner = make()
    device = Device(tmp_path, model, learner)
    x = images(rng, 1)[0]
    rows = device(
        ("l", 1, x), ("l", 3, x), ("l", -2, x), ("l", 1, x + np.uint8(16)), ("l", 1, x * 0),
        ("r", 0, x + np.uint8(16)),
    )  # fmt: skip
    answers = [signed(row[0])[0] for row in rows]
    assert answers[1:] == [BAD_LABEL, BAD_LABEL, BAD_INPUT, NO_SPIKES, 2]
    for row in rows[1:]:
        np.testing.assert_array_equal(np.concatenate(row[3:]), np.concatenate(rows[0][3:]))


def test_a_learner_that_does_not_fit_is_refused(rng, tmp_path):
    def refused(model, learner, message, **options):
        with pytest.raises(ValueError, match=message):
            aj.export.to_c(model, tmp_path / "x", learner=learner, **options)
        assert not list(tmp_path.iterdir())

    model, learner = backbone(), make()
    refused(backbone(act_bits=2), learner, "layer 'spikes': the learned layer needs 1-bit")
    refused(backbone(activation=False), learner, "got potentials")
    refused(model, make(num_weights=61), "num_weights 61 exceeds the 60 inputs")
    learner = make(num_weights=10)
    learner.fit(np.ones((1, 30), np.uint8), 0)
    refused(model, learner, "differs from the samples learned")
    refused(model, make(), "extra_classes must be a whole number from 0, got -1", extra_classes=-1)
    refused(model, None, "extra_classes 2 without a learner", extra_classes=2)
