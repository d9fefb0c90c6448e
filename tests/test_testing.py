"""``wsfast.testing``: ends without sockets behave as those over TCP, a scripted peer says anything, and time jumps."""

from __future__ import annotations

import asyncio
from types import ModuleType
from typing import Any

import pytest
from asyncio_helpers import echo, in_both_loops, turns, without_io

import wsfast
from wsfast.asyncio import Connection
from wsfast.codec import Frame, Opcode, Role
from wsfast.events import CloseCause
from wsfast.exceptions import ConnectionClosed, ConnectionClosedError, ConnectionClosedOK, InvalidStatus
from wsfast.limits import Limits
from wsfast.testing import JumpingLoop, MemoryTransport, ScriptedPeer, connect_to, pair, run
from wsfast.testing.memory import join

both_roles = pytest.mark.parametrize("role", list(Role), ids=["client", "server"])

# Two ends


@pytest.mark.parametrize("chunk_size", [None, 1, 7])
@in_both_loops
async def test_messages_both_ways(chunk_size: int | None, connection_codec: ModuleType) -> None:
    async with pair(chunk_size=chunk_size) as (client, server):
        for message in ("hello", "안녕" * 100, b"\xff" * 1000, ""):
            await client.send(message)
            assert await server.recv() == message
            await server.send(message)
            assert await client.recv() == message
        assert client.remote_address == server.local_address
        assert server.remote_address == client.local_address


@in_both_loops
async def test_a_handler_and_its_client() -> None:
    async with connect_to(echo, client={"compression": "deflate"}, server={"compression": "deflate"}) as ws:
        assert ws.compression is not None
        await ws.send("x" * 1000)
        assert await ws.recv() == "x" * 1000
    assert ws.close_code == 1000


@without_io
async def test_the_handshake_is_the_real_one() -> None:
    async with pair(
        uri="ws://example.org/chat?a=b",
        client={"subprotocols": ["b"], "origin": "https://example.org"},
        server={"subprotocols": ["a", "b"]},
    ) as (client, server):
        assert client.subprotocol == server.subprotocol == "b"
        assert server.request is not None
        assert server.request.path == "/chat?a=b"
        assert server.request.headers["Host"] == "example.org"
    with pytest.raises(InvalidStatus, match="403"):
        async with pair(client={"origin": "https://evil"}, server={"origins": ["https://example.org"]}):
            pass
    with pytest.raises(InvalidStatus, match="503"):
        async with pair(server={"limits": Limits(max_connections=0)}):
            pass


@both_roles
@without_io
async def test_closing(role: Role) -> None:
    async with pair() as ends:
        ours, theirs = ends if role is Role.CLIENT else ends[::-1]
        await theirs.send("last")
        await ours.close(1001, "bye")
        with pytest.raises(ConnectionClosedOK):
            await theirs.recv()
        assert (theirs.close_code, theirs.close_reason) == (1001, "bye")
        assert await ours.recv() == "last"
        assert ours.transport.is_closing()


@both_roles
@without_io
async def test_an_end_that_is_gone(role: Role) -> None:
    async with pair() as ends:
        ours, theirs = ends if role is Role.CLIENT else ends[::-1]
        ours.transport.abort()
        with pytest.raises(ConnectionClosedError) as caught:
            await theirs.recv()
        assert caught.value.cause is CloseCause.TRANSPORT
        assert isinstance(caught.value.__cause__, ConnectionResetError)


@both_roles
@without_io
async def test_an_end_that_does_not_read(role: Role) -> None:
    """``send`` waits above ``write_limit``, and goes on."""
    options: Any = {"max_queue": 1, "write_limit": 1000, "ping_interval": None}
    async with pair(client=options, server=options) as ends:
        ours, theirs = ends if role is Role.CLIENT else ends[::-1]

        async def send_all() -> None:
            for number in range(100):
                await ours.send(f"{number} " + "x" * 1000)

        sending = asyncio.create_task(send_all())
        await turns(1000)
        assert not sending.done()
        assert ours.stats().is_writing_blocked
        assert theirs.is_reading_paused
        for number in range(100):
            assert (await theirs.recv()).split()[0] == str(number)
        await sending


@without_io
async def test_the_end_of_a_test_cuts_both() -> None:
    async with pair() as (client, server):
        client.transport.pause_reading()
        await server.send("not read")
    assert client.state.name == server.state.name == "CLOSED"


@without_io
async def test_an_exception_in_the_block_comes_out() -> None:
    async def fail() -> None:
        async with pair():
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        await fail()


# A scripted peer


@both_roles
@in_both_loops
async def test_any_frame(role: Role, connection_codec: ModuleType) -> None:
    async with ScriptedPeer(role) as peer:
        assert isinstance(peer.connection, Connection)
        peer.send("whole")
        peer.send_frame(Opcode.TEXT, "hel", fin=False)
        peer.send_frame(Opcode.PING, b"?")
        peer.send_frame(Opcode.CONTINUATION, "lo")
        assert [await peer.connection.recv() for _ in range(2)] == ["whole", "hello"]
        assert await peer.expect(Opcode.PONG, "?") == Frame(Opcode.PONG, b"?")
        await peer.connection.send(["a", "b"])
        assert [await peer.receive() for _ in range(3)] == [
            Frame(Opcode.TEXT, b"a", fin=False),
            Frame(Opcode.CONTINUATION, b"b", fin=False),
            Frame(Opcode.CONTINUATION, b""),
        ]
        await peer.close(1001)
        assert peer.connection.close_code == 1001
        assert await peer.receive() is None


