"""The command line, as its users see it: processes, their output, their exit codes.

Servers bind port 0 and print their port; the peers are ``websockets``, plain sockets and our own client.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.client
import importlib.util
import json
import os
import re
import select
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import websockets.sync.client
import websockets.sync.server
from websockets.exceptions import ConnectionClosed, InvalidStatus

import wsfast
from wsfast.cli import bench, consoles, main
from wsfast.cli.connect import _connect_problem
from wsfast.cli.serving import listen_error
from wsfast.exceptions import HandshakeTimeout
from wsfast.uri import parse_uri

TIMEOUT = 30.0
"""Seconds after which a process that hangs is killed, and its test fails."""

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
"""RFC 6455 1.3."""

PACKAGE = Path(wsfast.__file__).parent

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts its background jobs so, and the processes that we start would ignore Ctrl-C as well.
    signal.signal(signal.SIGINT, signal.default_int_handler)

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="signals and terminals of POSIX")


def environment(root: Path = PACKAGE.parent, **changes: str) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if name != "WSFAST_PURE"}
    if root == PACKAGE.parent and importlib.util.find_spec("wsfast.native") is None:
        inherited["WSFAST_PURE"] = "1"  # Else each command logs that there is no native codec.
    return {**inherited, "PYTHONPATH": str(root), "PYTHONIOENCODING": "utf-8", **changes}


def command(*arguments: str) -> list[str]:
    # -P: the package of PYTHONPATH, and not the one in the working directory.
    return [sys.executable, "-P", "-m", "wsfast", *arguments]


def printed(output: bytes) -> str:
    """What was printed; Windows ends a line with two characters."""
    return output.decode().replace(os.linesep, "\n")


def run(
    *arguments: str, stdin: bytes = b"", env: dict[str, str] | None = None, code: int = 0
) -> tuple[str, str]:
    """Run a command to its end; return its two outputs."""
    done = subprocess.run(
        command(*arguments), input=stdin, capture_output=True, env=env or environment(), timeout=TIMEOUT
    )
    out, err = printed(done.stdout), printed(done.stderr)
    assert done.returncode == code, f"exit code {done.returncode}: {out}{err}"
    assert "Traceback" not in err
    return out, err


class Server:
    """A running ``wsfast demo`` or ``wsfast echo``. ``url``: of its WebSocket, with a "/" at the end."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
        )
        watchdog = threading.Timer(TIMEOUT, self.process.kill)
        watchdog.start()
        self.banner = ""
        assert self.process.stdout is not None
        last = b"/\n" if arguments[0] == "echo" else b"Ctrl-C stops\n"
        while not self.banner.encode().endswith(last):
            line = self.process.stdout.readline()
            if not line:
                raise AssertionError(f"the server did not start: {self.banner}{self.stop()}")
            self.banner += printed(line)
        watchdog.cancel()
        match = re.search(r"(?:ws|http)(://[^\s/]*:(\d+))/", self.banner)
        assert match is not None
        self.url = f"ws{match[1]}/"
        self.port = int(match[2])

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, str, str]:
        """Send a signal, if need be; return exit code and outputs."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.wait()

    def wait(self) -> tuple[int, str, str]:
        try:
            out, err = self.process.communicate(timeout=TIMEOUT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            out, err = self.process.communicate()
        return self.process.returncode, printed(out), printed(err)


@contextlib.contextmanager
def running(*arguments: str) -> Iterator[Server]:
    """Run a server, and check that nothing went wrong in it."""
    server = Server(*arguments)
    try:
        yield server
    finally:
        code, _, err = server.stop()
    assert (code, err) == ((0, "") if sys.platform != "win32" else (code, ""))


@pytest.fixture(scope="module")
def demo_server() -> Iterator[Server]:
    with running("demo", "--port", "0") as server:
        yield server


@pytest.fixture(scope="module")
def echo_server() -> Iterator[Server]:
    with running("echo", "--port", "0") as server:
        yield server


def connect(url: str, **options: Any) -> Any:
    return websockets.sync.client.connect(url, compression=None, proxy=None, max_size=None, **options)


@contextlib.contextmanager
def peer(handler: Any, **options: Any) -> Iterator[str]:
    """A server of somebody else's in this process; yields its URL."""
    with websockets.sync.server.serve(handler, "127.0.0.1", 0, compression=None, **options) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield "ws://127.0.0.1:{1}/".format(*server.socket.getsockname())
        finally:
            server.shutdown()
            thread.join()


def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


