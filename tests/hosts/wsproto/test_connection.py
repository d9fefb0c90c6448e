"""Our Connection and WSConnection beside wsproto's own: the same calls, the same events, bytes, states, exceptions."""

from __future__ import annotations

import random

import pytest
import wsproto
import wsproto.connection
import wsproto.handshake
from wsproto.connection import ConnectionState, ConnectionType
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Message,
    Ping,
    Pong,
    RejectConnection,
    Request,
    TextMessage,
)
from wsproto.extensions import PerMessageDeflate
from wsproto.frame_protocol import CloseReason
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

import wsfast.wsproto
from wsfast.codec import FrameEncoder, Role, apply_mask

CLIENT, SERVER = ConnectionType.CLIENT, ConnectionType.SERVER

EVENTS = [
    TextMessage("text"),
    TextMessage("한국어", message_finished=False),
    TextMessage("", message_finished=True),
    BytesMessage(b"binary"),
    BytesMessage(bytearray(b"x" * 70000)),
    BytesMessage(b"", message_finished=False),
    Message("a message of no type"),
    Ping(),
    Ping(b"ping"),
    Pong(b"pong"),
    CloseConnection(1000, "bye"),
    CloseConnection(CloseReason.NO_STATUS_RCVD),
    Request("host", "/"),
]


def shown(function, *args):
    """What a call returns, or what it raises and says."""
    try:
        result = function(*args)
    except Exception as error:
        return type(error), str(error)
    return list(result) if hasattr(result, "__next__") else result


def unmasked(connection_type, data):
    if connection_type is SERVER or not isinstance(data, bytes) or not data:
        return data
    start = {126: 4, 127: 10}.get(data[1] & 0x7F, 2)
    return data[:start], apply_mask(data[start + 4 :], data[start : start + 4])


class Twins:
    """wsproto's connection and ours, given the same calls."""

    def __init__(self, connection_type, make=wsfast.wsproto.Connection, **kwargs):
        self.connection_type = connection_type
        self.pair = [cls(connection_type, **kwargs) for cls in (wsproto.connection.Connection, make)]

    def call(self, name, *args):
        expected, actual = [shown(getattr(each, name), *args) for each in self.pair]
        if name == "send":
            assert type(actual) is type(expected)
            expected, actual = (
                unmasked(self.connection_type, expected),
                unmasked(self.connection_type, actual),
            )
        assert actual == expected
        if name == "events":
            for mine, other in zip(actual, expected, strict=True):
                assert vars(mine) == vars(other)
                assert [type(value) for value in vars(mine).values()] == [
                    type(value) for value in vars(other).values()
                ]
        assert self.pair[1].state is self.pair[0].state
        return actual

    @property
    def state(self):
        return self.pair[1].state


def on_theirs(connection_type, **kwargs):
    """A connection of a class of wsproto's that has got our methods, as a patch puts them there."""
    patched = type(
        "Connection",
        (wsproto.connection.Connection,),
        {name: vars(wsfast.wsproto.Connection)[name] for name in ("events", "receive_data", "send")},
    )
    return patched(connection_type, **kwargs)


@pytest.mark.parametrize("make", [wsfast.wsproto.Connection, on_theirs], ids=["ours", "patched"])
@pytest.mark.parametrize("connection_type", [CLIENT, SERVER])
def test_random_calls(connection_type, make):
    encoder = FrameEncoder(Role.SERVER if connection_type is CLIENT else Role.CLIENT)
    frames = [
        encoder.message("text"),
        encoder.message("한국어" * 100),
        encoder.message(b"binary"),
        encoder.frame(2, b"frag", fin=False),
        encoder.frame(0, b"ment"),
        encoder.ping(b"ping"),
        encoder.pong(b"pong"),
        encoder.close(1001, "bye"),
        encoder.close(),
        encoder.frame(1, b"a\xff"),
    ]
    # One conversation in four is closed or broken; the others are long enough to find more than one state.
    for seed in range(500):
        chance = random.Random(seed)
        twins = Twins(connection_type, make)
        for _ in range(15):
            action = chance.random()
            if action < 0.4:
                data = b"".join(
                    chance.choices(frames, weights=[5, 5, 5, 2, 2, 5, 5, 1, 1, 1], k=chance.randrange(4))
                )
                cut = chance.randrange(len(data) + 1)
                twins.call("receive_data", data[:cut])
                if chance.random() < 0.5:
                    twins.call("events")
                twins.call("receive_data", data[cut:])
            elif action < 0.43:
                twins.call("receive_data", None)
            elif action < 0.75:
                twins.call("events")
            else:
                twins.call("send", chance.choice(EVENTS))


@pytest.mark.parametrize("connection_type", [CLIENT, SERVER])
@pytest.mark.parametrize("event", EVENTS, ids=repr)
def test_each_event_in_each_state(connection_type, event):
    """RFC 6455 5.5.1, 7.1: what may be sent before and after the Close frames."""
    encoder = FrameEncoder(Role.SERVER if connection_type is CLIENT else Role.CLIENT)
    close = encoder.close(1000)
    seen = set()
    for steps in ([], ["send"], ["receive"], ["send", "receive"], ["receive", "send"], ["eof"]):
        twins = Twins(connection_type)
        for step in steps:
            if step == "send":
                twins.call("send", CloseConnection(1000))
            else:
                twins.call("receive_data", close if step == "receive" else None)
                twins.call("events")
        seen.add(twins.state)
        twins.call("send", event)
        twins.call("receive_data", close)
        twins.call("events")
        twins.call("receive_data", None)
        twins.call("events")
    assert seen == {
        ConnectionState.OPEN,
        ConnectionState.LOCAL_CLOSING,
        ConnectionState.REMOTE_CLOSING,
        ConnectionState.CLOSED,
    }


