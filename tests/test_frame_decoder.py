"""RFC 6455 5: the frame-level decoder: fragments, partial payloads, RSV bits of extensions."""

from __future__ import annotations

import dataclasses
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
    TEXT,
    Peer,
    assert_frames,
    cut,
    frame,
    join,
    shown,
    splits,
)

from wsfast.events import Failure, Frame, FrameHeader, Opcode, Role

TEXTS_OF_BITS = {1: "RSV3", 2: "RSV2", 3: "RSV2 and RSV3", 4: "RSV1", 6: "RSV1 and RSV2"}


def rsv_failure(bits: int) -> Failure:
    return Failure(1002, f"{TEXTS_OF_BITS[bits]} set without an extension that defines it", "5.2")


def partial_frames(codec: ModuleType, peer: Peer, chunks: list[bytes], **options: Any) -> list[Frame]:
    decoder = codec.FrameDecoder(peer.role, partial=True, **options)
    frames = [one for chunk in chunks for one in decoder.feed(chunk)]
    assert decoder.failure is None
    return frames


def put_together(parts: list[Frame]) -> list[Frame]:
    """Check the parts of each frame against each other, and join them."""
    frames: list[Frame] = []
    payload = b""
    for part in parts:
        assert part.offset == len(payload)
        if part.offset:
            assert part.payload, "an empty part behind another"
        payload += part.payload
        if part.frame_finished:
            frames.append(dataclasses.replace(part, payload=payload, offset=0))
            payload = b""
        else:
            assert part.payload, "an empty part of a frame that is not empty"
    return frames


def test_fragments_come_as_they_are(codec: ModuleType, peer: Peer) -> None:
    """RFC 6455 5.4: opcode, FIN and payload of each frame, control frames between them."""
    stream = join(
        peer.frame(TEXT, "Hel", fin=False),
        peer.frame(PING, b"ping"),
        peer.frame(CONTINUATION, "", fin=False),
        peer.frame(PONG),
        peer.frame(CONTINUATION, "lo"),
        peer.frame(BINARY, b""),
        peer.frame(CLOSE, b"\x03\xe8bye"),
    )
    frames = [
        Frame(Opcode.TEXT, b"Hel", fin=False),
        Frame(Opcode.PING, b"ping"),
        Frame(Opcode.CONTINUATION, b"", fin=False),
        Frame(Opcode.PONG, b""),
        Frame(Opcode.CONTINUATION, b"lo"),
        Frame(Opcode.BINARY, b""),
        Frame(Opcode.CLOSE, b"\x03\xe8bye"),
    ]
    assert_frames(codec, peer, stream, frames)
    for chunks in splits(stream):
        assert put_together(partial_frames(codec, peer, chunks)) == frames, shown(chunks)


def test_fields_have_their_types(codec: ModuleType, peer: Peer) -> None:
    """RFC 6455 5.2: an ``Opcode``, ``bytes`` and booleans, so that ``is`` and ``match`` work."""
    stream = join(peer.frame(TEXT, "a", fin=False, rsv=5), peer.frame(PING), peer.frame(CONTINUATION, "b"))
    for partial in (False, True):
        for one in codec.FrameDecoder(peer.role, allowed_rsv=7, partial=partial).feed(stream):
            assert type(one) is Frame
            assert type(one.opcode) is Opcode
            assert type(one.payload) is bytes
            flags = (one.fin, one.rsv1, one.rsv2, one.rsv3, one.frame_finished)
            assert [type(flag) for flag in flags] == [bool] * 5
            assert type(one.offset) is int


def test_text_is_not_checked(codec: ModuleType, peer: Peer) -> None:
    """RFC 6455 8.1: whoever joins the frames checks the text; an extension may have changed it."""
    for payload in (b"\xff", b"\xc3", b"\xed\xa0\x80"):
        assert_frames(codec, peer, peer.frame(TEXT, payload), [Frame(Opcode.TEXT, payload)])


def test_close_frame_is_checked(codec: ModuleType, peer: Peer) -> None:
    """RFC 6455 5.5.1: length, code and reason, with ``partial`` too; the payload comes as it is."""
    for partial in (False, True):
        assert_frames(codec, peer, peer.frame(CLOSE), [Frame(Opcode.CLOSE, b"")], partial=partial)
        for payload, failure in (
            (b"\x03", Failure(1002, "close frame payload of 1 byte", "5.5.1")),
            (b"\x03\xed", Failure(1002, "close code 1005 must not be sent", "7.4")),
            (b"\x03\xe8\xff", Failure(1007, "close reason is not valid UTF-8", "5.5.1")),
        ):
            assert_frames(codec, peer, peer.frame(CLOSE, payload), [], failure, partial=partial)


