"""Negotiation of compression: any header values, any settings (RFC 6455 9.1; RFC 7692 5 and 7.1).

- A list of extensions is read as a plain reader, written from the grammar here, reads it, or refused with it.
- Peers' values raise nothing but the two documented exceptions, whose texts are printable.
- An accepted offer is answered within what was offered, by the rules of 7.1.
- Any client and any server of ours agree on the same, and a message goes through in both directions.
"""

from __future__ import annotations

import sys
from typing import Any

import atheris

with atheris.instrument_imports(include=["wsfast"]):
    from wsfast.codec import FrameEncoder, MessageDecoder
    from wsfast.deflate import Deflate, Deflater, Inflater, accept, confirm, offer
    from wsfast.events import Role
    from wsfast.exceptions import InvalidHeaderFormat, NegotiationError
    from wsfast.headers import parse_extensions

from source import Source

TOKEN = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")

PIECES = (
    "permessage-deflate", "client_max_window_bits", "server_max_window_bits", "client_no_context_takeover",
    "server_no_context_takeover", "=8", "=9", "=10", "=15", "=16", "=08", '="12"', '="\\1\\5"', "=", ";", "; ", ",",
    " ", "\t", '"', "\\", "x-webkit-deflate-frame", "foo", "=\x80",
)  # fmt: skip

TAKEOVER = ("server_no_context_takeover", "client_no_context_takeover")

Extension = tuple[str, list[tuple[str, str | None]]]


class Bad(Exception):
    """The value does not follow the grammar."""


class PlainReader:
    """extension-list = 1#extension, a character at a time (RFC 6455 9.1; RFC 9110 5.6)."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.pos = 0

    def next(self) -> str:
        return self.text[self.pos] if self.pos < len(self.text) else ""

    def skip_white(self) -> None:
        while self.next() in (" ", "\t"):
            self.pos += 1

    def passes(self, char: str) -> bool:
        self.skip_white()
        if self.next() != char:
            return False
        self.pos += 1
        self.skip_white()
        return True

    def token(self) -> str:
        start = self.pos
        while self.next() in TOKEN:
            self.pos += 1
        if self.pos == start:
            raise Bad
        return self.text[start : self.pos]

    def value(self) -> str:
        if self.next() != '"':
            return self.token()
        self.pos += 1
        value = ""
        while self.next() != '"':
            if self.next() == "\\":
                self.pos += 1
            char = self.next()
            if char == "":
                raise Bad
            value += char
            self.pos += 1
        self.pos += 1
        if not value or not TOKEN.issuperset(value):
            raise Bad
        return value

    def extensions(self) -> list[Extension]:
        found: list[Extension] = []
        self.skip_white()
        while self.next():
            if self.passes(","):
                continue
            name, parameters = self.token(), []
            while self.passes(";"):
                parameter = self.token()
                parameters.append((parameter, self.value() if self.passes("=") else None))
            found.append((name, parameters))
            self.skip_white()
            if self.next() not in ("", ","):
                raise Bad
        return found


def read_plainly(values: list[str]) -> list[Extension] | None:
    """None for values that have to be refused; so has a header without any extension."""
    try:
        found = [one for value in values for one in PlainReader(value).extensions()]
    except Bad:
        return None
    return found if found or not values else None


def acceptable(parameters: list[tuple[str, str | None]]) -> bool:
    """RFC 7692 7.1: an offer that a server need not decline."""
    names = [name for name, _ in parameters]
    offered = dict(parameters)
    windows = [str(bits) for bits in range(8, 16)]
    return (
        len(set(names)) == len(names)
        and all(name in ("server_max_window_bits", "client_max_window_bits", *TAKEOVER) for name in names)
        and all(offered.get(name) is None for name in TAKEOVER)
        and ("server_max_window_bits" not in offered or offered["server_max_window_bits"] in windows)
        and offered.get("client_max_window_bits") in (None, *windows)
    )


def header_values(source: Source) -> list[str]:
    values = []
    for _ in range(source.byte() % 4):
        value = ""
        for _ in range(source.byte() % 24):
            piece = source.byte()
            value += PIECES[piece] if piece < len(PIECES) else source.take(1).decode("iso-8859-1")
        values.append(value)
    return values


def settings(source: Source) -> Deflate:
    flags, bits = source.byte(), (None, 8, 9, 10, 12, 15)
    return Deflate(
        server_no_context_takeover=bool(flags & 1),
        client_no_context_takeover=bool(flags & 2),
        server_max_window_bits=source.choose(bits),
        client_max_window_bits=source.choose(bits),
    )


def check_text(error: Exception) -> None:
    assert str(error).isprintable(), repr(str(error))


def check_answer(values: list[str], config: Deflate) -> None:
    """RFC 7692 7.1: the answer to a client's offers, of which the first that is acceptable counts."""
    agreement = accept(values, config)
    offers = [parameters for name, parameters in read_plainly(values) or [] if name == "permessage-deflate"]
    first = next((dict(parameters) for parameters in offers if acceptable(parameters)), None)
    if first is None or agreement is None:
        assert first is agreement, (values, agreement)
        return
    [(name, answered)] = parse_extensions([agreement.response])
    assert name == "permessage-deflate"
    answer = dict(answered)
    assert acceptable(answered)
    assert all(value is not None for name, value in answered if name not in TAKEOVER)
    assert "client_max_window_bits" not in answer or "client_max_window_bits" in first  # 7.1.2.2
    assert "server_no_context_takeover" not in first or "server_no_context_takeover" in answer  # 7.1.1.1
    limit, ours = first.get("server_max_window_bits"), answer.get("server_max_window_bits")
    assert limit is None or (ours is not None and int(ours) <= int(limit))  # 7.1.2.1
    check_messages(agreement, agreement)


def check_messages(servers: Any, clients: Any) -> None:
    """Two messages each way, the second with the context of the first."""
    payload = b"a message, a message, and the same message" * 8
    for sender, receiver, sends, receives in (
        (Role.SERVER, Role.CLIENT, servers, clients),
        (Role.CLIENT, Role.SERVER, clients, servers),
    ):
        encoder = FrameEncoder(sender, deflate=Deflater(sender, sends))
        decoder = MessageDecoder(receiver, inflate=Inflater(receiver, receives).inflate)
        for _ in range(2):
            assert decoder.feed(encoder.message(payload)) == [payload], decoder.failure


def target(data: bytes) -> None:
    source = Source(data)
    server, client = settings(source), settings(source)
    values = header_values(source)
    plain = read_plainly(values)
    try:
        assert parse_extensions(values) == plain
    except InvalidHeaderFormat as error:
        check_text(error)
        assert plain is None, values
    for call in (check_answer, confirm):
        try:
            call(values, server)
        except InvalidHeaderFormat as error:
            check_text(error)
            assert plain is None
        except NegotiationError as error:
            check_text(error)
            assert call is confirm
    agreed = accept([offer(client)], server)
    assert agreed is not None
    confirmed = confirm([agreed.response], client)
    assert confirmed is not None
    check_messages(agreed, confirmed)


if __name__ == "__main__":
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()
