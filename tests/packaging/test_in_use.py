"""Which wsfast a program gets: the installed one next to the source tree, and the compiled one after the pure one.

Each way in which somebody with a working compiler ends with the fallback says so, and says what helps: the command
that it prints is run here.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import zipfile
from pathlib import Path

import pytest
from environments import NO_COMPILER, Environment, copy_tree, run

WHERE = """
import os
from pathlib import Path

import wsfast.codec


def test_where() -> None:
    folder = Path(wsfast.codec.__file__).parent.parent
    assert folder.samefile(os.environ["FOLDER"])
    assert wsfast.codec.IMPLEMENTATION == os.environ["CODEC"]
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory, native_wheel: Path) -> Environment:
    """An environment with the compiled wheel and what a part of its tests needs."""
    environment = Environment(tmp_path_factory.mktemp("installed"))
    environment.pip("install", "--quiet", native_wheel, "pytest", "pytest-xdist", "websockets")
    return environment


@pytest.fixture(scope="module")
def folder(installed: Environment) -> str:
    """Where the environment has its packages."""
    return installed.run_python("import sysconfig; print(sysconfig.get_path('platlib'))").strip()


@pytest.fixture(scope="module")
def source_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout in which nothing was built."""
    tree = copy_tree(tmp_path_factory.mktemp("source") / "wsfast")
    (tree / "tests" / "test_where.py").write_text(WHERE)
    return tree


# The source tree


def test_commands_in_the_source_tree_name_both_folders(
    installed: Environment, folder: str, source_tree: Path
) -> None:
    """``python -m wsfast`` puts the current folder first. One line says so, and the way out of it works."""
    line = (
        f"the source tree {source_tree} shadows the wsfast with the native codec that is installed in {folder}; "
        "start from another folder, or with 'python -P'"
    )
    for command, beginning in (
        (("info",), "why          "),
        (("doctor",), "  why: "),
        (("bench", "--seconds", "0.01"), "no native codec to compare with: "),
    ):
        done = run(installed.python, "-m", "wsfast", *command, cwd=source_tree)
        assert done.stdout.count(line) == 1
        assert f"{beginning}{line}\n" in done.stdout
        assert done.stderr == ""
    info = run(installed.python, "-m", "wsfast", "info", cwd=source_tree).stdout
    assert re.search(rf"^package +{re.escape(str(source_tree / 'wsfast'))}$", info, re.MULTILINE)
    info = run(installed.python, "-P", "-m", "wsfast", "info", cwd=source_tree).stdout
    assert re.search(r"^codec +native$", info, re.MULTILINE)
    assert re.search(rf"^package +{re.escape(os.path.join(folder, 'wsfast'))}$", info, re.MULTILINE)


def test_programs_in_the_source_tree_log_it(installed: Environment, folder: str, source_tree: Path) -> None:
    program = (installed.python, "-W", "error", "-c", "import wsfast; wsfast.codec.Role")
    [line] = run(*program, cwd=source_tree).stderr.splitlines()
    assert f"the source tree {source_tree} shadows the wsfast with the native codec" in line
    assert folder in line
    assert run(*program, cwd=source_tree, WSFAST_PURE="1").stderr == ""
    assert run(*program, cwd=source_tree.parent).stderr == ""


@pytest.mark.parametrize("pure", ["0", "1"])
@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["one process", "xdist"])
def test_pytest_in_the_source_tree_tests_the_installed_codec(
    installed: Environment, folder: str, source_tree: Path, workers: tuple[str, ...], pure: str
) -> None:
    """As ``python -m pytest`` and as ``pytest``; nothing is skipped for want of the native codec."""
    arguments = (
        "-q",
        "-p",
        "no:cacheprovider",
        *workers,
        "tests/test_where.py",
        "tests/test_5_7_examples.py",
    )
    codec = "fallback" if pure == "1" else "native"
    for pytest_ in (
        (installed.python, "-m", "pytest"),
        (installed.python.with_name("pytest" + installed.python.suffix),),
    ):
        done = run(*pytest_, *arguments, cwd=source_tree, WSFAST_PURE=pure, FOLDER=folder, CODEC=codec)
        assert re.search(r"^\d+ passed in", done.stdout, re.MULTILINE), done.stdout


def test_pytest_tests_the_tree_that_was_built_in_place(
    installed: Environment, source_tree: Path, native_wheel: Path, tmp_path: Path
) -> None:
    """As after ``setup.py build_ext --inplace``, and with an editable installation."""
    tree = shutil.copytree(source_tree, tmp_path / "tree")
    with zipfile.ZipFile(native_wheel) as archive:
        [extension] = [name for name in archive.namelist() if name.startswith("wsfast/native.cp")]
        archive.extract(extension, tree)
    run(
        installed.python,
        *("-m", "pytest", "-q", "tests/test_where.py"),
        cwd=tree,
        FOLDER=str(tree),
        CODEC="native",
    )
    assert run(installed.python, "-c", "import wsfast.codec", cwd=tree).stderr == ""


# The pure wheel


@pytest.fixture(scope="module")
def index(
    tmp_path_factory: pytest.TempPathFactory, sdist: Path, requirements: list[str], native_wheel: Path
) -> Path:
    """A local package index: the sdist, and what building and installing it takes."""
    folder = tmp_path_factory.mktemp("index")
    pip = (sys.executable, "-m", "pip", "download", "--quiet", "--only-binary", ":all:", "--dest", folder)
    run(*pip, *requirements, "h11")
    shutil.copy(sdist, folder)
    return folder


@pytest.fixture(scope="module")
def index_with_pure_wheel(
    tmp_path_factory: pytest.TempPathFactory, index: Path, workshop: Environment, sdist_tree: Path
) -> Path:
    """The same with the wheel for every platform, which pip prefers to the sdist."""
    folder = shutil.copytree(index, tmp_path_factory.mktemp("index") / "with-pure")
    workshop.build("--wheel", "--outdir", folder, sdist_tree, WSFAST_BUILD="portable", **NO_COMPILER)
    return folder


@pytest.mark.parametrize(
    ("published", "reason"),
    [
        ("index", "the compiled extension could not be built: no working C compiler"),
        ("index_with_pure_wheel", "this is the wheel for every platform, without a compiled extension"),
    ],
)
def test_advice_gets_the_native_codec(
    published: str, reason: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """First without a compiler, and then with one, by the command that ``wsfast info`` and the log print.

    pip keeps the wheel that it built without a compiler, or finds the pure one in the index: neither may come again.
    """
    environment = Environment(tmp_path / "venv")
    pip = {
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(request.getfixturevalue(published)),
        "PIP_CACHE_DIR": str(tmp_path / "cache"),
    }
    environment.pip("install", "wsfast", **pip, **NO_COMPILER)
    info = run(environment.python, "-P", "-m", "wsfast", "info").stdout
    [why] = re.findall(r"^why +(.*)$", info, re.MULTILINE)
    assert why.startswith(reason)
    [line] = run(environment.python, "-P", "-W", "error", "-c", "import wsfast.codec").stderr.splitlines()
    assert why in line

    _, _, command = why.partition("; try: ")
    match = re.fullmatch(r"(?:set )?WSFAST_BUILD=native(?:, then)? pip (.*)", command)
    assert match is not None
    # Without optimisation, which would take most of the time of this test.
    environment.pip(*match[1].split(), **pip, WSFAST_BUILD="native", WSFAST_DEBUG="1")
    assert environment.smoke("native")
    assert run(environment.python, "-P", "-m", "wsfast", "info").stderr == ""
