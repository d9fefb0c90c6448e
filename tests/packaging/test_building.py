"""sdist, wheels, editable installation, and what WSFAST_BUILD makes of a missing compiler."""

from __future__ import annotations

import re
import shutil
import sysconfig
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from environments import NO_COMPILER, Environment, copy_tree, only, run

EXTENSION = f"wsfast/native{sysconfig.get_config_var('EXT_SUFFIX')}"
CIMPORT_PROJECT = Path(__file__).with_name("cimport_project")


def sources(tree: Path, folder: str, *suffixes: str) -> Iterator[str]:
    """Name the files below a folder of the tree as an archive names them."""
    for path in (tree / folder).rglob("*"):
        if path.suffix in suffixes:
            yield path.relative_to(tree).as_posix()


def names(wheel: Path) -> set[str]:
    """Name what a wheel installs, without its metadata."""
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


def our_words(output: str) -> list[str]:
    """Return the lines in which the build speaks for itself, and not for a tool."""
    return [line.strip() for line in output.splitlines() if line.strip().startswith("wsfast:")]


def test_sdist_holds_what_it_takes_to_build_and_test(checkout: Path, sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {"LICENSE", "README.md", "pyproject.toml", "setup.py", "wsfast/py.typed"}
    wanted.update(
        sources(checkout, "src", ".pyx", ".pxi", ".pxd", ".h"), sources(checkout, "src/kernels", ".c")
    )
    wanted.update(sources(checkout, "wsfast", ".py", ".pyi", ".pxd", ".html"))
    wanted.update(sources(checkout, "tests", ".py", ".pyx", ".toml"))
    wanted.update(sources(checkout, "benchmarks", ".py"), sources(checkout, "docs", ".md"))
    assert wanted <= held


def test_sdist_holds_nothing_that_a_build_left_behind(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        held = archive.getnames()
    assert [
        name for name in held if re.search(r"\.(so|pyd|py[cod])$|src/native\.(c|html)$|__pycache__", name)
    ] == []


def test_native_wheel_holds_the_package_and_no_sources(checkout: Path, native_wheel: Path) -> None:
    wanted = {EXTENSION, "wsfast/py.typed", "wsfast/native.pyi", "wsfast/native.pxd"}
    wanted.update(sources(checkout, "wsfast", ".py", ".html"))
    assert names(native_wheel) == wanted


def test_pure_wheel_holds_the_same_without_the_extension(checkout: Path, pure_wheel: Path) -> None:
    wanted = {"wsfast/py.typed", "wsfast/native.pyi", "wsfast/native.pxd", "wsfast/_built.py"}
    wanted.update(sources(checkout, "wsfast", ".py", ".html"))
    assert names(pure_wheel) == wanted


def test_native_wheel_decodes_with_the_compiled_codec(native_environment: Environment) -> None:
    assert native_environment.smoke("native").startswith("wsfast: native (")


def test_wheel_brings_the_command_and_what_it_needs(native_environment: Environment) -> None:
    command = native_environment.python.with_name("wsfast" + native_environment.python.suffix)
    assert re.search(r"codec +native\n", run(command, "info").stdout)


def test_kernels_compile_without_warnings(native_build: tuple[Path, str]) -> None:
    """-Wall -Wextra for our own C; what Cython writes is Cython's business."""
    _, output = native_build
    assert (
        re.findall(r"^.*src[/\\](?:kernels[/\\]|\w+\.px[id]|native\.pyx).*warning.*$", output, re.MULTILINE)
        == []
    )


def test_python_wheel_needs_neither_compiler_nor_cython(pure_wheel: Path, tmp_path: Path) -> None:
    """And ``wsfast.codec`` imports without h11, which is not installed here."""
    assert pure_wheel.name.endswith("-py3-none-any.whl")
    environment = Environment(tmp_path)
    environment.pip("install", "--quiet", "--no-deps", pure_wheel)
    assert environment.smoke("fallback").startswith("wsfast: fallback (")
    said = environment.run_python("from wsfast.cli.info import collect; print(collect()['fallback_reason'])")
    assert said.startswith("this package was built without the compiled extension, by WSFAST_BUILD=python;")
    assert run(environment.python, "-P", "-c", "import wsfast.codec").stderr == "", "it was asked for"


def test_missing_compiler_installs_the_pure_package_and_says_so_once(
    workshop: Environment, sdist_tree: Path, tmp_path: Path
) -> None:
    built = workshop.build("--wheel", "--outdir", tmp_path, sdist_tree, **NO_COMPILER)
    assert only(tmp_path.iterdir()).name.endswith("-py3-none-any.whl")
    [line] = our_words(built.stdout + built.stderr)
    assert line.startswith(
        "wsfast: the pure-Python codec alone, the compiled one cannot be built: no working C comp"
    )
    assert line in (word.strip() for word in built.stderr.splitlines())
    with zipfile.ZipFile(only(tmp_path.iterdir())) as wheel:
        record = wheel.read("wsfast/_built.py").decode()
    assert re.search(
        r"^REASON = .the compiled extension could not be built: no working C c", record, re.MULTILINE
    )
    assert "ON_PURPOSE = False" in record


def test_missing_compiler_is_an_error_where_native_is_demanded(
    workshop: Environment, sdist_tree: Path, tmp_path: Path
) -> None:
    options = ("--wheel", "--outdir", tmp_path)
    built = workshop.build(*options, sdist_tree, check=False, WSFAST_BUILD="native", **NO_COMPILER)
    assert built.returncode != 0
    [line] = our_words(built.stdout + built.stderr)
    assert line.startswith(
        "wsfast: WSFAST_BUILD=native, but the compiled codec cannot be built: no working C compil"
    )


def test_unknown_kind_of_build_is_an_error(workshop: Environment, sdist_tree: Path, tmp_path: Path) -> None:
    built = workshop.build("--wheel", "--outdir", tmp_path, sdist_tree, check=False, WSFAST_BUILD="fast")
    assert built.returncode != 0
    [line] = our_words(built.stdout + built.stderr)
    assert line == "wsfast: WSFAST_BUILD is 'fast': it has to be 'native', 'python', 'portable' or unset"


@pytest.mark.usefixtures("native_wheel")  # a compiler works
def test_codec_that_does_not_compile_is_never_replaced_quietly(
    workshop: Environment, sdist_tree: Path, tmp_path: Path
) -> None:
    tree = shutil.copytree(sdist_tree, tmp_path / "tree")
    (tree / "src" / "kernels" / "kernels.h").write_text("#error this kernel is broken\n")
    built = workshop.build("--wheel", "--outdir", tmp_path / "dist", tree, check=False)
    assert built.returncode != 0
    assert "this kernel is broken" in built.stdout + built.stderr


def borrow(environment: Environment, folder: Path) -> None:
    """Build the project that cimports wsfast against the one in an environment, and call what it borrowed."""
    project = shutil.copytree(CIMPORT_PROJECT, folder)
    environment.pip("install", "--quiet", "--no-build-isolation", "--no-deps", project)
    run(environment.python, "-P", "-W", "error", CIMPORT_PROJECT / "check.py")


def test_other_project_can_cimport_the_installed_codec(
    native_environment: Environment, requirements: list[str], tmp_path: Path
) -> None:
    """RFC 6455 5.3, 8.1 and 5.6, through the names of wsfast/native.pxd."""
    native_environment.pip("install", "--quiet", *requirements)
    borrow(native_environment, tmp_path / "project")


@pytest.mark.usefixtures("native_wheel")
def test_editable_installation_runs_from_the_tree_and_can_be_cimported(
    workshop: Environment, tmp_path: Path
) -> None:
    tree = copy_tree(tmp_path / "tree")
    workshop.pip("install", "--quiet", "--no-build-isolation", "--editable", tree)
    try:
        where = workshop.run_python("import wsfast.codec as codec; print(codec.__file__)")
        assert Path(where.strip()).samefile(tree / "wsfast" / "codec.py")
        assert workshop.smoke("native")
        borrow(workshop, tmp_path / "project")
    finally:
        workshop.pip("uninstall", "--quiet", "--yes", "wsfast", "borrower")
