"""``wsfast.browser`` without sockets: order, time, back-pressure, mistakes, and how long a socket lives.

What browsers do alike is in ``browser/test_websocket_interface.py``.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import weakref
from collections.abc import AsyncIterator
from types import ModuleType
from typing import Any

import pytest
from asyncio_helpers import (
    client_tls,
    in_both_loops,
    in_loop,
    port_of,
    server_tls,
    turns,
    without_io,
)
from hypothesis import given, settings
from hypothesis import strategies as st

import wsfast
from wsfast.asyncio.client import connect
from wsfast.browser import (
    DOMException,
    DOMSyntaxError,
    Event,
    InvalidAccessError,
    InvalidStateError,
    WebSocket,
)
from wsfast.browser.connection import BrowserConnect, BrowserConnection
from wsfast.browser.url import parse_url
from wsfast.codec import Opcode
from wsfast.events import CloseCause
from wsfast.exceptions import ConnectionClosedError, InvalidStatus, NegotiationError, WebSocketException
from wsfast.handshake import ServerHandshake
from wsfast.testing import ScriptedPeer
from wsfast.testing.pairs import URI
from wsfast.testing.scripted import _ConnectToPeer
from wsfast.uri import parse_uri

# A socket and a scripted peer


class Dial(BrowserConnect, _ConnectToPeer):
    """Leads to ``peer``, without a socket."""


class Scripted(WebSocket):
    """A socket whose server is a scripted peer. ``notes`` are its events, with what tests ask for."""

    def __init__(self, peer: ScriptedPeer | None = None, /, *protocols: str, **options: Any) -> None:
        self.peer = peer or ScriptedPeer()
        self.peer._handshake = ServerHandshake(
            subprotocols=protocols, compression=options.setdefault("compression", None)
        )
        self.notes: list[Any] = []
        super().__init__(URI, protocols, **{"ping_interval": None, **options})
        for type in ("open", "message", "error", "close"):
            self.addEventListener(type, self.note)

    def note(self, event: Any) -> None:
        facts = {"message": "data", "error": "error", "close": "code"}
        self.notes.append(getattr(event, facts[event.type]) if event.type in facts else event.type)

    def _dial(self, url: str, **options: Any) -> connect:
        dialled = Dial(url, **options)
        dialled.peer = self.peer
        return dialled

    async def reach(self, state: int) -> None:
        for _ in range(20_000):
            if self.readyState == state:
                return
            await asyncio.sleep(0.01)
        raise AssertionError(f"{self!r} does not change")


@contextlib.asynccontextmanager
async def opened(*protocols: str, chunk_size: int | None = None, **options: Any) -> AsyncIterator[Scripted]:
    socket = Scripted(ScriptedPeer(chunk_size=chunk_size), *protocols, **options)
    await socket.reach(WebSocket.OPEN)
    try:
        yield socket
    finally:
        if not socket.peer.transport.is_closing():
            socket.peer.transport.abort()
        await socket.reach(WebSocket.CLOSED)


# The order of events


@without_io
async def test_each_event_is_a_task_of_its_own(connection_codec: ModuleType) -> None:
    """What an event wakes runs before the next one, also if all came in one read."""
    async with opened() as socket:
        socket.onmessage = lambda event: asyncio.get_running_loop().call_soon(socket.notes.append, "woken")
        for text in "abc":
            socket.peer.send(text)
        socket.peer.send_close(3000)
        await socket.peer.expect(Opcode.CLOSE)
        socket.peer.transport.close()
        await socket.reach(WebSocket.CLOSED)
        assert socket.notes == ["open", "a", "woken", "b", "woken", "c", "woken", 3000]


@without_io
async def test_no_event_comes_inside_the_constructor() -> None:
    """Not even if tasks begin to run where they are made, and the connection fails at once."""
    asyncio.get_running_loop().set_task_factory(getattr(asyncio, "eager_task_factory", None))

    class Refusing(Dial):
        async def _open_tcp(self, factory: Any, attempt: Any) -> Any:
            raise ConnectionRefusedError

    class Refused(Scripted):
        def _dial(self, url: str, **options: Any) -> connect:
            return Refusing(url, **options)

    socket = Refused()
    assert (socket.readyState, socket.notes) == (WebSocket.CONNECTING, [])
    await socket.reach(WebSocket.CLOSED)
    assert isinstance(socket.notes[0], ConnectionRefusedError)
    assert socket.notes[1:] == [1006]


@without_io
async def test_who_waits_for_the_next_message_misses_none() -> None:
    async with opened() as socket:
        for number in range(10):
            socket.peer.send(str(number))
        for number in range(10):
            happened: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            socket.addEventListener("message", happened.set_result, once=True)
            assert (await happened).data == str(number)


@without_io
async def test_ready_state_follows_the_peers_close_in_its_turn() -> None:
    """OPEN while messages before the Close are dispatched, then CLOSING until TCP is closed."""
    async with opened() as socket:
        states: list[int] = []
        socket.onmessage = lambda event: states.append(socket.readyState)
        socket.peer.send("a")
        socket.peer.send("b")
        socket.peer.send_close()
        await socket.peer.expect(Opcode.CLOSE)
        assert states == [WebSocket.OPEN] * 2
        assert socket.readyState == WebSocket.CLOSING
        socket.send("too late")
        assert socket.bufferedAmount == 8
        socket.close(4000)  # does nothing
        socket.peer.transport.close()
        await socket.reach(WebSocket.CLOSED)
        assert socket.notes == ["open", "a", "b", 1000]
        assert await socket.peer.receive() is None


@without_io
async def test_messages_before_the_close_are_told_though_listeners_are_slow() -> None:
    """The Close is answered meanwhile (``session/ending.py``), and nothing before it is lost."""
    loop: Any = asyncio.get_running_loop()

    def block(event: Event) -> None:
        loop.now += 1.0

    async with opened() as socket:
        socket.onmessage = block
        for number in range(20):
            socket.peer.send(str(number))
        socket.peer.send_close()
        socket.peer.transport.write_eof()
        await socket.reach(WebSocket.CLOSED)
        assert socket.notes == ["open", *map(str, range(20)), 1000]


@without_io
async def test_messages_and_a_close_before_a_reset_are_told() -> None:
    """The code is the peer's (RFC 6455 7.1.5); clean it is not, because ours did not go out."""
    async with opened() as socket:
        clean: list[bool] = []
        socket.onclose = lambda event: clean.append(event.wasClean)
        socket.onmessage = lambda event: socket.peer.transport.abort() if event.data == "a" else None
        for text in "abc":
            socket.peer.send(text)
        socket.peer.send_close()
        await socket.reach(WebSocket.CLOSED)
        assert (socket.notes, clean) == (["open", "a", "b", "c", 1000], [False])


