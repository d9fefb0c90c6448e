"""RFC 7692 7.1: the four parameters of permessage-deflate, offered, accepted and confirmed, in both roles."""

from __future__ import annotations

import sys
import types
import zlib
from typing import Any

import pytest

from wsfast import deflate
from wsfast.connection import Connection
from wsfast.deflate import Agreement, Deflate, accept, confirm, offer
from wsfast.events import Role
from wsfast.exceptions import InvalidHeaderFormat, InvalidState, NegotiationError
from wsfast.handshake import ClientHandshake, ServerHandshake, accept_value

PMD = "permessage-deflate"
KEY = "dGhlIHNhbXBsZSBub25jZQ=="


def agreed(agreement: Agreement | None) -> tuple[bool, bool, int, int]:
    assert agreement is not None
    return (
        agreement.server_no_context_takeover,
        agreement.client_no_context_takeover,
        agreement.server_max_window_bits,
        agreement.client_max_window_bits,
    )


# What a server accepts

ACCEPTED = [
    # Our settings, the offer, the response behind the name, the agreement.
    # 7.1.2.1: a server may tell its window unasked. 7.1.2.2: it must not limit a client that did not offer it.
    ({}, "", "; server_max_window_bits=12", (False, False, 12, 15)),
    ({"server_max_window_bits": 15}, "", "", (False, False, 15, 15)),
    (
        {"server_max_window_bits": 9, "client_max_window_bits": 9},
        "",
        "; server_max_window_bits=9",
        (False, False, 9, 15),
    ),
    # 7.1.2.1: "the same or smaller value as the offer"
    ({}, "; server_max_window_bits=15", "; server_max_window_bits=12", (False, False, 12, 15)),
    ({}, "; server_max_window_bits=10", "; server_max_window_bits=10", (False, False, 10, 15)),
    ({}, "; server_max_window_bits=9", "; server_max_window_bits=9", (False, False, 9, 15)),
    ({}, "; server_max_window_bits=8", "; server_max_window_bits=8", (False, False, 8, 15)),
    ({"server_max_window_bits": 8}, "", "; server_max_window_bits=8", (False, False, 8, 15)),
    ({}, '; server_max_window_bits="10"', "; server_max_window_bits=10", (False, False, 10, 15)),
    (
        {"server_max_window_bits": 15},
        "; server_max_window_bits=15",
        "; server_max_window_bits=15",
        (False, False, 15, 15),
    ),
    # 7.1.2.2: with or without a value.
    (
        {},
        "; client_max_window_bits",
        "; server_max_window_bits=12; client_max_window_bits=12",
        (False, False, 12, 12),
    ),
    (
        {},
        "; client_max_window_bits=15",
        "; server_max_window_bits=12; client_max_window_bits=12",
        (False, False, 12, 12),
    ),
    (
        {},
        '; client_max_window_bits="8"',
        "; server_max_window_bits=12; client_max_window_bits=8",
        (False, False, 12, 8),
    ),
    (
        {"client_max_window_bits": 15},
        "; client_max_window_bits",
        "; server_max_window_bits=12",
        (False, False, 12, 15),
    ),
    (
        {"client_max_window_bits": 15},
        "; client_max_window_bits=14",
        "; server_max_window_bits=12; client_max_window_bits=14",
        (False, False, 12, 14),
    ),
    (
        {"client_max_window_bits": 8},
        "; client_max_window_bits",
        "; server_max_window_bits=12; client_max_window_bits=8",
        (False, False, 12, 8),
    ),
    # 7.1.1.1, 7.1.1.2: what is asked for is granted, and both may be demanded unasked.
    (
        {"server_max_window_bits": 15},
        "; server_no_context_takeover",
        "; server_no_context_takeover",
        (True, False, 15, 15),
    ),
    (
        {"server_max_window_bits": 15},
        "; client_no_context_takeover",
        "; client_no_context_takeover",
        (False, True, 15, 15),
    ),
    (
        {
            "server_max_window_bits": 15,
            "server_no_context_takeover": True,
            "client_no_context_takeover": True,
        },
        "",
        "; server_no_context_takeover; client_no_context_takeover",
        (True, True, 15, 15),
    ),
    (
        {},
        "; client_max_window_bits=11; server_max_window_bits=10; client_no_context_takeover;"
        " server_no_context_takeover",
        "; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=10;"
        " client_max_window_bits=11",
        (True, True, 10, 11),
    ),
]


