import platform
import subprocess
import sys

import pytest

CODE = """
import resource
import sys
import threading
if sys.argv[1] == "keep":
    import experiments

def work():
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        block = b"1" * (40 * 2**20)
        del block
        faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    print(faults)

threading.Thread(target=work).start()  # as XLA's, with a heap of its own
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told")
def test_experiments_use_memory_again_that_was_freed():
    # 40 MiB anew are 10,240 faults of pages.
    assert faults("keep") < 100
    assert faults("default") > 10_000


def faults(way):
    command = [sys.executable, "-c", CODE, way]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