def test_what_cannot_be_sent_is_a_local_protocol_error():
    connection = wsfast.wsproto.Connection(SERVER)
    connection.send(CloseConnection(1000))
    with pytest.raises(LocalProtocolError):
        connection.send(TextMessage("late"))


def test_trailing_data_is_received():
    data = FrameEncoder(Role.SERVER).message("at once")
    twins = Twins(CLIENT, trailing_data=data)
    assert twins.call("events") == [TextMessage("at once")]


def test_extensions_of_wsproto_are_used():
    """RFC 7692, both ends through ``Connection``."""
    ends = []
    for connection_type in (CLIENT, SERVER):
        extension = PerMessageDeflate()
        extension.finalize("permessage-deflate")
        ends.append(wsfast.wsproto.Connection(connection_type, [extension]))
    client, server = ends
    data = client.send(TextMessage("a" * 1000))
    assert len(data) < 100
    server.receive_data(data)
    assert list(server.events()) == [TextMessage("a" * 1000)]
    client.receive_data(server.send(BytesMessage(b"b" * 1000)))
    assert list(client.events()) == [BytesMessage(b"b" * 1000)]


# The opening handshake


def handshake(client, server, extensions=(), trailing=b""):
    """Let two WSConnections open; return what the client saw."""
    request = Request(host="host", target="/chat", extensions=list(extensions), subprotocols=["one", "two"])
    server.receive_data(client.send(request))
    (seen,) = server.events()
    assert isinstance(seen, Request)
    accepted = server.send(
        AcceptConnection(subprotocol="two", extensions=[PerMessageDeflate()] if extensions else [])
    )
    client.receive_data(accepted + trailing)
    return list(client.events())


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("whose_client", [wsproto, wsfast.wsproto])
@pytest.mark.parametrize("whose_server", [wsproto, wsfast.wsproto])
def test_the_opening_handshake_ends_in_our_connection(whose_client, whose_server, compress):
    client, server = whose_client.WSConnection(CLIENT), whose_server.WSConnection(SERVER)
    assert client.state is server.state is ConnectionState.CONNECTING
    hello = FrameEncoder(Role.SERVER).message("hello")
    accepted, first = handshake(client, server, [PerMessageDeflate()] if compress else [], trailing=hello)
    assert isinstance(accepted, AcceptConnection)
    assert accepted.subprotocol == "two"
    assert [extension.name for extension in accepted.extensions] == ["permessage-deflate"] * compress
    assert first == TextMessage("hello")
    for end, whose in ((client, whose_client), (server, whose_server)):
        assert end.state is ConnectionState.OPEN
        assert isinstance(end, wsproto.WSConnection)
        assert isinstance(end.handshake, wsproto.handshake.H11Handshake)
        assert isinstance(end.connection, wsproto.connection.Connection)
        assert end.handshake.connection is end.connection
        is_ours = type(end.connection._proto) is wsfast.wsproto.FrameProtocol
        assert is_ours is (whose is wsfast.wsproto)
    for sender, receiver in ((client, server), (server, client)):
        for event in (TextMessage("한국어"), BytesMessage(b"b" * 300), Ping(b"p"), Pong()):
            receiver.receive_data(sender.send(event))
            assert list(receiver.events()) == [event]
    server.receive_data(client.send(CloseConnection(4000, "done")))
    (close,) = server.events()
    client.receive_data(server.send(close.response()))
    assert list(client.events()) == [CloseConnection(4000, "done")]
    assert client.state is server.state is ConnectionState.CLOSED


def test_a_request_that_was_parsed_by_somebody_else():
    server = wsfast.wsproto.WSConnection(SERVER)
    headers = [
        (b"Host", b"host"),
        (b"Connection", b"Upgrade"),
        (b"Upgrade", b"websocket"),
        (b"Sec-WebSocket-Version", b"13"),
        (b"Sec-WebSocket-Key", b"dGhlIHNhbXBsZSBub25jZQ=="),
    ]
    server.initiate_upgrade_connection(headers, "/chat")
    (request,) = server.events()
    assert (request.host, request.target) == ("host", "/chat")
    assert b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in server.send(AcceptConnection())  # RFC 6455 1.3
    assert type(server.connection) is wsfast.wsproto.Connection


def test_a_handshake_that_is_refused_or_wrong_makes_no_connection():
    client, server = wsfast.wsproto.WSConnection(CLIENT), wsfast.wsproto.WSConnection(SERVER)
    server.receive_data(client.send(Request(host="host", target="/")))
    list(server.events())
    client.receive_data(server.send(RejectConnection(status_code=403)))
    assert next(client.events()).status_code == 403
    assert client.connection is None
    assert server.connection is None
    assert client.handshake.connection is None
    with pytest.raises(RemoteProtocolError):
        wsfast.wsproto.WSConnection(SERVER).receive_data(b"POST / HTTP/1.1\r\nHost: x\r\n\r\n")


def test_nothing_of_wsproto_is_changed():
    assert wsproto.connection.FrameProtocol is wsproto.frame_protocol.FrameProtocol
    assert wsproto.connection.FrameProtocol.__module__ == "wsproto.frame_protocol"
    assert wsproto.connection.Connection.events.__module__ == "wsproto.connection"
    assert wsproto.handshake.Connection is wsproto.connection.Connection
    assert type(wsproto.connection.Connection(CLIENT)._proto) is wsproto.frame_protocol.FrameProtocol
