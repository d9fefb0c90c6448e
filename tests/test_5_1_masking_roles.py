"""RFC 6455 5.1: a client masks every frame, a server masks none, and each refuses the opposite."""

from __future__ import annotations

from types import ModuleType

import pytest
from helpers import (
    BINARY,
    CLOSE,
    CONTINUATION,
    KEY,
    PING,
    PONG,
    TEXT,
    Peer,
    assert_decodes,
    assert_fails,
    failure_position,
    frame,
)

from wsfast.events import Failure, Ping, Role

NOT_MASKED = Failure(1002, "frame from a client is not masked", "5.1")
MASKED = Failure(1002, "frame from a server is masked", "5.1")
OPCODES = (CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG)

server, client = Peer(Role.SERVER), Peer(Role.CLIENT)


@pytest.mark.parametrize("payload", [b"", b"\x03\xe8", bytes(125)], ids=len)
@pytest.mark.parametrize("opcode", OPCODES)
def test_unmasked_frame_to_server_fails_1002(codec: ModuleType, opcode: int, payload: bytes) -> None:
    """RFC 6455 5.1: a server MUST close the connection upon a frame that is not masked."""
    assert_fails(codec, server, frame(opcode, payload), NOT_MASKED)


@pytest.mark.parametrize("payload", [b"", b"\x03\xe8", bytes(125)], ids=len)
@pytest.mark.parametrize("opcode", OPCODES)
def test_masked_frame_to_client_fails_1002(codec: ModuleType, opcode: int, payload: bytes) -> None:
    """RFC 6455 5.1: a client MUST close the connection upon a masked frame."""
    assert_fails(codec, client, frame(opcode, payload, key=KEY), MASKED)


def test_a_key_of_zeros_is_a_mask(codec: ModuleType) -> None:
    """RFC 6455 5.1: what counts is the mask bit, not whether the key changes anything."""
    masked = frame(TEXT, "hello", key=bytes(4))
    assert_decodes(codec, server, masked, ["hello"])
    assert_fails(codec, client, masked, MASKED)


@pytest.mark.parametrize("length_bits", [7, 16, 64])
def test_wrong_mask_bit_is_found_in_the_second_byte(codec: ModuleType, length_bits: int) -> None:
    """RFC 6455 5.1: nothing behind the mask bit is needed to see it."""
    length = {7: 5, 16: 200, 64: 70000}[length_bits]
    for role, wrong_key in ((Role.SERVER, None), (Role.CLIENT, KEY)):
        for cls in (codec.MessageDecoder, codec.FrameDecoder):
            assert failure_position(cls(role), frame(BINARY, length=length, key=wrong_key)) == 2


def test_peer_that_stops_masking_fails_1002(codec: ModuleType) -> None:
    """RFC 6455 5.1: each frame is masked, also the second one and one inside a message."""
    start, ping = frame(TEXT, "a", fin=False, key=KEY), frame(PING, b"p", key=KEY)
    stream = start + ping + frame(CONTINUATION, "b")
    assert_decodes(codec, server, stream, [Ping(b"p")], NOT_MASKED)


@pytest.mark.parametrize("role", Role)
def test_encoder_masks_as_a_client_and_never_as_a_server(codec: ModuleType, role: Role) -> None:
    """RFC 6455 5.1: every kind of frame, of every length form."""
    encoder = codec.FrameEncoder(role)
    frames = [
        encoder.message("text"),
        encoder.message(b""),
        encoder.message(bytes(126)),
        encoder.message(bytes(65536)),
        encoder.fragment("a"),
        encoder.ping(b"p"),
        encoder.pong(),
        encoder.fragment("b", fin=True),
        encoder.frame(BINARY, b"x"),
        encoder.close(1000, "bye"),
        encoder.close(),
    ]
    masked = 0x80 if role is Role.CLIENT else 0
    assert [one[1] & 0x80 for one in frames] == [masked] * len(frames)