@pytest.mark.parametrize(("config", "parameters", "answer", "expected"), ACCEPTED)
def test_a_server_accepts(config: Any, parameters: str, answer: str, expected: Any) -> None:
    """RFC 7692 7.1.1, 7.1.2."""
    agreement = accept([PMD + parameters], Deflate(**config))
    assert agreement is not None
    assert agreement.response == PMD + answer
    assert agreed(agreement) == expected


BAD_OFFERS = [
    "; unknown",
    "; unknown=1",
    "; Server_No_Context_Takeover",
    "; server_no_context_takeover=1",
    "; server_no_context_takeover=true",
    '; client_no_context_takeover="1"',
    "; server_no_context_takeover; server_no_context_takeover",
    "; client_no_context_takeover; client_no_context_takeover",
    "; server_max_window_bits",
    "; server_max_window_bits=7",
    "; server_max_window_bits=16",
    "; server_max_window_bits=08",
    "; server_max_window_bits=010",
    '; server_max_window_bits="010"',
    "; server_max_window_bits=0",
    "; server_max_window_bits=+9",
    "; server_max_window_bits=-9",
    "; server_max_window_bits=9.0",
    "; server_max_window_bits=1e1",
    "; server_max_window_bits=0x9",
    "; server_max_window_bits=99",
    "; server_max_window_bits=10; server_max_window_bits=10",
    "; client_max_window_bits=7",
    "; client_max_window_bits=16",
    "; client_max_window_bits=08",
    "; client_max_window_bits=ten",
    "; client_max_window_bits; client_max_window_bits",
    "; client_max_window_bits; client_max_window_bits=10",
    "; client_max_window_bits=10; unknown",
]


@pytest.mark.parametrize("parameters", BAD_OFFERS)
def test_a_server_declines_a_bad_offer_and_considers_the_next(parameters: str) -> None:
    """RFC 7692 7.1: "A server MUST decline an extension negotiation offer" with any of these."""
    assert accept([PMD + parameters], "deflate") is None
    agreement = accept([f"{PMD}{parameters}, {PMD}; server_max_window_bits=10"], "deflate")
    assert agreed(agreement) == (False, False, 10, 15)
    agreement = accept([PMD + parameters, f"{PMD}; server_max_window_bits=11"], "deflate")
    assert agreed(agreement) == (False, False, 11, 15)


def test_the_first_offer_that_can_be_accepted_is() -> None:
    """RFC 7692 5.1, RFC 6455 9.1: the order is the client's preference."""
    offers = [f"x-other; a=1, {PMD}; client_max_window_bits; server_max_window_bits=10, {PMD}"]
    assert agreed(accept(offers, "deflate")) == (False, False, 10, 12)


@pytest.mark.parametrize(
    "values", [[], ["x-other"], ["x-permessage-deflate, permessage-deflate2"], ["PERMESSAGE-DEFLATE"]]
)
def test_without_an_offer_there_is_no_agreement(values: list[str]) -> None:
    """RFC 6455 9.1."""
    assert accept(values, "deflate") is None


@pytest.mark.parametrize(
    "value", ["permessage-deflate;", "permessage-deflate; a=", 'permessage-deflate; a="b c"', ""]
)
def test_what_is_no_list_of_extensions_raises(value: str) -> None:
    """RFC 6455 9.1: the handshake fails."""
    with pytest.raises(InvalidHeaderFormat):
        accept([value], "deflate")


