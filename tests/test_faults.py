"""Every way to break RFC 6455 5 and RFC 7692 6 has a ``kind`` for programs, the same from both codecs."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType
from typing import get_args

import pytest
from helpers import BINARY, CLOSE, CONTINUATION, PING, TEXT, Peer, join

from wsfast import faults
from wsfast.events import Failure, FailureKind, Role

HEADER = Path(__file__).parent.parent / "src" / "kernels" / "frame_header.h"
RSV1 = 4


def inflate(data: bytes, fin: bool) -> list[bytes]:
    if data == b"bad":
        raise faults.PeerFault(faults.INFLATE_FAILED)
    if data == b"bomb":
        raise faults.PeerFault(faults.ratio_too_high(200))
    return [data * 100]


def broken(peer: Peer, kind: str) -> tuple[bytes, tuple[int, ...]]:
    """A stream that breaks this rule, and the numbers in the text."""
    other = Peer(Role.CLIENT if peer.role is Role.SERVER else Role.SERVER)
    head = b"\x80" if peer.role is Role.SERVER else b"\x00"

    def length(code: int, *size: int) -> bytes:
        return bytes([0x82, head[0] | code, *size])

    streams: dict[str, tuple[bytes, tuple[int, ...]]] = {
        "RESERVED_BITS": (peer.frame(TEXT, "a", rsv=3), (3,)),
        "RESERVED_OPCODE": (peer.frame(0xB, b""), (11,)),
        "NOT_MASKED": (other.frame(TEXT, "a"), ()),
        "MASKED": (other.frame(TEXT, "a"), ()),
        "CONTROL_FRAGMENTED": (peer.frame(PING, b"", fin=False), ()),
        "CONTROL_TOO_LONG": (peer.frame(PING, bytes(126)), ()),
        "NOTHING_TO_CONTINUE": (peer.frame(CONTINUATION, b""), ()),
        "MESSAGE_UNFINISHED": (peer.frame(TEXT, "a", fin=False) + peer.frame(TEXT, "a"), ()),
        "TOO_MANY_FRAGMENTS": (
            join(peer.frame(TEXT, "a", fin=False), *[peer.frame(CONTINUATION, "a", fin=False)] * 3),
            (3,),
        ),
        "LENGTH_TOP_BIT": (length(127, 0x80, *bytes(7)), ()),
        "LENGTH_NOT_MINIMAL": (length(126, 0, 125), (125,)),
        "FRAME_TOO_BIG": (peer.frame(BINARY, bytes(1001)), (1001, 1000)),
        "MESSAGE_TOO_BIG": (
            join(peer.frame(TEXT, "a" * 900, fin=False), peer.frame(CONTINUATION, "a" * 601)),
            (1501, 1500),
        ),
        "COMPRESSED_CONTINUATION": (
            peer.frame(TEXT, "a", fin=False) + peer.frame(CONTINUATION, "a", rsv=RSV1),
            (),
        ),
        # 1500 bytes, an eighth of them and 1024 are 2711.
        "DEFLATED_TOO_BIG": (peer.frame(TEXT, b"", length=2712, rsv=RSV1), (2712, 1500)),
        "INFLATED_TOO_BIG": (peer.frame(TEXT, b"a" * 16, rsv=RSV1), (1500,)),
        "RATIO_TOO_HIGH": (peer.frame(TEXT, b"bomb", rsv=RSV1), (200,)),
        "INFLATE_FAILED": (peer.frame(TEXT, b"bad", rsv=RSV1), ()),
        "TEXT_NOT_UTF8": (peer.frame(TEXT, b"\xff"), ()),
        "CLOSE_PAYLOAD_OF_ONE_BYTE": (peer.frame(CLOSE, b"\x03"), ()),
        "INVALID_CLOSE_CODE": (peer.frame(CLOSE, b"\x03\xed"), (1005,)),
        "CLOSE_REASON_NOT_UTF8": (peer.frame(CLOSE, b"\x03\xe8\xff"), ()),
    }
    return streams[kind]


@pytest.mark.parametrize("kind", get_args(FailureKind))
def test_kind_and_numbers(codec: ModuleType, peer: Peer, kind: str) -> None:
    if kind == ("MASKED" if peer.role is Role.SERVER else "NOT_MASKED"):
        return  # the fault of the other role
    stream, numbers = broken(peer, kind)
    limit = None if kind == "DEFLATED_TOO_BIG" else 1000
    decoder = codec.MessageDecoder(
        peer.role, max_message_size=1500, max_fragments=3, inflate=inflate, max_frame_size=limit
    )
    decoder.feed(stream)
    assert isinstance(decoder.failure, Failure)
    assert decoder.failure.kind == kind
    assert decoder.failure.numbers == numbers
    assert all(str(number) in decoder.failure.reason for number in numbers if kind[:8] != "RESERVED")


def test_kinds_are_the_verdicts_of_the_kernel() -> None:
    text = HEADER.read_text()
    verdicts = text[text.index("WSFAST_INCOMPLETE = -1") : text.index("} wsfast_verdict;")]
    names = re.findall(r"WSFAST_(\w+)", verdicts)[2:]
    assert names == list(get_args(FailureKind))[: len(names)]
