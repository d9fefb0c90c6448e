"""The scope of a connection (ASGI's WebSocket protocol): the request in the form that the application gets."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from uvicorn.protocols.utils import get_local_addr, get_remote_addr, is_ssl

from ..headers import parse_tokens

if TYPE_CHECKING:
    import asyncio

    from uvicorn._types import WebSocketScope
    from uvicorn.config import Config

    from ..http import Request


_SUBPROTOCOLS = "Sec-WebSocket-Protocol"


def make_scope(
    request: Request, transport: asyncio.Transport, config: Config, app_state: dict[str, Any]
) -> WebSocketScope:
    raw_path, _, query_string = request.path.partition("?")
    return {
        "type": "websocket",
        "asgi": {"version": config.asgi_version, "spec_version": "2.4"},
        "http_version": "1.1",
        "scheme": "wss" if is_ssl(transport) else "ws",
        "server": get_local_addr(transport),
        "client": get_remote_addr(transport),
        "root_path": config.root_path,
        "path": config.root_path + unquote(raw_path),
        "raw_path": config.root_path.encode("ascii") + raw_path.encode("ascii"),
        "query_string": query_string.encode("ascii"),
        "headers": [
            (name.lower().encode("ascii"), value.encode("iso-8859-1"))
            for name, value in request.headers.raw_items()
        ],
        "subprotocols": parse_tokens(_SUBPROTOCOLS, request.headers.get_all(_SUBPROTOCOLS)),
        "state": app_state.copy(),
        "extensions": {"websocket.http.response": {}},
    }


def decoded(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[str, str]]:
    """Return ASGI's headers in the form of ``wsfast.headers``: a ``str`` stands for bytes in ISO 8859-1."""
    return [(name.decode("iso-8859-1"), value.decode("iso-8859-1")) for name, value in headers]