def test_equal_agreements_are_one_object() -> None:
    """An agreement is nothing that each connection would have to own."""
    assert accept([PMD], Deflate()) is accept([PMD], Deflate())
    assert accept([PMD], Deflate()) is not accept([PMD], Deflate(level=1))


# What a client offers

OFFERED = [
    ({}, "; client_max_window_bits"),
    ({"client_max_window_bits": 15}, "; client_max_window_bits=15"),
    ({"client_max_window_bits": 9}, "; client_max_window_bits=9"),
    ({"client_max_window_bits": 8}, "; client_max_window_bits=8"),
    ({"server_max_window_bits": 8}, "; server_max_window_bits=8; client_max_window_bits"),
    ({"server_max_window_bits": 15}, "; client_max_window_bits"),  # no limit: aiohttp would not answer it
    (
        {"server_no_context_takeover": True, "client_no_context_takeover": True},
        "; server_no_context_takeover; client_no_context_takeover; client_max_window_bits",
    ),
]


@pytest.mark.parametrize(("config", "parameters"), OFFERED)
def test_a_client_offers(config: Any, parameters: str) -> None:
    """RFC 7692 7.1."""
    assert offer(Deflate(**config)) == PMD + parameters


CONFIRMED = [
    ({}, "", (False, False, 15, 12)),
    ({}, "; server_max_window_bits=8", (False, False, 8, 12)),
    ({}, "; server_max_window_bits=15; client_max_window_bits=15", (False, False, 15, 12)),
    ({}, '; client_max_window_bits="9"', (False, False, 15, 9)),
    ({}, "; client_max_window_bits=8", (False, False, 15, 8)),
    ({"client_max_window_bits": 8}, "", (False, False, 15, 8)),
    ({"client_max_window_bits": 15}, "; client_max_window_bits=8", (False, False, 15, 8)),
    ({}, "; server_no_context_takeover", (True, False, 15, 12)),
    ({}, "; client_no_context_takeover", (False, True, 15, 12)),
    ({"client_max_window_bits": 15}, "", (False, False, 15, 15)),
    ({"client_max_window_bits": 15}, "; client_max_window_bits=10", (False, False, 15, 10)),
    ({"server_max_window_bits": 11}, "; server_max_window_bits=11", (False, False, 11, 12)),
    ({"server_max_window_bits": 11}, "; server_max_window_bits=8", (False, False, 8, 12)),
    ({"server_max_window_bits": 15}, "", (False, False, 15, 12)),
    ({"server_max_window_bits": 15}, "; server_max_window_bits=9", (False, False, 9, 12)),
    # 7.1.1.2: a client that says it does not take its context over does not, whatever the response says.
    ({"client_no_context_takeover": True}, "", (False, True, 15, 12)),
    ({"server_no_context_takeover": True}, "; server_no_context_takeover", (True, False, 15, 12)),
]


@pytest.mark.parametrize(("config", "parameters", "expected"), CONFIRMED)
def test_a_client_confirms(config: Any, parameters: str, expected: Any) -> None:
    """RFC 7692 7.1."""
    assert agreed(confirm([PMD + parameters], Deflate(**config))) == expected


REFUSED = [
    *(({}, parameters, ".") for parameters in BAD_OFFERS),
    ({}, "; client_max_window_bits", "client_max_window_bits has no value"),  # 7.1.2.2: only an offer may
    ({"client_max_window_bits": 10}, "; client_max_window_bits=11", "larger than 10"),
    ({"server_max_window_bits": 10}, "; server_max_window_bits=11", "larger than 10"),
    ({"server_max_window_bits": 10}, "", "server_max_window_bits is missing"),
    ({"server_no_context_takeover": True}, "", "server_no_context_takeover is missing"),
]


