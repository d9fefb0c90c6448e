"""The client of all measured servers: a blocking socket, and frames that were built beforehand.

It is the same for all servers, and shares no code with the product.
"""

from __future__ import annotations

import base64
import hashlib
import re
import socket
import ssl
import struct
import zlib

from .cases import KEY, frame
from .server import Server, ServerError

SOCKET_SECONDS = 20
REQUEST = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
CLOSE = bytes((0x88, 0x82)) + KEY + bytes(a ^ b for a, b in zip((1000).to_bytes(2, "big"), KEY, strict=False))
COMPRESSED_TEXT_FOLLOWS, CLOSE_FOLLOWS = 0xC1, 0x88


def answer(request: bytes) -> bytes:
    """The response of a server (RFC 6455 4.2.2)."""
    key = re.search(rb"(?i)sec-websocket-key: *(\S+)", request)[1]  # type: ignore[index]
    accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
    )


class Client:
    """A connection to a server process, after its opening handshake. ``head``: the response, as received."""

    def __init__(self, server: Server, path: str = "/", extensions: str = "", owned: bool = True) -> None:
        self.server = server
        self.socket = socket.create_connection(("127.0.0.1", server.port), SOCKET_SECONDS)
        if owned:
            server.connections.append(self.socket)  # the server closes it when it is stopped
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # From now on recv() waits in the kernel only: a timeout would cost the client a poll() each time.
        seconds = struct.pack("ll", SOCKET_SECONDS, 0)
        self.socket.setblocking(True)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, seconds)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, seconds)
        if server.program.tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = (
                False,
                ssl.CERT_NONE,
            )  # its certificate is of its own making
            self.socket = context.wrap_socket(self.socket)
        request = REQUEST.replace(b"GET /", b"GET " + path.encode(), 1)
        if extensions:
            request = request[:-2] + f"Sec-WebSocket-Extensions: {extensions}\r\n\r\n".encode()
        self.socket.sendall(request)
        self.head = self._read_head()
        if not self.head.startswith(b"HTTP/1.1 101 "):
            raise ServerError(f"{server.name}: refused the opening handshake: {self.head!r:.80}")

    def _read_head(self) -> bytes:
        """Read the response and nothing after it, usually in one or two calls."""
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            if self.server.program.tls:  # which cannot be looked at without taking it
                head += self.socket.recv(1) or self._closed()
                continue
            seen = self.socket.recv(4096, socket.MSG_PEEK) or self._closed()
            end = (head + seen).find(b"\r\n\r\n")
            head += self.socket.recv(len(seen) if end < 0 else end + 4 - len(head))
        return head

    def _closed(self) -> bytes:
        raise ServerError(f"{self.server.name}: closed the connection")

    def receive(self, size: int) -> bytes:
        received = b""
        while len(received) < size:
            received += self.socket.recv(size - len(received)) or self._closed()
        return received

    def receive_frame(self) -> tuple[int, bytes]:
        """Return the first byte of a frame, and its payload."""
        first, size = self.receive(2)
        if size >= 126:
            size = int.from_bytes(self.receive(2 if size == 126 else 8), "big")
        return first, self.receive(size)

    def receive_close(self) -> None:
        """Read up to the server's Close, and that too."""
        while self.receive_frame()[0] != CLOSE_FOLLOWS:
            pass

    def exchange(self, text: str) -> None:
        """Send the first text of this connection, and compare the echo with it. The echo may be compressed."""
        self.socket.sendall(frame(text, KEY))
        first, payload = self.receive_frame()
        if first == COMPRESSED_TEXT_FOLLOWS:
            payload = zlib.decompressobj(wbits=-15).decompress(payload + b"\x00\x00\xff\xff")
        if payload != text.encode():
            raise ServerError(f"{self.server.name}: sent a wrong echo: {payload!r:.80}")
