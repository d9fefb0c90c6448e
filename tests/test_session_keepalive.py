"""Keepalive without an event loop, row by row of the table in ``wsfast/session/keepalive.py`` (RFC 6455 5.5.2).

Hours pass in milliseconds, because time is a number.
"""

from __future__ import annotations

import pytest
from asyncio_helpers import close
from helpers import PING
from session_helpers import Desk, both_roles

from wsfast.connection import ReadyState
from wsfast.events import Role
from wsfast.exceptions import ConcurrencyError
from wsfast.session import Deadline
from wsfast.session.keepalive import MAX_LOOKS

DEAD = close(1011, "keepalive ping timeout")


def alive(role: Role = Role.SERVER, **options: object) -> Desk:
    return Desk(role, **({"ping_interval": 20, "ping_timeout": 5} | options))


def ping_of(desk: Desk) -> bytes:
    [ping] = desk.take()
    assert ping.opcode == PING
    return ping.payload


@both_roles
def test_a_ping_at_each_interval_for_hours(role: Role) -> None:
    desk = alive(role)
    for number in range(1, 1000):
        desk.pass_time(20 * number - desk.now)
        payload = ping_of(desk)
        assert desk.waits_for == (Deadline.PONG, desk.now + 5)
        desk.pass_time(3)
        desk.receive(desk.pong(payload))
        assert desk.latency == pytest.approx(3)
    assert desk.ready_state is ReadyState.OPEN


@both_roles
def test_no_pong_and_no_other_sign_of_life(role: Role) -> None:
    desk = alive(role)
    desk.pass_time(24.9)
    ping_of(desk)
    assert desk.ready_state is ReadyState.OPEN
    desk.pass_time(0.1)
    assert desk.take() == [DEAD]
    assert isinstance(desk._closed_exception().__cause__, TimeoutError)


def test_a_pong_that_is_not_for_it_is_no_pong() -> None:
    """5.5.3: unsolicited Pongs are legal. As bytes they are a sign of life, for one time."""
    desk = alive()
    desk.pass_time(21)
    ping_of(desk)
    desk.receive(desk.pong(b"other"))
    desk.pass_time(5)
    assert desk.take() == []
    desk.pass_time(5)
    assert desk.take() == [DEAD]


def test_a_pong_for_a_later_ping_answers_it() -> None:
    """5.5.3: an endpoint may answer only the most recent Ping."""
    desk = alive()
    desk.pass_time(20)
    ping_of(desk)
    desk.send_ping(b"later", "somebody")
    desk.receive(desk.pong(b"later"))
    assert desk.waits_for == (Deadline.PING, 40)
    assert desk.pongs[-1] == ("somebody", 0)


def test_the_same_payload_twice_is_a_mistake() -> None:
    desk = alive()
    desk.send_ping(b"a")
    with pytest.raises(ConcurrencyError):
        desk.send_ping(b"a")


@pytest.mark.parametrize("interval", [None, 0])
def test_without_an_interval_there_are_no_pings(interval: float | None) -> None:
    desk = alive(ping_interval=interval)
    assert desk.next_deadline() is None


def test_without_a_timeout_there_are_only_pings() -> None:
    desk = alive(ping_timeout=None)
    desk.pass_time(24 * 3600)
    assert len(desk.take()) == 24 * 3600 / 20
    assert desk.ready_state is ReadyState.OPEN


# Bytes are life


@both_roles
def test_a_slow_upload_is_not_cut(role: Role) -> None:
    """One frame of a megabyte, a kilobyte every two seconds: no Pong can stand inside it."""
    desk = alive(role, max_queue=None)
    message = desk.frame(2, bytes(1_000_000))
    for start in range(0, len(message), 1000):
        desk.receive(message[start : start + 1000])
        desk.pass_time(2)
    assert desk.ready_state is ReadyState.OPEN
    assert len(desk.recv()) == 1_000_000
    payload = ping_of(desk)
    desk.receive(desk.pong(payload))
    assert desk.ready_state is ReadyState.OPEN


@both_roles
def test_a_slow_download_is_not_cut(role: Role) -> None:
    """Our Ping waits after what was written before it."""
    desk = alive(role)
    desk.unsent = 1_000_000
    while desk.unsent:
        desk.pass_time(2)
        desk.unsent -= 1000
    assert desk.ready_state is ReadyState.OPEN
    ping_of(desk)
    desk.pass_time(10)
    assert desk.take() == [DEAD]


