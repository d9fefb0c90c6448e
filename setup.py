"""Build wsfast: with the compiled codec where a C compiler works, else with the pure-Python one alone.

All that is fixed about the package is in pyproject.toml; here is what has to be decided on the machine.
Two variables of the environment steer it (CONTRIBUTING.md has examples):

WSFAST_BUILD   unset: as above.  native: no working compiler is an error.  python: no compiler is asked for.
WSFAST_DEBUG   1: no optimisation, and debug information that knows the lines of native.pyx.

A compiler that works and a codec that does not compile is an error in every case.
"""

import os
import sys
import tempfile
from pathlib import Path
from textwrap import shorten

from setuptools import Distribution, Extension, setup
from setuptools.command.build_ext import build_ext

BUILD = os.environ.get("WSFAST_BUILD", "")
DEBUG = os.environ.get("WSFAST_DEBUG", "") not in ("", "0")

# The commands that compile; all others (metadata, sdist, clean) neither need a compiler nor look for one.
COMPILING = {"build", "build_ext", "bdist_wheel", "editable_wheel", "develop", "install"}


class BuildExt(build_ext):
    """Compile with the options that the compiler at hand understands."""

    def build_extensions(self):
        if self.compiler.compiler_type == "msvc":
            options = ["/Od", "/Z7", "/UNDEBUG"] if DEBUG else ["/O2"]
        else:
            # Never -march=native: a wheel runs on other machines than the one that builds it.
            options = ["-O0", "-g3", "-UNDEBUG"] if DEBUG else ["-O3"]
            options += ["-Wall", "-Wextra", "-fvisibility=hidden"]
        for extension in self.extensions:
            extension.extra_compile_args = options
        super().build_extensions()


def obstacle():
    """Try the compiler with an empty module: return None, or what stands in the compiled codec's way."""
    if sys.implementation.name != "cpython":
        return f"it is made for CPython, not for {sys.implementation.name}"
    with tempfile.TemporaryDirectory() as folder:
        probe = Path(folder, "probe.c")
        probe.write_text("#include <Python.h>\nPyMODINIT_FUNC PyInit_probe(void) { return NULL; }\n")
        command = build_ext(Distribution({"ext_modules": [Extension("probe", [str(probe)])]}))
        command.build_lib = command.build_temp = folder
        try:
            command.ensure_finalized()
            command.run()
        except Exception as error:  # each compiler and platform has exceptions of its own
            return f"no working C compiler ({shorten(str(error), 160)})"
    return None


def native_codec():
    """Return the compiled codec, translated to C."""
    try:
        from Cython.Build import cythonize
    except ImportError:
        sys.exit("wsfast: the compiled codec needs Cython to build: install it, or set WSFAST_BUILD=python")
    kernels = Path("src", "kernels")
    extension = Extension(
        "wsfast.native",
        ["src/native.pyx", *sorted(path.as_posix() for path in kernels.glob("*.c"))],
        include_dirs=["src/kernels"],
        depends=sorted(path.as_posix() for path in Path("src").rglob("*.h")),
    )
    return cythonize(
        [extension],
        language_level=3,
        force="--force" in sys.argv,
        emit_linenums=DEBUG,
        annotate=False,  # if not told, Cython annotates where it finds native.html, and then omits line numbers
    )


def extensions():
    """Return what is to be compiled: the native codec, or nothing."""
    if BUILD not in ("", "native", "python"):
        sys.exit(f"wsfast: WSFAST_BUILD is {BUILD!r}: it has to be 'native', 'python' or unset")
    if BUILD == "python" or not COMPILING.intersection(sys.argv):
        return []
    reason = obstacle()
    if reason is None:
        return native_codec()
    if BUILD == "native":
        sys.exit(f"wsfast: WSFAST_BUILD=native, but the compiled codec cannot be built: {reason}")
    print(f"wsfast: the pure-Python codec alone, the compiled one cannot be built: {reason}", file=sys.stderr)
    return []


setup(ext_modules=extensions(), cmdclass={"build_ext": BuildExt})
