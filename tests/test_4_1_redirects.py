"""RFC 6455 4.1: redirects, without I/O (RFC 9110 10.2.2, 15.4; RFC 3986 5)."""

from __future__ import annotations

import pytest

from wsfast.exceptions import InvalidURI, SecurityError
from wsfast.handshake import Response
from wsfast.handshake.redirects import follow, for_origin, location
from wsfast.http import Headers
from wsfast.uri import parse_uri

LATIN = "iso-8859-1"


@pytest.mark.parametrize(
    ("base", "reference", "target"),
    [
        # RFC 3986 5.4, as far as it makes a difference here.
        ("ws://h/a/b?q", "/c", "ws://h/c"),
        ("ws://h/a/b?q", "c", "ws://h/a/c"),
        ("ws://h/a/b?q", "./c", "ws://h/a/c"),
        ("ws://h/a/b?q", "../../../c", "ws://h/c"),
        ("ws://h/a/b?q", "?r", "ws://h/a/b?r"),
        ("ws://h/a/b?q", "", "ws://h/a/b?q"),
        ("ws://h/a/b?q", "/c?d=/../e", "ws://h/c?d=/../e"),
        ("ws://h:81/a", "//other/c", "ws://other/c"),
        ("wss://h/a", "//other:444", "wss://other:444/"),
        ("ws://h", "c", "ws://h/c"),
        ("ws://h?q", "?r", "ws://h/?r"),
        # RFC 3986 3.1: schemes in any case; RFC 6455 3: http and https mean the same ports.
        ("ws://h/a", "ws://other/c", "ws://other/c"),
        ("ws://h/a", "WS://OTHER/c", "ws://other/c"),
        ("ws://h/a", "http://other/c", "ws://other/c"),
        ("ws://h/a", "HTTPS://other/c", "wss://other/c"),
        ("ws://h/a", "https://other:80/c", "wss://other:80/c"),
        ("wss://h/a", "https://h/c", "wss://h/c"),
        ("ws://h/a", "wss://h/c", "wss://h/c"),
        # RFC 9110 10.2.2: a fragment may be there, and is no part of a request.
        ("ws://h/a", "/c#top", "ws://h/c"),
        ("ws://h/a", "#top", "ws://h/a"),
        ("ws://h/a", "http://other#top", "ws://other/"),
        # Bytes beyond ASCII: UTF-8, as browsers take them, or each escaped.
        ("ws://h/a", "/ü?ß".encode().decode(LATIN), "ws://h/%C3%BC?%C3%9F"),
        ("ws://h/a", "/\xfc?\xff", "ws://h/%FC?%FF"),
        ("ws://h/a", "ws://bücher.example/".encode().decode(LATIN), "ws://xn--bcher-kva.example/"),
        ("ws://h/a", "/b c", "ws://h/b%20c"),
        ("ws://h/a", "/b%20c%2F", "ws://h/b%20c%2F"),
        # Ports, dots at the end, zones.
        ("ws://h:8080/a", "http://h:80/c", "ws://h/c"),
        ("ws://h./a", "/c", "ws://h./c"),
        ("ws://[fe80::1%25eth0]:81/a", "/c", "ws://[fe80::1%25eth0]:81/c"),
        ("ws://h/a", "ws://[::1]:81", "ws://[::1]:81/"),
    ],
)
def test_where_a_location_leads(base: str, reference: str, target: str) -> None:
    """RFC 9110 10.2.2: "Location = URI-reference", relative to the target URI."""
    assert str(follow(parse_uri(base), reference)) == target


@pytest.mark.parametrize(
    ("reference", "kind"),
    [
        ("gopher://h/", InvalidURI),
        ("javascript:alert(1)", InvalidURI),
        ("http:", InvalidURI),
        ("http://", InvalidURI),
        ("http:/c", InvalidURI),
        ("//[", InvalidURI),
        ("//[::1]x/", InvalidURI),
        ("//a℀b/".encode().decode(LATIN), InvalidURI),
        ("//\x9b0m/", InvalidURI),
        ("//h:x/", InvalidURI),
        ("//h:0/", InvalidURI),
        # RFC 9110 4.2.4: user information from a stranger obscures the authority.
        ("//user:secret@h/", SecurityError),
        ("//user@h/", SecurityError),
        ("ws://@other/", SecurityError),
        ("http://trusted.example@evil.example/", SecurityError),
    ],
)
def test_location_that_leads_nowhere(reference: str, kind: type[Exception]) -> None:
    with pytest.raises(kind) as caught:
        follow(parse_uri("ws://h/a"), reference)
    assert str(caught.value).isprintable()
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("reference", ["ws://h/", "http://h/", "ws://other/", "HTTP://h:443/"])
def test_tls_is_never_left(reference: str) -> None:
    """Everything that was meant to be encrypted stays encrypted; RFC 6455 10.6."""
    with pytest.raises(SecurityError, match="not encrypted"):
        follow(parse_uri("wss://h/"), reference)


@pytest.mark.parametrize(
    ("reference", "stays"),
    [
        ("/c", True),
        ("ws://h:8080/c", True),
        ("http://H:8080/c", True),
        ("ws://h/c", False),
        ("//h.:8080/c", False),
        ("wss://h:8080/c", False),
        ("//other:8080/c", False),
    ],
)
def test_user_info_stays_at_its_origin(reference: str, stays: bool) -> None:
    """RFC 6454 4, 5: scheme, host and port."""
    target = follow(parse_uri("ws://u:p@h:8080/a"), reference)
    assert target.user_info == (("u", "p") if stays else None)


def test_headers_for_another_origin() -> None:
    """Credentials and Host belong to the first one, in any case and number."""
    headers = Headers(
        [
            ("Authorization", "1"),
            ("authorization", "2"),
            ("COOKIE", "3"),
            ("Proxy-Authorization", "4"),
            ("Host", "5"),
            ("X-Other", "6"),
            ("x-other", "7"),
        ]
    )
    assert list(for_origin(headers).raw_items()) == [("X-Other", "6"), ("x-other", "7")]
    assert len(list(headers.raw_items())) == 7


@pytest.mark.parametrize(
    ("status", "places", "found"),
    [
        *((status, ["/c"], "/c") for status in (300, 301, 302, 303, 307, 308)),
        *((status, ["/c"], None) for status in (200, 201, 304, 305, 306, 309, 400, 503)),
        (302, [], None),
        (302, ["/c", "/c"], None),
        (302, [""], ""),
    ],
)
def test_which_responses_lead_elsewhere(status: int, places: list[str], found: str | None) -> None:
    """RFC 9110 15.4; a 304 is about a cache, 305 and 306 are deprecated."""
    assert location(Response(status, "", Headers([("Location", place) for place in places]))) == found
