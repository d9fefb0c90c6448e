"""RFC 6455 5.2: the frame header, bit by bit, and the order in which its faults are found."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
from helpers import (
    BINARY,
    CLOSE,
    CONTINUATION,
    KEY,
    PING,
    PONG,
    RESERVED,
    TEXT,
    Peer,
    assert_decodes,
    assert_fails,
    assert_frames,
    failure_position,
    frame,
    join,
    splits,
)

from wsfast.events import Failure, Frame, Opcode, Ping, Role

RSV_TEXTS = {
    1: "RSV3",
    2: "RSV2",
    3: "RSV2 and RSV3",
    4: "RSV1",
    5: "RSV1 and RSV3",
    6: "RSV1 and RSV2",
    7: "RSV1 and RSV2 and RSV3",
}
TOP_BIT = Failure(1002, "64-bit payload length has its top bit set", "5.2")
CONTROL_FRAGMENTED = Failure(1002, "control frame is fragmented", "5.5")
CONTROL_TOO_LONG = Failure(1002, "control frame payload is longer than 125 bytes", "5.5")
NOTHING_TO_CONTINUE = Failure(1002, "continuation frame with no message to continue", "5.4")


def rsv_failure(bits: int) -> Failure:
    return Failure(1002, f"{RSV_TEXTS[bits]} set without an extension that defines it", "5.2")


def opcode_failure(opcode: int) -> Failure:
    return Failure(1002, f"reserved opcode 0x{opcode:X}", "5.2")


def minimal_failure(length: int) -> Failure:
    return Failure(1002, f"payload length {length} is not in its shortest form", "5.2")


@pytest.mark.parametrize("bits", RSV_TEXTS)
@pytest.mark.parametrize("opcode", [TEXT, BINARY, CLOSE, PING, PONG])
def test_reserved_bits_fail_1002(codec: ModuleType, peer: Peer, opcode: int, bits: int) -> None:
    """RFC 6455 5.2, RSV1-3: MUST be 0 unless an extension is negotiated. Autobahn 3.1-3.7."""
    assert_fails(codec, peer, peer.frame(opcode, rsv=bits), rsv_failure(bits))


def test_reserved_bits_on_a_continuation_fail_1002(codec: ModuleType, peer: Peer) -> None:
    """RFC 6455 5.2: on every frame, not on the first of a message alone."""
    stream = join(peer.frame(TEXT, "a", fin=False), peer.frame(CONTINUATION, "b", rsv=4))
    assert_fails(codec, peer, stream, rsv_failure(4))


@pytest.mark.parametrize("fin", [True, False])
@pytest.mark.parametrize("opcode", RESERVED)
def test_reserved_opcodes_fail_1002(codec: ModuleType, peer: Peer, opcode: int, fin: bool) -> None:
    """RFC 6455 5.2, Opcode: an unknown one MUST fail the connection. Autobahn 4.1.1-4.2.5."""
    assert_fails(codec, peer, peer.frame(opcode, b"xy", fin=fin), opcode_failure(opcode))


@pytest.mark.parametrize("opcode", RESERVED)
def test_reserved_opcodes_inside_a_message_fail_1002(codec: ModuleType, peer: Peer, opcode: int) -> None:
    """RFC 6455 5.2, Opcode: an unfinished message makes no difference."""
    stream = join(peer.frame(TEXT, "a", fin=False), peer.frame(opcode))
    assert_fails(codec, peer, stream, opcode_failure(opcode))


@pytest.mark.parametrize("size", [0, 1, 2, 124, 125, 126, 127, 128, 255, 256, 1000, 65535, 65536, 65537])
def test_payload_length_forms(codec: ModuleType, peer: Peer, size: int) -> None:
    """RFC 6455 5.2, Payload length: 7 bits, 7+16 bits, 7+64 bits, in network byte order."""
    payload = bytes(i * 7 % 251 for i in range(size))
    text = "".join(chr(97 + i % 26) for i in range(size))
    stream = join(peer.frame(BINARY, payload), peer.frame(TEXT, text))
    assert_decodes(codec, peer, stream, [payload, text])
    assert_frames(codec, peer, stream, [Frame(Opcode.BINARY, payload), Frame(Opcode.TEXT, text.encode())])


@pytest.mark.parametrize(
    ("length", "length_bits"),
    [(0, 16), (1, 16), (125, 16), (0, 64), (1, 64), (125, 64), (126, 64), (65535, 64)],
)
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_length_not_in_its_shortest_form_fails_1002(
    codec: ModuleType, peer: Peer, opcode: int, length: int, length_bits: int
) -> None:
    """RFC 6455 5.2: "the minimal number of bytes MUST be used to encode the length"."""
    stream = peer.frame(opcode, bytes(length), length_bits=length_bits)
    assert_fails(codec, peer, stream, minimal_failure(length))


@pytest.mark.parametrize("length", [2**63, 2**63 + 5, 2**64 - 1])
def test_length_with_its_top_bit_set_fails_1002(codec: ModuleType, peer: Peer, length: int) -> None:
    """RFC 6455 5.2: "the most significant bit MUST be 0"."""
    for limits in ({}, {"max_frame_size": None}, {"max_frame_size": 10}):
        assert_fails(codec, peer, peer.frame(BINARY, b"abc", length=length), TOP_BIT, **limits)


@pytest.mark.parametrize("length", [2**16 + 5, 2**31 + 5, 2**32, 2**32 + 5, 2**48 + 5, 2**62, 2**63 - 1])
def test_every_byte_of_a_long_length_counts(codec: ModuleType, peer: Peer, length: int) -> None:
    """RFC 6455 5.2: all of the 63 bits; such a frame is legal, and is not over after 5 bytes."""
    stream = peer.frame(BINARY, b"abcde", length=length)
    assert_decodes(codec, peer, stream, [], max_message_size=None)
    assert_frames(codec, peer, stream, [], max_frame_size=None)


def test_many_frames_in_one_chunk(codec: ModuleType, peer: Peer) -> None:
    """RFC 6455 5.2: frames follow each other without anything between them."""
    payloads = [bytes([i % 256]) * (i % 140) for i in range(500)]
    stream = join(*(peer.frame(BINARY, payload) for payload in payloads))
    decoder = codec.MessageDecoder(peer.role)
    assert decoder.feed(stream) == payloads
    for chunk_size in (1, 3, 64, 1000):
        decoder = codec.MessageDecoder(peer.role)
        chunks = (stream[i : i + chunk_size] for i in range(0, len(stream), chunk_size))
        assert [event for chunk in chunks for event in decoder.feed(chunk)] == payloads


def test_feed_returns_a_message_with_its_last_byte(codec: ModuleType, peer: Peer) -> None:
    """RFC 6455 5.2: a frame ends where its length says; nothing behind it has to come first."""
    for payload in ("", "x", "y" * 126):
        stream = peer.frame(TEXT, payload)
        for chunks in splits(stream):
            decoder = codec.MessageDecoder(peer.role)
            got, n_fed = [], 0
            for chunk in chunks:
                n_fed += len(chunk)
                got += decoder.feed(chunk)
                assert got == ([payload] if n_fed == len(stream) else [])


def test_each_feed_returns_a_list_of_its_own(codec: ModuleType, peer: Peer) -> None:
    """RFC 6455 5.2: what a caller does to one list is not seen in the next."""
    decoder = codec.MessageDecoder(peer.role)
    first = decoder.feed(peer.frame(TEXT, "a"))
    assert first == ["a"]
    first.append("mine")
    empty = decoder.feed(b"")
    empty.append("mine")
    assert decoder.feed(b"") == []
    assert decoder.feed(peer.frame(TEXT, "b")) == ["b"]
    assert first == ["a", "mine"]


# One frame with two faults each: the first in the table of wsfast/faults.py is reported.
FIRST_OF_TWO: list[tuple[str, dict[str, Any], Failure, bool]] = [
    ("RSV before opcode", {"opcode": 0x3, "rsv": 2}, rsv_failure(2), True),
    ("RSV before mask", {"opcode": TEXT, "rsv": 1, "wrong_mask": True}, rsv_failure(1), True),
    ("RSV before FIN of a control frame", {"opcode": PING, "rsv": 4, "fin": False}, rsv_failure(4), True),
    ("opcode before mask", {"opcode": 0xB, "wrong_mask": True}, opcode_failure(0xB), True),
    ("opcode before its FIN", {"opcode": 0xB, "fin": False}, opcode_failure(0xB), True),
    ("opcode before its length", {"opcode": 0xF, "length": 126}, opcode_failure(0xF), True),
    ("FIN before length", {"opcode": PING, "fin": False, "length": 200}, CONTROL_FRAGMENTED, True),
    ("control length before its form", {"opcode": PING, "length_bits": 16}, CONTROL_TOO_LONG, True),
    ("control length before its top bit", {"opcode": PING, "length": 2**63}, CONTROL_TOO_LONG, True),
    ("continuation before form", {"opcode": CONTINUATION, "length_bits": 64}, NOTHING_TO_CONTINUE, True),
    ("continuation before size", {"opcode": CONTINUATION, "length": 11}, NOTHING_TO_CONTINUE, True),
    ("form before size", {"opcode": BINARY, "length": 20, "length_bits": 16}, minimal_failure(20), True),
    ("top bit before size", {"opcode": BINARY, "length": 2**63}, TOP_BIT, True),
]


@pytest.mark.parametrize(
    ("fields", "failure", "frame_level"),
    [row[1:] for row in FIRST_OF_TWO],
    ids=[row[0] for row in FIRST_OF_TWO],
)
def test_first_of_two_faults_is_reported(
    codec: ModuleType, peer: Peer, fields: dict[str, Any], failure: Failure, frame_level: bool
) -> None:
    """RFC 6455 5.2: one order of checks, so that a fault reads the same under every chunking."""
    options = dict(fields)
    if options.pop("wrong_mask", False):
        options["key"] = None if peer.key else KEY
    stream = peer.frame(options.pop("opcode"), **options)
    assert_fails(codec, peer, stream, failure, frame_level=frame_level, max_frame_size=10)


def test_mask_is_checked_before_the_rules_of_control_frames(codec: ModuleType, peer: Peer) -> None:
    """RFC 6455 5.1 before 5.5 and 5.4: in the order of the table of wsfast/faults.py."""
    wrong = None if peer.key else KEY
    text = "frame from a client is not masked" if peer.key else "frame from a server is masked"
    for stream in (
        frame(PING, fin=False, key=wrong),
        frame(PONG, length=126, key=wrong),
        frame(CONTINUATION, key=wrong),
    ):
        assert_fails(codec, peer, stream, Failure(1002, text, "5.1"))


@pytest.mark.parametrize(
    ("fields", "n_bytes"),
    [
        ({"opcode": CONTINUATION, "length": 70000}, {2}),
        ({"opcode": PING, "fin": False}, {1, 2}),
        ({"opcode": PING, "length": 126}, {2}),
        ({"opcode": BINARY, "rsv": 2, "length": 5}, {1, 2}),
        ({"opcode": 0x3, "length": 5}, {1, 2}),
        ({"opcode": BINARY, "length": 5, "length_bits": 16}, {4}),
        ({"opcode": BINARY, "length": 5, "length_bits": 64}, {10}),
    ],
    ids=str,
)
def test_faults_of_the_header_do_not_wait_for_the_payload(
    codec: ModuleType, peer: Peer, fields: dict[str, Any], n_bytes: set[int]
) -> None:
    """RFC 6455 5.2: as soon as the bytes that show it are there, also before the masking key."""
    stream = peer.frame(**fields)
    for cls in (codec.MessageDecoder, codec.FrameDecoder):
        assert failure_position(cls(peer.role), stream) in n_bytes


def test_messages_before_a_fault_are_delivered_in_order(codec: ModuleType, peer: Peer) -> None:
    """RFC 6455 7.1.7: the connection fails at the faulty frame, not before it."""
    stream = join(
        peer.frame(TEXT, "one"),
        peer.frame(PING, b"2"),
        peer.frame(BINARY, b"three"),
        peer.frame(0x3),
        peer.frame(TEXT, "never"),
    )
    assert_decodes(codec, peer, stream, ["one", Ping(b"2"), b"three"], opcode_failure(3))


def test_failure_tells_code_reason_and_section(codec: ModuleType) -> None:
    """RFC 6455 7.1.7: the failure is data, and ready for a log."""
    decoder = codec.MessageDecoder(Role.SERVER)
    assert decoder.failure is None
    assert decoder.feed(frame(0x7, key=KEY)) == []
    assert str(decoder.failure) == "1002: reserved opcode 0x7 (RFC 6455 5.2)"
    assert type(decoder.failure.code) is int
