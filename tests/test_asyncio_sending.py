"""The asyncio API, sending: types, fragments, a slow peer, batches, Pings and keepalive (RFC 6455 5.4 to 5.6).

On a fake transport, as in ``test_asyncio_connection``.
"""

from __future__ import annotations

import array
import asyncio
from collections.abc import AsyncIterator, Callable
from types import ModuleType
from typing import Any

import pytest
from asyncio_helpers import Gate, Received, all_done, both_roles, close, echo, text, turns, wire, without_io
from helpers import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT

import wsfast
from wsfast.asyncio.connection import Connection
from wsfast.connection import ReadyState
from wsfast.events import Close, Ping, Pong, Role
from wsfast.exceptions import ConcurrencyError, ConnectionClosed, ConnectionClosedError, ConnectionClosedOK

# Sending (5.6)


class Text(str):
    pass


@pytest.mark.parametrize(
    ("message", "opcode", "payload"),
    [
        ("한글 🚀", TEXT, "한글 🚀".encode()),
        ("", TEXT, b""),
        (Text("subclass"), TEXT, b"subclass"),
        (b"\xff", BINARY, b"\xff"),
        (b"", BINARY, b""),
        (bytearray(b"ab"), BINARY, b"ab"),
        (memoryview(b"ab"), BINARY, b"ab"),
        (memoryview(b"abcdef")[2:4], BINARY, b"cd"),
        (array.array("H", [0x6161, 0x6262]), BINARY, b"aabb"),
        (memoryview(array.array("I", [0x61616161])), BINARY, b"aaaa"),
        (b"x" * 126, BINARY, b"x" * 126),
        ("x" * 65536, TEXT, b"x" * 65536),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, int) else "",
)
@both_roles
@without_io
async def test_send(
    role: Role, message: Any, opcode: int, payload: bytes, connection_codec: ModuleType
) -> None:
    """5.6: str is text, bytes-like is binary."""
    wired = wire(role)
    await wired.connection.send(message)
    assert wired.transport.take() == [Received(opcode, payload)]


LARGE = bytes(range(256)) * 512  # 128 KiB


@without_io
async def test_a_large_binary_message_of_a_server_is_not_copied(connection_codec: ModuleType) -> None:
    """5.2: a header, and the payload as it is."""
    wired = wire(Role.SERVER)
    for message in (LARGE, LARGE[:-1], LARGE * 17):
        await wired.connection.send(message)
        uncopied = any(written is message for written in wired.transport.writes)
        assert uncopied == (len(message) >= 131_072)
        assert wired.transport.take() == [Received(BINARY, message)]
    changing = bytearray(LARGE)
    await wired.connection.send(changing)
    changing[:] = bytes(len(changing))  # the application's own again
    assert wired.transport.take() == [Received(BINARY, LARGE)]
    await wired.connection.send(b"a" * 131_072, text=True)
    assert wired.transport.take() == [text("a" * 131_072)]
    with pytest.raises(ValueError, match="UTF-8"):
        await wired.connection.send(LARGE, text=True)
    assert wired.transport.writes == []


@without_io
async def test_a_large_message_comes_after_what_was_sent_before_it(connection_codec: ModuleType) -> None:
    wired = wire(Role.SERVER)
    wired.receive_text("1", "2")
    assert await wired.connection.recv() == "1"
    await wired.connection.send("before")  # is collected
    await wired.connection.send(LARGE)
    await wired.connection.send("after")
    assert await wired.connection.recv() == "2"
    await turns(2)
    assert wired.transport.take() == [text("before"), Received(BINARY, LARGE), text("after")]
    with wired.connection.batch():
        await wired.connection.send("before")
        await wired.connection.send(LARGE)
        await wired.connection.send("after")
    assert wired.transport.take() == [text("before"), Received(BINARY, LARGE), text("after")]


@without_io
async def test_a_large_message_waits_for_the_end_of_fragments(connection_codec: ModuleType) -> None:
    """5.4."""
    wired = wire(Role.SERVER)
    gate = Gate()
    sending = asyncio.ensure_future(wired.connection.send(gate))
    await all_done()
    large = asyncio.ensure_future(wired.connection.send(LARGE))
    await all_done()
    gate.open.set()
    await asyncio.gather(sending, large)
    frames = wired.transport.take()
    assert [frame.opcode for frame in frames] == [TEXT, CONTINUATION, CONTINUATION, BINARY]
    assert frames[-1] == Received(BINARY, LARGE)


