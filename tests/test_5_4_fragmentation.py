"""RFC 6455 5.4: messages in fragments, with control frames between them."""

from __future__ import annotations

from types import ModuleType

import pytest
from helpers import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    Peer,
    assert_decodes,
    assert_fails,
    failure_position,
    join,
)

from wsfast.events import Close, Failure, Ping, Pong

NOTHING_TO_CONTINUE = Failure(1002, "continuation frame with no message to continue", "5.4")
UNFINISHED = Failure(1002, "new data message before the fragmented one was finished", "5.4")


def fragments(peer: Peer, opcode: int, *payloads: bytes | str) -> list[bytes]:
    last = len(payloads) - 1
    return [
        peer.frame(opcode if i == 0 else CONTINUATION, payload, fin=i == last)
        for i, payload in enumerate(payloads)
    ]


@pytest.mark.parametrize(
    "payloads",
    [
        ("a", "b"),
        ("Hel", "l", "o"),
        ("", "all of it"),
        ("all of it", ""),
        ("a", "", "b"),
        ("", "", ""),
        ("", ""),
        ("x" * 126, "y" * 125, "z" * 127),
    ],
    ids=lambda payloads: "-".join(str(len(payload)) for payload in payloads),
)
def test_fragments_are_joined(codec: ModuleType, peer: Peer, payloads: tuple[str, ...]) -> None:
    """RFC 6455 5.4: also where one of them, or all, are empty. Autobahn 5.3-5.8, 6.1.1-6.1.3."""
    whole = "".join(payloads)
    stream = join(
        *fragments(peer, TEXT, *payloads),
        *fragments(peer, BINARY, *payloads),
        peer.frame(TEXT, "next"),
    )
    assert_decodes(codec, peer, stream, [whole, whole.encode(), "next"])


def test_fragments_of_one_byte_are_joined(codec: ModuleType, peer: Peer) -> None:
    """RFC 6455 5.4: a fragment may be one byte of a character, and there may be many."""
    for n_chars in (12, 1000):
        text = "Ω" * n_chars
        stream = join(*fragments(peer, TEXT, *(bytes([octet]) for octet in text.encode())))
        if n_chars == 12:
            assert_decodes(codec, peer, stream, [text])
        for chunk_size in (len(stream), 100, 13, 1):
            decoder = codec.MessageDecoder(peer.role)
            chunks = (stream[i : i + chunk_size] for i in range(0, len(stream), chunk_size))
            assert [event for chunk in chunks for event in decoder.feed(chunk)] == [text]


def test_text_fragments_may_cut_a_character_anywhere(codec: ModuleType, peer: Peer) -> None:
    """RFC 6455 5.4 and 5.6: "a particular text frame might include a partial UTF-8 sequence"."""
    data = "κόσμε 한국어 😀".encode()
    for place in range(len(data) + 1):
        stream = join(*fragments(peer, TEXT, data[:place], data[place:]))
        assert_decodes(codec, peer, stream, [data.decode()])


def test_type_of_a_message_is_that_of_its_first_frame(codec: ModuleType, peer: Peer) -> None:
    """RFC 6455 5.4: "the message type is set by the first fragment's opcode"; then the next sets its own."""
    stream = join(
        *fragments(peer, BINARY, b"\xff", b"\xfe"),
        *fragments(peer, TEXT, "te", "xt"),
        *fragments(peer, BINARY, b"te", b"xt"),
        peer.frame(TEXT, "t"),
    )
    assert_decodes(codec, peer, stream, [b"\xff\xfe", "text", b"text", "t"])


def test_control_frames_between_fragments_come_first(codec: ModuleType, peer: Peer) -> None:
    """RFC 6455 5.4: "control frames MAY be injected in the middle". Autobahn 5.6-5.8, 5.19, 5.20."""
    one, two, three = fragments(peer, TEXT, "a", "b", "c")
    stream = join(
        one, peer.frame(PING, b"1"), peer.frame(PONG, b"2"), two, peer.frame(PING), three, peer.frame(PING)
    )
    assert_decodes(codec, peer, stream, [Ping(b"1"), Pong(b"2"), Ping(b""), "abc", Ping(b"")])


def test_control_frame_inside_a_character_does_not_break_it(codec: ModuleType, peer: Peer) -> None:
    """RFC 6455 5.4: the payload of a control frame is no part of the text around it."""
    data = "😀".encode()
    stream = join(
        peer.frame(TEXT, data[:2], fin=False),
        peer.frame(PING, b"\xff\xfe"),
        peer.frame(CONTINUATION, data[2:3], fin=False),
        peer.frame(PONG, b"\x9f"),
        peer.frame(CONTINUATION, data[3:]),
    )
    assert_decodes(codec, peer, stream, [Ping(b"\xff\xfe"), Pong(b"\x9f"), "😀"])


@pytest.mark.parametrize("fin", [True, False])
@pytest.mark.parametrize("payload", [b"", b"payload"])
def test_continuation_without_start_fails_1002(
    codec: ModuleType, peer: Peer, fin: bool, payload: bytes
) -> None:
    """RFC 6455 5.4: there is nothing to continue at first. Autobahn 5.9-5.14."""
    assert_fails(codec, peer, peer.frame(CONTINUATION, payload, fin=fin), NOTHING_TO_CONTINUE)


