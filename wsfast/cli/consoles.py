"""The input and output of ``wsfast connect``: a terminal, or pipes.

One rule: no text of a stranger reaches a terminal unescaped. Messages are shown whole; all other lines have a limit.
This file knows nothing of connections.
"""

from __future__ import annotations

import os
import sys
import unicodedata
from collections.abc import Sequence
from typing import Any, Final, Protocol

from ..printable import shown
from .outcome import ERROR_SIZE

try:
    import readline
except ImportError:  # Windows
    readline = None  # type: ignore[assignment]

__all__ = ["Console", "Message", "Pipe", "Terminal", "wrapped"]

Message = str | bytes

_PROMPT: Final = "> "
_PREVIEW_CHARACTERS: Final = 2_000
_PREVIEW_BYTES: Final = 32
_READ_SIZE: Final = 65_536

# Control characters, and those that reorder text. All other characters of a stranger's message are shown unchanged.
_ESCAPES: Final = {
    code: f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"
    for code in (*range(0x20), *range(0x7F, 0xA0), *range(0x2028, 0x202F), *range(0x2066, 0x206A))
}


class Console(Protocol):
    """The source of lines, and the place where messages are shown."""

    interactive: bool

    def read(self) -> Sequence[Message] | None:
        """Wait for input and return its lines, without line ends; None at its end. Runs in a thread."""

    def opened(self, text: str) -> None:
        """Report that the connection is open."""

    def message(self, message: Message) -> None:
        """Show a message that was received."""

    def status(self, text: str) -> None:
        """Report an event of the connection."""

    def ended(self, text: str) -> None:
        """Report how the connection was closed."""

    def close(self) -> None:
        """Restore the state from before the start."""


class Pipe:
    """Standard input and output, if at least one of them is not a terminal."""

    interactive = False

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._escape = sys.stdout.isatty()

    def read(self) -> Sequence[Message] | None:
        # Not sys.stdin: a thread inside its buffer would hold the lock when the interpreter exits.
        while chunk := os.read(sys.stdin.fileno(), _READ_SIZE):
            head, newline, tail = chunk.rpartition(b"\n")
            if newline:
                lines = b"".join((*self._parts, head)).split(b"\n")
                self._parts = [tail] if tail else []
                return lines
            self._parts.append(chunk)
        rest = b"".join(self._parts)
        self._parts = []
        return [rest] if rest else None

    def opened(self, text: str) -> None:
        self.status(text)

    def message(self, message: Message) -> None:
        line = message.hex() if isinstance(message, bytes) else message
        if self._escape:
            line = line.translate(_ESCAPES)
        sys.stdout.buffer.write(line.encode() + b"\n")
        sys.stdout.buffer.flush()

    def status(self, text: str) -> None:
        print(f"wsfast: {shown(text, ERROR_SIZE)}", file=sys.stderr)

    def ended(self, text: str) -> None:
        self.status(text)

    def close(self) -> None:
        pass


class Terminal:
    """A terminal in both directions. Messages are inserted above the line that is being typed."""

    interactive = True

    def __init__(self) -> None:
        self._plain = os.environ.get("TERM", "") in ("", "dumb") and sys.platform != "win32"
        if sys.platform == "win32":
            os.system("")  # Turns on escape sequences in the console.
        self._settings = _terminal_settings()

    def read(self) -> Sequence[Message] | None:
        try:
            return (input(_PROMPT),)
        except (EOFError, OSError, ValueError):
            return None

    def opened(self, text: str) -> None:
        self._write(f"{shown(text, ERROR_SIZE)}; Enter sends a line, Ctrl-D closes\n")

    def message(self, message: Message) -> None:
        if isinstance(message, str):
            text = message[:_PREVIEW_CHARACTERS]
            note = f" ... ({len(message):,} characters)" if len(message) > len(text) else ""
        else:
            data = message[:_PREVIEW_BYTES]
            text = f"(binary, {len(message):,} bytes) {data.hex(' ')}"
            note = " ..." if len(message) > len(data) else ""
        prefix = "< "
        for line in (text + note).split("\n"):
            self._show(prefix + line.translate(_ESCAPES))
            prefix = "  "

    def status(self, text: str) -> None:
        self._show(f"* {shown(text, ERROR_SIZE)}")

    def ended(self, text: str) -> None:
        text = shown(text, ERROR_SIZE)
        self._write(f"\n{text}\n" if self._plain else f"\r\x1b[J{text}\n")

    def close(self) -> None:
        # The reading thread may still be inside an editor that has changed the terminal.
        if self._settings is not None:
            import termios

            termios.tcsetattr(sys.stdin.fileno(), termios.TCSADRAIN, self._settings)
            if readline is not None and not self._plain:
                self._write("\x1b[?2004l")  # Bracketed paste, which readline turns on.

    def _show(self, line: str) -> None:
        if self._plain:
            self._write(f"\r{line}\n{_PROMPT}")
            return
        columns = os.get_terminal_size(sys.stdout.fileno()).columns or 80  # 0: the terminal does not know
        typed = "" if readline is None else readline.get_line_buffer()
        rows_above = (len(_PROMPT) + _width(typed)) // columns
        up = f"\x1b[{rows_above}A" if rows_above else ""
        for row in wrapped(line, columns):
            # Save the cursor. Make sure that there is a row below. Insert a row above the line that is being typed,
            # and write into it. Restore the cursor, one row further down (the last row stays the last).
            self._write(f"\x1b7\n\x1b[A{up}\x1b[L\r{row}\x1b8\x1b[B")

    def _write(self, text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()


def _terminal_settings() -> list[Any] | None:
    try:
        import termios
    except ImportError:  # Windows
        return None
    return termios.tcgetattr(sys.stdin.fileno())


def _width(text: str) -> int:
    return sum(_character_width(character) for character in text)


def _character_width(character: str) -> int:
    if unicodedata.combining(character) or unicodedata.category(character) in ("Cf", "Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def wrapped(line: str, columns: int) -> list[str]:
    """Cut ``line`` into rows of at most ``columns`` cells; Korean letters and emoji take two."""
    rows, row, row_width = [], "", 0
    for character in line:
        width = _character_width(character)
        if row_width + width > columns:
            rows.append(row)
            row, row_width = "", 0
        row += character
        row_width += width
    return [*rows, row]
