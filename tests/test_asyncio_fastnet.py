"""The transports of aiofastnet: which connections they get, and their peculiarities. All else runs over them too."""

from __future__ import annotations

import asyncio
import ssl
import sys
from pathlib import Path
from typing import Any

import pytest
from asyncio_helpers import (
    authority,
    client_tls,
    echo,
    in_both_loops,
    in_loop,
    port_of,
    run,
    server_tls,
    tcp_client,
)

from wsfast.asyncio import ClientConnection, ServerConnection, connect, fastnet, serve
from wsfast.asyncio.buffered import BufferedReceiver, CopyingReceiver

pytest.importorskip("aiofastnet")

HOST = "127.0.0.1"


def fresh_server_tls() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority().issue_cert("localhost").configure_cert(context)
    return context


def with_sni_callback(context: ssl.SSLContext, seen: list[Any]) -> ssl.SSLContext:
    def note(connection: ssl.SSLObject | ssl.SSLSocket, name: str | None, old: ssl.SSLContext) -> None:
        seen.append(name)

    context.sni_callback = note
    return context


class OwnChecks(ssl.SSLContext):
    """As truststore makes one: it checks the peer in a method."""


def unusable(folder: Path) -> list[ssl.SSLContext]:
    logging_keys = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    logging_keys.keylog_filename = str(folder / "keys")
    return [
        with_sni_callback(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), []),
        logging_keys,
        OwnChecks(ssl.PROTOCOL_TLS_CLIENT),
    ]


def transport_of(connection: ClientConnection | ServerConnection) -> str:
    return type(connection.transport).__module__.partition(".")[0]


async def transports(
    context: ssl.SSLContext | None = None, client: ssl.SSLContext | None = None, **options: Any
) -> tuple[str, str]:
    """Connect once; return the packages of the server's and of the client's transport."""
    of_server: list[str] = []

    async def handler(connection: ServerConnection) -> None:
        of_server.append(transport_of(connection))
        await echo(connection)

    async with serve(handler, HOST, 0, ssl=context, **options) as server:
        uri = f"{'ws' if context is None else 'wss'}://localhost:{port_of(server)}/"
        tls = {} if context is None else {"ssl": client or client_tls()}
        async with connect(uri, host=HOST, **tls, **options) as ws:
            await ws.send("x" * 300_000)
            assert await ws.recv() == "x" * 300_000
            return of_server[0], transport_of(ws)


def test_tls_is_its_part_unless_it_is_refused() -> None:
    fastnets = ("aiofastnet", "aiofastnet")
    assert asyncio.run(transports(server_tls())) == fastnets
    assert asyncio.run(transports()) == ("asyncio", "asyncio")
    assert asyncio.run(transports(aiofastnet=True)) == fastnets
    assert asyncio.run(transports(server_tls(), aiofastnet=False)) == ("asyncio", "asyncio")


def test_context_with_a_callback_stays_with_the_loop(tmp_path: Path) -> None:
    """aiofastnet crashes the process there, as OpenSSL calls back with a connection that ``ssl`` does not know."""
    loop = asyncio.new_event_loop()
    loop.close()
    for context in unusable(tmp_path):
        assert not fastnet.is_used(loop, context, None)
        with pytest.raises(ValueError, match="aiofastnet=True, but"):
            fastnet.is_used(loop, context, True)
    seen: list[Any] = []
    assert asyncio.run(transports(with_sni_callback(fresh_server_tls(), seen))) == ("asyncio", "aiofastnet")
    assert seen == ["localhost"]


def test_callback_set_while_the_server_runs() -> None:
    async def main() -> None:
        context, seen = fresh_server_tls(), []  # type: ignore[var-annotated]
        of_server: list[str] = []

        async def handler(connection: ServerConnection) -> None:
            of_server.append(transport_of(connection))

        async with serve(handler, HOST, 0, ssl=context, aiofastnet=True) as server:
            uri = f"wss://localhost:{port_of(server)}/"
            async with connect(uri, host=HOST, ssl=client_tls()):
                pass
            with_sni_callback(context, seen)
            async with connect(uri, host=HOST, ssl=client_tls()):
                pass
        assert of_server == ["aiofastnet", "asyncio"]
        assert seen == ["localhost"]

    asyncio.run(main())


