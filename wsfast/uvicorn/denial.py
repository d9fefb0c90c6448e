"""The application's own response to a request that it refuses (ASGI's Websocket Denial Response).

The length of its body decides its framing (RFC 9112 6). It is known early or late, and this file handles both.
"""

from __future__ import annotations

import http
from collections.abc import Sequence

from ..http import Headers


class Denial:
    """A response of the application that refuses the connection (ASGI's Websocket Denial Response).

    Its head goes out when the length of the body is known. If the application gives the length, that is at once. If
    not, it is with the first part of the body, which may be the only one. Methods return the bytes to write.
    """

    def __init__(
        self, status: int, headers: Sequence[tuple[str, str]], default_headers: Sequence[tuple[str, str]]
    ) -> None:
        self.status = status
        self._headers = Headers(headers)
        self._headers.pop("Transfer-Encoding", None)  # we choose it
        self._has_body = status not in (http.HTTPStatus.NO_CONTENT, http.HTTPStatus.NOT_MODIFIED)
        self._is_chunked = False
        self._is_head_sent = False
        self._n_missing: int | None = None  # missing bytes of the body; None if its length was not announced
        if "Content-Length" in self._headers:
            self._n_missing = int(self._headers["Content-Length"])
        given = set(self._headers)
        self._headers.update((name, value) for name, value in default_headers if name.lower() not in given)
        if "connection" not in given:
            self._headers["Connection"] = "close"
        if "content-type" not in given and self._has_body:
            self._headers["Content-Type"] = "text/plain; charset=utf-8"

    def start(self) -> bytes:
        return b"" if self._n_missing is None and self._has_body else self._head()

    def body(self, data: bytes, is_last: bool) -> bytes:
        """Return the bytes of the next part of the body, and of the head before it if it was not sent.

        Raises:
            RuntimeError: the application has announced another length.
        """
        if not self._has_body:
            return b""
        if self._n_missing is not None:
            self._n_missing -= len(data)
            if self._n_missing < 0:
                raise RuntimeError("Response content longer than Content-Length")
            if is_last and self._n_missing > 0:
                raise RuntimeError("Response content shorter than Content-Length")
            return data
        head = b""
        if not self._is_head_sent:
            self._is_chunked = not is_last
            if is_last:
                self._headers["Content-Length"] = str(len(data))
            else:
                self._headers["Transfer-Encoding"] = "chunked"
            head = self._head()
        if not self._is_chunked:
            return head + data
        # RFC 9112 7.1: an empty chunk is the last one.
        chunk = b"%x\r\n%b\r\n" % (len(data), data) if data else b""
        return head + chunk + (b"0\r\n\r\n" if is_last else b"")

    def give_up(self) -> bytes:
        """Return the bytes to write when the application has ended: the head, if it was not sent."""
        if self._is_head_sent:
            return b""
        self._headers["Content-Length"] = "0"
        return self._head()

    def _head(self) -> bytes:
        self._is_head_sent = True
        return f"HTTP/1.1 {self.status} {phrase_of(self.status)}\r\n{self._headers}".encode("iso-8859-1")


def phrase_of(status: int) -> str:
    """Return the reason phrase of a status; empty if the status is not registered."""
    try:
        return http.HTTPStatus(status).phrase
    except ValueError:
        return ""
