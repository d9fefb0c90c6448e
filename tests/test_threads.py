"""Threads, with and without the GIL: what each has of its own works, and what they share does not crash.

The codec's objects are for one thread at a time (RFC 6455 knows no threads; ``wsfast/native.pyi`` does). The native
ones are locked for the length of a call all the same, as a crash would be worse than a wrong order.
"""

from __future__ import annotations

import asyncio
import os
import random
import threading
from collections import Counter
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from helpers import (
    BINARY,
    CONTINUATION,
    KEY,
    PING,
    TEXT,
    counts_references,
    frame,
    join,
    load_codec,
    run_python,
)

import wsfast
from wsfast.connection import Connection
from wsfast.deflate import Deflate, accept
from wsfast.events import Ping, Role

N_THREADS = 8


def in_threads(work: Callable[[int], None], n_threads: int = N_THREADS) -> None:
    """Run ``work(number)`` in threads that begin together; raise what any of them raised."""
    barrier = threading.Barrier(n_threads)
    errors: list[BaseException] = []

    def begin(number: int) -> None:
        barrier.wait()
        try:
            work(number)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=begin, args=(number,)) for number in range(n_threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def when_free(call: Callable[..., Any], *arguments: Any) -> Any:
    """Call until no other thread is inside a call of the same object."""
    while True:
        try:
            return call(*arguments)
        except RuntimeError as error:
            if "is busy" not in str(error):
                raise


# Each with its own


def test_decoders_and_encoders(codec: ModuleType) -> None:
    """RFC 6455 5 and 8.1: different streams, cut inside frames and characters, at the same time."""

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
        for turn in range(40):
            size = 5 + (turn + number) % 11
            events = []
            for start in range(0, len(stream), size):
                events += decoder.feed(stream[start : start + size])
            events += decoder.feed(encoder.message(text))
            assert events == [text, Ping(bytes([number])), binary, text], (number, turn)
            data = text.encode()
            assert all(validator.feed(data[i : i + 3]) for i in range(0, len(data), 3)), (number, turn)

    in_threads(work)


def test_encoders_have_different_keys(codec: ModuleType) -> None:
    """RFC 6455 10.3: no two threads draw the same key from a pool."""
    keys: list[bytes] = []
    encoders = [codec.FrameEncoder(Role.CLIENT) for _ in range(4)]
    in_threads(lambda number: keys.extend([encoders[number].ping()[2:6] for _ in range(1000)]), 4)
    assert len(keys) == 4000
    # Of 4000 random keys of 32 bits two are the same in one run of 500; ten never are.
    assert len(set(keys)) > 3990


@pytest.mark.parametrize("compression", [None, "deflate"])
def test_connections(connection_codec: ModuleType, compression: str | None) -> None:
    """RFC 6455 5 and 7, RFC 7692: a client and a server in each thread, from the first message to the Close."""

    def work(number: int) -> None:
        rng = random.Random(number)
        agreement = accept(["permessage-deflate"], Deflate(threshold=0)) if compression else None
        client, server = (Connection(role, compression=agreement) for role in (Role.CLIENT, Role.SERVER))
        for _ in range(100):
            message: str | bytes = f"{number} 가 " * rng.randrange(200)
            if rng.random() < 0.5:
                message = rng.randbytes(rng.randrange(2000))
            client.send(message)
            assert server.receive_data(client.data_to_send()) == [message]
            server.send(message)
            assert client.receive_data(server.data_to_send()) == [message]
        client.close(1000)
        server.receive_data(client.data_to_send())
        assert server.close_code == 1000

    in_threads(work)


def test_event_loops() -> None:
    """A server and its clients in the loop of each thread."""

    async def echo(connection: wsfast.ServerConnection) -> None:
        async for message in connection:
            await connection.send(message)

    async def visit(server: wsfast.Server, text: str) -> None:
        port = server.sockets[0].getsockname()[1]
        async with wsfast.connect(f"ws://127.0.0.1:{port}/") as connection:
            for size in (1, 1000, 200_000):
                await connection.send(text * size)
                assert await connection.recv() == text * size

    async def main(number: int) -> None:
        async with wsfast.serve(echo, "127.0.0.1", 0) as server:
            await asyncio.gather(*(visit(server, f"{number}") for _ in range(5)))

    in_threads(lambda number: asyncio.run(main(number)), 4)


# All with one


def test_one_decoder_of_the_native_codec() -> None:
    """Each chunk is decoded by itself: every message comes once, whichever thread fed it."""
    messages: list[Any] = ["text", "한국어 " * 300, "ascii " * 5000, b"", bytes(range(256)) * 400]
    stream = b"".join(frame(TEXT if isinstance(m, str) else BINARY, m, key=KEY) for m in messages)
    decoder = load_codec("native").MessageDecoder(Role.SERVER)
    received: list[list[Any]] = [[] for _ in range(N_THREADS)]

    def work(number: int) -> None:
        for _ in range(50):
            received[number] += when_free(decoder.feed, stream)

    in_threads(work)
    assert decoder.failure is None
    counts = Counter(message for part in received for message in part)
    assert counts == dict.fromkeys(messages, N_THREADS * 50)


def test_pieces_for_one_decoder_of_the_native_codec() -> None:
    """Mixed they are no stream: whatever comes of it, nothing crashes."""
    native = load_codec("native")
    stream = join(
        frame(TEXT, "한국어 😀" * 300, key=KEY),
        frame(BINARY, bytes(100_000), fin=False, key=KEY),
        frame(PING, b"ping", key=KEY),
        frame(CONTINUATION, bytes(100_000), key=KEY),
    )
    for seed in range(5):
        decoders = [native.MessageDecoder(Role.SERVER), native.FrameDecoder(Role.SERVER, partial=True)]
        validator = native.Utf8Validator()

        def work(
            number: int, seed: int = seed, decoders: list[Any] = decoders, validator: Any = validator
        ) -> None:
            rng = random.Random(seed * 100 + number)
            for _ in range(100):
                start = rng.randrange(len(stream))
                piece = stream[start : start + rng.choice((1, 7, 300, 70_000))]
                for decoder in decoders:
                    when_free(decoder.feed, piece)
                view = when_free(decoders[0].get_buffer)
                if view is not None:
                    # Another thread may have used the buffer by now, and a released view has no length.
                    try:
                        when_free(decoders[0].buffer_updated, 1)
                    except (RuntimeError, ValueError):
                        pass
                validator.feed(piece)

        in_threads(work)


def test_one_encoder_of_the_native_codec() -> None:
    """RFC 6455 10.3: whole frames, and no key twice."""
    encoder = load_codec("native").FrameEncoder(Role.CLIENT)
    frames: list[list[bytes]] = [[] for _ in range(N_THREADS)]

    def work(number: int) -> None:
        frames[number] += [encoder.message(f"{number}") for _ in range(500)]

    in_threads(work)
    decoder = load_codec("native").MessageDecoder(Role.SERVER)
    for number, part in enumerate(frames):
        assert decoder.feed(b"".join(part)) == [f"{number}"] * 500
    keys = [one[2:6] for part in frames for one in part]
    # Of 4000 random keys of 32 bits two are the same in one run of 500; ten never are.
    assert len(set(keys)) > 3990


# A buffer that another process changes

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


@counts_references
@pytest.mark.skipif(not hasattr(os, "fork"), reason="another process has to change the buffer")
@pytest.mark.parametrize("pure", ["0", "1"], ids=["native", "fallback"])
def test_a_buffer_that_changes_is_read_once(pure: str) -> None:
    """What is measured is what is used: a text that changes meanwhile cannot lead out of its str."""
    result = run_python(CHANGING, WSFAST_PURE=pure)
    assert (result.returncode, result.stderr) == (0, "")