def test_a_sender_that_waits_for_the_peer_shows_life_when_writing_goes_on() -> None:
    """The buffer is as full as before, since the sender has filled it again."""
    desk = alive()
    desk.unsent = 65_536
    for _ in range(100):
        desk.writing_blocked()
        desk.pass_time(4)
        desk.writing_resumed()
    assert desk.ready_state is ReadyState.OPEN


@both_roles
def test_a_peer_that_talks_and_reads_nothing_is_cut(role: Role) -> None:
    """Otherwise all that is broadcast to it would stay in memory."""
    desk = alive(role, max_queue=None)
    desk.unsent = 100_000
    while desk.ready_state is ReadyState.OPEN:
        desk.receive(desk.text("still here"))
        desk.unsent += 1000
        desk.pass_time(1)
        assert desk.now < 60
    assert desk.now == 30
    assert desk.take()[-1] == DEAD


# Reading is paused


def paused(desk: Desk) -> Desk:
    desk.receive(desk.text(*map(str, range(5))))
    assert not desk.reading
    return desk


@both_roles
def test_paused_and_gone(role: Role) -> None:
    desk = paused(alive(role))
    desk.pass_time(25)
    ping_of(desk)
    assert desk.reading, "a chunk more is read"
    desk.pass_time(5)
    assert desk.take() == [DEAD]
    assert [desk.recv() for _ in range(5)] == list("01234")


@both_roles
def test_paused_and_the_peer_only_waits_for_us(role: Role) -> None:
    """Its Pong is found each time, however long nobody takes messages."""
    desk = paused(alive(role))
    for _ in range(100):
        while not desk.written:
            desk.pass_time(1)
        payload = ping_of(desk)
        while not desk.reading:
            desk.pass_time(1)
        desk.receive(desk.pong(payload))
        assert not desk.reading
    assert desk.ready_state is ReadyState.OPEN
    assert len(desk._messages) == 5


@both_roles
def test_paused_and_the_peer_closes(role: Role) -> None:
    """Its Close is found, and answered, though nobody takes messages."""
    desk = paused(alive(role))
    desk.pass_time(25)
    ping_of(desk)
    desk.receive(desk.close_frame(1001))
    desk.pass_time(0.25)
    assert desk.take() == [close(1001)]
    assert [desk.recv() for _ in range(5)] == list("01234")


def test_paused_and_more_is_behind_it() -> None:
    """Chunks are read one at a time; after some of them the peer is cut, so that memory has a bound."""
    desk = paused(alive())
    n_chunks = 0
    while desk.ready_state is ReadyState.OPEN:
        desk.pass_time(1)
        if desk.reading:
            desk.receive(desk.text(*"x" * 100))
            n_chunks += 1
            assert not desk.reading
    assert n_chunks == MAX_LOOKS
    assert desk.now < 20 + 5 * (2 * MAX_LOOKS + 2)
    assert desk.take()[-1] == DEAD


def test_paused_and_messages_are_taken_slowly() -> None:
    """Somebody is at work, and the peer has so much on its way that its Pong does not come through: right to wait."""
    desk = alive(max_queue=(4, 0))
    for second in range(3000):
        if desk.reading:
            desk.receive(desk.text(*"0123456789"))
        desk.turn()
        if second % 15 == 0:
            assert desk.recv()
        desk.pass_time(1)
    assert desk.ready_state is ReadyState.OPEN
    assert sum(map(len, desk._held or [])) < 2**20


def test_chunks_that_find_no_room_are_kept_as_they_came() -> None:
    """In order, and they become messages when there is room."""
    desk = alive(max_queue=1)
    first = [str(number) for number in range(70)]
    desk.receive(desk.text(*first))
    assert not desk.reading
    more = []
    for chunk in range(3):
        while not desk.reading:
            desk.pass_time(1)
        texts = [f"{chunk} {number}" for number in range(50)]
        desk.receive(desk.text(*texts))
        more += texts
        assert not desk.reading
    assert len(desk._messages) == 70, "nothing was decoded"
    received = []
    while len(received) < 70 + 150:
        while desk._messages:
            received.append(desk.recv())
        desk.turn()
    assert received == first + more
    assert desk.reading
