"""Messages of broadcasts that wait for a slow peer: the table of ``session/backlog.py``, without a loop."""

from __future__ import annotations

from typing import Any

import pytest
from asyncio_helpers import close, text
from session_helpers import Desk, both_roles

from wsfast.codec import MessageDecoder
from wsfast.deflate import Deflate, accept
from wsfast.deflate.messages import Inflater
from wsfast.events import Role
from wsfast.limits import Limits
from wsfast.session import Backlog, Delivery, Outcome, Slow

MAX_UNSENT_SIZE, MAX_BACKLOG, MAX_BACKLOG_SIZE = (
    Limits().max_unsent_size,
    Limits().max_backlog,
    Limits().max_backlog_size,
)
WAITING_POLICIES = [Slow.WAIT, Slow.DROP_NEWEST, Slow.DROP_OLDEST]


def slow_desk(role: Role = Role.SERVER, **options: Any) -> Desk:
    desk = Desk(role, **options)
    desk.writing_blocked()
    return desk


def deliver(desk: Desk, message: str | bytes, slow: Slow, key: Any = None) -> Outcome:
    return desk.deliver(Delivery(message, None, key), slow)


@pytest.mark.parametrize("slow", list(Slow))
@both_roles
def test_a_peer_that_reads_gets_the_message_at_once(role: Role, slow: Slow) -> None:
    desk = Desk(role)
    assert deliver(desk, "a", slow) is Outcome.SENT
    assert desk.take() == [text("a")]


@pytest.mark.parametrize("slow", WAITING_POLICIES)
@both_roles
def test_a_message_waits_until_the_peer_reads(role: Role, slow: Slow) -> None:
    desk = slow_desk(role)
    assert deliver(desk, "a", slow) is Outcome.WAITING
    assert deliver(desk, "b", slow) is Outcome.WAITING
    assert desk.take() == []
    desk.writing_resumed()
    assert desk.take() == [text("a"), text("b")]
    assert deliver(desk, "c", slow) is Outcome.SENT


def test_what_waits_is_written_only_while_the_peer_takes_it() -> None:
    class Narrow(Desk):
        def _write(self, data: bytes) -> None:
            super()._write(data)
            self.writing_blocked()

    desk = Narrow()
    desk.writing_blocked()
    for message in "abc":
        deliver(desk, message, Slow.WAIT)
    for message in "abc":
        desk.writing_resumed()
        assert desk.take() == [text(message)]


def test_close_writes_all_the_same_unless_others_wait() -> None:
    desk = slow_desk()
    assert deliver(desk, "a", Slow.CLOSE) is Outcome.SENT
    assert desk.take() == [text("a")]
    deliver(desk, "b", Slow.DROP_OLDEST)
    assert deliver(desk, "c", Slow.CLOSE) is Outcome.WAITING, "in order"
    desk.writing_resumed()
    assert desk.take() == [text("b"), text("c")]


@pytest.mark.parametrize("slow", [Slow.CLOSE, Slow.WAIT])
def test_sixteen_mebibytes_untaken_fail_the_connection(slow: Slow) -> None:
    """RFC 6455 10.4, 7.4.1: 1008, a policy."""
    desk = slow_desk()
    desk.unsent = MAX_UNSENT_SIZE - 1
    assert deliver(desk, "a", slow) in (Outcome.WAITING, Outcome.SENT)
    desk.take()
    desk.unsent = MAX_UNSENT_SIZE + 1
    assert deliver(desk, "b", slow) is Outcome.FAILED
    assert desk.take() == [close(1008, "reads too slowly")]
    desk.writing_resumed()
    assert desk.take() == []


