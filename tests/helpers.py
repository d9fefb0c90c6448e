"""The common parts of the codec tests: a frame builder, ways to cut a stream into chunks, checks of a decoder.

Nothing here comes from the product except the names of ``wsfast.events``. Frames are built, and UTF-8 is
judged, from RFC 6455 and the Unicode Standard alone. The builder can break every rule that it knows.
"""

from __future__ import annotations

import importlib
import itertools
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import websockets.frames
from websockets.streams import StreamReader

from wsfast.events import Close, Event, Failure, Frame, Ping, Pong, Role

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
CONTROL = (CLOSE, PING, PONG)
RESERVED = (0x3, 0x4, 0x5, 0x6, 0x7, 0xB, 0xC, 0xD, 0xE, 0xF)

KEY = bytes((0x37, 0xFA, 0x21, 0x3D))
"""The masking key of the examples in RFC 6455 5.7."""

counts_references = pytest.mark.skipif(
    sys.implementation.name != "cpython", reason="no references are counted: objects die some time later"
)

SHORT_SIZE = 24
"""A stream of at most so many bytes is cut at every pair of places."""


class Wire(bytes):
    """Bytes as they travel. ``marks``: the places in them that are worth a cut."""

    marks: tuple[int, ...]

    def __new__(cls, data: bytes, marks: Iterable[int] = ()) -> Wire:
        self = super().__new__(cls, data)
        self.marks = tuple(sorted({mark for mark in marks if 0 < mark < len(data)}))
        return self


def join(*parts: bytes) -> Wire:
    """Put frames behind each other; where one ends is a mark too."""
    marks: list[int] = []
    start = 0
    for part in parts:
        marks.append(start)
        marks.extend(start + mark for mark in getattr(part, "marks", ()))
        start += len(part)
    return Wire(b"".join(parts), marks)


def xor(data: bytes, key: bytes) -> bytes:
    """Octet i of the result is octet i of the data XOR octet i MOD 4 of the key (RFC 6455 5.3)."""
    result = bytearray(len(data))
    for i in range(4):
        result[i::4] = data[i::4].translate(bytes(octet ^ key[i] for octet in range(256)))
    return bytes(result)


