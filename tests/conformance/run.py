#!/usr/bin/env python3
"""Run the Autobahn test suite against wsfast, as server and as client, with both codecs.

    python tests/conformance/run.py             groups 1 to 7 and 10, and of 12 and 13 (compression) a case of each
                                                section; a minute for each role and codec
    python tests/conformance/run.py --role server --codec native --cases '3.*,5.15' --wire
    python tests/conformance/run.py --cases '12.*,13.*'     all of compression; ten minutes for each
    python tests/conformance/run.py --all                   all groups

Strict: every case has to end OK, except for three that can only be INFORMATIONAL, and close as the suite
expects. NON-STRICT, UNIMPLEMENTED, FAILED and MISSING (the suite did not come to it) fail, and so does a
subject that writes anything to its standard error, exits by itself, or runs another codec than it should.

The suite is the wstest of --wstest, $WSTEST or the PATH, or the public container image, run by docker or
podman (on Linux: it needs the host's network). For POSIX systems; the standard library only.
"""

from __future__ import annotations

import argparse
import contextlib
import fnmatch
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
IMAGE = "docker.io/crossbario/autobahn-testsuite:25.10.1"

GROUPS = {
    "1": "framing",
    "2": "pings and pongs",
    "3": "reserved bits",
    "4": "opcodes",
    "5": "fragmentation",
    "6": "UTF-8",
    "7": "closing handshake",
    "9": "limits and performance",
    "10": "automatic fragmentation",
    "12": "permessage-deflate, payloads",
    "13": "permessage-deflate, parameters",
}
SAMPLE = "1.*,2.*,3.*,4.*,5.*,6.*,7.*,10.*,12.?.1,12.1.11,13.?.1,13.7.10"

# How many cases the suite has in each of its sections, numbered from 1: so we notice what it leaves out.
SECTIONS = """
    1.1:8 1.2:8 2:11 3:7 4.1:5 4.2:5 5:20
    6.1:3 6.2:4 6.3:2 6.4:4 6.5:5 6.6:11 6.7:4 6.8:2 6.9:4 6.10:3 6.11:5 6.12:8 6.13:5 6.14:10 6.15:1 6.16:3
    6.17:5 6.18:5 6.19:5 6.20:7 6.21:8 6.22:34 6.23:7
    7.1:6 7.3:6 7.5:1 7.7:13 7.9:9 7.13:2
    9.1:6 9.2:6 9.3:9 9.4:9 9.5:6 9.6:6 9.7:6 9.8:6 10.1:1
    12.1:18 12.2:18 12.3:18 12.4:18 12.5:18 13.1:18 13.2:18 13.3:18 13.4:18 13.5:18 13.6:18 13.7:18
"""
CASES = [
    f"{section}.{number}"
    for section, _, n_cases in (entry.partition(":") for entry in SECTIONS.split())
    for number in range(1, int(n_cases) + 1)
]

# A message sent after our Close, and close codes above 4999: RFC 6455 leaves open what is right.
INFORMATIONAL = frozenset({"7.1.6", "7.13.1", "7.13.2"})

START_LIMIT = 30.0
"""Seconds until the suite or the subject has to be ready."""


def group_of(case: str) -> str:
    return case.partition(".")[0]


def batches(cases: Sequence[str]) -> dict[str, list[str]]:
    """One run of the suite for each group, and for each section of the long groups 12 and 13."""
    found: dict[str, list[str]] = {}
    for case in cases:
        group = group_of(case)
        found.setdefault(case.rpartition(".")[0] if group in ("12", "13") else group, []).append(case)
    return found


def time_limit(batch: str) -> float:
    """Seconds that one run of the suite may take; a run that hangs is ended, and its cases are MISSING."""
    return 1800.0 if group_of(batch) in ("9", "12", "13") else 180.0


@dataclass
class Result:
    """What the suite says of one case; ``report`` is the whole of it."""

    case: str
    behavior: str = "MISSING"
    behavior_close: str = "MISSING"
    report: dict[str, Any] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        allowed = ("OK", "INFORMATIONAL") if self.case in INFORMATIONAL else ("OK",)
        return self.behavior in allowed and self.behavior_close in ("OK", "INFORMATIONAL")

    def describe(self) -> str:
        lines = [f"{self.case}: {self.behavior}, closing {self.behavior_close}"]
        if not self.report:
            return lines[0]
        show = self.report.get
        lines.append(f"    {show('result')} {show('resultClose')}")
        for name, expected in (show("expected") or {}).items():
            lines.append(f"    expected for {name}: {shortened(expected)}")
        lines.append(f"    received: {shortened(show('received'))}")
        lines.append(
            f"    close code received: {show('remoteCloseCode')} {show('remoteCloseReason') or ''}".rstrip()
        )
        if show("wasNotCleanReason"):
            lines.append(f"    not clean: {show('wasNotCleanReason')}")
        return "\n".join(lines)

    def wire_log(self) -> str:
        """The suite's own log of the connection: > what it sent, < what it got, . what it waited for."""
        names = {"RO": "< octets", "TO": "> octets", "RF": "< frame ", "TF": "> frame "}
        lines = []
        for kind, *rest in self.report.get("wirelog") or []:
            lines.append(f"    {names.get(kind, '. ' + kind)} {shortened(rest, 160)}")
        return "\n".join(lines)


