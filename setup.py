"""Build wsfast: the compiled codec where a C compiler works, else the pure-Python one.

All that is fixed about the package is in pyproject.toml; here is what has to be decided on the machine.
Two variables of the environment steer it (CONTRIBUTING.md has examples):

WSFAST_BUILD   unset: as above.  native: no working compiler is an error.  python: no compiler is asked for.
WSFAST_DEBUG   1: no optimisation, C debug information, assertions, and src/native.html as `cython -a` makes it.

A compiler that works and a codec that does not compile is an error in every case.
"""

import os
import sys
import tempfile
from pathlib import Path

from setuptools import Distribution, Extension, setup
from setuptools.command.build_ext import build_ext

BUILD = os.environ.get("WSFAST_BUILD", "")
DEBUG = os.environ.get("WSFAST_DEBUG", "") not in ("", "0")

# Commands that describe or pack the sources; they neither compile nor choose between the codecs.
DESCRIBING = {"egg_info", "dist_info", "sdist", "clean"}


class BuildExt(build_ext):
    """Compile with the options that the compiler at hand understands."""

    def build_extensions(self):
        if self.compiler.compiler_type == "msvc":
            options = ["/Od", "/Zi", "/UNDEBUG"] if DEBUG else ["/O2"]
        else:
            # Never -march=native: a wheel runs on other machines; kernels choose at run time.
            options = ["-O0", "-g3", "-UNDEBUG"] if DEBUG else ["-O3"]
            options += ["-Wall", "-Wextra", "-fvisibility=hidden"]
        for extension in self.extensions:
            extension.extra_compile_args = options
        super().build_extensions()


def why_no_compiler():
    """Build an empty extension module; return None, or in a few words why it cannot be done."""
    if sys.implementation.name != "cpython":
        return f"{sys.implementation.name} runs the pure-Python codec better"
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "probe.c")
        source.write_text("#include <Python.h>\nPyMODINIT_FUNC PyInit_probe(void) { return NULL; }\n")
        command = build_ext(Distribution({"ext_modules": [Extension("probe", [str(source)])]}))
        command.build_lib = command.build_temp = folder
        try:
            command.ensure_finalized()
            command.run()
        except Exception as error:  # each compiler and platform has exceptions of its own
            return str(error)
    return None


def sources():
    """Return the native codec as an extension that is not compiled yet."""
    kernels = Path("src", "kernels")
    return Extension(
        "wsfast.native",
        ["src/native.pyx", *sorted(path.as_posix() for path in kernels.glob("*.c"))],
        include_dirs=["src/kernels"],
        depends=sorted(path.as_posix() for path in kernels.glob("*.h")),
    )


def extensions():
    """Return what is to be compiled: the native codec, or nothing."""
    if BUILD not in ("", "native", "python"):
        sys.exit(f"wsfast: WSFAST_BUILD is {BUILD!r}; it can be 'native', 'python' or unset")
    if DESCRIBING.intersection(sys.argv):
        return [sources()]
    if BUILD == "python":
        return []
    reason = why_no_compiler()
    if reason is not None and BUILD == "native":
        sys.exit(f"wsfast: WSFAST_BUILD=native, but no C compiler works here: {reason}")
    if reason is not None:
        print(
            f"wsfast: no C compiler works here, so this is the pure-Python codec: {reason}", file=sys.stderr
        )
        return []
    try:
        from Cython.Build import cythonize
    except ImportError:
        sys.exit("wsfast: the native codec needs Cython to build; install it, or set WSFAST_BUILD=python")
    return cythonize(
        [sources()],
        include_path=["."],  # where wsfast/native.pxd is found
        compiler_directives={"language_level": 3},
        annotate=DEBUG,
        emit_linenums=DEBUG,
    )


setup(ext_modules=extensions(), cmdclass={"build_ext": BuildExt})