@without_io
async def test_a_sender_of_large_messages_hears_that_the_peer_is_gone() -> None:
    wired = wire(Role.SERVER)
    wired.transport.abort()

    async def send_for_ever() -> None:
        for _ in range(1000):
            await wired.connection.send(LARGE)

    with pytest.raises(ConnectionClosed):
        await send_for_ever()
    assert wired.transport.writes == []


@both_roles
@without_io
async def test_text_says_which_type_is_sent(role: Role, connection_codec: ModuleType) -> None:
    wired = wire(role)
    await wired.connection.send("é".encode(), text=True)
    await wired.connection.send("é", text=False)
    await wired.connection.send("é", text=True)
    await wired.connection.send(b"\xff", text=False)
    payload = "é".encode()
    assert wired.transport.take() == [
        Received(TEXT, payload),
        Received(BINARY, payload),
        Received(TEXT, payload),
        Received(BINARY, b"\xff"),
    ]


@pytest.mark.parametrize(
    ("message", "options", "exception"),
    [
        (None, {}, TypeError),
        (1, {}, TypeError),
        (1.5, {}, TypeError),
        (object(), {}, TypeError),
        ({"a": "b"}, {}, TypeError),
        ({}, {}, TypeError),
        (Ping, {}, TypeError),
        ([1], {}, TypeError),
        ([None, "a"], {}, TypeError),
        ([["a"]], {}, TypeError),
        (b"\xff", {"text": True}, ValueError),
        (b"\xed\xa0\x80", {"text": True}, ValueError),
        ([b"\xff"], {"text": True}, ValueError),
        ("\ud800", {}, UnicodeEncodeError),
        (["\udfff"], {}, UnicodeEncodeError),
        (memoryview(b"abcdef")[::2], {}, BufferError),
    ],
    ids=repr,
)
@both_roles
@without_io
async def test_wrong_message_raises_and_changes_nothing(
    role: Role, message: Any, options: Any, exception: type[Exception], connection_codec: ModuleType
) -> None:
    wired = wire(role)
    with pytest.raises(exception) as raised:
        await wired.connection.send(message, **options)
    assert str(raised.value)
    assert wired.transport.writes == []
    await wired.connection.send("still open")
    assert wired.transport.take() == [text("still open")]
    assert wired.connection.ready_state is ReadyState.OPEN


@without_io
async def test_a_dict_is_refused_with_advice() -> None:
    """Its iteration would send the keys, which is hardly what is meant."""
    with pytest.raises(TypeError, match=r"dict.*keys\(\)"):
        await wire(Role.CLIENT).connection.send({"type": "hello"})  # type: ignore[dict-item]


async def asynchronous(*items: Any) -> AsyncIterator[Any]:
    for item in items:
        await asyncio.sleep(0)
        yield item


def iterables(*items: Any) -> list[Any]:
    return [list(items), tuple(items), iter(items), (item for item in items), asynchronous(*items)]


@pytest.mark.parametrize("kind", range(5), ids=["list", "tuple", "iterator", "generator", "asynchronous"])
@both_roles
@without_io
async def test_iterable_is_sent_as_fragments(role: Role, kind: int, connection_codec: ModuleType) -> None:
    """5.4: one message, FIN in its last frame, the opcode in its first."""
    wired = wire(role)
    await wired.connection.send(iterables("한", "", "글")[kind])
    await wired.connection.send(iterables(b"\xff", bytearray(b"b"), memoryview(b"c"))[kind])
    frames = wired.transport.take()
    ends = [pos + 1 for pos, received in enumerate(frames) if received.fin]
    assert len(ends) == 2
    for message, opcode, parts in (
        (frames[: ends[0]], TEXT, ["한".encode(), b"", "글".encode()]),
        (frames[ends[0] :], BINARY, [b"\xff", b"b", b"c"]),
    ):
        assert [received.opcode for received in message] == [opcode, *[CONTINUATION] * (len(message) - 1)]
        assert [received.payload for received in message][:3] == parts
        assert b"".join(received.payload for received in message) == b"".join(parts)


