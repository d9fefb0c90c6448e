"""Rooms of several processes over a bus in memory, which does all that a broker may do wrong. Time jumps."""

from __future__ import annotations

import asyncio
import logging
import struct
from typing import Any

import pytest
from asyncio_helpers import Wired, text, turns, wire, without_io
from rooms_helpers import MemoryBroker, MemoryBus

from wsfast.events import Role
from wsfast.rooms import Publication, Rooms
from wsfast.rooms.envelope import Kind, pack, unpack
from wsfast.session import Slow


class Process:
    """A ``Rooms`` object over the broker, and a member in it."""

    def __init__(self, broker: MemoryBroker, **options: Any) -> None:
        self.bus = broker.bus()
        self.gaps: list[str] = []
        self.rooms = Rooms(self.bus, on_gap=self.gaps.append, **options)
        self.member: Wired = wire(Role.SERVER)

    async def __aenter__(self) -> Process:
        await self.rooms.start()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.rooms.stop()
        self.member.transport.abort()
        await turns(3)

    def join(self, *rooms: str) -> None:
        for room in rooms:
            self.rooms.join(room, self.member.connection)

    def take(self) -> list[str]:
        return [frame.payload.decode() for frame in self.member.transport.take()]


async def until(condition: Any) -> None:
    async with asyncio.timeout(100):
        while not condition():
            await asyncio.sleep(0.01)


@without_io
async def test_members_of_all_processes_get_all_messages_in_one_order() -> None:
    broker = MemoryBroker()
    async with Process(broker) as a, Process(broker) as b, Process(broker) as c:
        for each in (a, b, c):
            each.join("red")
            await each.rooms.subscribed("red")
        publications = [each.rooms.publish("red", f"{n}") for n in range(300) for each in (a, b)]
        assert publications[0].report is None, "it has to come back from the bus first"
        assert repr(publications[0]) == "<Publication to 'red': on its way>"
        for publication in publications:
            assert (await publication).sent == 1
            assert publication.is_on_bus
        await turns(20)
        received = a.take()
        assert received == b.take() == c.take()
        assert len(received) == 600
        assert [int(n) for n in received].count(7) == 2
        assert a.gaps == b.gaps == c.gaps == []


@without_io
async def test_kinds_policies_and_keys_go_over_the_bus() -> None:
    broker = MemoryBroker()
    async with Process(broker) as a, Process(broker) as b:
        b.join("red")
        await b.rooms.subscribed("red")
        for message, options in (
            ("한국어", {}),
            (b"\xff", {}),
            ("x", {"text": False}),
            (b"x", {"text": True}),
        ):
            await a.rooms.publish("red", message, **options)
        await turns(10)
        assert [(frame.opcode, frame.payload) for frame in b.member.transport.take()] == [
            (1, "한국어".encode()),
            (2, b"\xff"),
            (2, b"x"),
            (1, b"x"),
        ]
        b.member.connection.pause_writing()
        for n in range(3):
            await a.rooms.publish("red", f"{n}", slow="drop_oldest", coalesce="key")
            await a.rooms.publish("red", f"empty {n}", slow="drop_newest", coalesce="")
        await turns(10)
        b.member.connection.resume_writing()
        assert b.take() == ["2", "empty 2"]


@without_io
async def test_a_publisher_without_members() -> None:
    broker = MemoryBroker()
    async with Process(broker) as a:
        publication = a.rooms.publish("red", "x")
        assert (await publication).sent == 0
        assert publication.is_on_bus
        assert len(broker.published) == 1


@without_io
async def test_only_rooms_with_members_are_subscribed() -> None:
    broker = MemoryBroker()
    async with Process(broker) as a:
        assert [name[:5] for name in broker.channels()] == ["beat:"]
        a.join("red", "blue")
        await a.rooms.subscribed("red")
        assert broker.channels()[-2:] == ["room:blue", "room:red"]
        a.rooms.leave("blue", a.member.connection)
        await turns(10)
        assert "room:blue" not in broker.channels()
        a.member.transport.abort()
        await turns(10)
        assert [name[:5] for name in broker.channels()] == ["beat:"]
        await a.rooms.subscribed("red")  # nobody is in it: there is nothing to wait for


@without_io
async def test_a_room_that_is_left_and_joined_again_at_once_stays_subscribed() -> None:
    broker = MemoryBroker()
    async with Process(broker) as a:
        a.join("red")
        await a.rooms.subscribed("red")
        n_calls = len(a.bus.calls)
        a.rooms.leave("red", a.member.connection)
        a.join("red")
        await turns(10)
        assert a.bus.calls[n_calls:] == []
        assert (await a.rooms.publish("red", "x")).sent == 1


