"""RFC 7692 7.1.2: windows of 8 to 15 bits, in both roles, with every engine.

The judge is an inflater with the agreed window, which gets its output byte by byte. It can look back no further than
that window, so it fails at a distance that is too long.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
from helpers import parse_frame

from wsfast.connection import Connection
from wsfast.deflate import Deflate, accept, confirm, offer
from wsfast.events import Role

PMD = "permessage-deflate"
TAIL = b"\x00\x00\xff\xff"


@pytest.fixture(params=["zlib", "zlib-ng", "isal"])
def engine(request: pytest.FixtureRequest) -> str:
    if request.param != "zlib":
        pytest.importorskip({"zlib-ng": "zlib_ng", "isal": "isal"}[request.param])
    return str(request.param)


class StrictInflater:
    """Inflates with a window of ``bits``, and no more."""

    def __init__(self, bits: int) -> None:
        self.context = zlib.decompressobj(-bits)

    def inflate(self, payload: bytes) -> bytes:
        result, rest = bytearray(), payload + TAIL
        while True:
            piece = self.context.decompress(rest, 1)
            rest = self.context.unconsumed_tail
            result += piece
            if not piece and not rest:
                return bytes(result)


def messages(bits: int) -> Iterator[bytes]:
    """Data whose repetitions are near the window of ``bits``, and that of one bit more."""
    choose = random.Random(bits)
    edges = (263, 262, 261, 7, 6, 5, 1, 0, -1) if bits < 11 else (262, -1)  # the judge is slow
    for size in (1 << bits, 2 << bits) if bits < 11 else (1 << bits,):
        for less in edges:
            if size > less:
                yield choose.randbytes(size - less) * 2 + b"end"
    yield bytes(3000)
    words = [choose.randbytes(choose.randrange(3, 12)) for _ in range(60)]
    yield b" ".join(choose.choice(words) for _ in range(600))
    yield "".join(f"{number:03}" for number in range(1000)).encode() * 3


@pytest.mark.parametrize("bits", range(8, 15))
def test_the_judge_is_strict(bits: int) -> None:
    """A distance of the window is fine, one more is not."""
    half = random.Random(1).randbytes(1 << bits)
    for extra, fits in ((b"", True), (b"x", False)):
        context = zlib.compressobj(9, zlib.DEFLATED, -15)
        # The repetition is far away, and never nearer.
        payload = context.compress(half + extra + half[:100]) + context.flush(zlib.Z_SYNC_FLUSH)
        judge = StrictInflater(bits)
        if fits:
            assert judge.inflate(payload[:-4]) == half + extra + half[:100]
        else:
            with pytest.raises(zlib.error, match="too far back"):
                judge.inflate(payload[:-4])


@pytest.mark.parametrize("bits", range(8, 16))
@pytest.mark.parametrize("role", list(Role))
def test_a_peer_with_the_agreed_window_can_inflate_it(
    connection_codec: ModuleType, engine: str, role: Role, bits: int
) -> None:
    """RFC 7692 7.1.2.1, 7.1.2.2: "does not use a LZ77 sliding window size" that is larger."""
    if role is Role.SERVER:
        agreement = accept(
            [f"{PMD}; server_max_window_bits={bits}"], Deflate(engine=engine, server_max_window_bits=15)
        )
    else:
        config = Deflate(engine=engine, client_max_window_bits=15)
        agreement = confirm([f"{PMD}; client_max_window_bits={bits}"], config)
    assert agreement is not None
    connection, judge = Connection(role, compression=agreement), StrictInflater(bits)
    for data in messages(bits):
        connection.send(data, compress=True)
        frame = parse_frame(connection.data_to_send(), role)
        assert frame.rsv1
        assert judge.inflate(bytes(frame.data)) == data


@pytest.mark.parametrize("level", [None, *range(10)])
@pytest.mark.parametrize("mem_level", [1, 5, 9])
@pytest.mark.parametrize("name", ["zlib", "zlib-ng"])
def test_a_window_of_9_bits_fits_into_one_of_8(name: str, level: int | None, mem_level: int) -> None:
    """zlib's longest distance is the window less 262 bytes. Python may be built with zlib-ng in the place of zlib."""
    engine: Any = zlib if name == "zlib" else pytest.importorskip("zlib_ng.zlib_ng")
    context = engine.compressobj(-1 if level is None else level, zlib.DEFLATED, -9, mem_level)
    judge = StrictInflater(8)
    for data in messages(8):
        payload = context.compress(data) + context.flush(zlib.Z_SYNC_FLUSH)
        assert judge.inflate(payload.removesuffix(TAIL)) == data


@pytest.mark.parametrize("client_bits", [None, *range(8, 16)])
@pytest.mark.parametrize("server_bits", [None, *range(8, 16)])
def test_both_roles_agree_and_understand_each_other(
    engine: str, client_bits: int | None, server_bits: int | None
) -> None:
    """RFC 7692 7.1.2: any window in either direction, whoever asked for it."""
    for config in (
        Deflate(engine=engine, client_max_window_bits=client_bits),
        Deflate(engine=engine, server_max_window_bits=server_bits, client_max_window_bits=client_bits),
    ):
        theirs = accept([offer(config)], Deflate(engine=engine, server_max_window_bits=server_bits))
        assert theirs is not None
        ours = confirm([theirs.response], config)
        assert ours is not None
        assert ours.server_max_window_bits <= (server_bits or 12)
        assert ours.client_max_window_bits <= theirs.client_max_window_bits
        server, client = (
            Connection(Role.SERVER, compression=theirs),
            Connection(Role.CLIENT, compression=ours),
        )
        for sender, receiver in ((server, client), (client, server)):
            for data in list(messages(8))[-3:]:
                sender.send(data, compress=True)
                assert receiver.receive_data(sender.data_to_send()) == [data]
