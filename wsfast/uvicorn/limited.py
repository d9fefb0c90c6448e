"""The limits of uvicorn's connections: uvicorn's own settings, or the ``Limits`` of a subclass.

The protocol with its handshake is made here, as the limits are its arguments. Connections are counted for each server
of uvicorn's and each ``Limits``.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, ClassVar
from weakref import WeakKeyDictionary

from ..asyncio.transport import TransportSession
from ..codec import Role
from ..connection import Connection
from ..deflate import Deflate
from ..handshake import Response, ServerHandshake
from ..limits import Limits
from ..session import TURN_BOUNDS, Admission

if TYPE_CHECKING:
    from uvicorn.config import Config
    from uvicorn.server import ServerState

# uvicorn has a limit for the inflated message, ws_max_size, and none for its ratio.
_DEFLATE = Deflate(max_ratio=None)

# Bytes of a request's head: uvicorn has read it before, and its other classes take 128 lines of 8 KiB.
_MAX_HEAD_SIZE = 2**20

# Seconds for the peer to answer our Close, and to take what was written before TCP was closed.
_CLOSE_TIMEOUT = 10.0

_admissions: WeakKeyDictionary[ServerState, dict[Limits, Admission]] = WeakKeyDictionary()


class Limited(TransportSession):
    """A connection with limits."""

    limits: ClassVar[Limits | None] = None
    """For a subclass: its limits. They take the place of ``ws_max_size``, and of the pause after one message."""

    handshake: ServerHandshake
    default_headers: list[tuple[str, str]]
    _is_answered: bool

    def __init__(
        self, config: Config, server_state: ServerState, loop: asyncio.AbstractEventLoop | None
    ) -> None:
        limits = self.limits or Limits(
            max_message_size=config.ws_max_size,
            max_queue=None,
            max_head_size=_MAX_HEAD_SIZE,
            open_timeout=None,  # the application's own affair
        )
        deflate = _DEFLATE if limits.max_ratio is None else Deflate(max_ratio=limits.max_ratio)
        self.handshake = ServerHandshake(
            compression=deflate if config.ws_per_message_deflate else None,
            server_header=None,
            max_head_size=limits.max_head_size,
        )
        super().__init__(
            Connection(
                Role.SERVER,
                handshake=self.handshake,
                limit_names={"max_message_size": "ws_max_size"} if self.limits is None else None,
                **limits.codec_options(),
                **TURN_BOUNDS,
            ),
            loop or asyncio.get_running_loop(),
            ping_interval=config.ws_ping_interval,
            ping_timeout=config.ws_ping_timeout,
            close_timeout=_CLOSE_TIMEOUT,
            max_queue=limits.max_queue,
            limits=limits,
        )
        self._admission: Admission | None = None
        self._open_timer: asyncio.TimerHandle | None = None
        if self.limits is None:
            self._high = 0  # one message that nobody waits for is above it
        else:
            of_server = _admissions.setdefault(server_state, {})
            self._admission = of_server.setdefault(self.limits, Admission(self.limits))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if self._admission is not None and not self._admission.enter(self, self.remote_address):
            self._is_answered = True
            self.transport.abort()
        elif self._limits.open_timeout is not None:
            self._open_timer = self._loop.call_later(self._limits.open_timeout, self._open_is_late)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._admission is not None:
            self._admission.leave(self)
        self._stop_open_timer()

    def _answer_to_request(self) -> Response:
        refusal = None if self._admission is None else self._admission.refusal(self)
        if refusal is None:
            return self.handshake.accept()
        return self.handshake.reject(*refusal, self.default_headers)

    def _open_is_late(self) -> None:
        """``open_timeout`` is over, and the application has not answered the request."""
        raise NotImplementedError

    def _stop_open_timer(self) -> None:
        if self._open_timer is not None:
            self._open_timer.cancel()
            self._open_timer = None

    def _response_when_late(self) -> Response:
        return self.handshake.reject(503, "Service Unavailable", self.default_headers)