@without_io
async def test_a_message_on_its_way_while_its_room_is_left() -> None:
    """It does not come back any more, and nobody waits for ever."""
    broker = MemoryBroker()
    broker.is_mute = True
    async with Process(broker) as a:
        a.join("red")
        await a.rooms.subscribed("red")
        publication = a.rooms.publish("red", "x")
        await turns(10)
        assert publication.is_on_bus
        assert publication.report is None
        a.rooms.leave("red", a.member.connection)
        assert (await publication).sent == 0
        assert a.rooms.is_connected


@without_io
async def test_more_rooms_than_one_call_takes() -> None:
    broker = MemoryBroker()
    async with Process(broker) as a:
        names = [f"{n}" for n in range(2500)]
        a.join(*names)
        await a.rooms.subscribed("2499")
        assert a.bus.calls.count("subscribe") == 4
        assert len(broker.channels()) == 2501


# The broker goes away


@without_io
async def test_broker_dies_and_comes_back(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "wsfast.rooms")
    broker = MemoryBroker()
    async with Process(broker) as a, Process(broker) as b:
        for each in (a, b):
            each.join("red", "blue")
            await each.rooms.subscribed("blue")
        broker.go_down()
        assert not a.rooms.is_connected
        publication = a.rooms.publish("red", "here")
        assert publication.report is not None, "local delivery goes on, at once"
        assert publication.is_on_bus is False
        await asyncio.sleep(60)
        a.rooms.publish("red", "here too")
        assert a.take() == ["here", "here too"]
        assert b.take() == []
        assert len(a.bus.calls) < 60, "attempts have pauses that grow"
        broker.is_down = False
        await until(lambda: a.rooms.is_connected and b.rooms.is_connected)
        for each in (a, b):
            await each.rooms.subscribed("blue")
        await until(lambda: set(a.gaps) == set(b.gaps) == {"red", "blue"})
        await b.rooms.publish("red", "again")
        await turns(10)
        assert a.take() == b.take() == ["again"]
    warnings = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert (
        warnings
        == ["the bus is away, messages stay in this process: ConnectionError: the broker is gone"] * 2
    ), "one line for each process, however often it tries"
    assert sum("the bus is back after 6" in record.getMessage() for record in caplog.records) == 2


@without_io
async def test_messages_on_their_way_when_the_broker_dies_are_delivered_once_and_in_order() -> None:
    broker = MemoryBroker()
    async with Process(broker) as a:
        a.join("red")
        await a.rooms.subscribed("red")
        broker.is_mute = True
        publications = [a.rooms.publish("red", f"{n}") for n in range(3)]
        await turns(10)
        publications.append(a.rooms.publish("red", "3"))
        broker.go_down()
        publications.append(a.rooms.publish("red", "4"))
        assert [publication.report.sent for publication in publications] == [1] * 5
        assert [publication.is_on_bus for publication in publications] == [True] * 3 + [False] * 2
        assert a.take() == ["0", "1", "2", "3", "4"]
        broker.is_down = broker.is_mute = False
        await until(lambda: a.rooms.is_connected)
        await a.rooms.subscribed("red")
        for channel, payload in broker.published:
            broker.inject(channel, payload)  # they were stuck in the broker, and come back now
        assert a.take() == []


@without_io
async def test_many_messages_on_their_way_are_delivered_in_turns() -> None:
    """Other tasks run in between, and what is published meanwhile comes after them."""
    broker = MemoryBroker()
    broker.is_mute = True
    async with Process(broker) as a:
        a.join("red")
        await a.rooms.subscribed("red")
        for n in range(1000):
            a.rooms.publish("red", f"{n}")
        await turns(20)
        broker.go_down()
        assert a.take() == [f"{n}" for n in range(64)]
        publication = a.rooms.publish("red", "1000")
        assert publication.report is None
        broker.is_down = broker.is_mute = False
        await publication
        assert a.take() == [f"{n}" for n in range(64, 1001)]


@without_io
async def test_the_link_is_up_after_they_are_delivered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wsfast.rooms.link._FIRST_DELAY", 0)
    broker = MemoryBroker()
    broker.is_mute = True
    async with Process(broker) as a:
        a.join("red")
        await a.rooms.subscribed("red")
        for n in range(5000):
            a.rooms.publish("red", f"{n}")
        await turns(100)
        broker.is_mute = False
        a.bus.lost(ConnectionError("a cable"))
        await a.rooms.subscribed("red")
        await a.rooms.publish("red", "5000")
        assert a.take() == [f"{n}" for n in range(5001)]