@pytest.mark.parametrize(("config", "parameters", "text"), REFUSED)
def test_a_client_refuses_a_response_that_does_not_fit(config: Any, parameters: str, text: str) -> None:
    """RFC 7692 7.1: "A client MUST _Fail the WebSocket Connection_"."""
    with pytest.raises(NegotiationError, match=text):
        confirm([PMD + parameters], Deflate(**config))


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([PMD, PMD], "twice"),
        ([f"{PMD}, {PMD}"], "twice"),
        (["x-other"], "x-other, which was not offered"),
        ([f"{PMD}, x-other"], "x-other, which was not offered"),
        (["Permessage-Deflate"], "which was not offered"),
    ],
)
def test_a_client_refuses_other_extensions(values: list[str], text: str) -> None:
    """RFC 6455 9.1."""
    with pytest.raises(NegotiationError, match=text):
        confirm(values, "deflate")


def test_a_server_may_decline() -> None:
    """RFC 7692 5.1."""
    assert confirm([], "deflate") is None


@pytest.mark.parametrize("client", [{}, {"server_max_window_bits": 9}, {"client_no_context_takeover": True}])
@pytest.mark.parametrize("server", [{}, {"client_max_window_bits": 9}, {"server_no_context_takeover": True}])
def test_both_sides_agree_on_what_they_deflate_with(client: Any, server: Any) -> None:
    """RFC 7692 7.1: nobody uses a larger window, or a longer memory, than the other knows of."""
    ours = accept([offer(Deflate(**client))], Deflate(**server))
    assert ours is not None
    theirs = confirm([ours.response], Deflate(**client))
    assert theirs is not None
    assert theirs.server_max_window_bits == ours.server_max_window_bits
    assert theirs.client_max_window_bits <= ours.client_max_window_bits
    assert theirs.server_no_context_takeover == ours.server_no_context_takeover
    assert theirs.client_no_context_takeover == ours.client_no_context_takeover


# The handshakes


def request_with(*extensions: str) -> bytes:
    lines = [
        "GET / HTTP/1.1",
        "Host: example.org",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {KEY}",
        "Sec-WebSocket-Version: 13",
        *(f"Sec-WebSocket-Extensions: {value}" for value in extensions),
    ]
    return "\r\n".join([*lines, "", ""]).encode()


def response_with(handshake: ClientHandshake, *extensions: str) -> bytes:
    lines = [
        "HTTP/1.1 101 Switching Protocols",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Accept: {accept_value(handshake.request.headers['Sec-WebSocket-Key'])}",
        *(f"Sec-WebSocket-Extensions: {value}" for value in extensions),
    ]
    return "\r\n".join([*lines, "", ""]).encode()


def test_the_server_handshake_answers_an_offer() -> None:
    """RFC 6455 9.1, RFC 7692 5.1."""
    handshake = ServerHandshake(compression="deflate")
    handshake.receive_data(request_with(f"{PMD}; client_max_window_bits"))
    handshake.send_response(handshake.accept())
    assert handshake.compression is not None
    line = f"Sec-WebSocket-Extensions: {handshake.compression.response}\r\n".lower()
    assert line.encode() in handshake.data_to_send().lower()


@pytest.mark.parametrize(
    ("compression", "extensions"),
    [(None, [PMD]), ("deflate", []), ("deflate", [f"{PMD}; server_max_window_bits=7"])],
)
def test_the_server_handshake_declines(compression: Any, extensions: list[str]) -> None:
    """RFC 7692 5.1: the connection is opened without it."""
    handshake = ServerHandshake(compression=compression)
    handshake.receive_data(request_with(*extensions))
    handshake.send_response(handshake.accept())
    assert handshake.accepted
    assert handshake.compression is None
    assert b"extensions" not in handshake.data_to_send().lower()


