"""Calls in any order, and calls inside calls: both codecs answer alike, and no Python code breaks a decoder.

RFC 6455 5 and RFC 7692 decide about the bytes, the interface (``wsfast/native.pyi``) about the order of calls.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest
from helpers import (
    BINARY,
    CONTINUATION,
    KEY,
    PING,
    TEXT,
    Peer,
    counts_references,
    frame,
    join,
    load_codec,
    same,
)
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from wsfast import faults
from wsfast.events import Failure, Ping, Role

DECODER_BUSY = "^this decoder is busy: another call of it runs, or was ended by an exception inside a chunk$"
ENCODER_BUSY = "^this encoder is busy: another call of it has not returned$"
RSV1 = 4

CALLS: dict[str, Callable[[Any], object]] = {
    "feed": lambda decoder: decoder.feed(b"z" * 952 + b"\x89\x05"),
    "get_buffer": lambda decoder: decoder.get_buffer(),
    "buffer_updated": lambda decoder: decoder.buffer_updated(0),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_call_inside_inflate_is_refused(
    codec: ModuleType, peer: Peer, call: Callable[[Any], object]
) -> None:
    """It would change the state under the call that is running. The outer call goes on."""
    refused: list[str] = []

    def inflate(data: bytes, fin: bool) -> Iterator[bytes]:
        try:
            call(decoder)
        except RuntimeError as error:
            refused.append(str(error))
        yield b"x"

    decoder = codec.MessageDecoder(peer.role, inflate=inflate)
    stream = join(peer.frame(BINARY, b"z" * 3000, rsv=RSV1), peer.frame(PING, b"A" * 100))
    assert decoder.feed(stream) == [b"xx", Ping(b"A" * 100)]
    assert refused == [DECODER_BUSY[1:-1]] * 2
    assert decoder.feed(peer.frame(TEXT, "next")) == ["next"]


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_an_exception_inside_a_chunk_ends_the_decoder(
    codec: ModuleType, peer: Peer, call: Callable[[Any], object]
) -> None:
    """The rest of the chunk is lost, so that no later byte makes sense."""

    def inflate(data: bytes, fin: bool) -> Iterator[bytes]:
        yield b"x"
        raise MemoryError("no room")

    decoder = codec.MessageDecoder(peer.role, inflate=inflate)
    with pytest.raises(MemoryError, match=r"^no room$"):
        decoder.feed(join(peer.frame(BINARY, b"z", rsv=RSV1), peer.frame(TEXT, "lost")))
    assert decoder.failure is None
    for _ in range(2):
        with pytest.raises(RuntimeError, match=DECODER_BUSY):
            call(decoder)


def test_nothing_waits_after_an_exception(codec: ModuleType, peer: Peer) -> None:
    """Bytes that waited are lost with the rest, so that nobody asks for them again."""

    def inflate(data: bytes, fin: bool) -> list[bytes]:
        raise MemoryError

    decoder = codec.MessageDecoder(peer.role, inflate=inflate, max_feed_events=1)
    stream = join(peer.frame(TEXT, "a"), peer.frame(TEXT, "b", rsv=RSV1), peer.frame(TEXT, "c"))
    assert decoder.feed(stream) == ["a"]
    assert decoder.has_waiting
    with pytest.raises(MemoryError):
        decoder.feed(b"")
    assert not decoder.has_waiting


@pytest.mark.parametrize("piece", [None, "text", bytearray(b"x"), type("Bytes", (bytes,), {})(b"x")])
def test_inflate_yields_bytes(codec: ModuleType, peer: Peer, piece: Any) -> None:
    decoder = codec.MessageDecoder(peer.role, inflate=lambda data, fin: [piece])
    with pytest.raises(TypeError, match=f"^inflate has to yield bytes, not {type(piece).__name__}$"):
        decoder.feed(peer.frame(BINARY, b"z", rsv=RSV1))


def test_inflate_may_be_a_function(codec: ModuleType, peer: Peer) -> None:
    """Anything that can be iterated; and the fault may come before the first piece."""

    def inflate(data: bytes, fin: bool) -> list[bytes]:
        if data == b"bad":
            raise faults.PeerFault(faults.INFLATE_FAILED)
        return [data, data]

    decoder = codec.MessageDecoder(peer.role, inflate=inflate)
    assert decoder.feed(peer.frame(BINARY, b"ab", rsv=RSV1)) == [b"abab"]
    assert decoder.feed(peer.frame(BINARY, b"bad", rsv=RSV1)) == []
    assert decoder.failure == Failure(1007, "compressed message cannot be inflated", "RFC 7692 7.2.2")


def test_a_thread_that_feeds_while_another_inflates(codec: ModuleType, peer: Peer) -> None:
    inflating, fed = threading.Event(), threading.Event()

    def inflate(data: bytes, fin: bool) -> Iterator[bytes]:
        inflating.set()
        fed.wait(10)
        yield data

    decoder = codec.MessageDecoder(peer.role, inflate=inflate)
    events: list[Any] = []
    thread = threading.Thread(
        target=lambda: events.extend(decoder.feed(peer.frame(BINARY, b"abc", rsv=RSV1)))
    )
    thread.start()
    inflating.wait(10)
    try:
        with pytest.raises(RuntimeError, match=DECODER_BUSY):
            decoder.feed(peer.frame(TEXT, "b"))
    finally:
        fed.set()
        thread.join()
    assert events == [b"abc"]


@counts_references
def test_a_finalizer_that_feeds(codec: ModuleType, peer: Peer) -> None:
    """What inflate leaves behind runs when it likes, and inside the call."""

    class Feeding:
        def __del__(self) -> None:
            with pytest.raises(RuntimeError, match=DECODER_BUSY):
                decoder.feed(b"\x89\x05")
            ended.append(True)

    ended: list[bool] = []

    def inflate(data: bytes, fin: bool) -> Iterator[bytes]:
        kept = Feeding()
        yield b"x" * 100
        assert kept

    decoder = codec.MessageDecoder(peer.role, inflate=inflate, max_message_size=50)
    assert decoder.feed(peer.frame(BINARY, b"z", rsv=RSV1)) == []
    assert decoder.failure == Failure(1009, "inflated message exceeds max_message_size 50", "10.4")
    assert ended == [True]


def test_a_call_inside_random_bytes_is_refused(codec: ModuleType) -> None:
    """RFC 6455 5.3, 5.4: the frames of a message keep their order."""
    encoder: Any = None
    calls: list[Callable[[], bytes]] = [
        lambda: encoder.message("a"),
        lambda: encoder.message(b"a", text=True),
        lambda: encoder.fragment("a"),
        lambda: encoder.ping(),
        lambda: encoder.frame(BINARY, b"a"),
    ]

    def random_bytes(size: int) -> bytes:
        for call in calls:
            with pytest.raises(RuntimeError, match=ENCODER_BUSY):
                call()
        return KEY

    encoder = codec.FrameEncoder(Role.CLIENT, random_bytes=random_bytes)
    assert encoder.message("text") == frame(TEXT, "text", key=KEY)
    assert encoder.fragment("te") == frame(TEXT, "te", fin=False, key=KEY)
    del calls[:2]  # inside a message they are refused for that
    assert encoder.fragment("xt", fin=True) == frame(CONTINUATION, "xt", key=KEY)
    assert not encoder.in_message


class Outcome:
    """What a call did: its result, or the exception."""

    def __init__(self, call: Callable[[], Any]) -> None:
        self.error: tuple[type[BaseException], str] | None = None
        self.result: Any = None
        try:
            self.result = call()
        except (Exception, MemoryError) as error:
            # How large a buffer is, is each codec's own matter.
            self.error = type(error), re.sub(r"a buffer of \d+$", "a buffer", str(error))

    def is_like(self, other: Outcome) -> bool:
        if self.error is not None or other.error is not None:
            return self.error == other.error
        if isinstance(self.result, list):
            return same(self.result, other.result)
        return (self.result is None) is (other.result is None)


class TwoDecoders(RuleBasedStateMachine):
    """The native decoder and the fallback, given the same calls."""

    @initialize(
        role=st.sampled_from(Role),
        limit=st.sampled_from([None, 100_000, 300_000]),
        text=st.sampled_from(["str", "bytes"]),
        bounds=st.sampled_from([(None, None), (1, None), (3, None), (None, 1), (None, 70_000)]),
    )
    def make(self, role: Role, limit: int | None, text: str, bounds: tuple[int | None, int | None]) -> None:
        self.peer = Peer(role)
        self.decoders = []
        self.plans: list[dict[str, Any]] = []
        for name in ("native", "fallback"):
            plan: dict[str, Any] = {"call": None, "error": None, "seen": []}
            options = {"max_message_size": limit, "text": text, "inflate": self.inflate_by(plan)}
            options["max_feed_events"], options["max_feed_size"] = bounds
            decoder = load_codec(name).MessageDecoder(role, **options)
            plan["decoder"] = decoder
            self.decoders.append(decoder)
            self.plans.append(plan)
        self.views: list[list[memoryview]] = [[], []]
        self.parts: list[memoryview] = []
        self.stream = b""
        self.in_message = False

    @staticmethod
    def inflate_by(plan: dict[str, Any]) -> Any:
        def inflate(data: bytes, fin: bool) -> Iterator[bytes]:
            if plan["call"] is not None:
                plan["seen"].append(Outcome(lambda: plan["call"](plan["decoder"])).error)
            if plan["error"] is not None:
                raise plan["error"]
            if data:
                yield data
                yield data

        return inflate

    def both(self, call: Callable[[Any], Any]) -> list[Any]:
        native, fallback = (Outcome(lambda decoder=decoder: call(decoder)) for decoder in self.decoders)
        assert native.is_like(fallback), (native.error, native.result, fallback.error, fallback.result)
        one, other = self.decoders
        assert one.failure == other.failure
        assert one.has_control is other.has_control
        assert one.has_waiting is other.has_waiting
        assert self.plans[0]["seen"] == self.plans[1]["seen"]
        return [native.result, fallback.result]

    # The peer sends.

    @rule(
        opcode=st.sampled_from([TEXT, BINARY]),
        text=st.sampled_from(["", "ascii", "안녕하세요", "é", "😀"]),
        size=st.sampled_from([1, 10, 1000, 70_000, 150_000]),
        fin=st.booleans(),
        compressed=st.booleans(),
    )
    def sends_data(self, opcode: int, text: str, size: int, fin: bool, compressed: bool) -> None:
        payload = (text * size).encode()[:size]
        rsv = RSV1 if compressed and not self.in_message else 0
        self.stream += self.peer.frame(CONTINUATION if self.in_message else opcode, payload, fin=fin, rsv=rsv)
        self.in_message = not fin

    @rule(size=st.integers(0, 125))
    def sends_ping(self, size: int) -> None:
        self.stream += self.peer.frame(PING, bytes(size))

    # We receive.

    @precondition(lambda self: self.stream)
    @rule(size=st.sampled_from([1, 2, 5, 13, 200, 5000, 65_536, 1_000_000]))
    def feed(self, size: int) -> None:
        chunk, self.stream = self.stream[:size], self.stream[size:]
        self.both(lambda decoder: decoder.feed(chunk))

    @rule()
    def feed_nothing(self) -> None:
        self.both(lambda decoder: decoder.feed(b""))

    @rule()
    def get_buffer(self) -> None:
        views = self.both(lambda decoder: decoder.get_buffer())
        if views[0] is not None:
            self.views = [[views[0]], [views[1]]]

    @precondition(lambda self: self.views[0] and self.stream)
    @rule(size=st.sampled_from([0, 1, 3, 1000, 65_536]))
    def receive(self, size: int) -> None:
        chunk = self.stream[:size]
        for (view,) in self.views:
            try:
                chunk = chunk[: len(view)]
                view[: len(chunk)] = chunk
            except ValueError:  # it has ended
                return
        self.stream = self.stream[len(chunk) :]
        self.both(lambda decoder: decoder.buffer_updated(len(chunk)))

    @rule(size=st.sampled_from([-1, 0, 1, 2**40]))
    def buffer_updated(self, size: int) -> None:
        if size > 0 and self.views[0]:
            for (view,) in self.views:  # the same bytes in both
                with_size = Outcome(lambda view=view: view.__setitem__(0, 0x61))
            del with_size
        self.both(lambda decoder: decoder.buffer_updated(size))

    @precondition(lambda self: self.views[0])
    @rule()
    def keeps_a_part(self) -> None:
        for (view,) in self.views:
            part = Outcome(lambda view=view: view[:1000]).result
            if part is not None:
                self.parts.append(part)

    @rule()
    def writes_to_parts(self) -> None:
        for part in self.parts:
            part[:] = b"\xff" * len(part)

    # inflate() does more than it should.

    @rule(call=st.sampled_from([None, *CALLS.values()]))
    def calls_inside(self, call: Any) -> None:
        for plan in self.plans:
            plan["call"] = call

    @rule(
        error=st.sampled_from(
            [None, None, None, MemoryError("none"), faults.PeerFault(faults.INFLATE_FAILED)]
        )
    )
    def raises_inside(self, error: Any) -> None:
        for plan in self.plans:
            plan["error"] = error


TestTwoDecoders = TwoDecoders.TestCase
TestTwoDecoders.settings = settings(
    max_examples=100, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
