"""The end of a session, row by row of the table in ``wsfast/session/ending.py`` (RFC 6455 5.5.1, 7.1).

No event loop: time is a number that the tests move.
"""

from __future__ import annotations

import pytest
from asyncio_helpers import close
from helpers import TEXT
from session_helpers import Desk, both_roles

from wsfast.connection import ReadyState
from wsfast.events import Close, Role
from wsfast.exceptions import ConnectionClosedError, ConnectionClosedOK
from wsfast.session import Deadline, Stage

# OPEN


@both_roles
def test_open_and_the_peer_closes(role: Role) -> None:
    """5.5.1: answered as soon as practical. 7.1.1: then a server closes its half of TCP, a client waits."""
    desk = Desk(role)
    desk.receive(desk.close_frame(1001))
    assert desk.take() == [close(1001)]
    assert desk._stage is (Stage.LINGERING if role is Role.SERVER else Stage.ANSWERED)
    assert desk.calls == (["close half"] if role is Role.SERVER else [])
    assert desk.waits_for == (Deadline.TCP_CLOSE, 10)
    assert isinstance(desk.end(), ConnectionClosedOK)


@both_roles
def test_open_and_the_peer_breaks_the_protocol(role: Role) -> None:
    """7.1.7: Close with the code of the fault, and nothing is waited for but the end of TCP."""
    desk = Desk(role)
    desk.receive(desk.frame(3))
    [closing] = desk.take()
    assert closing.payload[:2] == (1002).to_bytes(2, "big")
    assert desk.waits_for == (Deadline.TCP_CLOSE, 10)
    closed = desk.end()
    assert isinstance(closed, ConnectionClosedError)
    assert closed.failure is not None


@both_roles
def test_open_and_we_close(role: Role) -> None:
    desk = Desk(role)
    desk.start_close(3000, "why")
    assert desk.take() == [close(3000, "why")]
    assert desk._stage is Stage.CLOSING
    assert desk.calls == []
    assert desk.waits_for == (Deadline.PEER_CLOSE, 10)


@both_roles
def test_open_and_we_fail(role: Role) -> None:
    """7.1.7: the peer's Close is not waited for."""
    desk = Desk(role)
    desk.fail(1011, "why")
    assert desk.take() == [close(1011, "why")]
    assert desk.calls == (["close half"] if role is Role.SERVER else [])
    assert desk.waits_for == (Deadline.TCP_CLOSE, 10)


@both_roles
def test_open_and_tcp_ends(role: Role) -> None:
    """7.1.5: 1006, as no Close came; the reason of the loss is the cause."""
    desk = Desk(role, ping_interval=20)
    desk.send_ping(b"a", "somebody")
    reset = ConnectionResetError()
    closed = desk.end(reset)
    assert desk._stage is Stage.CLOSED
    assert desk.close_code == 1006
    assert closed.__cause__ is reset
    assert desk.lost_pongs == ["somebody"]
    assert desk.next_deadline() is None


# PEER_ENDED


def ended_after(desk: Desk, *texts: str) -> None:
    desk.receive(desk.text(*texts), desk.close_frame())
    assert desk._stage is Stage.PEER_ENDED
    assert desk.ready_state is ReadyState.OPEN
    assert desk.take() == []


@both_roles
def test_a_close_in_line_is_answered_when_all_before_it_was_taken(role: Role) -> None:
    desk = Desk(role)
    ended_after(desk, "a", "b")
    assert [desk.recv(), desk.recv()] == ["a", "b"]
    assert desk.take() == [], "the last message can still be answered"
    desk.wait()
    assert desk.take() == [close(1000)]


@both_roles
def test_a_close_in_line_is_answered_when_nobody_takes_messages(role: Role) -> None:
    desk = Desk(role)
    ended_after(desk, "a", "b")
    assert desk.waits_for == (Deadline.ANSWER, 0.01), "somebody may be about to take them"
    desk.pass_time(0.01)
    assert desk.waits_for == (Deadline.ANSWER, 0.25)
    desk.pass_time(0.19)
    desk.recv()
    desk.pass_time(0.2)
    assert desk.take() == [], "a message was taken meanwhile"
    desk.pass_time(0.2)
    assert desk.take() == [close(1000)]
    assert desk.waits_for == (Deadline.TCP_CLOSE, 10.5)
    assert desk.recv() == "b", "it can be received afterwards too"


