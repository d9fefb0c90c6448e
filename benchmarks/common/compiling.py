"""Compile a benchmark that is written in C as setup.py compiles the codec, in a temporary folder."""

from __future__ import annotations

import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path

from .. import ROOT

KERNELS = ROOT / "src" / "kernels"

# -fPIC and -fwrapv come from setuptools; never -march=native, as in a wheel.
OPTIONS = (
    "-O3",
    "-fPIC",
    "-fwrapv",
    "-DNDEBUG",
    "-Wall",
    "-Wextra",
    "-Wno-unused-function",
    "-fvisibility=hidden",
)

# The values of WSFAST_KERNEL, lowest first. Names that a build or a CPU does not know are left out.
LEVELS = ("sse4", "avx2", "avx512", "neon")


def default_compiler() -> str:
    return sysconfig.get_config_var("CC") or "cc"


def compile_c(compiler: str, source: Path, target: Path, *options: str) -> None:
    """Compile a source, and all kernels of the checkout, to ``target``."""
    sources = [source, *sorted(KERNELS.glob("*.c"))]
    command = [*shlex.split(compiler), *OPTIONS, *options, f"-I{KERNELS}", f"-I{KERNELS.parent}"]
    if subprocess.run([*command, *map(str, sources), "-o", str(target)]).returncode:
        sys.exit(f"{compiler} could not compile {source.name}")


def compiler_name(compiler: str) -> str:
    version = subprocess.run(
        [*shlex.split(compiler), "--version"], stdout=subprocess.PIPE, text=True, check=True
    )
    return version.stdout.splitlines()[0]