def test_a_broken_header_fails_the_handshake_with_compression_too() -> None:
    """RFC 6455 9.1."""
    handshake = ServerHandshake(compression="deflate")
    handshake.receive_data(request_with(f"{PMD}; ;"))
    assert handshake.accept().status_code == 400
    assert isinstance(handshake.error, InvalidHeaderFormat)


def test_a_response_without_the_header_declines() -> None:
    """RFC 7692 5.1: what goes out counts, and an application may leave it out."""
    handshake = ServerHandshake(compression="deflate")
    handshake.receive_data(request_with(PMD))
    response = handshake.accept()
    del response.headers["Sec-WebSocket-Extensions"]
    handshake.send_response(response)
    assert handshake.accepted
    assert handshake.compression is None


@pytest.mark.parametrize("value", [PMD, "x-other"])
def test_a_response_cannot_promise_something_else(value: str) -> None:
    """RFC 7692 7.1: the peer would believe it."""
    handshake = ServerHandshake(compression="deflate")
    handshake.receive_data(request_with(PMD))
    response = handshake.accept()
    del response.headers["Sec-WebSocket-Extensions"]
    response.headers["Sec-WebSocket-Extensions"] = value
    with pytest.raises(ValueError, match="as accept"):
        handshake.send_response(response)
    assert handshake.data_to_send() == b""


def test_a_refusal_agrees_to_nothing() -> None:
    """RFC 7692 5.1."""
    handshake = ServerHandshake(compression="deflate")
    handshake.receive_data(request_with(PMD))
    handshake.accept()
    handshake.send_response(handshake.reject(403, "no"))
    assert handshake.compression is None


def test_the_client_handshake_offers_and_confirms() -> None:
    """RFC 6455 4.1, RFC 7692 5.1."""
    handshake = ClientHandshake("ws://example.org/", compression="deflate")
    assert handshake.request.headers["Sec-WebSocket-Extensions"] == f"{PMD}; client_max_window_bits"
    handshake.receive_data(response_with(handshake, f"{PMD}; server_max_window_bits=10"))
    assert handshake.error is None
    assert agreed(handshake.compression) == (False, False, 10, 12)


def test_the_client_handshake_without_compression_offers_nothing() -> None:
    """RFC 6455 9.1."""
    handshake = ClientHandshake("ws://example.org/")
    assert "Sec-WebSocket-Extensions" not in handshake.request.headers
    handshake.receive_data(response_with(handshake, PMD))
    assert isinstance(handshake.error, NegotiationError)


@pytest.mark.parametrize("extensions", [[f"{PMD}; server_max_window_bits=99"], [PMD, PMD], ["x-other"]])
def test_the_client_handshake_fails_on_a_bad_response(extensions: list[str]) -> None:
    """RFC 7692 7.1, RFC 6455 4.1."""
    handshake = ClientHandshake("ws://example.org/", compression="deflate")
    handshake.receive_data(response_with(handshake, *extensions))
    assert isinstance(handshake.error, NegotiationError)
    assert handshake.compression is None


# Connections


def test_a_connection_takes_what_its_handshake_agreed_on() -> None:
    """RFC 7692 6: frames with RSV1 are right from the first on."""
    client = Connection(Role.CLIENT, handshake=ClientHandshake("ws://example.org/", compression="deflate"))
    server = Connection(Role.SERVER, handshake=ServerHandshake(compression="deflate"))
    assert client.handshake is not None
    assert isinstance(server.handshake, ServerHandshake)
    server.receive_data(client.handshake.data_to_send())
    server.handshake.send_response(server.handshake.accept())
    assert server.compression is None
    server.open()
    server.send("Hello, hello", compress=True)
    sent = server.data_to_send()
    assert sent[0] == 0xC1
    client.receive_data(server.handshake.data_to_send() + sent)
    assert client.receive_data(client.open()) == ["Hello, hello"]
    assert client.compression is not None
    assert server.compression is not None
    assert client.compression.response == server.compression.response


