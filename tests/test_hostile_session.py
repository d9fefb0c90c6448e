"""Attacks on a session, without a loop: each was a way to stay, to take memory, or to lose a message.

``test_hostile_peers.py`` has the table of what peers do over sockets.
"""

from __future__ import annotations

import gc
import weakref

from asyncio_helpers import close
from helpers import frame
from session_helpers import Desk, both_roles

from wsfast.events import Close, Role
from wsfast.exceptions import ConnectionClosedOK
from wsfast.session import Deadline
from wsfast.session.pings import MAX_PENDING

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


@both_roles
def test_half_closed_whole(role: Role) -> None:
    """TLS has no halves: so the Close in line is answered at once, or never; messages can be taken afterwards."""
    desk = Desk(role)
    desk.can_half_close = False
    desk.receive(desk.text("one"), desk.close_frame(1000))
    desk.half_closed()
    assert desk.take() == [close(1000)]
    assert not desk.keeps_half_open
    assert desk.waits_for == (Deadline.TCP_CLOSE, 10)
    assert desk.recv() == "one"
    assert isinstance(desk.end(), ConnectionClosedOK)


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


# Chunks that are read though nobody takes messages


def looking(**options: object) -> Desk:
    """A session that reads once more, with a chunk that is not all decoded, and five messages."""
    desk = Desk(ping_interval=20, ping_timeout=5, max_feed_events=5, **options)
    desk.receive(desk.text(*"0123456789"))
    assert not desk.reading
    desk.pass_time(25)
    assert desk.reading
    return desk


def until_it_reads(desk: Desk) -> None:
    for _ in range(100):
        if not desk.reading:
            desk.pass_time(1)
    assert desk.reading


def test_a_look_that_finds_nothing_hides_nothing() -> None:
    """What waited before it is decoded as soon as there is room."""
    desk = looking()
    assert [desk.recv() for _ in range(5)] == list("01234")
    desk.turn()
    assert [desk.recv() for _ in range(5)] == list("56789")
    assert desk.reading


def test_a_look_that_finds_the_end_of_tcp_hides_nothing() -> None:
    desk = looking()
    desk.end()
    received = []
    while desk._messages or desk._decode_on():
        received += [desk.recv() for _ in range(len(desk._messages))]
    assert received == list("0123456789")


def test_a_look_pauses_again_at_each_chunk() -> None:
    desk = looking()
    for n in range(2):
        desk.receive(desk.text(f"more {n}"))
        assert not desk.reading
        until_it_reads(desk)
    received = []
    for _ in range(10):
        received += [desk.recv() for _ in range(len(desk._messages))]
        desk.turn()
    assert received == [*"0123456789", "more 0", "more 1"]
    assert desk.reading


def test_a_flood_of_pings_has_an_end_without_max_queue() -> None:
    """The rest of a chunk waits, and Pongs cannot be written: the keepalive looks, and gives up."""
    desk = Desk(ping_interval=20, ping_timeout=5, max_queue=None, max_feed_events=5)
    desk.unsent = 100_000
    desk.writing_blocked()
    desk.receive(desk.ping() * 20)
    desk.turn()
    assert not desk.reading
    desk.pass_time(60)
    closed = desk.end()
    assert closed.sent == Close(1011, "keepalive ping timeout")


def test_kept_chunks_do_not_keep_the_session() -> None:
    desk = looking()
    desk.receive(desk.text("more"))
    assert desk._held
    desk.end()
    ref = weakref.ref(desk)
    gc.collect()
    gc.disable()
    try:
        del desk
        assert ref() is None
    finally:
        gc.enable()


def test_nothing_is_received_in_place_while_chunks_wait() -> None:
    """The rest of a large frame is in a chunk that waits: what comes next stands after it."""
    payload = bytes(range(256)) * 4096
    large = frame(0x2, payload, key=Desk().key)
    desk = Desk(ping_interval=20, ping_timeout=5, max_message_size=2**21, max_queue=1)
    desk.receive(desk.text(*"x" * 70))
    chunks = [large[:300_000], large[300_000:600_000], large[600_000:]]
    for chunk in chunks[:2]:
        until_it_reads(desk)
        desk.receive(chunk)
    for _ in range(70):
        assert desk.recv() == "x"
    desk.turn()  # the first chunk is decoded, and the second waits
    place = desk.place_to_receive()
    assert place is None
    desk.turn()
    desk.receive(chunks[2])
    assert desk.recv() == payload


# Pings


def test_keepalive_pings_that_are_never_answered_have_a_bound() -> None:
    desk = Desk(ping_interval=1, ping_timeout=None)
    desk.pass_time(10_000)
    assert len(desk.take()) == 10_000
    assert len(desk._pings._pending) <= MAX_PENDING