@without_io
async def test_after_many_messages_others_get_a_turn() -> None:
    broker = MemoryBroker()
    async with Process(broker) as a:
        members = [wire(Role.SERVER) for _ in range(256)]
        message = pack(Kind.TEXT, b"12345678", 1, b"x")
        assert [a.bus.receive("room:red", message) for _ in range(128)].count(True) == 2
        for member in members:
            a.rooms.join("red", member.connection)
        assert a.bus.receive("room:red", message), "many members count as many messages"
        await a.rooms.stop()
        for member in members:
            member.transport.abort()
        await turns(3)


@without_io
async def test_others_hear_of_what_a_process_could_not_publish() -> None:
    """Only the link of one process was away: the others would not know of it."""
    broker = MemoryBroker()
    async with Process(broker) as a, Process(broker) as b:
        for each in (a, b):
            each.join("red", "blue")
            await each.rooms.subscribed("blue")
        a.bus.lost(ConnectionError("a cable"))
        a.rooms.publish("red", "nobody else hears this")
        await until(lambda: b.gaps)
        await until(lambda: a.gaps)
        await turns(20)
        assert b.gaps == ["red"]
        assert sorted(a.gaps) == ["blue", "red"]


@without_io
async def test_broker_is_down_at_the_start(caplog: pytest.LogCaptureFixture) -> None:
    broker = MemoryBroker()
    broker.is_down = True
    async with Process(broker) as a:
        assert not a.rooms.is_connected
        assert "the bus is away" in caplog.text
        a.join("red")
        assert (await a.rooms.publish("red", "x")).sent == 1
        waiting = asyncio.create_task(a.rooms.subscribed("red"))
        await asyncio.sleep(30)
        assert not waiting.done()
        broker.is_down = False
        await waiting
        await until(lambda: a.gaps == ["red"])


@without_io
async def test_a_start_that_hangs_has_a_limit() -> None:
    broker = MemoryBroker()
    broker.hangs = {"start"}
    loop = asyncio.get_running_loop()
    start = loop.time()
    async with Process(broker, timeout=2) as a:
        assert 2 <= loop.time() - start < 3
        broker.hangs.clear()
        await until(lambda: a.rooms.is_connected)


@pytest.mark.parametrize("method", ["publish", "subscribe", "unsubscribe", "stop"])
@without_io
async def test_a_call_that_hangs_has_a_limit(method: str, caplog: pytest.LogCaptureFixture) -> None:
    broker = MemoryBroker()
    async with Process(broker, timeout=2) as a:
        a.join("red", "blue")
        await a.rooms.subscribed("blue")
        broker.hangs = {method}
        if method == "stop":
            broker.go_down()
        a.join("green")
        a.rooms.leave("blue", a.member.connection)
        publication = a.rooms.publish("red", "x")
        async with asyncio.timeout(4.5):
            assert (await publication).sent == 1
        await turns(10)
        assert "the bus is away" in caplog.text
        broker.hangs.clear()
        broker.is_down = False
        await until(lambda: a.rooms.is_connected)
        assert (await a.rooms.publish("red", "y")).sent == 1
        assert a.take() == ["x", "y"]


@without_io
async def test_a_broker_that_takes_messages_and_brings_none(caplog: pytest.LogCaptureFixture) -> None:
    broker = MemoryBroker()
    async with Process(broker, timeout=2, beat=10) as a:
        a.join("red")
        await a.rooms.subscribed("red")
        broker.is_mute = True
        publication = a.rooms.publish("red", "x")
        async with asyncio.timeout(3):
            await publication
        assert "a message did not come back from the broker within 2 s" in caplog.text
        assert a.take() == ["x"]


@without_io
async def test_a_process_that_only_listens_notices_a_mute_broker() -> None:
    broker = MemoryBroker()
    async with Process(broker, timeout=2, beat=10) as a:
        a.join("red")
        await asyncio.sleep(60)
        assert a.gaps == []
        assert 4 < a.bus.calls.count("publish") < 8
        broker.is_mute = True
        await asyncio.sleep(13)
        broker.is_mute = False
        await until(lambda: a.gaps == ["red"])


