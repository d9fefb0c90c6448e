"""RFC 6455 5.5: Close, Ping and Pong: at most 125 bytes, never fragmented, between any two frames."""

from __future__ import annotations

from types import ModuleType

import pytest
from helpers import (
    BINARY,
    CLOSE,
    CONTINUATION,
    CONTROL,
    PING,
    PONG,
    TEXT,
    Peer,
    assert_decodes,
    assert_fails,
    assert_frames,
    failure_position,
    join,
)

from wsfast.events import Close, Failure, Frame, Opcode, Ping, Pong

FRAGMENTED = Failure(1002, "control frame is fragmented", "5.5")
TOO_LONG = Failure(1002, "control frame payload is longer than 125 bytes", "5.5")
ONE_BYTE = Failure(1002, "close frame payload of 1 byte", "5.5.1")
REASON_NOT_UTF8 = Failure(1007, "close reason is not valid UTF-8", "5.5.1")


def code(number: int) -> bytes:
    return number.to_bytes(2, "big")


@pytest.mark.parametrize("size", [0, 1, 4, 8, 31, 124, 125])
@pytest.mark.parametrize(("opcode", "event"), [(PING, Ping), (PONG, Pong)])
def test_ping_and_pong_carry_their_payload(
    codec: ModuleType, peer: Peer, opcode: int, event: type[Ping | Pong], size: int
) -> None:
    """RFC 6455 5.5.2 and 5.5.3: up to 125 bytes of anything. Autobahn 2.1-2.4, 2.6."""
    payload = bytes(255 - i for i in range(size))
    stream = peer.frame(opcode, payload)
    assert_decodes(codec, peer, stream, [event(payload)])
    assert_frames(codec, peer, stream, [Frame(Opcode(opcode), payload)])
    (got,) = codec.MessageDecoder(peer.role).feed(stream)
    assert type(got.payload) is bytes


def test_unsolicited_pongs_and_many_pings_are_delivered(codec: ModuleType, peer: Peer) -> None:
    """RFC 6455 5.5.3: "a Pong frame MAY be sent unsolicited". Autobahn 2.7-2.11."""
    stream = join(*(peer.frame(opcode, bytes([i])) for i in range(10) for opcode in (PING, PONG)))
    events = [event(bytes([i])) for i in range(10) for event in (Ping, Pong)]
    assert_decodes(codec, peer, stream, events)


@pytest.mark.parametrize("length", [126, 127, 65535, 65536, 2**62])
@pytest.mark.parametrize("opcode", CONTROL)
def test_control_frame_of_more_than_125_bytes_fails_1002(
    codec: ModuleType, peer: Peer, opcode: int, length: int
) -> None:
    """RFC 6455 5.5: "MUST have a payload length of 125 bytes or less". Autobahn 2.5."""
    assert_fails(codec, peer, peer.frame(opcode, b"x", length=length), TOO_LONG)


@pytest.mark.parametrize("length_bits", [16, 64])
@pytest.mark.parametrize("opcode", CONTROL)
def test_control_frame_with_a_long_length_form_fails_1002(
    codec: ModuleType, peer: Peer, opcode: int, length_bits: int
) -> None:
    """RFC 6455 5.5 and 5.2: 126 and 127 in the length field say "more than 125", whatever follows."""
    stream = peer.frame(opcode, b"12345", length_bits=length_bits)
    assert_fails(codec, peer, stream, TOO_LONG)
    assert failure_position(codec.MessageDecoder(peer.role), stream) == 2


@pytest.mark.parametrize("opcode", CONTROL)
def test_fragmented_control_frame_fails_1002(codec: ModuleType, peer: Peer, opcode: int) -> None:
    """RFC 6455 5.5: "MUST NOT be fragmented", also inside a fragmented message. Autobahn 5.1, 5.2."""
    bad = peer.frame(opcode, b"\x03\xe8", fin=False)
    assert_fails(codec, peer, bad, FRAGMENTED)
    assert_decodes(codec, peer, join(peer.frame(TEXT, "a", fin=False), bad), [], FRAGMENTED)
    assert_decodes(codec, peer, join(bad, peer.frame(CONTINUATION, b"rest")), [], FRAGMENTED)


def test_control_frame_is_delivered_whole(codec: ModuleType, peer: Peer) -> None:
    """RFC 6455 5.5: nothing of it is seen before its last byte, nor counted as control."""
    stream = peer.frame(PING, b"whole")
    decoder = codec.MessageDecoder(peer.role)
    assert decoder.feed(stream[:-1]) == []
    assert decoder.has_control is False
    assert decoder.feed(stream[-1:]) == [Ping(b"whole")]
    assert decoder.has_control is True


def test_has_control_tells_of_the_last_feed(codec: ModuleType, peer: Peer) -> None:
    """RFC 6455 5.5: data alone needs no look at each event."""
    data, ping = peer.frame(TEXT, "data"), peer.frame(PING)
    decoder = codec.MessageDecoder(peer.role)
    assert decoder.has_control is False
    for chunk, has_control in [
        (data, False),
        (ping, True),
        (b"", False),
        (data + ping + data, True),
        (data + data, False),
        (peer.frame(PONG), True),
        (data, False),
        (ping + peer.frame(TEXT, "x", fin=False), True),
        (peer.frame(CONTINUATION, "y"), False),
    ]:
        decoder.feed(chunk)
        assert decoder.has_control is has_control
    for last in (peer.frame(CLOSE), peer.frame(0x3)):
        decoder = codec.MessageDecoder(peer.role)
        decoder.feed(data + last)
        assert decoder.has_control is True