def frame(
    opcode: int,
    payload: bytes | str = b"",
    *,
    fin: bool = True,
    rsv: int = 0,
    key: bytes | None = None,
    length: int | None = None,
    length_bits: int | None = None,
) -> Wire:
    """Build one frame (RFC 6455 5.2), legal or not.

    ``rsv``: RSV1 as 4, RSV2 as 2, RSV3 as 1. ``key``: mask with it. ``length``: declare this many bytes,
    whatever the payload has. ``length_bits``: 7, 16 or 64, else the shortest form.
    """
    if isinstance(payload, str):
        payload = payload.encode("utf-8", "surrogatepass")
    if length is None:
        length = len(payload)
    if length_bits is None:
        length_bits = 7 if length < 126 else 16 if length < 65536 else 64
    mask_bit = 0x80 if key is not None else 0
    first = (0x80 if fin else 0) | rsv << 4 | opcode
    if length_bits == 7:
        head = bytes((first, mask_bit | length))
    elif length_bits == 16:
        head = bytes((first, mask_bit | 126)) + length.to_bytes(2, "big")
    else:
        head = bytes((first, mask_bit | 127)) + length.to_bytes(8, "big")
    marks = [1, 2, (2 + len(head)) // 2, len(head) - 1, len(head)]
    body = payload
    if key is not None:
        marks += [len(head) + 1, len(head) + 3]
        head += key
        body = xor(payload, key)
    start, end = len(head), len(head) + len(payload)
    marks += [start, start + 1, start + 2, start + 5, (start + end) // 2, end - 2, end - 1]
    # Inside the first and the last few UTF-8 sequences: before a byte 10xxxxxx.
    tails = [start + pos for pos, octet in enumerate(payload[:64]) if octet & 0xC0 == 0x80]
    near_end = max(len(payload) - 16, 0)
    tails += [start + near_end + pos for pos, octet in enumerate(payload[near_end:]) if octet & 0xC0 == 0x80]
    return Wire(head + body, (*marks, *tails[:6], *tails[-3:]))


class _AsItCame(websockets.frames.Frame):
    """A frame of the websockets package that may have any RSV bits."""

    def check(self) -> None:
        pass


def parse_frame(data: bytes, role: Role) -> websockets.frames.Frame:
    """Read the one frame that ``role`` sent, with the parser of the websockets package."""
    reader = StreamReader()
    reader.feed_data(data)
    reader.feed_eof()
    parser = _AsItCame.parse(reader.read_exact, mask=role is Role.CLIENT)
    try:
        next(parser)
    except StopIteration as stop:
        assert not reader.buffer, "bytes behind the frame"
        return stop.value
    raise AssertionError("the frame is not complete")


@dataclass(frozen=True)
class Peer:
    """The other endpoint, for a decoder whose role is ``role``: it masks if we are the server (5.1)."""

    role: Role

    @property
    def key(self) -> bytes | None:
        return KEY if self.role is Role.SERVER else None

    def frame(self, opcode: int, payload: bytes | str = b"", **options: Any) -> Wire:
        return frame(opcode, payload, **{"key": self.key, **options})

    def header_size(self, length: int) -> int:
        """The size of the shortest header for a payload of ``length`` bytes, with its key."""
        length_size = 0 if length < 126 else 2 if length < 65536 else 8
        return 2 + length_size + (4 if self.key else 0)


def cut(stream: bytes, places: Iterable[int]) -> list[bytes]:
    """Cut ``stream`` at these places, in rising order."""
    edges = [0, *places, len(stream)]
    return [bytes(stream[start:end]) for start, end in itertools.pairwise(edges)]


def splits(stream: bytes) -> Iterator[list[bytes]]:
    """Give many ways in which a stream may come in chunks.

    Whole; byte by byte; at every two places of a short stream, at every place of one that is not much
    longer; inside header, length, masking key, payload and UTF-8 sequence; in chunks of one size.
    """
    size = len(stream)
    marks = getattr(stream, "marks", ())
    yield [bytes(stream)]
    yield [b"", bytes(stream), b""]
    if size <= 4096:
        yield cut(stream, range(1, size))
        yield cut(stream, [place for place in range(1, size) for _ in range(2)])
    if size <= SHORT_SIZE:
        yield from (cut(stream, two) for two in itertools.combinations(range(1, size), 2))
    if size <= 64:
        yield from (cut(stream, [place]) for place in range(1, size))
    else:
        yield from (cut(stream, [mark]) for mark in marks)
    yield from (cut(stream, two) for two in itertools.pairwise(marks))
    yield cut(stream, marks)
    for chunk_size in (2, 3, 5, 7, 16, 61, 1000, 4096, 65536):
        if chunk_size < size <= 2000 * chunk_size:
            yield cut(stream, range(chunk_size, size, chunk_size))


def is_control(event: object) -> bool:
    return isinstance(event, Ping | Pong | Close)


def same(got: list[Any], expected: list[Any]) -> bool:
    """Equal, and of the same classes: ``bytearray(b"") == b""`` would do for Python, not for us."""
    return got == expected and [type(x) for x in got] == [type(x) for x in expected]


def shown(chunks: list[bytes]) -> str:
    sizes = [len(chunk) for chunk in chunks]
    return f"in chunks of {sizes if len(sizes) <= 40 else [*sizes[:40], '...']} bytes"


def assert_decodes(
    codec: ModuleType,
    peer: Peer,
    stream: bytes,
    events: list[Event],
    failure: Failure | None = None,
    **limits: int | None,
) -> None:
    """A message decoder returns ``events`` and then has ``failure``, however the stream is cut.

    Checks ``has_control`` at each feed, and that bytes behind a failure or a Close are ignored.
    """
    for chunks in splits(stream):
        decoder = codec.MessageDecoder(peer.role, **limits)
        got: list[Event] = []
        for chunk in chunks:
            over = decoder.failure is not None
            returned = decoder.feed(chunk)
            got += returned
            if not over and not any(isinstance(event, Close) for event in got[: len(got) - len(returned)]):
                met = decoder.failure is not None or any(map(is_control, returned))
                assert decoder.has_control is met, shown(chunks)
        assert same(got, events), f"{shown(chunks)}: {got!r:.500} instead of {events!r:.500}"
        assert decoder.failure == failure, shown(chunks)
        if failure is not None or any(isinstance(event, Close) for event in events):
            assert decoder.feed(peer.frame(TEXT, "after")) == [], shown(chunks)
            assert decoder.feed(b"\xff" * 20) == [], shown(chunks)
            assert decoder.failure == failure, shown(chunks)


def assert_frames(
    codec: ModuleType,
    peer: Peer,
    stream: bytes,
    frames: list[Frame],
    failure: Failure | None = None,
    **options: Any,
) -> None:
    """A frame decoder (not a partial one) returns ``frames``, however the stream is cut."""
    for chunks in splits(stream):
        decoder = codec.FrameDecoder(peer.role, **options)
        got = [one for chunk in chunks for one in decoder.feed(chunk)]
        assert got == frames, f"{shown(chunks)}: {got!r:.500} instead of {frames!r:.500}"
        for one in got:
            assert type(one.payload) is bytes
        assert decoder.failure == failure, shown(chunks)
        if failure is not None or any(one.opcode == CLOSE for one in frames):
            assert decoder.feed(peer.frame(TEXT, "after")) == [], shown(chunks)
            assert decoder.failure == failure, shown(chunks)


def assert_fails(
    codec: ModuleType, peer: Peer, stream: bytes, failure: Failure, *, frame_level: bool = True, **limits: Any
) -> None:
    """``stream`` breaks a rule: both decoders fail, and a message before it is still delivered."""
    good = peer.frame(TEXT, "ok")
    assert_decodes(codec, peer, stream, [], failure, **limits)
    assert_decodes(codec, peer, join(good, stream), ["ok"], failure, **limits)
    if frame_level:
        for chunks in splits(join(good, stream)):
            decoder = codec.FrameDecoder(peer.role, **limits)
            got = [one for chunk in chunks for one in decoder.feed(chunk)]
            assert got[:1] == [Frame(TEXT, b"ok")]
            assert decoder.failure == failure, shown(chunks)


def failure_position(decoder: Any, stream: bytes) -> int | None:
    """Feed byte by byte; return how many bytes it took to fail, None if it did not."""
    for n_fed in range(1, len(stream) + 1):
        decoder.feed(bytes(stream[n_fed - 1 : n_fed]))
        if decoder.failure is not None:
            return n_fed
    return None


# Unicode Standard, table 3-7: the well-formed UTF-8 byte sequences.
_ANY = range(0x80, 0xC0)
WELL_FORMED = (
    (range(0x80),),
    (range(0xC2, 0xE0), _ANY),
    (range(0xE0, 0xE1), range(0xA0, 0xC0), _ANY),
    (range(0xE1, 0xED), _ANY, _ANY),
    (range(0xED, 0xEE), range(0x80, 0xA0), _ANY),
    (range(0xEE, 0xF0), _ANY, _ANY),
    (range(0xF0, 0xF1), range(0x90, 0xC0), _ANY, _ANY),
    (range(0xF1, 0xF4), _ANY, _ANY, _ANY),
    (range(0xF4, 0xF5), range(0x80, 0x90), _ANY, _ANY),
)


def utf8_error(data: bytes) -> int | None:
    """Return the position of the first byte that no continuation could mend, None if there is none."""
    rows: list[tuple[range, ...]] = []
    depth = 0
    for pos, octet in enumerate(data):
        if not rows:
            rows, depth = [row for row in WELL_FORMED if octet in row[0]], 0
        else:
            rows = [row for row in rows if octet in row[depth]]
        if not rows:
            return pos
        depth += 1
        if len(rows[0]) == depth:
            rows = []
    return None


def is_utf8(data: bytes) -> bool:
    """CPython's strict decoder, the second opinion."""
    try:
        data.decode("utf-8", "strict")
    except UnicodeDecodeError:
        return False
    return True


def run_python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run ``code`` in an interpreter of its own, which finds the same packages, and return what it said."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("WSFAST_")}
    env |= environment
    env["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])
    return subprocess.run(
        # -P: what is installed, and not the sources in the current folder.
        [sys.executable, "-P", "-W", "error", "-c", code],
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def load_codec(name: str) -> ModuleType:
    """Import ``wsfast.native`` or ``wsfast.fallback``; skip or fail if the former was not built."""
    try:
        return importlib.import_module(f"wsfast.{name}")
    except ModuleNotFoundError as missing:
        # An extension that is there and broken is never a skip.
        if name != "native" or missing.name != "wsfast.native":
            raise
        if os.environ.get("WSFAST_REQUIRE_NATIVE", "") not in ("", "0"):
            pytest.fail("wsfast.native was not built, and WSFAST_REQUIRE_NATIVE is set", pytrace=False)
        pytest.skip("wsfast.native was not built: pip install . with a C compiler builds it")