@without_io
async def test_a_loop_that_was_blocked_does_not_lose_the_link(monkeypatch: pytest.MonkeyPatch) -> None:
    broker = MemoryBroker()
    broker.is_mute = True
    loop = asyncio.get_running_loop()
    async with Process(broker, timeout=2) as a:
        a.join("red")
        await a.rooms.subscribed("red")
        publication = a.rooms.publish("red", "x")
        await turns(10)
        real = loop.time
        monkeypatch.setattr(loop, "time", lambda: real() + 100)  # as if 100 s had passed in one callback
        await asyncio.sleep(0.1)
        assert a.rooms.is_connected
        for channel, payload in broker.published:
            broker.inject(channel, payload)
        assert (await publication).sent == 1


@pytest.mark.parametrize("options", [{"max_queue": 100}, {"max_queue_size": 5_000}])
@without_io
async def test_what_waits_for_the_broker_has_a_limit(
    options: dict[str, int], caplog: pytest.LogCaptureFixture
) -> None:
    broker = MemoryBroker()
    async with Process(broker, **options) as a, Process(broker) as b:
        for each in (a, b):
            each.join("red")
            await each.rooms.subscribed("red")
        broker.hangs = {"publish"}
        for n in range(200):
            a.rooms.publish("red", f"{n}")
        await turns(10)
        assert a.take() == [f"{n}" for n in range(200)], "all of them, once, and in order"
        assert "wait for the broker" in caplog.text
        broker.hangs.clear()
        await until(lambda: a.rooms.is_connected and b.gaps)


# What comes from the bus


@without_io
async def test_garbage_is_dropped_and_logged_once_in_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    broker = MemoryBroker()
    good = pack(Kind.TEXT, b"12345678", 1, b"good")
    bad = [
        b"",
        b"garbage",
        b"x" * 100,
        good[:20],
        good[:4] + b"\x09" + good[5:],  # a kind of the future
        good[:5] + b"\x04" + good[6:],  # a policy of the future
        good[:6] + b"\x01\x00" + good[8:],  # a key that is longer than the rest
        pack(Kind.TEXT, b"12345678", 1, b"\xff"),
        pack(Kind.BINARY, b"12345678", 1, b"", Slow.CLOSE, b"\xff"),
        pack(Kind.BINARY, b"12345678", 1, bytes(10_000)),
    ]
    async with Process(broker, max_size=1000) as a:
        a.join("red\n")
        await a.rooms.subscribed("red\n")
        for payload in bad:
            broker.inject("room:red\n", payload)
        broker.inject("room:red\n", good)
        assert a.take() == ["good"]
        [record] = caplog.records
        assert (
            record.getMessage()
            == r"dropped a message of the bus for room:red\x0a: not a message of wsfast.rooms"
        )
        await asyncio.sleep(61)
        broker.inject("room:red\n", bad[0])
        assert "(and 9 more before)" in caplog.records[-1].getMessage()
        assert a.rooms.is_connected


@without_io
async def test_messages_for_rooms_without_members_and_for_nobody() -> None:
    broker = MemoryBroker()
    async with Process(broker) as a:
        good = pack(Kind.TEXT, b"12345678", 1, b"good")
        a.bus.receive("room:red", good)
        a.bus.receive("red", good)
        a.bus.receive("room:red", pack(Kind.GAP, b"12345678", 1, b""))
        a.bus.receive("room:red", pack(Kind.BEAT, b"12345678", 1, b""))
        await turns(10)
        assert a.take() == a.gaps == []


@without_io
async def test_a_message_that_is_too_large_for_the_broker(caplog: pytest.LogCaptureFixture) -> None:
    """It is delivered here, in its turn; the others are told of a gap."""
    broker = MemoryBroker()
    broker.limit = 200
    async with Process(broker) as a, Process(broker) as b:
        for each in (a, b):
            each.join("red")
            await each.rooms.subscribed("red")
        one, large, two = (a.rooms.publish("red", message) for message in ("1", "x" * 200, "2"))
        await two
        await turns(10)
        assert a.take() == ["1", "x" * 200, "2"]
        assert b.take() == ["1", "2"]
        assert (one.is_on_bus, large.is_on_bus, two.is_on_bus) == (True, False, True)
        assert b.gaps == ["red"]
        assert a.gaps == []
        assert "a message of 224 bytes stays here: the broker takes 200" in caplog.text
        assert a.rooms.is_connected


