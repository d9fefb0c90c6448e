"""Encoders: the native codec against the fallback, any calls in any order (RFC 6455 5; RFC 7692 7.2.1).

After each call both encoders have returned the same bytes, or raised the same exception, and agree on
``in_message``. What they wrote is legal as long as ``frame``, which writes as told, was not called: then a decoder of
the other role gives back each message and each control frame.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import atheris

with atheris.instrument_imports(include=["wsfast"]):
    import wsfast.fallback
    import wsfast.native
    from wsfast.deflate import Deflate, Deflater, Inflater, accept
    from wsfast.events import Close, Ping, Pong, Role

from frames import TEXTS
from source import Source, outcome

CODECS = (wsfast.native, wsfast.fallback)

AGREEMENTS = [
    None,
    *(
        accept([f"permessage-deflate{parameters}"], Deflate(max_ratio=None))
        for parameters in (
            "",
            "; server_no_context_takeover; client_no_context_takeover",
            "; server_max_window_bits=9; client_max_window_bits=9",
        )
    ),
]

CODES = (None, 1000, 1001, 1004, 1005, 1006, 1015, 3000, 4999, 5000, 0, -1, 65536, 2**70, "1000", 1000.0)
ODD = (None, 5, "\ud800", "a\udfff", [1], memoryview(b"abcd")[::2], bytearray(), "x" * 124)


def make(codec: Any, role: Role, agreement: Any) -> Any:
    """An encoder whose masking keys are counted, so that both write the same."""
    number = 0

    def key(size: int) -> bytes:
        nonlocal number
        number += 1
        return (number * 0x9E3779B97F4A7C15 & 0xFFFFFFFF).to_bytes(4, "big")[:size]

    deflate = None if agreement is None else Deflater(role, agreement)
    return codec.FrameEncoder(role, random_bytes=key, deflate=deflate)


def data(source: Source) -> Any:
    """Something to send: bytes, a str, a view, or what cannot be sent."""
    kind = source.byte() % 8
    if kind == 0:
        return source.take(source.byte())
    if kind == 1:
        return source.take(source.byte()).decode("utf-8", "replace")
    if kind == 2:
        return source.choose(TEXTS) * source.byte()
    if kind == 3:
        return source.choose(TEXTS).encode()[: source.byte()]
    if kind == 4:
        return bytearray(source.take(source.byte()))
    if kind == 5:
        return memoryview(source.take(1) * (source.word() * 4))
    if kind == 6:
        units = source.take(source.byte())
        return units[: len(units) & ~1].decode("utf-16-le", "surrogatepass")
    return source.choose(ODD)


def call(source: Source) -> tuple[str, tuple[Any, ...], dict[str, Any]]:
    what = source.byte()
    text = (None, None, True, False)[what >> 3 & 3]
    compress = (None, True, False, None)[what >> 6]
    kind = what & 7
    if kind <= 1:
        return "message", (data(source),), {"text": text, "compress": compress}
    if kind <= 3:
        return "fragment", (data(source),), {"fin": bool(what & 0x20), "text": text, "compress": compress}
    if kind == 4:
        return "ping", (data(source),), {}
    if kind == 5 and what & 0x40:
        return "header", (source.choose((0, 125, 126, 65_535, 65_536, sys.maxsize, 2**63, -1, "1")),), {}
    if kind == 5:
        return "pong", (data(source),), {}
    if kind == 6:
        return "close", (source.choose(CODES), data(source) if what & 0x20 else ""), {}
    flags = source.byte()
    names = ("fin", "rsv1", "rsv2", "rsv3")
    options = {name: bool(flags >> bit & 1) for bit, name in enumerate(names)}
    return (
        "frame",
        (source.choose((0, 1, 2, 3, 8, 9, 10, 11, 15, 16, -1, 2**70, None)), data(source)),
        options,
    )


class Expected:
    """The events that a peer's decoder has to give for the calls that succeeded."""

    def __init__(self) -> None:
        self.events: list[Any] = []
        self._pieces: list[bytes] = []
        self._is_text = False

    def note(self, method: str, args: tuple[Any, ...], options: dict[str, Any]) -> None:
        if method == "close":
            self.events.append(Close(1005 if args[0] is None else args[0], args[1]))
            return
        piece = args[0].encode() if isinstance(args[0], str) else bytes(args[0])
        if method in ("ping", "pong"):
            self.events.append((Ping if method == "ping" else Pong)(piece))
            return
        if not self._pieces:
            self._is_text = options["text"] or (options["text"] is None and isinstance(args[0], str))
        self._pieces.append(piece)
        if options.get("fin", True):
            payload, self._pieces = b"".join(self._pieces), []
            self.events.append(payload.decode() if self._is_text else payload)


def target(data: bytes) -> None:
    source = Source(data)
    flags = source.byte()
    role = Role.CLIENT if flags & 1 else Role.SERVER
    agreement = AGREEMENTS[(flags >> 1) % len(AGREEMENTS)]
    encoders = [make(codec, role, agreement) for codec in CODECS]
    expected, wire, judged = Expected(), b"", True
    while not source.empty:
        method, args, options = call(source)

        def written(encoder: Any) -> Callable[[], bytes]:
            return lambda: getattr(encoder, method)(*args, **options)  # noqa: B023

        results = [(outcome(written(encoder)), encoder.in_message) for encoder in encoders]
        assert results[0] == results[1], f"{method}{args} {options}"
        result = results[0][0]
        if not isinstance(result, bytes) or method == "header":
            continue
        judged = judged and method != "frame"
        if judged:
            wire += result
            expected.note(method, args, options)
        if method == "close":
            break
    peer = Role.SERVER if role is Role.CLIENT else Role.CLIENT
    for codec in CODECS:
        inflate = None if agreement is None else Inflater(peer, agreement).inflate
        decoder = codec.MessageDecoder(peer, max_message_size=None, inflate=inflate)
        got = decoder.feed(wire)
        assert decoder.failure is None, decoder.failure
        assert got == expected.events, "the peer gets something else"
        assert [type(one) for one in got] == [type(one) for one in expected.events]


if __name__ == "__main__":
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()