@without_io
async def test_messages_before_a_fault_and_before_the_end_of_tcp_are_told() -> None:
    for end in (b"\xff\xff", None):
        async with opened() as socket:
            for number in range(20):
                socket.peer.send(str(number))
            if end is None:
                socket.peer.transport.write_eof()
            else:
                socket.peer.send_bytes(end)
            await socket.reach(WebSocket.CLOSED)
            error = socket.notes.pop(-2)
            assert isinstance(error, ConnectionClosedError)
            assert error.cause is (CloseCause.TRANSPORT if end is None else CloseCause.PROTOCOL)
            assert socket.notes == ["open", *map(str, range(20)), 1006]


@without_io
async def test_a_peer_that_floods_waits(connection_codec: ModuleType) -> None:
    """The queue is the session's: what listeners have not seen is bounded, and all of it comes in order."""
    async with opened(max_queue=16) as socket:
        most = 0
        connection = socket._connection
        assert connection is not None

        def look(event: Event) -> None:
            nonlocal most
            most = max(most, connection.stats().n_queued)

        socket.onmessage = look
        for number in range(3000):
            socket.peer.send(str(number))
            if number % 100 == 0:
                await turns(1)
        await turns(20_000)
        assert socket.notes[1:] == [str(number) for number in range(3000)]
        assert most < 2048 + 64, "one read, and some more"


# bufferedAmount


@without_io
async def test_buffered_amount_while_the_peer_does_not_read(connection_codec: ModuleType) -> None:
    """Whole messages, without headers, as long as nothing of them is taken; it falls as the peer takes them."""
    async with opened(chunk_size=1000) as socket:
        socket.peer.transport.pause_reading()
        for size in (0, 10, 300, 70_000):
            socket.send("x" * size)
        assert socket.bufferedAmount == 70_310
        await turns(5)
        assert socket.bufferedAmount == 70_310
        socket.peer.transport.resume_reading()
        seen = [socket.bufferedAmount]
        while seen[-1] and len(seen) < 1000:
            await turns(1)
            seen.append(socket.bufferedAmount)
        assert seen == sorted(seen, reverse=True)
        assert 69_000 < seen[1] < 70_310
        assert len(set(seen)) > 50


