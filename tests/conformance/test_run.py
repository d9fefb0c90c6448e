"""The runner of the Autobahn test suite, over a stand-in for the suite: it passes on what the suite says."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from wsfast.codec import IMPLEMENTATION

pytestmark = pytest.mark.skipif(os.name != "posix", reason="the runner is for POSIX systems")

RUN = Path(__file__).with_name("run.py")

# Writes the reports that it finds in $VERDICTS, of the cases that it is asked for, as the suite would.
SUITE = f"""#!{sys.executable}
import json, os, signal, sys
spec = json.load(open(sys.argv[sys.argv.index("-s") + 1]))
verdicts = json.loads(os.environ["VERDICTS"])
if verdicts == "hang":
    signal.pause()
if verdicts == "crash":
    sys.exit("a word of the suite")
entries = {{}}
for case, (behavior, close) in verdicts.items():
    if case in spec["cases"]:
        entries[case] = {{"behavior": behavior, "behaviorClose": close, "reportfile": case + ".json"}}
        report = {{"expected": {{"OK": [["message", "sent"]]}}, "received": [["message", "received"]]}}
        json.dump(report, open(os.path.join(spec["outdir"], case + ".json"), "w"))
json.dump({{spec["servers"][0]["agent"]: entries}}, open(os.path.join(spec["outdir"], "index.json"), "w"))
"""

# Runs the suite's stand-in in place of the image, and notes what it was asked for.
ENGINE = """#!/bin/sh
echo "$*" >> "$ENGINE_LOG"
[ "$1" = run ] || exit 0
while [ "$1" != wstest ]; do shift; done
shift
exec "$STAND_IN" "$@"
"""


def executable(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.fixture
def run(tmp_path):
    """Run the runner on the codec in use, in the role of a server, with given verdicts of the suite."""
    suite = executable(tmp_path / "wstest", SUITE)

    def run(verdicts, *arguments, wstest=True, **environment):
        command = [sys.executable, str(RUN), "--role=server", f"--codec={IMPLEMENTATION}", *arguments]
        if wstest:
            command.append(f"--wstest={suite}")
        environment = {**os.environ, "VERDICTS": json.dumps(verdicts), **environment}
        environment.pop("WSTEST", None)
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)

    return run


def test_all_ok_passes(run):
    verdicts = {"3.1": ["OK", "OK"], "3.2": ["OK", "INFORMATIONAL"], "7.1.6": ["INFORMATIONAL", "OK"]}
    done = run(verdicts, "--cases=3.1,3.2,7.1.6")
    assert done.stdout.endswith("3 cases, 1 runs: all passed strictly\n"), done.stdout + done.stderr
    assert done.returncode == 0


def test_anything_but_ok_fails(run):
    verdicts = {
        "3.1": ["OK", "OK"],
        "3.2": ["NON-STRICT", "OK"],
        "3.3": ["UNIMPLEMENTED", "OK"],
        "3.4": ["FAILED", "OK"],
        "3.5": ["INFORMATIONAL", "OK"],
        "3.6": ["OK", "WRONG CODE"],
    }
    done = run(verdicts, "--cases=3.*")
    failing = [line.split(":")[0].strip() for line in done.stdout.splitlines() if ", closing " in line]
    assert failing == ["3.2", "3.3", "3.4", "3.5", "3.6", "3.7"]
    assert "3.7: MISSING" in done.stdout
    assert 'expected for OK: [["message", "sent"]]' in done.stdout
    assert 'received: [["message", "received"]]' in done.stdout
    assert done.returncode == 1


@pytest.mark.parametrize(
    ("verdict", "words"), [("crash", "exited with status 1"), ("hang", "not done after 1 s, and ended")]
)
def test_a_suite_that_crashes_or_hangs_fails(run, verdict, words):
    done = run(verdict, "--cases=1.1.1", "--timeout=1")
    assert words in done.stdout
    assert "1.1.1: MISSING" in done.stdout
    assert ("a word of the suite" in done.stdout) == (verdict == "crash")
    assert done.returncode == 1


def test_container_runs_the_suite_where_no_wstest_is(run, tmp_path):
    log = tmp_path / "engine.log"
    folder = tmp_path / "path"
    folder.mkdir()
    executable(folder / "docker", ENGINE)
    done = run(
        {"1.1.1": ["OK", "OK"]},
        "--cases=1.1.1",
        "--docker",
        wstest=False,
        PATH=f"{folder}{os.pathsep}/usr/bin{os.pathsep}/bin",
        ENGINE_LOG=str(log),
        STAND_IN=str(tmp_path / "wstest"),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    commands = [line.split() for line in log.read_text().splitlines()]
    started = next(words for words in commands if words[0] == "run")
    assert started[started.index("--network") + 1] == "host"
    # The container is removed by the name that it was given.
    assert commands[-1] == ["rm", "--force", started[started.index("--name") + 1]]


def test_says_how_to_get_the_suite(run, tmp_path):
    done = run({}, wstest=False, PATH=str(tmp_path / "empty"))
    assert "The Autobahn test suite is not here" in done.stderr
    assert done.returncode == 1


def test_pattern_of_no_case_is_an_error(run):
    done = run({}, "--cases=8.*")
    assert "no case of the suite matches '8.*'" in done.stderr
    assert done.returncode == 1
