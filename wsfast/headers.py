"""HTTP headers: the container, and the grammars of those that the opening handshake reads.

Two rules. ``Headers`` takes no value that could end its line (or the whole head) early: what is in it can be
written. The parsers take only what the grammar allows, in time linear in the size of the value.

This file knows nothing of what the headers mean; that is ``handshake``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from typing import NoReturn, TypeAlias

from .exceptions import InvalidHeaderFormat, shown

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
# The two alternatives share no character, so that nothing is tried twice.
_QUOTED = re.compile(
    r'"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t\x20-\x7e\x80-\xff])*"',
)
_QUOTED_PAIR = re.compile(r"\\(.)")

# RFC 9110 5.5: field-value is VCHAR, obs-text, SP and HTAB: no CR, no LF, no NUL (RFC 9112 11.1).
_FIELD_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")


class MultipleValuesError(LookupError):
    """A header was asked for as if it stood there once, and it stands there more than once."""


class Headers(MutableMapping[str, str]):
    """HTTP headers: names in any case, in the order in which they came, a name more than once if need be.

    Reading is as from a ``dict``: ``headers[name]`` is the one value, ``KeyError`` if there is none, and
    ``MultipleValuesError`` if there are more, which ``get_all`` returns. Setting *appends*: to replace a
    value, delete the name first. Iterating gives each name once, in lower case; ``raw_items`` gives all
    as they are.

    A ``str`` stands for bytes in ISO 8859-1, which is what HTTP makes of them (RFC 9110 5.5). Setting strips
    white space around a value, and raises ``ValueError`` for a name that is no token or a value with a
    character that cannot be sent, such as CR or LF.
    """

    __slots__ = ("_items", "_values")

    def __init__(self, *args: HeadersLike, **kwargs: str) -> None:
        self._items: list[tuple[str, str]] = []
        self._values: dict[str, list[str]] = {}
        self.update(*args, **kwargs)

    @classmethod
    def from_wire(cls, items: Iterable[tuple[bytes, bytes]]) -> Headers:
        """Make headers from received names and values, which are not checked again."""
        headers = cls()
        for name, value in items:
            headers._append(name.decode("iso-8859-1"), value.decode("iso-8859-1"))
        return headers

    def _append(self, name: str, value: str) -> None:
        self._items.append((name, value))
        self._values.setdefault(name.lower(), []).append(value)

    def __getitem__(self, name: str) -> str:
        values = self._values[name.lower()]
        if len(values) > 1:
            raise MultipleValuesError(f"{name} has {len(values)} values; get_all() returns them")
        return values[0]

    def __setitem__(self, name: str, value: str) -> None:
        if not _TOKEN.fullmatch(name):
            raise ValueError(f"header name {name!r} is not a token: letters, digits and hyphens will do")
        if not _FIELD_VALUE.fullmatch(value):
            raise ValueError(
                f"value of header {name} has a character that cannot be sent: {value!r}; "
                "line breaks never can, text beyond ISO 8859-1 has to be encoded by you"
            )
        self._append(name, value.strip(" \t"))

    def __delitem__(self, name: str) -> None:
        lower = name.lower()
        del self._values[lower]
        self._items = [item for item in self._items if item[0].lower() != lower]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __eq__(self, other: object) -> bool:
        return self._values == other._values if isinstance(other, Headers) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __str__(self) -> str:
        """Return the lines as they travel, with the empty one that ends them."""
        return "".join(f"{name}: {value}\r\n" for name, value in self._items) + "\r\n"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._items!r})"

    def get_all(self, name: str) -> list[str]:
        """Return all values of ``name``, in order; an empty list if there is none."""
        return list(self._values.get(name.lower(), ()))

    def raw_items(self) -> Iterator[tuple[str, str]]:
        """Iterate over all names, in the case in which they were given, with their values."""
        return iter(self._items)

    def copy(self) -> Headers:
        """Return a copy that can be changed by itself."""
        return type(self)(self)

    def clear(self) -> None:
        """Remove all headers."""
        self._items.clear()
        self._values.clear()

    def update(self, *args: HeadersLike, **kwargs: str) -> None:  # type: ignore[override]
        """Append headers from other ``Headers``, a mapping or pairs, and from keywords."""
        for arg in args:
            if isinstance(arg, Headers):
                for name, value in list(arg._items):
                    self._append(name, value)
            else:
                for name, value in arg.items() if isinstance(arg, Mapping) else arg:
                    self[name] = value
        for name, value in kwargs.items():
            self[name] = value


HeadersLike: TypeAlias = Headers | Mapping[str, str] | Iterable[tuple[str, str]]

Extension: TypeAlias = tuple[str, list[tuple[str, str | None]]]
"""An extension's name and its parameters, in order, without a value (None) or with one (RFC 6455 9.1)."""


def is_token(text: str) -> bool:
    """Tell whether ``text`` is a token (RFC 9110 5.6.2), such as a method, a header name or a subprotocol."""
    return _TOKEN.fullmatch(text) is not None


def parse_tokens(name: str, values: Sequence[str]) -> list[str]:
    """Parse the ``values`` of header ``name``, each a list of tokens.

    For ``Connection`` and ``Sec-WebSocket-Protocol``. Empty elements are ignored (RFC 9110 5.6.1.2), so that
    nothing may be left. The case is that of the peer. Raises ``InvalidHeaderFormat``.
    """
    return _parse_list(name, values, _TOKEN, "expected a token")


def parse_upgrade(values: Sequence[str]) -> list[str]:
    """Parse the ``values`` of ``Upgrade``: protocols as ``name`` or ``name/version`` (RFC 9110 7.8).

    Otherwise as ``parse_tokens``.
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

    A quoted value is returned without its quotes, and has to be a token then. Raises ``InvalidHeaderFormat``;
    also when there is no extension at all.
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