@without_io
async def test_fragments_as_text(connection_codec: ModuleType) -> None:
    """Bytes sent as text may be cut inside a character; the whole has to be UTF-8 (5.6, 8.1)."""
    wired = wire(Role.SERVER)
    await wired.connection.send([b"\xed\x95", b"\x9c"], text=True)
    frames = wired.transport.take()
    assert frames[0].opcode == TEXT
    assert b"".join(received.payload for received in frames) == "한".encode()


@pytest.mark.parametrize("kind", range(5), ids=["list", "tuple", "iterator", "generator", "asynchronous"])
@without_io
async def test_empty_iterable_sends_nothing(kind: int) -> None:
    wired = wire(Role.SERVER)
    await wired.connection.send(iterables()[kind])
    assert wired.transport.writes == []
    await wired.connection.send("next")
    assert wired.transport.take() == [text("next")]


async def fails_in_the_middle(*items: Any) -> AsyncIterator[Any]:
    for item in items:
        yield item
    raise LookupError("no more")


@pytest.mark.parametrize(
    ("fragments", "exception"),
    [
        (lambda: ["a", b"b"], TypeError),
        (lambda: [b"a", "b"], TypeError),
        (lambda: ["a", 1], TypeError),
        (lambda: asynchronous("a", b"b"), TypeError),
        (lambda: ["a", "\ud800"], UnicodeEncodeError),
        (lambda: fails_in_the_middle("a"), LookupError),
    ],
    ids=["text-binary", "binary-text", "int", "asynchronous", "surrogate", "raises"],
)
@both_roles
@without_io
async def test_fragments_that_fail_in_the_middle_close_with_1011(
    role: Role, fragments: Callable[[], Any], exception: type[Exception], connection_codec: ModuleType
) -> None:
    """5.4: nothing but the rest of the message could be sent any more, and there is none."""
    wired = wire(role)
    with pytest.raises(exception):
        await wired.connection.send(fragments())
    frames = wired.transport.take()
    assert [received.opcode for received in frames] == [frames[0].opcode, CLOSE]
    assert frames[1].payload[:2] == (1011).to_bytes(2, "big")
    assert not frames[0].fin
    assert wired.connection.ready_state is ReadyState.CLOSING
    await wired.finish()
    with pytest.raises(ConnectionClosedError) as closed:
        await wired.connection.send("more")
    assert closed.value.sent is not None
    assert closed.value.sent.code == 1011


@both_roles
@without_io
async def test_concurrent_send_waits_for_the_fragmented_one(role: Role, connection_codec: ModuleType) -> None:
    """5.4: fragments of messages must not be interleaved; control frames may stand between them."""
    wired = wire(role)
    gate = Gate()
    tasks = [asyncio.create_task(wired.connection.send(message)) for message in (gate, "second", ["third"])]
    await all_done()
    assert not any(task.done() for task in tasks)
    await wired.connection.ping(b"ours")
    wired.receive(wired.frame(PING, b"theirs"))
    assert wired.transport.take() == [
        text("a", fin=False),
        Received(PING, b"ours"),
        Received(PONG, b"theirs"),
    ]
    gate.open.set()
    await asyncio.gather(*tasks)
    frames = wired.transport.take()
    assert "".join(received.payload.decode() for received in frames) == "bsecondthird"
    assert frames[0] == (CONTINUATION, b"b", False)
    assert [received.opcode for received in frames if received.fin] == [CONTINUATION, TEXT, CONTINUATION]


@both_roles
@without_io
async def test_cancel_in_the_middle_of_fragments_closes_with_1011(
    role: Role, connection_codec: ModuleType
) -> None:
    wired = wire(role)
    sending = asyncio.create_task(wired.connection.send(Gate()))
    waiting = asyncio.create_task(wired.connection.send("second"))
    await all_done()
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    assert wired.transport.take() == [text("a", fin=False), close(1011, "error in fragmented message")]
    await wired.finish()
    with pytest.raises(ConnectionClosedError):
        await waiting


@without_io
async def test_cancel_before_the_first_fragment_changes_nothing() -> None:
    wired = wire(Role.SERVER)

    async def never() -> AsyncIterator[str]:
        await asyncio.Event().wait()
        yield "a"

    sending = asyncio.create_task(wired.connection.send(never()))
    waiting = asyncio.create_task(wired.connection.send("second"))
    await all_done()
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    await waiting
    assert wired.transport.take() == [text("second")]


