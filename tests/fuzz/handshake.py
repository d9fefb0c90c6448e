"""The opening handshake in both roles: any bytes of a peer, under any chunking (RFC 6455 3, 4.1, 4.2).

- Nothing but the documented exceptions: ``InvalidHandshake`` in ``error``, ``InvalidURI`` for a URI.
- A text told to the user is printable, whatever the peer sent, and shows no password of a URI.
- Chunks make no difference, but to texts, which show a fault as far as it was received.
- A server's answer is HTTP that h11 reads. It opens the connection only for a request that a plain reader finds right.
- A request that is read without h11 has the result that h11 gives.
- A client opens only for a 101 with the accept value that belongs to its key.
"""

from __future__ import annotations

import base64
import copy
import hashlib
import re
import sys
from typing import Any

import atheris

with atheris.instrument_imports(include=["wsfast"]):
    from wsfast.exceptions import InvalidHandshake, InvalidURI, SecurityError
    from wsfast.handshake import ClientHandshake, ServerHandshake
    from wsfast.handshake.redirects import follow, same_origin
    from wsfast.uri import WebSocketURI, parse_uri

import h11
from source import Source, random_cut

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="  # RFC 6455 1.3
ACCEPT = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

# Words of requests and responses, so that the fuzzer need not guess them. A decision below 0x80 is a character.
WORDS = (
    b"\r\n", b"\r\n\r\n", b": ", b", ", b"GET / HTTP/1.1\r\n", b"GET ", b" HTTP/1.1", b" HTTP/1.0", b"HTTP/1.1 101 ",
    b"HTTP/1.1 101 Switching Protocols\r\n", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 302 Found\r\n", b"HTTP/1.1 100 \r\n",
    b"Host: example.com\r\n", b"Host", b"Upgrade: websocket\r\n", b"Upgrade", b"Connection: Upgrade\r\n",
    b"Connection: keep-alive, upgrade\r\n", b"Connection", b"Sec-WebSocket-Key: " + KEY + b"\r\n",
    b"Sec-WebSocket-Key", b"Sec-WebSocket-Version: 13\r\n", b"Sec-WebSocket-Version",
    b"Sec-WebSocket-Accept: " + ACCEPT + b"\r\n", b"Sec-WebSocket-Accept", b"Sec-WebSocket-Protocol: chat\r\n",
    b"Sec-WebSocket-Protocol: chat, superchat\r\n", b"Sec-WebSocket-Protocol",
    b"Sec-WebSocket-Extensions: permessage-deflate\r\n", b"Sec-WebSocket-Extensions", b"permessage-deflate",
    b"; client_max_window_bits", b"=8", b"=15", b"Origin: https://example.com\r\n", b"Origin",
    b"Content-Length: 5\r\n", b"Content-Length", b"Transfer-Encoding: chunked\r\n", b"Content-Type: text/plain\r\n",
    b"Location: /\x1b[2J\r\n", b"websocket", b"chat", b"\x81\x05hello", b"\x1b[31m", b"\x00", b"\xff", b"\x85",
    b"\xe2\x80\xae", b"a" * 300, b"Expect: 100-continue\r\n", b"http://example.com/", b"X: y\r\n" * 130,
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZQ==\r\n", b"Sec-WebSocket-Version: 8\r\n",
)  # fmt: skip

REQUEST = (
    b"GET /chat HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: "
    + KEY
    + b"\r\nSec-WebSocket-Version: 13\r\n"
)
RESPONSE = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
    + ACCEPT
    + b"\r\n"
)

URI = ("ws://", "wss://", "http://", "user", ":", "password", "@", "example.com", "[::1]", "[fe80::1%25eth0]", "/", "?",
       "#", "%41", "%", ":80", ":99999", "\x1b[2J", "\n", "é", "xn--", "..", " ", "\\")  # fmt: skip


def told(error: BaseException) -> None:
    """Check the texts that end up in a log or on a terminal."""
    for text in (str(error), repr(error)):
        assert text.isprintable(), ascii(text)
        assert len(text) < 1200


