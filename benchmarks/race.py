"""Taking turns: subjects sample by sample, no garbage collected meanwhile, and the best sample of each counts.

What else the machine does can only make a sample slower, and in turns it falls on all alike.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import time
from collections.abc import Iterable

from cases import Operation

SAMPLE_SECONDS = 0.002  # Long against the clock's resolution, short against what disturbs.
TURN_SECONDS = 0.01  # Fast subjects get some samples a turn, so that slow ones do not take all the time.


M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of malloc.h


class Subject:
    """How often to call an operation for a sample, and the best sample.

    An operation that does more than what is to be measured counts the rest in ``seconds_excluded``.
    """

    def __init__(self, operation: Operation, n_messages: int = 1) -> None:
        self.operation = operation
        self.n_messages = n_messages
        self.excludes = hasattr(operation, "seconds_excluded")
        self.n_calls = 1
        self.n_samples = 1
        self.seconds = float("inf")  # a call
        for _ in range(3):  # The first calls are seldom like the others.
            self.sample()
        self.n_calls = max(1, int(SAMPLE_SECONDS / self.seconds))
        self.n_samples = max(1, int(TURN_SECONDS / self.seconds / self.n_calls))
        self.seconds = float("inf")

    def sample(self) -> None:
        operation = self.operation
        calls = range(self.n_calls)
        excluded = self.seconds_excluded()
        start = time.perf_counter()
        for _ in calls:
            operation()
        seconds = time.perf_counter() - start - (self.seconds_excluded() - excluded)
        self.seconds = min(self.seconds, seconds / self.n_calls)

    def seconds_excluded(self) -> float:
        return self.operation.seconds_excluded if self.excludes else 0.0  # type: ignore[attr-defined]

    @property
    def ns(self) -> float:
        """A message."""
        return self.seconds / self.n_messages * 1e9


def keep_memory() -> None:
    """Let glibc keep what is freed. Whether it gives 1 MiB back to the kernel each time, and takes it anew at 100 us,
    depends on what else lies in the heap: luck, and the same for all samples of a process."""
    with contextlib.suppress(OSError, AttributeError):  # another C library
        mallopt = ctypes.CDLL(None).mallopt
        for parameter in (M_TRIM_THRESHOLD, M_MMAP_THRESHOLD):
            mallopt(parameter, 1 << 30)


def race(subjects: Iterable[Subject], seconds: float, min_rounds: int = 3) -> None:
    """Let the subjects take turns for so many seconds."""
    subjects = list(subjects)
    gc.collect()
    gc.disable()
    try:
        end = time.perf_counter() + seconds
        n_rounds = 0
        while n_rounds < min_rounds or time.perf_counter() < end:
            for subject in subjects:
                for _ in range(subject.n_samples):
                    subject.sample()
            n_rounds += 1
    finally:
        gc.enable()
