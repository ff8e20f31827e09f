"""How the kernel is built, kept, and done without."""

import os
import stat
import subprocess
import sys

import pytest

from akida_jax.executors.native import available_paths, build, library, native_fault

pytestmark = pytest.mark.slow  # each starts Python anew, most compile

RUN = """
import warnings
import numpy as np
import akida_jax as aj
from akida_jax.executors import choose_executor
from akida_jax.executors.native import native_fault
layers = [aj.InputData(input_shape=(1, 1, 8)), aj.FullyConnected(units=2, activation=False)]
model = aj.Model(layers)
x = np.ones((1, 1, 1, 8), np.uint8)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    for executor in ("native", "auto", "native"):
        assert (model.forward(x, executor) == model.forward(x, "dense")).all()
print(choose_executor("auto"), "|", native_fault(), "|", len(caught), "|",
      *{str(w.message) for w in caught})
"""


GUARDED = """
import ctypes, mmap
import numpy as np
import akida_jax as aj
page = mmap.PAGESIZE
memory = mmap.mmap(-1, 2 * page)
start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.mprotect(ctypes.c_void_p(start + page), ctypes.c_size_t(page), 0) == 0
for channels in (1, 3):
    side = int((page // channels) ** 0.5)
    size = side * side * channels
    x = np.frombuffer(memory, np.uint8, size, page - size).reshape(1, side, side, channels)
    layers = [aj.InputConvolutional(input_shape=x.shape[1:], filters=2, kernel_size=3),
              aj.Convolutional(filters=2, kernel_size=1, activation=False)]
    aj.Model(layers).forward(x, "native")
print("done")
"""


THREADS = """
import os
import numpy as np
from akida_jax import zoo
from akida_jax.executors.native import NativeNetwork, available_paths
from tests.native.samples import dense, levels
from tests.samples import random_variables
rng = np.random.default_rng(3)
model = zoo.blank_model("akidanet", alpha=0.25, classes=9, input_shape=(64, 64, 3))
model = model.with_variables(random_variables(rng, model))
x = levels(rng, model, 8, density=0.5)
expected = dense(model, x)
for path in available_paths()[:2]:
    network = NativeNetwork(model.programs, path=path)
    for n in range(1, 9):
        np.testing.assert_array_equal(np.asarray(network(x[:n])), expected[:n])
print("done")
"""


@pytest.fixture(autouse=True)
def _built():
    if native_fault() is not None:
        pytest.skip(f"no native executor: {native_fault()}")


def run(tmp_path, **environment):
    given = {**os.environ, build.CACHE: str(tmp_path / "cache"), **environment}
    return subprocess.run(
        [sys.executable, "-c", RUN], env=given, capture_output=True, text=True, check=False
    )


def without_compiler(tmp_path):
    (tmp_path / "empty").mkdir(exist_ok=True)
    return {"PATH": str(tmp_path / "empty"), "CXX": ""}


def kept(tmp_path):
    return list((tmp_path / "cache").iterdir())


def test_the_kernel_is_built_once_and_used_where_there_is_no_compiler(tmp_path):
    assert run(tmp_path).stdout.startswith("native | None | 0 |")
    (path,) = kept(tmp_path)
    made = path.stat().st_mtime_ns
    second = run(tmp_path, **without_compiler(tmp_path))
    assert second.stdout.startswith("native | None | 0 |"), second.stderr
    assert path.stat().st_mtime_ns == made


def test_without_a_compiler_all_works_and_one_warning_says_so(tmp_path):
    result = run(tmp_path, **without_compiler(tmp_path))
    assert result.stdout.startswith("dense | no C++ compiler was found (CXX, c++, g++, clang++)")
    assert "| 1 | no native executor here: no C++ compiler was found" in result.stdout
    assert "The dense executor stands in: the same integers" in result.stdout