def wire(source: Source, begin: bytes) -> bytes:
    """A peer's bytes: right to begin with or not, then words and characters."""
    how = source.byte()
    made = begin if how & 1 else b""
    if how & 2:  # without one of its lines
        lines = made.splitlines(keepends=True)
        made = b"".join(lines[: how >> 2 & 7] + lines[(how >> 2 & 7) + 1 :])
    while not source.empty and len(made) < 40_000:
        decision = source.byte()
        made += bytes((decision,)) if decision < 0x80 else WORDS[decision % len(WORDS)]
    return made


def facts(value: Any) -> Any:
    """What has to be the same under every chunking. A text is not: it shows a fault as far as it was received."""
    if isinstance(value, BaseException):
        told(value)
        told(copy.copy(value))  # exceptions are copied and pickled by their arguments
        return type(value)
    if value is not None and hasattr(value, "headers"):
        if hasattr(value, "path"):
            return value.path, list(value.headers.raw_items())
        left_out = ("Content-Length", "Date")
        fields = [item for item in value.headers.raw_items() if item[0] not in left_out]
        return value.status_code, value.reason_phrase, fields
    return value


# The server


def is_right(request: bytes) -> bool:
    """Judge a request that was accepted by the plain words of 4.2.1."""
    head = request.partition(b"\r\n\r\n")[0].replace(b"\r\n", b"\n").partition(b"\n\n")[0]
    line, *lines = head.split(b"\n")
    fields: dict[bytes, bytes] = {}
    for one in lines:
        name, _, value = one.partition(b":")
        key = name.strip().lower()
        fields[key] = (fields[key] + b"," if key in fields else b"") + value.strip().lower()
    tokens = [token.strip() for token in fields.get(b"connection", b"").split(b",")]
    return (
        re.fullmatch(rb"GET \S+ HTTP/1\.[1-9]", line.strip()) is not None
        and b"host" in fields
        and b"websocket" in fields.get(b"upgrade", b"")
        and b"upgrade" in tokens
        and fields.get(b"sec-websocket-version") == b"13"
        and len(base64.b64decode(fields.get(b"sec-websocket-key", b""))) == 16
    )


def serve(options: dict[str, Any], chunks: list[bytes], answers: bool, ends: bool) -> tuple[Any, bytes]:
    handshake = ServerHandshake(**options)
    for chunk in chunks:
        handshake.receive_data(chunk)
    if ends:
        handshake.receive_eof()
    response, sent = handshake.response_due, b""
    if handshake.request is not None or response is not None:
        response = handshake.accept() if answers else handshake.reject(403, "no")
        handshake.send_response(response)
        sent = handshake.data_to_send()
    assert handshake.error is None or isinstance(handshake.error, InvalidHandshake)
    seen = [handshake.request, handshake.error, response, handshake.subprotocol, handshake.compression]
    return [*map(facts, seen), handshake.trailing_data if handshake.error is None else None], sent


def without_date(head: bytes) -> bytes:
    return re.sub(rb"Date: [^\r]*", b"Date:", head)


