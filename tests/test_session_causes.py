"""``ConnectionClosed.cause``: the first thing that ended the connection, and the exception of it, chained."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import pytest
from helpers import TEXT
from session_helpers import Desk, both_roles

from wsfast.events import CloseCause, Role
from wsfast.exceptions import ConnectionClosed, ConnectionClosedError, ConnectionClosedOK
from wsfast.limits import Limits
from wsfast.session import Delivery, Slow

RESET = ConnectionResetError("reset by peer")


def peer_closes(desk: Desk) -> None:
    desk.receive(desk.close_frame(1000))
    desk.start_close(1000)  # too late to count


def we_close(desk: Desk) -> None:
    desk.start_close(1000)
    desk.receive(desk.close_frame(1000))


def we_fail(desk: Desk) -> None:
    desk.fail(1011, "of the application")


def nobody_answers(desk: Desk) -> None:
    desk.pass_time(1000)
    assert desk.cut


def peer_breaks_a_rule(desk: Desk) -> None:
    desk.receive(desk.frame(TEXT, b"\xff"))


def peer_exceeds_a_limit(desk: Desk) -> None:
    desk.receive(desk.frame(TEXT, "x" * 101))


def peer_reads_too_slowly(desk: Desk) -> None:
    desk.writing_blocked()
    desk.unsent = 101
    desk.deliver(Delivery("x"), Slow.CLOSE)


def tcp_ends(desk: Desk) -> None:
    desk.half_closed()


def fault_after_our_close(desk: Desk) -> None:
    desk.start_close(1000)
    peer_breaks_a_rule(desk)


@pytest.mark.parametrize(
    ("happen", "cause"),
    [
        (peer_closes, CloseCause.PEER),
        (we_close, CloseCause.LOCAL),
        (we_fail, CloseCause.LOCAL),
        (nobody_answers, CloseCause.KEEPALIVE),
        (peer_breaks_a_rule, CloseCause.PROTOCOL),
        (peer_exceeds_a_limit, CloseCause.LIMIT),
        (peer_reads_too_slowly, CloseCause.LIMIT),
        (tcp_ends, CloseCause.TRANSPORT),
        (lambda desk: None, CloseCause.TRANSPORT),
        (fault_after_our_close, CloseCause.LOCAL),
    ],
    ids=lambda each: getattr(each, "__name__", None),
)
@both_roles
def test_the_first_that_happened(happen: Callable[[Desk], None], cause: CloseCause, role: Role) -> None:
    desk = Desk(role, max_message_size=100, ping_interval=20, limits=Limits(max_unsent_size=100))
    happen(desk)
    closed = desk.end(RESET)
    assert closed.cause is cause
    assert desk.protocol.cause is cause
    if cause is CloseCause.KEEPALIVE:
        assert isinstance(closed.__cause__, TimeoutError)
    else:
        assert closed.__cause__ is RESET
    copy = pickle.loads(pickle.dumps(closed))
    assert copy.cause is cause


def test_a_close_that_nobody_answers_is_ours() -> None:
    desk = Desk(close_timeout=3)
    desk.start_close()
    desk.pass_time(10)
    closed = desk.end()
    assert closed.cause is CloseCause.LOCAL
    assert "close_timeout, 3 s" in str(closed.__cause__)


@pytest.mark.parametrize(
    ("arguments", "cause"),
    [
        ((), CloseCause.TRANSPORT),
        (("rcvd",), CloseCause.PEER),
        ((None, "sent"), CloseCause.LOCAL),
        (("rcvd", "sent", True), CloseCause.PEER),
        (("rcvd", "sent", False), CloseCause.LOCAL),
    ],
)
def test_exceptions_made_by_others_have_a_cause(arguments: Any, cause: CloseCause) -> None:
    for kind in (ConnectionClosed, ConnectionClosedOK, ConnectionClosedError):
        assert kind(*arguments).cause is cause


# When our own event loop was blocked


def blocked(desk: Desk, seconds: float) -> None:
    """The loop does something else, past the deadline, and then looks at its timers first, as uvloop does."""
    deadline = desk.next_deadline()
    assert deadline is not None
    desk.now = deadline + seconds
    desk.deadline_reached(desk.now)


def pinged() -> tuple[Desk, bytes]:
    desk = Desk(ping_interval=20, ping_timeout=20)
    desk.pass_time(20)
    [ping] = desk.take()
    return desk, ping.payload


def test_a_pong_that_we_did_not_read_in_time_counts() -> None:
    desk, payload = pinged()
    blocked(desk, 5)
    assert desk.take() == []
    desk.receive(desk.pong(payload))
    desk.pass_time(19)
    assert desk.protocol.cause is None


def test_a_peer_that_is_gone_goes_and_the_text_says_that_we_were_blocked() -> None:
    desk, _ = pinged()
    blocked(desk, 5)
    desk.pass_time(20)
    closed = desk.end()
    assert closed.cause is CloseCause.KEEPALIVE
    assert str(closed.__cause__) == (
        "no Pong, and no other sign of life, within 20 s; "
        "but our own event loop was blocked for 5.0 s, which may be the reason"
    )


def test_a_loop_that_is_always_blocked_saves_nobody() -> None:
    desk, _ = pinged()
    blocked(desk, 5)
    blocked(desk, 7)
    closed = desk.end()
    assert closed.cause is CloseCause.KEEPALIVE
    assert "blocked for 7.0 s" in str(closed.__cause__)


def test_a_little_late_is_not_blocked() -> None:
    desk, _ = pinged()
    blocked(desk, 0.1)
    closed = desk.end()
    assert str(closed.__cause__) == "no Pong, and no other sign of life, within 20 s"


def test_each_ping_has_an_excuse_of_its_own() -> None:
    desk, payload = pinged()
    blocked(desk, 5)
    desk.receive(desk.pong(payload))
    assert desk.take() == []
    desk.deadline_reached(desk.now)
    [ping] = desk.take()
    blocked(desk, 5)
    desk.receive(desk.pong(ping.payload))
    assert desk.protocol.cause is None