def test_partial_payload_comes_as_it_arrives(codec: ModuleType, peer: Peer) -> None:
    """RFC 6455 5.2: each feed returns what it brought of the frame, unmasked, with its offset."""
    stream = peer.frame(BINARY, b"0123456789", fin=False)
    start = peer.header_size(10)
    decoder = codec.FrameDecoder(peer.role, partial=True)
    common = {"opcode": Opcode.BINARY, "fin": False}
    assert decoder.feed(stream[:start]) == []
    first, second = stream[start : start + 3], stream[start + 3 : start + 4]
    assert decoder.feed(first) == [Frame(payload=b"012", frame_finished=False, **common)]
    assert decoder.feed(b"") == []
    assert decoder.feed(second) == [Frame(payload=b"3", offset=3, frame_finished=False, **common)]
    last = stream[start + 4 :] + peer.frame(CONTINUATION, b"abc")[: peer.header_size(3) + 1]
    assert decoder.feed(last) == [
        Frame(payload=b"456789", offset=4, frame_finished=True, **common),
        Frame(Opcode.CONTINUATION, b"a", frame_finished=False),
    ]
    tail = peer.frame(CONTINUATION, b"abc")[peer.header_size(3) + 1 :]
    assert decoder.feed(tail) == [Frame(Opcode.CONTINUATION, b"bc", offset=1)]


@pytest.mark.parametrize("size", [0, 1, 2, 9, 125, 126, 300])
def test_parts_join_to_the_whole(codec: ModuleType, peer: Peer, size: int) -> None:
    """RFC 6455 5.2 and 5.3: over every cut; each byte comes at once and once."""
    payload = bytes(i * 3 % 256 for i in range(size))
    stream = join(peer.frame(BINARY, payload), peer.frame(TEXT, "next"))
    whole = [Frame(Opcode.BINARY, payload), Frame(Opcode.TEXT, b"next")]
    assert_frames(codec, peer, stream, whole)
    for chunks in splits(stream):
        assert put_together(partial_frames(codec, peer, chunks)) == whole, shown(chunks)
        decoder = codec.FrameDecoder(peer.role, partial=True)
        n_fed = n_received = 0
        for chunk in chunks:
            n_fed += len(chunk)
            n_received += sum(len(part.payload) for part in decoder.feed(chunk) if part.opcode == BINARY)
            assert n_received == min(max(n_fed - peer.header_size(size), 0), size), shown(chunks)


def test_empty_frame_is_one_part(codec: ModuleType, peer: Peer) -> None:
    """RFC 6455 5.2: else nobody would hear of it."""
    stream = join(peer.frame(TEXT, "", fin=False), peer.frame(CONTINUATION, ""), peer.frame(BINARY))
    expected = [
        Frame(Opcode.TEXT, b"", fin=False),
        Frame(Opcode.CONTINUATION, b""),
        Frame(Opcode.BINARY, b""),
    ]
    for chunks in splits(stream):
        assert partial_frames(codec, peer, chunks) == expected, shown(chunks)


@pytest.mark.parametrize("opcode", CONTROL)
def test_control_frame_is_never_partial(codec: ModuleType, peer: Peer, opcode: int) -> None:
    """RFC 6455 5.5: at most 125 bytes, and only whole of use."""
    payload = b"\x03\xe8" + b"c" * 20
    for chunks in splits(peer.frame(opcode, payload)):
        assert partial_frames(codec, peer, chunks) == [Frame(Opcode(opcode), payload)], shown(chunks)


def test_failure_inside_partial_frames_keeps_what_came(codec: ModuleType, peer: Peer) -> None:
    """RFC 6455 5.4: the parts before the fault are returned, nothing after it."""
    stream = join(peer.frame(BINARY, b"abc", fin=False), peer.frame(TEXT, "x"))
    decoder = codec.FrameDecoder(peer.role, partial=True)
    assert decoder.feed(stream) == [Frame(Opcode.BINARY, b"abc", fin=False)]
    reason = "new data message before the fragmented one was finished"
    assert decoder.failure == Failure(1002, reason, "5.4")
    assert decoder.feed(peer.frame(CONTINUATION, b"x")) == []


