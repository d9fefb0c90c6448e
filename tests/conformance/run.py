"""Run the cases of the Autobahn test suite against wsfast: both roles, both codecs, each place where it runs.

    python tests/conformance/run.py             groups 1 to 7 and 10: 247 cases, some 8 s for each subject
    python tests/conformance/run.py --long      groups 9, 12 and 13: 270 cases, some 6 minutes for each subject
    python tests/conformance/run.py --role server --codec native --on uvicorn --cases '3.*,5.15' --wire
    python tests/conformance/run.py --cases '3.*,4.*,5.15' --repeat 5

A subject is wsfast in one role, with one codec, in one place: on asyncio, uvloop or trio, in uvicorn (as a server),
or in threads.

Strict: every case has to end OK, except for three that can only be INFORMATIONAL, and close as the suite expects.
NON-STRICT, UNIMPLEMENTED, FAILED, ERROR and MISSING (the suite did not come to it) fail. So does a subject that writes
anything to its standard error, exits by itself, or runs another codec than it should.

The cases are run by kosoku, from PyPI: ``pip install '.[conformance]'``. For POSIX systems.
"""

from __future__ import annotations

import argparse
import contextlib
import fnmatch
import importlib.metadata
import json
import os
import select
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
ROLES = ("server", "client")
CODECS = ("native", "fallback")
PLACES = ("asyncio", "uvloop", "uvicorn", "uvicorn-uvloop", "sync", "trio")
OWN_PROGRAMS = ("sync",)  # places with a program of their own for each role

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
SHORT = "1.*,2.*,3.*,4.*,5.*,6.*,7.*,10.*"
LONG = "9.*,12.*,13.*"

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
    """Seconds that one run of the suite may take. A run that hangs is ended; cases without a result are MISSING."""
    return 1800.0 if group_of(batch) in ("9", "12", "13") else 180.0


@dataclass
class Result:
    """The suite's verdict on one case; ``report`` has the facts."""

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
        lines.append(f"    {show('result')} {show('result_close')}")
        for name, expected in (show("expected") or {}).items():
            lines.append(f"    expected for {name}: {shortened(expected)}")
        lines.append(f"    received: {shortened(show('received'))}")
        lines.append(
            f"    close code received: {show('remote_close_code')} {show('remote_close_reason') or ''}".rstrip()
        )
        if show("was_not_clean_reason"):
            lines.append(f"    not clean: {show('was_not_clean_reason')}")
        return "\n".join(lines)

    def wire_log(self) -> str:
        """The suite's own log of the connection: > sent by it, < received, . anything else, such as a wait."""
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
    """The end of a batch of cases: a result for each, and complaints about anything else."""

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
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, start_new_session=True, **options
    )
    try:
        yield process
    finally:
        for number in (signal.SIGTERM, signal.SIGKILL):
            if process.poll() is None:
                os.killpg(process.pid, number)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(5)
        assert process.stdout is not None
        process.stdout.close()


def first_line(process: subprocess.Popen[bytes], whose: str) -> list[str]:
    """Return the words of the first line that a process writes; raise if there is none."""
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], START_LIMIT)
    words = process.stdout.readline().decode().split() if ready else []
    if not words:
        raise RuntimeError(f"the {whose} did not start")
    return words


def exit_status(process: subprocess.Popen[bytes], limit: float) -> int | None:
    """Wait for the end of a process; None if it did not come."""
    try:
        return process.wait(limit)
    except subprocess.TimeoutExpired:
        return None


def tail(path: Path, n_lines: int = 15) -> str:
    return "\n".join(path.read_text(errors="replace").splitlines()[-n_lines:])


