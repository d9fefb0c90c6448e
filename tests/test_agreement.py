"""The two codecs agree: on random streams, legal and illegal, in random chunks, and on written bytes.

The codecs were written independently. If a third witness exists, their common answer is compared with it: a stream
made from known messages decodes to these messages, a stream with a known fault to that fault (RFC 6455 5).

``WSFAST_SEED`` repeats a run: each failure prints the seed of its stream.
"""

from __future__ import annotations

import os
import random
import zlib
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from helpers import (
    BINARY,
    CLOSE,
    CONTINUATION,
    CONTROL,
    PING,
    PONG,
    RESERVED,
    TEXT,
    cut,
    frame,
    utf8_error,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wsfast.deflate import Inflater, accept
from wsfast.events import Close, Event, Failure, Frame, Ping, Pong, Role

SEED = int(os.environ.get("WSFAST_SEED") or random.randrange(2**48))
N_STREAMS = 1500

ALPHABETS = ("abc xyz", "aé", "한국어", "a한😀", "\0\x7f\x80\u07ff\u0800\uffff\U00010000\U0010ffff")
SIZES = (0, 0, 1, 1, 2, 3, 5, 8, 16, 31, 33, 64, 100, 124, 125, 126, 127, 130, 300)
BAD_UTF8 = (
    b"\xff",
    b"\x80",
    b"\xc3",
    b"\xed\xa0\x80",
    b"\xf4\x90\x80\x80",
    b"\xe2\x82",
    b"\xc0\xaf",
    b"\xf0\x9f",
)


class StreamMaker:
    """Writes a stream frame by frame, and knows what a decoder has to make of it (RFC 6455 5)."""

    def __init__(self, rng: random.Random, role: Role) -> None:
        self.rng = rng
        self.role = role
        self.wire = b""
        self.events: list[Event] = []
        self._payload = b""
        self._opcode: int | None = None  # of the message we are in

    def key(self) -> bytes | None:
        return bytes(self.rng.randrange(256) for _ in range(4)) if self.role is Role.SERVER else None

    def text(self) -> bytes:
        alphabet = self.rng.choice(ALPHABETS)
        return "".join(self.rng.choice(alphabet) for _ in range(self.rng.choice(SIZES))).encode()

    def binary(self) -> bytes:
        return bytes(self.rng.randrange(256) for _ in range(4)) * (self.rng.choice(SIZES) // 4 + 1)

    def control(self) -> None:
        opcode, event = self.rng.choice(((PING, Ping), (PONG, Pong)))
        payload = self.binary()[: self.rng.choice((0, 4, 125))]
        self.wire += frame(opcode, payload, key=self.key())
        self.events.append(event(payload))

    def message(self) -> None:
        """One message, in one frame or several, perhaps with control frames between them."""
        opcode = self.rng.choice((TEXT, BINARY))
        payload = self.text() if opcode == TEXT else self.binary()
        n_cuts = self.rng.choice((0, 0, 0, 1, 2, 5))
        pieces = cut(payload, sorted(self.rng.randrange(len(payload) + 1) for _ in range(n_cuts)))
        for number, piece in enumerate(pieces):
            fin = number == len(pieces) - 1
            self.wire += frame(opcode if number == 0 else CONTINUATION, piece, fin=fin, key=self.key())
            if not fin and self.rng.randrange(4) == 0:
                self.control()
        self.events.append(payload.decode() if opcode == TEXT else payload)

    def legal(self, n_steps: int) -> None:
        for _ in range(n_steps):
            self.control() if self.rng.randrange(5) == 0 else self.message()

    def close(self) -> None:
        code = self.rng.choice((1000, 1001, 1011, 3000, 4999))
        reason = self.text().decode()[:30]
        self.wire += frame(CLOSE, code.to_bytes(2, "big") + reason.encode(), key=self.key())
        self.events.append(Close(code, reason))

    def fault(self) -> Failure:
        """Add a frame with one known fault, where no message is open."""
        rng, key = self.rng, self.key()
        wrong_key = None if key else b"1234"
        not_masked = Failure(1002, "frame from a client is not masked", "5.1")
        masked = Failure(1002, "frame from a server is masked", "5.1")
        reserved = rng.choice(RESERVED)
        length = rng.choice((0, 5, 125))
        code = rng.choice((0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535))
        text_failure = Failure(1007, "text message is not valid UTF-8", "8.1")
        choices: list[tuple[bytes, Failure]] = [
            (frame(rng.choice((TEXT, BINARY, PING)), b"", key=wrong_key), not_masked if key else masked),
            (
                frame(TEXT, rsv=2, key=key),
                Failure(1002, "RSV2 set without an extension that defines it", "5.2"),
            ),
            (frame(reserved, key=key), Failure(1002, f"reserved opcode 0x{reserved:X}", "5.2")),
            (
                frame(BINARY, bytes(length), key=key, length_bits=rng.choice((16, 64))),
                Failure(1002, f"payload length {length} is not in its shortest form", "5.2"),
            ),
            (
                frame(BINARY, key=key, length=2**63 + length),
                Failure(1002, "64-bit payload length has its top bit set", "5.2"),
            ),
            (
                frame(rng.choice(CONTROL), fin=False, key=key),
                Failure(1002, "control frame is fragmented", "5.5"),
            ),
            (
                frame(rng.choice(CONTROL), length=126, key=key),
                Failure(1002, "control frame payload is longer than 125 bytes", "5.5"),
            ),
            (
                frame(CONTINUATION, b"x", key=key),
                Failure(1002, "continuation frame with no message to continue", "5.4"),
            ),
            (
                frame(TEXT, self.text(), fin=False, key=key) + frame(BINARY, b"x", key=key),
                Failure(1002, "new data message before the fragmented one was finished", "5.4"),
            ),
            (frame(CLOSE, b"\x03", key=key), Failure(1002, "close frame payload of 1 byte", "5.5.1")),
            (
                frame(CLOSE, code.to_bytes(2, "big"), key=key),
                Failure(1002, f"close code {code} must not be sent", "7.4"),
            ),
            (
                frame(CLOSE, b"\x03\xe8" + rng.choice(BAD_UTF8), key=key),
                Failure(1007, "close reason is not valid UTF-8", "5.5.1"),
            ),
            (frame(TEXT, self.text() + rng.choice(BAD_UTF8), key=key), text_failure),
            (
                frame(TEXT, self.text() + rng.choice(BAD_UTF8), fin=False, key=key)
                + frame(CONTINUATION, b"a", key=key),
                text_failure,
            ),
            (
                frame(BINARY, length=2**20 + 1, key=key),
                Failure(1009, f"message of {2**20 + 1} bytes exceeds max_message_size {2**20}", "10.4"),
            ),
        ]
        wire, failure = rng.choice(choices)
        self.wire += wire
        return failure


def wild_stream(rng: random.Random, role: Role) -> bytes:
    """Frames that are mostly in order, each with a small chance of any fault, and a few bytes changed."""
    maker = StreamMaker(rng, role)
    in_message = False
    wire = b""

    def seldom() -> bool:
        return rng.randrange(40) == 0

    for _ in range(rng.randrange(1, 12)):
        opcode = rng.choice((TEXT, TEXT, BINARY, PING, PONG) if not in_message else (0, 0, 0, 0, PING, PONG))
        if rng.randrange(15) == 0:
            opcode = CLOSE
        if seldom():
            opcode = rng.randrange(16)
        fin = opcode >= 8 or rng.randrange(3) > 0
        payload = maker.binary() if opcode == BINARY else maker.text()
        if opcode == CLOSE:
            code = rng.choice((1000, 1001, 1005, 3000, 4999, 5000, 65535))
            payload = rng.choice((b"", b"\x03", code.to_bytes(2, "big"), code.to_bytes(2, "big") + payload))
        if opcode >= 8 and not seldom():
            payload = payload[:125]
        if rng.randrange(12) == 0:
            payload += rng.choice(BAD_UTF8)
        if rng.randrange(6) == 0:
            payload = payload[: rng.randrange(len(payload) + 1)]
        key = maker.key()
        form: dict[str, int] = {}
        if seldom():
            form = {"length": rng.choice((126, 65536, 2**32 + 1, 2**62, 2**63 - 1, 2**63, 2**64 - 1))}
        elif seldom():
            form = {"length_bits": rng.choice((16, 64))}
        wire += frame(
            opcode,
            payload,
            fin=fin if not seldom() else not fin,
            rsv=0 if rng.randrange(15) else rng.randrange(8),
            key=key if not seldom() else (None if key else b"\x01\x02\x03\x04"),
            **form,
        )
        if opcode < 8:
            in_message = not fin
    if rng.randrange(8) == 0:
        damaged = bytearray(wire)
        damaged[rng.randrange(len(wire))] = rng.randrange(256)
        wire = bytes(damaged)
    if rng.randrange(8) == 0:
        wire = wire[: rng.randrange(len(wire))]
    return wire


def random_chunks(rng: random.Random, wire: bytes) -> list[bytes]:
    """Cut anywhere: not at all, at a few places, into single bytes, with empty chunks among them."""
    kind = rng.randrange(5)
    if kind == 0:
        return [wire]
    if kind == 1:
        return cut(wire, range(1, len(wire)))
    if kind == 2:
        size = rng.choice((2, 3, 5, 8, 17, 64))
        return cut(wire, range(size, len(wire), size))
    return cut(wire, sorted(rng.randrange(len(wire) + 1) for _ in range(rng.randrange(1, 12))))


def random_limits(rng: random.Random) -> dict[str, Any]:
    """Limits that bite: a few bytes, a few frames, or none."""
    limits: dict[str, Any] = {}
    for name, values in (
        ("max_message_size", (None, 0, 1, 10, 125, 126, 300, 65535, 2**40)),
        ("max_frame_size", (None, None, 0, 1, 10, 124, 126, 65536)),
        ("max_fragments", (None, None, 1, 2, 3, 100)),
    ):
        if rng.randrange(3) == 0:
            limits[name] = rng.choice(values)
    return limits


def histories(decoders: list[Any], chunks: list[bytes]) -> None:
    """Feed the same chunks to each; compare all that can be seen, after every chunk."""
    for number, chunk in enumerate(chunks):
        seen = []
        for decoder in decoders:
            events = decoder.feed(chunk)
            if type(decoder).__name__ == "MessageDecoder":
                state = [decoder.has_control, decoder.has_waiting]
            else:
                state = [decoder.unfinished_header, decoder.missing_size]
            failure = decoder.failure
            if failure is not None:
                state += [failure.kind, failure.numbers]
            seen.append(([type(event) for event in events], events, failure, state))
        assert seen[0] == seen[1], f"chunk {number} of {[len(chunk) for chunk in chunks]}"


def compare_decoders(codecs: tuple[ModuleType, ModuleType], rng: random.Random) -> None:
    """One wild stream, all kinds of decoders."""
    role = rng.choice((Role.SERVER, Role.CLIENT))
    wire = wild_stream(rng, role)
    chunks = random_chunks(rng, wire)
    limits = random_limits(rng)
    histories([codec.MessageDecoder(role, **limits) for codec in codecs], chunks)
    bounds = {
        "max_feed_events": rng.choice((None, 1, 2, 5)),
        "max_feed_size": rng.choice((None, 1, 100, 5000)),
    }
    histories([codec.MessageDecoder(role, **limits, **bounds) for codec in codecs], [*chunks, *[b""] * 20])
    limits.pop("max_message_size", None)
    if rng.randrange(2):
        limits["allowed_rsv"] = rng.randrange(8)
    for partial in (False, True):
        options = {"partial": partial, "headers": bool(rng.randrange(2)), **limits}
        histories([codec.FrameDecoder(role, **options) for codec in codecs], chunks)


def test_random_streams_decode_alike(codecs: tuple[ModuleType, ModuleType]) -> None:
    """RFC 6455 5: events, failures (code, text, section, kind, numbers) and what waits, chunk by chunk."""
    for number in range(N_STREAMS):
        seed = f"{SEED}-{number}"
        try:
            compare_decoders(codecs, random.Random(seed))
        except BaseException as error:
            error.add_note(f"stream {seed}; repeat with WSFAST_SEED={SEED}")
            raise


@settings(max_examples=60, deadline=None, print_blob=True, suppress_health_check=[*HealthCheck])
@given(rng=st.randoms(use_true_random=False))
def test_shrinkable_streams_decode_alike(codecs: tuple[ModuleType, ModuleType], rng: random.Random) -> None:
    """RFC 6455 5: the same streams, drawn by hypothesis, which finds the shortest that differs."""
    compare_decoders(codecs, rng)


@settings(max_examples=150, deadline=None, print_blob=True, suppress_health_check=[*HealthCheck])
@given(
    wire=st.binary(max_size=40), size=st.integers(1, 40), role=st.sampled_from(Role), bits=st.integers(0, 7)
)
def test_any_bytes_decode_alike(
    codecs: tuple[ModuleType, ModuleType], wire: bytes, size: int, role: Role, bits: int
) -> None:
    """RFC 6455 5: bytes that nobody meant to be frames."""
    chunks = cut(wire, range(size, len(wire), size))
    histories([codec.MessageDecoder(role, max_message_size=20) for codec in codecs], chunks)
    for partial in (False, True):
        options = {"partial": partial, "headers": True, "allowed_rsv": bits, "max_frame_size": 30}
        histories([codec.FrameDecoder(role, **options) for codec in codecs], chunks)


def test_every_header_decodes_alike(codecs: tuple[ModuleType, ModuleType]) -> None:
    """RFC 6455 5.2: all 65536 first two bytes, with and without a message open, byte by byte."""
    body = bytes(range(1, 15))
    for role in Role:
        start = frame(TEXT, "a", fin=False, key=b"\0\0\0\0" if role is Role.SERVER else None)
        masked = 0x80 if role is Role.SERVER else 0
        for prefix in (b"", start):
            for first in range(256):
                # Lengths 0, 1, 2, 3, 125 to 127; all of them once, without the prefix.
                seconds = range(256) if not prefix else (masked, masked | 3, masked | 126, masked ^ 0x80)
                for second in seconds:
                    seen = []
                    for codec in codecs:
                        decoder = codec.MessageDecoder(role)
                        decoder.feed(prefix)
                        events = decoder.feed(bytes((first, second)))
                        at_two = decoder.failure
                        events += decoder.feed(body)
                        seen.append((events, at_two, decoder.failure, decoder.has_control))
                    if seen[0] != seen[1]:
                        pytest.fail(f"{role}, {prefix!r} + {first:02x} {second:02x}: {seen[0]} {seen[1]}")
                one = []
                for codec in codecs:
                    for allowed in (0, 5):
                        decoder = codec.FrameDecoder(role, allowed_rsv=allowed)
                        decoder.feed(prefix)
                        one.append((allowed, decoder.feed(bytes((first,))), decoder.failure))
                if one[:2] != one[2:]:
                    pytest.fail(f"{role}, {prefix!r} + {first:02x}: {one[:2]} {one[2:]}")


def test_random_legal_streams_give_what_was_sent(codec: ModuleType) -> None:
    """RFC 6455 5: messages and control frames, in any fragments and chunks, come out as they went in."""
    for number in range(N_STREAMS // 3):
        seed = f"{SEED}-legal-{number}"
        rng = random.Random(seed)
        role = rng.choice((Role.SERVER, Role.CLIENT))
        maker = StreamMaker(rng, role)
        maker.legal(rng.randrange(1, 10))
        if rng.randrange(3) == 0:
            maker.close()
        decoder = codec.MessageDecoder(role)
        chunks = random_chunks(rng, maker.wire)
        events = [event for chunk in chunks for event in decoder.feed(chunk)]
        assert events == maker.events, f"stream {seed}; repeat with WSFAST_SEED={SEED}"
        assert decoder.failure is None, f"stream {seed}; repeat with WSFAST_SEED={SEED}"


def test_random_faults_are_named_after_all_that_came_before(codec: ModuleType) -> None:
    """RFC 6455 5, 7.4, 8.1 and 10.4: the good messages first, then the fault, whatever follows it."""
    for number in range(N_STREAMS // 3):
        seed = f"{SEED}-fault-{number}"
        rng = random.Random(seed)
        role = rng.choice((Role.SERVER, Role.CLIENT))
        maker = StreamMaker(rng, role)
        maker.legal(rng.randrange(0, 6))
        failure = maker.fault()
        events = list(maker.events)
        maker.legal(2)
        decoder = codec.MessageDecoder(role)
        got = [event for chunk in random_chunks(rng, maker.wire) for event in decoder.feed(chunk)]
        assert got == events, f"stream {seed}; repeat with WSFAST_SEED={SEED}"
        assert decoder.failure == failure, f"stream {seed}; repeat with WSFAST_SEED={SEED}"


def test_partial_frames_join_to_whole_ones(codec: ModuleType) -> None:
    """RFC 6455 5.2: with ``partial`` the same frames come, in more pieces."""
    for number in range(N_STREAMS // 3):
        seed = f"{SEED}-partial-{number}"
        rng = random.Random(seed)
        role = rng.choice((Role.SERVER, Role.CLIENT))
        wire = wild_stream(rng, role)
        whole, partial = codec.FrameDecoder(role), codec.FrameDecoder(role, partial=True)
        frames = [one for chunk in random_chunks(rng, wire) for one in whole.feed(chunk)]
        joined: list[tuple[int, bytes, bool]] = []
        payload = b""
        for part in [part for chunk in random_chunks(rng, wire) for part in partial.feed(chunk)]:
            assert part.offset == len(payload), f"stream {seed}"
            payload += part.payload
            if part.frame_finished:
                joined.append((part.opcode, payload, part.fin))
                payload = b""
        assert joined == [(one.opcode, one.payload, one.fin) for one in frames], f"stream {seed}"
        assert whole.failure == partial.failure, f"stream {seed}"


def outcome(call: Callable[[], Any]) -> Any:
    """What a call returned, or the class of what it raised."""
    try:
        return call()
    except Exception as error:
        return type(error)


PAYLOADS: tuple[Any, ...] = (
    "", "text", "한😀", "\ud800", "a" * 125, "é" * 63,
    b"", b"bytes", b"\xff", b"\xe2\x82", b"\xac", b"\xc3\xa9", b"b" * 126, b"c" * 65536,
    bytearray(b"b"), memoryview(b"view"), memoryview(b"abcd")[::2], None, 5,
)  # fmt: skip


def random_call(rng: random.Random) -> tuple[str, tuple[Any, ...], dict[str, Any]]:
    """A call to an encoder, right or wrong."""
    data = rng.choice(PAYLOADS)
    method = rng.choice(("message", "fragment", "fragment", "fragment", "ping", "pong", "close", "frame"))
    text = rng.choice((None, None, True, False))
    if method == "message":
        return method, (data,), {"text": text}
    if method == "fragment":
        return method, (data,), {"fin": rng.choice((True, False)), "text": text}
    if method in ("ping", "pong"):
        return method, (data,) if rng.randrange(5) else (), {}
    if method == "close":
        code = rng.choice(
            (None, 1000, 1001, 1004, 1005, 1006, 3000, 4999, 5000, -1, 70000, 2**70, "1000", 1000.0)
        )
        return method, (code, rng.choice(("", "bye", "한" * 41, "한" * 42, "\ud800", None, b"x"))), {}
    opcode = rng.choice((0, 1, 2, 3, 8, 9, 10, 11, 15, 16, -1, 2**70, None))
    flags = {name: rng.choice((True, False)) for name in ("fin", "rsv1", "rsv2", "rsv3")}
    return method, (opcode, data), flags


def test_encoders_write_the_same_bytes(codecs: tuple[ModuleType, ModuleType]) -> None:
    """RFC 6455 5: the same calls with the same keys: the same bytes, exceptions, and state after each."""
    for number in range(N_STREAMS // 2):
        seed = f"{SEED}-encode-{number}"
        rng = random.Random(seed)
        role = rng.choice((Role.SERVER, Role.CLIENT))
        encoders = [
            codec.FrameEncoder(role, random_bytes=random.Random(seed).randbytes if number % 5 else None)
            for codec in codecs
        ]
        for _ in range(rng.randrange(1, 15)):
            method, args, options = random_call(rng)
            seen = []
            for encoder in encoders:
                result = outcome(lambda e=encoder: getattr(e, method)(*args, **options))  # noqa: B023
                if number % 5 == 0 and role is Role.CLIENT and type(result) is bytes:
                    result = len(result)  # keys of their own
                seen.append((result, encoder.in_message))
            assert seen[0] == seen[1], f"{method}{args!r:.200} {options}; WSFAST_SEED={SEED}, {number}"


ODD: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 4, 8, 2**31, 2**32, 2**62, 2**63 - 1, 2**63, 2**64, 2**100, -(2**70), 1.0, "1",
    b"", b"1234", b"12345", "text", bytearray(b"1234"), memoryview(b"12345678")[::2], [], object, Role, Role.SERVER,
)  # fmt: skip


def mistakes(codec: ModuleType, odd: Any) -> dict[str, Callable[[], Any]]:
    """One odd value at every place that takes a value."""

    def encoder() -> Any:
        return codec.FrameEncoder(Role.SERVER)

    def made(decoder: Any, names: str) -> list[Any]:
        return [getattr(decoder, name) for name in names.split()]

    limits = "max_message_size max_frame_size max_fragments"
    return {
        "apply_mask, data": lambda: codec.apply_mask(odd, b"1234"),
        "apply_mask, key": lambda: codec.apply_mask(b"data", odd),
        "mask_inplace, buffer": lambda: codec.mask_inplace(odd, b"1234"),
        "mask_inplace, key": lambda: codec.mask_inplace(bytearray(b"data"), odd),
        "mask_inplace, phase": lambda: codec.mask_inplace(bytearray(b"data"), b"1234", odd),
        "utf8_valid": lambda: codec.utf8_valid(odd),
        "Utf8Validator.feed": lambda: codec.Utf8Validator().feed(odd),
        "MessageDecoder, role": lambda: codec.MessageDecoder(odd).role,
        "MessageDecoder, message": lambda: made(codec.MessageDecoder(Role.CLIENT, max_message_size=odd), limits),
        "MessageDecoder, frame": lambda: made(codec.MessageDecoder(Role.CLIENT, max_frame_size=odd), limits),
        "MessageDecoder, fragments": lambda: made(codec.MessageDecoder(Role.CLIENT, max_fragments=odd), limits),
        "MessageDecoder, text": lambda: codec.MessageDecoder(Role.CLIENT, text=odd).text,
        "MessageDecoder, inflate": lambda: codec.MessageDecoder(Role.CLIENT, inflate=odd).feed(b"\x81\x00"),
        "MessageDecoder.get_buffer": lambda: codec.MessageDecoder(Role.CLIENT).get_buffer(odd),
        "MessageDecoder.buffer_updated": lambda: codec.MessageDecoder(Role.CLIENT).buffer_updated(odd),
        "MessageDecoder.feed": lambda: codec.MessageDecoder(Role.CLIENT).feed(odd),
        "FrameDecoder, role": lambda: codec.FrameDecoder(odd).role,
        "FrameDecoder, frame": lambda: codec.FrameDecoder(Role.CLIENT, max_frame_size=odd).feed(b""),
        "FrameDecoder, fragments": lambda: codec.FrameDecoder(Role.CLIENT, max_fragments=odd).feed(b""),
        "FrameDecoder, allowed_rsv": lambda: codec.FrameDecoder(Role.CLIENT, allowed_rsv=odd).feed(b""),
        "FrameDecoder.feed": lambda: codec.FrameDecoder(Role.CLIENT).feed(odd),
        "FrameEncoder, role": lambda: codec.FrameEncoder(odd).role,
        "FrameEncoder, keys": lambda: codec.FrameEncoder(Role.CLIENT, random_bytes=lambda size: odd).ping(),
        "message": lambda: encoder().message(odd),
        "message, as text": lambda: encoder().message(odd, text=True),
        "message, as binary": lambda: encoder().message(odd, text=False),
        "fragment": lambda: encoder().fragment(odd),
        "fragment, as text": lambda: encoder().fragment(odd, text=True),
        "ping": lambda: encoder().ping(odd),
        "pong": lambda: encoder().pong(odd),
        "close, code": lambda: encoder().close(odd),
        "close, reason": lambda: encoder().close(1000, odd),
        "frame, opcode": lambda: encoder().frame(odd),
        "frame, payload": lambda: encoder().frame(2, odd),
    }  # fmt: skip


@pytest.mark.parametrize("odd", ODD, ids=lambda odd: "a view" if isinstance(odd, memoryview) else repr(odd))
def test_mistakes_of_the_caller_raise_alike(codecs: tuple[ModuleType, ModuleType], odd: Any) -> None:
    """The same class of exception, or the same result, for a value that does not belong there."""
    native, fallback = (mistakes(codec, odd) for codec in codecs)
    different = {
        name: (outcome(native[name]), outcome(fallback[name]))
        for name in native
        if outcome(native[name]) != outcome(fallback[name])
    }
    assert different == {}


def test_masks_and_validators_agree(codecs: tuple[ModuleType, ModuleType]) -> None:
    """RFC 6455 5.3 and 8.1: over random bytes, texts, pieces and phases."""
    native, fallback = codecs
    for number in range(N_STREAMS):
        seed = f"{SEED}-kernels-{number}"
        rng = random.Random(seed)
        maker = StreamMaker(rng, Role.SERVER)
        data = rng.choice((maker.text, maker.binary))() + rng.choice((b"", *BAD_UTF8)) + maker.text()
        key = rng.randbytes(4)
        assert native.apply_mask(data, key) == fallback.apply_mask(data, key), seed
        buffers = bytearray(data), bytearray(data)
        phase = rng.randrange(4)
        ends = [codec.mask_inplace(buffer, key, phase) for codec, buffer in zip(codecs, buffers, strict=True)]
        assert ends[0] == ends[1], seed
        assert buffers[0] == buffers[1], seed
        assert native.utf8_valid(data) is fallback.utf8_valid(data), seed
        validators = [codec.Utf8Validator() for codec in codecs]
        for piece in random_chunks(rng, data):
            seen = [(validator.feed(piece), validator.complete) for validator in validators]
            assert seen[0] == seen[1], seed
        assert validators[0].feed(b"") is (utf8_error(data) is None), seed


@pytest.mark.parametrize("size", [6150, 20_000], ids=["one piece", "several pieces"])
def test_of_two_faults_in_a_compressed_message_the_first_counts(codec: ModuleType, size: int) -> None:
    """RFC 6455 8.1, RFC 7692 7.2.2: what was inflated before the broken block is judged before it."""
    deflate = zlib.compressobj(wbits=-15)
    payload = deflate.compress(b"\xff" + b"a" * size) + deflate.flush(zlib.Z_SYNC_FLUSH) + b"\x07"
    agreement = accept(["permessage-deflate"], "deflate")
    assert agreement is not None
    decoder = codec.MessageDecoder(Role.CLIENT, inflate=Inflater(Role.CLIENT, agreement).inflate)
    assert decoder.feed(frame(TEXT, payload, rsv=4)) == []
    assert decoder.failure == Failure(1007, "text message is not valid UTF-8", "8.1")


def test_limits_of_frames_are_those_of_data_frames(codec: ModuleType) -> None:
    """RFC 6455 10.4 and 5.5: a control frame has its own limit, in both decoders."""
    stream = frame(PING, bytes(125)) + frame(CLOSE, b"\x03\xe8" + b"x" * 123)
    decoder = codec.MessageDecoder(Role.CLIENT, max_frame_size=10)
    assert decoder.feed(stream) == [Ping(bytes(125)), Close(1000, "x" * 123)]
    frames = codec.FrameDecoder(Role.CLIENT, max_frame_size=10)
    assert frames.feed(stream) == [Frame(PING, bytes(125)), Frame(CLOSE, b"\x03\xe8" + b"x" * 123)]