@pytest.mark.parametrize("bits", range(1, 8))
@pytest.mark.parametrize("opcode", [TEXT, BINARY, CONTINUATION])
def test_allowed_bits_are_passed_on(codec: ModuleType, peer: Peer, opcode: int, bits: int) -> None:
    """RFC 6455 5.2 and 5.8: on data frames, each bit in its own field, with every part of a frame."""
    start = [] if opcode != CONTINUATION else [peer.frame(BINARY, b"", fin=False)]
    first = [] if opcode != CONTINUATION else [Frame(Opcode.BINARY, b"", fin=False)]
    flags = {"rsv1": bool(bits & 4), "rsv2": bool(bits & 2), "rsv3": bool(bits & 1)}
    stream = join(*start, peer.frame(opcode, b"xyz", rsv=bits), peer.frame(TEXT, "plain"))
    frames = [*first, Frame(Opcode(opcode), b"xyz", **flags), Frame(Opcode.TEXT, b"plain")]
    for allowed in (bits, 7):
        assert_frames(codec, peer, stream, frames, allowed_rsv=allowed)
        for chunks in splits(stream):
            parts = partial_frames(codec, peer, chunks, allowed_rsv=allowed)
            assert put_together(parts) == frames, shown(chunks)
            assert {(part.rsv1, part.rsv2, part.rsv3) for part in parts if part.payload in (b"x", b"y")} <= {
                tuple(flags.values())
            }


@pytest.mark.parametrize(
    ("allowed", "bits", "offending"), [(4, 2, 2), (4, 6, 2), (4, 7, 3), (3, 4, 4), (2, 1, 1), (1, 6, 6)]
)
def test_only_the_offending_bits_are_named(
    codec: ModuleType, peer: Peer, allowed: int, bits: int, offending: int
) -> None:
    """RFC 6455 5.2: what an extension defines is not at fault."""
    stream = peer.frame(BINARY, b"x", rsv=bits)
    assert_frames(codec, peer, stream, [], rsv_failure(offending), allowed_rsv=allowed)


@pytest.mark.parametrize("opcode", CONTROL)
def test_allowed_bits_are_for_data_frames_alone(codec: ModuleType, peer: Peer, opcode: int) -> None:
    """RFC 6455 5.2: no extension that we know defines a bit for a control frame (RFC 7692 6.1 forbids it)."""
    stream = join(peer.frame(TEXT, "a", rsv=4, fin=False), peer.frame(opcode, rsv=4))
    frames = [Frame(Opcode.TEXT, b"a", fin=False, rsv1=True)]
    assert_frames(codec, peer, stream, frames, rsv_failure(4), allowed_rsv=4)


@pytest.mark.parametrize("bits", [-1, 8, 16, 2**40])
def test_allowed_bits_out_of_range_are_a_value_error(codec: ModuleType, bits: int) -> None:
    """RFC 6455 5.2: there are three."""
    with pytest.raises(ValueError, match="allowed_rsv"):
        codec.FrameDecoder(Role.SERVER, allowed_rsv=bits)


def test_frames_of_different_keys(codec: ModuleType) -> None:
    """RFC 6455 5.3: partial payloads of the frames are unmasked each with its own."""
    server = Peer(Role.SERVER)
    stream = join(
        frame(BINARY, b"abcdefg", key=KEY, fin=False),
        frame(CONTINUATION, b"hijkl", key=b"\x01\x02\x03\x04", fin=False),
        frame(CONTINUATION, b"mnopqr", key=b"\xff\x00\xff\x00"),
    )
    for chunks in splits(stream):
        assert (
            b"".join(part.payload for part in partial_frames(codec, server, chunks)) == b"abcdefghijklmnopqr"
        )


def test_large_frame_in_parts_is_not_kept(codec: ModuleType, peer: Peer) -> None:
    """RFC 6455 5.2: the decoder needs the whole frame at no time; each chunk comes out at once."""
    payload = bytes(range(256)) * 1000
    stream = peer.frame(BINARY, payload)
    chunks = cut(stream, range(10_000, len(stream), 10_000))
    decoder = codec.FrameDecoder(peer.role, partial=True)
    parts = [part for chunk in chunks for part in decoder.feed(chunk)]
    assert len(parts) == len(chunks)
    assert b"".join(part.payload for part in parts) == payload


