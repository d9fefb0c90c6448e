"""RFC 6455 5.2 to 5.6: the encoder's bytes, read back by the parser of the websockets package."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from helpers import (
    BINARY,
    CLOSE,
    CONTINUATION,
    CONTROL,
    KEY,
    PING,
    PONG,
    RESERVED,
    TEXT,
    frame,
    parse_frame,
)

from wsfast.events import Opcode, Role

SIZES = (0, 1, 2, 3, 4, 5, 124, 125, 126, 127, 128, 1000, 65535, 65536, 70000)


@pytest.fixture(params=[Role.SERVER, Role.CLIENT], ids=["from a server", "from a client"])
def role(request: pytest.FixtureRequest) -> Role:
    return request.param


def encoder_of(codec: ModuleType, role: Role) -> Any:
    """An encoder that masks with the key of RFC 6455 5.7, if it masks."""
    return codec.FrameEncoder(role, random_bytes=lambda size: KEY[:size])


def key_of(role: Role) -> bytes | None:
    return KEY if role is Role.CLIENT else None


@pytest.mark.parametrize("size", SIZES)
def test_messages_of_every_length_form(codec: ModuleType, role: Role, size: int) -> None:
    """RFC 6455 5.2 and 5.6: the shortest form, FIN set, text from ``str`` and binary from bytes."""
    data = bytes(32 + i % 90 for i in range(size))
    for encoder in (codec.FrameEncoder(role), encoder_of(codec, role)):
        for value, opcode in ((data, BINARY), (data.decode(), TEXT), (bytearray(data), BINARY)):
            encoded = encoder.message(value)
            assert type(encoded) is bytes
            parsed = parse_frame(encoded, role)
            assert (parsed.opcode, bytes(parsed.data), parsed.fin) == (opcode, data, True)
            assert (parsed.rsv1, parsed.rsv2, parsed.rsv3) == (False, False, False)
    assert encoder_of(codec, role).message(data) == frame(BINARY, data, key=key_of(role))


@pytest.mark.parametrize("size", SIZES)
def test_header_of_a_message_that_is_sent_as_it_is(codec: ModuleType, size: int) -> None:
    """RFC 6455 5.2: the header is what stands before the payload; 5.3: a client's has a key for the payload."""
    encoder = codec.FrameEncoder(Role.SERVER)
    assert encoder.header(size) + bytes(size) == encoder.message(bytes(size))
    with pytest.raises(ValueError, match="masks"):
        codec.FrameEncoder(Role.CLIENT).header(size)


def test_header_of_the_largest_size(codec: ModuleType) -> None:
    """RFC 6455 5.2: the top bit of the length is 0."""
    encoder = codec.FrameEncoder(Role.SERVER)
    assert encoder.header(2**32) == b"\x82\x7f\0\0\0\x01\0\0\0\0"
    assert encoder.header(sys.maxsize)[2:] == sys.maxsize.to_bytes(8, "big")
    for size in (-1, sys.maxsize + 1, 2**64):
        with pytest.raises(ValueError, match="size must be"):
            encoder.header(size)
    for wrong in ("1", 1.0, None):
        with pytest.raises(TypeError):
            encoder.header(wrong)


def test_header_inside_a_message(codec: ModuleType) -> None:
    """RFC 6455 5.4: fragments of one message are not interleaved with another's."""
    encoder = codec.FrameEncoder(Role.SERVER)
    encoder.fragment("a")
    with pytest.raises(RuntimeError):
        encoder.header(1)
    encoder.fragment("b", True)
    assert encoder.header(1) == b"\x82\x01"