@without_io
async def test_buffered_amount_of_a_compressed_message_is_that_of_the_message() -> None:
    async with opened(compression="deflate", chunk_size=10) as socket:
        socket.peer.transport.pause_reading()
        socket.send("x" * 100_000)
        socket.send("안녕")
        await turns(3)
        assert socket.bufferedAmount == 100_006
        socket.peer.transport.resume_reading()
        seen = {100_006}
        for _ in range(100):
            await turns(1)
            seen.add(socket.bufferedAmount)
        assert len([amount for amount in seen if amount > 6]) == 1, "a compressed message counts as a whole"


def test_the_connection_has_no_name_twice() -> None:
    """Its slots are no others than those of the session, which uses many."""
    slots = [name for kind in BrowserConnection.__mro__ for name in vars(kind).get("__slots__", ())]
    assert len(slots) > 50
    assert len(slots) == len(set(slots))


@without_io
async def test_buffered_amount_does_not_fall_within_a_turn() -> None:
    """The transport takes the bytes at once; the standard tells of that at the next turn."""
    async with opened() as socket:
        socket._connection.transport.get_write_buffer_size = lambda: 0  # type: ignore[union-attr]
        socket.send("abc")
        socket.send("de")
        assert socket.bufferedAmount == 5
        await turns(1)
        assert socket.bufferedAmount == 0


@pytest.mark.parametrize("who", ["peer", "keepalive"])
@without_io
async def test_buffered_amount_does_not_fall_when_the_connection_is_lost(who: str) -> None:
    options = {"ping_interval": 1, "ping_timeout": 1, "close_timeout": 1} if who == "keepalive" else {}
    async with opened(**options) as socket:
        socket.peer.transport.pause_reading()
        socket.send("x" * 1000)
        await turns(3)
        if who == "peer":
            socket.peer.transport.abort()
        await socket.reach(WebSocket.CLOSED)
        assert socket.bufferedAmount == 1000
        socket.send("more")
        await turns(3)
        assert socket.bufferedAmount == 1004
        assert socket.notes[-1] == 1006


@without_io
async def test_a_peer_that_leaves_16_mib_untaken_fails() -> None:
    """Flagged as full: error, and close."""
    async with opened(close_timeout=1) as socket:
        socket.peer.transport.pause_reading()
        for _ in range(20):
            socket.send(b"x" * 2**20)
        assert socket.bufferedAmount == 20 * 2**20
        assert socket.readyState == WebSocket.CLOSING
        await socket.reach(WebSocket.CLOSED)
        assert socket.notes[1].cause is CloseCause.LIMIT
        assert socket.notes[2:] == [1006]
        assert socket.bufferedAmount == 20 * 2**20


@pytest.mark.parametrize("tls", [False, True], ids=["tcp", "tls"])
@in_both_loops
async def test_buffered_amount_over_sockets(tls: bool) -> None:
    """It grows within the turn, and falls to 0. Over TLS a loop's own transport hides what lies below it."""
    may_read = asyncio.Event()
    received: list[int] = []

    async def slow(connection: Any) -> None:
        await may_read.wait()
        received.extend([len(message) async for message in connection])

    async with wsfast.serve(slow, "localhost", 0, ssl=server_tls() if tls else None, max_queue=1) as server:
        scheme = "wss" if tls else "ws"
        options = {"ssl": client_tls()} if tls else {}
        socket = WebSocket(
            f"{scheme}://localhost:{port_of(server)}/", compression=None, proxy=None, **options
        )
        while socket.readyState != WebSocket.OPEN:
            await asyncio.sleep(0.001)
        for n in range(1, 129):
            socket.send(b"x" * 2**16)
            assert socket.bufferedAmount == n * 2**16
        await asyncio.sleep(0.05)
        amounts = [socket.bufferedAmount]
        may_read.set()
        while amounts[-1]:
            await asyncio.sleep(0.001)
            amounts.append(socket.bufferedAmount)
        assert amounts == sorted(amounts, reverse=True)
        assert tls or amounts[0] > 0
        socket.close()
        while socket.readyState != WebSocket.CLOSED:
            await asyncio.sleep(0.001)
        assert socket.bufferedAmount == 0
    assert received == [2**16] * 128


