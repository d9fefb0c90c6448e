"""``wsfast.sync``: ``connect``, ``reconnect`` and ``serve``, with each other, with asyncio's, and with raw peers."""

from __future__ import annotations

import asyncio
import errno
import itertools
import logging
import re
import signal
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import websockets.asyncio.client
import websockets.asyncio.server
import websockets.sync.client
from asyncio_helpers import client_tls, server_tls
from helpers import TEXT, run_python
from hostile_peers import KIB
from sync_helpers import (
    LIMIT,
    REQUEST,
    InThread,
    RawPeer,
    accepting_response,
    echo,
    read_head,
    running,
    scripted,
    serving,
    wire,
)

import wsfast.asyncio
from wsfast.deflate import Deflate
from wsfast.exceptions import (
    ConnectionClosedError,
    ConnectionClosedOK,
    HandshakeTimeout,
    InvalidStatus,
    InvalidURI,
    ProtocolError,
    SecurityError,
)
from wsfast.http import Request, Response
from wsfast.limits import Limits
from wsfast.sync import (
    ClientConnection,
    Router,
    ServerConnection,
    basic_auth,
    broadcast,
    connect,
    reconnect,
    route,
    serve,
    unix_connect,
    unix_reconnect,
    unix_route,
    unix_serve,
)
from wsfast.sync.stream import Tls

pytestmark = pytest.mark.usefixtures("short_tick")

# The client


@pytest.mark.usefixtures("connection_codec")
@pytest.mark.parametrize("compression", [None, "deflate"])
def test_echo(compression: Any) -> None:
    with serving(compression=compression) as (_, uri), connect(uri, compression=compression) as ws:
        assert (ws.compression is None) is (compression is None)
        for message in ("", "text", b"binary", "é" * 10_000, b"x" * 1_000_000):
            ws.send(message)
            assert ws.recv(timeout=LIMIT) == message
        ws.send(iter(["in ", "parts"]))
        assert ws.recv() == "in parts"
    assert ws.close_code == 1000


def test_facts() -> None:
    facts: list[Any] = []

    def handler(ws: ServerConnection) -> None:
        facts.extend([ws.remote_address, ws.request, ws.subprotocol])

    with (
        serving(handler, subprotocols=["chat"]) as (_, uri),
        connect(
            uri + "path", subprotocols=["chat"], origin="http://a.example", additional_headers={"X-A": "b"}
        ) as ws,
    ):
        with pytest.raises(ConnectionClosedOK):
            ws.recv()
        assert ws.request is not None
        assert ws.response is not None
        assert ws.response.status_code == 101
        assert facts[0] == ws.local_address
        assert facts[1].path == "/path"
        assert facts[1].headers["Origin"] == "http://a.example"
        assert facts[1].headers["X-A"] == "b"
        assert facts[2] == ws.subprotocol == "chat"


@pytest.mark.parametrize("legacy", [None, True])
def test_connect_returns_a_connection(legacy: bool | None) -> None:
    with serving() as (_, uri):
        ws = connect(uri, legacy=legacy)
        ws.send("x")
        assert next(iter(ws)) == "x"
        ws.close()


def test_legacy_false_reconnects() -> None:
    with serving() as (_, uri):
        for ws in itertools.islice(connect(uri, legacy=False), 2):
            ws.send("x")
            assert ws.recv() == "x"


def test_reconnect() -> None:
    handled = itertools.count()

    def handler(ws: ServerConnection) -> None:
        ws.send(str(next(handled)))

    with serving(handler) as (_, uri):
        got = []
        for ws in reconnect(uri):
            got += list(ws)
            if len(got) == 3:
                break
        assert got == ["0", "1", "2"]
        with reconnect(uri) as ws:
            assert ws.recv() == "3"


