"""The examples' applications, served by uvicorn with wsfast's class, and clients of other makers."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import socket
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import trustme
from serving import ROOT, example, in_loop, port_of, serving
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect
from websockets.asyncio.client import connect, unix_connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

import wsfast

LOOPS = pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
COMPRESSION = pytest.mark.parametrize("compression", [None, "deflate"])
MESSAGES = ["", "text", "한국어 🙂", b"", b"bytes", b"x" * 126, "a" * 65_536, os.urandom(300_000)]


@LOOPS
@COMPRESSION
@in_loop
async def test_starlette_echoes_to_websockets(loop: str, compression: Any) -> None:
    async with serving(example("starlette_app")) as server:
        url = f"ws://127.0.0.1:{port_of(server)}/echo?password=secret"
        async with connect(url, compression=compression) as client:
            assert bool(client.protocol.extensions) == (compression is not None)
            for message in MESSAGES:
                await client.send(message)
                assert await client.recv() == message
            await client.send(["in ", "frag", "ments"])
            assert await client.recv() == "in fragments"
            for message in MESSAGES:
                await client.send(message)
            assert [await client.recv() for _ in MESSAGES] == MESSAGES


@LOOPS
@in_loop
async def test_starlette_echoes_to_wsfast(loop: str) -> None:
    async with (
        serving(example("starlette_app")) as server,
        wsfast.connect(f"ws://127.0.0.1:{port_of(server)}/echo?password=secret") as client,
    ):
        for message in MESSAGES:
            await client.send(message)
        assert [await client.recv() for _ in MESSAGES] == MESSAGES


@in_loop
async def test_starlette_refuses_with_a_response_of_its_own() -> None:
    async with serving(example("starlette_app")) as server:
        with pytest.raises(InvalidStatus) as caught:
            await connect(f"ws://127.0.0.1:{port_of(server)}/echo")
        response = caught.value.response
        assert (response.status_code, response.body) == (401, b"Who are you?\n")
        with pytest.raises(InvalidStatus) as caught:
            await connect(f"ws://127.0.0.1:{port_of(server)}/elsewhere")
        assert caught.value.response.status_code == 403


@LOOPS
@in_loop
async def test_fastapi_chat(loop: str) -> None:
    async with serving(example("fastapi_app")) as server:
        url = f"ws://127.0.0.1:{port_of(server)}/chat"
        async with connect(f"{url}/Ada") as ada:
            assert await ada.recv() == "Ada is here"
            async with wsfast.connect(f"{url}/Bo") as bo:
                assert await bo.recv() == await ada.recv() == "Bo is here"
                await ada.send("안녕")
                assert await bo.recv() == await ada.recv() == "Ada: 안녕"
            assert await ada.recv() == "Bo left"


@in_loop
async def test_starlette_hears_how_the_client_closed() -> None:
    heard: asyncio.Future[WebSocketDisconnect] = asyncio.get_running_loop().create_future()

    async def listen(websocket: WebSocket) -> None:
        await websocket.accept(subprotocol="chat", headers=[(b"X-Extra", b"yes")])
        try:
            await websocket.receive_text()
        except WebSocketDisconnect as exception:
            heard.set_result(exception)

    async with serving(Starlette(routes=[WebSocketRoute("/", listen)])) as server:
        async with connect(f"ws://127.0.0.1:{port_of(server)}/", subprotocols=["chat"]) as client:
            assert client.subprotocol == "chat"
            assert client.response is not None
            assert client.response.headers["x-extra"] == "yes"
            await client.close(4321, "enough")
        disconnect = await heard
        assert (disconnect.code, disconnect.reason) == (4321, "enough")


@in_loop
async def test_a_fault_is_told_to_a_client_that_still_sends() -> None:
    """10.4: the limit is found at the header; the client, in the middle of its message, sees our Close, and why."""
    async with (
        serving(example("starlette_app"), ws_max_size=1000) as server,
        connect(f"ws://127.0.0.1:{port_of(server)}/echo?password=secret", compression=None) as client,
    ):
        with contextlib.suppress(ConnectionClosed):
            await client.send(bytes(4_000_000))
        await client.wait_closed()
        assert client.close_code == 1009


@LOOPS
@in_loop
async def test_tls(loop: str) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    with (
        certificate.private_key_pem.tempfile() as key_file,
        certificate.cert_chain_pems[0].tempfile() as certificate_file,
    ):
        options = {"ssl_keyfile": key_file, "ssl_certfile": certificate_file}
        async with (
            serving(example("starlette_app"), **options) as server,
            connect(f"wss://127.0.0.1:{port_of(server)}/echo?password=secret", ssl=trusting) as client,
        ):
            for message in MESSAGES:
                await client.send(message)
            assert [await client.recv() for _ in MESSAGES] == MESSAGES


@LOOPS
@in_loop
async def test_unix_socket(loop: str, tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    async with (
        serving(example("starlette_app"), uds=path),
        unix_connect(path, "ws://localhost/echo?password=secret") as client,
    ):
        await client.send("text")
        assert await client.recv() == "text"


@LOOPS
@in_loop
async def test_small_frames_do_not_wait_for_an_acknowledgement(loop: str) -> None:
    """uvicorn makes sockets without a protocol number, as for --workers; asyncio leaves those as they are."""
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.bind(("127.0.0.1", 0))
    async with (
        serving(example("starlette_app"), sockets=[listening]) as server,
        connect(f"ws://127.0.0.1:{port_of(server)}/echo?password=secret"),
    ):
        (protocol,) = server.server_state.connections
        accepted = protocol.transport.get_extra_info("socket")
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@LOOPS
@in_loop
async def test_shutdown_says_so_and_leaves_nothing(loop: str) -> None:
    async with serving(example("starlette_app")) as server:
        client = await connect(f"ws://127.0.0.1:{port_of(server)}/echo?password=secret")
    with pytest.raises(ConnectionClosed) as caught:
        await client.recv()
    assert caught.value.rcvd is not None
    assert caught.value.rcvd.code == 1012
    assert not server.server_state.connections
    assert not server.server_state.tasks


@pytest.mark.parametrize("options", [["--loop", "asyncio"], ["--loop", "uvloop", "--http", "h11"]], ids=str)
def test_as_the_documentation_has_it(options: list[str]) -> None:
    """The command line names the class; the class is found, and in use."""
    command = [sys.executable, "-m", "uvicorn", "--ws", "wsfast.uvicorn:WebSocketProtocol"]
    command += ["--app-dir", str(ROOT / "examples"), "starlette_app:app", "--port", "0", *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            lines = iter(process.stderr.readline, "")
            port = next(int(found[1]) for line in lines if (found := re.search(r"127\.0\.0\.1:(\d+)", line)))

            async def echo() -> None:
                url = f"ws://127.0.0.1:{port}/echo?password=secret"
                async with connect(url) as client:
                    # What tells our class from uvicorn's: its answer to a request without a version.
                    await client.send("text")
                    assert await client.recv() == "text"
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(
                    b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
                )
                assert b"The WebSocket handshake failed" in await reader.read()
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()

            asyncio.run(asyncio.wait_for(echo(), 20))
        finally:
            process.terminate()
            process.communicate()