def test_room_is_for_messages_and_for_bytes() -> None:
    desk = slow_desk()
    for _ in range(MAX_BACKLOG):
        assert deliver(desk, "old", Slow.DROP_NEWEST) is Outcome.WAITING
    assert deliver(desk, "new", Slow.DROP_NEWEST) is Outcome.DROPPED
    assert deliver(desk, "new", Slow.DROP_OLDEST) is Outcome.DISPLACED
    desk.writing_resumed()
    assert desk.take() == [text("old")] * (MAX_BACKLOG - 1) + [text("new")]

    desk = slow_desk()
    half = b"x" * (MAX_BACKLOG_SIZE // 2)
    assert [deliver(desk, half, Slow.DROP_NEWEST) for _ in range(3)] == [
        Outcome.WAITING,
        Outcome.WAITING,
        Outcome.DROPPED,
    ]
    assert deliver(desk, b"y" + half, Slow.DROP_OLDEST) is Outcome.DISPLACED
    desk.writing_resumed()
    assert [received.payload[:1] for received in desk.take()] == [b"y"], "both made room for it"


@pytest.mark.parametrize("slow", [Slow.DROP_NEWEST, Slow.DROP_OLDEST])
def test_one_message_always_has_room(slow: Slow) -> None:
    desk = slow_desk()
    assert deliver(desk, bytes(MAX_BACKLOG_SIZE + 1), slow) is Outcome.WAITING
    desk.writing_resumed()
    assert len(desk.take()) == 1


@pytest.mark.parametrize("slow", list(Slow))
def test_a_message_with_a_key_takes_the_place_of_the_one_that_waits(slow: Slow) -> None:
    desk = slow_desk()
    assert deliver(desk, "a1", slow, key="a") is Outcome.WAITING
    assert deliver(desk, "b1", slow, key="b") is Outcome.WAITING
    assert deliver(desk, "none", slow) is Outcome.WAITING
    assert deliver(desk, "a2", slow, key="a") is Outcome.REPLACED
    desk.writing_resumed()
    assert desk.take() == [text("a2"), text("b1"), text("none")]
    desk.writing_blocked()
    assert deliver(desk, "a3", slow, key="a") is Outcome.WAITING, "the one before is sent"


def test_sizes_and_keys_are_kept_right() -> None:
    backlog = Backlog()
    for message in ("1", "안녕", b"333"):
        backlog.add(Delivery(message, None, key=len(message)))
    assert backlog.size == 1 + 6 + 3
    assert backlog.replace(Delivery("three", None, key=3))
    assert backlog.size == 1 + 6 + 5
    assert [backlog.take().message for _ in range(3)] == ["1", "안녕", "three"]
    assert backlog.size == len(backlog) == 0
    assert not backlog.replace(Delivery("x", None, key=3))


@both_roles
def test_what_waits_goes_out_before_our_close(role: Role) -> None:
    desk = slow_desk(role)
    deliver(desk, "a", Slow.DROP_OLDEST)
    desk.start_close(1000)
    assert desk.take() == [text("a"), close(1000)]


def test_what_waits_goes_out_before_the_answer_to_the_peers_close() -> None:
    desk = slow_desk()
    deliver(desk, "a", Slow.DROP_OLDEST)
    desk.receive(desk.close_frame(1000))
    assert desk.take() == [text("a"), close(1000)]


def test_a_mistake_in_close_changes_nothing() -> None:
    desk = slow_desk()
    deliver(desk, "a", Slow.DROP_OLDEST)
    with pytest.raises(ValueError, match=r"."):
        desk.start_close(1006)
    assert desk.take() == []
    desk.writing_resumed()
    assert desk.take() == [text("a")]


def test_nothing_goes_out_inside_a_message_of_fragments() -> None:
    """RFC 6455 5.4. On asyncio none begins while messages wait; another adapter may let it."""
    desk = slow_desk()
    deliver(desk, "a", Slow.DROP_OLDEST)
    desk.protocol.encoder.fragment("x")
    desk.writing_resumed()
    assert desk.take() == []
    desk.protocol.encoder.fragment("y", True)
    desk._write_backlog()
    assert desk.take() == [text("a")]
    desk.writing_blocked()
    deliver(desk, "b", Slow.DROP_OLDEST)
    desk.protocol.encoder.fragment("x")
    desk.start_close()
    assert desk.take() == [close(1000)]


def test_a_failed_connection_sends_nothing_that_waits() -> None:
    desk = slow_desk()
    deliver(desk, "a", Slow.DROP_OLDEST)
    desk.fail(1011)
    assert desk.take() == [close(1011)]
    desk.writing_resumed()
    assert desk.take() == []


def test_nothing_is_kept_when_the_connection_is_lost() -> None:
    desk = slow_desk()
    deliver(desk, "a", Slow.WAIT)
    desk.end()
    assert desk._backlog is None
    assert deliver(desk, "b", Slow.WAIT) is Outcome.CLOSED


@pytest.mark.parametrize(("message", "is_text"), [("\ud800", None), (b"\xff", True)])
@pytest.mark.parametrize("slow", WAITING_POLICIES)
def test_a_mistake_is_raised_before_it_waits(message: Any, is_text: bool | None, slow: Slow) -> None:
    desk = slow_desk()
    with pytest.raises(ValueError, match=r"."):
        desk.deliver(Delivery(message, is_text), slow)
    desk.writing_resumed()
    assert desk.take() == []


def test_a_dropped_message_leaves_no_hole_in_a_context() -> None:
    """RFC 7692 7.2.3.2: with context takeover each message refers to those that were sent before it."""
    agreement = accept(["permessage-deflate"], Deflate(threshold=0))
    assert agreement is not None
    desk = slow_desk(compression=agreement)
    messages = [f"message {number}, much like the one before it" for number in range(MAX_BACKLOG + 10)]
    for message in messages:
        deliver(desk, message, Slow.DROP_OLDEST)
    desk.writing_resumed()
    peer = Inflater(Role.CLIENT, agreement)
    received = b"".join(desk.written)
    decoder = MessageDecoder(Role.CLIENT, inflate=peer.inflate)
    assert decoder.feed(received) == messages[10:]
