"""The same networks in other programs: ONNX Runtime, LiteRT, PyTorch."""

import importlib.util
import warnings
from collections.abc import Callable, Iterable

import numpy as np

import akida_jax as aj

_MODULES = {"onnx_runtime": ("onnx", "onnxruntime"), "litert": ("ai_edge_litert",),
            "torch": ("torch",)}  # fmt: skip
_PACKAGES = {"ONNX Runtime": ("onnx", "onnxruntime"), "LiteRT": ("ai-edge-litert",),
             "PyTorch": ("torch",), "torch.compile": ("torch",)}  # fmt: skip


def is_installed(name: str) -> bool:
    """Return whether a program is there, one of `_MODULES`; a warning says if it is not."""
    found = all(importlib.util.find_spec(module) for module in _MODULES[name])
    if not found:
        warnings.warn(f"not installed: {name} (akida-jax[peers])", stacklevel=3)
    return found


def packages_of(ways: Iterable[str]) -> tuple[str, ...]:
    """Return the packages, as pip calls them, of the other programs among named ways."""
    found = {package for way in ways for program, packages in _PACKAGES.items()
             if way.startswith(program) for package in packages}  # fmt: skip
    return tuple(sorted(found))


def find_peers(
    model: aj.Model, x: np.ndarray, *, threads: int
) -> dict[str, Callable[[], np.ndarray]]:
    """Return a call for each program that is installed; warnings name those that are not.

    Args:
      model: ends in potentials.
      x: inputs of the calls.
      threads: that each may use.
    """
    from benchmarks.peers.steps import make_peer

    here = {name: is_installed(name) for name in _MODULES}
    peer = make_peer(model, x)
    calls: dict[str, Callable[[], np.ndarray]] = {}
    if here["onnx_runtime"]:
        from benchmarks.peers import onnx_runtime

        for bits, quantized in (("int8", True), ("float32", False)):
            calls[f"ONNX Runtime {bits}"] = onnx_runtime.make_call(
                peer, x, quantized=quantized, threads=threads
            )
    if here["litert"]:
        from benchmarks.peers import litert

        calls["LiteRT int8"] = litert.make_call(peer, x, threads=threads)
    if here["torch"]:
        from benchmarks.peers import torch_eager

        for name, compiled in (("PyTorch float32", False), ("torch.compile float32", True)):
            calls[name] = torch_eager.make_call(peer, x, compiled=compiled, threads=threads)
    return calls