@without_io
async def test_cancelled_concurrent_send_sends_nothing() -> None:
    wired = wire(Role.SERVER)
    gate = Gate()
    sending = asyncio.create_task(wired.connection.send(gate))
    waiting = asyncio.create_task(wired.connection.send("never"))
    await all_done()
    waiting.cancel()
    await all_done()
    assert waiting.cancelled()
    gate.open.set()
    await sending
    await wired.connection.send("next")
    frames = wired.transport.take()
    assert b"".join(received.payload for received in frames) == b"abnext"


@pytest.mark.parametrize("how", ["ours", "theirs", "eof"])
@pytest.mark.parametrize("call", ["send", "fragments", "ping", "pong"])
@without_io
async def test_sending_after_the_end_raises_connection_closed(call: str, how: str) -> None:
    """5.5.1: no frame after a Close."""
    wired = wire(Role.SERVER)
    connection = wired.connection
    expected: type[ConnectionClosed] = ConnectionClosedOK
    if how == "ours":
        closing = asyncio.create_task(connection.close())
        await turns(1)
        wired.receive_close()
        wired.transport.receive_eof()
        await closing
    elif how == "theirs":
        wired.receive_close()
        await wired.finish()
    else:
        await wired.finish()
        expected = ConnectionClosedError
    wired.transport.writes.clear()
    with pytest.raises(expected):
        await {
            "send": lambda: connection.send("x"),
            "fragments": lambda: connection.send(["x"]),
            "ping": connection.ping,
            "pong": connection.pong,
        }[call]()
    assert wired.transport.writes == []


@without_io
async def test_sending_while_closing_waits_and_raises_how_it_ended() -> None:
    wired = wire(Role.SERVER)
    closing = asyncio.create_task(wired.connection.close(1001))
    await turns(1)
    wired.transport.take()
    sending = asyncio.create_task(wired.connection.send("late"))
    await all_done()
    assert not sending.done()
    wired.receive_close(3000)
    await wired.finish()
    with pytest.raises(ConnectionClosedError) as closed:
        await sending
    assert (closed.value.rcvd, closed.value.sent) == (Close(3000), Close(1001))
    await closing
    assert wired.transport.writes == []


# A slow peer stops send()


@pytest.mark.parametrize("message", ["x", b"x", ["x"]], ids=["text", "binary", "fragments"])
@without_io
async def test_send_waits_while_the_peer_does_not_read(message: Any) -> None:
    wired = wire(Role.SERVER)
    wired.connection.pause_writing()
    sending = asyncio.create_task(wired.connection.send(message))
    await all_done()
    assert not sending.done()
    wired.connection.resume_writing()
    await sending
    assert b"".join(received.payload for received in wired.transport.take()) == b"x"


@without_io
async def test_all_who_wait_to_send_go_on() -> None:
    wired = wire(Role.SERVER)
    wired.connection.pause_writing()
    tasks = [asyncio.create_task(wired.connection.send(f"{number}")) for number in range(5)]
    await all_done()
    assert not any(task.done() for task in tasks)
    tasks[2].cancel()
    await all_done()
    wired.connection.resume_writing()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert [task.cancelled() for task in tasks] == [False, False, True, False, False]


@without_io
async def test_ping_waits_while_the_peer_does_not_read() -> None:
    wired = wire(Role.SERVER)
    wired.connection.pause_writing()
    pinging = asyncio.create_task(wired.connection.ping())
    await all_done()
    assert not pinging.done()
    wired.connection.resume_writing()
    await pinging


@without_io
async def test_losing_the_connection_releases_those_who_wait_to_send() -> None:
    wired = wire(Role.SERVER)
    wired.connection.pause_writing()
    sending = asyncio.create_task(wired.connection.send("x"))
    await all_done()
    reset = ConnectionResetError("reset by peer")
    wired.transport.break_off(reset)
    with pytest.raises(ConnectionClosedError) as closed:
        await sending
    assert closed.value.__cause__ is reset