def test_keys_are_logged_where_a_variable_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """SSLKEYLOGFILE sets ``keylog_filename`` of the default context, which ``connect`` makes itself."""
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys"))

    async def main() -> None:
        async with serve(echo, HOST, 0, ssl=server_tls()) as server:
            with pytest.raises(ssl.SSLCertVerificationError):
                await connect(f"wss://localhost:{port_of(server)}/", host=HOST)

    asyncio.run(main())


def test_the_wish_is_checked_at_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong: Any = "yes"
    with pytest.raises(TypeError, match="aiofastnet is True, False, or None"):
        connect("ws://localhost/", aiofastnet=wrong)
    with pytest.raises(TypeError, match="aiofastnet is True, False, or None"):
        serve(echo, HOST, 0, aiofastnet=wrong)
    monkeypatch.setattr(fastnet, "_package", lambda: None)
    with pytest.raises(ImportError, match=r"wsfast\[aiofastnet\]"):
        connect("ws://localhost/", aiofastnet=True)
    with pytest.raises(ImportError, match=r"wsfast\[aiofastnet\]"):
        serve(echo, HOST, 0, aiofastnet=True)
    assert asyncio.run(transports(server_tls())) == ("asyncio", "asyncio")


def test_package_that_cannot_be_loaded_is_a_missing_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aiofastnet", None)
    fastnet._package.cache_clear()
    try:
        assert fastnet._package() is None
    finally:
        fastnet._package.cache_clear()


@in_both_loops
async def test_peer_that_leaves_in_the_tls_handshake_is_no_error_of_ours() -> None:
    """Nor is one that speaks no TLS; both are usual on a public port. ``run`` fails if the loop hears of an error."""
    async with serve(echo, HOST, 0, ssl=server_tls()) as server:
        for first in (b"", b"\x16\x03\x01", b"GET / HTTP/1.1\r\n\r\n"):
            async with tcp_client(server) as peer:
                peer.send(first)
                if first:
                    await asyncio.sleep(0.01)
                peer.send_eof()
                await peer.reader.read()
        async with connect(f"wss://localhost:{port_of(server)}/", ssl=client_tls(), host=HOST) as ws:
            await ws.send("still here")
            assert await ws.recv() == "still here"


@pytest.mark.parametrize("loop_name", ["asyncio", "uvloop", "aiofastnet", "aiofastnet-uvloop"])
@pytest.mark.parametrize("tls", [False, True], ids=["ws", "wss"])
def test_the_shared_buffer_is_used_where_it_wins(loop_name: str, tls: bool) -> None:
    """uvloop has one of its own, but not for TLS. In place is for transports that keep nothing when they are paused."""

    async def main() -> type[asyncio.BaseProtocol]:
        async with serve(echo, HOST, 0, ssl=server_tls() if tls else None) as server:
            uri = f"{'wss' if tls else 'ws'}://localhost:{port_of(server)}/"
            async with connect(uri, host=HOST, ssl=client_tls() if tls else None) as ws:
                await ws.send("x" * 300_000)
                assert await ws.recv() == "x" * 300_000
                return type(ws.transport.get_protocol())

    if loop_name == "uvloop" and not tls:
        expected: type[asyncio.BaseProtocol] = ClientConnection
    else:
        expected = CopyingReceiver if tls and loop_name != "asyncio" else BufferedReceiver
    assert run(main(), loop_name) is expected


@in_loop
async def test_what_came_with_a_large_message_is_not_left_in_a_pause() -> None:
    """Reading pauses after the large message; the small ones of the same read come when it goes on."""
    sent = ["before", "x" * 200_000, *(f"{number}" for number in range(20))]

    async def handler(connection: ServerConnection) -> None:
        await connection.recv()
        connection.transport.write(b"".join(map(connection.protocol.encoder.message, sent)))
        await connection.wait_closed()

    # With this size a read of aiofastnet can hold the rest of a message that is received in place, and more.
    options = {"aiofastnet": True, "ssl_incoming_bio_size": 2**18}
    async with (
        serve(handler, HOST, 0, ssl=server_tls(), write_limit=2**22) as server,
        connect(
            f"wss://localhost:{port_of(server)}/", ssl=client_tls(), host=HOST, max_queue=(1, 0), **options
        ) as ws,
    ):
        await ws.send("go")
        await asyncio.sleep(0.1)  # all of it is in the kernel or here
        assert [await asyncio.wait_for(ws.recv(), 5) for _ in sent] == sent