def check_server(source: Source) -> None:
    flags = source.byte()
    options = {
        "origins": [None, "https://example.com"] if flags & 1 else None,
        "subprotocols": ["chat", "superchat"] if flags & 2 else None,
        "compression": "deflate" if flags & 4 else None,
        "max_head_size": 400 if flags & 8 else 16_384,
    }
    cutting = Source(source.take(1))
    received = wire(source, REQUEST)
    chunks = random_cut(received, cutting)
    seen, sent = serve(options, chunks, not flags & 16, bool(flags & 32))
    # A usual request that is whole is read without h11, and pieces are read by it: both have to agree.
    seen_whole, sent_whole = serve(options, [received], not flags & 16, bool(flags & 32))
    assert seen == seen_whole, "chunking makes a difference"
    if seen[1] is None:
        assert without_date(sent) == without_date(sent_whole)
    if not sent:
        return
    reader = h11.Connection(h11.CLIENT)
    method = "GET" if seen[0] is None or not received.lstrip(b"\r\n").startswith(b"HEAD ") else "HEAD"
    reader.send(
        h11.Request(method=method, target="/", headers=[("Host", "example.com"), ("Upgrade", "websocket")])
    )
    reader.send(h11.EndOfMessage())
    reader.receive_data(sent)
    event = reader.next_event()
    if isinstance(event, h11.InformationalResponse) and event.status_code == 100:
        assert b"100-continue" in received.lower()  # RFC 9110 7.8: it goes before the 101
        event = reader.next_event()
        assert isinstance(event, h11.InformationalResponse)
    if isinstance(event, h11.InformationalResponse):
        assert event.status_code == 101
        assert seen[1] is None
        assert is_right(received), received
        key = re.search(rb"(?i)sec-websocket-key:[ \t]*([A-Za-z0-9+/=]+)", received)
        assert key is not None
        digest = hashlib.sha1(key[1] + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
        assert dict(event.headers)[b"sec-websocket-accept"] == base64.b64encode(digest)
        return
    assert isinstance(event, h11.Response), event
    body = b""
    while not isinstance(event := reader.next_event(), h11.EndOfMessage):
        assert isinstance(event, h11.Data), event
        body += event.data
    assert body.decode().replace("\n", "").isprintable(), body


# The client


def connect(options: dict[str, Any], chunks: list[bytes], ends: bool) -> list[Any]:
    handshake = ClientHandshake(
        "ws://example.com/", random_bytes=lambda size: base64.b64decode(KEY), **options
    )
    handshake.data_to_send()
    for chunk in chunks:
        handshake.receive_data(chunk)
    if ends:
        handshake.receive_eof()
        assert handshake.done
    assert handshake.data_to_send() == b""
    assert handshake.error is None or isinstance(handshake.error, InvalidHandshake)
    opened = handshake.done and handshake.error is None
    if opened:
        assert handshake.response is not None
        assert handshake.response.status_code == 101
        assert handshake.response.headers["Sec-WebSocket-Accept"].encode() == ACCEPT
    response = handshake.response if opened else None
    seen = [response, handshake.error, handshake.subprotocol, handshake.compression]
    return [handshake.done, *map(facts, seen), handshake.trailing_data]


def check_client(source: Source) -> None:
    flags = source.byte()
    options = {
        "subprotocols": ["chat", "superchat"] if flags & 1 else None,
        "compression": "deflate" if flags & 2 else None,
    }
    cutting = Source(source.take(1))
    received = wire(source, RESPONSE)
    seen = connect(options, random_cut(received, cutting), bool(flags & 4))
    assert seen == connect(options, [received], bool(flags & 4)), "chunking makes a difference"


def shows_no_password(told: str, text: str) -> None:
    """Check that ``told`` has nothing of what stands between a user name and the last "@" of ``text``."""
    match = re.match(r"(?:wss?|https?)://user:(.{4,})@", text, re.DOTALL)
    if match is not None and text.count(match[1]) == 1:
        assert match[1] not in told, text


def check_redirect(uri: WebSocketURI, reference: str) -> None:
    """RFC 9110 10.2.2: any Location of a server, as far as it is one."""
    for base in (parse_uri("wss://u:p@example.com/a/b?c"), uri):
        try:
            target = follow(base, reference.encode("utf-8").decode("iso-8859-1"))
        except (InvalidURI, SecurityError) as error:
            told(error)
            continue
        assert target.secure or not base.secure
        assert target.user_info is None or same_origin(base, target)
        assert parse_uri(str(target)).host == target.host


def check_uri(source: Source) -> None:
    text = ""
    while not source.empty and len(text) < 1000:
        decision = source.byte()
        text += URI[decision] if decision < len(URI) else chr(decision * (1 if decision < 0xF0 else 0x77))
    try:
        uri = parse_uri(text)
    except InvalidURI as error:
        told(error)
        shows_no_password(str(error), text)
        return
    check_redirect(uri, text)
    assert uri.host
    assert 0 < uri.port < 65536
    assert re.fullmatch(r"/[!-~]*", uri.resource_name), uri.resource_name
    assert uri.host_header.isascii()
    request = ClientHandshake(uri)
    head = request.data_to_send()
    assert head.count(b"\r\n\r\n") == 1
    assert head.startswith(b"GET /")


def target(data: bytes) -> None:
    source = Source(data)
    kind = source.byte() % 8
    if kind == 7:
        check_uri(source)
    elif kind & 1:
        check_client(source)
    else:
        check_server(source)


if __name__ == "__main__":
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()