def test_a_compiler_that_fails_is_named(tmp_path):
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\necho 'error: no headers' >&2\nexit 1\n")
    broken.chmod(broken.stat().st_mode | stat.S_IXUSR)
    result = run(tmp_path, CXX=str(broken))
    assert f"{broken} cannot build it (error: no headers); give another compiler" in result.stdout
    assert "| 1 |" in result.stdout


@pytest.mark.skipif("amx" not in build.vector_paths(), reason="has no tiles")
def test_a_compiler_without_tiles_builds_the_other_paths(tmp_path):
    old = tmp_path / "old"
    refuses = 'case "$*" in *-mamx-tile*) echo "error: unknown option" >&2; exit 1;; esac'
    old.write_text(f'#!/bin/sh\n{refuses}\nexec {build.find_compiler()} "$@"\n')
    old.chmod(old.stat().st_mode | stat.S_IXUSR)
    given = {**os.environ, build.CACHE: str(tmp_path / "cache"), "CXX": str(old)}
    code = "from akida_jax.executors.native import available_paths; print(*available_paths())"
    done = subprocess.run([sys.executable, "-c", code], env=given, capture_output=True, text=True,
                          check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [path for path in available_paths() if path != "amx"]


def test_a_compiler_that_cannot_run_is_named(tmp_path):
    other = tmp_path / "other"
    other.write_bytes(b"\x7fELF of another processor")
    other.chmod(0o755)
    result = run(tmp_path, CXX=str(other))
    assert f"{other} cannot be run (" in result.stdout, result.stderr
    assert "| 1 |" in result.stdout


def test_without_a_home_it_is_built_for_this_process_alone(monkeypatch):
    def no_home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv(build.CACHE, raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(build.Path, "home", no_home)
    assert build.cache_folder() is None
    made = build.build("kernel.so", None)
    assert made.stat().st_size > 10_000
    assert made.parent.name.startswith("akida_jax-")


def test_no_place_for_files_is_a_fault_and_no_error(monkeypatch):
    def no_place():
        raise FileNotFoundError("no usable temporary directory")

    monkeypatch.setattr(library, "_find_or_build", no_place)
    with pytest.raises(build.NativeUnavailable, match="cannot be built or loaded here: no usable"):
        library.load_library()


def test_a_kept_file_that_is_broken_is_built_again(tmp_path):
    run(tmp_path)
    (path,) = kept(tmp_path)
    path.unlink()
    path.write_bytes(b"no library")
    assert run(tmp_path).stdout.startswith("native | None | 0 |")
    assert path.stat().st_size > 10_000


def test_a_folder_that_cannot_keep_it_does_no_harm(tmp_path):
    (tmp_path / "cache").write_text("a file, not a folder")
    result = run(tmp_path)
    assert result.stdout.startswith("native | None | 0 |"), result.stderr
    assert "cannot keep the native executor" in result.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="protects a page")
def test_nothing_is_read_beyond_an_input():
    done = subprocess.run(
        [sys.executable, "-c", GUARDED], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr


@pytest.mark.parametrize("threads", [3, 5])
def test_more_threads_than_inputs_share_their_rows(threads):
    given = {**os.environ, "NPROC": str(threads)}  # sets the size of XLA's pool
    done = subprocess.run(
        [sys.executable, "-c", THREADS], env=given, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr


def test_it_can_be_switched_off(tmp_path):
    result = run(tmp_path, **{library.SWITCH: "off"})
    assert result.stdout.startswith("dense | switched off by AKIDA_JAX_NATIVE=off; unset it | 1 |")
    assert not (tmp_path / "cache").exists()


def test_processes_that_build_at_the_same_time_end_with_one_file(tmp_path):
    given = {**os.environ, build.CACHE: str(tmp_path / "cache")}
    both = [
        subprocess.Popen([sys.executable, "-c", RUN], env=given, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for process in both:
        assert process.communicate()[0].startswith("native | None | 0 |")
    assert len(kept(tmp_path)) == 1
