"""Exceptions of the network and of TLS, with a hint for the user.

They keep their class and attributes, because programs check those.
"""

from __future__ import annotations

import errno
import socket
import ssl
from types import TracebackType

from ..printable import shown

__all__ = ["hints", "with_hint"]


def with_hint(exception: OSError, where: str) -> OSError | None:
    """Return an equal exception with a hint about connecting to ``where``, a URI; None if we have no hint."""
    if isinstance(exception, socket.gaierror):
        hint = "the host name has no address; is it spelled right?"
        return socket.gaierror(exception.errno, f"cannot connect to {where}: {hint}")
    if isinstance(exception, ssl.SSLCertVerificationError):
        return _tls_error(
            exception,
            f"cannot connect to {where}: its certificate is not trusted "
            f"(certificate verify failed: {shown(exception.verify_message)}); "
            "if you trust it, give ssl= a context that does",
        )
    if isinstance(exception, ssl.SSLError) and exception.reason:
        reason = shown(exception.reason)
        # Only a server that speaks TLS sends an alert.
        hint = "the server refused" if "ALERT" in reason else "is it a ws:// server?"
        return _tls_error(exception, f"no TLS connection to {where} ({reason}); {hint}")
    # If a name has several addresses, asyncio joins their errors into one OSError.
    refused, text = f"[Errno {errno.ECONNREFUSED}]", str(exception)
    if isinstance(exception, ConnectionRefusedError) or 0 < text.count("[Errno ") == text.count(refused):
        hint = "nothing listens there; is the server running, and is the port right?"
        return ConnectionRefusedError(errno.ECONNREFUSED, f"cannot connect to {where}: {hint}")
    return None


def _tls_error(exception: ssl.SSLError, text: str) -> ssl.SSLError:
    hinted = type(exception)(exception.errno, text)
    for name in ("library", "reason", "verify_code", "verify_message"):
        if hasattr(exception, name):
            setattr(hinted, name, getattr(exception, name))
    return hinted


class hints:
    """Give an error of the network or of TLS a hint about connecting to ``where``."""

    # No generator: contextlib's frame would keep the error, whose traceback leads to that frame.

    def __init__(self, where: str) -> None:
        self._where = where

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, exception: BaseException | None, trace: TracebackType | None
    ) -> None:
        hinted = with_hint(exception, self._where) if isinstance(exception, OSError) else None
        if hinted is not None:
            try:
                raise hinted from exception
            finally:
                del hinted, exception, trace
