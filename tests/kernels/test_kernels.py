"""The C kernels against plain loops, built in every way in which they differ.

Baseline of this CPU, 64-bit words alone, sanitizers, and other machines under emulation. The checks themselves
are in check_kernels.c, check_text.c and check_reader.c; RFC 6455 5.2 to 5.5, 8.1.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
KERNELS = HERE.parent.parent / "src" / "kernels"
STRICT = ["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]

pytestmark = pytest.mark.skipif(os.name != "posix", reason="guard pages are made with mmap")


def tool(name: str) -> str:
    """Find a program; where CI runs, a missing one is an error and not a skip."""
    path = shutil.which(name)
    if path is None:
        if os.environ.get("CI"):
            pytest.fail(f"{name} is not installed", pytrace=False)
        pytest.skip(f"{name} is not installed")
    return path


def build(folder: Path, compiler: str, *options: str) -> str:
    program = str(folder / "check_kernels")
    subprocess.run(
        [
            *(tool(compiler), *STRICT, *options, f"-I{KERNELS}"),
            *(str(source) for folder in (HERE, KERNELS) for source in sorted(folder.glob("*.c"))),
            *("-o", program),
        ],
        check=True,
    )
    return program


def run(*command: str) -> str:
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.mark.parametrize(
    "options",
    [
        ["-O3"],
        ["-O3", "-U__SSE2__"],
        ["-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"],
        ["-O1", "-g", "-U__SSE2__", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"],
    ],
    ids=" ".join,
)
def test_kernels_agree_with_plain_loops(tmp_path: Path, options: list[str]) -> None:
    """Every length to 300, every alignment to 64, guard pages on both sides."""
    assert run(build(tmp_path, "cc", *options)).endswith("ok\n")


@pytest.mark.skipif(sys.platform != "linux", reason="qemu-user runs programs on Linux only")
@pytest.mark.parametrize(
    ("machine", "shown"),
    [("aarch64", "neon, text neon, little-endian"), ("s390x", "swar64, text, big-endian")],
)
def test_kernels_agree_on_other_machines(tmp_path: Path, machine: str, shown: str) -> None:
    """The same checks, cross-compiled and run by qemu: NEON, and the other byte order."""
    emulator = tool(f"qemu-{machine}")
    program = build(tmp_path, f"{machine}-linux-gnu-gcc", "-O3", "-static")
    assert run(emulator, program) == f"kernels {shown}: ok\n"
