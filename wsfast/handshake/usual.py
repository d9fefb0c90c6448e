"""The usual request of an opening handshake, read without h11; and the usual response, written without it.

Nearly every request is whole in its first bytes, and has one shape: GET, a path, HTTP/1.1, lines that end with CRLF. It
is read by one strict pattern in a third of h11's time (benchmarks/servers/handshakes.py). Anything else is left to h11,
the judge of HTTP: another method or version, a body, a fault, a part of a request. What is read here has the
result that h11 would give; ``tests/test_4_2_server_handshake.py`` and ``tests/fuzz/handshake.py`` compare both.
"""

from __future__ import annotations

import re
from typing import Final

from ..http import Headers, Request, Response

__all__ = ["read_request", "write_response"]

# RFC 9112 3, 5: a request line, then header lines, each a token, a colon, and VCHAR, obs-text, SP, HTAB. The line has a
# path, which has no "#" (3.2).
# Possessive: a mismatch is found in one pass, whatever the peer sends.
_HEAD: Final = re.compile(
    rb"GET (/[!\"$-~]*+) HTTP/1\.1\r\n"
    rb"((?:[-!#$%&'*+.^_`|~0-9A-Za-z]++:[\t\x20-\x7e\x80-\xff]*+\r\n)++)\r\n"
)

# Lines that are never one of these are plain data; h11 has rules for these (RFC 9112 6.3, 3.2).
_BODY: Final = re.compile(rb"\n(?:content-length|transfer-encoding|expect):", re.IGNORECASE)
_HOST: Final = re.compile(rb"\nhost:", re.IGNORECASE)

# The same for a response.
_LEFT_TO_H11: Final = frozenset(("content-length", "transfer-encoding", "host"))


# The names that nearly all requests have, so that each connection need not keep its own.
_NAMES: Final = {
    name: name
    for name in (
        "Host",
        "Connection",
        "Pragma",
        "Cache-Control",
        "User-Agent",
        "Upgrade",
        "Origin",
        "Sec-WebSocket-Version",
        "Sec-WebSocket-Key",
        "Sec-WebSocket-Protocol",
        "Sec-WebSocket-Extensions",
        "Accept-Encoding",
        "Accept-Language",
        "Cookie",
    )
}


def read_request(data: bytes, max_headers: int) -> tuple[Request, int] | None:
    """Read the request at the beginning of ``data``; return it and the size of its head, or None if h11 has to."""
    match = _HEAD.match(data)
    if match is None:
        return None
    # The LF before the lines belongs to them here, so that each name stands after one.
    start, end = match.start(2) - 1, match.end(2)
    if _BODY.search(data, start, end) is not None or len(_HOST.findall(data, start, end)) != 1:
        return None
    path, lines = match.groups()
    items: list[tuple[str, str]] = []
    for line in lines.decode("iso-8859-1").split("\r\n"):
        name, _, value = line.partition(":")
        items.append((_NAMES.get(name, name), value.strip(" \t")))
    items.pop()  # what split() has after the last CRLF
    if len(items) > max_headers:
        return None
    return Request(path.decode("ascii"), Headers.checked(items)), match.end()


def write_response(response: Response, headers: Headers) -> bytes | None:
    """Return the head of a response without a body on the wire, or None if h11 has to write it."""
    for name, _ in headers.raw_items():
        if name.lower() in _LEFT_TO_H11:
            return None
    return f"HTTP/1.1 {response.status_code} {response.reason_phrase}\r\n{headers}".encode("iso-8859-1")
