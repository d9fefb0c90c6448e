"""Decoders: the native codec against the fallback, any bytes under any chunking (RFC 6455 5, 8.1, 10.4; RFC 7692).

An input says role, kind of decoder, limits and chunks; then come bytes as they are, or decisions that make frames.
After each chunk both codecs have returned equal events, and agree on ``failure`` and ``has_control``. So have they if
``stream_message`` asks for parts in between. The whole stream in one chunk, and received in place (``get_buffer``),
gives the same events and the same failure.
"""

from __future__ import annotations

import sys
from typing import Any

import atheris

with atheris.instrument_imports(include=["wsfast"]):
    import wsfast.fallback
    import wsfast.native
    from wsfast.deflate import Deflate, Inflater, accept
    from wsfast.events import Role
    from wsfast.faults import INFLATE_FAILED, TEXT_NOT_UTF8

from frames import FrameMaker
from source import Source, random_cut

CODECS = (wsfast.native, wsfast.fallback)

AGREEMENTS = [
    accept([f"permessage-deflate{parameters}"], Deflate(max_ratio=ratio))
    for parameters, ratio in (
        ("", 200),
        ("; server_no_context_takeover; client_no_context_takeover", 200),
        ("; server_max_window_bits=9; client_max_window_bits=9", 3),
    )
]

MESSAGE_SIZES = (2**20, None, 0, 1, 10, 125, 126, 300, 65535, 2**40)
FRAME_SIZES = (None, 0, 1, 10, 124, 126, 65536)
FRAGMENTS = (131_072, None, 1, 2, 3)
FEED_EVENTS = (None, 1, 2, 7)
FEED_SIZES = (None, 1, 100, 70_000)

History = list[tuple[list[type], list[Any], Any, Any]]


def options(source: Source) -> tuple[str, dict[str, Any]]:
    """The class of decoder, and its arguments; ``inflate`` is an agreement, as each decoder inflates by itself."""
    kind = source.byte()
    limits = {"max_frame_size": source.choose(FRAME_SIZES), "max_fragments": source.choose(FRAGMENTS)}
    if kind & 3 == 3:
        flags = {"partial": bool(kind & 4), "headers": bool(kind & 8)}
        return "FrameDecoder", {**limits, **flags, "allowed_rsv": kind >> 5}
    limits["max_message_size"] = source.choose(MESSAGE_SIZES)
    bounds = source.byte()
    limits["max_feed_events"] = FEED_EVENTS[bounds & 3]
    limits["max_feed_size"] = FEED_SIZES[bounds >> 2 & 3]
    if kind & 3 == 2:
        limits["inflate"] = AGREEMENTS[(kind >> 3) % len(AGREEMENTS)]
    return "MessageDecoder", {**limits, "text": "bytes" if kind & 4 else "str"}


def make(codec: Any, name: str, role: Role, arguments: dict[str, Any]) -> Any:
    if arguments.get("inflate") is not None:
        arguments = {**arguments, "inflate": Inflater(role, arguments["inflate"]).inflate}
    return getattr(codec, name)(role, **arguments)


def seen(decoder: Any, events: list[Any]) -> tuple[list[type], list[Any], Any, Any]:
    """All that a caller can see after a chunk."""
    names = ("has_control", "has_waiting", "unfinished_header", "missing_size")
    flags = tuple(getattr(decoder, name, None) for name in names)
    failure = decoder.failure
    # Failures with the same text are equal, whatever their kind and numbers.
    told = None if failure is None else (failure, failure.kind, failure.numbers)
    return [type(event) for event in events], events, told, flags


def drain(decoder: Any, history: History) -> None:
    """Go on with what waits, as the last feed had completed as much as it may."""
    while history[-1][3][1]:
        assert history[-1][1], "a feed that completed nothing has no reason to stop"
        history.append(seen(decoder, decoder.feed(b"")))


def histories(decoder: Any, chunks: list[bytes]) -> History:
    history: History = []
    for chunk in chunks:
        history.append(seen(decoder, decoder.feed(chunk)))
        drain(decoder, history)
    return history


def in_place(decoder: Any, chunks: list[bytes]) -> History:
    """Receive into the decoder's own buffer while it has one."""
    history: History = []
    for chunk in chunks:
        rest = memoryview(chunk)
        while True:
            buffer = decoder.get_buffer()
            size = len(rest) if buffer is None else min(len(buffer), len(rest))
            if buffer is None:
                history.append(seen(decoder, decoder.feed(rest)))
            else:
                buffer[:size] = rest[:size]
                history.append(seen(decoder, decoder.buffer_updated(size)))
            drain(decoder, history)
            rest = rest[size:]
            if not rest:
                break
    return history


def streamed(decoder: Any, chunks: list[bytes], source: Source) -> list[Any]:
    """Ask for messages in parts, or give them up, between chunks as the source decides."""
    history: list[Any] = []
    for chunk in chunks:
        what = source.byte()
        if what & 3:
            history.append(decoder.stream_message(what & 3 != 3))
        part: History = [seen(decoder, decoder.feed(chunk))]
        drain(decoder, part)
        history += part
    return history


def joined(history: History) -> tuple[list[type], list[Any], Any]:
    """The whole of a history, without regard to the chunk in which something came."""
    types = [kind for one in history for kind in one[0]]
    return types, [event for one in history for event in one[1]], history[-1][2] if history else None


def agree(one: Any, other: Any) -> bool:
    """Whether two ends are the same; two faults in one inflated message may differ in which was found first.

    zlib keeps back what it inflated in the same call before a broken block, and a piece of up to 6 KiB is measured
    before its text is checked.
    """
    if one == other:
        return True
    return one[:2] == other[:2] and all(
        told is not None
        and (told[0] in (INFLATE_FAILED, TEXT_NOT_UTF8) or "inflated message" in told[0].reason)
        for told in (one[2], other[2])
    )


def target(data: bytes) -> None:
    source = Source(data)
    flags = source.byte()
    role = Role.CLIENT if flags & 1 else Role.SERVER
    name, arguments = options(source)
    cutting = Source(source.take(1))
    wire = FrameMaker(source, role is Role.SERVER).stream() if flags & 2 else source.rest()
    chunks = random_cut(wire, cutting)

    def decoders() -> list[Any]:
        return [make(codec, name, role, arguments) for codec in CODECS]

    chunked = [histories(decoder, chunks) for decoder in decoders()]
    assert chunked[0] == chunked[1], "the codecs differ"
    ends = [joined(chunked[0])]
    if name == "MessageDecoder":
        # The decisions are those of the bytes, so that inputs stay what they were.
        parts = [streamed(decoder, chunks, Source(wire[::-1])) for decoder in decoders()]
        assert parts[0] == parts[1], "the codecs differ in the parts of a message"
        # The codecs may offer buffers of different sizes, so that events come in another call.
        ends += [joined(in_place(decoder, chunks)) for decoder in decoders()]
    if name == "MessageDecoder" or not arguments["partial"]:
        ends += [joined(histories(decoder, [wire])) for decoder in decoders()]
        assert all(agree(end, ends[0]) for end in ends), "chunking makes a difference"


if __name__ == "__main__":
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()