def test_a_connection_that_agreed_on_nothing_compresses_nothing() -> None:
    """RFC 6455 5.2: and ``compress=True`` is no mistake of a caller who cannot know."""
    client = Connection(Role.CLIENT, handshake=ClientHandshake("ws://example.org/", compression="deflate"))
    handshake = client.handshake
    assert isinstance(handshake, ClientHandshake)
    client.receive_data(response_with(handshake) + b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00")
    events = client.receive_data(client.open())
    assert client.failure is not None
    assert events == [client.failure]
    assert client.failure.reason == "RSV1 set without an extension that defines it"
    server = Connection(Role.SERVER)
    server.send("m" * 1000, compress=True)
    assert server.data_to_send()[0] == 0x81
    server.send_fragment("m" * 1000, fin=True, compress=True)
    assert server.data_to_send()[0] == 0x81


def test_a_host_gives_its_connection_an_agreement() -> None:
    """For those that do the handshake themselves."""
    agreement = accept([PMD], "deflate")
    connection = Connection(
        Role.SERVER, compression=agreement, max_message_size=100, max_fragments=7, text="bytes"
    )
    assert connection.compression is agreement
    assert connection.decoder.max_message_size == 100
    assert connection.decoder.max_fragments == 7
    assert connection.decoder.text == "bytes"
    connection.send("m" * 1000)
    assert connection.data_to_send()[0] == 0xC1


def test_a_connection_with_a_handshake_takes_no_agreement() -> None:
    agreement = accept([PMD], "deflate")
    with pytest.raises(TypeError, match="handshake"):
        Connection(Role.SERVER, handshake=ServerHandshake(), compression=agreement)


def test_a_connection_is_opened_once() -> None:
    connection = Connection(Role.SERVER, compression=accept([PMD], "deflate"))
    with pytest.raises(InvalidState):
        connection.open()


# Settings

WRONG_SETTINGS = [
    ({"server_max_window_bits": 7}, ValueError),
    ({"client_max_window_bits": 16}, ValueError),
    ({"server_max_window_bits": "12"}, TypeError),
    ({"client_max_window_bits": True}, TypeError),
    ({"mem_level": 0}, ValueError),
    ({"mem_level": 10}, ValueError),
    ({"level": 10}, ValueError),
    ({"level": -2}, ValueError),
    ({"level": "1"}, TypeError),
    ({"mem_level": None}, TypeError),
    ({"threshold": -1}, ValueError),
    ({"threshold": None}, TypeError),
    ({"threshold": 1.5}, TypeError),
    ({"max_ratio": 0}, ValueError),
    ({"max_ratio": 1.5}, TypeError),
    ({"engine": "gzip"}, ValueError),
    ({"engine": None}, TypeError),
    ({"engine": object()}, TypeError),
]


@pytest.mark.parametrize(("config", "exception"), WRONG_SETTINGS, ids=str)
def test_wrong_settings_raise_at_once(config: Any, exception: type[Exception]) -> None:
    with pytest.raises(exception):
        Deflate(**config)


@pytest.mark.parametrize("compression", ["gzip", "", True, False, 1, {}])
def test_compression_is_none_deflate_or_settings(compression: Any) -> None:
    for make in (ServerHandshake, lambda compression: ClientHandshake("ws://h/", compression=compression)):
        with pytest.raises(ValueError, match="compression is"):
            make(compression=compression)


def test_an_engine_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "isal", None)
    monkeypatch.setitem(sys.modules, "isal.isal_zlib", None)
    with pytest.raises(ImportError, match=r"pip install 'wsfast\[isal\]'"):
        Deflate(engine="isal")


def test_an_engine_can_be_an_object() -> None:
    engine = types.SimpleNamespace(compressobj=zlib.compressobj, decompressobj=zlib.decompressobj)
    assert deflate.load_engine(engine) is engine
    assert accept([PMD], Deflate(engine=engine)) is not None
