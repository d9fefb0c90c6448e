"""Turns: subjects are measured sample by sample, with garbage collection off.

Other work on the machine can only make a sample slower, and in turns it slows all subjects alike. So the best sample
comes nearest to the cost, and a ratio compares samples of the same round.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import operator
import random
import statistics
import time
from collections.abc import Iterable, Sequence
from typing import Protocol

from .cases import Operation

SAMPLE_SECONDS = 0.002  # long compared with the clock's resolution, short compared with disturbances
TURN_SECONDS = 0.01  # Fast subjects get several samples a turn, so that slow ones do not take all the time.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of malloc.h


class Subject(Protocol):
    """A thing that is sampled in turns with others; ``samples`` has the cost of a message, in one unit."""

    samples: list[float]

    def sample(self) -> None:
        """Take one sample, and append it."""

    def turn(self) -> None:
        """Take the samples of one turn: one sample, or several if they are short."""


class Sampled:
    """The base of most subjects: a list of samples, and one sample a turn."""

    def __init__(self) -> None:
        self.samples: list[float] = []

    def sample(self) -> None:
        raise NotImplementedError

    def turn(self) -> None:
        self.sample()


class Timed(Sampled):
    """An operation in this process. ``samples`` has seconds per call.

    If an operation also does work that is not measured, it counts that work in ``seconds_excluded``.
    """

    def __init__(
        self,
        operation: Operation,
        n_messages: int = 1,
        sample_seconds: float = SAMPLE_SECONDS,
        turn_seconds: float = TURN_SECONDS,
    ) -> None:
        super().__init__()
        self.operation = operation
        self.n_messages = n_messages
        self.excludes = hasattr(operation, "seconds_excluded")
        self.n_calls = 1
        for _ in range(3):  # The first calls are seldom like the others.
            self.sample()
        self.n_calls = max(1, int(sample_seconds / self.seconds))
        self.n_samples = max(1, int(turn_seconds / self.seconds / self.n_calls))
        self.samples.clear()

    def time(self, n_calls: int) -> float:
        """Call the operation ``n_calls`` times; return the seconds of all calls together."""
        operation = self.operation
        calls = range(n_calls)
        excluded = self._seconds_excluded()
        start = time.perf_counter()
        for _ in calls:
            operation()
        return time.perf_counter() - start - (self._seconds_excluded() - excluded)

    def sample(self) -> None:
        self.samples.append(self.time(self.n_calls) / self.n_calls)

    def turn(self) -> None:
        for _ in range(self.n_samples):
            self.sample()

    def _seconds_excluded(self) -> float:
        return self.operation.seconds_excluded if self.excludes else 0.0  # type: ignore[attr-defined]

    @property
    def seconds(self) -> float:
        """The best sample, in seconds per call."""
        return min(self.samples)

    @property
    def ns(self) -> float:
        """The best sample, in ns per message."""
        return self.seconds / self.n_messages * 1e9


def keep_memory() -> None:
    """Let glibc keep freed memory.

    Otherwise glibc may give 1 MiB back to the kernel each time, and getting it again takes 100 us. Whether it does so
    depends on other blocks in the heap. That is luck, and the same for all samples of a process.
    """
    with contextlib.suppress(OSError, AttributeError):  # another C library
        mallopt = ctypes.CDLL(None).mallopt
        for parameter in (M_TRIM_THRESHOLD, M_MMAP_THRESHOLD):
            mallopt(parameter, 1 << 30)


class Ballast:
    """Blocks of random sizes on the heap, so that data lie in another place in each process and each sample.

    The place of data changes a figure by some percent. That would look like a difference between two versions.
    """

    def __init__(self, seed: str) -> None:
        self.choose = random.Random(seed)
        self.blocks = [b""] * 200
        for _ in range(8):
            self.shift()

    def shift(self) -> None:
        """Free some of the blocks, and make new ones."""
        for i in range(50):
            self.blocks[self.choose.randrange(200)] = bytes(self.choose.randrange(1, 4096 << i % 5))


def race(
    subjects: Iterable[Subject], seconds: float, min_rounds: int = 3, max_rounds: int | None = None
) -> int:
    """Let the subjects take turns for a number of seconds, or of rounds. Return the number of rounds."""
    subjects = list(subjects)
    gc.collect()
    gc.disable()
    n_rounds = 0
    try:
        end = time.perf_counter() + seconds
        while n_rounds != max_rounds and (n_rounds < min_rounds or time.perf_counter() < end):
            for subject in subjects:
                subject.turn()
            n_rounds += 1
    finally:
        gc.enable()
    return n_rounds


def median_ratio(own: Sequence[float], reference: Sequence[float]) -> float:
    """Return the cost of a subject as a multiple of ``reference``: the median of the ratios inside each round.

    If the processor changes its speed, it does so for both.
    """
    return statistics.median(map(operator.truediv, own, reference))
