"""``wsfast.sync``: the calls of a connection, over TCP with a raw peer, in both roles and over both codecs."""

from __future__ import annotations

import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from helpers import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT
from sync_helpers import LIMIT, SHORT_TICK, InThread, both_roles, wire

from wsfast.connection import ReadyState
from wsfast.events import Opcode, Role
from wsfast.exceptions import (
    ConcurrencyError,
    ConnectionClosed,
    ConnectionClosedError,
    ConnectionClosedOK,
    ProtocolError,
)
from wsfast.limits import Limits
from wsfast.sync import Connection, stream, transport
from wsfast.sync.keeper import keeper
from wsfast.sync.stream import NOW

pytestmark = pytest.mark.usefixtures("connection_codec", "short_tick")

CLOSE_1000 = b"\x03\xe8"


def until(condition: Callable[[], Any]) -> None:
    """Wait for another thread to have done something."""
    end = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.001)


@pytest.fixture(params=["blocking", "without MSG_DONTWAIT"])
def system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sockets of systems that have the flag, and of those that do not."""
    if request.param != "blocking":
        monkeypatch.setattr(stream, "NOW", 0)
        monkeypatch.setattr(transport, "NOW", 0)
    elif not NOW:
        pytest.skip("there is no MSG_DONTWAIT")


# Receiving


@both_roles
@pytest.mark.usefixtures("system")
@pytest.mark.parametrize("size", [1, 2, 7, 1000, 10**6])
def test_messages_in_any_chunks(role: Role, size: int) -> None:
    with wire(role) as (ours, peer):
        stream = (
            peer.frame(TEXT, "héllo".encode())
            + peer.frame(BINARY, b"x" * 300)
            + peer.frame(TEXT, b"a", fin=False)
            + peer.frame(PING, b"now")
            + peer.frame(CONTINUATION, b"b")
        )

        def send() -> None:
            for i in range(0, len(stream), size):
                peer.send(stream[i : i + size])

        sending = InThread(send)
        assert [ours.recv(), ours.recv(), ours.recv()] == ["héllo", b"x" * 300, "ab"]
        sending.result()
        assert peer.read_frame() == (0x80 | PONG, b"now")


@both_roles
@pytest.mark.parametrize("size", [70_000, 300_000, 1_000_000])
def test_large_messages_both_ways(role: Role, size: int) -> None:
    with wire(role) as (ours, peer):
        sending = InThread(peer.send, peer.frame(BINARY, b"y" * size))
        assert ours.recv() == b"y" * size
        sending.result()
        sending = InThread(ours.send, "z" * size)
        assert peer.read_frame() == (0x80 | TEXT, b"z" * size)
        sending.result()


@pytest.mark.usefixtures("system")
def test_a_timeout_loses_nothing() -> None:
    with wire() as (ours, peer):
        message = peer.frame(TEXT, b"whole")
        for timeout in (0, 0.01, -1):
            with pytest.raises(TimeoutError):
                ours.recv(timeout=timeout)
        peer.send(message[:3])
        with pytest.raises(TimeoutError):
            ours.recv(timeout=0.02)
        peer.send(message[3:])
        assert ours.recv(timeout=LIMIT) == "whole"


def test_a_message_that_is_there_needs_no_time() -> None:
    with wire() as (ours, peer):
        peer.send(peer.frame(TEXT, b"1"), peer.frame(TEXT, b"2"))
        assert ours.recv() == "1"
        assert ours.recv(timeout=0) == "2"


def test_decode_gives_the_type() -> None:
    with wire() as (ours, peer):
        peer.send(peer.frame(TEXT, b"1"), peer.frame(BINARY, b"2"), peer.frame(BINARY, b"3"))
        assert ours.recv(decode=False) == b"1"
        assert ours.recv(decode=True) == "2"
        assert ours.recv() == b"3"


def test_binary_that_has_to_be_text_fails_1007() -> None:
    with wire() as (ours, peer):
        peer.send(peer.frame(BINARY, b"\xff"))
        closing = InThread(ours.recv, decode=True)
        opcode, payload = peer.read_frame()
        assert (opcode, payload[:2]) == (0x80 | CLOSE, b"\x03\xef")
        peer.socket.close()
        with pytest.raises(ConnectionClosedError):
            closing.result()


def test_text_as_bytes() -> None:
    with wire(text="bytes") as (ours, peer):
        peer.send(peer.frame(TEXT, b"1"))
        assert ours.recv() == b"1"


@both_roles
def test_iteration_ends_after_an_orderly_close(role: Role) -> None:
    with wire(role) as (ours, peer):
        peer.send(peer.frame(TEXT, b"1"), peer.frame(TEXT, b"2"), peer.frame(CLOSE, CLOSE_1000))
        peer.socket.shutdown(socket.SHUT_WR)
        assert list(ours) == ["1", "2"]
        assert ours.close_code == 1000
        assert peer.read_frame() == (0x80 | CLOSE, CLOSE_1000)


def test_iteration_raises_after_another_end() -> None:
    with wire() as (ours, peer):
        peer.send(peer.frame(TEXT, b"1"))
        peer.socket.close()
        messages = iter(ours)
        assert next(messages) == "1"
        with pytest.raises(ConnectionClosedError):
            next(messages)


@both_roles
def test_a_fault_comes_after_the_messages_before_it(role: Role) -> None:
    with wire(role) as (ours, peer):
        peer.send(peer.frame(TEXT, b"1"), b"\xff\xff")
        assert ours.recv() == "1"
        receiving = InThread(ours.recv)
        assert peer.read_frame()[1][:2] == b"\x03\xea"
        peer.socket.close()
        with pytest.raises(ConnectionClosedError) as caught:
            receiving.result()
        assert caught.value.failure is not None


def test_a_second_receiver_is_refused() -> None:
    with wire() as (ours, peer):
        first = InThread(ours.recv)
        until(lambda: ours._is_reading)
        with pytest.raises(ConcurrencyError, match="another thread"):
            ours.recv()
        with pytest.raises(ConcurrencyError, match="another thread"):
            next(ours.recv_streaming())
        peer.send(peer.frame(TEXT, b"for the first"))
        assert first.result() == "for the first"


def test_a_peer_that_floods_has_to_wait_for_a_receiver() -> None:
    """Memory has a bound, whether a caller reads or nobody does."""
    with wire(max_queue=4, ping_interval=None) as (ours, peer):
        peer.socket.setblocking(False)
        flood = peer.frame(BINARY, b"x" * 1000) * 50
        end = time.monotonic() + LIMIT
        while not ours.stats().is_reading_paused:
            assert time.monotonic() < end
            try:
                peer.socket.send(flood)
            except BlockingIOError:
                time.sleep(0.001)
        assert ours.stats().n_queued <= 200
        assert ours.recv() == b"x" * 1000


def test_more_than_one_turn_of_messages_in_a_chunk() -> None:
    with wire(max_feed_events=10) as (ours, peer):
        peer.send(*(peer.frame(TEXT, b"%d" % i) for i in range(100)), peer.frame(CLOSE, CLOSE_1000))
        peer.socket.shutdown(socket.SHUT_WR)
        assert list(ours) == [str(i) for i in range(100)]


def test_a_limit_of_messages_per_second() -> None:
    with wire(limits=Limits(max_messages_per_second=50)) as (ours, peer):
        peer.send(peer.frame(TEXT, b"x") * 60)
        for _ in range(60):
            assert ours.recv(timeout=LIMIT) == "x"
        peer.send(peer.frame(TEXT, b"later"))
        start = time.monotonic()
        assert ours.recv(timeout=LIMIT) == "later"
        assert 0.05 < time.monotonic() - start < 2


# In parts


def test_parts_come_before_the_end_of_the_message() -> None:
    with wire() as (ours, peer):
        peer.send(peer.frame(TEXT, "é".encode()[:1] + b"", fin=False))
        parts = ours.recv_streaming()
        taken: list[Any] = []
        reading = InThread(lambda: taken.extend(parts))
        peer.send(peer.frame(CONTINUATION, "é".encode()[1:], fin=False))
        until(lambda: "é" in taken)
        peer.send(peer.frame(CONTINUATION, b"!"))
        reading.result()
        assert "".join(taken) == "é!"
        peer.send(peer.frame(BINARY, b"whole"))
        assert list(ours.recv_streaming()) == [b"whole"]


@pytest.mark.parametrize("how", ["close", "last reference"])
def test_a_message_that_is_given_up(how: str) -> None:
    with wire() as (ours, peer):
        peer.send(peer.frame(TEXT, b"1", fin=False))
        parts = ours.recv_streaming()
        assert next(parts) == "1"
        with pytest.raises(ConcurrencyError, match="in parts"):
            ours.recv()
        if how == "close":
            parts.close()
        del parts
        peer.send(peer.frame(CONTINUATION, b"2"), peer.frame(TEXT, b"next"))
        assert ours.recv() == "next"


def test_parts_of_which_none_was_taken_become_a_message() -> None:
    with wire() as (ours, peer):
        peer.send(peer.frame(TEXT, b"1", fin=False))
        parts = ours.recv_streaming()
        with ours._lock:
            parts._begin()
        peer.send(peer.frame(CONTINUATION, b"2"), peer.frame(TEXT, b"next"))
        parts.close()
        assert [ours.recv(), ours.recv()] == ["12", "next"]


def test_a_message_in_parts_that_is_cut_off() -> None:
    with wire() as (ours, peer):
        peer.send(peer.frame(TEXT, b"1", fin=False))
        parts = ours.recv_streaming()
        assert next(parts) == "1"
        peer.socket.close()
        with pytest.raises(ConnectionClosedError):
            next(parts)


def test_parts_that_have_to_be_text() -> None:
    with wire() as (ours, peer):
        peer.send(peer.frame(BINARY, b"1", fin=False))
        parts = ours.recv_streaming(decode=True)
        assert next(parts) == "1"
        peer.send(peer.frame(CONTINUATION, b"\xff"))
        rest = InThread(list, parts)
        assert peer.read_frame()[1][:2] == b"\x03\xef"
        peer.socket.close()
        with pytest.raises(ConnectionClosedError):
            rest.result()


def test_parts_after_a_message_that_was_given_up() -> None:
    with wire() as (ours, peer):
        peer.send(peer.frame(TEXT, b"1", fin=False))
        first = ours.recv_streaming()
        assert next(first) == "1"
        with pytest.raises(ConcurrencyError, match="in parts"):
            next(ours.recv_streaming())
        first.close()
        second = InThread(list, ours.recv_streaming())
        peer.send(peer.frame(CONTINUATION, b"2"), peer.frame(TEXT, b"3", fin=False))
        peer.send(peer.frame(CONTINUATION, b"4"))
        assert "".join(second.result()) == "34"
        peer.send(peer.frame(TEXT, b"5", fin=False))
        third = ours.recv_streaming()
        with ours._lock:
            third._begin()
        third.close()
        assert next(fourth := ours.recv_streaming()) == "5"
        peer.send(peer.frame(CONTINUATION, b"6"))
        assert list(fourth) == ["6"]
        assert list(fourth) == []


# Sending


@both_roles
def test_threads_send_whole_messages(role: Role) -> None:
    n_threads, n_messages = 8, 40
    with wire(role) as (ours, peer):

        def send(number: int) -> None:
            for _ in range(n_messages):
                ours.send(str(number) * (100 + 1000 * number))

        threads = [InThread(send, number) for number in range(n_threads)]
        counts = dict.fromkeys(range(n_threads), 0)
        for _ in range(n_threads * n_messages):
            _, payload = peer.read_frame()
            number = int(payload[:1])
            assert payload == b"%d" % number * (100 + 1000 * number)
            counts[number] += 1
        for thread in threads:
            thread.result()
        assert set(counts.values()) == {n_messages}


def fill(ours: Any) -> int:
    """Send until the peer, which reads nothing, makes it wait; return the number of messages."""
    for n in range(10_000):
        try:
            ours.send(b"x" * 100_000, timeout=0.01)
        except TimeoutError:
            return n + 1
    raise AssertionError("it never waited")


@pytest.mark.usefixtures("system")
def test_a_send_that_takes_too_long_leaves_the_stream_whole() -> None:
    with wire(Role.SERVER, ping_interval=None) as (ours, peer):
        n = fill(ours)
        assert ours.stats().is_writing_blocked
        with pytest.raises(TimeoutError):
            ours.send("never begun", timeout=0)
        for _ in range(n):
            assert peer.read_frame() == (0x80 | BINARY, b"x" * 100_000)
        ours.send("again")
        assert peer.read_frame() == (0x80 | TEXT, b"again")


def test_the_keepalive_ends_a_send_whose_peer_has_vanished() -> None:
    with wire(ping_interval=0.2, ping_timeout=0.1, close_timeout=0.1) as (ours, _):

        def send_on() -> None:
            while True:
                ours.send(b"x" * 100_000)

        sending = InThread(send_on)
        with pytest.raises(ConnectionClosedError) as caught:
            sending.result()
        assert isinstance(caught.value.__cause__, TimeoutError)


def test_close_ends_a_send_whose_peer_has_vanished() -> None:
    with wire(ping_interval=None, close_timeout=0.1) as (ours, _):
        fill(ours)
        sending = InThread(ours.send, b"x")
        time.sleep(0.01)
        ours.close()
        with pytest.raises(ConnectionClosedError):
            sending.result()


def test_fragments_hold_other_threads_back() -> None:
    with wire(Role.SERVER) as (ours, peer):
        go_on = threading.Event()

        def parts() -> Iterator[str]:
            yield "a"
            assert go_on.wait(LIMIT)
            yield "b"

        fragments = InThread(ours.send, parts())
        assert peer.read_frame() == (TEXT, b"a")
        other = InThread(ours.send, "other")
        ours.ping(b"between")
        assert peer.read_frame() == (0x80 | PING, b"between")
        assert other.is_running
        go_on.set()
        assert [peer.read_frame() for _ in range(3)] == [
            (CONTINUATION, b"b"),
            (0x80 | CONTINUATION, b""),
            (0x80 | TEXT, b"other"),
        ]
        fragments.result()
        other.result()


def test_a_send_inside_its_own_fragments_is_refused() -> None:
    with wire(close_timeout=0.1) as (ours, _):

        def parts() -> Iterator[str]:
            yield "a"
            ours.send("b")

        with pytest.raises(ConcurrencyError):
            ours.send(parts())
        with pytest.raises(ConnectionClosedError) as caught:
            ours.recv()
        assert caught.value.sent is not None
        assert caught.value.sent.code == 1011


@pytest.mark.parametrize("message", [1, None, {"a": 1}, object()])
def test_a_message_of_another_type(message: Any) -> None:
    with wire() as (ours, peer):
        with pytest.raises(TypeError, match="a message"):
            ours.send(message)
        ours.send("after")
        assert peer.read_frame() == (0x80 | TEXT, b"after")


def test_a_batch_is_one_write() -> None:
    with wire(Role.SERVER) as (ours, peer):
        with ours.batch():
            ours.send("1")
            ours.send(b"2")
            peer.socket.settimeout(0.02)
            with pytest.raises(TimeoutError):
                peer.socket.recv(1)
        peer.socket.settimeout(LIMIT)
        assert peer.socket.recv(100) == b"\x81\x011\x82\x012"


def test_stats() -> None:
    with wire(count_frames=True) as (ours, peer):
        ours._taps.append((ours._counters[0].feed, ours._counters[1].feed))  # type: ignore[index]
        peer.send(peer.frame(TEXT, b"12"))
        ours.recv()
        ours.send("345")
        stats = ours.stats()
        assert stats.received is not None
        assert stats.sent is not None
        assert stats.received.payload == {Opcode.TEXT: 2}
        assert stats.sent.payload == {Opcode.TEXT: 3}


# Control frames, and nobody who reads


def test_pings_and_close_are_answered_though_nobody_reads() -> None:
    with wire() as (ours, peer):
        peer.send(peer.frame(PING, b"are you there?"))
        assert peer.read_frame() == (0x80 | PONG, b"are you there?")
        peer.send(peer.frame(CLOSE, CLOSE_1000))
        assert peer.read_frame() == (0x80 | CLOSE, CLOSE_1000)
        peer.socket.close()
        until(lambda: ours.ready_state is ReadyState.CLOSED)
        with pytest.raises(ConnectionClosedOK):
            ours.send("too late")


def test_messages_that_came_while_nobody_read() -> None:
    with wire() as (ours, peer):
        peer.send(peer.frame(TEXT, b"1"), peer.frame(PING, b"x"))
        assert peer.read_frame() == (0x80 | PONG, b"x")
        peer.send(peer.frame(TEXT, b"2"))
        assert [ours.recv(), ours.recv()] == ["1", "2"]
        receiving = InThread(ours.recv)
        time.sleep(2 * SHORT_TICK)
        peer.send(peer.frame(TEXT, b"3"))
        assert receiving.result() == "3"


def test_ping_returns_an_event() -> None:
    with wire() as (ours, peer):
        answered = ours.ping(b"1")
        assert peer.read_frame() == (0x80 | PING, b"1")
        assert not answered.is_set()
        peer.send(peer.frame(PONG, b"1"))
        assert answered.wait(LIMIT)
        assert answered.latency is not None
        assert 0 < ours.latency == answered.latency
        with pytest.raises(ValueError, match="125"):
            ours.ping(b"x" * 126)


def test_pings_of_which_a_peer_answers_none() -> None:
    with wire(ping_interval=None, close_timeout=0.1) as (ours, _):
        kept = [ours.ping() for _ in range(1024)]
        one_more = InThread(ours.ping)
        with pytest.raises(TimeoutError):
            ours.recv(timeout=0.01)
        assert one_more.is_running
        ours.cut()
        with pytest.raises(ConnectionClosedError):
            one_more.result()
        assert not any(event.is_set() for event in kept)


def test_ack_on_close() -> None:
    with wire() as (ours, _):
        never, at_the_end = ours.ping(), ours.ping(ack_on_close=True)
        ours.cut()
        assert at_the_end.wait(LIMIT)
        assert not never.is_set()


def test_pong_is_unsolicited() -> None:
    with wire() as (ours, peer):
        ours.pong("hi")
        assert peer.read_frame() == (0x80 | PONG, b"hi")


def test_one_thread_looks_after_all() -> None:
    keeper()
    before = threading.active_count()
    with wire() as (_, one), wire() as (_, two), wire() as (_, three):
        for number, peer in enumerate((one, two, three)):
            peer.send(peer.frame(PING, b"%d" % number))
        for number, peer in enumerate((one, two, three)):
            assert peer.read_frame() == (0x80 | PONG, b"%d" % number)
        assert threading.active_count() == before


def test_a_peer_is_judged_by_all_that_it_has_sent() -> None:
    """The thread that judges is late: what it has not read yet is a sign of life, too."""
    with wire(ping_interval=5, ping_timeout=5) as (ours, peer), ours._lock:
        ours.deadline_reached(ours._deadline_at)
        _, payload = peer.read_frame()
        peer.send(peer.frame(PONG, payload))
        wait_for_bytes(ours.socket)
        ours.time_is_over(ours._deadline_at)
        assert ours.ready_state is ReadyState.OPEN
        assert ours.latency > 0


def wait_for_bytes(sock: socket.socket) -> None:
    assert stream.is_ready(sock, stream.READ, time.monotonic() + LIMIT)


class Broken(Connection):
    def take_events(self, events: Any) -> None:
        raise ZeroDivisionError


def test_a_fault_in_a_connection_does_not_end_the_others() -> None:
    with wire(kind=Broken) as (broken, peer_of_broken), wire() as (_, peer):
        peer_of_broken.send(peer_of_broken.frame(PING))
        until(lambda: broken.ready_state is ReadyState.CLOSED)
        peer.send(peer.frame(PING, b"x"))
        assert peer.read_frame() == (0x80 | PONG, b"x")


# The end


@both_roles
def test_close_waits_for_the_peer(role: Role) -> None:
    with wire(role) as (ours, peer):
        closing = InThread(ours.close, 1001, "bye")
        assert peer.read_frame() == (0x80 | CLOSE, b"\x03\xe9bye")
        peer.send(peer.frame(TEXT, b"before"))
        time.sleep(0.01)
        assert closing.is_running
        peer.send(peer.frame(CLOSE, b"\x03\xe9"))
        peer.socket.close()
        closing.result()
        assert ours.recv() == "before"
        with pytest.raises(ConnectionClosedOK):
            ours.recv()


@both_roles
def test_close_wakes_a_receiver(role: Role) -> None:
    with wire(role) as (ours, peer):
        receiving = InThread(ours.recv)
        until(lambda: ours._is_reading)
        closing = InThread(ours.close)
        assert peer.read_frame() == (0x80 | CLOSE, CLOSE_1000)
        peer.send(peer.frame(CLOSE, CLOSE_1000))
        peer.socket.close()
        closing.result()
        with pytest.raises(ConnectionClosedOK):
            receiving.result()


def test_close_timeout_cuts_off_a_peer_that_never_answers() -> None:
    with wire(close_timeout=0.1) as (ours, _):
        receiving = InThread(ours.recv)
        until(lambda: ours._is_reading)
        start = time.monotonic()
        ours.close()
        assert time.monotonic() - start < 2
        with pytest.raises(ConnectionClosedError) as caught:
            receiving.result()
        assert "close_timeout" in str(caught.value.__cause__)


def test_wait_closed() -> None:
    with wire() as (ours, peer):
        assert ours.wait_closed(timeout=0.02) is False
        waiting = InThread(ours.wait_closed)
        peer.send(peer.frame(TEXT, b"1"), peer.frame(CLOSE, CLOSE_1000))
        assert peer.read_frame() == (0x80 | CLOSE, CLOSE_1000)
        peer.socket.close()
        assert waiting.result() is True
        assert ours.recv() == "1"
        assert ours.wait_closed(timeout=0) is True
        ours.close()


def test_context_manager_tells_of_an_exception() -> None:
    with wire(close_timeout=0.1) as (ours, peer):
        with pytest.raises(KeyError), ours:
            raise KeyError
        assert peer.read_frame() == (0x80 | CLOSE, b"\x03\xf3")


@pytest.mark.parametrize(("code", "reason"), [(1005, ""), (999, ""), (1000, "x" * 124)])
def test_a_close_that_cannot_be_sent(code: int, reason: str) -> None:
    with wire() as (ours, _):
        with pytest.raises(ProtocolError):
            ours.close(code, reason)
        assert ours.ready_state is ReadyState.OPEN


def test_close_before_the_peers_reset_is_found_by_who_only_writes() -> None:
    with wire(ping_interval=None) as (ours, peer):
        peer.send(peer.frame(CLOSE, CLOSE_1000))
        peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        peer.socket.close()

        def send_on() -> None:
            for _ in range(100):
                ours.send(b"x")
                time.sleep(0.001)

        with pytest.raises(ConnectionClosed) as caught:
            send_on()
        assert caught.value.rcvd is not None or caught.value.__cause__ is not None


# Signals


@pytest.fixture
def interrupt() -> Iterator[Callable[[], None]]:
    """Interrupt the main thread soon, as Ctrl-C does."""
    timers: list[threading.Timer] = []

    def start() -> None:
        main = threading.main_thread().ident
        assert main is not None
        timers.append(threading.Timer(0.05, signal.pthread_kill, (main, signal.SIGINT)))
        timers[-1].start()

    yield start
    for timer in timers:
        timer.join()


posix = pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="Windows has no signals for threads")


@posix
@pytest.mark.parametrize("timeout", [None, LIMIT])
def test_ctrl_c_interrupts_recv(interrupt: Callable[[], None], timeout: float | None) -> None:
    with wire() as (ours, peer):
        peer.send(peer.frame(TEXT, b"whole")[:4])
        interrupt()
        with pytest.raises(KeyboardInterrupt):
            ours.recv(timeout=timeout)
        peer.send(peer.frame(TEXT, b"whole")[4:])
        assert ours.recv(timeout=timeout) == "whole"


@pytest.mark.parametrize("place", ["_encode", "_send"])
def test_ctrl_c_inside_a_step_that_sends_cuts_tcp(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of a frame, or a compressed one that is missing, would spoil all that follows."""

    class Interrupted(Connection):
        def _send(self, data: bytes) -> None:
            if place == "_send":
                raise KeyboardInterrupt
            super()._send(data)

    def interrupt(*arguments: Any) -> bytes:
        raise KeyboardInterrupt

    with wire(kind=Interrupted) as (ours, peer):
        if place == "_encode":
            ours._encode = interrupt
        with pytest.raises(KeyboardInterrupt):
            ours.send("x")
        assert ours.ready_state is ReadyState.CLOSED
        assert peer.rest() == b""


