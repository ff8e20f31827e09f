"""Compiles the C++ kernel where it runs, at its first use, and keeps it.

A package that is compiled at its installation would be tied to one Python, one compiler and one
processor; this one is plain Python everywhere. The built file holds every path of its architecture
and chooses among them when it is loaded, so the machines of a cluster may share one, those without
a compiler too. It is named by a hash of its sources and the headers of XLA, and written under a
temporary name and renamed: processes that build at the same time do not disturb each other.
"""

import atexit
import hashlib
import logging
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import jax

CACHE = "AKIDA_JAX_CACHE"
"""Environment variable: the folder that keeps built kernels."""
SOURCE = Path(__file__).parent / "source"
FLAGS = ("-std=c++17", "-O3", "-fPIC", "-fvisibility=hidden", "-ffp-contract=off", "-Wno-psabi")
_TIMEOUT_S = 600  # of one call of the compiler, which takes seconds
_COMPILERS = ("c++", "g++", "clang++")
_AVX512 = ("-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq", "-mavx512vnni",
           "-mprefer-vector-width=512")  # fmt: skip
_X86_PATHS = {
    "amx": (*_AVX512, "-mamx-tile", "-mamx-int8"),
    "avx512_vnni": _AVX512,
    "avx2": ("-mavx2",),
}

logger = logging.getLogger("akida_jax")


class NativeUnavailable(RuntimeError):
    """The native executor cannot be used here; the message says why and what to do."""


class _Unknown(NativeUnavailable):
    """The compiler can be run and refuses the sources."""


class Unit(NamedTuple):
    """One file to compile."""

    source: str
    object: str
    flags: tuple[str, ...]


def find_compiler() -> str:
    """Return the C++ compiler: ``$CXX``, or the first of c++, g++ and clang++.

    Raises:
      NativeUnavailable: if there is none.
    """
    for name in (os.environ.get("CXX"), *_COMPILERS):
        if name and shutil.which(name):
            return name
    raise NativeUnavailable(
        "no C++ compiler was found (CXX, c++, g++, clang++); install one, for example the "
        "package g++"
    )


def cache_folder() -> Path | None:
    """Return the folder that keeps built kernels, None if the user has no home."""
    given = os.environ.get(CACHE)
    if given:
        return Path(given).expanduser().resolve()
    home = os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(home) if home else Path.home() / ".cache") / "akida_jax"
    except RuntimeError:  # neither HOME nor an entry among the users, as in some containers
        return None


def library_name() -> str:
    """Return the name of the file that holds the kernel of these sources.

    The compiler does not count: a machine that has none may use what another has built.
    """
    digest = hashlib.sha256()
    headers = Path(jax.ffi.include_dir()).rglob("*.h")
    for path in [*sorted(SOURCE.iterdir()), *sorted(headers), Path(__file__)]:
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    machine = f"{sys.platform}-{platform.machine()}".lower()
    return f"native-{machine}-{digest.hexdigest()[:16]}.so"


def vector_paths() -> tuple[str, ...]:
    """Return the paths to build beside the portable one on this architecture."""
    known = platform.machine().lower() in ("x86_64", "amd64")
    # Tiles must be asked for, and how is known for Linux.
    return tuple(
        name for name in _X86_PATHS if known and (name != "amx" or sys.platform == "linux")
    )


def units(paths: tuple[str, ...], *, main: str = "ffi.cc") -> list[Unit]:
    """Return what is to be compiled, in the order in which it is to be linked.

    Of a function that several of them hold the linker keeps the first: it must not be one with
    instructions that only some processors have.

    Args:
      paths: those of `vector_paths` to build beside the portable one.
      main: the file that makes a library or a program of the rest.
    """
    chosen = {name: _X86_PATHS[name] for name in paths}
    has = tuple(f"-DAKIDA_HAS_{name.upper()}" for name in chosen)
    include = ("-isystem", jax.ffi.include_dir())
    kernels = [
        Unit("path.cc", f"{name}.o", (*flags, f"-DAKIDA_PATH={name}", f"-DAKIDA_{name.upper()}"))
        for name, flags in {"portable": (), **chosen}.items()
    ]
    return [
        Unit(main, "main.o", include),
        Unit("network.cc", "network.o", ()),
        Unit("paths.cc", "paths.o", has),
        *kernels,
    ]


def build(name: str, folder: Path | None) -> Path:
    """Compile the kernel and return where it lies: in ``folder``, if that can be written.

    Else in a temporary one, which is removed when Python ends. A compiler that does not know all
    vector instructions builds the paths without tiles, or the portable path alone.

    Raises:
      NativeUnavailable: if there is no compiler, or compiling fails.
      OSError: if there is no place even for temporary files.
    """
    compiler = find_compiler()
    logger.info("building the native executor with %s into %s", compiler, folder)
    with tempfile.TemporaryDirectory(prefix="akida_jax-") as work:
        built = _compile_most(compiler, Path(work))
        if folder is not None:
            try:
                return _keep(built, folder / name)
            except OSError as error:
                logger.warning("%s cannot keep the native executor (%s)", folder, error)
        temporary = tempfile.mkdtemp(prefix="akida_jax-")
        atexit.register(shutil.rmtree, temporary, ignore_errors=True)
        return _keep(built, Path(temporary) / name)


def _compile_most(compiler: str, folder: Path) -> Path:
    """Build all paths, or as many of them as the compiler knows."""
    paths = vector_paths()
    while True:
        try:
            return _compile(compiler, units(paths), folder)
        except _Unknown as fault:
            if not paths:
                raise
            logger.warning(
                "the native executor cannot be built with %s (%s); a newer compiler may make it "
                "quicker", paths[0], fault,
            )  # fmt: skip
            paths = paths[1:]


def _compile(compiler: str, units: list[Unit], folder: Path) -> Path:
    def run(*arguments: str) -> None:
        try:
            done = subprocess.run(
                [compiler, *arguments], cwd=folder, capture_output=True, text=True, check=False,
                timeout=_TIMEOUT_S,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            raise NativeUnavailable(
                f"{compiler} cannot be run ({error}); give another compiler by CXX"
            ) from error
        if done.returncode:
            first = next((line for line in done.stderr.splitlines() if "error" in line), "")
            raise _Unknown(
                f"{compiler} cannot build it ({first or f'exit code {done.returncode}'}); give "
                "another compiler by CXX"
            )

    def compile_unit(unit: Unit) -> None:
        run(*FLAGS, *unit.flags, "-c", str(SOURCE / unit.source), "-o", unit.object)

    with ThreadPoolExecutor() as pool:
        list(pool.map(compile_unit, units))
    run("-shared", *(unit.object for unit in units), "-o", "library.so")
    return folder / "library.so"


def _keep(built: Path, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    try:
        shutil.copyfile(built, temporary)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    finally:
        Path(temporary).unlink(missing_ok=True)
    return path