class Suite:
    """The suite: ``suite.py``, or a program with the same arguments."""

    def __init__(self, program: str | None) -> None:
        if program is not None:
            self.command, self.name = [program], program
            return
        self.command = [sys.executable, str(HERE / "suite.py")]
        try:
            self.name = f"kosoku {importlib.metadata.version('kosoku')}"
        except importlib.metadata.PackageNotFoundError:
            sys.exit("kosoku, which runs the Autobahn cases, is not installed: pip install '.[conformance]'")

    @contextlib.contextmanager
    def running(self, role: str, folder: Path, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
        """Run the suite against a subject in ``role``; its results and its log end up in ``folder``."""
        command = [*self.command, role, str(folder / "results.jsonl"), *arguments]
        with (folder / "suite.log").open("wb") as log, running(command, stderr=log) as process:
            yield process


def collect(folder: Path, cases: Sequence[str]) -> list[Result]:
    """Read the suite's results. A case without one is MISSING."""
    reports: dict[str, dict[str, Any]] = {}
    with contextlib.suppress(FileNotFoundError):
        for line in (folder / "results.jsonl").read_text("utf-8").splitlines():
            with contextlib.suppress(ValueError):  # the last line of a suite that was ended
                report = json.loads(line)
                reports[report["case"]] = report
    return [
        Result(case, reports[case]["behavior"], reports[case]["behavior_close"], reports[case])
        if case in reports
        else Result(case)
        for case in cases
    ]


# Subjects


@dataclass
class Subject:
    """wsfast in one role, with one codec and in one place: a process that speaks through the program for it."""

    role: str
    codec: str
    place: str

    @property
    def name(self) -> str:
        return f"{self.role}-{self.codec}-{self.place}"

    @contextlib.contextmanager
    def running(self, folder: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[bytes], list[str]]]:
        """Run it, and give the further words of its first line, of which the first is the codec."""
        host, _, loop = self.place.rpartition("-")
        program = next((place for place in ("uvicorn", "trio") if place in (host, loop)), self.role)
        if self.place in OWN_PROGRAMS:
            program = f"{self.place}_{self.role}"
        command = [sys.executable, str(HERE / f"echo_{program}.py"), *arguments]
        if loop == "uvloop":
            command.append("--uvloop")
        environment = {**os.environ, "WSFAST_PURE": "1" if self.codec == "fallback" else "0"}
        with (
            (folder / "subject.log").open("wb") as log,
            running(command, stderr=log, env=environment) as process,
        ):
            codec, *words = first_line(process, self.role)
            if codec != self.codec:
                raise RuntimeError(f"the {self.role} runs the {codec} codec, not {self.codec}")
            yield process, words

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
        outcome.results = collect(folder, cases)
        for whose, log in {self.role: folder / "subject.log", "suite": folder / "suite.log"}.items():
            if log.exists() and log.stat().st_size:
                outcome.complaints.append(f"the {whose} wrote:\n{tail(log)}")
        outcome.complaints = [f"{batch}: {complaint}" for complaint in outcome.complaints]
        return outcome

    def _serve(
        self, suite: Suite, cases: Sequence[str], folder: Path, limit: float, outcome: Outcome
    ) -> None:
        with self.running(folder) as (server, (port,)):
            with suite.running("server", folder, f"ws://127.0.0.1:{port}", *cases) as fuzzer:
                note_end(outcome, "suite", exit_status(fuzzer, limit), limit)
            if server.poll() is not None:
                outcome.complaints.append(f"the server exited by itself with status {server.returncode}")

    def _connect(
        self, suite: Suite, cases: Sequence[str], folder: Path, limit: float, outcome: Outcome
    ) -> None:
        with suite.running("client", folder, *cases) as fuzzer:
            (port,) = first_line(fuzzer, "suite")
            with self.running(folder, f"ws://127.0.0.1:{port}", self.name) as (client, _):
                status = exit_status(client, limit)
                note_end(outcome, "client", status, limit)
            if status != 0:
                end_run(int(port))
            note_end(outcome, "suite", exit_status(fuzzer, START_LIMIT), START_LIMIT)


def note_end(outcome: Outcome, whose: str, status: int | None, limit: float) -> None:
    if status is None:
        outcome.complaints.append(f"the {whose} was not done after {limit:.0f} s, and was ended")
    elif status != 0:
        outcome.complaints.append(f"the {whose} exited with status {status}")