def test_a_close_in_line_is_answered_within_close_timeout() -> None:
    """However slowly the messages are taken."""
    desk = Desk(close_timeout=3, max_queue=None)
    ended_after(desk, *map(str, range(100)))
    for _ in range(15):
        desk.recv()
        assert desk.take() == []
        desk.pass_time(0.2)
    assert desk.take() == [close(1000)]


@pytest.mark.parametrize("first", ["the wait", "the Close"])
@both_roles
def test_a_close_in_line_is_answered_at_once_when_somebody_waits_for_the_end(role: Role, first: str) -> None:
    desk = Desk(role)
    if first == "the wait":
        desk._n_waiting_for_end += 1
        desk.receive(desk.text("a"), desk.close_frame())
    else:
        ended_after(desk, "a")
        desk._wait_for_end()
    assert desk.take() == [close(1000)]
    assert desk.recv() == "a"


@both_roles
def test_our_close_answers_the_one_in_line(role: Role) -> None:
    desk = Desk(role)
    ended_after(desk, "a")
    desk.start_close(1011)
    assert desk.take() == [close(1011)]
    assert desk.waits_for == (Deadline.TCP_CLOSE, 10)
    assert desk.end().rcvd == Close(1000)


@both_roles
def test_reading_goes_on_for_the_end_of_tcp(role: Role) -> None:
    desk = Desk(role, max_queue=1)
    desk.receive(desk.text("a", "b"))
    assert not desk.reading
    desk._read_a_chunk()
    desk.receive(desk.close_frame())
    assert desk._stage is Stage.PEER_ENDED
    assert desk.reading
    desk.receive(b"")
    assert desk.reading


def test_our_half_is_kept_open_while_messages_can_be_answered() -> None:
    desk = Desk()
    assert not desk.keeps_half_open
    ended_after(desk, "a")
    assert desk.keeps_half_open
    desk.recv()
    assert not desk.keeps_half_open


def test_the_keepalive_has_ended_with_the_peers_close() -> None:
    desk = Desk(ping_interval=0.1, ping_timeout=0.1)
    ended_after(desk, "a")
    desk.pass_time(0.2)
    assert desk.take() == []


# CLOSING


@both_roles
def test_closing_and_the_peer_answers(role: Role) -> None:
    desk = Desk(role)
    desk.start_close()
    desk.take()
    desk.pass_time(4)
    desk.receive(desk.close_frame())
    assert desk.take() == []
    assert desk.calls == (["close half"] if role is Role.SERVER else [])
    assert desk.waits_for == (Deadline.TCP_CLOSE, 10), "close_timeout is for both"
    desk.pass_time(6)
    assert desk.calls[-1] == "abort"


@both_roles
def test_closing_and_the_peer_says_nothing(role: Role) -> None:
    desk = Desk(role)
    desk.start_close()
    desk.pass_time(9.9)
    assert desk.calls == []
    desk.pass_time(0.1)
    assert desk.calls == ["abort"]
    closed = desk.end()
    assert isinstance(closed.__cause__, TimeoutError)
    assert closed.sent == Close(1000)


@both_roles
def test_closing_and_the_peer_breaks_the_protocol(role: Role) -> None:
    desk = Desk(role)
    desk.start_close()
    desk.take()
    desk.receive(desk.frame(3))
    assert desk.take() == []
    assert desk.waits_for == (Deadline.TCP_CLOSE, 10)


@both_roles
def test_closing_twice_sends_one_close(role: Role) -> None:
    desk = Desk(role)
    desk.start_close(1001)
    desk.pass_time(5)
    desk.start_close(1000)
    desk.fail(1011)
    assert desk.take() == [close(1001)]
    assert desk.waits_for == (Deadline.PEER_CLOSE, 10)


def test_closing_resumes_reading_and_drops_what_has_no_room() -> None:
    """The peer's Close comes after what we did not read; memory has a bound, and what is received no hole."""
    desk = Desk(max_queue=2)
    desk.receive(desk.text("0", "1", "2"))
    assert not desk.reading
    desk.start_close()
    assert desk.reading
    desk.receive(desk.text("3", "4"))
    desk.recv()
    desk.receive(desk.text("5"))
    desk.receive(desk.close_frame())
    assert list(desk._messages) == ["1", "2"]
    assert desk.calls == ["close half"]


