"""Compile a benchmark in C with the options that setup.py uses for the codec, in a temporary folder."""

from __future__ import annotations

import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path

from .. import ROOT

KERNELS = ROOT / "src" / "kernels"

# -fPIC and -fwrapv come from setuptools; never -march=native, because a wheel has none.
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

# The values of WSFAST_KERNEL, lowest first. A name that the build or the CPU does not know is left out.
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