def test_empty_close_has_code_1005(codec: ModuleType, peer: Peer) -> None:
    """RFC 6455 5.5.1 and 7.1.5: "if there is no such data, the code is considered to be 1005"."""
    stream = peer.frame(CLOSE)
    assert_decodes(codec, peer, stream, [Close(1005, "")])
    assert_frames(codec, peer, stream, [Frame(Opcode.CLOSE, b"")])


@pytest.mark.parametrize(
    "reason",
    ["", "x", "bye", "a" * 122, "a" * 123, "é" * 61, "한" * 41, "😀" * 30 + "abc", "\0", "\ufeffbom"],
    ids=lambda reason: f"{len(reason.encode())} bytes",
)
def test_close_carries_code_and_reason(codec: ModuleType, peer: Peer, reason: str) -> None:
    """RFC 6455 5.5.1: two bytes in network byte order, then up to 123 bytes of UTF-8. Autobahn 7.3.3-7.3.5."""
    payload = code(1000) + reason.encode()
    assert_decodes(codec, peer, peer.frame(CLOSE, payload), [Close(1000, reason)])
    assert_frames(codec, peer, peer.frame(CLOSE, payload), [Frame(Opcode.CLOSE, payload)])
    (close,) = codec.MessageDecoder(peer.role).feed(peer.frame(CLOSE, payload))
    assert type(close.code) is int
    assert type(close.reason) is str


@pytest.mark.parametrize("octet", [0, 3, 0xFF])
def test_close_of_one_byte_fails_1002(codec: ModuleType, peer: Peer, octet: int) -> None:
    """RFC 6455 5.5.1: a body begins with a code of two bytes. Autobahn 7.3.2."""
    assert_fails(codec, peer, peer.frame(CLOSE, bytes([octet])), ONE_BYTE)


@pytest.mark.parametrize(
    "reason",
    [
        b"\xff",
        b"ok\x80",
        b"\xc0\xaf",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        "κόσμε".encode() + b"\xed\xa0\x80edited",
        "한".encode()[:2],
        b"x" * 122 + b"\xc3",
        b"\xe0\x80\x80",
    ],
    ids=lambda reason: reason.hex()[-12:],
)
def test_close_reason_that_is_not_utf8_fails_1007(codec: ModuleType, peer: Peer, reason: bytes) -> None:
    """RFC 6455 5.5.1 and 8.1: the reason is UTF-8, and whole. Autobahn 7.5.1."""
    assert_fails(codec, peer, peer.frame(CLOSE, code(1000) + reason), REASON_NOT_UTF8)


def test_close_code_is_checked_before_the_reason(codec: ModuleType, peer: Peer) -> None:
    """RFC 6455 7.4 before 5.5.1: in the order of the table of wsfast/faults.py."""
    stream = peer.frame(CLOSE, code(1006) + b"\xff")
    assert_fails(codec, peer, stream, Failure(1002, "close code 1006 must not be sent", "7.4"))


def test_close_is_judged_when_it_is_whole(codec: ModuleType, peer: Peer) -> None:
    """RFC 6455 5.5.1: the order of checks does not hang on where the frame was cut."""
    for payload in (b"\x00", code(0) + b"bye", code(1000) + b"\xffbye"):
        stream = peer.frame(CLOSE, payload)
        for cls in (codec.MessageDecoder, codec.FrameDecoder):
            assert failure_position(cls(peer.role), stream) == len(stream)


def test_bytes_after_a_close_are_ignored(codec: ModuleType, peer: Peer) -> None:
    """RFC 6455 5.5.1 and 1.4: after a Close its sender sends no more data. Autobahn 7.1.3-7.1.6."""
    for after in (
        peer.frame(TEXT, "late"),
        peer.frame(PING),
        peer.frame(CLOSE, code(1001)),
        peer.frame(0x3),
        b"\xff" * 50,
        peer.frame(BINARY, length=2**62),
    ):
        stream = join(peer.frame(BINARY, b"b"), peer.frame(CLOSE, code(1000) + b"bye"), after)
        assert_decodes(codec, peer, stream, [b"b", Close(1000, "bye")])
        frames = [Frame(Opcode.BINARY, b"b"), Frame(Opcode.CLOSE, code(1000) + b"bye")]
        assert_frames(codec, peer, stream, frames)


def test_control_frames_between_messages_keep_their_place(codec: ModuleType, peer: Peer) -> None:
    """RFC 6455 5.5: events come in the order of the frames."""
    stream = join(
        peer.frame(PING, b"1"), peer.frame(TEXT, "2"), peer.frame(PONG, b"3"), peer.frame(BINARY, b"4")
    )
    assert_decodes(codec, peer, stream, [Ping(b"1"), "2", Pong(b"3"), b"4"])