@without_io
async def test_write_limit_reaches_the_transport() -> None:
    assert wire(Role.SERVER).transport.limits == (2**15, None)
    assert wire(Role.SERVER, write_limit=10).transport.limits == (10, None)
    assert wire(Role.SERVER, write_limit=(10, 5)).transport.limits == (10, 5)


@without_io
async def test_pongs_do_not_pile_up_behind_a_peer_that_does_not_read(connection_codec: ModuleType) -> None:
    """5.5.3: a Pong for the most recent Ping will do."""
    wired = wire(Role.SERVER)
    wired.connection.pause_writing()
    for number in range(1000):
        wired.receive(wired.frame(PING, f"{number}"))
    assert wired.transport.writes == []
    wired.connection.resume_writing()
    pongs = wired.transport.take()
    assert pongs[-1] == (PONG, b"999", True)
    assert len(pongs) <= 64


# Batching


@both_roles
@without_io
async def test_64_messages_of_one_chunk_are_echoed_in_one_write(
    role: Role, connection_codec: ModuleType
) -> None:
    wired = wire(role)
    serving = asyncio.create_task(echo(wired.connection))
    await turns(1)
    texts = [f"{number}" for number in range(64)]
    wired.receive_text(*texts)
    await all_done()
    assert len(wired.transport.writes) == 1
    assert wired.transport.take() == [text(one) for one in texts]
    await wired.finish()
    with pytest.raises(ConnectionClosedError):
        await serving


@without_io
async def test_a_send_without_waiting_messages_is_written_at_once() -> None:
    wired = wire(Role.SERVER)
    await wired.connection.send("1")
    await wired.connection.send("2")
    assert len(wired.transport.writes) == 2
    wired.receive_text("question")
    await wired.connection.recv()
    await wired.connection.send("answer")
    assert len(wired.transport.writes) == 3, "the only message was taken: there is nothing to wait for"


@without_io
async def test_a_batch_is_written_when_recv_is_about_to_wait() -> None:
    """It does not need a turn of the loop."""
    wired = wire(Role.SERVER)
    wired.receive_text("1", "2")
    await wired.connection.recv()
    await wired.connection.send("1")
    assert wired.transport.writes == []
    await wired.connection.recv()
    await wired.connection.send("2")
    assert wired.transport.writes == []
    receiving = wired.connection.recv()
    receiving.send(None)
    assert wired.transport.take() == [text("1"), text("2")]
    receiving.close()


@without_io
async def test_a_batch_is_written_at_the_next_turn_when_the_handler_waits_for_something_else() -> None:
    wired = wire(Role.SERVER)
    wired.receive_text("1", "2", "3")
    for _ in range(2):
        await wired.connection.send(await wired.connection.recv())
    assert wired.transport.writes == []
    await turns(1)
    assert len(wired.transport.writes) == 1
    assert wired.transport.take() == [text("1"), text("2")]
    await wired.connection.send(await wired.connection.recv())
    assert wired.transport.take() == [text("3")]


@without_io
async def test_a_batch_has_a_size() -> None:
    """Echoing a large chunk does not collect all of it."""
    wired = wire(Role.SERVER)
    wired.receive_text("x" * 40_000, "x" * 40_000, "x" * 40_000)
    for _ in range(3):
        await wired.connection.send(await wired.connection.recv())
    await turns(1)
    assert [len(write) for write in wired.transport.writes] == [80_008, 40_004]


@both_roles
@without_io
async def test_order_is_kept_between_batched_messages_and_pings(
    role: Role, connection_codec: ModuleType
) -> None:
    wired = wire(role)
    wired.receive_text("1", "2", "3", "4")
    await wired.connection.send(await wired.connection.recv())
    await wired.connection.ping(b"p")
    await wired.connection.send(await wired.connection.recv())
    await wired.connection.pong(b"q")
    await wired.connection.send(await wired.connection.recv())
    await wired.connection.send(["f"])
    await wired.connection.send(await wired.connection.recv())
    frames = wired.transport.take()
    assert [(received.opcode, received.payload) for received in frames if received.payload] == [
        (TEXT, b"1"),
        (PING, b"p"),
        (TEXT, b"2"),
        (PONG, b"q"),
        (TEXT, b"3"),
        (TEXT, b"f"),
        (TEXT, b"4"),
    ]


