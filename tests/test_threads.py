"""Two threads, each with its own decoders and encoders: the codec shares nothing between them.

One object of the codec is for one thread at a time. ``wsfast/native.pyi`` says so; RFC 6455 knows no threads.
"""

from __future__ import annotations

import os
import threading
from types import ModuleType

import pytest
from helpers import BINARY, CONTINUATION, KEY, PING, TEXT, frame, join, run_python

from wsfast.events import Ping, Role


def test_threads_with_their_own_decoders(codec: ModuleType) -> None:
    """RFC 6455 5 and 8.1: different streams, cut inside frames and characters, at the same time."""
    errors: list[str] = []
    barrier = threading.Barrier(4)

    def work(number: int) -> None:
        text, binary = f"스레드 {number} 😀" * 20, bytes([number]) * 300
        stream = join(
            frame(TEXT, text, key=bytes([number, 1, 2, 3])),
            frame(BINARY, binary[:7], fin=False, key=KEY),
            frame(PING, bytes([number]), key=KEY),
            frame(CONTINUATION, binary[7:], key=bytes([3, number, 1, 0])),
        )
        decoder = codec.MessageDecoder(Role.SERVER)
        encoder = codec.FrameEncoder(Role.CLIENT)
        validator = codec.Utf8Validator()
        barrier.wait()
        for turn in range(40):
            size = 5 + (turn + number) % 11
            events = []
            for start in range(0, len(stream), size):
                events += decoder.feed(stream[start : start + size])
            events += decoder.feed(encoder.message(text))
            if events != [text, Ping(bytes([number])), binary, text]:
                errors.append(f"thread {number}, turn {turn}: {events!r:.200}")
            data = text.encode()
            if not all(validator.feed(data[i : i + 3]) for i in range(0, len(data), 3)):
                errors.append(f"thread {number}, turn {turn}: text judged invalid")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_encoders_in_threads_have_different_keys(codec: ModuleType) -> None:
    """RFC 6455 10.3: no two threads draw the same key from a pool."""
    keys: list[bytes] = []
    encoders = [codec.FrameEncoder(Role.CLIENT) for _ in range(4)]
    barrier = threading.Barrier(4)

    def work(number: int) -> None:
        barrier.wait()
        keys.extend([encoders[number].ping()[2:6] for _ in range(1000)])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(keys) == 4000
    # Of 4000 random keys of 32 bits two are the same in one run of 500; ten never are.
    assert len(set(keys)) > 3990


CHANGING = """
import mmap, os, signal, sys
from wsfast.codec import MessageDecoder, Role

SIZE = 3 * 100_000
HEADER = b"\\x81\\x7f" + SIZE.to_bytes(8, "big")
shared = mmap.mmap(-1, len(HEADER) + SIZE)
wide, narrow = "안".encode() * (SIZE // 3), b"a" * SIZE
shared[:] = HEADER + wide
child = os.fork()
if child == 0:
    while os.getppid() != 1:
        shared[len(HEADER):] = narrow
        shared[len(HEADER):] = wide
    os._exit(0)
try:
    for _ in range(300):
        for message in MessageDecoder(Role.CLIENT, max_message_size=None).feed(shared):
            # A str that CPython made has the narrowest kind for its highest character.
            assert sys.getsizeof(message) == sys.getsizeof("".join(list(message)))
finally:
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="another process has to change the buffer")
@pytest.mark.parametrize("pure", ["0", "1"], ids=["native", "fallback"])
def test_a_buffer_that_changes_is_read_once(pure: str) -> None:
    """What is measured is what is used: a text that changes meanwhile cannot lead out of its str."""
    result = run_python(CHANGING, WSFAST_PURE=pure)
    assert (result.returncode, result.stderr) == (0, "")
