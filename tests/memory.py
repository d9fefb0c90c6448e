"""Memory that Python takes, counted so that only the test itself counts: for the fixture ``memory``.

tracemalloc counts the allocations of all threads, and the collector of cycles runs finalizers of other tests' objects.
So conftest.py runs these tests first. No browser or server has a thread yet, and only their own cycles are freed.
"""

from __future__ import annotations

import gc
import sys
import threading

import pytest


class Memory:
    """As a context: memory that was allocated since it began, in bytes, ``now`` and at its ``peak``."""

    def __init__(self) -> None:
        if sys.implementation.name != "cpython":
            pytest.skip("tracemalloc is CPython's")
        import tracemalloc

        self._tracing = tracemalloc

    def __enter__(self) -> Memory:
        others = [thread.name for thread in threading.enumerate() if thread is not threading.current_thread()]
        assert not others, f"these threads allocate memory too: {others}"
        gc.disable()
        gc.freeze()  # nothing that is there now is looked at again
        self._tracing.start()
        self._start = self._tracing.get_traced_memory()[0]
        return self

    def __exit__(self, *exc: object) -> None:
        self._tracing.stop()
        gc.unfreeze()
        gc.enable()

    @property
    def now(self) -> int:
        gc.collect()
        return self._tracing.get_traced_memory()[0] - self._start

    @property
    def peak(self) -> int:
        return self._tracing.get_traced_memory()[1] - self._start
