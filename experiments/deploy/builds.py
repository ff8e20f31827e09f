"""Exports compiled for this machine and for microcontrollers, and what these programs answer."""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
WARNINGS = ("-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror")
CROSS = "arm-none-eabi-"
EMULATOR = "qemu-system-arm"
BOARDS = {"cortex-m3": "mps2-an385", "cortex-m4": "mps2-an386"}
"""Of QEMU, by processor."""
_EMULATION_S = 300


def find(program: str) -> str:
    """Return the path of a program.

    Raises:
      FileNotFoundError: if it is not there.
    """
    path = shutil.which(program)
    if path is None:
        raise FileNotFoundError(
            f"{program} is not there; on Debian: apt-get install gcc make clang gcc-arm-none-eabi "
            "libnewlib-arm-none-eabi qemu-system-arm"
        )
    return path


def run(*command: str | Path, cwd: Path | None = None, timeout: float | None = None) -> str:
    """Run a command and return what it prints.

    Raises:
      RuntimeError: if it fails; with its output.
    """
    done = subprocess.run(
        command, cwd=cwd, timeout=timeout, capture_output=True, text=True, check=False,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))}:\n{done.stdout}{done.stderr}")
    return done.stdout


def sources(folder: Path) -> list[Path]:
    """Return the C files of an export but its main program, in order."""
    return [path for path in sorted(folder.glob("*.c")) if path.name != "main.c"]


def measure_sizes(folder: Path, cpu: str, *flags: str) -> dict[str, int]:
    """Compile an export for a Cortex-M and return bytes of code, constants and memory.

    Args:
      folder: of the export.
      cpu: as gcc names it.
      *flags: of the compiler.

    Returns:
      "code": of the runtime and of the model's functions and layers; "constants": weights,
      thresholds and steps; "ram": static memory; "stack": what all functions together take, a
      bound where none calls itself, without those of the C library.
    """
    sizes = {"code": 0, "constants": 0, "ram": 0, "stack": 0}
    command = [find(f"{CROSS}gcc"), f"-mcpu={cpu}", "-mthumb", "-fstack-usage", *WARNINGS,
               *flags]  # fmt: skip
    for source in sources(folder):
        target = folder / f"{source.stem}-{cpu}.o"
        run(*command, "-c", source, "-o", target)
        table = run(find(f"{CROSS}size"), target).splitlines()[1].split()
        text, data, bss = map(int, table[:3])
        usage = target.with_suffix(".su")
        lines = usage.read_text().splitlines()
        sizes["stack"] += sum(int(line.split("\t")[1]) for line in lines)
        target.unlink()
        usage.unlink()
        sizes["constants" if source.stem.endswith("_data") else "code"] += text + data
        sizes["ram"] += data + bss
    return sizes


def build(
    folder: Path, target: Path, *flags: str, compiler: str = "gcc", main: Path | None = None
) -> Path:
    """Compile an export for this machine, with its main program or another; return the program."""
    files = [main or folder / "main.c", *sources(folder)]
    run(find(compiler), *WARNINGS, *flags, f"-I{folder}", *files, "-o", target)
    return target


def build_firmware(folder: Path, target: Path, cpu: str, inputs: str, *flags: str) -> Path:
    """Compile an export with its main program for a board that QEMU emulates.

    Args:
      folder: of the export.
      target: the program.
      cpu: one of `BOARDS`.
      inputs: file that it reads, seen from where QEMU is started.
      *flags: of the compiler.
    """
    run(
        find(f"{CROSS}gcc"), f"-mcpu={cpu}", "-mthumb", "-std=gnu99", "-Wall", "-Wextra", "-Werror",
        *flags, "-ffunction-sections", "-Wl,--gc-sections", "--specs=rdimon.specs",
        "-nostartfiles", "-T", HERE / "mps2.ld", f'-DARGUMENT="{inputs}"', HERE / "start.c",
        folder / "main.c", *sources(folder), "-o", target,
    )  # fmt: skip
    return target


def emulate(firmware: Path, cpu: str) -> str:
    """Run a firmware in QEMU, in its folder, and return what it prints."""
    return run(
        find(EMULATOR), "-M", BOARDS[cpu], "-kernel", firmware, "-nographic", "-monitor", "none",
        "-semihosting-config", "enable=on,target=native", cwd=firmware.parent, timeout=_EMULATION_S,
    )  # fmt: skip


def read_outputs(text: str) -> np.ndarray:
    """Return the outputs that a main program printed, an input in each row."""
    rows = [line.split() for line in text.splitlines() if not line.startswith("class")]
    return np.array(rows, np.int64).astype(np.int32)


def describe(programs: Sequence[str]) -> dict[str, str]:
    """Return the first line in which each program says what it is."""
    return {name: run(find(name), "--version").splitlines()[0] for name in programs}
