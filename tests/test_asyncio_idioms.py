"""What programs for ``websockets`` do every day, and what they see: the same as there."""

from __future__ import annotations

import contextlib
from typing import Any, ClassVar

import pytest
from asyncio_helpers import (
    RawPeer,
    accept,
    answer_close,
    close,
    echo,
    in_loop,
    port_of,
    tcp_server,
    uri_of,
    wire,
    without_io,
)
from helpers import BINARY, TEXT

from wsfast import broadcast, connect, serve
from wsfast.asyncio.server import ServerConnection
from wsfast.codec import Role
from wsfast.connection import ReadyState
from wsfast.exceptions import ConnectionClosedError, InvalidStatus, ProtocolError
from wsfast.http import Request, Response


@without_io
async def test_an_iterator_can_be_closed_and_the_connection_goes_on() -> None:
    wired = wire(Role.CLIENT)
    wired.receive_text("a", "b", "c", "d")
    async with contextlib.aclosing(aiter(wired.connection)) as messages:
        assert await anext(messages) == "a"
    async for message in wired.connection:
        assert message == "b"
        break
    assert [await anext(wired.connection), await wired.connection.recv()] == ["c", "d"]
    assert wired.connection.ready_state is ReadyState.OPEN
    wired.transport.abort()


@without_io
async def test_an_iterator_ends_as_the_connection_does() -> None:
    for code in (1000, 1011):
        wired = wire(Role.SERVER)
        wired.receive_text("a")
        wired.receive_close(code)
        received: list[Any] = []
        with contextlib.nullcontext() if code == 1000 else pytest.raises(ConnectionClosedError):
            received += [message async for message in wired.connection]
        assert received == (["a"] if code == 1000 else [])
        await wired.finish()


@pytest.mark.parametrize(
    ("message", "text", "opcode"),
    [("é", None, TEXT), ("é", False, BINARY), ("é".encode(), True, TEXT), ("é".encode(), None, BINARY)],
)
@without_io
async def test_broadcast_of_bytes_as_text(message: Any, text: bool | None, opcode: int) -> None:
    """RFC 6455 5.6."""
    wired = [wire(role) for role in (Role.SERVER, Role.SERVER, Role.CLIENT)]
    broadcast([each.connection for each in wired], message, text=text)
    for each in wired:
        assert each.transport.take() == [(opcode, "é".encode(), True)]
        each.transport.abort()


@without_io
async def test_broadcast_of_bytes_that_are_no_text() -> None:
    wired = wire(Role.SERVER)
    with pytest.raises(ValueError, match="UTF-8"):
        broadcast([wired.connection], b"\xff", text=True)
    assert wired.transport.take() == []
    wired.transport.abort()


@pytest.mark.parametrize(
    ("code", "reason"), [(1005, ""), (1006, ""), (999, ""), (1004, ""), (5000, ""), (1000, "x" * 124)]
)
@without_io
async def test_a_close_that_cannot_be_sent_is_a_protocol_error(code: int, reason: str) -> None:
    """RFC 6455 7.4, 5.5: in each state the same; and the connection goes on."""
    wired = wire(Role.SERVER)
    with pytest.raises(ProtocolError) as mistake:
        await wired.connection.close(code, reason)
    assert isinstance(mistake.value, ValueError)
    assert wired.transport.take() == []
    assert wired.connection.ready_state is ReadyState.OPEN
    wired.receive_close(1000)
    assert wired.transport.take() == [close(1000)]
    await wired.finish()
    with pytest.raises(ProtocolError):
        await wired.connection.close(code, reason)


@in_loop
async def test_max_queue_0_lets_one_message_wait() -> None:
    async with (
        serve(echo, "127.0.0.1", 0, max_queue=0) as server,
        connect(uri_of(server), max_queue=0) as ws,
    ):
        for n in range(20):
            await ws.send(f"{n}")
        assert [await ws.recv() for n in range(20)] == [f"{n}" for n in range(20)]


