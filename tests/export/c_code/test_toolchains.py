"""Compilers, build files and processors for which an export is made."""

import re
import subprocess

import numpy as np
import pytest

import akida_jax as aj
from akida_jax import zoo
from experiments.deploy import builds
from tests.export.c_code.programs import STRICT, Program, compiler
from tests.learning.samples import backbone, make
from tests.samples import expect, random_inputs, random_variables, small_model


@pytest.fixture
def model(rng):
    return small_model(rng)


@pytest.fixture
def exports(model, tmp_path):
    """Folders of a model with every type of layer, and of one that learns."""
    aj.export.to_c(model, tmp_path / "net", name="net")
    aj.export.to_c(backbone(), tmp_path / "pupil", name="pupil", learner=make(), extra_classes=1)
    return [tmp_path / "net", tmp_path / "pupil"]


def run(*command, cwd=None):
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("cc", "optimize", "skip"),
    [("gcc", "-Os", 0), ("gcc", "-O2", 1), ("clang", "-Os", 1), ("clang", "-O2", 0)],
)
def test_no_compiler_warns(cc, optimize, skip, exports, tmp_path):
    strict = [*STRICT, "-Wshadow", "-Wvla", "-Wstrict-prototypes", "-Wmissing-prototypes"]
    for folder in exports:
        for source in builds.sources(folder):
            run(compiler(cc), *strict, optimize, f"-DAKIDA_SKIP_ZEROS={skip}", "-c", source,
                "-o", tmp_path / "object")  # fmt: skip


@pytest.mark.parametrize("cc", ["gcc", "clang"])
def test_each_compiler_gives_the_same_integers(cc, model, rng, tmp_path):
    x = random_inputs(rng, model.input_shape, 255)
    program = Program(tmp_path, {"net": model}, flags=["-O2"], cc=cc)
    np.testing.assert_array_equal(program("net", x)[2], expect(model, x)[2].reshape(len(x), -1))


def test_headers_go_into_c_plus_plus(exports, tmp_path):
    source = tmp_path / "both.cc"
    source.write_text(
        '#include "net.h"\n#include "pupil.h"\n'
        "int main() { return net_run(nullptr, nullptr) != NET_NO_ARRAY; }\n"
    )
    objects = []
    for folder in exports:
        for file in builds.sources(folder):
            objects.append(tmp_path / f"{folder.name}-{file.stem}.o")
            run(compiler("gcc"), *STRICT, "-c", file, "-o", objects[-1])
    includes = [f"-I{folder}" for folder in exports]
    run(compiler("g++"), "-Wall", "-Werror", *includes, source, *objects, "-o", tmp_path / "both")
    run(tmp_path / "both")


def test_a_level_too_high_and_no_array_are_refused(tmp_path, rng):
    model = aj.Model([aj.InputData(input_shape=(1, 1, 4), input_bits=2),
                      aj.FullyConnected(units=2, activation=False)])  # fmt: skip
    program = Program(tmp_path, {"net": model}, flags=["-O1"])
    x = np.array([[0, 1, 2, 3], [0, 0, 0, 4], [3, 3, 3, 3]], np.uint8)
    codes, _, out = program("net", x)
    assert codes.tolist() == [0, 2, 0]
    assert not out.any()  # weights 0


def test_one_process_holds_several_models_side_by_side(rng, tmp_path):
    """Their memories are apart: calls in turns give what each gives alone."""
    models = {name: small_model(rng) for name in ("one", "two")}
    x = random_inputs(rng, (9, 8, 3), 255)
    for name, model in models.items():
        aj.export.to_c(model, tmp_path / name, name=name)
    main = tmp_path / "main.c"
    main.write_text("""
#include <stdio.h>
#include "one.h"
#include "two.h"
int main(void) {
    static uint8_t input[ONE_INPUT_SIZE];
    int32_t first[ONE_OUTPUT_SIZE], second[TWO_OUTPUT_SIZE];
    while (fread(input, 1, sizeof input, stdin) == sizeof input) {
        if (one_run(input, first) || two_run(input, second))
            return 1;
        fwrite(first, sizeof first, 1, stdout);
        fwrite(second, sizeof second, 1, stdout);
    }
    return 0;
}
""")
    sources = [path for name in models for path in builds.sources(tmp_path / name)]
    run(compiler("gcc"), *STRICT, *(f"-I{tmp_path / name}" for name in models), main, *sources,
        "-o", tmp_path / "program")  # fmt: skip
    done = subprocess.run(tmp_path / "program", input=x.tobytes(), capture_output=True, check=True)
    found = np.frombuffer(done.stdout, np.int32).reshape(len(x), 2, -1)
    expected = [model.forward(x).reshape(len(x), -1) for model in models.values()]
    np.testing.assert_array_equal(found, np.stack(expected, 1))


def test_the_source_has_integers_only(exports):
    for folder in exports:
        for path in [*folder.glob("*.c"), *folder.glob("*.h")]:
            code = re.sub(r"/\*.*?\*/", "", path.read_text(), flags=re.S)
            assert not re.search(r"\b(float|double|malloc|calloc|realloc|free)\b", code), path
            included = set(re.findall(r"#include <(.*)>", code))
            allowed = {"stddef.h", "stdint.h", "string.h"}
            assert included <= (allowed | {"stdio.h"} if path.name == "main.c" else allowed)