@posix
def test_ctrl_c_interrupts_a_wait_for_another_reader(interrupt: Callable[[], None]) -> None:
    with wire() as (ours, peer):
        receiving = InThread(ours.recv)
        until(lambda: ours._is_reading)
        interrupt()
        with pytest.raises(KeyboardInterrupt):
            ours.wait_closed()
        peer.send(peer.frame(TEXT, b"x"))
        assert receiving.result() == "x"


@posix
def test_ctrl_c_interrupts_send(interrupt: Callable[[], None]) -> None:
    with wire(Role.SERVER, ping_interval=None) as (ours, peer):
        n = fill(ours)
        interrupt()
        with pytest.raises(KeyboardInterrupt):
            ours.send(b"not begun")
        for _ in range(n):
            assert peer.read_frame() == (0x80 | BINARY, b"x" * 100_000)
        ours.send(b"on")
        assert peer.read_frame() == (0x80 | BINARY, b"on")


def test_receiving_in_parts_next_to_a_thread_in_recv_is_refused() -> None:
    """And takes nothing from it: its message came in parts, which nobody waited for."""
    with wire() as (connection, peer):
        receiving = InThread(connection.recv)
        until(lambda: connection._is_reading)
        parts = connection.recv_streaming()
        with pytest.raises(ConcurrencyError, match="already waiting"):
            next(parts)
        peer.send(peer.frame(TEXT, b"a", fin=False), peer.frame(CONTINUATION, b"b"))
        assert receiving.result() == "ab"