@pytest.mark.parametrize("size", [0, 1, 2, 3, 41, 42, 63, 125 // 4 * 3, 21845, 21846])
@pytest.mark.parametrize("char", ["a", "é", "한", "😀", "\0", "\x7f\x80", "a\U0010ffff"], ids=ascii)
def test_text_is_written_as_utf8(codec: ModuleType, role: Role, char: str, size: int) -> None:
    """RFC 6455 5.6 and 8.1: of every width; the length is that of the bytes."""
    text = char * size
    encoder = encoder_of(codec, role)
    assert encoder.message(text) == frame(TEXT, text, key=key_of(role))
    assert encoder.fragment(text, fin=True) == frame(TEXT, text, key=key_of(role))


def test_type_may_be_chosen(codec: ModuleType, role: Role) -> None:
    """RFC 6455 5.6: bytes that are text already, and a ``str`` for a peer that wants binary."""
    encoder, key = encoder_of(codec, role), key_of(role)
    for data in ("héllo", "héllo".encode(), bytearray("héllo".encode())):
        assert encoder.message(data, text=True) == frame(TEXT, "héllo", key=key)
        assert encoder.message(data, text=False) == frame(BINARY, "héllo", key=key)
        assert encoder.message(data, True) == frame(TEXT, "héllo", key=key)
        assert encoder.fragment(data, True, True) == frame(TEXT, "héllo", key=key)
        assert encoder.fragment(data, True, False) == frame(BINARY, "héllo", key=key)
    assert encoder.message("a", text=None) == frame(TEXT, "a", key=key)
    assert encoder.message(b"a", text=None) == frame(BINARY, "a", key=key)


@pytest.mark.parametrize("data", [b"\xff", b"ok\xc3", b"\xed\xa0\x80", b"\xc0\x80", b"a" * 100 + b"\x80"])
def test_bytes_sent_as_text_must_be_utf8(codec: ModuleType, role: Role, data: bytes) -> None:
    """RFC 6455 8.1: an endpoint does not send what it would have to refuse."""
    encoder = encoder_of(codec, role)
    for call in (
        lambda: encoder.message(data, text=True),
        lambda: encoder.fragment(data, fin=True, text=True),
    ):
        with pytest.raises(ValueError, match="UTF-8"):
            call()
        assert encoder.in_message is False
    assert encoder.message("fine") == frame(TEXT, "fine", key=key_of(role))


@pytest.mark.parametrize("text", ["\ud800", "ok\udfff", "\udc80abc", "한" * 50 + "\ud83d"], ids=ascii)
def test_lone_surrogate_is_a_unicode_encode_error(codec: ModuleType, role: Role, text: str) -> None:
    """RFC 6455 8.1 and RFC 3629 3: UTF-8 has no form for it; nothing is sent in its place."""
    encoder = encoder_of(codec, role)
    for call in (
        lambda: encoder.message(text),
        lambda: encoder.message(text, text=False),
        lambda: encoder.fragment(text),
        lambda: encoder.fragment(text, fin=True, text=False),
        lambda: encoder.close(1000, text[:20] + text[-1]),
    ):
        with pytest.raises(UnicodeEncodeError):
            call()
        assert encoder.in_message is False
    encoder.fragment("a")
    with pytest.raises(UnicodeEncodeError):
        encoder.fragment(text, fin=True)
    assert encoder.fragment("b", fin=True) == frame(CONTINUATION, "b", key=key_of(role))
    # Found by test_agreement: a surrogate is one also where any character would be out of place.
    encoder.fragment(b"\xe2\x82", text=True)
    for fin in (False, True):
        with pytest.raises(UnicodeEncodeError):
            encoder.fragment(text, fin=fin)
    assert encoder.fragment(b"\xac", fin=True, text=True) == frame(CONTINUATION, b"\xac", key=key_of(role))


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_fragments_make_a_message(codec: ModuleType, role: Role, opcode: int) -> None:
    """RFC 6455 5.4: opcode in the first, continuation in the rest, FIN on the last."""
    encoder, key = encoder_of(codec, role), key_of(role)
    first, middle, empty, last = ("a", "b", "", "c") if opcode == TEXT else (b"a", b"b", b"", b"c")
    for _ in range(2):
        assert encoder.in_message is False
        assert encoder.fragment(first) == frame(opcode, "a", fin=False, key=key)
        assert encoder.in_message is True
        assert encoder.fragment(middle, fin=False) == frame(CONTINUATION, "b", fin=False, key=key)
        assert encoder.fragment(empty) == frame(CONTINUATION, "", fin=False, key=key)
        assert encoder.in_message is True
        assert encoder.fragment(last, fin=True) == frame(CONTINUATION, "c", key=key)
    assert encoder.fragment(first, fin=True) == frame(opcode, "a", key=key)
    assert encoder.fragment(empty) == frame(opcode, "", fin=False, key=key)
    assert encoder.fragment(empty, True) == frame(CONTINUATION, "", key=key)
    assert encoder.in_message is False


@pytest.mark.parametrize("size", SIZES)
def test_fragments_of_every_length_form(codec: ModuleType, role: Role, size: int) -> None:
    """RFC 6455 5.2 and 5.4."""
    encoder, key = encoder_of(codec, role), key_of(role)
    payload = bytes(i % 256 for i in range(size))
    assert encoder.fragment(payload) == frame(BINARY, payload, fin=False, key=key)
    assert encoder.fragment(payload, fin=True) == frame(CONTINUATION, payload, key=key)


def test_control_frames_may_be_sent_inside_a_message(codec: ModuleType, role: Role) -> None:
    """RFC 6455 5.4: they do not touch its state."""
    encoder, key = encoder_of(codec, role), key_of(role)
    encoder.fragment(b"\xe2\x82", text=True)
    assert encoder.ping(b"\xff") == frame(PING, b"\xff", key=key)
    assert encoder.pong(b"\xff") == frame(PONG, b"\xff", key=key)
    assert encoder.close(1001) == frame(CLOSE, b"\x03\xe9", key=key)
    assert encoder.frame(BINARY, b"\xff") == frame(BINARY, b"\xff", key=key)
    assert encoder.in_message is True
    assert encoder.fragment(b"\xac", fin=True, text=True) == frame(CONTINUATION, b"\xac", key=key)


def test_message_inside_a_fragmented_one_is_a_runtime_error(codec: ModuleType, role: Role) -> None:
    """RFC 6455 5.4: "MUST NOT be interleaved"; the message can go on."""
    encoder = encoder_of(codec, role)
    encoder.fragment("a")
    for data in ("x", b"x", ""):
        with pytest.raises(RuntimeError):
            encoder.message(data)
        assert encoder.in_message is True
    assert encoder.fragment("b", fin=True) == frame(CONTINUATION, "b", key=key_of(role))
    assert encoder.message("x") == frame(TEXT, "x", key=key_of(role))


def test_fragment_of_the_other_type_is_a_type_error(codec: ModuleType, role: Role) -> None:
    """RFC 6455 5.4: a message has one type; unless the caller says what is meant."""
    encoder, key = encoder_of(codec, role), key_of(role)
    for first, other, as_told in (("a", b"b", {"text": True}), (b"a", "b", {"text": False})):
        same = type(first)
        encoder.fragment(first)
        for fin in (False, True):
            with pytest.raises(TypeError):
                encoder.fragment(other, fin=fin)
            with pytest.raises(TypeError):
                encoder.fragment(first, fin=fin, text=not as_told["text"])
            assert encoder.in_message is True
        assert encoder.fragment(other, **as_told) == frame(CONTINUATION, "b", fin=False, key=key)
        assert encoder.fragment(first, fin=True) == frame(CONTINUATION, "a", key=key)
        assert type(first) is same


def test_bytes_sent_as_text_are_checked_over_the_message(codec: ModuleType, role: Role) -> None:
    """RFC 6455 8.1 and 5.4: cut anywhere, and whole at the end."""
    data = "aé한😀".encode()
    for place in range(len(data) + 1):
        encoder, key = encoder_of(codec, role), key_of(role)
        assert encoder.fragment(data[:place], text=True) == frame(TEXT, data[:place], fin=False, key=key)
        assert encoder.fragment(data[place:], fin=True, text=True) == frame(
            CONTINUATION, data[place:], key=key
        )
    encoder = encoder_of(codec, role)
    for octet in data[:-1]:
        encoder.fragment(bytes([octet]), text=True)
    assert encoder.fragment(data[-1:], fin=True, text=True) == frame(CONTINUATION, data[-1:], key=key)


def test_text_that_is_wrong_changes_nothing(codec: ModuleType, role: Role) -> None:
    """RFC 6455 8.1: after the ValueError the message goes on from where it was, inside a character."""
    encoder, key = encoder_of(codec, role), key_of(role)
    encoder.fragment(b"a\xe2\x82", text=True)
    wrong: list[tuple[Any, bool]] = [
        (b"\xff", False),
        (b"\xff", True),
        (b"\xac\xc3", True),  # ends inside a character
        (b"", True),
        ("a", False),  # a whole character inside another
        ("a", True),
    ]
    for data, fin in wrong:
        with pytest.raises(ValueError, match="UTF-8"):
            encoder.fragment(data, fin=fin, text=True)
        assert encoder.in_message is True
    assert encoder.fragment(b"\xac\xc3", text=True) == frame(CONTINUATION, b"\xac\xc3", fin=False, key=key)
    assert encoder.fragment(b"\xa9", fin=True, text=True) == frame(CONTINUATION, b"\xa9", key=key)
    assert encoder.in_message is False
    # The next message begins with no character open.
    assert encoder.fragment("x") == frame(TEXT, "x", fin=False, key=key)


def test_binary_fragments_are_not_checked(codec: ModuleType, role: Role) -> None:
    """RFC 6455 5.6: binary is any bytes, also right after a text."""
    encoder, key = encoder_of(codec, role), key_of(role)
    encoder.fragment("a", fin=True)
    assert encoder.fragment(b"\xff") == frame(BINARY, b"\xff", fin=False, key=key)
    assert encoder.fragment(b"\xc3", fin=True) == frame(CONTINUATION, b"\xc3", key=key)


@pytest.mark.parametrize("size", [0, 1, 124, 125])
def test_ping_and_pong(codec: ModuleType, role: Role, size: int) -> None:
    """RFC 6455 5.5.2 and 5.5.3: up to 125 bytes of anything."""
    encoder, key = encoder_of(codec, role), key_of(role)
    payload = bytes(255 - i for i in range(size))
    assert encoder.ping(payload) == frame(PING, payload, key=key)
    assert encoder.pong(payload) == frame(PONG, payload, key=key)
    assert encoder.ping() == frame(PING, key=key)
    assert encoder.pong() == frame(PONG, key=key)


@pytest.mark.parametrize("size", [126, 127, 65536])
def test_ping_and_pong_of_more_than_125_bytes_are_value_errors(
    codec: ModuleType, role: Role, size: int
) -> None:
    """RFC 6455 5.5."""
    encoder = encoder_of(codec, role)
    for call in (encoder.ping, encoder.pong, lambda payload: encoder.frame(PING, payload)):
        with pytest.raises(ValueError, match="125"):
            call(bytes(size))


@pytest.mark.parametrize("reason", ["", "bye", "a" * 123, "é" * 61, "한" * 41, "😀" * 30])
def test_close_with_code_and_reason(codec: ModuleType, role: Role, reason: str) -> None:
    """RFC 6455 5.5.1: two bytes in network byte order, then up to 123 bytes of UTF-8."""
    for code in (1000, 1001, 1011, 3000, 4999):
        encoded = encoder_of(codec, role).close(code, reason)
        assert encoded == frame(CLOSE, code.to_bytes(2, "big") + reason.encode(), key=key_of(role))


@pytest.mark.parametrize("reason", ["a" * 124, "é" * 62, "한" * 42, "😀" * 31, "x" * 70000], ids=len)
def test_close_reason_of_more_than_123_bytes_is_a_value_error(
    codec: ModuleType, role: Role, reason: str
) -> None:
    """RFC 6455 5.5.1 and 5.5: 125 bytes without the code's two; never cut."""
    with pytest.raises(ValueError, match="123"):
        encoder_of(codec, role).close(1000, reason)


def test_close_reason_without_a_code_is_a_value_error(codec: ModuleType, role: Role) -> None:
    """RFC 6455 5.5.1: a reason stands behind a code."""
    encoder = encoder_of(codec, role)
    for code in (None, 1005):
        with pytest.raises(ValueError, match="reason"):
            encoder.close(code, "why")
        assert encoder.close(code, "") == frame(CLOSE, key=key_of(role))


@pytest.mark.parametrize("opcode", [CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG])
def test_frame_as_told(codec: ModuleType, role: Role, opcode: int) -> None:
    """RFC 6455 5.2: FIN and RSV bits where they belong, by position and by name, whatever came before."""
    encoder, key = encoder_of(codec, role), key_of(role)
    for value in (opcode, Opcode(opcode)):
        assert encoder.frame(value) == frame(opcode, key=key)
        assert encoder.frame(value, b"abc") == frame(opcode, b"abc", key=key)
    if opcode not in CONTROL:
        for bits in range(8):
            flags = (bool(bits & 4), bool(bits & 2), bool(bits & 1))
            for fin in (True, False):
                encoded = encoder.frame(opcode, b"abc", fin, *flags)
                assert encoded == frame(opcode, b"abc", fin=fin, rsv=bits, key=key)
                named = encoder.frame(
                    opcode=opcode, payload=b"abc", fin=fin, rsv1=flags[0], rsv2=flags[1], rsv3=flags[2]
                )
                assert named == encoded
        for size in SIZES:
            assert encoder.frame(opcode, bytes(size)) == frame(opcode, bytes(size), key=key)
    assert encoder.in_message is False


@pytest.mark.parametrize("opcode", [*RESERVED, 16, 0x81, 255, 256, 257, -1, 2**32 + 1, 2**70])
def test_frame_of_a_reserved_opcode_is_a_value_error(codec: ModuleType, role: Role, opcode: int) -> None:
    """RFC 6455 5.2: four bits, and six of their values."""
    with pytest.raises(ValueError, match="opcode"):
        encoder_of(codec, role).frame(opcode, b"")


@pytest.mark.parametrize("opcode", CONTROL)
def test_control_frame_that_breaks_the_rules_is_a_value_error(
    codec: ModuleType, role: Role, opcode: int
) -> None:
    """RFC 6455 5.5: at most 125 bytes, and final."""
    encoder = encoder_of(codec, role)
    with pytest.raises(ValueError, match="125"):
        encoder.frame(opcode, bytes(126))
    with pytest.raises(ValueError, match=r"fragment|final"):
        encoder.frame(opcode, b"", fin=False)
    assert encoder.frame(opcode, bytes(125)) == frame(opcode, bytes(125), key=key_of(role))


def test_frame_leaves_the_state_of_messages_alone(codec: ModuleType, role: Role) -> None:
    """RFC 6455 5.4: who uses ``frame`` keeps the order; ``fragment`` keeps its own."""
    encoder = encoder_of(codec, role)
    encoder.frame(TEXT, b"a", fin=False)
    assert encoder.in_message is False
    assert encoder.message("whole") == frame(TEXT, "whole", key=key_of(role))
    encoder.fragment(b"a")
    encoder.frame(CONTINUATION, b"b", fin=True)
    assert encoder.in_message is True


def test_wrong_types_change_nothing(codec: ModuleType, role: Role) -> None:
    """RFC 6455 5.4: a TypeError at the call, with a message open or not."""
    encoder = encoder_of(codec, role)
    calls: list[Callable[[], Any]] = [
        lambda: encoder.message(None),
        lambda: encoder.message(5),
        lambda: encoder.message(["a"]),
        lambda: encoder.fragment(None),
        lambda: encoder.fragment(5, fin=True),
        lambda: encoder.ping("text"),
        lambda: encoder.ping(None),
        lambda: encoder.pong("text"),
        lambda: encoder.pong(5),
        lambda: encoder.frame(BINARY, "text"),
        lambda: encoder.frame("2", b""),
        lambda: encoder.frame(None, b""),
        lambda: encoder.close("1000"),
        lambda: encoder.close(1000.0),
        lambda: encoder.close(1000, b"bye"),
        lambda: encoder.close(1000, None),
    ]
    for in_message in (False, True):
        if in_message:
            encoder.fragment("a")
            calls[:3] = []  # order comes first there: see test_message_inside_a_fragmented_one
        for number, call in enumerate(calls):
            with pytest.raises(TypeError):
                print("call", number, call())
            assert encoder.in_message is in_message
    assert encoder.fragment("b", fin=True) == frame(CONTINUATION, "b", key=key_of(role))


def test_large_message_is_one_frame(codec: ModuleType, role: Role) -> None:
    """RFC 6455 5.2: 63 bits of length; masked whole."""
    data = bytes(range(256)) * 5000
    parsed = parse_frame(codec.FrameEncoder(role).message(data), role)
    assert bytes(parsed.data) == data


if sys.maxsize < 2**32:

    def test_frame_that_no_bytes_can_hold(codec: ModuleType, role: Role) -> None:
        """RFC 6455 5.2 counts 63 bits; here 31 are all there are, and the header takes some."""
        payload = bytearray(sys.maxsize - 5)
        with pytest.raises((OverflowError, MemoryError)):
            codec.FrameEncoder(role).message(payload)


def test_what_is_encoded_is_decoded(codec: ModuleType, role: Role) -> None:
    """RFC 6455 5: the other endpoint reads what this one wrote."""
    encoder = codec.FrameEncoder(role)
    other = Role.CLIENT if role is Role.SERVER else Role.SERVER
    decoder = codec.MessageDecoder(other)
    messages: list[Any] = ["", b"", "한국어 😀" * 50, bytes(range(256)), "a" * 126, b"b" * 65536]
    assert decoder.feed(b"".join(map(encoder.message, messages))) == messages
    assert encoder.role is role