def shortened(value: object, limit: int = 300) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= limit else f"{text[:limit]}... ({len(text)} characters)"


@dataclass
class Outcome:
    """What a batch of cases came to: a result for each, and what went wrong besides."""

    results: list[Result] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def failing(self) -> list[Result]:
        return [result for result in self.results if not result.passed]


# Processes


@contextlib.contextmanager
def running(command: Sequence[str], **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command in a session of its own; when the block is left, it and its children are gone."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True, **options)
    try:
        yield process
    finally:
        for number in (signal.SIGTERM, signal.SIGKILL):
            if process.poll() is None:
                os.killpg(process.pid, number)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(5)
        if process.stdout is not None:
            process.stdout.close()


def exit_status(process: subprocess.Popen[bytes], limit: float) -> int | None:
    """Wait for the end of a process; None when it did not come."""
    try:
        return process.wait(limit)
    except subprocess.TimeoutExpired:
        return None


def tail(path: Path, n_lines: int = 15) -> str:
    return "\n".join(path.read_text(errors="replace").splitlines()[-n_lines:])


class Suite:
    """The test suite: a ``wstest`` on this machine, or the one in the public container image."""

    def __init__(self, wstest: str | None, engine: str | None) -> None:
        self.wstest = wstest
        self.engine = engine

    @classmethod
    def find(cls, wstest: str | None, docker: bool) -> Suite:
        wstest = wstest or os.environ.get("WSTEST")
        if wstest is not None and not docker:
            path = shutil.which(wstest)
            if path is None:
                sys.exit(f"{wstest} is not an executable; --wstest and $WSTEST want the path of wstest")
            return cls(path, None)
        path = shutil.which("wstest")
        if path is not None and not docker:
            return cls(path, None)
        for name in ("docker", "podman"):
            engine = shutil.which(name)
            # A client without its daemon is of no use.
            if engine and subprocess.run([engine, "info"], capture_output=True).returncode == 0:
                return cls(None, engine).fetched()
        sys.exit(
            "The Autobahn test suite is not here. Any of these will do:\n"
            f"  - docker or podman, running, on Linux: the image {IMAGE} is fetched;\n"
            "  - a Python 2.7 with autobahntestsuite from PyPI; name its wstest by --wstest or $WSTEST, or\n"
            "    have it on the PATH."
        )

    def fetched(self) -> Suite:
        assert self.engine is not None
        if subprocess.run([self.engine, "image", "inspect", IMAGE], capture_output=True).returncode != 0:
            print(f"fetching {IMAGE}", flush=True)
            subprocess.run([self.engine, "pull", "--quiet", IMAGE], check=True)
        return self

    @property
    def name(self) -> str:
        return self.wstest or f"{IMAGE} in {self.engine}"

    @contextlib.contextmanager
    def running(self, mode: str, spec: dict[str, Any], folder: Path) -> Iterator[subprocess.Popen[bytes]]:
        """Run the suite as ``mode``; its reports and its log end up in ``folder``."""
        spec = {"outdir": str(folder), "exclude-cases": [], "exclude-agent-cases": {}, **spec}
        (folder / "spec.json").write_text(json.dumps(spec, indent=1))
        command = ["-m", mode, "-s", str(folder / "spec.json")]
        if mode == "fuzzingserver":
            command += ["-u", "0"]  # no web server beside it
        with contextlib.ExitStack() as stack:
            if self.engine is None:
                command = [str(self.wstest), *command]
            else:
                container = f"{folder.parent.name}-{folder.name}-{os.getpid()}"
                # The folder has the same path inside; Z gives it to the container where SELinux rules.
                shared = ["--network", "host", "--volume", f"{folder}:{folder}:Z"]
                command = [
                    self.engine,
                    "run",
                    "--rm",
                    "--name",
                    container,
                    *shared,
                    IMAGE,
                    "wstest",
                    *command,
                ]
                # It outlives its client when that is killed.
                remove = [self.engine, "rm", "--force", container]
                stack.callback(subprocess.run, remove, capture_output=True)
            log = stack.enter_context((folder / "suite.log").open("wb"))
            yield stack.enter_context(running(command, stdout=log, stderr=subprocess.STDOUT))


def collect(folder: Path, agent: str, cases: Sequence[str]) -> list[Result]:
    """Read the suite's reports. A case without one is MISSING."""
    index: dict[str, Any] = {}
    with contextlib.suppress(OSError):
        index = json.loads((folder / "index.json").read_text())
    found = index.get(agent, {})
    results = []
    for case in cases:
        entry = found.get(case)
        if entry is None:
            results.append(Result(case))
            continue
        report = {}
        with contextlib.suppress(OSError, ValueError):
            report = json.loads((folder / entry["reportfile"]).read_text(errors="replace"))
        results.append(Result(case, entry["behavior"], entry["behaviorClose"], report))
    return results


# Subjects


@dataclass
class Subject:
    """wsfast in one role and with one codec: a process that speaks through the program of that role."""

    role: str
    codec: str
    uvloop: bool

    @property
    def agent(self) -> str:
        return f"wsfast-{self.role}-{self.codec}" + ("-uvloop" if self.uvloop else "")

    @contextlib.contextmanager
    def running(self, folder: Path, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
        command = [sys.executable, str(HERE / f"echo_{self.role}.py"), *arguments]
        if self.uvloop:
            command.append("--uvloop")
        environment = {**os.environ, "WSFAST_PURE": "1" if self.codec == "fallback" else "0"}
        with (
            (folder / "subject.log").open("wb") as log,
            running(command, stdout=subprocess.PIPE, stderr=log, env=environment) as process,
        ):
            yield process

    def first_line(self, process: subprocess.Popen[bytes]) -> list[str]:
        """Return the words of its first line, of which the first is the codec; raise if there is none."""
        assert process.stdout is not None
        ready, _, _ = select.select([process.stdout], [], [], START_LIMIT)
        words = process.stdout.readline().decode().split() if ready else []
        if not words:
            raise RuntimeError(f"the {self.role} did not start")
        if words[0] != self.codec:
            raise RuntimeError(f"the {self.role} runs the {words[0]} codec, not {self.codec}")
        return words

    def run(self, suite: Suite, batch: str, cases: Sequence[str], folder: Path, limit: float) -> Outcome:
        """Run one batch of cases."""
        folder.mkdir()
        outcome = Outcome()
        started = time.monotonic()
        try:
            drive = self._serve if self.role == "server" else self._connect
            drive(suite, cases, folder, limit, outcome)
        except (RuntimeError, OSError) as error:
            outcome.complaints.append(str(error))
        outcome.seconds = time.monotonic() - started
        outcome.results = collect(folder, self.agent, cases)
        # The subject has nothing to say; the suite talks much, and is heard when something is amiss.
        logs = {"suite": folder / "suite.log"} if outcome.complaints else {}
        for whose, log in {self.role: folder / "subject.log", **logs}.items():
            if log.exists() and log.stat().st_size:
                outcome.complaints.append(f"the {whose} wrote:\n{tail(log)}")
        outcome.complaints = [f"{batch}: {complaint}" for complaint in outcome.complaints]
        return outcome

    def _serve(
        self, suite: Suite, cases: Sequence[str], folder: Path, limit: float, outcome: Outcome
    ) -> None:
        with self.running(folder) as server:
            _, port = self.first_line(server)
            spec = {"cases": cases, "servers": [{"agent": self.agent, "url": f"ws://127.0.0.1:{port}"}]}
            with suite.running("fuzzingclient", spec, folder) as fuzzer:
                status = exit_status(fuzzer, limit)
            if status is None:
                outcome.complaints.append(f"not done after {limit:.0f} s, and ended")
            elif status != 0:
                outcome.complaints.append(f"the suite exited with status {status}")
            if server.poll() is not None:
                outcome.complaints.append(f"the server exited by itself with status {server.returncode}")

    def _connect(
        self, suite: Suite, cases: Sequence[str], folder: Path, limit: float, outcome: Outcome
    ) -> None:
        port = free_port()
        uri = f"ws://127.0.0.1:{port}"
        with suite.running("fuzzingserver", {"cases": cases, "url": uri}, folder) as fuzzer:
            await_listening(fuzzer, port)
            with self.running(folder, uri, self.agent) as client:
                self.first_line(client)
                status = exit_status(client, limit)
            if status is None:
                outcome.complaints.append(f"not done after {limit:.0f} s, and ended")
            elif status != 0:
                outcome.complaints.append(f"the client exited with status {status}")
            if status != 0:
                update_reports(port)


def free_port() -> int:
    """The suite's server has to be told its port: take one that is free, and will most likely stay so."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def await_listening(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + START_LIMIT
    while process.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError("the suite's server did not start")


def update_reports(port: int) -> None:
    """Have the suite write its reports, as the client did not come to it: an opening handshake does."""
    lines = [
        "GET /updateReports?agent=nobody HTTP/1.1",
        f"Host: 127.0.0.1:{port}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version: 13",
    ]
    with socket.create_connection(("127.0.0.1", port), START_LIMIT) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(4096):
            pass


# Reports


def print_table(outcomes: dict[str, Outcome]) -> None:
    print(f"  {'group':34} {'cases':>5} {'OK':>5} {'INFORMATIONAL':>13} {'failing':>7} {'seconds':>8}")
    total: list[Result] = []
    seconds = 0.0
    for group, title in GROUPS.items():
        parts = [outcome for batch, outcome in outcomes.items() if group_of(batch) == group]
        if parts:
            results = [result for part in parts for result in part.results]
            spent = sum(part.seconds for part in parts)
            print_row(f"{group:>2} {title}", results, spent)
            total += results
            seconds += spent
    print_row("   all", total, seconds)


def print_row(title: str, results: Sequence[Result], seconds: float) -> None:
    n_ok = sum(result.behavior == "OK" for result in results)
    n_informational = sum(result.behavior == "INFORMATIONAL" for result in results)
    n_failing = sum(not result.passed for result in results)
    print(f"  {title:34} {len(results):5} {n_ok:5} {n_informational:13} {n_failing:7} {seconds:8.1f}")


def run_subject(
    subject: Subject, suite: Suite, cases: Sequence[str], folder: Path, timeout: float | None, wire: bool
) -> bool:
    """Run all cases against one subject, print what came of it, and tell whether all passed."""
    folder.mkdir(parents=True)
    outcomes: dict[str, Outcome] = {}
    for batch, members in batches(cases).items():
        outcomes[batch] = subject.run(suite, batch, members, folder / batch, timeout or time_limit(batch))
    print_table(outcomes)
    good = True
    for outcome in outcomes.values():
        for result in outcome.failing:
            good = False
            print("  " + result.describe().replace("\n", "\n  "))
            if wire and result.report:
                print("  " + result.wire_log().replace("\n", "\n  "))
        for complaint in outcome.complaints:
            good = False
            print("  " + complaint.replace("\n", "\n    "))
    sys.stdout.flush()
    return good


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--role", choices=["server", "client", "both"], default="both")
    parser.add_argument("--codec", choices=["native", "fallback", "both"], default="both")
    parser.add_argument("--uvloop", action="store_true", help="run wsfast on uvloop")
    parser.add_argument("--cases", default=SAMPLE, help="patterns of cases, default: %(default)s")
    parser.add_argument("--all", action="store_const", dest="cases", const="*", help="all cases of the suite")
    parser.add_argument("--repeat", type=int, default=1, metavar="N", help="run everything N times")
    parser.add_argument("--timeout", type=float, help="seconds for one run of the suite")
    parser.add_argument("--wstest", metavar="PATH", help="the suite's executable")
    parser.add_argument(
        "--docker", action="store_true", help="use the container image, whatever else is here"
    )
    parser.add_argument(
        "--reports", type=Path, metavar="DIR", help="keep the suite's reports in this new folder"
    )
    parser.add_argument("--wire", action="store_true", help="show the wire log of cases that fail")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse_arguments(arguments)
    # Leave every block in order, so that no process stays behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    patterns = [pattern.strip() for pattern in options.cases.split(",")]
    cases = [case for case in CASES if any(fnmatch.fnmatchcase(case, pattern) for pattern in patterns)]
    if not cases:
        sys.exit(f"no case of the suite matches {options.cases!r}")
    suite = Suite.find(options.wstest, options.docker)
    print(f"suite: {suite.name}")
    roles = ["server", "client"] if options.role == "both" else [options.role]
    codecs = ["native", "fallback"] if options.codec == "both" else [options.codec]
    subjects = [Subject(role, codec, options.uvloop) for role in roles for codec in codecs]
    n_bad = 0
    with tempfile.TemporaryDirectory(prefix="autobahn-") as temporary:
        reports = Path(temporary) if options.reports is None else options.reports.absolute()
        for turn in range(1, options.repeat + 1):
            for subject in subjects:
                folder = reports / f"{subject.agent}-{turn}"
                print(f"\n{subject.agent}, run {turn} of {options.repeat}", flush=True)
                if not run_subject(subject, suite, cases, folder, options.timeout, options.wire):
                    n_bad += 1
    n_runs = len(subjects) * options.repeat
    print(
        f"\n{len(cases)} cases, {n_runs} runs: "
        + (f"{n_bad} runs failed" if n_bad else "all passed strictly")
    )
    return 1 if n_bad else 0


if __name__ == "__main__":
    sys.exit(main())
