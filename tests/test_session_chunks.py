"""A read with more than one turn may decode: each turn takes its share, in order, while the queue has room.

RFC 6455 10.4. No event loop: ``desk.turn()`` is its next turn.
"""

from __future__ import annotations

from typing import Any

import pytest
from asyncio_helpers import close
from helpers import CLOSE, TEXT
from session_helpers import Desk, both_roles

from wsfast.session import Stage

TEXTS = [str(number) for number in range(100)]


def desk_of(role: Any = None, **options: Any) -> Desk:
    options = {"max_queue": 1000, "max_feed_events": 10} | options
    return Desk(role, **options) if role is not None else Desk(**options)


@both_roles
def test_a_turn_decodes_its_share(role: Any) -> None:
    desk = desk_of(role)
    desk.receive(desk.text(*TEXTS))
    for n_turns in range(1, 10):
        assert len(desk._messages) == 10 * n_turns
        assert not desk.reading
        desk.turn()
    assert list(desk._messages) == TEXTS
    desk.turn()
    assert desk.reading
    assert desk.soon == []


def test_bytes_count_too() -> None:
    desk = desk_of(max_feed_events=None, max_feed_size=1000)
    desk.receive(desk.text(*("x" * 400 for _ in range(10))))
    sizes = [len(desk._messages)]
    while not desk.reading:
        desk.turn()
        sizes.append(len(desk._messages))
    assert sizes == [3, 6, 9, 10]


def test_nothing_is_decoded_while_nobody_takes_messages() -> None:
    desk = desk_of(max_queue=(15, 5))
    desk.receive(desk.text(*TEXTS))
    desk.turn()
    assert len(desk._messages) == 20
    for _ in range(5):
        desk.turn()
    assert len(desk._messages) == 20
    received = []
    while len(received) < 100:
        while desk._messages:
            received.append(desk.recv())
        desk.turn()
        assert len(desk._messages) <= 25
    assert received == TEXTS
    assert desk.reading


def test_one_who_waits_is_woken_by_each_share() -> None:
    desk = desk_of(max_queue=1)
    received = []
    desk.wait()
    desk.receive(desk.text(*TEXTS))
    while len(received) < 100:
        assert desk._waiter is None
        while desk._messages:
            received.append(desk.recv())
        desk.wait()
        desk.turn()
    assert received == TEXTS


def test_pings_are_answered_in_each_share() -> None:
    """5.5.2. And nothing more is decoded while Pongs cannot be written."""
    desk = desk_of()
    desk.writing_blocked()
    desk.receive(*(desk.ping(b"%d" % number) for number in range(90)))
    for _ in range(20):
        desk.turn()
    assert desk.protocol.n_owed_pongs == 64
    assert desk.protocol.decoder.has_waiting
    desk.writing_resumed()
    while not desk.reading:
        desk.turn()
    assert [int(pong.payload) for pong in desk.take()] == list(range(6, 90))


@pytest.mark.parametrize("end", ["close", "fault"])
@both_roles
def test_the_end_comes_after_all_before_it(role: Any, end: str) -> None:
    desk = desk_of(role)
    ends = {"close": desk.close_frame(1001), "fault": desk.frame(TEXT, b"\xff")}
    desk.receive(desk.text(*TEXTS), ends[end], desk.text("late"))
    while desk._stage is Stage.OPEN:
        assert desk.take() == []
        desk.turn()
    assert list(desk._messages) == TEXTS
    desk._wait_for_end()
    [closing] = desk.take()
    assert closing.opcode == CLOSE
    assert closing.payload[:2] == {"close": 1001, "fault": 1007}[end].to_bytes(2, "big")


@both_roles
def test_our_close_finds_the_peers_in_what_waits(role: Any) -> None:
    """Messages that have no room are dropped, but not the Close after them."""
    desk = desk_of(role, max_queue=15)
    desk.receive(desk.text(*TEXTS), desk.close_frame())
    desk.turn()
    desk.start_close()
    assert desk.take() == [close(1000)]
    while desk.protocol.close_received is None:
        desk.turn()
    assert desk._stage is not Stage.CLOSING
    assert list(desk._messages) == TEXTS[:20]


def test_what_waits_when_tcp_is_lost_can_be_taken() -> None:
    """Nothing that came before the end is lost."""
    desk = desk_of(max_queue=15)
    desk.receive(desk.text(*TEXTS), desk.close_frame(3000))
    desk.end(ConnectionResetError())
    desk.turn()
    assert len(desk._messages) == 10, "later when they are asked for"
    received = []
    while desk._messages or desk._decode_on():
        while desk._messages:
            received.append(desk.recv())
    assert received == TEXTS
    assert desk.close_code == 3000
    assert desk.soon == []


def test_a_chunk_that_ends_in_a_frame_goes_on_with_the_next() -> None:
    desk = desk_of()
    wire = desk.text(*TEXTS)
    desk.receive(wire[:-3])
    while not desk.reading:
        desk.turn()
    assert list(desk._messages) == TEXTS[:-1]
    desk.receive(wire[-3:])
    assert list(desk._messages) == TEXTS
