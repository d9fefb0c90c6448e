"""An input of the fuzzer, read from its front: decisions first, then whatever is left. Shared by the Python targets."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


class Source:
    """Decisions out of bytes. A source that is used up goes on with zeroes, so that any input is a whole one."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._pos = 0

    @property
    def empty(self) -> bool:
        return self._pos >= len(self._data)

    def take(self, size: int) -> bytes:
        """Return the next ``size`` bytes, or as many as there are."""
        taken = self._data[self._pos : self._pos + size]
        self._pos += size
        return taken

    def byte(self) -> int:
        return self.take(1)[0] if not self.empty else 0

    def word(self) -> int:
        return self.byte() << 8 | self.byte()

    def choose(self, choices: Sequence[T]) -> T:
        return choices[self.byte() % len(choices)]

    def rest(self) -> bytes:
        return self.take(len(self._data))


def random_cut(data: bytes, source: Source) -> list[bytes]:
    """Cut ``data`` into chunks as one decision says: not at all, by a size, or anywhere. Long data: not too small."""
    kind = source.byte()
    smallest = max(len(data) // 200, 1)
    if kind == 0:
        return [data]
    if kind < 32:
        size = max(kind, smallest)
        return [data[pos : pos + size] for pos in range(0, len(data), size)]
    rng = random.Random(kind)
    chunks, pos = [], 0
    while pos < len(data):
        size = rng.choice((0, 1, 1, 2, 3, 8, 30, 100, 3000, 70000)) + (smallest if smallest > 1 else 0)
        chunks.append(data[pos : pos + size])
        pos += size
    return chunks


def outcome(call: Callable[[], T]) -> T | tuple[type[Exception], str]:
    """The result of a call, or the class and the text of the exception that it raised."""
    try:
        return call()
    except Exception as error:
        return type(error), str(error)
