"""Memory that a training step frees and asks for again."""

import ctypes
import sys

_M_TOP_PAD = -2  # <malloc.h>
_KEPT = 64 * 2**20  # bytes; as much as one heap of a thread may grow to in glibc


def keep_freed_memory() -> bool:
    """Let the C library keep freed memory instead of giving it back to the system.

    XLA's CPU client frees its buffers after every step. By default glibc gives large ones back and
    gets them anew, page by page: on the gesture networks a fifth of the time of a step
    (docs/performance.md). The process keeps what it once needed until it ends. Without effect
    once jax has begun to compute, so `experiments` calls it when it is imported.

    Returns:
      Whether it could be set: only with glibc, on Linux.
    """
    if sys.platform != "linux":
        return False
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_M_TOP_PAD, _KEPT) == 1)