@pytest.mark.parametrize("fin", [True, False])
def test_continuation_after_a_message_fails_1002(codec: ModuleType, peer: Peer, fin: bool) -> None:
    """RFC 6455 5.4: nor behind a message that is over, in one frame or in several, empty or not."""
    lost = peer.frame(CONTINUATION, b"x", fin=fin)
    for opcode, empty, whole in ((TEXT, "", "ab"), (BINARY, b"", b"ab")):
        assert_decodes(codec, peer, join(peer.frame(opcode), lost), [empty], NOTHING_TO_CONTINUE)
        stream = join(*fragments(peer, opcode, b"", b""), lost)
        assert_decodes(codec, peer, stream, [empty], NOTHING_TO_CONTINUE)
        stream = join(*fragments(peer, opcode, b"a", b"b"), lost)
        assert_decodes(codec, peer, stream, [whole], NOTHING_TO_CONTINUE)


def test_control_frame_is_nothing_to_continue(codec: ModuleType, peer: Peer) -> None:
    """RFC 6455 5.4: a control frame does not begin a message."""
    stream = join(peer.frame(PING, b"p"), peer.frame(CONTINUATION, b"x"))
    assert_decodes(codec, peer, stream, [Ping(b"p")], NOTHING_TO_CONTINUE)


@pytest.mark.parametrize("first_payload", [b"", b"a"], ids=["after an empty fragment", "after a fragment"])
@pytest.mark.parametrize("fin", [True, False])
@pytest.mark.parametrize("second", [TEXT, BINARY])
@pytest.mark.parametrize("first", [TEXT, BINARY])
def test_new_message_inside_a_message_fails_1002(
    codec: ModuleType, peer: Peer, first: int, second: int, fin: bool, first_payload: bytes
) -> None:
    """RFC 6455 5.4: "the fragments of one message MUST NOT be interleaved". Autobahn 5.15-5.18.

    After an empty first fragment too: whoever looks at the buffer instead of the state lets this pass.
    """
    start = peer.frame(first, first_payload, fin=False)
    stream = join(start, peer.frame(second, b"b", fin=fin))
    assert_fails(codec, peer, stream, UNFINISHED)
    stream = join(start, peer.frame(PING), peer.frame(second, b"b", fin=fin))
    assert_decodes(codec, peer, stream, [Ping(b"")], UNFINISHED)


def test_new_message_after_a_middle_fragment_fails_1002(codec: ModuleType, peer: Peer) -> None:
    """RFC 6455 5.4: a continuation that is not final leaves the message open, an empty one too."""
    for middle in (b"", b"m"):
        stream = join(
            peer.frame(BINARY, b"a", fin=False),
            peer.frame(CONTINUATION, middle, fin=False),
            peer.frame(BINARY, b"b"),
        )
        assert_fails(codec, peer, stream, UNFINISHED)


def test_message_goes_on_after_a_control_frame(codec: ModuleType, peer: Peer) -> None:
    """RFC 6455 5.4: control frames leave the state of the message alone, after an empty fragment too."""
    stream = join(
        peer.frame(TEXT, "", fin=False),
        peer.frame(PING, b"p"),
        peer.frame(CONTINUATION, "", fin=False),
        peer.frame(PONG),
        peer.frame(CONTINUATION, ""),
    )
    assert_decodes(codec, peer, stream, [Ping(b"p"), Pong(b""), ""])


def test_fragmentation_is_checked_at_the_header(codec: ModuleType, peer: Peer) -> None:
    """RFC 6455 5.4: the opcode tells; two bytes are enough."""
    start = peer.frame(TEXT, "a", fin=False)
    for opcode, before in ((CONTINUATION, b""), (TEXT, start), (BINARY, start)):
        stream = before + peer.frame(opcode, length=70000)
        for cls in (codec.MessageDecoder, codec.FrameDecoder):
            assert failure_position(cls(peer.role), stream) == len(before) + 2


def test_close_inside_a_message_drops_the_unfinished_one(codec: ModuleType, peer: Peer) -> None:
    """RFC 6455 5.4 and 5.5.1: a Close may come between fragments; what was not finished never is."""
    stream = join(
        peer.frame(TEXT, "a", fin=False), peer.frame(CLOSE, b"\x03\xe8"), peer.frame(CONTINUATION, "b")
    )
    assert_decodes(codec, peer, stream, [Close(1000, "")])


def test_unfinished_message_is_not_delivered(codec: ModuleType, peer: Peer) -> None:
    """RFC 6455 5.4: a message is whole, or it is not there."""
    stream = join(
        peer.frame(TEXT, "a", fin=False), peer.frame(PING), peer.frame(CONTINUATION, "bc", fin=False)
    )
    assert_decodes(codec, peer, stream, [Ping(b"")])
    assert_decodes(codec, peer, Peer(peer.role).frame(BINARY, b"abc", length=4), [])
