"""RFC 6455 5.7: the examples of the RFC itself, byte for byte."""

from __future__ import annotations

from types import ModuleType

import pytest
from helpers import KEY, Peer, Wire, assert_decodes, assert_frames

from wsfast.events import Event, Frame, Opcode, Ping, Pong, Role

server, client = Peer(Role.SERVER), Peer(Role.CLIENT)

UNMASKED_HELLO = bytes.fromhex("81 05 48 65 6c 6c 6f")
MASKED_HELLO = bytes.fromhex("81 85 37 fa 21 3d 7f 9f 4d 51 58")
FRAGMENTED_HELLO = bytes.fromhex("01 03 48 65 6c 80 02 6c 6f")
PING_HELLO = bytes.fromhex("89 05 48 65 6c 6c 6f")
PONG_HELLO = bytes.fromhex("8a 85 37 fa 21 3d 7f 9f 4d 51 58")
BINARY_256 = bytes.fromhex("82 7e 01 00") + bytes(range(256))
BINARY_64K = bytes.fromhex("82 7f 00 00 00 00 00 01 00 00") + bytes(range(256)) * 256


@pytest.mark.parametrize(
    ("peer", "stream", "events", "frames"),
    [
        pytest.param(client, UNMASKED_HELLO, ["Hello"], [Frame(Opcode.TEXT, b"Hello")], id="unmasked text"),
        pytest.param(server, MASKED_HELLO, ["Hello"], [Frame(Opcode.TEXT, b"Hello")], id="masked text"),
        pytest.param(
            client,
            FRAGMENTED_HELLO,
            ["Hello"],
            [Frame(Opcode.TEXT, b"Hel", fin=False), Frame(Opcode.CONTINUATION, b"lo")],
            id="fragmented text",
        ),
        pytest.param(client, PING_HELLO, [Ping(b"Hello")], [Frame(Opcode.PING, b"Hello")], id="ping"),
        pytest.param(server, PONG_HELLO, [Pong(b"Hello")], [Frame(Opcode.PONG, b"Hello")], id="masked pong"),
        pytest.param(
            client,
            Wire(BINARY_256, [1, 2, 3, 4, 5, 100]),
            [BINARY_256[4:]],
            [Frame(Opcode.BINARY, BINARY_256[4:])],
            id="256 bytes",
        ),
        pytest.param(
            client,
            Wire(BINARY_64K, [1, 2, 3, 9, 10, 11, 10000]),
            [BINARY_64K[10:]],
            [Frame(Opcode.BINARY, BINARY_64K[10:])],
            id="64 KiB",
        ),
    ],
)
def test_examples_are_decoded(
    codec: ModuleType, peer: Peer, stream: bytes, events: list[Event], frames: list[Frame]
) -> None:
    """RFC 6455 5.7."""
    assert_decodes(codec, peer, stream, events)
    assert_frames(codec, peer, stream, frames)


def test_examples_are_encoded(codec: ModuleType) -> None:
    """RFC 6455 5.7: with its masking key, 0x37fa213d."""
    from_server = codec.FrameEncoder(Role.SERVER)
    from_client = codec.FrameEncoder(Role.CLIENT, random_bytes=lambda size: KEY[:size])
    assert from_server.message("Hello") == UNMASKED_HELLO
    assert from_client.message("Hello") == MASKED_HELLO
    assert from_server.fragment("Hel") + from_server.fragment("lo", fin=True) == FRAGMENTED_HELLO
    assert from_server.ping(b"Hello") == PING_HELLO
    assert from_client.pong(b"Hello") == PONG_HELLO
    assert from_server.message(BINARY_256[4:]) == BINARY_256
    assert from_server.message(BINARY_64K[10:]) == BINARY_64K


def test_example_is_masked(codec: ModuleType) -> None:
    """RFC 6455 5.7 and 5.3."""
    assert codec.apply_mask(b"Hello", KEY) == MASKED_HELLO[6:]
    buffer = bytearray(MASKED_HELLO[6:])
    assert codec.mask_inplace(buffer, KEY) == 1
    assert buffer == b"Hello"
