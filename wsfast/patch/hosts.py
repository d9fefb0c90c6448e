"""The servers and clients that can use wsfast: their tested versions, and the line to type for each.

``wsfast doctor`` prints this table, and ``wsfast.patch`` refuses packages that are not in it. A version is tested when
the suites in tests/hosts pass with it. ``newest`` includes every later patch release: "6.6" is all of 6.6.

This module imports no codec, and none of the packages in the table.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

__all__ = ["HOSTS", "UNSUITABLE", "Host", "canonical", "host_named", "installed_version"]


@dataclass(frozen=True)
class Host:
    """A package that can use wsfast."""

    name: str
    distribution: str
    oldest: str
    newest: str
    use: str
    """The line to type; one line for each role, if they differ."""
    patch: str = ""
    """The module of ``wsfast.patch`` that has a function of this name; empty if no patch is needed."""
    needs_native: bool = False
    """True if the package usually has its own C code, which is faster than the fallback codec."""
    carries: tuple[str, ...] = ()
    """Well-known packages that get wsfast through this one."""

    @property
    def tested(self) -> str:
        return self.oldest if self.oldest == self.newest else f"{self.oldest} to {self.newest}"

    def was_tested(self, version: str) -> bool:
        release, newest = _release(version), _release(self.newest)
        return _release(self.oldest) <= release and release[: len(newest)] <= newest


def _release(version: str) -> tuple[int, ...]:
    """Return the numbers at the start of ``version``: "6.6.1rc1" gives 6, 6, 1."""
    match = re.match(r"\d+(\.\d+)*", version)
    return tuple(int(number) for number in match[0].split(".")) if match else ()


def canonical(name: str) -> str:
    """Return a package's name in the spelling of PEP 503: "websocket_client" becomes "websocket-client"."""
    return re.sub(r"[-_.]+", "-", name).lower()


def host_named(name: str) -> Host | None:
    """Find a host by its name, or by the name of a package that it carries, in any spelling of PEP 503."""
    wanted = canonical(name)
    for host in HOSTS:
        if wanted in (canonical(host.name), host.distribution, *host.carries):
            return host
    return None


def installed_version(distribution: str) -> str | None:
    """Return the version of a package from its metadata, or None if it is not installed; import nothing of it."""
    from importlib import metadata  # Here, because it is slow to import: only callers pay for it.

    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


_MASKS: Final = ".byte_hosts"
_FRAMES: Final = ".frame_hosts"
_UVICORN: Final = "uvicorn --ws wsfast.uvicorn:WebSocketProtocol app:app"
_WSPROTO: Final = "wsfast.patch.wsproto()"

HOSTS: Final = (
    Host(
        "uvicorn",
        "uvicorn",
        "0.36",
        "0.54",
        _UVICORN,
        carries=("fastapi", "starlette", "litestar", "channels", "quart", "gunicorn"),
    ),
    Host(
        "websockets",
        "websockets",
        "16.0",
        "17.4",
        "serve(..., create_connection=wsfast.websockets.ServerConnection)\n"
        "connect(..., create_connection=wsfast.websockets.ClientConnection)",
        _FRAMES,
        needs_native=True,
    ),
    Host("sanic", "sanic", "25.12", "25.12", "wsfast.patch.websockets()", needs_native=True),
    Host("wsproto", "wsproto", "1.3", "1.3", _WSPROTO, _FRAMES),
    Host("hypercorn", "hypercorn", "0.18", "0.18", _WSPROTO),
    Host("httpx_ws", "httpx-ws", "0.9", "0.9", _WSPROTO),
    Host("trio_websocket", "trio-websocket", "0.12", "0.12", _WSPROTO),
    Host(
        "simple_websocket",
        "simple-websocket",
        "1.1",
        "1.1",
        _WSPROTO,
        carries=("flask-sock", "python-engineio", "python-socketio"),
    ),
    Host("websocket_client", "websocket-client", "1.5", "1.9", "wsfast.patch.websocket_client()", _MASKS),
    Host(
        "gevent_websocket", "gevent-websocket", "0.10.1", "0.10.1", "wsfast.patch.gevent_websocket()", _MASKS
    ),
    Host(
        "tornado",
        "tornado",
        "6.4",
        "6.6",
        "wsfast.patch.tornado()",
        _MASKS,
        needs_native=True,
        carries=("jupyter-server", "bokeh", "streamlit"),
    ),
    Host(
        "autobahn",
        "autobahn",
        "24.4.2",
        "26.10",
        "wsfast.patch.autobahn()",
        _MASKS,
        needs_native=True,
        carries=("crossbar", "daphne"),
    ),
    Host("ws4py", "ws4py", "0.5.1", "0.6", "wsfast.patch.ws4py()", _MASKS),
)

_OWN_CODEC: Final = "it has a codec of its own in another language, and no place for ours"

# Packages that people look for in this table, and the reason that they are not in it.
UNSUITABLE: Final = {
    "aiohttp": "its own C takes as long for small messages, and nothing else fits (docs/drop-in.md)",
    "granian": _OWN_CODEC,
    "picows": _OWN_CODEC,
    "robyn": _OWN_CODEC,
    "socketify": _OWN_CODEC,
}
