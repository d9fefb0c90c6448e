"""The asyncio API with callbacks: order, flow control, the end, and callbacks that do anything (RFC 6455 5.4 to 7.1).

The transport is a fake where chunks and writes matter, and time is the loop's own. The others use sockets.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Callable
from types import ModuleType
from typing import Any, cast

import pytest
from asyncio_helpers import (
    REQUEST,
    FakeTransport,
    Received,
    Wired,
    all_done,
    both_roles,
    client_tls,
    close,
    errors_logged,
    in_both_loops,
    in_loop,
    port_of,
    raw_client,
    server_tls,
    tcp_client,
    text,
    turns,
    uri_of,
    without_io,
)
from helpers import BINARY, CONTINUATION, KEY, PING, PONG, TEXT, join

import wsfast
from wsfast.asyncio import ClientConnection, Listener, ListenerConnection, ServerConnection, broadcast
from wsfast.asyncio.client import ClientListenerConnection
from wsfast.asyncio.server import ServerListenerConnection
from wsfast.connection import Connection as Protocol
from wsfast.connection import ReadyState
from wsfast.events import Role
from wsfast.exceptions import ConcurrencyError, ConnectionClosed, ConnectionClosedError, ConnectionClosedOK
from wsfast.limits import Limits
from wsfast.session import TURN_BOUNDS, Deadline


class Recorder(Listener):
    """Notes what it hears; ``acts``: what it does at a message, by its text."""

    def __init__(self, **acts: Callable[[ListenerConnection], object]) -> None:
        self.acts = acts
        self.heard: list[Any] = []
        self.closed: list[ConnectionClosed] = []

    def on_open(self, connection: ListenerConnection) -> None:
        self.heard.append("open")

    def on_message(self, connection: ListenerConnection, message: str | bytes) -> None:
        self.heard.append(message)
        act = self.acts.get(str(message))
        if act is not None:
            act(connection)

    def on_close(self, connection: ListenerConnection, closed: ConnectionClosed) -> None:
        self.closed.append(closed)


class Hearing(Recorder):
    """Hears of Pings and Pongs too."""

    def on_ping(self, connection: ListenerConnection, payload: bytes) -> None:
        self.heard.append(("ping", payload))

    def on_pong(self, connection: ListenerConnection, payload: bytes) -> None:
        self.heard.append(("pong", payload))


class Echo(Listener):
    def on_message(self, connection: ListenerConnection, message: str | bytes) -> None:
        connection.send(message)


class Listening(Wired):
    """A connection with a listener, and its transport."""

    connection: ListenerConnection


def listen(
    listener: Listener | Callable[[], Listener], role: Role = Role.SERVER, **options: Any
) -> Listening:
    """Make a connection that is open, without a socket."""
    protocol = Protocol(role, **(TURN_BOUNDS | options.pop("protocol", {})))
    options.setdefault("ping_interval", None)
    factory = (lambda: listener) if isinstance(listener, Listener) else listener
    connection = ListenerConnection(protocol, listener=factory, **options)
    transport = FakeTransport(connection, role)
    connection.connection_made(transport)
    connection.opened()
    return Listening(connection, transport, KEY if role is Role.SERVER else None)


# Receiving


@both_roles
@without_io
async def test_messages_come_inside_the_read(role: Role, connection_codec: ModuleType) -> None:
    """5.6: text as ``str``, binary as ``bytes``; no turn of the loop in between."""
    listener = Recorder()
    wired = listen(listener, role)
    wired.receive(wired.frame(TEXT, "한글"), wired.frame(BINARY, b"\xff"), wired.frame(TEXT))
    assert listener.heard == ["open", "한글", b"\xff", ""]


@without_io
async def test_fragments_are_one_message(connection_codec: ModuleType) -> None:
    """5.4."""
    listener = Recorder()
    wired = listen(listener)
    wired.receive(wired.frame(TEXT, b"\xed\x95", fin=False), wired.frame(PING, b"?"))
    assert wired.transport.take() == [Received(PONG, b"?")]
    wired.receive(wired.frame(CONTINUATION, b"\x9c"))
    assert listener.heard == ["open", "한"]


@both_roles
@without_io
async def test_what_is_sent_in_a_read_goes_out_in_one_write(role: Role, connection_codec: ModuleType) -> None:
    wired = listen(Echo(), role)
    wired.receive_text("a", "b", "c")
    assert len(wired.transport.writes) == 1
    assert wired.transport.take() == [text("a"), text("b"), text("c")]


@without_io
async def test_large_answers_are_not_collected(connection_codec: ModuleType) -> None:
    wired = listen(Echo())
    large = "x" * 40_000
    wired.receive_text(large, large, large)
    assert [len(written) for written in wired.transport.writes] == [80_008, 40_004]


@without_io
async def test_text_as_bytes(connection_codec: ModuleType) -> None:
    listener = Recorder()
    wired = listen(listener, protocol={"text": "bytes"})
    wired.receive_text("한글")
    assert listener.heard == ["open", "한글".encode()]


@without_io
async def test_pings_and_pongs_are_told_in_their_place(connection_codec: ModuleType) -> None:
    """5.5.2, 5.5.3: and Pings are answered."""
    listener = Hearing()
    wired = listen(listener)
    wired.receive(
        wired.frame(PING, b"1"), wired.frame(TEXT, "a"), wired.frame(PONG, b"2"), wired.frame(TEXT, "b")
    )
    assert listener.heard == ["open", ("ping", b"1"), "a", ("pong", b"2"), "b"]
    assert wired.transport.take() == [Received(PONG, b"1")]


@without_io
async def test_a_chunk_of_tiny_messages_gives_others_their_turn(connection_codec: ModuleType) -> None:
    listener = Recorder()
    wired = listen(listener)
    wired.receive(wired.frame(BINARY) * 10_000)
    assert len(listener.heard) == 1 + 2048
    assert not wired.transport.reading
    await turns(1)
    assert len(listener.heard) == 1 + 4096
    await all_done()
    assert len(listener.heard) == 1 + 10_000
    assert wired.transport.reading


# Sending


@both_roles
@without_io
async def test_calls_that_send(role: Role, connection_codec: ModuleType) -> None:
    wired = listen(Recorder(), role)
    connection = wired.connection
    connection.send("a")
    connection.send(b"b")
    connection.send(b"c", text=True)
    connection.send_fragment("d")
    assert connection.ping(b"e") == b"e"
    connection.send_fragment("f", True)
    connection.pong("g")
    assert wired.transport.take() == [
        text("a"),
        Received(BINARY, b"b"),
        text("c"),
        text("d", fin=False),
        Received(PING, b"e"),
        Received(CONTINUATION, b"f"),
        Received(PONG, b"g"),
    ]


@without_io
async def test_all_kinds_of_frames_keep_their_order_inside_a_callback(connection_codec: ModuleType) -> None:
    def act(connection: ListenerConnection) -> None:
        connection.send("1")
        connection.ping(b"2")
        connection.send_fragment("3")
        connection.pong(b"4")
        connection.send_fragment("5", fin=True)
        connection.close(1001)

    wired = listen(Recorder(go=act))
    wired.receive_text("go")
    assert wired.transport.take() == [
        text("1"),
        Received(PING, b"2"),
        text("3", fin=False),
        Received(PONG, b"4"),
        Received(CONTINUATION, b"5"),
        close(1001),
    ]


@without_io
async def test_mistakes_are_exceptions_at_the_call(connection_codec: ModuleType) -> None:
    wired = listen(Recorder())
    connection = wired.connection
    mistakes: list[tuple[Callable[[], object], type[Exception]]] = [
        (lambda: connection.send(["a"]), TypeError),  # type: ignore[arg-type]
        (lambda: connection.send("\ud800"), ValueError),
        (lambda: connection.ping(b"x" * 126), ValueError),
        (lambda: connection.pong(b"x" * 126), ValueError),
        (lambda: connection.close(1006), ValueError),
        (lambda: connection.fail(1000, "x" * 124), ValueError),
    ]
    for call, kind in mistakes:
        with pytest.raises(kind):
            call()
    connection.send_fragment("a")
    with pytest.raises(RuntimeError):
        connection.send("b")
    with pytest.raises(TypeError):
        connection.send_fragment(b"b")
    connection.ping(b"same")
    with pytest.raises(ConcurrencyError):
        connection.ping(b"same")
    assert wired.transport.take() == [text("a", fin=False), Received(PING, b"same")]
    assert connection.ready_state is ReadyState.OPEN


@without_io
async def test_pings_that_nobody_answers_are_forgotten() -> None:
    wired = listen(Recorder())
    for _ in range(5000):
        wired.connection.ping()
    assert len(wired.connection._pings._pending) <= 1024


@without_io
async def test_latency_is_measured() -> None:
    wired = listen(Recorder())
    payload = wired.connection.ping()
    await asyncio.sleep(2)
    wired.receive(wired.frame(PONG, payload))
    assert wired.connection.latency == pytest.approx(2)


@without_io
async def test_broadcast_reaches_listeners_and_skips_messages_of_fragments() -> None:
    one, two = listen(Recorder()), listen(Recorder())
    two.connection.send_fragment("a")
    broadcast([one.connection, two.connection], "all")
    assert one.transport.take() == [text("all")]
    assert two.transport.take() == [text("a", fin=False)]


@without_io
async def test_what_is_sent_comes_after_broadcasts_that_wait() -> None:
    wired = listen(Recorder(a=lambda connection: connection.send("3")))
    wired.connection.pause_writing()
    broadcast([wired.connection], "1", slow="wait")
    assert wired.transport.take() == []
    wired.connection.send("2")
    assert wired.transport.take() == [text("1"), text("2")]
    wired.connection.resume_writing()
    wired.connection.send_fragment("x")
    wired.connection.pause_writing()
    wired.connection.send_fragment("y", fin=True)
    wired.connection.resume_writing()
    wired.receive_text("a")
    await turns(2)
    assert wired.transport.take()[-1] == text("3")


@without_io
async def test_there_is_no_recv() -> None:
    connection = listen(Recorder()).connection
    with pytest.raises(TypeError, match="on_message"):
        await connection.recv()
    with pytest.raises(TypeError, match="on_message"):
        async for _ in connection:
            pass
    with pytest.raises(TypeError, match="on_message"):
        connection.recv_streaming()


# Flow control


@without_io
async def test_what_follows_in_the_read_waits_while_reading_is_paused(connection_codec: ModuleType) -> None:
    listener = Recorder(b=lambda connection: connection.pause_reading())
    wired = listen(listener)
    wired.receive_text("a", "b", "c", "d")
    assert listener.heard == ["open", "a", "b"]
    assert not wired.transport.reading
    wired.connection.pause_reading()  # nothing more
    wired.connection.resume_reading()
    assert listener.heard == ["open", "a", "b"], "not inside the call"
    await all_done()
    assert listener.heard == ["open", "a", "b", "c", "d"]
    assert wired.transport.reading
    wired.receive_text("e")
    assert listener.heard[-1] == "e"


@without_io
async def test_paused_again_and_resumed_inside_callbacks(connection_codec: ModuleType) -> None:
    def pause_and_resume(connection: ListenerConnection) -> None:
        connection.pause_reading()
        connection.resume_reading()
        connection.pause_reading()
        connection.resume_reading()

    listener = Recorder(**dict.fromkeys("abcde", pause_and_resume))
    wired = listen(listener)
    wired.receive_text(*"abcde")
    assert listener.heard == ["open", "a"]
    await all_done()
    assert listener.heard == ["open", *"abcde"]
    assert wired.transport.reading


@without_io
async def test_what_comes_before_the_next_turn_stays_behind_what_waited(connection_codec: ModuleType) -> None:
    listener = Recorder(a=lambda connection: connection.pause_reading())
    wired = listen(listener)
    wired.receive_text("a", "b")
    wired.connection.resume_reading()
    wired.receive_text("c")  # a transport may have it already
    assert listener.heard == ["open", "a"]
    await all_done()
    assert listener.heard == ["open", "a", "b", "c"]


@without_io
async def test_pausing_in_a_chunk_of_many_turns(connection_codec: ModuleType) -> None:
    listener = Recorder()
    wired = listen(listener)
    listener.acts = {"b'2'": lambda connection: connection.pause_reading()}
    wired.receive(join(*(wired.frame(BINARY, b"%d" % number) for number in range(5000))))
    await all_done()
    assert listener.heard == ["open", b"0", b"1", b"2"]
    wired.connection.resume_reading()
    await all_done()
    assert listener.heard[1:] == [b"%d" % number for number in range(5000)]
    assert wired.transport.reading


@without_io
async def test_messages_per_second() -> None:
    """None is lost; reading pauses until the average is right."""
    listener = Recorder()
    wired = listen(listener, limits=Limits(max_messages_per_second=10))
    wired.receive_text(*"abcdefghijklmnopqrst")
    assert len(listener.heard) == 21
    assert not wired.transport.reading
    await asyncio.sleep(1.1)
    assert wired.transport.reading


@without_io
async def test_pings_wait_with_the_messages_and_are_answered_at_once() -> None:
    """5.5.2."""
    listener = Hearing(a=lambda connection: connection.pause_reading())
    wired = listen(listener)
    wired.receive(wired.frame(TEXT, "a"), wired.frame(PING, b"1"), wired.frame(TEXT, "b"))
    assert listener.heard == ["open", "a"]
    assert wired.transport.take() == [Received(PONG, b"1")]
    wired.connection.resume_reading()
    await all_done()
    assert listener.heard == ["open", "a", ("ping", b"1"), "b"]


@without_io
async def test_a_read_inside_a_callback_comes_after_it() -> None:
    """Transports without a socket may deliver an answer before the call that wrote the question returns."""

    def read(connection: ListenerConnection) -> None:
        wired.receive_text("c", "d")
        assert listener.heard == ["open", "a"]

    listener = Recorder(a=read)
    wired = listen(listener)
    wired.receive_text("a", "b")
    assert listener.heard == ["open", "a", "b"]
    wired.receive_text("e")
    await all_done()
    assert listener.heard == ["open", *"abcde"]


@without_io
async def test_a_read_inside_a_callback_that_pauses_comes_after_the_rest() -> None:
    def read_and_pause(connection: ListenerConnection) -> None:
        wired.receive_text("c", "d")
        connection.pause_reading()

    listener = Recorder(a=read_and_pause)
    wired = listen(listener)
    wired.receive_text("a", "b")
    assert listener.heard == ["open", "a"]
    wired.connection.resume_reading()
    await all_done()
    assert listener.heard == ["open", *"abcd"]


class Filling(FakeTransport):
    """Its peer reads nothing: after the first write, writing is paused."""

    unsent = 0
    is_full = False

    def write(self, data: Any) -> None:
        super().write(data)
        if not self.is_full:
            self.is_full = True
            self.protocol.pause_writing()

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def drain(self) -> None:
        self.is_full = False
        self.protocol.resume_writing()


def fill(wired: Listening) -> Filling:
    wired.connection.transport = transport = Filling(wired.connection, wired.transport.role)
    return transport


@without_io
async def test_an_echo_waits_for_a_peer_that_reads_slowly(connection_codec: ModuleType) -> None:
    wired = listen(Echo())
    transport = fill(wired)
    wired.connection.send("full")
    assert not transport.reading
    wired.connection.data_received(join(wired.frame(TEXT, "a"), wired.frame(TEXT, "b")))
    assert transport.take() == [text("full")]
    transport.drain()
    await all_done()
    assert transport.take() == [text("a"), text("b")]
    assert not transport.reading
    transport.drain()
    await all_done()
    assert transport.reading


@without_io
async def test_paused_by_the_application_and_by_a_slow_peer() -> None:
    """Neither undoes the other."""
    wired = listen(Echo())
    transport = fill(wired)
    wired.connection.pause_reading()
    wired.connection.send("full")
    transport.drain()
    await all_done()
    assert not transport.reading
    wired.connection.resume_reading()
    await all_done()
    assert transport.reading


class Steering(Recorder):
    """Takes flow control upon itself."""

    def on_pause_writing(self, connection: ListenerConnection) -> None:
        self.heard.append("pause")

    def on_resume_writing(self, connection: ListenerConnection) -> None:
        self.heard.append("resume")
        connection.send("more")


@without_io
async def test_a_listener_that_overrides_on_pause_writing_goes_on_receiving() -> None:
    listener = Steering()
    wired = listen(listener)
    transport = fill(wired)
    wired.connection.send("full")
    wired.connection.data_received(wired.frame(TEXT, "a"))
    transport.drain()
    assert listener.heard == ["open", "pause", "a", "resume", "pause"]
    assert transport.take() == [text("full"), text("more")]
    transport.break_off(ConnectionResetError())
    await all_done()
    assert listener.heard[-1] == "pause", "not resumed by the end"


@without_io
async def test_sending_on_has_a_bound() -> None:
    """7.4.1: 1008, as in a broadcast."""
    listener = Steering()
    wired = listen(listener)
    transport = fill(wired)
    wired.connection.send("full")
    transport.unsent = 16 * 2**20 + 1
    with pytest.raises(ConnectionClosed):
        wired.connection.send("x")
    assert wired.transport.take() == []
    assert transport.take() == [text("full"), text("x"), close(1008, "reads too slowly")]


@both_roles
@without_io
async def test_large_messages_go_out_in_their_turn(role: Role, connection_codec: ModuleType) -> None:
    """5.2: those of a server are not copied into a frame."""
    large = b"x" * 131_072
    wired = listen(Echo(), role)
    wired.receive(wired.frame(TEXT, "a"), wired.frame(BINARY, large), wired.frame(TEXT, "b"))
    assert any(len(written) == len(large) for written in wired.transport.writes) == (role is Role.SERVER)
    assert wired.transport.take() == [text("a"), Received(BINARY, large), text("b")]
    wired.connection.send(large)
    assert wired.transport.take() == [Received(BINARY, large)]
    wired.connection.send_fragment("a")
    with pytest.raises(RuntimeError):
        wired.connection.send(large)
    wired.connection.send_fragment("b", True)
    assert len(wired.transport.take()) == 2
    wired.transport.abort()
    with pytest.raises(ConnectionClosed):
        wired.connection.send(large)


@pytest.mark.parametrize("inside", [True, False])
@without_io
async def test_a_loop_that_sends_hears_that_the_peer_is_gone(inside: bool) -> None:
    """TCP may be closing before the loop has told us, and takes all that is written."""

    def send_for_ever(connection: ListenerConnection) -> None:
        connection.transport.abort()
        for _ in range(100_000):
            connection.send("x" * 100)
        raise AssertionError("nobody told the sender")

    wired = listen(Recorder(go=send_for_ever))
    if inside:
        wired.receive_text("go")
    else:
        with pytest.raises(ConnectionClosed):
            send_for_ever(wired.connection)
    await wired.connection.wait_closed()


# The end


@both_roles
@without_io
async def test_messages_before_the_peer_s_close_are_answered(
    role: Role, connection_codec: ModuleType
) -> None:
    """5.5.1."""
    wired = listen(Echo(), role)
    wired.receive(wired.frame(TEXT, "a"), wired.close_frame(1001, "bye"))
    assert wired.transport.take() == [text("a"), close(1001, "bye")]
    await wired.finish()


@without_io
async def test_the_end_is_told_once_with_its_type(connection_codec: ModuleType) -> None:
    listener = Recorder()
    wired = listen(listener)
    wired.receive_close(1001, "bye")
    assert listener.closed == []
    await wired.finish()
    [closed] = listener.closed
    assert isinstance(closed, ConnectionClosedOK)
    assert closed.rcvd is not None
    assert (closed.rcvd.code, closed.rcvd.reason) == (1001, "bye")
    assert wired.connection.listener is None


@without_io
async def test_a_lost_connection_tells_its_cause() -> None:
    listener = Recorder()
    wired = listen(listener)
    wired.transport.break_off(ConnectionResetError("reset"))
    await all_done()
    [closed] = listener.closed
    assert isinstance(closed, ConnectionClosedError)
    assert isinstance(closed.__cause__, ConnectionResetError)


@without_io
async def test_messages_before_a_fault_are_delivered(connection_codec: ModuleType) -> None:
    """7.1.7."""
    listener = Recorder()
    wired = listen(listener)
    wired.receive(wired.frame(TEXT, "a"), wired.frame(TEXT, b"\xff"), wired.frame(TEXT, "b"))
    assert listener.heard == ["open", "a"]
    [received] = wired.transport.take()
    assert received.payload[:2] == (1007).to_bytes(2, "big")
    await wired.finish()
    [closed] = listener.closed
    assert isinstance(closed, ConnectionClosedError)
    assert closed.failure is not None


@pytest.mark.parametrize("orderly", [True, False])
@without_io
async def test_what_waited_is_delivered_before_the_end(orderly: bool, connection_codec: ModuleType) -> None:
    order: list[str] = []

    class Paused(Recorder):
        def on_message(self, connection: ListenerConnection, message: str | bytes) -> None:
            order.append(str(message))
            connection.pause_reading()

        def on_close(self, connection: ListenerConnection, closed: ConnectionClosed) -> None:
            order.append("close")

    wired = listen(Paused())
    close_frame = wired.close_frame() if orderly else b""
    wired.receive(wired.frame(TEXT, "a"), wired.frame(TEXT, "b"), wired.frame(TEXT, "c"), close_frame)
    assert order == ["a"]
    if orderly:
        await asyncio.sleep(0.25)
        assert wired.transport.take() == [close(1000)]
        assert order == ["a"]
    wired.transport.break_off(ConnectionResetError())
    await wired.connection.wait_closed()
    assert order == ["a", "b", "c", "close"]


@without_io
async def test_the_rest_of_a_chunk_is_delivered_before_the_end_in_turns(connection_codec: ModuleType) -> None:
    listener = Recorder()
    wired = listen(listener)
    wired.connection.pause_reading()
    wired.receive(wired.frame(BINARY) * 10_000)
    wired.transport.break_off(ConnectionResetError())
    waiting = asyncio.create_task(wired.connection.wait_closed())
    await turns(2)
    assert 2048 <= len(listener.heard) < 10_000
    assert listener.closed == []
    assert not waiting.done()
    await waiting
    assert len(listener.heard) == 1 + 10_000
    assert len(listener.closed) == 1


@without_io
async def test_a_paused_peer_that_closed_is_answered_when_its_messages_are_taken() -> None:
    """5.5.1."""

    def pause(connection: ListenerConnection) -> None:
        connection.pause_reading()
        asyncio.get_running_loop().call_later(0.1, connection.resume_reading)

    listener = Recorder(a=pause, b=lambda connection: connection.send("answer"))
    wired = listen(listener)
    wired.receive(wired.frame(TEXT, "a"), wired.frame(TEXT, "b"), wired.close_frame())
    waiting = asyncio.create_task(wired.connection.wait_closed())
    await asyncio.sleep(0.15)
    assert wired.transport.take() == [text("answer"), close(1000)]
    wired.transport.receive_eof()
    await waiting


@without_io
async def test_keepalive_ends_a_silent_peer_though_reading_is_paused() -> None:
    """And the application hears of it, and of all that came."""
    listener = Recorder(a=lambda connection: connection.pause_reading())
    wired = listen(listener, ping_interval=20, ping_timeout=20, close_timeout=10)
    wired.receive_text("a", "b")
    await wired.connection.wait_closed()
    [closed] = listener.closed
    assert closed.sent is not None
    assert closed.sent.code == 1011
    assert isinstance(closed.__cause__, TimeoutError)
    assert listener.heard == ["open", "a", "b"]


@without_io
async def test_keepalive_keeps_a_peer_whose_messages_are_taken_slowly() -> None:
    """It is right to wait for us, and its Pong may be behind what it sent."""

    def take_slowly(connection: ListenerConnection) -> None:
        connection.pause_reading()
        asyncio.get_running_loop().call_later(15, connection.resume_reading)

    listener = Recorder(**{f"{number}": take_slowly for number in range(20)})
    wired = listen(listener, ping_interval=20, ping_timeout=20)
    wired.receive_text(*map(str, range(20)))
    await asyncio.sleep(250)
    assert wired.connection.ready_state is ReadyState.OPEN
    assert listener.heard[-1] == "16"
    wired.transport.break_off(ConnectionResetError())
    await wired.connection.wait_closed()
    await asyncio.sleep(20)  # the last timer


@without_io
async def test_close_returns_an_awaitable_of_the_end() -> None:
    listener = Recorder()
    wired = listen(listener)
    ending = wired.connection.close(1001, "bye")
    assert wired.transport.take() == [close(1001, "bye")]
    wired.connection.close()  # nothing more
    assert wired.transport.take() == []
    wired.receive_close(1001)
    wired.transport.receive_eof()
    await ending
    assert len(listener.closed) == 1


@without_io
async def test_messages_that_the_peer_sent_before_it_heard_of_our_close_still_come() -> None:
    listener = Recorder(a=lambda connection: connection.close())
    wired = listen(listener)
    wired.receive_text("a", "b")
    wired.receive_text("c")
    assert listener.heard == ["open", "a", "b", "c"]
    with pytest.raises(ConnectionClosed):
        wired.connection.send("late")
    wired.receive_close()
    await wired.finish()


@without_io
async def test_what_comes_after_our_close_while_reading_is_paused_has_no_hole() -> None:
    """Of what nobody takes ``max_queue`` messages are kept; the first that has no room is dropped, and all after it."""
    listener = Recorder()
    wired = listen(listener, max_queue=4)
    wired.connection.pause_reading()
    wired.connection.close()
    for number in range(6):
        wired.receive_text(f"{number}")
    wired.connection.resume_reading()
    await all_done()
    wired.receive_text("6")
    assert listener.heard == ["open", *"0123"]
    wired.receive_close()
    await wired.finish()


@pytest.mark.parametrize("call", ["fail", "abort"])
@without_io
async def test_after_fail_or_abort_no_message_comes(call: str) -> None:
    """7.1.7."""

    def act(connection: ListenerConnection) -> None:
        if call == "fail":
            connection.fail(1008, "no")
        else:
            connection.abort()

    listener = Recorder(a=act)
    wired = listen(listener)
    wired.receive_text("a", "b")
    if call == "fail":
        assert wired.transport.take() == [close(1008, "no")]
        wired.receive_text("c")
        wired.transport.receive_eof()
    await all_done()
    assert listener.heard == ["open", "a"]
    assert len(listener.closed) == 1


@without_io
async def test_a_callback_that_pauses_and_closes_before_the_peer_s_close_is_acted_on() -> None:
    """The end of TCP is all that is waited for."""
    listener = Recorder(a=lambda connection: (connection.pause_reading(), connection.close()))
    wired = listen(listener)
    wired.receive(wired.frame(TEXT, "a"), wired.frame(TEXT, "b"), wired.close_frame())
    assert wired.connection._deadline is Deadline.TCP_CLOSE
    assert wired.transport.take() == [close(1000)]
    await wired.finish()
    assert listener.heard == ["open", "a", "b"]


@pytest.mark.parametrize("end", ["close", "fail", "abort"])
@without_io
async def test_a_callback_that_ends_it_before_the_peer_s_close_is_acted_on(end: str) -> None:
    listener = Recorder(
        a=lambda connection: connection.abort() if end == "abort" else getattr(connection, end)(1008)
    )
    wired = listen(listener)
    wired.receive(wired.frame(TEXT, "a"), wired.close_frame(1000))
    if end != "abort":
        assert wired.transport.take() == [close(1008)]
        wired.transport.receive_eof()
    await all_done()
    assert len(listener.closed) == 1


@without_io
async def test_close_inside_a_message_of_fragments_is_1011() -> None:
    wired = listen(Recorder())
    wired.connection.send_fragment("a")
    wired.connection.close()
    assert wired.transport.take() == [text("a", fin=False), close(1011, "close during fragmented message")]


# Callbacks that raise


def boom(connection: object = None, *_: object) -> None:
    raise ZeroDivisionError("boom")


@without_io
async def test_a_callback_that_raises_closes_with_1011_and_is_logged_once(
    connection_codec: ModuleType,
) -> None:
    """7.4.1. What was sent before goes out; what follows is not delivered."""

    def send_and_raise(connection: ListenerConnection) -> None:
        connection.send("before")
        boom()

    listener = Recorder(a=send_and_raise)
    wired = listen(listener)
    with errors_logged() as logged:
        wired.receive_text("a", "a")
        wired.receive_text("a")
    [record] = logged
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], ZeroDivisionError)
    assert record.exc_info[1].__traceback__ is not None
    assert wired.transport.take() == [text("before"), close(1011)]
    assert listener.heard == ["open", "a"]
    wired.receive_close(1011)
    await wired.finish()
    assert len(listener.closed) == 1


@pytest.mark.parametrize("name", ["on_open", "on_ping", "on_pong", "on_pause_writing", "on_resume_writing"])
@without_io
async def test_each_callback_may_raise(name: str) -> None:
    broken = type("Broken", (Recorder,), {name: boom})
    listener = broken()
    with errors_logged() as logged:
        wired = listen(listener)
        transport = fill(wired)
        wired.connection.data_received(join(wired.frame(PING), wired.frame(PONG), wired.frame(TEXT, "a")))
        if wired.connection.ready_state is ReadyState.OPEN:
            wired.connection.send("full")
        if wired.connection.ready_state is ReadyState.OPEN:
            transport.drain()
        await turns(2)
        assert wired.connection.ready_state is ReadyState.CLOSING
        transport.break_off(ConnectionResetError())
        await wired.connection.wait_closed()
    assert len(logged) == 1
    assert len(listener.closed) == 1


@without_io
async def test_on_close_may_raise() -> None:
    class Broken(Listener):
        on_close = boom

    wired = listen(Broken())
    with errors_logged() as logged:
        wired.transport.break_off(ConnectionResetError())
        await wired.connection.wait_closed()
    assert len(logged) == 1


@without_io
async def test_sending_to_a_peer_that_left_is_no_error_of_the_application(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, "wsfast")
    wired = listen(Recorder(a=lambda connection: (connection.close(), connection.send("late"))))
    wired.receive_text("a", "b")
    assert wired.transport.take() == [close(1000)]
    assert {record.levelno for record in caplog.records} == {logging.DEBUG}
    assert any("ended" in record.getMessage() for record in caplog.records)


@without_io
async def test_a_listener_that_cannot_be_made() -> None:
    with errors_logged() as logged:
        wired = listen(boom)  # type: ignore[arg-type]
    wired.receive_text("a")
    assert len(logged) == 1
    assert wired.transport.take() == [close(1011)]
    wired.transport.receive_eof()
    await wired.connection.wait_closed()


@without_io
async def test_an_interrupt_passes() -> None:
    def interrupt(connection: ListenerConnection) -> None:
        raise KeyboardInterrupt

    wired = listen(Recorder(a=interrupt))
    with pytest.raises(KeyboardInterrupt):
        wired.receive_text("a")


@in_both_loops
async def test_nobody_else_suffers_from_a_callback_that_raises() -> None:
    class Sometimes(Echo):
        def on_message(self, connection: ListenerConnection, message: str | bytes) -> None:
            if message == "boom":
                boom()
            super().on_message(connection, message)

    async with (
        wsfast.serve(listener=Sometimes, host="127.0.0.1", port=0) as server,
        raw_client(server) as good,
        raw_client(server) as bad,
    ):
        with errors_logged() as logged:
            bad.send_text("boom")
            assert await bad.receive() == close(1011)
        assert len(logged) == 1
        bad.send(bad.close_frame(1011))
        await bad.eof()
        good.send_text("fine")
        assert await good.receive() == text("fine")
        await good.close_handshake()


# Over sockets


@in_both_loops
async def test_echo_of_listeners_at_both_ends() -> None:
    class Asking(Recorder):
        def on_open(self, connection: ListenerConnection) -> None:
            assert connection.response is not None
            assert connection.response.status_code == 101
            for size in (0, 1, 125, 126, 65_536, 300_000):
                connection.send("x" * size)

        def on_message(self, connection: ListenerConnection, message: str | bytes) -> None:
            super().on_message(connection, message)
            if len(self.heard) == 6:
                connection.close()

    listener = Asking()
    async with wsfast.serve(listener=Echo, host="127.0.0.1", port=0) as server:
        connection = await wsfast.connect(uri_of(server), listener=listener)
        assert isinstance(connection, ClientListenerConnection)
        await connection.wait_closed()
    assert [len(message) for message in listener.heard] == [0, 1, 125, 126, 65_536, 300_000]
    assert isinstance(listener.closed[0], ConnectionClosedOK)


@in_both_loops
async def test_tls() -> None:
    listener = Recorder()
    async with wsfast.serve(listener=Echo(), host="127.0.0.1", port=0, ssl=server_tls()) as server:
        uri = f"wss://localhost:{port_of(server)}/"
        async with wsfast.connect(uri, listener=listener, ssl=client_tls(), host="127.0.0.1") as connection:
            assert isinstance(connection, ListenerConnection)
            connection.send("x" * 100_000)
            while len(listener.heard) < 2:
                await asyncio.sleep(0)
    assert listener.heard == ["open", "x" * 100_000]
    assert len(listener.closed) == 1


@in_loop
async def test_compression() -> None:
    """RFC 7692."""
    listener = Recorder()
    async with (
        wsfast.serve(listener=Echo, host="127.0.0.1", port=0, compression="deflate") as server,
        wsfast.connect(uri_of(server), listener=listener, compression="deflate") as connection,
    ):
        assert isinstance(connection, ListenerConnection)
        assert connection.compression is not None
        for _ in range(3):
            connection.send("x" * 10_000)
        while len(listener.heard) < 4:
            await asyncio.sleep(0)
    assert listener.heard == ["open", *["x" * 10_000] * 3]


@in_both_loops
async def test_frames_that_come_with_the_request() -> None:
    """They come after ``on_open``."""
    listener = Recorder()
    async with (
        wsfast.serve(listener=lambda: listener, host="127.0.0.1", port=0) as server,
        tcp_client(server) as peer,
    ):
        peer.send(REQUEST, peer.frame(TEXT, "a"))
        await peer.read_head()
        await peer.close_handshake()
    assert listener.heard == ["open", "a"]


@in_both_loops
async def test_on_message_of_serve_answers_single_messages() -> None:
    def answer(connection: ListenerConnection, message: str | bytes) -> str | bytes | None:
        return None if message == "quiet" else message[::-1]

    async with (
        wsfast.serve(on_message=answer, host="127.0.0.1", port=0) as server,
        raw_client(server) as peer,
    ):
        peer.send(peer.frame(TEXT, "quiet"), peer.frame(TEXT, "abc"), peer.frame(BINARY, b"123"))
        assert await peer.receive() == text("cba")
        assert await peer.receive() == Received(BINARY, b"321")
        await peer.close_handshake()


@in_loop
async def test_on_message_of_connect() -> None:
    got: asyncio.Queue[str | bytes] = asyncio.Queue()
    async with (
        wsfast.serve(listener=Echo, host="127.0.0.1", port=0) as server,
        wsfast.connect(uri_of(server), on_message=lambda connection, message: got.put_nowait(message)) as ws,
    ):
        assert isinstance(ws, ListenerConnection)
        ws.send("a")
        assert await got.get() == "a"


@in_both_loops
async def test_a_closing_server_tells_its_listeners() -> None:
    listener = Recorder()
    async with (
        wsfast.serve(listener=lambda: listener, host="127.0.0.1", port=0) as server,
        raw_client(server) as peer,
    ):
        peer.send_text("a")
        while "a" not in listener.heard:
            await asyncio.sleep(0)
        assert len(server.connections) == 1
        server.close()
        assert await peer.receive() == close(1001)
        peer.send(peer.close_frame(1001))
        await peer.eof()
        await server.wait_closed()
        assert len(listener.closed) == 1, "before the server is closed"


@in_loop
async def test_reconnecting_with_a_listener() -> None:
    made: list[Recorder] = []

    def make() -> Recorder:
        made.append(Recorder())
        return made[-1]

    async with wsfast.serve(listener=Echo, host="127.0.0.1", port=0) as server:
        async for connection in wsfast.connect(uri_of(server), listener=make):
            assert isinstance(connection, ListenerConnection)
            connection.close()
            await connection.wait_closed()
            if len(made) == 3:
                break
    assert [len(listener.closed) for listener in made] == [1, 1, 1]


# Arguments


async def handler(connection: ServerConnection) -> None:
    pass


async def async_on_message(connection: object, message: object) -> None:
    pass


class NoListener:
    def on_message(self, connection: object, message: object) -> None:
        pass


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "handler"),
        ({"handler": handler, "listener": Echo}, "a handler or listener, and not both"),
        ({"handler": "localhost", "listener": Echo}, "host and port are given by name"),
        ({"handler": handler, "on_message": boom}, "a handler or on_message, and not both"),
        ({"listener": Echo, "on_message": boom}, "listener or on_message, and not both"),
        ({"listener": NoListener}, "NoListener is no listener: derive it"),
        ({"listener": NoListener()}, "the listener is a NoListener"),
        ({"listener": "Echo"}, "the listener is a str"),
        ({"listener": lambda request: Echo()}, "wsfast calls listener()"),
        ({"listener": async_on_message}, "cannot be async"),
        ({"on_message": async_on_message}, "on_message is async"),
        ({"on_message": lambda message: message}, r"it has to be def on_message\(connection, message\)"),
        ({"on_message": "x"}, "on_message is a str"),
        ({"on_message": functools.partial(async_on_message, 1)}, "on_message is async"),
        ({"listener": Echo, "create_connection": ServerConnection}, "ServerListenerConnection"),
        ({"handler": handler, "create_connection": ServerListenerConnection}, "needs a listener"),
    ],
    ids=str,
)
@in_loop
async def test_wrong_arguments_are_told_at_the_call(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(TypeError, match=words):
        wsfast.serve(**arguments)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"listener": NoListener}, "derive it"),
        ({"listener": Echo, "on_message": boom}, "not both"),
        ({"on_message": async_on_message}, "is async"),
        ({"listener": Echo, "create_connection": ClientConnection}, "ClientListenerConnection"),
    ],
    ids=str,
)
def test_wrong_arguments_of_connect(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(TypeError, match=words):
        wsfast.connect("ws://localhost/", **arguments)


@in_loop
async def test_a_factory_that_returns_something_else() -> None:
    async with wsfast.serve(listener=Echo, host="127.0.0.1", port=0) as server:
        with pytest.raises(TypeError, match="returned a NoListener"):
            await wsfast.connect(uri_of(server), listener=lambda: NoListener())  # type: ignore[arg-type, return-value]


@pytest.mark.parametrize(
    ("methods", "words"),
    [
        ({"on_message": async_on_message}, "L.on_message is async"),
        ({"on_message": lambda self, message: None}, r"def on_message\(self, connection, message\)"),
        (
            {"on_close": lambda self, connection, code, reason: None},
            r"def on_close\(self, connection, closed\)",
        ),
        ({"on_open": 1}, "L.on_open is a int"),
        ({"on_ws_frame": boom}, "use on_message"),
        ({"on_ws_connected": boom}, "use on_open"),
        ({"connection_lost": boom}, "use on_close"),
        ({"pause_writing": boom}, "use on_pause_writing"),
    ],
    ids=str,
)
def test_wrong_callbacks_are_told_when_the_class_is_made(methods: dict[str, Any], words: str) -> None:
    with pytest.raises(TypeError, match=words):
        type("L", (Listener,), methods)


def test_callbacks_of_every_kind_are_taken() -> None:
    class Kinds(Listener):
        on_open = staticmethod(lambda connection: None)
        on_message = functools.partialmethod(boom)

        @classmethod
        def on_close(cls, connection: ListenerConnection, closed: ConnectionClosed) -> None: ...

        def on_ping(self, *arguments: Any, **options: Any) -> None: ...

    assert isinstance(Kinds(), Listener)


@in_loop
async def test_a_class_of_the_user_s_own() -> None:
    class Mine(ServerListenerConnection):
        name = "mine"

    seen: list[object] = []

    class Seeing(Listener):
        def on_open(self, connection: ListenerConnection) -> None:
            seen.append(cast("Mine", connection).name)

    async with (
        wsfast.serve(listener=Seeing, create_connection=Mine, host="127.0.0.1", port=0) as server,
        raw_client(server) as peer,
    ):
        await peer.close_handshake()
    assert seen == ["mine"]