def has_unread(connection: Connection) -> bool:
    try:
        return bool(connection.socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
    except BlockingIOError:
        return False


@pytest.mark.skipif(not NOW, reason="there is no MSG_DONTWAIT")
def test_receiving_in_parts_next_to_a_thread_in_wait_closed() -> None:
    """The one that waits for the end reads, in the middle of a large frame: no byte of it may be lost."""
    size = 1_000_000
    with wire() as (connection, peer):
        connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        closed = InThread(connection.wait_closed)
        until(lambda: connection._is_reading)
        sent, pos = peer.frame(BINARY, bytes(size)), 0
        while not connection._is_large:  # or the last chunk happened to be small
            InThread(peer.send, sent[pos : pos + 100_000]).result()
            pos += 100_000
            until(lambda: connection._is_reading and not has_unread(connection))
        assert pos < size
        parts = connection.recv_streaming()
        first = next(parts)
        InThread(peer.send, sent[pos:]).result()
        assert len(first) + sum(map(len, parts)) == size  # type: ignore[arg-type]
        connection.cut()
        assert closed.result()


def test_a_message_in_parts_is_not_given_up_by_another_thread() -> None:
    with wire() as (connection, peer):
        parts = connection.recv_streaming()
        receiving = InThread(lambda: list(parts))
        until(lambda: connection._is_reading)
        with pytest.raises(ConcurrencyError, match="waiting for a part"):
            parts.close()
        peer.send(peer.frame(TEXT, b"a", fin=False), peer.frame(CONTINUATION, b"b"))
        assert "".join(receiving.result()) == "ab"


# Time


@pytest.mark.parametrize("timeout", [float("inf"), 1e12, 1e300])
def test_a_time_limit_may_be_for_ever(timeout: float) -> None:
    with wire() as (connection, peer):
        receiving = InThread(connection.recv, timeout)
        until(lambda: connection._is_reading)
        waiting = InThread(connection.wait_closed, timeout)
        until(lambda: connection._n_waiting)
        connection.send("x", timeout=timeout)
        peer.send(peer.frame(TEXT, b"a"))
        assert receiving.result() == "a"
        connection.cut()
        assert waiting.result()


def test_a_time_limit_that_is_no_number_is_over() -> None:
    """It would never be over, and the thread would not even sleep."""
    with wire() as (connection, _):
        receiving = InThread(connection.recv, float("nan"))
        with pytest.raises(TimeoutError):
            receiving.result()


def test_timers_of_connections_that_are_gone_do_not_stay() -> None:
    """A ``ping_interval`` of an hour would keep those of an hour."""
    for _ in range(400):
        keeper().call_at(time.monotonic() + 3600, threading.Event())
    assert len(keeper()._timers) <= 257


def test_a_timer_that_another_one_has_replaced_sets_none() -> None:
    """Else each moment that comes before the one expected would cost a timer more, for the connection's life."""
    with wire(ping_interval=1000) as (connection, _), connection._lock:
        at = connection._timer_at
        connection._set_timer(at - 500)
        before = sum(timer[2]() is connection for timer in keeper()._timers)
        connection.time_is_over(at - 500)
        after = sum(timer[2]() is connection for timer in keeper()._timers)
        connection._timer_at = at + 1000
        connection.time_is_over(at)  # the one from the beginning
        assert sum(timer[2]() is connection for timer in keeper()._timers) == after == before + 1