@without_io
async def test_a_failure_is_one_though_the_peer_answers_with_a_close() -> None:
    async with opened() as socket:
        ends: list[Any] = []
        socket.onclose = lambda event: ends.append((event.wasClean, event.code, event.reason))
        socket.peer.transport.pause_reading()
        for _ in range(20):
            socket.send(b"x" * 2**20)
        socket.peer.transport.resume_reading()
        socket.peer.send_close(1000, "never mind")
        socket.peer.transport.close()
        await socket.reach(WebSocket.CLOSED)
        assert socket.notes[1].cause is CloseCause.LIMIT
        assert socket.notes[1].rcvd is not None
        assert ends == [(False, 1006, "")]


@without_io
async def test_buffered_amount_when_we_cut_the_connection() -> None:
    """What was taken before is not in it, though nobody has asked meanwhile."""
    async with opened(chunk_size=100, ping_interval=1, ping_timeout=1, close_timeout=1) as socket:
        socket.peer.transport.pause_reading()
        socket.send("x" * 10_000)
        await turns(3)
        socket.peer.transport.resume_reading()
        await turns(10)
        socket.peer.transport.pause_reading()
        await socket.reach(WebSocket.CLOSED)
        assert 8900 <= socket.bufferedAmount <= 9200


@without_io
async def test_buffered_amount_when_the_peer_cuts_the_connection() -> None:
    """The transport tells when it has written nearly all; what it had left is not known."""
    async with opened(write_limit=(1000, 100)) as socket:
        socket.peer.transport.pause_reading()
        for _ in range(10):
            socket.send("x" * 1000)
        await turns(3)
        socket.peer.transport.resume_reading()
        await turns(5)
        socket.peer.transport.abort()
        await socket.reach(WebSocket.CLOSED)
        assert socket.bufferedAmount <= 100


@without_io
async def test_buffered_amount_when_tcp_is_closed_before_all_is_taken() -> None:
    """A transport that is closed in order writes the rest."""
    async with opened() as socket:
        socket.peer.transport.pause_reading()
        socket.send("x" * 1000)
        socket.peer.send_close()
        socket.peer.transport.write_eof()
        await turns(10)
        assert socket._connection is not None
        assert socket._connection.transport.is_closing()
        assert socket.bufferedAmount == 1000
        socket.peer.transport.resume_reading()
        await socket.reach(WebSocket.CLOSED)
        assert socket.bufferedAmount == 0
        assert socket.notes == ["open", 1000]


@without_io
async def test_send_after_the_peer_is_gone_and_before_we_heard_of_it() -> None:
    async with opened() as socket:
        socket.peer.transport.abort()
        socket.send("abc")
        await socket.reach(WebSocket.CLOSED)
        assert socket.bufferedAmount == 3
        assert socket.notes[2:] == [1006]


@without_io
async def test_send_takes_what_is_a_buffer_then() -> None:
    """A buffer that changes after the call changes nothing that is sent."""
    async with opened() as socket:
        data = bytearray(b"before")
        socket.send(data)
        socket.send(memoryview(b"abcdef")[::2].tobytes())
        data[:] = b"after."
        await socket.peer.expect(Opcode.BINARY, b"before")
        await socket.peer.expect(Opcode.BINARY, b"ace")


# Closing


@pytest.mark.parametrize("n_turns", range(12))
@without_io
async def test_close_at_any_time_while_it_connects(n_turns: int) -> None:
    """It fails, with error and close, or it was open before: never both."""
    socket = Scripted()
    for _ in range(n_turns):
        if socket.readyState != WebSocket.CONNECTING:
            break
        await turns(1)
    was_open = socket.readyState == WebSocket.OPEN
    socket.close()
    assert socket.readyState == WebSocket.CLOSING
    if was_open:
        await socket.peer.expect(Opcode.CLOSE, b"")
        socket.peer.send_close(3000)
        socket.peer.transport.close()
    await socket.reach(WebSocket.CLOSED)
    await turns(10)
    if was_open:
        assert socket.notes == ["open", 3000]
    else:
        assert "closed before it was open" in str(socket.notes[0])
        assert socket.notes[1:] == [1006]
        if hasattr(socket.peer, "transport"):
            assert socket.peer.transport.is_closing()
    assert n_turns != 0 or not was_open


@without_io
async def test_the_time_limit_of_connecting_is_no_close_of_ours() -> None:
    socket = Scripted(open_timeout=1)
    socket.peer.data_received = lambda data: None  # type: ignore[method-assign]
    await socket.reach(WebSocket.CLOSED)
    assert isinstance(socket.notes[0], wsfast.exceptions.HandshakeTimeout)
    assert socket.notes[1:] == [1006]


