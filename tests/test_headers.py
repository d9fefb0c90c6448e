"""``wsfast.headers``: the container (RFC 9110 5) and the grammars of RFC 6455 9.1 and RFC 9110 5.6, 7.8."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.exceptions import InvalidHeaderFormat as TheirInvalidHeaderFormat
from websockets.headers import parse_extension

from wsfast.exceptions import InvalidHeaderFormat
from wsfast.headers import (
    Headers,
    MultipleValuesError,
    is_token,
    parse_extensions,
    parse_tokens,
    parse_upgrade,
)

TOKEN_CHARACTERS = "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


# The container


@pytest.mark.parametrize(
    "headers",
    [
        Headers({"Host": "a", "X-Y": "b"}),
        Headers([("Host", "a"), ("X-Y", "b")]),
        Headers(iter([("Host", "a"), ("X-Y", "b")])),
        Headers(Headers([("Host", "a"), ("X-Y", "b")])),
        Headers({"Host": "a"}, **{"X-Y": "b"}),
        Headers.from_wire([(b"Host", b"a"), (b"X-Y", b"b")]),
    ],
    ids=["mapping", "pairs", "iterator", "headers", "keywords", "wire"],
)
def test_made_from_anything_like_headers(headers: Headers) -> None:
    assert list(headers.raw_items()) == [("Host", "a"), ("X-Y", "b")]
    assert list(headers) == ["host", "x-y"]
    assert len(headers) == 2


def test_names_match_in_any_case() -> None:
    """RFC 9110 5.1: field names are case-insensitive."""
    headers = Headers({"Sec-WebSocket-Key": "x"})
    assert (
        headers["sec-websocket-key"]
        == headers["SEC-WEBSOCKET-KEY"]
        == headers.get("Sec-Websocket-Key")
        == "x"
    )
    assert "SEC-websocket-KEY" in headers
    assert "Sec-WebSocket-Accept" not in headers
    assert 1 not in headers
    assert headers == Headers({"SEC-WEBSOCKET-KEY": "x"})
    assert headers != Headers({"SEC-WEBSOCKET-KEY": "y"})
    assert headers != {"sec-websocket-key": "x"}


def test_missing_name_is_a_key_error() -> None:
    headers = Headers()
    with pytest.raises(KeyError):
        headers["Host"]
    with pytest.raises(KeyError):
        del headers["Host"]
    assert headers.get("Host") is None
    assert headers.get_all("Host") == []


def test_setting_appends_and_one_value_of_two_is_a_lookup_error() -> None:
    headers = Headers()
    headers["Set-Cookie"] = "a=1"
    headers["set-cookie"] = "b=2"
    assert headers.get_all("SET-COOKIE") == ["a=1", "b=2"]
    assert len(headers) == 1
    with pytest.raises(MultipleValuesError, match="2 values"):
        headers["Set-Cookie"]
    with pytest.raises(LookupError):
        headers.get("Set-Cookie")
    assert list(headers.raw_items()) == [("Set-Cookie", "a=1"), ("set-cookie", "b=2")]


def test_deleting_removes_all_values_of_a_name() -> None:
    for name in "aA":
        headers = Headers([("A", "1"), ("B", "2"), ("a", "3")])
        del headers[name]
        assert list(headers.raw_items()) == [("B", "2")]
        assert name not in headers
    headers.clear()
    assert list(headers) == list(headers.raw_items()) == []


def test_copy_and_get_all_can_be_changed_alone() -> None:
    headers = Headers({"A": "1"})
    copy = headers.copy()
    copy["A"] = "2"
    headers.get_all("A").append("3")
    assert headers["A"] == "1"
    assert copy.get_all("A") == ["1", "2"]


def test_str_is_what_travels() -> None:
    """RFC 9112 2.1: each field line ends with CRLF, and an empty one ends them all."""
    headers = Headers([("Host", "a"), ("host", "b")])
    assert str(headers) == "Host: a\r\nhost: b\r\n\r\n"
    assert repr(headers) == "Headers([('Host', 'a'), ('host', 'b')])"


@pytest.mark.parametrize("char", [*map(chr, [*range(9), *range(10, 32), 127, 256]), "한", "\u2028", "\ud800"])
@pytest.mark.parametrize("value", ["{}", "a{}b", "a{}", "{}Set-Cookie: a=1"])
def test_value_that_could_end_its_line_is_refused(value: str, char: str) -> None:
    """RFC 9110 5.5: CR, LF and NUL are dangerous; other control characters are invalid."""
    headers = Headers({"A": "1"})
    with pytest.raises(ValueError, match="cannot be sent"):
        headers["X"] = value.format(char)
    assert list(headers.raw_items()) == [("A", "1")]


@pytest.mark.parametrize("name", ["", "a b", "a:", "a\r\n", "a\n", "é", "(a)", "a\x00"])
def test_name_that_is_no_token_is_refused(name: str) -> None:
    """RFC 9110 5.1: field-name = token."""
    headers = Headers()
    with pytest.raises(ValueError, match="not a token"):
        headers[name] = "x"
    assert not headers


def test_white_space_around_a_value_is_no_part_of_it() -> None:
    """RFC 9110 5.5."""
    assert Headers({"X": " \ta b\t "})["X"] == "a b"


def test_number_is_written_in_digits() -> None:
    """As in ``additional_headers={"X-Retry": 3}``."""
    headers = Headers({"X-N": 3}, X=-1)
    headers["X-N"] = 10**20
    assert str(headers) == "X-N: 3\r\nX: -1\r\nX-N: 100000000000000000000\r\n\r\n"
    with pytest.raises(TypeError):
        headers["X"] = 1.5  # type: ignore[assignment]


def test_every_byte_of_a_received_value_is_kept() -> None:
    """RFC 9110 5.5: obs-text is opaque; ISO 8859-1 keeps it."""
    value = bytes(range(0x80, 0x100))
    assert Headers.from_wire([(b"X", value)])["X"].encode("iso-8859-1") == value


# The grammars


@pytest.mark.parametrize("char", [chr(code) for code in range(256)])
def test_token_characters(char: str) -> None:
    """RFC 9110 5.6.2."""
    assert is_token(char) == (char in TOKEN_CHARACTERS)
    assert is_token(f"a{char}") == (char in TOKEN_CHARACTERS)
    assert not is_token("")


@pytest.mark.parametrize(
    ("values", "tokens"),
    [
        ([], []),
        (["upgrade"], ["upgrade"]),
        (["keep-alive, Upgrade"], ["keep-alive", "Upgrade"]),
        (["keep-alive,Upgrade"], ["keep-alive", "Upgrade"]),
        (["keep-alive \t,\t Upgrade "], ["keep-alive", "Upgrade"]),
        (["keep-alive", "Upgrade"], ["keep-alive", "Upgrade"]),
        ([", ,keep-alive,, Upgrade,"], ["keep-alive", "Upgrade"]),
        ([""], []),
        ([","], []),
    ],
)
def test_token_lists(values: list[str], tokens: list[str]) -> None:
    """RFC 9110 5.6.1: a recipient ignores empty elements; lines of one name are one list (5.3)."""
    assert parse_tokens("Connection", values) == tokens


@pytest.mark.parametrize(
    ("value", "pos"),
    [("a b", 0), ("a,  b;c", 4), ("a,/", 2), ('"a"', 0), ("upgrade\x00", 0), ("a, é", 3), ("a\x0bb", 0)],
)
def test_what_is_no_token_is_named_with_its_place(value: str, pos: int) -> None:
    with pytest.raises(InvalidHeaderFormat, match=f"expected a token at {pos} in ") as caught:
        parse_tokens("Connection", ["fine", value])
    assert caught.value.name == "Connection"


def test_upgrade_takes_protocols_with_and_without_version() -> None:
    """RFC 9110 7.8."""
    assert parse_upgrade(["h2c, WebSocket", "HTTP/2.0"]) == ["h2c", "WebSocket", "HTTP/2.0"]
    for value in ("a/b/c", "/a", "a/", "a b"):
        with pytest.raises(InvalidHeaderFormat):
            parse_upgrade([value])


@pytest.mark.parametrize(
    ("values", "extensions"),
    [
        ([], []),
        (["foo"], [("foo", [])]),
        (["foo, bar"], [("foo", []), ("bar", [])]),
        (["foo", "bar; a"], [("foo", []), ("bar", [("a", None)])]),
        ([", ,foo,, bar,"], [("foo", []), ("bar", [])]),
        (["foo;a=1;b=2"], [("foo", [("a", "1"), ("b", "2")])]),
        (["foo ; a = 1\t;\tb"], [("foo", [("a", "1"), ("b", None)])]),
        (['foo; a="1"; b="x\\y"'], [("foo", [("a", "1"), ("b", "xy")])]),
        (["foo; a; a"], [("foo", [("a", None), ("a", None)])]),
        (
            ["permessage-deflate; client_max_window_bits"],
            [("permessage-deflate", [("client_max_window_bits", None)])],
        ),
        (
            ["permessage-deflate; server_max_window_bits=10, permessage-deflate"],
            [("permessage-deflate", [("server_max_window_bits", "10")]), ("permessage-deflate", [])],
        ),
    ],
)
def test_extensions(values: list[str], extensions: list[object]) -> None:
    """RFC 6455 9.1; the offers are those of Chromium and Firefox, and of RFC 7692 7.1."""
    assert parse_extensions(values) == extensions


@pytest.mark.parametrize(
    "value",
    [
        "",
        ",",
        " , ",
        ";",
        "=",
        "foo bar",
        "foo;",
        "foo; a=",
        "foo; =a",
        "foo; a=b c",
        "foo; a=b=c",
        "foo,;a",
        '"foo"',
        'foo; "a"',
        'foo; a="b',
        'foo; a="b\\"',
        'foo; a="b"c',
        'foo; a=""',
        'foo; a="b c"',
        'foo; a="b\\"c"',
        "foo/1",
        "foo; a=b\x00",
        "föö",
    ],
)
def test_extensions_against_the_grammar(value: str) -> None:
    """RFC 6455 9.1: a quoted value has to be a token once it is unquoted."""
    with pytest.raises(InvalidHeaderFormat, match=r"Sec-WebSocket-Extensions header: .* at \d+ in "):
        parse_extensions([value])


@given(st.text('ab,; \t="\\/é', max_size=40))
def test_extensions_agree_with_another_parser(value: str) -> None:
    """RFC 6455 9.1, on random text close to the grammar; ours also refuses a list without elements."""
    try:
        theirs = parse_extension(value.strip(" \t"))
    except TheirInvalidHeaderFormat:
        with pytest.raises(InvalidHeaderFormat):
            parse_extensions([value])
    else:
        assert parse_extensions([value]) == theirs


@given(st.lists(st.text(max_size=40), max_size=4))
def test_parsers_raise_nothing_else(values: list[str]) -> None:
    for parse in (parse_extensions, parse_upgrade, lambda values: parse_tokens("Connection", values)):
        with contextlib.suppress(InvalidHeaderFormat):
            parse(values)
