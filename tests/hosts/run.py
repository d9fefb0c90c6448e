"""The hosts' own test suites with wsfast in place, and our tests that need a host: ``python tests/hosts/run.py``.

Each host has a folder beside this file, and a venv of its own, which is kept for the next time:

    constraints.txt   what its venv has, pinned; ``oldest.txt``: the same for the oldest version that we support
    suite.py          runs the host's own tests, given the folder of its unpacked sdist, and fails if wsfast was not
                      in use; how many have to pass stands in EXPECTED
    test_*.py         tests of ours, for pytest

wsfast is installed from a wheel that is built first, so that what is tested is what is shipped.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
CODECS = ("native", "fallback")


@dataclass(frozen=True)
class Suite:
    """A host's own tests. ``sdist``: the distribution that has them, None where its wheel does."""

    expected: str
    sdist: str | None = None


# What each host's suite has to say: the same counts as without wsfast.
EXPECTED = {
    "autobahn": Suite("69 passed, 4 skipped"),
    "httpx_ws": Suite("147 passed", sdist="httpx-ws"),
    "hypercorn": Suite("120 passed", sdist="hypercorn"),
    "tornado": Suite("70 passed"),
    "trio_websocket": Suite("64 passed", sdist="trio-websocket"),
    "uvicorn": Suite("225 passed", sdist="uvicorn"),
    "websocket_client": Suite("195 passed, 26 skipped", sdist="websocket-client"),
    "ws4py": Suite("120 passed", sdist="ws4py"),
    "wsproto": Suite("460 passed", sdist="wsproto"),  # 230, in two ways
}


class Failed(Exception):
    """Something did not go well; the message says what, and where its output is."""


def main() -> int:
    hosts = sorted(path.parent.name for path in HERE.glob("*/constraints.txt"))
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0].partition(":")[0] + ".")
    parser.add_argument("--only", metavar="HOST,...", help=f"of {', '.join(hosts)}")
    parser.add_argument("--codec", choices=[*CODECS, "both"], default="both", help="default: %(default)s")
    parser.add_argument(
        "--oldest", action="store_true", help="our tests with the oldest versions, for hosts that have some"
    )
    parser.add_argument("--wheel", type=Path, help="a wheel of wsfast to test (default: build one)")
    parser.add_argument(
        "--python", default=sys.executable, help="for the venvs (default: the one that runs this)"
    )
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    parser.add_argument("--cache", type=Path, default=cache / "wsfast" / "hosts", help="where to keep venvs")
    arguments = parser.parse_args()
    if arguments.only:
        unknown = set(arguments.only.split(",")) - set(hosts)
        if unknown:
            parser.error(f"no host {', '.join(sorted(unknown))}; there are {', '.join(hosts)}")
        hosts = [host for host in hosts if host in arguments.only.split(",")]
    codecs = CODECS if arguments.codec == "both" else (arguments.codec,)
    failures = []
    start = time.monotonic()
    arguments.cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as work:
        wheel = arguments.wheel or build_wheel(Path(work), arguments.python)
        for position, name in enumerate(hosts, 1):
            print(f"[{position}/{len(hosts)}] {name}", flush=True)
            try:
                test(Host(name, arguments), wheel.resolve(), Path(work), codecs)
            except Failed as failure:
                print(f"    FAILED: {failure}", flush=True)
                failures.append(name)
    print(f"{len(hosts) - len(failures)} passed, {len(failures)} failed", flush=True)
    print(
        f"hosts, in {time.monotonic() - start:.0f} s"
        + (f": failed {', '.join(failures)}" if failures else "")
    )
    return 1 if failures else 0


