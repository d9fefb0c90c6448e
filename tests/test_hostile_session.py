"""Attacks on a session, without a loop: each was a way to stay, to take memory, or to lose a message.

``test_hostile_peers.py`` has the table of what peers do over sockets.
"""

from __future__ import annotations

import gc
import weakref

from asyncio_helpers import close
from session_helpers import Desk, both_roles

from wsfast.events import Close, Role
from wsfast.session import Deadline

# The peer closes its half of TCP, and does not read


@both_roles
def test_half_closed_while_bytes_are_unsent(role: Role) -> None:
    """The transport ends only when all is sent: so the peer has ``close_timeout`` to take it."""
    desk = Desk(role, ping_interval=20)
    desk.unsent = 100_000
    desk.half_closed()
    assert desk.waits_for == (Deadline.TCP_CLOSE, 10)
    desk.pass_time(10)
    assert desk.calls == ["abort"]
    closed = desk.end()
    assert (closed.rcvd, closed.sent) == (None, None)
    assert isinstance(closed.__cause__, TimeoutError)


@both_roles
def test_half_closed_and_the_peer_takes_what_is_unsent(role: Role) -> None:
    desk = Desk(role)
    desk.unsent = 100_000
    desk.half_closed()
    for _ in range(5):
        desk.pass_time(9)
        desk.unsent -= 10_000
    assert desk.calls == []


@both_roles
def test_half_closed_after_close_and_messages(role: Role) -> None:
    """The last message is answered; then nothing is left to wait for, in either role (7.1.1)."""
    desk = Desk(role)
    desk.receive(desk.text("one"), desk.close_frame(1000))
    desk.half_closed()
    assert desk.keeps_half_open
    assert desk.recv() == "one"
    desk.wait()
    assert desk.take() == [close(1000)]
    assert desk.calls == ["close half"]


# Causes


@both_roles
def test_the_first_cause_is_told(role: Role) -> None:
    """The network's error that follows is a consequence."""
    desk = Desk(role, ping_interval=20, ping_timeout=5)
    desk.pass_time(25)
    closed = desk.end(ConnectionResetError("reset"))
    assert closed.sent == Close(1011, "keepalive ping timeout")
    assert isinstance(closed.__cause__, TimeoutError)


def test_a_cause_holds_no_frames() -> None:
    """Of a write that failed, they hold the session: it could go only with the collector."""
    desk = Desk()

    def write(desk: Desk) -> None:
        try:
            raise ConnectionResetError("reset")
        except ConnectionResetError as error:
            desk.end(error)

    gc.collect()
    gc.disable()
    try:
        write(desk)
        ref = weakref.ref(desk)
        del desk
        assert ref() is None
    finally:
        gc.enable()