@both_roles
def test_a_flood_after_we_failed_the_connection_is_dropped(role: Role) -> None:
    """7.1.7: we read on for the end of TCP, and memory has a bound."""
    desk = Desk(role, max_queue=2)
    desk.fail(1011)
    for _ in range(100):
        desk.receive(desk.text("0", "1", "2"))
    assert list(desk._messages) == ["0", "1"]
    assert desk.reading


def test_without_close_timeout_we_wait_for_ever() -> None:
    desk = Desk(close_timeout=None)
    desk.start_close()
    assert desk.next_deadline() is None


# ANSWERED, LINGERING


@both_roles
def test_the_peer_that_does_not_close_tcp_is_cut(role: Role) -> None:
    desk = Desk(role)
    desk.receive(desk.close_frame())
    desk.pass_time(9.9)
    desk.receive(b"more, to be ignored")
    assert "abort" not in desk.calls
    desk.pass_time(0.1)
    assert desk.calls[-1] == "abort"


@both_roles
def test_a_peer_that_takes_what_was_written_has_time(role: Role) -> None:
    """A large message and then Close: a slow transfer is not cut."""
    desk = Desk(role)
    desk.unsent = 160_000
    desk.start_close()
    for _ in range(10):
        desk.pass_time(9)
        desk.unsent -= 10_000
        desk.pass_time(1)
    assert desk.calls == []
    desk.receive(desk.close_frame())
    desk.unsent -= 10_000
    desk.pass_time(10)
    assert "abort" not in desk.calls
    desk.pass_time(10)
    assert desk.calls[-1] == "abort"


@both_roles
def test_our_close_alone_is_no_transfer(role: Role) -> None:
    """The kernel acknowledges it a moment after it was written: ``close_timeout`` counts once all the same."""
    desk = Desk(role)
    desk.unsent = 131
    desk.start_close()
    desk.unsent = 0
    desk.pass_time(10)
    assert desk.calls == ["abort"]


def test_a_peer_that_takes_next_to_nothing_has_no_time() -> None:
    """An octet now and then would keep a connection for ever."""
    desk = Desk()
    desk.unsent = 1_000_000
    desk.start_close()
    desk.pass_time(9)
    desk.unsent -= 60_000
    desk.pass_time(1)
    assert desk.calls == ["abort"]


def test_an_adapter_that_cannot_half_close_lingers_after_a_fault() -> None:
    desk = Desk()
    desk.linger_after_fault = 1.0  # type: ignore[misc]
    desk.receive(desk.frame(3))
    assert desk.waits_for == (Deadline.TCP_CLOSE, 1)
    desk.unsent = 4  # the peer has taken the Close since then
    desk._unsent = 8
    desk.pass_time(1)
    assert desk.calls[-1] == "abort"
    other = Desk()
    other.receive(other.close_frame())
    assert other.waits_for == (Deadline.TCP_CLOSE, 10)


# Nothing that came before the end is lost


@pytest.mark.parametrize("end", ["Close", "fault", "TCP"])
@both_roles
def test_messages_before_the_end_can_be_taken_after_it(role: Role, end: str) -> None:
    desk = Desk(role)
    frames = {"Close": desk.close_frame(), "fault": desk.frame(TEXT, b"\xff"), "TCP": b""}
    desk.receive(desk.text("a", "b"), frames[end])
    desk.end()
    assert [desk.recv(), desk.recv()] == ["a", "b"]


def test_a_wrong_code_changes_nothing() -> None:
    """7.4."""
    desk = Desk()
    with pytest.raises(ValueError, match="1006"):
        desk.start_close(1006)
    assert desk.written == []
    assert desk._stage is Stage.OPEN


def test_a_deadline_that_is_looked_at_too_early_does_nothing() -> None:
    desk = Desk()
    desk.start_close()
    desk.deadline_reached(9.99)
    assert desk.calls == []
    assert desk.waits_for == (Deadline.PEER_CLOSE, 10)
