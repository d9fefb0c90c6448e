"""``wsfast.patch.wsproto()`` under simple-websocket: its client and its server talk to each other, by our frames."""

from __future__ import annotations

import os
import socket
import threading

import pytest
import simple_websocket

from wsfast import patch, unpatch
from wsfast.wsproto import FrameProtocol


@pytest.fixture(autouse=True)
def patched():
    patch.wsproto()
    yield
    unpatch("wsproto")


def serve(listening, servers):
    """Accept one connection, as a WSGI server would, and echo until it ends."""
    connection, _ = listening.accept()
    with connection:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += connection.recv(1)
        lines = head.decode().split("\r\n")[1:-2]
        headers = dict(line.split(": ", 1) for line in lines)
        environ = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in headers.items()}
        server = simple_websocket.Server.accept({"werkzeug.socket": connection, **environ})
        servers.append(server)
        try:
            while True:
                server.send(server.receive())
        except simple_websocket.ConnectionClosed as closed:
            servers.append(closed)


def test_an_echo():
    servers = []
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve, args=(listening, servers))
        thread.start()
        client = simple_websocket.Client.connect(f"ws://127.0.0.1:{listening.getsockname()[1]}/")
        for message in ("text", "한국어" * 1000, "a" * 70000, b"", os.urandom(300), os.urandom(70001)):
            client.send(message)
            assert client.receive(timeout=10) == message
        assert type(client.ws.connection._proto) is FrameProtocol
        assert type(servers[0].ws.connection._proto) is FrameProtocol
        client.close(4000, "done")
        thread.join()
    assert (servers[1].reason, servers[1].message) == (4000, "done")