@without_io
async def test_pings_between_messages_are_answered_in_order() -> None:
    """5.5.3: with their payload; the echoes keep their own order."""
    wired = wire(Role.SERVER)
    serving = asyncio.create_task(echo(wired.connection))
    await turns(1)
    wired.receive(
        wired.frame(TEXT, "1"), wired.frame(PING, "a"), wired.frame(TEXT, "2"), wired.frame(PING, "b")
    )
    await all_done()
    frames = wired.transport.take()
    assert [received for received in frames if received.opcode == PONG] == [
        (PONG, b"a", True),
        (PONG, b"b", True),
    ]
    assert [received for received in frames if received.opcode == TEXT] == [text("1"), text("2")]
    serving.cancel()


@without_io
async def test_close_sends_what_was_batched_before_its_frame() -> None:
    wired = wire(Role.SERVER)
    wired.receive_text("1", "2", "3")
    for _ in range(2):
        await wired.connection.send(await wired.connection.recv())
    closing = asyncio.create_task(wired.connection.close(1001))
    await turns(1)
    assert wired.transport.take() == [text("1"), text("2"), close(1001)]
    await wired.finish()
    await closing


@without_io
async def test_broadcast_stands_behind_what_was_batched() -> None:
    wired = wire(Role.SERVER)
    wired.receive_text("1", "2")
    await wired.connection.send(await wired.connection.recv())
    wsfast.broadcast([wired.connection], "b")
    assert wired.transport.take() == [text("1"), text("b")]


@without_io
async def test_a_batch_of_a_lost_connection_is_dropped() -> None:
    wired = wire(Role.SERVER)
    wired.receive_text("1", "2")
    wired.transport.break_off(ConnectionResetError())
    await wired.connection.send(await wired.connection.recv())
    await wired.connection.wait_closed()
    await turns(2)
    assert wired.transport.writes == []


# Ping and Pong (5.5.2, 5.5.3)


@both_roles
@without_io
async def test_ping_returns_the_round_trip_time(role: Role, connection_codec: ModuleType) -> None:
    wired = wire(role)
    loop = asyncio.get_running_loop()
    assert wired.connection.latency == 0
    answered = await wired.connection.ping(b"p")
    assert wired.transport.take() == [Received(PING, b"p")]
    await asyncio.sleep(0.25)
    wired.receive(wired.frame(PONG, b"p"))
    assert await answered == pytest.approx(0.25)
    assert wired.connection.latency == pytest.approx(0.25)
    assert loop.time() >= 1000


@without_io
async def test_payloads_of_pings() -> None:
    """5.5: at most 125 bytes; by default random ones, so that no two are the same."""
    wired = wire(Role.SERVER)
    for payload in (None, None, "é", b"x" * 125, bytearray(b"y"), b""):
        await wired.connection.ping(payload)
    payloads = [received.payload for received in wired.transport.take()]
    assert payloads[2:] == ["é".encode(), b"x" * 125, b"y", b""]
    assert len(payloads[0]) == len(payloads[1]) == 4
    assert payloads[0] != payloads[1]
    with pytest.raises(ValueError, match="126"):
        await wired.connection.ping(b"x" * 126)
    with pytest.raises(ValueError, match="125"):
        await wired.connection.pong(b"x" * 126)
    assert wired.transport.writes == []
    await wired.connection.ping(b"z")
    assert wired.transport.take() == [Received(PING, b"z")]


@pytest.mark.parametrize("payload", [1, 1.5, [1, 2], object()], ids=repr)
@pytest.mark.parametrize("call", ["ping", "pong"])
@without_io
async def test_payload_of_another_type_is_a_type_error(call: str, payload: Any) -> None:
    wired = wire(Role.SERVER)
    with pytest.raises(TypeError):
        await getattr(wired.connection, call)(payload)
    assert wired.transport.writes == []


@without_io
async def test_pong_acknowledges_the_pings_before_it() -> None:
    """5.5.3: a peer may answer only the most recent one."""
    wired = wire(Role.SERVER)
    one, two, three = [await wired.connection.ping(payload) for payload in (b"1", b"2", b"3")]
    await asyncio.sleep(0.5)
    wired.receive(wired.frame(PONG, b"2"))
    assert await one == pytest.approx(0.5)
    assert await two == pytest.approx(0.5)
    await all_done()
    assert not asyncio.ensure_future(three).done()
    wired.receive(wired.frame(PONG, b"2"), wired.frame(PONG, b"unasked for"))
    await all_done()
    assert not asyncio.ensure_future(three).done()
    wired.receive(wired.frame(PONG, b"3"))
    await three


