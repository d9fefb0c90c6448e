"""Build wsfast: with the compiled codec where a C compiler works, else with the pure-Python one alone.

All that is fixed about the package is in pyproject.toml; here is what has to be decided on the machine.
Two variables of the environment steer it (CONTRIBUTING.md has examples):

WSFAST_BUILD   unset: as above.  native: no working compiler is an error.
               python: on purpose without one.  portable: the same for an index, whose users have no such purpose.
WSFAST_DEBUG   1: no optimisation, and debug information that knows the lines of native.pyx.

If a compiler works and the codec does not compile, that is an error in every case. A wheel without the compiled codec
has a record of the reason, wsfast/_built.py; ``wsfast info`` tells it, and without a purpose the log does.
"""

import os
import sys
import tempfile
from pathlib import Path
from textwrap import shorten

from setuptools import Distribution, Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

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
            # Else a change anywhere moves every function against the cache lines, and a short message by some percent.
            options += ["-falign-functions=64"]
            options += ["-Wall", "-Wextra", "-fvisibility=hidden"]
        for extension in self.extensions:
            extension.extra_compile_args = options
        super().build_extensions()


class BuildPy(build_py):
    """Put the record of the reason into a package without the compiled codec."""

    def run(self):
        super().run()
        if self.editable_mode or self.distribution.ext_modules:
            return
        record = f"REASON = {reason!r}\nON_PURPOSE = {BUILD == 'python'}\n"
        Path(self.build_lib, "wsfast", "_built.py").write_text(
            f'"""Written by setup.py: why this package has no native codec."""\n\n{record}', "utf-8"
        )


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
        depends=sorted(path.as_posix() for kind in ("*.h", "*.pxi") for path in Path("src").rglob(kind)),
    )
    return cythonize(
        [extension],
        language_level=3,
        force="--force" in sys.argv,
        emit_linenums=DEBUG,
        annotate=False,  # if not told, Cython annotates where it finds native.html, and then omits line numbers
    )


def no_native():
    """Return why the native codec is not built, in words, or None if it is built."""
    if BUILD not in ("", "native", "python", "portable"):
        sys.exit(f"wsfast: WSFAST_BUILD is {BUILD!r}: it has to be 'native', 'python', 'portable' or unset")
    if BUILD == "python":
        return "this package was built without the compiled extension, by WSFAST_BUILD=python"
    if BUILD == "portable":
        return "this is the wheel for every platform, without a compiled extension"
    if not COMPILING.intersection(sys.argv):
        return "nothing is compiled for this command"
    problem = obstacle()
    if problem is None:
        return None
    if BUILD == "native":
        sys.exit(f"wsfast: WSFAST_BUILD=native, but the compiled codec cannot be built: {problem}")
    print(
        f"wsfast: the pure-Python codec alone, the compiled one cannot be built: {problem}", file=sys.stderr
    )
    return f"the compiled extension could not be built: {problem}"


reason = no_native()
setup(
    ext_modules=native_codec() if reason is None else [],
    cmdclass={"build_ext": BuildExt, "build_py": BuildPy},
)
