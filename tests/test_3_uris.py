"""RFC 6455 3: WebSocket URIs."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.uri import parse_uri as their_parse_uri

from wsfast.exceptions import InvalidURI
from wsfast.printable import shown_uri
from wsfast.uri import WebSocketURI, parse_uri


def uri(**parts: Any) -> WebSocketURI:
    return WebSocketURI(**{"secure": False, "host": "localhost", "port": 80, **parts})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ws://localhost", uri()),
        ("ws://localhost/", uri(path="/")),
        ("wss://localhost/", uri(secure=True, port=443, path="/")),
        ("WS://LocalHost/Path", uri(path="/Path")),
        ("ws://localhost:8765/chat?a=1&b=%20", uri(port=8765, path="/chat", query="a=1&b=%20")),
        ("ws://localhost?a", uri(query="a")),
        ("ws://localhost:/", uri(path="/")),
        ("ws://localhost:00080/", uri(path="/")),
        ("ws://localhost:65535/", uri(port=65535, path="/")),
        ("ws://127.0.0.1:1/", uri(host="127.0.0.1", port=1, path="/")),
        ("ws://[::1]:8080/", uri(host="::1", port=8080, path="/")),
        ("ws://[2001:DB8::1]", uri(host="2001:db8::1")),
        ("ws://[fe80::1%25eth0]/", uri(host="fe80::1%eth0", path="/")),
        ("ws://" + "a." * 127, uri(host="a." * 127)),
        ("ws://my_service.internal./", uri(host="my_service.internal.", path="/")),
        ("ws://bücher.example/", uri(host="xn--bcher-kva.example", path="/")),
        ("ws://채팅.한국/", uri(host="xn--ou6bo7j.xn--3e0b707e", path="/")),
        ("ws://localhost/é?€=ü", uri(path="/%C3%A9", query="%E2%82%AC=%C3%BC")),
        ("ws://localhost/a%20b%zz", uri(path="/a%20b%zz")),
        ('ws://localhost/{"a":[1]}|^`', uri(path="/%7B%22a%22:[1]%7D%7C%5E%60")),
        ("ws://localhost//x?/?@:", uri(path="//x", query="/?@:")),
        ("ws://user:secret@localhost/", uri(path="/", username="user", password="secret")),
        ("ws://user:@localhost/", uri(path="/", username="user", password="")),
        ("ws://a%40b:p%3A%2f%C3%A9@localhost/", uri(path="/", username="a@b", password="p:/é")),
        ("ws://user:p@ss:w@localhost/", uri(path="/", username="user", password="p@ss:w")),
    ],
)
def test_parts(text: str, expected: WebSocketURI) -> None:
    """RFC 6455 3; RFC 3986 3; RFC 3987 3.1 for what is not ASCII."""
    assert parse_uri(text) == expected
    assert parse_uri(text).password == expected.password


@pytest.mark.parametrize(
    ("text", "resource_name"),
    [
        ("ws://h", "/"),
        ("ws://h/", "/"),
        ("ws://h?q", "/?q"),
        ("ws://h/a/b", "/a/b"),
        ("ws://h/a/b?c=d?e", "/a/b?c=d?e"),
        ("ws://h/?", "/"),
    ],
)
def test_resource_name(text: str, resource_name: str) -> None:
    """RFC 6455 3: "/" if the path is empty, the path, "?" if the query is not, the query."""
    assert parse_uri(text).resource_name == resource_name


@pytest.mark.parametrize(
    ("text", "host_header"),
    [
        ("ws://h", "h"),
        ("ws://h:80", "h"),
        ("ws://h:0080", "h"),
        ("ws://h:", "h"),
        ("wss://h:443", "h"),
        ("ws://h:443", "h:443"),
        ("wss://h:80", "h:80"),
        ("ws://[::1]", "[::1]"),
        ("ws://[::1]:8765", "[::1]:8765"),
        ("ws://[fe80::1%25eth0]:8765", "[fe80::1]:8765"),
    ],
)
def test_host_header(text: str, host_header: str) -> None:
    """RFC 6455 4.1: the port is left out if it is the default one. RFC 6874 4: the zone stays here."""
    assert parse_uri(text).host_header == host_header


def test_user_info_is_both_or_none() -> None:
    assert parse_uri("ws://u:p@h").user_info == ("u", "p")
    assert parse_uri("ws://u:@h").user_info == ("u", "")
    assert parse_uri("ws://h").user_info is None


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("http://localhost/", 'use "ws://" instead of "http://"'),
        ("HTTPS://localhost/", 'use "wss://" instead of "https://"'),
        ("ftp://localhost/", 'start with "ws://"'),
        ("localhost:8765", 'start with "ws://"'),
        ("localhost", 'start with "ws://"'),
        ("//localhost", 'start with "ws://"'),
        ("", 'start with "ws://"'),
        ("ws:", "host is missing"),
        ("ws://", "host is missing"),
        ("ws:/path", "host is missing"),
        ("ws:localhost", "host is missing"),
        ("ws:///path", "host is missing"),
        ("ws://:80/", "host is missing"),
        ("ws://u:p@/", "host is missing"),
        ("ws://localhost/#", '"#" as "%23"'),
        ("ws://localhost/a#b", '"#" as "%23"'),
        ("ws://localhost#\u2028", '"#" as "%23"'),
        ("ws://localhost:0/", "1 to 65535"),
        ("ws://localhost:65536/", "1 to 65535"),
        ("ws://localhost:-1/", "1 to 65535"),
        ("ws://localhost:http/", "1 to 65535"),
        ("ws://localhost:８０/", "1 to 65535"),
        ("ws://localhost:" + "9" * 5000, "1 to 65535"),
        ("ws://::1/", "IPv6 address stands in brackets"),
        ("ws://[::1/", "IPv6 address stands in brackets"),
        ("ws://[::1]x/", "IPv6 address stands in brackets"),
        ("ws://x[::1]/", "IPv6 address stands in brackets"),
        ("ws://[]/", "not an IPv6 address"),
        ("ws://[127.0.0.1]/", "not an IPv6 address"),
        ("ws://[v1.x]/", "not an IPv6 address"),
        ("ws://[fe80::1%25]/", "not the zone"),
        ("ws://a..b/", "not a host name"),
        ("ws://.../", "not a host name"),
        ("ws://" + "a" * 64 + ".example/", "not a host name"),
        ("ws://" + "a." * 128, "a host name of 256 characters is too long"),
        ("ws://" + "a." * 122 + "é" * 5, "a host name of 255 characters is too long"),
        ("ws://a%2Fb/", "not a host name"),
        ("ws://a%40b/", "not a host name"),
        ("ws://a%FF/", "not a host name"),
        ("ws://xn--ü/", "not a host name"),
        ("ws://" + "ü" * 63 + "/", "not a host name"),
        # IDNA 2003 leaves the joiner out.
        (
            "ws://نامه\u200cای.example/",
            'one host in IDNA 2003 and another in IDNA 2008; write its "xn--" form',
        ),
        ("ws://क्\u200dष.example/", "another in IDNA 2008"),
        ("ws://localhost:00/", "1 to 65535"),
        ("ws://a,b/", "not a host name"),
        ("ws://a\\b/", "not a host name"),
        ("ws://a℀b/", "not a host name"),
        ("ws://user@localhost/", "without a password"),
        ("ws://us%3Aer:x@localhost/", "cannot have"),
        ("ws://u:%FF@localhost/", "not UTF-8"),
        ("ws://localhost/\ud800", "lone surrogate"),
    ],
)
def test_what_is_no_websocket_uri_says_how_to_write_it(text: str, hint: str) -> None:
    """RFC 6455 3."""
    with pytest.raises(InvalidURI) as caught:
        parse_uri(text)
    assert hint in str(caught.value)
    assert caught.value.uri == text
    assert caught.value.msg in str(caught.value)
    assert str(caught.value).isprintable()


def test_cherokee_is_never_another_host() -> None:
    """CPython 3.14 keeps its letters, as IDNA 2008 does. Before it, IDNA made them small, which are other letters."""
    try:
        said = parse_uri("ws://Ꭰ.example/").host
    except InvalidURI as error:
        said = str(error)
    assert said == "xn--58d.example" or "another in IDNA 2008" in said


@pytest.mark.parametrize("char", [chr(code) for code in (*range(33), 127)])
@pytest.mark.parametrize(
    "text", ["{}ws://localhost/", "ws://local{}host/", "ws://localhost/{}", "ws://localhost/?{}"]
)
def test_white_space_and_control_characters_are_refused(text: str, char: str) -> None:
    """RFC 3986 2: they have to be escaped. A line break would write headers into the request."""
    with pytest.raises(InvalidURI, match=f"write it as %{ord(char):02X}"):
        parse_uri(text.format(char))


def test_password_is_not_shown() -> None:
    """RFC 3986 3.2.1: applications should not render it as clear text."""
    assert "secret" not in repr(parse_uri("ws://user:secret@localhost"))
    with pytest.raises(InvalidURI) as caught:
        parse_uri("http://user:secret@localhost/")
    assert "secret" not in str(caught.value)
    assert "http://user:***@localhost/" in str(caught.value)


@pytest.mark.parametrize("char", "/?#@")
@pytest.mark.parametrize(
    "scheme", ["ws://", "wss://", "http://", "HTTPS://", "//", "", "://", "ws:/", "ws:", "ftp://", "ws:\\\\"]
)
@pytest.mark.parametrize("password", ["hunter{}2", "{}hunter", "12hunter{}{}", "hunter//{}", "a:hunter{}"])
def test_password_with_a_character_that_should_be_escaped_is_not_shown(
    scheme: str, password: str, char: str
) -> None:
    """RFC 3986 3.2.1, and the usual mistake with passwords."""
    text = f"{scheme}user:{password.format(char, char)}@localhost/"
    assert "hunter" not in shown_uri(text)
    try:
        parse_uri(text)
    except InvalidURI as error:
        told = f"{error} {error!r} {error.msg}"
    else:
        return
    assert "hunter" not in told
    assert "12" not in told


@pytest.mark.parametrize("char", "/?#")
def test_password_with_a_character_that_should_be_escaped_is_told_how(char: str) -> None:
    with pytest.raises(
        InvalidURI, match=f'"{re.escape(char)}" as "%{ord(char):02X}"|"/" is written as "%2F"'
    ):
        parse_uri(f"ws://user:hunter{char}2@localhost/")


def test_uri_without_a_password_is_shown_as_it_is() -> None:
    for text in ("ws://h:80/a?b", "ws://user@h/", "ws://h/a@b", "ws://[::1]:80/", "", "@", "localhost:80"):
        assert shown_uri(text) == text


@pytest.mark.parametrize(
    ("text", "host"),
    [
        # RFC 5894 7.2: letters in IDNA 2008 and in browsers; IDNA 2003 made "ss" and another sigma of them.
        ("ws://faß.example/", "xn--fa-hia.example"),
        ("ws://FAß.example/", "xn--fa-hia.example"),
        ("ws://fa\u1e9e.example/", "xn--fa-hia.example"),
        ("ws://βόλος.example/", "xn--nxasmm1c.example"),
        ("ws://a\u0308ß.example/", "xn--zcaj.example"),
        # The same in both.
        ("ws://BÜCHER.example/", "xn--bcher-kva.example"),
        ("ws://例\u3002예시\uff0ekr/", "xn--fsq.xn--vv4b11d.kr"),
        ("ws://ＡＢＣ.example/", "abc.example"),
        ("ws://a\u00adb.example/", "ab.example"),
        # RFC 3986 3.2.2: escaped, in UTF-8.
        ("ws://a%41/", "aa"),
        ("ws://%EC%98%88%EC%8B%9C.kr/", "xn--vv4b11d.kr"),
    ],
)
def test_host_is_the_one_that_a_browser_would_take(text: str, host: str) -> None:
    """RFC 3490, RFC 5891, UTS 46."""
    assert parse_uri(text).host == host


@pytest.mark.parametrize(
    ("text", "host", "host_header", "tls_name"),
    [
        ("wss://Example.com./", "example.com.", "example.com.", "example.com"),
        ("wss://example.com.:8443/", "example.com.", "example.com.:8443", "example.com"),
        ("wss://예시.kr./", "xn--vv4b11d.kr.", "xn--vv4b11d.kr.", "xn--vv4b11d.kr"),
        ("wss://[FE80::1%25eth0]/", "fe80::1%eth0", "[fe80::1]", "fe80::1"),
        ("wss://127.0.0.1/", "127.0.0.1", "127.0.0.1", "127.0.0.1"),
    ],
)
def test_dot_at_the_end_is_for_the_resolver(text: str, host: str, host_header: str, tls_name: str) -> None:
    """RFC 6066 3: TLS names a server "without a trailing dot"; Host has the authority as it is (RFC 9110 7.2)."""
    parsed = parse_uri(text)
    assert (parsed.host, parsed.host_header, parsed.tls_name) == (host, host_header, tls_name)


def test_uri_is_a_value() -> None:
    parsed = parse_uri("ws://localhost/")
    assert parsed == parse_uri("WS://LOCALHOST:80/")
    assert len({parsed, parse_uri("WS://LOCALHOST:80/")}) == 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        parsed.port = 81  # type: ignore[misc]


@given(
    st.sampled_from(["ws", "wss"]),
    st.from_regex(r"[a-z0-9]{1,8}(\.[a-z]{2,8})?", fullmatch=True),
    st.none() | st.integers(1, 65535),
    st.from_regex(r"(/[A-Za-z0-9._~:@!$&'()*+,;=%-]{0,8}){0,3}", fullmatch=True),
    st.none() | st.from_regex(r"[A-Za-z0-9._~:@!$&'()*+,;=%/?-]{0,12}", fullmatch=True),
)
def test_uris_agree_with_another_parser(
    scheme: str, host: str, port: int | None, path: str, query: str | None
) -> None:
    """RFC 3986 3, on URIs that need no encoding."""
    text = (
        f"{scheme}://{host}"
        + (f":{port}" if port else "")
        + path
        + (f"?{query}" if query is not None else "")
    )
    ours, theirs = parse_uri(text), their_parse_uri(text)
    assert (ours.secure, ours.host, ours.port) == (theirs.secure, theirs.host, theirs.port)
    assert (ours.path, ours.query, ours.resource_name) == (theirs.path, theirs.query, theirs.resource_name)


@given(st.text(max_size=40).map(lambda rest: f"ws://{rest}") | st.text(max_size=20))
def test_any_text_is_a_uri_or_refused(text: str) -> None:
    """What is returned can stand in a request as it is; nothing else than InvalidURI is raised."""
    try:
        parsed = parse_uri(text)
    except InvalidURI:
        return
    for part in (parsed.resource_name, parsed.host_header):
        assert part.isascii()
        assert part.isprintable()
        assert " " not in part