class Host:
    """One folder beside this file, and the venv for it."""

    def __init__(self, name: str, arguments: argparse.Namespace) -> None:
        self.name = name
        self.folder = HERE / name
        self.oldest = arguments.oldest
        self.constraints = self.folder / ("oldest.txt" if arguments.oldest else "constraints.txt")
        self.suite = None if arguments.oldest else EXPECTED.get(name)
        self.tests = sorted(self.folder.glob("test_*.py"))
        self.base_python = arguments.python
        self.venv = arguments.cache / (f"{name}-oldest" if arguments.oldest else name)
        self.python = self.venv / "bin" / "python"

    def prepare(self, wheel: Path) -> None:
        """Make the venv, unless there is one with the same contents, and install wsfast."""
        contents = self.constraints.read_bytes() + self.base_python.encode()
        stamp, digest = self.venv / "constraints.sha256", hashlib.sha256(contents).hexdigest()
        if not stamp.exists() or stamp.read_text() != digest:
            shutil.rmtree(self.venv, ignore_errors=True)
            self.run("venv", [self.base_python, "-m", "venv", str(self.venv)])
            self.pip("--requirement", str(self.constraints))
            stamp.write_text(digest)
        self.pip("--force-reinstall", "--no-deps", str(wheel))
        self.pip("h11", "--constraint", str(self.constraints))

    def pip(self, *arguments: str) -> None:
        pip = [str(self.python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        self.run("pip", [*pip, *arguments])

    def unpack(self, distribution: str, folder: Path) -> Path:
        """Download the sdist of the installed version, and return the folder that it unpacks to."""
        kept = self.venv / "sdist"
        if not kept.exists():
            show = self.run("pip", [str(self.python), "-m", "pip", "show", distribution])
            version = re.search(r"^Version: (.+)$", show, re.MULTILINE)
            assert version
            download = ["download", "--quiet", "--no-deps", "--no-binary", ":all:", "--dest", str(kept)]
            requirement = f"{distribution}=={version[1]}"
            self.run("pip", [str(self.python), "-m", "pip", *download, requirement])
        (archive,) = kept.glob("*.tar.gz")
        target = folder / self.name
        shutil.rmtree(target, ignore_errors=True)
        with tarfile.open(archive) as tar:
            tar.extractall(target, filter="data")
        (unpacked,) = target.iterdir()
        return unpacked

    def run(self, what: str, command: list[str], codec: str | None = None) -> str:
        """Run a command, not from the sources' folder, and return its output."""
        log = self.venv.parent / f"{self.venv.name}-{what}{'-' + codec if codec else ''}.log"
        environment = {
            key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "WSFAST"))
        }
        if codec:
            environment["WSFAST_PURE"] = str(int(codec == "fallback"))
        with log.open("w") as output:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self.venv.parent,
                env=environment,
            )
        text = log.read_text(errors="replace")
        if done.returncode:
            print("\n".join(text.splitlines()[-40:]))
            raise Failed(f"{what} ended with {done.returncode}; all of its output is in {log}")
        return text


def test(host: Host, wheel: Path, work: Path, codecs: tuple[str, ...]) -> None:
    if host.oldest and not host.constraints.exists():
        print("    only one version is supported")
        return
    host.prepare(wheel)
    for codec in codecs:
        implementation = "import wsfast.codec as c; print(c.IMPLEMENTATION)"
        if host.run("codec", [str(host.python), "-c", implementation], codec).strip() != codec:
            raise Failed(f"the codec in use is not the {codec} one")
        if host.suite:
            folder = host.unpack(host.suite.sdist, work) if host.suite.sdist else work
            start = time.monotonic()
            text = host.run("suite", [str(host.python), str(host.folder / "suite.py"), str(folder)], codec)
            counts = counted(text)
            print(f"    {codec:8}  its own suite: {counts}, {time.monotonic() - start:.0f} s", flush=True)
            if counts != host.suite.expected:
                raise Failed(f"expected {host.suite.expected}")
        if host.tests:
            start = time.monotonic()
            pytest = [
                str(host.python),
                "-m",
                "pytest",
                "-q",
                "-c",
                str(HERE / "pytest.ini"),
                *map(str, host.tests),
            ]
            counts = counted(host.run("tests", pytest, codec))
            print(f"    {codec:8}  our tests: {counts}, {time.monotonic() - start:.0f} s", flush=True)
            if not re.fullmatch(r"\d+ passed", counts):
                raise Failed("a test was skipped")


def counted(text: str) -> str:
    """Return the counts in the last summary of pytest or unittest in ``text``, without times and warnings."""
    for line in reversed(text.splitlines()):
        if re.search(r"\d+ passed.* in [\d.]+s", line):
            counts = re.findall(r"\d+ (?:failed|passed|skipped|xfailed|xpassed|errors?)\b", line)
            return ", ".join(counts)
        if ran := re.match(r"Ran (\d+) tests? in", line):
            skipped = re.search(r"^OK \(skipped=(\d+)\)", text, re.MULTILINE)
            n_skipped = int(skipped[1]) if skipped else 0
            return f"{int(ran[1]) - n_skipped} passed" + (f", {n_skipped} skipped" if n_skipped else "")
    return "no summary"


def build_wheel(folder: Path, python: str) -> Path:
    """Build a wheel of the tree, which has to have the native codec."""
    print("building a wheel", flush=True)
    command = [
        python,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--wheel-dir",
        str(folder / "wheel"),
        str(ROOT),
    ]
    subprocess.run(command, check=True, env={**os.environ, "WSFAST_BUILD": "native"})
    (wheel,) = (folder / "wheel").glob("*.whl")
    return wheel


if __name__ == "__main__":
    sys.exit(main())