def test_reconnect_tries_again_after_faults_of_the_network(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    statuses = iter([b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", b"", None])

    def script(peer: RawPeer) -> None:
        head = read_head(peer.socket)
        answer = next(statuses)
        peer.send(accepting_response(head) if answer is None else answer)
        if answer is None:
            peer.send(peer.frame(TEXT, b"at last"))
            peer.rest()

    with scripted(script) as uri:
        for ws in reconnect(uri, reconnect_delays=lambda: [0, 0, 0], close_timeout=0.1):
            assert ws.recv() == "at last"
            ws.cut()
            break
    assert caplog.text.count("again in 0.0 s") == 2


def test_reconnect_raises_what_no_attempt_can_mend() -> None:
    def script(peer: RawPeer) -> None:
        read_head(peer.socket)
        peer.send(b"HTTP/1.1 403 No\r\nContent-Length: 5\r\n\r\nnever")

    with scripted(script) as uri:
        with pytest.raises(InvalidStatus) as caught:
            next(iter(reconnect(uri)))
        assert caught.value.response.body == b"never"
        with pytest.raises(KeyError):
            next(iter(reconnect(uri, process_exception=lambda _: KeyError())))


def test_refusal_whose_body_does_not_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wsfast.sync.client.BODY_TIMEOUT", 0.05)
    done = threading.Event()

    def script(peer: RawPeer) -> None:
        read_head(peer.socket)
        peer.send(b"HTTP/1.1 503 Busy\r\nContent-Length: 100\r\n\r\nshort")
        done.wait(LIMIT)

    with scripted(script) as uri:
        with pytest.raises(InvalidStatus) as caught:
            connect(uri)
        done.set()
    assert caught.value.response.body == b"short"


def test_frames_right_after_the_response() -> None:
    def script(peer: RawPeer) -> None:
        peer.send(accepting_response(read_head(peer.socket)) + peer.frame(TEXT, b"early")[:3])
        peer.send(peer.frame(TEXT, b"early")[3:])
        peer.rest()

    with scripted(script) as uri:
        ws = connect(uri, close_timeout=0.1, count_frames=True)
        assert ws.recv() == "early"
        assert ws.stats().received.size == 7  # type: ignore[union-attr]
        ws.cut()


def test_open_timeout() -> None:
    done = threading.Event()
    with scripted(lambda peer: done.wait(LIMIT) and None) as uri:
        with pytest.raises(HandshakeTimeout, match=r"0\.05 s"):
            connect(uri, open_timeout=0.05)
        with pytest.raises(TimeoutError):
            connect(uri.replace("ws:", "wss:"), open_timeout=0.05, ssl=client_tls())
        done.set()


@pytest.mark.parametrize(
    "answer", [b"", b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"]
)
def test_no_websocket_server(answer: bytes) -> None:
    def script(peer: RawPeer) -> None:
        read_head(peer.socket)
        peer.send(answer)

    with scripted(script) as uri, pytest.raises(wsfast.exceptions.InvalidHandshake):
        connect(uri)


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    with pytest.raises(ConnectionRefusedError, match="nothing listens there"):
        connect(f"ws://127.0.0.1:{port}/")


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"extra_headers": {}}, TypeError),
        ({"max_size": -1}, ValueError),
        ({"compression": "gzip"}, ValueError),
        ({"proxy": 1}, TypeError),
        ({"limits": Limits(), "max_queue": 3}, TypeError),
    ],
)
def test_mistakes_are_told_before_anything_is_connected(options: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        connect("ws://localhost:1/", **options)
    with pytest.raises(InvalidURI):
        connect("http://localhost:1/")


def test_redirects_are_followed() -> None:
    with serving() as (_, uri):

        def script(peer: RawPeer) -> None:
            read_head(peer.socket)
            peer.send(b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: %s\r\n\r\n" % uri.encode())

        with scripted(script) as first, connect(first) as ws:
            ws.send("x")
            assert ws.recv() == "x"

    def again(peer: RawPeer) -> None:
        read_head(peer.socket)
        peer.send(b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: /\r\n\r\n")

    with scripted(again) as uri, pytest.raises(SecurityError, match="more than 10 times"):
        connect(uri)


def test_a_socket_of_ones_own() -> None:
    with serving() as (server, _):
        sock = socket.create_connection(server.sockets[0].getsockname())
        with connect("ws://other.example/", sock=sock) as ws:
            assert ws.request is not None
            assert ws.request.headers["Host"] == "other.example"
        with pytest.raises(ValueError, match="sock is closed"):
            connect("ws://other.example/", sock=sock)
        address = server.sockets[0].getsockname()
        with connect("ws://other.example/", address=address, proxy=None) as ws:
            ws.send("x")
            assert ws.recv() == "x"


def test_create_connection() -> None:
    class Mine(ClientConnection):
        pass

    with serving() as (_, uri), connect(uri, create_connection=Mine) as ws:
        assert type(ws) is Mine


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no Unix sockets in Python")
def test_unix_sockets(tmp_path: Path) -> None:
    path = tmp_path / "ws"
    with running(unix_serve(echo, path)), unix_connect(path) as ws:
        ws.send("x")
        assert ws.recv() == "x"
        with unix_reconnect(path) as other:
            other.send("y")
            assert other.recv() == "y"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no Unix sockets in Python")
def test_unix_socket_where_nobody_listens(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"cannot connect|No such file"):
        unix_connect(tmp_path / "nothing")


def test_a_server_that_resets_the_handshake() -> None:
    def script(peer: RawPeer) -> None:
        peer.socket.recv(1)
        peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    with scripted(script) as uri, pytest.raises(wsfast.exceptions.InvalidMessage) as caught:
        connect(uri)
    assert isinstance(caught.value.__cause__, ConnectionResetError)


@pytest.mark.parametrize("host", [None, "::1", "127.0.0.1"])
def test_hosts(host: str | None) -> None:
    if host == "::1" and not socket.has_dualstack_ipv6():
        pytest.skip("there is no IPv6")
    with running(serve(echo, host, 0)) as server:
        port = server.sockets[0].getsockname()[1]
        with connect(f"ws://{'[::1]' if host == '::1' else '127.0.0.1'}:{port}/") as ws:
            ws.send("x")
            assert ws.recv() == "x"


# TLS


@pytest.mark.parametrize("role", list(wsfast.codec.Role))
def test_garbage_inside_tls(role: Any) -> None:
    """RFC 8446 6: the peer gets an alert, and the application the cause."""
    with wire(role) as (ours, peer):
        ours._tls = tls_of(peer.socket, ours)
        ours._is_plain = False
        peer.send(b"\x17\x03\x03\x00\x20" + bytes(32))
        with pytest.raises(ConnectionClosedError) as caught:
            ours.recv()
        assert isinstance(caught.value.__cause__, ssl.SSLError)
        assert peer.rest()[:1] in (b"\x15", b"\x17")


def tls_of(sock: socket.socket, ours: Any) -> Tls:
    """Do the handshake of TLS between both ends, and return that of ours."""
    own = Tls(server_tls(), server_side=True, server_hostname=None, below=None)
    theirs = Tls(client_tls(), server_side=False, server_hostname="localhost", below=None)
    done = 0
    while done < 2:
        done = 0
        for one, other in ((theirs, own), (own, theirs)):
            try:
                one.object.do_handshake()
                done += 1
            except ssl.SSLWantReadError:
                pass
            data = one.to_send()
            if data:
                other.receive(data)
    return own


@pytest.mark.usefixtures("connection_codec")
def test_wss() -> None:
    with serving(ssl=server_tls()) as (_, uri), connect(uri, ssl=client_tls()) as ws:
        for message in ("x", b"y" * 1_000_000):
            ws.send(message)
            assert ws.recv(timeout=LIMIT) == message
        threads = [InThread(ws.send, "z" * 20_000) for _ in range(10)]
        for _ in threads:
            assert ws.recv() == "z" * 20_000
        for thread in threads:
            thread.result()


def test_a_certificate_that_is_not_trusted() -> None:
    with (
        serving(ssl=server_tls()) as (_, uri),
        pytest.raises(ssl.SSLCertVerificationError, match="not trusted"),
    ):
        connect(uri)


def test_no_tls_at_the_other_end() -> None:
    with serving() as (_, uri), pytest.raises(ssl.SSLError, match="is it a ws:// server"):
        connect(uri.replace("ws:", "wss:"), ssl=client_tls())
    with serving(ssl=server_tls()) as (_, uri), pytest.raises(wsfast.exceptions.InvalidMessage):
        connect(uri.replace("wss:", "ws:"))


# The server


def test_a_handler_that_fails_closes_with_1011(caplog: pytest.LogCaptureFixture) -> None:
    def handler(ws: ServerConnection) -> None:
        raise ZeroDivisionError

    with serving(handler) as (_, uri), connect(uri) as ws:
        with pytest.raises(ConnectionClosedError) as caught:
            ws.recv()
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 1011
    assert "connection handler failed" in caplog.text


def test_a_handler_that_ends_its_thread_closes_with_1011() -> None:
    with serving(lambda ws: sys.exit()) as (_, uri), connect(uri) as ws:
        with pytest.raises(ConnectionClosedError) as caught:
            ws.recv()
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 1011
    with serving(process_request=lambda ws, request: sys.exit()) as (server, uri):
        with pytest.raises(wsfast.exceptions.InvalidMessage):
            connect(uri)
        while server._running:
            time.sleep(0.001)


async def async_handler(ws: Any) -> None:
    pass


@pytest.mark.parametrize("handler", [None, async_handler, lambda: None, lambda ws: (yield)])
def test_a_handler_that_cannot_be_called_is_told_at_the_call(handler: Any) -> None:
    with pytest.raises(TypeError, match=r"handler|wsfast calls"):
        serve(handler, "127.0.0.1", 0)


def test_shutdown_closes_connections_with_1001() -> None:
    with serving() as (server, uri):
        ws = connect(uri)
        ws.send("x")
        assert ws.recv() == "x"
        assert len(server.connections) == 1
        stopping = InThread(server.shutdown)
        with pytest.raises(ConnectionClosedOK) as caught:
            ws.recv()
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 1001
        stopping.result()
        server.shutdown()
        assert server.connections == set()
        with pytest.raises(ConnectionRefusedError):
            connect(uri)


def test_shutdown_between_the_answer_and_the_handler(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = ServerConnection._opened

    def shut_down_first(connection: ServerConnection) -> None:
        stopping.append(InThread(connection.server.shutdown, code=1012))
        while connection.server._closing is None:
            time.sleep(0.001)
        opened(connection)

    stopping: list[InThread] = []
    monkeypatch.setattr(ServerConnection, "_opened", shut_down_first)
    with serving() as (_, uri):
        with connect(uri) as ws, pytest.raises(ConnectionClosedError) as caught:
            ws.recv()
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 1012
        stopping[0].result()


def test_shutdown_may_let_connections_go_on() -> None:
    with serving() as (server, uri), connect(uri) as ws:
        ws.send("x")
        assert ws.recv() == "x"
        stopping = InThread(server.shutdown, close_connections=False)
        ws.send("x")
        assert ws.recv() == "x"
        assert stopping.is_running
        ws.close()
        stopping.result()
        with pytest.raises(ProtocolError):
            server.shutdown(code=1005)


def test_shutdown_answers_handshakes_with_503() -> None:
    started, go_on = threading.Event(), threading.Event()

    def process_request(ws: ServerConnection, request: Request) -> None:
        started.set()
        assert go_on.wait(LIMIT)

    with serving(process_request=process_request) as (server, uri):
        idle = socket.create_connection(server.sockets[0].getsockname())
        connecting = InThread(connect, uri)
        assert started.wait(LIMIT)
        stopping = InThread(server.shutdown)
        assert idle.recv(1) == b""
        idle.close()
        go_on.set()
        with pytest.raises(InvalidStatus) as caught:
            connecting.result()
        assert caught.value.response.status_code == 503
        stopping.result()


def test_a_handler_may_shut_the_server_down() -> None:
    def handler(ws: ServerConnection) -> None:
        ws.server.shutdown()

    with serving(handler) as (_, uri), connect(uri) as ws, pytest.raises(ConnectionClosedOK):
        ws.recv()


def test_two_threads_accept() -> None:
    with serving() as (server, uri):
        second = InThread(server.serve_forever)
        for _ in range(10):
            with connect(uri) as ws:
                ws.send("x")
                assert ws.recv() == "x"
        assert second.is_running
    second.result()


def test_serve_forever_after_the_end_returns() -> None:
    server = serve(echo, "127.0.0.1", 0)
    assert server.fileno() == server.sockets[0].fileno()
    server.shutdown()
    server.serve_forever()


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="Windows has no signals for threads")
def test_ctrl_c_interrupts_serve_forever() -> None:
    main = threading.main_thread().ident
    assert main is not None
    with serve(echo, "127.0.0.1", 0) as server:
        timer = threading.Timer(0.05, signal.pthread_kill, (main, signal.SIGINT))
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            server.serve_forever()
        timer.join()


def test_process_request_and_response() -> None:
    def process_request(ws: ServerConnection, request: Request) -> Response | None:
        return ws.respond(200, "well\n") if request.path == "/health" else None

    def process_response(ws: ServerConnection, request: Request, response: Response) -> None:
        response.headers["X-Answer"] = "yes"

    with serving(process_request=process_request, process_response=process_response) as (_, uri):
        with pytest.raises(InvalidStatus) as caught:
            connect(uri + "health")
        assert caught.value.response.body == b"well\n"
        with connect(uri) as ws:
            assert ws.response is not None
            assert ws.response.headers["X-Answer"] == "yes"


@pytest.mark.parametrize("fault", [lambda ws, request: 1, lambda ws, request: 1 / 0])
def test_a_process_request_that_fails_is_500(fault: Any, caplog: pytest.LogCaptureFixture) -> None:
    with serving(process_request=fault) as (_, uri), pytest.raises(InvalidStatus) as caught:
        connect(uri)
    assert caught.value.response.status_code == 500
    assert "opening handshake failed" in caplog.text


def test_a_process_request_that_closes() -> None:
    def process_request(ws: ServerConnection, request: Request) -> None:
        ws.begin_close()

    with (
        serving(process_request=process_request) as (_, uri),
        pytest.raises(wsfast.exceptions.InvalidMessage),
    ):
        connect(uri)


def test_select_subprotocol_and_origins() -> None:
    with serving(
        select_subprotocol=lambda ws, offers: offers[-1], origins=[re.compile(r"http://.*\.example"), None]
    ) as (_, uri):
        with connect(uri, subprotocols=["a", "b"], origin="http://a.example") as ws:
            assert ws.subprotocol == "b"
        with pytest.raises(InvalidStatus) as caught:
            connect(uri, origin="http://evil.test")
        assert caught.value.response.status_code == 403


def test_a_client_that_sends_no_request_is_cut() -> None:
    for options in ({}, {"ssl": server_tls()}):
        with (
            serving(open_timeout=0.1, **options) as (server, _),
            socket.create_connection(server.sockets[0].getsockname(), timeout=LIMIT) as silent,
        ):
            assert silent.recv(1) == b""


def test_a_request_in_pieces_with_a_message_right_after_it() -> None:
    with serving() as (server, _), socket.create_connection(server.sockets[0].getsockname()) as sock:
        peer = RawPeer(sock, wsfast.codec.Role.SERVER)
        data = REQUEST + peer.frame(TEXT, b"early")
        for i in range(0, len(data), 50):
            peer.send(data[i : i + 50])
        assert read_head(sock).startswith(b"HTTP/1.1 101")
        assert peer.read_frame() == (0x80 | TEXT, b"early")


def test_limits_of_connections() -> None:
    with serving(limits=Limits(max_connections=1)) as (_, uri), connect(uri):
        with pytest.raises(InvalidStatus) as caught:
            connect(uri)
        assert caught.value.response.status_code == 503
    with serving(limits=Limits(max_connections_per_address=1)) as (server, uri):
        with connect(uri):
            with pytest.raises(InvalidStatus) as caught:
                connect(uri)
            assert caught.value.response.status_code == 429
        while server._running:
            time.sleep(0.001)
        with connect(uri) as ws:
            ws.send("x")
            assert ws.recv() == "x"


def test_accepting_pauses_without_descriptors(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("wsfast.sync.server.RETRY_DELAY", 0.05)

    class Listening(socket.socket):
        n_accepts = 0

        def accept(self) -> Any:
            self.n_accepts += 1
            if self.n_accepts == 1:
                raise OSError(errno.EPROTO, "of the network")
            if self.n_accepts < 4:
                raise OSError(errno.EMFILE, "Too many open files")
            return super().accept()

    listening = Listening()
    listening.bind(("127.0.0.1", 0))
    listening.listen()
    start = time.monotonic()
    with running(serve(echo, sock=listening)) as server:
        with connect(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/") as ws:
            ws.send("x")
            assert ws.recv() == "x"
        assert time.monotonic() - start >= 0.1
    assert caplog.text.count("ulimit -n") == 1


def test_a_server_without_threads_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wsfast.sync.server.RETRY_DELAY", 0.01)
    with serving() as (_, uri):
        start = threading.Thread.start
        left = iter([True])

        def fail_once(self: threading.Thread) -> None:
            if self.name == "wsfast connection" and next(left, False):
                raise RuntimeError("can't start new thread")
            start(self)

        monkeypatch.setattr(threading.Thread, "start", fail_once)
        with pytest.raises(wsfast.exceptions.InvalidHandshake):
            connect(uri)
        with connect(uri) as ws:
            ws.send("x")
            assert ws.recv() == "x"


def test_basic_auth() -> None:
    names: list[str] = []

    def handler(ws: ServerConnection) -> None:
        names.append(ws.username)

    with serving(handler, process_request=basic_auth("r", credentials=("me", "secret"))) as (_, uri):
        for text in ("", "me:wrong@", "you:secret@"):
            with pytest.raises(InvalidStatus) as caught:
                connect(uri.replace("//", f"//{text}"))
            assert caught.value.response.status_code == 401
        with connect(uri.replace("//", "//me:secret@")) as ws, pytest.raises(ConnectionClosedOK):
            ws.recv()
    assert names == ["me"]
    with serving(handler, process_request=basic_auth(check_credentials=lambda *_: True)) as (_, uri):
        connect(uri.replace("//", "//any:one@")).close()


def test_routes(tmp_path: Path) -> None:
    routing = pytest.importorskip("werkzeug.routing")

    def tell(ws: ServerConnection, **arguments: Any) -> None:
        ws.send(f"{type(ws.server).__name__} {arguments}")

    class Mine(Router):
        def not_found(self, connection: Any) -> Response:
            return connection.respond(410, "Gone\n")  # type: ignore[no-any-return]

    rules = [routing.Rule("/channel/<int:number>", endpoint=tell)]
    with running(route(routing.Map(rules), "127.0.0.1", 0)) as server:
        uri = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        with connect(uri + "/channel/7") as ws:
            assert ws.recv() == "Server {'number': 7}"
        with pytest.raises(InvalidStatus) as caught:
            connect(uri + "/other")
        assert caught.value.response.status_code == 404
    if sys.platform != "win32":
        rules = [routing.Rule("/", endpoint=tell)]
        path = tmp_path / "ws"
        with running(unix_route(routing.Map(rules), path, create_router=Mine)):
            with unix_connect(path) as ws:
                assert ws.recv() == "Server {}"
            with pytest.raises(InvalidStatus) as caught:
                unix_connect(path, "ws://localhost/other")
            assert caught.value.response.status_code == 410


async def lets_anyone_in(*arguments: Any) -> bool:
    return False


def test_a_coroutine_function_lets_nobody_in(caplog: pytest.LogCaptureFixture) -> None:
    """What it returns is true, whatever its result would be."""
    with pytest.raises(TypeError, match="async"):
        basic_auth(check_credentials=lets_anyone_in)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="async"):
        serve(echo, "127.0.0.1", 0, process_request=lets_anyone_in)  # type: ignore[arg-type]
    hidden = basic_auth(check_credentials=lambda *names: lets_anyone_in(*names))  # type: ignore[arg-type,return-value]
    with serving(process_request=hidden) as (_, uri), pytest.raises(InvalidStatus) as caught:
        connect(uri.replace("//", "//any:one@"))
    assert caught.value.response.status_code == 500
    assert "async" in caplog.text


# Broadcast


@pytest.mark.usefixtures("connection_codec")
def test_broadcast_reaches_those_that_are_open() -> None:
    with wire(wsfast.codec.Role.SERVER) as (one, peer), wire(wsfast.codec.Role.CLIENT) as (two, other):
        closed = connect_and_close()
        report = broadcast([one, two, closed], "news", max_workers=3)
        assert (report.sent, report.closed, len(report)) == (2, 1, 3)
        assert peer.read_frame() == other.read_frame() == (0x80 | TEXT, b"news")
        with one._lock:
            one._fragmenting = 1
        assert broadcast([one], "not now").skipped == 1
        with pytest.raises(ExceptionGroup):
            broadcast([one], "not now", raise_exceptions=True)
        with pytest.raises(TypeError):
            broadcast([one], 1)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="slow must be"):
            broadcast([one], "x", slow="never")  # type: ignore[arg-type]


def connect_and_close() -> Any:
    with wire() as (ours, _):
        ours.cut()
        return ours


def test_broadcast_to_a_peer_that_reads_slowly() -> None:
    with wire(wsfast.codec.Role.SERVER, ping_interval=None) as (ours, peer):
        n_sent = 0
        while not ours.stats().is_writing_blocked:
            broadcast([ours], KIB, text=True)
            n_sent += 1
        waiting = broadcast([ours], "waits", slow="wait")
        assert waiting.waiting == 1
        assert waiting.wait(timeout=0.01) is False
        replaced = [broadcast([ours], str(i), slow="drop_oldest", coalesce="key") for i in range(3)]
        assert [report.coalesced for report in replaced] == [0, 1, 1]
        done = InThread(waiting.wait, LIMIT)
        for _ in range(n_sent):
            assert peer.read_frame() == (0x80 | TEXT, KIB)
        assert [peer.read_frame()[1], peer.read_frame()[1]] == [b"waits", b"2"]
        assert done.result() is True


def test_broadcast_fails_a_peer_that_reads_nothing() -> None:
    limits = Limits(max_unsent_size=2**20)
    with wire(wsfast.codec.Role.SERVER, ping_interval=None, limits=limits, close_timeout=0.1) as (ours, _):
        reports = [broadcast([ours], b"x" * 100_000) for _ in range(100)]
        assert sum(report.failed for report in reports) == 1


# With other programs


@pytest.mark.parametrize("serve_", [wsfast.asyncio.serve, websockets.asyncio.server.serve])
def test_our_client_and_a_server_of_asyncio(serve_: Callable[..., Any]) -> None:
    started, port, loop = threading.Event(), 0, asyncio.new_event_loop()

    async def handler(ws: Any) -> None:
        async for message in ws:
            await ws.send(message)

    async def main() -> None:
        nonlocal port
        async with serve_(handler, "127.0.0.1", 0, compression="deflate") as server:
            port = next(iter(server.sockets)).getsockname()[1]
            started.set()
            await stop.wait()

    stop = asyncio.Event()
    serving = InThread(loop.run_until_complete, main())
    assert started.wait(LIMIT)
    with connect(f"ws://127.0.0.1:{port}/", compression=Deflate(threshold=0)) as ws:
        assert ws.compression is not None
        for message in ("x", b"y" * 100_000, "é" * 1000):
            ws.send(message)
            assert ws.recv() == message
        assert ws.ping().wait(LIMIT)
    loop.call_soon_threadsafe(stop.set)
    serving.result()
    loop.close()


def test_our_server_and_clients_of_websockets() -> None:
    with serving(compression="deflate") as (_, uri):
        with websockets.sync.client.connect(uri, legacy=True) as theirs:
            for message in ("x", b"y" * 100_000):
                theirs.send(message)
                assert theirs.recv() == message

        async def main() -> None:
            async with websockets.asyncio.client.connect(uri) as ws:
                await ws.send("x")
                assert await ws.recv() == "x"
                await (await ws.ping())

        asyncio.run(main())


# Logs


def test_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with serving() as (_, uri), connect(uri, additional_headers={"Authorization": "secret"}) as ws:
        ws.send("told")
        ws.recv()
    records = [record for record in caplog.records if record.name == "wsfast.client"]
    texts = [record.getMessage() for record in records]
    assert "> GET / HTTP/1.1" in texts
    assert "> Authorization: ***" in texts
    assert "< HTTP/1.1 101 Switching Protocols" in texts
    assert "> TEXT 'told' [4 bytes]" in texts
    assert "< TEXT 'told' [4 bytes]" in texts
    assert [text for text in texts if text.startswith("connection")] == [
        "connection open",
        "connection closed",
    ]
    assert all(hasattr(record, "websocket") for record in records)
    names = {record.getMessage() for record in caplog.records if record.name == "wsfast.server"}
    assert any(text.startswith("server listening on") for text in names)


# Processes

SERVER_AND_CLIENT = """
import os, sys, threading, time
from wsfast.sync import connect, serve
def echo(ws):
    for message in ws: ws.send(message)
server = serve(echo, "127.0.0.1", 0)
threading.Thread(target=server.serve_forever, daemon=True).start()
ws = connect(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/", proxy=None)
ws.send("1")
assert ws.recv() == "1"
"""


@pytest.mark.parametrize(
    "end",
    [
        "",
        "threading.Thread(target=ws.recv, daemon=True).start(); time.sleep(.05)",
        "threading.Thread(target=lambda: [m for m in ws]).start(); threading.Timer(.1, ws.close).start()",
        "time.sleep(.5)",
        "sys.exit(0)",
        "server.shutdown(); ws.close()",
    ],
)
def test_the_interpreter_ends_with_threads_alive(end: str) -> None:
    result = run_python(f"{SERVER_AND_CLIENT}\n{end}")
    assert (result.returncode, result.stderr) == (0, "")


FORK = """
pid = os.fork()
if pid == 0:
    try:
        ws.send("of the child")
    except Exception as exception:
        print(type(exception).__name__, exception.__cause__, flush=True)
    ws.close()
    other = connect(f"ws://127.0.0.1:{port}/", proxy=None)
    other.send("2")
    assert other.recv() == "2"
    assert other.ping().wait(10)
    other.close()
    os._exit(0)
_, status = os.waitpid(pid, 0)
assert status == 0, status
for number in range(3):
    ws.send(str(number))
    assert ws.recv() == str(number)
assert ws.ping().wait(10)
ws.close()
assert ws.close_code == 1000
"""


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="Windows has no fork")
@pytest.mark.parametrize("while_reading", [False, True])
def test_a_child_does_not_touch_the_parents_connections(while_reading: bool) -> None:
    before = "port = server.sockets[0].getsockname()[1]\ntime.sleep(.5)"
    reading = """
got = []
other = connect(f"ws://127.0.0.1:{port}/", proxy=None)
receiving = threading.Thread(target=lambda: got.append(other.recv()), daemon=True)
receiving.start()
while not other._is_reading:
    time.sleep(.001)
"""
    child = """
    try:
        other.recv()
    except Exception as exception:
        assert type(exception).__name__ == "ConnectionClosedError", exception
"""
    after = 'other.send("for the thread")\nreceiving.join()\nassert got == ["for the thread"]\n'
    begin, ending = FORK.split("    ws.close()\n", 1)
    reading += begin + child.lstrip("\n") + "    ws.close()\n" + ending + after
    code = SERVER_AND_CLIENT + before + (reading if while_reading else FORK)
    result = run_python("import warnings; warnings.simplefilter('ignore')\n" + code)
    assert (result.returncode, result.stderr) == (0, "")
    assert "ConnectionClosedError" in result.stdout
    assert "forked" in result.stdout
