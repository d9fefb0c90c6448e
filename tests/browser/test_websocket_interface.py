"""The interface of WHATWG WebSockets, as a table that ``wsfast.browser`` and a real browser pass alike.

Each check has a title, steps, and what is noted while they run: attributes, exceptions, the names of listeners. The
steps are data: ``interpreter.py`` does them with ``wsfast.browser``, ``interpreter.js`` with Chromium's ``WebSocket``.
``watch()`` adds a listener of each type: "open", the data of a message, "error", and ``[code, reason, wasClean]``.
PLAIN, DEFLATE and RAW stand for the hosts of ``interface_servers.py``.

Where Chromium differs from the standard, ``chromium`` is what it notes, and the standard is what we do.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from asyncio_helpers import run
from browsers import Chromium
from interface_servers import serving
from interpreter import do

Step = list[Any]


@dataclass
class Check:
    title: str
    steps: list[Step]
    expected: list[Any]
    chromium: list[Any] | None = None


# Steps. Those of a listener, `does`, are done while it runs; `event`, `call`, `give` and `fail` are for them alone.


def new(url: str = "ws://PLAIN/echo", protocols: str | list[str] | None = None) -> Step:
    return ["new", url, protocols]


def listen(type: str, label: str, *does: Step, **options: bool) -> Step:
    return ["listen", type, label, options, does]


def listen_object(type: str, label: str, *does: Step, **options: bool) -> Step:
    return ["listen_object", type, label, options, does]


def unlisten(type: str, label: str, **options: bool) -> Step:
    return ["unlisten", type, label, options]


def on(type: str, label: str | None, *does: Step) -> Step:
    return ["on", type, label, does]


def make(kind: str, label: str, type: str, **init: Any) -> Step:
    return ["make", kind, label, type, init]


def wait(type: str, n: int = 1) -> Step:
    return ["wait", type, n]


def step(name: str) -> Any:
    return lambda *args: [name, *args]


watch = step("watch")()
get, set_, until = step("get"), step("set"), step("until")
send, send_bytes, send_part, send_repeated = map(step, ("send", "send_bytes", "send_part", "send_repeated"))
close, has_handler, constant = step("close"), step("has_handler"), step("constant")
event, call, give, fail = step("event"), step("call"), step("give"), step("fail")()
dispatch, read, next_, rest = step("dispatch"), step("read"), step("next"), step("rest")
unlisten_object, listen_none = step("unlisten_object"), step("listen_none")

LOST = ["error", [1006, "", False]]
"""The end of a connection that failed, or that never was."""

LONGEST = "가" * 41
"""123 bytes of UTF-8."""


def url_is(title: str, url: str, normal: str) -> Check:
    return Check(f"url: {title}", [new(url), get("url")], [normal])


def refused_url(title: str, url: str) -> Check:
    return Check(f"url: {title} is a SyntaxError", [new(url)], ["throws SyntaxError"])


def refused_protocols(title: str, protocols: str | list[str]) -> Check:
    steps = [new("ws://PLAIN/echo", protocols)]
    return Check(f"protocols: {title} is a SyntaxError", steps, ["throws SyntaxError"])


def refused_close(title: str, error: str, *args: Any) -> Check:
    steps = [new(), watch, wait("open"), close(*args), get("readyState")]
    return Check(f"close: {title} is an {error}", steps, ["open", f"throws {error}", 1])


def fails(title: str, path: str, *before: Any, chromium: list[Any] | None = None) -> Check:
    steps = [new(f"ws://RAW{path}"), watch, wait("close"), get("readyState")]
    seen = None if chromium is None else [*chromium, 3]
    return Check(f"failure: {title}", steps, [*before, *LOST, 3], seen)


def ends(title: str, path: str, code: int, reason: str = "") -> Check:
    steps = [new(f"ws://RAW{path}"), watch, wait("close")]
    return Check(f"the server's Close: {title}", steps, ["open", [code, reason, True]])


def echoes(title: str, sending: Step, expected: Any, *more: Step) -> Check:
    steps = [new(), *more, watch, wait("open"), sending, wait("message")]
    return Check(f"send: {title}", steps, ["open", expected])


CHECKS = [
    # The constructor: URLs
    url_is("the host alone gets a path", "ws://PLAIN", "ws://PLAIN/"),
    url_is("path and query are kept", "ws://PLAIN/a/b?c=d&e", "ws://PLAIN/a/b?c=d&e"),
    url_is("an empty query keeps its mark", "ws://PLAIN/a?", "ws://PLAIN/a?"),
    url_is("http becomes ws", "http://PLAIN/echo", "ws://PLAIN/echo"),
    url_is("https becomes wss", "https://PLAIN/echo", "wss://PLAIN/echo"),
    url_is("the scheme in capitals", "WS://PLAIN/Echo", "ws://PLAIN/Echo"),
    url_is("the host in capitals", "ws://LocalHost:1/", "ws://localhost:1/"),
    url_is("the default port of ws", "ws://127.0.0.1:80/", "ws://127.0.0.1/"),
    url_is("the default port of wss", "wss://127.0.0.1:443/", "wss://127.0.0.1/"),
    url_is("the other's default port", "ws://127.0.0.1:443/", "ws://127.0.0.1:443/"),
    url_is("zeros before the port", "ws://127.0.0.1:0081/", "ws://127.0.0.1:81/"),
    url_is("an IPv6 address", "ws://[0:0::1]:81/", "ws://[::1]:81/"),
    url_is("a host beyond ASCII", "ws://한국.invalid/", "ws://xn--3e0b707e.invalid/"),
    url_is("white space around it", " \n ws://PLAIN/echo\t ", "ws://PLAIN/echo"),
    url_is("tabs and line breaks in it", "w\ts://PLAIN/ec\r\nho", "ws://PLAIN/echo"),
    url_is("a space in the path", "ws://PLAIN/a b?c d", "ws://PLAIN/a%20b?c%20d"),
    url_is("a path beyond ASCII", "ws://PLAIN/안", "ws://PLAIN/%EC%95%88"),
    url_is("a query beyond ASCII is UTF-8", "ws://PLAIN/?안", "ws://PLAIN/?%EC%95%88"),
    url_is("a lone surrogate is U+FFFD", "ws://PLAIN/\ud800", "ws://PLAIN/%EF%BF%BD"),
    url_is("escapes are kept", "ws://PLAIN/%7e%2F%EC", "ws://PLAIN/%7e%2F%EC"),
    url_is("dots in the path", "ws://PLAIN/a/./b/../c", "ws://PLAIN/a/c"),
    url_is("more dots than folders", "ws://PLAIN/../../c/..", "ws://PLAIN/"),
    url_is("escaped dots", "ws://PLAIN/a/%2E%2e/b/%2E", "ws://PLAIN/b/"),
    url_is("backslashes", "ws:\\\\PLAIN\\a\\..\\b", "ws://PLAIN/b"),
    url_is("one slash, and three", "ws:/PLAIN///a", "ws://PLAIN///a"),
    url_is("user name and password", "ws://me:pass@PLAIN/", "ws://me:pass@PLAIN/"),
    url_is("a user name alone", "ws://me@PLAIN/", "ws://me@PLAIN/"),
    refused_url("an empty string without a page's help", "ws:"),
    refused_url("another scheme", "ftp://PLAIN/"),
    refused_url("mailto", "mailto:example@example.org"),
    refused_url("about:blank", "about:blank"),
    refused_url("a fragment", "ws://PLAIN/#test"),
    refused_url("an empty fragment", "ws://PLAIN/#"),
    refused_url("a fragment of http", "http://PLAIN/#test"),
    refused_url("a bracket in the host", "ws://foo[bar.com/"),
    Check(
        "url: a space in the host is a SyntaxError",
        [new("ws://foo bar.com/")],
        ["throws SyntaxError"],
        chromium=[],  # it escapes the space; WHATWG URL: a forbidden host code point
    ),
    refused_url("no host", "ws:///"),
    refused_url("a port that is too large", "ws://127.0.0.1:65536/"),
    refused_url("a port that is no number", "ws://127.0.0.1:x/"),
    refused_url("half an IPv6 address", "ws://[::1/"),
    refused_url("the zone of an IPv6 address", "ws://[fe80::1%25eth0]/"),
    Check(
        "url: what is sent is what it says",
        [new("http://PLAIN/x/../path?a b=안"), watch, wait("message")],
        ["open", "/path?a%20b=%EC%95%88"],
    ),
    # The constructor: subprotocols
    refused_protocols("an empty one", ""),
    refused_protocols("an empty one in a list", [""]),
    refused_protocols("one twice", ["chat", "chat"]),
    refused_protocols("one with a space", "chat 2"),
    refused_protocols("one with a comma", "chat,superchat"),
    refused_protocols("one beyond ASCII", "챗"),
    refused_protocols("one with a control character", "chat\x01"),
    refused_protocols("a wrong one among good ones", ["chat", "a/b"]),
    Check(
        "protocols: two that differ in case are two",
        [new("ws://PLAIN/header?name=Sec-WebSocket-Protocol", ["chat", "CHAT"]), watch, wait("message")],
        ["open", "chat, CHAT"],
    ),
    Check(
        "protocols: the one that the server chose, after open",
        [new("ws://PLAIN/echo", ["other", "superchat"]), get("protocol"), wait("open"), get("protocol")],
        ["", "superchat"],
    ),
    Check(
        "protocols: a string is a list of one",
        [new("ws://PLAIN/echo", "chat"), wait("open"), get("protocol")],
        ["chat"],
    ),
    Check("protocols: none", [new("ws://PLAIN/echo", []), wait("open"), get("protocol")], [""]),
    Check(
        "protocols: none has no header",
        [new("ws://PLAIN/header?name=Sec-WebSocket-Protocol"), watch, wait("message")],
        ["open", "none"],
    ),
    Check(
        "protocols: a server that chooses none of them fails",
        [new("ws://PLAIN/echo", "other"), watch, wait("close"), get("protocol")],
        [*LOST, ""],
    ),
    # Attributes
    *(
        Check(f"constant {name} of the class and of a socket", [constant(name), new(), get(name)], [n, n])
        for n, name in enumerate(("CONNECTING", "OPEN", "CLOSING", "CLOSED"))
    ),
    Check(
        "attributes of a new socket",
        [new(), get("readyState", "bufferedAmount", "extensions", "protocol", "binaryType")],
        [0, 0, "", "", "blob"],
    ),
    Check(
        "handlers of a new socket are null",
        [new(), get("onopen", "onmessage", "onerror", "onclose")],
        [None, None, None, None],
    ),
    Check(
        "no event comes inside the constructor", [new(), watch, get("readyState"), wait("open")], [0, "open"]
    ),
    Check(
        "readyState is 1 in open", [new(), on("open", "open", get("readyState")), wait("open")], ["open", 1]
    ),
    Check(
        "readyState is 3 in error and close of a refused socket",
        [
            new("ws://RAW/403"),
            on("error", "error", get("readyState")),
            on("close", "close", get("readyState")),
            wait("close"),
        ],
        ["error", 3, "close", 3],
    ),
    Check(
        "readyState is 2 after close, and 3 in the event",
        [
            new(),
            on("close", "close", get("readyState")),
            wait("open"),
            close(),
            get("readyState"),
            wait("close"),
        ],
        [2, "close", 3],
    ),
    Check(
        "readyState is 3 in the event of the server's Close",
        [new("ws://PLAIN/close?code=1000"), on("close", "close", get("readyState")), wait("close")],
        ["close", 3],
    ),
    Check("extensions: none", [new(), wait("open"), get("extensions")], [""]),
    Check(
        "extensions: permessage-deflate is offered",
        [new("ws://PLAIN/header?name=Sec-WebSocket-Extensions"), watch, wait("message")],
        ["open", "permessage-deflate; client_max_window_bits"],
    ),
    Check(
        "extensions: that of the server's response, kept after the end",
        [
            new("ws://DEFLATE/echo"),
            wait("open"),
            get("extensions"),
            close(),
            wait("close"),
            get("extensions"),
        ],
        ["permessage-deflate; server_max_window_bits=12; client_max_window_bits=12"] * 2,
    ),
    Check(
        "the attributes stay after the end",
        [
            new("ws://PLAIN/echo", "chat"),
            set_("binaryType", "arraybuffer"),
            wait("open"),
            close(),
            wait("close"),
            get("url", "protocol", "binaryType", "bufferedAmount"),
        ],
        ["ws://PLAIN/echo", "chat", "arraybuffer", 0],
    ),
    Check(
        "binaryType: what is no type is ignored",
        [
            new(),
            set_("binaryType", "nothing"),
            get("binaryType"),
            set_("binaryType", "Blob"),
            get("binaryType"),
        ],
        ["blob", "blob"],
    ),
    Check(
        "binaryType can be set in any state",
        [
            new(),
            set_("binaryType", "arraybuffer"),
            get("binaryType"),
            wait("open"),
            set_("binaryType", "blob"),
            get("binaryType"),
            close(),
            wait("close"),
            set_("binaryType", "arraybuffer"),
            get("binaryType"),
        ],
        ["arraybuffer", "blob", "arraybuffer"],
    ),
    # send
    Check(
        "send before open is an InvalidStateError",
        [new(), send("x"), get("bufferedAmount")],
        ["throws InvalidStateError", 0],
    ),
    echoes("ASCII", send("hello"), "hello"),
    echoes("Korean and emoji", send("안녕 🚀"), "안녕 🚀"),
    echoes("an empty text", send(""), ""),
    echoes("a text with NUL", send("a\0b"), "a\0b"),
    echoes("a lone surrogate becomes U+FFFD", send("a\ud800b\udc00"), "a\ufffdb\ufffd"),
    echoes("two surrogates that belong together", send("\ud83d\ude80"), "🚀"),
    echoes("two surrogates the wrong way round", send("\ude80\ud83d"), "\ufffd\ufffd"),
    echoes("64 KiB and one", send_repeated("x", 65537), ["text of", 65537]),
    echoes("1 MiB", send_repeated("x", 1048576), ["text of", 1048576]),
    echoes("bytes come as a blob by default", send_bytes([0, 1, 255]), ["blob", 0, 1, 255]),
    echoes(
        "bytes as an array buffer",
        send_bytes([0, 255]),
        ["arraybuffer", 0, 255],
        set_("binaryType", "arraybuffer"),
    ),
    echoes("no bytes", send_bytes([]), ["blob"]),
    echoes("a part of a buffer", send_part([1, 2, 3, 4], 1, 3), ["blob", 2, 3]),
    Check(
        "send: compressed, both ways",
        [
            new("ws://DEFLATE/echo"),
            watch,
            wait("open"),
            send_repeated("안녕", 400),
            send("x"),
            wait("message", 2),
        ],
        ["open", "안녕" * 400, "x"],
    ),
    Check(
        "send: messages come in order, of all types",
        [new(), watch, wait("open"), send("a"), send_bytes([1]), send("b"), wait("message", 3)],
        ["open", "a", ["blob", 1], "b"],
    ),
    Check(
        "send inside open",
        [new(), on("open", "open", send("x")), on("message", "message", event("data")), wait("message")],
        ["open", "message", "x"],
    ),
    Check(
        "send after close does not throw, and sends nothing",
        [new(), watch, wait("open"), close(), send("x"), wait("close"), send("x")],
        ["open", [1005, "", True]],
    ),
    Check(
        "a binaryType that is set between two messages is that of the second",
        [
            new("ws://PLAIN/echo"),
            watch,
            listen("message", "now", set_("binaryType", "arraybuffer")),
            wait("open"),
            send_bytes([1]),
            send_bytes([2]),
            wait("message", 2),
        ],
        ["open", ["blob", 1], "now", ["arraybuffer", 2], "now"],
    ),
    # bufferedAmount
    Check(
        "bufferedAmount grows by bytes of UTF-8 in this task, and falls to 0",
        [
            new(),
            wait("open"),
            send("안"),
            get("bufferedAmount"),
            send_bytes([1, 2]),
            get("bufferedAmount"),
            until("bufferedAmount", 0),
            get("bufferedAmount"),
        ],
        [3, 5, 0],
    ),
    Check(
        "bufferedAmount: a surrogate counts three",
        [new(), wait("open"), send("\ud800"), get("bufferedAmount")],
        [3],
    ),
    Check(
        "bufferedAmount: a part of a buffer counts alone",
        [new(), wait("open"), send_part([1, 2, 3], 1, 3), get("bufferedAmount")],
        [2],
    ),
    Check(
        "bufferedAmount: of large messages",
        [new(), wait("open"), send_repeated("x", 100000), send_repeated("x", 100000), get("bufferedAmount")],
        [200000],
    ),
    Check(
        "bufferedAmount counts before compression",
        [new("ws://DEFLATE/echo"), wait("open"), send_repeated("x", 10000), get("bufferedAmount")],
        [10000],
    ),
    Check(
        "bufferedAmount grows after close, and does not fall any more",
        [
            new(),
            wait("open"),
            close(),
            send("abc"),
            get("bufferedAmount"),
            wait("close"),
            get("bufferedAmount"),
            send("de"),
            get("bufferedAmount"),
            rest(20),
            get("bufferedAmount"),
        ],
        [3, 3, 5, 5],
    ),
    Check(
        "bufferedAmount: what was sent before an orderly end is gone",
        [new(), wait("open"), send("abc"), close(), wait("close"), get("bufferedAmount")],
        [0],
    ),
    Check(
        "bufferedAmount grows in a socket that never was open",
        [new("ws://RAW/403"), wait("close"), send("abc"), get("bufferedAmount")],
        [3],
    ),
    # close
    refused_close("code 0", "InvalidAccessError", 0),
    refused_close("code 999", "InvalidAccessError", 999),
    refused_close("code 1001", "InvalidAccessError", 1001),
    refused_close("code 1005", "InvalidAccessError", 1005),
    refused_close("code 2999", "InvalidAccessError", 2999),
    refused_close("code 5000", "InvalidAccessError", 5000),
    refused_close("code 65536", "InvalidAccessError", 65536),
    refused_close("a negative code", "InvalidAccessError", -1),
    refused_close("a wrong code with a long reason", "InvalidAccessError", 1001, LONGEST + "x"),
    Check(
        "close: a reason of 124 bytes is a SyntaxError",
        [new(), watch, wait("open"), close(1000, LONGEST + "x"), get("readyState")],
        ["open", "throws SyntaxError", 1],
    ),
    *(
        Check(
            f"close: {title} is in the event",
            [new(), watch, wait("open"), close(*args), wait("close")],
            ["open", [code, reason, True]],
        )
        for title, args, code, reason in (
            ("no code", (), 1005, ""),
            ("1000", (1000,), 1000, ""),
            ("1000 and a reason", (1000, "done"), 1000, "done"),
            ("3000", (3000,), 3000, ""),
            ("4999 and a reason of 123 bytes", (4999, LONGEST), 4999, LONGEST),
            ("a lone surrogate as U+FFFD", (1000, "\ud800"), 1000, "\ufffd"),
            ("an empty reason", (1000, ""), 1000, ""),
            ("undefined", (None, None), 1005, ""),
        )
    ),
    refused_close("a reason without a code", "InvalidAccessError", None, "why"),
    refused_close("an empty reason without a code", "InvalidAccessError", None, ""),
    Check(
        "close: the mistakes are found in any state",
        [new(), close(1), close(1000, "x" * 124), wait("open"), close(), close(1), wait("close"), close(1)],
        [
            "throws InvalidAccessError",
            "throws SyntaxError",
            "throws InvalidAccessError",
            "throws InvalidAccessError",
        ],
    ),
    Check(
        "close while connecting fails",
        [new("ws://RAW/silent"), watch, close(), get("readyState"), wait("close"), get("readyState")],
        [2, *LOST, 3],
    ),
    Check(
        "close while connecting, with a code",
        [new("ws://RAW/silent"), watch, rest(30), close(3000, "no"), get("readyState"), wait("close")],
        [2, *LOST],
    ),
    Check(
        "close twice is one closing handshake: the first counts",
        [
            new(),
            watch,
            wait("open"),
            close(3001, "first"),
            close(3002, "second"),
            wait("close"),
            close(),
            rest(20),
        ],
        ["open", [3001, "first", True]],
    ),
    Check(
        "close inside open",
        [new(), on("open", "open", close(3001)), listen("close", "close", event("code")), wait("close")],
        ["open", "close", 3001],
    ),
    Check(
        "close inside message: no message comes any more",
        [
            new("ws://PLAIN/count?n=5"),
            watch,
            listen("message", "now", close(), get("readyState")),
            wait("close"),
        ],
        ["open", "0", "now", 2, [1005, "", True]],
    ),
    Check(
        "close inside error and close does nothing",
        [
            new("ws://RAW/403"),
            watch,
            on("error", "in error", close(), get("readyState")),
            on("close", "in close", close(), get("readyState")),
            wait("close"),
            rest(20),
        ],
        ["error", "in error", 3, [1006, "", False], "in close", 3],
    ),
    Check(
        "close: what was sent before is sent",
        [
            new(),
            watch,
            wait("open"),
            send_repeated("x", 100000),
            close(3000),
            wait("close"),
            get("bufferedAmount"),
        ],
        ["open", [3000, "", True], 0],
    ),
    # The server's Close
    ends("1000", "/pings", 1000),
    ends("no code is 1005", "/empty-close", 1005),
    ends("1001", "/close-1001", 1001),
    ends("1011 and a reason", "/close-1011", 1011, "broken"),
    ends("4999", "/close-4999", 4999),
    Check(
        "the server's Close: the messages before it come first",
        [new("ws://PLAIN/last-words"), watch, wait("close")],
        ["open", "last words", [3000, "said", True]],
    ),
    Check(
        "the server's Close: messages and Close in one packet with the response",
        [new("ws://RAW/early"), watch, wait("close")],
        ["open", "early", [3000, "bye", True]],
    ),
    Check(
        "the server's Close: close in the last message keeps the server's code",
        [new("ws://PLAIN/last-words"), watch, on("message", "now", close(4000)), wait("close")],
        ["open", "last words", "now", [3000, "said", True]],
    ),
    # Messages
    Check(
        "messages: fragments with a Ping inside are one message",
        [new("ws://RAW/fragments"), watch, wait("close")],
        ["open", "one message", [1000, "", True]],
    ),
    Check(
        "messages: Pings and Pongs are not told",
        [new("ws://RAW/pings"), watch, wait("close")],
        ["open", [1000, "", True]],
    ),
    Check(
        "messages: text, binary and empty ones, in order",
        [new("ws://RAW/mixed"), watch, wait("close")],
        ["open", "a", ["blob", 0, 255], "", [1000, "", True]],
    ),
    Check(
        "messages: who waits for the next one misses none",
        [new("ws://PLAIN/count?n=5"), next_("message"), next_("message"), next_("message"), next_("message")],
        ["0", "1", "2", "3"],
    ),
    Check(
        "messages: the attributes of the event",
        [
            new("ws://PLAIN/count?n=1"),
            on(
                "message", "message", event("type", "data", "origin", "target", "currentTarget", "eventPhase")
            ),
            wait("message"),
        ],
        ["message", "message", "0", "ws://PLAIN", "socket", "socket", 2],
    ),
    # Failures
    fails("403", "/403"),
    fails("200", "/200"),
    fails("a redirect is not followed", "/302"),
    fails("what answers is no HTTP", "/no-http"),
    fails("a wrong Sec-WebSocket-Accept", "/wrong-accept"),
    fails("no Sec-WebSocket-Accept", "/no-accept"),
    fails("no Upgrade", "/no-upgrade"),
    fails("no answer", "/hang-up"),
    fails("an extension that was not offered", "/strange-extension"),
    fails("a subprotocol that was not offered", "/strange-protocol"),
    Check("failure: nothing listens", [new("ws://127.0.0.1:1/"), watch, wait("close")], LOST),
    fails("reserved bits, after a good message", "/reserved-bits", "open", "before"),
    fails("a reserved opcode", "/reserved-opcode", "open"),
    fails("a masked frame", "/masked", "open"),
    fails("text that is not UTF-8", "/not-utf-8", "open"),
    fails("a continuation of nothing", "/continuation", "open"),
    fails("a Close with 1005", "/close-1005", "open"),
    fails("a Close with 1006", "/close-1006", "open"),
    fails("a Close with 1015", "/close-1015", "open"),
    fails("a Close of one byte", "/close-one-byte", "open"),
    fails("a Close whose reason is not UTF-8", "/close-not-utf-8", "open"),
    # RFC 6455 7.2.1: a connection that is lost fails. Chromium has no error then.
    fails("TCP ends without a Close", "/end", "open", chromium=["open", [1006, "", False]]),
    fails("TCP is reset", "/reset", "open", chromium=["open", [1006, "", False]]),
    Check(
        "failure: error and close are no MessageEvent and bubble not",
        [
            new("ws://RAW/403"),
            on("error", "error", event("type", "bubbles", "cancelable", "target")),
            on("close", "close", event("type", "bubbles", "cancelable", "wasClean", "code", "reason")),
            wait("close"),
        ],
        ["error", "error", False, False, "socket", "close", "close", False, False, False, 1006, ""],
    ),
    # Listeners
    Check(
        "listeners are called in the order in which they were added",
        [new(), listen("open", "a"), on("open", "b"), listen("open", "c"), wait("open")],
        ["a", "b", "c"],
    ),
    Check(
        "listeners: a handler keeps its place when it is replaced",
        [new(), on("open", "old"), listen("open", "b"), on("open", "new"), wait("open")],
        ["new", "b"],
    ),
    Check(
        "listeners: a handler that was null comes last again",
        [new(), on("open", "a"), listen("open", "b"), on("open", None), on("open", "c"), wait("open")],
        ["b", "c"],
    ),
    Check(
        "listeners: a handler is what was set, and null again",
        [new(), on("open", "a"), has_handler("open"), on("open", None), has_handler("open"), wait("open")],
        [True, False],
    ),
    Check(
        "listeners: the same function twice is one",
        [new(), listen("open", "a"), listen("open", "a"), wait("open")],
        ["a"],
    ),
    Check(
        "listeners: the same function with another capture is another",
        [new(), listen("open", "a"), listen("open", "a", capture=True), wait("open")],
        ["a", "a"],
    ),
    Check(
        "listeners: once and passive make no difference",
        [
            new(),
            listen("open", "a"),
            listen("open", "a", once=True),
            listen("open", "a", passive=True),
            wait("open"),
        ],
        ["a"],
    ),
    Check(
        "listeners: a handler and a listener of the same function are two",
        [new(), listen("open", "a"), on("open", "a"), wait("open")],
        ["a", "a"],
    ),
    Check(
        "listeners with capture come first",
        [new(), listen("open", "a"), listen("open", "b", capture=True), wait("open")],
        ["b", "a"],
        chromium=["a", "b"],  # capture has no meaning outside a tree there
    ),
    Check(
        "listeners: null is none",
        [new(), ["listen_none", "open"], listen("open", "a"), wait("open")],
        ["a"],
    ),
    Check(
        "listeners: one that was removed",
        [new(), listen("open", "a"), listen("open", "b"), unlisten("open", "a"), wait("open")],
        ["b"],
    ),
    Check(
        "listeners: to remove one needs its capture",
        [new(), listen("open", "a", capture=True), unlisten("open", "a"), wait("open")],
        ["a"],
    ),
    Check(
        "listeners: one that was removed with its capture",
        [new(), listen("open", "a", capture=True), unlisten("open", "a", capture=True), wait("open")],
        [],
    ),
    Check(
        "listeners: a handler is not removed as a listener",
        [new(), on("open", "a"), unlisten("open", "a"), wait("open")],
        ["a"],
    ),
    Check(
        "listeners: removed while the event is dispatched, it is not called",
        [new(), listen("open", "a", unlisten("open", "b")), listen("open", "b"), wait("open")],
        ["a"],
    ),
    Check(
        "listeners: added while the event is dispatched, it waits for the next",
        [
            new("ws://PLAIN/count?n=2"),
            listen("message", "a", listen("message", "b")),
            wait("message", 2),
        ],
        ["a", "a", "b"],
    ),
    Check(
        "listeners: once is once",
        [
            new("ws://PLAIN/count?n=3"),
            listen("message", "a", once=True),
            listen("message", "b"),
            wait("message", 3),
        ],
        ["a", "b", "b", "b"],
    ),
    Check(
        "listeners: once is removed before it is called",
        [
            new("ws://PLAIN/count?n=2"),
            listen("message", "a", listen("message", "a", once=True), once=True),
            wait("message", 2),
        ],
        ["a", "a"],
    ),
    Check(
        "listeners: an object with handleEvent",
        [new(), listen_object("open", "a"), wait("open")],
        ["a"],
    ),
    Check(
        "listeners: an object twice is one, and can be removed",
        [
            new("ws://PLAIN/count?n=2"),
            listen_object("message", "a"),
            listen_object("message", "a"),
            listen("message", "b", unlisten_object("message", "a")),
            wait("message", 2),
        ],
        ["a", "b", "b"],
    ),
    Check(
        "listeners: one that fails is reported, and the others are called",
        [new(), listen("open", "a", fail), on("open", "b", fail), listen("open", "c"), wait("open")],
        ["a", "reported", "b", "reported", "c"],
    ),
    Check(
        "listeners: one that fails does not stop the next event",
        [new("ws://PLAIN/count?n=2"), listen("message", "a", fail), wait("message", 2)],
        ["a", "reported", "a", "reported"],
    ),
    Check(
        "listeners: stopImmediatePropagation keeps it from the others",
        [new(), listen("open", "a", call("stopImmediatePropagation")), listen("open", "b"), wait("open")],
        ["a"],
    ),
    Check(
        "listeners: stopPropagation does not keep it from those after it",
        [new(), listen("open", "a", call("stopPropagation")), listen("open", "b"), wait("open")],
        ["a", "b"],
    ),
    Check(
        "listeners: stopPropagation with capture keeps it from those without",
        [
            new(),
            listen("message", "c", call("stopPropagation"), capture=True),
            listen("message", "d", capture=True),
            listen("message", "b"),
            make("Event", "e", "message"),
            dispatch("e"),
        ],
        ["c", "d", True],
        chromium=["c", "d", "b", True],
    ),
    # Events of one's own
    Check(
        "dispatchEvent calls the listeners at once",
        [
            new(),
            listen("x", "a", event("type", "target", "isTrusted")),
            make("Event", "e", "x"),
            dispatch("e"),
        ],
        ["a", "x", "socket", False, True],
    ),
    Check(
        "dispatchEvent of a type that the socket uses changes no state",
        [new(), on("close", "a", get("readyState")), make("CloseEvent", "e", "close"), dispatch("e")],
        ["a", 0, True],
    ),
    Check(
        "dispatchEvent inside its own dispatch is an InvalidStateError",
        [new(), listen("x", "a", dispatch("e")), make("Event", "e", "x"), dispatch("e")],
        ["a", "throws InvalidStateError", True],
    ),
    Check(
        "an event can be dispatched again",
        [new(), listen("x", "a"), make("Event", "e", "x"), dispatch("e"), dispatch("e")],
        ["a", True, "a", True],
    ),
    Check(
        "an event that was stopped can be dispatched again",
        [
            new(),
            listen("x", "a", call("stopImmediatePropagation"), once=True),
            listen("x", "b"),
            make("Event", "e", "x"),
            dispatch("e"),
            dispatch("e"),
        ],
        ["a", True, "b", True],
        chromium=["a", True, True],  # it stays stopped; DOM: its flags are unset after the dispatch
    ),
    Check(
        "after the dispatch there is a target, and no currentTarget",
        [
            new(),
            make("Event", "e", "x"),
            read("e", "target"),
            dispatch("e"),
            read("e", "target", "currentTarget"),
        ],
        [None, True, "socket", None],
    ),
    Check(
        "preventDefault of a cancelable event",
        [
            new(),
            listen("x", "a", call("preventDefault")),
            make("Event", "e", "x", cancelable=True),
            dispatch("e"),
            read("e", "defaultPrevented", "cancelable"),
        ],
        ["a", False, True, True],
    ),
    Check(
        "preventDefault of another event does nothing",
        [
            new(),
            listen("x", "a", call("preventDefault")),
            make("Event", "e", "x"),
            dispatch("e"),
            read("e", "defaultPrevented"),
        ],
        ["a", True, False],
    ),
    Check(
        "preventDefault in a passive listener does nothing",
        [
            new(),
            listen("x", "a", call("preventDefault"), passive=True),
            make("Event", "e", "x", cancelable=True),
            dispatch("e"),
        ],
        ["a", True],
    ),
    Check(
        "a handler that returns false prevents the default; a listener does not",
        [
            new(),
            on("message", "a", give(False)),
            make("Event", "e", "message", cancelable=True),
            dispatch("e"),
            on("message", None),
            listen("message", "b", give(False)),
            make("Event", "f", "message", cancelable=True),
            dispatch("f"),
        ],
        ["a", False, "b", True],
    ),
    Check(
        "Event: the defaults",
        [
            make("Event", "e", "x"),
            read("e", "type", "bubbles", "cancelable", "defaultPrevented", "isTrusted"),
        ],
        ["x", False, False, False, False],
    ),
    Check(
        "Event: more defaults",
        [
            make("Event", "e", "x", bubbles=True),
            read("e", "bubbles", "target", "currentTarget", "eventPhase"),
        ],
        [True, None, None, 0],
    ),
    Check(
        "MessageEvent: the defaults, and values",
        [
            make("MessageEvent", "e", "message"),
            read("e", "data", "origin"),
            make("MessageEvent", "f", "message", data="x", origin="ws://h"),
            read("f", "data", "origin"),
        ],
        [None, "", "x", "ws://h"],
    ),
    Check(
        "CloseEvent: the defaults, and values",
        [
            make("CloseEvent", "e", "close"),
            read("e", "wasClean", "code", "reason"),
            make("CloseEvent", "f", "close", wasClean=True, code=3000, reason="x"),
            read("f", "wasClean", "code", "reason"),
        ],
        [False, 0, "", True, 3000, "x"],
    ),
    Check(
        "events of the connection are trusted",
        [new("ws://PLAIN/count?n=1"), on("message", "a", event("isTrusted")), wait("message")],
        ["a", True],
    ),
]


def test_the_number_of_checks_is_the_one_that_papers_name() -> None:
    assert len(CHECKS) >= 120
    assert len({check.title for check in CHECKS}) == len(CHECKS)
    root = Path(__file__).resolve().parent.parent.parent
    for paper in ("docs/browser.md", "CHANGELOG.md"):
        assert f"{len(CHECKS)} checks" in " ".join((root / paper).read_text("utf-8").split()), paper


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.title)
@pytest.mark.parametrize("loop_name", ["asyncio", "uvloop"])
def test_wsfast(check: Check, loop_name: str, connection_codec: ModuleType) -> None:
    async def noted() -> list[Any]:
        async with serving() as hosts:
            return await do(check.steps, hosts)

    assert run(noted(), loop_name) == check.expected


@pytest.fixture(scope="module")
def notes_of_chromium(chromium: Chromium) -> list[list[Any]]:
    """What all checks note in Chromium, in one page."""
    script = (Path(__file__).parent / "interpreter.js").read_text("utf-8")

    async def run_all() -> list[list[Any]]:
        page = await chromium.shared_page()
        async with serving() as hosts:
            notes: list[list[Any]] = await page.evaluate(script, [[check.steps for check in CHECKS], hosts])
            return notes

    return chromium.run(run_all())


@pytest.mark.parametrize("number", range(len(CHECKS)), ids=[check.title for check in CHECKS])
def test_chromium(notes_of_chromium: list[list[Any]], number: int) -> None:
    check = CHECKS[number]
    assert notes_of_chromium[number] == (check.expected if check.chromium is None else check.chromium)
