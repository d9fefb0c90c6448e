"""The queue without an event loop: marks, memory, and each reason for a pause in ``wsfast/session/receiving.py``."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from asyncio_helpers import close, text
from helpers import BINARY
from session_helpers import Desk, both_roles

from wsfast.limits import Limits, queue_limits

MAX_QUEUE_SIZE, MAX_UNSENT_SIZE = Limits().max_queue_size, Limits().max_unsent_size


@pytest.mark.parametrize(
    ("max_queue", "limits"),
    [
        (16, (16, 4)),
        (1, (1, 0)),
        (0, (0, 0)),
        ((10, 9), (10, 9)),
        ((8, None), (8, 2)),
        (None, (None, 0)),
        ((None, 3), (None, 0)),
    ],
)
def test_marks(max_queue: Any, limits: tuple[int | None, int]) -> None:
    assert queue_limits(max_queue) == limits


@pytest.mark.parametrize("max_queue", [-1, (1, 1), (4, 5), (4, -1)])
def test_marks_that_make_no_sense(max_queue: Any) -> None:
    with pytest.raises(ValueError, match="max_queue"):
        queue_limits(max_queue)


def test_reading_pauses_above_the_high_mark_and_goes_on_at_the_low_one() -> None:
    desk = Desk(max_queue=(4, 2))
    desk.receive(desk.text("0", "1", "2", "3"))
    assert desk.reading
    desk.receive(desk.text("4"))
    assert not desk.reading
    for number in range(2):
        assert desk.recv() == str(number)
        assert not desk.reading
    desk.recv()
    assert desk.reading


def test_reading_does_not_pause_for_one_who_waits() -> None:
    desk = Desk(max_queue=1)
    desk.wait()
    desk.receive(desk.text(*"0123456789"))
    assert desk._waiter is None
    assert desk.reading


@both_roles
def test_memory_counts_too(role: Any) -> None:
    """A text of a mebibyte takes four as a str, if one character of it needs that."""
    desk = Desk(role, max_queue=1000, max_message_size=None)
    message = "🚀" + "a" * 2**20
    n_messages = 0
    while desk.reading:
        desk.receive(desk.text(message))
        n_messages += 1
    assert sum(map(sys.getsizeof, desk._messages)) > MAX_QUEUE_SIZE
    assert n_messages == MAX_QUEUE_SIZE // (4 * 2**20)


def test_memory_is_counted_without_what_was_taken() -> None:
    desk = Desk(max_queue=1000, max_message_size=None)
    message = desk.frame(BINARY, bytes(2**20))
    for _ in range(200):
        desk.receive(message, message)
        desk.recv()
        desk.recv()
    for _ in range(3):
        desk.receive(message)
    for _ in range(100):
        desk.receive(message)
        desk.recv()
    assert desk.reading


def test_a_message_that_is_too_large_for_the_queue_pauses_and_passes() -> None:
    desk = Desk(max_message_size=None)
    desk.receive(desk.frame(BINARY, bytes(MAX_QUEUE_SIZE)))
    assert not desk.reading
    assert len(desk.recv()) == MAX_QUEUE_SIZE
    assert desk.reading


# Pongs


@both_roles
def test_reading_pauses_while_pongs_cannot_be_written(role: Any) -> None:
    """5.5.2: a peer that sends Pings and reads nothing is not read from at full speed."""
    desk = Desk(role)
    desk.writing_blocked()
    payloads = [b"%d" % number for number in range(64)]
    desk.receive(*map(desk.ping, payloads))
    assert not desk.reading
    assert desk.take() == []
    desk.writing_resumed()
    assert desk.reading
    assert [pong.payload for pong in desk.take()] == payloads


@both_roles
def test_a_few_pings_do_not_stop_reading(role: Any) -> None:
    """The peer may not read as it waits for us to read: if both stopped for a Ping, neither would go on."""
    desk = Desk(role)
    desk.writing_blocked()
    desk.receive(*[desk.ping(b"%d" % number) for number in range(63)])
    assert desk.reading


def test_a_flood_of_pings_is_answered_while_the_peer_reads() -> None:
    """5.5.3 asks for less. So its Pongs, as many as its Pings, fill the way back of a peer that reads nothing."""
    desk = Desk()
    desk.receive(*(desk.ping(b"%d" % number) for number in range(1000)))
    assert [int(pong.payload) for pong in desk.take()] == list(range(1000))


def test_a_peer_that_reads_slowly_and_sends_no_pings_is_read() -> None:
    desk = Desk()
    desk.writing_blocked()
    desk.receive(desk.text("a"))
    assert desk.reading


def test_two_reasons_have_to_end_both() -> None:
    desk = Desk(max_queue=1)
    desk.writing_blocked()
    desk.receive(desk.text("0", "1"), *[desk.ping()] * 64)
    assert not desk.reading
    desk.writing_resumed()
    assert not desk.reading
    desk.recv()
    desk.recv()
    assert desk.reading


# Batches


def test_frames_go_out_in_one_write() -> None:
    desk = Desk()
    frames = [desk.protocol.encoder.message(str(number)) for number in range(3)]
    for frame in frames:
        desk._add_to_batch(frame)
    assert desk.written == []
    desk.turn()
    assert desk.written == [b"".join(frames)]
    desk.turn()


def test_a_large_batch_does_not_wait() -> None:
    desk = Desk()
    desk._add_to_batch(bytes(65_536))
    assert len(desk.written) == 1
    desk.turn()
    assert len(desk.written) == 1


def test_what_is_owed_comes_after_the_batch() -> None:
    desk = Desk()
    desk._add_to_batch(desk.protocol.encoder.message("first"))
    desk.receive(desk.ping(b"then"))
    assert [frame.payload for frame in desk.take()] == [b"first", b"then"]
    desk._add_to_batch(desk.protocol.encoder.message("first"))
    desk.send_nowait(desk.protocol.encoder.message("then"))
    assert desk.take() == [text("first"), text("then")]


# What a peer leaves untaken


@both_roles
def test_a_broadcast_does_not_fill_memory_for_a_peer_that_reads_too_slowly(role: Any) -> None:
    """10.4: a bound where nobody waits; 7.4.1: 1008, a policy."""
    desk = Desk(role)
    frame = desk.protocol.encoder.message(b"x")
    desk.unsent = MAX_UNSENT_SIZE + 1
    assert desk.send_nowait(frame), "the transport may still take it at once"
    desk.writing_blocked()
    desk.unsent = MAX_UNSENT_SIZE
    assert desk.send_nowait(frame)
    assert len(desk.take()) == 2
    desk.unsent = MAX_UNSENT_SIZE + 1
    assert not desk.send_nowait(frame)
    assert desk.take() == [close(1008, "reads too slowly")]
    desk.end()
    assert desk.send_nowait(frame), "no connection, no fault"
