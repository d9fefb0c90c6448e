"""A socket and its TLS, and the waiting of one thread for it; all before the connection is open.

TLS goes over buffers in memory, so that no lock is held while a thread waits for the peer: OpenSSL's objects are not
for two threads at a time.
"""

from __future__ import annotations

import contextlib
import math
import mmap
import select
import socket
import ssl as ssl_module
import threading
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["NOW", "READ", "RECEIVE_SIZE", "WRITE", "Stream", "Tls", "buffer", "is_ready"]

# Bytes that one read takes at most.
RECEIVE_SIZE: Final = 262_144

# A flag for a call that does not block, on a socket that does. If a system has none, no socket blocks.
NOW: Final[int] = getattr(socket, "MSG_DONTWAIT", 0)


class _Buffer(threading.local):
    """Each thread has one buffer for all that it reads: it is in one read at a time, and parsing copies."""

    def __init__(self) -> None:
        # Not a bytearray, whose pages are all written when it is made: a thread that waits would own 256 KiB.
        self.view = memoryview(mmap.mmap(-1, RECEIVE_SIZE))


buffer: Final = _Buffer()

READ: Final = "read"
WRITE: Final = "write"


# Seconds of one wait: poll() takes a C int of milliseconds.
_LONGEST = 1e6


def is_ready(sock: socket.socket, direction: str, until: float | None) -> bool:
    """Wait until a socket can be read, or written, without blocking; return False at the time ``until``."""
    left = None if until is None else max(0.0, until - time.monotonic())
    if left is not None and left > _LONGEST:
        return is_ready(sock, direction, time.monotonic() + _LONGEST) or is_ready(sock, direction, until)
    if hasattr(select, "poll"):
        poll = select.poll()
        poll.register(sock, select.POLLIN if direction is READ else select.POLLOUT)
        return bool(poll.poll(None if left is None else math.ceil(left * 1000)))
    waiting = ([sock], []) if direction is READ else ([], [sock])
    return any(select.select(*waiting, waiting[1], left))


def bounded(timeout: float | None) -> float | None:
    """Return a time limit that sockets and locks take: None for one of centuries, or for ever."""
    return None if timeout is None or timeout > threading.TIMEOUT_MAX else timeout


class Tls:
    """TLS between the bytes of a socket and those of a connection. ``below``: the TLS with a proxy, around it."""

    def __init__(
        self,
        context: ssl_module.SSLContext,
        *,
        server_side: bool,
        server_hostname: str | None,
        below: Tls | None,
    ) -> None:
        self._incoming, self._outgoing = ssl_module.MemoryBIO(), ssl_module.MemoryBIO()
        self.object = context.wrap_bio(self._incoming, self._outgoing, server_side, server_hostname)
        self._below = below
        self.has_ended = False
        """The peer closed its half."""

    def to_send(self) -> bytes:
        """Return the bytes for the socket that wait, once."""
        data = self._outgoing.read()
        return data if self._below is None or not data else self._below.encrypted(data)

    def encrypted(self, data: bytes) -> bytes:
        rest = memoryview(data)
        while rest:
            rest = rest[self.object.write(rest) :]
        return self.to_send()

    def receive(self, data: Buffer) -> None:
        """Take bytes of the socket; empty ones are its end."""
        if self._below is not None:
            data = self._below.decrypted(data)
            if not data and not self._below.has_ended:
                return
        if data:
            self._incoming.write(data)
        else:
            self.has_ended = True  # not told to OpenSSL, which would write no more

    def decrypted(self, data: Buffer) -> bytes:
        """Take bytes of the socket, and return those of the connection.

        Raises:
            ssl.SSLError: the peer broke TLS.
        """
        self.receive(data)
        return self.taken()

    def taken(self) -> bytes:
        """Return the bytes of the connection that are there."""
        found = []
        try:
            while True:
                piece = self.object.read(65_536)
                if not piece:
                    self.has_ended = True
                    break
                found.append(piece)
        except ssl_module.SSLWantReadError:
            pass
        except (ssl_module.SSLZeroReturnError, ssl_module.SSLEOFError):
            self.has_ended = True
        return b"".join(found)

    def end(self) -> bytes:
        """Return the bytes that end our half."""
        with contextlib.suppress(ssl_module.SSLError):
            self.object.unwrap()
        return self.to_send()


class Stream:
    """A connected socket until the opening handshake is done. ``until``: the time at which each wait ends."""

    def __init__(self, sock: socket.socket, until: float | None) -> None:
        sock.settimeout(None if NOW else 0.0)
        if sock.family in (socket.AF_INET, socket.AF_INET6):
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = sock
        self.tls: Tls | None = None
        self.until = until

    def limit(self, seconds: float) -> None:
        """Let all waits end within that time, or earlier."""
        until = time.monotonic() + seconds
        self.until = until if self.until is None else min(self.until, until)

    def _receive_raw(self) -> bytes:
        if not is_ready(self.socket, READ, self.until):
            raise TimeoutError
        return self.socket.recv(65_536, NOW)

    def _send_raw(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            if not is_ready(self.socket, WRITE, self.until):
                raise TimeoutError
            with contextlib.suppress(BlockingIOError):
                rest = rest[self.socket.send(rest, NOW) :]

    def start_tls(
        self, context: ssl_module.SSLContext, *, server_side: bool = False, server_hostname: str | None = None
    ) -> None:
        """Do the handshake of TLS.

        Raises:
            OSError: it failed.
            TimeoutError: it takes too long.
        """
        tls = Tls(context, server_side=server_side, server_hostname=server_hostname, below=self.tls)
        while True:
            try:
                tls.object.do_handshake()
                break
            except ssl_module.SSLWantReadError:
                self._send_raw(tls.to_send())
                tls.receive(self._receive_raw())
                if tls.has_ended:
                    raise ConnectionResetError(
                        "the peer closed the connection in the TLS handshake"
                    ) from None
            except ssl_module.SSLError:
                with contextlib.suppress(OSError):
                    self._send_raw(tls.to_send())  # the alert
                raise
        self._send_raw(tls.to_send())
        self.tls = tls

    def receive(self) -> bytes:
        """Return received bytes; empty ones are the end."""
        if self.tls is None:
            return self._receive_raw()
        data = self.tls.taken()
        while not data and not self.tls.has_ended:
            data = self.tls.decrypted(self._receive_raw())
        return data

    def send(self, data: bytes) -> None:
        """Send all of it."""
        self._send_raw(data if self.tls is None else self.tls.encrypted(data))

    def cut(self) -> None:
        """Close TCP at once."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