@without_io
async def test_a_peer_that_does_not_answer_the_close() -> None:
    async with opened(close_timeout=3) as socket:
        socket.close(3000)
        await socket.peer.expect(Opcode.CLOSE, b"\x0b\xb8")
        await socket.reach(WebSocket.CLOSED)
        assert isinstance(socket.notes[1].__cause__, TimeoutError)
        assert socket.notes[2:] == [1006]


@without_io
async def test_close_without_code_is_an_empty_frame() -> None:
    async with opened() as socket:
        socket.close()
        await socket.peer.expect(Opcode.CLOSE, b"")
        socket.peer.send("not told")
        socket.peer.send_close(None)
        socket.peer.transport.close()
        await socket.reach(WebSocket.CLOSED)
        assert socket.notes == ["open", 1005]


def test_the_end_of_the_loop_closes_with_1001() -> None:
    """As a page that is left; no event comes, and nothing waits."""
    sockets: list[Scripted] = []

    async def main() -> None:
        sockets.append(Scripted())
        await sockets[0].reach(WebSocket.OPEN)
        sockets.append(Scripted())  # connecting, when the loop ends

    wsfast.testing.run(main())
    assert [socket.readyState for socket in sockets] == [WebSocket.CLOSED] * 2
    assert sockets[0].notes == ["open"]
    assert sockets[0].peer._has_ended
    assert [(frame.opcode, frame.payload) for frame in sockets[0].peer._frames] == [
        (Opcode.CLOSE, b"\x03\xe9")
    ]
    assert sockets[1].notes == []


@pytest.mark.parametrize("loop_name", ["asyncio", "uvloop"])
def test_the_end_of_the_loop_is_told_to_a_server_elsewhere(loop_name: str) -> None:
    """Over TCP, the Close arrives, and no socket is left open."""
    codes: list[int | None] = []

    async def note(connection: Any) -> None:
        await connection.wait_closed()
        codes.append(connection.close_code)

    async def use(port: int) -> None:
        socket = WebSocket(f"ws://127.0.0.1:{port}/", proxy=None)
        while socket.readyState != WebSocket.OPEN:
            await asyncio.sleep(0.001)

    async def main() -> None:
        async with wsfast.serve(note, "127.0.0.1", 0) as server:
            await asyncio.to_thread(
                asyncio.run if loop_name == "asyncio" else uvloop.run, use(port_of(server))
            )
            while not codes:
                await asyncio.sleep(0.001)

    uvloop = pytest.importorskip("uvloop") if loop_name == "uvloop" else None
    asyncio.run(main())
    gc.collect()
    assert codes == [1001]


# Its life


@without_io
async def test_a_socket_is_kept_while_it_is_open_and_not_afterwards() -> None:
    """Nobody refers to it but its listeners. When it is closed no circle is left for the collector."""
    socket = Scripted()
    peer, notes = socket.peer, socket.notes
    reference = weakref.ref(socket)
    await socket.reach(WebSocket.OPEN)
    for type in ("open", "message", "error", "close"):
        socket.removeEventListener(type, socket.note)
    socket.onmessage = lambda event: notes.append(event.data)
    socket.onerror = socket.onclose = lambda event: None
    del socket
    gc.collect()
    peer.send("still there")
    await turns(10)
    assert notes == ["open", "still there"]
    gc.disable()
    try:
        peer.transport.abort()
        await turns(10)
        assert reference() is None
    finally:
        gc.enable()


@without_io
async def test_a_socket_that_never_was_open_leaves_no_circle() -> None:
    socket = WebSocket("ws://testing/", open_timeout=1, proxy=None, host="127.0.0.1", port=1)
    events: list[Any] = []
    socket.onerror = events.append
    socket.onclose = lambda event: None
    reference = weakref.ref(socket)
    del socket
    gc.collect()
    gc.disable()
    try:
        while not events:
            await asyncio.sleep(0)
        await turns(3)
        events.pop()
        assert reference() is None
    finally:
        gc.enable()


@without_io
async def test_a_socket_without_listeners_is_kept_too() -> None:
    peer = ScriptedPeer()
    Scripted(peer)
    await turns(10)
    gc.collect()
    await turns(10)
    assert not peer.transport.is_closing()
    peer.transport.abort()
    await turns(10)


# Listeners


