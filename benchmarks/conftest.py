"""``pytest benchmarks``: one group of rows for each case, native next to fallback, and a table of ratios at the end.

Every case is checked before it is timed (``common/cases.py``). pytest-benchmark measures one row after the other, so
other work on the machine slows one codec only. To judge a ratio, use ``codec/ratios.py``.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import pytest

from .common.cases import CODECS, Case, load
from .common.machine import describe_machine, fallback_unawares, measured_package

# The best time of each case and codec, in seconds per message; with the case, for its size.
_best: dict[str, tuple[Case, dict[str, float]]] = {}

Run = Callable[[Case], None]


def pytest_configure() -> None:
    problem = fallback_unawares()
    if problem is not None:
        pytest.exit(problem, returncode=1)


def pytest_report_header() -> list[str]:
    return [f"measuring {measured_package()}", *describe_machine()]


@pytest.fixture(params=CODECS)
def run(request: pytest.FixtureRequest, benchmark: Any) -> Run:
    """Check a case with one codec, and time it."""
    codec = load(request.param)
    if codec is None:
        pytest.skip("WSFAST_PURE=1, and wsfast.native was not built")

    def run_case(case: Case) -> None:
        operation = case.prepare(codec)
        benchmark.group = case.name
        benchmark.extra_info.update(
            codec=request.param, kernel=codec.KERNEL, n_messages=case.n_messages, size=case.size
        )
        gc.collect()
        benchmark(operation)
        if benchmark.stats is not None:  # None with --benchmark-disable
            per_message = benchmark.stats.stats.min / case.n_messages
            _best.setdefault(case.name, (case, {}))[1][request.param] = per_message

    return run_case


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not _best:
        return
    width = max(map(len, _best))
    terminalreporter.section("per message, best of the rounds")
    terminalreporter.write_line(
        f"{'':{width}}  {'native ns':>12}  {'GB/s':>7}  {'fallback ns':>12}  {'GB/s':>7}  ratio"
    )
    for name, (case, best) in _best.items():
        cells = []
        for codec in CODECS:
            seconds = best.get(codec)
            cells.append(
                f"{'-':>12}  {'-':>7}"
                if seconds is None
                else f"{seconds * 1e9:12,.1f}  {case.size / seconds / 1e9:7.2f}"
            )
        ratio = f"{best['fallback'] / best['native']:5.1f}x" if len(best) == 2 else "-"
        terminalreporter.write_line(f"{name:{width}}  {'  '.join(cells)}  {ratio:>6}")