def end_run(port: int) -> None:
    """Ask the suite for its results, if the client did not come to it: an opening handshake does."""
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


def counted(results: Sequence[Result], behavior: str) -> int:
    return sum(result.behavior == behavior for result in results)


def print_table(outcomes: dict[str, Outcome]) -> None:
    print(
        f"  {'group':32} {'cases':>5} {'OK':>5} {'INFORMATIONAL':>13} {'NON-STRICT':>10} {'failing':>7} {'seconds':>7}"
    )
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
    ok, informational, non_strict = (counted(results, b) for b in ("OK", "INFORMATIONAL", "NON-STRICT"))
    n_failing = sum(not result.passed for result in results)
    print(
        f"  {title:32} {len(results):5} {ok:5} {informational:13} {non_strict:10} {n_failing:7} {seconds:7.1f}"
    )


def run_subject(
    subject: Subject, suite: Suite, cases: Sequence[str], folder: Path, timeout: float | None, wire: bool
) -> bool:
    """Run all cases against one subject, print the outcome, and tell whether all passed."""
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


def chosen(text: str, all_of_them: Sequence[str]) -> list[str]:
    """Read a list of names with commas, or ``all``."""
    names = list(all_of_them) if text == "all" else text.split(",")
    unknown = [name for name in names if name not in all_of_them]
    if unknown:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is none of {', '.join(all_of_them)}")
    return names


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for option, names in (("role", ROLES), ("codec", CODECS), ("on", PLACES)):
        parser.add_argument(
            f"--{option}",
            type=lambda text, names=names: chosen(text, names),
            default=list(names),
            metavar="NAME,...",
            help=f"of {', '.join(names)}; default: all",
        )
    parser.add_argument("--cases", default=SHORT, help="patterns of cases, default: %(default)s")
    parser.add_argument("--long", action="store_const", dest="cases", const=LONG, help=f"the cases {LONG}")
    parser.add_argument("--all", action="store_const", dest="cases", const="*", help="all cases of the suite")
    parser.add_argument("--repeat", type=int, default=1, metavar="N", help="run everything N times")
    parser.add_argument("--timeout", type=float, help="seconds for one run of the suite")
    parser.add_argument("--suite", metavar="PATH", help="a program in place of suite.py")
    parser.add_argument(
        "--reports", type=Path, metavar="DIR", help="keep the suite's results and all logs in this new folder"
    )
    parser.add_argument("--wire", action="store_true", help="show the wire log of cases that fail")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse_arguments(arguments)
    # Leave every block in order, so that no process stays running.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    patterns = [pattern.strip() for pattern in options.cases.split(",")]
    cases = [case for case in CASES if any(fnmatch.fnmatchcase(case, pattern) for pattern in patterns)]
    for pattern in patterns:
        if not fnmatch.filter(CASES, pattern):
            sys.exit(f"no case of the suite matches {pattern!r}")
    subjects = [
        Subject(role, codec, place)
        for place in options.on
        for role in options.role
        for codec in options.codec
        if role == "server" or "uvicorn" not in place
    ]
    if not subjects or options.repeat < 1:
        sys.exit("there is nothing to run: uvicorn is a server, and --repeat is at least 1")
    suite = Suite(options.suite)
    print(f"suite: {suite.name}")
    bad: list[str] = []
    with tempfile.TemporaryDirectory(prefix="autobahn-") as temporary:
        reports = Path(temporary) if options.reports is None else options.reports.absolute()
        for turn in range(1, options.repeat + 1):
            for subject in subjects:
                print(f"\n{subject.name}, run {turn} of {options.repeat}", flush=True)
                folder = reports / f"{subject.name}-{turn}"
                if not run_subject(subject, suite, cases, folder, options.timeout, options.wire):
                    bad.append(folder.name)
    n_runs = len(subjects) * options.repeat
    print(
        f"\n{len(cases)} cases, {n_runs} runs: "
        + (f"{len(bad)} runs failed: {', '.join(bad)}" if bad else "all passed strictly")
    )
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