def test_headers_are_told_before_their_payload(codec: ModuleType, peer: Peer) -> None:
    """RFC 6455 5.2: of data frames and control frames, under every chunking."""
    stream = join(
        peer.frame(TEXT, "Hel", fin=False, rsv=4),
        peer.frame(PING, b"ping"),
        peer.frame(CONTINUATION, b"x" * 70_000, rsv=3),
        peer.frame(BINARY, b""),
        peer.frame(CLOSE, b"\x03\xe8bye"),
    )
    expected: list[Frame | FrameHeader] = [
        FrameHeader(Opcode.TEXT, 3, fin=False, rsv1=True),
        Frame(Opcode.TEXT, b"Hel", fin=False, rsv1=True),
        FrameHeader(Opcode.PING, 4),
        Frame(Opcode.PING, b"ping"),
        FrameHeader(Opcode.CONTINUATION, 70_000, rsv2=True, rsv3=True),
        Frame(Opcode.CONTINUATION, b"x" * 70_000, rsv2=True, rsv3=True),
        FrameHeader(Opcode.BINARY, 0),
        Frame(Opcode.BINARY, b""),
        FrameHeader(Opcode.CLOSE, 5),
        Frame(Opcode.CLOSE, b"\x03\xe8bye"),
    ]
    for chunks in (
        [stream],
        [stream[pos : pos + 1] for pos in range(len(stream))],
        cut(stream, [2, 20, 30_000]),
    ):
        decoder = codec.FrameDecoder(peer.role, allowed_rsv=7, headers=True)
        got = [one for chunk in chunks for one in decoder.feed(chunk)]
        assert got == expected
        assert {type(one.payload_length) for one in got if isinstance(one, FrameHeader)} == {int}


def test_header_and_parts(codec: ModuleType, peer: Peer) -> None:
    """RFC 6455 5.2: what is received of a frame whose end has not come, and how much is missing."""
    decoder = codec.FrameDecoder(peer.role, headers=True, partial=True, max_frame_size=None)
    stream = peer.frame(BINARY, b"0123456789" * 10_000)
    size = peer.header_size(100_000)
    for pos in range(size):
        assert decoder.unfinished_header == stream[:pos]
        assert decoder.missing_size == 0
        expected = [FrameHeader(Opcode.BINARY, 100_000)] if pos == size - 1 else []
        assert decoder.feed(stream[pos : pos + 1]) == expected
    assert decoder.unfinished_header == b""
    assert decoder.missing_size == 100_000
    assert decoder.feed(stream[size : size + 3]) == [
        Frame(Opcode.BINARY, b"012", offset=0, frame_finished=False)
    ]
    assert decoder.missing_size == 99_997
    assert decoder.feed(stream[size + 3 :])[0].frame_finished
    assert decoder.missing_size == 0
    assert decoder.feed(peer.frame(PING, b"ping")[:-1]) == [FrameHeader(Opcode.PING, 4)]
    assert decoder.missing_size == 1
    assert decoder.unfinished_header == b""


@pytest.mark.parametrize(
    ("payload", "kind"),
    [
        (b"\x03", "CLOSE_PAYLOAD_OF_ONE_BYTE"),
        (b"\x03\xed", "INVALID_CLOSE_CODE"),
        (b"\x03\xe8\xff", "CLOSE_REASON_NOT_UTF8"),
    ],
)
def test_with_headers_a_bad_close_frame_is_told_too(
    codec: ModuleType, peer: Peer, payload: bytes, kind: str
) -> None:
    """RFC 6455 5.5.1: its body is wanted for what is said about it."""
    decoder = codec.FrameDecoder(peer.role, headers=True)
    got = decoder.feed(peer.frame(CLOSE, payload) + b"ignored")
    assert got == [FrameHeader(Opcode.CLOSE, len(payload)), Frame(Opcode.CLOSE, payload)]
    assert decoder.failure.kind == kind
    assert decoder.missing_size == 0
    assert decoder.unfinished_header == b""


def test_a_header_that_breaks_a_rule_is_not_told(codec: ModuleType, peer: Peer) -> None:
    decoder = codec.FrameDecoder(peer.role, headers=True, max_frame_size=10)
    assert decoder.feed(peer.frame(BINARY, bytes(11))) == []
    assert (decoder.failure.kind, decoder.failure.numbers) == ("FRAME_TOO_BIG", (11, 10))
    assert decoder.unfinished_header == b""
