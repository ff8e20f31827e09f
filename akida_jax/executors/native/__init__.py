"""Native executor: a C++ kernel that XLA calls, several times faster on a CPU.

The same integers as the dense executor. The kernel is compiled at its first use (`build`)
and kept; where that cannot be done, the other executors do all work.
"""

from akida_jax.executors.native.build import NativeUnavailable
from akida_jax.executors.native.library import PATHS, available_paths, native_fault
from akida_jax.executors.native.network import NativeNetwork

__all__ = ["PATHS", "NativeNetwork", "NativeUnavailable", "available_paths", "native_fault"]