@pytest.fixture
def pure_root(tmp_path: Path) -> Path:
    """A folder with the package as it is where no C compiler was."""
    shutil.copytree(PACKAGE, tmp_path / "wsfast", ignore=shutil.ignore_patterns("native.*", "__pycache__"))
    return tmp_path


# All commands


def test_version() -> None:
    assert run("--version")[0] == f"wsfast {wsfast.__version__}\n"


def test_no_command_prints_the_help() -> None:
    """As ``--help`` does; nothing was done, which the exit code says."""
    assert run(code=2) == run("--help")
    assert "usage: wsfast" in run("--help")[0]


@pytest.mark.parametrize("name", ["demo", "connect", "echo", "info", "doctor", "bench"])
def test_help_of_each_command(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_info:
        main([name, "-h"])
    assert exit_info.value.code == 0
    assert f"usage: wsfast {name}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["echo", "--port", "65536"], "from 0 to 65535"),
        (["echo", "--port", "-1"], "from 0 to 65535"),
        (["echo", "--max-size", "16Q"], "65536 or 16M"),
        (["echo", "--max-size", "0"], "65536 or 16M"),
        (["connect", "ws://h/", "--header", "no colon"], "Name: value"),
        (["connect", "ws://h/", "--wait", "nan"], "number of seconds"),
        (["connect", "ws://h/", "--text", "--binary"], "not allowed with"),
        (["bench", "--seconds", "0"], "give seconds"),
        (["bench", "--seconds", "inf"], "give seconds"),
    ],
)
def test_wrong_arguments_say_what_is_right(
    arguments: list[str], hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_info:
        main(arguments)
    assert exit_info.value.code == 2
    assert hint in capsys.readouterr().err


# info


def test_info_tells_the_codec_in_use() -> None:
    facts = json.loads(run("info", "--json")[0])
    assert facts["wsfast"] == wsfast.__version__
    assert Path(facts["package"]).samefile(PACKAGE)
    assert facts["codec"] == ("native" if facts["native_available"] else "fallback")
    assert (facts["fallback_reason"] is None) == facts["native_available"]
    assert facts["kernel"]
    assert facts["h11"]
    assert facts["python"].endswith(sys.version.split()[0])


def test_info_says_that_the_environment_asks_for_the_fallback() -> None:
    out, _ = run("info", env=environment(WSFAST_PURE="1"))
    assert re.search(r"^codec +fallback$", out, re.MULTILINE)
    assert re.search(r"^why +(WSFAST_PURE=1 is in the environment$|.* extension)", out, re.MULTILINE)


def test_info_says_that_the_extension_was_not_built(pure_root: Path) -> None:
    facts = json.loads(run("info", "--json", env=environment(pure_root))[0])
    assert (facts["codec"], facts["native_available"]) == ("fallback", False)
    assert "was not built" in facts["fallback_reason"]
    assert "WSFAST_BUILD=native" in facts["fallback_reason"]


def test_info_says_that_the_extension_is_broken(pure_root: Path) -> None:
    (pure_root / "wsfast" / "native.py").write_text("raise ImportError('wrong libc')")
    out, _ = run("info", env=environment(pure_root), code=1)
    assert "does not load: wrong libc" in out
    _, err = run("connect", "ws://127.0.0.1/", env=environment(pure_root), code=1)
    assert err == "wsfast connect: error: wrong libc; 'wsfast info' may tell more\n"


# bench


def test_bench_compares_both_codecs() -> None:
    pytest.importorskip("wsfast.native", reason="wsfast.native was not built")
    out, err = run("bench", "--seconds", "0.01")
    for case in bench.CASES:
        row = next(line for line in out.splitlines() if line.startswith(f"{case.name} "))
        assert re.search(r"( +[\d,]+\.\d){2} +[\d,]+\.\dx +[\d,]+\.\d\d$", row), row
    assert err == ""  # Progress is for terminals.


def test_bench_without_the_native_codec_shows_the_fallback(pure_root: Path) -> None:
    out, _ = run("bench", "--seconds", "0.01", env=environment(pure_root))
    assert "no native codec to compare with" in out
    assert re.search(r"^mask 16 KiB +- +[\d,]+\.\d +- +-$", out, re.MULTILINE)


def test_bench_refuses_a_wrong_result(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from wsfast import fallback

    monkeypatch.setattr(fallback, "utf8_valid", lambda data: True)
    assert main(["bench", "--seconds", "0.01"]) == 1
    assert "utf8 16 KiB ASCII: the result is wrong" in capsys.readouterr().err


# echo


def test_echo_returns_text_and_binary(echo_server: Server) -> None:
    with connect(echo_server.url) as ws:
        for message in ("", "안녕하세요 👋", b"", bytes(range(256))):
            ws.send(message)
            assert ws.recv(TIMEOUT) == message


def test_echo_takes_16_mib_and_not_a_byte_more(echo_server: Server) -> None:
    """RFC 6455 7.4.1: 1009."""
    with connect(echo_server.url) as ws:
        message = os.urandom(1024) * (16 * 1024)
        ws.send(message)
        assert ws.recv(TIMEOUT) == message
        # The rest of the message may meet a connection that is closed already.
        with contextlib.suppress(ConnectionClosed):
            ws.send(message + b"!")
        with pytest.raises(ConnectionClosed) as closed:
            ws.recv(TIMEOUT)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009


@pytest.mark.parametrize("option", ["--uvloop", "--no-uvloop"])
def test_echo_on_either_event_loop(option: str) -> None:
    if option == "--uvloop":
        pytest.importorskip("uvloop")
    with running("echo", "--port", "0", "--max-size", "1K", option) as server, connect(server.url) as ws:
        ws.send("x" * 1024)
        assert ws.recv(TIMEOUT) == "x" * 1024


def test_uvloop_that_is_not_installed_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setitem(sys.modules, "uvloop", None)
    assert main(["echo", "--port", "0", "--uvloop"]) == 1
    assert capsys.readouterr().err == "wsfast echo: error: uvloop is not installed; try: pip install uvloop\n"


@pytest.mark.parametrize("name", ["echo", "demo"])
def test_a_port_in_use_is_one_line(name: str, echo_server: Server) -> None:
    out, err = run(name, "--port", str(echo_server.port), code=1)
    assert out == ""
    assert err == (
        f"wsfast {name}: error: 127.0.0.1 port {echo_server.port} is in use; "
        "choose another with --port (0: any that is free)\n"
    )


@pytest.mark.parametrize("option", ["--uvloop", "--no-uvloop"])
@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid"])
def test_a_host_that_is_not_ours_is_one_line(host: str, option: str) -> None:
    if option == "--uvloop":
        pytest.importorskip("uvloop")
    _, err = run("echo", "--host", host, "--port", "0", option, code=1)
    assert err.count("\n") == 1
    assert "--host" in err


def test_an_address_that_is_not_ours_may_have_no_number() -> None:
    """As asyncio says it since CPython 3.13."""
    error = OSError("could not bind on any address out of [('192.0.2.1', 80)]")
    said = str(listen_error(error, "192.0.2.1", 80))
    assert said == "192.0.2.1 is no address of this machine; choose another with --host"


# connect, in a pipe


def test_connect_prints_replies_and_nothing_else(echo_server: Server) -> None:
    text = "hello\n안녕하세요 👋\n\nno line end"
    out, err = run("connect", echo_server.url, stdin=text.encode())
    assert out == f"{text}\n"
    assert err == f"wsfast: connected to {echo_server.url}\nwsfast: closed: 1000 (normal closure)\n"


def test_connect_drops_the_line_ends_of_windows(echo_server: Server) -> None:
    assert run("connect", echo_server.url, stdin=b"a\r\nb\r\n")[0] == "a\nb\n"


def test_connect_sends_and_shows_binary(echo_server: Server) -> None:
    out, _ = run("connect", "--binary", echo_server.url, stdin=b"\xff\x00\r\n\n" + b"A" * 100)
    assert out == "ff000d\n\n" + "41" * 100 + "\n"


def test_connect_carries_a_lot_both_ways(echo_server: Server) -> None:
    """More than the buffers between the two hold: sending and receiving must not wait for each other."""
    text = "".join(f"{number} 안녕\n" for number in range(60_000)) + "x" * 5_000_000
    assert run("connect", echo_server.url, stdin=text.encode())[0] == text + "\n"


def test_connect_sends_each_line_when_it_comes(echo_server: Server) -> None:
    process = subprocess.Popen(
        command("connect", echo_server.url),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment(),
    )
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        for line in (b"one\n", b"two\n"):
            process.stdin.write(line)
            process.stdin.flush()
            assert process.stdout.readline().rstrip(b"\r\n") + b"\n" == line
        process.stdin.close()
        assert process.wait(TIMEOUT) == 0


def test_connect_tells_which_line_is_not_utf8(echo_server: Server) -> None:
    """RFC 6455 5.6: text is UTF-8."""
    out, err = run("connect", echo_server.url, stdin=b"fine\n\xff\n", code=1)
    assert "line 2 of the input is not UTF-8" in err
    assert "--binary" in err
    assert out in ("fine\n", "")  # The reply may be late by then.


def test_connect_without_replies_ends_after_the_quiet_time() -> None:
    with peer(lambda ws: ws.recv() and ws.wait_closed()) as url:
        out, _ = run("connect", "--wait", "0.01", url, stdin=b"anybody there?\n")
    assert out == ""


def test_connect_waits_for_more_than_replies_if_told() -> None:
    def count(ws: websockets.sync.server.ServerConnection) -> None:
        for number in range(3):
            ws.send(str(number))

    with peer(count) as url:
        out, err = run("connect", "--wait", "inf", url)
    assert out == "0\n1\n2\n"
    assert "closed by the server: 1000" in err


def test_connect_sends_what_it_is_told_in_the_handshake() -> None:
    """RFC 6455 4.1."""
    heads: list[Any] = []

    def note(connection: websockets.sync.server.ServerConnection, request: Any) -> None:
        heads.append(request)

    with peer(lambda ws: None, process_request=note, subprotocols=["v11.stomp"]) as url:
        _, err = run(
            *("connect", f"{url}path?q=1", "--origin", "https://example.org", "--header", "X-Token:  a b "),
            *("--subprotocol", "v10.stomp", "--subprotocol", "v11.stomp"),
        )
    (request,) = heads
    assert request.path == "/path?q=1"
    assert request.headers["Origin"] == "https://example.org"
    assert request.headers["X-Token"] == "a b"
    assert request.headers["Sec-WebSocket-Protocol"] == "v10.stomp, v11.stomp"
    assert "(subprotocol v11.stomp)" in err


def test_compression_is_negotiated_when_both_ends_are_told() -> None:
    """RFC 7692 5.1."""
    line = "a line that is long enough to be worth it " * 10
    with running("echo", "--port", "0", "--compression") as server:
        with websockets.sync.client.connect(server.url, proxy=None) as ws:
            assert ws.protocol.extensions
            ws.send(line)
            assert ws.recv() == line
        out, err = run("connect", "--compression", server.url, stdin=f"{line}\n".encode())
        assert (out, "(compressed)" in err) == (f"{line}\n", True)
        out, err = run("connect", server.url, stdin=f"{line}\n".encode())
        assert (out, "(compressed)" in err) == (f"{line}\n", False)


def test_connect_does_not_show_a_password() -> None:
    _, err = run("connect", f"ws://user:secret@127.0.0.1:{unused_port()}/", code=1)
    assert "secret" not in err


@pytest.mark.parametrize(
    "location",
    [
        b"ws://\x9b31;5mPWNED\x9b0m" + b"x" * 100 + b"/",
        b"ws://[\x9b0m]/",
        b"ws://h:\x9d0;x\x9c/",
        b"\x85:\x1b[0m",
    ],
)
def test_connect_tells_of_a_bad_redirect_in_one_printable_line(location: bytes) -> None:
    """C1 control characters, as terminals obey them (ECMA-48 5.4), in a Location."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer() -> None:
            with listening.accept()[0] as sock:
                sock.recv(4_096)
                sock.sendall(b"HTTP/1.1 302 \r\nLocation: " + location + b"\r\nContent-Length: 0\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        _, err = run("connect", "ws://127.0.0.1:{1}/".format(*listening.getsockname()), code=1)
        thread.join(TIMEOUT)
    assert err.removesuffix("\n").isprintable()
    assert len(err) < 1000


def test_connect_shows_a_close_reason_as_printable_text() -> None:
    """RFC 6455 7.1.6: any UTF-8, so it may hold control characters and those that turn or hide text."""
    reason = "\x1b[31m\x9b\u202e\u200f\ufeff\n!"

    def close(ws: websockets.sync.server.ServerConnection) -> None:
        ws.close(4000, reason)

    # Its input stays open: if that ended, the client would close too.
    with peer(close) as url:
        client = subprocess.Popen(
            command("connect", url), stdin=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
        )
        with client:
            assert client.wait(TIMEOUT) == 1
            assert client.stderr is not None
            err = printed(client.stderr.read())
    assert (
        err.splitlines()[-1] == "wsfast: closed by the server: 4000 \\x1b[31m\\x9b\\u202e\\u200f\\ufeff\\x0a!"
    )


def test_errors_speak_of_the_options_of_the_command() -> None:
    """And not of the arguments of a function."""
    _, err = run("connect", "ws://127.0.0.1/", "--header", "Sec-WebSocket-Key: x", code=2)
    assert err.endswith("leave sec-websocket-key out of --header: the handshake writes it\n")
    error = HandshakeTimeout("... open_timeout sets the limit")
    text = _connect_problem(error, parse_uri("ws://h/"))
    assert text == "no answer from ws://h/ within 10 seconds; is it a WebSocket server?"


def test_connect_reports_pings() -> None:
    """RFC 6455 5.5.2."""

    def ping(ws: websockets.sync.server.ServerConnection) -> None:
        assert ws.ping("ab").wait(TIMEOUT)

    with peer(ping) as url:
        _, err = run("connect", "--wait", "inf", url)
    assert "wsfast: ping from the server (61 62)\n" in err


def test_connect_reports_a_ping_that_comes_with_the_handshake() -> None:
    """RFC 6455 4.1, 5.5.2: frames may follow the server's answer at once."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer() -> None:
            with listening.accept()[0] as sock:
                request = b""
                while b"\r\n\r\n" not in request:
                    request += sock.recv(4_096)
                key = re.search(rb"Sec-WebSocket-Key: *(\S+)", request, re.IGNORECASE)
                assert key is not None
                accept = base64.b64encode(hashlib.sha1(key[1] + GUID).digest())
                head = (
                    b"HTTP/1.1 101 .\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
                )
                sock.sendall(head + accept + b"\r\n\r\n" + b"\x89\x02ab" + b"\x88\x02\x03\xe8")
                while sock.recv(4_096):
                    pass

        thread = threading.Thread(target=answer)
        thread.start()
        url = "ws://127.0.0.1:{1}/".format(*listening.getsockname())
        _, err = run("connect", "--wait", "inf", url)
        thread.join(TIMEOUT)
    assert "wsfast: ping from the server (61 62)\n" in err


def test_connect_fails_when_the_server_closes_with_an_error() -> None:
    """RFC 6455 7.4.1. What a stranger says is escaped."""
    with peer(lambda ws: ws.close(1008, "no \x1b[31mway")) as url:
        _, err = run("connect", "--wait", "inf", url, code=1)
    assert "closed by the server: 1008 (policy violation) no \\x1b[31mway" in err


def test_connect_fails_when_the_connection_is_lost() -> None:
    """RFC 6455 7.1.5: 1006."""
    with peer(lambda ws: ws.socket.shutdown(socket.SHUT_RDWR)) as url:
        _, err = run("connect", "--wait", "inf", url, code=1)
    assert "lost without a closing handshake (1006)" in err


def test_connect_fails_when_not_all_lines_were_sent() -> None:
    def one_is_enough(ws: websockets.sync.server.ServerConnection) -> None:
        ws.recv()

    with peer(one_is_enough, max_queue=None) as url:
        _, err = run("connect", url, stdin=b"x" * 1_000 * 1_000 + b"\n" + b"line\n" * 1_000_000, code=1)
    assert "closed by the server: 1000" in err
    assert err.endswith("error: the server closed the connection before all lines were sent\n")


def test_a_refused_connection_is_one_line() -> None:
    url = f"ws://127.0.0.1:{unused_port()}/"
    out, err = run("connect", url, code=1)
    assert out == ""
    assert err == (
        f"wsfast connect: error: cannot connect to {url}: "
        "nothing listens there; is the server running, and is the port right?\n"
    )


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1/", "ws://", "ws://host:port/", "ws://a b/", "", "ws://h/#f"]
)
def test_a_bad_uri_is_one_line(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """RFC 6455 3."""
    assert main(["connect", url]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert "is not a WebSocket URI" in err


@pytest.mark.parametrize(
    "arguments", [["--header", "Bad Name: x"], ["--header", "X: 한"], ["--subprotocol", "a b"]]
)
def test_what_cannot_be_sent_is_a_usage_error(arguments: list[str], echo_server: Server) -> None:
    _, err = run("connect", echo_server.url, *arguments, code=2)
    assert err.count("\n") == 1


def test_a_server_that_speaks_no_websocket_is_one_line(demo_server: Server) -> None:
    _, err = run("connect", demo_server.url, code=1)
    assert err.count("\n") == 1
    assert "HTTP 200" in err


def test_no_tls_there_is_one_line(echo_server: Server) -> None:
    _, err = run("connect", echo_server.url.replace("ws:", "wss:"), code=1)
    assert err.count("\n") == 1
    assert "is it a ws:// server?" in err


def test_insecure_skips_the_check_of_the_certificate(tmp_path: Path) -> None:
    trustme = pytest.importorskip("trustme")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    with peer(lambda ws: ws.send("safe?"), ssl=context) as url:
        url = url.replace("ws:", "wss:")
        _, err = run("connect", url, code=1)
        assert "is not trusted" in err
        assert "--insecure" in err
        out, _ = run("connect", "--insecure", "--wait", "inf", url)
    assert out == "safe?\n"


# connect, on a terminal


@pytest.mark.parametrize(
    ("line", "columns", "rows"),
    [
        ("", 4, [""]),
        ("abcd", 4, ["abcd"]),
        ("abcde", 4, ["abcd", "e"]),
        ("a안녕", 4, ["a안", "녕"]),
        ("e\u0301" * 4, 4, ["e\u0301" * 4]),
    ],
)
def test_rows_fit_the_terminal(line: str, columns: int, rows: list[str]) -> None:
    assert consoles.wrapped(line, columns) == rows


class Shell:
    """``wsfast connect`` on a terminal of its own."""

    def __init__(self, url: str) -> None:
        import pty
        import termios

        self.terminal, inner = pty.openpty()
        termios.tcsetwinsize(inner, (24, 80))
        self.inner = inner
        self.process = subprocess.Popen(
            command("connect", url),
            stdin=inner,
            stdout=inner,
            stderr=inner,
            env=environment(TERM="xterm"),
            start_new_session=True,
        )
        self.seen = ""

    def wait_for(self, text: str, timeout: float = TIMEOUT) -> None:
        while text not in self.seen:
            assert select.select([self.terminal], [], [], timeout)[0], f"no {text!r} in {self.seen!r}"
            self.seen += os.read(self.terminal, 65_536).decode(errors="replace")
        self.seen = self.seen.partition(text)[2]

    def type(self, text: str) -> None:
        os.write(self.terminal, text.encode())

    def press(self, key: str, text: str) -> None:
        """Press a key until ``text`` comes: between two lines the terminal is not readline's, and Ctrl-D is lost."""
        for _ in range(int(TIMEOUT)):
            self.type(key)
            with contextlib.suppress(AssertionError):
                self.wait_for(text, 1)
                return
        raise AssertionError(f"no {text!r} in {self.seen!r}")

    def end(self) -> int:
        # What it still writes has to be read, or it would wait for room for ever.
        threading.Thread(target=self._drain, daemon=True).start()
        return self.process.wait(TIMEOUT)

    def _drain(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                self.seen += os.read(self.terminal, 65_536).decode(errors="replace")

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.inner)
        os.close(self.terminal)


@pytest.fixture
def shell(echo_server: Server) -> Iterator[Shell]:
    shell = Shell(echo_server.url)
    try:
        yield shell
    finally:
        shell.close()


@posix_only
def test_a_terminal_shows_replies_and_ctrl_d_closes(shell: Shell) -> None:
    shell.wait_for("Ctrl-D closes")
    shell.wait_for("> ")
    shell.type("안녕 there\n")
    shell.wait_for("< 안녕 there\x1b8")  # Above the line that is being typed: the cursor is restored.
    shell.press("\x04", "closed: 1000 (normal closure)")
    assert shell.end() == 0


@posix_only
def test_a_terminal_is_left_as_it_was(shell: Shell) -> None:
    import termios

    before = termios.tcgetattr(shell.inner)
    shell.wait_for("> ")
    shell.process.send_signal(signal.SIGINT)
    shell.wait_for("closed")
    assert shell.end() == 130
    assert termios.tcgetattr(shell.inner) == before


@posix_only
def test_a_terminal_gets_no_control_characters_of_strangers() -> None:
    def attack(ws: websockets.sync.server.ServerConnection) -> None:
        ws.send("\x1b]0;title\x07 two\nlines \u202e" + "x" * 10_000)
        ws.send(bytes(100))
        ws.recv()

    with peer(attack) as url:
        shell = Shell(url)
        try:
            shell.wait_for("< \\x1b]0;title\\x07 two\x1b8")
            shell.wait_for("  lines \\u202exxx")
            shell.wait_for("characters)")
            shell.wait_for("< (binary, 100 bytes) 00 00")
            shell.type("done\n")
            shell.wait_for("closed by the server: 1000")
            assert shell.end() == 0
        finally:
            shell.close()


# demo


def get(server: Server, path: str, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=TIMEOUT)
    with contextlib.closing(connection):
        connection.request(method, path)
        response = connection.getresponse()
        return response.status, {k.lower(): v for k, v in response.getheaders()}, response.read()


def test_demo_tells_what_it_runs(demo_server: Server) -> None:
    assert f"http://127.0.0.1:{demo_server.port}/\n" in demo_server.banner
    assert re.search(r"codec +(native|fallback), kernels: \w+", demo_server.banner)
    assert re.search(r"event loop +(uvloop|asyncio)", demo_server.banner)


def test_demo_serves_its_page(demo_server: Server) -> None:
    status, headers, body = get(demo_server, "/")
    assert status == 200
    assert headers["content-type"] == "text/html; charset=utf-8"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert policy.count("'sha256-") == 2
    # Nothing from elsewhere, and nothing that the policy would block.
    page = body.decode()
    assert not re.search(r"(src|href)=|@import|url\(| style=| on\w+=", page)


def test_demo_tells_its_codec_as_json(demo_server: Server) -> None:
    status, headers, body = get(demo_server, "/info")
    assert (status, headers["content-type"]) == (200, "application/json")
    assert json.loads(body)["codec"] in ("native", "fallback")


def test_demo_answers_the_other_requests_of_browsers(demo_server: Server) -> None:
    assert get(demo_server, "/favicon.ico")[:2][1]["content-type"] == "image/svg+xml"
    assert get(demo_server, "/nothing")[0] == 404
    assert get(demo_server, "/ws/chat")[0] == 426
    status, headers, body = get(demo_server, "/", "HEAD")
    assert (status, body) == (200, b"")
    assert int(headers["content-length"]) > 0
    status, headers, _ = get(demo_server, "/", "POST")
    assert (status, headers["allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize("path", ["ws/chat", "ws/echo"])
def test_demo_echoes_what_is_not_for_the_chat(demo_server: Server, path: str) -> None:
    with connect(demo_server.url + path) as ws:
        big = "안녕하세요 👋 " * 60_000
        for message in ("hello", b"\x00\xff", "{", '{"type":"dance"}', '{"type":"say","text":1}', "[1]", big):
            ws.send(message)
            assert ws.recv(TIMEOUT) == message


def test_demo_chooses_the_subprotocol_in_the_clients_order(demo_server: Server) -> None:
    """RFC 6455 4.1: the client lists them in order of preference."""
    for offers in (["v10.stomp", "v11.stomp"], ["v11.stomp", "v10.stomp"], ["other", "v11.stomp"]):
        with connect(demo_server.url + "ws/chat", subprotocols=offers) as ws:
            assert ws.subprotocol == offers[offers[0] == "other"]


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "https://localhost:{0}", "http://localhost"]
)
def test_demo_refuses_foreign_origins(demo_server: Server, origin: str) -> None:
    """RFC 6455 10.2."""
    with pytest.raises(InvalidStatus) as refused:
        connect(demo_server.url + "ws/chat", origin=origin.format(demo_server.port))
    assert refused.value.response.status_code == 403


@pytest.mark.parametrize(
    "origin", ["http://127.0.0.1:{0}", "http://localhost:{0}", "HTTP://LOCALHOST:{0}", None]
)
def test_demo_accepts_its_own_origins(demo_server: Server, origin: str | None) -> None:
    """RFC 6455 10.2: None is for clients that are no browsers."""
    with connect(demo_server.url + "ws/chat", origin=origin and origin.format(demo_server.port)) as ws:
        ws.send("x")
        assert ws.recv(TIMEOUT) == "x"


def test_demo_accepts_an_origin_that_it_is_told_of() -> None:
    with (
        running("demo", "--port", "0", "--origin", "https://example.org/") as server,
        connect(server.url + "ws/chat", origin="https://example.org") as ws,
    ):
        ws.send("x")
        assert ws.recv(TIMEOUT) == "x"


class Member:
    """Somebody in the chat."""

    def __init__(self, server: Server, nick: str) -> None:
        self.connecting = connect(server.url + "ws/chat")
        self.nick = nick
        self.nicks: list[str] = []

    def send(self, **request: Any) -> None:
        self.ws.send(json.dumps(request))

    def wait_for(self, kind: str) -> dict[str, Any]:
        while True:
            event: dict[str, Any] = json.loads(self.ws.recv(TIMEOUT))
            self.nicks = event.get("nicks", self.nicks)
            if event["type"] == kind:
                return event

    def __enter__(self) -> Member:
        self.ws = self.connecting.__enter__()
        self.send(type="join", nick=self.nick)
        self.joined = self.wait_for("joined")
        return self

    def __exit__(self, *exception: Any) -> None:
        self.connecting.__exit__(*exception)


def test_chat_reaches_everybody(demo_server: Server) -> None:
    with Member(demo_server, "Mina") as mina, Member(demo_server, "Jun") as jun:
        assert {"Mina", "Jun"} <= set(jun.joined["nicks"])
        jun.send(type="say", text="안녕 👋")
        for member in (mina, jun):
            line = member.wait_for("line")
            assert (line["nick"], line["text"]) == ("Jun", "안녕 👋")
    with Member(demo_server, "late") as late:
        assert late.joined["lines"][-1]["text"] == "안녕 👋"
        assert "Jun" not in late.wait_for("nicks")["nicks"]


def test_chat_is_not_heard_by_those_who_did_not_join(demo_server: Server) -> None:
    with connect(demo_server.url + "ws/chat") as ws, Member(demo_server, "Mina") as mina:
        mina.send(type="say", text="secret")
        mina.wait_for("line")
        ws.send("mine")
        assert ws.recv(TIMEOUT) == "mine"
        ws.send('{"type":"say","text":"x"}')
        assert json.loads(ws.recv(TIMEOUT)) == {"type": "error", "text": "join the chat first"}


def test_chat_names_are_unique_and_printable(demo_server: Server) -> None:
    with Member(demo_server, "  Ann\x00\n Lee ") as first, Member(demo_server, "ann lee") as second:
        assert (first.joined["nick"], second.joined["nick"]) == ("Ann Lee", "ann lee 2")
    with Member(demo_server, "\ud800") as half, Member(demo_server, "n" * 100) as long:
        assert half.joined["nick"] == "?"
        assert long.joined["nick"] == "n" * 24


def test_chat_refuses_lines_that_are_empty_or_too_long(demo_server: Server) -> None:
    with Member(demo_server, "Mina") as mina:
        for text, problem in ((" ", "line is empty"), ("x" * 2_001, "at most 2,000")):
            mina.send(type="say", text=text)
            assert problem in mina.wait_for("error")["text"]


def test_chat_remembers_a_bounded_number_of_lines(demo_server: Server) -> None:
    with Member(demo_server, "Mina") as mina:
        for number in range(60):
            mina.send(type="say", text=f"line {number}")
        while mina.wait_for("line")["text"] != "line 59":
            pass
    with Member(demo_server, "late") as late:
        lines = [line["text"] for line in late.joined["lines"]]
    assert lines == [f"line {number}" for number in range(10, 60)]


def test_chat_goes_on_without_a_member_that_does_not_read(demo_server: Server) -> None:
    """Whoever does not read is cut off; the others get every line."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        sock.settimeout(TIMEOUT)
        sock.connect(("127.0.0.1", demo_server.port))
        with connect(demo_server.url + "ws/chat", sock=sock, max_queue=1) as deaf:
            deaf.send('{"type":"join","nick":"deaf"}')
            with Member(demo_server, "Mina") as mina:
                assert "deaf" in mina.joined["nicks"]
                # 30 MB at most: more than all buffers on the way, less than fits in before a keepalive.
                for _ in range(5_000):
                    mina.send(type="say", text="말" * 2_000)
                    mina.wait_for("line")
                    if "deaf" not in mina.nicks:
                        break
                else:
                    pytest.fail("a member that does not read is still there")
            with pytest.raises(ConnectionClosed):
                list(deaf)


# Stopping


@posix_only
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("loop", ["--uvloop", "--no-uvloop"])
def test_demo_stops_cleanly(number: int, loop: str) -> None:
    """RFC 6455 7.4.1: 1001, going away."""
    if loop == "--uvloop":
        pytest.importorskip("uvloop")
    server = Server("demo", "--port", "0", loop)
    with connect(server.url + "ws/chat") as ws:
        server.process.send_signal(number)
        with pytest.raises(ConnectionClosed) as closed:
            ws.recv(TIMEOUT)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1001
    assert server.wait() == (0, "stopped\n", "")
    with running("demo", "--port", str(server.port)) as again:
        assert again.port == server.port


@posix_only
def test_a_second_ctrl_c_does_not_wait_for_a_silent_peer() -> None:
    server = Server("echo", "--port", "0")
    with socket.create_connection(("127.0.0.1", server.port), timeout=TIMEOUT) as sock:
        sock.sendall(
            b"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        received = b""
        while b"\r\n\r\n" not in received:
            received += sock.recv(4_096)
        server.process.send_signal(signal.SIGINT)
        # The Close frame, which is never answered here.
        while not received.endswith(b"\x88\x02\x03\xe9"):
            received += sock.recv(4_096)
        server.process.send_signal(signal.SIGINT)
        code, _, err = server.wait()
    assert (code, err) == (1, "")


@pytest.mark.parametrize("arguments", [["info"], ["connect", "URL"]])
def test_output_that_nobody_reads_is_no_traceback(arguments: list[str], echo_server: Server) -> None:
    process = subprocess.Popen(
        command(*(argument.replace("URL", echo_server.url) for argument in arguments)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    )
    assert process.stdout is not None
    process.stdout.close()
    process.stdout = None
    _, err = process.communicate(b"hello\n", timeout=TIMEOUT)
    assert process.returncode == 1
    assert not re.search(rb"Traceback|Broken|Exception", err)