@pytest.mark.parametrize("tool", ["make", "cmake"])
def test_build_files_make_a_program_that_knows_its_sample(tool, model, rng, tmp_path):
    compiler("gcc"), compiler(tool)
    x = random_inputs(rng, model.input_shape, 255)
    folder = tmp_path / "net"
    aj.export.to_c(model, folder, name="net", sample=x[1])
    if tool == "make":
        run("make", "SKIP_ZEROS=1", "FLAGS=-Werror", cwd=folder)
        program = folder / "net_main"
    else:
        run("cmake", "-B", tmp_path / "build", "-DAKIDA_SKIP_ZEROS=ON", folder)
        run("cmake", "--build", tmp_path / "build")
        program = tmp_path / "build" / "net_main"
    expected = model.forward(x).reshape(len(x), -1)
    classes = model.predict_classes(x)
    first = " ".join(map(str, expected[1]))
    assert run(program) == f"{first}\nclass {classes[1]}\nas akida-jax computed\n"
    (tmp_path / "inputs").write_bytes(x.tobytes())
    found = run(program, tmp_path / "inputs").splitlines()
    np.testing.assert_array_equal(builds.read_outputs("\n".join(found)), expected)
    assert found[1::2] == [f"class {number}" for number in classes]


def test_a_main_program_says_what_is_wrong(tmp_path, rng):
    compiler("make"), compiler("gcc")
    model = aj.Model([aj.InputData(input_shape=(1, 1, 4), input_bits=2),
                      aj.FullyConnected(units=2)])  # fmt: skip
    model = model.with_variables(random_variables(rng, model))
    folder = tmp_path / "net"
    aj.export.to_c(model, folder, name="net")
    sample = folder / "net_sample.h"
    head, values = sample.read_text().split("sample_output[2] = {\n")
    sample.write_text(f"{head}sample_output[2] = {{\n99, {values.split(',')[1]}")
    run("make", "FLAGS=-Werror", cwd=folder)

    def fails(*arguments):
        command = [folder / "net_main", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        return done.stdout

    assert "1 of its values are wrong" in fails()
    assert "none cannot be opened" in fails("none")
    (tmp_path / "short").write_bytes(b"\0" * 6)
    assert "does not hold whole inputs of 4 levels up to 3" in fails(tmp_path / "short")
    (tmp_path / "high").write_bytes(b"\4" * 4)
    assert "refused: 2" in fails(tmp_path / "high")


@pytest.mark.parametrize(
    "cpu",
    [
        *("cortex-m0plus", "cortex-m4"),
        *(pytest.param(f"cortex-{cpu}", marks=pytest.mark.slow) for cpu in ("m3", "m7", "m33")),
    ],
)
def test_a_cortex_m_needs_what_was_planned(cpu, model, tmp_path):
    compiler("arm-none-eabi-gcc")
    for name, options in {
        "net": {}, "pupil": {"learner": make(), "extra_classes": 1},
    }.items():  # fmt: skip
        exported = backbone() if options else model
        report = aj.export.to_c(exported, tmp_path / name, name=name, **options)
        sizes = builds.measure_sizes(tmp_path / name, cpu, "-Os")
        # The compiler begins each array at a word.
        n_arrays = (tmp_path / name / f"{name}_data.h").read_text().count("extern")
        assert report.flash_bytes <= sizes["constants"] <= report.flash_bytes + 3 * n_arrays
        assert sizes["ram"] == report.ram_bytes
        assert 500 < sizes["code"] < 6000
        assert sizes["stack"] < 1500


def test_a_cortex_m_calls_no_float_and_no_heap(exports, tmp_path):
    gcc, nm = compiler("arm-none-eabi-gcc"), compiler("arm-none-eabi-nm")
    for folder in exports:
        objects = []
        for source in builds.sources(folder):
            objects.append(tmp_path / f"{source.stem}.o")
            run(gcc, "-mcpu=cortex-m0", "-mthumb", *STRICT, "-Os", "-c", source, "-o", objects[-1])
        missing = {
            line.split()[-1] for line in run(nm, "-u", *objects).splitlines() if " U " in line
        }
        defined = {line.split()[-1] for line in run(nm, "--defined-only", *objects).splitlines()
                   if len(line.split()) == 3}  # fmt: skip
        library = {name for name in missing - defined if not name.startswith("__gnu_thumb1_case")}
        integers = {"__aeabi_uidiv", "__aeabi_uidivmod", "__aeabi_uldivmod", "__aeabi_llsr",
                    "__aeabi_llsl", "__aeabi_lmul", "__aeabi_idiv", "__aeabi_idivmod"}  # fmt: skip
        assert library <= {"memcpy", "memset", *integers}


@pytest.mark.slow
@pytest.mark.parametrize("cpu", builds.BOARDS)
def test_an_emulated_cortex_m_gives_the_same_integers(cpu, model, rng, tmp_path):
    compiler("arm-none-eabi-gcc"), compiler(builds.EMULATOR)
    for index, net in enumerate((model, zoo.pretrained("akida_tiny_synthetic"))):
        x = random_inputs(rng, net.input_shape, 2**net.input_bits - 1)
        (tmp_path / "inputs").write_bytes(x.tobytes())
        folder = tmp_path / f"net{index}"
        aj.export.to_c(net, folder, name="net", skip_zeros=bool(index))
        firmware = builds.build_firmware(folder, tmp_path / "firmware.elf", cpu, "inputs", "-Os")
        found = builds.read_outputs(builds.emulate(firmware, cpu))
        np.testing.assert_array_equal(found, net.forward(x).reshape(len(x), -1))
