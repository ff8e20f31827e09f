"""The C++ sources under sanitizers, without XLA."""

import subprocess

import numpy as np
import pytest

from akida_jax.executors.native import PATHS, available_paths, build, native_fault
from akida_jax.executors.native.plan import make_plan
from tests.native.samples import close, dense, levels, wide_layers
from tests.samples import small_model

pytestmark = pytest.mark.slow

SANITIZERS = {
    "address,undefined": ("-fsanitize=address,undefined", "-fno-sanitize-recover=all"),
    "thread": ("-fsanitize=thread",),
}


@pytest.fixture(autouse=True)
def _built():
    if native_fault() is not None:
        pytest.skip(f"no native executor: {native_fault()}")


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    """Files of networks, inputs, sparse and dense, and the potentials expected."""
    folder = tmp_path_factory.mktemp("cases")
    rng = np.random.default_rng(7)
    models = {name: close(layers, name) for name, layers in wide_layers().items()}
    models["small"] = small_model(rng)
    paths = []
    for i, model in enumerate(models.values()):
        for n, density in ((1, 0.7), (3, 0.03)):
            x = levels(rng, model, n, density=density)
            paths.append(folder / f"{i}-{n}")
            write_case(paths[-1], model, x)
    return paths


def write_case(path, model, x):
    plan = make_plan(model.programs)
    expected = dense(model, x)
    sizes = [len(plan.layers), plan.constants.size, len(x), x.size, expected.size]
    fields = np.array([*sizes, *plan.layers], np.int64)
    path.write_bytes(fields.tobytes() + plan.constants.tobytes() + x.tobytes() + expected.tobytes())


def compile_check(folder, flags):
    """Compile the checking program with every path; return it."""
    objects = []
    for unit in build.units(build.vector_paths(), main="check.cc"):
        target = folder / unit.object
        command = [build.find_compiler(), *build.FLAGS, "-O1", "-g", *flags, *unit.flags]
        subprocess.run(
            [*command, "-c", str(build.SOURCE / unit.source), "-o", str(target)], check=True
        )
        objects.append(str(target))
    program = folder / "check"
    subprocess.run(
        [build.find_compiler(), *flags, *objects, "-pthread", "-o", str(program)], check=True
    )
    return program


MANY_ITEMS = """
#include <cstdio>
#include <vector>
#include "team.h"
std::atomic<int> rests{0};
const std::thread::id caller = std::this_thread::get_id();
int main() {
  std::vector<std::thread> threads;
  std::atomic<int64_t> sum{0};
  const int64_t items = (int64_t{1} << 24) + 5;
  {
    akida_jax::Team team(2, [&](std::function<void()> work) { threads.emplace_back(work); },
                         [] { rests += std::this_thread::get_id() != caller; });
    team.run(items, [&](int64_t item) { sum.fetch_add(item, std::memory_order_relaxed); });
    team.run(0, [&](int64_t item) { sum.fetch_add(1); });
  }
  for (std::thread& thread : threads) thread.join();
  std::printf("%d %d\\n", sum == items * (items - 1) / 2, rests >= 1);
}
"""


def test_a_team_runs_more_items_than_a_ticket_holds(tmp_path):
    (tmp_path / "many.cc").write_text(MANY_ITEMS)
    program = tmp_path / "many"
    command = [build.find_compiler(), *build.FLAGS, "-I", str(build.SOURCE), "-pthread"]
    subprocess.run([*command, str(tmp_path / "many.cc"), "-o", str(program)], check=True)
    assert subprocess.run([program], capture_output=True, text=True, check=True).stdout == "1 1\n"


@pytest.mark.parametrize("sanitizer", SANITIZERS)
def test_networks_run_clean(sanitizer, cases, tmp_path):
    program = compile_check(tmp_path, SANITIZERS[sanitizer])
    numbers = [str(PATHS.index(path)) for path in available_paths()]
    for case in cases:
        for threads in ("1", "3"):
            done = subprocess.run(
                [program, case, threads, *numbers], capture_output=True, text=True, check=False
            )
            assert (done.stdout, done.stderr, done.returncode) == ("equal\n", "", 0)


def test_a_plan_that_does_not_fit_is_refused(cases, tmp_path):
    """Every field of a plan replaced: refused, or harmless, never a fault of memory."""
    program = compile_check(tmp_path, SANITIZERS["address,undefined"])
    original = cases[0].read_bytes()
    n_fields = int(np.frombuffer(original[:8], np.int64)[0])
    number = str(PATHS.index("portable"))  # sanitizers see all that it reads
    outcomes = set()
    for field in range(n_fields):
        for value in (-1, 0, 7, 2**40):
            changed = bytearray(original)
            start = 8 * (5 + field)
            changed[start : start + 8] = np.int64(value).tobytes()
            path = tmp_path / "changed"
            path.write_bytes(changed)
            done = subprocess.run([program, path, "1", number], capture_output=True, text=True,
                                  check=False)  # fmt: skip
            assert done.returncode in (0, 1, 2), (field, value, done.stderr)
            assert "Sanitizer" not in done.stderr, (field, value, done.stderr)
            outcomes.add(done.returncode)
    assert {1, 2} <= outcomes
