"""The ways in which a command can end: its exit codes, and the error that a user can mend."""

from __future__ import annotations

from typing import Final

__all__ = ["ERROR_SIZE", "FAILURE", "INTERRUPTED", "OK", "USAGE", "CommandError"]

OK: Final = 0
FAILURE: Final = 1
USAGE: Final = 2
INTERRUPTED: Final = 130  # Shells report this code if Ctrl-C ended a command.

ERROR_SIZE: Final = 1_000
"""Printed characters of an error, or of a line about the connection; a peer may have written part of it."""


class CommandError(Exception):
    """An error that the user can mend. The message is one line that says how."""

    def __init__(self, message: str, exit_code: int = FAILURE) -> None:
        super().__init__(message)
        self.exit_code = exit_code
