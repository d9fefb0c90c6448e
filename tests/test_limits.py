"""``Limits``, and its parts in the session, without a loop (RFC 6455 10.4)."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from asyncio_helpers import close
from helpers import BINARY
from session_helpers import Desk, both_roles

import wsfast
from wsfast.codec import MessageDecoder
from wsfast.connection import Connection
from wsfast.events import Role
from wsfast.handshake import MAX_HEAD_SIZE
from wsfast.limits import Limits
from wsfast.session import Admission, Delivery, Outcome, Slow
from wsfast.session.admission import MAX_REFUSALS, network_of
from wsfast.session.rate import Rate


def test_defaults_are_those_of_the_arguments() -> None:
    limits = wsfast.Limits()
    connection = Connection(Role.SERVER)
    assert limits.max_message_size == connection.decoder.max_message_size
    assert limits.max_frame_size == connection.decoder.max_frame_size
    assert limits.max_fragments == connection.decoder.max_fragments
    assert limits.max_head_size == MAX_HEAD_SIZE
    with pytest.raises(dataclasses.FrozenInstanceError):
        limits.max_queue = 1  # type: ignore[misc]


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(Limits)])
def test_each_limit_is_described_and_checked(field: str) -> None:
    assert Limits.__doc__ is not None
    assert f"``{field}``" in Limits.__doc__
    if field != "open_timeout":
        with pytest.raises(ValueError, match=rf"^{field} must be "):
            Limits(**{field: -1})


@pytest.mark.parametrize("value", ["1", 1.5, True])
def test_sizes_are_integers(value: Any) -> None:
    with pytest.raises(TypeError, match=r"^max_message_size must be an int or None, not "):
        Limits(max_message_size=value)
    with pytest.raises(TypeError, match=r"^max_backlog must be an int, not "):
        Limits(max_backlog=value)


def test_limits_of_the_codec() -> None:
    limits = Limits(max_message_size=5, max_frame_size=4, max_fragments=3)
    decoder = MessageDecoder(Role.CLIENT, **limits.codec_options())
    assert (decoder.max_message_size, decoder.max_frame_size, decoder.max_fragments) == (5, 4, 3)


# Waiting messages


def test_bytes_in_the_queue() -> None:
    desk = Desk(max_queue=1000, limits=Limits(max_queue_size=10_000))
    desk.receive(desk.frame(BINARY, bytes(5000)))
    assert desk.reading
    desk.receive(desk.frame(BINARY, bytes(5000)))
    assert not desk.reading


def test_bytes_that_a_peer_leaves_untaken() -> None:
    desk = Desk(limits=Limits(max_unsent_size=100))
    desk.writing_blocked()
    desk.unsent = 101
    assert desk.deliver(Delivery("x"), Slow.CLOSE) is Outcome.FAILED
    assert desk.take() == [close(1008, "reads too slowly")]


def test_backlog() -> None:
    desk = Desk(limits=Limits(max_backlog=2, max_backlog_size=10))
    desk.writing_blocked()
    assert desk.deliver(Delivery("x" * 6), Slow.DROP_NEWEST) is Outcome.WAITING
    assert desk.deliver(Delivery("x" * 6), Slow.DROP_NEWEST) is Outcome.DROPPED
    assert desk.deliver(Delivery("x"), Slow.DROP_NEWEST) is Outcome.WAITING
    assert desk.deliver(Delivery("x"), Slow.DROP_NEWEST) is Outcome.DROPPED


# Messages per second


def rated(per_second: float, **options: Any) -> Desk:
    return Desk(max_queue=None, limits=Limits(max_messages_per_second=per_second), **options)


def look(desk: Desk) -> float:
    """Let the time come at which the session wants to look; return it."""
    assert desk.rate_at is not None
    desk.now = desk.rate_at
    desk._look_at_rate()
    return desk.now


@both_roles
def test_more_messages_than_a_second_may_have_pause_reading(role: Role) -> None:
    desk = rated(10, role=role)
    desk.receive(desk.text(*"0123456789"))
    assert desk.reading
    desk.receive(desk.text("x", "y"))
    assert not desk.reading
    assert "".join(map(str, (desk.recv() for _ in range(12)))) == "0123456789xy", "none is lost"
    assert not desk.reading, "though they are taken"
    assert look(desk) == pytest.approx(0.2)
    assert desk.reading
    desk.receive(desk.text("z"))
    assert look(desk) == pytest.approx(0.3), "on average"
    assert desk.reading


def test_who_waits_gets_messages_at_once() -> None:
    desk = rated(1)
    desk.wait()
    desk.receive(desk.text("a", "b"))
    assert desk._waiter is None
    assert not desk.reading


def test_a_rate_below_one() -> None:
    desk = rated(0.1)
    desk.receive(desk.text("a"))
    assert desk.reading
    desk.receive(desk.text("b"))
    assert not desk.reading
    for second in range(1, 11):
        assert not desk.reading
        assert look(desk) == pytest.approx(second), "it looks once a second"
    assert desk.reading


def test_a_debt_of_an_hour_keeps_no_connection_that_has_ended() -> None:
    """A timer holds the connection: so there is one, and it comes within a second."""
    desk = rated(1)
    desk.receive(desk.text(*"a" * 2000))
    assert desk.rate_at == pytest.approx(1)
    desk.rate_at = None
    desk._look_at_rate(1)  # more is read, as the keepalive looks for a sign of life
    assert desk.rate_at is None, "there is a timer already"
    desk.end()
    desk._look_at_rate()
    assert desk.rate_at is None


def test_a_timer_may_come_early() -> None:
    desk = rated(1)
    desk.receive(desk.text("a", "b"))
    desk.now = 0.5
    desk._look_at_rate()
    assert not desk.reading
    assert look(desk) == pytest.approx(1)
    assert desk.reading


def test_control_frames_do_not_count() -> None:
    desk = rated(1)
    desk.receive(*[desk.ping(b"x")] * 10)
    assert desk.reading


def test_the_rest_of_a_chunk_waits_too() -> None:
    desk = rated(10, max_feed_events=10)
    desk.receive(desk.text(*"0123456789abcdefghij0123456789"))
    for seconds in (1, 2):
        desk.turn()
        desk.turn()
        assert look(desk) == pytest.approx(seconds)
    desk.turn()
    assert len(desk._messages) == 30
    assert desk.reading


@both_roles
def test_our_close_ends_the_pause(role: Role) -> None:
    desk = rated(1, role=role)
    desk.receive(desk.text("a", "b"))
    desk.start_close()
    assert desk.reading
    desk.receive(desk.text("c"), desk.close_frame())
    assert desk.protocol.closing_done
    desk.end()
    desk._look_at_rate()


def test_a_peer_that_waits_for_its_time_is_alive() -> None:
    """Its Pong is in the bytes that we do not read."""
    desk = rated(0.01, ping_interval=20, ping_timeout=20)
    desk.receive(desk.text("a", "b"))
    desk.pass_time(20)
    [ping] = desk.take()
    desk.pass_time(20)
    assert desk.reading, "one chunk more"
    desk.receive(desk.pong(ping.payload))
    assert desk.protocol.failure is None
    assert desk.protocol.ready_state.name == "OPEN"


def test_time_fills_the_bucket_and_no_more() -> None:
    rate = Rate(10, 0.0)
    assert rate.spend(10, 100.0) == 0
    assert rate.spend(5, 100.0) == pytest.approx(0.5)
    assert rate.spend(0, 100.5) == pytest.approx(0)
    assert rate.spend(10, 1000.0) == 0
    assert rate.spend(1, 1000.0) == pytest.approx(0.1)


# Connections


def test_connections_of_all_and_of_one_address() -> None:
    admission = Admission(Limits(max_connections=3, max_connections_per_address=2))
    one, two = ("192.0.2.1", 1), ("192.0.2.2", 1)
    for name in ("a", "b"):
        assert admission.enter(name, one)
        assert admission.refusal(name) is None
    assert admission.enter("c", one)
    assert admission.refusal("c") == (429, "There are too many connections from this address.\n")
    assert admission.enter("d", two)
    assert admission.refusal("d") is None
    assert admission.enter("e", two)
    assert admission.refusal("e") == (503, "The server has as many connections as it takes.\n")
    for name in ("a", "a", "c", "nobody"):
        admission.leave(name)
    assert admission.enter("f", one)
    assert admission.refusal("f") is None


def test_not_many_wait_to_be_refused() -> None:
    admission = Admission(Limits(max_connections=0))
    for number in range(MAX_REFUSALS):
        assert admission.enter(number, None)
    assert not admission.enter("one more", None)
    admission.leave(0)
    assert admission.enter("another", None)


@pytest.mark.parametrize(
    ("address", "network"),
    [
        (("192.0.2.1", 80), "192.0.2.1"),
        (("::ffff:192.0.2.1", 80, 0, 0), "192.0.2.1"),
        (("2001:db8:1:2:3:4:5:6", 80, 0, 0), "2001:db8:1:2::"),
        (("fe80::1%eth0", 80, 0, 2), "fe80::"),
        ("", None),
        ("/run/socket", None),
        (b"\0abstract", None),
        (None, None),
        ((), None),
        (("name", 80), None),
        ((1, 2), None),
    ],
)
def test_the_part_of_an_address_that_counts(address: Any, network: str | None) -> None:
    assert network_of(address) == network
