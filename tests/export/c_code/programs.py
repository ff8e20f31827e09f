"""Exports compiled into programs, and what these programs answer."""

import shutil
import subprocess

import numpy as np
import pytest

import akida_jax as aj

STRICT = ("-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror")
SANITIZED = ("-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")

_MAIN = """
#include <stdio.h>
#include <stdlib.h>
{includes}

/* Answers each input with the code that it returns, and the output. */
static int answer(int (*run)(const uint8_t *, int32_t *), int32_t (*predict)(const int32_t *),
                  size_t n_in, size_t n_out)
{{
    uint8_t *input = malloc(n_in);
    int32_t *output = calloc(n_out + 2, sizeof *output);

    while (fread(input, 1, n_in, stdin) == n_in) {{
        output[0] = run(input, output + 2);
        output[1] = predict != NULL ? predict(output + 2) : -1;
        fwrite(output, sizeof *output, n_out + 2, stdout);
    }}
    free(input);
    free(output);
    return 0;
}}

int main(int argc, char **argv)
{{
    switch (argc > 1 ? atoi(argv[1]) : -1) {{
{cases}
    default: return 1;
    }}
}}
"""


def compiler(name):
    """Return the path of a compiler, or skip the test: CI has all of them (.ci/run)."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


class Program:
    """Several exports in one program.

    Args:
      folder: where it is made; holds the exports.
      models: by name in C.
      flags: of the compiler.
      cc: name of the compiler.
      each: options of single models, by name.
      **options: of `aj.export.to_c`, of all.
    """

    def __init__(self, folder, models, *, flags, cc="gcc", each=None, **options):
        self.models, self.path = models, folder / f"program-{cc}"
        reports = {
            name: aj.export.to_c(
                model, folder / name, name=name, **options, **(each or {}).get(name, {})
            )
            for name, model in models.items()
        }
        names = [f"{name}.h" for name in models]
        cases = []
        for i, name in enumerate(models):
            predicts = "_predict(" in (folder / name / f"{name}.h").read_text()
            predict = f"{name}_predict" if predicts else "NULL"
            sizes = f"{name.upper()}_INPUT_SIZE, {name.upper()}_OUTPUT_SIZE"
            cases.append(f"    case {i}: return answer({name}_run, {predict}, {sizes});")
        includes = "\n".join(f'#include "{name}"' for name in names)
        main = folder / "main.c"
        main.write_text(_MAIN.format(includes=includes, cases="\n".join(cases)))
        sources = [folder / name / file for name, report in reports.items()
                   for file in report.files
                   if file.endswith(".c") and file != "main.c"]  # fmt: skip
        folders = [f"-I{folder / name}" for name in models]
        command = [compiler(cc), *STRICT, *flags, *folders, main, *sources, "-o", self.path]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        self.reports = reports

    def __call__(self, name, x):
        """Return codes, classes and outputs of inputs."""
        command = [self.path, str(list(self.models).index(name))]
        done = subprocess.run(command, input=x.tobytes(), capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()
        rows = np.frombuffer(done.stdout, np.int32).reshape(len(x), -1)
        return rows[:, 0], rows[:, 1], rows[:, 2:]
