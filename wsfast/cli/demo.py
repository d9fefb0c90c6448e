"""``wsfast demo``: one page with a chat and a connection to play with, and its two WebSockets.

``/ws/echo`` sends every message back unchanged. ``/ws/chat`` does the same, except for text messages that are JSON
objects of these forms. Only members hear the chat:

    {"type": "join", "nick": "Mina"}    ->  {"type": "joined", "nick": ..., "nicks": [...], "lines": [...]}
    {"type": "say", "text": "hello"}    ->  {"type": "line", "nick": ..., "text": ..., "time": ...}   to all
                                            {"type": "nicks", "nicks": [...]}   to all, when a member comes or goes
                                            {"type": "error", "text": ...}      when a request fails

Memory has bounds. The chat keeps its last 50 lines. A member that does not read is cut off, because the others do not
wait for it. Pages of other origins are refused (RFC 6455 10.2).
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import hashlib
import importlib.resources
import json
import re
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

from ..asyncio.broadcasting import broadcast
from ..asyncio.server import ServerConnection, serve
from ..exceptions import ConnectionClosed
from ..http import Headers, Request, Response
from . import info
from .serving import CLOSE_TIMEOUT, base_urls, listen_error, logger, run_until_stopped

__all__ = ["Demo", "Room", "run"]

MAX_MESSAGE_SIZE: Final = 2**24
SUBPROTOCOLS: Final = ("v10.stomp", "v11.stomp", "v12.stomp")
"""The first offer of the client in this list is chosen, by name alone: the demo does not speak STOMP."""

_MAX_LINES: Final = 50
_MAX_LINE_LENGTH: Final = 2_000
_MAX_NICK_LENGTH: Final = 24
_MAX_REQUEST_LENGTH: Final = 65_536
_MAX_UNSENT_SIZE: Final = 262_144  # Unread bytes of a member; if there are more, it is cut off.

_ICON: Final = (
    b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="7" '
    b'fill="#0b6e5f"/><path d="M6 10l4 12 6-12 6 12 4-12" fill="none" stroke="#fff" stroke-width="3" '
    b'stroke-linecap="round" stroke-linejoin="round"/></svg>'
)


def run(arguments: argparse.Namespace) -> int:
    async def serve_demo(stop: asyncio.Event, loop_name: str) -> None:
        demo = Demo(arguments.host, arguments.origin, loop_name)
        try:
            server = await serve(
                demo.handle,
                arguments.host,
                arguments.port,
                process_request=demo.answer,
                subprotocols=SUBPROTOCOLS,
                max_size=MAX_MESSAGE_SIZE,
                close_timeout=CLOSE_TIMEOUT,
                logger=logger(arguments),
            )
        except OSError as error:
            raise listen_error(error, arguments.host, arguments.port) from None
        try:
            print(demo.banner(base_urls("http", arguments.host, server.sockets)), flush=True)
            await stop.wait()
        finally:
            server.close()
            await server.wait_closed()
        print("stopped", flush=True)

    return run_until_stopped(serve_demo, arguments)


class Demo:
    """The page, the two WebSockets, and the allowed origins.

    ``host``: the value of --host. ``origins``: other origins that are allowed too.
    """

    def __init__(self, host: str, origins: list[str], loop_name: str) -> None:
        self._host = host
        self._origins = {origin.rstrip("/").lower() for origin in origins}
        self._room = Room()
        self._sockets: dict[str, Callable[[ServerConnection], Awaitable[None]]] = {
            "/ws/chat": self._room.serve,
            "/ws/echo": _serve_echo,
        }
        page = importlib.resources.files(__package__).joinpath("demo.html").read_text("utf-8")
        facts = info.collect()
        self._info = facts
        self._loop_name = loop_name
        described = {
            "wsfast": facts["wsfast"],
            "codec": facts["codec"],
            "kernel": facts["kernel"],
            "python": facts["python"],
            "event_loop": loop_name,
            "subprotocols": SUBPROTOCOLS,
            "max_message_size": MAX_MESSAGE_SIZE,
        }
        self._policy = content_security_policy(page)
        self._contents = {
            "/": ("text/html; charset=utf-8", page.encode()),
            "/info": ("application/json", json.dumps(described).encode()),
            "/favicon.ico": ("image/svg+xml", _ICON),
        }

    def banner(self, urls: list[str]) -> str:
        """Return the text for the start. ``urls``: the URLs of the server, without a path."""
        facts = self._info
        codec = f"{facts['codec']}, kernels: {facts['kernel']}"
        if facts["fallback_reason"] is not None:
            codec += f" ({facts['fallback_reason']})"
        socket_url = urls[0].replace("http", "ws", 1)
        rows = [
            *(("page", f"{url}/") for url in urls),
            ("WebSocket", f"{socket_url}/ws/chat (chat and echo), {socket_url}/ws/echo (echo alone)"),
            ("codec", codec),
            ("event loop", self._loop_name),
        ]
        lines = [f"wsfast demo {facts['wsfast']}", *(f"  {name:11}{value}" for name, value in rows)]
        return "\n".join([*lines, "Ctrl-C stops"])

    def answer(self, connection: ServerConnection, request: Request) -> Response | None:
        """Answer plain HTTP and foreign origins; None lets the opening handshake continue."""
        path = request.path.partition("?")[0]
        if path in self._sockets:
            origins = request.headers.get_all("Origin")
            if all(self._is_own(origin, connection) for origin in origins):
                return None
            # 10.2: a server for certain origins only answers 403 to all others.
            return self._text(403, "Forbidden", "pages of other origins may not connect here\n")
        if request.method not in ("GET", "HEAD"):
            response = self._text(405, "Method Not Allowed", "only GET and HEAD work here\n")
            response.headers["Allow"] = "GET, HEAD"  # RFC 9110 15.5.6
            return response
        if path in self._contents:
            return self._response(200, "OK", *self._contents[path])
        return self._text(404, "Not Found", "the page is at /, the WebSockets are at /ws/chat and /ws/echo\n")

    def _text(self, status_code: int, phrase: str, text: str) -> Response:
        return self._response(status_code, phrase, "text/plain; charset=utf-8", text.encode())

    def _response(self, status_code: int, phrase: str, content_type: str, body: bytes) -> Response:
        headers = Headers(
            {
                "Content-Type": content_type,
                "Content-Length": str(len(body)),
                "Content-Security-Policy": self._policy,
                "X-Content-Type-Options": "nosniff",
                "Referrer-Policy": "no-referrer",
                "Cache-Control": "no-store",
                "Connection": "close",
            }
        )
        return Response(status_code, phrase, headers, body)

    async def handle(self, connection: ServerConnection) -> None:
        """Serve the WebSocket of the requested path."""
        assert connection.request is not None
        await self._sockets[connection.request.path.partition("?")[0]](connection)

    def _is_own(self, origin: str, connection: ServerConnection) -> bool:
        # Not compared with Host: a foreign name that resolves to us would be in both headers.
        address, port = connection.local_address[:2]
        hosts = {"localhost", "127.0.0.1", "[::1]", _bracketed(self._host), _bracketed(address)}
        origin = origin.lower()
        suffix = "" if port == 80 else f":{port}"  # Browsers leave out the scheme's default port.
        return origin in {f"http://{host.lower()}{suffix}" for host in hosts} or origin in self._origins


class Room:
    """The chat: its members, and its last lines."""

    def __init__(self) -> None:
        self._nicks: dict[ServerConnection, str] = {}
        self._lines: deque[dict[str, str | float]] = deque(maxlen=_MAX_LINES)

    async def serve(self, connection: ServerConnection) -> None:
        """Act on requests to the chat, and echo everything else, until the connection is closed."""
        try:
            async for message in connection:
                request = chat_request(message)
                if request is None:
                    await connection.send(message)
                elif request["type"] == "join":
                    await self._join(connection, request["nick"])
                else:
                    await self._say(connection, request["text"])
        except ConnectionClosed:
            pass
        finally:
            if self._nicks.pop(connection, None) is not None:
                self._tell_nicks()

    async def _join(self, connection: ServerConnection, nick: str) -> None:
        self._nicks.pop(connection, None)
        nick = self._free_nick(nick)
        self._nicks[connection] = nick
        joined = {"type": "joined", "nick": nick, "nicks": self._sorted_nicks(), "lines": list(self._lines)}
        await connection.send(_json(joined))
        self._tell_nicks()

    async def _say(self, connection: ServerConnection, text: str) -> None:
        nick = self._nicks.get(connection)
        problem = None
        if nick is None:
            problem = "join the chat first"
        elif not text.strip():
            problem = "the line is empty"
        elif len(text) > _MAX_LINE_LENGTH:
            problem = f"that is {len(text):,} characters; a line has at most {_MAX_LINE_LENGTH:,}"
        if nick is None or problem is not None:
            await connection.send(_json({"type": "error", "text": problem}))
            return
        line: dict[str, str | float] = {"nick": nick, "text": text, "time": round(time.time(), 3)}
        self._lines.append(line)
        self._tell({"type": "line", **line})

    def _tell_nicks(self) -> None:
        self._tell({"type": "nicks", "nicks": self._sorted_nicks()})

    def _tell(self, event: dict[str, object]) -> None:
        for connection in self._nicks:
            # A member that does not read is cut off; a Close frame would not reach it either. The lines of the others
            # must neither pile up in memory nor wait.
            if connection.transport.get_write_buffer_size() > _MAX_UNSENT_SIZE:
                connection.transport.abort()
        broadcast(self._nicks, _json(event))

    def _sorted_nicks(self) -> list[str]:
        return sorted(self._nicks.values(), key=str.casefold)

    def _free_nick(self, wanted: str) -> str:
        nick = " ".join("".join(c if c.isprintable() else " " for c in wanted).split())[:_MAX_NICK_LENGTH]
        nick = nick.strip() or "guest"
        taken = {nick.casefold() for nick in self._nicks.values()}
        free, number = nick, 1
        while free.casefold() in taken:
            number += 1
            free = f"{nick} {number}"
        return free


def chat_request(message: str | bytes) -> dict[str, str] | None:
    """Return a request to the chat; None for any other ``message``, which is echoed."""
    if not isinstance(message, str) or not message.startswith("{") or len(message) > _MAX_REQUEST_LENGTH:
        return None
    try:
        request = json.loads(message)
    except (ValueError, RecursionError):
        return None
    kind = request.get("type")
    name = {"join": "nick", "say": "text"}.get(kind) if isinstance(kind, str) else None
    value = None if name is None else request.get(name)
    if name is None or not isinstance(value, str):
        return None
    # JSON may hold half a surrogate pair. It is no character, and cannot be sent as text.
    return {"type": kind, name: value.encode(errors="replace").decode()}


async def _serve_echo(connection: ServerConnection) -> None:
    try:
        async for message in connection:
            await connection.send(message)
    except ConnectionClosed:
        pass


def content_security_policy(page: str) -> str:
    """Return a policy that allows WebSockets, and the page's own style and script by their digests."""

    def digests(tag: str) -> str:
        contents = re.findall(f"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in contents]
        return " ".join(f"'sha256-{digest}'" for digest in hashes)

    return (
        f"default-src 'none'; style-src {digests('style')}; script-src {digests('script')}; "
        "connect-src 'self' ws: wss:; img-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )


def _json(event: object) -> str:
    return json.dumps(event, ensure_ascii=False, separators=(",", ":"))


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
