"""The gain of ``wsfast.patch`` from replaced masks and validators: ``python -m benchmarks.hosts.masks``.

Theirs and ours take turns, with the codec in use (``WSFAST_PURE=1``: the fallback), and each result is checked first.
"receive" and "send" are the whole work of the package for one message, without I/O. The other rows are the replaced
functions alone. Packages that are not installed are left out. Some packages look for wsaccel; it is hidden from them
unless ``--with-wsaccel`` is given. aiohttp is here to show why it has no patch: see docs/drop-in.md.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from wsfast import codec, patch, unpatch

from ..common.cases import KEY, KIB, Operation, binary_of, frame, size_name, text_of
from ..common.machine import announce, named_versions, version_of
from ..common.race import Timed, race
from ..common.report import Table, add_options, finish

SIZES = (125, 64 * KIB)


@dataclass(frozen=True)
class Replaced:
    """A function of a host, or a larger part. ``make(size)`` returns an operation, which returns its result.

    Ours is the same operation, made under the patch ``patched``, or ``ours(size)``, or both.
    """

    host: str
    name: str
    make: Callable[[int], Operation]
    patched: str | None = None
    ours: Callable[[int], Operation] | None = None


def tornado() -> Iterator[Replaced]:
    from tornado import util, websocket

    def mask(size: int) -> Operation:
        function, data = websocket._websocket_mask, binary_of(size)
        return lambda: function(KEY, data)

    def python_mask(size: int) -> Operation:
        data = binary_of(size)
        return lambda: util._websocket_mask_python(KEY, data)

    def receive(size: int) -> Operation:
        data = frame(binary_of(size), KEY)
        protocol = _tornado_protocol(websocket)
        loop = asyncio.new_event_loop()

        async def receive() -> None:
            protocol.stream.data = memoryview(data)
            await protocol._receive_frame()

        def operation() -> Any:
            coroutine = receive()
            try:
                while True:  # The coroutine never waits.
                    coroutine.send(None)
            except StopIteration:
                pass
            return protocol.handler.message

        operation.loop = loop  # type: ignore[attr-defined]
        asyncio.set_event_loop(loop)
        return operation

    yield Replaced("tornado", "mask, C", mask, "tornado")
    yield Replaced("tornado", "mask, Python", python_mask, "tornado", mask)
    yield Replaced("tornado", "receive", receive, "tornado")


def _tornado_protocol(websocket: Any) -> Any:
    """Return the protocol of a server, without a connection, whose messages end in ``handler.message``."""

    class Stream:
        data: memoryview

        async def read_bytes(self, size: int) -> bytes:
            data, self.data = self.data[:size], self.data[size:]
            return bytes(data)

    class Handler:
        message: Any = None

        def on_message(self, message: Any) -> None:
            self.message = message

    class Protocol(websocket.WebSocketProtocol13):
        def _run_callback(self, callback: Any, *arguments: Any) -> None:
            callback(*arguments)

    handler = Handler()
    protocol = Protocol.__new__(Protocol)
    protocol.stream, protocol.handler = Stream(), handler
    protocol.client_terminated = protocol.server_terminated = protocol._frame_compressed = False
    protocol._fragmented_message_buffer = protocol._decompressor = None
    protocol._message_bytes_in = protocol._wire_bytes_in = 0
    protocol.params = websocket._WebSocketParams()
    return protocol


def autobahn() -> Iterator[Replaced]:
    from autobahn.websocket import protocol

    def mask(size: int) -> Operation:
        create, data = protocol.create_xor_masker, binary_of(size)
        return lambda: create(KEY, size).process(data)

    def validate(size: int) -> Operation:
        validator, data = protocol.Utf8Validator(), text_of("JSON+Korean", size).encode()

        def operation() -> Any:
            validator.reset()
            return validator.validate(data)

        return operation

    yield Replaced("autobahn", "mask", mask, "autobahn")
    yield Replaced("autobahn", "validate text", validate, "autobahn")


def ws4py() -> Iterator[Replaced]:
    from ws4py import streaming

    def receive(kind: str, size: int) -> Operation:
        payload = binary_of(size) if kind == "binary" else text_of("JSON+Korean", size)
        data = frame(payload, KEY)
        stream = streaming.Stream()

        def operation() -> Any:
            stream.parser.send(data)
            message, stream.message = stream.message, None
            return bytes(message.data)

        return operation

    yield Replaced("ws4py", "receive binary", functools.partial(receive, "binary"), "ws4py")
    yield Replaced("ws4py", "receive text", functools.partial(receive, "text"), "ws4py")


def gevent_websocket() -> Iterator[Replaced]:
    from geventwebsocket.websocket import WebSocket

    class Stream:
        def __init__(self, data: bytes) -> None:
            self.data, self.pos = data, 0

        def read(self, size: int) -> bytes:
            start = self.pos
            self.pos = start + size
            return self.data[start : self.pos]

        def write(self, data: bytes) -> None: ...

    class Handler:
        logger = None

    def receive(kind: str, size: int) -> Operation:
        payload = binary_of(size) if kind == "binary" else text_of("JSON+Korean", size)
        stream = Stream(frame(payload, KEY))
        stream.handler = Handler()  # type: ignore[attr-defined]
        connection = WebSocket({}, stream, Handler())

        def operation() -> Any:
            stream.pos = 0
            return connection.read_message()

        return operation

    yield Replaced(
        "gevent-websocket", "receive binary", functools.partial(receive, "binary"), "gevent_websocket"
    )
    yield Replaced("gevent-websocket", "receive text", functools.partial(receive, "text"), "gevent_websocket")


def websocket_client() -> Iterator[Replaced]:
    from websocket import _abnf, _utils

    def mask(size: int) -> Operation:
        data = binary_of(size)
        return lambda: _abnf.ABNF.mask(KEY, data)

    def validate(size: int) -> Operation:
        data = text_of("JSON+Korean", size).encode()
        return lambda: _utils.validate_utf8(data)

    yield Replaced("websocket-client", "mask", mask, "websocket_client")
    yield Replaced("websocket-client", "validate text", validate, "websocket_client")


def aiohttp() -> Iterator[Replaced]:
    from aiohttp._websocket import helpers, writer

    class Transport:
        written = b""

        def write(self, data: bytes) -> None:
            self.written = data

        def is_closing(self) -> bool:
            return False

    class Protocol:
        _paused = False

        async def _drain_helper(self) -> None: ...

    def our_mask(key: bytes, data: bytearray) -> None:
        codec.mask_inplace(data, key)

    def mask(function: Callable[[bytes, bytearray], None], size: int) -> Operation:
        data = bytearray(binary_of(size))

        def operation() -> Any:
            function(KEY, data)
            return len(data)

        return operation

    def send(function: Callable[[bytes, bytearray], None], size: int) -> Operation:
        transport = Transport()
        sender = writer.WebSocketWriter(Protocol(), transport, use_mask=True)
        sender.get_random_bits = lambda: int.from_bytes(KEY, "big")
        message = binary_of(size)

        def operation() -> Any:
            writer.websocket_mask = function
            try:
                sender.send_frame(message, 2).send(None)
            except StopIteration:
                pass
            return transport.written

        return operation

    for name, make in (("mask", mask), ("client send", send)):
        theirs, ours = functools.partial(make, helpers.websocket_mask), functools.partial(make, our_mask)
        yield Replaced("aiohttp", name, theirs, ours=ours)


FINDERS = {
    "tornado": tornado,
    "autobahn": autobahn,
    "ws4py": ws4py,
    "gevent-websocket": gevent_websocket,
    "websocket-client": websocket_client,
    "aiohttp": aiohttp,
}


class Patched(Timed):
    """An operation that is made and sampled while a patch is on. Switching the patch on and off is not counted."""

    def __init__(self, make: Callable[[], Operation], name: str) -> None:
        self.name = name
        with self.patched():
            operation = make()
        super().__init__(operation)

    @contextmanager
    def patched(self) -> Iterator[None]:
        getattr(patch, self.name)(force=True)
        try:
            yield
        finally:
            unpatch(self.name)

    def sample(self) -> None:
        with self.patched():
            super().sample()


def measure(replaced: Replaced, size: int, seconds: float) -> dict[str, float]:
    """Return the us of one operation, theirs and ours, and their ratio."""
    theirs = Timed(replaced.make(size))
    make = functools.partial(replaced.ours or replaced.make, size)
    ours: Timed
    if replaced.patched is None:
        ours = Timed(make())
        result = ours.operation()
    else:
        ours = Patched(make, replaced.patched)
        with ours.patched():
            result = ours.operation()
    if result != theirs.operation():
        raise SystemExit(f"{replaced.host}, {replaced.name}, {size} bytes: not the same result")
    race([theirs, ours], seconds)
    return {"theirs": theirs.ns / 1000, "wsfast": ours.ns / 1000, "ratio": theirs.ns / ours.ns}


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure the patches that replace masks and validators.")
    parser.add_argument("--seconds", type=float, default=1.0, metavar="S", help="for each row (default: 1)")
    parser.add_argument("--only", default=",".join(FINDERS), metavar="NAME,...", help="of %(default)s")
    parser.add_argument(
        "--with-wsaccel", action="store_true", help="let them find wsaccel, if it is installed"
    )
    add_options(parser)
    options = parser.parse_args()
    if not options.with_wsaccel:
        sys.modules.update({"wsaccel": None, "wsaccel.utf8validator": None, "wsaccel.xormask": None})  # type: ignore[dict-item]
    wanted = [name for name in options.only.split(",") if version_of(name)]
    machine = announce(f"codec in use: {codec.IMPLEMENTATION}", named_versions(*wanted))
    table = Table("one message", "us; ratio: times as fast")
    for name in wanted:
        for replaced in FINDERS[name]():
            for size in SIZES:
                row = f"{name}, {replaced.name}, {size_name(size)}"
                table.rows[row] = measure(replaced, size, options.seconds)
                table.sizes[row] = size
    return finish(options, machine, [table], [])


if __name__ == "__main__":
    sys.exit(main())
