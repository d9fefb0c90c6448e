"""Fixtures that build and install the package: one sdist, one wheel of each kind, small environments.

Everything is made from a copy of the tree, with the ordinary clients: ``build`` and ``pip``. Where the package
index or a compiler is missing these tests are skipped; with ``CI`` in the environment that is a failure.
"""

from __future__ import annotations

import os
import sys
import tarfile
import tomllib
from pathlib import Path

import pytest
from environments import NO_COMPILER, ROOT, Environment, copy_tree, only, run


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.packaging)


def missing(what: str) -> None:
    """Skip the test, or fail it in CI."""
    if os.environ.get("CI"):
        pytest.fail(what, pytrace=False)
    pytest.skip(what)


@pytest.fixture(scope="session")
def requirements() -> list[str]:
    """What pyproject.toml says a build needs."""
    needed: list[str] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["build-system"][
        "requires"
    ]
    return needed


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory, requirements: list[str]) -> Environment:
    """An environment with all that a build needs."""
    environment = Environment(tmp_path_factory.mktemp("workshop"))
    installed = environment.pip("install", "--quiet", "build", *requirements, check=False)
    if installed.returncode != 0:
        missing(f"pip cannot install what a build needs: {installed.stderr}")
    return environment


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tree, in which a build by hand has left its traces."""
    tree = copy_tree(tmp_path_factory.mktemp("checkout") / "wsfast")
    for trace in ("src/native.c", "src/native.html", "wsfast/native.pyd", "wsfast/native.so", "wsfast/x.pyc"):
        (tree / trace).write_text("left behind")
    return tree


@pytest.fixture(scope="session")
def sdist(tmp_path_factory: pytest.TempPathFactory, workshop: Environment, checkout: Path) -> Path:
    """The sdist. Making it takes no compiler."""
    folder = tmp_path_factory.mktemp("sdist")
    workshop.build("--sdist", "--outdir", folder, checkout, **NO_COMPILER)
    return only(folder.iterdir())


@pytest.fixture(scope="session")
def sdist_tree(tmp_path_factory: pytest.TempPathFactory, sdist: Path) -> Path:
    """The sdist, unpacked. Tests that change it copy it first."""
    folder = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    return only(folder.iterdir())


@pytest.fixture(scope="session")
def native_build(tmp_path_factory: pytest.TempPathFactory, sdist: Path) -> tuple[Path, str]:
    """The wheel with the compiled codec, from the sdist, in an environment that pip makes; and pip's output."""
    folder = tmp_path_factory.mktemp("native")
    pip = (
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--verbose",
        "--no-deps",
        "--no-cache-dir",
        "--wheel-dir",
        folder,
    )
    built = run(*pip, sdist, check=False, WSFAST_BUILD="native")
    output = built.stdout + built.stderr
    if "no working C compiler" in output:
        missing("there is no C compiler")
    if built.returncode != 0:
        pytest.fail(f"pip cannot build a wheel\n{output}", pytrace=False)
    return only(folder.iterdir()), output


@pytest.fixture(scope="session")
def native_wheel(native_build: tuple[Path, str]) -> Path:
    return native_build[0]


@pytest.fixture(scope="session")
def pure_wheel(tmp_path_factory: pytest.TempPathFactory, sdist_tree: Path) -> Path:
    """The wheel without the compiled codec, built where there is neither a compiler nor Cython."""
    environment = Environment(tmp_path_factory.mktemp("no-cython"))
    environment.pip("install", "--quiet", "build", "setuptools>=77")
    folder = tmp_path_factory.mktemp("pure")
    environment.build("--wheel", "--outdir", folder, sdist_tree, WSFAST_BUILD="python", **NO_COMPILER)
    return only(folder.iterdir())


@pytest.fixture(scope="session")
def native_environment(tmp_path_factory: pytest.TempPathFactory, native_wheel: Path) -> Environment:
    """An environment with the wheel and what it depends on, and nothing else."""
    environment = Environment(tmp_path_factory.mktemp("with-native"))
    environment.pip("install", "--quiet", native_wheel)
    return environment