@without_io
async def test_ping_with_a_payload_that_is_pending_is_a_concurrency_error() -> None:
    wired = wire(Role.SERVER)
    answered = await wired.connection.ping(b"same")
    with pytest.raises(ConcurrencyError):
        await wired.connection.ping(b"same")
    assert wired.transport.take() == [Received(PING, b"same")]
    wired.receive(wired.frame(PONG, b"same"))
    await answered
    await wired.connection.ping(b"same")


@without_io
async def test_who_waits_for_a_pong_hears_that_the_connection_is_closed() -> None:
    wired = wire(Role.SERVER)
    answered = await wired.connection.ping()
    unheard = await wired.connection.ping()
    assert unheard is not answered
    wired.receive_close(1001)
    await wired.finish()
    with pytest.raises(ConnectionClosedOK):
        await answered


@without_io
async def test_giving_up_on_a_pong_does_no_harm() -> None:
    wired = wire(Role.SERVER)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(await wired.connection.ping(b"1"), 1)
    wired.receive(wired.frame(PONG, b"1"))
    answered = await wired.connection.ping(b"2")
    wired.receive(wired.frame(PONG, b"2"))
    await answered


@both_roles
@without_io
async def test_pings_are_answered_without_anyone_receiving(role: Role, connection_codec: ModuleType) -> None:
    """5.5.2: as soon as is practical."""
    wired = wire(role)
    wired.receive(wired.frame(PING, b"1"), wired.frame(PING))
    assert wired.transport.take() == [Received(PONG, b"1"), Received(PONG)]


@without_io
async def test_subclasses_hear_of_control_frames() -> None:
    heard = []

    class Listener(Connection):
        def control_received(self, event: Any) -> None:
            heard.append(event)
            super().control_received(event)

    wired = wire(Role.SERVER)
    connection = Listener(wired.connection.protocol, ping_interval=None)
    connection.connection_made(wired.transport)
    wired = wired._replace(connection=connection)
    wired.transport.protocol = connection
    answered = await connection.ping(b"a")
    wired.receive(wired.frame(PING, b"1"), wired.frame(PONG, b"a"), wired.close_frame(1000, "bye"))
    assert heard == [Ping(b"1"), Pong(b"a"), Close(1000, "bye")]
    await answered
    await wired.finish()


# A sender that never has to wait


@pytest.mark.parametrize("kind", ["send", "ping", "pong", "fragments"])
@both_roles
@without_io
async def test_a_sender_that_never_waits_lets_others_run(role: Role, kind: str) -> None:
    """And it hears of it when its peer is gone: asyncio tells that in a turn of the loop."""
    wired = wire(role)
    n_sends = 0

    async def send_for_ever() -> None:
        nonlocal n_sends
        while True:
            n_sends += 1
            if kind == "send":
                await wired.connection.send("tick")
            elif kind == "ping":
                await wired.connection.ping(n_sends.to_bytes(8, "big"))
            elif kind == "pong":
                await wired.connection.pong(b"tick")
            else:
                await wired.connection.send(["t", "ick"])

    sending = asyncio.create_task(send_for_ever())
    for turn in range(1, 10):
        await turns(1)
        assert n_sends <= 64 * turn + 1
    wired.transport.break_off(ConnectionResetError())
    n_before = n_sends
    with pytest.raises(ConnectionClosedError) as closed:
        await sending
    assert isinstance(closed.value.__cause__, ConnectionResetError)
    assert n_sends - n_before <= 8


@without_io
async def test_a_sender_of_batches_lets_others_run(connection_codec: ModuleType) -> None:
    """Frames are collected as long as messages wait, and 64 KiB of them are a turn."""
    wired = wire(Role.SERVER)
    wired.receive_text("nobody takes it")
    n_sends = 0

    async def send_for_ever() -> None:
        nonlocal n_sends
        while True:
            n_sends += 1
            await wired.connection.send(b"x" * 1000)

    sending = asyncio.create_task(send_for_ever())
    for turn in range(1, 10):
        await turns(1)
        assert n_sends <= 70 * turn + 1
    wired.transport.break_off(ConnectionResetError())
    with pytest.raises(ConnectionClosedError):
        await sending