@without_io
async def test_a_coroutine_function_runs_as_a_task() -> None:
    """Nothing waits for it; what it raises is reported."""
    reports: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: reports.append(context))
    async with opened() as socket:

        async def on_message(event: Any) -> None:
            socket.notes.append(f"begin {event.data}")
            await asyncio.sleep(1)
            gc.collect()
            await asyncio.sleep(1)
            assert event.target is socket
            assert event.currentTarget is None
            socket.notes.append(f"end {event.data}")
            raise ValueError(event.data)

        socket.onmessage = on_message
        socket.peer.send("1")
        socket.peer.send("2")
        await asyncio.sleep(3)
        assert socket.notes == ["open", "1", "begin 1", "2", "begin 2", "end 1", "end 2"]
        assert [str(report["exception"]) for report in reports] == ["1", "2"]
        assert not socket._tasks


@in_both_loops
async def test_a_listener_that_raises_is_logged_once() -> None:
    """By asyncio's own handler, with the traceback; the others, and the next events, come all the same."""
    seen: list[str] = []
    socket = WebSocket("ws://127.0.0.1:1/", proxy=None)
    reports: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(
        lambda loop, context: reports.append((context["message"], context["exception"]))
    )

    def fail(event: Event) -> None:
        seen.append(event.type)
        raise asyncio.CancelledError("on purpose") if event.type == "error" else ValueError("on purpose")

    for name in ("error", "close"):
        socket.addEventListener(name, fail)
        socket.addEventListener(name, lambda event: seen.append(f"second of {event.type}"))
    while socket.readyState != WebSocket.CLOSED:
        await asyncio.sleep(0.001)
    assert seen == ["error", "second of error", "close", "second of close"]
    assert [type(exception) for _, exception in reports] == [asyncio.CancelledError, ValueError]
    assert reports[1][0] == f"{socket!r} failed: a listener of close"


def test_keyboard_interrupt_in_a_listener_ends_the_loop() -> None:
    async def main() -> None:
        socket = Scripted()

        def interrupt(event: Event) -> None:
            raise KeyboardInterrupt

        socket.onopen = interrupt
        await socket.reach(WebSocket.CLOSED)

    with pytest.raises(KeyboardInterrupt):
        wsfast.testing.run(main())


@without_io
async def test_an_event_that_is_dispatched_again_is_not_trusted() -> None:
    async with opened() as socket:
        events: list[Event] = []
        socket.onmessage = events.append
        socket.peer.send("x")
        await turns(5)
        assert events[0].isTrusted
        socket.dispatchEvent(events[0])
        assert not events[0].isTrusted
        assert socket.notes == ["open", "x", "x"]


@without_io
async def test_bound_methods_are_one_listener() -> None:
    """Each access makes a new object of it; they are equal, and that counts."""
    async with opened() as socket:
        socket.addEventListener("message", socket.note)  # it is there already
        socket.peer.send("once")
        await turns(5)
        assert socket.notes == ["open", "once"]
        socket.removeEventListener("message", socket.note)
        socket.peer.send("never")
        await turns(5)
        assert socket.notes == ["open", "once"]