def test_an_envelope_of_each_kind() -> None:
    for kind in Kind:
        for slow in Slow:
            for key in (None, b"", b"key"):
                packed = pack(kind, b"abcdefgh", 2**63, b"payload", slow, key)
                envelope = unpack(packed)
                assert envelope[:3] == (kind, b"abcdefgh", 2**63)
                assert envelope.message == ("payload" if kind is Kind.TEXT else b"payload")
                assert envelope.slow is slow
                assert envelope.key == (None if key is None else key.decode())
    # The layout is what other versions read.
    assert (
        pack(Kind.TEXT, b"abcdefgh", 1, b"p") == b"wsr1\x01\x00\xff\xffabcdefgh" + struct.pack("!Q", 1) + b"p"
    )


# Start, stop, and on_gap


@without_io
async def test_before_start_and_after_stop() -> None:
    rooms = Rooms(MemoryBroker().bus())
    member = wire(Role.SERVER)
    for call in (lambda: rooms.publish("red", "x"), lambda: rooms.join("red", member.connection)):
        with pytest.raises(
            RuntimeError, match=r"not started: use 'async with rooms:', or 'await rooms.start\(\)'"
        ):
            call()
    async with rooms:
        with pytest.raises(RuntimeError, match="started already"):
            await rooms.start()
    with pytest.raises(RuntimeError, match="these rooms are stopped"):
        rooms.publish("red", "x")
    with pytest.raises(RuntimeError, match="stopped already"):
        await rooms.start()
    member.transport.abort()
    await turns(3)


@without_io
async def test_stop_publishes_the_rest() -> None:
    broker = MemoryBroker()
    async with Process(broker) as a:
        a.join("red")
        publications = [a.rooms.publish("red", f"{n}") for n in range(1000)]
    assert len(broker.published) == 1000
    assert all(publication.report is not None for publication in publications)
    assert a.take() == [f"{n}" for n in range(1000)]
    assert broker.channels() == []


@without_io
async def test_stop_has_a_limit() -> None:
    broker = MemoryBroker()
    loop = asyncio.get_running_loop()
    async with Process(broker, timeout=2) as a:
        a.join("red")
        await a.rooms.subscribed("red")
        broker.hangs = {"publish", "stop"}
        publication = a.rooms.publish("red", "x")
        start = loop.time()
    assert loop.time() - start < 5
    assert publication.report is not None


@without_io
async def test_a_start_that_is_cancelled_leaves_nothing_behind() -> None:
    broker = MemoryBroker()
    broker.hangs = {"subscribe"}
    rooms = Rooms(broker.bus())
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await rooms.start()
    assert broker.buses == []
    with pytest.raises(RuntimeError, match="stopped"):
        rooms.publish("red", "x")


@without_io
async def test_who_waits_for_a_subscription_goes_on_when_the_rooms_stop() -> None:
    broker = MemoryBroker()
    broker.is_down = True
    async with Process(broker) as a:
        a.join("red")
        waiting = asyncio.create_task(a.rooms.subscribed("red"))
        await turns(5)
    await waiting


@without_io
async def test_on_gap_may_be_a_coroutine_function_and_may_fail(caplog: pytest.LogCaptureFixture) -> None:
    broker = MemoryBroker()
    told: list[str] = []

    async def on_gap(room: str) -> None:
        await asyncio.sleep(0.1)
        if room == "red":
            raise LookupError("no such room")
        told.append(room)

    rooms = Rooms(broker.bus(), on_gap=on_gap, logger=logging.getLogger("of the test"))
    member = wire(Role.SERVER)
    caplog.set_level(logging.CRITICAL, "of the test")
    async with rooms:
        for room in ("red", "blue"):
            rooms.join(room, member.connection)
            await rooms.subscribed(room)
        broker.go_down()
        broker.is_down = False
        await until(lambda: told == ["blue"])
    member.transport.abort()
    await turns(3)


@without_io
async def test_without_on_gap() -> None:
    broker = MemoryBroker()
    bus: MemoryBus = broker.bus()
    async with Rooms(bus) as rooms:
        broker.go_down()
        broker.is_down = False
        await until(lambda: rooms.is_connected)
        assert isinstance(rooms.publish("red", "x"), Publication)


@without_io
async def test_who_awaits_is_cancelled_alone() -> None:
    broker = MemoryBroker()
    broker.is_mute = True
    async with Process(broker) as a:
        a.join("red")
        await a.rooms.subscribed("red")
        publication = a.rooms.publish("red", "x")
        one, two = (asyncio.ensure_future(publication._wait()) for _ in range(2))
        await turns(10)
        one.cancel()
        await turns(3)
        broker.inject(*broker.published[-1])
        assert (await two).sent == 1
        assert a.member.transport.take() == [text("x")]