# Keepalive


@without_io
async def test_keepalive_pings_at_each_interval(connection_codec: ModuleType) -> None:
    wired = wire(Role.SERVER, ping_interval=20, ping_timeout=5)
    loop = asyncio.get_running_loop()
    for number in range(1, 4):
        [ping] = await wired.next_write()
        assert ping.opcode == PING
        assert loop.time() == pytest.approx(1000 + 20 * number)
        wired.receive(wired.frame(PONG, ping.payload))
        await all_done()
    await wired.finish()
    assert wired.transport.writes == []


@both_roles
@without_io
async def test_keepalive_fails_the_connection_when_the_pong_is_missing(
    role: Role, connection_codec: ModuleType
) -> None:
    wired = wire(role, ping_interval=20, ping_timeout=5, close_timeout=3)
    receiving = asyncio.create_task(wired.connection.recv())
    loop = asyncio.get_running_loop()
    [ping] = await wired.next_write()
    assert ping.opcode == PING
    wired.receive(wired.frame(PONG, b"another"), wired.frame(TEXT, "a sign of life, and no Pong"))
    assert await receiving
    [closing] = await wired.next_write()
    assert closing == close(1011, "keepalive ping timeout")
    assert loop.time() == pytest.approx(1030), "one timeout more, for the bytes that came within the first"
    with pytest.raises(ConnectionClosedError) as closed:
        await wired.connection.recv()
    assert closed.value.sent == Close(1011, "keepalive ping timeout")
    assert isinstance(closed.value.__cause__, TimeoutError)
    assert loop.time() <= 1033.1, "the peer's Close is waited for no longer than close_timeout"


@without_io
async def test_a_pong_is_found_though_nobody_takes_messages() -> None:
    """The peer is fine and only waits for us: it is kept, however long."""
    wired = wire(Role.SERVER, ping_interval=20, ping_timeout=5, max_queue=2)
    wired.receive_numbers(3)
    for _ in range(10):
        [ping] = await wired.next_write()
        assert not wired.transport.reading
        while not wired.transport.reading:
            await asyncio.sleep(1)
        wired.receive(wired.frame(PONG, ping.payload))
    assert wired.connection.ready_state is ReadyState.OPEN
    assert [await wired.connection.recv() for _ in range(3)] == ["0", "1", "2"]
    await wired.finish()


@both_roles
@without_io
async def test_a_peer_that_is_gone_is_found_though_nobody_takes_messages(role: Role) -> None:
    wired = wire(role, ping_interval=20, ping_timeout=5, close_timeout=3, max_queue=2)
    wired.receive_numbers(3)
    await wired.connection.wait_closed()
    assert asyncio.get_running_loop().time() == pytest.approx(1033)
    assert [await wired.connection.recv() for _ in range(3)] == ["0", "1", "2"]
    with pytest.raises(ConnectionClosedError) as closed:
        await wired.connection.recv()
    assert closed.value.sent == Close(1011, "keepalive ping timeout")


@without_io
async def test_ping_timeout_none_only_pings() -> None:
    wired = wire(Role.SERVER, ping_interval=20, ping_timeout=None)
    for _ in range(5):
        [ping] = await wired.next_write()
        assert ping.opcode == PING
    assert wired.connection.ready_state is ReadyState.OPEN
    await wired.finish()


@without_io
async def test_ping_interval_none_never_pings() -> None:
    wired = wire(Role.SERVER, ping_interval=None)
    await asyncio.sleep(1000)
    assert wired.transport.writes == []


@without_io
async def test_keepalive_ends_with_the_connection() -> None:
    """No timer is left that would keep a closed connection alive."""
    wired = wire(Role.SERVER, ping_interval=20, ping_timeout=5)
    [ping] = await wired.next_write()
    wired.receive(wired.frame(PONG, ping.payload), wired.close_frame())
    await wired.finish()
    await asyncio.sleep(100)
    assert [received.opcode for received in wired.transport.take()] == [CLOSE]
