"""RFC 6455 7.4: which close codes may stand in a Close frame."""

from __future__ import annotations

from types import ModuleType

import pytest
from helpers import CLOSE, Peer, assert_decodes, assert_fails, frame

from wsfast.events import Close, CloseCode, Failure, Role, is_sendable_close_code

# 7.4.1 with IANA's registry (1012 to 1014), and the ranges of 7.4.2. Not: 1004 (reserved), 1005, 1006 and
# 1015 ("MUST NOT be set as a status code in a Close control frame").
ON_THE_WIRE = frozenset((1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014)) | frozenset(
    range(3000, 5000)
)
EDGES = (0, 1, 999, 1000, 1003, 1004, 1005, 1006, 1007, 1011, 1012, 1014, 1015, 1016, 1100)
EDGES += (1999, 2000, 2999, 3000, 3999, 4000, 4999, 5000, 5001, 32768, 65535)


@pytest.mark.parametrize("code", EDGES)
def test_close_code_on_the_wire(codec: ModuleType, peer: Peer, code: int) -> None:
    """RFC 6455 7.4.1 and 7.4.2: with and without a reason. Autobahn 7.7.1-7.9.13, 7.13.1-7.13.2."""
    for reason in ("", "reason"):
        stream = peer.frame(CLOSE, code.to_bytes(2, "big") + reason.encode())
        if code in ON_THE_WIRE:
            assert_decodes(codec, peer, stream, [Close(code, reason)])
        else:
            failure = Failure(1002, f"close code {code} must not be sent", "7.4")
            assert_fails(codec, peer, stream, failure)


def test_every_close_code_is_received_or_refused(codec: ModuleType, peer: Peer) -> None:
    """RFC 6455 7.4: all of the 65536."""
    # A key of zeros: the builder would cost more than the decoder.
    head = frame(CLOSE, length=2, key=bytes(4) if peer.key else None)
    for cls in (codec.MessageDecoder, codec.FrameDecoder):
        accepted = set()
        for code in range(65536):
            decoder = cls(peer.role)
            if decoder.feed(head + code.to_bytes(2, "big")):
                accepted.add(code)
            elif decoder.failure.code != 1002 or decoder.failure.section != "7.4":
                pytest.fail(f"{code}: {decoder.failure}")
        assert accepted == ON_THE_WIRE


def test_every_close_code_is_sent_or_refused(codec: ModuleType) -> None:
    """RFC 6455 7.4: the encoder refuses what a peer would; 1005 stands for "no code" (7.1.5)."""
    encoder = codec.FrameEncoder(Role.SERVER)
    accepted = set()
    for code in range(65536):
        try:
            encoded = encoder.close(code)
        except ValueError as error:
            assert str(code) in str(error)  # noqa: PT017 (pytest.raises takes 20 times as long)
        else:
            accepted.add(code)
            assert encoded == (b"\x88\x02" + code.to_bytes(2, "big") if code != 1005 else b"\x88\x00")
    assert accepted == ON_THE_WIRE | {1005}
    assert encoder.close() == encoder.close(None) == b"\x88\x00"


@pytest.mark.parametrize("code", [-1, -1000, 65536, 66536, 2**32 + 1000, 2**64 + 1000])
def test_code_that_does_not_fit_two_bytes_is_a_value_error(codec: ModuleType, code: int) -> None:
    """RFC 6455 5.5.1: a 2-byte unsigned integer; nothing is cut off to make one."""
    with pytest.raises(ValueError, match=str(code)):
        codec.FrameEncoder(Role.SERVER).close(code)


def test_the_shared_rule_is_the_rfc_s() -> None:
    """RFC 6455 7.4: ``is_sendable_close_code`` and the names in ``CloseCode``."""
    assert {code for code in range(-10, 66000) if is_sendable_close_code(code)} == ON_THE_WIRE
    assert {code for code in CloseCode if not is_sendable_close_code(code)} == {1005, 1006, 1015}
    assert CloseCode.PROTOCOL_ERROR == 1002
    assert CloseCode.INVALID_PAYLOAD_DATA == 1007
    assert CloseCode.MESSAGE_TOO_BIG == 1009
