"""What the tests share: a uvicorn server in the loop of the test, and an ASGI connection without a network."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import importlib.util
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import uvicorn
import uvloop
from uvicorn.server import ServerState

from wsfast.uvicorn import WebSocketProtocol

ROOT = Path(__file__).parents[3]
KEY = b"\x37\xfa\x21\x3d"
REQUEST = (
    b"GET /a%2Fb?c=%20 HTTP/1.1\r\nhost: example.org\r\nupgrade: websocket\r\nconnection: Upgrade\r\n"
    b"sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA


def in_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run a test in a loop of asyncio's own, or in uvloop if it asks for ``loop="uvloop"``; at most 20 s."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        factory = uvloop.new_event_loop if kwargs.get("loop") == "uvloop" else asyncio.new_event_loop
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(asyncio.wait_for(test(*args, **kwargs), 20))

    return run


def example(name: str) -> Any:
    """Load ``examples/NAME.py``; return its ``app``."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "examples" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.app


@contextlib.asynccontextmanager
async def serving(app: Any, sockets: Any = None, **options: Any) -> AsyncIterator[uvicorn.Server]:
    """Serve on a free port, which is ``port_of(server)``."""
    options = {"lifespan": "off", "port": 0, "log_config": None, "ws": WebSocketProtocol} | options
    started = asyncio.Event()

    class Server(uvicorn.Server):
        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets)
            started.set()

        @contextlib.contextmanager
        def capture_signals(self) -> Any:
            yield

    server = Server(uvicorn.Config(app, **options))
    task = asyncio.create_task(server.serve(sockets))
    await started.wait()
    try:
        yield server
    finally:
        server.should_exit = True
        await task


def port_of(server: uvicorn.Server) -> int:
    port: int = server.servers[0].sockets[0].getsockname()[1]
    return port


def frame(opcode: int, payload: bytes | str = b"", *, fin: bool = True, rsv1: bool = False) -> bytes:
    """Build a client's frame (RFC 6455 5.2)."""
    payload = payload.encode() if isinstance(payload, str) else payload
    size = len(payload)
    length = bytes([0x80 | size]) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
    masked = bytes(octet ^ KEY[i % 4] for i, octet in enumerate(payload))
    return bytes([fin << 7 | rsv1 << 6 | opcode]) + length + KEY + masked


class Transport:
    """Takes what is written, and notes what is asked of it."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.calls: list[str] = []
        self.closing = False
        self.n_left = 0

    def get_write_buffer_size(self) -> int:
        return self.n_left

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"sockname": ("127.0.0.1", 8000), "peername": ("127.0.0.1", 8001)}.get(name, default)

    def write(self, data: bytes) -> None:
        if data and not self.closing:
            self.writes.append(bytes(data))

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        self.closing = True
        self.calls.append("close")

    def abort(self) -> None:
        self.closing = True
        self.calls.append("abort")

    def pause_reading(self) -> None:
        self.calls.append("pause_reading")

    def resume_reading(self) -> None:
        self.calls.append("resume_reading")


class Wire:
    """A connection of ``app`` with a transport that is none: ``feed`` what the client sends, see ``sent``."""

    def __init__(
        self,
        app: Any,
        headers: bytes = b"",
        request: bytes | None = None,
        ws: type[WebSocketProtocol] = WebSocketProtocol,
        state: ServerState | None = None,
        **options: Any,
    ) -> None:
        options = {"lifespan": "off", "log_config": None, "ws_ping_interval": None} | options
        self.state = state or ServerState()
        self.state.default_headers = [(b"date", b"now"), (b"server", b"uvicorn")]
        config = uvicorn.Config(app, ws=ws, proxy_headers=False, **options)
        config.load()
        self.protocol = ws(config=config, server_state=self.state, app_state={"a": [1]})
        self.transport = Transport()
        self.protocol.connection_made(self.transport)
        self.protocol.data_received((REQUEST if request is None else request) + headers + b"\r\n")

    @property
    def sent(self) -> bytes:
        """All that was written, and is not taken yet."""
        return b"".join(self.transport.writes)

    def take(self) -> bytes:
        sent = self.sent
        self.transport.writes.clear()
        self.transport.calls.clear()
        return sent

    def feed(self, *frames: bytes) -> None:
        self.protocol.data_received(b"".join(frames))

    async def settle(self) -> None:
        """Let everything run that can."""
        for _ in range(10):
            await asyncio.sleep(0)

    async def opened(self) -> Wire:
        """Let the application accept, and forget the handshake."""
        await self.settle()
        assert self.take().startswith(b"HTTP/1.1 101 ")
        return self

    async def finished(self) -> None:
        """Wait for the application."""
        await asyncio.gather(*self.state.tasks)


def answer(opcode: int, payload: bytes | str = b"") -> bytes:
    """Build a server's frame of at most 125 bytes (RFC 6455 5.2)."""
    payload = payload.encode() if isinstance(payload, str) else payload
    return bytes([0x80 | opcode, len(payload)]) + payload
