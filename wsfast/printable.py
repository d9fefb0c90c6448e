"""Texts of strangers, made safe for logs, terminals and exceptions.

Two rules. Every text of ours that holds a peer's bytes goes through ``shown``. So a peer cannot move a cursor, forge a
line of a log, turn text around, or fill a disk. And a password in a URI is never shown, even if the URI is wrong.

This file imports nothing of ours.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["SHOWN_SIZE", "shown", "shown_uri"]

SHOWN_SIZE: Final = 200
"""Characters of a text that are shown, unless a caller asks for another number."""

_SCHEME = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]*:)?//")
_COLON = re.compile(":|%3a", re.IGNORECASE)


def shown(text: str, size: int = SHOWN_SIZE) -> str:
    """Return at most ``size`` characters of ``text``, and "..." if it had more; all of them are printable.

    These are escaped: control characters (C0, DEL, C1); line and paragraph separators; characters that turn the
    direction of text or have no width; lone surrogates; characters that Unicode does not know (``str.isprintable``).
    """
    if len(text) <= size and text.isprintable():
        return text
    parts: list[str] = []
    room = size
    for char in text[:size]:
        part = char if char.isprintable() else _escaped(ord(char))
        room -= len(part)
        if room < 0:
            break
        parts.append(part)
    return "".join(parts) + ("..." if len(parts) < len(text) else "")


def _escaped(code: int) -> str:
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x1_0000 else f"\\U{code:08x}"


def shown_uri(uri: str) -> str:
    """Return ``uri`` without its password, and otherwise like ``shown``.

    The password ends at the last "@", because people forget to escape "/", "?", "#" and "@" in it. So an "@" in a path
    may hide a port too.
    """
    scheme = _SCHEME.match(uri)
    end = uri.rfind("@")
    colon = _COLON.search(uri, scheme.end() if scheme else 0, max(end, 0))
    return shown(uri if colon is None else f"{uri[: colon.start()]}:***{uri[end:]}")
