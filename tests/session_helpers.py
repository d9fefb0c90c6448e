"""A session without an event loop: its adapter is a list of its requests, and its clock is a number.

``Desk`` brings the verbs, and nothing else. Times are seconds from 0.
"""

from __future__ import annotations

from typing import Any

import pytest
from asyncio_helpers import Received, close_payload, parse_frames
from helpers import CLOSE, KEY, PING, PONG, TEXT, frame, join

from wsfast.connection import Connection
from wsfast.events import Role
from wsfast.exceptions import ConnectionClosed
from wsfast.session import Deadline, Session

both_roles = pytest.mark.parametrize("role", list(Role), ids=["client", "server"])


class Desk(Session):
    """A session whose adapter notes everything."""

    def __init__(self, role: Role = Role.SERVER, **options: Any) -> None:
        self.now = 0.0
        self.calls: list[str] = []
        self.written: list[bytes] = []
        self.reading = True
        self.cut = False
        self.can_half_close = True
        self.unsent = 0
        self.soon: list[Any] = []
        self.rate_at: float | None = None
        self.pongs: list[tuple[Any, float]] = []
        self.lost_pongs: list[Any] = []
        self.key = KEY if role is Role.SERVER else None
        of_protocol = ("max_message_size", "max_feed_events", "max_feed_size", "compression", "codec")
        protocol = Connection(role, **{name: options.pop(name) for name in of_protocol if name in options})
        defaults = {"ping_interval": None, "ping_timeout": 20, "close_timeout": 10, "max_queue": 4}
        super().__init__(protocol, **(defaults | options))
        self.opened()

    # What tests do

    def receive(self, *frames: bytes) -> None:
        """A chunk comes."""
        assert not self.cut
        self._has_heard = True
        self.take_events(self._feed(join(*frames)))

    def frame(self, opcode: int, payload: bytes | str = b"", **options: Any) -> bytes:
        return frame(opcode, payload, key=self.key, **options)

    def text(self, *texts: str) -> bytes:
        return join(*(self.frame(TEXT, text) for text in texts))

    def ping(self, payload: bytes = b"") -> bytes:
        return self.frame(PING, payload)

    def pong(self, payload: bytes) -> bytes:
        return self.frame(PONG, payload)

    def close_frame(self, code: int = 1000) -> bytes:
        return self.frame(CLOSE, close_payload(code))

    def recv(self) -> str | bytes:
        """Take a message that waits."""
        message = self._messages.popleft()
        if self._pauses:
            self._message_taken()
        return message

    def wait(self) -> None:
        """Somebody waits for a message."""
        assert not self._messages
        if self.protocol.ending is not None:
            self._answer()
        self._waiter = "a task"

    def take(self) -> list[Received]:
        """Return the frames that were written since the last call."""
        frames = parse_frames(b"".join(self.written), self.protocol.role)
        self.written.clear()
        return frames

    def pass_time(self, seconds: float) -> None:
        """Let time pass, and do what is due, at its time."""
        end = self.now + seconds
        while (deadline := self.next_deadline()) is not None and deadline <= end:
            assert deadline >= self.now
            self.now = deadline
            self.deadline_reached(deadline)
        self.now = end

    def turn(self) -> None:
        """Let the next turn of what would be the loop run."""
        soon, self.soon = self.soon, []
        for callback in soon:
            callback()

    @property
    def waits_for(self) -> tuple[Deadline | None, float | None]:
        return self._deadline, self.next_deadline()

    def end(self, exception: Exception | None = None) -> ConnectionClosed:
        """TCP is closed."""
        self.cut = True
        self.lost(exception)
        return self._closed_exception()

    # Verbs

    def _write(self, data: bytes) -> None:
        assert not self.cut
        self.written.append(data)

    def _is_cut(self) -> bool:
        return self.cut

    def _close_half(self) -> None:
        self.calls.append("close half")

    def _can_half_close(self) -> bool:
        return self.can_half_close

    def _abort(self) -> None:
        self.calls.append("abort")
        self.cut = True

    def _stop_reading(self) -> None:
        assert self.reading
        self.reading = False

    def _start_reading(self) -> None:
        assert not self.reading
        self.reading = True

    def _unsent_size(self) -> int:
        return self.unsent

    def _now(self) -> float:
        return self.now

    def _deadline_changed(self) -> None:
        pass

    def _flush_soon(self) -> None:
        self.soon.append(self._flush_at_next_turn)

    def _decode_soon(self) -> None:
        self.soon.append(self._decode_at_next_turn)

    def _look_at_rate_at(self, at: float) -> None:
        self.rate_at = at

    def _wake(self) -> None:
        self._waiter = None

    def _pong_received(self, waiter: Any, latency: float) -> None:
        self.pongs.append((waiter, latency))

    def _pong_lost(self, waiter: Any, exception: ConnectionClosed) -> None:
        self.lost_pongs.append(waiter)
