"""The grammars of the HTTP headers in the opening handshake. The container of headers is in ``http``.

One rule: a parser accepts only values that the grammar allows, in time linear in the size of the value.

This file does not know the meaning of a header; ``handshake`` does.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NoReturn, TypeAlias

from .exceptions import InvalidHeaderFormat
from .http import Headers, HeadersLike, MultipleValuesError, is_token
from .printable import shown

__all__ = [
    "Extension",
    "Headers",
    "HeadersLike",
    "MultipleValuesError",
    "is_token",
    "parse_extensions",
    "parse_tokens",
    "parse_upgrade",
]

# RFC 9110 5.6.2: token = 1*tchar
_TOKEN = re.compile(r"[-!#$%&'*+.^_`|~0-9A-Za-z]+")

# RFC 9110 7.8: protocol = protocol-name ["/" protocol-version], both tokens
_PROTOCOL = re.compile(r"[-!#$%&'*+.^_`|~0-9A-Za-z]+(?:/[-!#$%&'*+.^_`|~0-9A-Za-z]+)?")

# RFC 9110 5.6.3: OWS = *( SP / HTAB )
_OWS = re.compile(r"[ \t]*")

# RFC 9110 5.6.4: quoted-string = DQUOTE *( qdtext / quoted-pair ) DQUOTE
# The two alternatives share no character, so the engine tries nothing twice.
_QUOTED = re.compile(
    r'"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t\x20-\x7e\x80-\xff])*"',
)
_QUOTED_PAIR = re.compile(r"\\(.)")

Extension: TypeAlias = tuple[str, list[tuple[str, str | None]]]
"""An extension's name and its parameters, in order, without a value (None) or with one (RFC 6455 9.1)."""


def parse_tokens(name: str, values: Sequence[str]) -> list[str]:
    """Parse the ``values`` of header ``name``, each a list of tokens.

    For ``Connection`` and ``Sec-WebSocket-Protocol``. Empty elements are ignored (RFC 9110 5.6.1.2), so the result
    may be empty. Tokens keep the peer's case.

    Raises:
        InvalidHeaderFormat: an element is no token.
    """
    return _parse_list(name, values, _TOKEN, "expected a token")


def parse_upgrade(values: Sequence[str]) -> list[str]:
    """Parse the ``values`` of ``Upgrade``: protocols as ``name`` or ``name/version`` (RFC 9110 7.8).

    Otherwise like ``parse_tokens``.

    Raises:
        InvalidHeaderFormat: an element is no protocol.
    """
    return _parse_list("Upgrade", values, _PROTOCOL, "expected a protocol")


def _parse_list(name: str, values: Sequence[str], element: re.Pattern[str], expected: str) -> list[str]:
    elements: list[str] = []
    for value in values:
        pos = 0
        for part in value.split(","):
            text = part.strip(" \t")
            if text:
                if not element.fullmatch(text):
                    raise InvalidHeaderFormat(
                        name, expected, value, pos + len(part) - len(part.lstrip(" \t"))
                    )
                elements.append(text)
            pos += len(part) + 1
    return elements


def parse_extensions(values: Sequence[str]) -> list[Extension]:
    """Parse the ``values`` of ``Sec-WebSocket-Extensions`` (RFC 6455 9.1).

        extension-list  = 1#extension
        extension       = extension-token *( ";" extension-param )
        extension-param = token [ "=" ( token | quoted-string ) ]

    A quoted value is returned without its quotes; then it must be a token.

    Raises:
        InvalidHeaderFormat: a value does not follow the grammar, or there is no extension at all.
    """
    extensions: list[Extension] = []
    for value in values:
        _parse_extension_line(value, extensions)
    if values and not extensions:
        _bad_extensions("expected an extension", values[0], 0)
    return extensions


def _parse_extension_line(value: str, extensions: list[Extension]) -> None:
    pos, end = _skip_white(value, 0), len(value)
    while pos < end:
        if value[pos] == ",":  # RFC 9110 5.6.1.2: an empty element
            pos = _skip_white(value, pos + 1)
            continue
        extension, pos = _parse_token(value, pos)
        parameters: list[tuple[str, str | None]] = []
        pos = _skip_white(value, pos)
        while pos < end and value[pos] == ";":
            parameter, pos = _parse_token(value, _skip_white(value, pos + 1))
            pos = _skip_white(value, pos)
            content: str | None = None
            if pos < end and value[pos] == "=":
                content, pos = _parse_content(value, _skip_white(value, pos + 1))
                pos = _skip_white(value, pos)
            parameters.append((parameter, content))
        if pos < end and value[pos] != ",":
            _bad_extensions('expected "," or ";"', value, pos)
        extensions.append((extension, parameters))


def _skip_white(value: str, pos: int) -> int:
    match = _OWS.match(value, pos)
    assert match is not None  # it matches the empty string
    return match.end()


def _parse_token(value: str, pos: int) -> tuple[str, int]:
    match = _TOKEN.match(value, pos)
    if match is None:
        _bad_extensions("expected a token", value, pos)
    return match.group(), match.end()


def _parse_content(value: str, pos: int) -> tuple[str, int]:
    if not value.startswith('"', pos):
        return _parse_token(value, pos)
    match = _QUOTED.match(value, pos)
    if match is None:
        _bad_extensions("quoted string without its end", value, pos)
    content = _QUOTED_PAIR.sub(r"\1", match.group()[1:-1])
    # 9.1: "the value after quoted-string unescaping MUST conform to the 'token' ABNF."
    if not is_token(content):
        _bad_extensions(f'"{shown(content, 40)}" is not a token', value, pos)
    return content, match.end()


def _bad_extensions(error: str, value: str, pos: int) -> NoReturn:
    raise InvalidHeaderFormat("Sec-WebSocket-Extensions", error, value, pos)
