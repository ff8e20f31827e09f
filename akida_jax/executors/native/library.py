"""Loads the C++ kernel, builds it first if need be, and makes it known to XLA."""

import ctypes
import functools
import logging
import os
import threading
from pathlib import Path

import jax

from akida_jax.executors.native.build import NativeUnavailable, build, cache_folder, library_name

TARGET = "akida_jax_run"
PATHS = ("amx", "avx512_vnni", "avx2", "portable")
"""Ways for different processors, the quickest first; numbered as in ``source/kernels.h``."""
SWITCH = "AKIDA_JAX_NATIVE"
"""Environment variable: "off" keeps the kernel from being built and used."""

logger = logging.getLogger("akida_jax")
_loading = threading.Lock()


def load_library() -> ctypes.CDLL:
    """Build the kernel if need be, load it and register it with XLA.

    Raises:
      NativeUnavailable: if it is switched off, there is no compiler, or it cannot be built or
        loaded for another reason.
    """
    if is_switched_off():
        raise NativeUnavailable(f"switched off by {SWITCH}=off; unset it")
    with _loading:  # threads that begin together build it once
        try:
            return _find_or_build()
        except (OSError, AttributeError) as error:
            raise NativeUnavailable(f"it cannot be built or loaded here: {error}") from error


@functools.cache
def _find_or_build() -> ctypes.CDLL:
    name, folder = library_name(), cache_folder()
    if folder is not None and os.path.isfile(folder / name):  # False for what is not to be seen
        try:
            return _open(folder / name)
        except (OSError, AttributeError) as error:  # made for another system, or not whole
            logger.warning("building %s again: %s", folder / name, error)
    return _open(build(name, folder))


def _open(path: Path) -> ctypes.CDLL:
    library = ctypes.CDLL(str(path))
    handler = jax.ffi.pycapsule(getattr(library, TARGET))
    jax.ffi.register_ffi_target(TARGET, handler, platform="cpu")
    return library


def is_switched_off() -> bool:
    """Return whether the environment says that there is to be no native executor."""
    return os.environ.get(SWITCH, "").lower() == "off"


@functools.cache
def native_fault() -> str | None:
    """Return why there is no native executor here, None if there is; builds it if need be."""
    try:
        load_library()
    except NativeUnavailable as fault:
        return str(fault)
    return None


@functools.cache
def available_paths() -> tuple[str, ...]:
    """Return the paths that were built and that this processor can run, the quickest first.

    Raises:
      NativeUnavailable: as `load_library`.
    """
    has_path = load_library().akida_jax_has_path
    has_path.argtypes = [ctypes.c_int64]
    return tuple(name for number, name in enumerate(PATHS) if has_path(number))


def path_number(path: str | None) -> int:
    """Return the number of a path, of the quickest for None.

    Raises:
      NativeUnavailable: if this processor cannot run it, or the system does not let it.
      ValueError: if there is no such path.
    """
    if path is None:
        return next(PATHS.index(name) for name in available_paths() if _claim(name))
    if path not in PATHS:
        raise ValueError(f"unknown path {path!r}; choose from {', '.join(PATHS)}")
    if path not in available_paths():
        raise NativeUnavailable(
            f"path {path!r} is not to be had here; there are {', '.join(available_paths())}"
        )
    if not _claim(path):
        raise NativeUnavailable(
            f"path {path!r} is refused to this process by the system, as it is where a thread has "
            "a signal stack too small for it; choose another path"
        )
    return PATHS.index(path)


@functools.cache
def _claim(path: str) -> bool:
    """Return whether this process may use a path; the system is asked, if it must be."""
    claim_path = load_library().akida_jax_claim_path
    claim_path.argtypes = [ctypes.c_int64]
    return bool(claim_path(PATHS.index(path)))