@both_roles
@without_io
async def test_rules_that_it_breaks(role: Role) -> None:
    async with ScriptedPeer(role) as peer:
        peer.send_frame(Opcode.CONTINUATION, "of nothing")
        with pytest.raises(ConnectionClosed) as caught:
            await peer.connection.recv()
        assert caught.value.cause is CloseCause.PROTOCOL
        frame = await peer.expect(Opcode.CLOSE)
        assert frame.payload[:2] == (1002).to_bytes(2, "big")


@without_io
async def test_a_handler_for_a_scripted_client() -> None:
    async with ScriptedPeer(Role.CLIENT, handler=echo) as peer:
        peer.send("hello")
        await peer.expect(Opcode.TEXT, "hello")
        await peer.close()
    with pytest.raises(TypeError, match=r"Role\.CLIENT"):
        ScriptedPeer(Role.SERVER, handler=echo)


@both_roles
@without_io
async def test_compressed_frames(role: Role) -> None:
    async with ScriptedPeer(role, compression="deflate") as peer:
        await peer.connection.send("x" * 1000)
        frame = await peer.receive()
        assert frame is not None
        assert frame.rsv1
        peer.send_frame(Opcode.TEXT, b"\xf2\x48\xcd\xc9\xc9\x07\x00", rsv1=True)  # RFC 7692 7.2.3.1
        assert await peer.connection.recv() == "Hello"


@both_roles
@without_io
async def test_expectations_that_fail(role: Role) -> None:
    async with ScriptedPeer(role) as peer:
        await peer.connection.send("a")
        with pytest.raises(AssertionError, match="expected TEXT b'b', received Frame"):
            await peer.expect(Opcode.TEXT, "b")
        await peer.connection.send("a")
        with pytest.raises(AssertionError, match="expected PING, received Frame"):
            await peer.expect(Opcode.PING)
        peer.connection.transport.write(b"\xff\xff")
        with pytest.raises(AssertionError, match="sent no legal frame"):
            await peer.receive()
    async with ScriptedPeer(role) as peer:
        peer.connection.transport.abort()
        with pytest.raises(AssertionError, match="received None"):
            await peer.expect(Opcode.TEXT)
        with pytest.raises(AssertionError, match="without a Close frame"):
            await peer.close()


@both_roles
@without_io
async def test_half_of_tcp(role: Role) -> None:
    async with ScriptedPeer(role) as peer:
        peer.send("last")
        peer.transport.write_eof()
        assert await peer.connection.recv() == "last"
        with pytest.raises(ConnectionClosedError):
            await peer.connection.recv()
        assert await peer.receive() is None


@both_roles
@without_io
async def test_a_peer_that_reads_nothing_is_gone_in_time(role: Role) -> None:
    async with ScriptedPeer(role, ping_interval=20, ping_timeout=20, write_limit=1000) as peer:
        peer.transport.pause_reading()

        async def send_for_ever() -> None:
            while True:
                await peer.connection.send("x" * 1000)

        with pytest.raises(ConnectionClosedError) as caught:
            await send_for_ever()
        assert caught.value.cause is CloseCause.KEEPALIVE


# Time


def test_time_jumps() -> None:
    async def main() -> tuple[float, str]:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, JumpingLoop)
        start = loop.time()
        await asyncio.sleep(3600)
        return loop.time() - start, "done"

    assert run(main()) == (3600, "done")


def test_what_waits_for_ever_is_told() -> None:
    async def main() -> None:
        await asyncio.Event().wait()

    with pytest.raises(RuntimeError, match="nothing is left that could happen"):
        run(main())


def test_a_keepalive_of_an_hour() -> None:
    async def main() -> None:
        async with pair(client={"ping_interval": 60}) as (client, _):
            await asyncio.sleep(3600)
            assert client.stats().round_trips.n in (59, 60)

    run(main())


# The transport


@without_io
async def test_memory_transport_behaves_as_asyncios() -> None:
    class Noting(asyncio.Protocol):
        def __init__(self) -> None:
            self.calls: list[Any] = []

        def connection_made(self, transport: Any) -> None:
            self.transport: MemoryTransport = transport

        def data_received(self, data: bytes) -> None:
            self.calls.append(data)

        def eof_received(self) -> bool:
            self.calls.append("eof")
            return True

        def pause_writing(self) -> None:
            self.calls.append("pause")

        def resume_writing(self) -> None:
            self.calls.append("resume")

        def connection_lost(self, exc: Exception | None) -> None:
            self.calls.append(exc)

    one, two = Noting(), Noting()
    with pytest.raises(ValueError, match="chunk_size must be at least 1"):
        join(one, two, 0)
    join(one, two, 3)
    assert one.transport.get_protocol() is one
    assert one.transport.get_extra_info("socket") is None
    one.transport.set_write_buffer_limits(4)
    assert one.transport.get_write_buffer_limits() == (1, 4)
    two.transport.pause_reading()
    one.transport.write(b"12345678")
    assert one.calls == ["pause"]
    assert one.transport.get_write_buffer_size() == 8
    await turns(3)
    assert two.calls == []
    assert not two.transport.is_reading()
    two.transport.resume_reading()
    await turns(5)
    assert two.calls == [b"123", b"456", b"78"]
    assert one.calls == ["pause", "resume"]
    one.transport.write(b"9")
    one.transport.write_eof()
    with pytest.raises(RuntimeError, match="write_eof"):
        one.transport.write(b"x")
    await turns(5)
    assert two.calls[3:] == [b"9", "eof"]
    two.transport.write(b"other half")
    two.transport.close()
    assert two.transport.is_closing()
    two.transport.write(b"too late")
    await turns(9)
    assert one.calls[2:] == [b"oth", b"er ", b"hal", b"f", "eof"]
    assert two.calls[5:] == [None]
    one.transport.abort()
    await turns(2)
    assert one.calls[7:] == [None]


def test_names_are_loaded_when_used() -> None:
    assert wsfast.testing.pair is pair
