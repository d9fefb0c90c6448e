"""The runner of the Autobahn cases, over a stand-in for the suite: it passes on the suite's verdicts."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from wsfast.codec import IMPLEMENTATION

pytestmark = pytest.mark.skipif(os.name != "posix", reason="the runner is for POSIX systems")

RUN = Path(__file__).with_name("run.py")

# Writes the verdicts that it finds in $VERDICTS, of the cases that it is asked for, as suite.py would.
SUITE = f"""#!{sys.executable}
import json, os, signal, sys
role, path, uri, *cases = sys.argv[1:]
verdicts = json.loads(os.environ["VERDICTS"])
if "crash" in verdicts:
    sys.exit("a word of the suite")
with open(path, "w") as results:
    for case, (behavior, close) in verdicts["cases"].items():
        if case in cases:
            report = {{"case": case, "behavior": behavior, "behavior_close": close}}
            report |= {{"expected": {{"OK": [["message", "sent"]]}}, "received": [["message", "received"]]}}
            results.write(json.dumps(report) + "\\n")
    if "hang" in verdicts:
        results.write('{{"case": ')
if "hang" in verdicts:
    signal.pause()
"""


@pytest.fixture
def run(tmp_path):
    """Run the runner on the codec in use, as a server on asyncio, with given verdicts of the suite."""
    suite = tmp_path / "suite"
    suite.write_text(SUITE)
    suite.chmod(0o755)

    def run(cases, *arguments, suite=suite, **verdicts):
        command = [sys.executable, str(RUN), "--role=server", f"--codec={IMPLEMENTATION}", "--on=asyncio"]
        command += [*arguments, f"--suite={suite}"]
        environment = {**os.environ, "VERDICTS": json.dumps({"cases": cases, **verdicts})}
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)

    return run


def failing(done):
    return [line.split(":")[0].strip() for line in done.stdout.splitlines() if ", closing " in line]


def test_all_ok_passes(run):
    cases = {"3.1": ["OK", "OK"], "3.2": ["OK", "INFORMATIONAL"], "7.1.6": ["INFORMATIONAL", "OK"]}
    done = run(cases, "--cases=3.1,3.2,7.1.6")
    assert done.stdout.endswith("3 cases, 1 runs: all passed strictly\n"), done.stdout + done.stderr
    assert done.returncode == 0


def test_anything_but_ok_fails(run):
    cases = {
        "3.1": ["OK", "OK"],
        "3.2": ["NON-STRICT", "OK"],
        "3.3": ["UNIMPLEMENTED", "OK"],
        "3.4": ["FAILED", "OK"],
        "3.5": ["INFORMATIONAL", "OK"],
        "3.6": ["OK", "WRONG CODE"],
    }
    done = run(cases, "--cases=3.*")
    assert failing(done) == ["3.2", "3.3", "3.4", "3.5", "3.6", "3.7"]
    assert "3.7: MISSING" in done.stdout
    assert 'expected for OK: [["message", "sent"]]' in done.stdout
    assert 'received: [["message", "received"]]' in done.stdout
    assert done.returncode == 1


def test_each_run_counts(run):
    """A run that fails is not forgotten for one that passes."""
    done = run({"3.1": ["OK", "OK"]}, "--cases=3.1,4.1.1", "--repeat=2")
    name = f"server-{IMPLEMENTATION}-asyncio"
    assert done.stdout.endswith(f"2 cases, 2 runs: 2 runs failed: {name}-1, {name}-2\n")
    assert done.returncode == 1


def test_a_suite_that_crashes_fails(run):
    done = run({}, "--cases=1.1.1", crash=True)
    assert "the suite exited with status 1" in done.stdout
    assert "a word of the suite" in done.stdout
    assert "1.1.1: MISSING" in done.stdout
    assert done.returncode == 1


def test_a_suite_that_hangs_is_ended_and_fails(run):
    """The results before that count; a line that was not finished is none."""
    done = run({"1.1.1": ["OK", "OK"]}, "--cases=1.1.1,1.1.2", "--timeout=1", hang=True)
    assert "the suite was not done after 1 s, and was ended" in done.stdout
    assert failing(done) == ["1.1.2"]
    assert "1.1.2: MISSING" in done.stdout
    assert done.returncode == 1


def test_a_server_that_does_not_start_fails(run, tmp_path, monkeypatch):
    """No result is a failure, not an empty success."""
    (tmp_path / "wsfast.py").write_text("raise SystemExit('a word of the server')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    done = run({}, "--cases=1.1.1")
    assert "the server did not start" in done.stdout
    assert "a word of the server" in done.stdout
    assert "1.1.1: MISSING" in done.stdout
    assert done.returncode == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--cases=1.*,8.*"], "no case of the suite matches '8.*'"),
        (["--cases="], "no case of the suite matches ''"),
        (["--on=gevent"], "'gevent' is none of asyncio, uvloop"),
        (["--role=client", "--on=uvicorn"], "there is nothing to run"),
        (["--repeat=0"], "there is nothing to run"),
    ],
)
def test_a_run_of_nothing_is_an_error(run, arguments, words):
    done = run({}, *arguments)
    assert words in done.stderr
    assert done.returncode != 0
