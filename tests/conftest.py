"""Fixtures and switches shared by all tests."""

import importlib.metadata
import os
from pathlib import Path

import jax
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
_BESIDE = ROOT.parent / "shared" / "data"

# Most of the time goes into compiling small programs, which takes half as long without LLVM's
# optimizations. They fuse products and sums and so round otherwise: what compares integers is
# marked `integers` or `compiled`, and .ci/run has it compiled as users' programs are, by an empty
# XLA_FLAGS. Accelerators, which come as plugins, know no such level.
if not importlib.metadata.entry_points(group="jax_plugins"):
    os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")

if "AKIDA_JAX_DATA" not in os.environ and _BESIDE.is_dir():
    os.environ["AKIDA_JAX_DATA"] = str(_BESIDE)


def pytest_addoption(parser):
    parser.addoption(
        "--update-golden", action="store_true", help="rewrite the files in tests/golden"
    )


@pytest.fixture
def golden(request):
    """Compare a text with tests/golden/NAME, or rewrite that file on request."""

    def compare(name: str, text: str) -> None:
        path = ROOT / "tests" / "golden" / name
        if request.config.getoption("--update-golden"):
            path.parent.mkdir(exist_ok=True)
            path.write_text(text + "\n")
        assert path.read_text() == text + "\n"

    return compare


@pytest.fixture
def rng():
    """A generator with a fixed seed."""
    return np.random.default_rng(20260801)


@pytest.fixture
def data_dir():
    """Folder of real recordings; a test that needs it is skipped without it."""
    folder = os.environ.get("AKIDA_JAX_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("real recordings are not here: set AKIDA_JAX_DATA to their folder")
    return Path(folder)


@pytest.fixture
def compiled_anew():
    """Keep programs out of the folder of compiled ones, if there is any: their time is tested."""
    name = "jax_persistent_cache_min_compile_time_secs"
    before = getattr(jax.config, name)
    jax.config.update(name, 1e9)
    yield
    jax.config.update(name, before)


@pytest.fixture(autouse=True)
def _strict_promotion(request):
    """Run tests marked `integers` under strict dtype promotion."""
    if request.node.get_closest_marker("integers"):
        with jax.numpy_dtype_promotion("strict"):
            yield
    else:
        yield


@pytest.fixture(autouse=True, scope="module")
def _forget_programs():
    """Release the programs that a file has compiled.

    Each holds memory maps, of which Linux allows a process 65,530: beyond, XLA crashes.
    """
    yield
    jax.clear_caches()
