"""The ratio of two versions, and its noise.

Base runs as two processes, head as one, and they take turns. A series is such a run with new processes: the places of
code and data in memory are chance, and make a difference that lasts as long as a process.

- ``ratio`` is head to base. In a round it is taken against the mean of both bases. The median over the rounds gives the
  series, and the mean over the series gives the ratio.
- ``noise`` is twice the standard error of that mean. It is taken from the ratios of base to itself, or from those of
  head to base if they scatter more.
- ``itself`` is the ratio of base to itself: its distance from 1 is luck alone.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

LIMIT = 1.02


@dataclass
class Cell:
    """One measured thing. A series adds the samples of base, of base again, and of head, round by round."""

    name: str
    unit: str
    base: list[float] = field(default_factory=list)
    head: list[float] = field(default_factory=list)
    log_ratios: list[float] = field(default_factory=list)  # one per series
    log_itself: list[float] = field(default_factory=list)

    def add_series(self, base: Sequence[float], again: Sequence[float], head: Sequence[float]) -> None:
        rounds = list(zip(base, again, head, strict=True))
        ratios = [math.log(c) - (math.log(a) + math.log(b)) / 2 for a, b, c in rounds]
        self.log_ratios.append(statistics.median(ratios))
        self.log_itself.append(statistics.median(math.log(b / a) for a, b, _ in rounds))
        self.base += [*base, *again]
        self.head += head

    @property
    def ratio(self) -> float:
        return math.exp(statistics.fmean(self.log_ratios))

    @property
    def itself(self) -> float:
        return math.exp(statistics.fmean(self.log_itself))

    @property
    def noise(self) -> float:
        if len(self.log_ratios) < 2:
            return math.inf
        scatter = max(statistics.stdev(self.log_ratios), statistics.stdev(self.log_itself))
        return math.exp(2 * scatter / math.sqrt(len(self.log_ratios))) - 1

    @property
    def is_slower(self) -> bool:
        """True if it is slower than the limit, and by more than the noise."""
        return self.ratio > LIMIT * (1 + self.noise)

    @property
    def verdict(self) -> str:
        if self.is_slower:
            return "SLOWER"
        return "unclear" if self.ratio > LIMIT else ""
