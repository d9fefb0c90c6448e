"""The native codec against the fallback where the project has promised a figure: ``python benchmarks/ratios.py``.

The codecs take turns, sample by sample, and the best sample of each counts: what else the machine does can only make
it slower, and falls on both. No garbage is collected meanwhile. ``--check`` makes a missed bar an error, for CI.
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
from dataclasses import dataclass

from cases import CODECS, KIB, Case, Operation, decode_case, load, mask_case
from machine import describe_machine

SAMPLE_SECONDS = 0.002  # Long against the clock's resolution, short against what disturbs.


@dataclass(frozen=True)
class Bar:
    """A promise: so many times as fast as the fallback, and so many ns per message at most."""

    case: Case
    min_ratio: float
    max_native_ns: float | None = None


BARS = (
    Bar(decode_case("ASCII", 32, 64), min_ratio=15, max_native_ns=60),
    Bar(mask_case(16 * KIB), min_ratio=30),
)


class Subject:
    """One case with one codec: how often to call the operation for a sample, and the best sample."""

    def __init__(self, case: Case, operation: Operation) -> None:
        self.n_messages = case.n_messages
        self.operation = operation
        self.n_calls = 1
        self.seconds = float("inf")  # a call
        for _ in range(3):  # The first calls are seldom like the others.
            self.sample()
        self.n_calls = max(1, int(SAMPLE_SECONDS / self.seconds))
        self.seconds = float("inf")

    def sample(self) -> None:
        operation = self.operation
        calls = range(self.n_calls)
        start = time.perf_counter()
        for _ in calls:
            operation()
        self.seconds = min(self.seconds, (time.perf_counter() - start) / self.n_calls)

    @property
    def ns(self) -> float:
        return self.seconds / self.n_messages * 1e9


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure the native codec against the fallback.")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a bar is missed")
    parser.add_argument("--rounds", type=int, default=400, metavar="N", help="samples of each (default: 400)")
    arguments = parser.parse_args()

    print("\n".join(describe_machine()), flush=True)
    codecs = {name: load(name) for name in CODECS}
    if codecs["native"] is None:
        print("wsfast.native was not built: there is nothing to compare")
        return 1 if arguments.check else 0

    subjects = {
        bar: {name: Subject(bar.case, bar.case.prepare(codec)) for name, codec in codecs.items()}
        for bar in BARS
    }
    gc.collect()
    gc.disable()
    for _ in range(arguments.rounds):
        for pair in subjects.values():
            for subject in pair.values():
                subject.sample()

    width = max(len(bar.case.name) for bar in BARS)
    print(f"\n{'per message':{width}}  {'native ns':>10}  {'fallback ns':>12}  {'ratio':>8}  bars")
    n_missed = 0
    for bar, pair in subjects.items():
        native, fallback = pair["native"].ns, pair["fallback"].ns
        ratio = fallback / native
        verdicts = [(f"at least {bar.min_ratio:g}x", ratio >= bar.min_ratio)]
        if bar.max_native_ns is not None:
            verdicts.append((f"at most {bar.max_native_ns:g} ns", native <= bar.max_native_ns))
        n_missed += sum(not met for _, met in verdicts)
        bars = ", ".join(f"{bar_text}: {'met' if met else 'MISSED'}" for bar_text, met in verdicts)
        print(f"{bar.case.name:{width}}  {native:10,.1f}  {fallback:12,.1f}  {ratio:7.1f}x  {bars}")
    print(f"\nthe best of {arguments.rounds} samples each, taken in turns")
    return 1 if n_missed and arguments.check else 0


if __name__ == "__main__":
    sys.exit(main())