@pytest.mark.parametrize("listener", [None, "error", "close"])
@without_io
async def test_a_failure_that_nobody_hears_of_is_logged(
    listener: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    """As browsers write it to their console."""
    socket = Scripted(open_timeout=1)
    socket.peer.data_received = lambda data: None  # type: ignore[method-assign]
    for type in ("open", "message", "error", "close"):
        if type != listener:
            socket.removeEventListener(type, socket.note)
    await socket.reach(WebSocket.CLOSED)
    warnings = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    if listener is None:
        assert len(warnings) == 1
        assert warnings[0].startswith("ws://testing/ failed: ws://testing/ did not finish")
    else:
        assert warnings == []


# What went wrong


@without_io
async def test_the_error_has_the_cause_that_browsers_hide() -> None:
    async with opened(max_size=10) as socket:
        socket.peer.send("x" * 11)
        await socket.reach(WebSocket.CLOSED)
        assert socket.notes[1].cause is CloseCause.LIMIT
        assert "max_size" in socket.notes[1].failure.reason or "10" in str(socket.notes[1])
        assert socket.notes[2:] == [1006]
    async with opened(ping_interval=20, ping_timeout=20) as socket:
        await socket.reach(WebSocket.CLOSED)
        assert socket.notes[1].cause is CloseCause.KEEPALIVE
        assert socket.notes[2:] == [1006]


@in_both_loops
async def test_refusals_are_typed() -> None:
    async def refuse(connection: Any, request: Any) -> Any:
        return connection.respond(403, "no")

    async def nothing(connection: Any) -> None:
        await connection.wait_closed()

    errors: list[Any] = []

    async def failing(url: str, *protocols: str) -> None:
        socket = WebSocket(url, protocols, proxy=None)
        socket.onerror = lambda event: errors.append((event.error, event.message))
        while socket.readyState != WebSocket.CLOSED:
            await asyncio.sleep(0.001)

    async with (
        wsfast.serve(nothing, "127.0.0.1", 0, process_request=refuse) as refusing,
        wsfast.serve(nothing, "127.0.0.1", 0) as choosing_none,
    ):
        await failing(f"ws://127.0.0.1:{port_of(refusing)}/")
        await failing(f"ws://127.0.0.1:{port_of(choosing_none)}/", "chat")
        await failing("ws://127.0.0.1:1/")
    assert [type(error) for error, _ in errors] == [InvalidStatus, NegotiationError, ConnectionRefusedError]
    assert all(message == str(error) for error, message in errors)
    assert "chat" in errors[1][1]


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda socket: WebSocket(5), TypeError, "a URL is a str, not int"),
        (lambda socket: WebSocket("/chat"), DOMSyntaxError, "no page"),
        (lambda socket: WebSocket("ws://h/", subprotocols=["a"]), TypeError, "use protocols"),
        (lambda socket: WebSocket("ws://h/", listener=object()), TypeError, "use onmessage"),
        (lambda socket: WebSocket("ws://h/", on_message=print), TypeError, "use onmessage"),
        (lambda socket: WebSocket("ws://h/", timeout=1), TypeError, "open_timeout"),
        (lambda socket: WebSocket("ws://h/", max_size=-1), ValueError, "max_message_size"),
        (lambda socket: socket.send(5), TypeError, "str or bytes-like, not int"),
        (lambda socket: socket.send(None), TypeError, "str or bytes-like, not NoneType"),
        (lambda socket: socket.send({"a": 1}), TypeError, "str or bytes-like, not dict"),
        (lambda socket: socket.close("why"), TypeError, "an int and a str"),
        (lambda socket: socket.close(3000.5), TypeError, "an int and a str"),
        (lambda socket: socket.close(1000, b"why"), TypeError, "an int and a str"),
        (lambda socket: socket.close(reason="why"), InvalidAccessError, "needs a code"),
        (lambda socket: socket.close(1001), InvalidAccessError, "close code 1001"),
        (lambda socket: socket.close(1000, "가" * 42), DOMSyntaxError, "of 126 bytes"),
        (
            lambda socket: setattr(socket, "onopen", 5),
            TypeError,
            "onopen has to be a function or None, not 5",
        ),
        (lambda socket: setattr(socket, "url", "ws://h/"), AttributeError, "url"),
        (lambda socket: setattr(socket, "readyState", 3), AttributeError, "readyState"),
        (lambda socket: socket.addEventListener("open", 5), TypeError, "handleEvent"),
        (lambda socket: socket.addEventListener("open", print, signal=5), TypeError, "signal"),
        (lambda socket: socket.addEventListener("open", print, {"once": True}), TypeError, "once=True"),
        (lambda socket: socket.removeEventListener("open", print, {}), TypeError, "keyword arguments"),
        (lambda socket: socket.dispatchEvent("open"), TypeError, "an event has to be an Event, not 'open'"),
        (
            lambda socket: type("Chat", (WebSocket,), {"onmessage": print}),
            TypeError,
            "Chat.onmessage would never",
        ),
    ],
)
@without_io
async def test_a_mistake_is_raised_by_the_call(call: Any, error: type[Exception], text: str) -> None:
    """And leaves the socket as it was."""
    async with opened() as socket:
        with pytest.raises(error, match=text):
            call(socket)
        assert socket.bufferedAmount == 0
        socket.send("works")
        await socket.peer.expect(Opcode.TEXT, "works")


@in_loop
async def test_a_mistake_that_only_the_loop_finds_is_reported() -> None:
    """An option that no call of ``connect`` knows goes to ``loop.create_connection``."""
    reports: list[str] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda loop, context: reports.append(str(context["exception"])))
    socket = WebSocket("ws://127.0.0.1:1/", proxy=None, ping_intervall=1)
    codes: list[int] = []
    socket.onclose = lambda event: codes.append(event.code)
    while socket.readyState != WebSocket.CLOSED:
        await asyncio.sleep(0.001)
    assert codes == [1006]
    assert len(reports) == 1
    assert "ping_intervall" in reports[0]


@without_io
async def test_send_before_open() -> None:
    socket = Scripted()
    with pytest.raises(InvalidStateError, match="wait for the event open"):
        socket.send("x")
    with pytest.raises(TypeError):
        socket.send(5)
    socket.close()
    await socket.reach(WebSocket.CLOSED)


