"""Each level of the text kernels, in a process of its own: ``WSFAST_KERNEL`` is read when the module is loaded."""

from __future__ import annotations

import os
import subprocess
import sys
from types import ModuleType

import pytest

PROGRAM = """
from wsfast import native
from wsfast.events import Role
print(native.KERNEL)
for n_repeats in 1, 2, 3, 5, 10, 40, 3000, 9000:
    for text in "a", "\\u00e9 ", "\\u00ff", "\\u0100x", "\\uc548\\ub155 ", "\\U0001f600", "a\\u00e9\\uc548\\U0001f600":
        text = "plain ASCII " * (n_repeats % 3) + text * n_repeats
        payload = text.encode()
        assert native.FrameEncoder(Role.SERVER).message(text).endswith(payload)
        frame = native.FrameEncoder(Role.CLIENT).message(text)
        decoder = native.MessageDecoder(Role.SERVER)
        assert decoder.feed(frame) == [text]
        assert decoder.feed(frame[: len(frame) // 2]) + decoder.feed(frame[len(frame) // 2 :]) == [text]
        assert native.utf8_valid(payload)
        try:
            native.FrameEncoder(Role.SERVER).message(text + "\\ud800")
        except UnicodeEncodeError as error:
            assert error.start == len(text)
        else:
            raise AssertionError("a surrogate has no UTF-8")
        for pos in {0, len(payload) // 2, len(payload) - 1}:
            wrong = payload[:pos] + b"\\xff" + payload[pos + 1 :]
            assert not native.utf8_valid(wrong)
            decoder = native.MessageDecoder(Role.SERVER)
            assert decoder.feed(native.FrameEncoder(Role.CLIENT).frame(1, wrong)) == []
            assert decoder.failure.code == 1007
"""


LEVELS = ["baseline", "sse4", "avx2", "avx512"]


@pytest.mark.parametrize("level", [*LEVELS, "neon", ""])
def test_every_level_gives_the_same(codecs: tuple[ModuleType, ModuleType], level: str) -> None:
    """RFC 6455 5.6, 8.1. A level that this CPU lacks is the one below it, or none."""
    environment = {**os.environ, "WSFAST_KERNEL": level}
    # -P: what is installed, and not the sources in the current folder.
    done = subprocess.run(
        [sys.executable, "-P", "-c", PROGRAM], env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    baseline, _, chosen = done.stdout.strip().partition("+")
    assert codecs[0].KERNEL.partition("+")[0] == baseline
    if level in LEVELS:
        assert (chosen or "baseline") in LEVELS[: LEVELS.index(level) + 1]
    elif level == "neon":
        assert chosen == "", "NEON is the baseline where there is one"
