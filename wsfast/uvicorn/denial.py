"""The application's own response to a request that it refuses (ASGI's Websocket Denial Response).

How long its body is decides how it is framed (RFC 9112 6), and is known early or late; that is all there is here.
"""

from __future__ import annotations

import http
from collections.abc import Sequence

from ..http import Headers


class Denial:
    """A response of the application's that refuses the connection (ASGI's Websocket Denial Response).

    Its head goes out as soon as the length of the body is known: at once when the application gives it, else with
    the first part of the body, which may turn out to be the only one. Methods return the bytes to write.
    """

    def __init__(
        self, status: int, headers: Sequence[tuple[str, str]], default_headers: Sequence[tuple[str, str]]
    ) -> None:
        self.status = status
        self._headers = Headers(headers)
        self._headers.pop("Transfer-Encoding", None)  # which is ours to choose
        self._has_body = status not in (http.HTTPStatus.NO_CONTENT, http.HTTPStatus.NOT_MODIFIED)
        self._is_chunked = False
        self._is_head_sent = False
        self._n_missing: int | None = None  # bytes of the body, if it was said how many there are
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
        """Raises ``RuntimeError`` when the application has announced another length."""
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
        """What is to be written when the application has ended: the head, if nothing was."""
        if self._is_head_sent:
            return b""
        self._headers["Content-Length"] = "0"
        return self._head()

    def _head(self) -> bytes:
        self._is_head_sent = True
        return f"HTTP/1.1 {self.status} {phrase_of(self.status)}\r\n{self._headers}".encode("iso-8859-1")


def phrase_of(status: int) -> str:
    """Return the reason phrase of a status; empty for one that nobody has registered."""
    try:
        return http.HTTPStatus(status).phrase
    except ValueError:
        return ""
