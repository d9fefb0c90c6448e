"""The servers and clients that wsfast plugs into: which versions were tested, and what to type.

``wsfast doctor`` prints this table, and ``wsfast.patch`` refuses what is not in it. A version is tested when the
suites in tests/hosts pass with it; ``newest`` stands for every later patch release too, so "6.6" is all of 6.6.

This module imports nothing of what it describes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

__all__ = ["HOSTS", "Host", "installed_version"]


@dataclass(frozen=True)
class Host:
    """A package that can use wsfast. ``patch``: there is a function of this name in ``wsfast.patch``."""

    name: str
    distribution: str
    oldest: str
    newest: str
    use: str
    patch: bool = False
    needs_native: bool = False
    """It usually has C of its own, which is faster than the fallback codec."""

    @property
    def tested(self) -> str:
        return self.oldest if self.oldest == self.newest else f"{self.oldest} to {self.newest}"

    def was_tested(self, version: str) -> bool:
        release, newest = _release(version), _release(self.newest)
        return _release(self.oldest) <= release and release[: len(newest)] <= newest


def _release(version: str) -> tuple[int, ...]:
    """Return the numbers that ``version`` starts with: of "6.6.1rc1" 6, 6, 1."""
    match = re.match(r"\d+(\.\d+)*", version)
    return tuple(int(number) for number in match[0].split(".")) if match else ()


def installed_version(distribution: str) -> str | None:
    """Return the version of a package from its metadata, None when it is not installed. Imports nothing of it."""
    from importlib import metadata  # Here: it is slow to import, and only who asks has to pay.

    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


_UVICORN: Final = "uvicorn --ws wsfast.uvicorn:WebSocketProtocol app:app"
_WSPROTO: Final = "wsfast.patch.wsproto()"

HOSTS: Final = (
    Host("uvicorn", "uvicorn", "0.36", "0.54", _UVICORN),
    Host(
        "websockets",
        "websockets",
        "16.0",
        "17.4",
        "create_connection=wsfast.websockets.ServerConnection, or ClientConnection",
        patch=True,
        needs_native=True,
    ),
    Host("sanic", "sanic", "25.12", "25.12", "wsfast.patch.websockets()", needs_native=True),
    Host("wsproto", "wsproto", "1.3", "1.3", _WSPROTO, patch=True),
    Host("hypercorn", "hypercorn", "0.18", "0.18", _WSPROTO),
    Host("httpx_ws", "httpx-ws", "0.9", "0.9", _WSPROTO),
    Host("trio_websocket", "trio-websocket", "0.12", "0.12", _WSPROTO),
    Host("simple_websocket", "simple-websocket", "1.1", "1.1", _WSPROTO),
    Host("websocket_client", "websocket-client", "1.5", "1.9", "wsfast.patch.websocket_client()", patch=True),
    Host(
        "gevent_websocket",
        "gevent-websocket",
        "0.10.1",
        "0.10.1",
        "wsfast.patch.gevent_websocket()",
        patch=True,
    ),
    Host("tornado", "tornado", "6.4", "6.6", "wsfast.patch.tornado()", patch=True, needs_native=True),
    Host("autobahn", "autobahn", "24.4.2", "26.10", "wsfast.patch.autobahn()", patch=True, needs_native=True),
    Host("ws4py", "ws4py", "0.5.1", "0.6", "wsfast.patch.ws4py()", patch=True),
)