# Redirects, and what comes after a failed attempt


def moved(to: str) -> Any:
    def process_request(connection: ServerConnection, request: Request) -> Response | None:
        if request.path == "/new":
            return None
        response = connection.respond(307, "")
        response.headers["Location"] = to
        return response

    return process_request


SECRETS = {"Authorization": "a", "Cookie": "b", "Proxy-Authorization": "c"}


@in_loop
async def test_no_credential_goes_to_another_origin() -> None:
    """RFC 9110 11.6.2, RFC 6265 8.3: those of the proxy neither."""
    async with (
        serve(echo, "127.0.0.1", 0) as there,
        serve(echo, "127.0.0.1", 0, process_request=moved(uri_of(there))) as server,
        connect(uri_of(server), additional_headers={**SECRETS, "X-Other": "d"}) as ws,
    ):
        assert ws.request is not None
        assert not ws.request.headers.keys() & {name.lower() for name in SECRETS}
        assert ws.request.headers["X-Other"] == "d"


class Own(connect):
    """As a program overrides the method of ``websockets``."""

    answers: ClassVar[list[Any]] = []

    def process_redirect(self, exc: Exception) -> Exception | str:
        self.answers.append(type(exc).__name__)
        result = super().process_redirect(exc)
        if isinstance(exc, InvalidStatus) and exc.response.status_code == 410:
            return f"ws://127.0.0.1:{self.elsewhere}/new"
        return result

    elsewhere = 0


@in_loop
async def test_process_redirect_can_be_overridden() -> None:
    """It sees each refusal, and may lead on; another origin gets no credentials then either."""
    gone = dict.fromkeys(("/",), 410)

    def process_request(connection: ServerConnection, request: Request) -> Response | None:
        return connection.respond(gone[request.path], "") if request.path in gone else None

    async with (
        serve(echo, "127.0.0.1", 0) as there,
        serve(echo, "127.0.0.1", 0, process_request=process_request) as server,
    ):
        Own.elsewhere = port_of(there)
        Own.answers.clear()
        async with Own(uri_of(server), additional_headers=SECRETS) as ws:
            assert ws.request is not None
            assert ws.request.path == "/new"
            assert not ws.request.headers.keys() & {name.lower() for name in SECRETS}
        assert Own.answers == ["InvalidStatus"]


@in_loop
async def test_process_redirect_may_raise_or_return_another_exception() -> None:
    class Refusing(connect):
        def process_redirect(self, exc: Exception) -> Exception | str:
            return PermissionError("not there")

    async with serve(echo, "127.0.0.1", 0, process_request=moved("/new")) as server:
        with pytest.raises(PermissionError, match="not there") as refused:
            await Refusing(uri_of(server))
        assert isinstance(refused.value.__cause__, InvalidStatus)


@pytest.mark.parametrize("how", ["return", "raise"])
@in_loop
async def test_process_exception_may_return_or_raise(how: str) -> None:
    def process_exception(exc: Exception) -> Exception | None:
        if how == "raise":
            raise PermissionError("no more")
        return PermissionError("no more")

    async with serve(echo, "127.0.0.1", 0, process_request=lambda ws, request: ws.respond(503, "")) as server:
        with pytest.raises(PermissionError, match="no more"):
            await anext(aiter(connect(uri_of(server), process_exception=process_exception)))


@in_loop
async def test_async_for_goes_on_after_a_balancer_that_closes_without_an_answer() -> None:
    n_attempts = 0

    async def script(peer: RawPeer) -> None:
        nonlocal n_attempts
        n_attempts += 1
        if n_attempts == 4:
            await accept(peer)
            await answer_close(peer)
        elif n_attempts % 2:
            await peer.read_head()
        else:
            peer.abort()

    async with tcp_server(script) as server:
        async for ws in connect(uri_of(server), reconnect_delays=lambda: iter([0.0] * 10)):
            assert ws.ready_state is ReadyState.OPEN
            break
    assert n_attempts == 4
