"""The messages of HTTP/1.1 in the opening handshake: requests, responses, headers.

One rule: ``Headers`` takes no value that could end its line, or the whole head, early. So its content is safe to write.

This file imports nothing of ours. It does not know the meaning of a header; ``handshake`` does.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from typing import TypeAlias

__all__ = ["Headers", "HeadersLike", "MultipleValuesError", "Request", "Response", "is_token"]

# RFC 9110 5.6.2: token = 1*tchar
_TOKEN = re.compile(r"[-!#$%&'*+.^_`|~0-9A-Za-z]+")

# RFC 9110 5.5: field-value is VCHAR, obs-text, SP and HTAB: no CR, no LF, no NUL (RFC 9112 11.1).
_FIELD_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")


def is_token(text: str) -> bool:
    """Tell whether ``text`` is a token (RFC 9110 5.6.2), such as a method, a header name or a subprotocol."""
    return _TOKEN.fullmatch(text) is not None


class MultipleValuesError(LookupError):
    """One value of a header was asked for, and the header is there more than once."""


class Headers(MutableMapping[str, str]):
    """HTTP headers: names in any case, in order of arrival; a name may be there more than once.

    Reading works as with a ``dict``: ``headers[name]`` is the value. ``get_all`` returns all values of a name.
    Setting *appends*: to replace a value, delete the name first. Iterating gives each name once, in lower case;
    ``raw_items`` gives all names and values unchanged.

    A ``str`` stands for bytes in ISO 8859-1, as in HTTP (RFC 9110 5.5); an ``int`` for its digits. Setting strips
    white space around a value.

    Raises:
        KeyError: there is no header with this name.
        MultipleValuesError: ``headers[name]`` was asked for, and there is more than one value.
        ValueError: a name that is set is no token, or a value has a character that cannot be sent, such as CR or LF.
    """

    __slots__ = ("_index", "_items")

    def __init__(self, *args: HeadersLike, **kwargs: str | int) -> None:
        self._items: list[tuple[str, str]] = []
        self._index: dict[str, list[str]] | None = None
        if args or kwargs:
            self.update(*args, **kwargs)

    @classmethod
    def checked(cls, items: list[tuple[str, str]]) -> Headers:
        """Make headers of names and values that were checked already; the list belongs to them afterwards."""
        headers = cls()
        headers._items = items
        return headers

    @classmethod
    def from_wire(cls, items: Iterable[tuple[bytes, bytes]]) -> Headers:
        """Make headers from received names and values, without checking them again."""
        return cls.checked([(name.decode("iso-8859-1"), value.decode("iso-8859-1")) for name, value in items])

    @property
    def _values(self) -> dict[str, list[str]]:
        """The values of each name in lower case: made when it is first asked for, and after ``shrink``."""
        index = self._index
        if index is None:
            index = self._index = {}
            for name, value in self._items:
                index.setdefault(name.lower(), []).append(value)
        return index

    def shrink(self) -> None:
        """Give back the memory that is for reading: a connection lives longer than its handshake."""
        self._index = None

    def _append(self, name: str, value: str) -> None:
        self._items.append((name, value))
        if self._index is not None:
            self._index.setdefault(name.lower(), []).append(value)

    def __getitem__(self, name: str) -> str:
        values = self._values[name.lower()]
        if len(values) > 1:
            raise MultipleValuesError(f"{name} has {len(values)} values; get_all() returns them")
        return values[0]

    def __setitem__(self, name: str, value: str | int) -> None:
        if isinstance(value, int):
            value = str(value)
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
        """Return the lines in their form on the wire, with the empty line at the end."""
        return "".join(f"{name}: {value}\r\n" for name, value in self._items) + "\r\n"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._items!r})"

    def serialize(self) -> bytes:
        """Return the lines as bytes, with the empty line at the end."""
        return str(self).encode("iso-8859-1")

    def get_all(self, name: str) -> list[str]:
        """Return all values of ``name``, in order; an empty list if there is none."""
        return list(self._values.get(name.lower(), ()))

    def raw_items(self) -> Iterator[tuple[str, str]]:
        """Iterate over all names and values; names keep the case in which they were given."""
        return iter(self._items)

    def copy(self) -> Headers:
        """Return an independent copy."""
        return type(self)(self)

    def clear(self) -> None:
        """Remove all headers."""
        self._items.clear()
        self._index = None

    def update(self, *args: HeadersLike, **kwargs: str | int) -> None:  # type: ignore[override]
        """Append headers from other ``Headers``, a mapping or pairs, and from keywords."""
        for arg in args:
            if isinstance(arg, Headers):
                self._items += arg._items
                self._index = None
            else:
                for pair in arg.items() if isinstance(arg, Mapping) else arg:
                    if isinstance(pair, str):
                        raise TypeError("headers are a mapping, or pairs of a name and a value, and no str")
                    self.__setitem__(*pair)
        for pair in kwargs.items():
            self.__setitem__(*pair)


HeadersLike: TypeAlias = Headers | Mapping[str, str | int] | Iterable[tuple[str, str | int]]


@dataclass
class Request:
    """The request of an opening handshake. ``path`` is the resource name, with its query (RFC 6455 3)."""

    path: str
    headers: Headers
    method: str = "GET"
    protocol: str = "HTTP/1.1"


@dataclass
class Response:
    """The response of an opening handshake. ``body`` is empty when it accepts."""

    status_code: int
    reason_phrase: str
    headers: Headers
    body: bytes = b""
