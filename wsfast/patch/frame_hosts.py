"""The hosts with replaced framing (RFC 6455 5), by ``wsfast.wsproto`` and ``wsfast.websockets``."""

from __future__ import annotations

import functools
from collections.abc import Callable
from importlib import import_module
from typing import Any, Final

from .machine import Sites, patches

__all__ = ["websockets", "wsproto"]

_OURS: Final = __name__.partition(".")[0]


@patches
def wsproto() -> Sites:
    """wsproto, and the packages on it (hypercorn, httpx-ws, trio-websocket, simple-websocket): all of the framing."""
    connection = import_module("wsproto.connection")
    ours = import_module(f"{_OURS}.wsproto")
    # The methods too: wsproto's own take nearly as long as the rest for 125 bytes (benchmarks/hosts/wsproto.py).
    methods = ("events", "receive_data", "send")
    return Sites(
        [
            (connection, "FrameProtocol", ours.FrameProtocol),
            *((connection.Connection, name, vars(ours.Connection)[name]) for name in methods),
        ]
    )


@patches
def websockets() -> Sites:
    """websockets, and the packages on it (sanic, uvicorn's default): all of the framing, in all APIs except legacy.

    A program that calls ``connect`` or ``serve`` itself needs no patch: ``create_connection=`` with the classes of
    ``wsfast.websockets`` does the same.
    """
    accelerate = import_module(f"{_OURS}.websockets.protocol").accelerate
    roles = (
        import_module("websockets.client").ClientProtocol,
        import_module("websockets.server").ServerProtocol,
    )
    return Sites(
        [(role, "__init__", _then(vars(role)["__init__"], accelerate)) for role in roles],
        has_c_of_its_own=True,
    )


def _then(init: Callable[..., None], do: Callable[[Any], None]) -> Callable[..., None]:
    """Return an ``__init__`` that calls another one, and then ``do(self)``."""

    @functools.wraps(init)
    def __init__(self: Any, *arguments: Any, **options: Any) -> None:
        init(self, *arguments, **options)
        do(self)

    return __init__