def test_exceptions_have_the_names_of_the_dom() -> None:
    found = {(error.name, error.code) for error in (DOMSyntaxError, InvalidStateError, InvalidAccessError)}
    assert found == {("SyntaxError", 12), ("InvalidStateError", 11), ("InvalidAccessError", 15)}
    error = DOMSyntaxError("in words")
    assert (error.message, str(error)) == ("in words", "in words")
    assert isinstance(error, DOMException)
    assert isinstance(error, WebSocketException)
    assert isinstance(error, ValueError)


def test_a_socket_needs_a_loop() -> None:
    with pytest.raises(RuntimeError, match="no running event loop"):
        WebSocket("ws://testing/")


def test_a_loop_that_does_not_run_yet() -> None:
    loop = wsfast.testing.JumpingLoop()
    socket = Scripted(loop=loop)
    loop.run_until_complete(socket.reach(WebSocket.OPEN))
    socket.peer.transport.abort()
    loop.run_until_complete(socket.reach(WebSocket.CLOSED))
    loop.close()
    assert socket.notes[0] == "open"


# Ours


@in_both_loops
async def test_options_are_those_of_connect(connection_codec: ModuleType) -> None:
    """TLS, headers, the origin, and a password in the URL."""

    async def tell(connection: Any) -> None:
        headers = connection.request.headers
        await connection.send("\n".join(headers[name] for name in ("Origin", "Authorization", "X-Test")))

    async with wsfast.serve(tell, "localhost", 0, ssl=server_tls()) as server:
        socket = WebSocket(
            f"https://me:pass@localhost:{port_of(server)}/",
            ssl=client_tls(),
            origin="https://example.org",
            additional_headers={"X-Test": "yes"},
            proxy=None,
        )
        assert socket.url == f"wss://me:pass@localhost:{port_of(server)}/"
        assert "pass" not in repr(socket)
        answers: list[Any] = []
        socket.onmessage = lambda event: answers.append((event.data, event.origin))
        while socket.readyState != WebSocket.CLOSED:
            await asyncio.sleep(0.001)
        assert answers == [
            ("https://example.org\nBasic bWU6cGFzcw==\nyes", f"wss://localhost:{port_of(server)}")
        ]


@without_io
async def test_what_is_sent_in_a_listener_goes_out_before_the_next_event() -> None:
    """An echo."""
    async with opened() as socket:
        socket.onmessage = lambda event: socket.send(event.data)
        for text in ("a", "b", b"c"):
            socket.peer.send(text)
        for opcode, payload in ((Opcode.TEXT, "a"), (Opcode.TEXT, "b"), (Opcode.BINARY, b"c")):
            await socket.peer.expect(opcode, payload)


# URLs


@in_loop
async def test_a_user_name_alone() -> None:
    """The URL of browsers has no colon after it; the credentials have (RFC 7617)."""

    async def tell(connection: Any) -> None:
        await connection.send(connection.request.headers["Authorization"])

    async with wsfast.serve(tell, "127.0.0.1", 0) as server:
        url = f"ws://me@127.0.0.1:{port_of(server)}/"
        socket = WebSocket(url, proxy=None)
        answers: list[str] = []
        socket.onmessage = lambda event: answers.append(event.data)
        while socket.readyState != WebSocket.CLOSED:
            await asyncio.sleep(0.001)
    assert socket.url == url
    assert answers == ["Basic bWU6"]


PIECES = [
    *(
        "ws",
        "wss",
        "HTTP",
        "https",
        ":",
        "//",
        "\\",
        "/",
        "?",
        "#",
        "@",
        "[",
        "]",
        "::1",
        "%",
        "%2e",
        "..",
        ".",
    ),
    *(
        "h",
        "HOST",
        ":80",
        ":0443",
        "user",
        "pass",
        "ß",
        "안",
        "\ud800",
        " ",
        "\t",
        "\n",
        "\x00",
        "\x7f",
        "|",
        "{",
        "%25eth0",
    ),
]


@settings(max_examples=500, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join), st.sampled_from(["", "ws://", "ws://h"]))
def test_any_url_is_refused_or_has_a_normal_form(url: str, start: str) -> None:
    """The normal form of the normal form is itself, and a connection can be made to it."""
    try:
        found = parse_url(start + url)
    except DOMSyntaxError:
        return
    assert parse_url(found.href) == found
    assert found.href.isascii()
    assert parse_uri(found.uri).host_header == found.origin.partition("://")[2]
